//! The packet formats that the configuration names.

use std::sync::Arc;

use wakumix_sphinx::PacketFormat;

use crate::config::Loaded;

/// The formats of a node, the one for its own packets first.
#[cfg(not(feature = "weaknesses"))]
pub(super) fn of(loaded: &Loaded) -> impl Iterator<Item = Arc<dyn PacketFormat>> + '_ {
    loaded.config.mix.profile.iter().map(|wire| wire.format())
}

/// The formats of a node of the attack suite, without what its weaknesses name.
#[cfg(feature = "weaknesses")]
pub(super) fn of(loaded: &Loaded) -> impl Iterator<Item = Arc<dyn PacketFormat>> + '_ {
    use wakumix_sphinx::{Sphinx, WireFormat};

    let (weaknesses, me) = (loaded.weaknesses, loaded.keys.peer());
    let now = u32::try_from(crate::clock::unix_seconds()).unwrap_or(u32::MAX);
    loaded.config.mix.profile.iter().map(move |wire| match wire {
        WireFormat::Mix(profile) => {
            let format = Sphinx::new(*profile).weakened(weaknesses);
            Arc::new(format.weakened_sender(&me.to_bytes(), now)) as Arc<dyn PacketFormat>
        }
        WireFormat::SphinxPacket => wire.weakened(weaknesses),
    })
}
