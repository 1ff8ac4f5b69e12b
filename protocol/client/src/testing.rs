//! Nodes that the tests of several modules share; each is a function of its seed.

use libp2p_identity::{Keypair, PeerId, secp256k1};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use wakumix_mix::{HopAddress, MixNode};
use wakumix_sphinx::PrivateKey;

pub(crate) fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

pub(crate) fn peer(seed: u8) -> PeerId {
    let secret = secp256k1::SecretKey::try_from_bytes([seed + 1; 32]).unwrap();
    Keypair::from(secp256k1::Keypair::from(secret)).public().to_peer_id()
}

pub(crate) fn node(seed: u8) -> MixNode {
    let address = format!("/ip4/10.0.0.{seed}/tcp/4000").parse().unwrap();
    let key = PrivateKey::from_bytes([seed + 1; 32]).public();
    MixNode::new(HopAddress::from_multiaddr(&address, peer(seed)).unwrap(), key)
}
