//! How bytes and texts appear in failures: short enough to read, long enough to find the place.

use std::fmt::Write;

/// Longest byte string that is printed in full.
const FULL: usize = 32;
/// Bytes shown at each end of a longer one.
const END: usize = 6;
/// Bytes shown around the first difference.
const WINDOW: usize = 8;

/// The first index at which two byte strings differ, `None` if they are equal.
pub(crate) fn first_difference(left: &[u8], right: &[u8]) -> Option<usize> {
    let common = left.iter().zip(right).position(|(a, b)| a != b);
    common.or_else(|| (left.len() != right.len()).then(|| left.len().min(right.len())))
}

/// Hex of `bytes`; a long string is cut in the middle, its length named, and the bytes from `at` on are kept visible.
pub(crate) fn shorten_bytes(bytes: &[u8], at: Option<usize>) -> String {
    if bytes.is_empty() {
        return "nothing (0 bytes)".to_owned();
    }
    if bytes.len() <= FULL {
        return hex::encode(bytes);
    }
    let (head, tail) = (&bytes[..END], &bytes[bytes.len() - END..]);
    let mut text = hex::encode(head);
    if let Some(at) = at.filter(|at| *at < bytes.len()) {
        let end = bytes.len().min(at + WINDOW);
        // Writing to a string cannot fail.
        let _ = write!(text, "…[{at}]{}", hex::encode(&bytes[at..end]));
    }
    let _ = write!(text, "…{} ({} bytes)", hex::encode(tail), bytes.len());
    text
}

/// A text, cut in the middle if it is long.
pub(crate) fn shorten_text(text: &str) -> String {
    let count = text.chars().count();
    if count <= 2 * FULL {
        return text.to_owned();
    }
    let head: String = text.chars().take(2 * END).collect();
    let tail: String = text.chars().skip(count - 2 * END).collect();
    format!("{head}…{tail} ({count} characters)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_bytes_show_both_ends_the_place_and_the_length() {
        let mut bytes = vec![0u8; 4608];
        bytes[700] = 0xab;
        assert_eq!(shorten_bytes(&bytes, Some(700)), "000000000000…[700]ab00000000000000…000000000000 (4608 bytes)");
    }

    #[test]
    fn a_prefix_differs_where_it_ends() {
        assert_eq!(first_difference(&[1, 2], &[1, 2, 3]), Some(2));
        assert_eq!(first_difference(&[1, 2], &[1, 2]), None);
    }

    #[test]
    fn short_texts_and_bytes_are_shown_whole() {
        assert_eq!(shorten_bytes(&[0xab; 3], Some(1)), "ababab");
        assert_eq!(shorten_text("short"), "short");
    }
}
