//! The nodes of a net as targets of Prometheus, for its discovery by files.

use std::{fs, io, net::SocketAddr, path::Path};

use serde::Serialize;

use crate::Kind;

/// One entry of the file. `node` and `node_kind` are labels that no metric has: one with the name of a metric's own would hide that, as
/// `kind` (of `waku_mix_pool_groups`) and `role` (of libp2p's connections) do.
#[derive(Serialize)]
struct Target<'a> {
    targets: [SocketAddr; 1],
    labels: Labels<'a>,
}

#[derive(Serialize)]
struct Labels<'a> {
    node: &'a str,
    node_kind: &'static str,
}

/// Writes the nodes, each with its name and its metrics server, into a file as Prometheus reads it (`file_sd_configs`). It appears
/// whole: Prometheus reads it whenever it changes.
///
/// # Errors
/// Of the file system.
pub(super) fn write<'a>(path: &Path, nodes: impl IntoIterator<Item = (&'a str, Kind, SocketAddr)>) -> io::Result<()> {
    let target = |(node, kind, address): (&'a str, Kind, SocketAddr)| Target {
        targets: [address],
        labels: Labels { node, node_kind: kind.as_str() },
    };
    let targets: Vec<_> = nodes.into_iter().map(target).collect();
    let text = serde_json::to_string_pretty(&targets)? + "\n";
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    fs::write(&new, text)?;
    fs::rename(&new, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prometheus_reads_each_node_with_its_name_and_kind() {
        let path = std::env::temp_dir().join(format!("wakumix-targets-{}.json", std::process::id()));
        write(&path, [("mixer-1", Kind::Mixer, ([127, 0, 0, 1], 9002).into())]).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        let expected =
            serde_json::json!([{"targets": ["127.0.0.1:9002"], "labels": {"node": "mixer-1", "node_kind": "mixer"}}]);
        assert_eq!(json, expected);
        assert!(write(Path::new("/does/not/exist.json"), []).is_err());
    }
}
