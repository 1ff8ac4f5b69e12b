//! The adversary: peers that write packets as fast as the mixer reads them, up to their rate.
//!
//! There are four kinds, by turns, so that all that a packet can cost is there at once: new packets that go on at once, new
//! ones that ask for the longest delay, one packet again and again, and packets with a wrong MAC. What the mixer passes on
//! comes back to the peer that sent it, which forgets it.

use std::{fmt, thread, time::Duration};

use futures::{
    AsyncWriteExt as _, StreamExt as _,
    future::join_all,
    io::{copy, sink},
};
use libp2p::Stream;
use tokio::{
    sync::oneshot,
    time::{Instant, sleep_until, timeout_at},
};
use wakumix_integration_tests::{
    CLUSTER,
    peer::{MIX, Muxer, RawPeer},
};
use wakumix_mix::{HopAddress, MixNode};
use wakumix_sphinx::{ADDRESS_LEN, ALPHA_LEN, BETA_LEN, PACKET_LEN, PathHop, PrivateKey, Profile, Sphinx};
use wakumix_waku::frame;

/// What a peer sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// New packets that are not held.
    Passing,
    /// New packets that are to be held for as long as a header can say.
    Held,
    /// One packet again and again.
    Replayed,
    /// A packet whose MAC is wrong.
    Damaged,
}

const KINDS: [Kind; 4] = [Kind::Passing, Kind::Held, Kind::Replayed, Kind::Damaged];

/// Connected peers, with all that they are going to send.
pub(crate) struct Hostile(Vec<Peer>);

struct Peer {
    stream: Stream,
    /// What it writes, in turn; then it begins again.
    frames: Vec<Vec<u8>>,
    /// Lives as long as it sends.
    _peer: RawPeer,
}

impl Hostile {
    /// Connects so many peers to the mixer. Those that send new packets have twice what the mixer could open of each of
    /// them in that time.
    pub(crate) async fn start(target: &MixNode, peers: usize, capacity: usize, time: Duration) -> Self {
        let count = 2 * capacity * usize::try_from(time.as_secs()).expect("minutes") / peers;
        let peers = KINDS.into_iter().cycle().take(peers).map(|kind| Peer::start(target, kind, count));
        Self(join_all(peers).await)
    }

    /// Tries to write so many packets per second, all peers together.
    pub(crate) async fn flood(self, rate: usize, time: Duration) -> Flood {
        let each = u32::try_from(rate / self.0.len()).expect("some thousands").max(1);
        let (tried, until) = (rate * usize::try_from(time.as_secs()).expect("minutes"), Instant::now() + time);
        let written = join_all(self.0.into_iter().map(|peer| peer.flood(each, until))).await;
        Flood { tried, written: written.into_iter().sum() }
    }
}

impl Peer {
    async fn start(target: &MixNode, kind: Kind, count: usize) -> Self {
        let peer = RawPeer::start(Muxer::Yamux, CLUSTER).await;
        let mut incoming = peer.accept(MIX);
        tokio::spawn(async move {
            while let Some((_, stream)) = incoming.next().await {
                tokio::spawn(async move { copy(stream, &mut sink()).await });
            }
        });
        let back = HopAddress::from_multiaddr(peer.address(), peer.peer_id()).expect("TCP on loopback");
        let (over, (built, frames)) = (target.clone(), oneshot::channel());
        // Some seconds of arithmetic, beside the nodes that run here.
        thread::spawn(move || built.send(build(kind, &over, &back, count)));
        peer.connect(target.peer(), target.address.multiaddr()).await;
        let stream = peer.open(target.peer(), MIX).await;
        Self { stream, frames: frames.await.expect("packets can be built"), _peer: peer }
    }

    /// Writes so many frames per second, or as many as are read; gives how many.
    async fn flood(mut self, rate: u32, until: Instant) -> usize {
        let (begun, mut written) = (Instant::now(), 0);
        for (number, frame) in (0..).zip(self.frames.iter().cycle()) {
            let due = begun + Duration::from_secs(1) * number / rate;
            if due >= until {
                break;
            }
            sleep_until(due).await;
            // An error is the mixer's end of the connection; the time is up when nobody reads.
            match timeout_at(until, self.stream.write_all(frame)).await {
                Ok(Ok(())) => written += 1,
                Ok(Err(error)) => panic!("a peer was thrown out: {error}"),
                Err(_) => break,
            }
        }
        written
    }
}

/// Frames of this kind over the mixer and back to the peer.
fn build(kind: Kind, over: &MixNode, back: &HopAddress, count: usize) -> Vec<Vec<u8>> {
    let sphinx = Sphinx::new(Profile::default());
    let delay_ms = if kind == Kind::Held { u16::MAX } else { 0 };
    let key = PrivateKey::generate(&mut rand::rng()).public();
    let hop = |key, address: &HopAddress| PathHop { key, address: address.encode(), delay_ms };
    let path = [hop(over.key, &over.address), hop(key, back), hop(key, back)];
    let build = || {
        let mut packet = vec![0; PACKET_LEN];
        sphinx.build(&mut rand::rng(), &path, &[0; ADDRESS_LEN], b"a flood", &mut packet).expect("a sound path");
        if kind == Kind::Damaged {
            packet[ALPHA_LEN + BETA_LEN] ^= 1;
        }
        frame::encode(&packet)
    };
    let count = if matches!(kind, Kind::Passing | Kind::Held) { count } else { 1 };
    std::iter::repeat_with(build).take(count).collect()
}

/// What the peers have done.
pub(crate) struct Flood {
    tried: usize,
    written: usize,
}

impl fmt::Display for Flood {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  the peers tried to write {} packets, the mixer let them write {}:", self.tried, self.written)
    }
}
