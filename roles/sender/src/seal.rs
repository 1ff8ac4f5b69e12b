//! From a route and a request to a packet: reply blocks, mix message, onion. Pure computation, about a millisecond for
//! each reply block and the packet, so it runs on a worker.

use rand::CryptoRng;
use wakumix_mix::{MessageError, MixNode, Request, encode_reply};
use wakumix_sphinx::{AddressBytes, BuildError, PATH_LEN, PacketFormat, PathHop, ReplyKeys};

use crate::route::Leg;

/// Why no packet came about: a defect, for sizes were checked before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SealError {
    Message(MessageError),
    Build(BuildError),
}

/// Builds the packet of one leg into `out` and returns what opens its replies. `body` is codec and application bytes. Every
/// hop is asked for a delay of `delay_ms`.
pub(crate) fn seal(
    format: &dyn PacketFormat,
    rng: &mut dyn CryptoRng,
    leg: &Leg,
    destination: &AddressBytes,
    (codec, data): (&str, &[u8]),
    delay_ms: u16,
    out: &mut [u8],
) -> Result<Vec<ReplyKeys>, SealError> {
    let (mut surbs, mut keys) = (Vec::new(), Vec::new());
    for path in &leg.reply_paths {
        let (surb, reply_keys) = format.create_surb(rng, &hops(path, delay_ms)).map_err(SealError::Build)?;
        surbs.push(surb);
        keys.push(reply_keys);
    }
    let body = Request { codec, surbs, data }.encode().map_err(SealError::Message)?;
    format.build(rng, &hops(&leg.path, delay_ms), destination, &body, out).map_err(SealError::Build)?;
    Ok(keys)
}

/// Builds a loop along a path into `out` and returns what opens it when it comes back. It has the form of an answer without
/// content: a reply block is made and used up.
pub(crate) fn seal_loop(
    format: &dyn PacketFormat,
    rng: &mut dyn CryptoRng,
    path: &[MixNode; PATH_LEN],
    delay_ms: u16,
    out: &mut [u8],
) -> Result<ReplyKeys, SealError> {
    let (surb, keys) = format.create_surb(rng, &hops(path, delay_ms)).map_err(SealError::Build)?;
    format.use_surb(rng, surb, &encode_reply(&[]), out).map_err(SealError::Build)?;
    Ok(keys)
}

fn hops(path: &[MixNode; PATH_LEN], delay_ms: u16) -> [PathHop; PATH_LEN] {
    path.each_ref().map(|node| PathHop { key: node.key, address: node.address.encode(), delay_ms })
}
