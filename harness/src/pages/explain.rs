//! All about one case, for a terminal.

use crate::case::{Across, Body, Case, Over, Set};
use crate::catalogue::{Catalogue, Covered, Weakness};
use crate::need::Need;
use crate::verdict::Level;

use super::script::{Line, Scene, Told, repeats};
use super::text::Text;
use super::word;

/// The rule, what is sent, what is right, the weakness and how to see it.
pub fn explain(catalogue: &Catalogue, case: &Case) -> String {
    let head = &case.head;
    let mut text = Text::default();
    text.heading(&format!("{}  {}", head.code, head.name));
    text.line(2, &head.title);
    let set = match head.set {
        Set::Quick => "in every run",
        Set::All => "with --all, or by its name",
    };
    let level = word(&head.level).to_uppercase();
    text.line(2, &format!("{level}, {} severity, {set}; scenarios/{}:{}", word(&head.severity), case.file, case.line));

    text.heading("The rule");
    for source in head.source.iter().filter_map(|key| catalogue.sources.get(key)) {
        text.line(2, &format!("{}: {}", source.r#where, source.says));
    }
    conditions(&mut text, case);
    let told = wire(&mut text, catalogue, case);
    right(&mut text, case, &told);

    let found = head.weakness.as_ref().and_then(|name| catalogue.weaknesses.get(name).map(|weakness| (name, weakness)));
    match found {
        Some((name, weakness)) => hunted(&mut text, case, name, weakness),
        None => {
            text.heading("The weakness");
            text.line(2, unnamed(head.level));
            text.heading("See it");
            text.line(2, &format!("gatecrash run --case {}", head.code));
        }
    }
    text.into_string()
}

/// A code that is no case of its own, and which case answers for it.
pub fn explain_covered(code: &str, covered: &Covered) -> String {
    let mut text = Text::default();
    text.heading(&format!("{code}  is no case of its own: {} asks it", covered.by));
    text.line(2, &covered.because);
    text.line(2, &format!("see: gatecrash explain {}", covered.by));
    text.into_string()
}

/// Why a case names no weakness.
fn unnamed(level: Level) -> &'static str {
    match level {
        Level::Must | Level::Should => "none is named: no fault of the reference server breaks this rule alone",
        Level::May | Level::Info => "none: both answers are right, and the report tells which one was given",
    }
}

fn conditions(text: &mut Text, case: &Case) {
    let head = &case.head;
    let words = |needs: &[Need]| needs.iter().map(|need| need.words()).collect::<Vec<_>>().join(", ");
    if head.needs.is_empty() && head.unless.is_empty() && head.must_when.is_empty() && !head.alone {
        return;
    }
    text.heading("When it applies");
    if !head.needs.is_empty() {
        text.line(2, &format!("the profile must declare: {}", words(&head.needs)));
    }
    if !head.unless.is_empty() {
        text.line(2, &format!("not when the profile declares: {}", words(&head.unless)));
    }
    if !head.must_when.is_empty() {
        text.line(2, &format!("a promise, and so a MUST, when the profile declares: {}", words(&head.must_when)));
    }
    if head.alone {
        text.line(2, "nothing else is in flight, and a valid token must be admitted before and after");
    }
}

/// What goes over the network, and for each variant what its steps ask for.
fn wire(text: &mut Text, catalogue: &Catalogue, case: &Case) -> Vec<Vec<Told>> {
    text.heading("On the wire");
    let scene = Scene::of(case, catalogue);
    let mut all = Vec::new();
    for variant in &case.variants {
        all.push(match &variant.body {
            Body::Steps(steps) => scene.session(steps),
            Body::Across(across) => vec![Scene::across(*across)],
            Body::Lint(lint) => vec![Scene::lint(*lint)],
        });
    }
    let sends = case.variants.iter().any(|variant| matches!(variant.body, Body::Steps(_)));
    if sends {
        text.line(2, &scene.introduction());
        if case.head.carriers == Over::All {
            text.line(2, "the same is done over each carrier that the profile declares");
        }
    }
    for (number, (variant, told)) in case.variants.iter().zip(&all).enumerate() {
        let is_like_the_first = number > 0 && same_shape(&all[0], told);
        if !variant.label.is_empty() {
            let but = if is_like_the_first { ", which differs in" } else { "" };
            text.line(2, &format!("[{}]{but}", variant.label));
        }
        let indent = if variant.label.is_empty() { 2 } else { 4 };
        if is_like_the_first {
            let before = all[0].iter().flat_map(|step| &step.sent);
            let pairs = before.zip(told.iter().flat_map(|step| &step.sent));
            let mut new: Vec<&Line> = pairs.filter(|(before, after)| before != after).map(|(_, after)| after).collect();
            new.dedup();
            new.into_iter().for_each(|line| line.write(text, indent));
        } else {
            session(text, indent, told);
        }
    }
    all
}

/// Whether two variants say the same in as many lines, so that only the lines that differ have to be shown.
fn same_shape(one: &[Told], other: &[Told]) -> bool {
    one.len() == other.len()
        && one != other
        && one.iter().zip(other).all(|(one, other)| one.sent.len() == other.sent.len())
}

/// The steps in order; what is done again is said in one line.
fn session(text: &mut Text, indent: usize, told: &[Told]) {
    let numbered = told.len() > 1;
    let inner = if numbered { indent + 4 } else { indent };
    let mut index = 0;
    while index < told.len() {
        if let Some((period, times)) = repeats(told, index) {
            let (last, from) = (index + period * times, index - period + 1);
            let before = if period == 1 { format!("step {from}") } else { format!("steps {from} to {index}") };
            let again = match times {
                1 => "again".to_owned(),
                times => format!("again, {times} times"),
            };
            let which = if last == index + 1 { format!("{last}.") } else { format!("{} to {last}.", index + 1) };
            text.line(indent, &format!("{which} {before} {again}"));
            index = last;
            continue;
        }
        let step = &told[index];
        if numbered {
            text.line(indent, &format!("{:<3} {}", format!("{}.", index + 1), step.what));
        } else if !step.what.is_empty() {
            text.line(indent, &step.what);
        }
        let earlier = told[..index].iter().position(|other| other.sent.len() > 1 && other.sent == step.sent);
        match earlier {
            Some(earlier) => text.line(inner, &format!("the request of step {} again", earlier + 1)),
            None => step.sent.iter().for_each(|line| line.write(text, inner)),
        }
        index += 1;
    }
}

fn right(text: &mut Text, case: &Case, told: &[Vec<Told>]) {
    text.heading("What is right");
    let lists: Vec<Vec<String>> = told.iter().map(|steps| expectations(steps)).collect();
    let all_alike = lists.windows(2).all(|pair| pair[0] == pair[1]);
    for (variant, list) in case.variants.iter().zip(&lists) {
        let labelled = !all_alike && !variant.label.is_empty();
        if labelled {
            text.line(2, &format!("[{}]", variant.label));
        }
        for line in list {
            text.line(if labelled { 4 } else { 2 }, line);
        }
        if all_alike {
            break;
        }
    }
    if lists.iter().all(Vec::is_empty) {
        text.line(2, "that the server survives it: the control behind the case is admitted");
    }
}

/// What each step asks for, steps that ask the same together.
fn expectations(steps: &[Told]) -> Vec<String> {
    let mut asked: Vec<(Vec<usize>, &str)> = Vec::new();
    for (index, step) in steps.iter().enumerate() {
        for right in &step.right {
            match asked.iter_mut().find(|(_, words)| words == right) {
                Some((numbers, _)) => numbers.push(index + 1),
                None => asked.push((vec![index + 1], right)),
            }
        }
    }
    if steps.len() == 1 {
        return asked.into_iter().map(|(_, words)| words.to_owned()).collect();
    }
    asked.into_iter().map(|(numbers, words)| format!("{}: {words}", which(&numbers))).collect()
}

/// `step 1`, or `steps 1, 3 and 7`, or `steps 1 to 9`.
fn which(numbers: &[usize]) -> String {
    match numbers {
        [one] => format!("step {one}"),
        [first, .., last] if last - first + 1 == numbers.len() && numbers.len() > 2 => {
            format!("steps {first} to {last}")
        }
        [most @ .., last] => {
            let most: Vec<String> = most.iter().map(usize::to_string).collect();
            format!("steps {} and {last}", most.join(", "))
        }
        [] => String::new(),
    }
}

fn hunted(text: &mut Text, case: &Case, name: &str, weakness: &Weakness) {
    text.heading(&format!("The weakness: {name}"));
    text.line(2, &weakness.what);
    text.line(2, &weakness.gives);
    if let Some(example) = &weakness.example {
        text.heading("Code that has it");
        example.trim_end().lines().for_each(|line| text.line(4, line));
    }
    text.heading("How to mend it");
    text.line(2, &weakness.mend);
    if !weakness.refs.is_empty() {
        text.heading("References");
        text.line(2, &weakness.refs.join(", "));
    }
    match &weakness.not_seeded {
        None => {
            text.heading("See it fail");
            let by_http = if asks_about_http(case) { " --refusal http" } else { "" };
            text.line(2, &format!("gatecrash run --fault {name} --case {}{by_http}", case.head.code));
        }
        Some(why) => {
            text.heading("See it");
            text.line(2, &format!("gatecrash run --case {}", case.head.code));
            text.line(2, &format!("the reference server cannot have this weakness: {why}"));
        }
    }
}

/// Whether the case looks at refusals that come before the upgrade, where the bundled server refuses after it.
fn asks_about_http(case: &Case) -> bool {
    case.variants.iter().any(|variant| matches!(variant.body, Body::Across(Across::NotSuccess | Across::Challenge)))
}

#[cfg(test)]
mod tests {
    use super::which;

    #[test]
    fn steps_are_counted_in_words() {
        assert_eq!(which(&[4]), "step 4");
        assert_eq!(which(&[1, 2]), "steps 1 and 2");
        assert_eq!(which(&[1, 2, 3]), "steps 1 to 3");
        assert_eq!(which(&[1, 3, 7]), "steps 1, 3 and 7");
    }
}
