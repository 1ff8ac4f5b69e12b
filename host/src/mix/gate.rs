//! Who may pass, before a frame takes a buffer: how much a peer sends, and how much of it is in the node.
//!
//! One gate for all formats. What is kept of a peer lives while a connection, a stream or a dial of it does; its share is
//! counted over all of them.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
    time::Duration,
};

use libp2p::PeerId;
use parking_lot::{Mutex, MutexGuard};
use tokio::time::Instant;
use wakumix_mix::{
    Admission, DropReason, Place, Places,
    admission::{AdmissionLimits, PeerShare, Pressure, Room},
};
use wakumix_role_api::Formats;
use wakumix_sphinx::Weaknesses;
use wakumix_telemetry::Telemetry;

use crate::{
    config::MixLimits,
    countermeasures::{bound, metered},
    metrics::{AdmissionMetrics, Admitted, Metric},
};

/// Shortest and longest time that a stream is not read after a refusal. Shorter costs more wake-ups than it saves reads;
/// longer would let the muxer's windows grow stale.
const PAUSES: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// How long a stream is not read after its peer had too many packets in the node: a usual delay of a mixer.
const FULL_PAUSE: Duration = Duration::from_millis(100);

/// The gate of a node. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Gate(Arc<Shared>);

struct Shared {
    /// `None` while nobody has said what the node can bear.
    meter: Option<Meter>,
    /// For packets of peers.
    room: Arc<Room>,
    /// Bound: connections and dials.
    peers: Mutex<HashMap<PeerId, Weak<PeerGate>>>,
    metrics: AdmissionMetrics,
}

struct Meter {
    admission: Mutex<Admission>,
    start: Instant,
}

impl Meter {
    /// The buckets and the time, which does not go back between two holders of the lock.
    fn lock(&self) -> (MutexGuard<'_, Admission>, Duration) {
        let admission = self.admission.lock();
        (admission, self.start.elapsed())
    }
}

impl Gate {
    /// A gate for packets of these formats.
    pub(crate) fn new(
        formats: &Formats,
        limits: &MixLimits,
        pressure: &Arc<Pressure>,
        weak: Weaknesses,
        telemetry: &Telemetry,
    ) -> Self {
        let capacity = metered(weak, limits.capacity);
        let longest = formats.all().iter().map(|served| served.format.packet_len()).max().unwrap_or_default();
        let gate = Self(Arc::new(Shared {
            meter: capacity.map(|capacity| Meter {
                admission: Mutex::new(Admission::new(
                    AdmissionLimits::for_capacity(capacity, longest),
                    Arc::clone(pressure),
                )),
                start: Instant::now(),
            }),
            room: Room::new(bound(weak, limits.room_in(formats))),
            peers: Mutex::default(),
            metrics: AdmissionMetrics::new(telemetry),
        }));
        gate.report_to(telemetry);
        gate
    }

    /// What is kept of a peer; the same for everybody who asks while somebody holds it.
    pub(super) fn peer(&self, peer: PeerId) -> Arc<PeerGate> {
        let mut peers = self.0.peers.lock();
        if let Some(known) = peers.get(&peer).and_then(Weak::upgrade) {
            return known;
        }
        let share = self.0.meter.as_ref().map(|meter| {
            let (admission, now) = meter.lock();
            Mutex::new(admission.share(now))
        });
        let known = Arc::new(PeerGate { gate: self.clone(), peer, share, places: Places::of(&self.0.room) });
        peers.insert(peer, Arc::downgrade(&known));
        known
    }

    fn report_to(&self, telemetry: &Telemetry) {
        let shared = Arc::downgrade(&self.0);
        let [active, pace] =
            [Metric::AdmissionActivePeers, Metric::AdmissionPaceRatio].map(|gauge| telemetry.gauge(gauge, &[]));
        telemetry.on_scrape(move |_| {
            let (count, share) = shared.upgrade().map_or((0, 1.0), |shared| shared.state());
            active.set(f64::from(u32::try_from(count).unwrap_or(u32::MAX)));
            pace.set(share);
        });
    }
}

impl Shared {
    /// How many peers share the capacity, and how much of it is admitted.
    fn state(&self) -> (usize, f64) {
        self.meter.as_ref().map_or((0, 1.0), |meter| {
            let (mut admission, now) = meter.lock();
            (admission.active(now), admission.pace(now))
        })
    }
}

/// Why a frame is thrown away unread, and how long its stream rests then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) reason: DropReason,
    pub(super) pause: Duration,
}

/// One peer at the gate.
pub(super) struct PeerGate {
    gate: Gate,
    peer: PeerId,
    /// `None` in a node without a meter.
    share: Option<Mutex<PeerShare>>,
    places: Arc<Places>,
}

impl PeerGate {
    /// Asks for a frame of so many bytes, of which nothing but its length was read.
    pub(super) fn admit(&self, bytes: usize) -> Result<Place, Refused> {
        let metrics = &self.gate.0.metrics;
        if let Err(refused) = self.charge(bytes) {
            metrics.count(if refused.reason == DropReason::NodeRate { Admitted::NodeRate } else { Admitted::PeerRate });
            return Err(refused);
        }
        let Some(place) = self.places.take() else {
            metrics.count(Admitted::PeerFrames);
            return Err(Refused { reason: DropReason::PeerFrames, pause: FULL_PAUSE });
        };
        metrics.count(Admitted::Yes);
        Ok(place)
    }

