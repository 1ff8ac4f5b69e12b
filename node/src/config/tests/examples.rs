//! The example files are one working network.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use libp2p_identity::PeerId;
use wakumix_mix::MIN_POOL;
use wakumix_role_api::{exit, relay};

use crate::config::{Inputs, Loaded, load};

fn examples() -> BTreeMap<String, Loaded> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/config");
    let mut examples = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let loaded = load(&Inputs { file: Some(path.clone()), ..Inputs::default() });
        let loaded = loaded.unwrap_or_else(|problems| panic!("{}:\n{problems}", path.display()));
        examples.insert(path.file_stem().unwrap().to_str().unwrap().to_owned(), loaded);
    }
    examples
}

#[test]
fn all_seven_load_and_warn_of_nothing_but_their_public_keys() {
    let examples = examples();
    assert_eq!(examples.len(), 7);
    for (name, loaded) in &examples {
        // Keys in a checkout are readable by others as a rule, and are meant to be.
        let warnings = loaded.warnings.iter().filter(|warning| !warning.contains("key` is a secret"));
        assert_eq!(warnings.collect::<Vec<_>>(), [""; 0], "{name}");
        assert_eq!((loaded.config.cluster_id, &*loaded.config.shard), (66, &[0][..]), "{name}");
        assert!(loaded.config.rest && loaded.config.ip_colocation_limit == 0, "{name}");
    }
}

#[test]
fn their_pool_is_every_node_that_forwards() {
    let examples = examples();
    let pool: BTreeMap<PeerId, _> = examples
        .values()
        .filter(|loaded| loaded.config.forwards())
        .map(|loaded| {
            let peer = loaded.keys.peer();
            let address = loaded.config.hop_address(peer).unwrap();
            (peer, (address, loaded.keys.mix.as_ref().unwrap().public()))
        })
        .collect();
    for (name, loaded) in &examples {
        let listed: BTreeMap<PeerId, _> = loaded
            .config
            .mixnode
            .iter()
            .map(|entry| {
                let node = entry.node().unwrap();
                (node.peer(), (node.address, node.key))
            })
            .collect();
        assert_eq!(listed, pool, "{name}");
    }
    assert!(pool.len() >= MIN_POOL);
}

#[test]
fn their_relays_know_each_other_and_the_sender_knows_the_relays() {
    let examples = examples();
    let relays: BTreeSet<PeerId> = examples
        .values()
        .filter(|loaded| loaded.config.has_role(relay::NAME))
        .inspect(|loaded| assert!(loaded.config.has_role(exit::NAME)))
        .map(|loaded| loaded.keys.peer())
        .collect();
    assert_eq!(relays.len(), 2);
    for loaded in examples.values() {
        let me = loaded.keys.peer();
        if relays.contains(&me) {
            let known: Vec<PeerId> = loaded.config.staticnode.iter().map(|node| node.peer).collect();
            assert_eq!(known.len(), 1);
            assert!(relays.contains(&known[0]) && known[0] != me);
        }
        if loaded.config.mixing.sends {
            let known: BTreeSet<PeerId> = loaded.config.lightpushnode.iter().map(|node| node.peer).collect();
            assert_eq!(known, relays);
        }
    }
}

#[test]
fn they_share_no_port_and_no_key() {
    let examples = examples();
    let ports: Vec<u16> = examples.values().flat_map(|loaded| loaded.config.ports()).map(|port| port.port).collect();
    assert_eq!(ports.iter().collect::<BTreeSet<_>>().len(), ports.len());
    let peers: BTreeSet<PeerId> = examples.values().map(|loaded| loaded.keys.peer()).collect();
    assert_eq!(peers.len(), examples.len());
}
