//! The LIBP2P-MIX packet: build, unwrap, single-use reply blocks
