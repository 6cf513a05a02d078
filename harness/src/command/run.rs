//! `gatecrash run`: judges one server, or the bundled one in each of its dialects.

use std::collections::BTreeSet;
use std::io::{ErrorKind, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crate::case::Set;
use crate::catalogue::Catalogue;
use crate::document::{Diagnostics, printable};
use crate::plan::is_called;
use crate::profile::{Carrier, FirstMessage, Profile, Shape, presets};
use crate::redact::{Redactor, jwts};
use crate::report::changes::Changes;
use crate::report::earlier::Earlier;
use crate::report::terminal::{self, Style};
use crate::report::{self, Exit, Failure, Format, Report, RunEvent, Standard, annotations, json, markdown};
use crate::run::{Interrupt, Revival};
use crate::verdict::Severity;
use crate::{Suite, Target};
use clap::Args;
use gatecrash_reference_server::{Dialect, Fault, RefusalStyle};
use tokio::task::{JoinSet, spawn_blocking};

use super::bundled_server::{BundledServer, Setting};
use super::flow::Flow;
use super::hide::secrets_in;
use super::lifecycle::{self, Lifecycle};
use super::narrow::{Narrow, one_of};
use super::own::{self, Var};
use super::signals::Interrupts;
use super::{complain, conceal, did_you_mean, file, say};

/// What `gatecrash run` is told.
#[derive(Debug, Args)]
pub(super) struct Run {
    /// The endpoint, with {token} where the token goes: ws://HOST/ws/{token} or ws://HOST/ws?token={token}; without {token} it rides in `Authorization: Bearer`. Beside it, or without one, files and folders of your own cases, which run with the bundled ones
    #[arg(value_name = "URL|FILE")]
    words: Vec<String>,
    /// What `${vars.NAME}` stands for in your own cases; may be given again
    #[arg(long, value_name = "NAME=VALUE", help_heading = "Which cases")]
    var: Vec<Var>,
    /// What the server promises: a YAML file, or a preset such as shipvox, fastapi or express-ws
    #[arg(long, value_name = "FILE|PRESET")]
    profile: Option<String>,
    /// Judge this server too: a profile that names its URL; may be given again. What happens to one changes nothing for the others
    #[arg(long, value_name = "FILE|PRESET", conflicts_with = "profile")]
    target: Vec<String>,

    /// Sign with the secret in this environment variable
    #[arg(long, value_name = "NAME", group = "key", help_heading = "The secret")]
    secret_env: Option<String>,
    /// Sign with the bytes of this file
    #[arg(long, value_name = "PATH", group = "key", help_heading = "The secret")]
    secret_file: Option<String>,
    /// Sign with this; others on this machine can see it
    #[arg(long, value_name = "TEXT", group = "key", help_heading = "The secret")]
    secret: Option<String>,
    /// Use the real token in this environment variable, where the secret is not known
    #[arg(long, value_name = "NAME", group = "key", help_heading = "The secret")]
    token_env: Option<String>,
    /// Use the real token in this file
    #[arg(long, value_name = "PATH", group = "key", help_heading = "The secret")]
    token_file: Option<String>,
    /// Where the token rides, when the URL does not say: path, query:NAME, header, authorization:SCHEME, header:NAME, cookie:NAME, 'subprotocol:app, bearer.{token}' (or with {token_base64url}), or 'first-message:SEND => REPLY' with {token} in SEND; may be given again
    #[arg(long, value_name = "PLACE")]
    carrier: Vec<CarrierArgument>,

    /// Trust this certificate authority too, a file in PEM, for a wss URL that no public one vouches for
    #[arg(long, value_name = "FILE")]
    ca: Option<String>,

    /// Only these cases: a code, a family, a name, a tag or a trial (SIG-008@query); may be given again
    #[arg(long = "case", value_name = "WORD", help_heading = "Which cases")]
    cases: Vec<String>,
    /// Also the cases that wait, open many connections or measure
    #[arg(long, help_heading = "Which cases")]
    all: bool,

    /// Write a report: json=PATH, junit=PATH, sarif=PATH or markdown=PATH; may be given again
    #[arg(long = "report", value_name = "FORMAT=PATH", help_heading = "Reports")]
    reports: Vec<ReportArgument>,
    /// Say what changed since this result of --report json=PATH, and whether the server or the case did
    #[arg(long, value_name = "FILE", help_heading = "Reports")]
    baseline: Option<PathBuf>,
    /// List every case, not only those that need attention
    #[arg(long, short, help_heading = "Reports")]
    verbose: bool,

    /// Fail from this severity on: info, low, medium, high or critical
    #[arg(long, default_value = "medium", value_name = "SEVERITY", value_parser = one_of::<Severity>, help_heading = "What counts")]
    fail_on: Severity,
    /// Warnings fail the run too
    #[arg(long, help_heading = "What counts")]
    strict: bool,
    /// Inconclusive cases do not fail the run
    #[arg(long, help_heading = "What counts")]
    allow_inconclusive: bool,

    /// Sessions in flight at the same time
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: u16,
    /// Everything random follows from it; give it again to make the same run
    #[arg(long)]
    seed: Option<u64>,
    /// Multiply every deadline, for a slow target
    #[arg(long, default_value_t = 1.0, value_name = "FACTOR", value_parser = scale)]
    timeout_scale: f64,
    // A heading holds until the next one, so that this stands behind what has none.
    #[command(flatten, next_help_heading = "Which cases")]
    narrow: Narrow,
    #[command(flatten)]
    flow: Flow,
    #[command(flatten)]
    lifecycle: Lifecycle,

    /// Without a URL: only these dialects of the bundled server; may be given again
    #[arg(long, value_name = "NAME", help_heading = "The bundled server", value_parser = super::dialect)]
    dialect: Vec<Dialect>,
    /// Without a URL: how the bundled server refuses [default: close]
    #[arg(long, value_name = "close|http", help_heading = "The bundled server")]
    refusal: Option<RefusalStyle>,
    /// Without a URL: the one way in which the bundled server is wrong
    #[arg(long, value_name = "NAME", help_heading = "The bundled server", value_parser = super::fault)]
    fault: Option<Fault>,
}

/// How a token in the first message is written.
const FIRST_MESSAGE: &str = "'first-message:SEND => REPLY' with {token} in SEND, such as \
                             'first-message:{\"type\":\"auth\",\"token\":\"{token}\"} => {\"type\":\"auth_ok\"}'";

impl Run {
    /// The endpoint that is named.
    fn url(&self) -> Option<&String> {
        self.words.iter().find(|word| is_url(word))
    }

    /// The files of the user's own cases.
    fn files(&self) -> Vec<String> {
        self.words.iter().filter(|word| !is_url(word)).cloned().collect()
    }

    /// What cannot be asked for together.
    fn contradiction(&self) -> Option<String> {
        if !self.var.is_empty() && self.files().is_empty() {
            return Some("--var is about your own cases: name their files".to_owned());
        }
        let mut urls = self.words.iter().filter(|word| is_url(word));
        if let (Some(first), Some(second)) = (urls.next(), urls.next()) {
            let (first, second) = (printable(&jwts(first)), printable(&jwts(second)));
            return Some(format!(
                "one URL at a time, not `{first}` and `{second}`: write a profile for each, and --target"
            ));
        }
        if self.url().is_some() && !self.target.is_empty() {
            return Some("a URL and --target exclude each other".to_owned());
        }
        let is_about_bundled = !self.dialect.is_empty() || self.fault.is_some() || self.refusal.is_some();
        (is_about_bundled && self.names_a_server()).then(|| {
            "--dialect, --refusal and --fault are about the bundled server, and another is named: leave out one or the other"
                .to_owned()
        })
    }

    /// Whether a server is named that is not the bundled one.
    fn names_a_server(&self) -> bool {
        self.url().is_some() || self.profile.is_some() || !self.target.is_empty()
    }
}

/// Whether a word is a URL, and not a file.
fn is_url(word: &str) -> bool {
    word.contains("://")
}

/// A carrier, and as it is written on the command line.
#[derive(Debug, Clone)]
pub(super) struct CarrierArgument(pub(super) Carrier, pub(super) String);

impl FromStr for CarrierArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, name) = text.split_once(':').unwrap_or((text, ""));
        let carrier = match (kind, name) {
            ("path", "") => Carrier::Path,
            ("query", "") => Carrier::Query("token".to_owned()),
            ("query", name) => Carrier::Query(name.to_owned()),
            ("header", "") => Carrier::Authorization("Bearer".to_owned()),
            ("authorization", scheme) if !scheme.is_empty() => Carrier::Authorization(scheme.to_owned()),
            ("header", name) => Carrier::Header(name.to_owned()),
            ("cookie", name) if !name.is_empty() => Carrier::Cookie(name.to_owned()),
            ("subprotocol", offer) if offer.contains("{token") => {
                Carrier::Subprotocol(offer.split(',').map(|element| element.trim().to_owned()).collect())
            }
            ("first-message", text) if !text.contains("{token}") => return Err(format!("write {FIRST_MESSAGE}")),
            ("first-message", text) if text.contains("=>") && !text.contains(" => ") => {
                return Err(format!("put a space on both sides of the =>: {FIRST_MESSAGE}"));
            }
            ("first-message", text) => {
                let (send, reply) = match text.split_once(" => ") {
                    Some((send, reply)) => (send, Some(Shape::like(reply))),
                    None => (text, None),
                };
                Carrier::FirstMessage(FirstMessage { send: send.to_owned(), reply, ..FirstMessage::default() })
            }
            _ => {
                return Err("write path, query:NAME, header, authorization:SCHEME, header:NAME, cookie:NAME, \
                            subprotocol:LIST or first-message:SEND => REPLY, the last two with {token} in it"
                    .to_owned());
            }
        };
        Ok(Self(carrier, text.to_owned()))
    }
}

