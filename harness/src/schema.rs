//! JSON Schemas of what people write and what others read: a profile, a file of cases, a result.
//!
//! They are made of the types that serde reads and writes, so that nothing is registered twice and every description is a
//! docstring. What the types do not know is added here: that a preset lies under a profile that extends it, and that
//! variables, the placeholders of a table and the names of fragments stand where something else will. Pure; the committed
//! texts are held to it by `tests/schema.rs`.
//!
//! A schema tells what can be seen of one value by itself: keys, types and words. Whether a text in it makes sense, whether
//! two keys contradict each other, and whether what is put in fits its place, the reader alone tells. To JSON Schema 1.0 is
//! a whole number; the reader wants 1.

use schemars::generate::{SchemaGenerator, SchemaSettings};
use schemars::transform::{Transform, transform_subschemas};
use schemars::{JsonSchema, Schema, json_schema};
use serde_json::{Map, Value, json};

use crate::catalogue::{Family, Use};
use crate::document::expand::{LONGEST_LABEL, LONGEST_TABLE};
use crate::profile::{Profile, presets};
use crate::report::json::File;

/// The documents that have a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// What a target says about itself.
    Profile,
    /// A file of cases.
    Scenario,
    /// What `--report json=PATH` writes.
    Result,
}

impl Kind {
    /// Every document.
    pub const ALL: [Self; 3] = [Self::Profile, Self::Scenario, Self::Result];

    /// The word on the command line, and the name of the committed file without its ending.
    pub fn name(self) -> &'static str {
        match self {
            Self::Profile => "profile",
            Self::Scenario => "scenario",
            Self::Result => "result",
        }
    }

    /// The schema, in draft 2020-12.
    pub fn schema(self) -> Value {
        let settings = SchemaSettings::draft2020_12();
        let mut schema = match self {
            Self::Profile => profile(settings.into_generator()),
            Self::Scenario => scenario(settings.into_generator()),
            Self::Result => settings.for_serialize().into_generator().into_root_schema_for::<File<'_>>(),
        };
        tidy(&mut schema);
        let name = self.name();
        schema.insert("$id".to_owned(), format!("urn:gatecrash:{name}:1").into());
        schema.insert("title".to_owned(), format!("gatecrash {name}").into());
        schema.to_value()
    }

    /// The schema as it is printed and committed.
    pub fn text(self) -> String {
        format!("{:#}\n", self.schema())
    }
}

/// A mapping whose keys are words of an enumeration, each with what that word means.
pub(crate) fn by_word<K: JsonSchema, V: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    let value = generator.subschema_for::<V>();
    let words = K::json_schema(generator);
    let mut properties = Map::new();
    for word in words.get("oneOf").and_then(Value::as_array).into_iter().flatten() {
        if let Some(name) = word.get("const").and_then(Value::as_str) {
            let mut value = value.clone();
            value.ensure_object().extend(word.get("description").map(|told| ("description".to_owned(), told.clone())));
            properties.insert(name.to_owned(), value.to_value());
        }
    }
    json_schema!({ "type": "object", "properties": properties, "additionalProperties": false })
}

/// A profile that extends a preset is laid over it, mapping by mapping, and need not repeat what stands there.
fn profile(mut generator: SchemaGenerator) -> Schema {
    let meta = generator.settings().meta_schema.clone();
    let strict = generator.subschema_for::<Profile>();
    let mut definitions = generator.take_definitions(true);
    let laid = vary(&mut definitions, "Profile", "OverPreset", Lists::Stay, &|schema| {
        if schema.get("properties").is_some() {
            schema.remove("required");
        }
    });
    // What was seen is not laid over anything.
    let seen = definitions.get("Profile").map(|profile| profile["properties"]["observed"].clone());
    if let (Some(seen), Some(laid)) = (seen, definitions.get_mut("ProfileOverPreset")) {
        laid["properties"]["observed"] = seen;
    }
    let names: Vec<&str> = presets().iter().map(|(name, _)| *name).collect();
    json_schema!({
        "$schema": meta,
        "type": "object",
        "if": { "properties": { "extends": { "type": "string" } }, "required": ["extends"] },
        "then": { "$ref": laid, "properties": { "extends": { "enum": names } } },
        "else": strict,
        "$defs": definitions,
    })
}

