//! Countermeasures that a test build can turn off, to show that the attack that each of them stops would work.
//!
//! Without the feature `weaknesses` the set is empty whatever is asked of it, has no size, and the compiler removes what
//! depends on it. A release is built without it, which `cargo tree -e features` shows.

#[cfg(feature = "weaknesses")]
mod sender;
#[cfg(test)]
#[cfg(feature = "weaknesses")]
mod tests;

#[cfg(feature = "weaknesses")]
pub(crate) use sender::NamedSender;

/// A countermeasure that is missing. Each names the attack of `integration-tests/attacks` that then works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Weakness {
    /// The sequence field names the sender, as the reference's does (`spec/mix-wire.md §21 W1`).
    SenderInSequence,
    /// Every encoding of α is taken, and the tag depends on it (W5).
    EncodingInTag,
    /// Padding, and the zero prefix of AES-CTR replies, are not looked at (W2).
    UncheckedPadding,
    /// The first reply ends the wait, sound or not (W7).
    BurnedReply,
    /// A restart forgets replay tags (W4).
    ForgottenTags,
    /// The tags of a key end before the key (W4).
    TagsBeforeKey,
    /// Tags are remembered before the MAC is checked (W6).
    TagsBeforeMac,
    /// A damaged end of the tag log is taken for the whole of it.
    TrustedTail,
    /// The exit takes any codec and any destination (W8).
    OpenExit,
    /// The exit sends answers to first hops that nobody knows (W8).
    StrangeFirstHop,
    /// Queues take what comes: delayed packets, fragments, streams (W6).
    Unbounded,
    /// Peers are not limited in what they send.
    Unmetered,
    /// Directory entries count without a signature.
    UnsignedEntries,
    /// Every hop of a path without answer is held to be dead.
    BlamedPath,
    /// The answer to a repeated message is taken for a failure.
    CountedDuplicate,
    /// The MAC is compared byte by byte.
    EarlyMacExit,
}

/// A set of [`Weakness`]es; empty in every build but the attack suite's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weaknesses {
    #[cfg(feature = "weaknesses")]
    bits: u32,
}

impl Weaknesses {
    /// All countermeasures in place.
    pub const NONE: Self = Self {
        #[cfg(feature = "weaknesses")]
        bits: 0,
    };

    /// Whether a countermeasure is missing.
    #[must_use]
    #[cfg(feature = "weaknesses")]
    pub const fn has(self, weakness: Weakness) -> bool {
        self.bits & 1 << weakness as u32 != 0
    }

    /// Whether a countermeasure is missing: never.
    #[must_use]
    #[cfg(not(feature = "weaknesses"))]
    pub const fn has(self, _: Weakness) -> bool {
        false
    }

    /// With one more countermeasure missing.
    #[must_use]
    #[cfg(feature = "weaknesses")]
    pub const fn with(self, weakness: Weakness) -> Self {
        Self { bits: self.bits | 1 << weakness as u32 }
    }
}
