//! `gatecrash init`: writes a first profile, says the first command, and writes the job of a CI where that is wanted.
//!
//! Whatever is not said by flags is asked for on a terminal; the texts are functions of the answers.

use std::fs;
use std::io::{self, BufRead, IsTerminal as _, Write};
use std::path::{Path, PathBuf};

use clap::Args;

use super::connect::Connect;
use super::run::{CarrierArgument, quote};
use super::{complain, did_you_mean, file, say};
use crate::document::printable;
use crate::probe::scalar;
use crate::profile::{Carrier, Profile, presets};
use crate::report::Exit;
use crate::target::Endpoint;

/// How often a question is asked again when its answer cannot be used.
const TRIES: usize = 5;
/// The longest line that is taken for an answer, in bytes.
const MAX_ANSWER_BYTES: u64 = 16 << 10;
/// Where GitHub looks for its jobs.
const WORKFLOW: &str = ".github/workflows/gatecrash.yml";

/// What `gatecrash init` is told.
#[derive(Debug, Args)]
pub(super) struct Init {
    /// The endpoint, with {token} where the token goes
    url: Option<String>,
    /// The preset of its stack; `none` for a server like no other
    #[arg(long, value_name = "NAME", value_parser = preset)]
    preset: Option<String>,
    #[command(flatten)]
    connect: Connect,
    /// Where to write the profile; a file that is there is not replaced
    #[arg(long, default_value = "gatecrash.yaml", value_name = "FILE")]
    out: PathBuf,
    /// Also write a job for GitHub Actions
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = WORKFLOW)]
    ci: Option<PathBuf>,
    /// The command that starts the server, for the job and the first run; as for `run`
    #[arg(long, value_name = "COMMAND")]
    start: Option<String>,
}

/// Says that no preset is meant.
const NO_PRESET: &str = "none";

fn preset(name: &str) -> Result<String, String> {
    let names = || presets().iter().map(|(known, _)| *known).chain([NO_PRESET]);
    match names().any(|known| known == name) {
        true => Ok(name.to_owned()),
        false => Err(format!("there are {}{}", names().collect::<Vec<_>>().join(", "), did_you_mean(name, names()))),
    }
}

/// Everything that must be known to write a profile.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Answers {
    url: String,
    preset: Option<String>,
    /// `secret`, `token` or `private`, and where it is.
    key: (&'static str, String),
    carriers: Vec<Carrier>,
    ca: Option<String>,
    ci: Option<PathBuf>,
    start: Option<String>,
}

/// Asks for what was not said, and writes.
pub(super) fn init(arguments: &Init) -> Exit {
    let terminal = io::stdin().is_terminal();
    let answers = match complete(arguments, terminal, &mut io::stdin().lock(), &mut anstream::stderr().lock()) {
        Ok(answers) => answers,
        Err(why) => {
            complain(&why);
            return Exit::Usage;
        }
    };
    let path = &arguments.out;
    let profile = profile_text(&answers);
    // A mistake in what was answered is told before it stands in a file.
    if let Err(found) = Profile::from_yaml(&path.display().to_string(), &profile) {
        complain(&format!("no profile can be made of these answers:\n{found}"));
        return Exit::Usage;
    }
    let job = answers.ci.as_ref().map(|ci| (ci, job_text(&answers, path)));
    // Nothing is written where one of the two cannot be.
    for path in std::iter::once(path).chain(answers.ci.as_ref()) {
        if let Err(error) = folder_of(path).and_then(|()| file::absent(path)) {
            complain(&format!("cannot write `{}`: {error}", path.display()));
            return Exit::Usage;
        }
    }
    if answers.ci.as_ref().is_some_and(|ci| file::place(ci) == file::place(path)) {
        complain(&format!("the profile and the job would both be written to `{}`", path.display()));
        return Exit::Usage;
    }
    for (path, text) in std::iter::once((path, &profile)).chain(job.as_ref().map(|(path, text)| (*path, text))) {
        if let Err(error) = file::write_whole(path, text.as_bytes()) {
            complain(&format!("cannot write `{}`: {error}", path.display()));
            return Exit::Usage;
        }
    }
    say(&parting_text(&answers, path));
    Exit::Good
}

