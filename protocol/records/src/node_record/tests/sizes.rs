//! What fits into 300 bytes, and the table of sizes in the documentation.

use std::{fmt::Write as _, path::PathBuf};

use proptest::prelude::*;

use super::*;

/// The variable that makes the test write the page instead of comparing it.
const WRITE: &str = "WRITE_DOCS";

const RELAY: &str = "/ip4/198.51.100.7/tcp/60000/p2p/16Uiu2HAmPiEs2ozjjJF2iN2Pe2FYeMC9w4caRHKYdLdAfjgbWM6o/p2p-circuit";
const WSS: &str = "/dns4/node-01.ams.waku.example.org/tcp/8000/wss";
const WS: &str = "/ip4/192.0.2.1/tcp/8000/ws";
const QUIC: &str = "/ip4/192.0.2.1/udp/60000/quic-v1";

/// Address sets: name, whether `ip`, `udp` and `tcp` are set, other addresses.
const ADDRESSES: [(&str, bool, &[&str]); 9] = [
    ("none", false, &[]),
    ("IPv4", true, &[]),
    ("IPv4, QUIC", true, &[QUIC]),
    ("IPv4, ws", true, &[WS]),
    ("IPv4, wss by name", true, &[WSS]),
    ("IPv4, wss by name, QUIC", true, &[WSS, QUIC]),
    ("IPv4, wss by name, QUIC, ws", true, &[WSS, QUIC, WS]),
    ("relay only", false, &[RELAY]),
    ("IPv4, relay, wss by name, QUIC", true, &[RELAY, WSS, QUIC]),
];

/// Role sets: name, capabilities, whether there is a mix key.
const ROLES: [(&str, u8, bool); 4] = [
    ("sender", 0, false),
    ("relay", 0b00_1001, false),
    ("mixer or exit", 0b10_0000, true),
    ("relay, mixer and exit", 0b10_1001, true),
];

const SHARDS: [u16; 3] = [1, 8, 63];

fn record(addresses: usize, role: usize, shards: u16) -> Signed<SigningKey> {
    let (_, has_ip, multiaddrs) = ADDRESSES[addresses];
    let (_, bits, has_key) = ROLES[role];
    let port = |port| has_ip.then_some(port);
    signed(&RecordFields {
        ip4: has_ip.then_some([192, 0, 2, 1].into()),
        tcp4: port(60_000),
        udp4: port(9000),
        capabilities: Some(Capabilities::from_bits(bits)),
        shards: Some(Shards { cluster: 2, shards: (0..shards).collect() }),
        multiaddrs: multiaddrs.iter().map(|text| address(text)).collect(),
        mix_key: has_key.then(mix_key),
        ..RecordFields::default()
    })
}

fn cell(Signed { record, left_out }: &Signed<SigningKey>) -> String {
    assert!(record.size() <= MAX_RECORD_LEN);
    let mut cell = record.size().to_string();
    if left_out.multiaddrs > 0 {
        let _ = write!(cell, " −{}a", left_out.multiaddrs);
    }
    if left_out.shards > 0 {
        let _ = write!(cell, " −{}s", left_out.shards);
    }
    if left_out.mix_key {
        cell.push_str(" −key");
    }
    cell
}

fn page() -> String {
    let mut page = String::from(concat!(
        "# Sizes of node records\n\n",
        "<!-- Written by WRITE_DOCS=1 cargo test -p wakumix-records sizes; do not edit. -->\n\n",
        "A node record (ENR) has at most 300 bytes (EIP-778). Fields are added in this order, each only if it still\n",
        "fits; what does not fit is left out. So a long list of addresses or shards never keeps a node from starting.\n\n",
        "1. identity, signature, `waku2`, the first shard of `rs`\n",
        "2. `ip`, `udp`, `tcp`, then `ip6`, `udp6`, `tcp6`; without `tcp`, the first entry of `multiaddrs`, for instance the\n",
        "   relay of a mixer that cannot be dialled\n",
        "3. the other shards of `rs`: as many as fit, at most 63 in total\n",
        "4. the first entry of `multiaddrs`: what browsers dial\n",
        "5. `mix-key`: a peer that can dial the node can fetch its descriptor, which has the key\n",
        "6. the other entries of `multiaddrs`, in the order in which the node lists them\n\n",
        "The sequence number starts at the Unix time in seconds and rises by one with each change, at most once per second.\n",
        "So it is higher after a restart, although it is not saved.\n\n",
        "Size in bytes by addresses, number of shards and roles. `−1a`: one address is left out, `−1s`: one shard, `−key`: the mix key.\n\n",
    ));
    page.push_str("| addresses | shards |");
    for (role, ..) in ROLES {
        let _ = write!(page, " {role} |");
    }
    page.push_str("\n|---|---|---|---|---|---|\n");
    for (index, (name, ..)) in ADDRESSES.iter().enumerate() {
        for shards in SHARDS {
            let _ = write!(page, "| {name} | {shards} |");
            for role in 0..ROLES.len() {
                let _ = write!(page, " {} |", cell(&record(index, role, shards)));
            }
            page.push('\n');
        }
    }
    let _ = write!(
        page,
        "\nQUIC: `{QUIC}`; ws: `{WS}`;\nwss by name: `{WSS}`;\nrelay: `/ip4/198.51.100.7/tcp/60000/p2p/16Uiu…/p2p-circuit`.\n"
    );
    page
}

