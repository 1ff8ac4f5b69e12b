//! Peer exchange (34/WAKU2-PEER-EXCHANGE, `spec/waku.md §6.5`): one asks for node records, the other answers with some.
//!
//! ```text
//! RPC      1 query    { 1 num_peers: uint64 }
//!          2 response { 1 peer_infos: repeated { 1 enr: bytes (RLP) }, 10 status_code: uint32, 11 status_desc: string }
//! ```
//!
//! Two habits of nwaku are followed. Its reader wants field 1 in answers as well, so an answer carries an empty query;
//! and an answer without a status, as old nodes give it, counts as success if it has records and as unavailable if not.

use prost::Message as _;

/// The protocol id.
pub const PROTOCOL: &str = "/vac/waku/peer-exchange/2.0.0-alpha1";

/// Longest request that is read, in bytes without its frame. A request takes 4 to 13.
pub const MAX_REQUEST: usize = 256;

/// Longest response that is read, in bytes without its frame. [`MAX_RECORDS`] records of 300 bytes take 19 KiB; nwaku's
/// nodes read 1.6 MB, which no answer to a request for that many needs.
pub const MAX_RESPONSE: usize = 64 * 1024;

/// Records in one answer at most; servers of nwaku give no more.
pub const MAX_RECORDS: usize = 60;

