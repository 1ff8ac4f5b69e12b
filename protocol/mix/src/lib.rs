//! The layer above the packet: mix messages, hop addresses, paths, delays, replay tags, accounting