/// A report to be written.
#[derive(Debug, Clone)]
struct ReportArgument {
    format: Format,
    path: PathBuf,
}

impl FromStr for ReportArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = Format::ALL.map(Format::name);
        let Some((name, path)) = text.split_once('=').filter(|(_, path)| !path.is_empty()) else {
            return Err(format!("write FORMAT=PATH, such as {}=PATH", names[0]));
        };
        match Format::ALL.into_iter().find(|format| format.name() == name) {
            Some(format) => Ok(Self { format, path: PathBuf::from(path) }),
            None => Err(format!(
                "no report format is called `{name}`; there are {}{}",
                names.join(", "),
                did_you_mean(name, names)
            )),
        }
    }
}

pub(super) fn scale(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(factor) if (0.1..=100.0).contains(&factor) => Ok(factor),
        _ => Err("a number from 0.1 to 100".to_owned()),
    }
}

/// Why nothing could be run.
pub(super) enum Problem {
    /// The arguments, a secret or a file they name.
    Usage(String),
    /// The profile.
    Profile(Diagnostics, Redactor),
    /// The user's own cases.
    Cases(Diagnostics, Redactor),
    /// The cases that were built in.
    Bundled(Diagnostics),
}

impl Problem {
    /// The same, with the name of the target it is about.
    fn of(self, name: &str) -> Self {
        match self {
            Self::Usage(message) => Self::Usage(format!("{}: {message}", printable(name))),
            other => other,
        }
    }

