//! Request and response bodies.

use actix_web::{HttpResponse, ResponseError, http::StatusCode, web};
use serde::de::DeserializeOwned;

/// How many bytes of JSON are read: a message in base64 and room for its other fields.
pub(super) fn limit(max_message: usize) -> usize {
    max_message.saturating_mul(4) / 3 + 16 * 1024
}

/// Parses a JSON body.
///
/// # Errors
/// A sentence that says what is malformed and where.
pub(super) fn parse<T: DeserializeOwned>(body: &web::Bytes) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|error| format!("malformed JSON body: {error}"))
}

/// A plain-text answer.
pub(super) fn text(status: StatusCode, words: impl Into<String>) -> HttpResponse {
    HttpResponse::build(status).content_type("text/plain; charset=utf-8").body(words.into())
}

/// A request that is answered with a sentence in plain text instead.
#[derive(Debug, thiserror::Error)]
#[error("{words}")]
pub(super) struct Refused {
    status: StatusCode,
    words: String,
}

impl Refused {
    pub(super) fn new(status: StatusCode, words: impl Into<String>) -> Self {
        Self { status, words: words.into() }
    }
}

impl ResponseError for Refused {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        text(self.status, self.words.as_str())
    }
}