fn folder_of(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => fs::create_dir_all(folder),
        _ => Ok(()),
    }
}

/// The answers that the flags give, and those that a person does where there is one.
fn complete(
    arguments: &Init,
    terminal: bool,
    input: &mut dyn BufRead,
    output: &mut dyn Write,
) -> Result<Answers, String> {
    let said = arguments.connect.key();
    if !terminal && (arguments.url.is_none() || said.is_none()) {
        return Err("there is no terminal to ask on: say which server and where its secret is, as in `gatecrash init \
                    'ws://HOST/ws?token={token}' --secret-env SECRET_KEY`, or --token-env NAME for a real token"
            .to_owned());
    }
    let asks = arguments.url.is_none() || said.is_none();
    let mut dialogue = Dialogue { input, output };
    let url = match &arguments.url {
        Some(url) => endpoint(url).map(|()| url.clone())?,
        None => {
            dialogue.tell("Where is the endpoint? Write {token} where the token goes, if it rides in the URL.")?;
            dialogue.ask("URL", "ws://127.0.0.1:8000/ws?token={token}", |url| endpoint(url).map(|()| url.to_owned()))?
        }
    };
    let preset = match &arguments.preset {
        Some(name) => Some(name.clone()),
        None if asks => {
            let names: Vec<&str> = presets().iter().map(|(name, _)| *name).collect();
            dialogue.tell(&format!("Which stack is it? {}", names.join(", ")))?;
            Some(dialogue.ask("Preset", NO_PRESET, preset)?)
        }
        None => None,
    };
    let key = match said {
        Some(key) => key,
        None => {
            dialogue.tell(
                "Where is the secret that signs its tokens? env:NAME or file:PATH; for a private key private:file:PATH. \
                 Where you have no more than a token: token:env:NAME or token:file:PATH. It is read at each run and \
                 written nowhere.",
            )?;
            dialogue.ask("Key", "env:SECRET_KEY", key)?
        }
    };
    let ci = match &arguments.ci {
        Some(path) => Some(path.clone()),
        None if asks => {
            dialogue.tell(&format!("Shall a job for GitHub Actions be written to {WORKFLOW}?"))?;
            dialogue.ask("Job", "no", yes_or_no)?.then(|| PathBuf::from(WORKFLOW))
        }
        None => None,
    };
    let start = match &arguments.start {
        Some(command) => Some(one_line(command)?),
        None if asks && ci.is_some() => {
            dialogue.tell("By which command is the server started there? Nothing, if the job is to say that later.")?;
            Some(dialogue.ask("Start", "", one_line)?)
        }
        None => None,
    };
    let carriers = arguments.connect.carrier.iter().map(|CarrierArgument(carrier, _)| carrier.clone()).collect();
    let preset = preset.filter(|name| name != NO_PRESET);
    let start = start.filter(|command| !command.trim().is_empty());
    Ok(Answers { url, preset, key, carriers, ca: arguments.connect.ca.clone(), ci, start })
}

fn endpoint(url: &str) -> Result<(), String> {
    Endpoint::parse(url).map(drop).map_err(|error| error.to_string())
}

fn key(text: &str) -> Result<(&'static str, String), String> {
    let (field, notation) = match text.split_once(':') {
        Some(("token", rest)) => ("token", rest),
        Some(("private", rest)) => ("private", rest),
        _ => ("secret", text),
    };
    match notation.split_once(':') {
        Some(("env" | "file", place)) if !place.is_empty() => Ok((field, notation.to_owned())),
        _ => Err("write env:NAME or file:PATH, so that no secret stands in the profile".to_owned()),
    }
}

