//! How many connections a node has room for: as many as the memory for them and the open files of the process allow.

/// Memory of all connections together.
const MEMORY: usize = 160 << 20;
/// What one takes with its ciphers', muxer's and protocols' buffers while it is used as it should be; measured, see
/// docs/bounds.md.
const MEMORY_EACH: usize = 60 << 10;

/// Open files of a node besides its established connections: 128 connections that are being set up, up to 64 sockets of REST
/// and metrics, and 64 for listeners, keys, tags, logs, name servers and the runtime.
const OTHER_FILES: u64 = 256;

/// Fewer are of no use to anybody.
const LEAST: usize = 8;

/// The process may not open enough files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a node needs at least {needed} open files and may have {limit}; raise the limit (ulimit -n, LimitNOFILE=, \
     --ulimit nofile=)"
)]
pub struct TooFewFiles {
    needed: u64,
    limit: u64,
}

/// Connections of a node: those that its operator wants, or as many as there is memory for, unless the process may not open as
/// many files. `files` is `None` where nothing limits them.
///
/// # Errors
/// There are not enough files for a node at all.
pub(super) fn for_files(wanted: Option<usize>, files: Option<u64>) -> Result<usize, TooFewFiles> {
    let total = wanted.unwrap_or(MEMORY / MEMORY_EACH);
    let Some(limit) = files else { return Ok(total) };
    let room = usize::try_from(limit.saturating_sub(OTHER_FILES)).unwrap_or(usize::MAX);
    let least = LEAST.min(total);
    if room < least {
        return Err(TooFewFiles { needed: least as u64 + OTHER_FILES, limit });
    }
    if let Some(wanted) = wanted.filter(|wanted| *wanted > room) {
        let needed = wanted as u64 + OTHER_FILES;
        tracing::warn!(
            max_connections = wanted,
            open_files = limit,
            "the process may not open enough files: the node takes {room} connections; allow it {needed} open files, \
             or set max-connections = {room}"
        );
    }
    Ok(total.min(room))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_as_many_connections_as_memory_and_files_allow() {
        let by_memory = MEMORY / MEMORY_EACH;
        assert!(by_memory * 3 / 4 >= 2000, "two thousand senders");
        assert_eq!(for_files(None, None), Ok(by_memory));
        assert_eq!(for_files(None, Some(1 << 20)), Ok(by_memory));
        assert_eq!(for_files(None, Some(1024)), Ok(768));
        assert_eq!(for_files(Some(150), Some(1024)), Ok(150));
        assert_eq!(for_files(Some(1000), Some(1024)), Ok(768));
        assert_eq!(for_files(Some(5), Some(261)), Ok(5));
        assert_eq!(for_files(None, Some(64)), Err(TooFewFiles { needed: 264, limit: 64 }));
    }
}
