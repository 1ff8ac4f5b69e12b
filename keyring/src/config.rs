//! How a ring is kept.

use std::{fmt, path::PathBuf, time::Duration};

use thiserror::Error;
use wakumix_sphinx::{PrivateKey, Weaknesses};

/// Shortest life of a key: below it, records of nodes could not follow.
pub const MIN_LIFETIME: Duration = Duration::from_secs(10);
/// Longest life of a key, 400 days: what was recorded can be opened by whoever gets the key within its life.
pub const MAX_LIFETIME: Duration = Duration::from_secs(400 * 24 * 3600);
/// Longest time that a tag may be on its way to the disk.
pub const MAX_TAG_SYNC: Duration = Duration::from_secs(60);
/// Fewest tags of a key.
pub const MIN_TAGS: usize = 1024;

/// Settings of a ring.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where keys and tags are kept. `None`: in memory, both end with the process.
    pub directory: Option<PathBuf>,
    /// A key that the operator has set. It is never replaced; the directory keeps its tags, not the key.
    pub fixed: Option<PrivateKey>,
    /// How long a key is current; 24 hours.
    pub lifetime: Duration,
    /// How long a key opens packets after its successor took its place; one hour.
    pub overlap: Duration,
    /// How long a tag may be written and not on the disk; zero: its packet waits until it is.
    pub tag_sync: Duration,
    /// Most tags of one key; 3 670 016, which take 92 MB of memory at most and 73 MB on disk.
    pub tags: usize,
    /// Countermeasures that the attack suite turns off.
    pub weaknesses: Weaknesses,
}

/// A setting that cannot work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyringConfigProblem {
    /// The field of [`Config`].
    pub field: &'static str,
    /// What is wrong, told of the field: "is 0s".
    pub problem: String,
    /// What to do.
    pub help: String,
}

/// Everything that is wrong with a ring's settings; never empty.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{}", lines(.problems))]
pub struct KeyringConfigError {
    /// In the order of the fields.
    pub problems: Vec<KeyringConfigProblem>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            directory: None,
            fixed: None,
            lifetime: Duration::from_secs(24 * 3600),
            overlap: Duration::from_secs(3600),
            tag_sync: Duration::ZERO,
            tags: 3_670_016,
            weaknesses: Weaknesses::NONE,
        }
    }
}

impl Config {
    /// Checks all settings.
    ///
    /// # Errors
    /// Every problem at once.
    pub fn validate(&self) -> Result<(), KeyringConfigError> {
        let Self { lifetime, overlap, tag_sync, tags, .. } = self;
        let mut problems = Vec::new();
        let mut refuse = |wrong: bool, field, problem: String, help: String| {
            if wrong {
                problems.push(KeyringConfigProblem { field, problem, help });
            }
        };
        let lives = MIN_LIFETIME..=MAX_LIFETIME;
        let range = format!("use {MIN_LIFETIME:?} to 400 days");
        refuse(!lives.contains(lifetime), "lifetime", format!("is {lifetime:?}"), range);
        // So there are never more than two keys that others may use, and the next.
        let shorter = "use less than the lifetime".to_owned();
        refuse(overlap >= lifetime, "overlap", format!("is {overlap:?} with a lifetime of {lifetime:?}"), shorter);
        refuse(*tag_sync > MAX_TAG_SYNC, "tag_sync", format!("is {tag_sync:?}"), format!("use 0s to {MAX_TAG_SYNC:?}"));
        refuse(*tags < MIN_TAGS, "tags", format!("is {tags}"), format!("use {MIN_TAGS} or more"));
        if problems.is_empty() { Ok(()) } else { Err(KeyringConfigError { problems }) }
    }
}

impl fmt::Display for KeyringConfigProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}; {}", self.field, self.problem, self.help)
    }
}

fn lines(problems: &[KeyringConfigProblem]) -> String {
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_work() {
        assert_eq!(Config::default().validate(), Ok(()));
    }

    #[test]
    fn tells_every_problem_at_once() {
        let config = Config {
            lifetime: Duration::from_secs(1),
            overlap: Duration::from_secs(1),
            tag_sync: Duration::from_secs(61),
            tags: 0,
            ..Config::default()
        };
        assert_eq!(
            config.validate().unwrap_err().to_string(),
            "lifetime is 1s; use 10s to 400 days\n\
             overlap is 1s with a lifetime of 1s; use less than the lifetime\n\
             tag_sync is 61s; use 0s to 60s\n\
             tags is 0; use 1024 or more"
        );
    }

    #[test]
    fn a_key_that_is_set_shows_nowhere() {
        let config = Config { fixed: Some(PrivateKey::from_bytes([0x5a; 32])), ..Config::default() };
        assert!(format!("{config:?}").contains("PrivateKey(redacted)"));
    }
}
