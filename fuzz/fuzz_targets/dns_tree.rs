//! DNS lists: the address of a list, its root, and its entries.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wakumix_records::dns_tree::{Entry, EntryName, TreeUrl};

/// The list of EIP-1459's example.
const LIST: &str = "enrtree://AM5FCQLWIZX2QFPNJAP7VUERCCRNGRHWZG3YYHIUV7BVDQ5FDPRT2@nodes.example.org";

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(url) = text.parse::<TreeUrl>() {
        assert_eq!(url.to_string().parse::<TreeUrl>().expect("what was written can be read"), url);
    }
    let list: TreeUrl = LIST.parse().expect("a fixed address is valid");
    let _ = list.root(text);
    let _ = text.parse::<EntryName>();
    assert!(EntryName::of(LIST).entry(text).is_err() || text == LIST, "an entry of another name is taken");
    if let Ok(Entry::Node(record)) = EntryName::of(text).entry(text) {
        let _ = record.parse::<wakumix_records::node_record::NodeRecord>();
    }
});