/// Fragments, variables and tables are put in before a case is decoded: what stands there until then is added here.
fn scenario(mut generator: SchemaGenerator) -> Schema {
    let used = generator.subschema_for::<Use>();
    let mut schema = generator.into_root_schema_for::<Family>();
    let (named, needed) = (json!({ "type": "string" }), json!({ "minItems": 1 }));
    let cases = json!({ "properties": { "family": named, "cases": needed }, "required": ["family", "cases"] });
    let fragments = json!({
        "properties": { "fragments": { "minProperties": 1 }, "cases": { "maxItems": 0 } },
        "required": ["fragments"],
    });
    schema.insert("anyOf".to_owned(), json!([cases, fragments]));
    if let Some(cases) = schema.pointer_mut("/properties/cases") {
        cases["items"] = json!({
            "if": { "required": ["for"] },
            "then": { "$ref": "#/$defs/CaseInTable" },
            "else": { "$ref": "#/$defs/Case" },
        });
    }
    let Some(Value::Object(definitions)) = schema.get_mut("$defs") else { return schema };
    if let Some(Value::Array(steps)) = definitions.get_mut("Step").and_then(|step| step.get_mut("oneOf")) {
        steps.push(json!({
            "description": "The steps of a fragment, by its name, or with what its parameters are.",
            "type": "object",
            "properties": { "use": { "anyOf": [{ "type": "string" }, used] } },
            "required": ["use"],
            "additionalProperties": false,
        }));
    }
    vary(definitions, "Case", "InTable", Lists::Follow, &|schema| let_stand("Placeholder", schema));
    vary(definitions, "Case", "", Lists::Follow, &|schema| let_stand("Variable", schema));
    // Each step of a fragment is put in by itself.
    if let Some(step) = definitions.get_mut("Fragment").and_then(|found| found.pointer_mut("/properties/steps/items")) {
        *step = json!({ "anyOf": [step.clone(), { "$ref": "#/$defs/Variable" }] });
    }
    if let Some(case) = definitions.get_mut("CaseInTable") {
        case["properties"]["for"] = json!({ "$ref": "#/$defs/Table" });
        if let Some(required) = case["required"].as_array_mut() {
            required.insert(0, "for".into());
        }
    }
    definitions.insert("Table".to_owned(), table());
    let reference = r"(\.[^}${\s]+)";
    let word = format!(r"\$\{{[a-z][a-z0-9_-]*{reference}?\}}");
    let about =
        "A placeholder of the table or of the file, or a mapping that has one in a key: read when it is put in.";
    definitions.insert("Placeholder".to_owned(), placeholder(about, &word));
    let word = format!(r"\$\{{(vars|with){reference}\}}");
    let about = "A variable of the file or of a fragment, or a mapping that has one in a key: read when it is put in.";
    definitions.insert("Variable".to_owned(), placeholder(about, &word));
    schema
}

/// A text with such a word, or a mapping with one in a key.
fn placeholder(about: &str, word: &str) -> Value {
    json!({
        "description": about,
        "anyOf": [
            { "type": "string", "pattern": word },
            { "type": "object", "not": { "propertyNames": { "not": { "pattern": word } } } },
        ],
    })
}

fn table() -> Value {
    let label = format!("^[A-Za-z0-9._-]{{1,{LONGEST_LABEL}}}$");
    let label = json!({ "description": "What the entry is called.", "type": "string", "pattern": label });
    let entries = json!({
        "type": "array",
        "minItems": 1,
        "maxItems": LONGEST_TABLE,
        "items": { "properties": { "label": label } },
    });
    json!({
        "description": "One variable and its entries. The case stands for as many copies of itself; `${name}`, or \
                        `${name.key}` where the entries are mappings, stands for what is put in.",
        "type": "object",
        "minProperties": 1,
        "maxProperties": 1,
        "propertyNames": { "pattern": "^[a-z][a-z0-9_-]*$" },
        "additionalProperties": { "anyOf": [entries, { "$ref": "#/$defs/Variable" }] },
    })
}

/// Lets one of these stand wherever something else than any text is wanted.
fn let_stand(placeholder: &str, schema: &mut Schema) {
    for (key, value) in schema.as_object_mut().into_iter().flatten() {
        let values: Vec<&mut Value> = match (key.as_str(), value) {
            ("properties" | "patternProperties", Value::Object(members)) => members.values_mut().collect(),
            ("prefixItems", Value::Array(items)) => items.iter_mut().collect(),
            ("items" | "additionalProperties", value) if value.is_object() => vec![value],
            ("oneOf" | "anyOf", Value::Array(choices)) => {
                choices
                    .iter_mut()
                    .filter_map(|choice| choice.try_into().ok())
                    .for_each(|choice| let_stand(placeholder, choice));
                continue;
            }
            _ => continue,
        };
        for value in values {
            let Ok(schema) = <&mut Schema>::try_from(&mut *value) else { continue };
            let_stand(placeholder, schema);
            if !takes_any_text(schema) {
                or(placeholder, schema);
            }
        }
    }
}

