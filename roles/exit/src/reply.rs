//! From an answer to reply packets: one through each reply block, on a worker (`spec/mix-wire.md §9.2`).

use std::sync::Arc;

use libp2p_identity::PeerId;
use rand::rngs::StdRng;
use wakumix_mix::{DelayLaw, DropReason, ExitStatus, HopAddress, Ledger, Origin, Outcome, Packet, Stage, encode_reply};
use wakumix_role_api::{
    Directory, DirectoryReader, Served,
    mixer::{LocalPacket, MixerHandle},
};
use wakumix_sphinx::{Surb, Weakness, Weaknesses};
use wakumix_waku::lightpush::refusal::RefusalForm;

use crate::{
    metrics::{Metrics, ReplyOutcome},
    refusal::refusal,
};

/// What goes back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// What the service said.
    Answer(Vec<u8>),
    /// What this exit says in its place; empty where the protocol has no words for it (§11.1).
    Status(Vec<u8>),
    /// Nothing: an empty reply would say that the service was not reached, and the sender might publish twice.
    Nothing,
}

impl Reply {
    /// What tells a sender of this status.
    pub(crate) fn of_status(form: &RefusalForm, status: ExitStatus) -> Self {
        let bytes = refusal(form, status);
        if bytes.is_empty() && status == ExitStatus::AnswerTooLong { Self::Nothing } else { Self::Status(bytes) }
    }

    /// The bytes that a reply carries, and how one is counted that has left.
    fn bytes(&self) -> Option<(&[u8], ReplyOutcome)> {
        match self {
            Self::Answer(bytes) | Self::Status(bytes) if bytes.is_empty() => Some((bytes, ReplyOutcome::SentEmpty)),
            Self::Answer(bytes) => Some((bytes, ReplyOutcome::Sent)),
            Self::Status(bytes) => Some((bytes, ReplyOutcome::SentStatus)),
            Self::Nothing => None,
        }
    }
}

/// What it takes to send replies.
#[derive(Clone)]
pub(crate) struct Replier {
    pub(crate) me: PeerId,
    pub(crate) directory: DirectoryReader,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) mixer: MixerHandle,
    pub(crate) hold: DelayLaw,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) weaknesses: Weaknesses,
}

impl Replier {
    /// Sends `reply`, which fits, through every reply block; each is used up.
    pub(crate) fn send(&self, rng: &mut StdRng, served: &Served, surbs: Vec<Surb>, reply: &Reply) {
        let Some((bytes, sent)) = reply.bytes() else {
            return self.metrics.record_replies(ReplyOutcome::TooLong, surbs.len());
        };
        let (body, directory) = (encode_reply(bytes), self.directory.snapshot());
        for surb in surbs {
            let outcome = self.send_one(rng, served, &directory, surb, &body);
            self.metrics.record_replies(outcome.map_or_else(|failure| failure, |()| sent), 1);
        }
    }

    fn send_one(
        &self,
        rng: &mut StdRng,
        served: &Served,
        directory: &Directory,
        surb: Surb,
        body: &[u8],
    ) -> Result<(), ReplyOutcome> {
        let to = self.first_hop(directory, &surb)?;
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
            error.into_inner().packet.settle(outcome);
            ReplyOutcome::MixerRefused
        })
    }

    /// Where a reply is sent: only to mix nodes of the directory, and only where the directory says, so that a request
    /// cannot make this node dial an address of its choice (`spec/mix-wire.md §21` W8).
    fn first_hop(&self, directory: &Directory, surb: &Surb) -> Result<HopAddress, ReplyOutcome> {
        let claimed = HopAddress::decode(&surb.hop).ok().filter(|hop| hop.peer() != self.me);
        let claimed = claimed.ok_or(ReplyOutcome::InvalidHop)?;
        if self.weaknesses.has(Weakness::StrangeFirstHop) {
            return Ok(claimed);
        }
        directory.mix_node(&claimed.peer()).map(|node| node.address.clone()).ok_or(ReplyOutcome::StrangeHop)
    }
}
