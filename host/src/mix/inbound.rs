//! Reading packets from one stream of a remote.
//!
//! Both styles of nwaku are read: many packets on one stream, and one packet per stream. We never write and never
//! close first; a wrong length ends the stream, a wrong size only the frame (`spec/mix-wire.md §2`).
//!
//! Back-pressure, to the remote: no packet buffer is free → streams are not read → the muxer's window closes. When the
//! mixer's queue is full the newest packet is dropped, and the mixer says that packets pile up: then less is admitted.
//!
//! Before a frame takes a buffer, its peer is asked what it has sent and has in the node. What is refused is read into
//! nothing, and then the stream rests: a flood costs its sender the window, and this node one frame a rest.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::{AsyncRead, AsyncReadExt};
use tokio::{
    sync::Mutex,
    time::{sleep, timeout},
};
use wakumix_mix::{DropReason, Ledger, Packet};
use wakumix_role_api::mixer::MixerHandle;
use wakumix_sphinx::{BufferPool, PacketBuf};

use crate::{
    frame::{PrefixError, PrefixReader},
    limits::{LastUse, LastUses},
    metrics::{FrameRefusal, MixMetrics},
};

use super::{
    gate::{PeerGate, Refused},
    streams::StreamPlace,
};

/// How often an empty buffer pool is asked again.
const POOL_RETRY: Duration = Duration::from_millis(2);

/// Bytes of a refused frame that are read at a time.
const SCRATCH: usize = 512;

/// What every reader of one format shares. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Ingress {
    pub(crate) pool: BufferPool,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) mixer: MixerHandle,
    /// Streams that wait for a free buffer, first come first served; only the first asks the pool.
    pub(crate) turn: Arc<Mutex<()>>,
    /// How long nothing may come on a stream while its peer has newer ones.
    pub(crate) idle_timeout: Duration,
    /// How long a frame that has begun may take.
    pub(crate) frame_timeout: Duration,
    pub(crate) metrics: MixMetrics,
    /// Of the connections that packets come on.
    pub(crate) uses: LastUses,
}

impl Ingress {
    /// Bytes of a packet with its proof suffix: the longest frame. Buffers have exactly this length.
    pub(super) fn packet_len(&self) -> usize {
        self.pool.buffer_len()
    }
}

/// Why reading a stream ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadEnd {
    /// The remote closed it between two frames.
    #[error("closed by the remote")]
    Closed,
    /// Nobody knows where the next frame begins.
    #[error(transparent)]
    Prefix(#[from] PrefixError),
    /// A frame began and did not end in time.
    #[error("a frame took too long")]
    Slow,
    /// Reset, or cut off inside a frame.
    #[error("broken: {0}")]
    Broken(#[from] io::Error),
    /// Nothing came on it, and the peer has others.
    #[error("idle, and the peer has newer ones")]
    Idle,
    /// This host is stopping.
    #[error("the host is stopping")]
    Stopping,
}

impl ReadEnd {
    /// How an end that the remote's bytes caused is counted.
    fn refusal(&self) -> Option<FrameRefusal> {
        match self {
            Self::Prefix(PrefixError::TooLong) => Some(FrameRefusal::TooLong),
            Self::Prefix(PrefixError::NotMinimal) => Some(FrameRefusal::NotMinimal),
            Self::Slow => Some(FrameRefusal::Slow),
            Self::Closed | Self::Broken(_) | Self::Idle | Self::Stopping => None,
        }
    }
}

/// What the readers of one connection share.
#[derive(Clone, Debug)]
pub(super) struct Reception {
    last_use: LastUse,
    /// Readers of this connection that wait for this host, not for the remote.
    held_back: Arc<AtomicUsize>,
}

impl Reception {
    pub(super) fn new(last_use: LastUse) -> Self {
        Self { last_use, held_back: Arc::default() }
    }

    /// Whether some reader has something that this host does not take yet.
    pub(super) fn is_held_back(&self) -> bool {
        self.held_back.load(Ordering::Acquire) > 0
    }

    async fn hold_back<T>(&self, wait: impl Future<Output = T>) -> T {
        let _mark = HeldBack::new(&self.held_back);
        wait.await
    }
}

struct HeldBack<'a>(&'a AtomicUsize);

impl<'a> HeldBack<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::AcqRel);
        Self(count)
    }
}

