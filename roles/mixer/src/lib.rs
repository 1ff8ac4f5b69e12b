//! The mixer role: unwraps packets, delays and forwards them
