//! Packets of every format end to end through the public API: published vectors, properties, attacks; the second format
//! beside the crate whose wire it is.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests stop at the first surprise, as the tests do")]

mod attacks;
#[cfg(feature = "sphinx-packet")]
mod crate_wire;
mod replies;
mod round_trip;
#[cfg(feature = "sphinx-packet")]
mod second;
mod support;
mod vectors;
