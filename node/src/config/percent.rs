//! Shares of packets.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use wakumix_role_api::{config::ValueError, convert_through_text};

/// A share in percent with up to three decimals: `1%`, `0.5%`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Percent(u32);

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

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, decimals) = (self.0 / 1000, self.0 % 1000);
        if decimals == 0 {
            return write!(f, "{whole}%");
        }
        write!(f, "{whole}.{}%", format!("{decimals:03}").trim_end_matches('0'))
    }
}

convert_through_text!(Percent);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back_what_it_writes() {
        for (text, share) in [("0%", 0.0), ("1%", 0.01), ("0.5%", 0.005), ("33.333%", 0.33333), ("100%", 1.0)] {
            let percent: Percent = text.parse().unwrap();
            assert_eq!((percent.to_string().as_str(), percent.as_share()), (text, share));
        }
        for text in ["", "5", "%", "101%", "0.0001%", "-1%", "1.%x", "100.001%"] {
            assert!(text.parse::<Percent>().is_err(), "{text}");
        }
    }
}
