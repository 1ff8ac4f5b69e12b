//! The token of the REST interface: what a program shows that the operator trusts.
//!
//! It stands alone in a file that nobody but its owner may read, like a key. The node and the command line read the same file.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use subtle::ConstantTimeEq as _;

use crate::keys::{self, NodeKeyError, Secret};

/// Characters of a token: 16 of base64 are 96 bits, which nobody guesses over HTTP; longer than a line of headers is a mistake.
const LENGTH: std::ops::RangeInclusive<usize> = 16..=1024;

/// A token. Shown as `[redacted]`, wiped when dropped.
#[derive(Clone, Debug)]
pub struct Token(Secret);

/// Why a file gives no token. The messages never hold content.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// Nothing is there.
    #[error("token file {} does not exist", .0.display())]
    Missing(PathBuf),
    /// It cannot be read.
    #[error("token file {path} cannot be read: {1}", path = .0.display())]
    Unreadable(PathBuf, #[source] io::Error),
    /// Group or others have rights on it.
    #[error("token file {} is open to others (mode {mode:04o})", .path.display())]
    OpenToOthers {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// What it holds is no token.
    #[error(
        "token file {} holds no token: {} to {} letters, digits and characters of -._~+/=",
        .0.display(),
        LENGTH.start(),
        LENGTH.end()
    )]
    Form(PathBuf),
}

impl Token {
    /// Reads the token that stands in a file, without the white space around it.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn read(path: &Path) -> Result<Self, TokenError> {
        let text = keys::read_key_file(path).map_err(|error| match error {
            NodeKeyError::Missing(path) => TokenError::Missing(path),
            NodeKeyError::Unreadable(path, error) => TokenError::Unreadable(path, error),
            NodeKeyError::OpenToOthers { path, mode } => TokenError::OpenToOthers { path, mode },
            _ => TokenError::Form(path.to_owned()),
        })?;
        // As a header carries it (RFC 6750 §2.1).
        let is_good = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
        let fits = LENGTH.contains(&text.expose().len()) && text.expose().bytes().all(is_good);
        if fits { Ok(Self(text)) } else { Err(TokenError::Form(path.to_owned())) }
    }

    /// Whether this is the token that somebody shows. The time tells its length at most.
    #[must_use]
    pub fn is(&self, shown: &[u8]) -> bool {
        self.0.expose().as_bytes().ct_eq(shown).into()
    }

    /// The text, for its own request.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose()
    }

    /// A token of a test.
    #[cfg(test)]
    pub(crate) fn of(text: &str) -> Self {
        Self(Secret::new(text.to_owned()))
    }
}

impl TokenError {
    /// What to do about it.
    #[must_use]
    pub fn help(&self) -> String {
        let make = |path: &Path| {
            format!("create it with `(umask 077; head -c 32 /dev/urandom | base64 -w 0 > {})`", path.display())
        };
        match self {
            Self::Missing(path) | Self::Form(path) => make(path),
            Self::Unreadable(..) => "let the user that runs wakumix own the file, with mode 0600".to_owned(),
            Self::OpenToOthers { path, .. } => format!("run `chmod 600 {}`", path.display()),
        }
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "dGhpcyBpcyBhIHRva2Vu+/_-~.=";

    fn write(path: &Path, text: &str, mode: u32) {
        std::fs::write(path, text).unwrap();
        #[cfg(unix)]
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_token_is_compared_whole_and_shows_nowhere() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        write(&path, &format!(" {TEXT}\n"), 0o600);
        let token = Token::read(&path).unwrap();
        assert!(token.is(TEXT.as_bytes()) && token.expose() == TEXT);
        for other in ["", &TEXT[1..], &TEXT[..TEXT.len() - 1], &format!("{TEXT}="), &TEXT.to_lowercase()] {
            assert!(!token.is(other.as_bytes()), "{other}");
        }
        assert!(!format!("{token:?} {token}").contains(&TEXT[..4]));
    }

    #[test]
    fn says_what_is_wrong_with_a_file_and_repeats_nothing_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let missing = Token::read(&path).unwrap_err();
        assert!(matches!(missing, TokenError::Missing(_)) && missing.help().contains("/dev/urandom"), "{missing}");
        assert!(matches!(Token::read(folder.path()).unwrap_err(), TokenError::Unreadable(..)));
        for text in ["", "too-short-token", "two tokens in one file", "a\u{e9}bcdefghijklmnopqr", &"x".repeat(1025)] {
            write(&path, text, 0o600);
            let error = Token::read(&path).unwrap_err();
            assert!(matches!(error, TokenError::Form(_)), "{text}: {error}");
            assert!(text.is_empty() || !error.to_string().contains(text), "{error}");
        }
        #[cfg(unix)]
        for mode in [0o644, 0o604] {
            write(&path, TEXT, mode);
            let error = Token::read(&path).unwrap_err();
            assert!(
                error.to_string().contains(&format!("{mode:04o}")) && error.help().contains("chmod 600"),
                "{error}"
            );
        }
    }
}
