//! What goes back to a sender, and where to (`spec/mix-wire.md §9.2`, §21 W8).

use std::fmt;

use libp2p_identity::PeerId;
use thiserror::Error;
use wakumix_sphinx::{PacketFormat, Surb, Weaknesses};

use crate::{ExitStatus, HopAddress, countermeasures, reply_capacity};

/// Answers of a request unless the operator of the exit sets another number: as many reply blocks as a packet of a retry has. Two
/// of which each comes through in 73 of 100 cases (one packet in ten lost on each of three links) make it 93; a third adds
/// five, and every reply is another draw of a path on which two hostile nodes may lie.
pub const DEFAULT_MAX_ANSWERS: usize = 2;

/// What goes back through reply blocks of a request.
#[derive(Clone, PartialEq, Eq)]
pub enum ReplyContent {
    /// What the service said.
    Answer(Vec<u8>),
    /// What the exit says in its place; empty where the protocol has no words for it (§11.1).
    Status(Vec<u8>),
    /// Nothing: an empty reply would say that the service was not reached, and the sender might publish twice.
    Nothing,
}

impl ReplyContent {
    /// The reply to a sender for a status. `refusal` says it in the protocol of the request; empty if that has no words for it.
    #[must_use]
    pub fn of_status(status: ExitStatus, refusal: Vec<u8>) -> Self {
        if refusal.is_empty() && status == ExitStatus::AnswerTooLong { Self::Nothing } else { Self::Status(refusal) }
    }

    /// How many reply blocks of a request are used where `max_answers` bring an answer; the others are discarded. A refusal
    /// has one: the sender tries again in any case.
    #[must_use]
    pub fn replies(&self, max_answers: usize) -> usize {
        match self {
            Self::Answer(_) => max_answers,
            Self::Status(_) => 1,
            Self::Nothing => 0,
        }
    }

    /// The application bytes of each reply; `None` if nothing is sent.
    #[must_use]
    pub fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Answer(bytes) | Self::Status(bytes) => Some(bytes),
            Self::Nothing => None,
        }
    }
}

impl fmt::Debug for ReplyContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, len) = match self {
            Self::Answer(bytes) => ("Answer", bytes.len()),
            Self::Status(bytes) => ("Status", bytes.len()),
            Self::Nothing => return f.write_str("Nothing"),
        };
        f.debug_struct(name).field("len", &len).finish_non_exhaustive()
    }
}

/// An answer that one reply of this format can carry. Without reply blocks (`surbs` is 0) none has to.
///
/// # Errors
/// [`ExitStatus::AnswerTooLong`].
pub fn fit(format: &dyn PacketFormat, surbs: usize, answer: Vec<u8>) -> Result<Vec<u8>, ExitStatus> {
    let fits = surbs == 0 || answer.len() <= reply_capacity(format);
    if fits { Ok(answer) } else { Err(ExitStatus::AnswerTooLong) }
}

/// Why no reply is sent through a reply block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FirstHopError {
    /// The first hop is not an address, or is this node.
    #[error("the first hop of the reply block is not an address, or this node")]
    Invalid,
    /// The first hop is not a mix node of the directory.
    #[error("the first hop of the reply block is not a known mix node")]
    Unknown,
}

/// Where the reply through `surb` is sent: only to mix nodes of the directory, and only where the directory says, so that a
/// request cannot make this node dial an address of its choice. `known` gives the address of a mix node of the directory.
///
/// # Errors
/// [`FirstHopError`].
pub fn first_hop(
    surb: &Surb,
    own_peer: PeerId,
    known: &dyn Fn(&PeerId) -> Option<HopAddress>,
    weaknesses: Weaknesses,
) -> Result<HopAddress, FirstHopError> {
    let claimed = HopAddress::decode(&surb.hop).ok().filter(|hop| hop.peer() != own_peer);
    let claimed = claimed.ok_or(FirstHopError::Invalid)?;
    countermeasures::first_hop(weaknesses, claimed, known).ok_or(FirstHopError::Unknown)
}