    fn charge(&self, bytes: usize) -> Result<(), Refused> {
        let (Some(share), Some(meter)) = (&self.share, &self.gate.0.meter) else { return Ok(()) };
        let mut share = share.lock();
        let (mut admission, now) = meter.lock();
        admission.admit(now, &mut share, bytes).map_err(|refusal| Refused {
            reason: refusal.into(),
            pause: admission.pause(now, &share, bytes).clamp(PAUSES.0, PAUSES.1),
        })
    }
}

impl Drop for PeerGate {
    fn drop(&mut self) {
        // A newer one may stand in its place already.
        let mut peers = self.gate.0.peers.lock();
        if peers.get(&self.peer).is_some_and(|known| known.strong_count() == 0) {
            peers.remove(&self.peer);
        }
        drop(peers);
        if let (Some(share), Some(meter)) = (&self.share, &self.gate.0.meter) {
            let share = share.lock();
            meter.lock().0.forget(&share);
        }
    }
}

impl std::fmt::Debug for PeerGate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PeerGate")
    }
}

impl MixLimits {
    /// Packets of peers that a node with these formats has room for, whatever formats they are in.
    fn room_in(&self, formats: &Formats) -> usize {
        let buffers = formats.all().iter().map(|served| served.buffers.capacity()).min().unwrap_or_default();
        self.capacity.map_or(buffers, |capacity| capacity.held.min(buffers))
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use wakumix_sphinx::{Profile, Sphinx};

    use wakumix_mix::admission::Capacity;

    use super::*;

    fn gate(capacity: Option<u32>, buffers: usize, telemetry: &Telemetry) -> Gate {
        let capacity = capacity.and_then(NonZeroU32::new).map(bears);
        let limits = MixLimits { capacity, ..MixLimits::default() };
        let formats = Formats::one(Sphinx::new(Profile::default()), buffers);
        Gate::new(&formats, &limits, &Arc::default(), Weaknesses::NONE, telemetry)
    }

    fn bears(packets_per_second: NonZeroU32) -> Capacity {
        Capacity { packets_per_second, waiting: 1024, held: 8192 }
    }

    fn known(gate: &Gate) -> usize {
        gate.0.peers.lock().len()
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_is_one_peer_however_often_it_is_asked_for_and_forgotten_with_its_last_holder() {
        let telemetry = wakumix_role_testkit::telemetry(&crate::METRICS);
        let gate = gate(Some(1000), 16, &telemetry);
        let peer = PeerId::random();
        let (first, second) = (gate.peer(peer), gate.peer(peer));
        assert!(Arc::ptr_eq(&first, &second));
        assert!(first.admit(4608).is_ok());
        assert_eq!(gate.0.state().0, 1);
        drop(first);
        assert_eq!(known(&gate), 1);
        drop(second);
        assert_eq!((known(&gate), gate.0.state().0), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_flooder_is_refused_and_rests_while_a_modest_peer_passes() {
        let telemetry = wakumix_role_testkit::telemetry(&crate::METRICS);
        let gate = gate(Some(1000), 16_384, &telemetry);
        let (hostile, honest) = (gate.peer(PeerId::random()), gate.peer(PeerId::random()));
        let refused = (0..10_000).find_map(|_| hostile.admit(4608).err()).unwrap();
        assert_eq!(refused.reason, DropReason::PeerRate);
        assert!(refused.pause >= PAUSES.0 && refused.pause <= PAUSES.1);
        assert!(honest.admit(4608).is_ok());
        tokio::time::advance(refused.pause).await;
        assert!(hostile.admit(4608).is_ok());
        let page = telemetry.render();
        assert!(page.contains("waku_mix_admission_frames_total{outcome=\"peer_rate\"} 1"), "{page}");
        assert!(page.contains("waku_mix_admission_active_peers 2"), "{page}");
    }

    #[tokio::test(start_paused = true)]
    async fn packets_of_one_peer_leave_room_for_others() {
        let telemetry = wakumix_role_testkit::telemetry(&crate::METRICS);
        let gate = gate(None, 4096, &telemetry);
        let (greedy, other) = (gate.peer(PeerId::random()), gate.peer(PeerId::random()));
        let mut held: Vec<_> = (0..2048).map(|_| greedy.admit(4608).unwrap()).collect();
        assert_eq!(greedy.admit(4608).unwrap_err().reason, DropReason::PeerFrames);
        assert!(other.admit(4608).is_ok());
        held.pop();
        assert!(greedy.admit(4608).is_ok());
    }

    #[test]
    fn there_is_room_for_what_can_be_held_and_no_more_than_the_buffers() {
        let formats = Formats::one(Sphinx::new(Profile::default()), 4096);
        let room = |held: Option<usize>| {
            let capacity = held.map(|held| Capacity { held, ..bears(NonZeroU32::MIN) });
            MixLimits { capacity, ..MixLimits::default() }.room_in(&formats)
        };
        assert_eq!([room(None), room(Some(2000)), room(Some(8192))], [4096, 2000, 4096]);
    }
}
