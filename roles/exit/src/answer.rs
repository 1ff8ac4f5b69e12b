//! What a sender is told when its request comes to nothing, in the protocol of the request.

use wakumix_mix::{ExitStatus, fragment::MAX_REASSEMBLED_LEN};
use wakumix_waku::{
    frame,
    lightpush::{StatusCode, UNKNOWN_REQUEST_ID, V2_PROTOCOL, V3_PROTOCOL, v2, v3},
};

/// Longest request id that is repeated, in bytes: clients draw 20 to 64. A longer one might not leave the rest room.
const MAX_REQUEST_ID: usize = 256;

/// How a request wants to be refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Form {
    protocol: Protocol,
    /// The id of the request, if it could be read.
    request_id: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    LightpushV3,
    LightpushV2,
    /// One without a response that says no. It gets the empty answer of the fleet (`spec/mix-wire.md §11.1`).
    Other,
}

impl Form {
    /// The form for a request of this codec with these application bytes.
    pub(crate) fn of(codec: &str, data: &[u8]) -> Self {
        let protocol = match codec {
            V3_PROTOCOL => Protocol::LightpushV3,
            V2_PROTOCOL => Protocol::LightpushV2,
            _ => Protocol::Other,
        };
        Self { protocol, request_id: protocol.request_id(data) }
    }

    /// The form for fragments without a request: they are our own, and their senders read lightpush version 3.
    pub(crate) const fn of_fragments() -> Self {
        Self { protocol: Protocol::LightpushV3, request_id: None }
    }

    /// The answer, with its length in front; empty for protocols that have no such response.
    pub(crate) fn refusal(&self, status: ExitStatus) -> Vec<u8> {
        let request_id = self.request_id.clone().unwrap_or_else(|| UNKNOWN_REQUEST_ID.to_owned());
        let response = match self.protocol {
            Protocol::LightpushV3 => v3::Response {
                request_id,
                status_code: status_code(status),
                status_desc: Some(status.describe()),
                relay_peer_count: None,
            }
            .encode(),
            Protocol::LightpushV2 => {
                let response = v2::PushResponse { is_success: false, info: Some(status.describe()) };
                v2::PushRpc { request_id, request: None, response: Some(response) }.encode()
            }
            Protocol::Other => return Vec::new(),
        };
        frame::encode(&response)
    }
}

impl Protocol {
    fn request_id(self, data: &[u8]) -> Option<String> {
        let (body, _) = frame::decode(data, MAX_REASSEMBLED_LEN).ok()??;
        let id = match self {
            Self::LightpushV3 => v3::Request::decode(body).ok()?.request_id,
            Self::LightpushV2 => v2::PushRpc::decode(body).ok()?.request_id,
            Self::Other => return None,
        };
        Some(id).filter(|id| id.len() <= MAX_REQUEST_ID)
    }
}

/// The code of the fleet that comes nearest, for clients that know no description of ours.
const fn status_code(status: ExitStatus) -> StatusCode {
    match status {
        ExitStatus::Malformed | ExitStatus::BadFragment | ExitStatus::InvalidDestination => StatusCode::BAD_REQUEST,
        ExitStatus::Overloaded => StatusCode::TOO_MANY_REQUESTS,
        ExitStatus::AnswerTooLong => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::SERVICE_NOT_AVAILABLE,
    }
}

#[cfg(test)]
mod tests {
    use wakumix_waku::WakuMessage;

    use super::*;

    fn v3_request(id: &str) -> Vec<u8> {
        let message = WakuMessage { payload: b"hello".to_vec(), ..WakuMessage::default() };
        frame::encode(&v3::Request { request_id: id.to_owned(), pubsub_topic: None, message }.encode())
    }

    fn v3_refusal(data: &[u8], status: ExitStatus) -> v3::Response {
        let answer = Form::of(V3_PROTOCOL, data).refusal(status);
        let (body, len) = frame::decode(&answer, 1024).unwrap().unwrap();
        assert_eq!(len, answer.len());
        v3::Response::decode(body).unwrap()
    }

    #[test]
    fn every_status_reaches_the_sender_of_a_version_3_request_with_its_id() {
        for status in ExitStatus::ALL {
            let response = v3_refusal(&v3_request("id-1"), status);
            assert_eq!(response.request_id, "id-1");
            assert!(!response.status_code.is_success());
            assert_eq!(ExitStatus::parse(&response.status_desc.unwrap()), Some(status));
        }
    }

    #[test]
    fn the_codes_are_those_that_the_fleet_has_for_the_like() {
        for (status, code) in [
            (ExitStatus::Malformed, 400),
            (ExitStatus::BadFragment, 400),
            (ExitStatus::Overloaded, 429),
            (ExitStatus::AnswerTooLong, 500),
            (ExitStatus::Unreachable, 503),
            (ExitStatus::CodecRefused, 503),
        ] {
            assert_eq!(v3_refusal(b"", status).status_code, StatusCode(code));
        }
    }

    #[test]
    fn a_request_that_cannot_be_read_or_has_a_huge_id_is_refused_without_one() {
        let huge = v3_request(&"i".repeat(MAX_REQUEST_ID + 1));
        for data in [&b""[..], b"\x05abc", b"\x03abc", &huge] {
            assert_eq!(v3_refusal(data, ExitStatus::Malformed).request_id, UNKNOWN_REQUEST_ID);
        }
        assert_eq!(v3_refusal(&v3_request(&"i".repeat(MAX_REQUEST_ID)), ExitStatus::Busy).request_id.len(), 256);
    }

    #[test]
    fn version_2_is_refused_in_its_own_form() {
        let request = v2::PushRpc {
            request_id: "id-2".to_owned(),
            request: Some(v2::PushRequest {
                pubsub_topic: "/waku/2/rs/1/0".to_owned(),
                message: WakuMessage::default(),
            }),
            response: None,
        };
        let answer = Form::of(V2_PROTOCOL, &frame::encode(&request.encode())).refusal(ExitStatus::TimedOut);
        let (body, _) = frame::decode(&answer, 1024).unwrap().unwrap();
        let refused = v2::PushRpc::decode(body).unwrap();
        assert_eq!((refused.request_id.as_str(), refused.request), ("id-2", None));
        let response = refused.response.unwrap();
        assert_eq!((response.is_success, response.info.as_deref()), (false, Some("exit: timed_out")));
    }

    #[test]
    fn other_protocols_have_the_empty_answer() {
        assert_eq!(Form::of("/ipfs/ping/1.0.0", b"\x03abc").refusal(ExitStatus::CodecRefused), b"");
    }
}
