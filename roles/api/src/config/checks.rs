//! What can be wrong with the settings of a role, reported in the same way by all of them.
//!
//! `validate` of a role's `Config` reports every problem at once, each with the field that holds it; its factory reports
//! them with the keys that set the fields.

use std::{
    fmt::{self, Debug},
    ops::RangeInclusive,
};

use super::Form;

/// A setting that cannot work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigProblem {
    /// The field of the role's `Config`, or the key that sets it.
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

    /// Reports a value that the form of its field does not accept.
    pub fn form<T>(&mut self, field: &'static str, form: &impl Form<T>, value: &T) {
        for text in form.write(value).iter().filter(|text| form.kind().read(text).is_err()) {
            self.refuse(field, format!("is {text}"), format!("use {}", form.kind().form()));
        }
    }

    /// What was made, unless a problem was reported here or with it.
    ///
    /// # Errors
    /// All problems of both.
    pub fn and<T>(mut self, made: Result<T, ConfigError>) -> Result<T, ConfigError> {
        match made {
            Ok(made) => self.finish().map(|()| made),
            Err(error) => {
                self.problems.extend(error.problems);
                Err(ConfigError { problems: self.problems })
            }
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

impl ConfigError {
    /// The same problems, each with the key that sets its field.
    #[must_use]
    pub fn by_key(mut self, keys: &[(&'static str, &'static str)]) -> Self {
        for problem in &mut self.problems {
            if let Some((_, key)) = keys.iter().find(|(field, _)| *field == problem.field) {
                problem.field = key;
            }
        }
        self
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
