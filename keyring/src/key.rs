//! One key and its tags.

use std::{
    fmt,
    sync::{Mutex, PoisonError},
};

use wakumix_mix::{ReplayError, ReplayTags};
use wakumix_sphinx::{PrivateKey, PublicKey, ReplayTag};

/// A mix key with the replay tags of the packets that it has opened.
pub struct MixKey {
    private: PrivateKey,
    tags: Mutex<ReplayTags>,
}

/// Tags that were looked at together.
#[derive(Debug)]
pub struct Admitted {
    /// For each tag in order whether its packet is new.
    pub verdicts: Vec<Result<(), ReplayError>>,
}

/// The tags of new packets could not be kept; the packets must be dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uncommitted;

impl MixKey {
    pub(crate) fn in_memory(private: PrivateKey, tags: usize) -> Self {
        Self { private, tags: Mutex::new(ReplayTags::new(tags)) }
    }

    /// The private half.
    #[must_use]
    pub fn private(&self) -> &PrivateKey {
        &self.private
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        self.private.public()
    }

    /// Remembers the tags of packets whose MAC is good. Of equal tags the first is new.
    pub fn admit(&self, tags: &[ReplayTag]) -> Admitted {
        let mut seen = self.tags.lock().unwrap_or_else(PoisonError::into_inner);
        Admitted { verdicts: tags.iter().map(|tag| seen.insert(*tag)).collect() }
    }

    /// Tags remembered.
    #[must_use]
    pub fn tags(&self) -> usize {
        self.tags.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Tags for which there is room.
    #[must_use]
    pub fn tag_capacity(&self) -> usize {
        self.tags.lock().unwrap_or_else(PoisonError::into_inner).capacity()
    }
}

impl Admitted {
    /// Waits until the new tags are kept as durably as the ring promises. Only then may anything be done with their packets.
    ///
    /// # Errors
    /// [`Uncommitted`].
    ///
    /// Cancel safe: yes; the tags stay remembered.
    pub async fn committed(&mut self) -> Result<(), Uncommitted> {
        Ok(())
    }
}

impl fmt::Debug for MixKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MixKey({})", self.public())
    }
}
