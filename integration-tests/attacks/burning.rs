//! W7: garbage that comes first burns the answers behind it.
//!
//! A request carries two reply blocks, and the exit answers through both. A hop of one reply path puts garbage in the place
//! of the payload and sees to it that this comes first. The answer on the other way is sound.

use std::sync::Arc;

use parking_lot::Mutex;
use wakumix_integration_tests::{
    net::{Net, all_with, plans, push},
    until,
};
use wakumix_mix::{DropReason, HopAddress};
use wakumix_sphinx::{HEADER_LEN, Weakness, Weaknesses};

use crate::{
    Verdict,
    adversary::{Hop, dropped},
    check,
};

/// Answers on their last link to the sender.
#[derive(Default)]
struct LastLink {
    /// Whether one was damaged, which went on.
    is_damaged: bool,
    /// Whether the others go on.
    is_open: bool,
    withheld: Vec<(HopAddress, Vec<u8>)>,
}

#[test]
fn a_damaged_answer_does_not_burn_the_sound_one_under_aes_ctr() {
    check(Weakness::BurnedReply, async |weak| attack(weak, "aes-ctr/seq").await);
}

#[test]
fn a_damaged_answer_does_not_burn_the_sound_one_under_lioness() {
    check(Weakness::BurnedReply, async |weak| attack(weak, "lioness/pad").await);
}

async fn attack(weak: Weaknesses, profile: &str) -> Verdict {
    let plans = all_with(plans(0, 1, 1, 1), "mix.profile", profile);
    let plans = all_with(all_with(plans, "sender.surbs", "2"), "sender.timeout", "60s");
    let net = Net::strangers(plans.into_iter().map(|plan| plan.weakened(weak)).collect()).await;
    let wire = profile.parse().unwrap();
    let hops = futures::future::join_all((0..4).map(|_| Hop::start(wire))).await;
    let pool = hops.iter().map(Hop::mix_node).chain(net.pool()).collect::<Vec<_>>();
    net.tell_all(&pool, &net.services()).await;
    net.link_relays().await;
    net.ready().await;
    let sender = net.node("sender-1");
    let link = Arc::<Mutex<LastLink>>::default();
    for hop in &hops {
        let (link, me) = (Arc::clone(&link), sender.peer_id());
        hop.pass_on(move |passing| passing.next.peer() != me || link.lock().takes(&passing.next, &mut passing.packet));
    }

    let sound_ones_follow = async {
        until("the sender has dropped the damaged answer", async || dropped(sender, DropReason::Integrity) > 0).await;
        let withheld = {
            let mut link = link.lock();
            link.is_open = true;
            std::mem::take(&mut link.withheld)
        };
        for (next, packet) in withheld {
            hops[0].write(&next, &packet).await;
        }
    };
    let (outcome, ()) = tokio::join!(push(sender, "answered twice"), sound_ones_follow);
    net.end().await;
    outcome.is_err().into()
}

impl LastLink {
    /// Damages the first answer, and keeps the others until the way is open; whether this one goes on.
    fn takes(&mut self, next: &HopAddress, packet: &mut [u8]) -> bool {
        if !self.is_damaged {
            packet[HEADER_LEN..].fill(0xa5);
            self.is_damaged = true;
            return true;
        }
        if !self.is_open {
            self.withheld.push((next.clone(), packet.to_vec()));
        }
        self.is_open
    }
}
