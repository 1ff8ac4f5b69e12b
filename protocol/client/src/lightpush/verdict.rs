//! From the bytes of a reply to what it means for the message (`spec/waku.md §4.1`).

use wakumix_mix::ExitStatus;
use wakumix_sphinx::Weaknesses;
use wakumix_waku::lightpush::{StatusCode, text, v2, v3};

use super::{Answer, Certainty, DeliveryPath, PushFailure, Version};
use crate::{AnswerReader, ClientError, ExchangeAnswer, Exchanged, Meaning, countermeasures::is_known_done};

/// Reads the answers to one push, and its outcome.
#[derive(Clone, Debug)]
pub struct PushReader {
    pub(super) id: String,
    pub(super) hash: Option<[u8; 32]>,
    pub(super) version: Version,
    pub(super) confirmations: usize,
    pub(super) weaknesses: Weaknesses,
}

/// What the service said.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Verdict {
    /// The lightpush status code.
    status: StatusCode,
    /// The service's words.
    description: Option<String>,
    /// To how many relay peers it was sent.
    relay_peer_count: Option<u32>,
}

impl AnswerReader for PushReader {
    fn meaning(&self, answer: &[u8]) -> Meaning {
        self.read(answer).0
    }

    fn confirmations(&self) -> usize {
        self.confirmations
    }
}

impl PushReader {
    /// A reader of version 3 for a request with this id.
    #[cfg(test)]
    pub(crate) fn of_request(id: &str) -> Self {
        Self { id: id.to_owned(), hash: None, version: Version::V3, confirmations: 1, weaknesses: Weaknesses::NONE }
    }

    /// The hash of the message, where its topic is known.
    #[must_use]
    pub fn message_hash(&self) -> Option<[u8; 32]> {
        self.hash
    }

    /// What the caller hears.
    ///
    /// # Errors
    /// [`PushFailure::Client`], [`PushFailure::BadAnswer`], [`PushFailure::ServiceUnreachable`],
    /// [`PushFailure::ExitRefused`].
    pub fn outcome(&self, ended: Result<Exchanged, ClientError>) -> Result<Answer, PushFailure> {
        let Exchanged { answer, tries, round_trip, exposure } = ended?;
        let (certainty, verdict) = match answer {
            ExchangeAnswer::Said(answer) => (Certainty::Confirmed, self.read(&answer).1?),
            ExchangeAnswer::SaidOfRepeat(answer) => (Certainty::Confirmed, self.read(&answer).1?.of_repeat()),
            ExchangeAnswer::SeenDone => (Certainty::Seen, Verdict::PUBLISHED),
        };
        let Verdict { status, description, relay_peer_count } = verdict;
        Ok(Answer {
            certainty,
            path: DeliveryPath::Mixnet,
            tries,
            exposure,
            status: status.0,
            description,
            relay_peer_count,
            message_hash: self.hash,
            round_trip,
        })
    }

    /// What an answer means, and what the caller hears if it is the last.
    ///
    /// An empty answer is sent by nwaku's exits when they could not reach the service (`spec/mix-wire.md §11.1`), also where
    /// their older decoders leave the one byte `00`.
    fn read(&self, answer: &[u8]) -> (Meaning, Result<Verdict, PushFailure>) {
        if matches!(answer, [] | [0]) {
            return (Meaning::Unreadable, Err(PushFailure::ServiceUnreachable));
        }
        let verdict = match self.version {
            Version::V3 => v3::Response::read_answer(answer, &self.id).map(Verdict::from),
            Version::V2 => v2::PushResponse::read_answer(answer, &self.id).map(Verdict::from),
        };
        match verdict {
            Ok(verdict) => self.judge(verdict),
            Err(malformed) => (Meaning::Unreadable, Err(malformed.into())),
        }
    }

