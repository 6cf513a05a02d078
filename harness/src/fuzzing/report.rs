//! Reports: whatever a run came to and whatever a hostile server wrote, the texts made of it can be read by those they
//! are made for, say what the run came to, and hold no secret.

#[cfg(test)]
use std::collections::BTreeSet;
use std::sync::LazyLock;
use std::time::Duration;

use arbitrary::{Result, Unstructured};
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::Event;
use quick_xml::{Reader, XmlVersion};
use serde_json::Value;

use super::seen::{self, CATALOGUE, SECRET, TOKEN};
use crate::diagnosis::{Cause, Finding};
use crate::profile::KnownGap;
use crate::redact::Redactor;
use crate::report::earlier::Earlier;
use crate::report::{Exit, Failure, Format, Report, Standard, TrialReport, annotations, gaps, json, retry, terminal};
use crate::secret::SecretBytes;
use crate::target::Target;
use crate::verdict::{Basis, Check, Grade, Severity, Verdict};

/// The secret as servers write it.
static FORMS: LazyLock<Vec<String>> =
    LazyLock::new(|| (0..=6).map(|form| seen::written(SECRET.as_bytes(), form)).collect());
static REDACTOR: LazyLock<Redactor> =
    LazyLock::new(|| Redactor::for_secrets(&[SecretBytes::new(SECRET)]).and_token(TOKEN));

/// The body of the target `report`.
pub(super) fn report(input: &[u8]) {
    let _ = reported(&mut Unstructured::new(input));
}

fn reported(u: &mut Unstructured<'_>) -> Result<()> {
    let (reports, styles) = any_reports(u)?;
    for format in Format::ALL {
        is_written(format, &reports);
    }
    are_annotations(&annotations::write(&reports), &reports);
    for (report, style) in reports.iter().zip(styles) {
        counts(report);
        let plain = terminal::write(report, style, "");
        assert_eq!(terminal::write(report, style, ""), plain, "another text of the same");
        prints(&plain);
        keeps_secrets(&plain);
        let coloured = terminal::write(report, terminal::Style { color: true, ..style }, "");
        // Padding is counted before the colour is put on, so that both look alike.
        assert_eq!(seen::without_colour(&coloured), plain, "colour changes the text");
        let last = plain.lines().last().unwrap_or_default();
        assert!(last.contains(&format!("{} trials", report.trials.len())), "no line of counts: {last:?}");
    }
    Ok(())
}

fn any_reports(u: &mut Unstructured<'_>) -> Result<(Vec<Report>, Vec<terminal::Style>)> {
    let mut reports = Vec::new();
    for _ in 0..u.int_in_range(1..=2)? {
        reports.push(any_report(u)?);
    }
    let mut styles = Vec::new();
    for _ in &reports {
        styles.push(terminal::Style { color: false, verbose: u.arbitrary()? });
    }
    // Drawn last, and where the input has ended there is none of it: what came before keeps its meaning.
    for report in &mut reports {
        afterwards(u, report)?;
    }
    Ok((reports, styles))
}

/// What becomes of a report when its trials have been judged: what went over the wire is told, known gaps are marked, what
/// failed is played again, or the run was to stop.
fn afterwards(u: &mut Unstructured<'_>, report: &mut Report) -> Result<()> {
    for trial in &mut report.trials {
        for _ in 0..u.int_in_range(0..=2)? {
            trial.transcript.push(REDACTOR.clean(&hostile(u)?));
        }
    }
    let Some(id) = report.trials.first().map(|trial| trial.id.clone()) else { return Ok(()) };
    match u.int_in_range(0..=5)? {
        1 => {
            let observed = if u.arbitrary()? { Some(hostile(u)?) } else { None };
            let gap = KnownGap { case: id.clone(), reason: hostile(u)?, observed };
            gaps::apply(report, &[gap], &[id], &REDACTOR);
        }
        2 => {
            let mut again = Report { failure: None, controls: 0, ..report.clone() };
            for trial in &mut again.trials {
                trial.verdict = *u.choose(&[Verdict::Pass, Verdict::Fail])?;
            }
            retry::merge(report, again);
        }
        3 => report.failure = Some(Failure::Stopped { failures: u.arbitrary()?, left_out: u.arbitrary()? }),
        _ => {}
    }
    Ok(())
}

fn is_written(format: Format, reports: &[Report]) {
    let text = format.write(reports);
    keeps_secrets(&text);
    match format {
        Format::Json => is_json(&text, reports),
        Format::Sarif => is_sarif(&text, reports),
        Format::Junit => is_junit(&text, reports),
        Format::Markdown => {
            prints(&text);
            keeps_secrets(&read_markdown(&text));
        }
    }
}