/// Why bytes are no request or response.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PeerExchangeError {
    /// They are no message of this protocol.
    #[error("not a peer exchange message: {0}")]
    Malformed(#[from] prost::DecodeError),
    /// A request without its query.
    #[error("the query is missing")]
    NoQuery,
    /// A response without its content.
    #[error("the response is missing")]
    NoResponse,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerExchangeStatus {
    /// 200.
    Success,
    /// 400: the request is malformed.
    BadRequest,
    /// 429: asked too often.
    TooManyRequests,
    /// 503: nothing can be given now.
    Unavailable,
    /// Any other code.
    Other(u32),
}

impl PeerExchangeStatus {
    /// Reads a code.
    pub const fn from_code(code: u32) -> Self {
        match code {
            200 => Self::Success,
            400 => Self::BadRequest,
            429 => Self::TooManyRequests,
            503 => Self::Unavailable,
            other => Self::Other(other),
        }
    }

    /// The code.
    pub const fn code(self) -> u32 {
        match self {
            Self::Success => 200,
            Self::BadRequest => 400,
            Self::TooManyRequests => 429,
            Self::Unavailable => 503,
            Self::Other(code) => code,
        }
    }
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// How the request ended.
    pub status: PeerExchangeStatus,
    /// Why, for people; empty on success.
    pub description: String,
    /// Node records in RLP, each as it came.
    pub records: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct RpcFields {
    #[prost(message, optional, tag = "1")]
    query: Option<QueryFields>,
    #[prost(message, optional, tag = "2")]
    response: Option<ResponseFields>,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
struct QueryFields {
    #[prost(uint64, optional, tag = "1")]
    num_peers: Option<u64>,
}

/// The entries stay bytes until they are looked at: an empty one takes 2 bytes on the wire.
#[derive(Clone, PartialEq, prost::Message)]
struct ResponseFields {
    #[prost(bytes = "vec", repeated, tag = "1")]
    peer_infos: Vec<Vec<u8>>,
    #[prost(uint32, optional, tag = "10")]
    status_code: Option<u32>,
    #[prost(string, optional, tag = "11")]
    status_desc: Option<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct PeerInfoFields {
    #[prost(bytes = "vec", optional, tag = "1")]
    enr: Option<Vec<u8>>,
}

/// Asks for so many records.
#[must_use]
pub fn encode_request(records: u64) -> Vec<u8> {
    RpcFields { query: Some(QueryFields { num_peers: Some(records) }), response: None }.encode_to_vec()
}

/// How many records a request asks for; a request that does not say asks for none.
///
/// # Errors
/// [`PeerExchangeError::Malformed`] or [`PeerExchangeError::NoQuery`].
pub fn decode_request(bytes: &[u8]) -> Result<u64, PeerExchangeError> {
    let query = RpcFields::decode(bytes)?.query.ok_or(PeerExchangeError::NoQuery)?;
    Ok(query.num_peers.unwrap_or(0))
}

impl Response {
    /// An answer with records.
    #[must_use]
    pub fn success(records: Vec<Vec<u8>>) -> Self {
        Self { status: PeerExchangeStatus::Success, description: String::new(), records }
    }

    /// An answer without any.
    #[must_use]
    pub fn failure(status: PeerExchangeStatus, description: &str) -> Self {
        Self { status, description: description.to_owned(), records: Vec::new() }
    }

    /// The bytes without their frame.
    #[must_use]
    pub fn encode(self) -> Vec<u8> {
        let info = |enr| PeerInfoFields { enr: Some(enr) }.encode_to_vec();
        let response = ResponseFields {
            peer_infos: self.records.into_iter().map(info).collect(),
            status_code: Some(self.status.code()),
            status_desc: Some(self.description).filter(|text| !text.is_empty()),
        };
        // Nwaku's reader refuses an answer without a query.
        let query = QueryFields { num_peers: Some(0) };
        RpcFields { query: Some(query), response: Some(response) }.encode_to_vec()
    }

    /// Reads an answer. An entry that holds no record becomes an empty one, which no reader of records takes, so that it
    /// spoils nothing but itself.
    ///
    /// # Errors
    /// [`PeerExchangeError::Malformed`] or [`PeerExchangeError::NoResponse`].
    pub fn decode(bytes: &[u8]) -> Result<Self, PeerExchangeError> {
        let fields = RpcFields::decode(bytes)?.response.ok_or(PeerExchangeError::NoResponse)?;
        let record = |info: Vec<u8>| PeerInfoFields::decode(&*info).ok().and_then(|info| info.enr).unwrap_or_default();
        let records: Vec<_> = fields.peer_infos.into_iter().map(record).collect();
        let untold = if records.is_empty() { PeerExchangeStatus::Unavailable } else { PeerExchangeStatus::Success };
        Ok(Self {
            status: fields.status_code.map_or(untold, PeerExchangeStatus::from_code),
            description: fields.status_desc.unwrap_or_default(),
            records,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `@waku/proto` 0.0.15 writes the same request, and reads both answers of the next test.
    #[test]
    fn requests_have_the_layout_of_the_specification() {
        // Field 1, 2 bytes: field 1, varint 60.
        assert_eq!(encode_request(60), [0x0a, 2, 0x08, 60]);
        assert_eq!(decode_request(&[0x0a, 2, 0x08, 60]), Ok(60));
        // Nwaku's writer leaves out nothing, js-waku leaves out zeros.
        assert_eq!(decode_request(&[0x0a, 2, 0x08, 0]), Ok(0));
        assert_eq!(decode_request(&[0x0a, 0]), Ok(0));
    }

    #[test]
    fn responses_have_the_layout_of_the_specification() {
        let bytes = Response::success(vec![vec![7, 8, 9]]).encode();
        // The empty query; field 2, 10 bytes: field 1 { field 1: the record }, field 10: 200.
        assert_eq!(bytes, [0x0a, 2, 0x08, 0, 0x12, 10, 0x0a, 5, 0x0a, 3, 7, 8, 9, 0x50, 0xc8, 1]);
        let bytes = Response::failure(PeerExchangeStatus::TooManyRequests, "no").encode();
        // Field 10: 429; field 11: the text.
        assert_eq!(bytes, [0x0a, 2, 0x08, 0, 0x12, 7, 0x50, 0xad, 3, 0x5a, 2, b'n', b'o']);
    }

    #[test]
    fn answers_without_a_status_count_by_their_records() {
        let with_record = [0x12, 5, 0x0a, 3, 0x0a, 1, 7];
        assert_eq!(Response::decode(&with_record), Ok(Response::success(vec![vec![7]])));
        assert_eq!(Response::decode(&[0x12, 0]), Ok(Response::failure(PeerExchangeStatus::Unavailable, "")));
    }

    #[test]
    fn an_entry_that_is_none_spoils_nothing_but_itself() {
        // A record, an entry that is no message, an entry without a record, a record.
        let bytes = [0x12, 15, 0x0a, 3, 0x0a, 1, 7, 0x0a, 1, 0xff, 0x0a, 0, 0x0a, 3, 0x0a, 1, 8];
        assert_eq!(Response::decode(&bytes).unwrap().records, [vec![7], vec![], vec![], vec![8]]);
    }

    #[test]
    fn a_request_is_no_response_and_the_other_way_round() {
        assert_eq!(Response::decode(&encode_request(1)), Err(PeerExchangeError::NoResponse));
        assert_eq!(decode_request(&[0x12, 0]), Err(PeerExchangeError::NoQuery));
        assert_eq!(decode_request(&[]), Err(PeerExchangeError::NoQuery));
    }

    #[test]
    fn a_full_answer_fits_what_is_read() {
        assert!(Response::success(vec![vec![0; 300]; MAX_RECORDS]).encode().len() < MAX_RESPONSE / 3);
    }

    #[test]
    fn every_code_is_read_as_it_was_written() {
        for code in 0..700 {
            assert_eq!(PeerExchangeStatus::from_code(code).code(), code);
        }
    }

    proptest! {
        #[test]
        fn reads_what_it_wrote(records in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..9), code in 0u32..999) {
            let response = Response { status: PeerExchangeStatus::from_code(code), description: "why".to_owned(), records };
            prop_assert_eq!(Response::decode(&response.clone().encode()), Ok(response));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Response::decode(&bytes);
            let _ = decode_request(&bytes);
        }
    }
}
