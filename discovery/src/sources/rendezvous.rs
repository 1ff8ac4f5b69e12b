//! Waku rendezvous: registers with rendezvous points, asks them, and is one (`spec/waku.md §5.3`).

/// The settings of rendezvous.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RendezvousConfig {}
