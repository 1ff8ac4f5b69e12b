//! How clients read the answer to their request: framed, from a stream or out of the mixnet.

use super::{MAX_RESPONSE_LEN, StatusCode, UNKNOWN_REQUEST_ID, text, v2, v3};
use crate::frame::{self, FrameError};
use crate::wire::DecodeError;

/// Why bytes are no answer to a request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AnswerError {
    /// They do not begin with a frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The frame is not whole.
    #[error("it ends before its length says")]
    Truncated,
    /// The frame holds no response.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The response has the id of another request.
    #[error("it answers another request")]
    OtherRequest,
}

/// Statuses of those that need not have read the request.
const UNREAD: [StatusCode; 4] = [
    StatusCode::BAD_REQUEST,
    StatusCode::PAYLOAD_TOO_LARGE,
    StatusCode::TOO_MANY_REQUESTS,
    StatusCode::SERVICE_NOT_AVAILABLE,
];

impl v3::Response {
    /// Reads a framed response to a request as nwaku's clients do: success without a single relay peer is 505.
    ///
    /// What stands behind the frame is ignored, as a stream reader would: a service whose message block has a sequence
    /// number leaves four bytes there if ours has none (`spec/mix-wire.md §7.2`).
    ///
    /// # Errors
    /// Bytes that are no response, or that answer another request. A server that did not read the request cannot know its id:
    /// with status 400, 413, 429 or 503 the id may be `N/A`.
    pub fn read_answer(data: &[u8], request_id: &str) -> Result<Self, AnswerError> {
        let mut response = Self::decode(unframed(data)?)?;
        let is_unread = response.request_id == UNKNOWN_REQUEST_ID && UNREAD.contains(&response.status_code);
        if response.request_id != request_id && !is_unread {
            return Err(AnswerError::OtherRequest);
        }
        if response.status_code.is_success() && response.relay_peer_count == Some(0) {
            response.status_code = StatusCode::NO_PEERS_TO_RELAY;
            response.status_desc.get_or_insert_with(|| text::NO_PEERS.to_owned());
        }
        Ok(response)
    }
}

impl v2::PushResponse {
    /// Reads a framed response of version 2 to a request. What stands behind the frame is ignored.
    ///
    /// # Errors
    /// Bytes that are no response, or that answer another request. A failure may have the id `N/A` (`spec/waku.md §4.3`).
    pub fn read_answer(data: &[u8], request_id: &str) -> Result<Self, AnswerError> {
        let v2::PushRpc { request_id: id, response, .. } = v2::PushRpc::decode(unframed(data)?)?;
        let response = response.ok_or(DecodeError::Missing("response"))?;
        let is_unread = id == UNKNOWN_REQUEST_ID && !response.is_success;
        if id != request_id && !is_unread {
            return Err(AnswerError::OtherRequest);
        }
        Ok(response)
    }
}

fn unframed(data: &[u8]) -> Result<&[u8], AnswerError> {
    let (body, _) = frame::decode(data, MAX_RESPONSE_LEN)?.ok_or(AnswerError::Truncated)?;
    Ok(body)
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

    #[test]
    fn success_without_peers_becomes_505() {
        let read = v3::Response::read_answer(&response("req", StatusCode::SUCCESS, Some(0)), "req").unwrap();
        assert_eq!(read.status_code, StatusCode::NO_PEERS_TO_RELAY);
        assert_eq!(read.status_desc.as_deref(), Some(text::NO_PEERS));
        let uncounted = v3::Response::read_answer(&response("req", StatusCode::SUCCESS, None), "req").unwrap();
        assert_eq!(uncounted.status_code, StatusCode::SUCCESS);
    }

    #[test]
    fn an_unknown_id_is_accepted_only_from_a_server_that_need_not_have_read_the_request() {
        for (status, is_accepted) in
            [(429, true), (400, true), (413, true), (503, true), (200, false), (500, false), (420, false)]
        {
            let data = response("N/A", StatusCode(status), None);
            assert_eq!(v3::Response::read_answer(&data, "req").is_ok(), is_accepted, "{status}");
        }
        let other = response("another", StatusCode::TOO_MANY_REQUESTS, None);
        assert_eq!(v3::Response::read_answer(&other, "req"), Err(AnswerError::OtherRequest));
    }

    #[test]
    fn says_what_is_malformed() {
        let framed = response("req", StatusCode::SUCCESS, None);
        let cut = &framed[..framed.len() - 1];
        assert_eq!(v3::Response::read_answer(cut, "req"), Err(AnswerError::Truncated));
        assert!(matches!(v3::Response::read_answer(b"\x83\x00abc", "req"), Err(AnswerError::Frame(_))));
        assert!(matches!(v3::Response::read_answer(b"\x01\xff", "req"), Err(AnswerError::Decode(_))));
    }

    #[test]
    fn version_2_is_read_with_its_id_or_a_failure_without() {
        let answer = |id: &str, is_success, is_response| {
            let response = v2::PushResponse { is_success, info: None };
            let response = Some(response).filter(|_| is_response);
            frame::encode(&v2::PushRpc { request_id: id.to_owned(), request: None, response }.encode())
        };
        let read = |data: Vec<u8>| v2::PushResponse::read_answer(&data, "req").map(|response| response.is_success);
        assert_eq!(read(answer("req", true, true)), Ok(true));
        assert_eq!(read(answer("N/A", false, true)), Ok(false));
        assert_eq!(read(answer("N/A", true, true)), Err(AnswerError::OtherRequest));
        assert_eq!(read(answer("other", false, true)), Err(AnswerError::OtherRequest));
        assert!(matches!(read(answer("req", true, false)), Err(AnswerError::Decode(_))));
    }
}
