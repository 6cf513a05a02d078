//! The header: what it must be before anything is done that it asks for.
//!
//! Nearly every token of a service has the header that its library always writes. Those few spellings are read when the
//! gate is made, by the same function that reads every other, so that a token that has one is spared it.

use serde_json::{Value, json};

use super::json::{self, Object};
use super::{Gate, Part, Refusal, jws};
use crate::fault::Fault;

/// A header that was read.
#[derive(Debug)]
pub(super) struct Header {
    /// Its JSON, as received.
    pub(super) json: Vec<u8>,
    pub(super) members: Object,
}

/// A header that was read before any token came.
#[derive(Debug)]
pub(super) struct Usual {
    /// The segment, encoded.
    segment: String,
    header: Header,
}

impl Gate {
    /// The headers that libraries write for our own tokens, as far as this gate acts on them.
    pub(super) fn usual(&self) -> Vec<Usual> {
        let typ = self.policy.typ.as_deref().unwrap_or("JWT");
        let spelled = self.keys.iter().flat_map(|key| {
            // Names and media types come from a configuration, and may hold anything.
            let (alg, typ) = (json!(key.name), json!(typ));
            let kid = key.kid.as_ref().map(|kid| json!(kid));
            let with_kid = kid.into_iter().flat_map({
                let (alg, typ) = (alg.clone(), typ.clone());
                move |kid| {
                    [
                        format!(r#"{{"alg":{alg},"kid":{kid},"typ":{typ}}}"#),
                        format!(r#"{{"typ":{typ},"alg":{alg},"kid":{kid}}}"#),
                    ]
                }
            });
            let without = [
                format!(r#"{{"alg":{alg},"typ":{typ}}}"#),
                format!(r#"{{"typ":{typ},"alg":{alg}}}"#),
                format!(r#"{{"alg":{alg}}}"#),
            ];
            without.into_iter().chain(with_kid)
        });
        spelled
            .filter_map(|json| {
                let segment = jws::encode(json.as_bytes());
                let header = self.read_header(segment.as_bytes()).ok()?;
                Some(Usual { segment, header })
            })
            .collect()
    }

    /// The header of this segment, if it is a usual one.
    pub(super) fn usual_header(&self, segment: &[u8]) -> Option<&Header> {
        self.usual.iter().find_map(|usual| (usual.segment.as_bytes() == segment).then_some(&usual.header))
    }

    /// Reads the header and refuses one this gate may not act on.
    pub(super) fn read_header(&self, segment: &[u8]) -> Result<Header, Refusal> {
        let json = self.decode(segment, Part::Header)?;
        if self.dislikes_header(&json) {
            return Err(Refusal::Malformed("not the usual header"));
        }
        let members = self
            .header_otherwise(&json)
            .or_else(|| self.object_otherwise(&json))
            .unwrap_or_else(|| json::object(&json))
            .map_err(Refusal::Malformed)?;
        // RFC 7515 §4.1.11: an extension that must be understood and is not, makes the JWS invalid, and this
        // gate understands none. RFC 7797 §7 keeps b64 out of JWTs.
        if (members.contains_key("crit") || members.contains_key("b64")) && !self.tolerates_extensions(&members) {
            return Err(Refusal::Malformed("crit or b64"));
        }
        if is_nested(&members) && !self.has(Fault::TrustsNestedToken) {
            return Err(Refusal::Malformed("a nested token"));
        }
        if let Some(wanted) = &self.policy.typ
            && !self.has(Fault::IgnoresTyp)
            && !matches!(members.get("typ"), Some(Value::String(typ)) if is_media_type(typ, wanted))
        {
            return Err(Refusal::Malformed("typ is not the wanted one"));
        }
        if self.dislikes_members(&members) {
            return Err(Refusal::Malformed("not the usual members"));
        }
        if self.chokes_on_cty(&members) {
            return Err(Refusal::Internal("the parser that cty names cannot read the claims"));
        }
        Ok(Header { json, members })
    }
}

/// RFC 7519 §5.2: whether the payload is another JWT. This gate takes claims only.
pub(super) fn is_nested(header: &Object) -> bool {
    matches!(header.get("cty"), Some(Value::String(cty)) if cty.eq_ignore_ascii_case("JWT"))
}

/// Whether `typ` names the media type `wanted`, any case, "application/" or not (RFC 7515 §4.1.9).
fn is_media_type(typ: &str, wanted: &str) -> bool {
    const PREFIX: &str = "application/";
    let bare = match typ.get(..PREFIX.len()) {
        Some(prefix) if prefix.eq_ignore_ascii_case(PREFIX) => &typ[PREFIX.len()..],
        _ => typ,
    };
    bare.eq_ignore_ascii_case(wanted)
}
