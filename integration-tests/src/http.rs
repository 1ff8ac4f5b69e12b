//! Requests to REST and metrics servers of nodes.

use std::net::SocketAddr;

use serde_json::Value;
use ureq::Agent;

use crate::DEADLINE;

/// An answer, whatever its status.
#[derive(Debug)]
pub struct HttpAnswer {
    /// The HTTP status.
    pub status: u16,
    /// The body as text.
    pub body: String,
}

impl HttpAnswer {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

/// GET.
pub async fn get(server: SocketAddr, path: &str) -> HttpAnswer {
    let url = format!("http://{server}{path}");
    blocking(move || agent().get(&url).call()).await
}

/// POST of a JSON text, well formed or not.
pub async fn post(server: SocketAddr, path: &str, body: impl Into<String>) -> HttpAnswer {
    let (url, body) = (format!("http://{server}{path}"), body.into());
    blocking(move || agent().post(&url).content_type("application/json").send(body)).await
}

/// DELETE with a JSON text.
pub async fn delete(server: SocketAddr, path: &str, body: impl Into<String>) -> HttpAnswer {
    let (url, body) = (format!("http://{server}{path}"), body.into());
    blocking(move || agent().delete(&url).force_send_body().content_type("application/json").send(body)).await
}

async fn blocking(
    request: impl FnOnce() -> Result<ureq::http::Response<ureq::Body>, ureq::Error> + Send + 'static,
) -> HttpAnswer {
    let ask = move || {
        let mut response = request().expect("the server answers");
        let body = response.body_mut().read_to_string().expect("a body of text");
        HttpAnswer { status: response.status().as_u16(), body }
    };
    #[expect(clippy::disallowed_methods, reason = "one request at a time")]
    let asked = tokio::task::spawn_blocking(ask);
    asked.await.expect("the request ends")
}

fn agent() -> Agent {
    Agent::config_builder().http_status_as_error(false).timeout_global(Some(DEADLINE)).build().into()
}

/// The value of a series on a metrics page, labels included in its name; `None` if it is not there.
pub fn metric(page: &str, series: &str) -> Option<f64> {
    page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
}
