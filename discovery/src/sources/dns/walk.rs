//! Walks lists: from the root to the nodes, within bounds, past whatever is broken.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use futures::{StreamExt, stream};
use libp2p_identity::PeerId;
use rand::RngExt;
use wakumix_records::{
    dns_tree::{Entry, EntryName, Root, TreeEntryError, TreeUrl},
    node_record::{NodeRecord, NodeRecordError},
};

use super::txt::Txt;
use crate::{
    node_record,
    peer_report::{PeerReport, Refusal},
};

/// Questions of one walk of half a list; public lists have some hundreds of entries. Of a larger list a random part is read.
/// An answer has 5 KiB at most, so what is kept of a walk stays below 32 MiB, and below 2 MiB for honest lists.
const MAX_QUESTIONS: usize = 4096;
/// Branches between the root and a node. With 13 children each, four reach 28 561 nodes.
const MAX_DEPTH: u8 = 8;
/// Entries that are seen by name, asked for or not; of more, the last ones are left out.
const MAX_SEEN: usize = 2 * MAX_QUESTIONS;
/// Lists that one list may link to.
const MAX_LINKS: usize = 8;
/// Questions at a time.
const PARALLEL: usize = 8;

/// Walks a list and those that it links to, and remembers how new they were.
pub(super) struct Walker {
    txt: Arc<dyn Txt>,
    /// The sequence number of each list of the last walk, by its URL.
    newest: HashMap<String, u64>,
}

/// What a walk gave.
#[derive(Debug, Default)]
pub(super) struct Walk {
    /// What the records tell, the newest of each peer.
    pub(super) found: Vec<PeerReport>,
    /// What was refused, by reason.
    pub(super) refused: HashMap<Refusal, u64>,
    /// Whether the list itself could be read. A list that is linked to may still have failed.
    pub(super) has_root: bool,
}

/// One walk under way.
#[derive(Default)]
struct Progress {
    nodes: HashMap<PeerId, PeerReport>,
    refused: HashMap<Refusal, u64>,
    links: Vec<TreeUrl>,
}

impl Walker {
    pub(super) fn new(txt: Arc<dyn Txt>) -> Self {
        Self { txt, newest: HashMap::new() }
    }

    /// Walks a list and those that it links to.
    pub(super) async fn walk(&mut self, list: &TreeUrl) -> Walk {
        let mut progress = Progress::default();
        let has_root = self.walk_one(list, &mut progress).await;
        let links = std::mem::take(&mut progress.links);
        for link in &links {
            if link != list {
                self.walk_one(link, &mut progress).await;
            }
        }
        let is_known: HashSet<_> = links.iter().chain([list]).map(ToString::to_string).collect();
        if has_root {
            self.newest.retain(|url, _| is_known.contains(url));
        }
        Walk { found: progress.nodes.into_values().collect(), refused: progress.refused, has_root }
    }

    async fn walk_one(&mut self, list: &TreeUrl, progress: &mut Progress) -> bool {
        let Some(root) = self.root(list, progress).await else { return false };
        for (entry, wants) in [(root.nodes, Wanted::Nodes), (root.links, Wanted::Links)] {
            self.walk_tree(list.domain(), entry, wants, progress).await;
        }
        true
    }

    /// The root, if it is there, good and no older than the last.
    async fn root(&mut self, list: &TreeUrl, progress: &mut Progress) -> Option<Root> {
        let texts = match self.txt.texts(list.domain().to_owned()).await {
            Ok(texts) => texts,
            Err(error) => {
                tracing::debug!(domain = list.domain(), error, "a DNS list does not answer");
                return None;
            }
        };
        let roots: Vec<_> = texts.iter().map(|text| list.root(text)).collect();
        let Some(root) = roots.iter().flatten().next() else {
            // A domain has texts that are no roots at all.
            let error =
                roots.iter().filter_map(|root| root.as_ref().err()).find(|error| **error != TreeEntryError::Root);
            progress.refuse(error.map_or(Refusal::Malformed, refusal), u64::from(!texts.is_empty()));
            return None;
        };
        let newest = self.newest.entry(list.to_string()).or_insert(root.seq);
        if root.seq < *newest {
            progress.refuse(Refusal::Replayed, 1);
            return None;
        }
        *newest = root.seq;
        Some(root.clone())
    }