/// A text that a hostile server may have put into what was seen.
fn hostile(u: &mut Unstructured<'_>) -> Result<String> {
    let mut text = String::new();
    for _ in 0..u.int_in_range(0..=3)? {
        match u.int_in_range(0..=10)? {
            0 => text.push_str(SECRET),
            1 => text.push_str(&SECRET[..u.int_in_range(0..=SECRET.len())?]),
            2 => text.push_str(&seen::written(SECRET.as_bytes(), u.int_in_range(0..=6)?)),
            3 => text.push_str(&String::from_utf8_lossy(TOKEN)),
            4 => text.push_str(&seen::written(TOKEN, u.int_in_range(0..=6)?)),
            5 => text.push_str("\u{1b}[2J\u{1b}]0;x\u{7}\r\n##[error]::error::"),
            6 => text.push_str("\u{202e}\u{2066}\u{9b}31m\0"),
            7 => text.push_str(&"</script>\"'\\,;=\u{feff}".repeat(u.int_in_range(0..=80)?)),
            _ => text.push_str(&seen::text(u, 40)?),
        }
    }
    Ok(text)
}

/// A text that stands in a profile. It is cleaned before any token is sent, so a token is known there by its shape, and a
/// single part of one, which has none, does not come.
fn configured(u: &mut Unstructured<'_>) -> Result<String> {
    let (text, whole) = (hostile(u)?, String::from_utf8_lossy(TOKEN));
    let between =
        text.split(&*whole).map(|text| token_parts().iter().fold(text.to_owned(), |text, part| text.replace(part, "")));
    Ok(between.collect::<Vec<_>>().join(&whole))
}

/// What may not be read of the parts of the token.
fn token_parts() -> Vec<String> {
    let parts = TOKEN.split(|byte| *byte == b'.').filter_map(|part| part.get(..20));
    parts.map(|part| String::from_utf8_lossy(part).into_owned()).collect()
}

fn any_check(u: &mut Unstructured<'_>) -> Result<Check> {
    const GRADES: [Grade; 6] = [Grade::Pass, Grade::Info, Grade::Warn, Grade::Inconclusive, Grade::Fail, Grade::Error];
    const BASES: [Basis; 5] = [Basis::Must, Basis::Should, Basis::May, Basis::Contract, Basis::Observed];
    const SEVERITIES: [Severity; 5] =
        [Severity::Info, Severity::Low, Severity::Medium, Severity::High, Severity::Critical];
    Ok(Check {
        label: hostile(u)?,
        grade: *u.choose(&GRADES)?,
        basis: *u.choose(&BASES)?,
        severity: *u.choose(&SEVERITIES)?,
        expected: hostile(u)?,
        observed: hostile(u)?,
    })
}

/// The texts of a failure are cleaned by whoever makes it.
fn any_failure(u: &mut Unstructured<'_>, redactor: &Redactor) -> Result<Option<Failure>> {
    let (observed, advice) = (redactor.clean(&hostile(u)?), redactor.clean(&hostile(u)?));
    let found = Finding { cause: Cause::Unknown, observed, advice };
    Ok(match u.int_in_range(0..=9)? {
        0 => Some(Failure::Unreachable(found.observed)),
        1 => Some(Failure::NoToken(found.observed)),
        2 => Some(Failure::FirstControl(found)),
        3 => Some(Failure::ControlLost(found)),
        4 => Some(Failure::Interrupted),
        _ => None,
    })
}

fn any_report(u: &mut Unstructured<'_>) -> Result<Report> {
    let (target, _) = seen::trial(u)?;
    let redactor = &*REDACTOR;
    let mut target: Target = target.clone();
    target.profile.name = configured(u)?;
    target.endpoint.path = format!("/{}", configured(u)?);
    let mut report = Report::new(&target, u.arbitrary()?);
    report.failure = any_failure(u, redactor)?;
    report.controls = u.arbitrary()?;
    report.took = Duration::from_nanos(u.arbitrary()?);
    for _ in 0..u.int_in_range(0..=3)? {
        let (_, trial) = seen::trial(u)?;
        let mut entry = TrialReport::new(trial, &CATALOGUE);
        if !u.ratio(7, 8)? {
            entry.not_applicable("it needs roles, which the profile does not declare");
        } else {
            let mut checks = Vec::new();
            for _ in 0..u.int_in_range(0..=3)? {
                checks.push(any_check(u)?);
            }
            let worst = checks.iter().map(|check| check.grade).max();
            entry.checks(checks, redactor);
            assert_eq!(entry.verdict == Verdict::Pass, worst == Some(Grade::Pass), "passed by other than its checks");
            assert_eq!(entry.verdict == Verdict::Fail, worst == Some(Grade::Fail), "failed by other than its checks");
            assert_eq!(entry.verdict == Verdict::Error, worst.is_none() || worst == Some(Grade::Error), "an error");
        }
        entry.took = Duration::from_nanos(u.arbitrary()?);
        report.trials.push(entry);
    }
    Ok(report)
}

