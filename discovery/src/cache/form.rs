//! How the cache is written: one JSON document.
//!
//! ```json
//! {"format":"wakumix directory","version":1,"cluster":2,"written":1790000000,"nodes":[
//!   {"peer":"16Uiu2…","last_seen":1789999990,"records":[
//!     {"source":"discv5","version":7,"addresses":["/ip4/…/tcp/60000"],"capabilities":33,"cluster":2,"shards":[0],
//!      "mix_key":"<64 hex digits>","node_record":"<base64>"}]}]}
//! ```
//!
//! Records are not verified again when they are read: whoever can write the file can as well write the configuration.

use std::str::FromStr;

use data_encoding::BASE64URL_NOPAD;
use libp2p_identity::PeerId;
use serde::{Deserialize, Serialize};
use wakumix_waku::record::{Capabilities, Shards};

use crate::peer_report::{PeerReport, Remembered, SignedRecord, SourceName, UnixSeconds};

/// What every such file says it is.
const FORMAT: &str = "wakumix directory";
/// The form of this module. Another one is set aside: sources tell again what it held. Fields that may lack are added
/// without a new version: older programs skip them, newer ones take their absence as not told.
const VERSION: u32 = 1;

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FormError {
    #[error("it is no directory: {0}")]
    Json(#[from] serde_json::Error),
    #[error("it is a file of another kind")]
    Format,
    #[error("it has version {0}, this program reads {VERSION}")]
    Version(u32),
    #[error("it is of cluster {0}")]
    Cluster(u16),
}

/// What a file told.
#[derive(Debug, Default)]
pub(crate) struct Read {
    pub(crate) nodes: Vec<Remembered>,
    /// Records, or nodes, that could not be understood.
    pub(crate) skipped: u64,
}

/// The first nodes of those given that fit `max` bytes.
pub(crate) fn encode(nodes: &[Remembered], cluster: u16, now: UnixSeconds, max: usize) -> serde_json::Result<Vec<u8>> {
    let mut document =
        Document { format: FORMAT.to_owned(), version: VERSION, cluster, written: now, nodes: Vec::new() };
    let mut len = serde_json::to_vec(&document)?.len();
    for node in nodes.iter().map(NodeForm::from) {
        // A comma behind it.
        len += serde_json::to_vec(&node)?.len() + 1;
        if len > max {
            break;
        }
        document.nodes.push(node);
    }
    serde_json::to_vec(&document)
}

/// Reads a document of a cluster.
pub(crate) fn decode(bytes: &[u8], cluster: u16) -> Result<Read, FormError> {
    let header: Header = serde_json::from_slice(bytes)?;
    if header.format != FORMAT {
        return Err(FormError::Format);
    }
    if header.version != VERSION {
        return Err(FormError::Version(header.version));
    }
    if header.cluster != cluster {
        return Err(FormError::Cluster(header.cluster));
    }
    let document: Document = serde_json::from_slice(bytes)?;
    let mut read = Read::default();
    for node in document.nodes {
        node.read_into(&mut read);
    }
    Ok(read)
}

/// What is looked at first: a later version may be different in all else.
#[derive(Deserialize)]
struct Header {
    format: String,
    version: u32,
    #[serde(default)]
    cluster: u16,
}

#[derive(Serialize, Deserialize)]
struct Document {
    format: String,
    version: u32,
    cluster: u16,
    /// For people.
    written: UnixSeconds,
    nodes: Vec<NodeForm>,
}

#[derive(Serialize, Deserialize)]
struct NodeForm {
    peer: String,
    last_seen: Option<UnixSeconds>,
    records: Vec<RecordForm>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct RecordForm {
    source: String,
    version: u64,
    addresses: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    capabilities: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<u16>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    shards: Vec<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mix_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_key: Option<(String, UnixSeconds)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    profiles: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reassembles: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    operator: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    family: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<UnixSeconds>,
    #[serde(skip_serializing_if = "Option::is_none")]
    node_record: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    descriptor: Option<String>,
}

impl From<&Remembered> for NodeForm {
    fn from(node: &Remembered) -> Self {
        let records = node.records.iter().map(|(source, report)| RecordForm::new(*source, report)).collect();
        Self { peer: node.peer.to_base58(), last_seen: node.last_seen, records }
    }
}

impl NodeForm {
    fn read_into(self, read: &mut Read) {
        let Ok(peer) = self.peer.parse() else {
            read.skipped += 1;
            return;
        };
        let told = self.records.len();
        let records: Vec<_> = self.records.into_iter().filter_map(|record| record.read(peer)).collect();
        read.skipped += u64::try_from(told - records.len()).unwrap_or(u64::MAX);
        read.nodes.push(Remembered { peer, last_seen: self.last_seen, records });
    }
}

impl RecordForm {
    fn new(source: SourceName, report: &PeerReport) -> Self {
        let (node_record, descriptor) = match &report.record {
            None => (None, None),
            Some(SignedRecord::NodeRecord(bytes)) => (Some(BASE64URL_NOPAD.encode(bytes)), None),
            Some(SignedRecord::Descriptor(bytes)) => (None, Some(BASE64URL_NOPAD.encode(bytes))),
        };
        Self {
            source: source.as_str().to_owned(),
            version: report.version,
            addresses: report.addresses.iter().map(ToString::to_string).collect(),
            capabilities: report.capabilities.map(Capabilities::bits),
            cluster: report.shards.as_ref().map(|shards| shards.cluster),
            shards: report.shards.as_ref().map(|shards| shards.shards.clone()).unwrap_or_default(),
            mix_key: report.mix_key.map(|key| key.to_string()),
            next_key: report.next_key.map(|(key, at)| (key.to_string(), at)),
            profiles: report.profiles.as_ref().map(|own| own.iter().map(ToString::to_string).collect()),
            reassembles: report.reassembles,
            operator: report.operator.clone(),
            family: report.family.iter().map(ToString::to_string).collect(),
            expires: report.expires,
            node_record,
            descriptor,
        }
    }

    /// `None` if any part cannot be understood.
    fn read(self, peer: PeerId) -> Option<(SourceName, PeerReport)> {
        let source = SourceName::ALL.into_iter().find(|source| source.as_str() == self.source)?;
        let decode = |text: String| BASE64URL_NOPAD.decode(text.as_bytes()).ok();
        let record = match (self.node_record, self.descriptor) {
            (None, None) => None,
            (Some(record), None) => Some(SignedRecord::NodeRecord(decode(record)?)),
            (None, Some(record)) => Some(SignedRecord::Descriptor(decode(record)?)),
            (Some(_), Some(_)) => return None,
        };
        let next_key = match self.next_key {
            None => None,
            Some((key, at)) => Some((key.parse().ok()?, at)),
        };
        let report = PeerReport {
            addresses: parse(&self.addresses)?,
            capabilities: self.capabilities.map(Capabilities::from_bits),
            shards: self.cluster.map(|cluster| Shards { cluster, shards: self.shards }),
            mix_key: self.mix_key.map(|key| key.parse()).transpose().ok()?,
            next_key,
            profiles: self.profiles.map(|profiles| parse(&profiles).ok_or(())).transpose().ok()?,
            reassembles: self.reassembles,
            operator: self.operator,
            family: parse(&self.family)?,
            expires: self.expires,
            record,
            ..PeerReport::new(peer, self.version)
        };
        Some((source, report))
    }
}

fn parse<T: FromStr>(texts: &[String]) -> Option<Vec<T>> {
    texts.iter().map(|text| text.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use wakumix_sphinx::{PrivateKey, WireFormat};

    use super::*;

    fn node(seed: u8) -> Remembered {
        let peer = PeerId::random();
        let key = |seed| PrivateKey::from_bytes([seed; 32]).public();
        let full = PeerReport {
            addresses: vec![format!("/ip4/8.8.8.{seed}/tcp/1").parse().unwrap()],
            capabilities: Some(Capabilities::MIX),
            shards: Some(Shards { cluster: 2, shards: vec![0, 5] }),
            mix_key: Some(key(seed)),
            next_key: Some((key(seed + 1), 77)),
            profiles: Some(vec![WireFormat::default()]),
            reassembles: Some(seed == 1),
            operator: Some("a \"tag\"".to_owned()),
            family: vec![PeerId::random()],
            expires: Some(99),
            record: Some(SignedRecord::Descriptor(vec![1, 2, seed])),
            ..PeerReport::new(peer, 5)
        };
        let short = PeerReport { record: Some(SignedRecord::NodeRecord(vec![9])), ..PeerReport::new(peer, 6) };
        let records = vec![(SourceName::Descriptors, full), (SourceName::Discv5, short)];
        Remembered { peer, last_seen: Some(50), records }
    }

    #[test]
    fn what_is_written_reads_back() {
        let nodes = vec![node(1), node(2)];
        let bytes = encode(&nodes, 2, 60, 1 << 20).unwrap();
        let read = decode(&bytes, 2).unwrap();
        assert_eq!((read.nodes, read.skipped), (nodes, 0));
    }

    #[test]
    fn what_does_not_fit_is_left_out_from_the_end() {
        let nodes: Vec<_> = (1..100).map(node).collect();
        let bytes = encode(&nodes, 2, 60, 10_000).unwrap();
        assert!(bytes.len() <= 10_000);
        let read = decode(&bytes, 2).unwrap().nodes;
        assert!(read.len() > 5 && read[..] == nodes[..read.len()]);
    }

    #[test]
    fn a_record_that_cannot_be_understood_is_skipped_and_counted() {
        let bytes = encode(&[node(1), node(2)], 2, 60, 1 << 20).unwrap();
        let text = String::from_utf8(bytes).unwrap().replacen("\"discv5\"", "\"oracle\"", 1);
        let read = decode(text.as_bytes(), 2).unwrap();
        assert_eq!((read.nodes.len(), read.nodes[0].records.len(), read.skipped), (2, 1, 1));
    }

    #[test]
    fn a_file_of_before_a_field_was_added_is_read_as_not_telling_it() {
        let bytes = encode(&[node(1)], 2, 60, 1 << 20).unwrap();
        let text = String::from_utf8(bytes).unwrap().replacen("\"reassembles\":true,", "\"from_the_future\":7,", 1);
        let read = decode(text.as_bytes(), 2).unwrap();
        assert_eq!((read.skipped, read.nodes[0].records[0].1.reassembles), (0, None));
    }

    #[test]
    fn says_why_a_file_cannot_be_used() {
        let refusal = |text: &str| decode(text.as_bytes(), 2).unwrap_err().to_string();
        assert!(refusal("{").starts_with("it is no directory"));
        assert_eq!(refusal(r#"{"format":"x","version":1}"#), "it is a file of another kind");
        let version = r#"{"format":"wakumix directory","version":9,"cells":[]}"#;
        assert_eq!(refusal(version), "it has version 9, this program reads 1");
        let foreign = String::from_utf8(encode(&[], 7, 60, 1000).unwrap()).unwrap();
        assert_eq!(refusal(&foreign), "it is of cluster 7");
    }
}
