//! The sender through its handle.

mod account;
mod dependable;
mod lightpush;
mod net;
mod start;
mod support;
mod way_back;
