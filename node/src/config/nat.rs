//! The `nat` key: how others reach a node behind address translation.

use std::{fmt, net::IpAddr, str::FromStr};

use serde::{Deserialize, Serialize};

use wakumix_role_api::{config::ValueError, convert_through_text};

/// How others reach a node behind address translation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Nat {
    /// Announce what the node listens on.
    None,
    /// Ask the router for a port mapping in whatever way works; accepted for the fleet's sake, this node does not.
    Any,
    /// Ask by UPnP; this node does not.
    Upnp,
    /// Ask by NAT-PMP; this node does not.
    Pmp,
    /// Announce this address with the node's own ports.
    External(IpAddr),
}

impl Nat {
    /// The address to announce.
    pub fn external(self) -> Option<IpAddr> {
        match self {
            Self::External(ip) => Some(ip),
            Self::None | Self::Any | Self::Upnp | Self::Pmp => None,
        }
    }

    /// Whether a port mapping is asked for, which this node does not do.
    pub(super) fn wants_mapping(self) -> bool {
        matches!(self, Self::Any | Self::Upnp | Self::Pmp)
    }
}

impl FromStr for Nat {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        match text {
            "none" => Ok(Self::None),
            "any" => Ok(Self::Any),
            "upnp" => Ok(Self::Upnp),
            "pmp" => Ok(Self::Pmp),
            _ => text
                .strip_prefix("extip:")
                .and_then(|ip| ip.parse().ok())
                .map(Self::External)
                .ok_or_else(|| ValueError::new(format!("`{text}` is neither `none` nor `extip:<IP address>`"))),
        }
    }
}

impl fmt::Display for Nat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Any => f.write_str("any"),
            Self::Upnp => f.write_str("upnp"),
            Self::Pmp => f.write_str("pmp"),
            Self::External(ip) => write!(f, "extip:{ip}"),
        }
    }
}

convert_through_text!(Nat);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nat_knows_the_words_of_the_fleet() {
        for text in ["none", "any", "upnp", "pmp", "extip:192.0.2.1"] {
            assert_eq!(text.parse::<Nat>().unwrap().to_string(), text);
        }
        assert!("extip:here".parse::<Nat>().is_err());
    }
}
