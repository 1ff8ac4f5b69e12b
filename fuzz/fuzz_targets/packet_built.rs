//! Sound packets, some bytes of which change on their way: a changed header never passes, and what arrives is what was sent,
//! or damage that the format cannot see.
#![no_main]

use std::{cell::RefCell, collections::HashMap, ops::Range, rc::Rc};

use libfuzzer_sys::fuzz_target;
use wakumix_fuzz::packets::{KEYS, address, carried_delay, format, header_len, is_whole, path, proof_len, rng};
use wakumix_sphinx::{AddressBytes, Opened, PacketFormat, ReplyKeys};

/// What is built, and what is done to it.
struct Journey<'a> {
    format: u8,
    seed: u8,
    delay_ms: u16,
    is_reply: bool,
    has_destination: bool,
    /// The hop that gets the packet changed.
    at: usize,
    /// Where a byte is changed, and how.
    changes: Vec<(u16, u8)>,
    body: &'a [u8],
}

impl<'a> Journey<'a> {
    /// Seven bytes of choices, three for each change, the body.
    fn read(data: &'a [u8]) -> Option<Self> {
        let ([format, seed, delay @ .., kind, at, changes], rest) = data.split_first_chunk::<7>()?;
        let (changes, body) = rest.split_at_checked(3 * usize::from(*changes))?;
        let change = |bytes: &[u8]| (u16::from_be_bytes([bytes[0], bytes[1]]), bytes[2]);
        Some(Self {
            format: *format,
            seed: *seed,
            delay_ms: delay.iter().fold(0, |delay, byte| delay << 8 | u16::from(*byte)),
            is_reply: kind & 1 != 0,
            has_destination: kind & 2 != 0,
            at: usize::from(*at) % KEYS.len(),
            changes: changes.chunks_exact(3).map(change).collect(),
            body,
        })
    }
}

/// What has become of the packet's parts.
#[derive(Clone, Copy, PartialEq)]
enum Damage {
    None,
    Payload,
    Header,
}

fuzz_target!(|data: &[u8]| {
    if let Some(journey) = Journey::read(data) {
        travel(&journey);
    }
});

fn travel(journey: &Journey<'_>) {
    let format = format(journey.format);
    let Some(built) = built(journey, format) else { return };
    let Built { destination, keys, .. } = &*built;
    let mut packet = built.packet.clone();
    let last = KEYS.len() - 1;
    let mut damage = Damage::None;
    for (hop, key) in KEYS.iter().enumerate() {
        if hop == journey.at {
            damage = change(format, &mut packet, &journey.changes);
        }
        let authentic = match format.authenticate(key, &packet) {
            Ok(authentic) => authentic,
            Err(reject) => return assert!(damage == Damage::Header, "hop {hop} refuses a sound header: {reject}"),
        };
        assert!(damage != Damage::Header, "hop {hop} takes a changed header");
        match format.open(&mut packet, authentic) {
            Ok(Opened::Forward { next, delay_ms, blinding }) => {
                assert!(hop < last && next == address(hop + 2));
                assert_eq!(delay_ms, carried_delay(format, journey.delay_ms));
                format.blind(&mut packet, blinding).expect("a sound packet goes on");
            }
            Ok(Opened::Exit { destination: read, body }) => {
                assert!(hop == last && keys.is_none() && read == *destination);
                return arrived(journey, format, &packet, Ok(body), damage);
            }
            Ok(Opened::Reply { id }) => {
                let keys = keys.as_ref().expect("it was built through a reply block");
                assert!(hop == last && id == keys.id());
                let body = format.open_reply(keys, &mut packet).map_err(|error| error.to_string());
                return arrived(journey, format, &packet, body, damage);
            }
            Err(reject) => {
                assert!(hop == last);
                return arrived(journey, format, &packet, Err(reject.to_string()), damage);
            }
        }
    }
    panic!("the last hop sent it on");
}

/// A packet as its sender made it, and who can open it.
struct Built {
    packet: Vec<u8>,
    destination: AddressBytes,
    /// If it is a reply.
    keys: Option<ReplyKeys>,
}

/// What a packet is made of: format, seed, delay, whether it is a reply and has a destination, body.
type Recipe = (u8, u8, u16, bool, bool, Vec<u8>);

/// Packets that are remembered, some 6 kB each; then all are forgotten. To make one takes as long as to open it three times.
const MOST: usize = 1 << 12;

thread_local! {
    static BUILT: RefCell<HashMap<Recipe, Rc<Built>>> = RefCell::default();
}

/// The packet of a journey; none when the body does not fit.
fn built(journey: &Journey<'_>, format: &dyn PacketFormat) -> Option<Rc<Built>> {
    let Journey { format: choice, seed, delay_ms, is_reply, has_destination, body, .. } = *journey;
    let recipe = (choice, seed, delay_ms, is_reply, has_destination, body.to_vec());
    BUILT.with_borrow_mut(|known| {
        if let Some(built) = known.get(&recipe) {
            return Some(Rc::clone(built));
        }
        if known.len() >= MOST {
            known.clear();
        }
        let built = Rc::new(build(journey, format)?);
        known.insert(recipe, Rc::clone(&built));
        Some(built)
    })
}

fn build(journey: &Journey<'_>, format: &dyn PacketFormat) -> Option<Built> {
    let mut rng = rng(journey.seed.into());
    let path = path(journey.delay_ms);
    let mut packet = vec![0; format.packet_len()];
    let destination = if journey.has_destination { address(9) } else { [0; 94] };
    let (built, keys) = if journey.is_reply {
        let (surb, keys) = format.create_surb(&mut rng, &path).expect("a fixed path is valid");
        (format.use_surb(&mut rng, surb, journey.body, &mut packet), Some(keys))
    } else {
        (format.build(&mut rng, &path, &destination, journey.body, &mut packet), None)
    };
    assert_eq!(built.is_ok(), journey.body.len() <= format.data_len(), "{built:?}");
    built.ok().map(|()| Built { packet, destination, keys })
}

/// Changes bytes; which part of the packet is another one then.
fn change(format: &dyn PacketFormat, packet: &mut [u8], changes: &[(u16, u8)]) -> Damage {
    let sound = packet.to_vec();
    for (offset, change) in changes {
        let offset = usize::from(*offset) % packet.len();
        packet[offset] ^= change;
    }
    let (header, payload) = (header_len(format), packet.len() - proof_len(format));
    if sound[..header] != packet[..header] {
        Damage::Header
    } else if sound[header..payload] != packet[header..payload] {
        Damage::Payload
    } else {
        Damage::None
    }
}

fn arrived(
    journey: &Journey<'_>,
    format: &dyn PacketFormat,
    packet: &[u8],
    body: Result<Range<usize>, String>,
    damage: Damage,
) {
    match (damage, body) {
        (Damage::None, body) => assert!(packet[body.expect("a sound packet opens")] == *journey.body),
        (_, Ok(body)) => {
            assert!(!is_whole(format), "a changed payload passed");
            assert!(packet.get(body).is_some());
        }
        (_, Err(_)) => {}
    }
}
