//! The file of a mix key: a few lines of text.
//!
//! ```text
//! wakumix mix key 1
//! public 781faab908430150daccdd6f9d6c5086e34f73a93ebbaa271765e5036edfc519
//! number 17
//! from 1764000000
//! until 1764090000
//! secret 1010101010101010101010101010101010101010101010101010101010101010
//! ```
//!
//! A key that was given up ends with a line `retired`. A key that the operator keeps elsewhere has no `secret`: its file
//! says only that the directory holds its tags.

use std::str::FromStr;

use thiserror::Error;
use wakumix_sphinx::{PrivateKey, PublicKey};
use zeroize::Zeroizing;

use crate::UnixSeconds;

/// Longest file that is read, in bytes; the longest that is written has 251.
pub(crate) const MAX_LEN: usize = 1024;

const MAGIC: &str = "wakumix mix key ";
const VERSION: u32 = 1;

/// When a key is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Life {
    /// Keys are numbered as they are made. The order of keys is that of their numbers; no clock can change it.
    pub(crate) number: u64,
    /// From when the key is current.
    pub(crate) from: UnixSeconds,
    /// Until when it opens packets, unless it is still current then.
    pub(crate) until: UnixSeconds,
}

/// What a key file says.
#[derive(Clone, Debug)]
pub(crate) struct KeyFile {
    pub(crate) public: PublicKey,
    pub(crate) life: Life,
    pub(crate) secret: Option<PrivateKey>,
    pub(crate) retired: bool,
}

/// Why a file is no key file. The messages repeat nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum KeyFileError {
    /// It was overwritten to erase the key.
    #[error("the key was erased")]
    Erased,
    /// A later release wrote it.
    #[error("the file has version {0}; this release knows version {VERSION}")]
    Newer(u32),
    /// It does not have the form of one.
    #[error("line {0} is not what a key file has there")]
    Line(usize),
    /// It is too long, or not text.
    #[error("the file is no text of at most {MAX_LEN} bytes")]
    NoText,
    /// The public key is not that of the secret, or the file has the name of another key.
    #[error("the public key is not that of the secret or of the file's name")]
    Mismatch,
}

impl KeyFile {
    /// The text of the file.
    pub(crate) fn text(&self) -> Zeroizing<String> {
        let Life { number, from, until } = self.life;
        // Never moved while it grows, so that no copy of the secret stays behind.
        let mut text = Zeroizing::new(String::with_capacity(MAX_LEN));
        text.push_str(&format!(
            "{MAGIC}{VERSION}\npublic {}\nnumber {number}\nfrom {from}\nuntil {until}\n",
            self.public
        ));
        if let Some(secret) = &self.secret {
            let mut digits = Zeroizing::new([0; 64]);
            // Fails for other lengths only.
            let _ = hex::encode_to_slice(secret.as_bytes(), &mut *digits);
            text.push_str("secret ");
            digits.iter().for_each(|&digit| text.push(char::from(digit)));
            text.push('\n');
        }
        if self.retired {
            text.push_str("retired\n");
        }
        text
    }

    /// Reads the text of a file.
    ///
    /// # Errors
    /// [`KeyFileError`].
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, KeyFileError> {
        if bytes.iter().all(|&byte| byte == 0) {
            return Err(KeyFileError::Erased);
        }
        if bytes.len() > MAX_LEN {
            return Err(KeyFileError::NoText);
        }
        let text = str::from_utf8(bytes).map_err(|_| KeyFileError::NoText)?;
        let mut lines = Lines { rest: text, number: 0 };
        check_version(lines.field(MAGIC)?)?;
        let public = lines.field("public ")?;
        let life = Life { number: lines.field("number ")?, from: lines.field("from ")?, until: lines.field("until ")? };
        let secret = lines.optional("secret ").map(|digits| secret(digits, lines.number)).transpose()?;
        let retired = lines.optional("retired").is_some_and(str::is_empty);
        if !lines.rest.is_empty() {
            return Err(KeyFileError::Line(lines.number + 1));
        }
        if secret.as_ref().is_some_and(|secret| secret.public() != public) {
            return Err(KeyFileError::Mismatch);
        }
        Ok(Self { public, life, secret, retired })
    }
}

struct Lines<'a> {
    rest: &'a str,
    number: usize,
}

