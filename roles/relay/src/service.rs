//! The two lightpush versions: request bytes to one kind of request, outcomes to response bytes.

use wakumix_waku::WakuMessage;
use wakumix_waku::lightpush::{StatusCode, UNKNOWN_REQUEST_ID, V2_PROTOCOL, V3_PROTOCOL, text, v2, v3};

use crate::policy::Refusal;

wakumix_mix::named_enum! {
    /// A lightpush version.
    pub(crate) enum Version {
        V3 = "v3",
        V2 = "v2",
    }
}

/// A request of either version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Push {
    pub(crate) request_id: String,
    /// Always there in version 2.
    pub(crate) topic: Option<String>,
    pub(crate) message: WakuMessage,
}

/// A request that could not be read, and the id for its response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unreadable {
    pub(crate) request_id: String,
    pub(crate) refusal: Refusal,
}

impl Version {
    /// The version of a protocol id.
    pub(crate) fn of(protocol: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|version| version.protocol() == protocol)
    }

    pub(crate) fn protocol(self) -> &'static str {
        match self {
            Self::V3 => V3_PROTOCOL,
            Self::V2 => V2_PROTOCOL,
        }
    }

    /// Reads a request without its frame.
    pub(crate) fn read(self, body: &[u8]) -> Result<Push, Unreadable> {
        let read = match self {
            Self::V3 => v3::Request::decode(body).map(|request| {
                Ok(Push { request_id: request.request_id, topic: request.pubsub_topic, message: request.message })
            }),
            Self::V2 => v2::PushRpc::decode(body).map(|rpc| match rpc.request {
                Some(v2::PushRequest { pubsub_topic, message }) => {
                    Ok(Push { request_id: rpc.request_id, topic: Some(pubsub_topic), message })
                }
                None => Err(Unreadable { request_id: rpc.request_id, refusal: Refusal::EmptyRequest }),
            }),
        };
        read.unwrap_or_else(|error| {
            Err(Unreadable { request_id: UNKNOWN_REQUEST_ID.to_owned(), refusal: Refusal::Undecodable(error) })
        })
    }

    /// Writes the response, without a frame, to a request that reached so many relay peers, or was refused.
    pub(crate) fn respond(self, request_id: String, outcome: &Result<u32, Refusal>) -> Vec<u8> {
        match self {
            Self::V3 => v3::Response {
                request_id,
                status_code: outcome.as_ref().map_or_else(Refusal::status, |_| StatusCode::SUCCESS),
                status_desc: outcome.as_ref().err().map(Refusal::to_string),
                relay_peer_count: outcome.as_ref().ok().copied(),
            }
            .encode(),
            Self::V2 => {
                let info = outcome.as_ref().map_or_else(Refusal::v2_info, |_| text::V2_OK.to_owned());
                let response = v2::PushResponse { is_success: outcome.is_ok(), info: Some(info) };
                v2::PushRpc { request_id, request: None, response: Some(response) }.encode()
            }
        }
    }

    /// The response to a request that is not read because there are too many.
    pub(crate) fn too_many_requests(self) -> Vec<u8> {
        self.respond(UNKNOWN_REQUEST_ID.to_owned(), &Err(Refusal::TooManyRequests))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn arbitrary_requests_never_panic(body: Vec<u8>) {
            for version in Version::ALL {
                let _ = version.read(&body);
            }
        }

        #[test]
        fn responses_are_readable(request_id: String, peers: u32) {
            for outcome in [Ok(peers), Err(Refusal::NoPeers), Err(Refusal::TooManyRequests)] {
                let v3 = v3::Response::decode(&Version::V3.respond(request_id.clone(), &outcome)).unwrap();
                prop_assert_eq!(v3.status_code.is_success(), outcome.is_ok());
                let v2 = v2::PushRpc::decode(&Version::V2.respond(request_id.clone(), &outcome)).unwrap();
                prop_assert_eq!(v2.response.unwrap().is_success, outcome.is_ok());
                prop_assert_eq!((&v3.request_id, &v2.request_id), (&request_id, &request_id));
            }
        }
    }
}