/// A command as it can be written down: what it says is seen, and said again by a shell.
fn one_line(command: &str) -> Result<String, String> {
    if printable(command) != command {
        return Err(
            "in --start stands a line break, a tab or another character that cannot be seen: put what it says \
                    into a script, and name that"
                .to_owned(),
        );
    }
    Ok(command.to_owned())
}

fn yes_or_no(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(true),
        "n" | "no" => Ok(false),
        _ => Err("write yes or no".to_owned()),
    }
}

/// Questions and answers, a line each.
struct Dialogue<'a> {
    input: &'a mut dyn BufRead,
    output: &'a mut dyn Write,
}

impl Dialogue<'_> {
    fn tell(&mut self, text: &str) -> Result<(), String> {
        writeln!(self.output, "{text}").map_err(|error| error.to_string())
    }

    /// Asks until the answer can be used; an empty one stands for `usual`.
    fn ask<T>(&mut self, name: &str, usual: &str, read: impl Fn(&str) -> Result<T, String>) -> Result<T, String> {
        for _ in 0..TRIES {
            write!(self.output, "{name} [{usual}]: ")
                .and_then(|()| self.output.flush())
                .map_err(|error| error.to_string())?;
            let mut line = String::new();
            let mut limited = io::Read::take(&mut *self.input, MAX_ANSWER_BYTES);
            match limited.read_line(&mut line) {
                Ok(0) => return Err("nothing more was answered; nothing is written".to_owned()),
                Ok(_) => {}
                Err(error) => return Err(format!("the answer cannot be read: {error}")),
            }
            let answer = line.trim();
            match read(if answer.is_empty() { usual } else { answer }) {
                Ok(value) => return Ok(value),
                Err(why) => self.tell(&printable(&why))?,
            }
        }
        Err(format!("{TRIES} answers could not be used; nothing is written"))
    }
}

/// The profile.
fn profile_text(answers: &Answers) -> String {
    let mut lines = vec![
        "# How to speak to the server, and what it promises. Written by `gatecrash init`; it is yours from here on."
            .to_owned(),
    ];
    if let Some(preset) = &answers.preset {
        lines.push(format!("extends: {preset}"));
    }
    lines.push(format!("url: {}", scalar(&answers.url)));
    let (field, notation) = &answers.key;
    lines.push(match *field {
        "private" => format!("keys: {{ private: [{}] }}", scalar(notation)),
        field => format!("{field}: {}", scalar(notation)),
    });
    if let Some(ca) = &answers.ca {
        lines.push(format!("ca: {}", scalar(ca)));
    }
    if !answers.carriers.is_empty() {
        // JSON is YAML.
        let carriers = serde_json::to_string(&answers.carriers).unwrap_or_default();
        lines.push(format!("carriers: {carriers}"));
    }
    lines.extend(
        [
            "",
            "# Each promise adds cases, and one that does not hold fails the run. Take off the # where it is one of yours;",
            "# `gatecrash probe` shows what your server is like.",
            "# algorithms: [HS256]                     # no other is accepted",
            "# leeway: 0                               # seconds a token may be past its exp",
            "# require_exp: true                       # a token without exp is refused",
            "# issuer: https://issuer.example          # the one `iss` that is accepted",
            "# audience: api                           # the `aud` of this service; a token for another is refused",
            "# identity_claims: [sub]                  # the claims that name the bearer",
            "# roles: { claim: role, allowed: [admin], denied: [viewer] }       # who is let in, and who is not",
            "# echo: { send: \"{message}\", reply: { text: \"{message}\" } }    # what is said comes back",
            "# refuses_by: close                       # after the upgrade; or http, before it",
            "# signals: { expired: { close: 4003 } }   # what a refused client is told, by cause",
            "# allowed_origins: [https://app.example]  # the pages that may connect",
        ]
        .map(str::to_owned),
    );
    lines.push(String::new());
    lines.join("\n")
}

/// The environment variable that a run reads, if it reads one.
fn variable(answers: &Answers) -> Option<&str> {
    answers.key.1.strip_prefix("env:")
}

