//! The case: one requirement and the traffic that tests it, as data.
//!
//! These types are the case language: what a file under `scenarios/cases/` may say. They decide nothing and send
//! nothing. `catalogue` reads them, `plan` chooses among them, `run` plays them and `judge` grades what came back.

use std::collections::BTreeMap;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::kept::Part;
use crate::need::Need;
use crate::profile::{Carrier, Class, Shape};
use crate::token::{Recipe, Words};
use crate::verdict::{Level, Severity};

/// The head of a case and its traffic, as it stands in a file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
#[schemars(rename = "Case")]
pub struct CaseText {
    /// The stable identity, such as `SIG-008`: never positional, never used again.
    pub code: String,
    /// The speaking identity, in kebab-case.
    pub name: String,
    /// The requirement, as a sentence without a final stop.
    pub title: String,
    /// How strongly the rule binds.
    pub level: Level,
    /// How bad a violation is.
    pub severity: Severity,
    /// The sentences it rests on, by their keys in `scenarios/sources.yaml` or under `sources` in its own file.
    #[serde(default)]
    pub source: Vec<String>,
    /// The weakness it hunts. A measurement or a control has none.
    #[serde(default)]
    pub weakness: Option<String>,
    /// What the profile must declare.
    #[serde(default)]
    pub needs: Vec<Need>,
    /// Declarations under which the case does not hold.
    #[serde(default)]
    pub unless: Vec<Need>,
    /// Declarations that turn what is only recommended into a promise: where the target makes all of them, the level is
    /// `must`.
    #[serde(default)]
    pub must_when: Vec<Need>,
    /// Words to select it by.
    #[serde(default)]
    pub tags: Vec<String>,
    /// When it runs.
    #[serde(default)]
    pub set: Set,
    /// Runs with nothing else in flight, because it may disturb others.
    #[serde(default)]
    pub alone: bool,
    /// Over which carriers it runs.
    #[serde(default)]
    pub carriers: Over,
    /// Over which declared words it runs, once for each.
    #[serde(default)]
    pub each: Option<Each>,
    /// Why the refusals of this case happen, for the cases about how a refusal is told.
    #[serde(default)]
    pub class: Option<Class>,

    /// Short for one `open` step.
    #[serde(default)]
    pub token: Option<Recipe>,
    /// Short for one `open` step.
    #[serde(default)]
    pub carry: Option<Carry>,
    /// Short for one `open` step.
    #[serde(default)]
    pub request: Option<Request>,
    /// Short for one `open` step.
    #[serde(default)]
    pub expect: Option<Expect>,
    /// Short for one `open` step.
    #[serde(default)]
    pub answer: Option<Answer>,
    /// What is done, in order.
    #[serde(default)]
    pub steps: Vec<Step>,
    /// Sends nothing: looks at what every other case saw.
    #[serde(default)]
    pub across: Option<Across>,
    /// Sends nothing: looks at the profile.
    #[serde(default)]
    pub lint: Option<Lint>,
}

/// When a case runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Set {
    /// In every run.
    #[default]
    Quick,
    /// With `--all` only.
    All,
}

/// Over which of the target's carriers a case runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Over {
    /// The first one.
    #[default]
    First,
    /// Each of them, as a trial of its own.
    All,
    /// Each place in the URL.
    Url,
    /// The path.
    Path,
    /// Each query parameter.
    Query,
    /// Each cookie.
    Cookie,
    /// Each list of subprotocols.
    Subprotocol,
    /// Each list of subprotocols that holds the base64url of the token.
    EncodedSubprotocol,
    /// The first message.
    FirstMessage,
}

impl Over {
    /// Whether a case runs over this carrier, the `index`th of its target.
    pub fn includes(self, index: usize, carrier: &Carrier) -> bool {
        match self {
            Self::First => index == 0,
            Self::All => true,
            Self::Url => carrier.is_in_url(),
            Self::Path => matches!(carrier, Carrier::Path),
            Self::Query => matches!(carrier, Carrier::Query(_)),
            Self::Cookie => matches!(carrier, Carrier::Cookie(_)),
            Self::Subprotocol => matches!(carrier, Carrier::Subprotocol(_)),
            Self::EncodedSubprotocol => matches!(carrier, Carrier::Subprotocol(offer)
                if offer.iter().any(|element| element.contains("{token_base64url}"))),
            Self::FirstMessage => matches!(carrier, Carrier::FirstMessage(_)),
        }
    }
}

