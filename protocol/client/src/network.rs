//! The network as routes are drawn from it.

use std::sync::Arc;

use wakumix_mix::MixPool;
use wakumix_sphinx::FormatKind;

use crate::DirectorySnapshot;

/// A directory snapshot, and the pool of each packet format.
#[derive(Debug, Default)]
pub(crate) struct Network {
    directory: Arc<DirectorySnapshot>,
    mix: MixPool,
    sphinx_packet: MixPool,
}

impl Network {
    pub(crate) fn new(directory: Arc<DirectorySnapshot>) -> Self {
        let speaking =
            |kind| MixPool::new(directory.mix_nodes.iter().filter(|node| node.formats.contains(kind)).cloned());
        let (mix, sphinx_packet) = (speaking(FormatKind::Mix), speaking(FormatKind::SphinxPacket));
        Self { directory, mix, sphinx_packet }
    }

    pub(crate) fn directory(&self) -> &DirectorySnapshot {
        &self.directory
    }

    /// The nodes that speak a kind of packet.
    pub(crate) fn pool(&self, kind: FormatKind) -> &MixPool {
        match kind {
            FormatKind::Mix => &self.mix,
            FormatKind::SphinxPacket => &self.sphinx_packet,
        }
    }
}