impl<'a> Lines<'a> {
    /// The value of the next line if the line begins like this.
    fn optional(&mut self, name: &str) -> Option<&'a str> {
        let (line, rest) = self.rest.split_once('\n')?;
        let value = line.strip_prefix(name)?;
        self.rest = rest;
        self.number += 1;
        Some(value)
    }

    fn field<T: FromStr>(&mut self, name: &str) -> Result<T, KeyFileError> {
        let line = self.number + 1;
        let value = self.optional(name).and_then(|value| value.parse().ok());
        value.ok_or(KeyFileError::Line(line))
    }
}

fn check_version(version: u32) -> Result<(), KeyFileError> {
    match version {
        VERSION => Ok(()),
        0 => Err(KeyFileError::Line(1)),
        newer => Err(KeyFileError::Newer(newer)),
    }
}

fn secret(digits: &str, line: usize) -> Result<PrivateKey, KeyFileError> {
    let mut bytes = Zeroizing::new([0; 32]);
    hex::decode_to_slice(digits, &mut *bytes).map_err(|_| KeyFileError::Line(line))?;
    Ok(PrivateKey::from_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> KeyFile {
        let secret = PrivateKey::from_bytes([0x10; 32]);
        let life = Life { number: 17, from: 1_764_000_000, until: 1_764_090_000 };
        KeyFile { public: secret.public(), life, secret: Some(secret), retired: false }
    }

    const TEXT: &str = "wakumix mix key 1\n\
        public 781faab908430150daccdd6f9d6c5086e34f73a93ebbaa271765e5036edfc519\n\
        number 17\n\
        from 1764000000\n\
        until 1764090000\n\
        secret 1010101010101010101010101010101010101010101010101010101010101010\n";

    #[test]
    fn writes_and_reads_what_the_documentation_shows() {
        assert_eq!(file().text().as_str(), TEXT);
        let read = KeyFile::parse(TEXT.as_bytes()).unwrap();
        assert_eq!((read.public, read.life, read.retired), (file().public, file().life, false));
        assert_eq!(read.secret.unwrap().as_bytes(), &[0x10; 32]);
    }

    #[test]
    fn the_longest_file_fits() {
        let life = Life { number: u64::MAX, from: u64::MAX, until: u64::MAX };
        let longest = KeyFile { life, retired: true, ..file() };
        assert_eq!(longest.text().len(), 251);
        let read = KeyFile::parse(longest.text().as_bytes()).unwrap();
        assert_eq!((read.life, read.retired), (life, true));
    }

    #[test]
    fn a_key_that_is_kept_elsewhere_has_no_secret() {
        let text = KeyFile { secret: None, ..file() }.text();
        assert!(!text.contains("secret"));
        assert!(KeyFile::parse(text.as_bytes()).unwrap().secret.is_none());
    }

    #[test]
    fn names_the_line_that_is_wrong() {
        for (from, to, error) in [
            ("mix key 1", "mix key 2", KeyFileError::Newer(2)),
            ("mix key 1", "mix key 0", KeyFileError::Line(1)),
            ("mix key 1", "mix key", KeyFileError::Line(1)),
            ("number", "count", KeyFileError::Line(3)),
            ("from 1764000000", "from -1", KeyFileError::Line(4)),
            ("secret 10", "secret 1x", KeyFileError::Line(6)),
            ("1010\n", "1010\nmore\n", KeyFileError::Line(7)),
            ("1010\n", "1010", KeyFileError::Line(6)),
            ("secret 10", "secret 20", KeyFileError::Mismatch),
        ] {
            let text = TEXT.replacen(from, to, 1);
            assert_eq!(KeyFile::parse(text.as_bytes()).unwrap_err(), error, "{to}");
        }
    }

    #[test]
    fn a_file_cut_at_any_byte_is_no_key() {
        // Behind the line `until` it is a file without a secret, but files are never written in place.
        let without_secret = TEXT.find("secret").unwrap();
        for cut in (1..TEXT.len()).filter(|&cut| cut != without_secret) {
            assert!(KeyFile::parse(&TEXT.as_bytes()[..cut]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn an_overwritten_file_is_an_erased_key() {
        assert_eq!(KeyFile::parse(&[0; 240]).unwrap_err(), KeyFileError::Erased);
        assert_eq!(KeyFile::parse(&[]).unwrap_err(), KeyFileError::Erased);
        assert_eq!(KeyFile::parse(&[b'a'; 1025]).unwrap_err(), KeyFileError::NoText);
        assert_eq!(KeyFile::parse(&[0xff; 8]).unwrap_err(), KeyFileError::NoText);
    }

    #[test]
    fn a_key_shows_nowhere() {
        assert!(!format!("{:?}", file()).contains("1010"));
    }
}