impl Drop for HeldBack<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Reads packets of a peer until the stream ends. Whoever ends it, it is then dropped without a close, which resets it on every
/// transport: a writer notices, opens another stream and writes the packet again (`spec/mix-wire.md §2`). A stream that is closed
/// and then dropped would not be reset over yamux, and its writer would fill the window and wait forever
/// (<https://github.com/libp2p/rust-yamux/blob/yamux-v0.14.1/yamux/src/connection.rs>, `on_drop_stream`).
pub(super) async fn read_packets<S: AsyncRead + Unpin>(
    mut stream: S,
    place: StreamPlace,
    peer: Arc<PeerGate>,
    ingress: Ingress,
    reception: Reception,
) -> ReadEnd {
    loop {
        if let Err(end) = read_frame(&mut stream, &place, &peer, &ingress, &reception).await {
            if let Some(refusal) = end.refusal() {
                ingress.metrics.frame_refused(refusal);
            }
            return end;
        }
    }
}

async fn read_frame<S: AsyncRead + Unpin>(
    stream: &mut S,
    place: &StreamPlace,
    peer: &PeerGate,
    ingress: &Ingress,
    reception: &Reception,
) -> Result<(), ReadEnd> {
    let length = read_prefix(stream, place, ingress).await?;
    let place = match peer.admit(length) {
        Ok(place) => place,
        Err(refused) => return throw_away(stream, length, refused, ingress).await,
    };
    // Taken only now: idle streams hold no buffer. A frame that has begun is read at once if there is one, because an
    // mplex stream that is not read blocks its whole connection.
    let mut buffer = reception.hold_back(free_buffer(ingress)).await;
    in_time(ingress, stream.read_exact(&mut buffer[..length])).await?;
    let packet = Packet::received(buffer, &ingress.ledger).in_place(place);
    if length == 0 {
        packet.reject(DropReason::NoData);
    } else if length < ingress.packet_len() {
        packet.reject(DropReason::Size);
    } else if !ingress.mixer.receive(packet) {
        return Err(ReadEnd::Stopping);
    } else {
        reception.last_use.packet();
    }
    Ok(())
}

/// Reads a refused frame without a buffer, counts it, and lets the stream rest.
async fn throw_away<S: AsyncRead + Unpin>(
    stream: &mut S,
    length: usize,
    refused: Refused,
    ingress: &Ingress,
) -> Result<(), ReadEnd> {
    in_time(ingress, discard(stream, length)).await?;
    ingress.ledger.refuse(refused.reason);
    sleep(refused.pause).await;
    Ok(())
}

async fn discard<S: AsyncRead + Unpin>(stream: &mut S, mut length: usize) -> io::Result<()> {
    let mut scratch = [0u8; SCRATCH];
    while length > 0 {
        let part = length.min(SCRATCH);
        stream.read_exact(&mut scratch[..part]).await?;
        length -= part;
    }
    Ok(())
}

/// Waits for a frame to begin, then reads its length. On one of the newest streams it waits as long as it takes.
async fn read_prefix<S: AsyncRead + Unpin>(
    stream: &mut S,
    place: &StreamPlace,
    ingress: &Ingress,
) -> Result<usize, ReadEnd> {
    let mut prefix = PrefixReader::new(ingress.packet_len());
    let mut byte = [0u8; 1];
    let read = loop {
        match timeout(ingress.idle_timeout, stream.read(&mut byte)).await {
            Ok(read) => break read?,
            Err(_) if place.is_superseded() => return Err(ReadEnd::Idle),
            Err(_) => {}
        }
    };
    if read == 0 {
        return Err(ReadEnd::Closed);
    }
    let mut length = prefix.push(byte[0])?;
    while length.is_none() {
        in_time(ingress, stream.read_exact(&mut byte)).await?;
        length = prefix.push(byte[0])?;
    }
    Ok(length.unwrap_or_default())
}

/// Waits for a free packet buffer; until then the stream is not read.
async fn free_buffer(ingress: &Ingress) -> PacketBuf {
    let _turn = match ingress.turn.try_lock() {
        Ok(turn) => turn,
        Err(_) => ingress.turn.lock().await,
    };
    loop {
        if let Some(buffer) = ingress.pool.take() {
            return buffer;
        }
        sleep(POOL_RETRY).await;
    }
}

async fn in_time<T>(ingress: &Ingress, read: impl Future<Output = io::Result<T>>) -> Result<T, ReadEnd> {
    timeout(ingress.frame_timeout, read).await.map_err(|_| ReadEnd::Slow)?.map_err(ReadEnd::Broken)
}
