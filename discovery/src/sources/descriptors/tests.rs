//! Tests of descriptors: each part by itself, then the source between a stand-in peer table and a stand-in host.

mod asker;
mod check;
mod own;
mod server;
mod source;
mod support;
