//! The records of `spec/waku.md §6.3`, and our own read back.

use super::*;

const SIMULATION: &str = "enr:-NC4QKYtas8STkenlqBTJ3a1TTLzJA2DsGGbFlnxem9aSM2IXm-CSVZULdk2467bAyFnepnt8KP_QlfDzdaMXd_zqtwBgmlkgnY0gmlwhH8AAAGHbWl4LWtleaCdCc5iT3bo9gYmXtucyit96bQXcqbXhL3a-S_6j7p9LIptdWx0aWFkZHJzgIJyc4UAAgEAAIlzZWNwMjU2azGhA6RFtVJVBh0SYOoP8xrgnXSlpiFARmQkF9d8Rn4fSeiog3RjcILqYYN1ZHCCIymFd2FrdTIt";
const BARE: &str = "-Hy4QC73_E3B_FkZhsOakaD4pHe-U--UoGASdG9N0F3SFFUDY_jdQbud8EXVyrlOZ5pZ7VYFBDPMRCENwy87Lh74dFIBgmlkgnY0iXNlY3AyNTZrMaECvNt1jIWbWGpAWWdlLGYm1E1OjlkQk3ONoxDC5sfw8oOFd2FrdTID";
const STORE: &str = "enr:-QEMuEAs8JmmyUI3b9v_ADqYtELHUYAsAMS21lA2BMtrzF86tVmyy9cCrhmzfHGHx_g3nybn7jIRybzXTGNj3C2KzrriAYJpZIJ2NIJpcISf3_Jeim11bHRpYWRkcnO4XAArNiZzdG9yZS0wMS5kby1hbXMzLnN0YXR1cy5wcm9kLnN0YXR1cy5pbQZ2XwAtNiZzdG9yZS0wMS5kby1hbXMzLnN0YXR1cy5wcm9kLnN0YXR1cy5pbQYBu94DgnJzjQAQBQABACAAQACAAQCJc2VjcDI1NmsxoQLfoaQH3oSYW59yxEBfeAZbltmUnC4BzYkHqer2VQMTyoN0Y3CCdl-DdWRwgiMohXdha3UyAw";

#[test]
fn reads_the_first_node_of_the_simulation() {
    let record: NodeRecord = SIMULATION.parse().unwrap();
    assert_eq!((record.encoded.len(), record.seq), (210, 1));
    assert_eq!(record.peer.to_string(), "16Uiu2HAmPiEs2ozjjJF2iN2Pe2FYeMC9w4caRHKYdLdAfjgbWM6o");
    let fields = RecordFields {
        ip4: Some([127, 0, 0, 1].into()),
        tcp4: Some(60_001),
        udp4: Some(9001),
        capabilities: Some(Capabilities::from_bits(0x2d)),
        shards: Some(Shards { cluster: 2, shards: vec![0] }),
        mix_key: Some("9d09ce624f76e8f606265edb9cca2b7de9b41772a6d784bddaf92ffa8fba7d2c".parse().unwrap()),
        ..RecordFields::default()
    };
    assert_eq!((&record.fields, record.skipped.is_empty()), (&fields, true));
    assert_eq!(record.fields.addresses(), [address("/ip4/127.0.0.1/tcp/60001")]);
    assert_eq!(record.to_text(), SIMULATION);
}

#[test]
fn reads_a_record_without_an_address() {
    let record: NodeRecord = BARE.parse().unwrap();
    assert_eq!(record.encoded.len(), 126);
    let capabilities = Some(Capabilities::RELAY | Capabilities::STORE);
    assert_eq!(record.fields, RecordFields { capabilities, ..RecordFields::default() });
    assert_eq!(record.to_text(), format!("enr:{BARE}"));
}

#[test]
fn reads_a_nwaku_node_with_names_and_its_addresses_in_their_order() {
    let record: NodeRecord = STORE.parse().unwrap();
    assert_eq!(record.encoded.len(), 271);
    assert_eq!(record.fields.udp4, Some(9000));
    assert_eq!(record.fields.shards, Some(Shards { cluster: 16, shards: vec![1, 32, 64, 128, 256] }));
    let name = "/dns4/store-01.do-ams3.status.prod.status.im";
    let addresses = [
        address(&format!("{name}/tcp/30303")),
        address(&format!("{name}/tcp/443/wss")),
        address("/ip4/159.223.242.94/tcp/30303"),
    ];
    assert_eq!(record.fields.addresses(), addresses);
}

#[test]
fn a_node_that_offers_nothing_yet_says_so_in_one_byte() {
    let record = signed(&RecordFields { capabilities: Some(Capabilities::NONE), ..fields() }).record;
    assert_eq!(record.get_raw_rlp("waku2"), Some(&[0][..]), "a string of one byte, not the integer 0, which has none");
    assert_eq!(read(&record).fields.capabilities, Some(Capabilities::NONE));
}

#[test]
fn what_is_written_is_read_again() {
    let fields = RecordFields {
        tcp6: Some(200),
        udp6: Some(1),
        ip6: Some("2001:db8::1".parse().unwrap()),
        shards: Some(Shards { cluster: 16, shards: vec![1, 1023] }),
        multiaddrs: vec![address("/ip4/192.0.2.1/udp/9/quic-v1")],
        ..fields()
    };
    let Signed { record, left_out } = signed(&fields);
    assert_eq!(left_out, LeftOut::default());
    let read = read(&record);
    assert_eq!((read.seq, &read.fields, read.skipped.len()), (SEQ, &fields, 0));
    assert_eq!(read.to_text(), record.to_base64());
    assert_eq!(NodeRecord::of(&record).unwrap(), read);
    let addresses =
        ["/ip4/192.0.2.1/udp/9/quic-v1", "/ip4/192.0.2.1/tcp/60000", "/ip6/2001:db8::1/tcp/200"].map(address);
    assert_eq!(fields.addresses(), addresses);
}
