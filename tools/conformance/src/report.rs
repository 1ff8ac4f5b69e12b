//! What a check found: per file, per section, per entry.

use std::collections::BTreeMap;
use std::fmt::Display;

use serde::Serialize;

use crate::rules::Rule;
use crate::show::{first_difference, shorten_bytes, shorten_text};

/// The result of one vector file.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct FileReport {
    /// Name of the file, as the caller gave it.
    pub file: String,
    /// Wire profiles whose vectors the file holds, in their canonical form (`lioness/pad`).
    pub profiles: Vec<String>,
    /// Why the file could not be checked at all: unreadable, not JSON, profile not stated.
    pub error: Option<String>,
    /// One report per section, in the order of checking; sections that the checker does not know come last.
    pub sections: Vec<SectionReport>,
}

impl FileReport {
    /// True if the file could be read, something in it was checked and nothing failed.
    pub fn ok(&self) -> bool {
        let totals = self.totals();
        self.error.is_none() && totals.failed == 0 && totals.passed + totals.stricter > 0
    }

    /// The counts of all sections together.
    pub fn totals(&self) -> Totals {
        self.sections.iter().fold(Totals::default(), |sum, section| Totals {
            passed: sum.passed + section.passed,
            failed: sum.failed + section.failed,
            stricter: sum.stricter + section.stricter,
            not_checked: sum.not_checked + section.not_checked,
        })
    }

    /// All failures of all sections.
    pub fn failures(&self) -> impl Iterator<Item = &VectorFailure> {
        self.sections.iter().flat_map(|section| &section.failures)
    }

    /// How many entries each rule made stricter.
    pub fn rules(&self) -> BTreeMap<Rule, usize> {
        let mut counts = BTreeMap::new();
        for section in &self.sections {
            for (rule, count) in &section.rules {
                *counts.entry(*rule).or_insert(0) += count;
            }
        }
        counts
    }
}

/// Entry counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Entries that agree in everything.
    pub passed: usize,
    /// Entries that differ.
    pub failed: usize,
    /// Entries where we refuse or correct by a named rule and agree in everything else.
    pub stricter: usize,
    /// Entries of unknown kind.
    pub not_checked: usize,
}

/// The result of one section of a file.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct SectionReport {
    /// Name with the path inside the file, for example `multiaddr.encode`.
    pub name: String,
    /// Entries that agree in everything.
    pub passed: usize,
    /// Entries that differ.
    pub failed: usize,
    /// Entries where we refuse or correct by a named rule and agree in everything else.
    pub stricter: usize,
    /// Entries of unknown kind.
    pub not_checked: usize,
    /// How many entries each rule made stricter (an entry can meet several).
    pub rules: BTreeMap<Rule, usize>,
    /// Everything that differed; several per entry where several fields differ.
    pub failures: Vec<VectorFailure>,
    /// Why entries were not checked.
    pub remarks: Vec<String>,
}

impl SectionReport {
    pub(crate) fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            passed: 0,
            failed: 0,
            stricter: 0,
            not_checked: 0,
            rules: BTreeMap::new(),
            failures: Vec::new(),
            remarks: Vec::new(),
        }
    }

    /// A section that cannot be read.
    pub(crate) fn unreadable(name: impl Into<String>, problem: Problem) -> Self {
        let mut report = Self::new(name);
        let mut reports = PeerReports::default();
        reports.problem(problem);
        report.add(&Place::default(), reports);
        report
    }

    /// Counts one entry by what was found in it.
    pub(crate) fn add(&mut self, place: &Place, reports: PeerReports) {
        if !reports.failures.is_empty() {
            self.failed += 1;
        } else if let Some(reason) = reports.skipped {
            self.not_checked += 1;
            self.remarks.push(format!("{}: {reason}", place.display()));
        } else if reports.rules.is_empty() {
            self.passed += 1;
        } else {
            self.stricter += 1;
            for rule in reports.rules {
                *self.rules.entry(rule).or_insert(0) += 1;
            }
        }
        for (hop, problem) in reports.failures {
            self.failures.push(VectorFailure {
                section: self.name.clone(),
                entry: place.index,
                name: place.name.clone(),
                hop,
                field: problem.field,
                expected: problem.expected,
                got: problem.got,
                differs_at: problem.differs_at,
            });
        }
    }
}

/// Where an entry stands in its section.
#[derive(Clone, Debug, Default)]
pub(crate) struct Place {
    pub(crate) index: Option<usize>,
    pub(crate) name: Option<String>,
}

