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
    /// Whatever works, as nwaku writes it: a port mapping is a part of that which this node does not ask for.
    Any,
    /// Announce this address with the node's own ports.
    External(IpAddr),
}

impl Nat {
    /// The address to announce.
    pub fn external(self) -> Option<IpAddr> {
        match self {
            Self::External(ip) => Some(ip),
            Self::None | Self::Any => None,
        }
    }
}

impl FromStr for Nat {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        match text {
            "none" => Ok(Self::None),
            "any" => Ok(Self::Any),
            "upnp" | "pmp" => Err(ValueError::new(format!(
                "`{text}` asks the router for ports, which this node does not do; pass its ports on by hand and write extip:<IP \
                 address>, or write any"
            ))),
            _ => {
                text.strip_prefix("extip:").and_then(|ip| ip.parse().ok()).map(Self::External).ok_or_else(|| {
                    ValueError::new(format!("`{text}` is neither `none`, `any` nor `extip:<IP address>`"))
                })
            }
        }
    }
}

impl fmt::Display for Nat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Any => f.write_str("any"),
            Self::External(ip) => write!(f, "extip:{ip}"),
        }
    }
}

convert_through_text!(Nat);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nat_knows_the_words_of_the_wakunode2() {
        for text in ["none", "any", "extip:192.0.2.1"] {
            assert_eq!(text.parse::<Nat>().unwrap().to_string(), text);
        }
        assert!("extip:here".parse::<Nat>().is_err());
        for text in ["upnp", "pmp"] {
            let refused = text.parse::<Nat>().unwrap_err().to_string();
            assert!(refused.contains("extip:<IP address>") && refused.contains("any"), "{refused}");
        }
    }
}
