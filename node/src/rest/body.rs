//! Request and response bodies.

use std::{future::Future as _, io, task::Poll, time::Duration};

use actix_web::{
    HttpResponse, ResponseError,
    body::BoxBody,
    dev::{Payload, ServiceResponse},
    error::PayloadError,
    http::{
        StatusCode,
        header::{self, HeaderValue},
    },
};
use futures::{StreamExt as _, stream};

/// How long a body may take to come: programs have it at hand, and whoever does not send it must not hold a connection.
pub(super) const TIME_FOR_BODY: Duration = Duration::from_secs(10);

/// How a token is shown, for answers to requests that show none.
pub(super) const SCHEME: &str = "Bearer";

/// How many bytes of JSON are read: a message in base64 and room for its other fields.
pub(super) fn limit(max_message: usize) -> usize {
    max_message.saturating_mul(4) / 3 + 16 * 1024
}

/// A body that fails when it has not come in time.
pub(super) fn in_time(mut body: Payload) -> Payload {
    let mut limit = Box::pin(tokio::time::sleep(TIME_FOR_BODY));
    let timed = stream::poll_fn(move |context| match body.poll_next_unpin(context) {
        Poll::Pending => {
            let late = || Some(Err(PayloadError::Incomplete(Some(io::ErrorKind::TimedOut.into()))));
            limit.as_mut().poll(context).map(|()| late())
        }
        come => come,
    });
    Payload::Stream { payload: Box::pin(timed) }
}

/// Says what is wrong with a body that was too large or came too late, and what to do, where the answer would only give the
/// status. The connection is closed: the rest of the body may still come.
pub(super) fn explained(response: ServiceResponse<BoxBody>, max_message: usize) -> ServiceResponse<BoxBody> {
    let (status, words) = match response.response().error().and_then(|error| error.as_error::<PayloadError>()) {
        Some(PayloadError::Overflow) => (
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the body has more than {} bytes; a message may have {max_message}, in base64", limit(max_message)),
        ),
        Some(PayloadError::Incomplete(Some(error))) if error.kind() == io::ErrorKind::TimedOut => (
            StatusCode::REQUEST_TIMEOUT,
            format!("the body did not come within {} s; send it at once", TIME_FOR_BODY.as_secs()),
        ),
        _ => return response,
    };
    let mut answer = HttpResponse::build(status);
    response.into_response(answer.force_close().content_type("text/plain; charset=utf-8").body(words))
}

/// What somebody else wrote, as an answer repeats it.
pub(super) fn shown(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(100).collect()
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
        let mut answer = text(self.status, self.words.as_str());
        if self.status == StatusCode::UNAUTHORIZED {
            answer.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(SCHEME));
        }
        answer
    }
}