    async fn walk_tree(&self, domain: &str, top: EntryName, wants: Wanted, progress: &mut Progress) {
        let mut seen = HashSet::from([top.clone()]);
        let mut waiting = vec![(top, 0u8)];
        let mut left = MAX_QUESTIONS;
        while !waiting.is_empty() && left > 0 {
            let batch: Vec<_> = (0..PARALLEL.min(left)).map_while(|_| take_random(&mut waiting)).collect();
            left -= batch.len();
            let ask = |(name, depth): (EntryName, u8)| async move {
                let texts = self.txt.texts(format!("{name}.{domain}")).await;
                (name, depth, texts)
            };
            let answers: Vec<_> = stream::iter(batch.into_iter().map(ask)).buffer_unordered(PARALLEL).collect().await;
            for (name, depth, texts) in answers {
                match entry(&name, texts) {
                    Ok(Entry::Branch(children)) if depth < MAX_DEPTH => {
                        for child in children {
                            if !seen.contains(&child) && seen.len() < MAX_SEEN {
                                seen.insert(child.clone());
                                waiting.push((child, depth + 1));
                            } else if !seen.contains(&child) {
                                progress.refuse(Refusal::TooMany, 1);
                            }
                        }
                    }
                    Ok(Entry::Branch(_)) => progress.refuse(Refusal::TooMany, 1),
                    Ok(Entry::Node(text)) if wants == Wanted::Nodes => progress.node(&text),
                    Ok(Entry::Link(link)) if wants == Wanted::Links => progress.link(link),
                    // A node among links or a link among nodes.
                    Ok(_) => progress.refuse(Refusal::Malformed, 1),
                    Err(refusal) => progress.refuse(refusal, 1),
                }
            }
        }
        progress.refuse(Refusal::TooMany, waiting.len() as u64);
    }
}

/// Which half of a list is walked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Nodes,
    Links,
}

impl Progress {
    fn node(&mut self, text: &str) {
        match text.parse::<NodeRecord>() {
            Ok(record) => {
                let found = node_record::report(&record);
                let newest = self.nodes.entry(found.peer).or_insert_with(|| found.clone());
                if newest.version < found.version {
                    *newest = found;
                }
            }
            Err(NodeRecordError::Signature) => self.refuse(Refusal::Signature, 1),
            Err(NodeRecordError::TooLong) => self.refuse(Refusal::TooMany, 1),
            Err(_) => self.refuse(Refusal::Malformed, 1),
        }
    }

    /// Links of lists that are linked to come after those have been taken, and are never followed.
    fn link(&mut self, link: TreeUrl) {
        if self.links.contains(&link) {
            return;
        }
        if self.links.len() < MAX_LINKS {
            self.links.push(link);
        } else {
            self.refuse(Refusal::TooMany, 1);
        }
    }

    fn refuse(&mut self, refusal: Refusal, count: u64) {
        if count > 0 {
            *self.refused.entry(refusal).or_default() += count;
        }
    }
}

/// The entry that has the hash of its name. One that is missing, or whose server does not answer, is malformed too: the
/// branch that names it promised it.
fn entry(name: &EntryName, texts: Result<Vec<String>, String>) -> Result<Entry, Refusal> {
    let texts = texts.map_err(|_| Refusal::Malformed)?;
    let mut error = Refusal::Malformed;
    for text in &texts {
        match name.entry(text) {
            Ok(entry) => return Ok(entry),
            Err(found) => error = refusal(&found),
        }
    }
    Err(error)
}

fn refusal(error: &TreeEntryError) -> Refusal {
    match error {
        TreeEntryError::Signature => Refusal::Signature,
        TreeEntryError::TooLong(_) => Refusal::TooMany,
        _ => Refusal::Malformed,
    }
}

/// Takes one of the entries at random: what a walk that is cut short has read is then no part that somebody chose.
fn take_random(waiting: &mut Vec<(EntryName, u8)>) -> Option<(EntryName, u8)> {
    if waiting.is_empty() {
        return None;
    }
    let place = rand::rng().random_range(0..waiting.len());
    Some(waiting.swap_remove(place))
}
