use proptest::prelude::*;
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::SeedableRng as _;

use super::*;

const FRAME: usize = 4608;

fn capacity(packets_per_second: u32, waiting: usize) -> Capacity {
    Capacity { packets_per_second: NonZeroU32::new(packets_per_second).unwrap(), waiting, held: 0 }
}

/// Of a node whose queue is no limit.
fn limits(packets_per_second: u32) -> AdmissionLimits {
    AdmissionLimits::for_capacity(capacity(packets_per_second, usize::MAX), FRAME)
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Frames of one peer that are admitted at one moment.
fn at_once(admission: &mut Admission, now: Duration, share: &mut PeerShare) -> usize {
    (0..1_000_000).take_while(|_| admission.admit(now, share, FRAME).is_ok()).count()
}

#[test]
fn a_peer_alone_has_the_whole_node() {
    let mut admission = Admission::new(limits(1000), Arc::default());
    let mut share = admission.share(millis(0));
    let frames: usize = (0..10_000).map(|now| at_once(&mut admission, millis(now), &mut share)).sum();
    // Ten seconds, and the burst.
    assert!((10_400..=10_600).contains(&frames), "{frames}");
}

#[test]
fn a_peer_below_its_part_is_admitted_while_another_floods() {
    let mut admission = Admission::new(limits(1000), Arc::default());
    let (mut honest, mut hostile) = (admission.share(millis(0)), admission.share(millis(0)));
    let mut taken = 0;
    for now in 0..10_000 {
        taken += at_once(&mut admission, millis(now), &mut hostile);
        if now % 3 == 0 {
            assert_eq!(admission.admit(millis(now), &mut honest, FRAME), Ok(()), "at {now} ms");
        }
    }
    // Its half, and what the honest one left of its own.
    assert!((6_000..=7_600).contains(&taken), "{taken}");
}

#[test]
fn says_which_limit_was_met() {
    let mut admission = Admission::new(limits(1000), Arc::default());
    let mut share = admission.share(millis(0));
    at_once(&mut admission, millis(0), &mut share);
    assert_eq!(admission.admit(millis(0), &mut share, FRAME), Err(AdmissionRefusal::PeerRate));
    // Peers that come and go have one frame each, and the node owes no more than its bound.
    let strangers = (0..100_000).take_while(|_| {
        let mut stranger = admission.share(millis(0));
        let admitted = admission.admit(millis(0), &mut stranger, FRAME);
        admission.forget(&stranger);
        admitted != Err(AdmissionRefusal::NodeRate)
    });
    assert!((2_000..=3_000).contains(&strangers.count()));
}

#[test]
fn a_new_peer_of_a_busy_node_has_one_frame_and_saves_for_more() {
    let mut admission = Admission::new(limits(1000), Arc::default());
    let mut flooder = admission.share(millis(0));
    at_once(&mut admission, millis(0), &mut flooder);
    let mut newcomer = admission.share(millis(0));
    assert_eq!(at_once(&mut admission, millis(0), &mut newcomer), 1);
    // Its part is half of what the node can do now.
    for now in 1..=20 {
        at_once(&mut admission, millis(now), &mut flooder);
    }
    assert_eq!(at_once(&mut admission, millis(20), &mut newcomer), 10);
}

#[test]
fn a_long_frame_costs_its_bytes_and_a_short_one_a_packet() {
    let limits = AdmissionLimits { bytes_per_second: NonZeroU64::new(1_000_000).unwrap(), ..limits(1000) };
    let mut admission = Admission::new(limits, Arc::default());
    let mut share = admission.share(millis(0));
    let mut admitted = |bytes| (0..).take_while(|_| admission.admit(millis(0), &mut share, bytes).is_ok()).count();
    // Half a second of 1 MB/s, and the share of a peer.
    assert!((49..=55).contains(&admitted(10_000)));
    let mut admission = Admission::new(limits, Arc::default());
    let mut share = admission.share(millis(0));
    let mut admitted = |bytes| (0..).take_while(|_| admission.admit(millis(0), &mut share, bytes).is_ok()).count();
    assert!((499..=532).contains(&admitted(0)));
}

#[test]
fn after_its_pause_a_refused_peer_is_admitted_again() {
    for rate in [10, 1000, 50_000] {
        let mut admission = Admission::new(limits(rate), Arc::default());
        let mut shares: Vec<_> = (0..40).map(|_| admission.share(millis(0))).collect();
        for share in &mut shares {
            at_once(&mut admission, millis(0), share);
        }
        let pause = admission.pause(millis(0), &shares[7], FRAME);
        assert!(pause > Duration::ZERO);
        let later = pause + Duration::from_nanos(1000);
        // The others take what is there first.
        for at in (0..40).filter(|at| *at != 7) {
            at_once(&mut admission, later, &mut shares[at]);
        }
        assert_eq!(admission.admit(later, &mut shares[7], FRAME), Ok(()), "at {rate} a second");
    }
}

#[test]
fn counts_those_who_sent_lately_and_forgets_the_others() {
    let mut admission = Admission::new(limits(1000), Arc::default());
    let mut shares: Vec<_> = (0..8).map(|_| admission.share(millis(0))).collect();
    let mut send = |admission: &mut Admission, now, peers: std::ops::Range<usize>| {
        for share in &mut shares[peers] {
            admission.admit(now, share, FRAME).unwrap();
        }
    };
    send(&mut admission, millis(100), 0..8);
    send(&mut admission, millis(200), 0..8);
    assert_eq!(admission.active(millis(200)), 8);
    send(&mut admission, millis(6_000), 0..3);
    assert_eq!(admission.active(millis(6_000)), 8, "seen in the generation before");
    assert_eq!(admission.active(millis(10_000)), 3);
    send(&mut admission, millis(10_000), 2..4);
    assert_eq!(admission.active(millis(10_000)), 4);
    admission.forget(&shares[3]);
    admission.forget(&shares[0]);
    admission.forget(&shares[7]);
    assert_eq!(admission.active(millis(10_000)), 2);
    assert_eq!(admission.active(millis(15_000)), 1, "the one of the last generation that is still there");
    assert_eq!(admission.active(millis(60_000)), 0);
}

/// Ten times the capacity for a minute from 20 hostile peers beside 12 honest ones, in virtual time.
struct Flood {
    rng: ChaCha12Rng,
    admission: Admission,
    now: Duration,
}

#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    sent: u32,
    admitted: u32,
}

