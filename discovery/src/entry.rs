//! Entries that operators write: peers with one address, mix nodes with their keys (`spec/waku.md §5.2`).
//!
//! A peer is `<multiaddr>/p2p/<peer id>`. A mix node is `<multiaddr>/p2p/<peer id>:<64 hex digits of its mix public key>`, with an `ip4` address or, as the newest
//! fleet nodes take it, a `dns4` name. Names are resolved later, for a packet header carries nothing but IPv4
//! (`spec/mix-wire.md §5.1`).

use std::{fmt, net::Ipv4Addr, str::FromStr};

use libp2p_identity::PeerId;
use multiaddr::{Multiaddr, Protocol};
use wakumix_mix::{AddressError, HopAddress, MixNode};
use wakumix_records::dns_tree::{TreeUrl, UrlError};
use wakumix_role_api::directory::ServiceNode;
use wakumix_sphinx::{KeyError, PublicKey};

/// Hex digits of a mix public key.
const KEY_DIGITS: usize = 64;

/// Why a text is no entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EntryError {
    /// There is no colon with a key behind it.
    #[error("the mix key is missing; write <multiaddr>/p2p/<peer id>:<{KEY_DIGITS} hex digits>")]
    KeyMissing,
    /// The key is too short or too long.
    #[error("the mix key has {0} hex digits, it must have {KEY_DIGITS}")]
    KeyLength(usize),
    /// The key is not valid.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The address does not parse.
    #[error("the address is not a multiaddr: {0}")]
    Multiaddr(String),
    /// The address parses, but no packet header can carry it.
    #[error("{0}; names are written as /dns4/<name>")]
    Hop(AddressError),
    /// The address does not say whose it is.
    #[error("the address does not end with /p2p/<peer id>")]
    PeerIdMissing,
    /// The address in front of `/p2p/<peer id>` has no host or no port.
    #[error("the address names no TCP or QUIC port to dial; write for instance /ip4/192.0.2.1/tcp/60000/p2p/<peer id>")]
    NotDialable,
}

impl From<AddressError> for EntryError {
    fn from(error: AddressError) -> Self {
        match error {
            AddressError::PeerIdMissing => Self::PeerIdMissing,
            other => Self::Hop(other),
        }
    }
}

/// A peer and one address of it, as an operator writes them. Names in the address are the host's to resolve. `Display`
/// writes what `FromStr` reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerAddress {
    /// Its peer id.
    pub peer: PeerId,
    /// Where it listens, without `/p2p/<its id>`.
    pub address: Multiaddr,
}

/// A mix node as an operator writes it. `Display` writes what `FromStr` reads.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct MixNodeEntry {
    place: Place,
    key: PublicKey,
}

/// Where it is.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Place {
    /// At an address that a header carries.
    Address(HopAddress),
    /// At an address that has to be resolved. The template stands at 0.0.0.0.
    Name { name: String, template: HopAddress },
}

fn parse_multiaddr(text: &str) -> Result<Multiaddr, EntryError> {
    text.parse().map_err(|error: multiaddr::Error| EntryError::Multiaddr(error.to_string()))
}

/// Whether a text names a DNS list.
///
/// # Errors
/// What is wrong with it.
pub fn check_dns_tree(text: &str) -> Result<(), TreeUrlError> {
    text.parse::<TreeUrl>().map(drop).map_err(TreeUrlError)
}

/// Why a text names no DNS list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a DNS list: {0}")]
pub struct TreeUrlError(UrlError);

impl PeerAddress {
    /// The full address, `/p2p/<its id>` at the end.
    #[must_use]
    pub fn full(&self) -> Multiaddr {
        self.address.clone().with(Protocol::P2p(self.peer))
    }
}

impl From<PeerAddress> for ServiceNode {
    fn from(PeerAddress { peer, address }: PeerAddress) -> Self {
        Self::new(peer, vec![address])
    }
}

impl MixNodeEntry {
    /// The node's peer id.
    #[must_use]
    pub fn peer(&self) -> PeerId {
        match &self.place {
            Place::Address(address) | Place::Name { template: address, .. } => address.peer(),
        }
    }

    /// The node's mix key.
    #[must_use]
    pub fn key(&self) -> PublicKey {
        self.key
    }

    /// The name to resolve and the port to ask for, if the entry has a name.
    #[must_use]
    pub fn name(&self) -> Option<(&str, u16)> {
        match &self.place {
            Place::Address(_) => None,
            Place::Name { name, template } => Some((name, template.port())),
        }
    }

    /// The node, if its entry has an address.
    #[must_use]
    pub fn node(&self) -> Option<MixNode> {
        match &self.place {
            Place::Address(address) => Some(MixNode::new(address.clone(), self.key)),
            Place::Name { .. } => None,
        }
    }

