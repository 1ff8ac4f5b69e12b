//! Why a ring does not open.

use std::{
    io,
    path::{Path, PathBuf},
};

use thiserror::Error;

use crate::{config::KeyringConfigError, key_file::KeyFileError, private::DirectoryError, tag_log::LogError};

/// Why a ring does not open. The messages name files, never what is in them.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The settings cannot work.
    #[error(transparent)]
    Config(#[from] KeyringConfigError),
    /// Another process has the directory.
    #[error("key directory {} is in use by another process", .0.display())]
    InUse(PathBuf),
    /// It is not for this process, or not for it alone.
    #[error("key directory {0}")]
    Unfit(#[source] DirectoryError),
    /// It cannot be made, read or locked.
    #[error("key directory {path} cannot be used: {1}", path = .0.display())]
    Directory(PathBuf, #[source] io::Error),
    /// Something in it cannot be read.
    #[error("key file {path} cannot be read: {1}", path = .0.display())]
    Unreadable(PathBuf, #[source] io::Error),
    /// Something in it cannot be written.
    #[error("a key or the log of its replay tags cannot be written to {path}: {1}", path = .0.display())]
    Unwritable(PathBuf, #[source] io::Error),
    /// Group or others have rights on a key file.
    #[error("key file {} is open to others (mode {mode:04o})", .path.display())]
    OpenToOthers {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A key file is damaged, or of a later release.
    #[error("key file {path}: {1}", path = .0.display())]
    KeyFile(PathBuf, #[source] KeyFileError),
    /// The tags of the key that the operator has set cannot be trusted.
    #[error("the replay tags of the mix key that is set, {path}: {1}", path = .0.display())]
    Tags(PathBuf, #[source] LogError),
}

impl OpenError {
    /// What to do about it.
    #[must_use]
    pub fn help(&self) -> String {
        match self {
            Self::Config(_) => "change the settings that are named".to_owned(),
            Self::InUse(_) => "stop the other process, or give each node its own directory".to_owned(),
            Self::Unfit(error) => error.help(),
            Self::Directory(path, _) | Self::Unwritable(path, _) => {
                format!("let the user that runs wakumix own {}, on a disk with room", path.display())
            }
            Self::Unreadable(..) => "let the user that runs wakumix own the file, with mode 0600".to_owned(),
            Self::OpenToOthers { path, .. } => format!("run `chmod 600 {}`", path.display()),
            Self::KeyFile(_, KeyFileError::Newer(_)) => "run the release that wrote it, or a later one".to_owned(),
            Self::KeyFile(path, _) => {
                format!("move {} away; packets for its key are refused from then on", path.display())
            }
            Self::Tags(path, error) => help_with_tags(path, error),
        }
    }
}

fn help_with_tags(path: &Path, error: &LogError) -> String {
    match error {
        LogError::Newer(_) => "run the release that wrote it, or a later one".to_owned(),
        LogError::Unreadable(_) => "let the user that runs wakumix own the file, on a disk that works".to_owned(),
        _ => format!(
            "without its tags the key would open recorded packets a second time: bring back the newest {}, or set another \
             mix key and tell those who have the old one",
            path.display()
        ),
    }
}
