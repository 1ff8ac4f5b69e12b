//! How a lightpush request is refused by a node that does not serve it, in the version of the request.

use super::{StatusCode, UNKNOWN_REQUEST_ID, V2_PROTOCOL, V3_PROTOCOL, v2, v3};
use crate::frame;

/// Longest request id that is repeated, in bytes: clients draw 20 to 64. A longer one might leave no room for the rest.
const MAX_REQUEST_ID_LEN: usize = 256;

/// How a request is to be refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusalForm {
    protocol: Protocol,
    /// The id of the request, if it could be read.
    request_id: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    LightpushV3,
    LightpushV2,
    /// One without a response that says no. It gets the empty answer of the deployed network (`spec/mix-wire.md §11.1`).
    Other,
}

impl RefusalForm {
    /// The form for a request of this codec with these application bytes, its frame included. In a frame of more than
    /// `max_body_len` bytes no id is looked for.
    #[must_use]
    pub fn of(codec: &str, data: &[u8], max_body_len: usize) -> Self {
        let protocol = match codec {
            V3_PROTOCOL => Protocol::LightpushV3,
            V2_PROTOCOL => Protocol::LightpushV2,
            _ => Protocol::Other,
        };
        Self { protocol, request_id: protocol.request_id(data, max_body_len) }
    }

    /// The form of version 3 for a request that is not there: fragments that do not give one, whose senders read this version.
    #[must_use]
    pub const fn v3_without_request() -> Self {
        Self { protocol: Protocol::LightpushV3, request_id: None }
    }

    /// The response that refuses the request, with its length in front; empty for protocols that have no such response.
    /// Version 2 carries the description alone.
    #[must_use]
    pub fn refuse(&self, status_code: StatusCode, description: &str) -> Vec<u8> {
        let request_id = self.request_id.clone().unwrap_or_else(|| UNKNOWN_REQUEST_ID.to_owned());
        let description = Some(description.to_owned());
        let response = match self.protocol {
            Protocol::LightpushV3 => {
                v3::Response { request_id, status_code, status_desc: description, relay_peer_count: None }.encode()
            }
            Protocol::LightpushV2 => {
                let response = v2::PushResponse { is_success: false, info: description };
                v2::PushRpc { request_id, request: None, response: Some(response) }.encode()
            }
            Protocol::Other => return Vec::new(),
        };
        frame::encode(&response)
    }
}

impl Protocol {
    fn request_id(self, data: &[u8], max_body_len: usize) -> Option<String> {
        let body = frame::first_body(data, max_body_len)?;
        let id = match self {
            Self::LightpushV3 => v3::Request::decode(body).ok()?.request_id,
            Self::LightpushV2 => v2::PushRpc::decode(body).ok()?.request_id,
            Self::Other => return None,
        };
        Some(id).filter(|id| id.len() <= MAX_REQUEST_ID_LEN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::WakuMessage;

    const MAX_BODY_LEN: usize = 1024;
    const WHY: &str = "exit: timed_out";

    fn form(codec: &str, data: &[u8]) -> RefusalForm {
        RefusalForm::of(codec, data, MAX_BODY_LEN)
    }

    fn v3_request(id: &str) -> Vec<u8> {
        let message = WakuMessage { payload: b"hello".to_vec(), ..WakuMessage::default() };
        frame::encode(&v3::Request { request_id: id.to_owned(), pubsub_topic: None, message }.encode())
    }

    fn v3_refusal(form: &RefusalForm) -> v3::Response {
        let answer = form.refuse(StatusCode::BAD_REQUEST, WHY);
        let (body, len) = frame::decode(&answer, 1024).unwrap().unwrap();
        assert_eq!(len, answer.len());
        v3::Response::decode(body).unwrap()
    }

    #[test]
    fn version_3_is_refused_with_the_id_of_the_request() {
        let response = v3_refusal(&form(V3_PROTOCOL, &v3_request("id-1")));
        assert_eq!((response.request_id.as_str(), response.status_code), ("id-1", StatusCode::BAD_REQUEST));
        assert_eq!((response.status_desc.as_deref(), response.relay_peer_count), (Some(WHY), None));
    }

    #[test]
    fn a_request_that_cannot_be_read_or_has_a_huge_id_is_refused_without_one() {
        let huge = v3_request(&"i".repeat(MAX_REQUEST_ID_LEN + 1));
        let forms = [&b""[..], b"\x05abc", b"\x03abc", &huge].map(|data| form(V3_PROTOCOL, data));
        for form in forms.iter().chain([&RefusalForm::v3_without_request()]) {
            assert_eq!(v3_refusal(form).request_id, UNKNOWN_REQUEST_ID);
        }
        let long = v3_request("id");
        assert_eq!(v3_refusal(&RefusalForm::of(V3_PROTOCOL, &long, 3)).request_id, UNKNOWN_REQUEST_ID);
        let longest = v3_request(&"i".repeat(MAX_REQUEST_ID_LEN));
        assert_eq!(v3_refusal(&form(V3_PROTOCOL, &longest)).request_id.len(), 256);
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
        let form = form(V2_PROTOCOL, &frame::encode(&request.encode()));
        let answer = form.refuse(StatusCode::SERVICE_NOT_AVAILABLE, WHY);
        let (body, _) = frame::decode(&answer, 1024).unwrap().unwrap();
        let refused = v2::PushRpc::decode(body).unwrap();
        assert_eq!((refused.request_id.as_str(), refused.request), ("id-2", None));
        let response = refused.response.unwrap();
        assert_eq!((response.is_success, response.info.as_deref()), (false, Some(WHY)));
    }

    #[test]
    fn other_protocols_have_the_empty_answer() {
        let form = form("/ipfs/ping/1.0.0", b"\x03abc");
        assert_eq!(form.refuse(StatusCode::SERVICE_NOT_AVAILABLE, WHY), b"");
    }
}
