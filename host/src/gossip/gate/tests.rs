use libp2p::gossipsub::TopicHash;

use super::*;

fn gate(limits: &GossipLimits) -> (Gate, wakumix_telemetry::Telemetry) {
    let telemetry = wakumix_role_testkit::telemetry(&crate::METRICS);
    (Gate::new(limits, GossipMetrics::new(&telemetry)), telemetry)
}

fn message(number: u64, len: usize) -> RawMessage {
    let mut data = vec![0; len.max(8)];
    data[..8].copy_from_slice(&number.to_le_bytes());
    RawMessage {
        source: None,
        data,
        sequence_number: None,
        topic: TopicHash::from_raw("/waku/2/rs/66/0"),
        signature: None,
        key: None,
        validated: false,
    }
}

fn takes(peer: &PeerGate, message: &RawMessage) -> bool {
    peer.take(message, false).unwrap()
}

/// How many of so many new messages are taken, `rate` a second of each peer in turn.
async fn flood(peers: &[Arc<PeerGate>], number: &mut u64, rate: u32, seconds: u32, len: usize) -> Vec<u32> {
    let mut taken = vec![0; peers.len()];
    for _ in 0..seconds * 10 {
        tokio::time::advance(Duration::from_millis(100)).await;
        for (peer, taken) in peers.iter().zip(&mut taken) {
            for _ in 0..rate / 10 {
                *number += 1;
                *taken += u32::from(takes(peer, &message(*number, len)));
            }
        }
    }
    taken
}

#[tokio::test(start_paused = true)]
async fn no_more_is_kept_than_the_rate_and_its_burst_whoever_sends_it() {
    let limits = GossipLimits::default();
    for identities in [1, 6, 30] {
        let (gate, _telemetry) = gate(&limits);
        let peers: Vec<_> = (0..identities).map(|_| gate.peer(PeerId::random())).collect();
        let taken: u32 = flood(&peers, &mut 0, 800, 20, 60).await.iter().sum();
        let allowed = limits.messages_per_second * (20 + 2 * u32::try_from(limits.burst.as_secs()).unwrap());
        assert!((limits.messages_per_second * 19..=allowed).contains(&taken), "{identities}: {taken} of {allowed}");
    }
}

#[tokio::test(start_paused = true)]
async fn large_messages_are_metered_by_their_bytes() {
    let limits = GossipLimits::default();
    let (gate, _telemetry) = gate(&limits);
    let taken = flood(&[gate.peer(PeerId::random())], &mut 0, 100, 60, 150_000).await[0];
    let allowed = limits.bytes_per_second * (60 + limits.burst.as_secs()) / 150_000;
    assert!(u64::from(taken) <= allowed, "{taken} of {allowed}");
    assert!(u64::from(taken) > allowed / 2, "{taken} of {allowed}");
}

