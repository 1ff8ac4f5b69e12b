//! The descriptor of this node: made, and made anew when anything changes or a quarter of its life is over.

use std::{sync::Arc, time::Duration};

use libp2p_identity::Keypair;
use rand::{RngExt as _, rngs::StdRng};
use wakumix_records::descriptor::{
    Descriptor, DescriptorError, DescriptorLimits, MAX_ADDRESSES, MAX_FAMILY, MAX_PROFILES, MAX_SKEW, is_operator_tag,
};
use wakumix_waku::record::{Capabilities, MAX_LISTED_SHARDS, Shards};

use super::server::{Clock, Server};
use crate::{local::LocalRecord, peer_report::UnixSeconds, source::SourceContext};

/// Seconds that a descriptor of this node is believed: readers look for a newer one after half of it, and a node that has
/// gone without a word is forgotten in a night.
pub(super) const LIFETIME: UnixSeconds = 12 * 60 * 60;
/// When a new one is made at the latest, so that who looks after half its life always finds a newer one. Drawn between
/// half of this and the whole, so that restarted fleets do not stay in step.
pub(crate) const RENEW_AFTER: Duration = Duration::from_secs(LIFETIME / 4);
/// Between two descriptors: their order is told by whole seconds.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);

/// Keeps the server's own descriptor true for as long as the node tells what it is.
pub(super) async fn keep(context: SourceContext, limits: DescriptorLimits, server: Arc<Server>, clock: Clock) {
    let SourceContext { mut local, identity, .. } = context;
    let mut rng: StdRng = rand::make_rng();
    let mut issued = 0;
    loop {
        let record = Arc::clone(&local.borrow_and_update());
        issued = next_issue(issued, clock());
        server.set_own(record.peer, signed(&record, limits, issued, &identity), issued);
        let renewal = RENEW_AFTER.mul_f64(rng.random_range(0.5..1.0));
        tokio::select! {
            changed = local.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(renewal) => {}
        }
        tokio::time::sleep(SHORTEST_PAUSE).await;
    }
}

/// The time of issue after `last`: the clock's, but later than the last one, unless the clock was set back so far that
/// readers would take that for the future.
pub(super) fn next_issue(last: UnixSeconds, now: UnixSeconds) -> UnixSeconds {
    if last > now + MAX_SKEW { now } else { now.max(last + 1) }
}

fn signed(record: &LocalRecord, limits: DescriptorLimits, issued: UnixSeconds, key: &Keypair) -> Option<Vec<u8>> {
    let mut descriptor = describe(record, limits, issued)?;
    loop {
        match descriptor.seal(key) {
            Ok(bytes) => return Some(bytes),
            // Names may be long: the least preferred addresses go.
            Err(DescriptorError::TooLong(_)) if descriptor.addresses.len() > 1 => drop(descriptor.addresses.pop()),
            Err(error) => {
                tracing::error!(%error, "this node's descriptor cannot be made; others learn of it in other ways only");
                return None;
            }
        }
    }
}

/// What this node tells; nothing if it offers nothing or cannot be reached. A role that is not ready is not offered, and
/// the key goes with the role.
pub(super) fn describe(record: &LocalRecord, limits: DescriptorLimits, issued: UnixSeconds) -> Option<Descriptor> {
    let mix_key = record.mix_key.filter(|_| record.capabilities.contains(Capabilities::MIX));
    let capabilities = match mix_key {
        Some(_) => record.capabilities,
        None => Capabilities::from_bits(record.capabilities.bits() & !Capabilities::MIX.bits()),
    };
    if capabilities == Capabilities::NONE || record.addresses.is_empty() {
        return None;
    }
    let Shards { cluster, shards } = &record.shards;
    Some(Descriptor {
        peer: record.peer,
        issued,
        expires: issued + LIFETIME,
        addresses: record.addresses.iter().take(MAX_ADDRESSES).cloned().collect(),
        shards: Shards { cluster: *cluster, shards: shards.iter().take(MAX_LISTED_SHARDS).copied().collect() },
        capabilities,
        mix_key,
        next_key: record.next_key.filter(|_| mix_key.is_some()),
        profiles: record.profiles.iter().take(MAX_PROFILES).copied().collect(),
        operator: record.operator.clone().filter(|tag| is_operator_tag(tag)),
        family: record.family.iter().take(MAX_FAMILY).copied().collect(),
        limits: if mix_key.is_some() { limits } else { DescriptorLimits::default() },
        reassembles: record.reassembles && mix_key.is_some(),
        is_full: record.is_full,
    })
}