    /// Says it, and gives the exit code.
    pub(super) fn tell(self) -> Exit {
        let color = std::io::stderr().is_terminal();
        match self {
            Self::Usage(message) => complain(&message),
            Self::Profile(found, redactor) => {
                complain(&format!("\n{}", redactor.redact_quotations(&found.render(color))))
            }
            Self::Cases(found, redactor) => {
                complain(&format!("\n{}", redactor.redact_quotations(&found.render(color))))
            }
            Self::Bundled(found) => {
                complain(&format!("the bundled cases are wrong, which is a bug:\n{}", found.render(color)));
                return Exit::OurFault;
            }
        }
        Exit::Usage
    }
}

/// Runs, tells and writes.
pub(super) async fn run(arguments: Run) -> Exit {
    let begun = Instant::now();
    if arguments.secret.is_some() {
        complain(
            "the secret on the command line is visible to others on this machine; prefer --secret-env or --secret-file",
        );
    }
    let (reports, baseline) = match reports(&arguments).await {
        Ok(read) => read,
        Err(problem) => return problem.tell(),
    };
    for report in &reports {
        if let Some(Failure::NoToken(why)) = &report.failure {
            complain(&format!("there is no valid token for {}: {why}", report.target));
            if reports.len() == 1 {
                return Exit::Usage;
            }
        }
    }

    // From here on nothing is left to be interrupted but the telling, which whoever waits for it may be tired of.
    let mut interrupts = Interrupts::new();
    tell(&reports, &arguments, begun);
    if let (Some(earlier), Some(path)) = (&baseline, &arguments.baseline) {
        // Both sides are read from a file's words, so that none is told otherwise than the other.
        match Earlier::read(&json::write(&reports)) {
            Ok(now) => {
                let name = printable(&path.to_string_lossy());
                say_safely(&Changes::between(earlier, &now).describe(&name));
            }
            Err(why) => complain(&format!("this result cannot be held against the baseline: {why}")),
        }
    }
    let standard = Standard {
        fail_on: arguments.fail_on,
        strict: arguments.strict,
        allow_inconclusive: arguments.allow_inconclusive,
    };
    let mut exit = verdict(&reports, standard);
    if let Some(why) = report::spared(&reports, standard).filter(|_| exit == Exit::Good) {
        say(&format!("{why} (--fail-on {})\n", arguments.fail_on.word()));
    }
    // A word that names nothing at all has been spoken of before.
    if exit == Exit::NothingSelected && !reports.is_empty() {
        complain(&nothing_selected(&reports, &arguments));
    }
    let mut unwritten = 0;
    for report in &arguments.reports {
        let written = tokio::select! {
            written = write(report, &reports) => written,
            () = interrupts.next() => return Exit::Interrupted,
        };
        unwritten += usize::from(!written);
    }
    tell_github(&reports);
    if unwritten > 0 && exit == Exit::Good {
        exit = Exit::Usage;
    }
    exit
}

/// Writes one report. What cannot be written where it was asked for is kept elsewhere, and the others are written all
/// the same.
async fn write(report: &ReportArgument, reports: &[Report]) -> bool {
    let text: Arc<str> = report.format.write(reports).into();
    // A pipe waits for its reader, and so may not keep this thread from hearing an interrupt.
    let (path, bytes) = (report.path.clone(), Arc::clone(&text));
    let written = spawn_blocking(move || file::write_whole(&path, bytes.as_bytes())).await;
    let Err(error) = written.map_err(std::io::Error::other).flatten() else { return true };
    let kept = match file::keep(text.as_bytes(), report.format.extension()) {
        Ok(path) => format!("it is in `{}` instead", path.display()),
        Err(_) => "what it would say stands on stdout".to_owned(),
    };
    complain(&format!("cannot write the report `{}`: {error}; {kept}", report.path.display()));
    if kept.contains("stdout") {
        say(&text);
    }
    false
}

/// Whether this is a run of GitHub Actions, whose log acts on some texts.
fn is_on_github() -> bool {
    std::env::var_os("GITHUB_ACTIONS").is_some_and(|value| value == "true")
}

/// Says it, without what such a log would act on.
fn say_safely(text: &str) {
    if is_on_github() { say(&annotations::harmless(text)) } else { say(text) }
}

