//! A packet over nodes that the test plays.

use wakumix_mix::HopAddress;
use wakumix_sphinx::{Opened, PacketFormat, PrivateKey};

/// Where a packet has been.
#[derive(Debug)]
pub struct Walk {
    /// Every hop that it reached, in order.
    pub hops: Vec<HopAddress>,
    /// What each hop that passed it on was asked to wait, in milliseconds.
    pub delays: Vec<u16>,
    /// What the last hop found; `None` where the test does not play the last hop, which gets the packet as it is now.
    pub end: Option<Opened>,
}

/// Carries a packet from its first hop on, as long as the test has the key of the hop that it reaches.
pub fn walk<'k>(
    format: &dyn PacketFormat,
    first: &HopAddress,
    packet: &mut [u8],
    key_of: impl Fn(&HopAddress) -> Option<&'k PrivateKey>,
) -> Walk {
    let mut walk = Walk { hops: vec![first.clone()], delays: Vec::new(), end: None };
    while let Some(key) = walk.hops.last().and_then(&key_of) {
        let authenticated = format.authenticate(key, packet).unwrap();
        match format.open(packet, authenticated).unwrap() {
            Opened::Forward { next, delay_ms, blinding } => {
                format.blind(packet, blinding).unwrap();
                walk.hops.push(HopAddress::decode(&next).unwrap());
                walk.delays.push(delay_ms);
            }
            end => {
                walk.end = Some(end);
                break;
            }
        }
    }
    walk
}
