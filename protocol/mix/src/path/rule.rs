//! What nodes of one path must not have in common, and which of it is given up first.

use libp2p_identity::PeerId;

use super::{Family, MixNode};

/// Bytes of an IPv4 address that name its /24: the smallest block that is routed on its own, so mostly one operator's.
const SUBNET_LEN: usize = 3;

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

    /// What another node must not share with `node`.
    pub(super) fn traits(self, node: &MixNode) -> Traits {
        let family = node.family.filter(|_| self.families);
        let [a, b, c, _] = node.address.ip().octets();
        Traits {
            owner: family.map_or_else(|| Owner::Alone(node.peer()), Owner::Family),
            subnet: self.subnets.then_some([a, b, c]),
        }
    }

    /// Whether both may be on one path.
    pub(super) fn allows(self, one: &MixNode, other: &MixNode) -> bool {
        one.peer() != other.peer() && !self.traits(one).clash(&self.traits(other))
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