/// Shows the result where GitHub shows results. Nobody asked for it, so that it does not change the exit code.
fn tell_github(reports: &[Report]) {
    if is_on_github() {
        say(&annotations::write(reports));
    }
    let Some(path) = std::env::var_os("GITHUB_STEP_SUMMARY").filter(|path| !path.is_empty()) else { return };
    let path = PathBuf::from(path);
    if let Err(error) = file::append(&path, markdown::write(reports).as_bytes()) {
        complain(&format!("cannot write the summary of this step to `{}`: {error}", path.display()));
    }
}

/// Looks at everything that can be wrong before the first connection, then runs.
async fn reports(arguments: &Run) -> Result<(Vec<Report>, Option<Earlier>), Problem> {
    let baseline = arguments.baseline.as_deref().map(file::read_result).transpose().map_err(Problem::Usage)?;
    Ok((judged(arguments).await?, baseline))
}

async fn judged(arguments: &Run) -> Result<Vec<Report>, Problem> {
    if let Some(why) = arguments.contradiction() {
        return Err(Problem::Usage(why));
    }
    let files = own::read(&arguments.files()).map_err(|why| {
        let hint = "; a URL begins with ws:// or wss://, and anything else is a file or a folder of cases (--case chooses among the bundled ones)";
        Problem::Usage(format!("{why}{hint}"))
    })?;
    let targets = external(arguments)?;
    let log = arguments.lifecycle.log().map(file::place);
    let mut places = Vec::new();
    for report in &arguments.reports {
        let place = file::place(&report.path);
        let both = match () {
            () if log.as_ref() == Some(&place) => Some("the log and a report"),
            () if places.contains(&place) => Some("two reports"),
            () => None,
        };
        if let Some(both) = both {
            return Err(Problem::Usage(format!("{both} would be written to `{}`", report.path.display())));
        }
        places.push(place);
        file::writable(&report.path)
            .map_err(|error| Problem::Usage(format!("cannot write the report `{}`: {error}", report.path.display())))?;
    }
    let mut catalogue = Catalogue::bundled().map_err(Problem::Bundled)?;
    if !files.is_empty() || !arguments.var.is_empty() {
        arguments.var.iter().filter_map(Var::secret).for_each(|secret| conceal(&secret));
        own::add(&mut catalogue, &files, &arguments.var)
            .map_err(|found| Problem::Cases(found, own::secrets_of(&files)))?;
    }
    let unknown: Vec<String> = arguments.cases.iter().filter_map(|word| unknown(word, &catalogue)).collect();
    let tags = arguments.narrow.unknown(&catalogue);
    unknown.iter().chain(&tags).for_each(|why| complain(why));
    let nothing = !arguments.cases.is_empty() && unknown.len() == arguments.cases.len()
        || arguments.narrow.names_nothing(&catalogue);
    if !nothing && unknown.len() + tags.len() > 0 {
        // What the others select could pass, and nobody would miss this.
        return Err(Problem::Usage("nothing is run, because not all that is asked for exists".to_owned()));
    }
    let selects: Vec<BTreeSet<String>> = arguments.cases.iter().map(|word| codes(word, &catalogue)).collect();
    let suite = suite(arguments, catalogue);
    let reports = match targets {
        _ if nothing => return Ok(Vec::new()),
        Some(targets) => {
            stop_on_interrupt(suite.interrupt());
            served(&suite, &targets, &arguments.lifecycle).await?
        }
        None => {
            stop_on_interrupt(suite.interrupt());
            bundled(suite, arguments).await?
        }
    };
    tell_idle_words(&reports, arguments, &selects);
    Ok(reports)
}

/// Tells which words of `--case` have selected no trial, where others have. Where none has, that is told by itself.
fn tell_idle_words(reports: &[Report], arguments: &Run, selects: &[BTreeSet<String>]) {
    let trials = || reports.iter().flat_map(|report| &report.trials);
    // What was not come to, and what falls into another share, may be what a word has selected.
    if trials().next().is_none() || arguments.flow.is_shared() || reports.iter().any(|report| report.failure.is_some())
    {
        return;
    }
    let whose = if reports.len() > 1 { "these targets" } else { "this target" };
    let narrow = arguments.narrow.words();
    let narrow = if narrow.is_empty() { String::new() } else { format!(" with {}", narrow.join(" and ")) };
    for (word, codes) in arguments.cases.iter().zip(selects) {
        if !trials().any(|trial| codes.contains(&trial.code) || word.eq_ignore_ascii_case(&trial.id)) {
            complain(&format!("`{}` selects no trial of {whose}{narrow}", printable(word)));
        }
    }
}

fn suite(arguments: &Run, catalogue: Catalogue) -> Suite {
    let mut suite = Suite::new(Ok(catalogue)).jobs(usize::from(arguments.jobs)).timeout_scale(arguments.timeout_scale);
    if let Some(seed) = arguments.seed {
        suite = suite.seed(seed);
    }
    if arguments.all {
        suite = suite.all();
    }
    suite = arguments.flow.put(arguments.narrow.put(suite), arguments.fail_on);
    arguments.cases.iter().fold(suite, |suite, word| suite.select(word))
}

