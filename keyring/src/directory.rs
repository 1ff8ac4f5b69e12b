//! The key directory: one process has it, files appear whole or not at all, and go for good.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use wakumix_sphinx::PublicKey;
use zeroize::Zeroizing;

use crate::{
    error::OpenError,
    key_file::{KeyFile, KeyFileError, MAX_LEN},
    private, tag_log,
};

const LOCK: &str = "lock";
const KEY: &str = "key";
const TAGS: &str = "tags";
/// Ending of a file that is being written; one that a crash has left is removed.
const NEW: &str = ".new";
/// Characters of the public key that name its files.
const NAME_LEN: usize = 16;

/// A key directory that no other process has.
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    /// Holds the lock until it is closed.
    _lock: File,
}

impl Directory {
    /// Makes the directory if need be, and locks it.
    ///
    /// # Errors
    /// [`OpenError::InUse`], [`OpenError::Unfit`], [`OpenError::Directory`].
    pub(crate) fn open(path: &Path) -> Result<Self, OpenError> {
        let unusable = |error| OpenError::Directory(path.to_owned(), error);
        private::check_private_directory(path).map_err(OpenError::Unfit)?;
        make(path).map_err(unusable)?;
        let lock = private::open(OpenOptions::new().write(true).create(true), &path.join(LOCK)).map_err(unusable)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(OpenError::InUse(path.to_owned())),
            Err(TryLockError::Error(error)) => Err(unusable(error)),
        }
    }

    /// The directory itself.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The log of a key.
    pub(crate) fn log(&self, key: &PublicKey) -> PathBuf {
        self.file(key, TAGS)
    }

    /// A file of a key that is gone, if one is.
    pub(crate) fn missing(&self, key: &PublicKey) -> Option<PathBuf> {
        let files = [KEY, TAGS].map(|ending| self.file(key, ending));
        files.into_iter().find(|file| file.try_exists().is_ok_and(|exists| !exists))
    }

    /// All keys, after what a crash interrupted has been finished: files half written, logs whose key was not made, keys
    /// half erased are removed.
    ///
    /// # Errors
    /// [`OpenError`].
    pub(crate) fn keys(&self) -> Result<Vec<KeyFile>, OpenError> {
        let unusable = |error| OpenError::Directory(self.path.clone(), error);
        let mut names = self.names().map_err(unusable)?;
        names.sort_unstable();
        let mut keys = Vec::new();
        for name in &names {
            match split(name) {
                Some((_, KEY)) => keys.extend(self.read_key(name)?),
                // A log with tags and without a key may be that of a key that the operator sets; it stays.
                Some((key, TAGS)) if !self.path.join(key).with_extension(KEY).exists() => {
                    self.remove_empty_log(name).map_err(unusable)?;
                }
                Some((_, ending)) if ending.ends_with(NEW) => self.remove(name).map_err(unusable)?,
                _ => {}
            }
        }
        Ok(keys)
    }

    /// Makes the log and then the file of a new key. Both are on the disk when it returns, so a key without a log is one
    /// whose tags are lost.
    ///
    /// # Errors
    /// Of the file system; what was made before is removed or will be when the directory is opened.
    pub(crate) fn create(&self, key: &KeyFile) -> io::Result<()> {
        self.write(&self.log(&key.public), &tag_log::header(&key.public))?;
        self.write_key(key)
    }

    /// Writes the file of a key, in the place of the one that there is.
    ///
    /// # Errors
    /// Of the file system.
    pub(crate) fn write_key(&self, key: &KeyFile) -> io::Result<()> {
        self.write(&self.file(&key.public, KEY), key.text().as_bytes())
    }

    /// Erases a key and its log: the key is overwritten, then both are removed. Doing it again is no error.
    ///
    /// # Errors
    /// Of the file system.
    pub(crate) fn erase(&self, key: &PublicKey) -> io::Result<()> {
        let path = self.file(key, KEY);
        if let Some(mut file) = found(OpenOptions::new().write(true).open(&path))? {
            let len = usize::try_from(file.metadata()?.len()).map_or(MAX_LEN, |len| len.min(MAX_LEN));
            file.write_all(&vec![0; len])?;
            file.sync_all()?;
        }
        self.remove_pair(&path)
    }

    /// Removes the log and then the overwritten file of an erased key, which says so as long as it is there.
    fn remove_pair(&self, path: &Path) -> io::Result<()> {
        found(fs::remove_file(path.with_extension(TAGS)))?;
        sync(&self.path)?;
        found(fs::remove_file(path))?;
        sync(&self.path)
    }

    fn remove_empty_log(&self, name: &str) -> io::Result<()> {
        let log = found(fs::metadata(self.path.join(name)))?;
        let is_empty = log.is_some_and(|log| log.len() <= tag_log::HEADER_LEN as u64);
        if is_empty { self.remove(name) } else { Ok(()) }
    }

    fn file(&self, key: &PublicKey, ending: &str) -> PathBuf {
        let name = hex::encode(&key.as_bytes()[..NAME_LEN / 2]);
        self.path.join(format!("{name}.{ending}"))
    }

    fn names(&self) -> io::Result<Vec<String>> {
        let entries = fs::read_dir(&self.path)?.collect::<Result<Vec<_>, _>>()?;
        Ok(entries.into_iter().filter_map(|entry| entry.file_name().into_string().ok()).collect())
    }

    /// Reads a key file; `None` if its key was erased.
    fn read_key(&self, name: &str) -> Result<Option<KeyFile>, OpenError> {
        let path = self.path.join(name);
        let bytes = read_private(&path)?;
        let key = KeyFile::parse(&bytes)
            .and_then(|key| if self.file(&key.public, KEY) == path { Ok(key) } else { Err(KeyFileError::Mismatch) });
        match key {
            Ok(key) => Ok(Some(key)),
            Err(KeyFileError::Erased) => {
                self.remove_pair(&path).map_err(|error| OpenError::Directory(self.path.clone(), error))?;
                Ok(None)
            }
            Err(error) => Err(OpenError::KeyFile(path, error)),
        }
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        found(fs::remove_file(self.path.join(name)))?;
        sync(&self.path)
    }

    /// Puts a file in its place, whole and on the disk.
    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut new = path.as_os_str().to_owned();
        new.push(NEW);
        let new = PathBuf::from(new);
        // One that was left might have other permissions.
        found(fs::remove_file(&new))?;
        let mut file = private::open(OpenOptions::new().write(true).create_new(true), &new)?;
        let written = file.write_all(bytes).and_then(|()| file.sync_all()).and_then(|()| fs::rename(&new, path));
        if written.is_err() {
            // If this fails too, the file goes when the directory is opened again.
            let _ = fs::remove_file(&new);
        }
        written?;
        sync(&self.path)
    }
}

