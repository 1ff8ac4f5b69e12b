//! The sender through its handle.

mod account;
mod dependable;
mod lightpush;
mod net;
mod return_route;
mod start;
mod support;
