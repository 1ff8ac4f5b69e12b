//! What a page keeps from one visit to the next: its guards and its pool. It is public knowledge but for the guards, which say
//! which nodes this user enters the mixnet over; so it stays in the page's own storage.
//!
//! | bytes | meaning |
//! |---|---|
//! | 1 | version, [`VERSION`] |
//! | 2 | cluster |
//! | list | guards in order: peer id, expiry in Unix seconds (8), subnets (4) |
//! | list | descriptors in their envelopes |

use wakumix_client::guards::SampledGuard;

use crate::codec::{Malformed, Reader, Writer};

const VERSION: u8 = 1;
/// Descriptors that are kept: enough to send at once, and to find the others.
const MAX_DESCRIPTORS: usize = 64;

pub(crate) fn write<'a>(cluster: u16, guards: &[SampledGuard], descriptors: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let w = &mut Writer::default();
    w.u8(VERSION);
    w.0.extend_from_slice(&cluster.to_le_bytes());
    w.list(guards, |w, guard| {
        w.peer(&guard.peer);
        w.u64(guard.expires);
        w.u32(guard.subnets);
    });
    let descriptors: Vec<_> = descriptors.take(MAX_DESCRIPTORS).collect();
    w.list(&descriptors, |w, descriptor| w.bytes(descriptor));
    std::mem::take(&mut w.0)
}

/// Guards and descriptors, unchecked; nothing if they are of another cluster.
pub(crate) fn read(bytes: &[u8], cluster: u16) -> Result<(Vec<SampledGuard>, Vec<Vec<u8>>), Malformed> {
    let r = &mut Reader(bytes);
    if r.u8()? != VERSION {
        return Err(Malformed);
    }
    let is_same = r.u16()? == cluster;
    let guard = |r: &mut Reader<'_>| Ok(SampledGuard { peer: r.peer()?, expires: r.u64()?, subnets: r.u32()? });
    let guards = r.list(guard)?;
    let descriptors = r.list(|r| r.bytes().map(<[u8]>::to_vec))?;
    r.end()?;
    Ok(if is_same { (guards, descriptors) } else { Default::default() })
}
