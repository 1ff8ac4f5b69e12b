//! From a route and a request to a packet: reply blocks, mix message, onion. Pure computation, up to a millisecond for
//! each reply block and the packet, so a node does it on a worker.

use rand_core::CryptoRng;
use wakumix_mix::{MessageError, MixNode, Request, encode_reply};
use wakumix_sphinx::{AddressBytes, BuildError, PATH_LEN, PacketFormat, PathHop, ReplyKeys};

use crate::route::PathPair;

/// Why no packet came about: a defect, for sizes were checked before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PacketError {
    Message(MessageError),
    Build(BuildError),
}

/// Builds the packet of one pair of paths into `out` and returns what opens its replies. The body is codec and application bytes. Every
/// hop is asked for a delay of `delay_ms`.
pub(crate) fn build(
    format: &dyn PacketFormat,
    rng: &mut dyn CryptoRng,
    paths: &PathPair,
    destination: &AddressBytes,
    (codec, data): (&str, &[u8]),
    delay_ms: u16,
    out: &mut [u8],
) -> Result<Vec<ReplyKeys>, PacketError> {
    let (mut surbs, mut keys) = (Vec::new(), Vec::new());
    for path in &paths.reply {
        let (surb, reply_keys) = format.create_surb(rng, &hops(path, delay_ms)).map_err(PacketError::Build)?;
        surbs.push(surb);
        keys.push(reply_keys);
    }
    let body = Request { codec, surbs, data }.encode().map_err(PacketError::Message)?;
    format.build(rng, &hops(&paths.forward, delay_ms), destination, &body, out).map_err(PacketError::Build)?;
    Ok(keys)
}

/// Builds a loop along a path into `out` and returns what opens it when it comes back. It has the form of an answer without
/// content: a reply block is made and used up.
pub(crate) fn build_loop(
    format: &dyn PacketFormat,
    rng: &mut dyn CryptoRng,
    path: &[MixNode; PATH_LEN],
    delay_ms: u16,
    out: &mut [u8],
) -> Result<ReplyKeys, PacketError> {
    let (surb, keys) = format.create_surb(rng, &hops(path, delay_ms)).map_err(PacketError::Build)?;
    format.use_surb(rng, surb, &encode_reply(&[]), out).map_err(PacketError::Build)?;
    Ok(keys)
}

fn hops(path: &[MixNode; PATH_LEN], delay_ms: u16) -> [PathHop; PATH_LEN] {
    path.each_ref().map(|node| PathHop { key: node.key, address: node.address.encode(), delay_ms })
}
