//! Files that are for their owner alone: how they are made, and how it is seen that one is not.

use std::{
    fs::{self, File, OpenOptions},
    io,
    path::Path,
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

/// The permission bits, if they give anything to group or others.
#[cfg(unix)]
#[must_use]
pub fn mode_open_to_others(metadata: &fs::Metadata) -> Option<u32> {
    let mode = std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o7777;
    (mode & 0o077 != 0).then_some(mode)
}

/// Other systems have no mode bits; their access lists are the operator's business.
#[cfg(not(unix))]
#[must_use]
pub fn mode_open_to_others(_: &fs::Metadata) -> Option<u32> {
    None
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
        assert_eq!(mode_open_to_others(&file.metadata().unwrap()), None);
        assert!(open(OpenOptions::new().write(true).create_new(true), &path).is_err(), "never another's");
        for mode in [0o644, 0o620, 0o601] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(mode_open_to_others(&fs::metadata(&path).unwrap()), Some(mode));
        }
    }
}