/// Words of a profile over which a case runs, once for each of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Each {
    /// `${allowed_role}` is each role that is let in.
    AllowedRoles,
    /// `${denied_role}` is each role that is known to be refused.
    DeniedRoles,
    /// `${weak_secret}` is each declared word that must not be the secret.
    WeakSecrets,
    /// `${allowed_origin}` is each origin whose pages may connect.
    AllowedOrigins,
}

/// One of the words over which a case runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bound {
    /// Which ones.
    pub each: Each,
    /// The word.
    pub word: String,
}

impl Bound {
    /// Makes the word stand for its name.
    pub fn put<'a>(&'a self, words: &mut Words<'a>) {
        let place = match self.each {
            Each::AllowedRoles => &mut words.allowed_role,
            Each::DeniedRoles => &mut words.denied_role,
            Each::WeakSecrets => &mut words.weak_secret,
            Each::AllowedOrigins => &mut words.allowed_origin,
        };
        *place = Some(&self.word);
    }
}

/// A token's place in the request, where it is not the declared one.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "snake_case", default)]
pub struct Carry {
    /// Where it rides; unset, where the target declares it.
    pub on: Option<Carrier>,
    /// How it is written in a request target.
    pub encoding: Encoding,
    /// Further tokens in further places.
    pub also: Vec<Also>,
    /// The place is meant to be none that the target declares; for a target that declares it there is nothing to try.
    pub undeclared: bool,
}

/// A further token in the same request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct Also {
    /// The token.
    pub token: Recipe,
    /// Where it rides; unset, in the next carrier that the profile declares.
    #[serde(default)]
    pub on: Option<Carrier>,
}

/// How a token is written in a request target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    /// Only what must be encoded is (RFC 3986 §2.1).
    #[default]
    Needed,
    /// The periods are encoded as well; they mean the same (RFC 3986 §6.2.2).
    Periods,
    /// Every byte is encoded.
    Every,
    /// The periods are encoded twice; they do not mean the same.
    Twice,
}

/// How the opening request differs from a legal one.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "snake_case", default)]
pub struct Request {
    /// Another method.
    pub method: Option<String>,
    /// Another protocol version, such as `HTTP/1.0`.
    pub version: Option<String>,
    /// The whole target. `${endpoint}` is the path without the token, `${endpoint|upper}` the same in upper case, `${param}`
    /// the query parameter, `${token}` the token as it would stand in a URL, `${target}` what would be sent otherwise,
    /// `${host}` the value of `Host`.
    pub target: Option<String>,
    /// Added to the query of the target. Here, in `set` and in `add`, the `${...}` of tokens may stand.
    pub query: Option<String>,
    /// That many unrelated parameters in the query, half of them before the token's.
    pub parameters: usize,
    /// Replaces the header of this name, or adds it. In values `${subprotocol}` is the declared one, and `${origin}` the
    /// first allowed origin; its parts are `${origin.scheme}`, `${origin.host}` and `${origin.port}` (with its colon), and
    /// what is near them `${origin.other_scheme}`, `${origin.upper_host}`, `${origin.domain}` (the host without its first
    /// label), `${origin.undotted_host}` (an `x` for the first period), `${origin.other_port}` and
    /// `${origin.default_port}`.
    pub set: BTreeMap<String, String>,
    /// Adds header lines, also of a name that is there; in values as in `set`.
    pub add: Vec<(String, String)>,
    /// Removes header lines.
    pub drop: Vec<String>,
    /// Another key than a random one.
    pub key: Option<String>,
    /// How many bytes go into one segment; unset, all of them.
    pub segment_bytes: Option<usize>,
    /// Messages sent in the same segment as the opening; `${echo}` is one that the target answers, where it is known to.
    pub early: Vec<String>,
    /// Whether `Content-Length` announces the early messages as the body of the request.
    pub early_is_body: bool,
    /// Bytes after the empty line.
    pub body: Option<String>,
    /// Another server name in the TLS handshake (RFC 6066 §3) than the host; an empty one sends none. A handshake that
    /// fails is a refusal then, because a server need not have another name.
    pub server_name: Option<String>,
    /// Dials the declared `plain_port`, without TLS. That nobody listens there is a refusal.
    pub plain: bool,
}

