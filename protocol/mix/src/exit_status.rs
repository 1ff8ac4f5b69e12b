//! What an exit says when a request comes to nothing: the codes that its answers carry and senders read.
//!
//! Nwaku's exits send an empty answer when they cannot reach a service, and mostly nothing (`spec/mix-wire.md §11`). Ours
//! answers a lightpush request with a lightpush response whose description is [`ExitStatus::describe`]: to any client a
//! refusal with its reason in words, to ours the code behind it.

use crate::DropReason;

/// Why a request came to nothing at the exit, or behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ExitStatus {
    /// The exit does not carry this protocol.
    CodecRefused,
    /// The exit was to serve the request itself and does not serve the protocol.
    NoService,
    /// The exit passes nothing on to other nodes.
    NotForwarding,
    /// The destination is no address, or the exit itself.
    InvalidDestination,
    /// The exit passes nothing on to this address.
    AddressRefused,
    /// The exit passes nothing on to this port.
    PortRefused,
    /// The request is not framed as its protocol wants it.
    Malformed,
    /// A fragment cannot be read, or its set is contradictory or damaged.
    BadFragment,
    /// The service could not be reached. Senders get [`NoAnswer`](Self::NoAnswer).
    Unreachable,
    /// The service had no answer, or a broken one. It may have done what was asked.
    NoAnswer,
    /// The service took too long. It may have done what was asked. Senders get [`NoAnswer`](Self::NoAnswer).
    TimedOut,
    /// The service or the connection to it is overloaded.
    Busy,
    /// The exit has too many requests at work.
    Overloaded,
    /// The service has answered, with more than a reply can carry. It has most likely done what was asked.
    AnswerTooLong,
}

/// What stands in front of the code in a description.
const PREFIX: &str = "exit: ";

impl ExitStatus {
    /// Every status.
    pub const ALL: [Self; 14] = [
        Self::CodecRefused,
        Self::NoService,
        Self::NotForwarding,
        Self::InvalidDestination,
        Self::AddressRefused,
        Self::PortRefused,
        Self::Malformed,
        Self::BadFragment,
        Self::Unreachable,
        Self::NoAnswer,
        Self::TimedOut,
        Self::Busy,
        Self::Overloaded,
        Self::AnswerTooLong,
    ];

    /// The stable code.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CodecRefused => "codec_refused",
            Self::NoService => "no_service",
            Self::NotForwarding => "not_forwarding",
            Self::InvalidDestination => "invalid_destination",
            Self::AddressRefused => "address_refused",
            Self::PortRefused => "port_refused",
            Self::Malformed => "malformed",
            Self::BadFragment => "bad_fragment",
            Self::Unreachable => "unreachable",
            Self::NoAnswer => "no_answer",
            Self::TimedOut => "timed_out",
            Self::Busy => "busy",
            Self::Overloaded => "overloaded",
            Self::AnswerTooLong => "answer_too_long",
        }
    }

    /// The status of a code.
    #[must_use]
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == code)
    }

    /// The status that a sender gets. Whether a service was not there, hung up or said nothing is for the exit's operator alone:
    /// a sender that could tell would learn which ports of others are open (`spec/mix-wire.md §21 W8`).
    #[must_use]
    pub const fn told(self) -> Self {
        match self {
            Self::Unreachable | Self::TimedOut => Self::NoAnswer,
            other => other,
        }
    }

    /// The description in a response: `exit: ` and the code.
    #[must_use]
    pub fn describe(self) -> String {
        format!("{PREFIX}{}", self.as_str())
    }

    /// The status in a description; `None` if a service wrote it, or a later version of an exit.
    #[must_use]
    pub fn parse(description: &str) -> Option<Self> {
        description.strip_prefix(PREFIX).and_then(Self::from_code)
    }

    /// How the packet of a request is counted that is refused so.
    #[must_use]
    pub const fn drop_reason(self) -> DropReason {
        match self {
            Self::NoService => DropReason::NoExit,
            Self::InvalidDestination => DropReason::InvalidDestination,
            Self::Malformed => DropReason::BadMessage,
            Self::Overloaded => DropReason::QueueFull,
            _ => DropReason::PolicyRefused,
        }
    }

    /// The lightpush status code that comes nearest (`spec/waku.md §4.1`), for clients that know no description of ours.
    #[must_use]
    pub const fn lightpush_code(self) -> u32 {
        match self {
            Self::Malformed | Self::BadFragment | Self::InvalidDestination => 400,
            Self::Overloaded => 429,
            Self::AnswerTooLong => 500,
            _ => 503,
        }
    }

    /// Whether the service may have done what was asked although there is no answer of its own, so that a repeated message
    /// may be one that it knows.
    #[must_use]
    pub const fn may_be_done(self) -> bool {
        matches!(self, Self::NoAnswer | Self::TimedOut | Self::AnswerTooLong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_is_read_from_its_description() {
        for status in ExitStatus::ALL {
            assert_eq!(ExitStatus::parse(&status.describe()), Some(status));
            assert!(status.as_str().chars().all(|c| c.is_ascii_lowercase() || c == '_'));
        }
    }

    #[test]
    fn a_service_that_is_not_there_is_told_like_one_that_says_nothing() {
        for status in ExitStatus::ALL {
            let is_of_service = matches!(status, ExitStatus::Unreachable | ExitStatus::NoAnswer | ExitStatus::TimedOut);
            assert_eq!(status.told(), if is_of_service { ExitStatus::NoAnswer } else { status });
        }
    }

    #[test]
    fn the_lightpush_codes_are_those_of_the_deployed_network_for_the_like() {
        for (status, code) in [
            (ExitStatus::Malformed, 400),
            (ExitStatus::BadFragment, 400),
            (ExitStatus::Overloaded, 429),
            (ExitStatus::AnswerTooLong, 500),
            (ExitStatus::Unreachable, 503),
            (ExitStatus::CodecRefused, 503),
        ] {
            assert_eq!(status.lightpush_code(), code);
        }
    }

    #[test]
    fn no_two_statuses_share_a_code() {
        let codes: std::collections::BTreeSet<_> = ExitStatus::ALL.iter().map(|status| status.as_str()).collect();
        assert_eq!(codes.len(), ExitStatus::ALL.len());
    }

    #[test]
    fn the_words_of_a_service_are_no_status() {
        for text in ["", "busy", "exit:busy", "exit: ", "exit: Busy", "exit: later_version", "no waku relay found"] {
            assert_eq!(ExitStatus::parse(text), None, "{text}");
        }
    }
}
