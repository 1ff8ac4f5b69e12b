//! `docs/configuration.md` is what this code says: a change of the keys must come with a change of the page.

use std::{fmt::Write as _, path::Path};

use crate::{
    config::{SWITCHES, ShowFormat, WITHOUT_EFFECT, schema::Schema, show_defaults},
    roles::Roles,
};

/// Set to write the page instead of comparing it.
const WRITE: &str = "WRITE_DOCS";

fn page() -> String {
    let mut page = format!(
        "# Configuration\n\n\
         <!-- Generated from the table of keys. After a change: {WRITE}=1 cargo test -p wakumix-node reference -->\n\n\
         A node reads its configuration from layers; later ones win: built-in defaults, preset, file (TOML or YAML),\n\
         environment, flags. One name serves all of them: `mix.delay` is the key `delay` in table `[mix]` of a file,\n\
         `WAKUMIX_MIX__DELAY` in the environment and `--mix.delay` as a flag. `wakumix config check` reports everything\n\
         that is wrong at once, `wakumix config show` prints each value in force with its source.\n\n\
         Unknown keys are errors. No key is reloadable: a changed file takes effect at the next start.\n\n\
         ## Keys\n\n\
         ```toml\n{}```\n\n\
         ## Names of the fleet\n\n\
         Start scripts of `wakunode2` work as they are. Booleans may be written `True` or `true`.\n\n\
         | name | here |\n|---|---|\n",
        show_defaults(&Roles::built_in(), ShowFormat::Toml).unwrap()
    );
    for switch in SWITCHES {
        let roles: Vec<&str> = switch.roles.iter().map(|role| role.as_str()).collect();
        let _ = writeln!(page, "| `{} = true` | `roles` with {} |", switch.name, roles.join(" and "));
    }
    let schema = Schema::new(&Roles::built_in()).unwrap();
    for key in schema.keys() {
        for alias in key.aliases {
            let _ = writeln!(page, "| `{alias}` | `{}` |", key.path);
        }
    }
    let _ = writeln!(page, "\nAccepted without effect: `{}`.", WITHOUT_EFFECT.join("`, `"));
    page
}

#[test]
fn the_reference_of_the_configuration_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
    let page = page();
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    let stale = "docs/configuration.md is not what the keys say; run WRITE_DOCS=1 cargo test -p wakumix-node reference";
    assert!(written == page, "{stale}");
}
