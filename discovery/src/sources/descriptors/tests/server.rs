//! What others get for their requests.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use libp2p_identity::PeerId;
use rand::{SeedableRng as _, rngs::StdRng};
use wakumix_records::descriptor::{Descriptor, MAX_DESCRIPTORS, Request};
use wakumix_role_api::{Requester, Service};
use wakumix_telemetry::Telemetry;

use super::support::{ME, NOW, ask, known, peer, sealed};
use crate::{
    peer_report::{KnownRecord, Standing},
    sources::{
        descriptors::{server::Server, store::DescriptorStore},
        test_double::reached,
    },
};

struct World {
    service: Service,
    server: Arc<Server>,
    now: Arc<AtomicU64>,
    telemetry: Telemetry,
}

impl World {
    fn new(peers: u16, has_own: bool) -> Self {
        tokio::time::pause();
        let now = Arc::new(AtomicU64::new(NOW));
        let clock = Arc::clone(&now);
        let clock = Arc::new(move || clock.load(Ordering::Relaxed));
        let server = Arc::new(Server::new(StdRng::seed_from_u64(1), clock));
        let telemetry = wakumix_role_testkit::telemetry(&crate::METRICS);
        server.count_in(&telemetry);
        server.show(Arc::new(DescriptorStore::new(reached((1..=peers).map(known)), &HashSet::new(), NOW)));
        if has_own {
            server.set_own(peer(ME), Some(sealed(ME)), NOW);
        }
        let shared = Arc::clone(&server);
        let service = Service::new("/test", 0, move |request| shared.answer(request));
        Self { service, server, now, telemetry }
    }

    /// The peers of the answer to somebody new.
    async fn ask(&self, request: Request) -> Vec<PeerId> {
        let answer = ask(&self.service, Requester::Peer(PeerId::random()), request.encode()).await;
        answer.unwrap().iter().map(|bytes| Descriptor::open(bytes, NOW).unwrap().peer).collect()
    }
}

#[tokio::test]
async fn a_descriptor_of_this_node_that_it_has_not_made_is_of_another_process_unless_it_is_of_an_earlier_run() {
    let world = World::new(3, true);
    let (own, other) = (sealed(ME), sealed(1));
    let is_foreign = |issued, descriptor| world.server.is_of_another_process(issued, descriptor);
    assert!(!is_foreign(NOW, &own) && !is_foreign(NOW + 9, &own), "its own, as others have it");
    assert!(!is_foreign(NOW - 1, &other) && !is_foreign(NOW, &other), "of an earlier run");
    assert!(is_foreign(NOW + 1, &other));
    let without = Server::new(StdRng::seed_from_u64(1), Arc::new(|| NOW));
    assert!(!without.is_of_another_process(NOW + 1, &other), "nothing to compare it with");
}

#[tokio::test]
async fn an_empty_request_brings_the_own_descriptor_alone() {
    let world = World::new(3, true);
    assert_eq!(world.ask(Request::Own).await, [peer(ME)]);
    world.server.set_own(peer(ME), None, NOW);
    assert_eq!(world.ask(Request::Own).await, []);
}

#[tokio::test]
async fn a_node_that_tells_nothing_of_itself_serves_what_others_told() {
    let world = World::new(3, false);
    assert_eq!(world.ask(Request::Sample(8)).await.len(), 3);
    assert_eq!(world.ask(Request::Peers(vec![peer(ME), peer(2)])).await, [peer(2)]);
}

/// A liar has told this node of 200 ghosts; it has reached twelve nodes, and tried some ghosts in vain.
#[tokio::test]
async fn unverified_peers_are_a_quarter_of_an_answer_and_what_was_tried_in_vain_is_told_to_nobody() {
    let world = World::new(3, true);
    let known = (1..=212).map(|seed| {
        let standing = match seed {
            1..=12 => Standing::Reached,
            13..=150 => Standing::Untried,
            _ => Standing::Failed,
        };
        KnownRecord { report: known(seed), standing }
    });
    world.server.show(Arc::new(DescriptorStore::new(known.collect(), &HashSet::new(), NOW)));
    let told = world.ask(Request::Sample(32)).await;
    let of = |seeds: std::ops::RangeInclusive<u16>| {
        told.iter().filter(|id| seeds.clone().any(|seed| **id == peer(seed))).count()
    };
    assert_eq!((of(1..=12), of(13..=150), of(151..=212), told.len()), (12, 4, 0, 17), "and its own");
    let told = world.ask(Request::Sample(8)).await;
    let strangers = told.iter().filter(|id| (13..=150).any(|seed| **id == peer(seed))).count();
    assert_eq!((told.len(), strangers), (8, 2));
}

