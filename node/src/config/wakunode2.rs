//! Names of the existing wakunode2 (`wakunode2`, `spec/waku.md §7.1`) that are not keys of ours: switches of roles, and options for
//! what this node has not. Other names of a key stand with the key.
//!
//! An option that asks for nothing else than what this node does is accepted. One that asks for what it lacks is refused with
//! the reason and the nearest way, as soon as leaving it out would change what a user of the node gets: addresses, shards, keys,
//! memberships, stored messages. `docs/wakunode2.md` is made from these tables.

mod options;
#[cfg(test)]
mod releases;

use wakumix_role_api::{RoleName, exit, mixer, relay};

pub use options::OPTIONS;
pub(super) use options::{RLN, RLN_INSTEAD, RLN_REASON};
#[cfg(test)]
pub(super) use releases::{NOTES, WAKUNODE2, all, note};

/// A boolean of nwaku that turns roles on or off.
pub struct Switch {
    /// Its name.
    pub name: &'static str,
    /// The roles it stands for.
    pub roles: &'static [RoleName],
    /// Its value in nwaku when it is not given.
    pub default: bool,
    /// What it does.
    pub doc: &'static str,
}

/// The switches. Their names are tables of ours too: as a boolean they are nwaku's switch.
pub const SWITCHES: &[Switch] = &[
    Switch {
        name: "relay",
        roles: &[relay::NAME],
        default: true,
        doc: "fleet switch for the relay role; use roles instead",
    },
    Switch {
        name: "mix",
        roles: &[mixer::NAME, exit::NAME],
        default: false,
        doc: "fleet switch for the mixer and exit roles; use roles instead",
    },
];

/// An option of nwaku that is no key here.
pub struct Wakunode2Option {
    /// Its name.
    pub name: &'static str,
    /// What becomes of it.
    pub fate: Fate,
}

/// What becomes of an option of nwaku that is no key here.
pub enum Fate {
    /// Accepted with any value, and why nobody gets anything else by it.
    Ignored(&'static str),
    /// Says more of another option, and nothing without it, in `wakunode2` as here.
    With(&'static str),
    /// A service for others that this node does not have: turned on, it is a warning. Nobody is misled, since a node publishes
    /// what it serves.
    NotServed(&'static str),
    /// Turned on, it needs this key, which says where; nothing else is missing.
    By(&'static str),
    /// Refused.
    Refused(OptionRefusal),
}

/// When an option is refused, why, and what to do.
pub struct OptionRefusal {
    /// Values that ask for what this node does anyway, in lower case; an empty one always does.
    pub unless: &'static [&'static str],
    /// Nodes to which it does not matter.
    pub spares: Spares,
    /// What this node lacks, as the end of a sentence that begins with the option.
    pub reason: &'static str,
    /// The nearest way.
    pub instead: &'static str,
}

/// Nodes on which an option that is otherwise refused changes nothing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Spares {
    /// None.
    Nobody,
    /// Those without the relay role.
    WithoutRelay,
    /// Those of a net on one machine, which has no users that could miss anything: a warning is enough.
    OnOneMachine,
}

impl OptionRefusal {
    /// Whether a value asks for what this node does anyway.
    pub(super) fn permits(&self, value: &str) -> bool {
        let value = value.trim();
        value.is_empty() || self.unless.iter().any(|allowed| allowed.eq_ignore_ascii_case(value))
    }
}

/// The switch of a name.
pub(crate) fn switch(name: &str) -> Option<&'static Switch> {
    SWITCHES.iter().find(|switch| switch.name == name)
}

/// The option of a name.
pub(crate) fn option(name: &str) -> Option<&'static Wakunode2Option> {
    OPTIONS.iter().find(|option| option.name == name)
}
