//! The guards of a node that sends and does not forward: drawn from the peer table, kept in a file.
//!
//! The rules are [`GuardSample`]'s. This node stays connected to the first few of the sample that it can reach, and visits
//! everybody else now and then.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use libp2p_identity::PeerId;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use wakumix_mix::MixNode;
use wakumix_role_api::directory::{GuardCandidate, GuardSample, PoolState, SampledGuard};
use wakumix_waku::record::Capabilities;

use super::family::{Own, families};
use crate::{
    clock::Now,
    peer_table::{self, Node, PeerTable},
    private_file,
};

/// The longest file: sixty entries of a hundred bytes.
const MAX_LEN: u64 = 64 << 10;
/// What every such file says it is.
const FORMAT: &str = "wakumix guards";
const VERSION: u32 = 1;

/// The guards of this node. Durable: an instance of discovery that follows a panic goes on with them.
#[derive(Debug)]
pub(crate) struct Guards {
    in_use: usize,
    file: Option<PathBuf>,
    cluster: u16,
    /// What times are counted from.
    epoch: Instant,
    sample: Mutex<GuardSample>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Document {
    format: String,
    version: u32,
    cluster: u16,
    guards: Vec<GuardForm>,
}

#[derive(Debug, Serialize, Deserialize)]
struct GuardForm {
    peer: String,
    expires: u64,
    subnets: u32,
}

impl Guards {
    /// The guards of an earlier run, if there is a file. One that cannot be used gets another name, so that the node starts.
    pub(crate) fn load(in_use: usize, file: Option<PathBuf>, cluster: u16) -> Self {
        let entries = match &file {
            Some(path) => read(path, cluster).unwrap_or_else(|error| set_aside(path, &error)),
            None => {
                tracing::info!(
                    "the guards of this node are forgotten when it ends, and each start draws others; \
                     set local-storage-path to keep them"
                );
                Vec::new()
            }
        };
        let sample = Mutex::new(GuardSample::restored(entries));
        Self { in_use, file, cluster, epoch: Instant::now(), sample }
    }

    /// Brings the sample up to date with the peer table; whether that changed it.
    pub(crate) fn update(&self, table: &PeerTable, own_operator: Option<&str>, now: Now) -> bool {
        let known = candidates(table, own_operator);
        let mut rng = rand::rng();
        self.sample.lock().update(&mut rng, &known, now.unix, now.since(self.epoch))
    }

    /// The sample, in order.
    pub(crate) fn order(&self) -> Vec<PeerId> {
        self.sample.lock().peers().collect()
    }

    /// The guards to stay connected to: the first of the sample that can be reached.
    pub(crate) fn to_keep(&self, table: &PeerTable) -> Vec<PeerId> {
        let is_usable = |peer: &PeerId| table.get(peer).is_some_and(is_usable);
        self.order().into_iter().filter(is_usable).take(self.in_use).collect()
    }

    /// Writes the sample down, where it is kept.
    pub(crate) async fn store(self: Arc<Self>) {
        let Some(path) = &self.file else { return };
        let form = |entry: &SampledGuard| GuardForm {
            peer: entry.peer.to_base58(),
            expires: entry.expires,
            subnets: entry.subnets,
        };
        let guards = self.sample.lock().entries().iter().map(form).collect();
        let document = Document { format: FORMAT.to_owned(), version: VERSION, cluster: self.cluster, guards };
        let stored = match serde_json::to_vec_pretty(&document) {
            Ok(bytes) => private_file::replace(path, &bytes).await,
            Err(error) => Err(error.into()),
        };
        if let Err(error) = stored {
            let path = path.display();
            tracing::warn!(%path, %error, "the guards cannot be kept for a later run; check the place and its rights");
        }
    }
}

fn read(path: &Path, cluster: u16) -> io::Result<Vec<SampledGuard>> {
    let unusable = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let bytes = match std::fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
        Ok(file) if file.len() > MAX_LEN => return Err(unusable("it is too long")),
        Ok(_) => std::fs::read(path)?,
    };
    let document: Document = serde_json::from_slice(&bytes)?;
    if document.format != FORMAT || document.version != VERSION {
        return Err(unusable("it is of another kind or version"));
    }
    if document.cluster != cluster {
        return Err(unusable("it is of another cluster"));
    }
    let entry = |form: GuardForm| {
        let peer = form.peer.parse().map_err(|_| unusable("an entry names no peer"))?;
        Ok(SampledGuard { peer, expires: form.expires, subnets: form.subnets })
    };
    document.guards.into_iter().map(entry).collect()
}

fn set_aside(path: &Path, error: &io::Error) -> Vec<SampledGuard> {
    let aside = private_file::with_ending(path, ".unusable");
    match std::fs::rename(path, &aside) {
        Ok(()) => {
            tracing::warn!(%error, file = %aside.display(), "the guards of the last run cannot be read; see the file");
        }
        Err(rename) => {
            tracing::warn!(%error, %rename, file = %path.display(), "the guards of the last run cannot be read");
        }
    }
    Vec::new()
}

/// The nodes that guards are drawn from: those that this node could use, reached or not.
fn candidates(table: &PeerTable, own_operator: Option<&str>) -> Vec<GuardCandidate> {
    let rules = table.rules();
    let nodes: Vec<_> = table.nodes().filter(|node| node.state.is_some()).collect();
    let (families, _) = families(&nodes, Own { operator: own_operator, family: &rules.family });
    let candidate = |(node, family): (&&Node, _)| {
        let mix_node = MixNode {
            address: node.view.hop.clone()?,
            key: node.view.key?,
            family,
            formats: peer_table::formats(node, rules),
            reassembles: false,
        };
        Some(GuardCandidate {
            node: mix_node,
            is_usable: is_usable(node),
            is_entry: node.is_entry(),
            is_service: node.view.capabilities.is_some_and(|own| own.contains(Capabilities::LIGHTPUSH)),
            is_full: node.view.is_full,
        })
    };
    nodes.iter().zip(families).filter_map(candidate).collect()
}

/// Whether it is in the pool and was reached: an operator's entry is believed before that.
fn is_usable(node: &Node) -> bool {
    node.contact.was_seen() && node.state.is_some_and(|(state, _)| state == PoolState::Usable)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guards(path: &Path) -> Guards {
        Guards::load(3, Some(path.to_owned()), 2)
    }

    #[tokio::test]
    async fn a_sample_is_kept_in_a_file_that_nobody_else_reads() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("data/guards.json");
        let entries = vec![SampledGuard { peer: PeerId::random(), expires: 9, subnets: 4 }];
        let kept = Guards { sample: Mutex::new(GuardSample::restored(entries.clone())), ..guards(&path) };
        Arc::new(kept).store().await;
        assert_eq!(guards(&path).sample.lock().entries(), entries);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        assert_eq!(Guards::load(3, Some(path.clone()), 3).order(), [], "of another cluster");
        assert!(!path.exists() && path.with_extension("json.unusable").exists());
    }

    #[test]
    fn a_file_that_cannot_be_read_is_set_aside() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("guards.json");
        for text in [
            "{",
            "{}",
            r#"{"format":"wakumix guards","version":1,"cluster":2,"guards":[{"peer":"x","expires":1,"subnets":1}]}"#,
        ] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(guards(&path).order(), []);
            assert!(!path.exists(), "{text}");
        }
    }
}
