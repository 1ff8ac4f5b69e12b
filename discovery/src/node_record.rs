//! From a node record (ENR) to a [`PeerReport`]: the one conversion that every source of node records uses.

use wakumix_records::node_record::NodeRecord;

use crate::peer_report::{PeerReport, SignedRecord};

/// The peer report of a record. Of more addresses than [`PeerReport::MAX_ADDRESSES`] it takes the first
/// (`spec/waku.md §6.2`: `multiaddrs` before `ip` and `tcp`).
pub(crate) fn report(record: &NodeRecord) -> PeerReport {
    let NodeRecord { peer, seq, fields, encoded, .. } = record;
    let mut addresses = fields.addresses();
    addresses.truncate(PeerReport::MAX_ADDRESSES);
    PeerReport {
        addresses,
        capabilities: fields.capabilities,
        shards: fields.shards.clone(),
        mix_key: fields.mix_key,
        record: Some(SignedRecord::NodeRecord(encoded.clone())),
        ..PeerReport::new(*peer, *seq)
    }
}

#[cfg(test)]
mod tests {
    use wakumix_waku::record::{Capabilities, Shards};

    use super::*;

    /// The first vector of `spec/waku.md §6.3`.
    const SIMULATION: &str = "enr:-NC4QKYtas8STkenlqBTJ3a1TTLzJA2DsGGbFlnxem9aSM2IXm-CSVZULdk2467bAyFnepnt8KP_QlfDzdaMXd_zqtwBgmlkgnY0gmlwhH8AAAGHbWl4LWtleaCdCc5iT3bo9gYmXtucyit96bQXcqbXhL3a-S_6j7p9LIptdWx0aWFkZHJzgIJyc4UAAgEAAIlzZWNwMjU2azGhA6RFtVJVBh0SYOoP8xrgnXSlpiFARmQkF9d8Rn4fSeiog3RjcILqYYN1ZHCCIymFd2FrdTIt";

    #[test]
    fn has_every_field_of_the_record_and_the_record_itself_to_pass_on() {
        let record: NodeRecord = SIMULATION.parse().unwrap();
        let report = report(&record);
        assert_eq!((report.peer, report.version), (record.peer, 1));
        assert_eq!(report.addresses, ["/ip4/127.0.0.1/tcp/60001".parse().unwrap()]);
        assert_eq!(report.capabilities, Some(Capabilities::from_bits(0x2d)));
        assert_eq!(report.shards, Some(Shards { cluster: 2, shards: vec![0] }));
        assert_eq!(report.mix_key, record.fields.mix_key);
        assert_eq!(report.record, Some(SignedRecord::NodeRecord(record.encoded)));
    }
}
