//! Ports of loopback that nothing else takes by chance.
//!
//! A test that must know a port before its node binds it cannot ask the system for one and let go of it: until the node
//! binds, any socket that asks for a free port may get it. So these are taken from below the range from which systems
//! draw such ports.

use std::{
    net::{TcpListener, UdpSocket},
    ops::Range,
};

use multiaddr::Multiaddr;
use parking_lot::Mutex;

/// Below the range that Linux draws from, 32768 to 60999, and that of other systems, 49152 to 65535.
const RANGE: Range<u16> = 20_000..32_000;

/// The ports that are left. Where it starts differs between programs that run at the same time.
static NEXT: Mutex<Option<u16>> = Mutex::new(None);

/// A port of loopback that nobody has, TCP or UDP, and that this program gives out once.
///
/// # Panics
/// If every port is taken.
pub fn free() -> u16 {
    let mut next = NEXT.lock();
    let width = RANGE.end - RANGE.start;
    for _ in RANGE {
        let port =
            next.unwrap_or_else(|| RANGE.start + u16::try_from(std::process::id() % u32::from(width)).unwrap_or(0));
        *next = Some(if port + 1 < RANGE.end { port + 1 } else { RANGE.start });
        let is_free = TcpListener::bind(("127.0.0.1", port)).is_ok() && UdpSocket::bind(("127.0.0.1", port)).is_ok();
        if is_free {
            return port;
        }
    }
    panic!("no port is free");
}

/// An address of loopback at which nobody listens: its port is one that only privileged servers have, and none does.
pub fn nobody() -> Multiaddr {
    "/ip4/127.0.0.1/tcp/1".parse().unwrap()
}