fn takes_any_text(schema: &Schema) -> bool {
    let has = |key: &str| schema.get(key).is_some();
    let is_bound = has("const") || has("enum") || has("pattern");
    let is_free = !(has("type") || has("$ref") || has("anyOf") || has("oneOf"));
    let is_text = schema.get("type").is_some_and(|kind| match kind {
        Value::Array(kinds) => kinds.iter().any(|kind| kind == "string"),
        kind => kind == "string",
    });
    !is_bound && (is_free || is_text)
}

fn or(placeholder: &str, schema: &mut Schema) {
    let placeholder = json!({ "$ref": format!("{DEFINITIONS}{placeholder}") });
    if let Some(Value::Array(choices)) = schema.get_mut("anyOf") {
        return choices.push(placeholder);
    }
    let mut outside = Map::new();
    for key in ["description", "default"] {
        outside.extend(schema.remove(key).map(|value| (key.to_owned(), value)));
    }
    outside.insert("anyOf".to_owned(), json!([schema.as_value(), placeholder]));
    *schema = outside.into();
}

/// What becomes of references below a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lists {
    /// They are to the variant as well.
    Follow,
    /// They are to the definition as it was.
    Stay,
}

/// Adds a variant of a definition and of all that it refers to, each where `change` changes it or what it refers to. The
/// reference to the variant of `root`.
fn vary(
    definitions: &mut Map<String, Value>,
    root: &str,
    suffix: &str,
    lists: Lists,
    change: &dyn Fn(&mut Schema),
) -> String {
    // Each with what it refers to, and whether it must be another one.
    let mut copies: Vec<(String, Schema, Vec<String>, bool)> = Vec::new();
    let mut open = vec![root.to_owned()];
    while let Some(name) = open.pop() {
        let is_known = copies.iter().any(|(known, ..)| *known == name);
        let found = definitions.get(&name).and_then(|schema| Schema::try_from(schema.clone()).ok());
        let (Some(mut copy), false) = (found, is_known) else { continue };
        let before = copy.clone();
        let mut names = Vec::new();
        let mut collect = |reference: &mut String| names.extend(target(reference).map(str::to_owned));
        References { lists, visit: &mut collect }.transform(&mut copy);
        change(&mut copy);
        open.extend(names.iter().cloned());
        let is_other = copy != before;
        copies.push((name, copy, names, is_other));
    }
    loop {
        let others: Vec<String> = others(&copies).map(str::to_owned).collect();
        for (.., names, is_other) in &mut copies {
            *is_other |= names.iter().any(|name| others.contains(name));
        }
        if self::others(&copies).count() == others.len() {
            break;
        }
    }
    let others: Vec<String> = others(&copies).map(str::to_owned).collect();
    for (name, mut copy, ..) in copies.into_iter().filter(|(.., is_other)| *is_other) {
        let mut rename = |reference: &mut String| {
            if target(reference).is_some_and(|name| others.iter().any(|other| other == name)) {
                reference.push_str(suffix);
            }
        };
        References { lists, visit: &mut rename }.transform(&mut copy);
        definitions.insert(format!("{name}{suffix}"), copy.to_value());
    }
    let is_other = others.iter().any(|other| other == root);
    format!("{DEFINITIONS}{root}{}", if is_other { suffix } else { "" })
}

fn others(copies: &[(String, Schema, Vec<String>, bool)]) -> impl Iterator<Item = &str> {
    copies.iter().filter(|(.., is_other)| *is_other).map(|(name, ..)| name.as_str())
}

const DEFINITIONS: &str = "#/$defs/";

fn target(reference: &str) -> Option<&str> {
    reference.strip_prefix(DEFINITIONS)
}

/// Visits every reference of a schema.
struct References<'a> {
    lists: Lists,
    visit: &'a mut dyn FnMut(&mut String),
}

impl Transform for References<'_> {
    fn transform(&mut self, schema: &mut Schema) {
        if let Some(Value::String(reference)) = schema.get_mut("$ref") {
            (self.visit)(reference);
        }
        let kept = ["items", "prefixItems"].map(|key| match self.lists {
            Lists::Stay => schema.remove(key).map(|value| (key.to_owned(), value)),
            Lists::Follow => None,
        });
        transform_subschemas(self, schema);
        if let Some(members) = schema.as_object_mut() {
            members.extend(kept.into_iter().flatten());
        }
    }
}

/// Takes out what only a Rust program understands: the widths of its numbers, and defaults that say nothing.
fn tidy(schema: &mut Schema) {
    schema.remove("format");
    let says_nothing = |value: &Value| value.is_null() || value.is_array() || value.is_object() || value == "";
    if schema.get("default").is_some_and(says_nothing) {
        schema.remove("default");
    }
    transform_subschemas(&mut tidy, schema);
}
