//! Each scenario is a test of its own name: `cargo test SIG` runs the signature cases, nextest lists them all.
//!
//! Every case runs against the reference server in each dialect, in the default refusal style. The kill matrix runs
//! the other style as well.

use std::sync::{Mutex, OnceLock, PoisonError};

use gatecrash::command::bundled_server::{BundledServer, Setting};
use gatecrash::command::matrix::UNHURRIED_MS;
use gatecrash::{Catalogue, Report, Suite, Target, Verdict};
use gatecrash_reference_server::{Dialect, RefusalStyle};
use libtest_mimic::{Arguments, Failed, Trial};

fn main() {
    let arguments = Arguments::from_args();
    let suite = Suite::new(Catalogue::bundled());
    let mut tests = Vec::new();
    for dialect in Dialect::ALL {
        let target = match server(*dialect) {
            Ok(server) => {
                let mut target = server.target.clone();
                // Tests share the machine; how prompt a refusal is, is the business of a run by itself.
                target.profile.refusal_budget_ms = Some(UNHURRIED_MS);
                target.profile.handshake_budget_ms = Some(UNHURRIED_MS);
                target
            }
            Err(why) => {
                tests.push(Trial::test(format!("{}::starts", dialect.name()), || Err(Failed::from(why))));
                continue;
            }
        };
        match suite.trials(&target) {
            Err(found) => {
                tests.push(Trial::test("catalogue loads", move || Err(Failed::from(found.to_string()))));
                break;
            }
            Ok(trials) => {
                for (id, name) in trials {
                    // Each with a seed of its own: two runs of one seed use the same words.
                    let suite = suite.clone().seed(tests.len() as u64);
                    let (target, dialect) = (target.clone(), *dialect);
                    tests.push(Trial::test(format!("{}::{id} {name}", dialect.name()), move || {
                        judge(&suite.select(&id), &target)
                    }));
                }
            }
        }
    }
    libtest_mimic::run(&arguments, tests).exit();
}

/// One server per dialect for all tests of this process.
fn server(dialect: Dialect) -> Result<&'static BundledServer, String> {
    static SERVERS: [OnceLock<Result<BundledServer, String>>; Dialect::ALL.len()] =
        [const { OnceLock::new() }; Dialect::ALL.len()];
    let place = Dialect::ALL.iter().position(|other| *other == dialect).unwrap_or_default();
    SERVERS[place]
        .get_or_init(|| {
            BundledServer::start(&Setting::of(dialect, RefusalStyle::Close), None)
                .map_err(|error| format!("cannot start: {error}"))
        })
        .as_ref()
        .map_err(Clone::clone)
}

fn judge(suite: &Suite, target: &Target) -> Result<(), Failed> {
    // Where everybody hears everybody, a case that listens for silence must have the server for itself.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let is_shared = target.profile.echo.as_ref().is_some_and(|echo| echo.broadcast);
    let _turn = is_shared.then(|| ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report: Report = runtime.block_on(suite.run(target)).map_err(|found| found.to_string())?;
    let good = |verdict: Verdict| matches!(verdict, Verdict::Pass | Verdict::Info);
    if report.failure.is_none() && !report.trials.is_empty() && report.trials.iter().all(|trial| good(trial.verdict)) {
        Ok(())
    } else {
        Err(Failed::from(report.to_string()))
    }
}