struct Peer {
    share: PeerShare,
    /// Frames a second.
    rate: f64,
    next: Duration,
    /// A peer that keeps to the pauses, as the host makes every peer do.
    pauses: bool,
    tally: Tally,
}

impl Flood {
    fn new(seed: u64, capacity: u32) -> Self {
        let (rng, admission) = (ChaCha12Rng::seed_from_u64(seed), Admission::new(limits(capacity), Arc::default()));
        Self { rng, admission, now: Duration::ZERO }
    }

    fn peer(&mut self, rate: f64, pauses: bool) -> Peer {
        let next = self.gap(rate);
        Peer { share: self.admission.share(self.now), rate, next, pauses, tally: Tally::default() }
    }

    /// Poisson arrivals.
    fn gap(&mut self, rate: f64) -> Duration {
        let uniform = (f64::from(self.rng.next_u32()) + 1.0) / 4_294_967_297.0;
        Duration::from_secs_f64(-libm::log(uniform) / rate)
    }

    fn run(&mut self, peers: &mut [Peer], until: Duration) {
        while let Some(peer) = peers.iter_mut().min_by_key(|peer| peer.next).filter(|peer| peer.next < until) {
            self.now = peer.next;
            peer.tally.sent += 1;
            peer.next += self.gap(peer.rate);
            match self.admission.admit(self.now, &mut peer.share, FRAME) {
                Ok(()) => peer.tally.admitted += 1,
                Err(_) if peer.pauses => {
                    peer.next = peer.next.max(self.now + self.admission.pause(self.now, &peer.share, FRAME));
                }
                Err(_) => {}
            }
        }
        self.now = until;
    }
}

fn tally(peers: &[Peer]) -> Tally {
    peers.iter().fold(Tally::default(), |sum, peer| Tally {
        sent: sum.sent + peer.tally.sent,
        admitted: sum.admitted + peer.tally.admitted,
    })
}

#[test]
fn twenty_flooders_at_ten_times_the_capacity_cost_honest_peers_nothing() {
    const CAPACITY: u32 = 1000;
    let minute = Duration::from_secs(60);
    for seed in 0..2 {
        for pauses in [false, true] {
            let mut flood = Flood::new(seed, CAPACITY);
            // Each at a third of 1000 / 32: together an eighth of the node.
            let mut peers: Vec<_> = (0..12).map(|_| flood.peer(10.0, true)).collect();
            flood.run(&mut peers, minute);
            let before = tally(&peers);
            assert_eq!(before.admitted, before.sent);
            peers.extend((0..20).map(|_| flood.peer(f64::from(10 * CAPACITY) / 20.0, pauses)));
            for hostile in &mut peers[12..] {
                hostile.next += minute;
            }
            flood.run(&mut peers, 2 * minute);
            let (honest, hostile) = (tally(&peers[..12]), tally(&peers[12..]));
            assert_eq!(honest.admitted, honest.sent, "seed {seed}, pauses {pauses}");
            let all = honest.admitted - before.admitted + hostile.admitted;
            // The node works at its capacity and no more, beside what it had saved.
            assert!((60 * CAPACITY * 95 / 100..=60 * CAPACITY + 4 * CAPACITY).contains(&all), "{all} admitted");
            if pauses {
                assert!(hostile.sent < 2 * hostile.admitted, "a flooder that is not read costs little: {hostile:?}");
            }
        }
    }
}