    fn judge(&self, verdict: Verdict) -> (Meaning, Result<Verdict, PushFailure>) {
        let Verdict { status, description, .. } = &verdict;
        let words = description.as_deref();
        if let Some(reason) = words.and_then(ExitStatus::parse) {
            return (Meaning::Exit(reason), Err(PushFailure::ExitRefused { status: status.0, reason }));
        }
        let is_known = *status == StatusCode::INVALID_MESSAGE && words == Some(text::DUPLICATE);
        let meaning = match *status {
            StatusCode::SUCCESS => Meaning::Done,
            _ if is_known && is_known_done(self.weaknesses) => {
                return (Meaning::Done, Ok(Verdict { status: StatusCode::SUCCESS, ..verdict }));
            }
            // There is no relay peer, or an earlier try of the same message was published.
            StatusCode::NO_PEERS_TO_RELAY => Meaning::DoneIfRepeated,
            StatusCode::TOO_MANY_REQUESTS => Meaning::Later,
            StatusCode::INTERNAL_SERVER_ERROR | StatusCode::SERVICE_NOT_AVAILABLE | StatusCode::OUT_OF_RLN_PROOF => {
                Meaning::Elsewhere
            }
            _ => Meaning::Final,
        };
        (meaning, Ok(verdict))
    }
}

impl Verdict {
    /// Stands for the answer of a message that was seen on relay.
    const PUBLISHED: Self = Self { status: StatusCode::SUCCESS, description: None, relay_peer_count: None };

    /// Status 200 in place of what a service answers that has the message.
    fn of_repeat(self) -> Self {
        Self { status: StatusCode::SUCCESS, relay_peer_count: None, ..self }
    }
}

impl From<v3::Response> for Verdict {
    fn from(response: v3::Response) -> Self {
        let v3::Response { status_code, status_desc, relay_peer_count, .. } = response;
        Self { status: status_code, description: status_desc, relay_peer_count }
    }
}

