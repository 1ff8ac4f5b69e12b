//! Texts of others on a terminal: what would move its cursor, colour it, or turn the direction of its writing is shown instead.

use std::io::{self, Write};

/// Whether a terminal, or whoever reads one, does something else with a character than show it.
fn acts(character: char) -> bool {
    let turns_direction =
        matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let breaks_line = matches!(character, '\u{2028}' | '\u{2029}');
    character.is_control() || turns_direction || breaks_line
}

/// Escapes as JSON does, so that JSON stays what it is.
fn escaped(text: &str, passes: impl Fn(char) -> bool) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if acts(character) && !passes(character) {
            shown.push_str(&format!("\\u{:04x}", u32::from(character)));
        } else {
            shown.push(character);
        }
    }
    shown
}

/// A text of others as a part of our own line.
#[must_use]
pub fn one_line(text: &str) -> String {
    escaped(text, |_| false)
}

/// The output of a program on its way to a terminal. Line feeds and tabs pass; what is no UTF-8 is shown as `�`.
#[derive(Debug)]
pub struct Terminal<W> {
    out: W,
    /// The first bytes of a character whose others have not been written yet.
    begun: Vec<u8>,
}

impl<W: Write> Terminal<W> {
    /// Writes to `out`.
    pub fn new(out: W) -> Self {
        Self { out, begun: Vec::new() }
    }
}

impl<W: Write> Write for Terminal<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut text = std::mem::take(&mut self.begun);
        text.extend_from_slice(bytes);
        let whole = match std::str::from_utf8(&text) {
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            _ => text.len(),
        };
        self.begun = text.split_off(whole);
        let shown = escaped(&String::from_utf8_lossy(&text), |character| matches!(character, '\n' | '\t'));
        self.out.write_all(shown.as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTILE: &str = "\u{1b}[2J\u{1b}[32mstatus 200\r\u{9b}1A\u{7}\u{202e}002 sutats";
    const SHOWN: &str = "\\u001b[2J\\u001b[32mstatus 200\\u000d\\u009b1A\\u0007\\u202e002 sutats";

    fn written<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> String {
        let mut out = Vec::new();
        let mut terminal = Terminal::new(&mut out);
        for piece in pieces {
            terminal.write_all(piece).unwrap();
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_acts_on_a_terminal_is_shown() {
        assert_eq!(one_line(HOSTILE), SHOWN);
        assert_eq!(one_line("first\nsecond\t"), "first\\u000asecond\\u0009");
        assert_eq!(one_line("Größe 5 µs, 名前 🙂"), "Größe 5 µs, 名前 🙂");
    }

    #[test]
    fn output_keeps_its_lines_however_it_is_cut_into_pieces() {
        let text = format!("line\n\t{HOSTILE} Größe 🙂\n");
        let expected = format!("line\n\t{SHOWN} Größe 🙂\n");
        assert_eq!(written([text.as_bytes()]), expected);
        assert_eq!(written(text.as_bytes().chunks(1)), expected);
        assert_eq!(written([&b"a\xffb\x9b"[..]]), "a\u{fffd}b\u{fffd}");
    }

    #[test]
    fn json_says_the_same_afterwards() {
        let value = serde_json::json!({ "statusDesc": HOSTILE });
        let text = serde_json::to_vec(&value).unwrap();
        assert_eq!(serde_json::from_str::<serde_json::Value>(&written([&text[..]])).unwrap(), value);
    }
}
