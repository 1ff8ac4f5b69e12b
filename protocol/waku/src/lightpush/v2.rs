//! Lightpush version 2, kept for older clients (`spec/waku.md §4.3`). Both directions use one envelope, [`PushRpc`].

use prost::Message as _;

use crate::message::WakuMessage;
use crate::wire::DecodeError;

/// The envelope: a request or a response with the id that ties them together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PushRpc {
    /// Chosen by the client, echoed by the server; [`UNKNOWN_REQUEST_ID`](super::UNKNOWN_REQUEST_ID) if the server did
    /// not read the request.
    pub request_id: String,
    /// Present from client to server.
    pub request: Option<PushRequest>,
    /// Present from server to client.
    pub response: Option<PushResponse>,
}

/// Asks a server to publish a message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PushRequest {
    /// Where to publish; the server never derives it in this version.
    pub pubsub_topic: String,
    /// The message.
    pub message: WakuMessage,
}

/// What became of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PushResponse {
    /// True if at least one relay peer took the message.
    pub is_success: bool,
    /// The outcome in words, see [`text`](super::text).
    pub info: Option<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct RpcFields {
    #[prost(string, optional, tag = "1")]
    request_id: Option<String>,
    #[prost(message, optional, tag = "2")]
    request: Option<RequestFields>,
    #[prost(message, optional, tag = "3")]
    response: Option<ResponseFields>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct RequestFields {
    #[prost(string, optional, tag = "1")]
    pubsub_topic: Option<String>,
    #[prost(bytes = "vec", optional, tag = "2")]
    message: Option<Vec<u8>>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ResponseFields {
    #[prost(bool, optional, tag = "1")]
    is_success: Option<bool>,
    #[prost(string, optional, tag = "2")]
    info: Option<String>,
}

impl PushRpc {
    /// Writes the envelope, without a frame.
    pub fn encode(&self) -> Vec<u8> {
        let request = self.request.as_ref().map(|request| RequestFields {
            pubsub_topic: Some(request.pubsub_topic.clone()),
            message: Some(request.message.encode()),
        });
        let response = self
            .response
            .as_ref()
            .map(|response| ResponseFields { is_success: Some(response.is_success), info: response.info.clone() });
        RpcFields { request_id: Some(self.request_id.clone()), request, response }.encode_to_vec()
    }

    /// Reads an envelope, without a frame. It may hold neither request nor response; that is for the reader to answer.
    ///
    /// # Errors
    /// Bytes that are not protobuf, no request id, or a request or response that lacks a required field.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let fields = RpcFields::decode(bytes)?;
        Ok(Self {
            request_id: fields.request_id.ok_or(DecodeError::Missing("request_id"))?,
            request: fields.request.map(PushRequest::try_from).transpose()?,
            response: fields.response.map(PushResponse::try_from).transpose()?,
        })
    }
}

impl TryFrom<RequestFields> for PushRequest {
    type Error = DecodeError;

    fn try_from(fields: RequestFields) -> Result<Self, DecodeError> {
        Ok(Self {
            pubsub_topic: fields.pubsub_topic.ok_or(DecodeError::Missing("request.pubsub_topic"))?,
            message: WakuMessage::decode(&fields.message.ok_or(DecodeError::Missing("request.message"))?)?,
        })
    }
}

impl TryFrom<ResponseFields> for PushResponse {
    type Error = DecodeError;

    fn try_from(fields: ResponseFields) -> Result<Self, DecodeError> {
        let is_success = fields.is_success.ok_or(DecodeError::Missing("response.is_success"))?;
        Ok(Self { is_success, info: fields.info })
    }
}