#[test]
fn a_burst_fits_into_the_queue() {
    for (rate, waiting, frames) in [(1000, 1024, 500), (10_000, 1024, 512), (100, 4, 2)] {
        let limits = AdmissionLimits::for_capacity(capacity(rate, waiting), FRAME);
        let mut admission = Admission::new(limits, Arc::default());
        let mut share = admission.share(millis(0));
        let admitted = at_once(&mut admission, millis(0), &mut share);
        assert!(admitted == frames || admitted + 1 == frames, "{admitted} of {frames}");
    }
}

#[test]
fn under_pressure_the_node_takes_less_and_a_modest_peer_still_passes() {
    const QUEUE: usize = 1024;
    let pressure = Arc::new(Pressure::default());
    let limits = AdmissionLimits::for_capacity(capacity(8000, QUEUE), FRAME);
    let mut admission = Admission::new(limits, Arc::clone(&pressure));
    let (mut honest, mut hostile) = (admission.share(millis(0)), admission.share(millis(0)));
    let (mut waiting, mut lost, mut opened) = (0_usize, 0, 0);
    for now in 0..20_000 {
        let mut arrived = at_once(&mut admission, millis(now), &mut hostile);
        if now % 10 == 0 {
            assert_eq!(admission.admit(millis(now), &mut honest, FRAME), Ok(()), "at {now} ms");
            arrived += 1;
        }
        // It opens half of what it said.
        opened += waiting.min(4);
        waiting = (waiting + arrived).saturating_sub(4);
        if now >= 1000 {
            lost += waiting.saturating_sub(QUEUE);
        }
        waiting = waiting.min(QUEUE);
        if waiting > QUEUE * 3 / 4 {
            pressure.raise();
        }
    }
    assert_eq!(lost, 0, "after the first second the queue never overflows");
    assert!(opened > 80_000 * 8 / 10, "{opened} of 80000 that it could have opened");
}

#[derive(Clone, Copy, Debug)]
struct Arrival {
    peer: usize,
    after: u64,
    frames: usize,
    bytes: usize,
}

fn arrivals(peers: usize) -> impl Strategy<Value = Vec<Arrival>> {
    // Gaps from none to several generations.
    let gap = prop_oneof![6 => 0..50u64, 3 => 0..2_000u64, 1 => 0..20_000u64];
    let arrival = (0..peers, gap, 1..200usize, 0..=FRAME);
    let arrival = arrival.prop_map(|(peer, after, frames, bytes)| Arrival { peer, after, frames, bytes });
    proptest::collection::vec(arrival, 1..200)
}

proptest! {
    /// Whatever eleven others do, one that keeps to a twelfth of the node is never refused.
    #[test]
    fn who_keeps_to_its_part_is_never_refused(rate in 1u32..20_000, arrivals in arrivals(11)) {
        let mut admission = Admission::new(limits(rate), Arc::default());
        let mut shares: Vec<_> = (0..11).map(|_| admission.share(millis(0))).collect();
        let mut honest = admission.share(millis(0));
        let gap = Duration::from_secs_f64(12.0 / f64::from(rate)) + Duration::from_nanos(100);
        let (mut now, mut next) = (Duration::ZERO, Duration::ZERO);
        for arrival in arrivals {
            now += millis(arrival.after);
            // Its frames of the time since are spread over it: at most a thousand, for the test's sake.
            next = next.max(now.saturating_sub(gap * 1000));
            while next <= now {
                prop_assert_eq!(admission.admit(next.max(admission.filled), &mut honest, FRAME), Ok(()));
                next += gap;
            }
            for _ in 0..arrival.frames {
                let _ = admission.admit(now, &mut shares[arrival.peer], arrival.bytes);
            }
        }
    }

    /// Whatever peers do, the node takes no more than its capacity, its burst and its bounded debt.
    #[test]
    fn the_node_takes_no_more_than_it_can_bear(rate in 1u32..5_000, arrivals in arrivals(40)) {
        let mut admission = Admission::new(limits(rate), Arc::default());
        let mut shares: Vec<_> = (0..40).map(|_| admission.share(millis(0))).collect();
        let (mut now, mut admitted) = (Duration::ZERO, 0usize);
        for arrival in arrivals {
            now += millis(arrival.after);
            let share = &mut shares[arrival.peer];
            let frames = 0..arrival.frames;
            admitted += frames.filter(|_| admission.admit(now, share, arrival.bytes).is_ok()).count();
            prop_assert!(admission.active(now) <= 40);
            let limit = (now.as_secs_f64() + 0.5 + MAX_DEBT * 0.5) * f64::from(rate) + 41.0;
            prop_assert!(count(admitted) <= limit, "{} of {}", admitted, limit);
        }
    }
}
