//! `gatecrash list` and `gatecrash explain`: what the suite asks, and why.

use clap::Args;

use crate::carrier::{self, Placed};
use crate::case::{Across, Body, Case, Expect, Http, Open, Set, Step};
use crate::catalogue::Catalogue;
use crate::document::closest;
use crate::judge;
use crate::profile::{Carrier, Profile};
use crate::report::Exit;
use crate::target::Endpoint;
use crate::token::{Algorithm, Declared, Keyring, Mint, Words, default_header, forge};
use crate::verdict::{Level, Severity};

use super::{complain, say};

/// What `gatecrash list` is told.
#[derive(Debug, Args)]
pub(super) struct List {
    /// Only these: a family, a code, a name or a tag; may be given again
    words: Vec<String>,
    /// Only cases of this level: must, should, may or info
    #[arg(long, value_parser = word::<Level>)]
    level: Option<Level>,
    /// Only cases of this severity: critical, high, medium, low or info
    #[arg(long, value_parser = word::<Severity>)]
    severity: Option<Severity>,
    /// Only cases that need this of the profile, such as `roles`
    #[arg(long)]
    needs: Option<String>,
}

/// What `gatecrash explain` is told.
#[derive(Debug, Args)]
pub(super) struct Explain {
    /// The code or the name of a case
    case: String,
}

/// Reads a word by the names that serde gives to an enum.
fn word<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_value(serde_json::Value::from(text)).map_err(|error| error.to_string())
}

/// The word serde gives to a unit variant.
fn named<T: serde::Serialize>(value: &T) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(name)) => name,
        Ok(other) => other.to_string(),
        Err(_) => String::new(),
    }
}

fn catalogue() -> Result<Catalogue, Exit> {
    Catalogue::bundled().map_err(|found| {
        complain(&format!("the bundled cases are wrong, which is a bug:\n{found}"));
        Exit::OurFault
    })
}

/// Lists cases, one a line.
pub(super) fn list(arguments: &List) -> Exit {
    let catalogue = match catalogue() {
        Ok(catalogue) => catalogue,
        Err(exit) => return exit,
    };
    let fits = |case: &&Case| {
        let head = &case.head;
        let by_word = arguments.words.is_empty()
            || arguments.words.iter().any(|word| {
                word.eq_ignore_ascii_case(&case.family)
                    || word.eq_ignore_ascii_case(&head.code)
                    || *word == head.name
                    || head.tags.contains(word)
            });
        by_word
            && arguments.level.is_none_or(|level| head.level == level)
            && arguments.severity.is_none_or(|severity| head.severity == severity)
            && arguments.needs.as_ref().is_none_or(|need| head.needs.iter().any(|other| named(other) == *need))
    };
    let cases: Vec<&Case> = catalogue.cases.iter().filter(fits).collect();
    if cases.is_empty() {
        complain("no case fits");
        return Exit::NothingSelected;
    }
    let width = cases.iter().map(|case| case.head.name.len()).max().unwrap_or_default();
    for case in &cases {
        let head = &case.head;
        let set = if head.set == Set::All { " (with --all)" } else { "" };
        say(&format!(
            "{}  {:width$}  {:6}  {:8}  {}{set}\n",
            head.code,
            head.name,
            named(&head.level),
            named(&head.severity),
            head.title
        ));
    }
    complain(&format!("{} of {} cases", cases.len(), catalogue.cases.len()));
    Exit::Good
}

/// Says all about one case.
pub(super) fn explain(arguments: &Explain) -> Exit {
    let catalogue = match catalogue() {
        Ok(catalogue) => catalogue,
        Err(exit) => return exit,
    };
    let wanted = arguments.case.split('@').next().unwrap_or_default();
    let found =
        catalogue.cases.iter().find(|case| wanted.eq_ignore_ascii_case(&case.head.code) || wanted == case.head.name);
    let Some(case) = found else {
        let known = catalogue.cases.iter().flat_map(|case| [case.head.code.as_str(), case.head.name.as_str()]);
        let hint = closest(&wanted.to_ascii_uppercase(), known.clone())
            .or_else(|| closest(wanted, known))
            .map(|close| format!("; did you mean {close}?"))
            .unwrap_or_default();
        complain(&format!("no case is called `{}`{hint}", arguments.case));
        return Exit::NothingSelected;
    };
    say(&explanation(&catalogue, case));
    Exit::Good
}

