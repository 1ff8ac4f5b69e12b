//! Bodies of fuzz targets whose parsers are no part of the public interface.

use crate::cache;

/// The cluster of the cache files that are read.
pub const CLUSTER: u16 = 2;

/// Reads a cache file; what was read can be written and read again.
pub fn read_cache(bytes: &[u8]) {
    let Ok(read) = cache::decode(bytes, CLUSTER) else { return };
    let written = cache::encode(&read.nodes, CLUSTER, 0, usize::MAX);
    let again = written.ok().and_then(|written| cache::decode(&written, CLUSTER).ok());
    assert_eq!(again.map(|again| again.nodes), Some(read.nodes));
}
