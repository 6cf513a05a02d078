//! The bundled server judged as a stranger's: with its URL and its secret alone, nothing is promised, so a right server
//! hears of nothing but what the standards recommend and it does not do.

use gatecrash::Suite;
use gatecrash::Target;
use gatecrash::command::bundled_server::{BundledServer, SETTINGS};
use gatecrash::profile::Profile;
use gatecrash::verdict::Verdict;

/// What is recommended and not done, by dialect. `strict` admits no token of the usual claims, and `simutrador` says
/// nothing by itself: each of its sessions would be known by a second of silence.
const TOLD: &[(&str, &[&str])] = &[("personal-assistant", &[]), ("shipvox", &["CLM-007"]), ("omni2", &[])];

#[test]
fn a_right_server_is_told_nothing_but_recommendations() {
    let mut wrong_about = Vec::new();
    for setting in
        SETTINGS.iter().filter(|setting| setting.name.ends_with("::close") || setting.name.ends_with("::http"))
    {
        let Some((_, told)) = TOLD.iter().find(|(dialect, _)| *dialect == setting.dialect.name()) else { continue };
        let server = BundledServer::start(setting, None).expect("it starts");
        let known = &server.target.profile;
        // Nothing is measured here: the machine may be busy.
        let patient = Some(60_000);
        let profile = Profile {
            url: known.url.clone(),
            secret: known.secret.clone(),
            refusal_budget_ms: patient,
            handshake_budget_ms: patient,
            ..Profile::default()
        };
        let target = Target::from_profile(profile).expect("a target");
        // Of its own, so that what it holds is closed before the server is told to end.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let report = runtime.block_on(Suite::bundled().all().seed(7).run(&target)).expect("a report");
        drop(runtime);
        assert_eq!(report.failure, None, "{}", setting.name);
        let wrong = |verdict| !matches!(verdict, Verdict::Pass | Verdict::Info | Verdict::NotApplicable);
        let found: Vec<&str> =
            report.trials.iter().filter(|trial| wrong(trial.verdict)).map(|trial| trial.code.as_str()).collect();
        if found != *told {
            wrong_about.push(format!("{}: {found:?} instead of {told:?}\n{report}", setting.name));
        }
    }
    assert!(wrong_about.is_empty(), "{}", wrong_about.join("\n"));
}
