//! Keys are kept from the parsers of configuration files.
//!
//! A parser copies what it reads, into buffers that nobody wipes. So it gets the file with another word where a key stands, and
//! the key is put back into the values that come out, which end in wiped memory. What could be a key is told without knowing the
//! format: a run of hex digits, wherever it stands, a comment included.

use figment::value::Value;
use zeroize::{Zeroize as _, Zeroizing};

/// Hex digits in a row that may be a secret: half a key. Ports, shards and hashes of names are shorter.
const LEAST_DIGITS: usize = 32;

/// The text of a file without its keys.
pub(super) struct Masked {
    text: String,
    /// Stands before and after the number that stands for a key, and nowhere else in the text.
    mark: char,
    keys: Vec<Zeroizing<String>>,
}

/// A value that is wiped when it is dropped, whatever was in it.
#[cfg_attr(any(test, fuzzing), derive(Clone))]
pub(super) struct Wiped(Value);

impl Masked {
    /// Takes the keys out of a text. One that has every character of the private use area keeps them.
    pub(super) fn new(text: &str) -> Self {
        let mark = ('\u{e000}'..='\u{f8ff}').find(|mark| !text.contains(*mark));
        let mut masked =
            Self { text: String::with_capacity(text.len()), mark: mark.unwrap_or_default(), keys: Vec::new() };
        let mut rest = text;
        while let Some(start) = rest.find(|character: char| character.is_ascii_hexdigit()) {
            let (before, run) = rest.split_at(start);
            let end = run.find(|character: char| !character.is_ascii_hexdigit()).unwrap_or(run.len());
            let (run, after) = run.split_at(end);
            masked.text.push_str(before);
            match mark {
                Some(mark) if run.len() >= LEAST_DIGITS => {
                    masked.text.push_str(&format!("{mark}{}{mark}", masked.keys.len()));
                    masked.keys.push(Zeroizing::new(run.to_owned()));
                }
                _ => masked.text.push_str(run),
            }
            rest = after;
        }
        masked.text.push_str(rest);
        masked
    }

    /// The text with words in place of the keys.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Puts the keys back into a value.
    pub(super) fn reveal(&self, value: &mut Value) {
        match value {
            Value::String(_, text) if text.contains(self.mark) && !self.keys.is_empty() => *text = self.revealed(text),
            Value::Array(_, items) => items.iter_mut().for_each(|item| self.reveal(item)),
            Value::Dict(_, table) => table.values_mut().for_each(|value| self.reveal(value)),
            _ => {}
        }
    }

    /// A text with its keys, in memory that was never moved: no copy is left behind.
    fn revealed(&self, masked: &str) -> String {
        let key = |number: &str| self.keys.get(number.parse::<usize>().ok()?).map(|key| key.as_str());
        // Every second part is a number.
        let parts = || {
            let parts = masked.split(self.mark).enumerate();
            parts.map(|(index, part)| if index % 2 == 1 { key(part).unwrap_or(part) } else { part })
        };
        let mut text = String::with_capacity(parts().map(str::len).sum());
        parts().for_each(|part| text.push_str(part));
        text
    }
}

impl Wiped {
    pub(super) fn new(value: Value) -> Self {
        Self(value)
    }

    pub(super) fn get(&self) -> &Value {
        &self.0
    }

    /// The text, if it is one, which is the caller's to wipe then.
    pub(super) fn take_text(&mut self) -> Option<String> {
        match &mut self.0 {
            Value::String(_, text) => Some(std::mem::take(text)),
            _ => None,
        }
    }
}

impl Drop for Wiped {
    fn drop(&mut self) {
        wipe(&mut self.0);
    }
}

fn wipe(value: &mut Value) {
    match value {
        Value::String(_, text) => text.zeroize(),
        Value::Array(_, items) => items.iter_mut().for_each(wipe),
        Value::Dict(_, table) => table.values_mut().for_each(wipe),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a text becomes that is masked, parsed as one value, and revealed.
    fn through(text: &str) -> (String, String) {
        let masked = Masked::new(text);
        let mut value = Value::from(vec![Value::from(masked.text())]);
        masked.reveal(&mut value);
        (masked.text().to_owned(), value.as_array().unwrap()[0].as_str().unwrap().to_owned())
    }

    #[test]
    fn keys_are_taken_out_and_put_back_and_the_rest_stays() {
        let (one, two) = ("0123456789abcdef".repeat(4), "F".repeat(LEAST_DIGITS));
        let text = format!("{one} dead beef 31:{two}x\n# {one}");
        let (masked, revealed) = through(&text);
        assert!(!masked.contains(&one) && !masked.contains(&two) && masked.contains(" dead beef 31:"), "{masked}");
        assert_eq!((masked.lines().count(), revealed), (2, text));
        for text in ["", &"f".repeat(LEAST_DIGITS - 1), "\u{e000}0\u{e000}"] {
            assert_eq!(through(text), (text.to_owned(), text.to_owned()));
        }
    }

    #[test]
    fn a_mark_that_the_text_has_is_not_used() {
        let key = "a".repeat(64);
        let text = format!("\u{e000}0\u{e000} {key} \u{e001}");
        let (masked, revealed) = through(&text);
        assert!(masked.contains('\u{e002}') && !masked.contains(&key), "{masked}");
        assert_eq!(revealed, text);
        let all: String = ('\u{e000}'..='\u{f8ff}').collect();
        let text = format!("{all}{key}");
        assert_eq!(through(&text), (text.clone(), text));
    }
}
