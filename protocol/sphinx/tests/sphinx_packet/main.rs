//! The second packet format end to end through the public API, and beside the crate whose wire it is.

#![cfg(feature = "sphinx-packet")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests stop at the first surprise, as the tests do")]

mod attacks;
mod replies;
mod round_trip;
mod support;
mod wire;
