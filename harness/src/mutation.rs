//! The flat list of mutations: every way in which a case may differ from a valid client, from a claim of its token to
//! a bit of a frame. The tests walk it: each example is a case that loads, sends what a valid client does not, and
//! has the effect of its row on a right server. The table of `scenarios/README.md` is made of it.
//!
//! Data only. What a token operator does is in `token`, what a place does in `carrier`, what a frame does in `run`.

use crate::token::{self, Effect, Op};

/// What a mutation acts on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Layer {
    /// The token.
    Token(token::Layer),
    /// The token's place in the request.
    Carrier,
    /// The opening request.
    Request,
    /// Messages and frames on an admitted connection.
    Frames,
}

impl Layer {
    /// The word of the table.
    pub fn word(self) -> &'static str {
        match self {
            Self::Token(token::Layer::Header) => "header",
            Self::Token(token::Layer::Claims) => "claims",
            Self::Token(token::Layer::Segment) => "segment",
            Self::Token(token::Layer::Signature) => "signature",
            Self::Token(token::Layer::Text) => "text",
            Self::Token(token::Layer::Structure) => "structure",
            Self::Carrier => "carrier",
            Self::Request => "request",
            Self::Frames => "frames",
        }
    }
}

/// A row of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mutation {
    /// What it is called: for a token the operator, for anything else a speaking name.
    pub name: String,
    /// What it acts on.
    pub layer: Layer,
    /// What it does, in a sentence.
    pub doc: String,
    /// What a right server makes of a client that is valid but for it.
    pub effect: Effect,
    /// Bodies of cases, as they stand in a file behind the head.
    pub examples: Vec<String>,
}

/// Every mutation, in the order of the layers.
pub fn all() -> Vec<Mutation> {
    let tokens = Op::catalogue().into_iter().map(|info| {
        let examples = info.samples.iter().map(|sample| of_token(sample, info.effect)).collect();
        Mutation { name: info.name, layer: Layer::Token(info.layer), doc: info.doc, effect: info.effect, examples }
    });
    let others = OTHERS.iter().map(|(name, layer, effect, doc, examples)| Mutation {
        name: (*name).to_owned(),
        layer: *layer,
        doc: (*doc).to_owned(),
        effect: *effect,
        examples: examples.iter().map(|example| (*example).to_owned()).collect(),
    });
    tokens.chain(others).collect()
}

/// The body of a case whose token has this operator alone.
fn of_token(sample: &str, effect: Effect) -> String {
    let expect = match effect {
        Effect::Breaking => "refused",
        Effect::Benign => "admitted",
        Effect::Open => "either",
    };
    format!("{{ token: {{ forge: [{sample}] }}, expect: {expect} }}")
}

type Row = (&'static str, Layer, Effect, &'static str, &'static [&'static str]);