impl Request {
    /// Whether it knocks at another door than the declared endpoint, or may be led to one, where refusals may be told in any
    /// way.
    pub fn is_side_door(&self) -> bool {
        // As proxies look at the one, and frameworks at the other.
        let absolute = self.target.as_ref().is_some_and(|target| target.contains("://"));
        let names = |name: &str| self.set.keys().any(|set| set.eq_ignore_ascii_case(name));
        self.plain || self.server_name.is_some() || absolute || names("X-Original-URL") || names("X-Rewrite-URL")
    }

    /// Whether it asks for another host or another path than those of the endpoint. Whoever is there may answer as nobody at the
    /// endpoint would.
    pub fn is_elsewhere(&self) -> bool {
        let is_endpoint = |target: &String| {
            let own = ["http://${host}", "${scheme}://${host}"].iter().find_map(|own| target.strip_prefix(own));
            let target = own.unwrap_or(target.as_str());
            let rest = ["${endpoint}", "${target}"].iter().find_map(|name| target.strip_prefix(name));
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['?', '&']))
        };
        let added = self.add.iter().map(|(name, _)| name);
        let mut named = self.set.keys().chain(added);
        self.plain
            || self.server_name.is_some()
            || !self.target.iter().all(is_endpoint)
            || named.any(|name| name.eq_ignore_ascii_case("Host"))
    }
}

/// What the outcome of an opening must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Expect {
    /// Served, with a proof.
    Admitted,
    /// Kept out, in any honest way.
    Refused,
    /// Both are right; which one it was is reported.
    Either,
    /// Both are right, as long as the server does not break.
    Survives,
    /// Both are right, an end without a word too, as long as it is no server error and no silence.
    NoServerError,
    /// Kept out, and told so before the deadline: silence is no answer.
    RefusedInTime,
    /// No 101.
    NotUpgraded,
    /// 101. Nothing is sent after it and nothing awaited, and no token is told in a message: a later step does the rest.
    Upgraded,
}

/// What an HTTP answer must look like.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "snake_case", default)]
pub struct Answer {
    /// One of these statuses.
    pub status: Vec<u16>,
    /// `Sec-WebSocket-Accept` answers the key that was sent (RFC 6455 §4.2.2).
    pub accepts_key: bool,
    /// A 101 answers one of the keys that were sent; any other answer is right.
    pub accepts_a_key: bool,
    /// A `Sec-WebSocket-Protocol` in the answer is one that was offered.
    pub offered_subprotocol: bool,
    /// A page of this origin may not read the answer in the name of its visitor: it is not allowed by name and with
    /// credentials. (`*` with credentials is ignored by browsers.)
    pub unreadable_by: Option<String>,
    /// Headers that must be there.
    pub has: Vec<String>,
    /// Headers that must not be there.
    pub lacks: Vec<String>,
    /// Headers that must contain this text, compared without case.
    pub header: BTreeMap<String, String>,
    /// JSON members by pointer and value; `null` asks for presence only.
    pub json: BTreeMap<String, Value>,
    /// Text the body must not contain, compared without case.
    pub silent_about: Vec<String>,
    /// `Sec-WebSocket-Extensions` is not there, or may be answered to the offer (RFC 6455 §9.1, RFC 7692 §7.1).
    pub extensions: bool,
    /// How `Sec-WebSocket-Protocol` answers the offer.
    pub selects: Option<Selects>,
}

/// How a server answers an offer of subprotocols (RFC 6455 §4.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Selects {
    /// By the declared one.
    Declared,
    /// By one that was offered; it should select one, and should not repeat the token where it has another choice.
    Offered,
    /// It does not repeat the token.
    NoToken,
}