#[tokio::test]
async fn a_node_that_has_reached_nobody_tells_of_nobody() {
    let world = World::new(0, true);
    let known = (1..=200).map(|seed| KnownRecord { report: known(seed), standing: Standing::Untried });
    world.server.show(Arc::new(DescriptorStore::new(known.collect(), &HashSet::new(), NOW)));
    assert_eq!(world.ask(Request::Sample(32)).await, [peer(ME)]);
}

#[tokio::test]
async fn named_peers_are_told_as_far_as_they_are_known() {
    let world = World::new(3, true);
    assert_eq!(
        world.ask(Request::Peers(vec![peer(3), peer(9), peer(ME), peer(1)])).await,
        [peer(3), peer(ME), peer(1)]
    );
}

#[tokio::test]
async fn a_sample_is_as_large_as_asked_and_begins_with_the_own_descriptor() {
    let world = World::new(100, true);
    for count in [1, 2, MAX_DESCRIPTORS] {
        let told = world.ask(Request::Sample(count)).await;
        assert_eq!((told.len(), told[0]), (count, peer(ME)));
        let distinct: std::collections::HashSet<_> = told.iter().collect();
        assert_eq!(distinct.len(), count);
    }
}

/// Each of 40 is drawn 10 times in 400 on average, with a deviation of 2.7: 10 more are nearly four of
/// them.
#[tokio::test]
async fn samples_favour_nobody() {
    let world = World::new(40, false);
    let mut drawn: HashMap<PeerId, u32> = HashMap::new();
    for _ in 0..40 {
        for peer in world.ask(Request::Sample(10)).await {
            *drawn.entry(peer).or_default() += 1;
        }
        // The budget of all is for many seconds.
        tokio::time::advance(std::time::Duration::from_secs(1)).await;
    }
    assert_eq!((drawn.len(), drawn.values().sum::<u32>()), (40, 400));
    assert!(drawn.values().all(|count| *count <= 20), "{drawn:?}");
}

#[tokio::test]
async fn what_is_over_is_not_passed_on() {
    let world = World::new(3, false);
    world.now.store(NOW + 3600, Ordering::Relaxed);
    assert_eq!(world.ask(Request::Sample(8)).await, []);
    assert_eq!(world.ask(Request::Peers(vec![peer(1)])).await, []);
    world.server.show(Arc::new(DescriptorStore::new(reached((1..=3).map(known)), &HashSet::new(), NOW + 3600)));
    world.now.store(NOW, Ordering::Relaxed);
    assert_eq!(world.ask(Request::Sample(8)).await, []);
}

#[tokio::test]
async fn the_greedy_are_refused_and_counted_and_do_not_starve_others() {
    let world = World::new(40, true);
    let greedy = Requester::Peer(peer(1));
    let sample = Request::Sample(MAX_DESCRIPTORS).encode();
    let mut answered = 0;
    for _ in 0..1000 {
        answered += usize::from(ask(&world.service, greedy, sample.clone()).await.is_some());
    }
    assert_eq!(answered, 8);
    assert!(ask(&world.service, Requester::Peer(peer(2)), sample).await.is_some());
    assert!(ask(&world.service, greedy, Vec::new()).await.is_some(), "the own descriptor has its own budget");
    let page = world.telemetry.render();
    let line = |outcome, count| {
        format!("waku_mix_discovery_requests_total{{protocol=\"descriptor\",outcome=\"{outcome}\"}} {count}\n")
    };
    assert!(page.contains(&line("answered", 10)) && page.contains(&line("refused", 992)), "{page}");
}

#[tokio::test]
async fn a_request_without_sense_is_counted_and_not_answered() {
    let world = World::new(3, true);
    for body in [vec![255; 8], Request::Sample(MAX_DESCRIPTORS + 1).encode(), vec![0; 10_000]] {
        assert_eq!(ask(&world.service, Requester::Anonymous, body).await, None);
    }
    assert!(world.telemetry.render().contains("protocol=\"descriptor\",outcome=\"malformed\"} 3\n"));
}
