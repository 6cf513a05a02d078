//! The ways this server can be told to be wrong, one at a time.
//!
//! A fault changes exactly one decision, by one visible `if` at the seam it breaks. Its name is the name of the
//! weakness in `scenarios/weaknesses.yaml`; what it gives an attacker and how to mend it is told there.

use std::fmt;
use std::str::FromStr;

macro_rules! faults {
    ($($family:literal { $($variant:ident = $name:literal,)* })*) => {
        /// One named way to be wrong. The names are kebab-case and stable.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[expect(missing_docs, reason = "described once, in scenarios/weaknesses.yaml, under the same name")]
        pub enum Fault {
            $($($variant,)*)*
        }

        impl Fault {
            /// Every fault there is, in the order of the catalogue.
            pub const ALL: &[Fault] = &[$($(Fault::$variant,)*)*];

            /// The name on the command line and in `weaknesses.yaml`.
            pub fn name(self) -> &'static str {
                match self {
                    $($(Fault::$variant => $name,)*)*
                }
            }
        }
    };
}

faults! {
    "AUTH" {
        RefusesEveryone = "refuses-everyone",
        ExpiryMargin = "expiry-margin",
        ServesAnonymous = "serves-anonymous",
        EmptyTokenIsGuest = "empty-token-is-guest",
        ContinuesAfterDecodeError = "continues-after-decode-error",
        BypassWord = "bypass-word",
        OneShotToken = "one-shot-token",
        SecondConnectionKillsFirst = "second-connection-kills-first",
        FailuresLockTheSubject = "failures-lock-the-subject",
        FramesBeforeVerification = "frames-before-verification",
        TrustsIdentityHeaders = "trusts-identity-headers",
        TrustsForwardedFor = "trusts-forwarded-for",
        TrustsUnderscoredHeaders = "trusts-underscored-headers",
        DebugSwitch = "debug-switch",
        CaseFoldedTokenCache = "case-folded-token-cache",
        TestTokenBypass = "test-token-bypass",
        SecretPerWorker = "secret-per-worker",
        PublicByRequestHeader = "public-by-request-header",
    }
    "ENC" {
        MissingSignatureSegment = "missing-signature-segment",
        EmptySignatureSkipsCheck = "empty-signature-skips-check",
        OpaqueClaimsSegment = "opaque-claims-segment",
        IgnoresExtraSegments = "ignores-extra-segments",
        DropsTrailingPeriod = "drops-trailing-period",
        GluesMiddleSegments = "glues-middle-segments",
        StripsLeadingPeriod = "strips-leading-period",
        MissingHeaderDefaults = "missing-header-defaults",
        EmptyPayloadIsAnonymous = "empty-payload-is-anonymous",
        AcceptsSignaturePadding = "accepts-signature-padding",
        AcceptsSegmentPadding = "accepts-segment-padding",
        AcceptsStandardBase64 = "accepts-standard-base64",
        SkipsWhitespace = "skips-whitespace",
        SkipsForeignCharacters = "skips-foreign-characters",
        DropsDanglingCharacter = "drops-dangling-character",
        TruncatesAtNul = "truncates-at-nul",
        CrashesOnNonAscii = "crashes-on-non-ascii",
        StripsQuotes = "strips-quotes",
        AcceptsJsonSerialization = "accepts-json-serialization",
        HeaderNotJsonDefaults = "header-not-json-defaults",
        OpaquePayload = "opaque-payload",
        StopsAtFirstJsonValue = "stops-at-first-json-value",
        LossyUtf8 = "lossy-utf8",
        AcceptsUtf16 = "accepts-utf16",
        FirstDuplicateWins = "first-duplicate-wins",
        LastAlgUnchecked = "last-alg-unchecked",
        HeaderBySubstring = "header-by-substring",
        ExpBySubstring = "exp-by-substring",
        FoldsClaimNames = "folds-claim-names",
        LastFoldedClaimWins = "last-folded-claim-wins",
        ConstantHeader = "constant-header",
        RelaxedJson = "relaxed-json",
        CrashesOnOddNumbers = "crashes-on-odd-numbers",
        AsciiClaimsOnly = "ascii-claims-only",
        ComparesRoleUnescaped = "compares-role-unescaped",
        AnySignatureCounts = "any-signature-counts",
        CrashesOnControlCharacters = "crashes-on-control-characters",
    }
    "SIG" {
        IgnoresSignature = "ignores-signature",
        ComparesSignaturePrefix = "compares-signature-prefix",
        PayloadOutsideSignature = "payload-outside-signature",
        HeaderOutsideSignature = "header-outside-signature",
        SignatureFromAnotherToken = "signature-from-another-token",
        CacheByHeaderAndPayload = "cache-by-header-and-payload",
        NegativeCacheByPayload = "negative-cache-by-payload",
        AcceptsAlgNone = "accepts-alg-none",
        AcceptsAlgNoneAnyCase = "accepts-alg-none-any-case",
        UnnamedAlgIsNone = "unnamed-alg-is-none",
        MissingAlgDefaults = "missing-alg-defaults",
        FalsyAlgSkipsCheck = "falsy-alg-skips-check",
        AlgOfAnyType = "alg-of-any-type",
        UnknownAlgFallsThrough = "unknown-alg-falls-through",
        FoldsAlgCase = "folds-alg-case",
        TrimsAlg = "trims-alg",
        AllowsHmacFamily = "allows-hmac-family",
        HashBySignatureLength = "hash-by-signature-length",
        ComparesShorterLength = "compares-shorter-length",
        ComparesWithStartsWith = "compares-with-starts-with",
        ConstantSignaturePasses = "constant-signature-passes",
        EmptySecretAccepted = "empty-secret-accepted",
        UnknownKidNeedsNoSignature = "unknown-kid-needs-no-signature",
        DefaultSecretActive = "default-secret-active",
        AsymmetricAlgUnchecked = "asymmetric-alg-unchecked",
        IgnoresCrit = "ignores-crit",
        CritAllowsClaimNames = "crit-allows-claim-names",
        HonoursB64False = "honours-b64-false",
        DecryptsJwe = "decrypts-jwe",
        EncSkipsSignature = "enc-skips-signature",
        TrustsNestedToken = "trusts-nested-token",
        RefusesUnknownHeader = "refuses-unknown-header",
        HeaderOverridesClaims = "header-overrides-claims",
        RetiredSecretAccepted = "retired-secret-accepted",
        PublicKeyAsSecret = "public-key-as-secret",
        PublicKeyAsSecretUnlessPem = "public-key-as-secret-unless-pem",
        HashByDigestInfo = "hash-by-digest-info",
        EitherRsaPadding = "either-rsa-padding",
        LenientPkcs1 = "lenient-pkcs1",
        AnyPssSalt = "any-pss-salt",
        RsaRangeUnchecked = "rsa-range-unchecked",
        AcceptsDerSignature = "accepts-der-signature",
        ZeroEcdsaSignature = "zero-ecdsa-signature",
        PadsShortEcdsa = "pads-short-ecdsa",
        CutsLongEcdsa = "cuts-long-ecdsa",
        CurveNotTied = "curve-not-tied",
        EddsaRangeUnchecked = "eddsa-range-unchecked",
    }
    "CLM" {
        IgnoresExp = "ignores-exp",
        LeewayInMinutes = "leeway-in-minutes",
        HiddenLeeway = "hidden-leeway",
        ExpBoundary = "exp-boundary",
        VerdictOutlivesToken = "verdict-outlives-token",
        AcceptsMissingExp = "accepts-missing-exp",
        CoercesExpString = "coerces-exp-string",
        WrongExpTypeIsAbsent = "wrong-exp-type-is-absent",
        ExpUnsigned = "exp-unsigned",
        FalsyExpSkipsCheck = "falsy-exp-skips-check",
        RefusesFractionalExp = "refuses-fractional-exp",
        Exp32Bit = "exp-32-bit",
        IgnoresNbf = "ignores-nbf",
        RefusesNbfNow = "refuses-nbf-now",
        NbfStringIsAbsent = "nbf-string-is-absent",
        ServesWithoutIdentity = "serves-without-identity",
        ServesEmptyIdentity = "serves-empty-identity",
        RefusesUnknownClaim = "refuses-unknown-claim",
        RequiresUndeclaredClaim = "requires-undeclared-claim",
        RequiresTyp = "requires-typ",
        ExactTyp = "exact-typ",
        SecondCarrierUnverified = "second-carrier-unverified",
        AgeFromExp = "age-from-exp",
        IgnoresLifetime = "ignores-lifetime",
        IgnoresAud = "ignores-aud",
        MissingAudSkipsCheck = "missing-aud-skips-check",
        RefusesAudArray = "refuses-aud-array",
        AnyAudArray = "any-aud-array",
        EmptyAudMatches = "empty-aud-matches",
        AudBySubstring = "aud-by-substring",
        FoldsAudCase = "folds-aud-case",
        AudOfAnyType = "aud-of-any-type",
        IgnoresIss = "ignores-iss",
        MissingIssSkipsCheck = "missing-iss-skips-check",
        NormalisesIss = "normalises-iss",
        IssAnyOfArray = "iss-any-of-array",
        IgnoresDirectory = "ignores-directory",
        NormalisesIdentity = "normalises-identity",
        ForgetsJti = "forgets-jti",
        AccessTokenClaimsOptional = "access-token-claims-optional",
        IgnoresTyp = "ignores-typ",
        AcceptsRefreshToken = "accepts-refresh-token",
        CtyPicksParser = "cty-picks-parser",
        IdentityInQuery = "identity-in-query",
        ScopeBySubstring = "scope-by-substring",
        PollutesPrototype = "pollutes-prototype",
    }
    "KEY" {
        UnknownIssuerNeedsNoSignature = "unknown-issuer-needs-no-signature",
        RequiresKid = "requires-kid",
        KidNamesAFile = "kid-names-a-file",
        KidInAQuery = "kid-in-a-query",
        KidInAShell = "kid-in-a-shell",
        KidInAFilter = "kid-in-a-filter",
        KidInAHeader = "kid-in-a-header",
        TrustsEmbeddedKey = "trusts-embedded-key",
        TrustsEmbeddedSecret = "trusts-embedded-secret",
        TrustsEmbeddedCertificate = "trusts-embedded-certificate",
        ComputesWithEmbeddedKey = "computes-with-embedded-key",
        AnyKeyForAnyIssuer = "any-key-for-any-issuer",
        PublishesSecret = "publishes-secret",
        PublishesWeakKey = "publishes-weak-key",
        PublishesUnmarkedKey = "publishes-unmarked-key",
    }
    "CAR" {
        UndeclaredCarrierUnverified = "undeclared-carrier-unverified",
        HeaderCarrierMissing = "header-carrier-missing",
        CaseSensitiveScheme = "case-sensitive-scheme",
        AnyScheme = "any-scheme",
        DoubleDecodes = "double-decodes",
        CookieFallback = "cookie-fallback",
        CookieRescuesBadToken = "cookie-rescues-bad-token",
        FirstParameterWins = "first-parameter-wins",
        LastParameterWins = "last-parameter-wins",
        RawQuery = "raw-query",
        TrimsToken = "trims-token",
        CrashesOnValuelessParameter = "crashes-on-valueless-parameter",
        CrashesOnBadPercent = "crashes-on-bad-percent",
        ShortTokenLimit = "short-token-limit",
        PrefixPathBypass = "prefix-path-bypass",
        OptionalPathToken = "optional-path-token",
        GreedyPath = "greedy-path",
        QueryRescuesPath = "query-rescues-path",
        EitherCarrierRescues = "either-carrier-rescues",
        OneSpaceAfterScheme = "one-space-after-scheme",
        FoldsParameterCase = "folds-parameter-case",
        QueryFallback = "query-fallback",
        CrashesOnArrayParameter = "crashes-on-array-parameter",
        DecodesPathBeforeRouting = "decodes-path-before-routing",
        TwoAuthorizationHeaders = "two-authorization-headers",
        SubprotocolEchoesToken = "subprotocol-echoes-token",
        LastCarrierWins = "last-carrier-wins",
        ParametersCutOff = "parameters-cut-off",
        SubprotocolNotSelected = "subprotocol-not-selected",
        SubprotocolPrefixIsEnough = "subprotocol-prefix-is-enough",
        SubprotocolNotDecoded = "subprotocol-not-decoded",
        BroadcastsBeforeAuth = "broadcasts-before-auth",
        RefusedFirstMessageStaysOpen = "refused-first-message-stays-open",
        ServesBeforeAuth = "serves-before-auth",
        AuthTimeoutMissing = "auth-timeout-missing",
        PingsExtendAuthTimeout = "pings-extend-auth-timeout",
        AnyJwtLookingCookie = "any-jwt-looking-cookie",
        ReadsBody = "reads-body",
    }
    "HSK" {
        ConstantAcceptKey = "constant-accept-key",
        UpgradesAnyMethod = "upgrades-any-method",
        UpgradesAnyVersion = "upgrades-any-version",
        OmitsVersionHeader = "omits-version-header",
        UpgradesWithoutKey = "upgrades-without-key",
        UpgradesWithoutUpgrade = "upgrades-without-upgrade",
        AnonymousOnUnknownPath = "anonymous-on-unknown-path",
        SendsUnaskedSubprotocol = "sends-unasked-subprotocol",
        SendsUnaskedExtension = "sends-unasked-extension",
        ExactUpgradeWords = "exact-upgrade-words",
        UnknownHeaderIsError = "unknown-header-is-error",
        JoinsTwoKeys = "joins-two-keys",
        UpgradesOldDraft = "upgrades-old-draft",
        UpgradesHttp10 = "upgrades-http-1-0",
        HostNotRequired = "host-not-required",
        TakesAnyHost = "takes-any-host",
        SpaceBeforeColon = "space-before-colon",
        FoldedLineIsHeader = "folded-line-is-header",
        BareCrEndsLine = "bare-cr-ends-line",
        AnswersOwnSubprotocol = "answers-own-subprotocol",
        CrashesOnExtensionHeader = "crashes-on-extension-header",
        OneReadPerRequest = "one-read-per-request",
        DropsEarlyFrames = "drops-early-frames",
        RoutesAbsoluteForm = "routes-absolute-form",
        LengthOn101 = "length-on-101",
        IdentitySticksToConnection = "identity-sticks-to-connection",
        BodyTakenAsFrames = "body-taken-as-frames",
        SlowVerification = "slow-verification",
        RedirectsWithToken = "redirects-with-token",
        AnswersBehindRefusal = "answers-behind-refusal",
        FirstOfferedSubprotocol = "first-offered-subprotocol",
        GuardsUsualSpelling = "guards-usual-spelling",
    }
    "REJ" {
        MissingReportedAsInvalid = "missing-reported-as-invalid",
        InvalidReportedAsInternal = "invalid-reported-as-internal",
        ForgedReportedAsExpired = "forged-reported-as-expired",
        ExpiredReportedAsInvalid = "expired-reported-as-invalid",
        RoleReportedAsUnauthenticated = "role-reported-as-unauthenticated",
        WelcomeBeforeVerification = "welcome-before-verification",
        SlowRefusal = "slow-refusal",
        CrashesInsteadOfRefusing = "crashes-instead-of-refusing",
        RefusesWith200 = "refuses-with-200",
        Unchallenged401 = "unchallenged-401",
        IllegalCloseCode = "illegal-close-code",
        NormalClosureRefusal = "normal-closure-refusal",
        OverlongCloseReason = "overlong-close-reason",
        WrongReason = "wrong-reason",
        CloseBeforeAccept = "close-before-accept",
        UpgradesToRefuse = "upgrades-to-refuse",
        StatusWithoutItsHeader = "status-without-its-header",
        ChallengeOfAnotherError = "challenge-of-another-error",
        ErrorWithoutCredentials = "error-without-credentials",
        RefusedSocketsLinger = "refused-sockets-linger",
        CodesShiftedByOne = "codes-shifted-by-one",
        ExceptionAsReason = "exception-as-reason",
    }
    "ROLE" {
        OnlyAdminAllowed = "only-admin-allowed",
        ViewerAllowed = "viewer-allowed",
        ReadOnlyAllowed = "read-only-allowed",
        DefaultRoleAdmin = "default-role-admin",
        FalsyRoleSkipsCheck = "falsy-role-skips-check",
        DenylistOfRoles = "denylist-of-roles",
        FoldsRoleCase = "folds-role-case",
        TrimsRole = "trims-role",
        RoleBySubstring = "role-by-substring",
        RoleAnyOfArray = "role-any-of-array",
        RoleTruthy = "role-truthy",
        MergesRoleClaims = "merges-role-claims",
        RoleFromRequest = "role-from-request",
        RoleFromHeader = "role-from-header",
        RoleCachedPerUser = "role-cached-per-user",
        LongRoleBreaksClose = "long-role-breaks-close",
        ReasonCutInsideCharacter = "reason-cut-inside-character",
        CrashesOnUnknownPlan = "crashes-on-unknown-plan",
        CrashesOnOddLimits = "crashes-on-odd-limits",
    }
    "USR" {
        UserFromMessage = "user-from-message",
        StampByClient = "stamp-by-client",
        ConstantRequestId = "constant-request-id",
        MillisecondTimestamp = "millisecond-timestamp",
        SharedUserState = "shared-user-state",
        BroadcastSkipsSender = "broadcast-skips-sender",
        ContextSurvives = "context-survives",
    }
    "MSG" {
        NoEcho = "no-echo",
        WelcomeOnlyOnce = "welcome-only-once",
        StopsAfterOneMessage = "stops-after-one-message",
        ReordersBurst = "reorders-burst",
        DropsInBurst = "drops-in-burst",
        DoublesInBurst = "doubles-in-burst",
        OneFramePerRead = "one-frame-per-read",
        TruncatesAtNulText = "truncates-at-nul-text",
        TextLimitOffByOne = "text-limit-off-by-one",
        MasksServerFrames = "masks-server-frames",
        NoCloseReply = "no-close-reply",
        ProcessesAfterClose = "processes-after-close",
        CrashesOnBadJson = "crashes-on-bad-json",
        PoisonsBroadcast = "poisons-broadcast",
        CrashesOnBinary = "crashes-on-binary",
        NeedsWholeHeader = "needs-whole-header",
        EmptyTextEndsSession = "empty-text-ends-session",
        LimitCountsFrame = "limit-counts-frame",
        NoMessageLimit = "no-message-limit",
        LimitPerFrameOnly = "limit-per-frame-only",
        WaitsForAnnouncedLength = "waits-for-announced-length",
        SignedFrameLength = "signed-frame-length",
        AcceptsUnmasked = "accepts-unmasked",
        ZeroMaskIsUnmasked = "zero-mask-is-unmasked",
        IgnoresFirstReservedBit = "ignores-first-reserved-bit",
        IgnoresOtherReservedBits = "ignores-other-reserved-bits",
        UnknownOpcodeIsText = "unknown-opcode-is-text",
        IgnoresUnknownControl = "ignores-unknown-control",
        DropsEmptyFragment = "drops-empty-fragment",
        ControlEndsMessage = "control-ends-message",
        ContinuationStartsMessage = "continuation-starts-message",
        DropsUnfinishedMessage = "drops-unfinished-message",
        IgnoresFinOnControl = "ignores-fin-on-control",
        EmptyPong = "empty-pong",
        AcceptsLongPing = "accepts-long-ping",
        PongQueueStalls = "pong-queue-stalls",
        DiesOnUnaskedPong = "dies-on-unasked-pong",
        AnswersUnaskedPong = "answers-unasked-pong",
        LossyText = "lossy-text",
        ValidatesUtf8PerFragment = "validates-utf8-per-fragment",
        ValidatesFirstFragmentOnly = "validates-first-fragment-only",
        DropsOnEmptyClose = "drops-on-empty-close",
        HangsOnShortClose = "hangs-on-short-close",
        HangsOnBadCloseReason = "hangs-on-bad-close-reason",
        EchoesForbiddenCode = "echoes-forbidden-code",
        RejectsPrivateCodes = "rejects-private-codes",
        CrashesOnDeepJson = "crashes-on-deep-json",
        CrashesOnUnknownType = "crashes-on-unknown-type",
        UnescapedBroadcast = "unescaped-broadcast",
        ErrorIsNoJson = "error-is-no-json",
        TimesOutInsideFrame = "times-out-inside-frame",
        EchoesLongClose = "echoes-long-close",
    }
    "CMP" {
        AnswersUnofferedParameter = "answers-unoffered-parameter",
        AcceptsBadOffer = "accepts-bad-offer",
        LosesDeflateContext = "loses-deflate-context",
        IgnoresMisplacedRsv1 = "ignores-misplaced-rsv1",
        IgnoresInflateError = "ignores-inflate-error",
        LimitBeforeInflation = "limit-before-inflation",
        InflatesEverything = "inflates-everything",
    }
    "SES" {
        ExpiryTimerOverflows = "expiry-timer-overflows",
        SessionOutlivesToken = "session-outlives-token",
        KeepaliveKillsSession = "keepalive-kills-session",
    }
    "ORI" {
        OnlyFirstOriginAllowed = "only-first-origin-allowed",
        OriginUnchecked = "origin-unchecked",
        CookieSkipsOriginCheck = "cookie-skips-origin-check",
        NullOriginAllowed = "null-origin-allowed",
        OriginByPrefix = "origin-by-prefix",
        OriginBySuffix = "origin-by-suffix",
        OriginByLooseRegex = "origin-by-loose-regex",
        OriginByHostOnly = "origin-by-host-only",
        OriginBySubstring = "origin-by-substring",
        AnyOriginCounts = "any-origin-counts",
        SameHostIsAllowed = "same-host-is-allowed",
        AbsentOriginAllowed = "absent-origin-allowed",
    }
    "HTTP" {
        HealthNeedsToken = "health-needs-token",
        StaleHealthTimestamp = "stale-health-timestamp",
        LeakyHealth = "leaky-health",
        DocumentedLoginFails = "documented-login-fails",
        BadPasswordIs200 = "bad-password-is-200",
        AnyPasswordLogsIn = "any-password-logs-in",
        UserEnumeration = "user-enumeration",
        CrashesOnMissingField = "crashes-on-missing-field",
        LoginByGet = "login-by-get",
        CacheableToken = "cacheable-token",
        LifetimeInMinutes = "lifetime-in-minutes",
        IssuedInLocalTime = "issued-in-local-time",
        IssuedTokenLacksClaims = "issued-token-lacks-claims",
        PasswordInToken = "password-in-token",
        ConstantIssuedToken = "constant-issued-token",
        SameRefreshToken = "same-refresh-token",
        TestTokenInProduction = "test-token-in-production",
        ValidateIgnoresSignature = "validate-ignores-signature",
        ValidateCachesCaller = "validate-caches-caller",
        GuessesBodyType = "guesses-body-type",
        DefaultAccount = "default-account",
        InjectableLogin = "injectable-login",
        DeadTestToken = "dead-test-token",
        PlainGetCrashes = "plain-get-crashes",
        ReflectingCors = "reflecting-cors",
    }
    "RES" {
        DiesAfterBadToken = "dies-after-bad-token",
        WorkerRestart = "worker-restart",
        DeathIsContagious = "death-is-contagious",
        HealthBreaksUnderAttack = "health-breaks-under-attack",
        SharedVerificationState = "shared-verification-state",
    }
    "DOS" {
        DiesOnReset = "dies-on-reset",
        DeepHeaderOverflows = "deep-header-overflows",
        DeepClaimsOverflow = "deep-claims-overflow",
        UnboundedPbes2 = "unbounded-pbes2",
    }
    "KEY" {
        FollowsJku = "follows-jku",
        FollowsX5u = "follows-x5u",
        FollowsIss = "follows-iss",
        FetchesJkuButRefuses = "fetches-jku-but-refuses",
        JkuAllowedBySubstring = "jku-allowed-by-substring",
    }
    "TLS" {
        PlainPortServes = "plain-port-serves",
        ExpiredCertificate = "expired-certificate",
        UnguardedDefaultHost = "unguarded-default-host",
    }
    "LEAK" {
        ReflectsToken = "reflects-token",
        LeaksSecret = "leaks-secret",
        StackTrace = "stack-trace",
        JudgesClaimsFirst = "judges-claims-first",
        RoleBeforeSignature = "role-before-signature",
        TellsExpectedSignature = "tells-expected-signature",
        LooksUpUserFirst = "looks-up-user-first",
        BroadcastsClaims = "broadcasts-claims",
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The text names no fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownFault(pub String);

impl fmt::Display for UnknownFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no fault is called `{}`", self.0)
    }
}

impl std::error::Error for UnknownFault {}

impl FromStr for Fault {
    type Err = UnknownFault;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Fault::ALL.iter().copied().find(|fault| fault.name() == name).ok_or_else(|| UnknownFault(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_reads_back_and_is_used_once() {
        let mut names: Vec<_> = Fault::ALL.iter().map(|fault| fault.name()).collect();
        for fault in Fault::ALL {
            assert_eq!(fault.name().parse(), Ok(*fault));
        }
        names.sort_unstable();
        let before = names.len();
        names.dedup();
        assert_eq!(names.len(), before);
    }
}
