//! Whether a node answers: one authenticated exchange, straight to it.

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

/// One check of a node: it is asked for its own descriptor, over a connection that this node has opened or opens now, though the
/// node may have dialled in. That the peer proves its key at its address and answers there is what counts, so a node that does
/// not speak the protocol is as alive as one that does. One that closes after the handshake, as a node without room does, was
/// not reached; one whose descriptor says that it mixes, and that has none now, is not to be used.
#[derive(Debug)]
pub(crate) struct Check {
    pub(crate) peer: PeerId,
    /// Where it is tried.
    pub(crate) addresses: Vec<Multiaddr>,
    /// It was never reached, and nobody wrote it down.
    pub(crate) is_unverified_peer: bool,
    /// Its descriptor says that it mixes.
    pub(crate) mixes_by_descriptor: bool,
}

/// How a check ended.
#[derive(Debug)]
pub(crate) struct Checked {
    pub(crate) outcome: CheckOutcome,
    /// What the node says of itself, which nobody else's copy is newer than.
    pub(crate) told: Option<Box<PeerReport>>,
    /// When it made that, by its own clock.
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
        // A response of one descriptor, and what stands around it.
        let read = ReadRule::LengthPrefixed { max: MAX_LEN + 16 };
        let timeout = if self.is_unverified_peer { STRANGER_TIMEOUT } else { CHECK_TIMEOUT };
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
