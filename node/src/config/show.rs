//! Prints configurations: the one in force with the source of each value, or every key with its default and meaning.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use wakumix_role_api::{
    config::{Key, ValueKind},
    relay,
};

use super::{
    Loaded, kind,
    presets::PRESETS,
    problem::{Problem, Problems},
    schema::{Schema, sentence},
    wakunode2::RLN,
};
use crate::roles::{Roles, RolesError};

/// Where comments break.
const COMMENT_WIDTH: usize = 100;

/// The form of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum ShowFormat {
    /// A configuration file, with comments.
    Toml,
    /// One object.
    Json,
}

/// The configuration in force: each value with its source, secrets redacted.
pub fn show(loaded: &Loaded, format: ShowFormat) -> String {
    let source = |key: &Key| loaded.sources.get(key.path).map(ToString::to_string);
    match format {
        ShowFormat::Json => {
            let mut object = Map::new();
            for key in loaded.schema.keys() {
                let entry = json!({ "value": value(loaded, key), "source": source(key) });
                object.insert(key.path.to_owned(), entry);
            }
            pretty(&Value::Object(object))
        }
        ShowFormat::Toml => {
            let line = |key: &Key, name: &str| match (value(loaded, key), source(key)) {
                (Value::Null, _) => format!("# {name} is not set\n"),
                (_, source) if key.kind.is_secret() => {
                    format!("# {name} = [redacted]  # {}\n", source.unwrap_or_default())
                }
                (value, source) => {
                    format!("{name} = {}  # {}\n", toml_literal(&value), source.unwrap_or_default())
                }
            };
            // No key of this node, and without it a relay in a network of proofs would be refused again.
            let proofs = loaded.without_proofs.as_ref().filter(|_| loaded.config.has_role(relay::NAME));
            let proofs = proofs.map(|source| format!("{RLN} = false  # {source}\n")).unwrap_or_default();
            proofs + &tables(&loaded.schema, |_| String::new(), line)
        }
    }
}

/// Every key with its default and its meaning; as TOML it is a file that changes nothing.
///
/// # Errors
/// Roles that do not fit together.
pub fn show_defaults(roles: &Roles, format: ShowFormat) -> Result<String, Problems> {
    let schema = Schema::new(roles).map_err(|RolesError { problem }| Problem::bare(problem))?;
    Ok(defaults(&schema, format))
}

fn defaults(schema: &Schema, format: ShowFormat) -> String {
    match format {
        ShowFormat::Json => pretty(&Value::Array(schema.keys().iter().map(described).collect())),
        ShowFormat::Toml => {
            let mut out = String::from(
                "# Every key of wakumix with its default. The same names hold as flags (--mix.delay 50ms) and in the\n\
                 # environment (WAKUMIX_MIX__DELAY=50ms). Layers, later ones win: defaults, preset, file,\n\
                 # environment, flags.\n#\n# Presets:\n",
            );
            for preset in PRESETS {
                let values: Vec<String> = preset.values.iter().map(|(key, value)| preset_value(key, value)).collect();
                out.push_str(&comment("# ", &format!("- {}: {} ({})", preset.name, preset.doc, values.join(", "))));
            }
            out + &tables(
                schema,
                |group| format!("\n## {group}\n"),
                |key, name| {
                    let line = match &key.default {
                        Some(default) => format!("{name} = {}", toml_literal(&default_value(key, default))),
                        None => format!("# {name} ="),
                    };
                    let meaning = comment("# ", &format!("{}.", sentence(key)));
                    let form = comment("# ", &format!("Accepts {}.", key.accepts()));
                    format!("\n{meaning}{form}{line}\n")
                },
            )
        }
    }
}

/// A value of a preset in its list: long ones, which are nodes, by their number.
fn preset_value(key: &str, value: &str) -> String {
    let items = value.split(',').count();
    if value.len() > COMMENT_WIDTH { format!("{items} values of {key}") } else { format!("{key} = {value}") }
}

/// Comment lines of at most [`COMMENT_WIDTH`] characters, unless a word is longer.
fn comment(start: &str, text: &str) -> String {
    let mut lines = String::new();
    let mut line = start.to_owned();
    for word in text.split(' ') {
        if line.len() > start.len() && line.chars().count() + word.chars().count() > COMMENT_WIDTH {
            lines.push_str(line.trim_end());
            lines.push('\n');
            line = start.to_owned();
        }
        line.push_str(word);
        line.push(' ');
    }
    lines + line.trim_end() + "\n"
}

/// Writes all keys, table by table.
fn tables(schema: &Schema, heading: impl Fn(&str) -> String, line: impl Fn(&Key, &str) -> String) -> String {
    let mut out = String::new();
    let mut open = None;
    for group in schema.groups() {
        out.push_str(&heading(group));
        for key in schema.keys().iter().filter(|key| key.group == group) {
            let (table, name) = key.split();
            if table != open {
                open = table;
                let _ = writeln!(out, "\n[{}]", table.unwrap_or_default());
            }
            out.push_str(&line(key, name));
        }
    }
    out
}

/// The value in force of a key.
fn value(loaded: &Loaded, key: &Key) -> Value {
    if key.kind.is_secret() {
        return loaded.sources.get(key.path).map_or(Value::Null, |_| "[redacted]".into());
    }
    match loaded.values.get(key.path) {
        Some(texts) if key.many => texts.iter().map(|text| typed(&key.kind, text)).collect(),
        Some([text]) => typed(&key.kind, text),
        _ => Value::Null,
    }
}

/// A canonical text as the type that it stands for.
fn typed(kind: &ValueKind, text: &str) -> Value {
    match kind {
        ValueKind::Bool | ValueKind::Port | ValueKind::Number { .. } => {
            serde_json::from_str(text).unwrap_or_else(|_| text.into())
        }
        _ => text.into(),
    }
}

fn described(key: &Key) -> Value {
    json!({
        "key": key.path,
        "group": key.group,
        "accepts": key.accepts(),
        "list": key.many,
        "default": key.default.as_deref().map(|default| default_value(key, default)),
        "secret": key.kind.is_secret(),
        "doc": key.doc,
    })
}

/// A default in the form that a file would have it.
fn default_value(key: &Key, text: &str) -> Value {
    let read = kind::read(key, &text.into()).unwrap_or_else(|_| text.into());
    serde_json::to_value(&read).unwrap_or_default()
}

fn toml_literal(value: &Value) -> String {
    match toml::Value::try_from(value) {
        Ok(value) => value.to_string(),
        Err(_) => value.to_string(),
    }
}

fn pretty(value: &Value) -> String {
    let mut text = serde_json::to_string_pretty(value).unwrap_or_default();
    text.push('\n');
    text
}
