//! How long packets wait, as it is written: what senders ask hops for, and what exit and sender add.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use wakumix_mix::DelayLaw;

use super::{Timespan, ValueError};
use crate::convert_through_text;

/// A delay law as it is written: `none`, or the mean of an exponential law (`spec/mix-wire.md §14`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MixDelay(pub DelayLaw);

impl MixDelay {
    /// What is accepted, as the end of "expected …".
    pub const FORM: &'static str = "none, or a mean from 1ms to 65535ms";
    /// The word that stands for it in `--help`.
    pub const PLACEHOLDER: &'static str = "TIME|none";
}

impl FromStr for MixDelay {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        if text.eq_ignore_ascii_case("none") {
            return Ok(Self(DelayLaw::None));
        }
        let mean: Timespan = text.parse()?;
        match u16::try_from(mean.as_millis()) {
            Ok(mean_ms) if mean_ms > 0 => Ok(Self(DelayLaw::Exponential { mean_ms })),
            _ => Err(ValueError::new(format!(
                "`{text}` does not fit a packet header; write none, or a mean from 1ms to 65535ms"
            ))),
        }
    }
}

impl fmt::Display for MixDelay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            DelayLaw::None => f.write_str("none"),
            DelayLaw::Exponential { mean_ms } => Timespan::from_millis(mean_ms.into()).fmt(f),
        }
    }
}

convert_through_text!(MixDelay);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_none_or_a_mean_that_a_header_can_carry() {
        for text in ["none", "50ms", "1s", "65535ms"] {
            assert_eq!(text.parse::<MixDelay>().unwrap().to_string(), text);
        }
        for text in ["0ms", "65536ms", "50", "2h", ""] {
            assert!(text.parse::<MixDelay>().is_err(), "{text}");
        }
    }
}
