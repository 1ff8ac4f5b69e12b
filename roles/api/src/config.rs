//! What can be wrong with the settings of a role, told the same way by all of them.
//!
//! A role's `Config` is a plain struct; where its values come from and how they are written there is the node's affair.
//! Its `validate` reports every problem at once, each with the field that holds it, so that the node can name its key.

use std::{
    fmt::{self, Debug},
    ops::RangeInclusive,
};

/// A setting that cannot work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigProblem {
    /// The field of the role's `Config`.
    pub field: &'static str,
    /// What is wrong, told of the field: "is 0".
    pub problem: String,
    /// What to do.
    pub help: String,
}

/// Everything that is wrong with a role's settings, in the order of the checks; never empty.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", lines(.problems))]
pub struct ConfigError {
    /// At least one.
    pub problems: Vec<ConfigProblem>,
}

/// Collects problems while a configuration is checked.
#[derive(Debug, Default)]
pub struct ConfigChecks {
    problems: Vec<ConfigProblem>,
}

impl ConfigChecks {
    /// Reports a problem of a field.
    pub fn refuse(&mut self, field: &'static str, problem: impl Into<String>, help: impl Into<String>) {
        self.problems.push(ConfigProblem { field, problem: problem.into(), help: help.into() });
    }

    /// Reports a value outside its range.
    pub fn within<T: PartialOrd + Debug>(&mut self, field: &'static str, value: &T, range: &RangeInclusive<T>) {
        if !range.contains(value) {
            self.refuse(field, format!("is {value:?}"), format!("use {:?} to {:?}", range.start(), range.end()));
        }
    }

    /// The verdict.
    ///
    /// # Errors
    /// All reported problems, if there are any.
    pub fn finish(self) -> Result<(), ConfigError> {
        if self.problems.is_empty() { Ok(()) } else { Err(ConfigError { problems: self.problems }) }
    }
}

impl ConfigError {
    /// The fields with a problem, in order.
    pub fn fields(&self) -> Vec<&'static str> {
        self.problems.iter().map(|problem| problem.field).collect()
    }
}

impl fmt::Display for ConfigProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}; {}", self.field, self.problem, self.help)
    }
}

fn lines(problems: &[ConfigProblem]) -> String {
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn tells_every_problem_on_a_line_of_its_own() {
        let mut checks = ConfigChecks::default();
        checks.within("held", &0, &(1..=8));
        checks.within("batch", &8, &(1..=8));
        checks.within("delay", &Duration::ZERO, &(Duration::from_millis(1)..=Duration::from_secs(1)));
        checks.refuse("codecs", "is empty", "name one");
        let error = checks.finish().unwrap_err();
        assert_eq!(error.fields(), ["held", "delay", "codecs"]);
        assert_eq!(error.to_string(), "held is 0; use 1 to 8\ndelay is 0ns; use 1ms to 1s\ncodecs is empty; name one");
        assert_eq!(ConfigChecks::default().finish(), Ok(()));
    }
}