/// The numbers add up, and nothing holds that failed, stands open, or was not asked beside a control.
fn counts(report: &Report) {
    assert_eq!(report.summary().total(), report.trials.len(), "a trial is not counted");
    let worst = |verdict| report.trials.iter().any(|trial| trial.verdict == verdict);
    let exit = report.exit(Standard::default());
    if report.passed() {
        assert!(!worst(Verdict::Error) && !worst(Verdict::Inconclusive), "open, and yet it holds");
        assert!(!report.failures().any(|trial| trial.severity >= Severity::Medium), "failed, and yet it holds");
        assert!(!report.trials.is_empty(), "nothing was asked, and yet it holds");
        let breaks = |trial: &TrialReport| trial.verdict == Verdict::Flaky && trial.severity >= Severity::High;
        assert!(!report.trials.iter().any(breaks), "a breach now and then, and yet it holds");
        let rests = matches!(report.failure, None | Some(Failure::Stopped { .. }));
        assert!(rests, "no control was admitted, or none any more, and yet it holds: {:?}", report.failure);
    }
    assert_eq!(report.passed(), exit == Exit::Good, "two answers to one question");
    // Who asks for more never gets a better answer.
    let strict = report.exit(Standard { fail_on: Severity::Info, strict: true, allow_inconclusive: false });
    assert!(strict != Exit::Good || exit == Exit::Good, "strictness forgives");
}

/// It is JSON, and says of every trial and check what the report says.
fn is_json(text: &str, reports: &[Report]) {
    prints(text);
    let earlier = Earlier::read(text).expect("a later run reads what an earlier one wrote");
    assert_eq!(earlier.runs.len(), reports.len(), "a run is lost to those who compare");
    let file: Value = serde_json::from_str(text).expect("a report is JSON");
    // In JSON a quotation mark has another form; behind it the text is the same again.
    every_text(&file, &mut keeps_secrets);
    assert_eq!(file["gatecrash_result"], json::VERSION, "of another version");
    let runs = file["runs"].as_array().expect("the runs");
    assert_eq!(runs.len(), reports.len(), "a run is lost");
    for (run, report) in runs.iter().zip(reports) {
        assert_eq!(run["target"], report.target.as_str());
        assert_eq!(run["url"], report.url.as_str());
        assert_eq!(run["seed"], report.seed);
        assert_eq!(run["controls"], report.controls);
        assert_eq!(run["failure"].is_null(), report.failure.is_none());
        assert_eq!(run["summary"]["total"], report.trials.len());
        let cases = run["cases"].as_array().expect("the cases");
        assert_eq!(cases.len(), report.trials.len(), "a trial is lost");
        for (case, trial) in cases.iter().zip(&report.trials) {
            assert_eq!(case["id"], trial.id.as_str());
            assert_eq!(case["expected"], trial.expected.as_str());
            assert_eq!(case["observed"], trial.observed.as_str());
            assert_eq!(case["title"], trial.title.as_str());
            let verdict: Verdict = serde_json::from_value(case["verdict"].clone()).expect("a verdict");
            assert_eq!(verdict, trial.verdict);
            assert!(case["duration_ms"].as_f64().is_some_and(|time| time >= 0.0), "{}", case["duration_ms"]);
            let checks: Vec<Check> = serde_json::from_value(case["checks"].clone()).expect("the checks");
            assert_eq!(checks, trial.checks, "checks read otherwise than written");
            let transcript: Vec<String> = serde_json::from_value(case["transcript"].clone()).unwrap_or_default();
            assert_eq!(transcript, trial.transcript, "a transcript reads otherwise than written");
        }
    }
}

