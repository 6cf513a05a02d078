//! What a step sends, as bytes. Pure, and within limits: a case of a stranger must not exhaust us.

use serde_json::{Map, Value};

use crate::case::{FrameText, Http, Label, OfLimit, Say};
use crate::hex;
use crate::observation::Trouble;
use crate::profile::{HttpEndpoint, record};
use crate::token::Token;
use crate::wire::frame::{LengthForm, Written};
use crate::wire::opening::Opening;

/// The most messages of one step, and the most bytes of one message or frame: a case of a stranger must not exhaust us.
pub(super) const MAX_SAID: usize = 10_000;

pub(super) const MAX_SAID_BYTES: usize = 64 << 20;

pub(super) fn too_much(say: &Say, limit: Option<u64>) -> Option<Trouble> {
    if (say.longest || say.beyond) && limit.is_none_or(|limit| limit > MAX_SAID_BYTES as u64) {
        return Some(Trouble::NotApplicable(format!("`max_message_bytes` of at most {MAX_SAID_BYTES} is needed")));
    }
    let total = say.bytes.iter().try_fold(0_usize, |total, bytes| total.checked_add(*bytes));
    let fits = say.count <= MAX_SAID && total.is_some_and(|total| total <= MAX_SAID_BYTES);
    (!fits).then(|| Trouble::Fault(format!("it says more than {MAX_SAID} messages or {MAX_SAID_BYTES} bytes")))
}

/// A message in three fragments.
pub(super) fn fragments(message: &Written) -> Vec<u8> {
    let third = message.payload.len().div_ceil(3).max(1);
    let mut bytes = Vec::new();
    for index in 0..3 {
        let part = message.payload.get(index * third..).map_or(&[][..], |rest| &rest[..third.min(rest.len())]);
        // The first tells what the message is, and whether it is compressed.
        let (opcode, rsv) = if index == 0 { (message.opcode, message.rsv) } else { (0, 0) };
        let written = Written { fin: index == 2, opcode, rsv, payload: part.to_vec(), ..message.clone() };
        bytes.extend_from_slice(&written.to_bytes());
    }
    bytes
}

/// The frame that a case describes, with this masking key, before it is compressed; `limit` is the longest message.
pub(crate) fn written(text: &FrameText, mask: [u8; 4], limit: Option<u64>) -> Result<Written, Trouble> {
    let one = match &text.hex {
        Some(digits) => hex::read(digits)
            .ok_or_else(|| Trouble::Fault(format!("`{digits}` is not an even number of hex digits")))?,
        None => text.text.clone().into_bytes(),
    };
    let payload = match (text.of_limit, limit) {
        (None, _) => {
            one.len().checked_mul(text.times).filter(|length| *length <= MAX_SAID_BYTES).map(|_| one.repeat(text.times))
        }
        (Some(_), None) => {
            return Err(Trouble::NotApplicable("the profile declares no `max_message_bytes`".to_owned()));
        }
        (Some(OfLimit { parts, plus }), Some(limit)) => {
            let length = usize::try_from((limit / parts.max(1)).saturating_add(plus)).ok();
            length
                .filter(|length| *length <= MAX_SAID_BYTES)
                .map(|length| one.iter().copied().cycle().take(length).collect())
        }
    };
    let Some(payload) = payload else {
        return Err(Trouble::Fault(format!("a frame of more than {MAX_SAID_BYTES} bytes")));
    };
    let length = match (text.announce, text.length_bits) {
        (Some(announced), _) => LengthForm::Announce(announced),
        (None, Some(16)) => LengthForm::Bits16,
        (None, Some(64)) => LengthForm::Bits64,
        (None, _) => LengthForm::Minimal,
    };
    Ok(Written {
        fin: text.fin,
        rsv: text.rsv,
        opcode: text.opcode,
        mask: text.masked.then_some(mask),
        length,
        payload,
    })
}

const FORM: &str = "application/x-www-form-urlencoded";

const JSON: &str = "application/json";

/// The request to a declared endpoint, with what the case changes about it.
pub(crate) fn request(host: String, declared: &HttpEndpoint, http: &Http, bearer: Option<&Token>) -> Opening {
    let method = http.method.as_ref().unwrap_or(&declared.method);
    let label = |is: &'static str, other: &'static str| match http.labelled {
        None => is,
        Some(Label::Text) => "text/plain",
        Some(Label::Other) => other,
    };
    let mut opening = Opening::http(method, &host, declared.path.clone());
    opening.add("Connection", "close");
    if let Some(token) = bearer {
        opening.add("Authorization", [b"Bearer ", token.bytes().unwrap_or_default()].concat());
    }
    let body = if let Some(json) = &declared.json {
        let mut json = json.clone();
        if let Value::Object(members) = &mut json {
            for (name, value) in &http.with {
                if value.is_null() {
                    members.remove(name);
                } else {
                    members.insert(name.clone(), value.clone());
                }
            }
            members.extend(http.nulls.iter().map(|name| (name.clone(), Value::Null)));
        }
        opening.add("Content-Type", label(JSON, FORM));
        json.to_string()
    } else if !declared.form.is_empty() {
        let mut form = declared.form.clone();
        for (name, value) in &http.with {
            match value {
                Value::Null => drop(form.remove(name)),
                Value::String(text) => drop(form.insert(name.clone(), text.clone())),
                other => drop(form.insert(name.clone(), other.to_string())),
            }
        }
        form.extend(http.nulls.iter().map(|name| (name.clone(), String::new())));
        opening.add("Content-Type", label(FORM, JSON));
        let encode = |text: &str| crate::wire::opening::percent_encode(text.as_bytes());
        let pairs: Vec<String> =
            form.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
        pairs.join("&")
    } else {
        String::new()
    };
    for (name, value) in &http.headers {
        opening.set(name, value);
    }
    if method != "GET" && method != "HEAD" {
        opening.add("Content-Length", body.len().to_string());
        opening.body = body.into_bytes();
    }
    opening
}

/// A message in JSON with further members; any other message as it is.
pub(super) fn with_members(text: String, with: &Map<String, Value>) -> String {
    let (message, end) = record(&text);
    match serde_json::from_str::<Map<String, Value>>(message) {
        Ok(mut members) if !with.is_empty() => {
            members.extend(with.clone());
            format!("{}{end}", Value::Object(members))
        }
        _ => text,
    }
}
