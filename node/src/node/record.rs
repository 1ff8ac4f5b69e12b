//! The node record, `enr:…`, that tools read from `/debug/v1/info` (`spec/waku.md §6.2`).

use enr::{Enr, k256::ecdsa::SigningKey};
use libp2p_identity::Keypair;
use multiaddr::{Multiaddr, Protocol};
use wakumix_waku::record::{self, Capabilities, Shards};

use crate::config::Config;

/// Why no record can be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot make the node record: {0}")]
pub struct RecordError(String);

/// The record of a node in its text form: identity, first IPv4 address with its TCP port, capabilities, shards, and
/// those other addresses that fit into 300 bytes.
pub(super) fn node_record(
    identity: &Keypair,
    addresses: &[Multiaddr],
    capabilities: Capabilities,
    config: &Config,
) -> Result<String, RecordError> {
    let failed = |error: &dyn std::fmt::Display| RecordError(error.to_string());
    let keypair =
        identity.clone().try_into_secp256k1().map_err(|_| RecordError("the identity is not a secp256k1 key".into()))?;
    let key = SigningKey::from_slice(&keypair.secret().to_bytes()).map_err(|error| failed(&error))?;

    let mut builder = Enr::<SigningKey>::builder();
    if let Some((ip, port)) = addresses.iter().find_map(plain_tcp) {
        builder.ip4(ip).tcp4(port);
    }
    builder.add_value(record::CAPABILITIES_KEY, &alloy_rlp::Bytes::copy_from_slice(&capabilities.encode()));
    let shards = Shards { cluster: config.cluster_id, shards: config.shard.clone() };
    let shards = shards.encode().map_err(|error| failed(&error))?;
    builder.add_value(record::SHARDS_KEY, &alloy_rlp::Bytes::from(shards));
    let mut enr = builder.build(&key).map_err(|error| failed(&error))?;

    // Addresses that the fields above cannot say are dropped from the end until the record fits.
    let mut others: Vec<Vec<u8>> =
        addresses.iter().filter(|address| plain_tcp(address).is_none()).map(Multiaddr::to_vec).collect();
    while !others.is_empty() {
        let value = record::encode_multiaddrs(&others).map_err(|error| failed(&error))?;
        if enr.insert(record::MULTIADDRS_KEY, &alloy_rlp::Bytes::from(value), &key).is_ok() {
            break;
        }
        others.pop();
    }
    Ok(enr.to_base64())
}

/// The parts of a plain IPv4 TCP address.
fn plain_tcp(address: &Multiaddr) -> Option<(std::net::Ipv4Addr, u16)> {
    let mut parts = address.iter();
    match (parts.next(), parts.next(), parts.next()) {
        (Some(Protocol::Ip4(ip)), Some(Protocol::Tcp(port)), None) => Some((ip, port)),
        _ => None,
    }
}
