//! Hop addresses: 94 bytes that name where a packet goes next (`spec/mix-wire.md §5.1`).
//!
//! | offset | length | field |
//! |---|---|---|
//! | 0 | 4 | IPv4 address |
//! | 4 | 1 | transport: 0 = TCP, 1 = UDP with QUIC-v1 |
//! | 5 | 2 | port, big-endian |
//! | 7 | 39 | peer id: the node, or its circuit relay |
//! | 46 | 39 | peer id of the node behind the relay; zeros if it is reached directly |
//! | 85 | 9 | zeros |
//!
//! Decoding is stricter than the reference in three ways: the transport byte must be 0 or 1 (the reference
//! takes any other for UDP without QUIC), both peer ids must be secp256k1 keys (the reference takes any
//! multihash of 39 bytes), and all zeros mean "no address" instead of a peer id of zeros. Bytes 85..94 are
//! ignored like there: they are the sender's own, hidden and covered by the header's MAC, and a
//! future field may live in them.
//!
//! A key that is well formed but no point of the curve is let through: finding out costs about as much as
//! unwrapping the packet, and no peer can ever prove that it owns such an id.

use std::fmt;
use std::net::Ipv4Addr;

use libp2p_identity::PeerId;
use multiaddr::{Multiaddr, Protocol, multihash::Multihash};
use thiserror::Error;
use wakumix_sphinx::{ADDRESS_LEN, AddressBytes};

use crate::DropReason;

/// Bytes of an encoded peer id: a multihash of a secp256k1 key.
const PEER_ID_LEN: usize = 39;
/// How each such id begins: identity multihash of 37 bytes, a protobuf of key type 2 with 33 bytes of key.
const PEER_ID_PREFIX: [u8; 6] = [0x00, 0x25, 0x08, 0x02, 0x12, 0x21];
/// First byte of a compressed curve point: the parity of its y coordinate.
const POINT_PARITY: [u8; 2] = [0x02, 0x03];

const TRANSPORT_AT: usize = 4;
const PORT_AT: usize = 5;
const FIRST_PEER_AT: usize = 7;
const SECOND_PEER_AT: usize = FIRST_PEER_AT + PEER_ID_LEN;
const UNUSED_AT: usize = SECOND_PEER_AT + PEER_ID_LEN;

/// Why an address cannot be carried in a header or was not understood.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AddressError {
    /// The multiaddress is not `/ip4/A/tcp/N` or `/ip4/A/udp/N/quic-v1`, alone or followed by
    /// `/p2p/<relay>/p2p-circuit`.
    #[error("a mix header carries only /ip4/A/tcp/N or /ip4/A/udp/N/quic-v1, optionally with /p2p/<relay>/p2p-circuit")]
    Unsupported,
    /// The multiaddress should end with `/p2p/<peer id>` and does not.
    #[error("the address does not end with /p2p/<peer id>")]
    PeerIdMissing,
    /// The peer id is not that of a secp256k1 key.
    #[error("only peer ids of secp256k1 keys fit into a mix header")]
    PeerIdKind,
    /// The transport byte is neither 0 nor 1.
    #[error("transport byte {0} is neither 0 (tcp) nor 1 (quic-v1)")]
    TransportByte(u8),
    /// All 94 bytes are zero: no address at all.
    #[error("the address is absent (all zero)")]
    Absent,
}

impl AddressError {
    /// How a packet is counted that is dropped for this error.
    #[must_use]
    pub fn drop_reason(&self) -> DropReason {
        DropReason::InvalidDestination
    }
}

/// What carries packets to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// TCP.
    Tcp,
    /// QUIC version 1 over UDP.
    QuicV1,
}

impl Transport {
    const fn to_byte(self) -> u8 {
        match self {
            Self::Tcp => 0,
            Self::QuicV1 => 1,
        }
    }

    const fn from_byte(byte: u8) -> Result<Self, AddressError> {
        match byte {
            0 => Ok(Self::Tcp),
            1 => Ok(Self::QuicV1),
            other => Err(AddressError::TransportByte(other)),
        }
    }
}

