//! The kinds of nodes that a test net has.

/// What a node of the net is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Relay,
    Mixer,
    Exit,
    Sender,
}

impl Kind {
    pub(super) const ALL: [Self; 4] = [Self::Relay, Self::Mixer, Self::Exit, Self::Sender];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Relay => "relay",
            Self::Mixer => "mixer",
            Self::Exit => "exit",
            Self::Sender => "sender",
        }
    }
}
