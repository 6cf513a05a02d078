//! Getting a real token where the signing key is not ours to know: what is asked, and how the answer is read. Pure; the
//! request is made in `run`.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

use crate::profile::{HttpEndpoint, Login, LoginRequest};
use crate::secret::{self, SecretBytes, SecretError};
use crate::target::{Endpoint, TargetError};
use crate::token::Token;
use crate::wire::opening::{Opening, percent_encode};

/// The longest token that is taken: a longer one fits into no request.
const MAX_TOKEN_BYTES: usize = 64 << 10;
/// Seconds before its end at which a token is renewed, and the part of its life after which it is at the latest.
const MARGIN: f64 = 30.0;

/// How a target hands out tokens.
#[derive(Debug, Clone)]
pub struct Flow {
    /// The login.
    pub login: Ask,
    /// How a token is renewed, and where in the answer to the login the refresh token is.
    pub refresh: Option<(Ask, String)>,
}

/// One request of a flow, with every secret read.
#[derive(Clone)]
pub struct Ask {
    /// Where it goes.
    pub endpoint: Endpoint,
    method: String,
    headers: BTreeMap<String, String>,
    form: BTreeMap<String, String>,
    json: Option<Value>,
    token: String,
}

impl fmt::Debug for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.endpoint)
    }
}

/// What an answer gave.
#[derive(Debug, Clone)]
pub struct Held {
    /// The token.
    pub token: Token,
    /// What renews it.
    pub refresh: Option<SecretBytes>,
    /// When it was had, in seconds since 1970.
    pub since: f64,
}

impl Held {
    /// When the token ends, in seconds since 1970, if it says so.
    pub fn expires(&self) -> Option<f64> {
        let (_, claims) = self.token.peek()?;
        claims.get("exp")?.as_f64()
    }

    /// Whether it is over.
    pub fn is_over(&self, now: f64) -> bool {
        self.expires().is_some_and(|end| end <= now)
    }

    /// Whether it should be renewed before more rests on it.
    pub fn is_due(&self, now: f64) -> bool {
        self.expires().is_some_and(|end| end - now < MARGIN.min((end - self.since) / 4.0))
    }
}

impl Flow {
    /// The flow that a profile declares, on a target at `endpoint`; what it reads as a secret is added to `secrets`.
    ///
    /// # Errors
    ///
    /// When a URL, a header or a secret cannot be used.
    pub fn new(login: &Login, endpoint: &Endpoint, secrets: &mut Vec<SecretBytes>) -> Result<Self, TargetError> {
        let request = LoginRequest {
            url: login.url.clone(),
            method: login.method.clone(),
            headers: login.headers.clone(),
            form: login.form.clone(),
            json: login.json.clone(),
            token: Some(login.token.clone()),
        };
        let first = Ask::new(&request, endpoint, &login.token, secrets)?;
        let refresh = match (&login.refresh, &login.refresh_token) {
            (Some(refresh), Some(pointer)) => {
                Some((Ask::new(refresh, endpoint, &login.token, secrets)?, pointer.clone()))
            }
            (None, None) => None,
            (Some(_), None) => {
                return Err(wrong("`login.refresh` needs `login.refresh_token`, its place in the answer"));
            }
            (None, Some(_)) => return Err(wrong("`login.refresh_token` needs `login.refresh`, which uses it")),
        };
        Ok(Self { login: first, refresh })
    }

    /// The flow of a declared HTTP endpoint, where it says where the token is.
    ///
    /// # Errors
    ///
    /// As [`Flow::new`].
    pub fn of_endpoint(
        declared: &HttpEndpoint,
        endpoint: &Endpoint,
        secrets: &mut Vec<SecretBytes>,
    ) -> Result<Option<Self>, TargetError> {
        let Some(token) = &declared.token else { return Ok(None) };
        let login = Login {
            url: declared.path.clone(),
            method: declared.method.clone(),
            form: declared.form.clone(),
            json: declared.json.clone(),
            token: token.clone(),
            ..Login::default()
        };
        Self::new(&login, endpoint, secrets).map(Some)
    }

