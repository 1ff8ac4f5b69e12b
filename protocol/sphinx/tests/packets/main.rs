//! Packets end to end through the public API: published vectors, properties, attacks.

mod attacks;
mod replies;
mod round_trip;
mod support;
mod vectors;