/// The codes of the cases that a word of `--case` means with all their trials.
fn codes(word: &str, catalogue: &Catalogue) -> BTreeSet<String> {
    let called = catalogue.cases.iter().filter(|case| is_called(case, word));
    called.map(|case| case.head.code.clone()).collect()
}

/// That a word of `--case` names nothing in the catalogue, for whatever target; none where it names something.
fn unknown(word: &str, catalogue: &Catalogue) -> Option<String> {
    let why = match word.split_once('@') {
        _ if !codes(word, catalogue).is_empty() => return None,
        Some((code, place)) if catalogue.cases.iter().any(|case| code.eq_ignore_ascii_case(&case.head.code)) => {
            unknown_place(place)?
        }
        Some((name, _)) if !codes(name, catalogue).is_empty() => {
            ": before the `@` stands a code, such as SIG-008@query".to_owned()
        }
        _ => hint(word, catalogue),
    };
    Some(format!("no case is selected by `{}`{why}", printable(word)))
}

/// That a token can ride in no such place; none where it can.
fn unknown_place(place: &str) -> Option<String> {
    let numbered = |(_, number): &(&str, &str)| number.parse::<usize>().is_ok();
    let kind = place.rsplit_once('-').filter(numbered).map_or(place, |(kind, _)| kind);
    let known = carriers().map(|carrier| carrier.word());
    (!known.iter().any(|word| word.eq_ignore_ascii_case(kind)))
        .then(|| format!(": no token rides in `{}`{}", printable(place), did_you_mean(kind, known)))
}

/// A carrier of each kind.
fn carriers() -> [Carrier; 8] {
    let name = String::new;
    [
        Carrier::Path,
        Carrier::Query(name()),
        Carrier::Authorization(name()),
        Carrier::Header(name()),
        Carrier::Cookie(name()),
        Carrier::Subprotocol(Vec::new()),
        Carrier::FirstMessage(FirstMessage::default()),
        Carrier::Body(name()),
    ]
}

/// The code, family, name or tag that was probably meant.
fn hint(word: &str, catalogue: &Catalogue) -> String {
    let code = word.split_once('@').map_or(word, |(code, _)| code);
    let families: BTreeSet<&str> = catalogue.cases.iter().map(|case| case.family.as_str()).collect();
    let mut known: Vec<&str> = families.iter().copied().collect();
    for head in catalogue.cases.iter().map(|case| &case.head) {
        known.extend([head.code.as_str(), head.name.as_str()]);
        known.extend(head.tags.iter().map(String::as_str));
    }
    let hint = did_you_mean(code, known);
    if hint.is_empty() {
        let families: Vec<&str> = families.into_iter().collect();
        return format!("; families are {}, and `gatecrash list` shows every case", families.join(", "));
    }
    hint
}

/// The targets the arguments describe; none when they ask for the bundled server.
fn external(arguments: &Run) -> Result<Option<Vec<Target>>, Problem> {
    if !arguments.names_a_server() {
        if arguments.lifecycle.waits() {
            let message = "--start and --wait-ready need to know which server: give its URL, or a profile";
            return Err(Problem::Usage(message.to_owned()));
        }
        let keys = [
            &arguments.secret_env,
            &arguments.secret_file,
            &arguments.secret,
            &arguments.token_env,
            &arguments.token_file,
        ];
        let given = match keys.iter().all(|key| key.is_none()) {
            true if arguments.carrier.is_empty() && arguments.ca.is_none() => return Ok(None),
            true if arguments.carrier.is_empty() => "--ca",
            _ => "a secret or a carrier",
        };
        return Err(Problem::Usage(format!(
            "{given} is given, but no URL: say which server to judge, as in `gatecrash run ws://HOST/ws?token={{token}}`"
        )));
    }
    if arguments.target.is_empty() {
        let profile = arguments.profile.as_deref().map(read_profile).transpose()?;
        return Ok(Some(vec![target(arguments, profile.unwrap_or_default())?]));
    }
    let mut targets: Vec<Target> = Vec::new();
    for name in &arguments.target {
        let mut one = target(arguments, read_profile(name)?).map_err(|problem| problem.of(name))?;
        // Reports tell them apart by their names.
        if targets.iter().any(|other| other.profile.name == one.profile.name) {
            one.profile.name = format!("{} ({name})", one.profile.name);
        }
        targets.push(one);
    }
    Ok(Some(targets))
}

/// The target of a profile, with what the arguments say over it.
fn target(arguments: &Run, mut profile: Profile) -> Result<Target, Problem> {
    if let Some(url) = arguments.url() {
        profile.url = Some(url.clone());
    }
    if !arguments.carrier.is_empty() {
        profile.carriers = arguments.carrier.iter().map(|CarrierArgument(carrier, _)| carrier.clone()).collect();
    }
    if let Some(name) = &arguments.secret_env {
        profile.secret = Some(format!("env:{name}"));
    } else if let Some(path) = &arguments.secret_file {
        profile.secret = Some(format!("file:{path}"));
    } else if let Some(text) = &arguments.secret {
        profile.secret = Some(text.clone());
    }
    let token = match (&arguments.token_env, &arguments.token_file) {
        (Some(name), _) => Some(format!("env:{name}")),
        (None, Some(path)) => Some(format!("file:{path}")),
        (None, None) => None,
    };
    if token.is_some() {
        (profile.token, profile.login) = (token, None);
    } else if arguments.secret_env.is_some() || arguments.secret_file.is_some() || arguments.secret.is_some() {
        // What is said here counts for more than what the profile says.
        (profile.token, profile.login) = (None, None);
    }
    if let Some(path) = &arguments.ca {
        profile.ca = Some(path.clone());
    }
    let target = Target::from_profile(profile).map_err(|error| {
        let unanswered = |CarrierArgument(carrier, _): &CarrierArgument| {
            matches!(carrier, Carrier::FirstMessage(first) if first.reply.is_none())
        };
        let form = match arguments.carrier.iter().any(unanswered) {
            true => format!(". For --carrier: {FIRST_MESSAGE}"),
            false => String::new(),
        };
        Problem::Usage(format!("{error}{form}"))
    })?;
    target.secrets.iter().for_each(conceal);
    Ok(target)
}