/// One step of a session.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Opens a connection.
    Open(Box<Open>),
    /// Says messages in the form the target understands.
    Say(Say),
    /// Waits for the echo of everything said since the last `hear` on this connection.
    Hear(Hear),
    /// Sends a text or bytes as they are.
    Send(Send),
    /// Waits for something particular.
    Await(Await),
    /// Waits for a message of a certain shape, and keeps parts of it.
    Receive(Receive),
    /// Proves that the session still lives.
    Alive(Alive),
    /// Starts or completes the closing handshake.
    Close(Close),
    /// Cuts the connection without a word.
    Cut(Cut),
    /// Begins an opening and cuts the connection in its midst.
    Abort(Abort),
    /// Opens many connections, several at a time, each in the name of another user.
    Crowd(Box<Crowd>),
    /// Lets time pass, because the requirement is about time; never to wait for something.
    Wait(Wait),
    /// Makes an HTTP request to a declared endpoint.
    Http(Box<Http>),
    /// Greets the endpoint in an old version of TLS, and looks whether it is answered in it.
    Hello(Hello),
    /// Asks what the target fetched from the harness's listener, where `${listener}` stood in a token.
    Fetches(Fetches),
}

impl Step {
    /// The connection the step works on.
    pub fn on(&self) -> &str {
        match self {
            Self::Open(open) => &open.name,
            Self::Say(Say { on, .. })
            | Self::Hear(Hear { on, .. })
            | Self::Send(Send { on, .. })
            | Self::Await(Await { on, .. })
            | Self::Receive(Receive { on, .. })
            | Self::Alive(Alive { on, .. })
            | Self::Close(Close { on, .. })
            | Self::Cut(Cut { on }) => on,
            Self::Http(_) | Self::Wait(_) | Self::Abort(_) | Self::Crowd(_) => "http",
            Self::Hello(_) => "hello",
            Self::Fetches(_) => "listener",
        }
    }
}

/// Opens a connection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "snake_case", default)]
pub struct Open {
    /// What later steps call it.
    #[serde(rename = "as")]
    pub name: String,
    /// The earlier connection over whose TCP connection it goes. Where the server has ended that after its answer,
    /// this one counts as ended too.
    pub over: Option<String>,
    /// The token.
    pub token: Recipe,
    /// The token an earlier `http` step captured, in the place of `token`.
    pub captured: bool,
    /// The very token of the opening before, in the place of `token`.
    pub again: bool,
    /// Its place.
    pub carry: Carry,
    /// What is unusual about the request.
    pub request: Request,
    /// What must come of it.
    pub expect: Expect,
    /// What the answer must look like.
    pub answer: Option<Answer>,
    /// Why it is refused, if it is.
    pub class: Option<Class>,
    /// What is broken when it comes otherwise, if not the case's own level.
    pub level: Option<Level>,
    /// The certificate of the server must hold for its host.
    pub certificate: bool,
    /// What the rest of the case rests on. Where it does not come about the case is not applicable.
    pub given: Option<Given>,
    /// The earlier opening whose refusal was told in the same way.
    pub told_like: Option<String>,
}

/// What a server may do or leave, and a case needs it to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Given {
    /// It admits the token.
    Admitted,
    /// It answers at all, or ends the connection, before the deadline.
    Told,
    /// It takes the offer of permessage-deflate (RFC 7692).
    Compression,
    /// It serves this session beside those of the same user that are open already, or have just ended; an error is graded.
    Together,
}

impl Default for Open {
    fn default() -> Self {
        Self {
            name: main_name(),
            over: None,
            token: Recipe::default(),
            captured: false,
            again: false,
            carry: Carry::default(),
            request: Request::default(),
            expect: Expect::Admitted,
            answer: None,
            class: None,
            level: None,
            certificate: false,
            given: None,
            told_like: None,
        }
    }
}

/// The connection that is meant when none is named.
fn main_name() -> String {
    "main".to_owned()
}

/// Says messages in the form the target understands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct Say {
    /// The connection.
    #[serde(default = "main_name")]
    pub on: String,
    /// The messages, each made unlike any other by a word in front, unless `verbatim`.
    #[serde(default)]
    pub texts: Vec<String>,
    /// That many messages, numbered.
    #[serde(default)]
    pub count: usize,
    /// A message of this many bytes.
    #[serde(default)]
    pub bytes: Vec<usize>,
    /// A message as long as `max_message_bytes` allows.
    #[serde(default)]
    pub longest: bool,
    /// A message of one byte more than `max_message_bytes` allows.
    #[serde(default)]
    pub beyond: bool,
    /// Members that are added to a message in JSON.
    #[serde(default)]
    pub with: Map<String, Value>,
    /// Send the texts without the word in front.
    #[serde(default)]
    pub verbatim: bool,
    /// How they go on the wire.
    #[serde(default)]
    pub how: How,
}

