//! Whole nodes over real sockets
