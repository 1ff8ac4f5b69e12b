//! The wakumix binary.
fn main() {}
