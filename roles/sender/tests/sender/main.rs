//! The sender through its handle.

mod account;
mod dependable;
mod lightpush;
mod net;
mod support;
mod way_back;
