//! Tests of configurations as a whole. The environment is a list here; no test touches the process's own.

mod bad_input;
mod examples;
mod layers;
mod output;
mod reference;
mod tls;
mod wakunode2;
mod warnings;

use std::path::{Path, PathBuf};

use super::{Flag, Inputs, Loaded, Problem, load};

// `spec/waku.md §5.2`, the nodes of nwaku's own simulation: node key, peer id, mix key, mix public key.
pub(super) const NODE: &str = "f98e3fba96c32e8d1967d460f1b79457380e1a895f7971cecc8528abe733781a";
pub(super) const PEER: &str = "16Uiu2HAmPiEs2ozjjJF2iN2Pe2FYeMC9w4caRHKYdLdAfjgbWM6o";
pub(super) const MIX: &str = "a87db88246ec0eedda347b9b643864bee3d6933eb15ba41e6d58cb678d813258";
pub(super) const MIX_PUBLIC: &str = "9d09ce624f76e8f606265edb9cca2b7de9b41772a6d784bddaf92ffa8fba7d2c";

/// Sources in the making.
#[derive(Default)]
pub(super) struct Setup {
    folder: Option<tempfile::TempDir>,
    inputs: Inputs,
}

impl Setup {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// Writes the configuration file.
    pub(super) fn file(mut self, name: &str, text: &str) -> Self {
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        self.inputs.file = Some(path);
        self
    }

    pub(super) fn toml(self, text: &str) -> Self {
        self.file("node.toml", text)
    }

    pub(super) fn env(mut self, name: &str, value: &str) -> Self {
        self.inputs.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(super) fn flag(mut self, name: &str, value: &str) -> Self {
        self.inputs.flags.push(Flag { name: name.to_owned(), values: vec![value.to_owned()] });
        self
    }

    /// A path in a folder of this test alone.
    pub(super) fn path(&mut self, name: &str) -> PathBuf {
        let folder = self.folder.get_or_insert_with(|| tempfile::tempdir().unwrap());
        folder.path().join(name)
    }

    pub(super) fn load(&self) -> Loaded {
        load(&self.inputs).unwrap_or_else(|problems| panic!("{problems}"))
    }

    pub(super) fn problems(&self) -> Vec<Problem> {
        load(&self.inputs).map(|loaded| loaded.config).unwrap_err().0
    }

    /// The only problem, as it is printed.
    pub(super) fn problem(&self) -> String {
        let problems = self.problems();
        assert_eq!(problems.len(), 1, "{problems:#?}");
        problems[0].to_string()
    }
}

/// Writes a file that only its owner can read.
pub(super) fn write_private(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    #[cfg(unix)]
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
}

pub(super) fn mixnode(port: u16) -> String {
    format!("/ip4/127.0.0.1/tcp/{port}/p2p/{PEER}:{MIX_PUBLIC}")
}
