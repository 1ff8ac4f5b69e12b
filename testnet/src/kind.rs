//! The kinds of nodes that a net is made of.

use crate::NodePlan;

/// What a node of a net is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NodeKind {
    /// Gossipsub and a lightpush service.
    Relay,
    /// Passes packets on.
    Mixer,
    /// Takes requests out of the mixnet, and relays and serves them itself.
    Exit,
    /// Sends.
    Sender,
}

impl NodeKind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Relay, Self::Mixer, Self::Exit, Self::Sender];

    /// Its word, which names of nodes begin with.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Relay => "relay",
            Self::Mixer => "mixer",
            Self::Exit => "exit",
            Self::Sender => "sender",
        }
    }
    /// The roles that it runs.
    pub const fn roles(self) -> &'static [&'static str] {
        match self {
            Self::Relay => &["relay"],
            Self::Mixer => &["mixer"],
            Self::Exit => &["relay", "mixer", "exit"],
            Self::Sender => &["sender"],
        }
    }

    /// A node of this kind, e.g. `mixer-3`.
    pub fn plan(self, number: usize) -> NodePlan {
        NodePlan::new(format!("{}-{number}", self.as_str()), self.roles())
    }
}
