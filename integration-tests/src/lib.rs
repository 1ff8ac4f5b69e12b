//! Whole nodes over real sockets: what the tests of this crate are made with.
//!
//! | module | what |
//! |---|---|
//! | [`net`] | nodes in this process, told of each other, with their packet accounting |
//! | [`process`] | the real program as child processes |
//! | [`peer`] | a bare libp2p peer, and [`hop`], which makes a mix node of nwaku of it |
//! | [`ports`] | ports that a test must know beforehand |
//! | [`http`] | requests to REST and metrics |
//!
//! Rules: nothing sleeps to be in time for something, and nothing is asserted about how long anything takes. What has no
//! event of its own is looked at until it is there ([`eventually`]), or the test has hung ([`DEADLINE`]).
#![allow(clippy::disallowed_methods, reason = "a test sees a panic of what it starts: it fails")]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "this crate is test code: what goes wrong here fails a test"
)]

pub mod hop;
pub mod http;
pub mod https;
pub mod net;
pub mod peer;
pub mod ports;
pub mod process;

use std::time::Duration;

use tokio::time::{Instant, timeout};
pub use wakumix_testnet::{CLUSTER, TOPIC};

/// Where test messages go.
pub const CONTENT_TOPIC: &str = "/wakumix/1/integration/proto";

/// After this a test has hung.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// How often that is looked at which has no event.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Runs a test as the program runs a node: in an actix system on a tokio runtime with several threads.
pub fn run<T>(test: impl Future<Output = T>) -> T {
    wakumix_node::runtime::block_on(test).expect("threads and an event queue")
}

/// What must happen before the test counts as hung.
pub async fn within<T>(what: impl Future<Output = T>) -> T {
    timeout(DEADLINE, what).await.expect("it did not happen")
}

/// Looks until there is a value; `look` says what is missing as long as there is none.
pub async fn eventually<T>(mut look: impl AsyncFnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        match look().await {
            Ok(value) => return value,
            Err(missing) if Instant::now() > deadline => panic!("still waiting: {missing}"),
            Err(_) => tokio::time::sleep(LOOK_AGAIN).await,
        }
    }
}

/// Looks until the condition holds.
pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    eventually(async || if holds().await { Ok(()) } else { Err(what.to_owned()) }).await;
}