impl Default for Say {
    fn default() -> Self {
        let (texts, bytes) = (Vec::new(), Vec::new());
        let (with, how) = (Map::new(), How::default());
        Self { on: main_name(), texts, count: 0, bytes, longest: false, beyond: false, with, verbatim: false, how }
    }
}

/// How messages go on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// Each is sent when the one before was answered.
    InTurn,
    /// All at once, without waiting.
    #[default]
    Rapid,
    /// All in one segment.
    OneSegment,
    /// Each byte in a segment of its own.
    ByteByByte,
    /// Each in three fragments.
    Fragments,
    /// With a masking key of zeros.
    ZeroMask,
    /// The head of the frame, a second later the rest.
    WithPause,
    /// Not compressed, although compression was agreed on; elsewhere like `rapid`.
    Uncompressed,
}

/// Waits for the echo of what was said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct Hear {
    /// The connection that hears.
    #[serde(default = "main_name")]
    pub on: String,
    /// The connection that spoke, where it is another.
    #[serde(default)]
    pub from: Option<String>,
    /// What the server must have written into each message.
    #[serde(default)]
    pub stamps: Vec<Stamp>,
    /// Whether nothing of the speaker's token may stand in a message but the identity.
    #[serde(default)]
    pub discreet: bool,
    /// What is broken when it is not heard, if not the case's own level.
    #[serde(default)]
    pub level: Option<Level>,
    /// Nothing is asked of a connection that was refused.
    #[serde(default)]
    pub if_served: bool,
    /// A server may refuse what was said as a whole, by an error, by a close or by saying nothing: then nothing is asked.
    #[serde(default)]
    pub if_taken: bool,
}

/// What a server writes into the messages it passes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Stamp {
    /// The identity of the token of whoever spoke, at `identity_echo`.
    Speaker,
    /// The time, at `time_echo`.
    Time,
    /// An identifier unlike any other, at `id_echo`.
    Id,
}

/// Sends something as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct Send {
    /// The connection.
    #[serde(default = "main_name")]
    pub on: String,
    /// Text messages.
    #[serde(default)]
    pub texts: Vec<String>,
    /// Frames in any shape.
    #[serde(default)]
    pub frames: Vec<FrameText>,
    /// The declared `keepalive_text`, this many times.
    #[serde(default)]
    pub keepalives: usize,
    /// Whether it is left out where the declared `max_message_bytes` are less than its frames hold together.
    #[serde(default)]
    pub within_limit: bool,
}

impl Send {
    /// One text on the connection that is meant when none is named.
    pub fn text(text: impl Into<String>) -> Self {
        Self { on: main_name(), texts: vec![text.into()], frames: Vec::new(), keepalives: 0, within_limit: false }
    }
}

impl Await {
    /// Listens for the settle time and asks for nothing.
    pub fn silence() -> Self {
        Self { on: main_name(), what: Awaited::Nothing, level: None }
    }
}

/// A frame in any shape.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "snake_case", default)]
pub struct FrameText {
    /// The opcode.
    pub opcode: u8,
    /// Whether it is the last fragment.
    pub fin: bool,
    /// RSV1 to RSV3 as the bits 4, 2 and 1.
    pub rsv: u8,
    /// The payload as text.
    pub text: String,
    /// The payload as hex digits, in the place of `text`.
    pub hex: Option<String>,
    /// The payload is a message that the target answers, or a half of one, in the place of `text`.
    pub echo: Option<Share>,
    /// The payload is this many copies of it.
    pub times: usize,
    /// The payload is as many copies of it, the last one cut, as make this length.
    pub of_limit: Option<OfLimit>,
    /// Whether the payload is compressed as a whole message and marked so (RFC 7692 §6.1); only where that was agreed.
    pub deflate: bool,
    /// Whether it is masked.
    pub masked: bool,
    /// The length that is announced, in the place of the true one.
    pub announce: Option<u64>,
    /// Spell the length in this many bits: 16 or 64.
    pub length_bits: Option<u8>,
}

/// How much of a message that the target answers stands in a frame. To a target that wants its messages in a form of its
/// own, any other text is a fault of the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Share {
    /// All of it.
    Whole,
    /// The first half.
    Begin,
    /// What the last first half left.
    End,
}