/// The name of a key and the ending of a file in the directory; `None` for files that are not ours.
fn split(name: &str) -> Option<(&str, &str)> {
    let (key, ending) = name.split_once('.')?;
    let ours = key.len() == NAME_LEN && key.bytes().all(|byte| byte.is_ascii_hexdigit());
    (ours && ["key", "tags", "key.new", "tags.new"].contains(&ending)).then_some((key, ending))
}

/// `None` for what does not exist.
fn found<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Makes a directory and those above it, and waits until they are on the disk: tags in one that a power failure takes away
/// would be lost without a trace.
fn make(path: &Path) -> io::Result<()> {
    let missing: Vec<&Path> = path.ancestors().take_while(|path| !path.exists()).collect();
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)?;
    missing.into_iter().filter_map(Path::parent).try_for_each(sync)
}

/// Waits until names that came to a directory and went are on the disk.
fn sync(directory: &Path) -> io::Result<()> {
    let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    if cfg!(unix) { File::open(directory)?.sync_all() } else { Ok(()) }
}

fn read_private(path: &Path) -> Result<Zeroizing<Vec<u8>>, OpenError> {
    let unreadable = |error| OpenError::Unreadable(path.to_owned(), error);
    let file = File::open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    if let Some(mode) = private::mode_open_to_others(&metadata) {
        return Err(OpenError::OpenToOthers { path: path.to_owned(), mode });
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_LEN + 2));
    file.take(MAX_LEN as u64 + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    Ok(bytes)
}
