//! Opens a ring: which key has which place, and what becomes of keys whose tags are lost.

use std::{io, path::PathBuf, sync::Arc};

use tokio::sync::watch;
use wakumix_sphinx::PrivateKey;

use crate::{
    Config, KeyRing, OpenError, Shared, State, UnixSeconds,
    directory::Directory,
    key_file::{KeyFile, Life},
    rotation::{Clock, Ended, Keys, Rotation, Times},
    store::{Held, Store},
};

/// What is at hand while a ring is opened.
struct Opening {
    times: Times,
    store: Store,
    directory: Option<Arc<Directory>>,
    shared: Arc<Shared>,
    now: UnixSeconds,
}

/// The keys of a directory by their place. The newest that was not given up is the next one and the second newest the
/// current one: a key is made just before another becomes current, so no clock is asked.
struct Places {
    /// The oldest first.
    earlier: Vec<KeyFile>,
    current: Option<KeyFile>,
    next: Option<KeyFile>,
    ended: Vec<KeyFile>,
    /// Number of the newest key.
    newest: u64,
}

pub(crate) fn open(config: Config, clock: Clock) -> Result<(KeyRing, Rotation), OpenError> {
    config.validate()?;
    let directory = config.directory.as_deref().map(Directory::open).transpose()?.map(Arc::new);
    let files = directory.as_ref().map_or(Ok(Vec::new()), |directory| directory.keys())?;
    let shared = Arc::new(Shared::default());
    let store = Store::new(&config, directory.clone(), Arc::clone(&shared.totals));
    let opening = Opening { times: Times::new(&config), store, directory, shared, now: clock() };
    match config.fixed {
        Some(key) => opening.fixed(&key, files, clock),
        None => opening.rotating(files, clock),
    }
}

impl Opening {
    fn fixed(self, secret: &PrivateKey, files: Vec<KeyFile>, clock: Clock) -> Result<(KeyRing, Rotation), OpenError> {
        let public = secret.public();
        let since = files.iter().find(|file| file.public == public).map(|file| file.life.from);
        let log = self.directory.as_ref().map(|directory| directory.log(&public)).unwrap_or_default();
        let key = if since.is_some() || self.directory.is_none() || !matches!(log.try_exists(), Ok(false)) {
            self.store.open(secret).map_err(|error| OpenError::Tags(log, error))?
        } else {
            // Never replaced, so it has no end.
            let life = Life { number: 0, from: self.now, until: UnixSeconds::MAX };
            self.store.adopt(secret, life).map_err(|error| self.unwritable(error))?
        };
        // Keys of a ring that was here before are erased in their time.
        let others = files.into_iter().filter(|file| file.public != public && file.secret.is_some());
        let state = State::of_one(Arc::new(key), since.unwrap_or(self.now));
        Ok(self.finish(clock, None, others.map(Ended::from).collect(), state))
    }

    fn rotating(self, files: Vec<KeyFile>, clock: Clock) -> Result<(KeyRing, Rotation), OpenError> {
        let Places { earlier, current, next, ended, newest } = Places::of(files, self.now);
        let mut lost = Vec::new();
        let mut load = |file: KeyFile| {
            self.load(&file).or_else(|| {
                lost.push(file);
                None
            })
        };
        let earlier = earlier.into_iter().filter_map(&mut load).collect();
        let current = current.and_then(&mut load);
        let mut next = next.and_then(&mut load);
        let mut numbers = newest.saturating_add(1)..;
        let mut number = || numbers.next().unwrap_or(u64::MAX);
        let current = match current.or_else(|| next.take()) {
            Some(held) => held,
            None => self.make(self.times.life(number(), self.now))?,
        };
        let next = match next {
            Some(held) => held,
            None => self.make(self.times.next_life(number(), self.now))?,
        };
        let mut ended: Vec<Ended> = ended.into_iter().map(Ended::from).collect();
        // Written down last: until then a restart finds the same keys lost, and those that take their places in order.
        for file in lost {
            ended.push(self.retire(file)?);
        }
        let keys = Keys { earlier, current: started(current, self.now), next };
        let state = keys.state(self.now);
        Ok(self.finish(clock, Some(keys), ended, state))
    }

    fn load(&self, file: &KeyFile) -> Option<Held> {
        let key = self.store.open(file.secret.as_ref()?);
        if let Err(error) = &key {
            let key = &file.public;
            tracing::error!(%key, %error, "the replay tags of a mix key are lost, so it opens no more packets");
        }
        key.ok().map(|key| Held { key: Arc::new(key), life: file.life })
    }

    fn make(&self, life: Life) -> Result<Held, OpenError> {
        self.store.create(life).map_err(|error| self.unwritable(error))
    }

    /// Writes down that a key opens no more packets. It is erased when its time is over, as any other.
    fn retire(&self, file: KeyFile) -> Result<Ended, OpenError> {
        let file = KeyFile { retired: true, ..file };
        self.store.write(&file).map_err(|error| self.unwritable(error))?;
        self.shared.totals.retired();
        Ok(Ended::from(file))
    }

    fn unwritable(&self, error: io::Error) -> OpenError {
        let path = self.directory.as_ref().map_or_else(PathBuf::new, |directory| directory.path().to_owned());
        OpenError::Unwritable(path, error)
    }

    fn finish(self, clock: Clock, keys: Option<Keys>, ended: Vec<Ended>, state: State) -> (KeyRing, Rotation) {
        let Self { times, store, shared, .. } = self;
        let (sender, state) = watch::channel(state);
        let ring = KeyRing { state, shared: Arc::clone(&shared) };
        let mut rotation = Rotation::new(clock, times, store, keys, ended, sender, shared);
        rotation.turn();
        (ring, rotation)
    }
}

impl Places {
    fn of(files: Vec<KeyFile>, now: UnixSeconds) -> Self {
        // A file without a secret keeps the tags of a key that the operator has; that key is not the ring's.
        let mut files: Vec<KeyFile> = files.into_iter().filter(|file| file.secret.is_some()).collect();
        files.sort_by_key(|file| (file.life.number, file.public));
        let newest = files.last().map_or(0, |file| file.life.number);
        let (mut ended, mut alive): (Vec<_>, Vec<_>) = files.into_iter().partition(|file| file.retired);
        let next = if alive.len() > 1 { alive.pop() } else { None };
        let current = alive.pop();
        let (over, earlier): (Vec<_>, Vec<_>) = alive.into_iter().partition(|file| file.life.until <= now);
        ended.extend(over);
        Self { earlier, current, next, ended, newest }
    }
}

impl From<KeyFile> for Ended {
    fn from(file: KeyFile) -> Self {
        Self { key: file.public, until: file.life.until, reported: false }
    }
}

/// A key that became current before its time is current since now.
fn started(held: Held, now: UnixSeconds) -> Held {
    let life = Life { from: held.life.from.min(now), ..held.life };
    Held { life, ..held }
}