pub(super) fn read_profile(name: &str) -> Result<Profile, Problem> {
    let text = match presets().iter().find(|(known, _)| *known == name) {
        Some((_, text)) => (*text).to_owned(),
        None => file::read_text(name).map_err(|error| {
            let presets: Vec<&str> = presets().iter().map(|(known, _)| *known).collect();
            let hint = match error.kind() {
                ErrorKind::NotFound => {
                    format!("; presets are {}{}", presets.join(", "), did_you_mean(name, presets.iter().copied()))
                }
                _ => String::new(),
            };
            Problem::Usage(format!("cannot read the profile `{}`: {error}{hint}", printable(name)))
        })?,
    };
    Profile::from_yaml(name, &text).map_err(|found| Problem::Profile(found, secrets_in([text.as_str()])))
}

/// Judges targets, which may have to be started, or waited for, first.
async fn served(suite: &Suite, targets: &[Target], lifecycle: &Lifecycle) -> Result<Vec<Report>, Problem> {
    let interrupt = suite.interrupt();
    let mut reports = Vec::new();
    for target in targets {
        let progress = Mutex::new(Progress::new());
        if lifecycle.waits() {
            reports.push(awaited(suite, target, lifecycle, &progress).await?);
        } else {
            reports.push(judge(suite, target, &progress).await?);
        }
        if interrupt.is_requested() {
            break;
        }
    }
    Ok(reports)
}

/// Starts a target or waits until it is there, and judges it.
async fn awaited(
    suite: &Suite,
    target: &Target,
    lifecycle: &Lifecycle,
    progress: &Mutex<Progress>,
) -> Result<Report, Problem> {
    let interrupt = suite.interrupt();
    let mut started = lifecycle.start(&target.endpoint).await.map_err(Problem::Usage)?;
    let ready = lifecycle.ready(&target.endpoint, started.as_ref(), &interrupt).await;
    match (&ready, &mut started) {
        (Err(why), _) => complain(why),
        (Ok(()), Some(started)) => started.note_ready(),
        (Ok(()), None) => {}
    }
    let report = match &mut started {
        None => judge(suite, target, progress).await?,
        Some(started) => {
            let (revival, mut pleas) = Revival::new();
            let suite = suite.clone().revival(revival);
            let mut judged = std::pin::pin!(judge(&suite, target, progress));
            loop {
                tokio::select! {
                    report = &mut judged => break report?,
                    Some(plea) = pleas.recv() => {
                        plea.answer(lifecycle.again(&target.endpoint, started, &interrupt).await);
                    }
                }
            }
        }
    };
    if let Some(started) = &started {
        if let Some(deaths) = started.deaths() {
            complain(&deaths);
        }
        match started.failed().filter(|_| ready.is_ok()) {
            Some(how) => {
                complain(&format!("the command of --start ended during the run: {how}; {}", started.last_words()))
            }
            None if report.failure.is_some() && !interrupt.is_requested() => complain(&started.last_words()),
            None => {}
        }
    }
    Ok(report)
}

async fn judge(suite: &Suite, target: &Target, progress: &Mutex<Progress>) -> Result<Report, Problem> {
    let tell = &mut |event: RunEvent<'_>| {
        progress.lock().unwrap_or_else(PoisonError::into_inner).tell(&target.profile.name, event);
    };
    suite.run_with(target, tell).await.map_err(Problem::Bundled)
}