/// Version 2 has no codes: those of version 3 stand for its words (`spec/waku.md §4.3`).
impl From<v2::PushResponse> for Verdict {
    fn from(response: v2::PushResponse) -> Self {
        let v2::PushResponse { is_success, info } = response;
        let status = match info.as_deref() {
            _ if is_success => StatusCode::SUCCESS,
            Some(text::V2_NOT_PUBLISHED) => StatusCode::NO_PEERS_TO_RELAY,
            Some(text::V2_TOO_MANY_REQUESTS) => StatusCode::TOO_MANY_REQUESTS,
            Some(text::V2_EMPTY_REQUEST) => StatusCode::BAD_REQUEST,
            Some(words) if words.starts_with(text::DECODE_FAILURE) => StatusCode::BAD_REQUEST,
            _ => StatusCode::INVALID_MESSAGE,
        };
        Self { status, description: info, relay_peer_count: None }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use wakumix_waku::frame;

    use super::*;

    fn reader(id: &str, version: Version) -> PushReader {
        PushReader { version, ..PushReader::of_request(id) }
    }

    fn verdict(status: u32, description: Option<&str>) -> Verdict {
        Verdict { status: StatusCode(status), description: description.map(str::to_owned), relay_peer_count: None }
    }

    fn answered(id: &str, status: u32, description: Option<&str>) -> (Meaning, Result<Verdict, PushFailure>) {
        let response = v3::Response {
            request_id: id.to_owned(),
            status_code: StatusCode(status),
            status_desc: description.map(str::to_owned),
            relay_peer_count: None,
        };
        reader("req", Version::V3).read(&frame::encode(&response.encode()))
    }

    /// The vector of `spec/waku.md §4.1`.
    #[test]
    fn reads_the_published_response() {
        let data = b"\x0f\x0a\x08req-0001\x50\xc8\x01\x60\x03";
        let expected = (Meaning::Done, Ok(Verdict { relay_peer_count: Some(3), ..verdict(200, None) }));
        let reader = reader("req-0001", Version::V3);
        assert_eq!(reader.read(data), expected);
        let with_sequence_number = [&data[..], &[1, 2, 3, 4]].concat();
        assert_eq!(reader.read(&with_sequence_number), expected);
    }

    #[test]
    fn an_empty_answer_means_that_the_service_was_not_reached() {
        let expected = (Meaning::Unreadable, Err(PushFailure::ServiceUnreachable));
        for data in [&[][..], &[0]] {
            assert_eq!(reader("req", Version::V3).read(data), expected);
        }
    }

    #[test]
    fn statuses_say_whether_another_service_or_another_time_can_help() {
        for status in [500, 503, 504] {
            assert_eq!(answered("req", status, None), (Meaning::Elsewhere, Ok(verdict(status, None))));
        }
        assert_eq!(answered("N/A", 429, None), (Meaning::Later, Ok(verdict(429, None))));
        assert_eq!(answered("req", 505, None), (Meaning::DoneIfRepeated, Ok(verdict(505, None))));
        for status in [400, 413, 420, 421, 777] {
            assert_eq!(answered("req", status, None), (Meaning::Final, Ok(verdict(status, None))), "{status}");
        }
    }

    #[test]
    fn a_message_that_the_service_already_has_is_published() {
        assert_eq!(
            answered("req", 420, Some(text::DUPLICATE)),
            (Meaning::Done, Ok(verdict(200, Some(text::DUPLICATE))))
        );
        assert_eq!(answered("req", 420, Some("message has bad proof")).0, Meaning::Final);
    }

    #[test]
    fn what_an_exit_refuses_is_told_from_what_a_service_refuses() {
        for status in [400, 413, 503] {
            let reason = ExitStatus::CodecRefused;
            let expected = (Meaning::Exit(reason), Err(PushFailure::ExitRefused { status, reason }));
            assert_eq!(answered("N/A", status, Some("exit: codec_refused")), expected);
        }
        assert_eq!(Meaning::Exit(ExitStatus::CodecRefused).of_service(), Meaning::Elsewhere);
        for (status, reason) in [(429, ExitStatus::Busy), (503, ExitStatus::Overloaded)] {
            let (meaning, _) = answered("req", status, Some(&reason.describe()));
            assert_eq!(meaning.of_service(), Meaning::Later);
        }
        let (unknown, _) = answered("req", 503, Some("exit: later_version"));
        assert_eq!(unknown, Meaning::Elsewhere, "a status that is not known is a service's");
    }

    #[test]
    fn an_answer_to_another_request_is_nobodys() {
        let (meaning, verdict) = answered("other", 200, None);
        assert_eq!(meaning, Meaning::Unreadable);
        assert_eq!(verdict.unwrap_err().to_string(), "the answer is malformed: it answers another request");
    }

    #[test]
    fn the_words_of_version_2_stand_for_codes() {
        let read = |is_success, info: Option<&str>| {
            let response = Some(v2::PushResponse { is_success, info: info.map(str::to_owned) });
            let rpc = v2::PushRpc { request_id: "req".to_owned(), request: None, response };
            reader("req", Version::V2).read(&frame::encode(&rpc.encode()))
        };
        for (is_success, info, meaning, status) in [
            (true, Some(text::V2_OK), Meaning::Done, 200),
            (false, Some(text::V2_NOT_PUBLISHED), Meaning::DoneIfRepeated, 505),
            (false, Some(text::V2_TOO_MANY_REQUESTS), Meaning::Later, 429),
            (false, Some("decode_rpc_failure: no"), Meaning::Final, 400),
            (false, None, Meaning::Final, 420),
        ] {
            assert_eq!(read(is_success, info), (meaning, Ok(verdict(status, info))), "{info:?}");
        }
        assert_eq!(read(false, Some("exit: busy")).0, Meaning::Exit(ExitStatus::Busy));
    }

    #[test]
    fn outcomes_say_how_sure_they_are() {
        let reader = reader("req", Version::V3);
        let outcome = |answer| {
            let exposure = crate::Exposure { packets: 3, ..crate::Exposure::default() };
            let exchanged = Exchanged { answer, tries: 2, round_trip: Duration::from_secs(1), exposure };
            reader.outcome(Ok(exchanged)).unwrap()
        };
        let refusal = frame::encode(
            &v3::Response {
                request_id: "req".to_owned(),
                status_code: StatusCode::NO_PEERS_TO_RELAY,
                status_desc: None,
                relay_peer_count: Some(0),
            }
            .encode(),
        );
        let refused = outcome(ExchangeAnswer::Said(refusal.clone()));
        assert_eq!((refused.kind(), refused.status, refused.relay_peer_count), ("refused", 505, Some(0)));
        let repeated = outcome(ExchangeAnswer::SaidOfRepeat(refusal));
        assert_eq!((repeated.kind(), repeated.status, repeated.relay_peer_count), ("confirmed", 200, None));
        let seen = outcome(ExchangeAnswer::SeenDone);
        assert_eq!((seen.kind(), seen.tries, seen.exposure.packets), ("published_unconfirmed", 2, 3));
        let late = reader.outcome(Err(ClientError::Deadline { limit: Duration::from_secs(1), tries: 2 })).unwrap_err();
        assert_eq!(late.kind(), "deadline");
        assert_eq!(late.to_string(), "no answer within 1000 ms after 2 tries; the message may have been published");
    }
}