    /// Every endpoint it speaks to.
    pub fn endpoints(&self) -> impl Iterator<Item = &Endpoint> {
        let refresh = self.refresh.as_ref().map(|(ask, _)| &ask.endpoint);
        std::iter::once(&self.login.endpoint).chain(refresh)
    }
}

fn wrong(why: &str) -> TargetError {
    TargetError::Url(why.to_owned())
}

impl Ask {
    fn new(
        request: &LoginRequest,
        target: &Endpoint,
        token: &str,
        secrets: &mut Vec<SecretBytes>,
    ) -> Result<Self, TargetError> {
        let endpoint = if request.url.starts_with('/') {
            let (path, query) = request.url.split_once('?').unwrap_or((&request.url, ""));
            Endpoint { path: path.to_owned(), query: query.to_owned(), carrier: None, ..target.clone() }
        } else {
            Endpoint::parse(&request.url)?
        };
        let pointer = request.token.as_deref().unwrap_or(token);
        let mut reader = |text: &String| value(text, secrets).map_err(TargetError::Secret);
        let mut headers = BTreeMap::new();
        for (name, text) in &request.headers {
            let text = reader(text)?;
            // What stands in the profile itself was looked at before; a variable may hold anything.
            if text.bytes().any(|byte| byte < 0x20 || byte == 0x7f) {
                return Err(wrong("the value of a header in `login` is one that no request can hold"));
            }
            headers.insert(name.clone(), text);
        }
        let mut form = BTreeMap::new();
        for (name, text) in &request.form {
            form.insert(name.clone(), reader(text)?);
        }
        let json = request.json.as_ref().map(|json| texts(json, &mut reader)).transpose()?;
        Ok(Self { endpoint, method: request.method.clone(), headers, form, json, token: pointer.to_owned() })
    }

    /// The request, with this refresh token in the place of `{refresh_token}`.
    pub fn opening(&self, refresh: Option<&SecretBytes>) -> Opening {
        let refresh = refresh.map(|token| String::from_utf8_lossy(token.expose()).into_owned()).unwrap_or_default();
        let put = |text: &String| text.replace("{refresh_token}", &refresh);
        let Endpoint { path, query, .. } = &self.endpoint;
        let target = if query.is_empty() { path.clone() } else { format!("{path}?{query}") };
        let mut opening = Opening::http(&self.method, &self.endpoint.host_header(), target);
        opening.add("Connection", "close");
        opening.add("Accept", "application/json");
        if let Some(json) = &self.json {
            let json = texts(json, &mut |text: &String| Ok::<_, ()>(put(text))).unwrap_or_default();
            opening.add("Content-Type", "application/json");
            opening.body = json.to_string().into_bytes();
        } else if !self.form.is_empty() {
            let encode = |text: &str| percent_encode(text.as_bytes());
            let pairs = self.form.iter().map(|(name, text)| format!("{}={}", encode(name), encode(&put(text))));
            opening.add("Content-Type", "application/x-www-form-urlencoded");
            opening.body = pairs.collect::<Vec<_>>().join("&").into_bytes();
        }
        for (name, text) in &self.headers {
            opening.set(name, put(text));
        }
        if !opening.body.is_empty() || !matches!(self.method.as_str(), "GET" | "HEAD") {
            opening.add("Content-Length", opening.body.len().to_string());
        }
        opening
    }

