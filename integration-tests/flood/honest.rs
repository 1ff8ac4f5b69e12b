//! The honest net around the mixer: a sender whose messages nearly all pass over it.

use std::{collections::BTreeMap, fmt, time::Duration};

use futures::{StreamExt as _, stream::FuturesUnordered};
use libp2p::Multiaddr;
use tokio::time::{Instant, sleep_until};
use wakumix_integration_tests::net::{Net, plans, push};
use wakumix_mix::MixNode;
use wakumix_node::node::Node;
use wakumix_role_api::{
    directory::ServiceNode,
    sender::{Answer, PushFailure},
};

use crate::victim::Target;

/// Two more mixers, an exit and a sender: eight of nine round trips pass over the mixer.
pub(crate) struct Honest(Net);

impl Honest {
    /// Starts the nodes, tells them of the mixer, and waits until the sender can send.
    pub(crate) async fn start(target: &Target) -> Self {
        let net = Self::strangers().await;
        net.meet(target, &[]).await;
        net
    }

    /// Starts the nodes, which know nobody.
    pub(crate) async fn strangers() -> Self {
        let plans = plans(2, 1, 1, 1).into_iter().map(|plan| plan.without("mix.delay"));
        Self(Net::strangers(plans.collect()).await)
    }

    /// Tells the nodes of each other, of the mixer and of these services besides their own, and waits until the sender can
    /// send.
    pub(crate) async fn meet(&self, target: &Target, services: &[ServiceNode]) {
        let pool = [self.pool(), vec![target.node.clone()]].concat();
        self.0.tell_all(&pool, &[self.0.services(), services.to_vec()].concat()).await;
        self.0.link_relays().await;
        self.ready().await;
    }

    /// Waits until the sender can send.
    pub(crate) async fn ready(&self) {
        self.0.ready().await;
    }

    /// The mixers and the exit.
    pub(crate) fn pool(&self) -> Vec<MixNode> {
        self.0.pool()
    }

    /// The relays, each with its peer id.
    pub(crate) fn relays(&self) -> Vec<Multiaddr> {
        let relays = self.0.running().map(|(_, node)| node).filter(|node| node.relay().is_some());
        let address = |node: &Node| {
            let address = node.listen_addresses().first().expect("an address").clone();
            address.with_p2p(node.peer_id()).expect("its own")
        };
        relays.map(address).collect()
    }

    /// Pushes at a steady rate, and waits for every outcome.
    pub(crate) async fn push_for(&self, time: Duration, rate: u32) -> Outcomes {
        let sender = self.0.node("sender-1");
        let (count, begun) = (u32::try_from(time.as_secs()).expect("minutes") * rate, Instant::now());
        let pushes = (0..count).map(|number| async move {
            sleep_until(begun + Duration::from_secs(1) * number / rate).await;
            let asked = Instant::now();
            (push(sender, format!("{begun:?}, message {number}")).await, asked.elapsed())
        });
        Outcomes(pushes.collect::<FuturesUnordered<_>>().collect().await)
    }

    /// Stops the nodes.
    pub(crate) async fn end(self) {
        self.0.end().await;
    }
}

/// What became of messages, and how long each took.
pub(crate) struct Outcomes(Vec<(Result<Answer, PushFailure>, Duration)>);

impl Outcomes {
    /// How many of all were answered: 1 is all.
    pub(crate) fn answered_share(&self) -> f64 {
        count(self.answered().count()) / count(self.0.len())
    }

    fn answered(&self) -> impl Iterator<Item = (&Answer, Duration)> {
        let answers = self.0.iter().filter_map(|(outcome, took)| Some((outcome.as_ref().ok()?, *took)));
        answers.filter(|(answer, _)| answer.kind() == "confirmed")
    }
}

impl fmt::Display for Outcomes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut took: Vec<_> = self.answered().map(|(_, took)| took).collect();
        took.sort_unstable();
        let of_1000 = |part: usize| took.get(took.len() * part / 1000).map_or(0, Duration::as_millis);
        let tries: u32 = self.answered().map(|(answer, _)| answer.tries).sum();
        write!(f, "honest messages: {} of {} answered, ", took.len(), self.0.len())?;
        write!(
            f,
            "{:.2} tries per message, p50 {} ms, p99 {} ms",
            f64::from(tries) / count(took.len().max(1)),
            of_1000(500),
            of_1000(990)
        )?;
        let failures = self.0.iter().filter_map(|(outcome, _)| match outcome {
            Ok(answer) => Some(answer.kind()).filter(|kind| *kind != "confirmed"),
            Err(failure) => Some(failure.kind()),
        });
        let mut by_kind = BTreeMap::<_, usize>::new();
        failures.for_each(|kind| *by_kind.entry(kind).or_default() += 1);
        by_kind.iter().try_for_each(|(kind, count)| write!(f, ", {count} × {kind}"))
    }
}

fn count(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::INFINITY, f64::from)
}
