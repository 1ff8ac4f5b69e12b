//! The liveness check of a mix node: one authenticated exchange over a direct connection.

use std::time::Duration;

use libp2p_identity::PeerId;
use multiaddr::Multiaddr;
use wakumix_records::descriptor::{MAX_LEN, PROTOCOL, Request};
use wakumix_role_api::host::{HostHandle, ReadRule, RequestFailure};

use crate::{
    clock::Now,
    peer_report::{PeerReport, UnixSeconds},
    peer_table::CheckOutcome,
    sources::{OwnAnswer, OwnWord, own_word},
};

/// Checks in parallel. Three rounds cover a pool of 45, and a home router copes with 16 dials at once.
const PARALLEL_CHECKS: usize = 16;
/// The same while the pool is small. With 16 dials for packets they make the 64 that the host may have in progress. 200 records of
/// nodes that do not exist take five rounds (200 / 48) of [`UNVERIFIED_TIMEOUT`].
pub(crate) const MAX_PARALLEL_CHECKS: usize = 48;
/// A pool with fewer usable nodes than this is small: four times the 4 that a sender needs (`spec/waku.md §5.4`).
const SMALL_POOL: usize = 16;
/// Limit on one check, dialling included. QUIC gives up on a silent address after 5 s; that leaves 3 s for TCP.
pub(crate) const CHECK_TIMEOUT: Duration = Duration::from_secs(8);
/// The same for an unverified peer, one that was never reached and is not in the configuration. Five round trips of 300 ms take
/// half of it. Most such peers never answer, and each delays the check of another by this long.
const UNVERIFIED_TIMEOUT: Duration = Duration::from_secs(3);

/// How many checks may run in parallel while the pool has `usable` usable nodes.
pub(crate) fn parallel_checks(usable: usize) -> usize {
    if usable < SMALL_POOL { MAX_PARALLEL_CHECKS } else { PARALLEL_CHECKS }
}

/// One check of a node: a request for its own descriptor, over a connection that this node dialled (an inbound connection proves
/// no address). The node counts as alive when it proves its key at its address and answers there, even if it does not
/// support the protocol. A node that closes the connection after the handshake, as one at its connection limit does, counts as not
/// reached. A node whose last descriptor advertised the mix protocol, and that now has no descriptor, must not be used.
#[derive(Debug)]
pub(crate) struct Check {
    pub(crate) peer: PeerId,
    /// The addresses to dial.
    pub(crate) addresses: Vec<Multiaddr>,
    /// It was never reached, and is not in the configuration.
    pub(crate) is_unverified_peer: bool,
    /// Its last descriptor advertises a mix key.
    pub(crate) mixes_by_descriptor: bool,
}

/// How a check ended.
#[derive(Debug)]
pub(crate) struct Checked {
    pub(crate) outcome: CheckOutcome,
    /// The node's own descriptor; no copy from another peer is newer.
    pub(crate) told: Option<Box<PeerReport>>,
    /// When it signed that, by its own clock.
    pub(crate) issued: Option<UnixSeconds>,
}

impl From<CheckOutcome> for Checked {
    fn from(outcome: CheckOutcome) -> Self {
        Self { outcome, told: None, issued: None }
    }
}

impl Check {
    pub(crate) async fn run(self, host: &HostHandle) -> Checked {
        let request = wakumix_waku::frame::encode(&Request::Own.encode());
        // A response with one descriptor, and the framing around it (16 bytes at most).
        let read = ReadRule::LengthPrefixed { max: MAX_LEN + 16 };
        let timeout = if self.is_unverified_peer { UNVERIFIED_TIMEOUT } else { CHECK_TIMEOUT };
        match host.visit(self.peer, self.addresses, PROTOCOL, request, read, timeout).await {
            Ok(answer) => {
                let OwnAnswer { word, issued } = own_word(&answer, self.peer, Now::read().unix);
                let (outcome, told) = match word {
                    OwnWord::Descriptor(told) => (CheckOutcome::Alive, Some(told)),
                    OwnWord::Nothing if self.mixes_by_descriptor => (CheckOutcome::NotMixing, None),
                    OwnWord::Nothing | OwnWord::Unclear => (CheckOutcome::Alive, None),
                };
                Checked { outcome, told, issued }
            }
            Err(RequestFailure::Unsupported) => CheckOutcome::Alive.into(),
            Err(RequestFailure::DialFailed | RequestFailure::Timeout) => CheckOutcome::Failed.into(),
            Err(RequestFailure::Stream(_)) => CheckOutcome::HungUp.into(),
            Err(RequestFailure::Busy | RequestFailure::Stopped) => CheckOutcome::Abandoned.into(),
        }
    }
}
