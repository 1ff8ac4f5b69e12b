//! Files and directories that are for their owner alone: how they are made, and how it is seen that one is not.
//!
//! Kubernetes gives a secret, and a volume with `fsGroup`, to a group that the process is in (modes 0440, 0640, 0660, behind
//! symbolic links), and systemd a credential to root and its group (0440, with an access list). So the own groups may have rights,
//! and root's may read what is root's; nobody else may.

use std::{
    fs::{self, File, OpenOptions},
    io,
    path::{Path, PathBuf},
};

/// Opens a file that, if it is made, is for its owner alone.
///
/// # Errors
/// Of the file system.
pub fn open(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options.open(path)
}

/// The permission bits, if they give anything to others than the owner and a group of this process.
#[cfg(unix)]
#[must_use]
pub fn mode_open_to_others(metadata: &fs::Metadata) -> Option<u32> {
    Process::current().open_to_others(&Rights::of(metadata))
}

/// Other systems have no mode bits; their access lists are the operator's business.
#[cfg(not(unix))]
#[must_use]
pub fn mode_open_to_others(_: &fs::Metadata) -> Option<u32> {
    None
}

/// The permission bits, if they let others than the owner and a group of this process write.
#[cfg(unix)]
fn mode_writable_by_others(metadata: &fs::Metadata) -> Option<u32> {
    Process::current().writable_by_others(&Rights::of(metadata))
}

/// As [`mode_open_to_others`].
#[cfg(not(unix))]
fn mode_writable_by_others(_: &fs::Metadata) -> Option<u32> {
    None
}

/// Why a directory cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DirectoryError {
    /// Something else is there, or on the way there.
    #[error("{} is not a directory", .0.display())]
    NotADirectory(PathBuf),
    /// This process may not write there, nor make it there.
    #[error("{}: {error}", cannot(path, place))]
    Unwritable {
        /// The directory.
        path: PathBuf,
        /// The directory above it in which it would be made, or itself.
        place: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// It belongs to somebody else.
    #[error("{} belongs to user {owner}, and this process is user {own}", .path.display())]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Who this process is.
        own: u32,
    },
    /// Others can change what is in it.
    #[error("{} is open to all (mode {mode:04o})", .path.display())]
    OpenToOthers {
        /// The directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
}

impl DirectoryError {
    /// What to do about it.
    #[must_use]
    pub fn help(&self) -> String {
        match self {
            Self::NotADirectory(path) => format!("name another directory, or move {} away", path.display()),
            Self::Unwritable { path, .. } => {
                format!("make {} for the user that runs wakumix, or name a directory of that user", path.display())
            }
            Self::Foreign { path, owner, .. } => {
                format!("run as user {owner}, name a directory of your own, or run `chown` on {}", path.display())
            }
            Self::OpenToOthers { path, .. } => {
                let path = path.display();
                format!("run `chmod o-w {path}`, or name a new directory in it: it is then made for its owner alone")
            }
        }
    }
}

/// What cannot be done.
fn cannot(path: &Path, place: &Path) -> String {
    if path == place {
        format!("{} cannot be written to", path.display())
    } else {
        format!("{} cannot be made in {}", path.display(), place.display())
    }
}

/// Checks, and changes nothing, whether this process may keep files in a directory. One that does not exist can be made where
/// the directory above it can be written to.
///
/// # Errors
/// Why it may not.
pub fn check_directory(path: &Path) -> Result<(), DirectoryError> {
    let there = path.ancestors().map(|above| if above.as_os_str().is_empty() { Path::new(".") } else { above });
    for (above, place) in there.enumerate() {
        let metadata = match fs::metadata(place) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            // A file stands on the way; the one above says so.
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => continue,
            Err(error) => return Err(unwritable(path, place, error)),
        };
        if !metadata.is_dir() {
            return Err(DirectoryError::NotADirectory(place.to_owned()));
        }
        // What lies above is the system's.
        if above == 0 {
            check_owner(place, &metadata)?;
        }
        return check_writable(place).map_err(|error| unwritable(path, place, error));
    }
    Ok(())
}

/// As [`check_directory`], for a directory of keys: nobody but its owner and a group of this process may put files there or take
/// some away. That others see what lies in it tells them nothing: the files are for their owner alone.
///
/// # Errors
/// Why it may not be used.
pub fn check_private_directory(path: &Path) -> Result<(), DirectoryError> {
    if let Ok(metadata) = fs::metadata(path)
        && metadata.is_dir()
        && let Some(mode) = mode_writable_by_others(&metadata)
    {
        check_owner(path, &metadata)?;
        return Err(DirectoryError::OpenToOthers { path: path.to_owned(), mode });
    }
    check_directory(path)
}

fn unwritable(path: &Path, place: &Path, error: io::Error) -> DirectoryError {
    DirectoryError::Unwritable { path: path.to_owned(), place: place.to_owned(), error }
}

#[cfg(unix)]
fn check_writable(path: &Path) -> io::Result<()> {
    use rustix::fs::{Access, access};
    Ok(access(path, Access::WRITE_OK | Access::EXEC_OK)?)
}

