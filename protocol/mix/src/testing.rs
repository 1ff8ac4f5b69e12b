//! Inputs that the tests of several modules share; each is a function of its seed.

use libp2p_identity::{Keypair, PeerId, secp256k1};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use wakumix_sphinx::{AddressBytes, PathHop, PrivateKey, ReplayTag, ReplyKeys, Sphinx, Surb};

use crate::{HopAddress, MixNode};

pub(crate) fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

/// A secp256k1 peer id.
pub(crate) fn peer(seed: u16) -> PeerId {
    let mut secret = [7; 32];
    secret[..2].copy_from_slice(&seed.to_be_bytes());
    let secret = secp256k1::SecretKey::try_from_bytes(secret).unwrap();
    Keypair::from(secp256k1::Keypair::from(secret)).public().to_peer_id()
}

/// An ed25519 peer id, which no header can carry.
pub(crate) fn ed25519_peer() -> PeerId {
    "12D3KooWGCYt6wZZ8pEYrJxvV5WkN5n4Fq9k6mNfRkGqf1wq8WGz".parse().unwrap()
}

pub(crate) fn mix_key(seed: u16) -> PrivateKey {
    PrivateKey::generate(&mut rng(u64::from(seed)))
}

pub(crate) fn node(seed: u16) -> MixNode {
    let address = format!("/ip4/10.0.{}.{}/tcp/{}", seed >> 8, seed & 0xff, 4000 + seed);
    let address = HopAddress::from_multiaddr(&address.parse().unwrap(), peer(seed)).unwrap();
    MixNode::new(address, mix_key(seed).public())
}

pub(crate) fn nodes(count: u16) -> Vec<MixNode> {
    (0..count).map(node).collect()
}

pub(crate) fn hops() -> [PathHop; 3] {
    [1, 2, 3].map(|seed| {
        let node = node(seed);
        PathHop { key: node.key, address: node.address.encode(), delay_ms: 0 }
    })
}

/// A SURB and what opens its reply.
pub(crate) fn surb(seed: u64) -> (Surb, ReplyKeys) {
    sphinx().create_surb(&mut rng(seed), &hops()).unwrap()
}

/// The replay tag that the first hop of a packet sees.
pub(crate) fn replay_tag(seed: u64) -> ReplayTag {
    let mut packet = vec![0; wakumix_sphinx::PACKET_LEN];
    let nowhere: AddressBytes = [0; wakumix_sphinx::ADDRESS_LEN];
    sphinx().build(&mut rng(seed), &hops(), &nowhere, b"", &mut packet).unwrap();
    sphinx().authenticate(&mix_key(1), &packet).unwrap().tag()
}

pub(crate) fn sphinx() -> Sphinx {
    Sphinx::new(wakumix_sphinx::Profile::default())
}
