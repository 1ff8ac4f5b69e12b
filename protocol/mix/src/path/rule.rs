//! What nodes of one exchange must not have in common, and which of it is given up first.

use std::net::Ipv4Addr;

use libp2p_identity::PeerId;

use super::{Family, Party};

/// Bytes of an IPv4 address that name its /24: the smallest block that is routed on its own, so mostly one operator's.
pub(super) const SUBNET_LEN: usize = 3;

/// The /24 of an address.
pub(super) fn subnet_of(ip: Ipv4Addr) -> [u8; SUBNET_LEN] {
    let [a, b, c, _] = ip.octets();
    [a, b, c]
}

/// What keeps two nodes off one path. Two entries of one peer never share a path, whatever the rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    /// Both are in one /24; behind circuit relays, their relays are.
    subnets: bool,
    /// Both are of one family.
    families: bool,
}

impl Rule {
    /// Every rule, in the order in which a draw tries them.
    ///
    /// A family is what operators say of themselves, a /24 only makes one operator likely: so the /24 is given up first.
    /// The last rule always leaves a path if the pool has enough nodes.
    pub(super) const IN_ORDER: [Self; 4] = [
        Self { subnets: true, families: true },
        Self { subnets: false, families: true },
        Self { subnets: true, families: false },
        Self { subnets: false, families: false },
    ];

    /// What another node must not share with this one.
    pub(super) fn traits(self, party: &Party) -> Traits {
        let family = party.family.filter(|_| self.families);
        Traits {
            owner: family.map_or_else(|| Owner::Alone(party.peer), Owner::Family),
            subnet: self.subnets.then(|| subnet_of(party.ip)),
        }
    }

    /// Whether both may be on one path.
    pub(super) fn allows(self, one: &Party, other: &Party) -> bool {
        one.peer != other.peer && !self.traits(one).clash(&self.traits(other))
    }
}

/// What a rule looks at in one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Traits {
    /// Who runs it.
    pub(super) owner: Owner,
    /// Its /24, where the rule looks at that.
    pub(super) subnet: Option<[u8; SUBNET_LEN]>,
}

/// Who runs a node as far as a rule knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Owner {
    /// The operator of a family.
    Family(Family),
    /// Nobody who runs another node.
    Alone(PeerId),
}

impl Traits {
    /// Whether nodes with these traits may not share a path.
    pub(super) fn clash(&self, other: &Self) -> bool {
        self.owner == other.owner || (self.subnet.is_some() && self.subnet == other.subnet)
    }
}
