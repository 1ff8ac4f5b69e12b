//! Routes of the REST interface that a role brings, as plain requests and responses: which server carries them is the
//! node's affair.

mod message;

use std::collections::BTreeMap;

use futures::future::BoxFuture;
use serde::{Serialize, de::DeserializeOwned};

use crate::Ports;

pub use message::MessageJson;

/// The verb of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Method {
    /// Reads.
    Get,
    /// Adds.
    Post,
    /// Removes.
    Delete,
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// Value of the `Content-Type` header.
    pub content_type: &'static str,
    /// The body.
    pub body: Vec<u8>,
}

/// Answers a request of a route.
pub type Handler = fn(Ports, Request) -> BoxFuture<'static, Response>;

/// One route.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    /// Its verb.
    pub method: Method,
    /// Its path, with `{name}` for a part that a request chooses: `/relay/v1/messages/{topic}`.
    pub path: &'static str,
    /// Answers it. Called only while the role runs.
    pub handler: Handler,
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
        serde_json::from_slice(&self.body)
            .map_err(|error| Response::bad_request(format!("malformed JSON body: {error}")))
    }
}

impl Response {
    /// An answer in words.
    #[must_use]
    pub fn text(status: u16, words: impl Into<String>) -> Self {
        Self { status, content_type: "text/plain; charset=utf-8", body: words.into().into_bytes() }
    }

    /// 200 with a JSON body.
    #[must_use]
    pub fn json(value: &impl Serialize) -> Self {
        match serde_json::to_vec(value) {
            Ok(body) => Self { status: 200, content_type: "application/json", body },
            Err(error) => Self::text(500, format!("the answer cannot be written: {error}")),
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
