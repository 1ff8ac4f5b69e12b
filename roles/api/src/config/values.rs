//! Values that carry a unit: times (`50ms`) and sizes (`64MiB`), read and written in the same form.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Why a text is not a value of its kind: one clause, without the key.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct ValueError(String);

impl ValueError {
    /// From a clause.
    pub fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

/// A length of time in whole milliseconds, written as a number and a unit: `50ms`, `30s`, `5m`, `1h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Timespan(u64);

/// A number of bytes, written as a number and a unit: `150KiB`, `64MiB`, `1kB`, `512B`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ByteSize(u64);

/// Unit names in falling size, each with how many of the base unit it is.
type Units = &'static [(&'static str, u64)];

const TIME_UNITS: Units = &[("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];
/// Binary units first: a size is written back in these only.
const SIZE_UNITS: Units = &[("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];
const DECIMAL_SIZE_UNITS: Units = &[("GB", 1_000_000_000), ("MB", 1_000_000), ("KB", 1000)];

impl Timespan {
    /// From milliseconds.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// In milliseconds.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// As the standard library's duration.
    pub const fn as_duration(self) -> Duration {
        Duration::from_millis(self.0)
    }
}

impl From<Duration> for Timespan {
    /// In whole milliseconds.
    fn from(time: Duration) -> Self {
        Self(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
    }
}

impl ByteSize {
    /// From bytes.
    pub const fn from_bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// In bytes.
    pub const fn as_bytes(self) -> u64 {
        self.0
    }

    /// In bytes, as a length in memory; saturates where addresses are shorter than 64 bits.
    pub fn as_len(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl FromStr for Timespan {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        read_quantity(text, &[TIME_UNITS], "a time such as 50ms, 30s, 5m or 1h").map(Self)
    }
}

impl FromStr for ByteSize {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let units = &[SIZE_UNITS, DECIMAL_SIZE_UNITS];
        read_quantity(text, units, "a size such as 512B, 150KiB or 64MiB").map(Self)
    }
}

impl fmt::Display for Timespan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_quantity(f, self.0, TIME_UNITS)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_quantity(f, self.0, SIZE_UNITS)
    }
}

/// Lets serde read and write types through their `FromStr` and `Display`.
#[macro_export]
macro_rules! convert_through_text {
    ($($name:ty),*) => {$(
        impl TryFrom<String> for $name {
            type Error = $crate::config::ValueError;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.to_string()
            }
        }
    )*};
}

convert_through_text!(Timespan, ByteSize);

/// Reads a whole number and a unit, with or without a space between them. Units are told apart without regard to case.
fn read_quantity(text: &str, units: &[Units], form: &str) -> Result<u64, ValueError> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim_start();
    if number.is_empty() {
        return Err(ValueError::new(format!("`{text}` is not {form}")));
    }
    if unit.is_empty() {
        return Err(ValueError::new(format!("`{text}` has no unit; write {form}")));
    }
    let number: u64 = number.parse().map_err(|_| ValueError::new(format!("`{text}` is too large")))?;
    let scale = units
        .iter()
        .flat_map(|units| units.iter())
        .find(|(name, _)| name.eq_ignore_ascii_case(unit))
        .map(|(_, scale)| *scale)
        .ok_or_else(|| ValueError::new(format!("`{unit}` is not a unit; write {form}")))?;
    number.checked_mul(scale).ok_or_else(|| ValueError::new(format!("`{text}` is too large")))
}

/// Writes the largest unit that leaves a whole number.
fn write_quantity(f: &mut fmt::Formatter<'_>, value: u64, units: Units) -> fmt::Result {
    let fits = |scale: u64| value >= scale && value.is_multiple_of(scale);
    match units.iter().find(|(_, scale)| fits(*scale)) {
        Some((name, scale)) => write!(f, "{}{name}", value / scale),
        None => write!(f, "0{}", units.last().map_or("", |(name, _)| name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_unit_and_writes_the_largest_that_fits() {
        for (text, millis, written) in [
            ("50ms", 50, "50ms"),
            ("1000ms", 1000, "1s"),
            ("90 s", 90_000, "90s"),
            ("60m", 3_600_000, "1h"),
            ("0s", 0, "0ms"),
            ("5M", 300_000, "5m"),
        ] {
            let span: Timespan = text.parse().unwrap();
            assert_eq!((span.as_millis(), span.to_string().as_str()), (millis, written), "{text}");
        }
        for (text, bytes, written) in [
            ("150KiB", 153_600, "150KiB"),
            ("1kB", 1000, "1000B"),
            ("64 MiB", 1 << 26, "64MiB"),
            ("1024KiB", 1 << 20, "1MiB"),
            ("0B", 0, "0B"),
        ] {
            let size: ByteSize = text.parse().unwrap();
            assert_eq!((size.as_bytes(), size.to_string().as_str()), (bytes, written), "{text}");
        }
    }

    #[test]
    fn says_what_form_is_accepted() {
        for (text, part) in [
            ("50", "has no unit"),
            ("fast", "is not a time"),
            ("50 parsecs", "`parsecs` is not a unit"),
            ("99999999999999999999s", "too large"),
            ("18446744073709551615h", "too large"),
            ("-1s", "is not a time"),
        ] {
            let message = text.parse::<Timespan>().unwrap_err().to_string();
            assert!(message.contains(part), "{text}: {message}");
        }
        let message = "150".parse::<ByteSize>().unwrap_err().to_string();
        assert!(message.contains("150KiB"), "{message}");
    }
    #[test]
    fn refuses_forms_that_other_readers_of_units_take() {
        for text in ["1h 30m", "1h30m", "2 days", "1month", "10us", "1.5s", "0", "+1s", "1_000ms", "1e3ms"] {
            assert!(text.parse::<Timespan>().is_err(), "{text}");
        }
        for text in ["64", "1.5MiB", "64M", "64Mi", "64k", "1TiB", "1 000B"] {
            assert!(text.parse::<ByteSize>().is_err(), "{text}");
        }
    }
}