    /// What the answer gives; `refresh` is where a refresh token is in it.
    ///
    /// # Errors
    ///
    /// What is wrong with the answer, without a word of its body.
    pub fn read(&self, status: u16, body: &[u8], refresh: Option<&str>, now: f64) -> Result<Held, String> {
        let to = format!("{} {}", self.method, self.endpoint.path);
        if !(200..300).contains(&status) {
            return Err(format!(
                "the login ({to}) was answered by HTTP {status}: check its credentials in the profile"
            ));
        }
        let json: Option<Value> = serde_json::from_slice(body).ok();
        let text = match json.as_ref().and_then(|json| json.pointer(&self.token)) {
            Some(Value::String(text)) => text.clone(),
            None if self.token.is_empty() => String::from_utf8_lossy(body).trim().to_owned(),
            _ => {
                let what = if json.is_some() { "JSON with no text" } else { "no JSON" };
                return Err(format!("the answer to the login ({to}) is {what} at `{}`: see `login.token`", self.token));
            }
        };
        let token = usable(text.as_bytes())?;
        let refresh = refresh.and_then(|pointer| json.as_ref()?.pointer(pointer)?.as_str()).map(SecretBytes::new);
        Ok(Held { token, refresh, since: now })
    }
}

/// A token that can be sent: what stands around it in a file is left out.
///
/// # Errors
///
/// When it is empty, too long, or holds what no header can.
pub fn usable(text: &[u8]) -> Result<Token, String> {
    let text = text.trim_ascii();
    match text {
        [] => Err("the token that was given is empty".to_owned()),
        _ if text.len() > MAX_TOKEN_BYTES => {
            Err(format!("the token that was given is longer than {MAX_TOKEN_BYTES} bytes"))
        }
        _ if !text.iter().all(u8::is_ascii_graphic) => {
            Err("the token that was given holds spaces or other characters that no request can carry".to_owned())
        }
        _ => Ok(Token::new(text.to_vec())),
    }
}

/// A value of a request: what `env:` or `file:` names, which is then a secret, or the text itself.
fn value(text: &str, secrets: &mut Vec<SecretBytes>) -> Result<String, SecretError> {
    if !text.starts_with("env:") && !text.starts_with("file:") {
        return Ok(text.to_owned());
    }
    let read = secret::read(text)?;
    let text = String::from_utf8_lossy(read.expose()).trim_end_matches(['\r', '\n']).to_owned();
    secrets.push(SecretBytes::new(text.as_str()));
    Ok(text)
}

