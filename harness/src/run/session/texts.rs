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

/// What a case calls the two members of a login, and what others call them.
const CREDENTIALS: [(&str, &[&str]); 2] = [
    (
        "username",
        &["user", "user_name", "userName", "email", "mail", "login", "name", "account", "identifier", "client_id"],
    ),
    ("password", &["passwd", "pass", "passphrase", "pwd", "secret", "pin", "client_secret"]),
];

/// Renames the credentials that a case changes as the profile has them. Where it has none of that kind the change would come
/// beside the right ones, and they would log in.
pub(super) fn under_declared_names(http: &mut Http, declared: &HttpEndpoint) -> Result<(), Trouble> {
    let members: Vec<&String> = match &declared.json {
        Some(json) => json.as_object().into_iter().flat_map(Map::keys).collect(),
        None => declared.form.keys().collect(),
    };
    for (name, others) in CREDENTIALS {
        if !http.with.contains_key(name) && !http.nulls.iter().any(|null| null == name) {
            continue;
        }
        let is_declared = |wanted: &&&str| members.iter().any(|member| member == *wanted);
        let found = [&name].into_iter().chain(others).find(is_declared).ok_or_else(|| {
            Trouble::NotApplicable(format!("`http.login` has no member of a name that is usual for a {name}"))
        })?;
        if let Some(value) = http.with.remove(name) {
            http.with.insert((*found).to_owned(), value);
        }
        for null in http.nulls.iter_mut().filter(|null| *null == name) {
            (*found).clone_into(null);
        }
    }
    Ok(())
}

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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn renamed(declared: Value, with: Value, nulls: &[&str]) -> Option<Value> {
        let declared = serde_json::from_value(declared).expect("an endpoint");
        let with = serde_json::from_value(with).expect("members");
        let nulls = nulls.iter().map(|&null| null.to_owned()).collect();
        let mut http = Http { endpoint: "login".to_owned(), with, nulls, ..Http::default() };
        under_declared_names(&mut http, &declared).ok()?;
        Some(json!([http.with, http.nulls]))
    }

    #[test]
    fn credentials_are_changed_under_the_names_that_the_profile_has() {
        let email = json!({ "path": "/login", "json": { "email": "a@example.org", "passwd": "x", "remember": true } });
        let form = json!({ "path": "/login", "form": { "username": "a", "password": "x", "email": "b" } });
        let query = json!({ "path": "/graphql", "json": { "query": "mutation { login(password: \"x\") }" } });
        let wrong = json!({ "password": "wrong", "more": 1 });
        assert_eq!(renamed(email.clone(), wrong.clone(), &[]), Some(json!([{ "passwd": "wrong", "more": 1 }, []])));
        assert_eq!(
            renamed(email, json!({ "username": null }), &["password"]),
            Some(json!([{ "email": null }, ["passwd"]]))
        );
        assert_eq!(renamed(form, wrong.clone(), &["username"]), Some(json!([wrong, ["username"]])));
        // Beside the right ones the wrong password would be a member that nobody reads.
        assert_eq!(renamed(query.clone(), wrong, &[]), None);
        assert_eq!(renamed(query, json!({}), &[]), Some(json!([{}, []])));
    }
}
