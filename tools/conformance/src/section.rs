//! Walks the entries of a section and files what each check found.

use serde_json::Value;

use crate::json::{Fields, as_list};
use crate::report::{PeerReports, Place, Problem, SectionReport};

/// The result of checking one entry: an error is a field that could not be read.
pub(crate) type Checked = Result<(), Problem>;

/// Checks each object of the list `value` by `check`.
pub(crate) fn each<'a>(
    name: &str,
    value: &'a Value,
    mut check: impl FnMut(&mut PeerReports, Fields<'a>) -> Checked,
) -> SectionReport {
    let list = match as_list(name, value) {
        Ok(list) => list,
        Err(problem) => return SectionReport::unreadable(name, problem),
    };
    let mut report = SectionReport::new(name);
    for (index, entry) in list.iter().enumerate() {
        let place = Place { index: Some(index), name: entry_name(entry) };
        add(&mut report, &place, |found| Fields::of("entry", entry).and_then(|fields| check(found, fields)));
    }
    report
}

/// Adds one named entry to `report`, checked by `check`.
pub(crate) fn one(report: &mut SectionReport, name: &str, check: impl FnOnce(&mut PeerReports) -> Checked) {
    add(report, &Place::named(name), check);
}

fn add(report: &mut SectionReport, place: &Place, check: impl FnOnce(&mut PeerReports) -> Checked) {
    let mut reports = PeerReports::default();
    if let Err(problem) = check(&mut reports) {
        reports.problem(problem);
    }
    report.add(place, reports);
}

/// A section of a kind that the checker does not know, with all its entries counted.
pub(crate) fn unknown(name: &str, value: &Value) -> SectionReport {
    let mut report = SectionReport::new(name);
    report.not_checked = match value {
        Value::Array(list) => list.len(),
        Value::Object(map) => map.len(),
        _ => 1,
    };
    report.remarks.push("section of unknown kind".to_owned());
    report
}

/// A section of named parts.
pub(crate) fn parts(
    name: &str,
    value: &Value,
    check: impl Fn(&str, &Value) -> Option<SectionReport>,
) -> Vec<SectionReport> {
    let fields = match Fields::of(name, value) {
        Ok(fields) => fields,
        Err(problem) => return vec![SectionReport::unreadable(name, problem)],
    };
    let checked =
        |(part, value): (&str, &Value)| check(part, value).unwrap_or_else(|| unknown(&format!("{name}.{part}"), value));
    fields.iter().map(checked).collect()
}

/// What an entry calls itself: most have a `name`, nodes and key derivations a `label`.
fn entry_name(entry: &Value) -> Option<String> {
    ["name", "label"].iter().find_map(|field| entry.get(field)?.as_str()).map(str::to_owned)
}
