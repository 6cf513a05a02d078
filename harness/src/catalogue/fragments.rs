//! Steps that are written once and used by many cases: `use: NAME` in the place of a step.
//!
//! A fragment names its parameters, and what they are where nothing is said; `null` must be said. In its steps they are
//! `${with.NAME}`. A fragment may use another, a few deep. What is put in is looked at where it is written, so that a
//! mistake in a fragment is shown in the fragment.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::case::Step;
use crate::document::{Code, Diagnostics, Document, Path, did_you_mean};

/// How deep fragments may use fragments.
const DEEPEST: usize = 8;
/// The most steps of a case, those that only use a fragment included.
const MOST_STEPS: usize = 1_000;
/// The most that all steps of a case may be, in bytes.
const LARGEST_CASE: usize = 16 << 20;

/// A fragment as it stands in a file.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
#[schemars(rename = "Fragment")]
pub(super) struct FragmentText {
    /// Its parameters, and what they are unless it is said; `null` where it must be said.
    #[serde(default)]
    with: Map<String, Value>,
    /// What it does.
    #[schemars(with = "Vec<Step>")]
    steps: Vec<Value>,
}

/// `use:` with something to say.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub(crate) struct Use {
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
pub(super) struct Fragments {
    by_name: BTreeMap<String, Fragment>,
    /// Those that a case has used.
    used: RefCell<BTreeSet<String>>,
}

/// A step, and where it is written.
struct Placed {
    step: Value,
    document: Arc<Document>,
    at: Path,
}

/// What has become of the steps of a case so far.
#[derive(Default)]
struct Put {
    steps: Vec<Placed>,
    entries: usize,
    bytes: usize,
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
            if let Some(other) = self.by_name.get(&name) {
                let message = format!("a fragment called `{name}` is in {} already", other.document.name());
                found.push(document.key_diagnostic(Code::BadValue, &at, &message, None));
                continue;
            }
            self.by_name.insert(name, Fragment { text, document: Arc::clone(document), at, vars: vars.clone() });
        }
    }

    /// Looks at what no case has used, as far as it can be read without its parameters.
    pub(super) fn check_unused(&self, found: &mut Diagnostics) {
        let used = self.used.borrow();
        for (_, Fragment { text, document, at, .. }) in self.by_name.iter().filter(|(name, _)| !used.contains(*name)) {
            for (index, step) in text.steps.iter().enumerate() {
                let words = step.to_string();
                if !is_use(step) && !words.contains("${with.") && !words.contains("${vars.") {
                    let _ = found.keep(document.decode::<Step>(step, &at.key("steps").index(index)));
                }
            }
        }
    }

    /// The case with the steps of fragments in the place of every `use`.
    pub(super) fn expand(&self, document: &Arc<Document>, case: &Value, at: &Path) -> Result<Value, Diagnostics> {
        let Some(steps) = steps_to_expand(case) else { return Ok(case.clone()) };
        let mut placed = Put::default();
        let at = at.key("steps");
        for (index, step) in steps.iter().enumerate() {
            let step = Placed { step: step.clone(), document: Arc::clone(document), at: at.index(index) };
            self.put(step, 0, &mut placed)?;
        }
        let mut found = Diagnostics::new();
        for Placed { step, document, at } in &placed.steps {
            let _ = found.keep(document.decode::<Step>(step, at));
        }
        let steps: Vec<Value> = placed.steps.into_iter().map(|placed| placed.step).collect();
        let mut case = case.clone();
        case["steps"] = Value::Array(steps);
        found.or(case)
    }

    /// What the fragments are that a case may use, as they are written.
    pub(super) fn definition(&self) -> String {
        let text = |(name, one): (&String, &Fragment)| format!("{name}\n{}\n", Value::from(one.text.steps.clone()));
        self.by_name.iter().map(text).collect()
    }

    fn put(&self, placed: Placed, depth: usize, out: &mut Put) -> Result<(), Diagnostics> {
        let Placed { step, document, at } = &placed;
        let wrong = |at: &Path, message: &str, help: Option<String>| -> Diagnostics {
            document.diagnostic(Code::BadValue, at, message, help.as_deref()).into()
        };
        out.entries += 1;
        if out.entries > MOST_STEPS {
            return Err(wrong(at, &format!("a case has at most {MOST_STEPS} steps"), None));
        }
        let Some(used) = step.get("use") else {
            out.bytes += step.to_string().len();
            if out.bytes > LARGEST_CASE {
                return Err(wrong(at, "the steps of the case become too large", None));
            }
            out.steps.push(placed);
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
        let Some(fragment) = self.by_name.get(&used.fragment) else {
            let help = did_you_mean(&used.fragment, self.by_name.keys().map(String::as_str)).unwrap_or_else(|| {
                "write it under `fragments:`, in this file or in one that is given beside it".to_owned()
            });
            return Err(wrong(&at_use, &format!("no fragment is called `{}`", used.fragment), Some(help)));
        };
        self.used.borrow_mut().insert(used.fragment.clone());
        if depth >= DEEPEST {
            let help = "one that uses itself, by way of others too, would never end".to_owned();
            return Err(wrong(&at_use, &format!("fragments use each other more than {DEEPEST} deep"), Some(help)));
        }
        let declared = Value::Object(fragment.text.with.clone());
        let at_with = fragment.at.key("with");
        let declared = fragment.document.fill(&declared, &at_with, "vars", &fragment.vars, "`vars`")?;
        let mut with = declared.as_object().cloned().unwrap_or_default();
        for (name, value) in used.with {
            if !with.contains_key(&name) {
                let help = did_you_mean(&name, with.keys().map(String::as_str));
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

/// The steps of a case, if one of them stands for those of a fragment.
pub(super) fn steps_to_expand(case: &Value) -> Option<&Vec<Value>> {
    case.get("steps").and_then(Value::as_array).filter(|steps| steps.iter().any(is_use))
}

/// Whether a step stands for those of a fragment.
fn is_use(step: &Value) -> bool {
    step.get("use").is_some()
}

/// The variables of a file, as they are said on the command line or else in it. Where the file has a number, what is said is
/// one too, if it can be.
pub(super) fn vars(declared: &Map<String, Value>, said: &BTreeMap<String, String>) -> Value {
    let read = |value: &Value, text: &String| match serde_json::from_str::<Value>(text) {
        Ok(read) if !value.is_string() && !read.is_string() => read,
        _ => json!(text),
    };
    let one = |name: &String, value: &Value| said.get(name).map_or_else(|| value.clone(), |text| read(value, text));
    Value::Object(declared.iter().map(|(name, value)| (name.clone(), one(name, value))).collect())
}