/// A length by the target's `max_message_bytes`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "snake_case", default)]
pub struct OfLimit {
    /// The limit is divided by this, rounded down.
    pub parts: u64,
    /// Bytes more.
    pub plus: u64,
}

impl Default for OfLimit {
    fn default() -> Self {
        Self { parts: 1, plus: 0 }
    }
}

impl Default for FrameText {
    fn default() -> Self {
        Self {
            opcode: 1,
            fin: true,
            rsv: 0,
            text: String::new(),
            hex: None,
            echo: None,
            times: 1,
            of_limit: None,
            deflate: false,
            masked: true,
            announce: None,
            length_bits: None,
        }
    }
}

/// Waits for something particular.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct Await {
    /// The connection.
    #[serde(default = "main_name")]
    pub on: String,
    /// What must come.
    pub what: Awaited,
    /// What is broken when it does not come, if not the case's own level.
    #[serde(default)]
    pub level: Option<Level>,
}

/// What a step waits for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Awaited {
    /// The declared welcome.
    Welcome,
    /// A pong with this payload.
    Pong(String),
    /// A pong with this payload, in hexadecimal.
    PongHex(String),
    /// Nothing that came since the opening repeats this text.
    Unrepeated(String),
    /// The connection is failed: a close frame, or its end (RFC 6455 §7.1.7).
    Failed,
    /// What was said is not taken: the connection is failed, or something else than an answer to it comes.
    NotTaken,
    /// A close frame and the end of the connection.
    Closed,
    /// The same, and the close frame does not call ours a breach (1002 or 1007, RFC 6455 §7.4.1), unless to repeat it.
    ClosedCleanly,
    /// A close frame with one of these codes, an application message, or silence; but no end without a close frame.
    NoAbruptEnd,
    /// If the server has sent a close frame, it is well-formed (RFC 6455 §5.5.1).
    WellFormedClose,
    /// If the server has sent a close frame, its code may stand in one (RFC 6455 §7.4).
    LegalCloseCode,
    /// No application message within the settle time.
    Nothing,
    /// What was sent along with the opening is answered, or the connection is closed; it is not passed over.
    Heeded,
    /// What was sent along with the opening, or behind our own close, is not answered, and behind a refusal comes no frame
    /// at all.
    Unheeded,
    /// The server ends the TCP connection after a closing handshake that it began (RFC 6455 §7.1.1).
    HungUp,
    /// The TCP connection of a refusal by HTTP is ended, or answers another request.
    Released,
    /// Within the settle time, nothing that only an admitted client hears: no reply, no welcome, no answer, and no
    /// message of anybody else.
    NotServed,
    /// The connection has ended by now, or ends within the time in which a refusal is told.
    Ended,
    /// The server ends a connection that shows no token within the declared time (or ten seconds) and two seconds more.
    AuthTimeout {
        /// Whether pings are sent all the while.
        #[serde(default)]
        pings: bool,
    },
}

/// Waits for a message of a certain shape: the first one since the last `receive` on this connection, or since its opening.
/// Others that come before it are passed over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "snake_case", default)]
pub struct Receive {
    /// The connection.
    pub on: String,
    /// What it looks like; any text, where nothing is said.
    pub like: Option<Shape>,
    /// Parts of it that later steps have as `${kept.NAME}`. A message without one of them is not the one.
    pub keep: BTreeMap<String, Part>,
    /// No such message may come within the settle time.
    pub none: bool,
    /// What is broken when it does not come, if not the case's own level.
    pub level: Option<Level>,
}

impl std::fmt::Display for Receive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.none { "no message" } else { "a message" })?;
        if let Some(shape) = &self.like {
            write!(f, " like {shape}")?;
        }
        self.keep.iter().try_for_each(|(name, part)| write!(f, ", with {part} as `{name}`"))
    }
}

impl Default for Receive {
    fn default() -> Self {
        Self { on: main_name(), like: None, keep: BTreeMap::new(), none: false, level: None }
    }
}

/// Proves that the session still lives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "snake_case", default)]
pub struct Alive {
    /// The connection.
    pub on: String,
    /// What is broken when it does not, if not the case's own level.
    pub level: Option<Level>,
}

impl Default for Alive {
    fn default() -> Self {
        Self { on: main_name(), level: None }
    }
}