#[tokio::test(start_paused = true)]
async fn a_modest_peer_loses_nothing_while_six_flood_the_node() {
    let (gate, _telemetry) = gate(&GossipLimits::default());
    let hostile: Vec<_> = (0..6).map(|_| gate.peer(PeerId::random())).collect();
    let (honest, mut number) = (gate.peer(PeerId::random()), 0);
    for _ in 0..60 {
        flood(&hostile, &mut number, 600, 1, 60).await;
        for _ in 0..10 {
            number += 1;
            assert!(takes(&honest, &message(number, 1000)));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_dropped_passes_when_another_peer_brings_it_and_counts_as_a_copy_from_then_on() {
    let limits = GossipLimits { messages_per_second: 1, burst: Duration::from_secs(1), ..GossipLimits::default() };
    let (gate, telemetry) = gate(&limits);
    let (hostile, honest) = (gate.peer(PeerId::random()), gate.peer(PeerId::random()));
    while takes(&hostile, &message(0, 60)) && takes(&hostile, &message(1, 60)) && takes(&hostile, &message(2, 60)) {}
    assert!(!takes(&hostile, &message(3, 60)));
    assert!(takes(&honest, &message(3, 60)));
    assert!(takes(&hostile, &message(3, 60)), "a copy");
    let page = telemetry.render();
    for outcome in ["peer_rate", "copy", "new"] {
        let series = format!("waku_mix_gossip_admission_messages_total{{outcome=\"{outcome}\"}} 0");
        assert!(!page.contains(&series), "{outcome}: {page}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_may_wait_is_taken_after_its_pause_and_was_not_dropped() {
    let (gate, telemetry) = gate(&GossipLimits::default());
    let (peer, mut number) = (gate.peer(PeerId::random()), 0);
    while takes(&peer, &message(number, 60)) {
        number += 1;
    }
    let pause = peer.take(&message(number, 60), true).unwrap_err();
    tokio::time::advance(pause).await;
    assert_eq!(peer.take(&message(number, 60), true), Ok(true));
    let page = telemetry.render();
    assert!(page.contains("waku_mix_gossip_admission_messages_total{outcome=\"peer_rate\"} 1"), "{page}");
    assert!(page.contains("waku_mix_gossip_pauses_total{reason=\"peer_rate\"} 1"), "{page}");
}

#[tokio::test(start_paused = true)]
async fn copies_are_metered_too_and_own_messages_are_copies_when_they_come_back() {
    let limits = GossipLimits::default();
    let (gate, _telemetry) = gate(&limits);
    let peer = gate.peer(PeerId::random());
    gate.published(gate.fingerprint(&message(7, 60).data));
    let taken = (0..100_000).filter(|_| takes(&peer, &message(7, 60))).count();
    assert_eq!(taken, usize::try_from(limits.copies_per_second).unwrap());
    // They took nothing from what is new.
    assert!(takes(&peer, &message(8, 60)));
}

#[tokio::test(start_paused = true)]
async fn is_forgotten_no_later_than_gossipsub_forgets_it() {
    let (gate, _telemetry) = gate(&GossipLimits::default());
    let peer = gate.peer(PeerId::random());
    assert_eq!(peer.judge(7, 60), GossipAdmission::New);
    tokio::time::advance(DUPLICATES_KEPT / 2 - Duration::from_secs(1)).await;
    assert_eq!(peer.judge(7, 60), GossipAdmission::Copy);
    tokio::time::advance(DUPLICATES_KEPT / 2 + Duration::from_secs(1)).await;
    assert_eq!(peer.judge(7, 60), GossipAdmission::New);
}

#[tokio::test(start_paused = true)]
async fn a_flooder_is_read_more_slowly_in_messages_and_in_lists_while_a_modest_peer_is_not() {
    let limits = GossipLimits::default();
    let small = FrameSize { messages: 1, message_bytes: 60, control_bytes: 0 };
    let list = FrameSize { control_bytes: 1000, ..FrameSize::default() };
    let rates = [(small, u64::from(limits.read_messages_per_second)), (list, limits.control_bytes_per_second / 1000)];
    for (frame, rate) in rates {
        let (gate, telemetry) = gate(&limits);
        let (hostile, honest) = (gate.peer(PeerId::random()), gate.peer(PeerId::random()));
        let (start, mut frames) = (Instant::now(), 0);
        while start.elapsed() < Duration::from_secs(20) {
            match hostile.read(frame) {
                Ok(()) => frames += 1,
                Err(pause) => {
                    tokio::time::advance(pause).await;
                    assert!(honest.read(small).is_ok());
                }
            }
        }
        assert!((rate * 15..=rate * 21).contains(&frames), "{frames} frames, {rate} a second");
        assert!(telemetry.render().contains("waku_mix_gossip_pauses_total{reason=\"peer_rate\"}"));
    }
}

#[tokio::test(start_paused = true)]
async fn large_frames_wait_in_bounded_room_and_small_ones_always() {
    let (gate, telemetry) = gate(&GossipLimits::default());
    let peer = gate.peer(PeerId::random());
    let list = FrameSize { control_bytes: 240_000, ..FrameSize::default() };
    let small = FrameSize { messages: 1, message_bytes: 1000, control_bytes: 100 };
    let mut waiting: Vec<_> = std::iter::from_fn(|| peer.wait(list)).take(1000).collect();
    assert_eq!(waiting.len(), WAITING_ROOM / 480_000);
    assert!(telemetry.render().contains("waku_mix_gossip_pauses_total{reason=\"no_room\"} 1"));
    assert!(peer.wait(small).is_some());
    waiting.pop();
    assert!(peer.wait(list).is_some());
    waiting.clear();
    assert_eq!(gate.0.waiting.load(Ordering::Acquire), 0);
}

#[tokio::test(start_paused = true)]
async fn a_peer_is_one_peer_over_all_its_connections_and_forgotten_with_the_last() {
    let (gate, _telemetry) = gate(&GossipLimits::default());
    let peer = PeerId::random();
    let (first, second) = (gate.peer(peer), gate.peer(peer));
    assert!(Arc::ptr_eq(&first, &second));
    drop(first);
    assert_eq!(gate.0.peers.lock().len(), 1);
    drop(second);
    assert!(gate.0.peers.lock().is_empty());
}
