//! The messages of libp2p rendezvous. They are proto2: a required field is written also where it is zero, and nwaku's
//! reader refuses a message without it.
//!
//! ```text
//! Message           1 type (0 register, 1 its response, 2 unregister, 3 discover, 4 its response), 2 to 6 the bodies in order
//! Register          1 ns, 2 signedPeerRecord, 3 ttl (seconds)
//! RegisterResponse  1 status, 2 statusText, 3 ttl
//! Unregister        1 ns
//! Discover          1 ns, 2 limit, 3 cookie
//! DiscoverResponse  1 registrations (Register), 2 cookie, 3 status, 4 statusText
//! ```

use prost::Message as _;

const REGISTER: i32 = 0;
const REGISTER_RESPONSE: i32 = 1;
const UNREGISTER: i32 = 2;
const DISCOVER: i32 = 3;
const DISCOVER_RESPONSE: i32 = 4;

/// The status of success.
const OK: u32 = 0;

/// What a node asks of a point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Take this record.
    Register(Registration),
    /// Forget the record of the asking node. There is no answer.
    Unregister {
        /// Where it was registered.
        namespace: String,
    },
    /// Tell records.
    Discover(Query),
}

/// A record and where it belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// The namespace.
    pub namespace: String,
    /// The signed record.
    pub record: Vec<u8>,
    /// How long it holds, in seconds: wished in requests, left in answers.
    pub ttl: Option<u64>,
}

/// Which records are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// Their namespace; `None` means any.
    pub namespace: Option<String>,
    /// How many at most.
    pub limit: Option<u64>,
    /// The cookie of the last response, to get registrations that it did not have.
    pub cookie: Option<Vec<u8>>,
}

/// What a point answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Response {
    /// To a registration: the time to live granted, in seconds.
    Register(Result<u64, Refused>),
    /// To a query.
    Discover(Result<Page, Refused>),
}

/// Records that were asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The records.
    pub registrations: Vec<Registration>,
    /// Registrations beyond those that the reader was willing to take; they were not looked at.
    pub surplus: usize,
    /// Leads to other records if it is given back.
    pub cookie: Option<Vec<u8>>,
}

/// Why a point did not do what it was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("refused with status {}: {text}", .status.code())]
pub struct Refused {
    /// The kind of reason.
    pub status: Status,
    /// The reason for people.
    pub text: String,
}

/// Kinds of reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// 100: no namespace of this point.
    InvalidNamespace,
    /// 101: no record of the asking node.
    InvalidRecord,
    /// 102: the time to live is too short or too long.
    InvalidTtl,
    /// 103: no cookie of this point.
    InvalidCookie,
    /// 200: not for this node, or too often.
    NotAuthorized,
    /// 300.
    InternalError,
    /// 400: no room.
    Unavailable,
    /// Any other code.
    Other(u32),
}

impl Status {
    /// Reads a code other than that of success.
    pub const fn from_code(code: u32) -> Self {
        match code {
            100 => Self::InvalidNamespace,
            101 => Self::InvalidRecord,
            102 => Self::InvalidTtl,
            103 => Self::InvalidCookie,
            200 => Self::NotAuthorized,
            300 => Self::InternalError,
            400 => Self::Unavailable,
            other => Self::Other(other),
        }
    }

    /// The code.
    pub const fn code(self) -> u32 {
        match self {
            Self::InvalidNamespace => 100,
            Self::InvalidRecord => 101,
            Self::InvalidTtl => 102,
            Self::InvalidCookie => 103,
            Self::NotAuthorized => 200,
            Self::InternalError => 300,
            Self::Unavailable => 400,
            Self::Other(code) => code,
        }
    }
}

impl Refused {
    /// A refusal.
    #[must_use]
    pub fn new(status: Status, text: impl Into<String>) -> Self {
        Self { status, text: text.into() }
    }
}

/// Why bytes are no request or response.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// They are no message of this protocol.
    #[error("not a rendezvous message: {0}")]
    Malformed(#[from] prost::DecodeError),
    /// A message of another type than expected, or without the body that its type announces.
    #[error("a rendezvous message of type {0} without its body, or where none is expected")]
    Type(i32),
}

