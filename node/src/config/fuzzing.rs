//! Body of a fuzz target: configuration files of any text.

#![allow(clippy::panic, clippy::expect_used, reason = "what goes wrong here is a finding")]

use std::path::Path;

use super::{
    ShowFormat,
    layers::{self, Entry, Flag, Judge},
    load,
    problem::Problems,
    schema::Schema,
    show,
};
use crate::roles::Roles;

/// Keys whose values name files, which are no part of the input.
const FILES: [&str; 3] = ["nodekey-file", "mixkey-file", "rest-token-file"];

/// Reads the text of a file called `name`, as the node does: the answer is a configuration, or problems that all say something.
/// What was read is shown as a file that is read as the same.
///
/// One in eight files with a bad value is judged as a whole, the others are only in themselves: the whole takes ten times as long.
pub fn read(name: &str, text: &str) {
    let Some(file) = layer(name, text) else { return };
    let is_sound = {
        let mut alone = Judge::new(schema());
        alone.layer(file.clone());
        alone.problems.is_empty()
    };
    if !is_sound && !text.len().is_multiple_of(8) {
        return;
    }
    let Ok(loaded) = together(file).inspect_err(say_something) else { return };
    let shown = show(&loaded, ShowFormat::Toml);
    let again = layer("shown.toml", &shown).map(together);
    let Some(Ok(again)) = again else { panic!("what was shown cannot be read: {shown}") };
    assert_eq!((again.values, &again.config.roles), (loaded.values.clone(), &loaded.config.roles), "{shown}");
    let _ = show(&loaded, ShowFormat::Json);
}

/// The layer of a file; `None` for one that cannot be parsed, or that names other files.
fn layer(name: &str, text: &str) -> Option<Vec<Entry>> {
    let file = layers::file_of(&schema(), Path::new(name), text)
        .map_err(|problem| say_something(&Problems(vec![problem])))
        .ok()?
        .0;
    let names_files = file.iter().any(|entry| FILES.contains(&entry.name.as_str()));
    (!names_files).then_some(file)
}

/// A configuration of this file and an identity, so that none is drawn.
fn together(file: Vec<Entry>) -> Result<load::Loaded, Problems> {
    let identity = Flag { name: "nodekey".to_owned(), values: vec!["07".repeat(32)] };
    load::together(Judge::new(schema()), &Roles::built_in(), [file, Vec::new(), layers::flags(&[identity])])
}

/// The keys of this build.
fn schema() -> Schema {
    Schema::new(&Roles::built_in()).expect("the roles of this build fit together")
}

fn say_something(problems: &Problems) {
    assert!(!problems.0.is_empty() && problems.0.iter().all(|problem| !problem.message.is_empty()));
    let _ = problems.to_string();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::show_defaults;

    #[test]
    fn the_target_takes_files_and_what_is_near_them() {
        let toml = format!(
            "roles = [\"mixer\", \"relay\"]\nshard = [0, 1]\nmixkey = \"{}\"\n[mix]\ndelay = \"50ms\"\n",
            "01".repeat(32)
        );
        read("node.toml", &show_defaults(&Roles::built_in(), ShowFormat::Toml).unwrap());
        read("node.yaml", "roles: [relay]\nmix:\n  delay: none\n");
        for at in 0..toml.len() {
            read("node.toml", &toml[..at]);
            read("node.toml", &format!("{}7{}", &toml[..at], &toml[at..]));
        }
    }
}