/// All about one case, as text.
fn explanation(catalogue: &Catalogue, case: &Case) -> String {
    let head = &case.head;
    let mut text = format!("{} {}\n  {}\n", head.code, head.name, head.title);
    let mut add = |line: String| {
        text.push_str(&line);
        text.push('\n');
    };
    add(format!(
        "  {}, {} severity, {}:{}",
        named(&head.level).to_uppercase(),
        named(&head.severity),
        case.file,
        case.line
    ));
    add("\nrule".to_owned());
    for key in &head.source {
        if let Some(source) = catalogue.sources.get(key) {
            add(format!("  {}: {}", source.r#where, source.says));
        }
    }
    if !head.needs.is_empty() {
        let needs: Vec<String> = head.needs.iter().map(named).collect();
        add(format!("\nneeds, declared in the profile\n  {}", needs.join(", ")));
    }
    add("\non the wire".to_owned());
    for variant in &case.variants {
        let lines = match &variant.body {
            Body::Steps(steps) => steps.iter().flat_map(step).collect(),
            Body::Across(question) => vec![across(*question)],
            Body::Lint(_) => vec!["nothing is sent; the profile is looked at".to_owned()],
        };
        let label = if variant.label.is_empty() { String::new() } else { format!("[{}] ", variant.label) };
        for line in lines {
            add(format!("  {label}{line}"));
        }
    }
    if let Some((name, weakness)) =
        head.weakness.as_ref().and_then(|name| catalogue.weaknesses.get(name).map(|weakness| (name, weakness)))
    {
        add(format!("\nthe weakness it hunts: {name}\n  {}\n  {}", weakness.what, weakness.gives));
        add(format!("\nmend\n  {}", weakness.mend));
        if !weakness.refs.is_empty() {
            add(format!("\nsee also\n  {}", weakness.refs.join(", ")));
        }
        add(format!("\nsee it fail\n  gatecrash run --fault {name} --case {}", head.code));
    }
    text
}

fn across(question: Across) -> String {
    format!("nothing is sent; every answer of the run is looked at ({})", named(&question))
}

fn step(step: &Step) -> Vec<String> {
    match step {
        Step::Open(open) => opening(open),
        Step::Http(http) => vec![http_line(http)],
        other => vec![serde_json::to_string(other).unwrap_or_default()],
    }
}

fn http_line(http: &Http) -> String {
    format!("a request to the declared endpoint `{}`", http.endpoint)
}

/// What an opening looks like for a target with a query carrier and a made-up secret.
fn opening(open: &Open) -> Vec<String> {
    let profile = Profile::default();
    let claims = profile.claims_template();
    let keys = Keyring::new().with_secret(b"a secret that is used for this explanation only".as_slice());
    let header = default_header();
    let mint = Mint {
        claims: &claims,
        header: &header,
        keys: &keys,
        algorithm: Algorithm::HS256,
        now: 1_750_000_000.0,
        user: "alice",
        seed: 1,
        audience: None,
        issuer: None,
        declared: Declared { leeway: Some(0.0), ..Declared::default() },
        words: Words {
            identity_claim: Some("sub"),
            role_claim: Some("role"),
            allowed_role: Some("editor"),
            denied_role: Some("guest"),
            default_role: Some("guest"),
            ..Words::default()
        },
        allowed_roles: &[],
        refresh_marker: None,
        other_issuers: &[],
    };
    let mut lines = Vec::new();
    let carrier = open.carry.on.clone().unwrap_or(Carrier::Query("token".to_owned()));
    match (forge(&open.token, &mint), Endpoint::parse("ws://server/ws")) {
        (Ok(token), Ok(endpoint)) => {
            let shown = Placed { on: &carrier, token: (!token.is_absent()).then_some(b"TOKEN".as_slice()) };
            let request = carrier::place(&endpoint, "KEY", shown, &open.carry, &[], &open.request);
            let bytes = request.to_bytes();
            let first = bytes.split(|byte| *byte == b'\r').next().unwrap_or_default();
            lines.push(String::from_utf8_lossy(first).into_owned());
            if !token.is_absent() {
                lines.push(format!("TOKEN = {}", token.describe()));
            }
        }
        (Err(error), _) => lines.push(format!("a token that needs more than a secret: {error}")),
        (_, Err(error)) => lines.push(error.to_string()),
    }
    lines.push(format!("right: {}", expectation(open.expect)));
    lines
}

fn expectation(expect: Expect) -> &'static str {
    judge::expectation(expect)
}
