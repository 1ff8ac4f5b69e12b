//! From an answer to reply packets: one through each reply block, on a worker (`spec/mix-wire.md §9.2`).

use std::sync::Arc;

use libp2p_identity::PeerId;
use rand::rngs::StdRng;
use wakumix_mix::{
    DelayLaw, DropReason, HopAddress, Ledger, Origin, Outcome, Packet, Stage, encode_reply, reply_capacity,
};
use wakumix_role_api::{
    Served,
    mixer::{LocalPacket, MixerHandle},
};
use wakumix_sphinx::Surb;

use crate::metrics::{Metrics, ReplyOutcome};

/// What it takes to send replies.
#[derive(Clone)]
pub(crate) struct Replier {
    pub(crate) me: PeerId,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) mixer: MixerHandle,
    pub(crate) hold: DelayLaw,
    pub(crate) metrics: Arc<Metrics>,
}

impl Replier {
    /// Sends `answer` through every reply block; each is used up.
    ///
    /// An answer that does not fit is not sent at all, as in the reference: an empty one would say that the service was
    /// not reached, and the caller might publish twice.
    pub(crate) fn send(&self, rng: &mut StdRng, served: &Served, surbs: Vec<Surb>, answer: &[u8]) {
        if answer.len() > reply_capacity(&*served.format) {
            self.metrics.record_replies(ReplyOutcome::TooLong, surbs.len());
            return;
        }
        let body = encode_reply(answer);
        let sent = if answer.is_empty() { ReplyOutcome::SentEmpty } else { ReplyOutcome::Sent };
        for surb in surbs {
            let outcome = self.send_one(rng, served, surb, &body).map_or_else(|failure| failure, |()| sent);
            self.metrics.record_replies(outcome, 1);
        }
    }

    fn send_one(&self, rng: &mut StdRng, served: &Served, surb: Surb, body: &[u8]) -> Result<(), ReplyOutcome> {
        let to = HopAddress::decode(&surb.hop).ok().filter(|hop| hop.peer() != self.me);
        let to = to.ok_or(ReplyOutcome::InvalidHop)?;
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
}