#[cfg(not(unix))]
fn check_writable(_: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(unix)]
fn check_owner(path: &Path, metadata: &fs::Metadata) -> Result<(), DirectoryError> {
    let (process, rights) = (Process::current(), Rights::of(metadata));
    if process.is_foreign(&rights) {
        let (owner, own) = (rights.user, process.user);
        return Err(DirectoryError::Foreign { path: path.to_owned(), owner, own });
    }
    Ok(())
}

#[cfg(not(unix))]
fn check_owner(_: &Path, _: &fs::Metadata) -> Result<(), DirectoryError> {
    Ok(())
}

/// Whose a file is, and who may do what with it.
#[cfg(unix)]
struct Rights {
    user: u32,
    group: u32,
    mode: u32,
}

#[cfg(unix)]
impl Rights {
    fn of(metadata: &fs::Metadata) -> Self {
        use std::os::unix::fs::MetadataExt as _;
        Self { user: metadata.uid(), group: metadata.gid(), mode: metadata.mode() & 0o7777 }
    }
}

/// Who this process is.
#[cfg(unix)]
struct Process {
    user: u32,
    groups: Vec<u32>,
}

#[cfg(unix)]
impl Process {
    fn current() -> Self {
        use rustix::process::{getegid, geteuid, getgroups};
        // Without a list of groups the process has one.
        let others = getgroups().unwrap_or_default();
        let groups = others.into_iter().chain([getegid()]).map(rustix::process::Gid::as_raw).collect();
        Self { user: geteuid().as_raw(), groups }
    }

    fn open_to_others(&self, rights: &Rights) -> Option<u32> {
        // systemd gives a credential as root's, with an access list that lets the service's user read; the mask of such a list
        // shows as rights of the group, here root's own. Writing is another matter.
        let roots = (rights.user, rights.group) == (0, 0) && rights.mode & 0o030 == 0;
        let by_group = rights.mode & 0o070 != 0 && !roots && !self.groups.contains(&rights.group);
        (rights.mode & 0o007 != 0 || by_group).then_some(rights.mode)
    }

    fn writable_by_others(&self, rights: &Rights) -> Option<u32> {
        let by_group = rights.mode & 0o020 != 0 && !self.groups.contains(&rights.group);
        (rights.mode & 0o002 != 0 || by_group).then_some(rights.mode)
    }

    /// Whether it is neither this user's nor the system's, nor given to a group of this process.
    fn is_foreign(&self, rights: &Rights) -> bool {
        ![self.user, 0].contains(&rights.user) && !self.groups.contains(&rights.group)
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_file_that_is_made_is_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let file = open(OpenOptions::new().write(true).create_new(true), &path).unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(mode_open_to_others(&file.metadata().unwrap()), None);
        assert!(open(OpenOptions::new().write(true).create_new(true), &path).is_err(), "never another's");
        for mode in [0o644, 0o604, 0o601] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(mode_open_to_others(&fs::metadata(&path).unwrap()), Some(mode));
        }
        // As a secret of Kubernetes: a link to a file that the own group can read.
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        for mode in [0o400, 0o440, 0o640, 0o660] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(mode_open_to_others(&fs::metadata(&link).unwrap()), None, "{mode:o}");
        }
    }

    #[test]
    fn the_own_groups_may_read_and_others_may_not() {
        let process = Process { user: 1000, groups: vec![2000, 1000] };
        for (user, group, mode, open) in [
            (0, 2000, 0o440, false),
            (0, 2000, 0o660, false),
            (1000, 1000, 0o600, false),
            (1000, 3000, 0o600, false),
            (1000, 3000, 0o640, true),
            (0, 0, 0o440, false),
            (0, 0, 0o460, true),
            (0, 0, 0o444, true),
            (1000, 0, 0o440, true),
            (0, 2000, 0o444, true),
            (1000, 1000, 0o2770, false),
            (1000, 1000, 0o2777, true),
        ] {
            let rights = Rights { user, group, mode };
            assert_eq!(process.open_to_others(&rights), open.then_some(mode), "{user} {group} {mode:o}");
        }
        for (user, group, foreign) in [(1000, 3000, false), (0, 0, false), (1001, 2000, false), (1001, 1001, true)] {
            assert_eq!(process.is_foreign(&Rights { user, group, mode: 0o700 }), foreign, "{user} {group}");
        }
    }

    #[test]
    fn a_directory_of_keys_is_written_by_its_owner_and_group_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        assert!(check_private_directory(&path).is_ok(), "it can be made");
        assert!(!path.exists(), "nothing is made by looking");
        fs::create_dir(&path).unwrap();
        for (mode, open) in
            [(0o700, false), (0o2770, false), (0o755, false), (0o2775, false), (0o757, true), (0o1777, true)]
        {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let checked = check_private_directory(&path);
            assert_eq!(matches!(checked, Err(DirectoryError::OpenToOthers { .. })), open, "{mode:o}");
            assert!(check_directory(&path).is_ok());
        }
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        for path in [file.clone(), file.join("keys")] {
            let error = check_private_directory(&path).unwrap_err();
            assert!(matches!(&error, DirectoryError::NotADirectory(found) if *found == file), "{error}");
        }
    }
}
