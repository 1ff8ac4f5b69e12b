//! Nodes by seed.

use libp2p_identity::{Keypair, PeerId, secp256k1};
use wakumix_mix::{HopAddress, MixNode};
use wakumix_sphinx::{PathHop, PrivateKey};

/// The secret identity key of a node.
#[must_use]
pub fn secret(seed: u16) -> [u8; 32] {
    bytes(7, seed)
}

/// The secp256k1 identity of a node.
#[must_use]
pub fn keypair(seed: u16) -> Keypair {
    secp256k1::Keypair::from(secp256k1::SecretKey::try_from_bytes(secret(seed)).unwrap()).into()
}

/// The peer id of a node.
#[must_use]
pub fn peer(seed: u16) -> PeerId {
    keypair(seed).public().to_peer_id()
}

/// The mix key of a node.
#[must_use]
pub fn mix_key(seed: u16) -> PrivateKey {
    PrivateKey::from_bytes(bytes(9, seed))
}

/// The address of a node as a header carries it, where it answers at `place`: `/ip4/10.0.0.1/tcp/4000`.
#[must_use]
pub fn hop_address(seed: u16, place: &str) -> HopAddress {
    HopAddress::from_multiaddr(&place.parse().unwrap(), peer(seed)).unwrap()
}

/// A mix node in a private network, at its own address.
#[must_use]
pub fn node(seed: u16) -> MixNode {
    let [high, low] = seed.to_be_bytes();
    MixNode::new(hop_address(seed, &format!("/ip4/10.0.{high}.{low}/tcp/4000")), mix_key(seed).public())
}

/// A node on a path, which holds a packet for so long.
#[must_use]
pub fn hop(node: &MixNode, delay_ms: u16) -> PathHop {
    PathHop { key: node.key, address: node.address.encode(), delay_ms }
}

fn bytes(fill: u8, seed: u16) -> [u8; 32] {
    let mut bytes = [fill; 32];
    bytes[..2].copy_from_slice(&seed.to_be_bytes());
    bytes
}
