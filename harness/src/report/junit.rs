//! JUnit's XML, in the part of it that the schemas of Maven Surefire and of Jenkins (its xUnit plugin) both take.
//!
//! One `testcase` for each trial. What the server does wrong is a `failure`; that no verdict was possible, or a mistake
//! of ours, is an `error`; what does not apply, or is a known gap, is `skipped`. One run is a `testsuite`, which is all
//! that Surefire knows as a root; several stand in `testsuites`.

use std::io;
use std::time::Duration;

use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesText, Event};

use super::{Report, Summary, TrialReport, total};
use crate::verdict::{Grade, Verdict};

type Xml = Writer<Vec<u8>>;

/// The reports as XML.
pub fn write(reports: &[Report]) -> String {
    let mut xml = Writer::new_with_indent(Vec::new(), b' ', 2);
    // Nothing can go wrong in memory.
    let _ = document(&mut xml, reports);
    let mut text = String::from_utf8_lossy(&xml.into_inner()).into_owned();
    text.push('\n');
    text
}

fn document(xml: &mut Xml, reports: &[Report]) -> io::Result<()> {
    xml.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    if let [report] = reports {
        return suite(xml, report);
    }
    let Numbers { tests, failures, errors, .. } =
        Numbers::of(total(reports), reports.iter().flat_map(|one| &one.trials));
    let time: Duration = reports.iter().map(|report| report.took).sum();
    xml.create_element("testsuites")
        .with_attributes([("name", "gatecrash"), ("tests", &tests), ("failures", &failures), ("errors", &errors)])
        .with_attribute(("time", seconds(time).as_str()))
        .write_inner_content(|xml| reports.iter().try_for_each(|report| suite(xml, report)))?;
    Ok(())
}

/// The counts of a suite, as attributes have them.
struct Numbers {
    tests: String,
    failures: String,
    errors: String,
    skipped: String,
}

impl Numbers {
    fn of<'a>(summary: Summary, trials: impl Iterator<Item = &'a TrialReport>) -> Self {
        let flaky_failures = trials.filter(|trial| trial.verdict == Verdict::Flaky && trial.is_breach()).count();
        Self {
            tests: summary.total().to_string(),
            failures: (summary.fail + flaky_failures).to_string(),
            errors: (summary.error + summary.inconclusive).to_string(),
            skipped: (summary.not_applicable + summary.known_gap).to_string(),
        }
    }
}

fn suite(xml: &mut Xml, report: &Report) -> io::Result<()> {
    let name = format!("gatecrash {}", report.target);
    let Numbers { tests, failures, errors, skipped } = Numbers::of(report.summary(), report.trials.iter());
    xml.create_element("testsuite")
        .with_attributes([("name", text(&name).as_str()), ("tests", &tests), ("failures", &failures)])
        .with_attributes([("errors", errors.as_str()), ("skipped", &skipped)])
        .with_attribute(("time", seconds(report.took).as_str()))
        .write_inner_content(|xml| {
            xml.create_element("properties").write_inner_content(|xml| {
                property(xml, "url", &report.url)?;
                property(xml, "seed", &report.seed.to_string())?;
                property(xml, "controls", &report.controls.to_string())?;
                match &report.failure {
                    Some(failure) => property(xml, "failure", &failure.sentence()),
                    None => Ok(()),
                }
            })?;
            report.trials.iter().try_for_each(|trial| case(xml, report, trial))
        })?;
    Ok(())
}

fn property(xml: &mut Xml, name: &str, value: &str) -> io::Result<()> {
    xml.create_element("property").with_attributes([("name", name), ("value", &text(value))]).write_empty()?;
    Ok(())
}

