//! Replay tags: which packets this key has already opened (`spec/mix-wire.md §15`, §21 W4–W6).
//!
//! A tag is SHA-256 of the shared secret; it is inserted after the MAC has been checked, so that only whoever
//! can build a valid packet can fill the set, and it stays for the life of the key.
//! `wakumix-keyring` keeps the tags of a node's keys, in memory and on disk.

use std::collections::HashSet;

use thiserror::Error;
use wakumix_sphinx::ReplayTag;

use crate::DropReason;

/// Why a packet must not be processed further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ReplayError {
    /// The same packet, or one with the same shared secret, was seen before.
    #[error("the packet was seen before")]
    Duplicate,
    /// There is no room to remember this packet, so it is refused.
    #[error("the set of replay tags is full")]
    Full,
}

impl ReplayError {
    /// How a packet is counted that is dropped for this error.
    #[must_use]
    pub const fn drop_reason(self) -> DropReason {
        match self {
            Self::Duplicate => DropReason::Duplicate,
            Self::Full => DropReason::TagsFull,
        }
    }
}

/// A bounded set of replay tags.
///
/// Overflow rule: fail closed. A full set refuses every new packet and forgets nothing, because forgetting a
/// tag would let whoever recorded its packet replay it. Memory for the whole capacity (about 38 bytes a
/// tag) is reserved at creation; no insertion ever moves the set.
#[derive(Debug)]
pub struct ReplayTags {
    seen: HashSet<ReplayTag>,
    capacity: usize,
}

impl ReplayTags {
    /// An empty set for at most `capacity` tags.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self { seen: HashSet::with_capacity(capacity), capacity }
    }

    /// Remembers a tag.
    ///
    /// # Errors
    /// [`ReplayError::Duplicate`] if it is known, also when the set is full; [`ReplayError::Full`] if it is
    /// new and there is no room.
    pub fn insert(&mut self, tag: ReplayTag) -> Result<(), ReplayError> {
        if self.seen.contains(&tag) {
            return Err(ReplayError::Duplicate);
        }
        if self.seen.len() >= self.capacity {
            return Err(ReplayError::Full);
        }
        self.seen.insert(tag);
        Ok(())
    }

    /// Number of tags remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.seen.len()
    }

    /// Whether no tag is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.seen.is_empty()
    }

    /// Most tags that fit.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.capacity
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::LazyLock;

    use proptest::prelude::*;

    use super::*;
    use crate::testing::replay_tag;

    static TAGS: LazyLock<Vec<ReplayTag>> = LazyLock::new(|| (0..8).map(replay_tag).collect());

    #[test]
    fn refuses_a_tag_that_it_has_seen() {
        let mut tags = ReplayTags::new(8);
        assert_eq!(tags.insert(replay_tag(1)), Ok(()));
        assert_eq!(tags.insert(replay_tag(1)), Err(ReplayError::Duplicate));
        assert_eq!(tags.len(), 1);
    }

    #[test]
    fn a_full_set_refuses_new_tags_and_still_knows_the_old() {
        let mut tags = ReplayTags::new(2);
        tags.insert(replay_tag(1)).unwrap();
        tags.insert(replay_tag(2)).unwrap();
        assert_eq!(tags.insert(replay_tag(3)), Err(ReplayError::Full));
        assert_eq!(tags.insert(replay_tag(1)), Err(ReplayError::Duplicate));
        assert_eq!(tags.len(), 2);
    }

    #[test]
    fn a_set_without_room_lets_nothing_pass() {
        assert_eq!(ReplayTags::new(0).insert(replay_tag(1)), Err(ReplayError::Full));
    }

    proptest! {
        #[test]
        fn agrees_with_a_set_of_everything_accepted(
            capacity in 0..6_usize,
            seen in proptest::collection::vec(0..8_usize, 0..24),
        ) {
            let mut tags = ReplayTags::new(capacity);
            let mut accepted = HashSet::new();
            for tag in seen.iter().map(|&at| TAGS[at]) {
                let expected = if accepted.contains(&tag) {
                    Err(ReplayError::Duplicate)
                } else if accepted.len() == capacity {
                    Err(ReplayError::Full)
                } else {
                    accepted.insert(tag);
                    Ok(())
                };
                prop_assert_eq!(tags.insert(tag), expected);
                prop_assert_eq!(tags.len(), accepted.len());
            }
        }
    }
}
