//! `gatecrash probe`: finds out what an unknown server is like, and writes a profile of what it saw.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::connect::Connect;
use super::run::{Problem, quote, read_profile, scale};
use super::signals::Interrupts;
use super::{complain, conceal, file, say};
use crate::Target;
use crate::probe::{Head, profile, scalar};
use crate::profile::{Carrier, Profile};
use crate::report::{Exit, Failure};
use crate::run::{self, Options, Wishes};

/// What `gatecrash probe` is told.
#[derive(Debug, Args)]
pub(super) struct Probe {
    /// The endpoint, with {token} where the token goes, if that is known
    url: String,
    /// What is known of the server: a preset or a YAML file, such as one with a `login:`
    #[arg(long, value_name = "FILE|PRESET")]
    profile: Option<String>,
    #[command(flatten)]
    connect: Connect,

    /// Write the profile here, and not on stdout; a file that is there is not replaced
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Watch a silent connection for this many seconds, to see whether it is pinged or ended
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=Wishes::LONGEST_IDLE))]
    idle: Option<u64>,
    /// The longest message that is tried, in bytes
    #[arg(long, default_value_t = 1 << 20, value_name = "BYTES", value_parser = clap::value_parser!(u64).range(1..=Wishes::LONGEST_MESSAGE))]
    longest_message: u64,

    /// Everything random follows from it
    #[arg(long)]
    seed: Option<u64>,
    /// Multiply every deadline, for a slow target
    #[arg(long, default_value_t = 1.0, value_name = "FACTOR", value_parser = scale)]
    timeout_scale: f64,
}

/// Probes, and writes.
pub(super) async fn probe(arguments: Probe) -> Exit {
    let (target, head) = match target(&arguments) {
        Ok(both) => both,
        Err(problem) => return problem.tell(),
    };
    if let Some(path) = &arguments.out
        && let Err(error) = file::absent(path)
    {
        complain(&format!("cannot write the profile `{}`: {error}", path.display()));
        return Exit::Usage;
    }
    let defaults = Options::default();
    let options =
        Options { seed: arguments.seed.unwrap_or(defaults.seed), timeout_scale: arguments.timeout_scale, ..defaults };
    let mut interrupts = Interrupts::new();
    let interrupt = options.interrupt.clone();
    tokio::spawn(async move {
        interrupts.next().await;
        interrupt.request();
    });
    let wishes = Wishes { idle: arguments.idle.map(Duration::from_secs), longest_message: arguments.longest_message };
    let findings = match run::probe(&target, &options, &wishes).await {
        Ok(findings) => findings,
        Err(failure) => return tell(&failure, &target.profile.name),
    };
    let text = profile(&findings, &head);
    // What a probe writes is a profile, whatever the server has said.
    if let Err(found) = Profile::from_yaml("the profile that was to be written", &text) {
        complain(&format!("this is a bug in gatecrash:\n{found}"));
        return Exit::OurFault;
    }
    match &arguments.out {
        None => say(&text),
        Some(path) => {
            if let Err(error) = file::write_whole(path, text.as_bytes()) {
                complain(&format!("cannot write the profile `{}`: {error}", path.display()));
                return Exit::Usage;
            }
            complain(&format!(
                "the profile is in `{0}`; judge the server by: gatecrash run --profile {0}",
                path.display()
            ));
        }
    }
    Exit::Good
}

fn target(arguments: &Probe) -> Result<(Target, Head), Problem> {
    let mut profile = match &arguments.profile {
        None => Profile::default(),
        Some(name) => read_profile(name)?,
    };
    profile.url = Some(arguments.url.clone());
    arguments.connect.apply(&mut profile);
    // What the profile says beside how to speak to the server is what shall be found out.
    let profile = Profile {
        url: profile.url,
        secret: profile.secret,
        token: profile.token,
        login: profile.login,
        keys: profile.keys,
        algorithm: profile.algorithm,
        kid: profile.kid,
        audience: profile.audience,
        issuer: profile.issuer,
        profile: profile.profile,
        token_type: profile.token_type,
        required_scope: profile.required_scope,
        header: profile.header,
        claims: profile.claims,
        user: profile.user,
        roles: profile.roles,
        carriers: profile.carriers,
        prelude: profile.prelude,
        heartbeat: profile.heartbeat,
        subprotocol: profile.subprotocol,
        offer_subprotocol: profile.offer_subprotocol,
        allowed_origins: profile.allowed_origins,
        send_origin: profile.send_origin,
        ca: profile.ca,
        settle_ms: profile.settle_ms,
        http: profile.http,
        name: profile.name,
        ..Profile::default()
    };
    let mut head = Head { key: Vec::new(), command: format!("gatecrash probe {}", quote(&arguments.url)) };
    if let Some(name) = &arguments.profile {
        head.command.push_str(&format!(" --profile {}", quote(name)));
        if let Some((preset, _)) = crate::profile::presets().iter().find(|(preset, _)| preset == name) {
            head.key.push(format!("extends: {preset}"));
        } else {
            head.key.push(format!("# What {} says of the key and the claims belongs here too.", quote(name)));
        }
    }
    if let Some((field, notation)) = arguments.connect.key() {
        head.key.push(format!("{field}: {}", scalar(&notation)));
    }
    if let Some(ca) = &arguments.connect.ca {
        head.key.push(format!("ca: {}", scalar(ca)));
    }
    // A first message whose answer is not known yet is no mistake here.
    let (told, carriers) =
        profile.carriers.into_iter().partition(|carrier| matches!(carrier, Carrier::FirstMessage(_)));
    let told: Vec<Carrier> = told;
    let profile = Profile { carriers, ..profile };
    let mut target = Target::from_profile(profile).map_err(|error| Problem::Usage(error.to_string()))?;
    target.profile.carriers.extend(told);
    target.secrets.iter().for_each(conceal);
    Ok((target, head))
}

fn tell(failure: &Failure, name: &str) -> Exit {
    match failure {
        Failure::Unreachable(why) => complain(&format!("cannot reach {name}: {why}")),
        Failure::NoToken(why) => {
            complain(&format!("there is no valid token for {name}: {why}"));
            return Exit::Usage;
        }
        Failure::FirstControl(finding) | Failure::ControlLost(finding) => {
            complain(&format!("nothing can be learned of {name}: {}\n  {}", finding.observed, finding.advice));
        }
        Failure::Interrupted => return Exit::Interrupted,
    }
    Exit::NoControl
}