impl Place {
    pub(crate) fn named(name: impl Into<String>) -> Self {
        Self { index: None, name: Some(name.into()) }
    }

    fn display(&self) -> String {
        match (self.index, &self.name) {
            (Some(index), Some(name)) => format!("entry {index} ({})", shorten_text(name)),
            (Some(index), None) => format!("entry {index}"),
            (None, Some(name)) => name.clone(),
            (None, None) => "section".to_owned(),
        }
    }
}

/// One difference between a file and this implementation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct VectorFailure {
    /// Section, with its path inside the file.
    pub section: String,
    /// Index of the entry, from 0; `None` if the section is not a list.
    pub entry: Option<usize>,
    /// The entry's own name, where it has one.
    pub name: Option<String>,
    /// Index of the hop, from 0, if the difference was found at a hop of a packet.
    pub hop: Option<usize>,
    /// The field that differs, is missing or is malformed.
    pub field: String,
    /// What the file says, or what kind of value was expected there. Long hex is cut in the middle.
    pub expected: String,
    /// What we computed, or what stood there.
    pub got: String,
    /// For bytes of the file against bytes of ours: index of the first that differs.
    pub differs_at: Option<usize>,
}

impl VectorFailure {
    /// The place in one line: section, entry, hop, field.
    pub fn location(&self) -> String {
        let place = Place { index: self.entry, name: self.name.clone() };
        let hop = self.hop.map_or(String::new(), |hop| format!(", hop {hop}"));
        format!("{}, {}{hop}, field {}", self.section, place.display(), self.field)
    }
}

/// A field that could not be read or that differs.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    field: String,
    expected: String,
    got: String,
    differs_at: Option<usize>,
}

impl Problem {
    pub(crate) fn new(field: impl Into<String>, expected: impl Display, got: impl Display) -> Self {
        Self { field: field.into(), expected: expected.to_string(), got: got.to_string(), differs_at: None }
    }

    /// One line without the place.
    pub(crate) fn text(&self) -> String {
        format!("{}: expected {}, got {}", self.field, self.expected, self.got)
    }
}

/// What was found in one entry.
#[derive(Default)]
pub(crate) struct PeerReports {
    hop: Option<usize>,
    failures: Vec<(Option<usize>, Problem)>,
    rules: std::collections::BTreeSet<Rule>,
    skipped: Option<String>,
}

impl PeerReports {
    /// The hop at which what follows is found.
    pub(crate) fn at_hop(&mut self, hop: Option<usize>) {
        self.hop = hop;
    }

    pub(crate) fn problem(&mut self, problem: Problem) {
        self.failures.push((self.hop, problem));
    }

    /// A difference that is not about bytes.
    pub(crate) fn fail(&mut self, field: &str, expected: impl Display, got: impl Display) {
        self.problem(Problem::new(field, expected, got));
    }

    /// Compares the file's bytes with ours.
    pub(crate) fn bytes(&mut self, field: &str, expected: &[u8], got: &[u8]) {
        let at = first_difference(expected, got);
        if at.is_some() {
            self.problem(Problem {
                field: field.to_owned(),
                expected: shorten_bytes(expected, at),
                got: shorten_bytes(got, at),
                differs_at: at,
            });
        }
    }

    /// Compares a value of the file with ours.
    pub(crate) fn value<T: PartialEq + Display + Copy>(&mut self, field: &str, expected: T, got: T) {
        if expected != got {
            let (expected, got) = (expected.to_string(), got.to_string());
            self.fail(field, shorten_text(&expected), shorten_text(&got));
        }
    }

    /// Compares bytes with ours that not every file records.
    pub(crate) fn recorded_bytes(&mut self, field: &str, expected: Option<Vec<u8>>, got: &[u8]) {
        if let Some(expected) = expected {
            self.bytes(field, &expected, got);
        }
    }

    /// Compares a value with ours that not every file records.
    pub(crate) fn recorded<T: PartialEq + Display + Copy>(&mut self, field: &str, expected: Option<T>, got: T) {
        if let Some(expected) = expected {
            self.value(field, expected, got);
        }
    }

    /// We are stricter here, by `rule`.
    pub(crate) fn stricter(&mut self, rule: Rule) {
        self.rules.insert(rule);
    }

    /// This entry is of a kind that we do not know.
    pub(crate) fn skip(&mut self, reason: impl Into<String>) {
        self.skipped = Some(reason.into());
    }
}