/// Where a mix node, an exit or a destination is reached: IPv4, transport, port, peer id, and maybe a relay.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct HopAddress {
    ip: Ipv4Addr,
    transport: Transport,
    port: u16,
    peer: PeerId,
    /// What differs from one peer id to the next: addresses are moved with each packet, and few have a relay.
    relay: Option<PeerKey>,
}

/// The compressed secp256k1 key in a peer id.
type PeerKey = [u8; PEER_ID_LEN - PEER_ID_PREFIX.len()];

impl HopAddress {
    /// The address of `peer` at a multiaddress that does not name `peer` itself.
    ///
    /// # Errors
    /// [`AddressError::Unsupported`] for any other form of address, [`AddressError::PeerIdKind`] if either
    /// the peer's or the relay's id is not of a secp256k1 key.
    pub fn from_multiaddr(address: &Multiaddr, peer: PeerId) -> Result<Self, AddressError> {
        let mut parts = address.iter();
        let Some(Protocol::Ip4(ip)) = parts.next() else {
            return Err(AddressError::Unsupported);
        };
        let (transport, port) = match parts.next() {
            Some(Protocol::Tcp(port)) => (Transport::Tcp, port),
            Some(Protocol::Udp(port)) if parts.next() == Some(Protocol::QuicV1) => (Transport::QuicV1, port),
            _ => return Err(AddressError::Unsupported),
        };
        let relay = match (parts.next(), parts.next(), parts.next()) {
            (None, ..) => None,
            (Some(Protocol::P2p(relay)), Some(Protocol::P2pCircuit), None) => Some(relay),
            _ => return Err(AddressError::Unsupported),
        };
        if !is_secp256k1(&peer) {
            return Err(AddressError::PeerIdKind);
        }
        let relay = relay.map(|relay| key_of(&relay).ok_or(AddressError::PeerIdKind)).transpose()?;
        Ok(Self { ip, transport, port, peer, relay })
    }

    /// What stands in the header for a peer that has no address: only its id is true, so a hop that is connected to it can
    /// pass a packet on, and no other (`spec/waku.md §8.3`).
    ///
    /// # Errors
    /// [`AddressError::PeerIdKind`] if the peer's id is not of a secp256k1 key.
    pub fn placeholder(peer: PeerId) -> Result<Self, AddressError> {
        if !is_secp256k1(&peer) {
            return Err(AddressError::PeerIdKind);
        }
        Ok(Self { ip: Ipv4Addr::UNSPECIFIED, transport: Transport::Tcp, port: 0, peer, relay: None })
    }

    /// The address of the peer that a full multiaddress names in its last component.
    ///
    /// # Errors
    /// [`AddressError::PeerIdMissing`] without a trailing `/p2p/<peer id>`, else as [`Self::from_multiaddr`].
    pub fn parse_full(address: &Multiaddr) -> Result<Self, AddressError> {
        let mut rest = address.clone();
        match rest.pop() {
            Some(Protocol::P2p(peer)) => Self::from_multiaddr(&rest, peer),
            _ => Err(AddressError::PeerIdMissing),
        }
    }

