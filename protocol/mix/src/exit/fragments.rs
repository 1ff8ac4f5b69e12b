//! The sets of fragments that an exit holds, and what becomes of the packets that bring them.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use thiserror::Error;
use wakumix_sphinx::{FormatKind, Surb};

use super::ExitRequest;
use crate::fragment::{Fragment, FragmentError, Limits, Losses, Progress, Reassembly, SetRefusal};
use crate::{DropReason, ExitStatus};

/// The incomplete sets of an exit: [`Reassembly`] for each packet format, since a set is answered in one. All state is
/// ephemeral.
pub struct FragmentSets {
    limits: Limits,
    /// At most one entry for each [`FormatKind`].
    stores: BTreeMap<FormatKind, Reassembly>,
}

/// What became of a fragment, for its packet.
pub enum FragmentOutcome {
    /// It is kept; its set needs more.
    Kept,
    /// Its shard was there already.
    Duplicate,
    /// Its set is whole and has been handed out.
    Late,
    /// Its set is whole: a request for this exit itself ([`HERE`](super::HERE)).
    Complete(ExitRequest),
    /// It is not kept, and the packet is dropped.
    Refused {
        /// Why.
        refusal: FragmentRefusal,
        /// The reply blocks through which to say so.
        surbs: Vec<Surb>,
    },
}

/// Why a fragment is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FragmentRefusal {
    /// It cannot be read.
    #[error("the fragment cannot be read: {0}")]
    Unreadable(#[from] FragmentError),
    /// Its set does not take it.
    #[error(transparent)]
    Set(#[from] SetRefusal),
}

impl FragmentRefusal {
    /// How the packet is counted.
    #[must_use]
    pub const fn drop_reason(self) -> DropReason {
        match self {
            Self::Unreadable(error) => error.drop_reason(),
            Self::Set(refusal) => refusal.drop_reason(),
        }
    }

    /// The status in the reply to the sender.
    #[must_use]
    pub const fn status(self) -> ExitStatus {
        match self {
            Self::Set(SetRefusal::NoRoom) => ExitStatus::Overloaded,
            Self::Unreadable(_) | Self::Set(_) => ExitStatus::BadFragment,
        }
    }

    /// Whether a whole request has come to nothing, and not one fragment alone.
    #[must_use]
    pub const fn ends_request(self) -> bool {
        matches!(self, Self::Set(SetRefusal::Damaged | SetRefusal::NoRequest))
    }
}

impl FragmentSets {
    /// Holds nothing yet. The limits are those of each packet format.
    #[must_use]
    pub const fn new(limits: Limits) -> Self {
        Self { limits, stores: BTreeMap::new() }
    }

    /// Takes a fragment that came in a packet of this format. `now` is the time since an epoch of the caller's choice.
    pub fn insert(&mut self, now: Duration, kind: FormatKind, request: ExitRequest) -> FragmentOutcome {
        let ExitRequest { surbs, data, .. } = request;
        let fragment = match Fragment::decode(&data) {
            Ok(fragment) => fragment,
            Err(error) => return FragmentOutcome::Refused { refusal: error.into(), surbs },
        };
        let store = self.stores.entry(kind).or_insert_with(|| Reassembly::new(self.limits));
        match store.insert(now, fragment, surbs) {
            Progress::Incomplete => FragmentOutcome::Kept,
            Progress::Duplicate => FragmentOutcome::Duplicate,
            Progress::Late => FragmentOutcome::Late,
            Progress::Complete { codec, data, surbs } => FragmentOutcome::Complete(ExitRequest { codec, surbs, data }),
            Progress::Refused { reason, surbs } => FragmentOutcome::Refused { refusal: reason.into(), surbs },
        }
    }

    /// Ends every set whose time is over.
    pub fn expire(&mut self, now: Duration) {
        self.stores.values_mut().for_each(|store| store.expire(now));
    }

    /// Sets that were lost since this was asked last.
    pub fn take_losses(&mut self) -> Losses {
        self.stores.values_mut().map(Reassembly::take_losses).fold(Losses::default(), |all, losses| Losses {
            expired: all.expired + losses.expired,
            displaced: all.displaced + losses.displaced,
        })
    }

    /// Incomplete sets.
    #[must_use]
    pub fn sets(&self) -> usize {
        self.stores.values().map(Reassembly::sets).sum()
    }

    /// Bytes of shards and reply blocks of all incomplete sets.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.stores.values().map(Reassembly::bytes).sum()
    }
}

impl fmt::Debug for FragmentSets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FragmentSets").field("sets", &self.sets()).field("bytes", &self.bytes()).finish_non_exhaustive()
    }
}

impl fmt::Debug for FragmentOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kept => f.write_str("Kept"),
            Self::Duplicate => f.write_str("Duplicate"),
            Self::Late => f.write_str("Late"),
            Self::Complete(_) => f.write_str("Complete(redacted)"),
            Self::Refused { refusal, .. } => f.debug_tuple("Refused").field(refusal).finish(),
        }
    }
}
