//! What a node lacks of the network, and the log line when what it lacks changes.
//!
//! A role is ready by itself when its parts work; what it publishes follows from that alone, since nobody would find the first
//! nodes of a network otherwise. Whether it can be of use depends on others, too: that is what probes and operators ask for.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;
use wakumix_mix::MIN_POOL;
use wakumix_role_api::{DirectoryReader, RoleName, host::HostHandle, relay};
use wakumix_telemetry::Telemetry;
use wakumix_tls::ServedCertificate;

use super::{RunningPart, RunningRoles};
use crate::{clock, config::Config};

/// How often it is looked at: neither the mesh of gossip nor a role has an event for it.
const POLL: Duration = Duration::from_secs(1);
/// Other mix nodes without which a node that forwards serves nobody: a path through it has two more, and senders want one for
/// choice.
const OTHERS: usize = MIN_POOL - 1;
/// Lines about readiness within [`WINDOW`]: one that comes and goes must not fill the log.
const LINES: usize = 6;
const WINDOW: Duration = Duration::from_secs(60);

/// What this node has of others.
pub(super) struct Network {
    directory: DirectoryReader,
    /// Roles of this node that forward packets of others.
    forwarders: Vec<RoleName>,
    /// Of all topics together.
    mesh_peers: AtomicUsize,
    /// What listeners show their clients.
    certificates: Vec<Arc<ServedCertificate>>,
}

impl Network {
    /// Nobody is known yet.
    pub(super) fn new(
        directory: DirectoryReader,
        config: &Config,
        forwards: impl Fn(RoleName) -> bool,
        certificates: Vec<Arc<ServedCertificate>>,
    ) -> Self {
        let forwarders = config.roles.iter().copied().filter(|role| forwards(*role)).collect();
        Self { directory, forwarders, mesh_peers: AtomicUsize::new(0), certificates }
    }

    /// What a role lacks of others.
    fn lack(&self, role: RoleName) -> Option<String> {
        if role == relay::NAME && self.mesh_peers.load(Ordering::Relaxed) == 0 {
            return Some("no peer on any pubsub topic".to_owned());
        }
        if self.forwarders.contains(&role) {
            let usable = self.directory.snapshot().mix_nodes.len();
            return (usable < OTHERS).then(|| format!("pool too small: {usable} usable mix nodes, {OTHERS} needed"));
        }
        None
    }

    /// What keeps a role from being of use: itself, or what it lacks of others.
    pub(super) fn problem(&self, part: &RunningPart) -> Option<String> {
        part.role.ready().err().or_else(|| self.lack(part.role.name()))
    }

    /// What keeps the node from being of use: its roles, one line each, certificates that no client takes, and tasks that are
    /// restarted.
    pub(super) fn missing(&self, roles: &[RunningPart], task_problem: Option<String>) -> Vec<String> {
        let of_role = |part: &RunningPart| self.problem(part).map(|why| format!("{}: {why}", part.role.name()));
        let now = clock::unix_seconds();
        let certificates = self.certificates.iter().filter_map(|served| served.problem(now));
        roles.iter().filter_map(of_role).chain(certificates).chain(task_problem).collect()
    }
}

/// Counts the mesh peers, has the metrics of topics that were left taken from the page, and writes a line whenever what the node lacks is something else than before.
pub(super) async fn watch(
    host: HostHandle,
    network: Arc<Network>,
    roles: RunningRoles,
    telemetry: Telemetry,
    task_problem: impl Fn() -> Option<String>,
) {
    let mut told = Told::default();
    loop {
        tokio::time::sleep(POLL).await;
        // A host that is made again has no mesh, and joins its topics then.
        let mesh = host.status().await.map(|status| status.mesh_peers).unwrap_or_default();
        network.mesh_peers.store(mesh.iter().map(|(_, peers)| peers).sum(), Ordering::Relaxed);
        telemetry.show_topics(mesh.into_iter().map(|(topic, _)| topic));
        let missing = network.missing(&roles, task_problem());
        match told.line(Instant::now(), &missing) {
            Some(Line::Ready) => tracing::info!("ready"),
            Some(Line::NotYet) => tracing::info!(why = missing.join("; "), "not ready yet"),
            Some(Line::NotReady) => tracing::warn!(why = missing.join("; "), "not ready"),
            None => {}
        }
    }
}

/// A line of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    Ready,
    /// It has not been ready since its start.
    NotYet,
    NotReady,
}

/// What was said last.
#[derive(Default)]
struct Told {
    /// The kinds of what was missing.
    kinds: Option<Vec<String>>,
    was_ready: bool,
    /// When the last lines were written.
    lines: VecDeque<Instant>,
}

