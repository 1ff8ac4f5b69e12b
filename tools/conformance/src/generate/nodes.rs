//! Sections `constants` and `nodes`.

use libp2p_identity::{Keypair, PeerId, secp256k1};
use multiaddr::Multiaddr;
use wakumix_mix::HopAddress;
use wakumix_sphinx::{PrivateKey, Profile};

use super::GenerateError;
use super::source::Source;
use super::tree::Object;
use crate::nodes::{CONSTANTS, Node, constant};

/// A node with everything that the section records.
pub(super) struct Made {
    pub(super) label: String,
    pub(super) node: Node,
    pub(super) peer: PeerId,
    pub(super) address: HopAddress,
    identity: [u8; 32],
}

/// Six nodes over TCP, one over QUIC, one behind a circuit relay.
pub(super) fn make(source: &Source) -> Result<Vec<Made>, GenerateError> {
    let relay = peer(&source.array("relay identity"))?;
    let mut places: Vec<String> = (0..6).map(|n| format!("/ip4/127.0.0.{}/tcp/{}", n + 1, 4000 + n)).collect();
    places.push("/ip4/192.0.2.6/udp/4006/quic-v1".to_owned());
    places.push(format!("/ip4/192.0.2.7/tcp/4007/p2p/{relay}/p2p-circuit"));
    places.iter().enumerate().map(|(index, place)| make_one(source, index, place)).collect()
}

fn make_one(source: &Source, index: usize, place: &str) -> Result<Made, GenerateError> {
    let label = format!("node{index}");
    let identity = source.array(&format!("{label} identity"));
    let private = source.array(&format!("{label} mix key"));
    let peer = peer(&identity)?;
    let address = HopAddress::from_multiaddr(&place.parse::<Multiaddr>()?, peer)?;
    let public = *PrivateKey::from_bytes(private).public().as_bytes();
    let node = Node { private, public, address: address.encode() };
    Ok(Made { label, node, peer, address, identity })
}

/// The peer id of a secp256k1 key.
pub(super) fn peer(key: &[u8; 32]) -> Result<PeerId, GenerateError> {
    // The library wipes the bytes that it is given.
    let mut key = *key;
    let key = secp256k1::SecretKey::try_from_bytes(&mut key)?;
    Ok(Keypair::from(secp256k1::Keypair::from(key)).public().to_peer_id())
}

pub(super) fn section(nodes: &[Made]) -> Vec<Object> {
    let entry = |made: &Made| {
        Object::new()
            .with("label", made.label.as_str())
            .hex("mix_private_key", made.node.private)
            .hex("mix_public_key", made.node.public)
            .hex("libp2p_secp256k1_private_key", made.identity)
            .with("peer_id", made.peer.to_base58())
            .hex("peer_id_bytes", made.peer.to_bytes())
            .with("multiaddr", made.address.multiaddr().to_string())
            .hex("address_bytes", made.node.address)
    };
    nodes.iter().map(entry).collect()
}

pub(super) fn constants(of: Profile) -> Object {
    CONSTANTS.iter().fold(Object::new(), |object, name| object.with(name, constant(of, name)))
}