fn case(xml: &mut Xml, report: &Report, trial: &TrialReport) -> io::Result<()> {
    // Jenkins takes a period for the border of a package.
    let target: String = report.target.chars().map(|one| if one == '.' { '_' } else { one }).collect();
    let class = format!("gatecrash.{target}.{}", trial.about.family);
    let name = format!("{} {}", trial.id, trial.name);
    let kind = format!("{}, {}", trial.binding(), trial.severity.word());
    let element = xml
        .create_element("testcase")
        .with_attributes([("classname", text(&class).as_str()), ("name", &text(&name))])
        .with_attribute(("time", seconds(trial.took).as_str()));
    let observed = text(&trial.observed);
    let told = |xml: &mut Xml, tag: &str, kind: &str| -> io::Result<()> {
        let content = body(trial);
        xml.create_element(tag)
            .with_attributes([("message", observed.as_str()), ("type", kind)])
            .write_text_content(BytesText::new(&content))?;
        transcript(xml, trial)
    };
    let skipped = |xml: &mut Xml, message: &str| -> io::Result<()> {
        xml.create_element("skipped").with_attribute(("message", text(message).as_str())).write_empty()?;
        Ok(())
    };
    match trial.verdict {
        Verdict::Pass if trial.transcript.is_empty() => element.write_empty().map(drop),
        _ => element
            .write_inner_content(|xml| match trial.verdict {
                Verdict::Fail => told(xml, "failure", &kind),
                Verdict::Error => told(xml, "error", "error"),
                Verdict::Inconclusive => told(xml, "error", "inconclusive"),
                Verdict::Flaky if trial.is_breach() => told(xml, "failure", &format!("flaky, {kind}")),
                Verdict::Flaky => {
                    xml.create_element("flakyFailure")
                        .with_attributes([("message", observed.as_str()), ("type", kind.as_str())])
                        .write_inner_content(|xml| {
                            let content = body(trial);
                            xml.create_element("stackTrace").write_text_content(BytesText::new(&content)).map(drop)
                        })?;
                    transcript(xml, trial)
                }
                Verdict::Pass => transcript(xml, trial),
                Verdict::NotApplicable => skipped(xml, &trial.observed),
                Verdict::KnownGap => skipped(xml, &format!("known gap: {}", trial.observed)),
                Verdict::Warn | Verdict::Info => {
                    let content = [format!("{}: {}", trial.verdict.word(), body(trial)), wire(trial)].join("\n");
                    xml.create_element("system-out").write_text_content(BytesText::new(&content)).map(drop)
                }
            })
            .map(drop),
    }
}

/// What went over the wire.
fn wire(trial: &TrialReport) -> String {
    trial.transcript.iter().map(|line| text(line)).collect::<Vec<_>>().join("\n")
}

fn transcript(xml: &mut Xml, trial: &TrialReport) -> io::Result<()> {
    if trial.transcript.is_empty() {
        return Ok(());
    }
    xml.create_element("system-out").write_text_content(BytesText::new(&wire(trial))).map(drop)
}

/// What is known of a trial, for a person.
fn body(trial: &TrialReport) -> String {
    let mut lines = vec![trial.title.clone()];
    lines.push(format!("expected: {}", trial.expected));
    lines.push(format!("observed: {}", trial.observed));
    if let (Some(mend), Verdict::Fail | Verdict::Flaky | Verdict::Warn) = (&trial.mend, trial.verdict) {
        lines.push(format!("mend: {mend}"));
    }
    if !trial.source.is_empty() {
        lines.push(format!("source: {}", trial.source.join(", ")));
    }
    if trial.checks.len() > 1 {
        for check in trial.checks.iter().filter(|check| check.grade > Grade::Info) {
            lines.push(format!("{}: expected {}, observed {}", check.label, check.expected, check.observed));
        }
    }
    lines.iter().map(|line| text(line)).collect::<Vec<_>>().join("\n")
}

/// Seconds with three digits, as Surefire's pattern asks.
fn seconds(time: Duration) -> String {
    format!("{:.3}", time.as_secs_f64())
}

/// The text without what no XML 1.0 document may hold, not even escaped (its production `Char`).
///
/// Reports hold no such character, because they are cleaned where they are made; a writer does not rest on it.
fn text(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'.. => kept.push(character),
            _ => kept.extend(character.escape_unicode()),
        }
    }
    kept
}
