//! Reports as text for a terminal.

use std::fmt::Write;

use serde_json::json;

use crate::report::{FileReport, SectionReport};

/// A table per file (section, passed, failed, stricter, not checked), then the rules that made us stricter, then every
/// failure with its place. Ends with one line for all files together. The caller prints it.
pub fn render_text(reports: &[FileReport]) -> String {
    let mut text = String::new();
    for report in reports {
        file(&mut text, report);
        text.push('\n');
    }
    summary(&mut text, reports);
    text
}

/// The reports as one JSON object, `{"ok": …, "files": […]}`; `ok` as [`FileReport::ok`] of all.
pub fn render_json(reports: &[FileReport]) -> serde_json::Value {
    let files: Result<Vec<_>, _> = reports.iter().map(serde_json::to_value).collect();
    // Reports are structs of texts and numbers, which are always JSON.
    json!({ "ok": reports.iter().all(FileReport::ok), "files": files.unwrap_or_default() })
}

// Writing to a string cannot fail, so the results of `write!` are dropped in this file.

fn file(text: &mut String, report: &FileReport) {
    let _ = write!(text, "{}", report.file);
    if !report.profiles.is_empty() {
        let _ = write!(text, "  ({})", report.profiles.join(", "));
    }
    text.push('\n');
    if let Some(error) = &report.error {
        let _ = writeln!(text, "  not checked: {error}");
        return;
    }
    table(text, report);
    let rules = report.rules();
    if !rules.is_empty() {
        text.push_str("  stricter than the recorded reference, by rule of spec/mix-wire.md:\n");
        for (rule, count) in rules {
            let _ = writeln!(text, "  {count:>6}  {rule}");
        }
    }
    for section in &report.sections {
        for remark in &section.remarks {
            let _ = writeln!(text, "  not checked: {}, {remark}", section.name);
        }
    }
    for failure in report.failures() {
        let at = failure.differs_at.map_or(String::new(), |at| format!(" (first difference at byte {at})"));
        let _ = writeln!(text, "  FAILED {}{at}", failure.location());
        let _ = writeln!(text, "    expected {}", failure.expected);
        let _ = writeln!(text, "    got      {}", failure.got);
    }
}

fn table(text: &mut String, report: &FileReport) {
    let totals = report.totals();
    let mut sum = SectionReport::new("all");
    sum.passed = totals.passed;
    sum.failed = totals.failed;
    sum.stricter = totals.stricter;
    sum.not_checked = totals.not_checked;
    let names = report.sections.iter().map(|section| section.name.chars().count());
    let width = names.max().unwrap_or(0).max("section".len());
    let _ = writeln!(
        text,
        "  {:<width$}  {:>6}  {:>6}  {:>8}  {:>11}",
        "section", "passed", "failed", "stricter", "not checked"
    );
    for section in report.sections.iter().chain([&sum]) {
        let _ = writeln!(
            text,
            "  {:<width$}  {:>6}  {:>6}  {:>8}  {:>11}",
            section.name, section.passed, section.failed, section.stricter, section.not_checked
        );
    }
}

fn summary(text: &mut String, reports: &[FileReport]) {
    let mut passed = 0;
    let mut failed = 0;
    let mut stricter = 0;
    let mut not_checked = 0;
    for totals in reports.iter().map(FileReport::totals) {
        passed += totals.passed;
        failed += totals.failed;
        stricter += totals.stricter;
        not_checked += totals.not_checked;
    }
    let bad = reports.iter().filter(|report| !report.ok()).count();
    let files = reports.len();
    let _ = writeln!(
        text,
        "{files} files, {bad} not ok: {passed} passed, {failed} failed, {stricter} stricter, {not_checked} not checked"
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check_str;

    fn report() -> FileReport {
        let key = "00".repeat(16);
        let secret = "ab".repeat(32);
        let entry = json!({ "label": "iv", "secret": secret, "output": key });
        let file = json!({ "meta": { "variant": "lip183-pad" }, "kdf": [entry], "future": [1, 2] });
        check_str("a.json", &file.to_string())
    }

    #[test]
    fn text_shows_counts_places_and_both_values() {
        let text = render_text(&[report()]);
        for part in [
            "a.json  (lioness/pad)\n",
            "  section  passed  failed  stricter  not checked\n",
            "  kdf           0       1         0            0\n",
            "  future        0       0         0            2\n",
            "  FAILED kdf, entry 0 (iv), field output (first difference at byte 0)\n",
            "    expected 00000000000000000000000000000000\n",
            "1 files, 1 not ok: 0 passed, 1 failed, 0 stricter, 2 not checked\n",
        ] {
            assert!(text.contains(part), "{part:?} is not in\n{text}");
        }
    }

    #[test]
    fn json_holds_the_same_and_the_verdict() {
        let value = render_json(&[report()]);
        assert_eq!(value["ok"], false);
        let section = &value["files"][0]["sections"][0];
        assert_eq!((&section["name"], &section["failed"]), (&json!("kdf"), &json!(1)));
        assert_eq!(section["failures"][0]["field"], "output");
        assert_eq!(section["failures"][0]["differs_at"], 0);
    }
}
