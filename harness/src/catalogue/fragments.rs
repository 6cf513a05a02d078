//! Steps that are written once and used by many cases: `use: NAME` in the place of a step.
//!
//! A fragment names its parameters, and what they are where nothing is said; `null` must be said. In its steps they are
//! `${with.NAME}`. A fragment may use another, a few deep. What is put in is looked at where it is written, so that a
//! mistake in a fragment is shown in the fragment.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::case::Step;
use crate::document::{Code, Diagnostics, Document, Path, closest};

/// How deep fragments may use fragments.
const DEEPEST: usize = 8;
/// The most steps of a case.
const MOST_STEPS: usize = 1_000;

/// A fragment as it stands in a file.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub(super) struct FragmentText {
    /// Its parameters, and what they are unless it is said; `null` where it must be said.
    #[serde(default)]
    with: Map<String, Value>,
    /// What it does.
    steps: Vec<Value>,
}

/// `use:` with something to say.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
struct Use {
    /// Which one.
    fragment: String,
    /// What its parameters are.
    #[serde(default)]
    with: Map<String, Value>,
}

/// A fragment, and where it is written.
#[derive(Debug, Clone)]
struct Fragment {
    text: FragmentText,
    document: Arc<Document>,
    at: Path,
    /// The variables of its file.
    vars: Value,
}

/// Fragments by their names, those of all files together.
#[derive(Debug, Clone, Default)]
pub(super) struct Fragments(BTreeMap<String, Fragment>);

/// A step, and where it is written.
struct Placed {
    step: Value,
    document: Arc<Document>,
    at: Path,
}

impl Fragments {
    /// Takes in those of a file.
    pub(super) fn add(
        &mut self,
        document: &Arc<Document>,
        fragments: BTreeMap<String, FragmentText>,
        vars: &Value,
        found: &mut Diagnostics,
    ) {
        for (name, text) in fragments {
            let at = Path::root().key("fragments").key(&name);
            if let Some(other) = self.0.get(&name) {
                let message = format!("a fragment called `{name}` is in {} already", other.document.name());
                found.push(document.key_diagnostic(Code::BadValue, &at, &message, None));
                continue;
            }
            self.0.insert(name, Fragment { text, document: Arc::clone(document), at, vars: vars.clone() });
        }
    }

    /// The case with the steps of fragments in the place of every `use`.
    pub(super) fn expand(&self, document: &Arc<Document>, case: &Value, at: &Path) -> Result<Value, Diagnostics> {
        let is_use = |step: &Value| step.get("use").is_some();
        let steps = match case.get("steps").and_then(Value::as_array) {
            Some(steps) if steps.iter().any(is_use) => steps,
            _ => return Ok(case.clone()),
        };
        let mut placed = Vec::new();
        let at = at.key("steps");
        for (index, step) in steps.iter().enumerate() {
            let step = Placed { step: step.clone(), document: Arc::clone(document), at: at.index(index) };
            self.put(step, 0, &mut placed)?;
        }
        let mut found = Diagnostics::new();
        for Placed { step, document, at } in &placed {
            let _ = found.keep(document.decode::<Step>(step, at));
        }
        let steps: Vec<Value> = placed.into_iter().map(|placed| placed.step).collect();
        let mut case = case.clone();
        case["steps"] = Value::Array(steps);
        found.or(case)
    }

    fn put(&self, placed: Placed, depth: usize, out: &mut Vec<Placed>) -> Result<(), Diagnostics> {
        let Placed { step, document, at } = &placed;
        let wrong = |at: &Path, message: &str, help: Option<String>| -> Diagnostics {
            document.diagnostic(Code::BadValue, at, message, help.as_deref()).into()
        };
        if out.len() >= MOST_STEPS {
            return Err(wrong(at, &format!("a case has at most {MOST_STEPS} steps"), None));
        }
        let Some(used) = step.get("use") else {
            out.push(placed);
            return Ok(());
        };
        let at_use = at.key("use");
        if step.as_object().is_some_and(|members| members.len() > 1) {
            return Err(wrong(at, "`use` stands alone in a step", None));
        }
        let used: Use = match used {
            Value::String(name) => Use { fragment: name.clone(), with: Map::new() },
            other => document.decode(other, &at_use)?,
        };
        let Some(fragment) = self.0.get(&used.fragment) else {
            let help = closest(&used.fragment, self.0.keys().map(String::as_str));
            let help = help.map_or_else(
                || "write it under `fragments:`, in this file or in one that is given beside it".to_owned(),
                |close| format!("did you mean `{close}`?"),
            );
            return Err(wrong(&at_use, &format!("no fragment is called `{}`", used.fragment), Some(help)));
        };
        if depth >= DEEPEST {
            return Err(wrong(&at_use, &format!("fragments use each other more than {DEEPEST} deep"), None));
        }
        let mut with = fragment.text.with.clone();
        for (name, value) in used.with {
            if !with.contains_key(&name) {
                let help =
                    closest(&name, with.keys().map(String::as_str)).map(|close| format!("did you mean `{close}`?"));
                let message = format!("`{}` has no parameter `{name}`", used.fragment);
                return Err(wrong(&at_use.key("with").key(&name), &message, help));
            }
            with.insert(name, value);
        }
        if let Some((name, _)) = with.iter().find(|(_, value)| value.is_null()) {
            let help = format!("write `use: {{ fragment: {}, with: {{ {name}: ... }} }}`", used.fragment);
            return Err(wrong(&at_use, &format!("`{}` needs to know `{name}`", used.fragment), Some(help)));
        }
        let with = Value::Object(with);
        for (index, step) in fragment.text.steps.iter().enumerate() {
            let at = fragment.at.key("steps").index(index);
            let step = fragment.document.fill(step, &at, "vars", &fragment.vars, "`vars`")?;
            let step = fragment.document.fill(&step, &at, "with", &with, "`with`")?;
            self.put(Placed { step, document: Arc::clone(&fragment.document), at }, depth + 1, out)?;
        }
        Ok(())
    }
}

/// The variables of a file, as they are said on the command line or else in it.
pub(super) fn vars(declared: &Map<String, Value>, said: &BTreeMap<String, String>) -> Value {
    let said = |name: &String| said.get(name).map(|text| json!(text));
    Value::Object(
        declared.iter().map(|(name, value)| (name.clone(), said(name).unwrap_or_else(|| value.clone()))).collect(),
    )
}
