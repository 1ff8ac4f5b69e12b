//! Twenty peers that send far more than a mixer can bear, while one sends little.

use std::time::Duration;

use tokio::{select, task::JoinSet, time::sleep};
use wakumix_integration_tests::{
    eventually,
    net::{Net, NodePlan},
};
use wakumix_mix::MixNode;
use wakumix_node::node::Node;
use wakumix_sphinx::{Weakness, Weaknesses};

use crate::{
    Verdict,
    adversary::Hop,
    check,
    client::{count, hop, round_trip},
};

/// Peers of the adversary.
const HOSTILE: usize = 20;
/// Packets of each of them that the mixer has not seen; then they come again.
const PACKETS: usize = 30;
/// What the mixer is said to bear, in packets per second. Of it each of 21 peers has a part of 0.57.
const CAPACITY: usize = 12;
/// How long a packet may be held.
const LONGEST: Duration = Duration::from_secs(20);
/// Room for all that the mixer admits while it holds one packet: its capacity, what it has saved, and what it may owe, which
/// is some 300 in all (`protocol/mix/src/admission.rs`).
const ROOM: u64 = 350;
/// Packets of the honest peer.
const HONEST: usize = 4;
/// Between two of them: more than its part needs to fill, 21/12 seconds.
const GAP: Duration = Duration::from_secs(2);

/// Sends packets that ask for the longest delay for as long as it is polled.
async fn flood(from: Hop, over: MixNode, packets: Vec<Vec<u8>>) {
    for packet in packets.iter().cycle() {
        from.write(&over.address, packet).await;
    }
}

/// Sends packets at a modest rate; none before the last one is back or late.
async fn sends_little(honest: &Hop, over: &MixNode) {
    for number in 1..=HONEST {
        honest.write(&over.address, &round_trip(over, honest, 1)).await;
        select! {
            _ = honest.caught(number) => {}
            () = sleep(GAP) => {}
        }
        sleep(GAP).await;
    }
}

/// Waits until the node is full, or refuses what is more than it can bear.
async fn is_under_load(mixer: &Node) {
    eventually(async || {
        let held = count(mixer, "waku_mix_queue_depth{queue=\"delay\"}");
        let refused = count(mixer, "waku_mix_admission_frames_total{outcome=\"peer_rate\"}");
        if held == ROOM || refused >= HOSTILE as u64 { Ok(()) } else { Err(format!("{held} held, {refused} refused")) }
    })
    .await;
}

async fn shut_out_by_a_flood(weak: Weaknesses) -> Verdict {
    let plan = NodePlan::new("mixer", &["mixer"])
        .with("mixer.capacity", &CAPACITY.to_string())
        .with("mixer.max-held", &ROOM.to_string())
        .with("mixer.delay-rule", "as-encoded")
        .with("mixer.max-delay", &format!("{}s", LONGEST.as_secs()));
    let mut net = Net::strangers(vec![plan.weakened(weak)]).await;
    let (honest, mixer) = (hop().await, net.node("mixer"));
    let over = mixer.mix_node().unwrap();
    let (mut hostile, mut floods) = (Vec::new(), JoinSet::new());
    for _ in 0..HOSTILE {
        let hop = hop().await;
        let packets: Vec<_> = (0..PACKETS).map(|_| round_trip(&over, &hop, u16::MAX)).collect();
        hostile.push((hop, packets));
    }
    // Made before, so that they come faster than the first of them leave.
    for (hop, packets) in &mut hostile {
        floods.spawn(flood(hop.clone(), over.clone(), std::mem::take(packets)));
    }
    is_under_load(mixer).await;
    sends_little(&honest, &over).await;
    floods.shutdown().await;
    // Either all are back, or the mixer has given away all that it had, and they are not.
    let accounts = mixer.accounts();
    let passed = eventually(async || {
        let passed = honest.count();
        let (held, balance) = accounts.read();
        let back = passed + hostile.iter().map(|(hop, _)| hop.count()).sum::<usize>();
        let is_at_rest = held == 0 && balance.forwarded == back as u64;
        if passed == HONEST || is_at_rest { Ok(passed) } else { Err(format!("{passed} have passed, {held} are held")) }
    })
    .await;
    net.kill("mixer").await;
    (passed < HONEST).into()
}

#[test]
fn a_flood_of_twenty_peers_takes_nothing_from_one_that_sends_little() {
    check(Weakness::Unmetered, shut_out_by_a_flood);
}
