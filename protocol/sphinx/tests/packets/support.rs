//! A small mixnet of three nodes and helpers to walk packets through it.

use proptest::prelude::*;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use wakumix_sphinx::{
    ADDRESS_LEN, AddressBytes, Block, Cipher, Opened, PACKET_LEN, PathHop, PrivateKey, Profile, Reject, Sphinx,
};

pub(crate) const NO_ADDRESS: AddressBytes = [0; ADDRESS_LEN];

/// A direct address (spec §5.1): IPv4, transport, port, and the syntactic peer id of `n`.
pub(crate) fn address(ip: [u8; 4], transport: u8, port: u16, n: u8) -> AddressBytes {
    let mut address = NO_ADDRESS;
    address[..4].copy_from_slice(&ip);
    address[4] = transport;
    address[5..7].copy_from_slice(&port.to_be_bytes());
    address[7..14].copy_from_slice(&[0x00, 0x25, 0x08, 0x02, 0x12, 0x21, 0x02]);
    address[14..46].fill(n);
    address
}

/// The three nodes of Appendix A; as a reply path, the last is the sender.
pub(crate) struct Nodes {
    pub(crate) keys: [PrivateKey; 3],
    pub(crate) path: [PathHop; 3],
}

impl Nodes {
    pub(crate) fn new() -> Self {
        let keys = [0x10, 0x20, 0x30].map(|byte| PrivateKey::from_bytes([byte; 32]));
        let hops = [(4001, 0xa0, 100), (4002, 0xa1, 200), (4003, 0xa2, 0)];
        let path = core::array::from_fn(|i| {
            let (port, n, delay_ms) = hops[i];
            PathHop { key: keys[i].public(), address: address([127, 0, 0, 1], 0, port, n), delay_ms }
        });
        Self { keys, path }
    }

    /// Authenticates and opens at hop `i`.
    pub(crate) fn open(&self, sphinx: Sphinx, i: usize, packet: &mut [u8]) -> Result<Opened, Reject> {
        let auth = sphinx.authenticate(&self.keys[i], packet)?;
        sphinx.open(packet, auth)
    }

    /// Forwards at hop `i`, checking that the routing information is that of the path.
    pub(crate) fn forward(&self, sphinx: Sphinx, i: usize, packet: &mut [u8]) {
        match self.open(sphinx, i, packet).unwrap() {
            Opened::Forward { next, delay_ms, blinding } => {
                assert_eq!(next, self.path[i + 1].address);
                assert_eq!(delay_ms, self.path[i].delay_ms);
                sphinx.blind(packet, blinding).unwrap();
            }
            other => panic!("hop {i} found {other:?}"),
        }
    }

    /// Walks a packet to the last hop and opens it there.
    pub(crate) fn walk(&self, sphinx: Sphinx, packet: &mut [u8]) -> Result<Opened, Reject> {
        self.forward(sphinx, 0, packet);
        self.forward(sphinx, 1, packet);
        self.open(sphinx, 2, packet)
    }
}

pub(crate) fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

/// Every cipher with every block, without and with a proof.
pub(crate) fn profiles() -> impl Strategy<Value = Profile> {
    let cipher = prop_oneof![Just(Cipher::AesCtr), Just(Cipher::Lioness)];
    let block = prop_oneof![Just(Block::Seq), Just(Block::Pad)];
    let proof_len = prop_oneof![Just(0), Just(301)];
    (cipher, block, proof_len).prop_map(|(cipher, block, proof_len)| Profile { cipher, block, proof_len })
}

/// The default format, with a packet of a short body for `nodes`.
pub(crate) fn packet(nodes: &Nodes, seed: u64) -> (Sphinx, [u8; PACKET_LEN]) {
    let sphinx = Sphinx::new(Profile::default());
    let mut packet = [0; PACKET_LEN];
    sphinx.build(&mut rng(seed), &nodes.path, &NO_ADDRESS, b"hello mix", &mut packet).unwrap();
    (sphinx, packet)
}
