//! From an answer to reply packets, each through its own reply block, on a worker (`spec/mix-wire.md §9.2`).

use std::sync::Arc;

use libp2p_identity::PeerId;
use rand::rngs::StdRng;
use wakumix_mix::{
    DelayLaw, DropReason, Ledger, Origin, Outcome, Packet, Stage, encode_reply,
    exit::{FirstHopError, ReplyContent, first_hop},
};
use wakumix_role_api::{
    Directory, DirectoryReader, Served,
    mixer::{LocalPacket, MixerHandle},
};
use wakumix_sphinx::{Surb, Weaknesses};

use crate::metrics::{Metrics, ReplyOutcome};

/// What it takes to send replies.
#[derive(Clone)]
pub(crate) struct Replier {
    pub(crate) me: PeerId,
    pub(crate) directory: DirectoryReader,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) mixer: MixerHandle,
    pub(crate) hold: DelayLaw,
    /// Answers to a request.
    pub(crate) max_answers: usize,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) weaknesses: Weaknesses,
}

impl Replier {
    /// Sends `reply`, which fits, through as many reply blocks as it is to have; the others are discarded.
    pub(crate) fn send(&self, rng: &mut StdRng, served: &Served, surbs: Vec<Surb>, reply: &ReplyContent) {
        let sent = sent(reply);
        let Some(bytes) = reply.bytes() else { return self.metrics.record_replies(sent, surbs.len()) };
        let (body, directory) = (encode_reply(bytes), self.directory.snapshot());
        let (mut surbs, mut wanted) = (surbs.into_iter(), reply.replies(self.max_answers));
        while wanted > 0
            && let Some(surb) = surbs.next()
        {
            let outcome = self.send_one(rng, served, &directory, surb, &body);
            wanted -= usize::from(outcome.is_ok());
            self.metrics.record_replies(outcome.map_or_else(|failure| failure, |()| sent), 1);
        }
        self.metrics.record_replies(ReplyOutcome::Surplus, surbs.len());
    }

    fn send_one(
        &self,
        rng: &mut StdRng,
        served: &Served,
        directory: &Directory,
        surb: Surb,
        body: &[u8],
    ) -> Result<(), ReplyOutcome> {
        let known = |peer: &PeerId| directory.address(peer).cloned();
        let to = first_hop(&surb, self.me, &known, self.weaknesses).map_err(unusable)?;
        let buffer = served.buffers.take().ok_or(ReplyOutcome::NoBuffer)?;
        let mut packet = Packet::originated(buffer, &self.ledger, Origin::Reply);
        if served.format.use_surb(rng, surb, body, packet.bytes_mut()).is_err() {
            packet.reject(DropReason::Abandoned);
            return Err(ReplyOutcome::Failed);
        }
        let hold = self.hold.sample(rng, self.hold.encode());
        self.mixer.send(LocalPacket { to, packet, hold, done: None }).map_err(|error| {
            let outcome = if error.is_full() {
                Outcome::Dropped { stage: Stage::Egress, reason: DropReason::QueueFull }
            } else {
                Outcome::Dropped { stage: Stage::Shutdown, reason: DropReason::Stopped }
            };
            error.into_inner().packet.finish(outcome);
            ReplyOutcome::MixerRefused
        })
    }
}

/// How a reply with this content is counted that has left, or that is not sent at all.
fn sent(reply: &ReplyContent) -> ReplyOutcome {
    match reply {
        ReplyContent::Answer(bytes) | ReplyContent::Status(bytes) if bytes.is_empty() => ReplyOutcome::SentEmpty,
        ReplyContent::Answer(_) => ReplyOutcome::Sent,
        ReplyContent::Status(_) => ReplyOutcome::SentStatus,
        ReplyContent::Nothing => ReplyOutcome::TooLong,
    }
}

/// How a reply is counted whose reply block has such a first hop.
fn unusable(error: FirstHopError) -> ReplyOutcome {
    match error {
        FirstHopError::Invalid => ReplyOutcome::InvalidHop,
        FirstHopError::Unknown => ReplyOutcome::StrangeHop,
    }
}
