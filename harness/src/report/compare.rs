//! Two targets beside each other: where they disagree, even if both conform.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::earlier::{Earlier, Run, Trial};
use crate::verdict::Verdict;

/// How two targets differ over the same cases.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Comparison {
    /// The names of the two.
    pub names: [String; 2],
    /// How many cases applied to both.
    pub common: usize,
    /// One came to another verdict than the other.
    pub disagreements: Vec<Difference>,
    /// Both came to the same verdict, and something else was seen; alike ones stand together.
    pub nuances: Vec<Nuance>,
    /// The trials that applied to one of them only, by how many they are.
    pub alone: [usize; 2],
}

/// A case over which two targets disagree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The trial, as the first has it.
    pub id: String,
    /// The name of its case.
    pub name: String,
    /// What each came to, and what was seen.
    pub sides: [(Verdict, String); 2],
}

/// Cases in which two targets came to the same verdict in different ways.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nuance {
    /// The verdict of both.
    pub verdict: Verdict,
    /// What was seen at each.
    pub seen: [String; 2],
    /// The trials, as the first has them.
    pub ids: Vec<String>,
}

impl Comparison {
    /// Every pair of runs of two results: those of one name, or the only ones. What has no partner is named.
    pub fn of(a: &Earlier, b: &Earlier) -> (Vec<Self>, Vec<String>) {
        let is_only = a.runs.len() == 1;
        let mut alone = Vec::new();
        let mut pairs = Vec::new();
        for run in &a.runs {
            match b.beside(run, is_only) {
                Some(other) => pairs.push(Self::between(run, other)),
                None => alone.push(run.target.clone()),
            }
        }
        let has_partner = |run: &&Run| a.runs.iter().any(|one| b.beside(one, is_only) == Some(*run));
        alone.extend(b.runs.iter().filter(|run| !has_partner(run)).map(|run| run.target.clone()));
        (pairs, alone)
    }

    /// Two runs.
    pub fn between(a: &Run, b: &Run) -> Self {
        let mut found = Self { names: [a.target.clone(), b.target.clone()], ..Self::default() };
        let mut matched = 0;
        for trial in applying(a) {
            let Some(other) = partner(trial, a, b) else {
                found.alone[0] += 1;
                continue;
            };
            matched += 1;
            if trial.verdict != other.verdict {
                found.disagreements.push(Difference {
                    id: trial.id.clone(),
                    name: trial.name.clone(),
                    sides: [trial, other].map(|side| (side.verdict, side.observed.clone())),
                });
            } else if let Some(seen) = nuance(trial, other) {
                match found.nuances.iter_mut().find(|known| known.verdict == trial.verdict && known.seen == seen) {
                    Some(known) => known.ids.push(trial.id.clone()),
                    None => found.nuances.push(Nuance { verdict: trial.verdict, seen, ids: vec![trial.id.clone()] }),
                }
            }
        }
        found.common = matched;
        found.alone[1] = applying(b).count().saturating_sub(matched);
        found.nuances.sort_by_key(|nuance| std::cmp::Reverse(nuance.ids.len()));
        found
    }

    /// What a person reads.
    pub fn describe(&self) -> String {
        let [a, b] = if self.names[0] == self.names[1] {
            [format!("{} in the first", self.names[0]), format!("{} in the second", self.names[1])]
        } else {
            self.names.clone()
        };
        let mut text = format!(
            "{a} and {b}: {} of {} common cases came to another verdict\n",
            self.disagreements.len(),
            self.common
        );
        for Difference { id, name, sides: [(verdict, seen), (other, other_seen)] } in &self.disagreements {
            let _ = writeln!(text, "  {id} {name}");
            let _ = writeln!(text, "      {a}: {}, {seen}", verdict.word());
            let _ = writeln!(text, "      {b}: {}, {other_seen}", other.word());
        }
        if !self.nuances.is_empty() {
            let cases: usize = self.nuances.iter().map(|nuance| nuance.ids.len()).sum();
            let _ = writeln!(text, "the same verdict, and something else was seen, in {cases}");
        }
        for Nuance { verdict, seen: [seen, other], ids } in &self.nuances {
            const SHOWN: usize = 8;
            let more = if ids.len() > SHOWN { format!(" and {} more", ids.len() - SHOWN) } else { String::new() };
            let shown: Vec<&str> = ids.iter().take(SHOWN).map(String::as_str).collect();
            let _ = writeln!(text, "  {} in {}: {}{more}", verdict.word(), counted(ids.len()), shown.join(", "));
            let _ = writeln!(text, "      {a}: {seen}");
            let _ = writeln!(text, "      {b}: {other}");
        }
        for (name, count) in [&a, &b].into_iter().zip(self.alone).filter(|(_, count)| *count > 0) {
            let _ = writeln!(text, "{} more applied to {name} only", counted(count));
        }
        text
    }
}

