//! What operators write of mix nodes, peers, node records and lists.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wakumix_discovery::{
    entry::{MixNodeEntry, PeerAddress, check_dns_tree},
    parse_bootstrap,
};

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(entry) = text.parse::<MixNodeEntry>() {
        assert_eq!(entry.to_string().parse(), Ok(entry.clone()));
        assert!(entry.node_at([192, 0, 2, 1].into()).is_ok());
    }
    if let Ok(entry) = text.parse::<PeerAddress>() {
        assert_eq!(entry.to_string().parse(), Ok(entry));
    }
    let _ = parse_bootstrap(text);
    let _ = check_dns_tree(text);
});
