//! `docs/configuration.md` and `docs/wakunode2.md` are what this code says: a change of it must come with a change of the pages.

use std::{fmt::Write as _, path::Path};

use crate::{
    config::{
        SWITCHES, ShowFormat,
        schema::Schema,
        show_defaults,
        wakunode2::{self, Fate, OptionRefusal, Spares, WAKUNODE2},
    },
    roles::Roles,
};

/// Set to write the pages instead of comparing them.
const WRITE: &str = "WRITE_DOCS";

fn configuration() -> String {
    format!(
        "# Configuration\n\n\
         <!-- Generated from the table of keys. After a change: {WRITE}=1 cargo test -p wakumix-node reference -->\n\n\
         A node reads its configuration from layers; later ones win: built-in defaults, preset, file (TOML or YAML),\n\
         environment, flags. One name serves all of them: `mix.delay` is the key `delay` in table `[mix]` of a file,\n\
         `WAKUMIX_MIX__DELAY` in the environment and `--mix.delay` as a flag. `wakumix config check` reports everything\n\
         that is wrong at once, `wakumix config show` prints each value in force with its source.\n\n\
         Unknown keys are errors. No key is reloadable: a changed file takes effect at the next start. Options of `wakunode2` are\n\
         in [wakunode2.md](wakunode2.md), one by one.\n\n\
         ## Keys\n\n\
         ```toml\n{}```\n",
        show_defaults(&Roles::built_in(), ShowFormat::Toml).unwrap()
    )
}

/// Every option of the releases that are covered, and those of others that have an answer here.
fn options() -> Vec<&'static str> {
    let mut names = wakunode2::all();
    names.extend(wakunode2::OPTIONS.iter().map(|option| option.name));
    names.sort_unstable();
    names.dedup();
    names
}

fn wakunode2() -> String {
    let schema = Schema::new(&Roles::built_in()).unwrap();
    let mut page = format!(
        "# Coming from wakunode2\n\n\
         <!-- Generated from the table of options. After a change: {WRITE}=1 cargo test -p wakumix-node reference -->\n\n\
         A start script of `wakunode2` runs with `wakumix node` in its place, and its configuration file with `wakumix node\n\
         --config FILE`. Each option is obeyed, is another name of a key, or is refused with the reason and the nearest way; all\n\
         refusals come at once, from `wakumix config check` too, with the same options. Environment variables `WAKUNODE2_…` name\n\
         the same options. Booleans may be written `True`, and values behind `:` as behind `=`.\n\n\
         **Networks.** `preset` takes the names of `wakunode2` (`twn`, `logos.dev`, `logos.test`, `status.prod`), with cluster,\n\
         shards, first nodes and mix nodes as logos-delivery of autumn 2026 has them. None says which wire profile its mix nodes run,\n\
         since that is not published: write `mix.profile`. A relay in a network whose messages need RLN proofs is refused unless\n\
         `rln-relay = false` is written: this version makes and checks none.\n\n\
         **One machine.** A node to which packets come, that listens on loopback and whose operator has written that it announces\n\
         loopback (`nat`, `ext-multiaddr`), is taken for one of a net on one machine, as in `simulations/mixnet` of `wakunode2`: `mix-allow-all-addresses`, `mix.networks`,\n\
         `host.shared-addresses`, `ip-colocation-limit` and `sender.min-subnets` are then as in the preset `local`, unless they are\n\
         written, and `store = true` is a warning.\n\n\
         | option | {} | {} | here |\n|---|---|---|---|\n",
        WAKUNODE2[0].name, WAKUNODE2[1].name
    );
    for name in options() {
        let [first, second] = WAKUNODE2.map(|release| if (release.has)(name) { "x" } else { "" });
        let _ = writeln!(page, "| `{name}` | {first} | {second} | {} |", becomes(&schema, name));
    }
    page.push_str("\nOptions in neither column are those of other releases and branches.\n");
    page
}

/// What becomes of an option, for the table.
fn becomes(schema: &Schema, name: &str) -> String {
    if name == "config-file" {
        return "another name of `--config`".to_owned();
    }
    if let Some(switch) = SWITCHES.iter().find(|switch| switch.name == name) {
        let roles: Vec<&str> = switch.roles.iter().map(|role| role.as_str()).collect();
        return format!(
            "turns on `roles` {}; {} by default",
            roles.join(" and "),
            if switch.default { "on" } else { "off" }
        );
    }
    if let Some(key) = schema.written_as(name) {
        let known = if key.path == name { "obeyed".to_owned() } else { format!("another name of `{}`", key.path) };
        return wakunode2::note(name).map_or(known.clone(), |note| format!("{known}: {note}"));
    }
    match &wakunode2::option(name).unwrap_or_else(|| panic!("{name} has no fate")).fate {
        Fate::Ignored(reason) => format!("ignored: {reason}"),
        Fate::With(other) => format!("says more of `{other}`, see there"),
        Fate::NotServed(reason) => format!("true is a warning: {reason}"),
        Fate::By(key) => format!("true needs `{key}`, which says where"),
        Fate::Refused(OptionRefusal { unless, spares, reason, instead }) => {
            let unless: Vec<String> = unless.iter().map(|value| format!("`{value}`")).collect();
            let unless = if unless.is_empty() { "empty".to_owned() } else { unless.join(" or ") };
            let spared = match spares {
                Spares::Nobody => "",
                Spares::WithoutRelay => ", or the relay role is off",
                Spares::OnOneMachine => ", or the net is on one machine",
            };
            format!("refused unless {unless}{spared}: {reason}. Instead: {instead}")
        }
    }
}

#[track_caller]
fn is_up_to_date(name: &str, page: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name);
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(&path, page).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    let stale = format!("docs/{name} is not what the code says; run {WRITE}=1 cargo test -p wakumix-node reference");
    assert!(written == page, "{stale}");
}

#[test]
fn the_reference_of_the_configuration_is_up_to_date() {
    is_up_to_date("configuration.md", &configuration());
}

#[test]
fn the_reference_of_what_becomes_of_each_option_of_wakunode2_is_up_to_date() {
    is_up_to_date("wakunode2.md", &wakunode2());
}

#[test]
fn notes_are_of_keys_that_wakunode2_has() {
    let schema = Schema::new(&Roles::built_in()).unwrap();
    for (name, _) in wakunode2::NOTES {
        assert!(wakunode2::all().contains(name) && schema.written_as(name).is_some(), "{name}");
    }
    assert_eq!(wakunode2::all().len(), 105);
}
