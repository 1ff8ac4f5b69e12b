//! Lightpush version 3 (`spec/waku.md §4.1`).

use prost::Message as _;

use super::StatusCode;
use crate::message::WakuMessage;
use crate::wire::DecodeError;

/// Asks a server to publish a message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// Chosen by the client, echoed by the server.
    pub request_id: String,
    /// Where to publish. `None`: the server derives the shard from the content topic.
    pub pubsub_topic: Option<String>,
    /// The message.
    pub message: WakuMessage,
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The id of the request, [`UNKNOWN_REQUEST_ID`](super::UNKNOWN_REQUEST_ID) if the request was not read.
    pub request_id: String,
    /// The outcome.
    pub status_code: StatusCode,
    /// The outcome in words.
    pub status_desc: Option<String>,
    /// Relay peers that the message was sent to.
    pub relay_peer_count: Option<u32>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct RequestFields {
    #[prost(string, optional, tag = "1")]
    request_id: Option<String>,
    #[prost(string, optional, tag = "20")]
    pubsub_topic: Option<String>,
    #[prost(bytes = "vec", optional, tag = "21")]
    message: Option<Vec<u8>>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ResponseFields {
    #[prost(string, optional, tag = "1")]
    request_id: Option<String>,
    #[prost(uint32, optional, tag = "10")]
    status_code: Option<u32>,
    #[prost(string, optional, tag = "11")]
    status_desc: Option<String>,
    #[prost(uint32, optional, tag = "12")]
    relay_peer_count: Option<u32>,
}

impl Request {
    /// Writes the request, without a frame.
    pub fn encode(&self) -> Vec<u8> {
        let fields = RequestFields {
            request_id: Some(self.request_id.clone()),
            pubsub_topic: self.pubsub_topic.clone(),
            message: Some(self.message.encode()),
        };
        fields.encode_to_vec()
    }

    /// Reads a request, without a frame.
    ///
    /// # Errors
    /// Bytes that are not protobuf, no request id, no message, or a message that is not one.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let fields = RequestFields::decode(bytes)?;
        Ok(Self {
            request_id: fields.request_id.ok_or(DecodeError::Missing("request_id"))?,
            pubsub_topic: fields.pubsub_topic,
            message: WakuMessage::decode(&fields.message.ok_or(DecodeError::Missing("message"))?)?,
        })
    }
}

impl Response {
    /// Writes the response, without a frame.
    pub fn encode(&self) -> Vec<u8> {
        let fields = ResponseFields {
            request_id: Some(self.request_id.clone()),
            status_code: Some(self.status_code.0),
            status_desc: self.status_desc.clone(),
            relay_peer_count: self.relay_peer_count,
        };
        fields.encode_to_vec()
    }

    /// Reads a response, without a frame.
    ///
    /// # Errors
    /// Bytes that are not protobuf, no request id or no status code.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let fields = ResponseFields::decode(bytes)?;
        Ok(Self {
            request_id: fields.request_id.ok_or(DecodeError::Missing("request_id"))?,
            status_code: StatusCode(fields.status_code.ok_or(DecodeError::Missing("status_code"))?),
            status_desc: fields.status_desc,
            relay_peer_count: fields.relay_peer_count,
        })
    }
}
