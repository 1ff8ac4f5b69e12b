//! Packets of every kind, made for a mixer that is one of three hops.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use parking_lot::Mutex;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use wakumix_mix::{HopAddress, encode_cover};
use wakumix_sphinx::{
    ADDRESS_LEN, AddressBytes, Opened, PATH_LEN, PacketFormat, PathHop, PrivateKey, PublicKey, WireFormat,
};

use super::keys::is_lasting;

/// The mixer under test, where headers address it.
pub(super) static ME: LazyLock<HopAddress> =
    LazyLock::new(|| address("10.0.0.1", "16Uiu2HAmPiEs2ozjjJF2iN2Pe2FYeMC9w4caRHKYdLdAfjgbWM6o"));
/// Everybody else.
pub(super) static OTHER: LazyLock<HopAddress> =
    LazyLock::new(|| address("10.0.0.2", "16Uiu2HAmQArzPCyJcNCgwDrEPyXmTTVTq1E6x1pTdETdS9AFFQuK"));
/// The formats that it serves.
pub(super) static FORMATS: LazyLock<[Arc<dyn PacketFormat>; 2]> =
    LazyLock::new(|| [WireFormat::default(), WireFormat::SphinxPacket].map(WireFormat::format));

/// The keys of the two other hops.
static OTHERS: LazyLock<[PrivateKey; 2]> = LazyLock::new(|| [2, 3].map(|byte| PrivateKey::from_bytes([byte; 32])));

/// A key that no ring has.
static NOBODY: LazyLock<PublicKey> = LazyLock::new(|| PrivateKey::from_bytes([4; 32]).public());

/// Packets for keys that are the same in all runs: to make one takes as long as some ten events.
static MADE: LazyLock<Mutex<Made>> = LazyLock::new(Mutex::default);
/// Packets that are remembered, 4.6 or 6 kB each; then all are forgotten.
const MAX_MADE: usize = 1 << 14;

/// Packets by key, kind, delay and number.
type Made = HashMap<(PublicKey, Kind, u16, usize), Vec<u8>>;

/// What a packet is to the mixer under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Kind {
    part: Part,
    /// Which of the formats.
    format: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Part {
    Forward,
    /// It asks to be sent back to the mixer itself.
    Looping,
    /// Its next hop is no address.
    Nowhere,
    /// It was made for another key.
    Foreign,
    Exit,
    Cover,
    Reply,
}

impl Kind {
    pub(super) fn read(byte: u8) -> Self {
        use Part::{Cover, Exit, Foreign, Forward, Looping, Nowhere, Reply};
        let parts = [Forward, Forward, Looping, Nowhere, Exit, Reply, Cover, Foreign];
        let part = parts[usize::from(byte % 8)];
        // The second format carries nothing but addresses.
        Self { part, format: if part == Nowhere { 0 } else { usize::from(byte >> 7) } }
    }
}

/// A packet as it arrives at the mixer, which has this key; another number makes another packet.
pub(super) fn build(kind: Kind, key: &PublicKey, delay_ms: u16, number: usize) -> Vec<u8> {
    if !is_lasting(key) {
        return made(kind, key, delay_ms, number);
    }
    let mut known = MADE.lock();
    if known.len() >= MAX_MADE {
        known.clear();
    }
    known.entry((*key, kind, delay_ms, number)).or_insert_with(|| made(kind, key, delay_ms, number)).clone()
}

fn made(kind: Kind, key: &PublicKey, delay_ms: u16, number: usize) -> Vec<u8> {
    let mut rng = StdRng::seed_from_u64(number as u64);
    let format = &*FORMATS[kind.format];
    let mut packet = vec![0; format.packet_len()];
    let hop = |key: &PublicKey, address: AddressBytes| PathHop { key: *key, address, delay_ms };
    let [first, second] = OTHERS.each_ref().map(|key| hop(&key.public(), OTHER.encode()));
    let me = hop(key, ME.encode());
    let early = |next| [me, next, second];
    let late = [first, second, me];
    let none = [0; ADDRESS_LEN];
    let body = if kind.part == Part::Cover { encode_cover(&mut rng, format) } else { b"body".to_vec() };
    let mut sent = |path: [PathHop; PATH_LEN]| format.build(&mut rng, &path, &none, &body, &mut packet).unwrap();
    match kind.part {
        Part::Forward => sent(early(first)),
        Part::Looping => sent(early(me)),
        Part::Nowhere => sent(early(PathHop { address: [0xff; ADDRESS_LEN], ..first })),
        Part::Foreign => sent([hop(&NOBODY, ME.encode()), first, second]),
        Part::Exit | Part::Cover => sent(late),
        Part::Reply => {
            let (surb, _) = format.create_surb(&mut rng, &late).unwrap();
            format.use_surb(&mut rng, surb, &body, &mut packet).unwrap();
        }
    }
    if matches!(kind.part, Part::Exit | Part::Cover | Part::Reply) {
        OTHERS.iter().for_each(|key| pass(format, key, &mut packet));
    }
    packet
}

/// Carries a packet over another hop.
fn pass(format: &dyn PacketFormat, key: &PrivateKey, packet: &mut [u8]) {
    let authenticated = format.authenticate(key, packet).unwrap();
    if let Ok(Opened::Forward { blinding, .. }) = format.open(packet, authenticated) {
        format.blind(packet, blinding).unwrap();
    }
}

fn address(ip: &str, peer: &str) -> HopAddress {
    let address = format!("/ip4/{ip}/tcp/60000").parse().unwrap();
    HopAddress::from_multiaddr(&address, peer.parse().unwrap()).unwrap()
}
