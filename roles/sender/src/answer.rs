//! From the bytes of a reply to what it means for the request, without I/O (`spec/waku.md §4.1`).

use wakumix_mix::ExitStatus;
use wakumix_role_api::{plain::read_response, sender::PushFailure};
use wakumix_sphinx::{Weakness, Weaknesses};
use wakumix_waku::lightpush::{StatusCode, text, v3};

/// What the service said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// The lightpush status code.
    pub(crate) status: u32,
    /// The service's words.
    pub(crate) description: Option<String>,
    /// To how many relay peers it was sent.
    pub(crate) relay_peer_count: Option<u32>,
}

impl Verdict {
    /// Stands for the answer of a message that was seen on relay.
    pub(crate) const SEEN: Self = Self { status: StatusCode::SUCCESS.0, description: None, relay_peer_count: None };
}

/// What an answer means for its request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// The message is published, now or before.
    Published(Verdict),
    /// No relay peer took it (505): there is none, or an earlier try of the same message was published
    /// (`live-behaviour.md`: nodes of the fleet answer a message that they know so).
    NoPeers(Verdict),
    /// This service or exit cannot; another may.
    Elsewhere(Refusal),
    /// Not now.
    Later(Refusal),
    /// No service will take it.
    Final(Verdict),
}

/// An answer that is no success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The service's.
    Service(Verdict),
    /// That of the exit in place of a service, or of one that answers what nobody can read.
    Exit(PushFailure),
}

impl Refusal {
    /// Whether the message may be published nevertheless.
    pub(crate) fn may_be_done(&self) -> bool {
        matches!(self, Self::Exit(PushFailure::ExitRefused { reason, .. }) if reason.may_be_done())
    }

    /// What the caller is told.
    pub(crate) fn outcome(self) -> Result<Verdict, PushFailure> {
        match self {
            Self::Service(verdict) => Ok(verdict),
            Self::Exit(failure) => Err(failure),
        }
    }
}

/// Reads the application bytes of a reply to the request with this id.
///
/// An empty answer is sent by the fleet's exits when they could not reach the service (`spec/mix-wire.md §11.1`), also where
/// their older decoders leave the one byte `00`.
pub(crate) fn read(data: &[u8], request_id: &str, weaknesses: Weaknesses) -> Meaning {
    if matches!(data, [] | [0]) {
        return Meaning::Elsewhere(Refusal::Exit(PushFailure::ServiceUnreachable));
    }
    match read_response(data, request_id) {
        Ok(response) => meaning(response, weaknesses),
        Err(malformed) => Meaning::Elsewhere(Refusal::Exit(malformed)),
    }
}

fn meaning(response: v3::Response, weaknesses: Weaknesses) -> Meaning {
    let v3::Response { status_code, status_desc, relay_peer_count, .. } = response;
    if let Some(reason) = status_desc.as_deref().and_then(ExitStatus::parse) {
        return of_exit(status_code.0, reason);
    }
    let is_duplicate = status_code == StatusCode::INVALID_MESSAGE && status_desc.as_deref() == Some(text::DUPLICATE);
    let verdict = Verdict { status: status_code.0, description: status_desc, relay_peer_count };
    match status_code {
        StatusCode::SUCCESS => Meaning::Published(verdict),
        StatusCode::INVALID_MESSAGE if is_duplicate && !weaknesses.has(Weakness::CountedDuplicate) => {
            Meaning::Published(Verdict { status: StatusCode::SUCCESS.0, ..verdict })
        }
        StatusCode::NO_PEERS_TO_RELAY => Meaning::NoPeers(verdict),
        StatusCode::TOO_MANY_REQUESTS => Meaning::Later(Refusal::Service(verdict)),
        StatusCode::INTERNAL_SERVER_ERROR | StatusCode::SERVICE_NOT_AVAILABLE | StatusCode::OUT_OF_RLN_PROOF => {
            Meaning::Elsewhere(Refusal::Service(verdict))
        }
        _ => Meaning::Final(verdict),
    }
}

/// What an exit says in place of a service.
fn of_exit(status: u32, reason: ExitStatus) -> Meaning {
    let refusal = Refusal::Exit(PushFailure::ExitRefused { status, reason });
    match reason {
        ExitStatus::Busy | ExitStatus::Overloaded => Meaning::Later(refusal),
        _ => Meaning::Elsewhere(refusal),
    }
}

