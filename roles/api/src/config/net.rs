//! Networks and ports, as they are written: what a role may dial.

use std::{fmt, ops::RangeInclusive, str::FromStr};

use ipnet::IpNet;

use super::{Scalar, ValueError, ValueKind, text};

/// One port, or a range of them: `443`, `1024-65535`.
struct PortRange(RangeInclusive<u16>);

/// A range of ports.
#[must_use]
pub fn ports() -> Scalar<RangeInclusive<u16>> {
    Scalar {
        kind: text::<PortRange>("a port or a range such as 1024-65535", "PORT[-PORT]").kind,
        read: |text| text.parse().map(|PortRange(range)| range),
        write: |range| PortRange(range.clone()).to_string(),
    }
}

/// A network. They come in lists, so an error names the one that it means.
#[must_use]
pub fn network() -> Scalar<IpNet> {
    fn parse(text: &str) -> Result<IpNet, ValueError> {
        text.parse().map_err(|error| ValueError::new(format!("`{text}`: {error}")))
    }
    let kind = ValueKind::Text {
        form: "a network such as 10.1.0.0/16",
        placeholder: "NETWORK",
        read: |text| parse(text).map(|network| network.to_string()),
    };
    Scalar { kind, read: parse, write: ToString::to_string }
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

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, last) = (self.0.start(), self.0.end());
        if first == last { write!(f, "{first}") } else { write!(f, "{first}-{last}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_of_ports_reads_back_what_it_writes() {
        for text in ["443", "1024-65535", "0"] {
            assert_eq!(text.parse::<PortRange>().unwrap().to_string(), text);
        }
        for text in ["", "-", "70000", "2-1", "1-", "a-b"] {
            assert!(text.parse::<PortRange>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_network_reads_back_what_it_writes_and_an_error_names_it() {
        let Scalar { read, write, .. } = network();
        for text in ["10.1.0.0/16", "127.0.0.0/8", "fd00::/8"] {
            assert_eq!(write(&read(text).unwrap()), text);
        }
        for text in ["10.1.0.0", "10.1.0.0/33", "lan", ""] {
            assert!(read(text).unwrap_err().to_string().starts_with(&format!("`{text}`: ")), "{text}");
        }
    }
}
