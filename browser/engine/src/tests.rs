//! The engine against a network in memory.