    /// The node at an address that its name was resolved to.
    ///
    /// # Errors
    /// None that parsing the entry has not found.
    pub fn node_at(&self, ip: Ipv4Addr) -> Result<MixNode, EntryError> {
        let address = match &self.place {
            Place::Address(address) => address.clone(),
            Place::Name { template, .. } => {
                let address = with_first(&template.multiaddr(), Protocol::Ip4(ip));
                HopAddress::from_multiaddr(&address, template.peer())?
            }
        };
        Ok(MixNode::new(address, self.key))
    }
}

impl Place {
    fn parse(address: &Multiaddr) -> Result<Self, EntryError> {
        if let Some(Protocol::Dns4(name)) = address.iter().next() {
            let template = with_first(address, Protocol::Ip4(Ipv4Addr::UNSPECIFIED));
            return Ok(Self::Name { name: name.into_owned(), template: HopAddress::parse_full(&template)? });
        }
        Ok(Self::Address(HopAddress::parse_full(address)?))
    }
}

/// The address with another first component.
fn with_first(address: &Multiaddr, first: Protocol<'_>) -> Multiaddr {
    std::iter::once(first).chain(address.iter().skip(1)).collect()
}

/// A host part, then TCP or QUIC.
fn is_dialable(address: &Multiaddr) -> bool {
    use Protocol::{Dns, Dns4, Dns6, Ip4, Ip6, QuicV1, Tcp, Udp};
    let mut parts = address.iter();
    let host = matches!(parts.next(), Some(Ip4(_) | Ip6(_) | Dns(_) | Dns4(_) | Dns6(_)));
    let port = match parts.next() {
        Some(Tcp(_)) => true,
        Some(Udp(_)) => matches!(parts.next(), Some(QuicV1)),
        _ => false,
    };
    host && port
}

impl FromStr for PeerAddress {
    type Err = EntryError;

    fn from_str(text: &str) -> Result<Self, EntryError> {
        let mut address = parse_multiaddr(text.trim())?;
        let Some(Protocol::P2p(peer)) = address.pop() else { return Err(EntryError::PeerIdMissing) };
        if is_dialable(&address) { Ok(Self { peer, address }) } else { Err(EntryError::NotDialable) }
    }
}

impl FromStr for MixNodeEntry {
    type Err = EntryError;

    fn from_str(text: &str) -> Result<Self, EntryError> {
        // The last colon: older nodes split at every one, which is the same unless the address has colons of its own.
        let (address, key) = text.trim().rsplit_once(':').ok_or(EntryError::KeyMissing)?;
        if key.is_empty() || key.contains('/') {
            return Err(EntryError::KeyMissing);
        }
        let digits = key.strip_prefix("0x").unwrap_or(key);
        if digits.chars().count() != KEY_DIGITS {
            return Err(EntryError::KeyLength(digits.chars().count()));
        }
        Ok(Self { place: Place::parse(&parse_multiaddr(address)?)?, key: digits.parse()? })
    }
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.full().fmt(f)
    }
}

impl fmt::Display for MixNodeEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = match &self.place {
            Place::Address(address) => address.multiaddr(),
            Place::Name { name, template } => with_first(&template.multiaddr(), Protocol::Dns4(name.into())),
        };
        write!(f, "{address}/p2p/{}:{}", self.peer(), self.key)
    }
}

