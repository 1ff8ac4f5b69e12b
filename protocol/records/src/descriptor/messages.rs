//! The messages that descriptors are fetched by, one request and one response a stream, each behind its length as a
//! varint.
//!
//! | request field | number | type | meaning |
//! |---|---|---|---|
//! | `peers` | 1 | repeated bytes | peer ids whose descriptors are wanted |
//! | `sample` | 2 | uint32 | how many descriptors of any peers are wanted |
//!
//! | response field | number | type | meaning |
//! |---|---|---|---|
//! | `descriptors` | 1 | repeated bytes | descriptors in their envelopes |
//!
//! Who is asked for a sample answers with its own descriptor, if it has one, and others drawn at random. Who is asked for
//! nothing answers with its own alone: that is cheap, and shows that it is alive. A request for peers is answered with
//! what is known of them.

use libp2p_identity::PeerId;
use prost::Message as _;

use super::MAX_LEN;

/// Descriptors in one response, and peers in one request: what a node needs to find a path, eight times.
pub const MAX_DESCRIPTORS: usize = 32;
/// The longest request, in bytes: so many peer ids of at most 42 bytes and what stands around them.
pub const MAX_REQUEST_LEN: usize = MAX_DESCRIPTORS * (42 + 2) + 16;
/// The longest response, in bytes.
pub const MAX_RESPONSE_LEN: usize = MAX_DESCRIPTORS * (MAX_LEN + 3);

/// What somebody wants to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// The descriptor of the node that is asked.
    Own,
    /// Descriptors of these peers; at most [`MAX_DESCRIPTORS`].
    Peers(Vec<PeerId>),
    /// So many descriptors of any peers, that of the node that is asked among them; at most [`MAX_DESCRIPTORS`].
    Sample(usize),
}

/// The response: descriptors in their envelopes, unchecked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    /// The envelopes; a peer may have sent more than it was asked for, within [`MAX_RESPONSE_LEN`].
    pub descriptors: Vec<Vec<u8>>,
}

/// Why bytes are no request or response.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// Not a protobuf message of this form.
    #[error("not a message about descriptors: {0}")]
    Malformed(#[from] prost::DecodeError),
    /// A peer id is not valid.
    #[error("a request for bytes that are not a peer id")]
    PeerId,
    /// More than one request may ask for, or peers and a sample at once.
    #[error("a request for too much")]
    TooMuch,
    /// Longer than any message of this kind.
    #[error("a message of {0} bytes is too long")]
    TooLong(usize),
}

#[derive(Clone, PartialEq, prost::Message)]
struct RequestFields {
    #[prost(bytes = "vec", repeated, tag = "1")]
    peers: Vec<Vec<u8>>,
    #[prost(uint32, tag = "2")]
    sample: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ResponseFields {
    #[prost(bytes = "vec", repeated, tag = "1")]
    descriptors: Vec<Vec<u8>>,
}

impl Request {
    /// How many descriptors answer it at most.
    #[must_use]
    pub fn wants(&self) -> usize {
        match self {
            Self::Own => 1,
            Self::Peers(peers) => peers.len(),
            Self::Sample(count) => *count,
        }
    }

    /// The bytes of the body; none for [`Request::Own`].
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let (peers, sample): (&[PeerId], usize) = match self {
            Self::Own => (&[], 0),
            Self::Peers(peers) => (peers, 0),
            Self::Sample(count) => (&[], *count),
        };
        let sample = u32::try_from(sample).unwrap_or(u32::MAX);
        RequestFields { peers: peers.iter().map(|peer| peer.to_bytes()).collect(), sample }.encode_to_vec()
    }

    /// Reads the bytes of the body.
    ///
    /// # Errors
    /// [`MessageError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, MessageError> {
        if bytes.len() > MAX_REQUEST_LEN {
            return Err(MessageError::TooLong(bytes.len()));
        }
        let RequestFields { peers, sample } = RequestFields::decode(bytes)?;
        let sample = usize::try_from(sample).unwrap_or(usize::MAX);
        match (peers.len(), sample) {
            (0, 0) => Ok(Self::Own),
            (0, 1..=MAX_DESCRIPTORS) => Ok(Self::Sample(sample)),
            (1..=MAX_DESCRIPTORS, 0) => {
                let parse = |bytes: &Vec<u8>| PeerId::from_bytes(bytes).map_err(|_| MessageError::PeerId);
                Ok(Self::Peers(peers.iter().map(parse).collect::<Result<_, _>>()?))
            }
            _ => Err(MessageError::TooMuch),
        }
    }
}

impl Response {
    /// The bytes of the body.
    #[must_use]
    pub fn encode(self) -> Vec<u8> {
        ResponseFields { descriptors: self.descriptors }.encode_to_vec()
    }

    /// Reads the bytes of the body; the descriptors are for [`Descriptor::open`](super::Descriptor::open).
    ///
    /// # Errors
    /// [`MessageError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, MessageError> {
        if bytes.len() > MAX_RESPONSE_LEN {
            return Err(MessageError::TooLong(bytes.len()));
        }
        Ok(Self { descriptors: ResponseFields::decode(bytes)?.descriptors })
    }
}
