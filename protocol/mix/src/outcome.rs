//! What may become of a packet: the closed set of ends that the accounting knows.

use wakumix_sphinx::{Opened, Reject, ReplyError};

wakumix_sphinx::named_enum! {
    /// Why this node made a packet.
    pub enum Origin {
        /// A request of this node's own user.
        Request = "request",
        /// An answer that goes back through a SURB.
        Reply = "reply",
        /// Cover traffic.
        Cover = "cover",
        /// A packet to this node itself that tests the nodes on its way.
        Loop = "loop",
    }
}

wakumix_sphinx::named_enum! {
    /// What this node turned out to be on the path of a packet that it received.
    pub enum HopKind {
        /// A hop in the middle: the packet goes on.
        Intermediate = "intermediate",
        /// The last hop of a forward path.
        Exit = "exit",
        /// The sender of the request that this packet answers.
        Reply = "reply",
    }
}

wakumix_sphinx::named_enum! {
    /// Where in the node a packet was.
    pub enum Stage {
        /// Read from a peer, not yet opened.
        Ingress = "ingress",
        /// Being opened, including the replay check.
        Unwrap = "unwrap",
        /// Held for its delay.
        Delay = "delay",
        /// On its way to the next hop: queue, dial, write.
        Egress = "egress",
        /// At the end of a forward path.
        Exit = "exit",
        /// Being opened as the reply to an own request.
        Reply = "reply",
        /// Found when the node stopped.
        Shutdown = "shutdown",
    }
}

wakumix_sphinx::named_enum! {
    /// Why a packet was dropped.
    pub enum DropReason {
        /// A frame without bytes.
        NoData = "no_data",
        /// Not the size of a packet of this profile.
        Size = "size",
        /// α is zero, of low order or not canonical.
        Alpha = "alpha",
        /// The shared secret is zero.
        ZeroSecret = "zero_secret",
        /// The header's MAC is wrong.
        Mac = "mac",
        /// Seen before.
        Duplicate = "duplicate",
        /// No room to remember its replay tag.
        TagsFull = "tags_full",
        /// Its replay tag could not be kept as durably as the node promises.
        TagsUnwritable = "tags_unwritable",
        /// The routing block is neither exit, reply nor forward.
        Role = "role",
        /// The payload's zero prefix is damaged.
        Integrity = "integrity",
        /// The message block's padding is damaged.
        Padding = "padding",
        /// This node does not forward for others.
        NotForwarding = "not_forwarding",
        /// The next hop, destination or SURB hop is no usable address.
        InvalidDestination = "invalid_destination",
        /// The next hop has an address or port that this node must not dial (of a closed network that its operator does not
        /// name, say), and is not connected.
        PrivateDestination = "private_destination",
        /// A queue on its way was full.
        QueueFull = "queue_full",
        /// The peer could not be reached.
        DialFailed = "dial_failed",
        /// The peer was reached but did not take it.
        WriteFailed = "write_failed",
        /// A reply that nobody waits for (any more).
        UnknownReply = "unknown_reply",
        /// The mix message inside cannot be read.
        BadMessage = "bad_message",
        /// Too many SURBs, or SURBs cut short.
        BadSurbs = "bad_surbs",
        /// A fragment that cannot be read, or that does not fit the others of its set.
        BadFragment = "bad_fragment",
        /// This node is no exit, or serves nothing at its own exit.
        NoExit = "no_exit",
        /// The exit's policy refuses the request.
        PolicyRefused = "policy_refused",
        /// Its peer had sent more than its part of a loaded node.
        PeerRate = "peer_rate",
        /// The node had more to do than it can catch up with.
        NodeRate = "node_rate",
        /// Its peer had too many packets in the node.
        PeerFrames = "peer_frames",
        /// Lost on purpose, in a test.
        InjectedLoss = "injected_loss",
        /// Let go of by code that did not say what became of it: a defect of this program.
        Abandoned = "abandoned",
        /// The node stopped.
        Stopped = "stopped",
    }
}

/// How a packet ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Received here and written to the next hop.
    Forwarded,
    /// Made here and written to the first hop.
    Sent,
    /// Consumed at the end of its forward path.
    Delivered,
    /// Opened as the reply to an own request.
    Replied,
    /// Recognised as cover and forgotten.
    Cover,
    /// Given up.
    Dropped {
        /// Where it was.
        stage: Stage,
        /// Why.
        reason: DropReason,
    },
}

impl Outcome {
    /// The invariant: whether a packet of this origin (`None`: received from a peer) can end so. What was made here
    /// can only be sent or dropped; what was received can end in every way but sent.
    #[must_use]
    pub const fn fits(self, origin: Option<Origin>) -> bool {
        match self {
            Self::Dropped { .. } => true,
            Self::Sent => origin.is_some(),
            Self::Forwarded | Self::Delivered | Self::Replied | Self::Cover => origin.is_none(),
        }
    }
}

impl From<crate::admission::AdmissionRefusal> for DropReason {
    fn from(refusal: crate::admission::AdmissionRefusal) -> Self {
        match refusal {
            crate::admission::AdmissionRefusal::PeerRate => Self::PeerRate,
            crate::admission::AdmissionRefusal::NodeRate => Self::NodeRate,
        }
    }
}

impl From<&Opened> for HopKind {
    fn from(opened: &Opened) -> Self {
        match opened {
            Opened::Forward { .. } => Self::Intermediate,
            Opened::Exit { .. } => Self::Exit,
            Opened::Reply { .. } => Self::Reply,
        }
    }
}

impl From<Reject> for DropReason {
    fn from(reject: Reject) -> Self {
        match reject {
            Reject::Size => Self::Size,
            Reject::Alpha => Self::Alpha,
            Reject::ZeroSecret => Self::ZeroSecret,
            Reject::Mac => Self::Mac,
            Reject::Integrity => Self::Integrity,
            Reject::Padding => Self::Padding,
            // `Reject` is open to additions; one without a name here is a packet without a role for this node.
            Reject::Role | _ => Self::Role,
        }
    }
}

impl From<ReplyError> for DropReason {
    fn from(error: ReplyError) -> Self {
        match error {
            ReplyError::Size => Self::Size,
            ReplyError::Padding => Self::Padding,
            // Likewise: what is wrong with a reply beyond its size and padding is its integrity.
            ReplyError::Integrity | _ => Self::Integrity,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_distinct_and_snake_case() {
        let reasons = DropReason::ALL.iter().map(|reason| reason.as_str());
        let names: BTreeSet<_> = reasons.collect();
        assert_eq!(names.len(), DropReason::ALL.len());
        let stages = Stage::ALL.iter().map(|stage| stage.as_str());
        for name in names.iter().copied().chain(stages) {
            assert!(name.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{name}");
        }
    }

    #[test]
    fn positions_follow_the_lists() {
        for (at, reason) in DropReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, at);
        }
    }

    #[test]
    fn what_was_received_is_never_sent_and_what_was_made_here_only_sent_or_dropped() {
        let dropped = Outcome::Dropped { stage: Stage::Egress, reason: DropReason::DialFailed };
        for outcome in [Outcome::Forwarded, Outcome::Delivered, Outcome::Replied, Outcome::Cover] {
            assert!(outcome.fits(None) && !outcome.fits(Some(Origin::Request)));
        }
        assert!(Outcome::Sent.fits(Some(Origin::Reply)) && !Outcome::Sent.fits(None));
        assert!(dropped.fits(None) && dropped.fits(Some(Origin::Cover)));
    }
}