fn counted(count: usize) -> String {
    if count == 1 { "1 case".to_owned() } else { format!("{count} cases") }
}

/// The trials that said something about the target.
fn applying(run: &Run) -> impl Iterator<Item = &Trial> {
    run.cases.iter().filter(|trial| trial.verdict != Verdict::NotApplicable)
}

/// The same trial of the other run; where the carriers differ, the only trial of the same case.
fn partner<'a>(trial: &Trial, a: &Run, b: &'a Run) -> Option<&'a Trial> {
    if let Some(same) = applying(b).find(|other| other.id == trial.id) {
        return Some(same);
    }
    let only = |run: &Run| applying(run).filter(|other| other.code == trial.code).count() == 1;
    applying(b).find(|other| other.code == trial.code).filter(|_| only(a) && only(b))
}

/// What was seen at each, where that is not the same: of the first check that saw something else, or of the whole.
fn nuance(trial: &Trial, other: &Trial) -> Option<[String; 2]> {
    let pairs = trial.checks.iter().zip(&other.checks).filter(|(one, other)| one.label == other.label);
    let mut pairs =
        pairs.map(|(one, other)| (&one.observed, &other.observed)).chain([(&trial.observed, &other.observed)]);
    let differ = |one: &str, other: &str| kinds(one).zip(kinds(other)).is_some_and(|(one, other)| one != other);
    pairs.find(|(one, other)| differ(one, other)).map(|(one, other)| [one.clone(), other.clone()])
}

/// The kinds of things that a list tells; none where several messages stand in it. Those are of other clients, and
/// which of them were heard, and what had room beside them, is chance.
fn kinds(text: &str) -> Option<BTreeSet<String>> {
    let plain = plain(text);
    let is_made = |item: &&str| item.starts_with('"') && item.contains('#');
    if plain.split(", ").filter(is_made).count() > 1 {
        return None;
    }
    Some(plain.split(", ").map(|item| if is_made(&item) { "a message" } else { item }.to_owned()).collect())
}

/// The text without what differs from run to run: times and sizes, and words that are made anew, such as names,
/// messages, keys and identifiers, which hold digits and are long. Status and close codes are short.
fn plain(text: &str) -> String {
    const SHORTEST: usize = 6;
    let is_part = |character: char| character.is_ascii_alphanumeric() || "+/=_-.".contains(character);
    let units = ["ms", "s", "seconds", "milliseconds", "bytes"];
    let mut plain: Vec<&str> = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (word, after) = rest.split_at(rest.find(|character| !is_part(character)).unwrap_or(rest.len()));
        let (other, after) = after.split_at(after.find(is_part).unwrap_or(after.len()));
        let next = &after[..after.find(|character| !is_part(character)).unwrap_or(after.len())];
        let is_made = word.len() >= SHORTEST && word.bytes().any(|byte| byte.is_ascii_digit());
        let is_measured = word.parse::<f64>().is_ok() && other == " " && units.contains(&next);
        plain.extend([if is_made || is_measured { "#" } else { word }, other]);
        rest = after;
    }
    plain.concat()
}

#[cfg(test)]
mod tests {
    use super::{kinds, plain};

    #[test]
    fn what_is_made_anew_is_no_difference_and_a_code_is_one() {
        assert_eq!(plain("refused (101, then close 1008 \"no\")"), "refused (101, then close 1008 \"no\")");
        assert_eq!(plain("answered in 12.5 ms, 4096 bytes"), plain("answered in 9 ms, 77 bytes"));
        assert_eq!(plain("Sec-WebSocket-Accept: c0UYtxA0tNrSlBkNf0X5EvvFA+0="), "Sec-WebSocket-Accept: #");
        assert_eq!(plain(r#"{"message":"gce7089771-1"}"#), plain(r#"{"message":"gc70d0f0c4-2"}"#));
        assert_ne!(plain("close 1008"), plain("close 4001"));
        let list = |of: [&str; 3]| kinds(&of.join(", "));
        assert_eq!(list(["\"gc12345-1\"", "a pong", "close 1002"]), list(["a pong", "close 1002", "\"gc98765-2\""]));
        assert_ne!(list(["\"gc12345-1\"", "a pong", "close 1002"]), list(["\"gc12345-1\"", "a pong", "close 1007"]));
        assert_eq!(kinds("\"gc12345-1\", a pong, \"gc98765-1\""), None);
        assert_eq!(plain("\u{2014}é 1 s"), "\u{2014}é # s");
    }
}
