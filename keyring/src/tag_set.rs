//! The replay tags of one key in memory: an exact, bounded set that answers without the disk.
//!
//! Open addressing with linear probing in 256 parts that grow one by one, each by a quarter: the set never holds a second
//! copy of itself, an insertion moves at most a part, and a tag takes 20 to 25 bytes at any size.

use std::hash::{BuildHasher, RandomState};

use wakumix_mix::ReplayError;
use wakumix_sphinx::ReplayTag;

/// Bytes of a tag that are kept, in memory and on disk.
///
/// Half of SHA-256(s) is enough. A replay has the very same tag, so nothing slips through a shorter one; two packets that
/// share 128 bits by chance cost the later one, which among 2^30 packets of a key has a probability of 2^-69. Making a tag
/// that equals one of an honest packet takes 2^128 tries.
pub(crate) const TAG_LEN: usize = 16;

/// What is kept of a replay tag.
pub(crate) type Tag = [u8; TAG_LEN];

/// Parts of the set: with the largest bound, 2^30 tags, one part has 84 MB, with the default of 3.7 million 290 kB.
const PARTS: usize = 256;
/// Slots of a part that holds its first tag.
const FIRST_SLOTS: usize = 16;

/// An exact set of tags.
///
/// Overflow rule: fail closed. A full set refuses every new tag and forgets none.
pub(crate) struct TagSet {
    parts: Vec<Part>,
    secret: [u64; 2],
    len: usize,
    capacity: usize,
}

#[derive(Default)]
struct Part {
    /// Zero is an empty slot.
    slots: Vec<u128>,
    used: usize,
}

/// What is kept of a tag.
pub(crate) fn kept(tag: &ReplayTag) -> Tag {
    let mut kept = [0; TAG_LEN];
    kept.copy_from_slice(&tag.as_bytes()[..TAG_LEN]);
    kept
}

impl TagSet {
    /// An empty set for at most `capacity` tags.
    pub(crate) fn new(capacity: usize) -> Self {
        // Tags are hashes, but whoever makes a packet can try secrets until its tag falls where he wants it; places that
        // depend on a secret keep him from building long runs of slots.
        let random = RandomState::new();
        let secret = [random.hash_one(0_u8), random.hash_one(1_u8)];
        Self { parts: (0..PARTS).map(|_| Part::default()).collect(), secret, len: 0, capacity }
    }

    /// Remembers a tag.
    ///
    /// # Errors
    /// [`ReplayError::Duplicate`] if it is known, also when the set is full; [`ReplayError::Full`] if it is new and there
    /// is no room.
    pub(crate) fn insert(&mut self, tag: &Tag) -> Result<(), ReplayError> {
        if self.len >= self.capacity {
            return Err(if self.contains(tag) { ReplayError::Duplicate } else { ReplayError::Full });
        }
        if self.restore(tag) { Ok(()) } else { Err(ReplayError::Duplicate) }
    }

    /// Takes in a tag that was accepted once, whatever the bound is now; false if it is known.
    pub(crate) fn restore(&mut self, tag: &Tag) -> bool {
        let value = value(tag);
        let secret = self.secret;
        let part = &mut self.parts[part_of(secret, value)];
        let new = part.insert(secret, value);
        self.len += usize::from(new);
        new
    }

    /// Whether a tag is known.
    pub(crate) fn contains(&self, tag: &Tag) -> bool {
        let value = value(tag);
        let part = &self.parts[part_of(self.secret, value)];
        !part.slots.is_empty() && part.slots[part.find(self.secret, value)] == value
    }

    /// Makes room for so many tags at once, so that taking them in moves little.
    pub(crate) fn reserve(&mut self, tags: usize) {
        // A tenth more than the mean: parts are unequal.
        let slots = tags.div_ceil(PARTS) * 11 / 10 * 5 / 4;
        for part in self.parts.iter_mut().filter(|part| part.slots.is_empty()) {
            part.slots = vec![0; slots];
        }
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.parts.iter_mut().for_each(|part| *part = Part::default());
        self.len = 0;
    }

    /// Number of tags.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Most tags that fit.
    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Bytes allocated.
    pub(crate) fn bytes(&self) -> usize {
        let slots: usize = self.parts.iter().map(|part| part.slots.capacity()).sum();
        slots * size_of::<u128>() + self.parts.capacity() * size_of::<Part>()
    }
}

impl Part {
    fn insert(&mut self, secret: [u64; 2], value: u128) -> bool {
        // At most four fifths are in use: a search for a new tag then sees 13 slots, three cache lines, on average.
        if (self.used + 1) * 5 > self.slots.len() * 4 {
            self.grow(secret);
        }
        let at = self.find(secret, value);
        let new = self.slots[at] == 0;
        self.slots[at] = value;
        self.used += usize::from(new);
        new
    }

    /// The slot of a value, or the empty one where it belongs; there is always an empty one.
    fn find(&self, secret: [u64; 2], value: u128) -> usize {
        let mut at = slot_of(secret, value, self.slots.len());
        while self.slots[at] != 0 && self.slots[at] != value {
            at = if at + 1 == self.slots.len() { 0 } else { at + 1 };
        }
        at
    }

