//! Routes of the REST interface that a role brings, as plain requests and responses: which server carries them is the
//! node's affair.

mod body;
mod message;
mod operation;

use std::collections::BTreeMap;

use futures::{Stream, StreamExt as _, future::BoxFuture, stream::BoxStream};
use serde::{Serialize, de::DeserializeOwned};

use crate::{DirectoryReader, Ports};

pub use body::{Object, object, read_json};
pub use message::MessageJson;
pub use operation::{Content, Operation, Parameter, Reply, RequestBody, SchemaOf};

/// The verb of a request. `HEAD` and `OPTIONS` the node answers itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Method {
    /// Reads.
    Get,
    /// Adds.
    Post,
    /// Removes.
    Delete,
}

impl Method {
    /// Its name in a request.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Delete => "DELETE",
        }
    }
}

/// A request, its body read in full. The node bounds its length.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// What stands in the path where the route has `{name}`, decoded.
    pub parameters: BTreeMap<String, String>,
    /// The body.
    pub body: Vec<u8>,
}

/// What is answered.
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// Value of the `Content-Type` header.
    pub content_type: &'static str,
    /// The body.
    pub body: ResponseBody,
}

/// The body of an answer.
pub enum ResponseBody {
    /// All of it.
    Full(Vec<u8>),
    /// It comes in pieces; a caller that goes away drops the rest.
    Pieces(BoxStream<'static, Vec<u8>>),
}

/// What a route works on.
#[derive(Clone, Debug)]
pub struct RouteContext {
    /// The handles of the roles.
    pub ports: Ports,
    /// What discovery knows.
    pub directory: DirectoryReader,
}

/// Answers a request of a route.
pub type Handler = fn(RouteContext, Request) -> BoxFuture<'static, Response>;

/// Who may use a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Every program that reaches the interface.
    Everybody,
    /// Operators: programs on this machine, elsewhere only where `rest-admin` says so. Its path begins with `/admin/`.
    Operators,
}

/// One route.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    /// Who may use it.
    pub access: Access,
    /// Its verb.
    pub method: Method,
    /// Its path, with `{name}` for a part that a request chooses: `/relay/v1/messages/{topic}`.
    pub path: &'static str,
    /// Whether reading takes away what is read: browsers, which any page can make read an address, are then refused, and so
    /// is `HEAD`.
    pub takes: bool,
    /// What it does, for the description of the interface.
    pub operation: &'static Operation,
    /// Answers it. Called only while the role runs.
    pub handler: Handler,
}

impl Route {
    /// The path up to the first part that a request chooses.
    #[must_use]
    pub fn fixed_path(&self) -> &'static str {
        self.path.split('{').next().unwrap_or(self.path)
    }
}

impl Request {
    /// A part of the path; empty if the route has no such part.
    #[must_use]
    pub fn parameter(&self, name: &str) -> &str {
        self.parameters.get(name).map_or("", String::as_str)
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// The answer to give: 400 with a sentence that says what is malformed and where.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Response> {
        read_json(&self.body).map_err(Response::bad_request)
    }
}

impl Response {
    /// An answer in words.
    #[must_use]
    pub fn text(status: u16, words: impl Into<String>) -> Self {
        Self { status, content_type: "text/plain; charset=utf-8", body: ResponseBody::Full(words.into().into_bytes()) }
    }

    /// 200 with a JSON body.
    #[must_use]
    pub fn json(value: &impl Serialize) -> Self {
        match serde_json::to_vec(value) {
            Ok(body) => Self { status: 200, content_type: "application/json", body: ResponseBody::Full(body) },
            Err(error) => Self::text(500, format!("the answer cannot be written: {error}")),
        }
    }

    /// 200 with JSON objects, one per line, as they come.
    #[must_use]
    pub fn json_lines(lines: impl Stream<Item = Vec<u8>> + Send + 'static) -> Self {
        Self { status: 200, content_type: "application/x-ndjson", body: ResponseBody::Pieces(lines.boxed()) }
    }

    /// The whole body.
    pub async fn into_bytes(self) -> Vec<u8> {
        match self.body {
            ResponseBody::Full(bytes) => bytes,
            ResponseBody::Pieces(pieces) => pieces.concat().await,
        }
    }

    /// The caller's request is wrong.
    #[must_use]
    pub fn bad_request(words: impl Into<String>) -> Self {
        Self::text(400, words)
    }

    /// The node cannot do it, or not now.
    #[must_use]
    pub fn unavailable(words: impl Into<String>) -> Self {
        Self::text(503, words)
    }
}
