//! Where a peer's connection comes from: what bounds the places that one machine or one network can hold, whatever
//! addresses its peers claim.

use std::net::{IpAddr, Ipv4Addr};

use wakumix_mix::is_public;

use crate::peer_table::Block;

/// Where a connection comes from, as far as that tells it from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Origin {
    /// A public IPv4 address.
    V4(Ipv4Addr),
    /// The first 64 bits of a public IPv6 address: what one host gets.
    V6([u8; 8]),
    /// A private network, which its members share, or a relay, behind which anybody may be.
    Hidden,
}

impl Origin {
    pub(super) fn of(ip: Option<IpAddr>) -> Self {
        match ip.filter(|ip| is_public(*ip)).map(|ip| ip.to_canonical()) {
            Some(IpAddr::V4(ip)) => Self::V4(ip),
            Some(IpAddr::V6(ip)) => {
                let [a, b, c, d, e, f, g, h, ..] = ip.octets();
                Self::V6([a, b, c, d, e, f, g, h])
            }
            None => Self::Hidden,
        }
    }

    /// The /24, or the /48, that it lies in.
    pub(super) fn subnet(self) -> Option<Block> {
        match self {
            Self::V4(ip) => Some(Block::subnet4(ip)),
            Self::V6([a, b, c, d, e, f, ..]) => Some(Block::Subnet6([a, b, c, d, e, f])),
            Self::Hidden => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_told_apart_and_networks_that_many_share_are_not() {
        let of = |ip: &str| Origin::of(Some(ip.parse().unwrap()));
        assert_eq!(of("8.8.8.8"), Origin::V4([8, 8, 8, 8].into()));
        assert_eq!(of("::ffff:8.8.8.8"), of("8.8.8.8"));
        assert_eq!(of("2a00:1:2:3::4"), of("2a00:1:2:3:5::6"));
        assert_ne!(of("2a00:1:2:3::4"), of("2a00:1:2:4::4"));
        assert_eq!(of("2a00:1:2:3::4").subnet(), of("2a00:1:2:4::4").subnet());
        for ip in ["10.0.0.1", "127.0.0.1", "fe80::1"] {
            assert_eq!(of(ip), Origin::Hidden);
        }
        assert_eq!((Origin::of(None), Origin::Hidden.subnet()), (Origin::Hidden, None));
    }
}
