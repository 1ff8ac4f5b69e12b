//! An outcome tells every packet that was made for its request, also when the deadline falls while one is being made.

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    time::Duration,
};

use parking_lot::Mutex;
use rand::CryptoRng;
use wakumix_mix::Outcome;
use wakumix_role_api::{relay::Received, sender::ClientError};
use wakumix_sphinx::{
    AddressBytes, Authenticated, Blinding, BuildError, Opened, PATH_LEN, PacketFormat, PathHop, PrivateKey, Profile,
    Reject, ReplyError, ReplyKeys, Sphinx, Surb, SurbError, WireFormat,
};
use wakumix_waku::MessageHash;

use crate::support::{NO_CREDENTIALS, Setup, TOPIC, World, message};

/// A format whose packets are ready when the test says so.
#[derive(Debug)]
struct Gated {
    inner: Sphinx,
    begun: AtomicUsize,
    /// Closed when packets may be made.
    gate: Mutex<mpsc::Receiver<()>>,
}

impl PacketFormat for Gated {
    fn wire(&self) -> WireFormat {
        self.inner.wire()
    }

    fn packet_len(&self) -> usize {
        self.inner.packet_len()
    }

    fn data_len(&self) -> usize {
        self.inner.data_len()
    }

    fn surb_len(&self) -> usize {
        self.inner.surb_len()
    }

    fn build(
        &self,
        rng: &mut dyn CryptoRng,
        path: &[PathHop; PATH_LEN],
        destination: &AddressBytes,
        body: &[u8],
        out: &mut [u8],
    ) -> Result<(), BuildError> {
        self.begun.fetch_add(1, Ordering::SeqCst);
        // A test that has failed closes it too.
        let _ = self.gate.lock().recv();
        PacketFormat::build(&self.inner, rng, path, destination, body, out)
    }

    fn create_surb(
        &self,
        rng: &mut dyn CryptoRng,
        path: &[PathHop; PATH_LEN],
    ) -> Result<(Surb, ReplyKeys), BuildError> {
        PacketFormat::create_surb(&self.inner, rng, path)
    }

    fn read_surb(&self, bytes: &[u8]) -> Result<Surb, SurbError> {
        self.inner.read_surb(bytes)
    }

    fn use_surb(&self, rng: &mut dyn CryptoRng, surb: Surb, body: &[u8], out: &mut [u8]) -> Result<(), BuildError> {
        PacketFormat::use_surb(&self.inner, rng, surb, body, out)
    }

    fn authenticate(&self, key: &PrivateKey, packet: &[u8]) -> Result<Authenticated, Reject> {
        self.inner.authenticate(key, packet)
    }

    fn open(&self, packet: &mut [u8], authenticated: Authenticated) -> Result<Opened, Reject> {
        self.inner.open(packet, authenticated)
    }

    fn blind(&self, packet: &mut [u8], blinding: Blinding) -> Result<(), Reject> {
        self.inner.blind(packet, blinding)
    }

    fn open_reply(&self, keys: &ReplyKeys, packet: &mut [u8]) -> Result<Range<usize>, ReplyError> {
        PacketFormat::open_reply(&self.inner, keys, packet)
    }
}

#[actix::test]
async fn a_deadline_while_a_try_is_made_counts_it_and_one_before_prevents_it() {
    let (open, gate) = mpsc::sync_channel(0);
    let format =
        Arc::new(Gated { inner: Sphinx::new(Profile::default()), begun: AtomicUsize::new(0), gate: Mutex::new(gate) });
    let formats = vec![Arc::clone(&format) as Arc<dyn PacketFormat>];
    let (mut world, relay) = World::beside_relay(Setup { formats, ..Setup::default() }).await;

    let limit = Duration::from_secs(3);
    let made = world.push_with(message(b"made"), None, Some(limit));
    while format.begun.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    // The only worker is taken.
    let waiting = world.push_with(message(b"waiting"), None, Some(limit));
    world.shows("waku_mix_requests_pending 2").await;
    let hash = MessageHash::of(TOPIC, &message(b"made"));
    relay.send(Received { topic: TOPIC.to_owned(), message: message(b"made"), hash }).unwrap();
    // Timers round up to the next millisecond.
    tokio::time::advance(limit + Duration::from_millis(1)).await;
    let answer = made.await.unwrap().unwrap();
    assert_eq!((answer.kind(), answer.tries, answer.exposure.packets), ("published_unconfirmed", 1, 1));
    assert_eq!(waiting.await.unwrap(), Err(ClientError::Busy.into()), "nothing of it leaves");
    assert!(world.metric("waku_mix_request_packets_total 1"));

    drop(open);
    world.dispatch().await.packet.finish(Outcome::Sent);
    world.finished().await;
    assert_eq!((format.begun.load(Ordering::SeqCst), world.around.balance().originated), (1, 1));
    world.shows(NO_CREDENTIALS).await;
}