impl Told {
    /// The line to write; none while the same is missing, or when there were many of late: the next look says it then.
    fn line(&mut self, now: Instant, missing: &[String]) -> Option<Line> {
        let kinds: Vec<String> = missing.iter().map(|problem| kind(problem)).collect();
        if self.kinds.as_ref() == Some(&kinds) {
            return None;
        }
        self.lines.retain(|at| now.saturating_duration_since(*at) < WINDOW);
        if self.lines.len() >= LINES {
            return None;
        }
        self.lines.push_back(now);
        self.kinds = Some(kinds);
        self.was_ready |= missing.is_empty();
        Some(match (missing.is_empty(), self.was_ready) {
            (true, _) => Line::Ready,
            (false, false) => Line::NotYet,
            (false, true) => Line::NotReady,
        })
    }
}

/// A problem without its numbers, which change all the time, and without its details.
fn kind(problem: &str) -> String {
    let (role, why) = problem.split_once(": ").unwrap_or(("", problem));
    let words = why.split([':', '(', ';']).next().unwrap_or_default();
    let words: String = words.chars().filter(|character| !character.is_ascii_digit()).collect();
    format!("{role}: {words}")
}

#[cfg(test)]
mod tests {
    use wakumix_role_api::{Directory, DirectoryPublisher, mixer};

    use super::*;
    use crate::config::{Flag, Inputs, load};

    fn config(roles: &str) -> Config {
        let flag = |name: &str, value: &str| Flag { name: name.to_owned(), values: vec![value.to_owned()] };
        let flags = vec![flag("roles", roles), flag("listen-address", "127.0.0.1")];
        load(&Inputs { flags, ..Inputs::default() }).unwrap().config
    }

    #[test]
    fn a_relay_lacks_peers_and_a_mixer_a_pool() {
        let (publisher, directory) = DirectoryPublisher::new();
        let network =
            |roles: &str| Network::new(directory.clone(), &config(roles), |role| role == mixer::NAME, Vec::new());
        let both = network("relay,mixer");
        assert_eq!(both.lack(relay::NAME).unwrap(), "no peer on any pubsub topic");
        assert_eq!(both.lack(mixer::NAME).unwrap(), "pool too small: 0 usable mix nodes, 3 needed");
        both.mesh_peers.store(1, Ordering::Relaxed);
        assert_eq!(both.lack(relay::NAME), None);
        // The mixer of a node that only sends forwards nothing.
        assert_eq!(network("sender").lack(mixer::NAME), None);
        let mix_nodes: Vec<_> = (1..=3).map(wakumix_role_testkit::node).collect();
        publisher.publish(Directory { mix_nodes: mix_nodes[..1].to_vec(), ..Directory::default() });
        assert_eq!(both.lack(mixer::NAME).unwrap(), "pool too small: 1 usable mix nodes, 3 needed");
        publisher.publish(Directory { mix_nodes, ..Directory::default() });
        assert_eq!(both.lack(mixer::NAME), None);
    }

    #[test]
    fn a_change_is_said_once_and_numbers_are_no_change() {
        let (mut told, now) = (Told::default(), Instant::now());
        let mut line =
            |missing: &[&str]| told.line(now, &missing.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>());
        assert_eq!(line(&["mixer: pool too small: 0 usable mix nodes, 3 needed"]), Some(Line::NotYet));
        assert_eq!(line(&["mixer: pool too small: 1 usable mix nodes, 3 needed"]), None);
        assert_eq!(line(&[]), Some(Line::Ready));
        assert_eq!(line(&[]), None);
        assert_eq!(line(&["sender: pool too small: 3 usable mix nodes, 4 needed (1 expired)"]), Some(Line::NotReady));
        assert_eq!(line(&["sender: pool too small: 2 usable mix nodes, 4 needed (1 expired, 1 unreachable)"]), None);
        assert_eq!(
            line(&["sender: pool too small: 2 usable mix nodes, 4 needed", "relay: no peer on any pubsub topic"]),
            Some(Line::NotReady)
        );
    }

    #[test]
    fn what_comes_and_goes_does_not_fill_the_log_and_its_end_is_said() {
        let (mut told, start) = (Told::default(), Instant::now());
        let missing = ["relay: no peer on any pubsub topic".to_owned()];
        let mut lines = 0;
        for second in 0..60_u32 {
            let now = start + Duration::from_millis(999) * second;
            let missing = if second % 2 == 0 { &missing[..] } else { &[] };
            lines += usize::from(told.line(now, missing).is_some());
        }
        assert_eq!(lines, LINES);
        let later = start + 2 * WINDOW;
        assert!(told.line(later, &[]).or_else(|| told.line(later, &missing)).is_some());
    }
}
