//! A small mixnet of three nodes and helpers to walk packets of any format through it.

use std::sync::Arc;

use proptest::{prelude::*, sample::select};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use wakumix_sphinx::{
    ADDRESS_LEN, AddressBytes, Block, Cipher, FormatKind, HEADER_LEN, Opened, PACKET_LEN, PacketFormat, PathHop,
    PrivateKey, Profile, Reject, WireFormat,
};

pub(crate) const NO_ADDRESS: AddressBytes = [0; ADDRESS_LEN];

/// A direct address (spec §5.1): IPv4, transport, port, and a peer id with an even key of byte `n`.
pub(crate) fn address(ip: [u8; 4], transport: u8, port: u16, n: u8) -> AddressBytes {
    let mut address = NO_ADDRESS;
    address[..4].copy_from_slice(&ip);
    address[4] = transport;
    address[5..7].copy_from_slice(&port.to_be_bytes());
    address[7..14].copy_from_slice(&[0x00, 0x25, 0x08, 0x02, 0x12, 0x21, 0x02]);
    address[14..46].fill(n);
    address
}

/// Three nodes; as a reply path, the last is the sender.
pub(crate) struct Nodes {
    pub(crate) keys: [PrivateKey; 3],
    pub(crate) path: [PathHop; 3],
}

impl Nodes {
    /// Those of Appendix A.
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
    pub(crate) fn open(&self, format: &dyn PacketFormat, i: usize, packet: &mut [u8]) -> Result<Opened, Reject> {
        let auth = format.authenticate(&self.keys[i], packet)?;
        format.open(packet, auth)
    }

    /// Forwards at hop `i`, checking that the routing information is that of the path.
    pub(crate) fn forward(&self, format: &dyn PacketFormat, i: usize, packet: &mut [u8]) {
        match self.open(format, i, packet).unwrap() {
            Opened::Forward { next, delay_ms, blinding } => {
                assert_eq!(next, self.path[i + 1].address);
                assert_eq!(delay_ms, self.path[i].delay_ms);
                format.blind(packet, blinding).unwrap();
            }
            other => panic!("hop {i} found {other:?}"),
        }
    }

    /// Walks a packet to the last hop and opens it there.
    pub(crate) fn walk(&self, format: &dyn PacketFormat, packet: &mut [u8]) -> Result<Opened, Reject> {
        self.forward(format, 0, packet);
        self.forward(format, 1, packet);
        self.open(format, 2, packet)
    }

    /// A packet of a short body whose exit is its destination.
    pub(crate) fn packet(&self, format: &dyn PacketFormat, seed: u64) -> Vec<u8> {
        let mut packet = vec![0; format.packet_len()];
        format.build(&mut rng(seed), &self.path, &NO_ADDRESS, b"hello mix", &mut packet).unwrap();
        packet
    }
}

pub(crate) fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

/// A body that repeats nothing within 251 bytes.
pub(crate) fn body(len: usize) -> Vec<u8> {
    (0..=250).cycle().take(len).collect()
}

/// The two packets: nwaku's in its default profile, and the second where it is built. Both have a wide block as payload.
pub(crate) fn kinds() -> Vec<Arc<dyn PacketFormat>> {
    let second = [
        #[cfg(feature = "sphinx-packet")]
        WireFormat::SphinxPacket,
    ];
    [WireFormat::default()].into_iter().chain(second).map(WireFormat::format).collect()
}

/// Every format: nwaku's with every cipher and block, without and with a proof, and the second.
pub(crate) fn formats() -> Vec<Arc<dyn PacketFormat>> {
    let mut formats = kinds();
    for cipher in [Cipher::AesCtr, Cipher::Lioness] {
        for block in [Block::Seq, Block::Pad] {
            for proof_len in [0, 301] {
                let profile = Profile { cipher, block, proof_len };
                if profile != Profile::default() {
                    formats.push(WireFormat::Mix(profile).format());
                }
            }
        }
    }
    formats
}

/// One of these formats, with a place within what `range` says of it.
pub(crate) fn place_in(
    formats: Vec<Arc<dyn PacketFormat>>,
    range: fn(&dyn PacketFormat) -> core::ops::Range<usize>,
) -> impl Strategy<Value = (Arc<dyn PacketFormat>, usize)> {
    select(formats).prop_flat_map(move |format| {
        let range = range(&*format);
        (Just(format), range)
    })
}

/// Any format with a length of a body that it carries: often a short or a long one.
pub(crate) fn format_and_len() -> impl Strategy<Value = (Arc<dyn PacketFormat>, usize)> {
    select(formats()).prop_flat_map(|format| {
        let max = format.data_len();
        (Just(format), prop_oneof![0usize..=8, 0..=max, max - 5..=max])
    })
}

/// Where the payload of a packet begins.
pub(crate) fn header_len(format: &dyn PacketFormat) -> usize {
    match format.wire().kind() {
        FormatKind::Mix => HEADER_LEN,
        FormatKind::SphinxPacket => 348,
    }
}

/// Where its payload ends; a proof may follow.
pub(crate) fn sealed_len(format: &dyn PacketFormat) -> usize {
    match format.wire().kind() {
        FormatKind::Mix => PACKET_LEN,
        FormatKind::SphinxPacket => format.packet_len(),
    }
}
