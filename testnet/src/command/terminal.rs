//! What fits on the terminal of the user.

use std::{ffi::OsStr, io::IsTerminal as _};

/// Columns that every terminal has.
const COLUMNS: usize = 80;
/// Rows of a terminal that does not say how many it has.
const ROWS: usize = 24;

/// How large the terminal at standard error is, in columns and rows; `None` if there is none that a table can be drawn on.
pub(super) fn size() -> Option<(usize, usize)> {
    let stderr = std::io::stderr();
    let term = std::env::var_os("TERM").unwrap_or_default();
    (stderr.is_terminal() && can_draw(&term)).then(|| {
        let size = rustix::termios::tcgetwinsize(&stderr).map(|size| (size.ws_col.into(), size.ws_row.into()));
        // Some say nothing, with zeros.
        size.ok().filter(|(columns, rows)| *columns > 0 && *rows > 0).unwrap_or((COLUMNS, ROWS))
    })
}

fn can_draw(term: &OsStr) -> bool {
    term != "dumb"
}

/// The first lines of a table, so many that the rows suffice, the last of which then says how many are left out. The cursor takes one
/// row itself.
pub(super) fn fitted(table: &str, rows: usize) -> String {
    let lines: Vec<&str> = table.lines().collect();
    let room = rows.saturating_sub(1).max(1);
    if lines.len() <= room {
        return table.to_owned();
    }
    let (shown, rest) = lines.split_at(room - 1);
    let shown: String = shown.iter().flat_map(|line| [*line, "\n"]).collect();
    format!("{shown}  … and {} more\n", rest.len())
}

/// A text whose lines have at most 80 columns, where words allow it.
pub(super) fn wrapped(text: &str) -> String {
    text.lines().map(|line| wrapped_line(line) + "\n").collect()
}

fn wrapped_line(line: &str) -> String {
    if line.chars().count() <= COLUMNS {
        return line.to_owned();
    }
    let (mut text, mut used) = (String::new(), 0);
    for word in line.split(' ') {
        let len = word.chars().count();
        if used > 0 && used + 1 + len > COLUMNS {
            text.push_str("\n  ");
            used = 2;
        } else if !text.is_empty() {
            text.push(' ');
            used += 1;
        }
        text.push_str(word);
        used += len;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_that_is_longer_than_the_terminal_says_what_is_left_out() {
        let table: String = (1..=40).map(|row| format!("row {row}\n")).collect();
        let shown = fitted(&table, 24);
        assert_eq!(shown.lines().count(), 23);
        assert!(shown.ends_with("row 22\n  … and 18 more\n"), "{shown}");
        assert_eq!(fitted(&table, 41), table);
        assert_eq!(fitted(&table, 0).lines().count(), 1);
    }

    #[test]
    fn a_terminal_that_knows_no_escape_sequences_gets_lines() {
        assert!(can_draw(OsStr::new("xterm")) && can_draw(OsStr::new("")) && !can_draw(OsStr::new("dumb")));
    }

    #[test]
    fn lines_break_between_words() {
        let line = "0123456789 ".repeat(12);
        let text = wrapped(&format!("short\n{}\n", line.trim_end()));
        assert!(text.lines().all(|line| line.chars().count() <= COLUMNS), "{text}");
        assert_eq!(text.split_whitespace().count(), 13);
        assert!(
            text.starts_with("short\n0123456789 ")
                && text.ends_with("\n  0123456789 0123456789 0123456789 0123456789 0123456789\n"),
            "{text}"
        );
    }
}