#[test]
fn the_page_of_sizes_is_what_records_have() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/records.md");
    let page = page();
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let stale = "docs/records.md is not what records have; run WRITE_DOCS=1 cargo test -p wakumix-records sizes";
    assert_eq!(std::fs::read_to_string(&path).unwrap_or_default(), page, "{stale}");
}

#[test]
fn the_last_addresses_go_first_then_the_key_and_the_first_address_last() {
    let name = |letters: usize| address(&format!("/dns4/{}/tcp/443/wss", "a".repeat(letters)));
    let with = |multiaddrs: Vec<Multiaddr>| {
        let fields = RecordFields { multiaddrs, ..fields() };
        let signed = signed(&fields);
        let read = read(&signed.record).fields;
        (read.multiaddrs, read.mix_key.is_some(), signed.left_out)
    };
    let (short, long, huge) = (address(QUIC), name(60), name(250));
    let both = with(vec![long.clone(), short.clone()]);
    assert_eq!(both, (vec![long.clone()], true, LeftOut { multiaddrs: 1, ..LeftOut::default() }));
    let longer = name(90);
    let no_key = LeftOut { multiaddrs: 1, mix_key: true, ..LeftOut::default() };
    assert_eq!(with(vec![longer.clone(), long]), (vec![longer], false, no_key));
    let passed_over = LeftOut { multiaddrs: 1, ..LeftOut::default() };
    assert_eq!(with(vec![huge, short.clone()]), (vec![short], true, passed_over));
}

#[test]
fn shards_that_do_not_fit_are_left_out_before_the_only_address() {
    let shards = Some(Shards { cluster: 2, shards: (0..70).collect() });
    let Signed { record, left_out } = signed(&RecordFields { shards, ..fields() });
    assert_eq!(read(&record).fields.shards, Some(Shards { cluster: 2, shards: (0..63).collect() }));
    assert_eq!(left_out, LeftOut { shards: 7, mix_key: true, ..LeftOut::default() });
    let shards = Some(Shards { cluster: 2, shards: (0..63).collect() });
    let relayed = RecordFields { shards, multiaddrs: vec![address(RELAY)], ..RecordFields::default() };
    let Signed { record, left_out } = signed(&relayed);
    assert_eq!(read(&record).fields.multiaddrs, [address(RELAY)]);
    assert!(left_out.shards > 0 && left_out.multiaddrs == 0, "{left_out:?}");
}

proptest! {
    /// Whatever a node has to say, a record comes out, and its size is the one that was computed.
    #[test]
    fn every_record_can_be_made(
        seq in 1..u64::MAX,
        shards in 0_u16..100,
        ports in prop::array::uniform4(prop::option::of(any::<u16>())),
        names in prop::collection::vec("[a-z]{1,250}", 0..6),
        has in prop::array::uniform3(any::<bool>()),
    ) {
        let fields = RecordFields {
            ip4: has[0].then_some([192, 0, 2, 1].into()),
            ip6: has[1].then(|| "2001:db8::1".parse().unwrap()),
            tcp4: ports[0],
            udp4: ports[1],
            tcp6: ports[2],
            udp6: ports[3],
            capabilities: Some(Capabilities::MIX),
            shards: Some(Shards { cluster: u16::MAX, shards: (0..shards).collect() }),
            multiaddrs: names.iter().map(|name| address(&format!("/dns4/{name}/tcp/443/wss"))).collect(),
            mix_key: has[2].then(mix_key),
        };
        let Signed { record, .. } = fields.sign(seq, &key()).unwrap();
        prop_assert!(record.size() <= MAX_RECORD_LEN);
        let read = read(&record);
        prop_assert_eq!(read.seq, seq);
        prop_assert!(read.skipped.is_empty() && read.fields.shards.is_some());
    }
}