    /// Reads the 94 bytes of a header, a destination or a SURB.
    ///
    /// # Errors
    /// [`AddressError::Absent`] if all are zero, [`AddressError::TransportByte`] and
    /// [`AddressError::PeerIdKind`] for the two fields that can be wrong.
    pub fn decode(bytes: &AddressBytes) -> Result<Self, AddressError> {
        if is_absent(bytes) {
            return Err(AddressError::Absent);
        }
        let transport = Transport::from_byte(bytes[TRANSPORT_AT])?;
        let first = read_key(&bytes[FIRST_PEER_AT..SECOND_PEER_AT])?;
        let second = &bytes[SECOND_PEER_AT..UNUSED_AT];
        let (peer, relay) =
            if second.iter().all(|&byte| byte == 0) { (first, None) } else { (read_key(second)?, Some(first)) };
        let peer = peer_of(&peer).ok_or(AddressError::PeerIdKind)?;
        Ok(Self {
            ip: Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3]),
            transport,
            port: u16::from_be_bytes([bytes[PORT_AT], bytes[PORT_AT + 1]]),
            peer,
            relay,
        })
    }

    /// Writes the 94 bytes.
    #[must_use]
    pub fn encode(&self) -> AddressBytes {
        let mut bytes = [0; ADDRESS_LEN];
        bytes[..TRANSPORT_AT].copy_from_slice(&self.ip.octets());
        bytes[TRANSPORT_AT] = self.transport.to_byte();
        bytes[PORT_AT..FIRST_PEER_AT].copy_from_slice(&self.port.to_be_bytes());
        let relay = self.relay();
        let first = relay.as_ref().unwrap_or(&self.peer);
        write_peer(first, &mut bytes[FIRST_PEER_AT..SECOND_PEER_AT]);
        if relay.is_some() {
            write_peer(&self.peer, &mut bytes[SECOND_PEER_AT..UNUSED_AT]);
        }
        bytes
    }

    /// The multiaddress to dial, without the node's own `/p2p` part.
    #[must_use]
    pub fn multiaddr(&self) -> Multiaddr {
        let mut address = Multiaddr::from(self.ip);
        match self.transport {
            Transport::Tcp => address.push(Protocol::Tcp(self.port)),
            Transport::QuicV1 => {
                address.push(Protocol::Udp(self.port));
                address.push(Protocol::QuicV1);
            }
        }
        if let Some(relay) = self.relay() {
            address.push(Protocol::P2p(relay));
            address.push(Protocol::P2pCircuit);
        }
        address
    }

    /// The text of [`Self::multiaddr`].
    #[must_use]
    pub fn location(&self) -> impl fmt::Display {
        Location(self)
    }

    /// The node itself.
    #[must_use]
    pub fn peer(&self) -> PeerId {
        self.peer
    }

    /// The circuit relay in front of the node, if there is one.
    #[must_use]
    pub fn relay(&self) -> Option<PeerId> {
        self.relay.as_ref().and_then(peer_of)
    }

    /// IPv4 address of the node, or of its relay.
    #[must_use]
    pub fn ip(&self) -> Ipv4Addr {
        self.ip
    }

    /// Port of the node, or of its relay.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Transport to the node, or to its relay.
    #[must_use]
    pub fn transport(&self) -> Transport {
        self.transport
    }
}

impl fmt::Display for HopAddress {
    /// The full multiaddress, as [`HopAddress::parse_full`] reads it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/p2p/{}", self.location(), self.peer)
    }
}

/// The text of [`HopAddress::multiaddr`]. It is written by hand: a web page that shows an error need not load the texts of all
/// multiaddresses.
struct Location<'a>(&'a HopAddress);

impl fmt::Display for Location<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let HopAddress { ip, transport, port, .. } = self.0;
        match transport {
            Transport::Tcp => write!(f, "/ip4/{ip}/tcp/{port}")?,
            Transport::QuicV1 => write!(f, "/ip4/{ip}/udp/{port}/quic-v1")?,
        }
        self.0.relay().map_or(Ok(()), |relay| write!(f, "/p2p/{relay}/p2p-circuit"))
    }
}

impl fmt::Debug for HopAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HopAddress({self})")
    }
}

/// Whether the 94 bytes say "no address": the exit is the destination, or the packet is a reply (`spec/mix-wire.md §5.1`).
#[must_use]
pub fn is_absent(bytes: &AddressBytes) -> bool {
    bytes.iter().all(|&byte| byte == 0)
}

/// Whether a peer id is of the one kind that a header can carry.
#[must_use]
pub fn is_secp256k1(peer: &PeerId) -> bool {
    let multihash = peer.as_ref();
    multihash.code() == u64::from(PEER_ID_PREFIX[0])
        && multihash.size() == PEER_ID_PREFIX[1]
        && is_key_protobuf(multihash.digest())
}

/// Whether the digest of an identity multihash holds a compressed secp256k1 key.
fn is_key_protobuf(digest: &[u8]) -> bool {
    digest
        .strip_prefix(&PEER_ID_PREFIX[2..])
        .and_then(<[u8]>::first)
        .is_some_and(|parity| POINT_PARITY.contains(parity))
}

/// The key in the 39 bytes of a peer id.
fn read_key(bytes: &[u8]) -> Result<PeerKey, AddressError> {
    let key = bytes.strip_prefix(&PEER_ID_PREFIX).and_then(|key| PeerKey::try_from(key).ok());
    key.filter(|key| POINT_PARITY.contains(&key[0])).ok_or(AddressError::PeerIdKind)
}