/// It is JSON with a run for each, what is wrong with the server is a result and what is wrong with the run a notification,
/// and everything reads as text.
fn is_sarif(text: &str, reports: &[Report]) {
    prints(text);
    let file: Value = serde_json::from_str(text).expect("SARIF is JSON");
    assert_eq!(file["version"], "2.1.0");
    let runs = file["runs"].as_array().expect("the runs");
    assert_eq!(runs.len(), reports.len(), "a run is lost");
    for (run, report) in runs.iter().zip(reports) {
        let of = |verdicts: &[Verdict]| report.trials.iter().filter(|trial| verdicts.contains(&trial.verdict)).count();
        let wrong = of(&[Verdict::Fail, Verdict::Warn, Verdict::Flaky, Verdict::KnownGap]);
        assert_eq!(
            run["results"].as_array().expect("the results").len(),
            wrong,
            "a result is lost, or is one too many"
        );
        let undecided = of(&[Verdict::Inconclusive, Verdict::Error]) + usize::from(report.failure.is_some());
        let told = run["invocations"][0]["toolExecutionNotifications"].as_array().expect("the notifications");
        assert_eq!(told.len(), undecided, "a notification is lost, or is one too many");
    }
    every_text(&file, &mut keeps_secrets);
}

fn every_text(value: &Value, then: &mut impl FnMut(&str)) {
    match value {
        Value::String(text) => then(text),
        Value::Array(items) => items.iter().for_each(|item| every_text(item, then)),
        Value::Object(members) => members.values().for_each(|member| every_text(member, then)),
        _ => {}
    }
}

/// It is XML with a `testcase` for every trial, and what stands in it keeps the secrets when it is read, too.
fn is_junit(text: &str, reports: &[Report]) {
    prints(text);
    let mut reader = Reader::from_str(text);
    let mut cases = 0;
    // A text of an element comes in pieces, with references between them.
    let mut content = String::new();
    loop {
        let event = reader.read_event().expect("JUnit is XML");
        match &event {
            Event::Text(piece) => content.push_str(&piece.xml10_content()),
            Event::GeneralRef(reference) => match reference.resolve_char_ref().expect("a character") {
                Some(character) => content.push(character),
                None => content.push_str(resolve_predefined_entity(reference).expect("an entity of XML")),
            },
            _ => keeps_secrets(&std::mem::take(&mut content)),
        }
        match &event {
            Event::Eof => break,
            Event::Start(tag) | Event::Empty(tag) => {
                cases += usize::from(tag.name().as_ref() == "testcase");
                for attribute in tag.attributes() {
                    let attribute = attribute.expect("an attribute");
                    let value = attribute.normalized_value(XmlVersion::Implicit1_0).expect("a value");
                    keeps_secrets(&value);
                }
            }
            _ => {}
        }
    }
    assert_eq!(cases, reports.iter().map(|report| report.trials.len()).sum::<usize>(), "a trial is lost");
}

/// Every line is one command of GitHub's runner, and nothing in it begins another; and all that there is to tell is shown, or
/// counted in the last line of its kind.
fn are_annotations(text: &str, reports: &[Report]) {
    prints(text);
    keeps_secrets(text);
    keeps_secrets(&text.replace("%25", "%"));
    let mut told = [0; 2];
    for line in text.lines() {
        let kind = ["::error title=", "::warning title="].iter().position(|start| line.starts_with(start));
        let Some(kind) = kind.filter(|_| !line.contains("##[")) else {
            panic!("no command, or two: {}", line.escape_debug());
        };
        let left_out =
            line.split_once("title=gatecrash::").and_then(|(_, rest)| rest.strip_suffix(" more, in the reports"));
        told[kind] += left_out.map_or(1, |count| count.parse().expect("a number"));
    }
    let mut wanted = [0; 2];
    for report in reports {
        wanted[0] += usize::from(report.failure.is_some());
        for trial in &report.trials {
            match trial.verdict {
                Verdict::Fail | Verdict::Error => wanted[0] += 1,
                Verdict::Flaky => wanted[usize::from(!trial.is_breach())] += 1,
                Verdict::Warn => wanted[1] += 1,
                // Where the run failed, that is said once.
                Verdict::Inconclusive => wanted[1] += usize::from(report.failure.is_none()),
                Verdict::Pass | Verdict::Info | Verdict::NotApplicable | Verdict::KnownGap => {}
            }
        }
    }
    assert_eq!(told, wanted, "something is not told, or told twice");
}

