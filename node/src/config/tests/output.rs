//! What is printed, and that the table of keys and the tree of values are one.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{MIX, NODE, Setup};
use crate::config::{OPTIONS, SWITCHES, ShowFormat, kind, presets::PRESETS, schema::Schema, show, show_defaults};
use crate::roles::Roles;

fn schema() -> Schema {
    Schema::new(&Roles::built_in()).unwrap()
}

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
    let of_roles: Vec<_> = Roles::built_in().iter().flat_map(|role| role.keys()).map(|key| key.path).collect();
    let schema = schema();
    // Secrets stand in no tree, and roles are read apart.
    let own = schema.keys().iter().filter(|key| !key.kind.is_secret()).map(|key| key.path);
    let own = own.filter(|path| !of_roles.contains(path) && *path != "roles");
    assert_eq!(fields, own.map(str::to_owned).collect());
}

#[test]
fn every_default_and_preset_is_accepted_and_stands_in_its_canonical_form() {
    let schema = schema();
    for key in schema.keys() {
        let Some(default) = key.default.as_deref() else { continue };
        let read = kind::read(key, &default.into()).unwrap_or_else(|error| panic!("{}: {error:?}", key.path));
        if !key.many {
            assert_eq!(kind::scalar_text(&read), default, "{}", key.path);
        }
    }
    for preset in PRESETS {
        // Not a relay, which has no place where messages need proofs.
        let loaded = Setup::new().flag("roles", "sender").flag("preset", preset.name).load();
        for (key, _) in preset.values {
            assert_eq!(loaded.sources[schema.find(key).unwrap().path].to_string(), format!("preset {}", preset.name));
        }
    }
}

#[test]
fn names_of_the_wakunode2_are_not_keys_as_well() {
    let schema = schema();
    let aliases = schema.keys().iter().flat_map(|key| key.aliases).copied();
    let other = aliases.chain(OPTIONS.iter().map(|option| option.name));
    let names: Vec<&str> = other.chain(SWITCHES.iter().map(|switch| switch.name)).collect();
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
    for name in names {
        assert!(schema.find(name).is_none(), "{name}");
    }
}

#[test]
fn the_keys_of_a_heading_are_those_of_one_table() {
    let schema = schema();
    for group in schema.groups() {
        let own = schema.keys().iter().filter(|key| key.group == group);
        assert_eq!(own.map(|key| key.split().0).collect::<BTreeSet<_>>().len(), 1, "{group}");
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
    assert_eq!(again.values, loaded.values);
}

#[test]
fn the_defaults_are_a_file_that_changes_nothing() {
    let text = show_defaults(&Roles::built_in(), ShowFormat::Toml).unwrap();
    let unbroken = text.replace("\n# ", " ");
    let schema = schema();
    for key in schema.keys() {
        assert!(unbroken.contains(&crate::config::schema::sentence(key)), "{}", key.path);
    }
    assert!(text.lines().all(|line| !line.starts_with('#') || line.chars().count() <= 100), "{text}");
    let plain = Setup::new().load();
    let same = Setup::new().toml(&text).load();
    assert_eq!(same.values, plain.values);
    let json: Value = serde_json::from_str(&show_defaults(&Roles::built_in(), ShowFormat::Json).unwrap()).unwrap();
    assert_eq!(json.as_array().unwrap().len(), schema.keys().len());
}

#[test]
fn the_file_with_every_default_is_read_without_a_word() {
    let defaults = show_defaults(&Roles::built_in(), ShowFormat::Toml).unwrap();
    let setup = Setup::new().toml(&defaults);
    assert_eq!(setup.load().warnings, Setup::new().load().warnings);
    assert_eq!(setup.load().warnings, [""; 0]);
}
