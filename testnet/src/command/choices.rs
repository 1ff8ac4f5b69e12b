//! Words and numbers that flags of `wakumix testnet` take.

use std::{fmt, str::FromStr};

use wakumix_node::{
    config::{ByteSize, Percent, Schema, ValueError},
    roles::Roles,
};

/// Who is connected to whom in a net of relays alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Shape {
    /// All to the first one
    Star,
    /// All to all
    Mesh,
}

impl Shape {
    /// Its word.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Star => "star",
            Self::Mesh => "full mesh",
        }
    }
}

/// How nodes find each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum DiscoveryMethod {
    /// Everyone knows the record of the first relay and finds the others by itself
    #[default]
    Discv5,
    /// Everyone is told of everyone
    Static,
}

impl DiscoveryMethod {
    /// What the headline says.
    pub(super) const fn describe(self) -> &'static str {
        match self {
            Self::Discv5 => "one bootstrap record",
            Self::Static => "told of each other",
        }
    }

    /// The word that the flag takes.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Discv5 => "discv5",
            Self::Static => "static",
        }
    }
}

/// So many of a number of nodes: `13`, or a part of them such as `1/3`, rounded down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// That many.
    Number(u16),
    /// That part, at most the whole.
    Part {
        /// Above the line.
        numerator: u16,
        /// Below the line; not zero.
        denominator: u16,
    },
}

impl Share {
    /// How many of `all`; more than there are if it is a number that says so.
    pub(super) fn of(self, all: u16) -> u16 {
        match self {
            Self::Number(number) => number,
            Self::Part { numerator, denominator } => {
                let part = (u32::from(all) * u32::from(numerator)).checked_div(u32::from(denominator));
                part.and_then(|part| u16::try_from(part).ok()).unwrap_or(all)
            }
        }
    }
}

impl FromStr for Share {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let wrong = || ValueError::new(format!("`{text}` is no number of nodes; write for instance 13, or 1/3"));
        let number = |text: &str| text.parse::<u16>().map_err(|_| wrong());
        match text.split_once('/') {
            None => number(text).map(Self::Number),
            Some((numerator, denominator)) => {
                let (numerator, denominator) = (number(numerator)?, number(denominator)?);
                let is_part = numerator <= denominator && denominator > 0;
                is_part.then_some(Self::Part { numerator, denominator }).ok_or_else(wrong)
            }
        }
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Part { numerator, denominator } => write!(f, "{numerator}/{denominator}"),
        }
    }
}

/// The payload of a message: so many bytes, or a size with its unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payload(pub(super) ByteSize);

impl Payload {
    /// In bytes.
    pub(super) fn len(self) -> usize {
        self.0.as_len()
    }
}

impl FromStr for Payload {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        text.parse().map(ByteSize::from_bytes).or_else(|_| text.parse()).map(Self)
    }
}

impl fmt::Display for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Reads what a mixer takes for its cover.
pub(super) fn cover(text: &str) -> Result<String, ValueError> {
    let schema = Schema::new(&Roles::built_in()).map_err(|error| ValueError::new(error.to_string()))?;
    let key = schema.find("mixer.cover");
    key.ok_or_else(|| ValueError::new("this build has no mixer; build with the feature mixer"))?.kind.read(text)
}

/// Reads a share in percent, also without the sign: `5`, `0.5%`.
pub(super) fn percent(text: &str) -> Result<Percent, ValueError> {
    format!("{}%", text.trim_end_matches('%')).parse()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_a_number_or_a_part_rounded_down() {
        let of = |text: &str, all| text.parse::<Share>().unwrap().of(all);
        assert_eq!((of("3", 40), of("1/3", 40), of("1/1", 7), of("0/5", 7), of("2/3", 1)), (3, 13, 7, 0, 0));
        assert_eq!("1/3".parse::<Share>().unwrap().to_string(), "1/3");
    }

    #[test]
    fn what_is_no_share_is_refused_with_an_example() {
        for text in ["", "a third", "4/3", "1/0", "-1", "1/", "/3", "70000"] {
            let said = text.parse::<Share>().unwrap_err().to_string();
            assert!(said.contains(text) && said.contains("13, or 1/3"), "{said}");
        }
    }

    #[test]
    fn a_payload_is_a_number_of_bytes_or_a_size() {
        for (text, bytes) in [("4096", 4096), ("1KiB", 1024), ("0", 0), ("7B", 7)] {
            assert_eq!(text.parse::<Payload>().unwrap().len(), bytes, "{text}");
        }
        assert!("much".parse::<Payload>().unwrap_err().to_string().contains("150KiB"));
    }

    #[test]
    fn a_share_in_percent_needs_no_sign() {
        assert_eq!(["5", "0.5", "10%"].map(|text| percent(text).unwrap().to_string()), ["5%", "0.5%", "10%"]);
        assert!(percent("few").is_err());
    }
}