/// What a viewer of Markdown shows: without the backslashes, and with the characters that references stand for.
fn read_markdown(text: &str) -> String {
    const REFERENCES: [(&str, char); 6] =
        [("&amp;", '&'), ("&lt;", '<'), ("&gt;", '>'), ("&#64;", '@'), ("&#58;", ':'), ("&#46;", '.')];
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let reference = REFERENCES.iter().find(|(reference, _)| rest.starts_with(reference));
        if let Some((reference, character)) = reference {
            shown.push(*character);
            rest = &rest[reference.len()..];
            continue;
        }
        rest = &rest[first.len_utf8()..];
        match (first, rest.chars().next()) {
            ('\\', Some(escaped)) if escaped.is_ascii_punctuation() => {
                shown.push(escaped);
                rest = &rest[escaped.len_utf8()..];
            }
            _ => shown.push(first),
        }
    }
    shown
}

/// Nothing that a terminal would act on, turn around or not show.
fn prints(text: &str) {
    let acts = |character: char| {
        (character.is_control() && character != '\n')
            || matches!(character, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    assert!(!text.chars().any(acts), "a terminal would act on it: {}", text.escape_debug());
}

/// Neither the secret nor the token, in any of the forms in which servers write them.
fn keeps_secrets(text: &str) {
    for secret in FORMS.iter() {
        // The beginning is what a quotation leaves of it.
        assert!(!text.contains(&secret[..20]), "the secret, or its beginning, as {secret}");
    }
    for part in token_parts() {
        assert!(!text.contains(&part), "a part of the token, {part}, in {}", text.escape_debug());
    }
}

/// What is in the reports of an input.
#[cfg(test)]
pub(super) fn comes_to(input: &[u8]) -> BTreeSet<&'static str> {
    let mut seen = BTreeSet::new();
    let (reports, _) = any_reports(&mut Unstructured::new(input)).unwrap_or_default();
    for report in &reports {
        seen.extend(matches!(report.failure, Some(Failure::Stopped { .. })).then_some("stopped"));
        for trial in &report.trials {
            seen.insert(trial.verdict.word());
            seen.extend((!trial.transcript.is_empty()).then_some("with a transcript"));
            seen.extend(trial.is_stale_gap().then_some("stale"));
        }
    }
    seen
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    /// A report of one failure that nobody cleaned, with these texts in it.
    fn uncleaned(expected: &str, line: &str) -> Report {
        let (target, trial) = seen::trial(&mut Unstructured::new(&[])).expect("a trial");
        let mut entry = TrialReport::new(trial, &CATALOGUE);
        entry.verdict = Verdict::Fail;
        entry.expected = expected.to_owned();
        entry.transcript = vec![line.to_owned()];
        Report { trials: vec![entry], ..Report::new(target, 0) }
    }

    fn breaks(law: impl Fn()) -> bool {
        catch_unwind(AssertUnwindSafe(law)).is_err()
    }

    /// The inputs come to everything that a report can be.
    #[test]
    fn the_corpus_comes_to_everything() {
        let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/report");
        let mut seen = BTreeSet::new();
        for file in std::fs::read_dir(corpus).expect("the corpus") {
            seen.extend(comes_to(&std::fs::read(file.expect("a file").path()).expect("its bytes")));
        }
        let wanted = Verdict::ALL.iter().map(|verdict| verdict.word()).chain(["stopped", "with a transcript", "stale"]);
        let missed: Vec<_> = wanted.filter(|word| !seen.contains(word)).collect();
        assert!(missed.is_empty(), "{missed:?}");
    }

    #[test]
    fn a_secret_is_found_out_in_every_format_and_form() {
        let harmless = [uncleaned("a", "b")];
        let told = |report: &Report| keeps_secrets(&terminal::write(report, terminal::Style::default(), ""));
        for format in Format::ALL {
            assert!(!breaks(|| is_written(format, &harmless)), "{format:?}");
        }
        assert!(!breaks(|| told(&harmless[0])));
        for form in FORMS.iter().map(String::as_str).chain([str::from_utf8(TOKEN).expect("a text")]) {
            let (report, transcript) = ([uncleaned(form, "")], [uncleaned("", form)]);
            for format in Format::ALL {
                assert!(breaks(|| is_written(format, &report)), "{format:?} {form}");
                // A summary tells nothing of what went over the wire.
                if matches!(format, Format::Json | Format::Junit) {
                    assert!(breaks(|| is_written(format, &transcript)), "{format:?} {form}");
                }
            }
            assert!(breaks(|| are_annotations(&annotations::write(&report), &report)), "{form}");
            assert!(breaks(|| told(&report[0])) && breaks(|| told(&transcript[0])), "{form}");
        }
    }
}
