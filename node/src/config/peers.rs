//! Peers as they are written in a configuration: `multiaddr/p2p/ID`, `multiaddr/p2p/ID:mixkey`, and the `nat` key.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr},
    str::FromStr,
};

use libp2p_identity::PeerId;
use multiaddr::{Multiaddr, Protocol};
use serde::{Deserialize, Serialize};
use wakumix_mix::{AddressError, HopAddress, MixNode};
use wakumix_sphinx::PublicKey;

use super::values::{ValueError, convert_through_text};

/// A peer and one address of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PeerAddress {
    /// Where it listens, without `/p2p/<its id>`.
    pub address: Multiaddr,
    /// Its peer id.
    pub peer: PeerId,
}

/// A static entry of the mix pool, `multiaddr/p2p/ID:mixkey` (`spec/waku.md §5.2`).
///
/// The address has a shape that a header can carry, except that it may name its host by `dns4`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MixNodeEntry {
    /// The full address, `/p2p/<its id>` at the end.
    pub address: Multiaddr,
    /// Its peer id.
    pub peer: PeerId,
    /// Its mix key.
    pub key: PublicKey,
}

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

impl PeerAddress {
    /// The full address, `/p2p/<its id>` at the end.
    pub fn full(&self) -> Multiaddr {
        self.address.clone().with(Protocol::P2p(self.peer))
    }
}

impl MixNodeEntry {
    /// The host name to resolve, for an entry that has one.
    pub fn host_name(&self) -> Option<String> {
        self.address.iter().find_map(|part| match part {
            Protocol::Dns4(name) => Some(name.into_owned()),
            _ => None,
        })
    }

    /// The pool entry of an address without a host name.
    pub fn mix_node(&self) -> Result<MixNode, AddressError> {
        let address = HopAddress::parse_full(&self.address)?;
        Ok(MixNode { address, key: self.key })
    }

    /// The pool entry, its host name replaced by the IPv4 address that it resolved to.
    pub fn mix_node_at(&self, ip: Ipv4Addr) -> Result<MixNode, AddressError> {
        let address = HopAddress::parse_full(&resolved(&self.address, ip))?;
        Ok(MixNode { address, key: self.key })
    }
}

impl FromStr for PeerAddress {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let mut address = parse_multiaddr(text)?;
        let Some(Protocol::P2p(peer)) = address.pop() else {
            return Err(ValueError::new(format!("`{text}` does not end in /p2p/<peer id>")));
        };
        if !is_dialable(&address) {
            return Err(ValueError::new(format!(
                "`{text}` names no TCP or QUIC port to dial; write for instance \
                 /ip4/192.0.2.1/tcp/60000/p2p/<peer id>"
            )));
        }
        Ok(Self { address, peer })
    }
}

impl FromStr for MixNodeEntry {
    type Err = ValueError;

    /// The key follows the last colon: addresses may hold colons themselves.
    fn from_str(text: &str) -> Result<Self, ValueError> {
        let form = "multiaddr/p2p/<peer id>:<64 hex characters of the mix public key>";
        let Some((address, key)) = text.rsplit_once(':') else {
            return Err(ValueError::new(format!("`{text}` has no mix key; write {form}")));
        };
        let length = key.strip_prefix("0x").unwrap_or(key).len();
        if length != 64 {
            return Err(ValueError::new(format!(
                "`{text}` has a mix key of {length} characters; a mix public key is 64 hex \
                 characters, write {form}"
            )));
        }
        let key = key
            .parse::<PublicKey>()
            .map_err(|error| ValueError::new(format!("`{text}` has no usable mix key: {error}")))?;
        let address = parse_multiaddr(address)?;
        // Which address a name stands for does not matter to the shape.
        let hop = HopAddress::parse_full(&resolved(&address, Ipv4Addr::LOCALHOST)).map_err(|error| {
            ValueError::new(format!(
                "a mix header cannot carry `{address}`: {error}; write \
                 /ip4/A.B.C.D/tcp/PORT/p2p/ID or /ip4/A.B.C.D/udp/PORT/quic-v1/p2p/ID with a \
                 secp256k1 peer id (16Uiu2HA…)"
            ))
        })?;
        Ok(Self { address, peer: hop.peer(), key })
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

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.full().fmt(f)
    }
}

impl fmt::Display for MixNodeEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.address, self.key)
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

convert_through_text!(PeerAddress, MixNodeEntry, Nat);