/// The value with every text in it replaced.
fn texts<E>(value: &Value, replace: &mut impl FnMut(&String) -> Result<String, E>) -> Result<Value, E> {
    Ok(match value {
        Value::String(text) => Value::String(replace(text)?),
        Value::Array(items) => Value::Array(items.iter().map(|item| texts(item, replace)).collect::<Result<_, E>>()?),
        Value::Object(members) => {
            let members = members.iter().map(|(name, member)| Ok((name.clone(), texts(member, replace)?)));
            Value::Object(members.collect::<Result<_, E>>()?)
        }
        other => other.clone(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn flow(login: Login) -> Result<Flow, String> {
        let endpoint = Endpoint::parse("ws://h:8000/ws?token={token}").expect("a URL");
        Flow::new(&login, &endpoint, &mut Vec::new()).map_err(|error| error.to_string())
    }

    fn login() -> Login {
        Login { url: "/auth/login?v=1".to_owned(), token: "/data/access".to_owned(), ..Login::default() }
    }

    fn sent(opening: &Opening) -> String {
        String::from_utf8(opening.to_bytes()).expect("UTF-8")
    }

    #[test]
    fn a_login_is_a_form_or_json_with_any_header() {
        let form = BTreeMap::from([("user".to_owned(), "a b".to_owned()), ("password".to_owned(), "&=".to_owned())]);
        let headers = BTreeMap::from([("X-Tenant".to_owned(), "blue".to_owned())]);
        let made = flow(Login { form, headers, ..login() }).expect("a flow");
        assert_eq!(
            sent(&made.login.opening(None)),
            "POST /auth/login?v=1 HTTP/1.1\r\nHost: h:8000\r\nConnection: close\r\nAccept: application/json\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nX-Tenant: blue\r\nContent-Length: 26\r\n\r\n\
             password=%26%3D&user=a%20b"
        );
        let json = Some(json!({ "user": { "name": "alice" } }));
        let elsewhere = Login { url: "https://id.example/token".to_owned(), json, ..login() };
        let made = flow(elsewhere).expect("a flow");
        let text = sent(&made.login.opening(None));
        assert!(text.starts_with("POST /token HTTP/1.1\r\nHost: id.example\r\n"), "{text}");
        assert!(text.ends_with(r#"{"user":{"name":"alice"}}"#), "{text}");
    }

    #[test]
    fn the_token_is_where_the_profile_says() {
        let ask = flow(login()).expect("a flow").login;
        let body = br#"{"data":{"access":"a.b.c","refresh":"r-1"}}"#;
        let held = ask.read(200, body, Some("/data/refresh"), 1.0).expect("a token");
        assert_eq!(held.token.bytes(), Some(&b"a.b.c"[..]));
        assert_eq!(held.refresh, Some(SecretBytes::new("r-1")));
        for (status, body, word) in [
            (401, "{}", "HTTP 401"),
            (200, "<html>", "no JSON"),
            (200, r#"{"data":1}"#, "no text"),
            (200, r#"{"data":{"access":"a\r\nX: y"}}"#, "no request can carry"),
            (200, r#"{"data":{"access":""}}"#, "empty"),
        ] {
            let error = ask.read(status, body.as_bytes(), None, 1.0).expect_err(body);
            assert!(error.contains(word), "{error}");
        }
        let plain = flow(Login { token: String::new(), ..login() }).expect("a flow").login;
        assert_eq!(plain.read(200, b"a.b.c\n", None, 1.0).expect("a token").token.bytes(), Some(&b"a.b.c"[..]));
    }

    #[test]
    fn a_refresh_puts_in_what_the_login_gave() {
        let refresh = LoginRequest {
            url: "/auth/refresh".to_owned(),
            json: Some(json!({ "refresh": "{refresh_token}" })),
            ..LoginRequest::default()
        };
        let both = Login { refresh: Some(refresh), refresh_token: Some("/refresh".to_owned()), ..login() };
        let (ask, pointer) = flow(both).expect("a flow").refresh.expect("a refresh");
        assert_eq!(pointer, "/refresh");
        assert!(sent(&ask.opening(Some(&SecretBytes::new("r\"1")))).ends_with(r#"{"refresh":"r\"1"}"#));
    }

    #[test]
    fn what_no_request_can_hold_is_refused_before_it_is_sent() {
        let header = |name: &str, value: &str| Login {
            headers: BTreeMap::from([(name.to_owned(), value.to_owned())]),
            ..login()
        };
        for bad in [
            header("X-Key", "a\r\nHost: evil"),
            Login { refresh_token: Some("/r".to_owned()), ..login() },
            header("X-Key", "env:GATECRASH_NO_SUCH_VARIABLE"),
        ] {
            assert!(flow(bad.clone()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_token_is_renewed_before_it_ends() {
        let claims = |exp: u64| {
            use base64::Engine as _;
            let part = |json: Value| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(json.to_string());
            Token::new(format!("{}.{}.x", part(json!({})), part(json!({ "exp": exp }))).into_bytes())
        };
        let long = Held { token: claims(4_600), refresh: None, since: 1_000.0 };
        assert!(!long.is_due(4_500.0) && long.is_due(4_571.0) && !long.is_over(4_599.0) && long.is_over(4_600.0));
        let short = Held { token: claims(1_010), refresh: None, since: 1_000.0 };
        assert!(!short.is_due(1_007.0) && short.is_due(1_008.0));
        let endless = Held { token: Token::new(b"opaque".to_vec()), refresh: None, since: 0.0 };
        assert!(!endless.is_due(1e12) && !endless.is_over(1e12));
    }
}