/// Judges the bundled server in each dialect. They are servers of their own, so the pauses of one are time for the
/// others; all of them together have as many sessions in flight as one server would have.
async fn bundled(suite: Suite, arguments: &Run) -> Result<Vec<Report>, Problem> {
    let dialects = if arguments.dialect.is_empty() { Dialect::ALL.to_vec() } else { arguments.dialect.clone() };
    let lanes = dialects.len().min(usize::from(arguments.jobs)).max(1);
    let suite = Arc::new(suite.jobs(usize::from(arguments.jobs) / lanes));
    let progress = Arc::new(Mutex::new(Progress::new()));
    let refusal = arguments.refusal.unwrap_or(RefusalStyle::Close);
    let mut waiting = dialects.iter().map(|dialect| Setting::of(*dialect, refusal)).enumerate();
    let mut flying = JoinSet::new();
    let mut done = Vec::new();
    loop {
        while flying.len() < lanes
            && !suite.interrupt().is_requested()
            && let Some((place, setting)) = waiting.next()
        {
            let (suite, progress, fault) = (Arc::clone(&suite), Arc::clone(&progress), arguments.fault);
            flying.spawn(async move {
                // A server hashes passwords before it listens.
                let server = spawn_blocking(move || BundledServer::start(&setting, fault)).await;
                let server = server
                    .map_err(std::io::Error::other)
                    .flatten()
                    .map_err(|error| Problem::Usage(format!("cannot start the bundled server: {error}")))?;
                let report = judge(&suite, &server.target, &progress).await?;
                // To stop a server takes the thread; that is for later.
                Ok((place, report, server))
            });
        }
        match flying.join_next().await {
            None => break,
            Some(Ok(judged)) => done.push(judged?),
            Some(Err(error)) => match error.try_into_panic() {
                Ok(payload) => std::panic::resume_unwind(payload),
                Err(error) => return Err(Problem::Usage(format!("the run was given up: {error}"))),
            },
        }
    }
    done.sort_by_key(|(place, ..)| *place);
    Ok(done.into_iter().map(|(_, report, _)| report).collect())
}

fn tell(reports: &[Report], arguments: &Run, begun: Instant) {
    let style = Style {
        color: anstream::AutoStream::choice(&std::io::stdout()) != anstream::ColorChoice::Never,
        verbose: arguments.verbose,
    };
    // A word may select cases of one dialect only.
    let told = reports.iter().filter(|report| report.failure.is_some() || !report.trials.is_empty()).count();
    for (index, report) in reports.iter().enumerate() {
        if report.failure.is_some() || !report.trials.is_empty() {
            say_safely(&terminal::write(report, style, &again(report, arguments, index)));
        }
    }
    if told > 1 {
        say(&format!("{}\n", terminal::summary_line("all", report::total(reports), begun.elapsed(), style)));
    }
}

/// The rest of a command line that makes a run again: the `index`th of those that the arguments ask for.
fn again(report: &Report, arguments: &Run, index: usize) -> String {
    let mut words = String::new();
    let mut add = |flag: &str, value: &str| {
        words.push(' ');
        words.push_str(flag);
        if !flag.is_empty() && !value.is_empty() {
            words.push(' ');
        }
        words.push_str(&quote(value));
    };
    if !arguments.names_a_server() {
        add("--dialect", &report.target);
        if arguments.refusal == Some(RefusalStyle::Http) {
            add("--refusal", "http");
        }
        if let Some(fault) = arguments.fault {
            add("--fault", fault.name());
        }
        own_words(&mut words, arguments);
        return words;
    }
    if let Some(profile) = arguments.profile.as_ref().or(arguments.target.get(index)) {
        add("--profile", profile);
    }
    if let Some(name) = &arguments.secret_env {
        add("--secret-env", name);
    }
    if let Some(path) = &arguments.secret_file {
        add("--secret-file", path);
    }
    if let Some(name) = &arguments.token_env {
        add("--token-env", name);
    }
    if let Some(path) = &arguments.token_file {
        add("--token-file", path);
    }
    for CarrierArgument(_, text) in &arguments.carrier {
        add("--carrier", text);
    }
    if let Some(path) = &arguments.ca {
        add("--ca", path);
    }
    if arguments.url().is_some() {
        words.push(' ');
        words.push_str(&quote(&report.url));
    }
    own_words(&mut words, arguments);
    words
}

/// The files of the user's own cases, and what their variables are.
fn own_words(words: &mut String, arguments: &Run) {
    for path in arguments.files() {
        words.push_str(&format!(" {}", quote(&path)));
    }
    for var in &arguments.var {
        words.push_str(&format!(" --var {}", quote(&var.to_string())));
    }
}

pub(super) fn quote(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:=@%+,".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", printable(word).replace('\'', "'\\''"))
    }
}

/// The exit code of several runs: the one that most needs attention.
fn verdict(reports: &[Report], standard: Standard) -> Exit {
    let order = |exit: &Exit| match exit {
        Exit::Good => 0,
        Exit::NothingSelected => 1,
        Exit::Inconclusive => 2,
        Exit::Failed => 3,
        Exit::NoControl => 4,
        Exit::OurFault => 5,
        Exit::Interrupted => 6,
        Exit::Usage => 7,
    };
    let exits: Vec<Exit> = reports.iter().map(|report| report.exit(standard)).collect();
    // A word may select cases of one dialect only.
    let selected = exits.iter().copied().filter(|exit| *exit != Exit::NothingSelected).max_by_key(order);
    selected.unwrap_or(Exit::NothingSelected)
}

fn nothing_selected(reports: &[Report], arguments: &Run) -> String {
    let mut reasons: Vec<String> = Vec::new();
    for trial in reports.iter().flat_map(|report| &report.trials) {
        let reason = format!("\n  {} {}: {}", trial.id, trial.name, trial.observed);
        if !reasons.contains(&reason) {
            reasons.push(reason);
        }
    }
    if reasons.is_empty() {
        if arguments.flow.is_shared() {
            return "nothing that is selected falls into this share".to_owned();
        }
        let words = arguments.cases.iter().map(|word| printable(word)).collect::<Vec<_>>().join(", ");
        let parts: Vec<String> =
            [words].into_iter().filter(|words| !words.is_empty()).chain(arguments.narrow.words()).collect();
        return format!("nothing is selected by {} for this target{}", parts.join(" and "), held_back(arguments));
    }
    let more = match reasons.len().saturating_sub(5) {
        0 => String::new(),
        more => format!("\n  and {more} more; --verbose tells all"),
    };
    reasons.truncate(5);
    format!("every selected case is not applicable to this target:{}{more}", reasons.concat())
}

