//! Packets that targets build and open: three nodes with keys of their own, in every format.

use std::sync::{Arc, LazyLock};

use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng as _};
use wakumix_mix::HopAddress;
use wakumix_sphinx::{
    AddressBytes, FormatKind, Opened, PATH_LEN, PacketFormat, PathHop, PrivateKey, ReplyKeys, WireFormat,
};

/// Every format: that of nwaku with each cipher and each block, without and with a proof, and the second one.
pub static FORMATS: LazyLock<Vec<Arc<dyn PacketFormat>>> = LazyLock::new(|| {
    let profiles = ["aes-ctr/seq", "lioness/seq", "lioness/pad", "aes-ctr/seq/301", "lioness/pad/301"];
    let mix = profiles.map(|name| WireFormat::Mix(name.parse().expect("a fixed name is valid")));
    mix.into_iter().chain([WireFormat::SphinxPacket]).map(WireFormat::format).collect()
});

/// The private keys of a path.
pub static KEYS: LazyLock<[PrivateKey; PATH_LEN]> =
    LazyLock::new(|| [0x10, 0x20, 0x30].map(|byte| PrivateKey::from_bytes([byte; 32])));

/// The format that a byte of the input chooses.
#[must_use]
pub fn format(choice: u8) -> &'static dyn PacketFormat {
    &*FORMATS[usize::from(choice) % FORMATS.len()]
}

/// Addresses of nodes, by their numbers.
static ADDRESSES: LazyLock<[AddressBytes; 10]> = LazyLock::new(|| {
    let peer = crate::KEY.public().to_peer_id();
    core::array::from_fn(|node| {
        let full = format!("/ip4/192.0.2.{node}/tcp/60000/p2p/{peer}").parse().expect("a fixed address is valid");
        HopAddress::parse_full(&full).expect("a header carries it").encode()
    })
});

/// The address of a node: 1, 2 and 3 are those of the path, 9 is a destination.
#[must_use]
pub fn address(node: usize) -> AddressBytes {
    ADDRESSES[node]
}

/// The path through the three nodes, each of which holds packets for so long.
#[must_use]
pub fn path(delay_ms: u16) -> [PathHop; PATH_LEN] {
    core::array::from_fn(|hop| PathHop { key: KEYS[hop].public(), address: address(hop + 1), delay_ms })
}

/// Random bytes that are the same in every run.
#[must_use]
pub fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

/// Bytes in front of a packet's payload: group element, routing information and MAC. A change of one is always noticed.
#[must_use]
pub fn header_len(format: &dyn PacketFormat) -> usize {
    match format.wire().kind() {
        FormatKind::Mix => wakumix_sphinx::HEADER_LEN,
        // α 32, MAC 16, five hops of routing information of 60 each.
        FormatKind::SphinxPacket => 348,
    }
}

/// Bytes behind a packet's payload, which nobody checks here.
#[must_use]
pub fn proof_len(format: &dyn PacketFormat) -> usize {
    match format.wire() {
        WireFormat::Mix(profile) => profile.proof_len,
        WireFormat::SphinxPacket => 0,
    }
}

/// The delay that a hop reads of one that was asked for: the second format has 14 bits for it.
#[must_use]
pub fn carried_delay(format: &dyn PacketFormat, delay_ms: u16) -> u16 {
    match format.wire().kind() {
        FormatKind::Mix => delay_ms,
        FormatKind::SphinxPacket => delay_ms.min((1 << 14) - 1),
    }
}

/// Whether a changed payload is always noticed where the path ends, and not only mostly.
#[must_use]
pub fn is_whole(format: &dyn PacketFormat) -> bool {
    match format.wire() {
        WireFormat::Mix(profile) => profile.cipher == wakumix_sphinx::Cipher::Lioness,
        WireFormat::SphinxPacket => true,
    }
}

/// A sound packet, and who is to open it.
pub struct Sound {
    /// The packet as it arrives there.
    pub packet: Vec<u8>,
    /// Which of the [`KEYS`] opens it.
    pub hop: usize,
    /// What opens replies. The packet itself is one if it was made through their reply block.
    pub reply_keys: ReplyKeys,
}

impl Sound {
    /// Three for each format: one that goes on, a request at its exit, and a reply.
    #[must_use]
    pub fn all(format: &dyn PacketFormat) -> [Self; 3] {
        let last = KEYS.len() - 1;
        [Self::new(format, 0, false), Self::new(format, last, false), Self::new(format, last, true)]
    }

    fn new(format: &dyn PacketFormat, hop: usize, is_reply: bool) -> Self {
        let mut rng = rng(1);
        let mut packet = vec![0; format.packet_len()];
        let (surb, reply_keys) = format.create_surb(&mut rng, &path(50)).expect("a fixed path is valid");
        let built = if is_reply {
            format.use_surb(&mut rng, surb, b"reply", &mut packet)
        } else {
            format.build(&mut rng, &path(50), &address(9), b"request", &mut packet)
        };
        built.expect("a short body fits");
        for key in &KEYS[..hop] {
            forward(format, key, &mut packet);
        }
        Self { packet, hop, reply_keys }
    }
}

fn forward(format: &dyn PacketFormat, key: &PrivateKey, packet: &mut [u8]) {
    let authentic = format.authenticate(key, packet).expect("it was built for this key");
    let Ok(Opened::Forward { blinding, .. }) = format.open(packet, authentic) else {
        panic!("a hop in the middle sends packets on")
    };
    format.blind(packet, blinding).expect("a sound packet goes on");
}
