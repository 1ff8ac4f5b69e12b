//! From the bytes of a reply to what the caller is told, without I/O (`spec/waku.md §4.1`).

use wakumix_role_api::sender::PushFailure;
use wakumix_waku::{
    frame,
    lightpush::{MAX_RESPONSE_LEN, StatusCode, UNKNOWN_REQUEST_ID, text, v3},
};

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

/// Reads the application bytes of a reply.
///
/// What stands behind the frame is ignored, as a stream reader would: a service whose message block has a sequence
/// number leaves four bytes there if ours has none (`spec/mix-wire.md §7.2`).
///
/// # Errors
/// [`PushFailure::ServiceUnreachable`] for an empty answer, which the fleet's exits send when they could not reach the
/// service (`spec/mix-wire.md §11.1`), also where its older decoders leave the one byte `00`; else
/// [`PushFailure::BadAnswer`].
pub(crate) fn interpret(data: &[u8], request_id: &str) -> Result<Verdict, PushFailure> {
    if matches!(data, [] | [0]) {
        return Err(PushFailure::ServiceUnreachable);
    }
    let bad = |problem: String| PushFailure::BadAnswer(problem);
    let (body, _) = frame::decode(data, MAX_RESPONSE_LEN)
        .map_err(|error| bad(error.to_string()))?
        .ok_or_else(|| bad("it ends before its length says".to_owned()))?;
    let response = v3::Response::decode(body).map_err(|error| bad(error.to_string()))?;
    if !answers(&response, request_id) {
        return Err(bad("it answers another request".to_owned()));
    }
    Ok(verdict(response))
}

/// Whether a response belongs to a request. A service that did not read the request cannot know its id.
fn answers(response: &v3::Response, request_id: &str) -> bool {
    let unread = [StatusCode::TOO_MANY_REQUESTS, StatusCode::BAD_REQUEST];
    response.request_id == request_id
        || (response.request_id == UNKNOWN_REQUEST_ID && unread.contains(&response.status_code))
}

/// Success without a single peer is none: the fleet's clients turn it into 505.
fn verdict(response: v3::Response) -> Verdict {
    let v3::Response { status_code, status_desc, relay_peer_count, .. } = response;
    if status_code.is_success() && relay_peer_count == Some(0) {
        return Verdict {
            status: StatusCode::NO_PEERS_TO_RELAY.0,
            description: status_desc.or_else(|| Some(text::NO_PEERS.to_owned())),
            relay_peer_count,
        };
    }
    Verdict { status: status_code.0, description: status_desc, relay_peer_count }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(request_id: &str, status: StatusCode, count: Option<u32>) -> Vec<u8> {
        let response = v3::Response {
            request_id: request_id.to_owned(),
            status_code: status,
            status_desc: None,
            relay_peer_count: count,
        };
        frame::encode(&response.encode())
    }

    fn failure(data: &[u8]) -> PushFailure {
        interpret(data, "req").unwrap_err()
    }

    /// The vector of `spec/waku.md §4.1`.
    #[test]
    fn reads_the_published_response() {
        let data = b"\x0f\x0a\x08req-0001\x50\xc8\x01\x60\x03";
        let expected = Verdict { status: 200, description: None, relay_peer_count: Some(3) };
        assert_eq!(interpret(data, "req-0001"), Ok(expected.clone()));
        let with_sequence_number = [&data[..], &[1, 2, 3, 4]].concat();
        assert_eq!(interpret(&with_sequence_number, "req-0001"), Ok(expected));
    }

    #[test]
    fn an_empty_answer_means_that_the_service_was_not_reached() {
        assert_eq!(failure(&[]), PushFailure::ServiceUnreachable);
        assert_eq!(failure(&[0]), PushFailure::ServiceUnreachable);
    }

    #[test]
    fn success_without_peers_becomes_505() {
        let verdict = interpret(&response("req", StatusCode::SUCCESS, Some(0)), "req").unwrap();
        assert_eq!(verdict.status, 505);
        assert_eq!(verdict.description.as_deref(), Some("No peers for topic, skipping publish"));
        let uncounted = interpret(&response("req", StatusCode::SUCCESS, None), "req").unwrap();
        assert_eq!(uncounted.status, 200);
    }

    #[test]
    fn an_unknown_id_is_accepted_only_from_a_service_that_did_not_read_the_request() {
        for (status, is_accepted) in [(429, true), (400, true), (200, false), (500, false)] {
            let data = response("N/A", StatusCode(status), None);
            assert_eq!(interpret(&data, "req").is_ok(), is_accepted, "{status}");
        }
        let other = response("another", StatusCode::TOO_MANY_REQUESTS, None);
        assert_eq!(failure(&other), PushFailure::BadAnswer("it answers another request".to_owned()));
    }

    #[test]
    fn malformed_answers_are_told_apart_from_silence() {
        let whole = response("req", StatusCode::SUCCESS, Some(1));
        for data in [&whole[..whole.len() - 1], &[0x80, 0x00], &[0x02, 0xff, 0xff], &[0xff, 0xff, 0x7f]] {
            assert!(matches!(failure(data), PushFailure::BadAnswer(_)), "{data:02x?}");
        }
    }
}
