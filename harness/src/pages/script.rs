//! Steps in words: what each sends, and what it asks for. The target is made up; its profile declares what the case
//! needs.

use std::borrow::Cow;
use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::carrier::{self, Placed};
use crate::case::{
    Across, Alive, Answer, Await, Awaited, Case, Close, Crowd, Encoding, Expect, FrameText, Given, Hear, How, Http,
    Issued, KeySet, Lint, OfLimit, Open, Request, Say, Selects, Send, Sent, Share, Stamp, Step,
};
use crate::catalogue::Catalogue;
use crate::judge;
use crate::kept::{self, Kept};
use crate::need::Need;
use crate::profile::{Carrier, Class, FirstMessage, HttpEndpoint, Profile, Roles, Shape, TokenProfile};
use crate::run;
use crate::target::{Endpoint, Target, Templates, Tokens};
use crate::token::{
    Algorithm, ForgeError, IdentityRule, KeyKind, Keyring, Mint, Op, OtherIssuer, PrivateKey, Recipe, Rules, Token,
    fill, forge, oracle,
};
use crate::verdict::Level;
use crate::wire::frame::{self, Written};
use crate::wire::tls::version_name;

use super::text::{Text, hex, readable, shorten};
use super::word;

/// Where the clock of the made-up target stands.
const NOW: f64 = 1_750_000_000.0;
/// Who its tokens name.
const USER: &str = "alice";
/// Signs its tokens. It guards nothing.
const SECRET: &[u8] = b"a secret that is used for explanations only";
/// Signs the tokens of the other issuer that it trusts.
const OTHERS: &[u8] = b"a secret that another issuer uses for explanations only";
/// The secret it has retired.
const RETIRED: &[u8] = b"a secret that was used for explanations once";
/// An address of the harness.
const LISTENER: &str = "http://harness.example/0123456789abcdef";
/// Where keys are usually published.
const JWKS_PATH: &str = "/.well-known/jwks.json";
/// A masking key, the one of the examples in RFC 6455 §5.7.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
/// The longest text that is shown in its place in a request.
const SHORT: usize = 40;

/// One step in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Told {
    /// What is done.
    pub(super) what: String,
    /// The bytes that are sent for it, and what they hold.
    pub(super) sent: Vec<Line>,
    /// What must come of it.
    pub(super) right: Vec<String>,
}

/// A line that belongs to a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    label: String,
    words: String,
}

impl Line {
    fn plain(words: impl Into<String>) -> Self {
        Self { label: String::new(), words: words.into() }
    }

    fn labelled(label: &str, words: impl Into<String>) -> Self {
        Self { label: label.to_owned(), words: words.into() }
    }

    pub(super) fn write(&self, text: &mut Text, indent: usize) {
        match self.label.as_str() {
            "" => text.line(indent, &self.words),
            label => text.labelled(indent, label, &self.words),
        }
    }
}

/// Where from `index` on a block of steps is repeated: how many steps, and how many more times.
pub(super) fn repeats(told: &[Told], index: usize) -> Option<(usize, usize)> {
    (1..=4.min(index)).find_map(|period| {
        let block = &told[index - period..index];
        let times = told[index..].chunks_exact(period).take_while(|chunk| *chunk == block).count();
        // A single short line is not made shorter by pointing at another.
        (times > 0 && (period * times > 1 || block[0].sent.len() > 1)).then_some((period, times))
    })
}

/// The made-up target.
#[derive(Debug)]
pub(super) struct Scene<'a> {
    catalogue: &'a Catalogue,
    target: Target,
    carrier: Carrier,
    rules: Rules,
}

