//! Whether a node answers: one authenticated exchange, straight to it.

use std::time::Duration;

use libp2p_identity::PeerId;
use multiaddr::Multiaddr;
use wakumix_records::descriptor::{MAX_LEN, PROTOCOL, Request};
use wakumix_role_api::host::{HostHandle, ReadRule, RequestFailure};

use crate::peer_table::CheckOutcome;

/// Checks at a time. A pool of 45 is through in three rounds; so many dials trouble no home router.
pub(crate) const PARALLEL_CHECKS: usize = 16;
/// How long an answer may take, dialling included. QUIC gives a silent address up after 5 s, and then TCP gets its turn.
pub(crate) const CHECK_TIMEOUT: Duration = Duration::from_secs(8);

/// Asks a node for its own descriptor. The answer is not read: that the peer proves its key on the connection is what
/// counts, so a node that does not speak the protocol is as alive as one that does.
pub(crate) async fn check(host: &HostHandle, peer: PeerId, addresses: Vec<Multiaddr>) -> CheckOutcome {
    let request = wakumix_waku::frame::encode(&Request::Own.encode());
    // A response of one descriptor, and what stands around it.
    let read = ReadRule::LengthPrefixed { max: MAX_LEN + 16 };
    match host.request(peer, addresses, PROTOCOL, request, read, CHECK_TIMEOUT).await {
        Ok(_) | Err(RequestFailure::Unsupported | RequestFailure::Stream(_)) => CheckOutcome::Alive,
        Err(RequestFailure::DialFailed | RequestFailure::Timeout) => CheckOutcome::Failed,
        Err(RequestFailure::Busy | RequestFailure::Stopped) => CheckOutcome::Abandoned,
    }
}
