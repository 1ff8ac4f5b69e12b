//! Packets end to end through the public API: published vectors, properties, attacks.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests stop at the first surprise, as the tests do")]

mod attacks;
mod replies;
mod round_trip;
mod support;
mod vectors;
