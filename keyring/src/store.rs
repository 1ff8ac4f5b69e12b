//! Makes, opens and erases keys, in a directory or in memory.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufReader},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use wakumix_sphinx::{PrivateKey, PublicKey, Weaknesses};

use crate::{
    Config,
    countermeasures::{outlive_restarts, read_log},
    directory::Directory,
    key::MixKey,
    key_file::{KeyFile, Life},
    stats::Totals,
    tag_log::{self, Committer, LogError, Records, Settings},
    tag_set::TagSet,
};

/// Bytes of a log that are read at once.
const READ_AT_ONCE: usize = 64 * 1024;

/// Where the keys of a ring come from and stay.
pub(crate) struct Store {
    directory: Option<Arc<Directory>>,
    tags: usize,
    tag_sync: Duration,
    weaknesses: Weaknesses,
    totals: Arc<Totals>,
}

/// A key and its time.
pub(crate) struct Held {
    pub(crate) key: Arc<MixKey>,
    pub(crate) life: Life,
}

impl Store {
    pub(crate) fn new(config: &Config, directory: Option<Arc<Directory>>, totals: Arc<Totals>) -> Self {
        let &Config { tags, tag_sync, weaknesses, .. } = config;
        Self { directory, tags, tag_sync, weaknesses, totals }
    }

    /// Makes a new key.
    ///
    /// # Errors
    /// Of the file system; then nothing is left of it, as far as the file system allows.
    pub(crate) fn create(&self, life: Life) -> io::Result<Held> {
        let secret = PrivateKey::generate(&mut rand::rng());
        let key = self.first(&secret, Some(secret.clone()), life)?;
        Ok(Held { key: Arc::new(key), life })
    }

    /// Takes in a key that the operator keeps elsewhere, and that has no log yet.
    ///
    /// # Errors
    /// Of the file system.
    pub(crate) fn adopt(&self, key: &PrivateKey, life: Life) -> io::Result<MixKey> {
        self.first(key, None, life)
    }

    /// Opens a key that has a log.
    ///
    /// # Errors
    /// [`LogError`]: its tags are not known.
    pub(crate) fn open(&self, key: &PrivateKey) -> Result<MixKey, LogError> {
        let Some(directory) = &self.directory else {
            return Ok(MixKey::in_memory(key.clone(), self.tags));
        };
        let path = directory.log(&key.public());
        let file = OpenOptions::new().read(true).write(true).open(&path).map_err(missing)?;
        let mut tags = TagSet::new(self.tags);
        let records = self.recover(&file, &path, &key.public(), &mut tags)?;
        let settings = Settings::new(path.display().to_string(), self.tag_sync, Arc::clone(&self.totals));
        let committer = Committer::start(Records::new(file, &key.public(), records), settings)?;
        Ok(MixKey::durable(key.clone(), tags, committer, Arc::clone(directory)))
    }

    /// Writes what is known of a key to its file.
    ///
    /// # Errors
    /// Of the file system.
    pub(crate) fn note(&self, held: &Held) -> io::Result<()> {
        self.write(&KeyFile {
            public: held.key.public(),
            life: held.life,
            secret: Some(held.key.private().clone()),
            retired: false,
        })
    }

    /// Writes a key file.
    ///
    /// # Errors
    /// Of the file system.
    pub(crate) fn write(&self, file: &KeyFile) -> io::Result<()> {
        self.directory.as_ref().map_or(Ok(()), |directory| directory.write_key(file))
    }

    /// Erases a key and its tags from the disk.
    ///
    /// # Errors
    /// Of the file system.
    pub(crate) fn erase(&self, key: &PublicKey) -> io::Result<()> {
        self.directory.as_ref().map_or(Ok(()), |directory| directory.erase(key))
    }

    /// A file of a key that is gone, if one is.
    pub(crate) fn missing(&self, key: &PublicKey) -> Option<PathBuf> {
        self.directory.as_ref()?.missing(key)
    }

    /// What the attack suite turns off.
    pub(crate) fn weaknesses(&self) -> Weaknesses {
        self.weaknesses
    }

    fn first(&self, key: &PrivateKey, secret: Option<PrivateKey>, life: Life) -> io::Result<MixKey> {
        let public = key.public();
        if let Some(directory) = &self.directory {
            let made = directory.create(&KeyFile { public, life, secret, retired: false });
            if made.is_err() {
                // What cannot be removed now is when the directory is opened again.
                let _ = directory.erase(&public);
            }
            made?;
        }
        self.open(key).map_err(io::Error::other)
    }

    /// Reads a log, cuts off a torn end, and gives the number of records.
    fn recover(&self, file: &File, path: &Path, key: &PublicKey, tags: &mut TagSet) -> Result<u64, LogError> {
        if !outlive_restarts(self.weaknesses) {
            file.set_len(tag_log::offset(0))?;
        }
        let len = file.metadata()?.len();
        tags.reserve(usize::try_from(len / tag_log::RECORD_LEN as u64).unwrap_or_default());
        let log = BufReader::with_capacity(READ_AT_ONCE, file);
        let take = |tag: &_| {
            tags.restore(tag);
        };
        let found = read_log(self.weaknesses, log, key, take)?;
        if found.torn {
            file.set_len(tag_log::offset(found.records))?;
            self.totals.torn();
            tracing::warn!(log = %path.display(), records = found.records, "the torn end of a tag log is cut off");
        }
        // The process before may have written what it had no time to sync.
        file.sync_all()?;
        Ok(found.records)
    }
}

fn missing(error: io::Error) -> LogError {
    if error.kind() == io::ErrorKind::NotFound { LogError::Missing } else { LogError::Unreadable(error) }
}