/// Starts the closing handshake.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct Close {
    /// The connection.
    #[serde(default = "main_name")]
    pub on: String,
    /// The code; none sends an empty close frame.
    #[serde(default)]
    pub code: Option<u16>,
    /// The reason.
    #[serde(default)]
    pub reason: String,
}

/// Cuts the connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct Cut {
    /// The connection.
    #[serde(default = "main_name")]
    pub on: String,
}

/// Greets the endpoint in an old version of TLS. rustls does not speak it: the greeting is written byte for byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct Hello {
    /// The newest version that is offered.
    pub version: OldTls,
}

/// Versions of TLS that are no longer to be spoken (RFC 8996).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum OldTls {
    /// TLS 1.0 (RFC 2246).
    #[serde(rename = "tls1.0")]
    Tls10,
    /// TLS 1.1 (RFC 4346).
    #[serde(rename = "tls1.1")]
    Tls11,
}

/// What the target may fetch from the harness's listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct Fetches {
    /// Nothing: what is broken when it does.
    pub none: Level,
}

/// Begins an opening and cuts the connection in its midst, by a reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct Abort {
    /// What has been sent by then.
    pub after: Sent,
}

/// How much of an opening was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Sent {
    /// Nothing: the connection is made, and that is all.
    Nothing,
    /// Half of the request line.
    HalfALine,
    /// Half of the head.
    HalfAHead,
    /// All of it.
    Head,
}

/// Opens many connections, several at a time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct Crowd {
    /// The openings, which take turns.
    pub of: Vec<Open>,
    /// How many there are of each.
    pub times: usize,
    /// How many are under way at the same time; where the profile pins the user, one, because a limit per user would
    /// be met.
    #[serde(default = "one")]
    pub at_once: usize,
    /// Whether half of them must be answered within the handshake budget.
    #[serde(default)]
    pub in_budget: bool,
}

impl Crowd {
    /// The openings in the order in which they are begun.
    pub fn members(&self) -> impl Iterator<Item = &Open> {
        (0..self.times).flat_map(|_| &self.of)
    }
}

fn one() -> usize {
    1
}

/// Lets time pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct Wait {
    /// Milliseconds.
    pub ms: u64,
}

/// A request to a declared endpoint.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "snake_case", default)]
pub struct Http {
    /// Which one, by its name in the profile's `http`; `jwks` is what `jwks_url` names.
    pub endpoint: String,
    /// Another method.
    pub method: Option<String>,
    /// Form or JSON members that replace declared ones; `null` takes one away. In texts the `${...}` of tokens may stand.
    pub with: BTreeMap<String, Value>,
    /// Members that are there and `null`; a form knows no such thing, and has them empty.
    pub nulls: Vec<String>,
    /// The declared `samples` of this position, over the declared members. Where there is none the case is not applicable.
    pub sample: Option<usize>,
    /// What the body is said to be, whatever it is.
    pub labelled: Option<Label>,
    /// Further headers.
    pub headers: BTreeMap<String, String>,
    /// A token in `Authorization: Bearer`.
    pub bearer: Option<Recipe>,
    /// What the answer must look like.
    pub answer: Answer,
    /// The members the profile declares for a good answer must be there.
    pub declared_answer: bool,
    /// The members the profile declares for a refusal must be there.
    pub declared_refusal: bool,
    /// The headers that the endpoint's `caller` names must hold this.
    pub caller: Option<String>,
    /// The answer says the same as that of the HTTP step before: status, challenge and words.
    pub told_like_before: bool,
    /// Parts of the answer that later steps have as `${kept.NAME}`; where one is missing, the case fails.
    pub keep: BTreeMap<String, Part>,
    /// Keep the token of the answer for later steps.
    pub capture: bool,
    /// Where in the answer that token is, as a JSON Pointer; unset, where the profile says.
    pub capture_from: Option<String>,
    /// What is asked of the token in the answer.
    pub issued: Option<Issued>,
    /// What is asked of the key set in the answer (RFC 7517 §5).
    pub key_set: Option<KeySet>,
    /// The member of the answer, by JSON Pointer, that is a time of now in ISO 8601.
    pub current_time: Option<String>,
}

/// What a body is said to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Label {
    /// Plain text.
    Text,
    /// A form where it is JSON, and JSON where it is a form.
    Other,
}

