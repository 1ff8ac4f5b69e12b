//! The libp2p host: sockets, streams, dialling, limits