/// That `--all` would bring what was asked for, if it would.
fn held_back(arguments: &Run) -> String {
    let Ok(catalogue) = Catalogue::bundled_heads() else { return String::new() };
    let more = catalogue.cases.iter().filter(|case| case.head.set == Set::All);
    match arguments.narrow.count(more) {
        count if count > 0 && !arguments.all && arguments.cases.is_empty() => {
            format!("; --all adds {count} cases of this kind")
        }
        _ => String::new(),
    }
}

/// Ends the run at the first interrupt, and the process at the second.
fn stop_on_interrupt(interrupt: Interrupt) {
    let mut interrupts = Interrupts::new();
    tokio::spawn(async move {
        interrupts.next().await;
        interrupt.request();
        interrupts.next().await;
        lifecycle::abandon();
        std::process::exit(i32::from(Exit::Interrupted as u8));
    });
}

/// One line on a terminal that tells how far the run is.
struct Progress {
    shown: bool,
    /// Targets that are being judged.
    running: usize,
    total: usize,
    done: usize,
}

impl Progress {
    fn new() -> Self {
        Self { shown: std::io::stderr().is_terminal(), running: 0, total: 0, done: 0 }
    }

    fn tell(&mut self, target: &str, event: RunEvent<'_>) {
        match event {
            RunEvent::Started { trials, .. } => {
                self.running += 1;
                self.total += trials;
            }
            RunEvent::TrialEnded { .. } => self.done += 1,
            RunEvent::Ended { .. } => self.running = self.running.saturating_sub(1),
        }
        if !self.shown {
            return;
        }
        let mut stderr = std::io::stderr().lock();
        let (done, total) = (self.done.min(self.total), self.total);
        let _ = match event {
            RunEvent::Ended { .. } if self.running == 0 => write!(stderr, "\r\u{1b}[K"),
            RunEvent::TrialEnded { id } => write!(stderr, "\r\u{1b}[K{done}/{total} {target}: {id}"),
            RunEvent::Started { .. } | RunEvent::Ended { .. } => write!(stderr, "\r\u{1b}[K{done}/{total} {target}"),
        };
        let _ = stderr.flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_kind_of_carrier_is_missing() {
        let kinds = carriers().map(|carrier| match carrier {
            Carrier::Path => 0,
            Carrier::Query(_) => 1,
            Carrier::Authorization(_) => 2,
            Carrier::Header(_) => 3,
            Carrier::Cookie(_) => 4,
            Carrier::Subprotocol(_) => 5,
            Carrier::FirstMessage(_) => 6,
            // A new one is one more.
            Carrier::Body(_) => 7,
        });
        assert_eq!(kinds, [0, 1, 2, 3, 4, 5, 6, 7]);
    }

    #[test]
    fn every_carrier_has_a_spelling_on_the_command_line() {
        let read = |text: &str| text.parse::<CarrierArgument>().map(|CarrierArgument(carrier, _)| carrier);
        let offer = |list: &[&str]| Carrier::Subprotocol(list.iter().map(|one| (*one).to_owned()).collect());
        let auth = r#"{"type":"auth","token":"{token}"}"#;
        let told =
            |reply| Carrier::FirstMessage(FirstMessage { send: auth.to_owned(), reply, ..FirstMessage::default() });
        for (text, carrier) in [
            ("path".to_owned(), Carrier::Path),
            ("query:jwt".to_owned(), Carrier::Query("jwt".to_owned())),
            ("header".to_owned(), Carrier::Authorization("Bearer".to_owned())),
            ("authorization:Token".to_owned(), Carrier::Authorization("Token".to_owned())),
            ("header:X-Token".to_owned(), Carrier::Header("X-Token".to_owned())),
            ("cookie:session".to_owned(), Carrier::Cookie("session".to_owned())),
            ("subprotocol:bearer, {token}".to_owned(), offer(&["bearer", "{token}"])),
            ("subprotocol:app,k.{token_base64url}".to_owned(), offer(&["app", "k.{token_base64url}"])),
            (format!("first-message:{auth}"), told(None)),
            (format!("first-message:{auth} => {{\"type\":\"ok\"}}"), told(Some(Shape::like(r#"{"type":"ok"}"#)))),
            (format!("first-message:{auth} => +OK"), told(Some(Shape::Text("+OK".to_owned())))),
        ] {
            assert_eq!(read(&text), Ok(carrier), "{text}");
        }
        for bad in ["", "cookie", "authorization:", "subprotocol:bearer", "first-message:auth", "body:token"] {
            assert!(read(bad).is_err(), "{bad}");
        }
        for bad in ["first-message:auth", "first-message:", "first-message:AUTH {token}=>+OK"] {
            assert!(read(bad).is_err_and(|why| why.contains("first-message:SEND => REPLY")), "{bad}");
        }
    }
}
