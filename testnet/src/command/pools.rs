//! The pools of the senders: how they fill, and when they are rid of nodes that are gone.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::Duration,
};

use libp2p_identity::PeerId;
use parking_lot::Mutex;
use tokio::{task::JoinSet, time::Instant};
use wakumix_mix::MIN_POOL;
use wakumix_role_api::{Directory, DirectoryReader};

/// The part of the mixers, and of the exits, that each sender is to find, in percent: 38 of 40, and all of fewer than 20.
/// PeerReport every one is no sign of health, for random walks may miss some.
const MOST_PERCENT: usize = 95;

/// Reads the pools of all senders. Cheap to clone.
#[derive(Clone)]
pub(super) struct Pools(Arc<Inner>);

struct Inner {
    senders: Vec<(String, DirectoryReader)>,
    mixers: HashSet<PeerId>,
    exits: HashSet<PeerId>,
    /// When every pool first held so many nodes, since the start of the net.
    reached: Mutex<BTreeMap<usize, Duration>>,
}

/// How many nodes a pool has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PoolSize {
    /// Whose it is.
    pub(super) sender: String,
    /// Nodes that can be used now.
    pub(super) usable: usize,
    /// The mixers among them.
    pub(super) mixers: usize,
    /// The exits among them that are known to publish messages, of every size.
    pub(super) exits: usize,
    /// Those of them that the sender is connected to.
    pub(super) connected: usize,
}

/// The tasks that note when pools have filled.
pub(super) struct Noting(JoinSet<()>);

impl Pools {
    /// Reads these senders' pools.
    pub(super) fn new(
        senders: Vec<(String, DirectoryReader)>,
        mixers: HashSet<PeerId>,
        exits: HashSet<PeerId>,
    ) -> Self {
        Self(Arc::new(Inner { senders, mixers, exits, reached: Mutex::default() }))
    }

    /// Mixers and exits in the net.
    pub(super) fn hops(&self) -> usize {
        self.0.mixers.len() + self.0.exits.len()
    }

    /// Mixers that every pool is to have before messages are sent.
    pub(super) fn most(&self) -> usize {
        most_of(&self.0.mixers)
    }

    /// The pools now, sender by sender.
    pub(super) fn sizes(&self) -> Vec<PoolSize> {
        let size = |(sender, reader): &(String, DirectoryReader)| {
            let directory = reader.snapshot();
            let connected = directory.mix_nodes.iter().filter(|node| directory.connected.contains(&node.peer()));
            PoolSize {
                sender: sender.clone(),
                usable: directory.mix_nodes.len(),
                mixers: among(&self.0.mixers, &directory),
                exits: publishing(&self.0.exits, &directory),
                connected: connected.count(),
            }
        };
        self.0.senders.iter().map(size).collect()
    }

    /// Usable nodes of the smallest pool, and mixers of the one with the fewest.
    pub(super) fn smallest(&self) -> (usize, usize) {
        let sizes = self.sizes();
        let least = |of: fn(&PoolSize) -> usize| sizes.iter().map(of).min().unwrap_or(0);
        (least(|size| size.usable), least(|size| size.mixers))
    }

    /// What senders still lack: most of the mixers, or of the exits. One line each.
    pub(super) fn missing(&self) -> Vec<String> {
        let (mixers, exits) = (self.most(), most_of(&self.0.exits));
        let lacking = self.sizes().into_iter().filter(|size| size.mixers < mixers || size.exits < exits);
        let line = |size: PoolSize| {
            format!("{}: {} of {mixers} mixers and {} of {exits} exits usable", size.sender, size.mixers, size.exits)
        };
        lacking.map(line).collect()
    }

    /// Notes when every pool has enough for a path and when it has most of the mixers, counted from `start`.
    #[expect(clippy::disallowed_methods, reason = "what watches a test net is no part of a node")]
    pub(super) fn note_times(&self, start: Instant) -> Noting {
        let mut tasks = JoinSet::new();
        let pools = self.clone();
        tasks.spawn(async move {
            pools.until(|directory| directory.mix_nodes.len() >= MIN_POOL).await;
            pools.reached_now(MIN_POOL, start);
        });
        let pools = self.clone();
        tasks.spawn(async move {
            let most = pools.most();
            pools.until(|directory| among(&pools.0.mixers, directory) >= most).await;
            pools.reached_now(most, start);
        });
        Noting(tasks)
    }

    /// When every pool first had so many nodes, since the start.
    pub(super) fn reached(&self) -> BTreeMap<usize, Duration> {
        self.0.reached.lock().clone()
    }

    /// Waits until every sender's pool is as wanted at one time, or its discovery has stopped.
    ///
    /// Cancel safe: yes.
    pub(super) async fn until(&self, wanted: impl Fn(&Directory) -> bool) {
        let mut readers: Vec<DirectoryReader> = self.0.senders.iter().map(|(_, reader)| reader.clone()).collect();
        while let Some(reader) = readers.iter_mut().find(|reader| !wanted(&reader.snapshot())) {
            if !reader.changed().await {
                return;
            }
        }
    }

    fn reached_now(&self, nodes: usize, start: Instant) {
        self.0.reached.lock().entry(nodes).or_insert_with(|| start.elapsed());
    }
}

impl Noting {
    /// Ends them.
    pub(super) fn abort(mut self) {
        self.0.abort_all();
    }
}

