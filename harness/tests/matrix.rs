//! The kill matrix as tests: with no fault every case passes in every dialect and refusal style; with a fault the
//! cases that hunt it fail, and only they and their named companions. When all have run, the entries of tables are told
//! that failed with none of them.

use std::sync::{Arc, Mutex, PoisonError};

use gatecrash::command::bundled_server::{BundledServer, SETTINGS};
use gatecrash::command::matrix::{Kill, UNHURRIED_MS, kill, toothless};
use gatecrash::{Catalogue, Suite, Verdict};
use gatecrash_reference_server::Fault;
use libtest_mimic::{Arguments, Failed, Trial};

fn main() {
    let mut arguments = Arguments::from_args();
    // A fault is found by waiting more than by computing.
    arguments.test_threads.get_or_insert(8);
    let catalogue = match Catalogue::bundled() {
        Ok(catalogue) => Arc::new(catalogue),
        Err(found) => {
            let test = Trial::test("catalogue loads", move || Err(Failed::from(found.to_string())));
            libtest_mimic::run(&arguments, vec![test]).exit();
        }
    };
    let suite = Suite::new(Ok(catalogue.as_ref().clone()));
    let mut tests = vec![Trial::test("names agree", {
        let catalogue = Arc::clone(&catalogue);
        move || names_agree(&catalogue)
    })];
    for setting in SETTINGS {
        let suite = suite.clone();
        tests.push(Trial::test(format!("holds::{}", setting.name), move || {
            let mut server = BundledServer::start(setting, None)?;
            server.target.profile.refusal_budget_ms = Some(UNHURRIED_MS);
            server.target.profile.handshake_budget_ms = Some(UNHURRIED_MS);
            let report = runtime()?.block_on(suite.all().run(&server.target)).map_err(|found| found.to_string())?;
            let wrong = |verdict| !matches!(verdict, Verdict::Pass | Verdict::Info | Verdict::NotApplicable);
            if report.failure.is_some() || report.trials.iter().any(|trial| wrong(trial.verdict)) {
                return Err(Failed::from(report.to_string()));
            }
            Ok(())
        }));
    }
    let kills: Arc<Mutex<Vec<Kill>>> = Arc::default();
    for fault in Fault::ALL {
        if catalogue.weaknesses.get(fault.name()).is_some_and(|weakness| weakness.not_seeded.is_some()) {
            continue;
        }
        let (suite, catalogue, kills) = (suite.clone(), Arc::clone(&catalogue), Arc::clone(&kills));
        tests.push(Trial::test(format!("kills::{fault}"), move || {
            let kill = runtime()?.block_on(kill(&suite, &catalogue, *fault))?;
            let verdict = if kill.is_clean() { Ok(()) } else { Err(Failed::from(kill.to_string())) };
            kills.lock().unwrap_or_else(PoisonError::into_inner).push(kill);
            verdict
        }));
    }
    let everything = tests.len();
    let conclusion = libtest_mimic::run(&arguments, tests);
    // Only all faults together can say that an entry shows by none of them.
    if (conclusion.num_passed + conclusion.num_failed) as usize == everything {
        let kills = kills.lock().unwrap_or_else(PoisonError::into_inner);
        for (code, label) in toothless(&catalogue, kills.iter()) {
            eprintln!("no fault turns {code} ({label}) red");
        }
    }
    conclusion.exit();
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

/// A name in one of the three places and missing in another is an error.
fn names_agree(catalogue: &Catalogue) -> Result<(), Failed> {
    let mut wrong = Vec::new();
    for fault in Fault::ALL {
        if !catalogue.weaknesses.contains_key(fault.name()) {
            wrong.push(format!("the server has the fault `{fault}`, weaknesses.yaml does not"));
        }
    }
    for (name, weakness) in &catalogue.weaknesses {
        if !Fault::ALL.iter().any(|fault| fault.name() == name) && weakness.not_seeded.is_none() {
            wrong.push(format!("weaknesses.yaml has `{name}`, the server does not, and no reason is given"));
        }
        if !catalogue.cases.iter().any(|case| case.head.weakness.as_deref() == Some(name)) {
            wrong.push(format!("no case hunts `{name}`"));
        }
        for code in &weakness.also {
            if code != "*" && catalogue.case(code).is_none() {
                wrong.push(format!("`{name}` names the companion {code}, which does not exist"));
            }
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(Failed::from(wrong.join("\n"))) }
}
