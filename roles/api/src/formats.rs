//! The packet formats that a node serves, and the buffers of their packets.

use std::{fmt, sync::Arc};

use wakumix_mix::Packet;
use wakumix_sphinx::{BufferPool, FormatKind, FormatSet, PacketFormat};

/// One format and the pool in which its packets live.
#[derive(Clone, Debug)]
pub struct Served {
    /// How its packets are made and opened.
    pub format: Arc<dyn PacketFormat>,
    /// Where its packets live; its capacity bounds their memory.
    pub buffers: BufferPool,
}

/// The formats of a node, at most one of each [`FormatKind`], the one that it prefers for its own packets first. Cheap to
/// clone.
#[derive(Clone)]
pub struct Formats(Arc<[Served]>);

impl Formats {
    /// A node of one format, with room for `buffers` packets.
    #[must_use]
    pub fn one(format: impl PacketFormat + 'static, buffers: usize) -> Self {
        Self::new([Arc::new(format) as Arc<dyn PacketFormat>], buffers)
    }

    /// A node of these formats, with room for `buffers` packets of each. Of several with one packet length the first counts:
    /// the length of a packet tells its format.
    pub fn new(formats: impl IntoIterator<Item = Arc<dyn PacketFormat>>, buffers: usize) -> Self {
        let mut served: Vec<Served> = Vec::new();
        for format in formats {
            if served.iter().all(|known| known.format.packet_len() != format.packet_len()) {
                let buffers = BufferPool::new(buffers, format.packet_len());
                served.push(Served { format, buffers });
            }
        }
        Self(served.into())
    }

    /// Every format.
    #[must_use]
    pub fn all(&self) -> &[Served] {
        &self.0
    }

    /// The format for packets made here, unless a path asks for another one; `None` for a node without formats.
    #[must_use]
    pub fn preferred(&self) -> Option<&Served> {
        self.0.first()
    }

    /// The format of a kind, if it is served.
    #[must_use]
    pub fn of_kind(&self, kind: FormatKind) -> Option<&Served> {
        self.0.iter().find(|served| served.format.wire().kind() == kind)
    }

    /// The format of a packet; `None` for one from elsewhere.
    #[must_use]
    pub fn of(&self, packet: &Packet) -> Option<&Served> {
        let len = packet.bytes().len();
        self.0.iter().find(|served| served.buffers.buffer_len() == len)
    }

    /// The kinds that are served.
    #[must_use]
    pub fn kinds(&self) -> FormatSet {
        self.0.iter().map(|served| served.format.wire().kind()).collect()
    }

    /// Buffers in use, of all formats.
    #[must_use]
    pub fn held(&self) -> usize {
        self.0.iter().map(|served| served.buffers.in_use()).sum()
    }

    /// Buffers that can be in use, of all formats.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.0.iter().map(|served| served.buffers.capacity()).sum()
    }
}

impl fmt::Debug for Formats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|served| served.format.wire().to_string())).finish()
    }
}