/// What is not done to the token itself.
const OTHERS: &[Row] = &[
    // ---- carrier ----
    (
        "place",
        Layer::Carrier,
        Effect::Benign,
        "Puts the token into each declared place, one trial for each.",
        &["{ carriers: all, expect: admitted }"],
    ),
    (
        "undeclared_place",
        Layer::Carrier,
        Effect::Open,
        "Puts the token where nobody declared one: a cookie, a header, a subprotocol, a parameter of another name, the \
         first message or the body.",
        &[
            "{ carry: { on: { cookie: token }, undeclared: true }, expect: refused }",
            "{ carry: { on: { header: X-Token } }, expect: refused }",
            "{ carry: { on: { query: jwt } }, expect: refused }",
            "{ carry: { on: { subprotocol: [app, 'bearer.{token}'] }, undeclared: true }, expect: refused }",
            "{ carry: { on: { first_message: { send: '{\"token\":\"{token}\"}' } } }, expect: refused }",
            "{ carry: { on: { body: access_token } }, expect: refused }",
        ],
    ),
    (
        "repeat",
        Layer::Carrier,
        Effect::Open,
        "Sends the token and a second one in the same place.",
        &["{ needs: [query_carrier], carry: { also: [{ token: { forge: [{ sign: { key: wrong } }] }, \
           on: { query: token } }] }, expect: either }"],
    ),
    (
        "both",
        Layer::Carrier,
        Effect::Open,
        "Sends the token and a second one in another place.",
        &[
            "{ carry: { also: [{ token: { forge: [{ user: bob }] }, on: { authorization: Bearer } }] }, expect: either }",
            "{ needs: [two_carriers], carry: { also: [{ token: { forge: [{ user: bob }] } }] }, expect: either }",
        ],
    ),
    (
        "percent_encoding",
        Layer::Carrier,
        Effect::Benign,
        "Percent-encodes more of the token than must be; it means the same (RFC 3986 §6.2.2).",
        &[
            "{ needs: [url_carrier], carry: { encoding: periods }, expect: admitted }",
            "{ needs: [url_carrier], carry: { encoding: every }, expect: admitted }",
        ],
    ),
    (
        "percent_encoding_twice",
        Layer::Carrier,
        Effect::Open,
        "Percent-encodes the periods of the token twice, which does not mean the same.",
        &["{ needs: [url_carrier], carry: { encoding: twice }, expect: refused }"],
    ),
    (
        "name_case",
        Layer::Carrier,
        Effect::Open,
        "Writes the name of the query parameter in other letters.",
        &["{ needs: [query_carrier], carry: { on: { query: TOKEN } }, expect: either }"],
    ),
    (
        "array_style",
        Layer::Carrier,
        Effect::Open,
        "Writes the query parameter as if it were an array.",
        &["{ needs: [query_carrier], carry: { on: { query: 'token[]' } }, expect: either }"],
    ),
    (
        "missing_value",
        Layer::Carrier,
        Effect::Breaking,
        "Sends the name of the query parameter without a value.",
        &["{ needs: [query_carrier], request: { target: '${endpoint}?${param}' }, expect: refused }"],
    ),
    (
        "bad_percent",
        Layer::Carrier,
        Effect::Breaking,
        "Sends percent-encoding that cannot be decoded.",
        &[
            "{ needs: [query_carrier], request: { target: '${endpoint}?${param}=%zz' }, expect: refused }",
            "{ needs: [path_carrier], request: { target: '${endpoint}/%zz' }, expect: refused }",
        ],
    ),
    // ---- request ----
    (
        "header_case",
        Layer::Request,
        Effect::Benign,
        "Writes the name of a header in other letters.",
        &["{ request: { set: { UPGRADE: websocket } }, expect: admitted }"],
    ),
    (
        "header_extra",
        Layer::Request,
        Effect::Benign,
        "Adds header lines that mean nothing.",
        &["{ request: { add: [[X-Trace, '1']] }, expect: admitted }"],
    ),
    (
        "query_extra",
        Layer::Request,
        Effect::Benign,
        "Adds query parameters that mean nothing.",
        &[
            "{ request: { query: 'v=1' }, expect: admitted }",
            "{ needs: [query_carrier], request: { parameters: 20 }, expect: admitted }",
        ],
    ),
    (
        "segmenting",
        Layer::Request,
        Effect::Benign,
        "Sends the request in segments of so many bytes.",
        &[
            "{ request: { segment_bytes: 1 }, expect: admitted }",
            "{ request: { segment_bytes: 17 }, expect: admitted }",
        ],
    ),
    (
        "method",
        Layer::Request,
        Effect::Breaking,
        "Asks by another method than GET.",
        &["{ request: { method: POST }, expect: not_upgraded }"],
    ),
    (
        "version",
        Layer::Request,
        Effect::Breaking,
        "Asks by another version of HTTP than 1.1.",
        &["{ request: { version: HTTP/1.0 }, expect: not_upgraded }"],
    ),
    (
        "host",
        Layer::Request,
        Effect::Breaking,
        "Leaves Host out, or sends two.",
        &[
            "{ request: { drop: [Host] }, expect: not_upgraded }",
            "{ request: { add: [[Host, other.example]] }, expect: not_upgraded }",
        ],
    ),
    (
        "target",
        Layer::Request,
        Effect::Open,
        "Writes the whole request target otherwise.",
        &["{ request: { target: 'http://gatecrash.example${target}' }, expect: survives }"],
    ),
    (
        "upgrade",
        Layer::Request,
        Effect::Breaking,
        "Leaves Upgrade out, or asks for another protocol.",
        &[
            "{ request: { drop: [Upgrade] }, expect: not_upgraded }",
            "{ request: { set: { Upgrade: h2c } }, expect: not_upgraded }",
        ],
    ),
    (
        "connection",
        Layer::Request,
        Effect::Breaking,
        "Leaves Upgrade out of Connection.",
        &["{ request: { set: { Connection: keep-alive } }, expect: not_upgraded }"],
    ),
    (
        "key",
        Layer::Request,
        Effect::Open,
        "Leaves Sec-WebSocket-Key out, or sends one that does not encode 16 bytes.",
        &[
            "{ request: { drop: [Sec-WebSocket-Key] }, expect: not_upgraded }",
            "{ request: { key: abc }, expect: either }",
        ],
    ),
    (
        "ws_version",
        Layer::Request,
        Effect::Breaking,
        "Asks for another version of the protocol than 13, or for none.",
        &[
            "{ request: { set: { Sec-WebSocket-Version: '12' } }, expect: not_upgraded }",
            "{ request: { drop: [Sec-WebSocket-Version] }, expect: not_upgraded }",
        ],
    ),
    (
        "origin",
        Layer::Request,
        Effect::Open,
        "Says that a page of another origin asks.",
        &["{ request: { add: [[Origin, 'https://other.example']] }, expect: either }"],
    ),
    (
        "early",
        Layer::Request,
        Effect::Open,
        "Sends messages along with the request, before it is answered.",
        &["{ request: { early: ['{}'] }, expect: survives }"],
    ),
    (
        "body",
        Layer::Request,
        Effect::Open,
        "Sends a body behind the request.",
        &["{ request: { add: [[Content-Length, '2']], body: '{}' }, expect: survives }"],
    ),
    (
        "early_is_body",
        Layer::Request,
        Effect::Open,
        "Announces what is sent along with the opening as its body.",
        &["{ request: { early: ['{}'], early_is_body: true }, expect: survives }"],
    ),
    (
        "server_name",
        Layer::Request,
        Effect::Open,
        "Names another server in the TLS handshake, or none.",
        &[
            "{ needs: [tls], request: { server_name: '' }, expect: either }",
            "{ needs: [tls], request: { server_name: other.example }, expect: either }",
        ],
    ),
    (
        "plain_port",
        Layer::Request,
        Effect::Breaking,
        "Dials the port without TLS beside the endpoint.",
        &["{ needs: [tls, plain_port], request: { plain: true }, expect: refused }"],
    ),
    // ---- frames ----
    (
        "fragmentation",
        Layer::Frames,
        Effect::Benign,
        "Sends a message in three fragments.",
        &["{ needs: [echo], steps: [{ open: {} }, { say: { count: 1, how: fragments } }, { hear: {} }] }"],
    ),
    (
        "interleaved_control",
        Layer::Frames,
        Effect::Benign,
        "Sends a ping between the fragments of a message.",
        &["{ needs: [echo], steps: [{ open: {} }, { send: { frames: [{ fin: false, echo: begin }, \
           { opcode: 9, text: between }, { opcode: 0, echo: end }] } }, { alive: {} }] }"],
    ),
    (
        "coalescing",
        Layer::Frames,
        Effect::Benign,
        "Sends several messages in one segment.",
        &["{ needs: [echo], steps: [{ open: {} }, { say: { count: 10, how: one_segment } }, { hear: {} }] }"],
    ),
    (
        "byte_wise",
        Layer::Frames,
        Effect::Benign,
        "Sends each byte of a frame in a segment of its own.",
        &["{ needs: [echo], steps: [{ open: {} }, { say: { count: 1, how: byte_by_byte } }, { hear: {} }] }"],
    ),
    (
        "pace",
        Layer::Frames,
        Effect::Benign,
        "Sends each message when the one before was answered, or all without waiting.",
        &[
            "{ needs: [echo], steps: [{ open: {} }, { say: { count: 3, how: in_turn } }, { hear: {} }] }",
            "{ needs: [echo], steps: [{ open: {} }, { say: { count: 3, how: rapid } }, { hear: {} }] }",
        ],
    ),
    (
        "pause",
        Layer::Frames,
        Effect::Benign,
        "Sends the head of each frame, waits a second, and sends the rest.",
        &["{ needs: [echo], steps: [{ open: {} }, { say: { count: 1, how: with_pause } }, { hear: {} }] }"],
    ),
    (
        "deflate",
        Layer::Frames,
        Effect::Open,
        "Compresses a message, or leaves it as it is, where the server has taken the offer to compress (RFC 7692).",
        &[
            "{ steps: [{ open: { request: { set: { Sec-WebSocket-Extensions: permessage-deflate } }, given: compression } }, \
             { send: { frames: [{ deflate: true, text: '{\"type\":\"ping\"}' }] } }, { alive: {} }] }",
            "{ needs: [echo], steps: [{ open: { request: { set: { Sec-WebSocket-Extensions: permessage-deflate } }, \
             given: compression } }, { say: { count: 2, how: uncompressed } }, { hear: {} }] }",
        ],
    ),
    (
        "of_limit",
        Layer::Frames,
        Effect::Open,
        "Sends a message of the largest size that is declared, and some bytes more.",
        &[
            "{ needs: [max_message_bytes], steps: [{ open: {} }, { send: { frames: [{ text: x, of_limit: { plus: 1 } }] } }, \
           { await: { what: failed } }] }",
        ],
    ),
    (
        "zero_mask",
        Layer::Frames,
        Effect::Benign,
        "Masks a frame with a key of zeros.",
        &["{ needs: [echo], steps: [{ open: {} }, { say: { count: 1, how: zero_mask } }, { hear: {} }] }"],
    ),
    (
        "unmasked",
        Layer::Frames,
        Effect::Breaking,
        "Sends a frame without a mask.",
        &["{ steps: [{ open: {} }, { send: { frames: [{ masked: false, text: '{\"type\":\"ping\"}' }] } }, \
           { await: { what: failed } }] }"],
    ),
    (
        "rsv",
        Layer::Frames,
        Effect::Breaking,
        "Sets a reserved bit that no extension gives a meaning.",
        &["{ steps: [{ open: {} }, { send: { frames: [{ rsv: 4, text: '{\"type\":\"ping\"}' }] } }, \
           { await: { what: failed } }] }"],
    ),
    (
        "opcode",
        Layer::Frames,
        Effect::Breaking,
        "Sends a reserved opcode, or a continuation of nothing.",
        &[
            "{ steps: [{ open: {} }, { send: { frames: [{ opcode: 3, text: x }] } }, { await: { what: failed } }] }",
            "{ steps: [{ open: {} }, { send: { frames: [{ opcode: 0, text: x }] } }, { await: { what: failed } }] }",
        ],
    ),
    (
        "length",
        Layer::Frames,
        Effect::Breaking,
        "Announces another length than the true one, with the highest bit set.",
        &["{ steps: [{ open: {} }, { send: { frames: [{ opcode: 2, text: xx, announce: 9223372036854775808 }] } }, \
           { await: { what: failed } }] }"],
    ),
    (
        "length_spelling",
        Layer::Frames,
        Effect::Open,
        "Spells the length of a frame in more bits than it needs.",
        &["{ steps: [{ open: {} }, { send: { frames: [{ text: '{\"type\":\"ping\"}', length_bits: 16 }] } }, \
           { await: { what: no_abrupt_end } }] }"],
    ),
    (
        "control_size",
        Layer::Frames,
        Effect::Breaking,
        "Sends a control frame of more than 125 bytes, or in fragments.",
        &[
            "{ steps: [{ open: {} }, { send: { frames: [{ opcode: 9, text: x, times: 126 }] } }, \
             { await: { what: failed } }] }",
            "{ steps: [{ open: {} }, { send: { frames: [{ opcode: 9, text: x, fin: false }] } }, \
             { await: { what: failed } }] }",
        ],
    ),
    (
        "utf8",
        Layer::Frames,
        Effect::Breaking,
        "Sends a text message that is no UTF-8.",
        &["{ steps: [{ open: {} }, { send: { frames: [{ hex: 'ff' }] } }, { await: { what: failed } }] }"],
    ),
    (
        "close_code",
        Layer::Frames,
        Effect::Breaking,
        "Sends a close frame with a code that may not appear on the wire, or with half a code.",
        &[
            "{ steps: [{ open: {} }, { close: { code: 1005 } }, { await: { what: failed } }] }",
            "{ steps: [{ open: {} }, { send: { frames: [{ opcode: 8, hex: '03' }] } }, { await: { what: failed } }] }",
        ],
    ),
];
