//! What an answer means for its request. The protocol of the request says so by an [`AnswerReader`]; what follows from it is
//! the same for all protocols.

use wakumix_mix::ExitStatus;

/// What an answer means for its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// What was asked for is done, now or before.
    Done,
    /// What a service says if it can do nothing, and also of a request that it has served before: done if an earlier try may
    /// have got through, else another service may help. Lightpush has such an answer, 505 (`spec/live-behaviour.md §4`).
    DoneIfRepeated,
    /// This service cannot; another may.
    Elsewhere,
    /// Not now.
    Later,
    /// No service will do it, or what came is all that there is to say: the end.
    Final,
    /// The exit answered in place of a service.
    Exit(ExitStatus),
    /// Nobody's answer: empty, or not readable, or an answer to another request. Another exit may do better.
    Unreadable,
}

impl Meaning {
    /// What an exit's answer means like a service's.
    pub(crate) fn of_service(self) -> Self {
        match self {
            Self::Exit(ExitStatus::Busy | ExitStatus::Overloaded) => Self::Later,
            Self::Exit(_) | Self::Unreadable => Self::Elsewhere,
            other => other,
        }
    }

    /// Whether a service has spoken.
    pub(crate) fn is_of_service(self) -> bool {
        !matches!(self, Self::Exit(_) | Self::Unreadable)
    }

    /// Whether the service may have done what was asked, although the answer does not say so.
    pub(crate) fn may_be_done(self) -> bool {
        matches!(self, Self::Exit(status) if status.may_be_done())
    }
}

/// Reads the answers to one request.
pub trait AnswerReader: Send + Sync {
    /// What these application bytes of a reply mean for the request. They come from strangers.
    fn meaning(&self, answer: &[u8]) -> Meaning;

    /// How many services must say that it is done, each through its own exit; 0 counts as 1. More than one suits requests
    /// that a service recognises when they are repeated.
    fn confirmations(&self) -> usize {
        1
    }
}
