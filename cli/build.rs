//! Finds the commit that is built, for `wakumix --version`.

use std::{path::Path, process::Command};

/// The variable that names the commit (without the prefix of the node's settings) where there is no repository, as in a tarball or a container.
const COMMIT: &str = "BUILD_COMMIT";
/// Characters of a commit that are shown.
const SHOWN: usize = 12;

fn main() {
    println!("cargo::rerun-if-env-changed={COMMIT}");
    // Written at each commit and each change of branch. A path that does not exist would build anew each time.
    let log = git(&["rev-parse", "--git-path", "logs/HEAD"]).filter(|path| Path::new(path).exists());
    println!("cargo::rerun-if-changed={}", log.as_deref().unwrap_or("build.rs"));
    let named = std::env::var(COMMIT).ok().filter(|commit| !commit.is_empty());
    let commit = named.or_else(|| git(&["rev-parse", "HEAD"]));
    let version = env!("CARGO_PKG_VERSION");
    match commit {
        Some(commit) => println!("cargo::rustc-env=BUILD_VERSION={version} ({commit:.SHOWN$})"),
        None => println!("cargo::rustc-env=BUILD_VERSION={version}"),
    }
}

/// What git says; nothing where there is no git or no repository.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(text.trim().to_owned())
}