/// What is asked of an issued token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Issued {
    /// Signed as declared, and alive for as long as the answer says.
    Lifetime,
    /// Valid now, by its `iat`, `nbf` and `exp`, as far as clocks agree.
    Current,
    /// It names its bearer by the declared identity claim.
    Identity,
    /// It tells nothing that its bearer alone should know.
    Discreet,
    /// It is not the one that was issued in an earlier step.
    Differs,
    /// A refresh token comes with it, and is another.
    Refresh,
    /// None was issued: whatever the answer says, no token and no session is in it.
    Nothing,
}

/// What is asked of a published key set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum KeySet {
    /// It holds no private member and no shared secret.
    Public,
    /// Its keys are strong and can be told apart.
    Sound,
    /// Each key says that it is for signatures, and of which algorithm.
    Marked,
}

/// A question to everything the run saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Across {
    /// Refusals of this class are told as declared, or in a fitting way.
    Signal(Class),
    /// The declared reason texts are used, wherever a close frame is seen.
    Reasons,
    /// Every class has the signal declared for it, and declared differences are seen.
    AllSignals,
    /// A declared close code is seen at least once.
    CloseReachesWire,
    /// Forged tokens are refused before the upgrade, as `refuses_by: http` promises.
    RefusesBeforeUpgrade,
    /// No application message comes before a refusal's close frame.
    NoDataBeforeClose,
    /// Refusals come within the budget.
    Prompt,
    /// Refusals are no crashes.
    Deliberate,
    /// HTTP refusals are 4xx.
    NotSuccess,
    /// Every 401 carries a challenge.
    Challenge,
    /// Close codes may appear on the wire.
    LegalCloseCode,
    /// Close codes say that something was wrong.
    MeaningfulCloseCode,
    /// Close frames are well-formed.
    WellFormedClose,
    /// All refusals of a class are told in the same way.
    OneSignalPerClass,
    /// The token does not come back.
    TokenNotReflected,
    /// The secret does not come back.
    SecretAbsent,
    /// No stack traces or internals come back.
    NoInternals,
    /// Server frames are not masked.
    Unmasked,
    /// Text messages are UTF-8, and JSON where that is declared.
    ValidMessages,
    /// Every control was admitted.
    Controls,
    /// A session that was opened after the first control lives on at the end of the run.
    Witness,
    /// No redirect carries the token to another host.
    NoTokenInRedirect,
    /// The challenge to a bad token says what is wrong with it (RFC 6750 §3.1).
    ChallengeFits,
    /// A client that sent no token is told no error code (RFC 6750 §3.1).
    BareChallenge,
    /// Which statuses tell who is unknown and who may not; for the report.
    StatusSemantics,
    /// Nothing that a refusal says is the text of a library's error.
    NoLibraryWords,
    /// No refusal tells what the token should have been: its signature, audience, issuer, or the list of roles.
    ExpectationsAbsent,
    /// What the server says about its make; for the report.
    Banners,
    /// Statuses come with the header without which they do not help.
    StatusHeaders,
}

/// A question to the profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Lint {
    /// The secret is long enough for its algorithm and no known word.
    SecretStrength,
    /// Tokens do not leave this machine in the clear.
    Encrypted,
}

/// A case, read and checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    /// The head. The short form and `steps` are moved into `variants`.
    pub head: CaseText,
    /// The family code, such as `SIG`.
    pub family: String,
    /// The traffic, once or once per entry of its table.
    pub variants: Vec<Variant>,
    /// The file it stands in.
    pub file: String,
    /// The line of its code in that file, from 1.
    pub line: usize,
    /// Sixteen hexadecimal digits that change with anything the case says or does, and with nothing else: neither its
    /// place nor how it is laid out.
    pub definition: String,
}

/// One entry of a case's table, or its only one.
#[derive(Debug, Clone, PartialEq)]
pub struct Variant {
    /// What tells it from its neighbours; empty when it is alone.
    pub label: String,
    /// What it does.
    pub body: Body,
    /// The word it runs for, in a case that runs over the words of a profile.
    pub bound: Option<Bound>,
}

/// What a variant does.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// Traffic. Shared, because every session of a run has them.
    Steps(Arc<[Step]>),
    /// A question to everything the run saw.
    Across(Across),
    /// A question to the profile.
    Lint(Lint),
}