#[cfg(test)]
mod tests {
    use wakumix_waku::frame;

    use super::*;

    fn verdict(status: u32, description: Option<&str>) -> Verdict {
        Verdict { status, description: description.map(str::to_owned), relay_peer_count: None }
    }

    fn answered(id: &str, status: u32, description: Option<&str>) -> Meaning {
        let response = v3::Response {
            request_id: id.to_owned(),
            status_code: StatusCode(status),
            status_desc: description.map(str::to_owned),
            relay_peer_count: None,
        };
        read(&frame::encode(&response.encode()), "req", Weaknesses::NONE)
    }

    /// The vector of `spec/waku.md §4.1`.
    #[test]
    fn reads_the_published_response() {
        let data = b"\x0f\x0a\x08req-0001\x50\xc8\x01\x60\x03";
        let expected = Meaning::Published(Verdict { status: 200, description: None, relay_peer_count: Some(3) });
        assert_eq!(read(data, "req-0001", Weaknesses::NONE), expected);
        let with_sequence_number = [&data[..], &[1, 2, 3, 4]].concat();
        assert_eq!(read(&with_sequence_number, "req-0001", Weaknesses::NONE), expected);
    }

    #[test]
    fn an_empty_answer_means_that_the_service_was_not_reached() {
        let expected = Meaning::Elsewhere(Refusal::Exit(PushFailure::ServiceUnreachable));
        assert_eq!(read(&[], "req", Weaknesses::NONE), expected);
        assert_eq!(read(&[0], "req", Weaknesses::NONE), expected);
    }

    #[test]
    fn statuses_say_whether_another_service_or_another_time_can_help() {
        let service = |status| Refusal::Service(verdict(status, None));
        for status in [500, 503, 504] {
            assert_eq!(answered("req", status, None), Meaning::Elsewhere(service(status)));
        }
        assert_eq!(answered("N/A", 429, None), Meaning::Later(service(429)));
        assert_eq!(answered("req", 505, None), Meaning::NoPeers(verdict(505, None)));
        for status in [400, 413, 420, 421, 777] {
            assert_eq!(answered("req", status, None), Meaning::Final(verdict(status, None)), "{status}");
        }
    }

    #[test]
    fn a_message_that_the_service_already_has_is_published() {
        let published = Verdict { status: 200, ..verdict(200, Some(text::DUPLICATE)) };
        assert_eq!(answered("req", 420, Some(text::DUPLICATE)), Meaning::Published(published));
        assert!(matches!(answered("req", 420, Some("message has bad proof")), Meaning::Final(_)));
    }

    #[test]
    fn what_an_exit_refuses_is_told_from_what_a_service_refuses() {
        let refused = |status, reason| Refusal::Exit(PushFailure::ExitRefused { status, reason });
        for status in [400, 413, 503] {
            let meaning = answered("N/A", status, Some("exit: codec_refused"));
            assert_eq!(meaning, Meaning::Elsewhere(refused(status, ExitStatus::CodecRefused)));
        }
        for (status, reason) in [(429, ExitStatus::Busy), (503, ExitStatus::Overloaded)] {
            let meaning = answered("N/A", status, Some(&reason.describe()));
            assert_eq!(meaning, Meaning::Later(refused(status, reason)));
        }
        assert!(refused(503, ExitStatus::TimedOut).may_be_done() && !refused(503, ExitStatus::Busy).may_be_done());
        let words = "exit: of a later version";
        let unknown = Refusal::Service(verdict(503, Some(words)));
        assert_eq!(answered("req", 503, Some(words)), Meaning::Elsewhere(unknown));
    }

    #[test]
    fn malformed_answers_are_told_apart_from_silence() {
        for data in [&b"\x0f\x0a\x08req-0001\x50\xc8\x01\x60"[..], &[0x80, 0x00], &[0x02, 0xff, 0xff]] {
            let meaning = read(data, "req-0001", Weaknesses::NONE);
            assert!(matches!(meaning, Meaning::Elsewhere(Refusal::Exit(PushFailure::BadAnswer(_)))), "{data:02x?}");
        }
        assert!(matches!(answered("another", 200, None), Meaning::Elsewhere(Refusal::Exit(PushFailure::BadAnswer(_)))));
    }
}
