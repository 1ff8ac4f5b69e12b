//! Files that only the node's own user may read, because they show which peers the node talks to.

use std::{
    ffi::OsString,
    io,
    path::{Path, PathBuf},
};

use tokio::{fs, io::AsyncWriteExt};

/// Replaces a file as a whole: whoever reads finds the old one or the new one, also after a loss of power or with a full disk.
///
/// Cancel safe: yes; the old file then stays.
///
/// # Errors
/// Those of the file system; the old file then stays.
pub(crate) async fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(directory).await?;
    let temporary = with_ending(path, ".tmp");
    let written = write(&temporary, bytes).await;
    if written.is_err() {
        // Half of a file helps nobody, and takes room on a disk that may be full.
        let _ = fs::remove_file(&temporary).await;
    }
    written?;
    fs::rename(&temporary, path).await?;
    sync_directory(directory).await
}

/// Writes a new file down to the disk.
async fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = create(path).await?;
    file.write_all(bytes).await?;
    // The last write may still be under way, and what it fails with is told by this and not by a synchronisation.
    file.flush().await?;
    file.sync_all().await
}

/// A path with an ending.
pub(crate) fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut path = OsString::from(path);
    path.push(ending);
    path.into()
}

/// A new file that only its owner reads.
async fn create(path: &Path) -> io::Result<fs::File> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    options.mode(0o600);
    options.open(path).await
}

/// Makes a rename last.
#[cfg(unix)]
async fn sync_directory(path: &Path) -> io::Result<()> {
    fs::File::open(path).await?.sync_all().await
}

/// Other systems have no such call.
#[cfg(not(unix))]
async fn sync_directory(_: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A limit on the length of files stands in for a full disk: what is beyond is refused by the write and by nothing else. It
    /// holds for a process, so the test runs itself as another one.
    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_write_that_fails_leaves_the_old_file_and_no_half_of_the_new() {
        const CHILD: &str = "WAKUMIX_TEST_FILE";
        if let Some(path) = std::env::var_os(CHILD) {
            let error = replace(Path::new(&path), &[2; 4096]).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        replace(&path, &[1; 10]).await.unwrap();
        let program = std::env::current_exe().unwrap();
        let limited = "trap '' XFSZ; ulimit -f 1; exec \"$0\" --exact --nocapture \"$1\"";
        let name = "private_file::tests::a_write_that_fails_leaves_the_old_file_and_no_half_of_the_new";
        let child = std::process::Command::new("bash")
            .args(["-c", limited, program.to_str().unwrap(), name])
            .env(CHILD, &path)
            .stdout(std::process::Stdio::null())
            .status()
            .unwrap();
        assert!(child.success());
        assert_eq!(std::fs::read(&path).unwrap(), vec![1; 10]);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
