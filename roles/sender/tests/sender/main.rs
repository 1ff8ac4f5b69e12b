//! The sender through its handle.

mod lightpush;
mod support;
mod way_back;