impl fmt::Debug for MixNodeEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MixNodeEntry({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: &str = "16Uiu2HAmPiEs2ozjjJF2iN2Pe2FYeMC9w4caRHKYdLdAfjgbWM6o";
    const ED25519: &str = "12D3KooWGCYt6wZZ8pEYrJxvV5WkN5n4Fq9k6mNfRkGqf1wq8WGz";
    const KEY: &str = "9d09ce624f76e8f606265edb9cca2b7de9b41772a6d784bddaf92ffa8fba7d2c";

    fn mix_node(text: &str) -> Result<MixNodeEntry, EntryError> {
        text.parse()
    }

    fn refusal(text: &str) -> String {
        mix_node(text).unwrap_err().to_string()
    }

    /// The first node of `spec/waku.md §5.2`.
    #[test]
    fn reads_entries_with_an_address() {
        for address in ["/ip4/127.0.0.1/tcp/60001", "/ip4/203.0.113.7/udp/60000/quic-v1"] {
            let text = format!("{address}/p2p/{PEER}:{KEY}");
            let entry = mix_node(&text).unwrap();
            let node = entry.node().unwrap();
            assert_eq!(node.peer().to_string(), PEER);
            assert_eq!(node.address.multiaddr().to_string(), address);
            assert_eq!(node.key.to_string(), KEY);
            assert_eq!((entry.name(), entry.to_string()), (None, text));
        }
    }

    #[test]
    fn reads_entries_with_a_name() {
        for (rest, port) in [("tcp/30303", 30303), ("udp/9000/quic-v1", 9000)] {
            let text = format!("/dns4/mix.example.org/{rest}/p2p/{PEER}:{KEY}");
            let entry: MixNodeEntry = text.parse().unwrap();
            assert_eq!(entry.name(), Some(("mix.example.org", port)));
            assert_eq!(entry.node(), None);
            let node = entry.node_at(Ipv4Addr::new(192, 0, 2, 1)).unwrap();
            assert_eq!(node.address.multiaddr().to_string(), format!("/ip4/192.0.2.1/{rest}"));
            assert_eq!(node.peer().to_string(), PEER);
            assert_eq!(entry.to_string(), text);
        }
    }

    #[test]
    fn takes_the_key_as_nodes_print_it_and_spaces_around() {
        let plain = mix_node(&format!("/ip4/127.0.0.1/tcp/1/p2p/{PEER}:{KEY}")).unwrap();
        let printed = format!("  /ip4/127.0.0.1/tcp/1/p2p/{PEER}:0x{}\n", KEY.to_uppercase());
        assert_eq!(mix_node(&printed), Ok(plain));
    }

    #[test]
    fn reads_a_node_behind_a_relay() {
        let relay = "16Uiu2HAmLtKaFaSWDohToWhWUZFLtqzYZGPFuXwKrojFVF6az5UF";
        let text = format!("/ip4/127.0.0.1/tcp/1/p2p/{relay}/p2p-circuit/p2p/{PEER}:{KEY}");
        let entry = mix_node(&text).unwrap();
        assert_eq!(entry.node().unwrap().address.relay().unwrap().to_string(), relay);
        assert_eq!(entry.to_string(), text);
    }

    #[test]
    fn says_which_part_of_a_mix_node_is_wrong() {
        let address = "/ip4/127.0.0.1/tcp/60001";
        let missing = "the mix key is missing; write <multiaddr>/p2p/<peer id>:<64 hex digits>";
        let table = [
            ("".to_owned(), missing),
            (format!("{address}/p2p/{PEER}"), missing),
            (format!("{address}/p2p/{PEER}:"), missing),
            (format!("/ip6/::1/tcp/1/p2p/{PEER}"), missing),
            (format!("{address}/p2p/{PEER}:{}", &KEY[1..]), "the mix key has 63 hex digits, it must have 64"),
            (format!("{address}/p2p/{PEER}:{KEY}00"), "the mix key has 66 hex digits, it must have 64"),
            (format!("{address}/p2p/{PEER}:{}", "0".repeat(64)), "the mix public key is zero"),
            (format!("{address}/p2p/{PEER}:{}", "g".repeat(64)), "64 hexadecimal digits"),
            (format!("{address}/p2p/{PEER}:{}", "ff".repeat(32)), "not in canonical form"),
            (format!("{address}:{KEY}"), "the address does not end with /p2p/<peer id>"),
            (format!("127.0.0.1:{KEY}"), "the address is not a multiaddr"),
            (format!("{address}/p2p/nobody:{KEY}"), "is not a multiaddr"),
            (format!("{address}/p2p/{ED25519}:{KEY}"), "only peer ids of secp256k1 keys"),
            (format!("/ip6/::1/tcp/1/p2p/{PEER}:{KEY}"), "a mix header carries only"),
            (format!("/dns6/example.org/tcp/1/p2p/{PEER}:{KEY}"), "names are written as /dns4/<name>"),
            (format!("/dns4/example.org/tcp/1/ws/p2p/{PEER}:{KEY}"), "a mix header carries only"),
            (format!("/dns4/example.org/tcp/1:{KEY}"), "the address does not end with /p2p/<peer id>"),
            (format!("/ip4/127.0.0.1/udp/1/p2p/{PEER}:{KEY}"), "a mix header carries only"),
        ];
        for (text, expected) in table {
            assert!(refusal(&text).contains(expected), "{text}: {}", refusal(&text));
        }
    }

    #[test]
    fn reads_peers_with_any_address_that_can_be_dialled() {
        for address in ["/ip4/127.0.0.1/tcp/60001", "/dns4/example.org/tcp/443/wss", "/ip6/::1/udp/1/quic-v1"] {
            let text = format!("{address}/p2p/{PEER}");
            let entry: PeerAddress = text.parse().unwrap();
            assert_eq!((entry.peer.to_string().as_str(), entry.to_string()), (PEER, text));
            let service = ServiceNode::from(entry);
            assert_eq!(service.addresses, [address.parse::<Multiaddr>().unwrap()]);
        }
    }

    #[test]
    fn says_what_is_wrong_with_a_peer() {
        let refused = |text: &str| text.parse::<PeerAddress>().unwrap_err();
        assert_eq!(refused("/ip4/127.0.0.1/tcp/1"), EntryError::PeerIdMissing);
        for address in ["", "/ip4/127.0.0.1", "/tcp/1", "/ip4/127.0.0.1/udp/1"] {
            assert_eq!(refused(&format!("{address}/p2p/{PEER}")), EntryError::NotDialable, "{address}");
        }
        assert!(matches!(refused("example.org"), EntryError::Multiaddr(_)));
    }
}