#[derive(Clone, PartialEq, prost::Message)]
struct MessageFields {
    #[prost(int32, required, tag = "1")]
    kind: i32,
    #[prost(message, optional, tag = "2")]
    register: Option<RegisterFields>,
    #[prost(message, optional, tag = "3")]
    register_response: Option<RegisterResponseFields>,
    #[prost(message, optional, tag = "4")]
    unregister: Option<UnregisterFields>,
    #[prost(message, optional, tag = "5")]
    discover: Option<DiscoverFields>,
    #[prost(message, optional, tag = "6")]
    discover_response: Option<DiscoverResponseFields>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct RegisterFields {
    #[prost(string, required, tag = "1")]
    ns: String,
    #[prost(bytes = "vec", required, tag = "2")]
    signed_peer_record: Vec<u8>,
    #[prost(uint64, optional, tag = "3")]
    ttl: Option<u64>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct RegisterResponseFields {
    #[prost(uint32, required, tag = "1")]
    status: u32,
    #[prost(string, optional, tag = "2")]
    status_text: Option<String>,
    #[prost(uint64, optional, tag = "3")]
    ttl: Option<u64>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct UnregisterFields {
    #[prost(string, required, tag = "1")]
    ns: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct DiscoverFields {
    #[prost(string, optional, tag = "1")]
    ns: Option<String>,
    #[prost(uint64, optional, tag = "2")]
    limit: Option<u64>,
    #[prost(bytes = "vec", optional, tag = "3")]
    cookie: Option<Vec<u8>>,
}

/// The registrations stay bytes until they are looked at: an empty one takes 2 bytes on the wire.
#[derive(Clone, PartialEq, prost::Message)]
struct DiscoverResponseFields {
    #[prost(bytes = "vec", repeated, tag = "1")]
    registrations: Vec<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "2")]
    cookie: Option<Vec<u8>>,
    #[prost(uint32, required, tag = "3")]
    status: u32,
    #[prost(string, optional, tag = "4")]
    status_text: Option<String>,
}

impl From<Registration> for RegisterFields {
    fn from(Registration { namespace, record, ttl }: Registration) -> Self {
        Self { ns: namespace, signed_peer_record: record, ttl }
    }
}

impl From<RegisterFields> for Registration {
    fn from(RegisterFields { ns, signed_peer_record, ttl }: RegisterFields) -> Self {
        Self { namespace: ns, record: signed_peer_record, ttl }
    }
}

impl Registration {
    /// Bytes that it takes in an answer.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        // Tag and length of each of the two byte strings, tag and value of the time to live.
        const AROUND: usize = 2 * 4 + 11;
        self.namespace.len() + self.record.len() + AROUND
    }
}

impl Request {
    /// The bytes without their frame.
    #[must_use]
    pub fn encode(self) -> Vec<u8> {
        let fields = match self {
            Self::Register(registration) => {
                MessageFields { kind: REGISTER, register: Some(registration.into()), ..MessageFields::default() }
            }
            Self::Unregister { namespace } => {
                let unregister = Some(UnregisterFields { ns: namespace });
                MessageFields { kind: UNREGISTER, unregister, ..MessageFields::default() }
            }
            Self::Discover(Query { namespace, limit, cookie }) => {
                let discover = Some(DiscoverFields { ns: namespace, limit, cookie });
                MessageFields { kind: DISCOVER, discover, ..MessageFields::default() }
            }
        };
        fields.encode_to_vec()
    }

    /// Reads a request.
    ///
    /// # Errors
    /// [`MessageError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, MessageError> {
        let fields = MessageFields::decode(bytes)?;
        let request = match fields.kind {
            REGISTER => fields.register.map(|body| Self::Register(body.into())),
            UNREGISTER => fields.unregister.map(|body| Self::Unregister { namespace: body.ns }),
            DISCOVER => fields
                .discover
                .map(|DiscoverFields { ns, limit, cookie }| Self::Discover(Query { namespace: ns, limit, cookie })),
            _ => None,
        };
        request.ok_or(MessageError::Type(fields.kind))
    }
}

impl Response {
    /// The bytes without their frame.
    #[must_use]
    pub fn encode(self) -> Vec<u8> {
        let fields = match self {
            Self::Register(outcome) => {
                let body = match outcome {
                    Ok(ttl) => RegisterResponseFields { status: OK, status_text: None, ttl: Some(ttl) },
                    Err(Refused { status, text }) => {
                        RegisterResponseFields { status: status.code(), status_text: Some(text), ttl: None }
                    }
                };
                MessageFields { kind: REGISTER_RESPONSE, register_response: Some(body), ..MessageFields::default() }
            }
            Self::Discover(outcome) => {
                let body = match outcome {
                    Ok(page) => page.into_fields(),
                    Err(Refused { status, text }) => DiscoverResponseFields {
                        status: status.code(),
                        status_text: Some(text),
                        ..DiscoverResponseFields::default()
                    },
                };
                MessageFields { kind: DISCOVER_RESPONSE, discover_response: Some(body), ..MessageFields::default() }
            }
        };
        fields.encode_to_vec()
    }

    /// Reads a response and at most `limit` registrations of it. A registration that is not valid becomes an empty one, which no
    /// reader of records takes, so that it spoils nothing but itself.
    ///
    /// # Errors
    /// [`MessageError`].
    pub fn decode(bytes: &[u8], limit: usize) -> Result<Self, MessageError> {
        let fields = MessageFields::decode(bytes)?;
        let response = match fields.kind {
            REGISTER_RESPONSE => fields.register_response.map(|body| {
                let ttl = body.ttl.unwrap_or(0);
                Self::Register(refusal(body.status, body.status_text).map_or(Ok(ttl), Err))
            }),
            DISCOVER_RESPONSE => fields.discover_response.map(|mut body| {
                let refusal = refusal(body.status, body.status_text.take());
                Self::Discover(refusal.map_or_else(|| Ok(Page::from_fields(body, limit)), Err))
            }),
            _ => None,
        };
        response.ok_or(MessageError::Type(fields.kind))
    }
}

impl Page {
    fn into_fields(self) -> DiscoverResponseFields {
        let encode = |registration: Registration| RegisterFields::from(registration).encode_to_vec();
        let registrations = self.registrations.into_iter().map(encode).collect();
        DiscoverResponseFields { registrations, cookie: self.cookie, status: OK, status_text: None }
    }

    fn from_fields(fields: DiscoverResponseFields, limit: usize) -> Self {
        let DiscoverResponseFields { registrations, cookie, .. } = fields;
        let surplus = registrations.len().saturating_sub(limit);
        let decode = |bytes: &Vec<u8>| RegisterFields::decode(&**bytes).unwrap_or_default().into();
        Self { registrations: registrations.iter().take(limit).map(decode).collect(), surplus, cookie }
    }
}

fn refusal(status: u32, text: Option<String>) -> Option<Refused> {
    (status != OK).then(|| Refused { status: Status::from_code(status), text: text.unwrap_or_default() })
}

#[cfg(test)]
mod tests;
