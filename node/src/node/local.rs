//! What this node tells of itself, kept true while it runs: addresses as the host learns them, capabilities as roles
//! become ready and stop being so, keys as they rotate.

use std::{sync::Arc, time::Duration};

use libp2p_identity::PeerId;
use multiaddr::Multiaddr;
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};
use wakumix_discovery::LocalRecord;
use wakumix_keyring::{Announced, KeyRing};
use wakumix_mix::HopAddress;
use wakumix_role_api::{Advertisement, RoleName, host::HostAddresses};
use wakumix_waku::record::{Capabilities, Shards};

use super::{RunningPart, RunningRoles, addresses};
use crate::{
    config::{Config, Loaded},
    roles::NotConfigured,
};

/// Readiness has no event of its own; it is looked at this often.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The part of the record that never changes, and what the rest is made from.
#[derive(Clone)]
pub(super) struct Recorder {
    pub(super) config: Arc<Config>,
    pub(super) peer: PeerId,
    /// What each role makes known while it is ready.
    pub(super) advertised: Vec<(RoleName, Advertisement)>,
}

impl Recorder {
    /// What this node tells of itself with these keys and these roles ready at these addresses.
    pub(super) fn record(
        &self,
        host: &HostAddresses,
        keys: Option<Announced>,
        is_ready: impl Fn(RoleName) -> bool,
    ) -> LocalRecord {
        let ready: Vec<_> = self.advertised.iter().filter(|(role, _)| is_ready(*role)).map(|(_, own)| own).collect();
        // A node that does not forward has a key that it never uses.
        let keys = keys.filter(|_| self.config.forwards());
        LocalRecord {
            peer: self.peer,
            addresses: self.announced(host),
            hop_address: addresses::hop_address(&self.config, host, self.peer),
            capabilities: ready.iter().fold(Capabilities::NONE, |all, own| all | own.capabilities),
            shards: Shards { cluster: self.config.cluster_id, shards: self.config.shard.clone() },
            mix_key: keys.map(|keys| keys.current),
            next_key: keys.and_then(|keys| keys.next),
            reassembles: ready.iter().any(|own| own.reassembles),
            is_full: host.is_full,
            profiles: if keys.is_some() { self.config.mix.profile.clone() } else { Vec::new() },
            operator: self.config.operator.clone(),
            family: self.config.family.clone(),
        }
    }

    fn announced(&self, host: &HostAddresses) -> Vec<Multiaddr> {
        addresses::announced(&self.config, host)
    }
}

/// What a node with this configuration tells once all its roles are ready, as far as that is known before it runs.
///
/// # Errors
/// None, since the roles were checked when the configuration was loaded.
pub fn expected(loaded: &Loaded) -> Result<LocalRecord, NotConfigured> {
    let Loaded { config, keys, .. } = loaded;
    let roles = loaded.configured_roles()?;
    let recorder = Recorder {
        config: Arc::new(config.clone()),
        peer: keys.peer(),
        advertised: roles.iter().map(|role| (role.name(), role.advertises())).collect(),
    };
    let keys = keys.mix.as_ref().map(|key| Announced { current: key.public(), next: None });
    Ok(recorder.record(&HostAddresses::default(), keys, |_| true))
}

/// Tells which of these roles are ready.
pub(super) fn readiness(roles: &[RunningPart]) -> impl Fn(RoleName) -> bool {
    |name| roles.iter().any(|part| part.role.name() == name && part.role.ready().is_ok())
}

/// Who reads what this node is.
#[derive(Clone)]
pub(super) struct Readers {
    pub(super) record: watch::Sender<Arc<LocalRecord>>,
    pub(super) hop_address: watch::Sender<Option<HopAddress>>,
}

/// What a node is now, for those that ask it.
#[derive(Clone)]
pub(super) struct Description {
    pub(super) recorder: Recorder,
    pub(super) host: watch::Receiver<HostAddresses>,
    pub(super) keys: KeyRing,
    /// What the node publishes.
    pub(super) record: watch::Receiver<Arc<LocalRecord>>,
    /// Updates what the node publishes.
    pub(super) look: Arc<Notify>,
    pub(super) started: Instant,
}

impl Description {
    /// How long after the start roles may take to become ready before this node is described without them.
    const START: Duration = Duration::from_secs(5);
    /// How long a description may take to reach the node record, which changes once a second at most.
    const LIMIT: Duration = Duration::from_secs(3);
    /// Neither readiness nor the record has an event that says that all is done.
    const LOOK_AGAIN: Duration = Duration::from_millis(20);

    /// What others are told, once that is all that is true now and `is_told` says that the node record has it; after a limit, or
    /// where a role that is to be told of does not become ready, what they are told then.
    ///
    /// Cancel safe: yes.
    pub(super) async fn whole(
        &self,
        roles: &[RunningPart],
        is_told: impl Fn(&LocalRecord) -> bool,
    ) -> Arc<LocalRecord> {
        let limit = (self.started + Self::START).max(Instant::now() + Self::LIMIT);
        while !self.is_whole(roles, &is_told) && Instant::now() < limit {
            self.look.notify_one();
            tokio::time::sleep(Self::LOOK_AGAIN).await;
        }
        Arc::clone(&self.record.borrow())
    }

    fn is_whole(&self, roles: &[RunningPart], is_told: impl Fn(&LocalRecord) -> bool) -> bool {
        let is_ready = readiness(roles);
        let is_told_of = |own: &Advertisement| own.capabilities != Capabilities::NONE || own.reassembles;
        let advertised = self.recorder.advertised.iter();
        let mut awaited = advertised.filter(|(_, own)| is_told_of(own));
        if self.started.elapsed() < Self::START && !awaited.all(|(role, _)| is_ready(*role)) {
            return false;
        }
        // Not held while roles are asked: see `keep_up`.
        let host = self.host.borrow().clone();
        let now = self.recorder.record(&host, Some(self.keys.announced()), is_ready);
        **self.record.borrow() == now && is_told(&now)
    }
}

