//! What an answer is worth: each descriptor is judged by itself, and what is wrong with it is counted.

use std::collections::{HashMap, HashSet};

use libp2p_identity::PeerId;
use wakumix_records::{
    descriptor::{Descriptor, DescriptorError, MAX_RESPONSE_LEN, Request, Response},
    envelope::EnvelopeError,
};
use wakumix_sphinx::Weaknesses;
use wakumix_waku::frame;

use super::{asker::Ask, store::DescriptorStore};
use crate::peer_report::{PeerReport, Refusal, SignedRecord, UnixSeconds};

/// Signatures that are checked before others on the thread have their turn: some 2 ms.
const AT_A_TIME: usize = 8;

/// An answer, checked.
#[derive(Debug, Default)]
pub(super) struct Checked {
    /// What can be reported.
    pub(super) reports: Vec<PeerReport>,
    /// Peers of its valid descriptors that are not held yet.
    pub(super) told: HashSet<PeerId>,
    /// How many of them no descriptor was held of.
    pub(super) news: usize,
    /// Descriptors of this node itself, with the times at which they were made.
    pub(super) of_me: Vec<(UnixSeconds, Vec<u8>)>,
    /// What was refused, how often.
    pub(super) refused: HashMap<Refusal, u64>,
}

/// What an answer is measured by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a> {
    /// This node, which needs no news of itself.
    pub(super) me: PeerId,
    /// The time.
    pub(super) now: UnixSeconds,
    /// Whether the peer that was asked answers over a connection that this node opened.
    pub(super) is_reached: bool,
    /// What is held already.
    pub(super) store: &'a DescriptorStore,
    /// Countermeasures that are missing.
    pub(super) weaknesses: Weaknesses,
}

impl Reader<'_> {
    /// Checks the answer to `ask`, with its length in front.
    pub(super) async fn read(self, bytes: &[u8], ask: &Ask) -> Checked {
        let mut checked = Checked::default();
        let body = frame::decode(bytes, MAX_RESPONSE_LEN).ok().flatten().map(|(body, _)| body);
        let Some(Ok(Response { mut descriptors })) = body.map(Response::decode) else {
            checked.refuse(Refusal::Malformed, 1);
            return checked;
        };
        let surplus = descriptors.len().saturating_sub(ask.request.wants());
        checked.refuse(Refusal::TooMany, surplus);
        descriptors.truncate(ask.request.wants());
        for (index, envelope) in descriptors.into_iter().enumerate() {
            if index % AT_A_TIME == AT_A_TIME - 1 {
                tokio::task::yield_now().await;
            }
            if self.store.is_known(&envelope) {
                continue;
            }
            match Descriptor::open_under(&envelope, self.now, self.weaknesses) {
                Ok(descriptor) if descriptor.peer == self.me => checked.of_me.push((descriptor.issued, envelope)),
                Ok(descriptor) => {
                    let is_own = self.is_reached && descriptor.peer == ask.peer;
                    checked.take(descriptor, envelope, is_own.then_some(self.now), ask, self.store);
                }
                Err(error) => checked.refuse(refusal(&error), 1),
            }
        }
        checked
    }
}

impl Checked {
    fn take(
        &mut self,
        descriptor: Descriptor,
        envelope: Vec<u8>,
        told_at: Option<UnixSeconds>,
        ask: &Ask,
        store: &DescriptorStore,
    ) {
        let peer = descriptor.peer;
        let was_asked_for = match &ask.request {
            Request::Own => peer == ask.peer,
            Request::Peers(peers) => peers.contains(&peer),
            Request::Sample(_) => true,
        };
        if !was_asked_for || !self.told.insert(peer) {
            return self.refuse(Refusal::TooMany, 1);
        }
        self.news += usize::from(!store.has(&peer));
        self.reports.push(PeerReport { told_at, ..report(descriptor, envelope) });
    }

    fn refuse(&mut self, refusal: Refusal, count: usize) {
        if count > 0 {
            *self.refused.entry(refusal).or_default() += count as u64;
        }
    }
}

/// What a peer that was asked for its own descriptor, over a connection that this node opened, says of itself.
pub(crate) enum OwnWord {
    /// Its descriptor.
    Descriptor(Box<PeerReport>),
    /// That it has none: it neither mixes nor serves anything now.
    Nothing,
    /// Nothing that counts.
    Unclear,
}

/// The answer to such a question.
pub(crate) struct OwnAnswer {
    pub(crate) word: OwnWord,
    /// When the peer made it, by the peer's clock, whether or not it counts.
    pub(crate) issued: Option<UnixSeconds>,
}

impl From<OwnWord> for OwnAnswer {
    fn from(word: OwnWord) -> Self {
        Self { word, issued: None }
    }
}

/// Reads the answer of a peer to [`Request::Own`], with its length in front.
pub(crate) fn own_word(bytes: &[u8], peer: PeerId, now: UnixSeconds) -> OwnAnswer {
    let body = frame::decode(bytes, MAX_RESPONSE_LEN).ok().flatten().map(|(body, _)| body);
    let Some(Ok(Response { descriptors })) = body.map(Response::decode) else { return OwnWord::Unclear.into() };
    let Some(envelope) = descriptors.into_iter().next() else { return OwnWord::Nothing.into() };
    let issued = Descriptor::times(&envelope).map(|times| times.issued);
    let word = match Descriptor::open(&envelope, now) {
        Ok(descriptor) if descriptor.peer == peer => {
            OwnWord::Descriptor(Box::new(PeerReport { told_at: Some(now), ..report(descriptor, envelope) }))
        }
        _ => OwnWord::Unclear,
    };
    OwnAnswer { word, issued }
}

fn report(descriptor: Descriptor, envelope: Vec<u8>) -> PeerReport {
    PeerReport {
        addresses: descriptor.addresses,
        capabilities: Some(descriptor.capabilities),
        shards: Some(descriptor.shards),
        mix_key: descriptor.mix_key,
        next_key: descriptor.next_key,
        key_slack: u64::from(descriptor.limits.key_overlap_s) / 2,
        profiles: Some(descriptor.profiles),
        reassembles: Some(descriptor.reassembles),
        is_full: Some(descriptor.is_full),
        operator: descriptor.operator,
        family: descriptor.family,
        expires: Some(descriptor.expires),
        record: Some(SignedRecord::Descriptor(envelope)),
        ..PeerReport::new(descriptor.peer, descriptor.issued)
    }
}

/// How a broken rule is counted.
pub(super) fn refusal(error: &DescriptorError) -> Refusal {
    match error {
        DescriptorError::TooLong(_) => Refusal::TooMany,
        DescriptorError::Envelope(EnvelopeError::Signature) | DescriptorError::Signer => Refusal::Signature,
        DescriptorError::Expired | DescriptorError::Future | DescriptorError::Lifetime => Refusal::Expired,
        _ => Refusal::Malformed,
    }
}