/// The carrier of a target that has what the case needs.
fn carrier_for(case: &Case) -> Carrier {
    let needs = |need: Need| case.head.needs.contains(&need);
    let alone = !needs(Need::TwoCarriers);
    if needs(Need::PathCarrier) {
        Carrier::Path
    } else if needs(Need::HeaderCarrier) && alone {
        Carrier::Authorization("Bearer".to_owned())
    } else if needs(Need::CookieCarrier) && alone {
        Carrier::Cookie("session".to_owned())
    } else if needs(Need::SubprotocolCarrier) && alone {
        Carrier::Subprotocol(vec!["app".to_owned(), "bearer.{token}".to_owned()])
    } else if needs(Need::EncodedSubprotocolCarrier) && alone {
        let element = "base64url.bearer.authorization.k8s.io.{token_base64url}";
        Carrier::Subprotocol(vec!["app".to_owned(), element.to_owned()])
    } else if needs(Need::FirstMessageCarrier) && alone {
        Carrier::FirstMessage(FirstMessage {
            send: r#"{"type":"auth","token":"{token}"}"#.to_owned(),
            reply: Some(Shape::like(r#"{"type":"auth_ok"}"#)),
            ..FirstMessage::default()
        })
    } else {
        Carrier::Query("token".to_owned())
    }
}

/// Declares what a case needs, as far as it shows in what is sent.
fn declare(profile: &mut Profile, need: Need) {
    match need {
        Need::TwoCarriers => profile.carriers.push(Carrier::Authorization("Bearer".to_owned())),
        Need::Algorithms => profile.algorithms = Some(vec!["HS256".to_owned()]),
        Need::Kid => profile.kid = Some("key-1".to_owned()),
        Need::Leeway | Need::NoLeeway => profile.leeway = Some(0),
        Need::RequireExp => profile.require_exp = Some(true),
        Need::OptionalExp => profile.require_exp = Some(false),
        Need::MaxTokenAge => profile.max_token_age = Some(3600),
        Need::MaxTokenLifetime => profile.max_token_lifetime = Some(3600),
        Need::Audience => profile.audience = Some("https://server.example".to_owned()),
        Need::Issuer | Need::SecondIssuer => profile.issuer = Some("https://issuer.example".to_owned()),
        Need::Rfc9068 => profile.profile = Some(TokenProfile::Rfc9068),
        Need::TokenType | Need::TypPolicy => profile.token_type = Some("app+jwt".to_owned()),
        Need::RefreshMarker => {
            profile.refresh_marker.insert("token_use".to_owned(), "refresh".into());
        }
        Need::RequiredScope => profile.required_scope = Some("socket".to_owned()),
        Need::TokenKind => profile.audience = Some("https://server.example".to_owned()),
        Need::RequiredClaims => profile.required_claims = vec!["sub".to_owned(), "exp".to_owned()],
        Need::IdentityClaim => profile.identity_claims = vec!["sub".to_owned()],
        Need::SingleUse => profile.jti_single_use = true,
        Need::Roles | Need::DefaultRole | Need::DeniedRole => {
            profile.roles = Some(Roles {
                claim: "role".to_owned(),
                list: false,
                allowed: ["admin", "developer", "dba"].map(str::to_owned).to_vec(),
                denied: vec!["viewer".to_owned(), "read_only".to_owned()],
                default: Some("read_only".to_owned()),
            });
        }
        Need::Subprotocol => profile.subprotocol = Some("app".to_owned()),
        Need::AllowedOrigins | Need::RequireOrigin => {
            profile.allowed_origins = vec!["https://app.server.example".to_owned()];
        }
        Need::JkuAllowlist => profile.jku_allowlist = vec!["https://keys.example".to_owned()],
        Need::MaxMessageBytes => profile.max_message_bytes = Some(65_536),
        _ => {}
    }
}

/// A target that declares what the case needs.
fn target_for(case: &Case, carrier: &Carrier) -> Target {
    let mut profile = Profile { carriers: vec![carrier.clone()], ..Profile::default() };
    for name in ["personal-assistant", "shipvox", "omni2"] {
        for (name, endpoint) in Profile::preset(name).unwrap_or_default().http {
            profile.http.entry(name).or_insert(endpoint);
        }
    }
    case.head.needs.iter().chain(&case.head.must_when).for_each(|need| declare(&mut profile, *need));
    let other_issuers = case.head.needs.contains(&Need::SecondIssuer).then(|| OtherIssuer {
        issuer: "https://other.example".to_owned(),
        keys: Keyring::new().with_secret(OTHERS),
        algorithm: Algorithm::HS256,
        kid: Some("other-1".to_owned()),
    });
    let path = if *carrier == Carrier::Path { "/ws/{token}" } else { "/ws" };
    Target {
        endpoint: Endpoint {
            tls: false,
            host: "server".to_owned(),
            port: 80,
            path: path.to_owned(),
            query: String::new(),
            carrier: Some(carrier.clone()),
        },
        profile,
        keys: Keyring::new().with_secret(SECRET).with_retired_secret(RETIRED),
        algorithm: Algorithm::HS256,
        other_issuers: other_issuers.into_iter().collect(),
        test_token: case.head.needs.contains(&Need::FixedTestToken).then(|| "the-test-token".to_owned()),
        tokens: Tokens::Made,
        secrets: Vec::new(),
        trust: None,
    }
}

/// What the target promises about tokens.
fn rules_of(target: &Target, case: &Case) -> Rules {
    Rules {
        identity: IdentityRule {
            claims: ["sub", "user_id", "username"].map(str::to_owned).to_vec(),
            // What is only recommended is shown as where it is promised.
            required: case.head.needs.iter().chain(&case.head.must_when).any(|need| *need == Need::RequiredIdentity),
        },
        ..Rules::of(target)
    }
}

impl<'a> Scene<'a> {
    pub(super) fn of(case: &Case, catalogue: &'a Catalogue) -> Self {
        let carrier = carrier_for(case);
        let target = target_for(case, &carrier);
        let rules = rules_of(&target, case);
        Self { catalogue, target, carrier, rules }
    }

    /// What a reader must know of the target.
    pub(super) fn introduction(&self) -> String {
        let carrier = match &self.carrier {
            Carrier::Path => "in the path".to_owned(),
            Carrier::Query(name) => format!("in the query parameter `{name}`"),
            Carrier::Authorization(scheme) => format!("in Authorization: {scheme}"),
            Carrier::Header(name) => format!("in the header {name}"),
            Carrier::Cookie(name) => format!("in the cookie `{name}`"),
            Carrier::Subprotocol(_) => "in the list of subprotocols".to_owned(),
            Carrier::FirstMessage(_) => "in the first message".to_owned(),
            Carrier::Body(name) => format!("in the body, as `{name}`"),
        };
        format!("shown for a server that takes its token {carrier}, for the user {USER}, at the time {NOW}")
    }

    /// A question to everything that the run saw.
    pub(super) fn across(question: Across) -> Told {
        let what = "nothing of its own: what the server sent in all cases of the run is looked at".to_owned();
        Told { what, sent: Vec::new(), right: vec![across(question)] }
    }

    /// A question to the profile.
    pub(super) fn lint(question: Lint) -> Told {
        let right = match question {
            Lint::SecretStrength => {
                "the secret has at least 32 bytes for HS256 (48 for HS384, 64 for HS512), and is no word that documents \
                 print, and no phrase of such words"
            }
            Lint::Encrypted => "the URL begins with wss://, unless the target is on this machine",
        };
        let what = "nothing: the profile is looked at".to_owned();
        Told { what, sent: Vec::new(), right: vec![right.to_owned()] }
    }

    /// The steps of a session in order.
    pub(super) fn session(&self, steps: &[Step]) -> Vec<Told> {
        let kept: Kept = steps
            .iter()
            .flat_map(|step| kept::parts(step).into_iter().flatten())
            .map(|(name, _)| (name.clone(), format!("<{name}>")))
            .collect();
        let filled = steps.iter().map(|step| kept::fill(step, &kept).unwrap_or(Cow::Borrowed(step)));
        let mut told: Vec<Told> = filled.map(|step| self.tell(&step)).collect();
        for (index, step) in steps.iter().enumerate() {
            let said = steps[..index].iter().any(|earlier| matches!(earlier, Step::Say(_)));
            if let (Step::Hear(hear), false) = (step, said) {
                told[index].right = vec![graded(hear.level, "nothing was said, and nothing is answered".to_owned())];
            }
        }
        told
    }

    fn tell(&self, step: &Step) -> Told {
        match step {
            Step::Open(open) => self.open(open),
            Step::Http(http) => self.http(http),
            Step::Say(say) => self::say(say),
            Step::Hear(hear) => self::hear(hear),
            Step::Send(send) => self::send(send),
            Step::Await(wait) => self::wait(wait),
            Step::Receive(receive) => Told {
                what: format!("listen on `{}`", receive.on),
                sent: Vec::new(),
                right: vec![graded(receive.level, format!("{receive} comes"))],
            },
            Step::Alive(alive) => self::alive(alive),
            Step::Close(close) => self::close(close),
            Step::Cut(cut) => silent(format!("cut the connection `{}` by a reset, without a close frame", cut.on)),
            Step::Wait(wait) => silent(format!("let {} ms pass", wait.ms)),
            Step::Abort(abort) => {
                let sent = match abort.after {
                    Sent::Nothing => "open a TCP connection, send nothing",
                    Sent::HalfALine => "send half of the request line of a good opening",
                    Sent::HalfAHead => "send half of the head of a good opening",
                    Sent::Head => "send a good opening",
                };
                silent(format!("{sent}, and cut the connection by a reset"))
            }
            Step::Crowd(crowd) => self.crowd(crowd),
            Step::Hello(hello) => Told {
                what: format!(
                    "greet the endpoint by a TLS ClientHello that offers no more than {}",
                    version_name(hello.version.number())
                ),
                sent: Vec::new(),
                right: vec!["an alert, or the end of the connection".to_owned()],
            },
            Step::Fetches(fetches) => Told {
                what: "look at what came to the harness's own listener".to_owned(),
                sent: Vec::new(),
                right: vec![format!("nothing did ({})", word(&fetches.none).to_uppercase())],
            },
        }
    }

    fn open(&self, open: &Open) -> Told {
        let main = if open.captured { Made::Captured } else { self.make(&open.token) };
        let main_on = open.carry.on.as_ref().unwrap_or(&self.carrier);
        let also: Vec<Made> = open.carry.also.iter().map(|also| self.make(&also.token)).collect();
        let names = ["TOKEN-2", "TOKEN-3", "TOKEN-4"];
        let placed: Vec<Placed<'_>> = also
            .iter()
            .zip(&open.carry.also)
            .zip(names)
            .filter_map(|((made, also), name)| {
                let on = also.on.as_ref().or_else(|| self.target.profile.carrier_beside(main_on))?;
                Some(Placed { on, token: made.shown(name) })
            })
            .collect();
        let written = self.request(&open.request);
        let key = open.request.key.as_deref().unwrap_or("<16 random bytes in base64>");
        let carry = crate::case::Carry { encoding: Encoding::Needed, ..open.carry.clone() };
        let place = Placed { on: main_on, token: main.shown("TOKEN") };
        let on: Vec<&Carrier> = std::iter::once(&place).chain(&placed).map(|placed| placed.on).collect();
        let fitted = carrier::fit(&written, &self.target.profile, &on).unwrap_or_else(|_| written.clone());
        let opening = carrier::place(&self.target.endpoint, key, place, &carry, &placed, &fitted);
        let mut sent = request(&opening.to_bytes());
        if let Some(earlier) = &open.over {
            let words = format!("the connection of `{earlier}`, if the server has left it open");
            sent.insert(0, Line::labelled("over", words));
        }
        if open.request.early_is_body {
            sent.push(Line::labelled("length", "Content-Length announces what follows as the body"));
        }
        for line in &mut sent {
            // What stands for a token that rides in another spelling.
            line.words = line.words.replace(&URL_SAFE_NO_PAD.encode("TOKEN"), "BASE64URL(TOKEN)");
        }
        if open.request.plain {
            sent.push(Line::labelled("port", "the declared `plain_port`, without TLS"));
        }
        match open.request.server_name.as_deref() {
            None => {}
            Some("") => sent.push(Line::labelled("TLS", "without a server name")),
            Some(name) => sent.push(Line::labelled("TLS", format!("for the server name {name}"))),
        }
        if let (Carrier::FirstMessage(first), Some(token)) = (main_on, place.token)
            && open.expect != Expect::Upgraded
        {
            sent.push(Line::labelled("message", readable(&first.compose(token))));
        }
        if let Some(size) = open.request.segment_bytes {
            sent.push(Line::labelled("segments", format!("of {size} byte(s) each")));
        }
        for text in &open.request.early {
            let text = text.replace("${echo}", "<a word of its own, in the form of `echo.send`>");
            sent.push(Line::labelled("at once", format!("a text message in the same segment: {}", shorten(&text))));
        }
        if main.shown("TOKEN").is_some() {
            match open.carry.encoding {
                Encoding::Needed => {}
                Encoding::Periods => sent.push(Line::labelled("encoding", "each period of TOKEN is written %2E")),
                Encoding::Every => sent.push(Line::labelled("encoding", "each byte of TOKEN is written as %XX")),
                Encoding::Twice => sent.push(Line::labelled("encoding", "each period of TOKEN is written %252E")),
            }
        }
        for (made, name) in std::iter::once(&main).chain(&also).zip(std::iter::once("TOKEN").chain(names)) {
            // A target of its own may leave the token out.
            let is_named = made.shown(name) == Some(name.as_bytes());
            if !is_named || sent.iter().any(|line| line.words.contains(name)) {
                sent.extend(made.lines(name, self));
            }
        }
        if open.again {
            sent.push(Line::labelled("again", "TOKEN is the very one of the opening before"));
        }
        let mut right = vec![judge::expectation(open.expect).to_owned()];
        right.extend(open.level.map(|level| format!("anything else breaks a {}", format!("{level:?}").to_uppercase())));
        right.extend(open.answer.iter().flat_map(answer));
        if let Some(given) = open.given {
            let words = match given {
                Given::Admitted => "the token is admitted",
                Given::Told => "the server answers before the deadline",
                Given::Compression => "the server takes the offer to compress",
                Given::Together => "the server serves several sessions of one user at a time",
            };
            right.push(format!("the rest only where {words}"));
        }
        if let Some(class) = open.class {
            right.push(format!("how it is told is judged as for every client {}", class_words(class)));
        }
        if open.certificate {
            right.push("the certificate of the server holds for its host".to_owned());
        }
        right.extend(open.told_like.as_ref().map(|earlier| format!("told in the same way as on `{earlier}`")));
        Told { what: format!("open the connection `{}`", open.name), sent, right }
    }

    fn crowd(&self, crowd: &Crowd) -> Told {
        let mut sent = Vec::new();
        let mut right = Vec::new();
        for told in crowd.of.iter().map(|open| self.open(open)) {
            sent.extend(told.sent);
            right.extend(told.right);
        }
        right.extend(crowd.in_budget.then(|| {
            "half of them are answered within the budget, `handshake_budget_ms` or a quarter of a second".to_owned()
        }));
        let what = format!("open {} of each, {} at a time, each for a user of its own", crowd.times, crowd.at_once);
        Told { what, sent, right }
    }

    fn http(&self, http: &Http) -> Told {
        let bearer = http.bearer.as_ref().map(|recipe| self.make(recipe));
        let fallback = || HttpEndpoint {
            path: if http.endpoint == "jwks" { JWKS_PATH.to_owned() } else { format!("/{}", http.endpoint) },
            method: "GET".to_owned(),
            form: Default::default(),
            json: None,
            token: None,
            answer: Default::default(),
            refusal: Default::default(),
            samples: Default::default(),
            caller: Default::default(),
        };
        let declared = self.target.profile.http.get(&http.endpoint).cloned().unwrap_or_else(fallback);
        let shown = bearer.as_ref().and_then(|made| made.shown("TOKEN")).map(|bytes| Token::new(bytes.to_vec()));
        let opening = run::request("server".to_owned(), &declared, http, shown.as_ref());
        let mut sent = request(&opening.to_bytes());
        if let Some(made) = &bearer {
            sent.extend(made.lines("TOKEN", self));
        }
        let mut right = answer(&http.answer);
        if http.declared_answer {
            right.push("the members that the profile declares for a good answer".to_owned());
        }
        if http.told_like_before {
            right.push("the same status, challenge and words as before".to_owned());
        }
        if let Some(caller) = &http.caller {
            right.push(format!("the headers that the profile's `caller` names hold `{caller}`"));
        }
        if http.declared_refusal {
            right.push("the members that the profile declares for a refusal".to_owned());
        }
        right.extend(http.issued.map(|issued| {
            match issued {
                Issued::Lifetime => "the issued token is signed as declared and lives as long as the answer says",
                Issued::Current => "the issued token is valid now by its own times, give or take five minutes",
                Issued::Identity => "the issued token names its bearer by the declared claim",
                Issued::Discreet => "the issued token tells nothing that its bearer alone should know",
                Issued::Differs => "the issued token is another than the one of the step before",
                Issued::Refresh => "a refresh token comes with the issued one, and is another",
                Issued::Nothing => "no token and no session is handed out",
            }
            .to_owned()
        }));
        right.extend(http.key_set.map(|question| {
            match question {
                KeySet::Public => "a key set without any private member or shared secret".to_owned(),
                KeySet::Sound => {
                    "RSA keys of 2048 bits or more with an odd exponent from 3 on, each key with a kid of its own"
                        .to_owned()
                }
                KeySet::Marked => {
                    "of each key whether it is for signatures (use or key_ops), and of which algorithm (alg)".to_owned()
                }
            }
        }));
        right.extend(http.current_time.as_ref().map(|at| format!("{at} is the time of now, within a minute")));
        if http.capture {
            right.push("the token in the answer is kept for a later step".to_owned());
        }
        Told { what: format!("ask the endpoint `{}` that the profile declares, such as", http.endpoint), sent, right }
    }

    /// The request with the words of the target in its texts.
    fn request(&self, written: &Request) -> Request {
        let templates = Templates::of(&self.target.profile);
        let mint = self.target.mint(&templates, NOW, USER, 1);
        let mut request = written.clone();
        let values = request.set.values_mut().chain(request.add.iter_mut().map(|(_, value)| value));
        for text in request.query.iter_mut().chain(values) {
            if let Ok(filled) = fill(text, &mint) {
                *text = filled;
            }
        }
        request
    }

    fn make(&self, recipe: &Recipe) -> Made {
        let templates = Templates::of(&self.target.profile);
        let mint = Mint { listener: Some(LISTENER), ..self.target.mint(&templates, NOW, USER, 1) };
        let made = match forge(recipe, &mint) {
            // Keys take time to make, and most cases need none of these.
            Err(ForgeError::NeedsKey(_)) => forge(recipe, &Mint { keys: key_pairs(&self.target.keys), ..mint }),
            made => made,
        };
        match made {
            Ok(token) => Made::Token(recipe.clone(), token),
            Err(error) => Made::Not(recipe.clone(), error.to_string()),
        }
    }
}

/// The keys with a pair of each kind that recipes ask for.
fn key_pairs(keys: &Keyring) -> &'static Keyring {
    static ALL: OnceLock<Keyring> = OnceLock::new();
    ALL.get_or_init(|| {
        let mut keys = keys.clone();
        for kind in [KeyKind::Rsa, KeyKind::P256, KeyKind::Ed25519] {
            PrivateKey::generate(kind).into_iter().for_each(|key| keys.add_private(key));
        }
        keys
    })
}

/// A token of the made-up target.
enum Made {
    /// It was made.
    Token(Recipe, Token),
    /// It takes keys that the made-up target has not.
    Not(Recipe, String),
    /// It came in the answer of an earlier step.
    Captured,
}

impl Made {
    /// What stands in its place in a request: a short text as it is, anything else by a name.
    fn shown<'b>(&'b self, name: &'b str) -> Option<&'b [u8]> {
        match self {
            Self::Token(_, token) => {
                let bytes = token.bytes()?;
                let is_short = bytes.len() <= SHORT && bytes.iter().all(|byte| (b' '..=b'~').contains(byte));
                Some(if is_short { bytes } else { name.as_bytes() })
            }
            Self::Not(..) | Self::Captured => Some(name.as_bytes()),
        }
    }

    /// What it holds, how it was made and what is odd about it.
    fn lines(&self, name: &str, scene: &Scene<'_>) -> Vec<Line> {
        let (recipe, token) = match self {
            Self::Captured => return vec![Line::labelled(name, "the token of the answer before")],
            Self::Not(recipe, why) => {
                let mut lines = vec![Line::labelled(name, format!("cannot be shown here: {why}"))];
                lines.extend(changes(recipe));
                return lines;
            }
            Self::Token(recipe, token) => (recipe, token),
        };
        let Some(bytes) = token.bytes() else {
            return vec![Line::labelled("token", "none is sent")];
        };
        if bytes.is_empty() {
            return vec![Line::labelled("token", "empty")];
        }
        if *recipe == Recipe::Valid {
            let mut lines = vec![Line::labelled(name, "the valid one, rightly signed")];
            lines.extend(content(bytes));
            return lines;
        }
        let mut lines = match recipe {
            Recipe::Literal(_) => {
                vec![Line::labelled(name, format!("the text {}", shorten(&readable(bytes))))]
            }
            _ => {
                let mut lines = vec![Line::labelled(name, "the valid one, changed:")];
                lines.extend(changes(recipe));
                lines.extend(content(bytes));
                lines
            }
        };
        let reasons = oracle(bytes, &scene.rules, NOW, 0.0).reasons;
        for reason in reasons {
            let place = scene.catalogue.sources.get(reason.source).map_or(reason.source, |source| &source.r#where);
            lines.push(Line::labelled("odd", format!("{} ({place})", shorten(&reason.text))));
        }
        lines
    }
}

/// The operators of a recipe, each with its sentence.
fn changes(recipe: &Recipe) -> Vec<Line> {
    let Recipe::Forge(ops) = recipe else { return Vec::new() };
    let known = Op::catalogue();
    let mut lines = Vec::new();
    for op in ops {
        let value = serde_json::to_value(op).unwrap_or_default();
        let (name, parameter) = match &value {
            serde_json::Value::Object(map) => {
                map.iter().next().map(|(name, value)| (name.clone(), format!(" {value}"))).unwrap_or_default()
            }
            other => (other.as_str().unwrap_or_default().to_owned(), String::new()),
        };
        let doc = known.iter().find(|info| info.name == name).map_or("", |info| info.doc.as_str());
        lines.push(Line::labelled("change", format!("{name}{}: {doc}", shorten(&parameter))));
    }
    lines
}

/// The parts of a token, decoded.
fn content(bytes: &[u8]) -> Vec<Line> {
    let decode = |text: &[u8]| {
        // Lenient: a broken segment is shown as far as it can be read, and the oracle says what is odd.
        let config = GeneralPurposeConfig::new()
            .with_decode_padding_mode(DecodePaddingMode::Indifferent)
            .with_decode_allow_trailing_bits(true);
        GeneralPurpose::new(&base64::alphabet::URL_SAFE, config).decode(text).ok()
    };
    let parts: Vec<&[u8]> = bytes.split(|byte| *byte == b'.').collect();
    if !(2..=5).contains(&parts.len()) {
        return vec![Line::labelled("text", shorten(&readable(bytes)))];
    }
    let names: &[&str] = match parts.len() {
        5 => &["header", "key", "iv", "ciphertext", "tag"],
        _ => &["header", "claims", "signature", "more"],
    };
    let mut lines = Vec::new();
    for (place, part) in parts.iter().enumerate() {
        let name = names.get(place).copied().unwrap_or("more");
        let words = match decode(part) {
            _ if part.is_empty() => "empty".to_owned(),
            Some(decoded) if place < 2 && parts.len() != 5 || place == 0 => shorten(&readable(&decoded)),
            Some(decoded) => format!("{} bytes", decoded.len()),
            None => format!("no base64url: {}", shorten(&readable(part))),
        };
        lines.push(Line::labelled(name, words));
    }
    lines
}

/// A request as it goes on the wire, line by line.
fn request(bytes: &[u8]) -> Vec<Line> {
    let (head, body) = match bytes.windows(4).position(|end| end == b"\r\n\r\n") {
        Some(end) => (&bytes[..end], &bytes[end + 4..]),
        None => (bytes, &[][..]),
    };
    let mut lines: Vec<Line> = Vec::new();
    for line in head.split(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        lines.push(Line::plain(format!("> {}", shorten(&readable(line)))));
    }
    if !body.is_empty() {
        lines.push(Line::labelled("body", shorten(&readable(body))));
    }
    lines
}

fn silent(what: String) -> Told {
    Told { what, sent: Vec::new(), right: Vec::new() }
}

fn say(say: &Say) -> Told {
    let how = match say.how {
        How::InTurn => "each when the one before was answered",
        How::Rapid => "without waiting for answers",
        How::OneSegment => "all in one segment",
        How::ByteByByte => "each byte in a segment of its own",
        How::Fragments => "each in three fragments",
        How::ZeroMask => "with a masking key of zeros",
        How::WithPause => "the head of the frame first, the rest a second later",
        How::Uncompressed => "not compressed, although that was agreed on",
    };
    let mut sent = Vec::new();
    for text in &say.texts {
        let word = if say.verbatim { "" } else { "<a word of its own> " };
        sent.push(Line::labelled("message", format!("{word}{}", shorten(text))));
    }
    match say.count {
        0 => {}
        1 => sent.push(Line::labelled("message", "<a word of its own>")),
        count => sent.push(Line::labelled("messages", format!("{count}, each <a word of its own>"))),
    }
    if !say.bytes.is_empty() {
        let sizes: Vec<String> = say.bytes.iter().map(usize::to_string).collect();
        sent.push(Line::labelled("messages", format!("of {} bytes", sizes.join(", "))));
    }
    if say.longest {
        sent.push(Line::labelled("message", "as long as `max_message_bytes` allows"));
    }
    if say.beyond {
        sent.push(Line::labelled("message", "of one byte more than `max_message_bytes` allows"));
    }
    if !say.with.is_empty() {
        let members = serde_json::Value::Object(say.with.clone()).to_string();
        sent.push(Line::labelled("with", format!("these members, where messages are JSON: {}", shorten(&members))));
    }
    let what = format!("say on `{}`, in the form of the profile's `echo.send`, {how}", say.on);
    Told { what, sent, right: Vec::new() }
}

fn hear(hear: &Hear) -> Told {
    let speaker = hear.from.as_ref().map_or_else(String::new, |name| format!(" on `{name}`"));
    let served = match (hear.if_served, hear.if_taken) {
        (true, _) => "where it is served, ",
        (_, true) => "where the message is taken, ",
        _ => "",
    };
    let mut right = vec![graded(
        hear.level,
        format!("{served}every message said{speaker} is answered once, in order, and nothing else comes"),
    )];
    right.extend(
        hear.discreet.then(|| "no answer holds the speaker's token, or a claim of it but the identity".to_owned()),
    );
    right.extend(hear.stamps.iter().map(|stamp| {
        match stamp {
            Stamp::Speaker => "each answer names the bearer of the speaker's token, at `identity_echo`",
            Stamp::Time => "each answer tells the time of now in seconds, at `time_echo`",
            Stamp::Id => "each answer has an identifier of the server's own, at `id_echo`, unlike any other",
        }
        .to_owned()
    }));
    Told { what: format!("listen on `{}`", hear.on), sent: Vec::new(), right }
}

fn send(send: &Send) -> Told {
    let mut sent = Vec::new();
    for text in &send.texts {
        let words = if text.is_empty() { "(empty)".to_owned() } else { shorten(text) };
        sent.push(Line::labelled("text", words));
    }
    if send.keepalives > 0 {
        sent.push(Line::labelled("text", format!("the profile's `keepalive_text`, {} times", send.keepalives)));
    }
    sent.extend(send.frames.iter().flat_map(frame_words));
    Told { what: format!("send on `{}`, as it is", send.on), sent, right: Vec::new() }
}

fn frame_words(text: &FrameText) -> Vec<Line> {
    let kind = match text.opcode {
        0 => "continuation".to_owned(),
        frame::TEXT => "text".to_owned(),
        frame::BINARY => "binary".to_owned(),
        frame::CLOSE => "close".to_owned(),
        frame::PING => "ping".to_owned(),
        frame::PONG => "pong".to_owned(),
        other => format!("opcode {other}, which is reserved"),
    };
    // A length that hangs on the target, or that comes of compression, has no head to show.
    let written = match (text.of_limit, text.deflate, text.echo) {
        (None, false, None) => match run::written(text, MASK, None) {
            Ok(written) => Some(written),
            Err(_) => return vec![Line::labelled("frame", format!("{kind}, which cannot be written"))],
        },
        _ => None,
    };
    let mut words = vec![kind];
    words.extend(written.as_ref().map(|written| format!("{} bytes", written.payload.len())));
    if let Some(OfLimit { parts, plus }) = text.of_limit {
        let share = if parts > 1 { format!(" / {parts}") } else { String::new() };
        let more = if plus > 0 { format!(" + {plus}") } else { String::new() };
        words.push(format!("`max_message_bytes`{share}{more} bytes"));
    }
    if let Some(share) = text.echo {
        let part = match share {
            Share::Whole => "",
            Share::Begin => "the first half of ",
            Share::End => "the second half of ",
        };
        words.push(format!("{part}a word of its own, in the form of `echo.send`"));
    }
    if text.deflate {
        words.push("compressed, RSV1 set".to_owned());
    }
    if !text.fin {
        words.push("not the last fragment".to_owned());
    }
    for (bit, name) in [(4, "RSV1"), (2, "RSV2"), (1, "RSV3")] {
        if text.rsv & bit != 0 {
            words.push(format!("{name} set"));
        }
    }
    if !text.masked {
        words.push("not masked".to_owned());
    }
    if let Some(announced) = text.announce {
        words.push(format!("announced as {announced}"));
    }
    if let Some(bits) = text.length_bits {
        words.push(format!("the length in {bits} bits"));
    }
    let head = |written: &Written| {
        let bytes = written.to_bytes();
        hex(&bytes[..bytes.len() - written.payload.len()])
    };
    let mut lines = vec![Line::labelled("frame", words.join(", "))];
    lines.extend(written.as_ref().map(|written| Line::labelled("head", head(written))));
    if written.as_ref().is_none_or(|written| !written.payload.is_empty()) {
        let words = match (&text.hex, text.times) {
            (Some(digits), 1) => format!("the bytes {}", shorten(digits)),
            (_, 1) => shorten(&text.text),
            (Some(digits), times) => format!("{times} times the bytes {}", shorten(digits)),
            (None, times) => format!("{times} times {}", shorten(&text.text)),
        };
        lines.push(Line::labelled("payload", words));
    }
    lines
}

fn wait(wait: &Await) -> Told {
    let on = &wait.on;
    let (what, right) = match &wait.what {
        Awaited::Welcome => (format!("wait on `{on}`"), "the promised welcome comes first"),
        Awaited::Pong(payload) => (format!("send a ping with `{payload}` on `{on}`"), "a pong with the same payload"),
        Awaited::PongHex(payload) => {
            (format!("send a ping with the bytes {payload} on `{on}`"), "a pong with the same payload")
        }
        Awaited::Unrepeated(_) => (
            format!("look at what came on `{on}`"),
            "no frame that repeats what was sent although nobody had asked for it",
        ),
        Awaited::Failed => {
            (format!("wait on `{on}`"), "the connection is failed: a close frame, or its end (RFC 6455 §7.1.7)")
        }
        Awaited::NotTaken => (
            format!("wait on `{on}`"),
            "what was said is not taken: the connection is failed, or something else than an answer to it comes",
        ),
        Awaited::Closed => (format!("wait on `{on}`"), "a close frame and the end of the connection"),
        Awaited::ClosedCleanly => (
            format!("wait on `{on}`"),
            "a close frame that does not call ours a breach (1002, 1007), and the end of the connection",
        ),
        Awaited::NoAbruptEnd => (
            format!("wait on `{on}`"),
            "a close frame, a message or silence; but no end of the connection without a close frame",
        ),
        Awaited::WellFormedClose => {
            (format!("look at what came on `{on}`"), "a close frame, if there is one, is well-formed (RFC 6455 §5.5.1)")
        }
        Awaited::LegalCloseCode => (
            format!("look at what came on `{on}`"),
            "the code of a close frame, if there is one, may be sent (RFC 6455 §7.4)",
        ),
        Awaited::Nothing => (format!("listen on `{on}`"), "no message comes"),
        Awaited::Heeded => (
            format!("listen on `{on}`"),
            "what was sent along with the opening is answered, or the connection is closed",
        ),
        Awaited::Unheeded => (
            format!("listen on `{on}`, behind a refusal too"),
            "what was sent too early or too late is not answered, and no frame comes behind a refusal",
        ),
        Awaited::HungUp => (
            format!("wait on `{on}`"),
            "the server ends the TCP connection, if the refusal was told by a close frame (RFC 6455 §7.1.1)",
        ),
        Awaited::Released => (
            format!("send another request on `{on}`, unless the answer said that the connection ends"),
            "an answer, or the end of the connection, if the refusal was told by HTTP",
        ),
        Awaited::NotServed => (
            format!("listen on `{on}`"),
            "nothing comes that only an admitted client hears: no welcome, no answer, no message of another client",
        ),
        Awaited::Ended => (format!("look at `{on}`"), "the connection is ended, by a close frame or without one"),
        Awaited::AuthTimeout { pings } => (
            format!("wait on `{on}`{}", if *pings { ", and send pings all the while" } else { "" }),
            "the connection is ended within `first_message.timeout_ms` (or ten seconds) and two seconds more",
        ),
    };
    Told { what, sent: Vec::new(), right: vec![graded(wait.level, right.to_owned())] }
}

fn alive(alive: &Alive) -> Told {
    let what = format!("say one more word on `{}`, and send a ping", alive.on);
    Told { what, sent: Vec::new(), right: vec![graded(alive.level, "the session is still served".to_owned())] }
}

fn close(close: &Close) -> Told {
    let what = match close.code {
        Some(code) if close.reason.is_empty() => format!("send a close frame with {code} on `{}`", close.on),
        Some(code) => format!("send a close frame with {code} and `{}` on `{}`", shorten(&close.reason), close.on),
        None => format!("send a close frame without a code on `{}`", close.on),
    };
    silent(what)
}

/// A sentence with the level it has, where that is not the one of the case.
fn graded(level: Option<Level>, words: String) -> String {
    match level {
        Some(level) => format!("{words} ({} only)", word(&level)),
        None => words,
    }
}

fn answer(answer: &Answer) -> Vec<String> {
    let mut words = Vec::new();
    if !answer.status.is_empty() {
        let list: Vec<String> = answer.status.iter().map(u16::to_string).collect();
        words.push(format!("HTTP {}", list.join(" or ")));
    }
    if answer.accepts_key {
        words.push("Sec-WebSocket-Accept answers the key (RFC 6455 §4.2.2)".to_owned());
    }
    if answer.accepts_a_key {
        words.push("a 101 answers one of the keys".to_owned());
    }
    if answer.offered_subprotocol {
        words.push("no Sec-WebSocket-Protocol, or one that was offered (RFC 6455 §4.2.2)".to_owned());
    }
    words.extend(answer.unreadable_by.iter().map(|origin| {
        format!("Access-Control-Allow-Origin is not {origin} together with Access-Control-Allow-Credentials")
    }));
    words.extend(answer.has.iter().map(|name| format!("a header {name}")));
    words.extend(answer.lacks.iter().map(|name| format!("no header {name}")));
    words.extend(answer.header.iter().map(|(name, text)| format!("a header {name} with `{text}` in it")));
    words.extend(answer.json.iter().map(|(pointer, value)| match value {
        serde_json::Value::Null => format!("a body in JSON with a member {pointer}"),
        value => format!("a body in JSON whose member {pointer} is {value}"),
    }));
    if answer.extensions {
        words.push("no extension, or a legal answer to the offer (RFC 7692 §7.1)".to_owned());
    }
    words.extend(answer.silent_about.iter().map(|text| format!("a body without the word `{text}`")));
    words.extend(answer.selects.map(|selects| {
        match selects {
            Selects::Declared => "the declared subprotocol is selected",
            Selects::Offered => "a subprotocol is selected that was offered and is not the token",
            Selects::NoToken => "no subprotocol is selected that holds the token",
        }
        .to_owned()
    }));
    words
}

/// A client that is refused for this.
fn class_words(class: Class) -> &'static str {
    match class {
        Class::Missing => "that has no token",
        Class::Malformed => "whose token is none",
        Class::BadSignature => "whose token is not signed by the right key in the right way",
        Class::Expired => "whose token is over",
        Class::BadClaims => "whose token lacks a claim, or has one of the wrong kind",
        Class::Insufficient => "that may not come in, though its token is good",
    }
}

fn across(question: Across) -> String {
    match question {
        Across::Signal(class) => {
            return format!("a client {} is told so as the profile declares, or in a fitting way", class_words(class));
        }
        Across::Reasons => "close frames of refusals carry the reason texts that the profile declares",
        Across::AllSignals => {
            "each class of refusal has the signal that is declared for it, and declared differences are seen"
        }
        Across::CloseReachesWire => "a declared close code is seen on the wire at least once",
        Across::RefusesBeforeUpgrade => "no forged token is refused after the upgrade",
        Across::NoDataBeforeClose => "no message of the application comes before the close frame of a refusal",
        Across::Prompt => "every refusal comes within the budget, `refusal_budget_ms` or one second",
        Across::Deliberate => "no refusal is a crash: no HTTP 5xx, no close 1011 or 1014",
        Across::NotSuccess => "every refusal by HTTP has a status from 400 to 499",
        Across::Challenge => "every 401 carries WWW-Authenticate",
        Across::LegalCloseCode => "every close code is one that may appear on the wire (RFC 6455 §7.4)",
        Across::MeaningfulCloseCode => {
            "the close code of a refusal says that something was wrong, so it is not 1000 or 1001"
        }
        Across::WellFormedClose => "every close frame is well-formed (RFC 6455 §5.5.1)",
        Across::OneSignalPerClass => "all refusals of one class are told in the same way",
        Across::TokenNotReflected => "no answer contains the token that was sent",
        Across::SecretAbsent => "no answer contains the signing secret",
        Across::StatusHeaders => {
            "every 405 names the methods that are taken (`Allow`), every 426 the protocol (`Upgrade`)"
        }
        Across::NoInternals => "no answer contains a stack trace or other internals",
        Across::Unmasked => "no frame of the server is masked (RFC 6455 §5.1)",
        Across::ValidMessages => "every text message is UTF-8, and JSON where the profile declares it",
        Across::Controls => "every control, which is the valid token between the cases, was admitted",
        Across::Witness => "a session that was opened after the first control still answers at the end of the run",
        Across::NoTokenInRedirect => "no redirect to another host has the token in its Location",
        Across::ChallengeFits => {
            "a challenge to a token is one of Bearer with error=\"invalid_token\" or error=\"insufficient_scope\""
        }
        Across::BareChallenge => "a challenge to a client without a token has no error=",
        Across::StatusSemantics => "whatever it is: the statuses of the refusals are reported, by class",
        Across::NoLibraryWords => "no refusal repeats the text of a library's error",
        Across::ExpectationsAbsent => {
            "no refusal tells the signature, audience or issuer that the token should have had, or lists the roles"
        }
        Across::Banners => "whatever it is: Server, X-Powered-By and the like are reported",
    }
    .to_owned()
}