/// How many of these nodes are most of them.
fn most_of(nodes: &HashSet<PeerId>) -> usize {
    (nodes.len() * MOST_PERCENT).div_ceil(100)
}

/// Nodes of a pool that are among these, serve lightpush, and put fragments together, without which no message of 4096 bytes
/// can be sent in each format. An exit tells the one once it has found other relays, the other in its descriptor alone.
fn publishing(nodes: &HashSet<PeerId>, directory: &Directory) -> usize {
    let services = directory.lightpush.iter().filter(|service| nodes.contains(&service.peer));
    services.filter(|service| directory.mix_node(&service.peer).is_some_and(|node| node.reassembles)).count()
}

/// Nodes of a pool that are among these.
fn among(nodes: &HashSet<PeerId>, directory: &Directory) -> usize {
    directory.mix_nodes.iter().filter(|node| nodes.contains(&node.peer())).count()
}

#[cfg(test)]
mod tests {
    use libp2p_identity::Keypair;
    use wakumix_mix::{HopAddress, MixNode};
    use wakumix_role_api::{DirectoryPublisher, directory::ServiceNode};
    use wakumix_sphinx::PrivateKey;

    use super::*;

    fn nodes(count: usize) -> Vec<MixNode> {
        let node = || {
            let peer = Keypair::generate_secp256k1().public().to_peer_id();
            let address = HopAddress::from_multiaddr(&"/ip4/127.0.0.1/tcp/1".parse().unwrap(), peer).unwrap();
            let key = PrivateKey::generate(&mut rand::rng()).public();
            MixNode { reassembles: true, ..MixNode::new(address, key) }
        };
        (0..count).map(|_| node()).collect()
    }

    fn directory(mix_nodes: &[MixNode]) -> Directory {
        let lightpush = mix_nodes.iter().map(|node| ServiceNode::new(node.peer(), Vec::new())).collect();
        Directory { mix_nodes: mix_nodes.to_vec(), lightpush, ..Directory::default() }
    }

    /// Two senders, ten mixers and an exit.
    fn pools() -> (Pools, [DirectoryPublisher; 2], Vec<MixNode>) {
        let all = nodes(11);
        let ((first, first_reader), (second, second_reader)) = (DirectoryPublisher::new(), DirectoryPublisher::new());
        let senders = vec![("sender-1".to_owned(), first_reader), ("sender-2".to_owned(), second_reader)];
        let pools = Pools::new(senders, all[..10].iter().map(MixNode::peer).collect(), [all[10].peer()].into());
        (pools, [first, second], all)
    }

    #[test]
    fn says_what_senders_lack_until_they_have_most_of_the_mixers() {
        let (pools, [first, second], all) = pools();
        assert_eq!(pools.most(), 10);
        let nobody = "0 of 10 mixers and 0 of 1 exits usable";
        assert_eq!(pools.missing(), [format!("sender-1: {nobody}"), format!("sender-2: {nobody}")]);
        first.publish(directory(&all[..10]));
        second.publish(directory(&all));
        assert_eq!(pools.missing(), ["sender-1: 10 of 10 mixers and 0 of 1 exits usable"]);
        first.publish(Directory { lightpush: Vec::new(), ..directory(&all) });
        assert_eq!(pools.missing(), ["sender-1: 10 of 10 mixers and 0 of 1 exits usable"]);
        let mut unsaid = all.clone();
        unsaid[10].reassembles = false;
        first.publish(directory(&unsaid));
        assert_eq!(pools.missing(), ["sender-1: 10 of 10 mixers and 0 of 1 exits usable"]);
        first.publish(directory(&all));
        second.publish(Directory { connected: [all[10].peer()].into(), ..directory(&all[2..]) });
        assert_eq!(pools.missing(), ["sender-2: 8 of 10 mixers and 1 of 1 exits usable"]);
        assert_eq!(pools.smallest(), (9, 8));
        assert_eq!(pools.sizes()[1].connected, 1);
        second.publish(directory(&all));
        assert!(pools.missing().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn notes_when_the_last_pool_has_filled() {
        let (pools, [first, second], all) = pools();
        let noting = pools.note_times(Instant::now());
        let later = async |seconds| tokio::time::sleep(Duration::from_secs(seconds)).await;
        first.publish(directory(&all));
        later(1).await;
        second.publish(directory(&all[7..]));
        later(1).await;
        assert_eq!(pools.reached(), [(4, Duration::from_secs(1))].into());
        second.publish(directory(&all[..10]));
        later(1).await;
        assert_eq!(pools.reached(), [(4, Duration::from_secs(1)), (10, Duration::from_secs(2))].into());
        noting.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn waits_until_all_pools_are_as_wanted_at_one_time() {
        let (pools, [first, second], all) = pools();
        let gone = all[3].peer();
        let rid = pools.until(|directory| directory.mix_node(&gone).is_none());
        assert!(tokio::time::timeout(Duration::from_secs(1), rid).await.is_ok(), "empty pools are rid of everybody");
        first.publish(directory(&all));
        second.publish(directory(&all));
        let rid = pools.until(|directory| directory.mix_node(&gone).is_none());
        let publish = async {
            first.publish(directory(&all[4..]));
            tokio::time::sleep(Duration::from_secs(5)).await;
            second.publish(directory(&all[4..]));
        };
        let start = Instant::now();
        futures::join!(rid, publish);
        assert_eq!(start.elapsed(), Duration::from_secs(5));
    }
}
