//! Tests of descriptors: each part by itself, then the source between a test double peer table and a test double host.

mod asker;
mod check;
mod own;
mod server;
mod source;
mod support;
