//! What a key accepts: reads a written value, from whatever layer, into its one canonical form.
//!
//! Environment variables and flags are text only, and operators of nwaku write `True` or `"60000"`; so every value is read
//! from its text, in every layer alike.

use std::{net::IpAddr, sync::Arc};

use super::{ByteSize, Timespan, ValueError};

/// The kind of value that a key takes. Bounds are inclusive.
#[derive(Clone, Debug)]
pub enum ValueKind {
    /// True or false.
    Bool,
    /// A port of TCP or UDP.
    Port,
    /// A whole number.
    Number {
        /// The least.
        min: u64,
        /// The greatest.
        max: u64,
    },
    /// A time with its unit.
    Time {
        /// The shortest, in milliseconds.
        min_ms: u64,
        /// The longest, in milliseconds.
        max_ms: u64,
    },
    /// A number of bytes with its unit.
    Size {
        /// The least, in bytes.
        min: u64,
        /// The greatest, in bytes.
        max: u64,
    },
    /// A path; it need not exist.
    File,
    /// An IP address.
    Ip,
    /// One of these words, whatever their case.
    Choice(Arc<[&'static str]>),
    /// One of these names, exactly as written.
    Name {
        /// What they are names of: "a role".
        what: &'static str,
        /// The word that stands for one in `--help`.
        placeholder: &'static str,
        /// The names.
        names: Arc<[&'static str]>,
    },
    /// Anything else that is written as one text.
    Text {
        /// What is accepted, as the end of "expected …".
        form: &'static str,
        /// The word that stands for the value in `--help`.
        placeholder: &'static str,
        /// The canonical form of a text, or one clause that says why it is refused.
        read: fn(&str) -> Result<String, ValueError>,
    },
    /// A text that must not be shown.
    Secret {
        /// What is accepted.
        form: &'static str,
        /// Why a text is refused; never repeats it.
        check: fn(&str) -> Result<(), ValueError>,
    },
}

impl ValueKind {
    /// One of these words.
    #[must_use]
    pub fn choice(names: &[&'static str]) -> Self {
        Self::Choice(names.into())
    }

    /// What is accepted, as the end of "expected …".
    #[must_use]
    pub fn form(&self) -> String {
        match self {
            Self::Bool => "true or false".to_owned(),
            Self::Port => "a port from 0 to 65535".to_owned(),
            Self::Number { min, max: u64::MAX } => format!("a number from {min} up"),
            Self::Number { min, max } => format!("a number from {min} to {max}"),
            Self::Time { min_ms, max_ms } => format!(
                "a time such as 50ms, 30s or 5m, from {} to {}",
                Timespan::from_millis(*min_ms),
                Timespan::from_millis(*max_ms)
            ),
            Self::Size { min, max } => format!(
                "a size such as 150KiB or 64MiB, from {} to {}",
                ByteSize::from_bytes(*min),
                ByteSize::from_bytes(*max)
            ),
            Self::File => "the path of a file".to_owned(),
            Self::Ip => "an IPv4 or IPv6 address".to_owned(),
            Self::Choice(names) => format!("one of {}", names.join(", ")),
            Self::Name { what, names, .. } => format!("{what}: {}", names.join(", ")),
            Self::Text { form, .. } | Self::Secret { form, .. } => (*form).to_owned(),
        }
    }

    /// The word that stands for the value in `--help`.
    #[must_use]
    pub fn placeholder(&self) -> &'static str {
        match self {
            Self::Bool => "BOOL",
            Self::Port => "PORT",
            Self::Number { .. } => "N",
            Self::Time { .. } => "TIME",
            Self::Size { .. } => "SIZE",
            Self::File => "FILE",
            Self::Ip => "IP",
            Self::Choice(_) => "NAME",
            Self::Name { placeholder, .. } | Self::Text { placeholder, .. } => placeholder,
            Self::Secret { .. } => "HEX",
        }
    }

    /// Whether its values must not be shown.
    #[must_use]
    pub const fn is_secret(&self) -> bool {
        matches!(self, Self::Secret { .. })
    }

    /// The canonical form of a written text.
    ///
    /// # Errors
    /// One clause without the key, which never repeats a secret.
    pub fn read(&self, text: &str) -> Result<String, ValueError> {
        let expected = || ValueError::new(format!("`{text}` is not {}", self.form()));
        match self {
            Self::Bool => match text.to_ascii_lowercase().as_str() {
                word @ ("true" | "false") => Ok(word.to_owned()),
                _ => Err(expected()),
            },
            Self::Port => text.parse::<u16>().map(|port| port.to_string()).map_err(|_| expected()),
            Self::Number { min, max } => {
                // `_` may group digits as in TOML.
                let number = text.replace('_', "").parse().ok().filter(|value| (*min..=*max).contains(value));
                number.map(|value| value.to_string()).ok_or_else(expected)
            }
            Self::Time { min_ms, max_ms } => {
                let span: Timespan = text.parse()?;
                let fits = (*min_ms..=*max_ms).contains(&span.as_millis());
                fits.then(|| span.to_string()).ok_or_else(expected)
            }
            Self::Size { min, max } => {
                let size: ByteSize = text.parse()?;
                let fits = (*min..=*max).contains(&size.as_bytes());
                fits.then(|| size.to_string()).ok_or_else(expected)
            }
            Self::File if text.is_empty() => Err(expected()),
            Self::File => Ok(text.to_owned()),
            Self::Ip => text.parse::<IpAddr>().map(|ip| ip.to_string()).map_err(|_| expected()),
            Self::Choice(names) => {
                let known = names.iter().find(|name| name.eq_ignore_ascii_case(text));
                known.map(|name| (*name).to_owned()).ok_or_else(expected)
            }
            Self::Name { names, .. } if names.contains(&text) => Ok(text.to_owned()),
            Self::Name { .. } => Err(expected()),
            Self::Text { read, .. } => read(text),
            Self::Secret { check, .. } => check(text).map(|()| "[redacted]".to_owned()),
        }
    }
}