pub(crate) fn parse_multiaddr(text: &str) -> Result<Multiaddr, ValueError> {
    text.parse().map_err(|error| ValueError::new(format!("`{text}` is not a multiaddr: {error}")))
}

/// The address with its `dns4` name replaced.
fn resolved(address: &Multiaddr, ip: Ipv4Addr) -> Multiaddr {
    address.iter().map(|part| if matches!(part, Protocol::Dns4(_)) { Protocol::Ip4(ip) } else { part }).collect()
}

/// A host part, then TCP or QUIC.
fn is_dialable(address: &Multiaddr) -> bool {
    let mut parts = address.iter();
    let host = matches!(
        parts.next(),
        Some(Protocol::Ip4(_) | Protocol::Ip6(_) | Protocol::Dns(_) | Protocol::Dns4(_) | Protocol::Dns6(_))
    );
    let port = match parts.next() {
        Some(Protocol::Tcp(_)) => true,
        Some(Protocol::Udp(_)) => matches!(parts.next(), Some(Protocol::QuicV1)),
        _ => false,
    };
    host && port
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "16Uiu2HAmPiEs2ozjjJF2iN2Pe2FYeMC9w4caRHKYdLdAfjgbWM6o";
    const KEY: &str = "9d09ce624f76e8f606265edb9cca2b7de9b41772a6d784bddaf92ffa8fba7d2c";

    #[test]
    fn reads_a_mix_node_of_the_fleet_and_writes_it_back() {
        let text = format!("/ip4/127.0.0.1/tcp/60001/p2p/{ID}:{KEY}");
        let entry: MixNodeEntry = text.parse().unwrap();
        assert_eq!(entry.to_string(), text);
        assert_eq!(entry.peer.to_string(), ID);
        assert_eq!(entry.mix_node().unwrap().address.port(), 60001);
        assert_eq!(entry.host_name(), None);
    }

    #[test]
    fn keeps_a_host_name_until_it_is_resolved() {
        let text = format!("/dns4/mix-0.example.org/tcp/60001/p2p/{ID}:{KEY}");
        let entry: MixNodeEntry = text.parse().unwrap();
        assert_eq!(entry.host_name().as_deref(), Some("mix-0.example.org"));
        assert!(entry.mix_node().is_err());
        let node = entry.mix_node_at(Ipv4Addr::new(192, 0, 2, 7)).unwrap();
        assert_eq!(node.address.ip(), Ipv4Addr::new(192, 0, 2, 7));
    }

    #[test]
    fn refuses_what_a_header_cannot_carry() {
        let ed25519 = "12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA";
        for (text, part) in [
            (format!("/ip4/127.0.0.1/tcp/1/p2p/{ID}"), "has no mix key"),
            (format!("/ip4/127.0.0.1/tcp/1/p2p/{ID}:abcd"), "4 characters"),
            (format!("/ip6/::1/tcp/1/p2p/{ID}:{KEY}"), "cannot carry"),
            (format!("/ip4/127.0.0.1/tcp/1/ws/p2p/{ID}:{KEY}"), "cannot carry"),
            (format!("/ip4/127.0.0.1/tcp/1/p2p/{ed25519}:{KEY}"), "cannot carry"),
            (format!("/ip4/127.0.0.1/tcp/1:{KEY}"), "cannot carry"),
            (format!("nonsense:{KEY}"), "not a multiaddr"),
            (format!("/ip4/127.0.0.1/tcp/1/p2p/{ID}:{}", "0".repeat(64)), "no usable mix key"),
        ] {
            let message = text.parse::<MixNodeEntry>().unwrap_err().to_string();
            assert!(message.contains(part), "{text}: {message}");
        }
    }

    #[test]
    fn a_peer_address_ends_in_a_peer_id_and_can_be_dialled() {
        let text = format!("/dns4/relay.example.org/tcp/443/wss/p2p/{ID}");
        assert_eq!(text.parse::<PeerAddress>().unwrap().to_string(), text);
        for text in ["/ip4/127.0.0.1/tcp/1", "x", &format!("/p2p/{ID}")] {
            assert!(text.parse::<PeerAddress>().is_err(), "{text}");
        }
    }

    #[test]
    fn nat_knows_the_words_of_the_fleet() {
        for text in ["none", "any", "upnp", "pmp", "extip:192.0.2.1"] {
            assert_eq!(text.parse::<Nat>().unwrap().to_string(), text);
        }
        assert!("extip:here".parse::<Nat>().is_err());
    }
}
