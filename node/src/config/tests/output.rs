//! What is printed, and that the table of keys and the tree of values are one.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{MIX, NODE, Setup};
use crate::config::{
    SWITCHES, SYNONYMS, ShowFormat, WITHOUT_EFFECT,
    presets::PRESETS,
    schema::{self, Group, KEYS},
    show, show_defaults,
};

fn with_secrets() -> Setup {
    Setup::new()
        .toml(&format!("roles = ['relay', 'mixer']\nlisten-address = '127.0.0.1'\nnodekey = '{NODE}'\n"))
        .env("WAKUMIX_MIXKEY", MIX)
}

#[test]
fn the_table_of_keys_and_the_tree_hold_the_same() {
    let tree = serde_json::to_value(Setup::new().load().config).unwrap();
    let mut fields = BTreeSet::new();
    for (name, value) in tree.as_object().unwrap() {
        match value {
            Value::Object(table) => fields.extend(table.keys().map(|key| format!("{name}.{key}"))),
            _ => drop(fields.insert(name.clone())),
        }
    }
    let keys: BTreeSet<String> = KEYS.iter().map(|key| key.path.to_owned()).collect();
    assert_eq!(fields, keys);
    assert_eq!(keys.len(), KEYS.len());
}

#[test]
fn every_default_and_preset_is_accepted_and_stands_in_its_canonical_form() {
    for key in KEYS {
        let Some(default) = key.default else { continue };
        let read = key.read(default.into()).unwrap_or_else(|error| panic!("{}: {error:?}", key.path));
        if !key.many {
            assert_eq!(schema_text(&read), default, "{}", key.path);
        }
    }
    for preset in PRESETS {
        let loaded = Setup::new().flag("preset", preset.name).load();
        for (key, _) in preset.values {
            assert_eq!(loaded.sources[schema::find(key).unwrap().path].to_string(), format!("preset {}", preset.name));
        }
    }
}

fn schema_text(value: &figment::value::Value) -> String {
    crate::config::kind::scalar_text(value)
}

#[test]
fn names_of_the_fleet_are_not_keys_as_well() {
    let other = SYNONYMS.iter().map(|(name, _)| *name).chain(WITHOUT_EFFECT.iter().copied());
    let names: Vec<&str> = other.chain(SWITCHES.iter().map(|switch| switch.name)).collect();
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
    for name in names {
        assert!(schema::find(name).is_none(), "{name}");
    }
    for (_, key) in SYNONYMS {
        assert!(schema::find(key).is_some(), "{key}");
    }
}

#[test]
fn every_group_has_keys_and_the_keys_of_a_table_stand_together() {
    for group in Group::ALL {
        let tables: BTreeSet<_> = KEYS.iter().filter(|key| key.group == group).map(|key| key.split().0).collect();
        assert_eq!(tables.len(), 1, "{group:?}");
    }
}

#[test]
fn shows_no_secret_anywhere() {
    let loaded = with_secrets().load();
    for text in [
        show(&loaded, ShowFormat::Toml),
        show(&loaded, ShowFormat::Json),
        format!("{loaded:?}"),
        format!("{:?}", loaded.config),
        serde_json::to_string(&loaded.config).unwrap(),
        loaded.warnings.join("\n"),
    ] {
        for secret in [NODE, MIX] {
            assert!(!text.contains(&secret[..16]), "{text}");
        }
    }
    assert!(show(&loaded, ShowFormat::Toml).contains("# nodekey = [redacted]  # file "));
}

#[test]
fn shows_each_value_with_its_source() {
    let loaded = with_secrets().flag("tcp-port", "1234").load();
    let toml = show(&loaded, ShowFormat::Toml);
    for line in [
        "tcp-port = 1234  # flag --tcp-port",
        "quic-port = 60000  # default",
        "[mix]\nprofile = [\"lioness/pad\"]  # default",
        "# mixkey = [redacted]  # environment variable WAKUMIX_MIXKEY",
        "# nodekey-file is not set",
    ] {
        assert!(toml.contains(line), "{line}:\n{toml}");
    }
    let json: Value = serde_json::from_str(&show(&loaded, ShowFormat::Json)).unwrap();
    assert_eq!(json["tcp-port"]["value"], 1234);
    assert_eq!(json["tcp-port"]["source"], "flag --tcp-port");
    assert_eq!(json["mix.delay"]["value"], "50ms");
    assert_eq!(json["mixkey"]["value"], "[redacted]");
}

#[test]
fn what_is_shown_can_be_loaded_again() {
    let loaded = with_secrets().flag("mix.delay", "none").flag("shard", "0,1").load();
    let again = Setup::new().toml(&show(&loaded, ShowFormat::Toml)).load();
    let value = |loaded: &super::Loaded| {
        let mut tree = serde_json::to_value(&loaded.config).unwrap();
        tree["nodekey"].take();
        tree["mixkey"].take();
        tree
    };
    assert_eq!(value(&again), value(&loaded));
}

#[test]
fn the_defaults_are_a_file_that_changes_nothing() {
    let text = show_defaults(ShowFormat::Toml);
    let unbroken = text.replace("\n# ", " ");
    for key in KEYS {
        assert!(unbroken.contains(&key.sentence()), "{}", key.path);
    }
    assert!(text.lines().all(|line| !line.starts_with('#') || line.chars().count() <= 100), "{text}");
    let plain = Setup::new().load();
    let same = Setup::new().toml(&text).load();
    assert_eq!(serde_json::to_value(&same.config).unwrap(), serde_json::to_value(&plain.config).unwrap());
    let json: Value = serde_json::from_str(&show_defaults(ShowFormat::Json)).unwrap();
    assert_eq!(json.as_array().unwrap().len(), KEYS.len());
}