/// The key in a peer id; `None` if it is not a compressed secp256k1 key.
fn key_of(peer: &PeerId) -> Option<PeerKey> {
    is_secp256k1(peer).then(|| peer.as_ref().digest().last_chunk().copied()).flatten()
}

/// The peer id of a key; never `None` for one that [`read_key`] or [`key_of`] has given.
fn peer_of(key: &PeerKey) -> Option<PeerId> {
    let mut digest = [0; PEER_ID_LEN - 2];
    let (head, tail) = digest.split_at_mut(PEER_ID_PREFIX.len() - 2);
    head.copy_from_slice(&PEER_ID_PREFIX[2..]);
    tail.copy_from_slice(key);
    let multihash = Multihash::wrap(u64::from(PEER_ID_PREFIX[0]), &digest).ok()?;
    PeerId::from_multihash(multihash).ok()
}

/// Writes the 39 bytes of a peer id that [`is_secp256k1`] has accepted.
fn write_peer(peer: &PeerId, out: &mut [u8]) {
    let (head, digest) = out.split_at_mut(2);
    head.copy_from_slice(&PEER_ID_PREFIX[..2]);
    digest.copy_from_slice(peer.as_ref().digest());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{ed25519_peer, peer};

    fn parse(text: &str) -> Result<HopAddress, AddressError> {
        HopAddress::from_multiaddr(&text.parse().unwrap(), peer(1))
    }

    #[test]
    fn a_placeholder_carries_the_peer_id_and_nothing_else() {
        let bytes = HopAddress::placeholder(peer(1)).unwrap().encode();
        assert_eq!(bytes[..7], [0; 7]);
        let decoded = HopAddress::decode(&bytes).unwrap();
        assert_eq!((decoded.peer(), decoded.relay()), (peer(1), None));
        assert_eq!(HopAddress::placeholder(ed25519_peer()), Err(AddressError::PeerIdKind));
    }

    #[test]
    fn writes_every_field_at_its_offset() {
        let circuit = format!("/ip4/10.0.0.1/udp/1234/quic-v1/p2p/{}/p2p-circuit", peer(2));
        let bytes = parse(&circuit).unwrap().encode();
        assert_eq!(bytes[..7], [10, 0, 0, 1, 1, 0x04, 0xd2]);
        assert_eq!(bytes[7..46], peer(2).to_bytes());
        assert_eq!(bytes[46..85], peer(1).to_bytes());
        assert_eq!(bytes[85..], [0; 9]);
    }

    #[test]
    fn agrees_with_an_address_written_by_the_reference() {
        let text = "/ip4/10.0.0.1/udp/1234/quic-v1/p2p/16Uiu2HAm5v3yGJxecGBj5TLnxg7aWEebpDWSWXn2gNqhAdCTVCUY\
                    /p2p-circuit/p2p/16Uiu2HAm3VczmL1cZwT2KRf2cCQKRN6yche86bJrYiYDbvehrRX4";
        let bytes = "0a0000010104d2\
                     002508021221029bd9ff413c8089820534d5d878c6fed12f1f11f2f606b5c0a111e6b9c89af829\
                     0025080212210277e0720ac780c8a082856aad8e3e1478116577df90e9b4b3bfcafca1a7669cb7\
                     000000000000000000";
        let address = HopAddress::parse_full(&text.parse().unwrap()).unwrap();
        assert_eq!(hex::encode(address.encode()), bytes);
    }

    #[test]
    fn refuses_what_a_header_cannot_carry() {
        let relay = peer(2);
        for text in [
            "/ip4/10.0.0.1".to_owned(),
            "/ip4/10.0.0.1/udp/1".to_owned(),
            "/ip4/10.0.0.1/udp/1/quic".to_owned(),
            "/ip4/10.0.0.1/tcp/1/ws".to_owned(),
            "/ip6/::1/tcp/1".to_owned(),
            "/dns4/example.org/tcp/1".to_owned(),
            "/ip4/10.0.0.1/tcp/1/p2p-circuit".to_owned(),
            format!("/ip4/10.0.0.1/tcp/1/p2p/{relay}"),
            format!("/ip4/10.0.0.1/tcp/1/p2p/{relay}/p2p-circuit/p2p/{relay}"),
        ] {
            assert_eq!(parse(&text), Err(AddressError::Unsupported), "{text}");
        }
    }

    #[test]
    fn refuses_peers_and_relays_without_a_secp256k1_key() {
        let direct = "/ip4/10.0.0.1/tcp/1".parse().unwrap();
        let outcome = HopAddress::from_multiaddr(&direct, ed25519_peer());
        assert_eq!(outcome, Err(AddressError::PeerIdKind));
        let circuit = format!("/ip4/10.0.0.1/tcp/1/p2p/{}/p2p-circuit", ed25519_peer());
        assert_eq!(parse(&circuit), Err(AddressError::PeerIdKind));
    }

    #[test]
    fn takes_the_peer_from_the_end_of_a_full_address() {
        for text in [
            format!("/ip4/10.0.0.1/tcp/1/p2p/{}", peer(1)),
            format!("/ip4/10.0.0.1/udp/1/quic-v1/p2p/{}/p2p-circuit/p2p/{}", peer(2), peer(1)),
        ] {
            let address = HopAddress::parse_full(&text.parse().unwrap()).unwrap();
            assert_eq!(address.peer(), peer(1));
            assert_eq!(address.to_string(), text);
        }
        let bare = "/ip4/10.0.0.1/tcp/1".parse().unwrap();
        assert_eq!(HopAddress::parse_full(&bare), Err(AddressError::PeerIdMissing));
    }

    #[test]
    fn refuses_absent_and_damaged_bytes() {
        assert_eq!(HopAddress::decode(&[0; ADDRESS_LEN]), Err(AddressError::Absent));
        let good = parse("/ip4/10.0.0.1/tcp/1").unwrap().encode();
        let damaged = |at: usize, value: u8| {
            let mut bytes = good;
            bytes[at] = value;
            HopAddress::decode(&bytes)
        };
        assert_eq!(damaged(4, 2), Err(AddressError::TransportByte(2)));
        // Multihash code, multihash length, key type, key parity, and a stray byte where a second id would be.
        for (at, value) in [(7, 0xff), (8, 0x24), (10, 0x01), (13, 0x04), (46, 0x01)] {
            assert_eq!(damaged(at, value), Err(AddressError::PeerIdKind), "byte {at}");
        }
    }

    #[test]
    fn ignores_the_bytes_behind_both_peer_ids() {
        let address = parse("/ip4/10.0.0.1/tcp/1").unwrap();
        let mut bytes = address.encode();
        bytes[UNUSED_AT..].fill(0xaa);
        assert_eq!(HopAddress::decode(&bytes), Ok(address));
    }

    fn any_address() -> impl Strategy<Value = HopAddress> {
        let fields = (any::<[u8; 4]>(), any::<bool>(), any::<u16>(), 0..50_u16, 0..50_u16);
        fields.prop_map(|(ip, is_quic, port, own, relay)| HopAddress {
            ip: ip.into(),
            transport: if is_quic { Transport::QuicV1 } else { Transport::Tcp },
            port,
            peer: peer(own),
            relay: (relay > 25).then(|| key_of(&peer(relay))).flatten(),
        })
    }

    proptest! {
        #[test]
        fn reads_back_what_it_writes(address in any_address()) {
            prop_assert_eq!(HopAddress::decode(&address.encode()), Ok(address.clone()));
            prop_assert_eq!(address.location().to_string(), address.multiaddr().to_string());
            let again = HopAddress::from_multiaddr(&address.multiaddr(), address.peer());
            prop_assert_eq!(again, Ok(address.clone()));
            let full = address.to_string().parse().unwrap();
            prop_assert_eq!(HopAddress::parse_full(&full), Ok(address));
        }

        #[test]
        fn arbitrary_bytes_are_refused_or_written_back(
            start in any_address(),
            edits in proptest::collection::vec((0..ADDRESS_LEN, any::<u8>()), 0..6),
        ) {
            let mut bytes = start.encode();
            for (at, value) in edits {
                bytes[at] = value;
            }
            if let Ok(address) = HopAddress::decode(&bytes) {
                prop_assert_eq!(&address.encode()[..UNUSED_AT], &bytes[..UNUSED_AT]);
            }
        }
    }
}
