//! Values that only the mix roles have: ranges of ports, shares of packets, times of cover.

use std::{fmt, ops::RangeInclusive, str::FromStr};

use serde::{Deserialize, Serialize};

use super::values::{Timespan, ValueError, convert_through_text};

/// One port, or a range of them: `443`, `1024-65535`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PortRange(pub(crate) RangeInclusive<u16>);

/// A share in percent with up to three decimals: `1%`, `0.5%`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Percent(u32);

/// How often a node sends cover: `by-role`, `none`, or a mean time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum CoverTime {
    /// Nodes that forward do, at the default rate.
    ByRole,
    /// Never.
    Never,
    /// At random times with this mean.
    Every(Timespan),
}

/// A hundred percent in the unit of [`Percent`].
const WHOLE: u32 = 100_000;
const DECIMALS: usize = 3;

impl Percent {
    /// No share at all.
    pub const NONE: Self = Self(0);

    /// As a number from 0 to 1.
    pub fn as_share(self) -> f64 {
        f64::from(self.0) / f64::from(WHOLE)
    }
}

impl FromStr for PortRange {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let wrong = || ValueError::new(format!("`{text}` is not a port or a range of ports such as 1024-65535"));
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let port = |text: &str| text.trim().parse::<u16>().map_err(|_| wrong());
        let (first, last) = (port(first)?, port(last)?);
        if first > last {
            return Err(ValueError::new(format!("`{text}` holds no port; write the lower one first")));
        }
        Ok(Self(first..=last))
    }
}

impl FromStr for Percent {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let wrong = || ValueError::new(format!("`{text}` is not a share such as 5% or 0.5%, from 0% to 100%"));
        let number = text.strip_suffix('%').ok_or_else(wrong)?.trim();
        let (whole, decimals) = number.split_once('.').unwrap_or((number, ""));
        let is_number = |digits: &str| digits.bytes().all(|digit| digit.is_ascii_digit());
        if whole.is_empty() || !is_number(whole) || !is_number(decimals) || decimals.len() > DECIMALS {
            return Err(wrong());
        }
        let thousandths = format!("{whole}{decimals:0<DECIMALS$}").parse().map_err(|_| wrong())?;
        if thousandths > WHOLE { Err(wrong()) } else { Ok(Self(thousandths)) }
    }
}

impl FromStr for CoverTime {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        match text.to_ascii_lowercase().as_str() {
            "by-role" => Ok(Self::ByRole),
            "none" => Ok(Self::Never),
            _ => text.parse().map(Self::Every),
        }
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, last) = (self.0.start(), self.0.end());
        if first == last { write!(f, "{first}") } else { write!(f, "{first}-{last}") }
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, decimals) = (self.0 / 1000, self.0 % 1000);
        if decimals == 0 {
            return write!(f, "{whole}%");
        }
        write!(f, "{whole}.{}%", format!("{decimals:03}").trim_end_matches('0'))
    }
}

impl fmt::Display for CoverTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ByRole => f.write_str("by-role"),
            Self::Never => f.write_str("none"),
            Self::Every(mean) => mean.fmt(f),
        }
    }
}

convert_through_text!(PortRange, Percent, CoverTime);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back_what_it_writes() {
        for text in ["443", "1024-65535", "0-0"] {
            let written = text.parse::<PortRange>().unwrap().to_string();
            assert_eq!(written.parse::<PortRange>().unwrap().to_string(), written);
        }
        for (text, share) in [("0%", 0.0), ("1%", 0.01), ("0.5%", 0.005), ("33.333%", 0.33333), ("100%", 1.0)] {
            let percent: Percent = text.parse().unwrap();
            assert_eq!((percent.to_string().as_str(), percent.as_share()), (text, share));
        }
        for text in ["by-role", "none", "10s"] {
            assert_eq!(text.parse::<CoverTime>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn refuses_what_is_none_of_them() {
        for text in ["", "-", "70000", "2-1", "1-", "a-b"] {
            assert!(text.parse::<PortRange>().is_err(), "{text}");
        }
        for text in ["", "5", "%", "101%", "0.0001%", "-1%", "1.%x", "100.001%"] {
            assert!(text.parse::<Percent>().is_err(), "{text}");
        }
        assert!("sometimes".parse::<CoverTime>().is_err());
    }
}
