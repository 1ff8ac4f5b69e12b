//! The file of the cache: read with a bound, written so that it is always whole, set aside when it cannot be used.

use std::{
    io,
    path::{Path, PathBuf},
};

use tokio::{fs, io::AsyncReadExt, sync::Mutex};

use super::form::{self, FormError, Read};
use crate::{
    peer_report::{Remembered, UnixSeconds},
    private_file,
};

/// The longest file. 4096 nodes with descriptor and node record take some 12 MiB.
const MAX_LEN: usize = 16 << 20;
/// Corrupt files that are kept to look into; further ones replace the last.
const MAX_CORRUPT: u32 = 5;

/// The cache on disk.
#[derive(Debug)]
pub(crate) struct CacheFile {
    path: PathBuf,
    cluster: u16,
    /// Held while writing.
    writing: Mutex<()>,
}

/// What was found at the start.
#[derive(Debug)]
pub(crate) enum Loaded {
    /// A node's first start.
    Missing,
    /// The nodes of the last run.
    Nodes(Read),
    /// It could not be used and has another name now; why.
    SetAside(String),
}

impl CacheFile {
    pub(crate) fn new(path: PathBuf, cluster: u16) -> Self {
        Self { path, cluster, writing: Mutex::new(()) }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads it; one that cannot be used gets another name, so that the node starts and nothing is lost.
    ///
    /// # Errors
    /// When it is there and cannot be read, or cannot be renamed.
    pub(crate) async fn load(&self) -> io::Result<Loaded> {
        let bytes = match self.read().await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Loaded::Missing),
            read => read?,
        };
        if bytes.len() > MAX_LEN {
            return self.set_aside_corrupt(format!("it is longer than {MAX_LEN} bytes")).await;
        }
        match form::decode(&bytes, self.cluster) {
            Ok(read) => Ok(Loaded::Nodes(read)),
            Err(error @ (FormError::Json(_) | FormError::Format)) => self.set_aside_corrupt(error.to_string()).await,
            Err(error) => self.set_aside(".old", error.to_string()).await,
        }
    }

    /// Replaces it as a whole: whoever reads finds the old file or the new one, also after a loss of power.
    ///
    /// Cancel safe: yes; the old file then stays.
    ///
    /// # Errors
    /// Those of the file system.
    pub(crate) async fn store(&self, nodes: &[Remembered], now: UnixSeconds) -> io::Result<()> {
        let _writing = self.writing.lock().await;
        let bytes = form::encode(nodes, self.cluster, now, MAX_LEN)?;
        private_file::replace(&self.path, &bytes).await
    }

    async fn read(&self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let limit = u64::try_from(MAX_LEN).unwrap_or(u64::MAX).saturating_add(1);
        fs::File::open(&self.path).await?.take(limit).read_to_end(&mut bytes).await?;
        Ok(bytes)
    }

    async fn set_aside_corrupt(&self, reason: String) -> io::Result<Loaded> {
        for number in 1..MAX_CORRUPT {
            let ending = format!(".corrupt-{number}");
            if !fs::try_exists(private_file::with_ending(&self.path, &ending)).await? {
                return self.set_aside(&ending, reason).await;
            }
        }
        self.set_aside(&format!(".corrupt-{MAX_CORRUPT}"), reason).await
    }

    async fn set_aside(&self, ending: &str, reason: String) -> io::Result<Loaded> {
        let aside = private_file::with_ending(&self.path, ending);
        fs::rename(&self.path, &aside).await?;
        Ok(Loaded::SetAside(format!("{reason}; it is now {}", aside.display())))
    }
}

#[cfg(test)]
mod tests {
    use libp2p_identity::PeerId;

    use super::*;
    use crate::peer_report::{PeerReport, SourceName};

    fn node() -> Remembered {
        let peer = PeerId::random();
        Remembered { peer, last_seen: Some(5), records: vec![(SourceName::Discv5, PeerReport::new(peer, 1))] }
    }

    fn cache(directory: &tempfile::TempDir, cluster: u16) -> CacheFile {
        CacheFile::new(directory.path().join("data/directory.json"), cluster)
    }

    #[tokio::test]
    async fn what_is_stored_is_loaded_and_nobody_else_may_read_it() {
        let directory = tempfile::tempdir().unwrap();
        let cache = cache(&directory, 2);
        assert!(matches!(cache.load().await.unwrap(), Loaded::Missing));
        let nodes = [node(), node()];
        cache.store(&nodes[..1], 9).await.unwrap();
        cache.store(&nodes, 10).await.unwrap();
        let Loaded::Nodes(read) = cache.load().await.unwrap() else { panic!("it is there") };
        assert_eq!(read.nodes, nodes);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = std::fs::metadata(cache.path()).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        let files = std::fs::read_dir(cache.path().parent().unwrap()).unwrap().count();
        assert_eq!(files, 1, "nothing else is left behind");
    }

    #[tokio::test]
    async fn corrupt_files_are_set_aside_and_no_more_than_some_are_kept() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("directory.json");
        let cache = CacheFile::new(path.clone(), 2);
        for round in 0..8 {
            std::fs::write(&path, format!("{{ broken {round}")).unwrap();
            let Loaded::SetAside(reason) = cache.load().await.unwrap() else { panic!("it is broken") };
            assert!(reason.contains("corrupt-"), "{reason}");
            assert!(matches!(cache.load().await.unwrap(), Loaded::Missing));
        }
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 5);
        assert_eq!(std::fs::read_to_string(directory.path().join("directory.json.corrupt-5")).unwrap(), "{ broken 7");
    }

    #[tokio::test]
    async fn files_of_another_cluster_and_overlong_ones_are_set_aside() {
        let directory = tempfile::tempdir().unwrap();
        cache(&directory, 7).store(&[node()], 9).await.unwrap();
        let Loaded::SetAside(reason) = cache(&directory, 2).load().await.unwrap() else { panic!("it is foreign") };
        assert!(reason.contains("cluster 7") && reason.ends_with(".old"), "{reason}");
        std::fs::write(cache(&directory, 2).path(), vec![b' '; MAX_LEN + 1]).unwrap();
        let Loaded::SetAside(reason) = cache(&directory, 2).load().await.unwrap() else { panic!("it is too long") };
        assert!(reason.contains("longer than"), "{reason}");
    }
}
