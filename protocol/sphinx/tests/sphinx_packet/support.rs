//! A small mixnet of three nodes and helpers to walk packets through it.

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use wakumix_sphinx::{
    ADDRESS_LEN, AddressBytes, Opened, PacketFormat, PathHop, PrivateKey, Reject, SphinxPacketFormat,
};

pub(crate) const NO_ADDRESS: AddressBytes = [0; ADDRESS_LEN];

/// Sizes as the crate and `docs/decisions/008-second-format.md` give them.
pub(crate) const HEADER_LEN: usize = 348;
pub(crate) const PAYLOAD_LEN: usize = 5632;
pub(crate) const PACKET_LEN: usize = 5980;
pub(crate) const DATA_LEN: usize = 5615;
pub(crate) const SURB_LEN: usize = 404;

/// A direct address (`spec/mix-wire.md` §5.1): IPv4, transport, port, and a peer id with an odd key of byte `n`.
pub(crate) fn address(ip: [u8; 4], transport: u8, port: u16, n: u8) -> AddressBytes {
    let mut address = NO_ADDRESS;
    address[..4].copy_from_slice(&ip);
    address[4] = transport;
    address[5..7].copy_from_slice(&port.to_be_bytes());
    address[7..14].copy_from_slice(&[0x00, 0x25, 0x08, 0x02, 0x12, 0x21, 0x03]);
    address[14..46].fill(n);
    address
}

/// Three nodes; as a reply path, the last is the sender.
pub(crate) struct Nodes {
    pub(crate) keys: [PrivateKey; 3],
    pub(crate) path: [PathHop; 3],
}

impl Nodes {
    pub(crate) fn new() -> Self {
        let keys = [0x10, 0x20, 0x30].map(|byte| PrivateKey::from_bytes([byte; 32]));
        let hops = [(0, 4001, 0xa0, 100), (1, 4002, 0xa1, 16_383), (0, 4003, 0xa2, 0)];
        let path = core::array::from_fn(|i| {
            let (transport, port, n, delay_ms) = hops[i];
            PathHop { key: keys[i].public(), address: address([127, 0, 0, 1], transport, port, n), delay_ms }
        });
        Self { keys, path }
    }

    /// Authenticates and opens at hop `i`.
    pub(crate) fn open(&self, i: usize, packet: &mut [u8]) -> Result<Opened, Reject> {
        let authentic = FORMAT.authenticate(&self.keys[i], packet)?;
        FORMAT.open(packet, authentic)
    }

    /// Forwards at hop `i`, checking that the routing information is that of the path.
    pub(crate) fn forward(&self, i: usize, packet: &mut [u8]) {
        match self.open(i, packet).unwrap() {
            Opened::Forward { next, delay_ms, blinding } => {
                assert_eq!(next, self.path[i + 1].address);
                assert_eq!(delay_ms, self.path[i].delay_ms);
                FORMAT.blind(packet, blinding).unwrap();
            }
            other => panic!("hop {i} found {other:?}"),
        }
    }

    /// Walks a packet to the last hop and opens it there.
    pub(crate) fn walk(&self, packet: &mut [u8]) -> Result<Opened, Reject> {
        self.forward(0, packet);
        self.forward(1, packet);
        self.open(2, packet)
    }

    /// A packet of a short body whose exit is its destination.
    pub(crate) fn packet(&self, seed: u64) -> Vec<u8> {
        let mut packet = vec![0; PACKET_LEN];
        FORMAT.build(&mut rng(seed), &self.path, &NO_ADDRESS, b"hello mix", &mut packet).unwrap();
        packet
    }
}

/// The format; it has no state.
pub(crate) static FORMAT: std::sync::LazyLock<SphinxPacketFormat> = std::sync::LazyLock::new(SphinxPacketFormat::new);

pub(crate) fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

/// A body that repeats nothing within 251 bytes.
pub(crate) fn body(len: usize) -> Vec<u8> {
    (0..=250).cycle().take(len).collect()
}