    fn grow(&mut self, secret: [u64; 2]) {
        let len = (self.slots.len() + self.slots.len() / 4).max(FIRST_SLOTS);
        let old = std::mem::replace(&mut self.slots, vec![0; len]);
        for value in old.into_iter().filter(|&value| value != 0) {
            let at = self.find(secret, value);
            self.slots[at] = value;
        }
    }
}

/// A tag as a number that is not zero. Two tags of 2^128 become one.
fn value(tag: &Tag) -> u128 {
    u128::from_le_bytes(*tag).max(1)
}

#[expect(clippy::cast_possible_truncation, reason = "takes the number apart into its halves")]
fn hash(secret: [u64; 2], value: u128) -> u64 {
    let (low, high) = (value as u64 ^ secret[0], (value >> 64) as u64 ^ secret[1]);
    let product = u128::from(low) * u128::from(high);
    product as u64 ^ (product >> 64) as u64
}

fn part_of(secret: [u64; 2], value: u128) -> usize {
    usize::from(hash(secret, value).to_be_bytes()[0])
}

/// The first slot to look at: what is left of the hash, scaled to the number of slots.
#[expect(clippy::cast_possible_truncation, reason = "the result is below `slots`")]
fn slot_of(secret: [u64; 2], value: u128, slots: usize) -> usize {
    let rest = hash(secret, value) << 8;
    ((u128::from(rest) * slots as u128) >> 64) as usize
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    /// Tags that look like hashes.
    fn tag(number: u64) -> Tag {
        let random = u128::from(number.wrapping_mul(0x9e37_79b9_7f4a_7c15)) << 64 | u128::from(number);
        random.to_le_bytes()
    }

    #[test]
    fn knows_all_that_it_took_and_nothing_else() {
        const TAGS: u64 = 50_000;
        let mut set = TagSet::new(usize::MAX);
        assert!((0..TAGS).all(|number| set.insert(&tag(number)) == Ok(())));
        assert!((0..TAGS).all(|number| set.contains(&tag(number))));
        assert!((TAGS..2 * TAGS).all(|number| !set.contains(&tag(number))));
        assert_eq!(set.len(), 50_000);
    }

    #[test]
    fn a_full_set_refuses_new_tags_and_still_knows_the_old() {
        let mut set = TagSet::new(2);
        assert_eq!(set.insert(&tag(1)), Ok(()));
        assert_eq!(set.insert(&tag(2)), Ok(()));
        assert_eq!(set.insert(&tag(3)), Err(ReplayError::Full));
        assert_eq!(set.insert(&tag(1)), Err(ReplayError::Duplicate));
        assert!(set.restore(&tag(4)));
        assert_eq!((set.len(), set.capacity()), (3, 2));
    }

    #[test]
    fn a_set_without_room_lets_nothing_pass() {
        assert_eq!(TagSet::new(0).insert(&tag(1)), Err(ReplayError::Full));
    }

    #[test]
    fn takes_at_most_25_bytes_a_tag_whatever_its_size() {
        let mut set = TagSet::new(usize::MAX);
        for number in 0..400_000_u64 {
            set.insert(&tag(number)).unwrap();
            if number >= 100_000 && number.is_multiple_of(1000) {
                // 16 / (4/5 · 4/5) = 25, and a little for parts that are unequal.
                assert!(set.bytes() <= set.len() * 26, "{} bytes for {} tags", set.bytes(), set.len());
            }
        }
    }

    #[test]
    fn room_that_was_made_takes_all_tags_and_little_more_memory() {
        let mut set = TagSet::new(usize::MAX);
        set.reserve(100_000);
        assert!((0..100_000_u64).all(|number| set.restore(&tag(number))));
        assert!((0..100_000).all(|number| set.contains(&tag(number))));
        // 16 · 5/4 · 11/10 = 22, and 27.5 if every part had to grow once more.
        assert!(set.bytes() < 100_000 * 28, "{} bytes", set.bytes());
    }

    #[test]
    fn forgets_when_it_is_told_to() {
        let mut set = TagSet::new(8);
        set.insert(&tag(1)).unwrap();
        set.clear();
        assert!(!set.contains(&tag(1)));
        assert_eq!(set.insert(&tag(1)), Ok(()));
    }

    proptest! {
        #[test]
        fn agrees_with_a_set_of_everything_accepted(
            capacity in 0..40_usize,
            // Tags of little entropy: zero, neighbours, equal halves.
            seen in proptest::collection::vec((0..6_u64, 0..6_u64), 0..120),
        ) {
            let mut set = TagSet::new(capacity);
            let mut accepted = HashSet::new();
            for (low, high) in seen {
                let tag = (u128::from(high) << 64 | u128::from(low) << 1).to_le_bytes();
                let expected = if accepted.contains(&tag) {
                    Err(ReplayError::Duplicate)
                } else if accepted.len() == capacity {
                    Err(ReplayError::Full)
                } else {
                    accepted.insert(tag);
                    Ok(())
                };
                prop_assert_eq!(set.insert(&tag), expected);
                prop_assert_eq!(set.len(), accepted.len());
            }
        }
    }
}