/// Follows the host's addresses, the keys and the roles' readiness until the node is dropped.
pub(super) async fn keep_up(
    recorder: Recorder,
    mut host: watch::Receiver<HostAddresses>,
    mut keys: KeyRing,
    roles: RunningRoles,
    readers: Readers,
    look: Arc<Notify>,
) {
    let Readers { record, hop_address } = readers;
    loop {
        // Roles that are asked look at the addresses too: nobody may hold them meanwhile, or both wait for a writer in between.
        let addresses = host.borrow_and_update().clone();
        let new = recorder.record(&addresses, Some(keys.announced()), readiness(&roles));
        hop_address.send_if_modified(|current| replace(current, new.hop_address.clone()));
        record.send_if_modified(|current| **current != new && replace(current, Arc::new(new)));
        tokio::select! {
            changed = host.changed() => if changed.is_err() { return },
            true = keys.changed() => {}
            () = look.notified() => {}
            () = tokio::time::sleep(LOOK_AGAIN) => {}
        }
    }
}

/// Whether the new value is another one.
fn replace<T: PartialEq>(current: &mut T, new: T) -> bool {
    let is_news = *current != new;
    *current = new;
    is_news
}

#[cfg(test)]
mod tests {
    use futures::future::BoxFuture;
    use wakumix_role_api::{
        ActorHandle, ConfigError, Role, RoleFactory, RunningRole, StopReport, config::Settings, exit, sender,
    };
    use wakumix_sphinx::PrivateKey;

    use super::*;
    use crate::config::{Flag, Inputs, load};

    fn recorder(roles: &str) -> Recorder {
        let flag = |name: &str, value: &str| Flag { name: name.to_owned(), values: vec![value.to_owned()] };
        let flags = vec![flag("preset", "local"), flag("roles", roles)];
        let loaded = load(&Inputs { flags, ..Inputs::default() }).unwrap();
        let configured = loaded.configured_roles().unwrap();
        let advertised = configured.iter().map(|role| (role.name(), role.advertises())).collect();
        Recorder { peer: loaded.keys.peer(), config: Arc::new(loaded.config), advertised }
    }

    fn announced() -> Announced {
        let key = |seed| PrivateKey::from_bytes([seed; 32]).public();
        Announced { current: key(1), next: Some((key(2), 1_800_000_000)) }
    }

    #[test]
    fn tells_the_keys_of_the_ring_if_it_forwards() {
        let record = |roles| recorder(roles).record(&HostAddresses::default(), Some(announced()), |_| true);
        let mixer = record("mixer");
        assert_eq!((mixer.mix_key, mixer.next_key), (Some(announced().current), announced().next));
        let sender = record("sender");
        assert_eq!((sender.mix_key, sender.next_key), (None, None));
    }

    #[test]
    fn says_that_it_puts_fragments_together_once_its_exit_is_ready() {
        let record = |is_ready: fn(RoleName) -> bool| {
            recorder("mixer,exit").record(&HostAddresses::default(), Some(announced()), is_ready)
        };
        assert!(record(|_| true).reassembles);
        assert!(!record(|role| role != exit::NAME).reassembles);
        assert!(!recorder("mixer").record(&HostAddresses::default(), Some(announced()), |_| true).reassembles);
    }

    /// A role whose readiness takes the host a new address: what waits for a writer would wait here.
    struct Curious {
        host: watch::Sender<HostAddresses>,
        asked: std::sync::mpsc::SyncSender<()>,
    }

    impl RunningRole for Curious {
        fn name(&self) -> RoleName {
            sender::NAME
        }

        fn actor(&self) -> &ActorHandle {
            panic!("nobody asks for it")
        }

        fn ready(&self) -> Result<(), String> {
            self.host.send_if_modified(|_| false);
            // Whether the first answer was heard is enough.
            let _ = self.asked.try_send(());
            Ok(())
        }

        fn stop(&self, _: Instant) -> BoxFuture<'static, StopReport> {
            panic!("nobody stops it")
        }
    }

    struct Unconfigured;

    impl RoleFactory for Unconfigured {
        fn name(&self) -> RoleName {
            sender::NAME
        }

        fn summary(&self) -> &'static str {
            "is never configured"
        }

        fn configure(&self, _: &Settings<'_>) -> Result<Box<dyn Role>, ConfigError> {
            panic!("nobody configures it")
        }
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "the test waits for its answer")]
    fn nothing_is_held_while_roles_are_asked() {
        let (host, addresses) = watch::channel(HostAddresses::default());
        let recorder = recorder("sender");
        let (record, _record) =
            watch::channel(Arc::new(recorder.record(&addresses.borrow().clone(), Some(announced()), |_| false)));
        let (hop_address, _hop_address) = watch::channel(None);
        let (asked, heard) = std::sync::mpsc::sync_channel(1);
        let role = Box::new(Curious { host, asked });
        let roles: RunningRoles = Arc::new([RunningPart { factory: &Unconfigured, protocols: Vec::new(), role }]);
        let (keys, _) = KeyRing::open(wakumix_keyring::Config::default(), crate::clock::unix_seconds).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.spawn(keep_up(recorder, addresses, keys, roles, Readers { record, hop_address }, Arc::default()));
        let answer = heard.recv_timeout(std::time::Duration::from_secs(60));
        runtime.shutdown_background();
        answer.expect("the role is asked and answers");
    }
}