/// The job.
fn job_text(answers: &Answers, profile: &Path) -> String {
    let mut text =
        "# Judges the gate of the server at every push. Written by `gatecrash init`; it is yours from here on.
name: gatecrash
on: [push, pull_request]
permissions: { contents: read }
jobs:
  gate:
    runs-on: ubuntu-latest
    timeout-minutes: 15
"
        .to_owned();
    // Whoever gatecrash is installed from does not see it.
    let env = variable(answers).map(|name| {
        format!(
            "        env:
          # The server must be given the same; a value made for this job alone is best.
          {name}: ${{{{ secrets.{name} }}}}
"
        )
    });
    let env = env.unwrap_or_default();
    text.push_str(
        "    steps:
      - uses: actions/checkout@v4
      - name: Install gatecrash
        run: |
          echo 'say here which gatecrash is run with your secret: cargo install --locked --git URL --rev REVISION gatecrash'
          exit 1
",
    );
    if answers.start.is_none() {
        text.push_str(&format!(
            "      - name: Start the server
{env}        run: |
          echo 'start the server here, in the background, and wait until it listens at the url of the profile'
          exit 1
"
        ));
    }
    // A block, in which nothing that a shell's quotes hold means anything to YAML.
    text.push_str(&format!(
        "      - name: Judge it
{env}        run: |
          {} --report json=gatecrash.json
      - uses: actions/upload-artifact@v4
        if: always()
        with: {{ name: gatecrash, path: gatecrash.json }}
",
        run_command(answers, profile)
    ));
    text
}

/// The command that judges the server.
fn run_command(answers: &Answers, profile: &Path) -> String {
    let mut command = format!("gatecrash run --profile {}", quote(&profile.display().to_string()));
    if let Some(start) = &answers.start {
        command.push_str(&format!(" --start {}", quote(start)));
    }
    command
}

