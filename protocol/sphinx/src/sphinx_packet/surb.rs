//! Single-use reply blocks: the crate's, which hand out the last hop's payload key seed only, and a contact.
//!
//! ```text
//! 0            348                        380       396          404
//! | header 348 | x of the first hop's key | seed 16 | contact 8 |
//! ```

use rand_core::CryptoRng;

use crate::block::is_zero;
use crate::curve::is_canonical_nonzero;
use crate::format::FormatKind;
use crate::layout::{ALPHA_LEN, GAMMA_LEN, PATH_LEN, SURB_ID_LEN};
use crate::path::{BuildError, PathHop};
use crate::sphinx_packet::address::Compact;
use crate::sphinx_packet::header;
use crate::sphinx_packet::layout::{CONTACT_LEN, COORDINATE_LEN, HEADER_LEN, ROUTING_LEN, SURB_LEN};
use crate::sphinx_packet::packet::{HeaderMut, HeaderRef, PacketMut};
use crate::sphinx_packet::payload::{self, Payload, Seed};
use crate::sphinx_packet::routing::Last;
use crate::surb::{ReplyError, ReplyKeys, ReplyLayers, Surb, SurbError, SurbId};

/// The 404 bytes of a block.
struct Block<'a> {
    header: HeaderRef<'a>,
    coordinate: &'a [u8; COORDINATE_LEN],
    seed: &'a Seed,
    contact: &'a [u8; CONTACT_LEN],
}

impl<'a> Block<'a> {
    /// `None` for any other number of bytes.
    fn new(bytes: &'a [u8]) -> Option<Self> {
        let bytes: &[u8; SURB_LEN] = bytes.try_into().ok()?;
        let (header, rest) = bytes.split_first_chunk::<HEADER_LEN>()?;
        let (coordinate, rest) = rest.split_first_chunk()?;
        let (seed, rest) = rest.split_first_chunk()?;
        let (contact, _) = rest.split_first_chunk()?;
        Some(Self { header: HeaderRef::new(header)?, coordinate, seed, contact })
    }
}

/// Makes a block and the keys that open the reply.
pub(super) fn create(rng: &mut dyn CryptoRng, path: &[PathHop; PATH_LEN]) -> Result<(Surb, ReplyKeys), BuildError> {
    let first = Compact::of(&path[0].address).ok_or(BuildError::Address)?;
    let mut id = [0; SURB_ID_LEN];
    rng.fill_bytes(&mut id);
    if bool::from(is_zero(&id)) {
        return Err(BuildError::ZeroSurbId);
    }
    let id = SurbId::from_bytes(id);
    let (mut alpha, mut mac, mut routing) = ([0; ALPHA_LEN], [0; GAMMA_LEN], [0; ROUTING_LEN]);
    let header = HeaderMut { alpha: &mut alpha, mac: &mut mac, routing: &mut routing };
    let keys = header::build(rng, path, &Last::reply(id), header)?;
    let seeds = keys.each_ref().map(|hop| *hop.payload_seed());
    let seed = keys[PATH_LEN - 1].payload_seed();
    let bytes = [&alpha[..], &mac, &routing, &first.coordinate, seed, &first.contact(0)].concat();
    let surb = Surb::new(FormatKind::SphinxPacket, path[0].address, bytes);
    Ok((surb, ReplyKeys::new(id, ReplyLayers::SphinxPacket { seeds })))
}

/// Reads a block.
pub(super) fn read(bytes: &[u8]) -> Result<Surb, SurbError> {
    let block = Block::new(bytes).ok_or(SurbError::Size { len: bytes.len(), needed: SURB_LEN })?;
    if !is_canonical_nonzero(block.header.alpha) {
        return Err(SurbError::Alpha);
    }
    match Compact::read(block.coordinate, *block.contact) {
        Some((first, 0)) => Ok(Surb::new(FormatKind::SphinxPacket, first.address(), bytes.to_vec())),
        _ => Err(SurbError::Hop),
    }
}

/// Writes the header of a block and encrypts the reply under its seed.
#[expect(clippy::needless_pass_by_value, reason = "a reply block is used once")]
pub(super) fn seal(surb: Surb, packet: PacketMut<'_>) -> Result<(), BuildError> {
    let PacketMut { mut header, payload } = packet;
    let block = Block::new(surb.bytes_of(FormatKind::SphinxPacket)?).ok_or(BuildError::ForeignSurb)?;
    header.copy_from(&block.header);
    payload::encrypt(block.seed, payload);
    Ok(())
}

/// Undoes what the hops, this node included, and the exit did to a reply.
pub(super) fn unseal(keys: &ReplyKeys, payload: &mut Payload) -> Result<(), ReplyError> {
    let ReplyLayers::SphinxPacket { seeds } = keys.layers() else {
        return Err(ReplyError::Integrity);
    };
    for seed in seeds.iter().rev() {
        payload::encrypt(seed, payload);
    }
    payload::decrypt(&seeds[PATH_LEN - 1], payload);
    Ok(())
}
