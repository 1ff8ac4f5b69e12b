//! Files that only this node's user reads: whom a node talks to is nobody else's business.

use std::{
    ffi::OsString,
    io,
    path::{Path, PathBuf},
};

use tokio::{fs, io::AsyncWriteExt};

/// Replaces a file as a whole: whoever reads finds the old one or the new one, also after a loss of power.
///
/// Cancel safe: yes; the old file then stays.
///
/// # Errors
/// Those of the file system.
pub(crate) async fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(directory).await?;
    let temporary = with_ending(path, ".tmp");
    let mut file = create(&temporary).await?;
    file.write_all(bytes).await?;
    file.sync_all().await?;
    fs::rename(&temporary, path).await?;
    sync_directory(directory).await
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