/// What a person is told in the end.
fn parting_text(answers: &Answers, profile: &Path) -> String {
    let mut text = format!("the profile is in {}\n", quote(&profile.display().to_string()));
    if let Some(ci) = &answers.ci {
        let left = if answers.start.is_some() { "" } else { ", and how your server is started" };
        let ci = quote(&ci.display().to_string());
        text.push_str(&format!("the job is in {ci}: say there where gatecrash is installed from{left}\n"));
    }
    let set = variable(answers).map(|name| format!("{name}=... ")).unwrap_or_default();
    text.push_str(&format!("judge the server:\n    {set}{}\n", run_command(answers, profile)));
    text
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        init: Init,
    }

    fn flags(words: &[&str]) -> Init {
        Line::parse_from([&["init"], words].concat()).init
    }

    fn dialogue(words: &[&str], typed: &str) -> (Result<Answers, String>, String) {
        let mut output = Vec::new();
        let answers = complete(&flags(words), true, &mut typed.as_bytes(), &mut output);
        (answers, String::from_utf8(output).expect("UTF-8"))
    }

    #[test]
    fn what_is_not_said_is_asked_for() {
        let (answers, asked) =
            dialogue(&[], "ws://h/ws/{token}\nexpress-ws\nprivate:file:key.pem\nyes\nnode server.js\n");
        let expected = Answers {
            url: "ws://h/ws/{token}".to_owned(),
            preset: Some("express-ws".to_owned()),
            key: ("private", "file:key.pem".to_owned()),
            carriers: Vec::new(),
            ca: None,
            ci: Some(PathBuf::from(WORKFLOW)),
            start: Some("node server.js".to_owned()),
        };
        let read = Profile::from_yaml("gatecrash.yaml", &profile_text(&expected)).expect("a profile");
        assert_eq!(read.keys.private, ["file:key.pem"]);
        assert_eq!(answers, Ok(expected));
        assert_eq!(asked.matches("]: ").count(), 5, "{asked}");
    }

    #[test]
    fn empty_answers_are_the_usual_ones_and_bad_ones_are_asked_for_again() {
        let (answers, asked) = dialogue(&[], "\nexpres-ws\n\nhunter2\n\nmaybe\n\n");
        let answers = answers.expect("answers");
        assert_eq!(answers.key, ("secret", "env:SECRET_KEY".to_owned()));
        assert_eq!((answers.preset, answers.ci), (None, None));
        assert!(
            asked.contains("did you mean `express-ws`?") && asked.contains("no secret stands in the profile"),
            "{asked}"
        );
    }

    #[test]
    fn an_end_of_the_answers_writes_nothing() {
        assert!(dialogue(&[], "ws://h/ws\n").0.expect_err("the end").contains("nothing is written"));
        assert!(dialogue(&[], &"ftp://h\n".repeat(9)).0.expect_err("too many").contains("could not be used"));
        assert!(dialogue(&[], &"x".repeat(1 << 20)).0.is_err(), "an endless line ends");
    }

    #[test]
    fn nothing_is_asked_where_the_flags_say_enough_and_an_error_told_where_nobody_can_be_asked() {
        let words = ["ws://h/ws", "--token-env", "T", "--carrier", "cookie:session", "--preset", "cookie-session"];
        let (answers, asked) = dialogue(&words, "");
        assert_eq!(asked, "");
        assert_eq!(answers.expect("answers").key, ("token", "env:T".to_owned()));
        let alone = complete(&flags(&[]), false, &mut &b""[..], &mut Vec::new());
        assert!(alone.expect_err("nobody is there").contains("--secret-env"));
    }

    #[test]
    fn what_is_written_can_be_read() {
        for (url, preset, place, start) in [
            ("ws://127.0.0.1:8000/ws?token={token}", None, "env:SECRET_KEY", None),
            ("ws://h/ws", Some("socket-io"), "file:/tmp/a b: c", Some("cd 'a: b' && ./serve # x")),
        ] {
            let answers = Answers {
                url: url.to_owned(),
                preset: preset.map(str::to_owned),
                key: ("secret", place.to_owned()),
                carriers: vec![Carrier::Subprotocol(vec!["a: {b}".to_owned(), "{token}".to_owned()])],
                ca: Some("# ca.pem".to_owned()),
                ci: None,
                start: start.map(str::to_owned),
            };
            let text = profile_text(&answers);
            let read = Profile::from_yaml("gatecrash.yaml", &text).unwrap_or_else(|found| panic!("{found}"));
            assert_eq!((read.url.as_deref(), read.secret.as_deref()), (Some(url), Some(place)));
            assert_eq!((read.carriers, read.ca), (answers.carriers.clone(), answers.ca.clone()));
            // With every # taken off the promises read as well.
            let promised: Vec<&str> = text
                .lines()
                .map(|line| match line.strip_prefix("# ") {
                    Some(rest) if rest.split_once(": ").is_some_and(|(key, _)| !key.contains(' ')) => rest,
                    _ => line,
                })
                .collect();
            let promised = Profile::from_yaml("gatecrash.yaml", &promised.join("\n"));
            assert_eq!(promised.unwrap_or_else(|found| panic!("{found}")).leeway, Some(0));
            let job = job_text(&answers, Path::new("gatecrash.yaml"));
            let job: serde_json::Value = serde_yaml::from_str(&job).unwrap_or_else(|error| panic!("{error}: {job}"));
            let steps = job["jobs"]["gate"]["steps"].as_array().expect("steps");
            let judged = steps.iter().filter_map(|step| step["run"].as_str()).find(|run| run.contains("gatecrash run"));
            let started = start.map_or("", |_| " --start 'cd '\\''a: b'\\'' && ./serve # x'");
            let judges = format!("gatecrash run --profile gatecrash.yaml{started} --report json=gatecrash.json\n");
            assert_eq!(judged, Some(judges.as_str()));
            // How the server is started is not left to be said where the command is known.
            assert_eq!(steps.iter().any(|step| step["name"] == "Start the server"), start.is_none());
        }
    }
}
