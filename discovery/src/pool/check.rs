//! Whether a node answers: one authenticated exchange, straight to it.

use std::time::Duration;

use libp2p_identity::PeerId;
use multiaddr::Multiaddr;
use wakumix_records::descriptor::{MAX_LEN, PROTOCOL, Request};
use wakumix_role_api::host::{HostHandle, ReadRule, RequestFailure};

use crate::peer_table::CheckOutcome;

/// Checks at a time. A pool of 45 is through in three rounds; so many dials trouble no home router.
const PARALLEL_CHECKS: usize = 16;
/// The same while the pool is small. With the dials for 16 packets they fill the 64 that the host may have under way. Two
/// hundred ghosts are through in four rounds of [`STRANGER_TIMEOUT`].
pub(crate) const MAX_PARALLEL_CHECKS: usize = 48;
/// Usable nodes below which the pool is small: four times the least that a path needs (`spec/waku.md §5.4`).
const SMALL_POOL: usize = 16;
/// How long an answer may take, dialling included. QUIC gives a silent address up after 5 s, and then TCP gets its turn.
pub(crate) const CHECK_TIMEOUT: Duration = Duration::from_secs(8);
/// The same of a node that was never reached and that nobody wrote down: five round trips to the other side of the world
/// take half of it. Most strangers never answer, and each keeps another one waiting for so long.
const STRANGER_TIMEOUT: Duration = Duration::from_secs(3);

/// Checks that may run at a time in a pool of so many usable nodes.
pub(crate) fn parallel_checks(usable: usize) -> usize {
    if usable < SMALL_POOL { MAX_PARALLEL_CHECKS } else { PARALLEL_CHECKS }
}

/// Asks a node for its own descriptor, over a connection that this node has opened or opens now, though the node may have
/// dialled in. The answer is not read: that the peer proves its key at its address and answers there is what counts, so a
/// node that does not speak the protocol is as alive as one that does. One that closes after the handshake, as a node
/// without room does, was not reached.
pub(crate) async fn check(
    host: &HostHandle,
    peer: PeerId,
    addresses: Vec<Multiaddr>,
    is_stranger: bool,
) -> CheckOutcome {
    let request = wakumix_waku::frame::encode(&Request::Own.encode());
    // A response of one descriptor, and what stands around it.
    let read = ReadRule::LengthPrefixed { max: MAX_LEN + 16 };
    let timeout = if is_stranger { STRANGER_TIMEOUT } else { CHECK_TIMEOUT };
    match host.visit(peer, addresses, PROTOCOL, request, read, timeout).await {
        Ok(_) | Err(RequestFailure::Unsupported) => CheckOutcome::Alive,
        Err(RequestFailure::DialFailed | RequestFailure::Timeout | RequestFailure::Stream(_)) => CheckOutcome::Failed,
        Err(RequestFailure::Busy | RequestFailure::Stopped) => CheckOutcome::Abandoned,
    }
}
