//! The own node record: made from what this node is, told to whoever asks.
//!
//! It follows the [`LocalRecord`] and the UDP endpoint that discv5 listens at. Its sequence number starts at the Unix time
//! and rises by one with each change, at most one a [`PAUSE`]: so it is higher after a restart, without a file.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Duration,
};

use discv5::Enr;
use enr::{CombinedKey, k256::ecdsa::SigningKey};
use libp2p_identity::Keypair;
use multiaddr::{Multiaddr, Protocol};
use parking_lot::Mutex;
use tokio::sync::watch;
use wakumix_records::node_record::{RecordFields, Signed};

use crate::{clock::Now, local::LocalRecord};

/// Between two changes at least: a sequence number that starts at the time in seconds must not rise faster than it.
const PAUSE: Duration = Duration::from_secs(1);

/// Where discv5 answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The address to tell; `None` for that of the host.
    pub ip: Option<IpAddr>,
    /// The UDP port.
    pub port: u16,
    /// The sequence number that the record has to exceed, because records up to it have been told.
    pub after: u64,
}

/// The own node record. Cheap to clone; all clones are the same.
#[derive(Clone, Debug, Default)]
pub struct OwnRecord {
    endpoint: watch::Sender<Option<Endpoint>>,
    record: watch::Sender<Option<Enr>>,
    /// What the newest record was made from.
    said: Arc<Mutex<Option<RecordFields>>>,
}

impl OwnRecord {
    /// From now on discv5 answers there.
    pub(crate) fn listens(&self, endpoint: Endpoint) {
        self.endpoint.send_replace(Some(endpoint));
    }

    /// Where discv5 answers.
    pub(crate) fn endpoint(&self) -> Option<Endpoint> {
        *self.endpoint.borrow()
    }

    /// Follows the record. `None` before it is made, and for ever if the identity is no secp256k1 key.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Option<Enr>> {
        self.record.subscribe()
    }

    /// Whether the record says this of the node, as far as a record has room for it. One that is never made says all that there
    /// is to say.
    pub(crate) fn says(&self, local: &LocalRecord) -> bool {
        let now = record_fields(local, self.endpoint());
        self.said.lock().as_ref().is_none_or(|said| *said == now)
    }

    /// Makes the record anew if what it says has changed.
    pub(crate) fn refresh(&self, key: &CombinedKey, local: &LocalRecord) {
        let endpoint = self.endpoint();
        let fields = record_fields(local, endpoint);
        let after = endpoint.map_or(0, |endpoint| endpoint.after);
        self.record.send_if_modified(|current| {
            let seq = current.as_ref().map_or(0, Enr::seq).max(after).saturating_add(1);
            let first = current.is_none().then(|| Now::read().unix);
            let signed = match fields.sign(seq.max(first.unwrap_or_default()), key) {
                Ok(signed) => signed,
                Err(error) => {
                    tracing::warn!(%error, "the node record stays as it is");
                    return false;
                }
            };
            let Signed { record, left_out } = signed;
            let told = current.as_ref().filter(|told| told.seq() > after);
            if told.is_some_and(|told| is_same(told, &record)) {
                return false;
            }
            tracing::debug!(seq = record.seq(), bytes = record.size(), ?left_out, "the node record has changed");
            *current = Some(record);
            true
        });
        *self.said.lock() = Some(fields);
    }

    /// Keeps the record true until this node's description ends.
    pub(crate) async fn follow(self, identity: Keypair, mut local: watch::Receiver<Arc<LocalRecord>>) {
        let Some(key) = signing_key(&identity) else { return };
        let mut endpoint = self.endpoint.subscribe();
        loop {
            let current = Arc::clone(&local.borrow_and_update());
            endpoint.mark_unchanged();
            self.refresh(&key, &current);
            tokio::time::sleep(PAUSE).await;
            tokio::select! {
                changed = local.changed() => if changed.is_err() { return },
                // This record holds the sender, so it cannot end.
                _ = endpoint.changed() => {}
            }
        }
    }
}

/// Makes the first record.
pub(crate) fn start(own: &OwnRecord, identity: &Keypair, local: &LocalRecord) {
    match signing_key(identity) {
        Some(key) => own.refresh(&key, local),
        None => tracing::info!("the identity is no secp256k1 key, so this node has no node record"),
    }
}

/// The key that signs records; `None` for an identity that is no secp256k1 key.
pub(crate) fn signing_key(identity: &Keypair) -> Option<CombinedKey> {
    let keypair = identity.clone().try_into_secp256k1().ok()?;
    SigningKey::from_slice(&keypair.secret().to_bytes()).ok().map(CombinedKey::from)
}

/// Whether two records say the same, whatever their numbers.
fn is_same(one: &Enr, other: &Enr) -> bool {
    one.iter().eq(other.iter())
}

/// What the record says: `ip` and `udp` where discv5 answers, `tcp` if the host listens there too, and as `multiaddrs`
/// what these cannot say: first the address that packet headers carry, then what browsers dial, then the rest in its
/// order.
pub fn record_fields(local: &LocalRecord, endpoint: Option<Endpoint>) -> RecordFields {
    let plain: Vec<_> = local.addresses.iter().filter_map(plain_tcp).collect();
    let preferred = plain.iter().find(|(ip, _)| !ip.is_loopback()).or(plain.first());
    let told = endpoint.and_then(|endpoint| endpoint.ip);
    let ip4 = match told {
        Some(IpAddr::V4(ip)) => Some(ip),
        _ => preferred.map(|(ip, _)| *ip),
    };
    let ip6 = match told {
        Some(IpAddr::V6(ip)) => Some(ip),
        _ => None,
    };
    let tcp4 = plain.iter().find(|(ip, _)| Some(*ip) == ip4).map(|(_, port)| *port);
    let said = ip4.zip(tcp4);
    let hop = local.hop_address.as_ref().map(|hop| hop.multiaddr());
    let mut multiaddrs: Vec<_> =
        local.addresses.iter().filter(|address| plain_tcp(address).is_none_or(|own| Some(own) != said)).collect();
    multiaddrs.sort_by_key(|address| (hop.as_ref() != Some(address), !is_browsable(address)));
    let udp = endpoint.map(|endpoint| endpoint.port);
    RecordFields {
        ip4,
        tcp4,
        udp4: udp.filter(|_| ip6.is_none()),
        ip6,
        tcp6: None,
        udp6: udp.filter(|_| ip6.is_some()),
        capabilities: Some(local.capabilities),
        shards: Some(local.shards.clone()),
        multiaddrs: multiaddrs.into_iter().cloned().collect(),
        mix_key: local.mix_key,
    }
}

/// The parts of a plain IPv4 TCP address.
fn plain_tcp(address: &Multiaddr) -> Option<(Ipv4Addr, u16)> {
    let mut parts = address.iter();
    match (parts.next(), parts.next(), parts.next()) {
        (Some(Protocol::Ip4(ip)), Some(Protocol::Tcp(port)), None) => Some((ip, port)),
        _ => None,
    }
}

/// Browsers dial secure WebSockets only.
fn is_browsable(address: &Multiaddr) -> bool {
    address.iter().any(|part| matches!(part, Protocol::Wss(_) | Protocol::Tls))
}

#[cfg(test)]
mod tests {
    use wakumix_records::node_record::NodeRecord;
    use wakumix_sphinx::PrivateKey;
    use wakumix_waku::record::{Capabilities, Shards};

    use super::*;
    use crate::sources::stand_in;

    fn identity() -> Keypair {
        let secret = libp2p_identity::secp256k1::SecretKey::try_from_bytes([7; 32]).unwrap();
        libp2p_identity::secp256k1::Keypair::from(secret).into()
    }

    fn local(addresses: &[&str]) -> LocalRecord {
        LocalRecord {
            peer: identity().public().to_peer_id(),
            addresses: addresses.iter().map(|text| text.parse().unwrap()).collect(),
            shards: Shards { cluster: 2, shards: vec![0, 1] },
            mix_key: Some(PrivateKey::from_bytes([9; 32]).public()),
            ..stand_in::mixer(7)
        }
    }

    fn endpoint(ip: Option<[u8; 4]>) -> Option<Endpoint> {
        Some(Endpoint { ip: ip.map(|ip| Ipv4Addr::from(ip).into()), port: 9000, after: 0 })
    }

    fn texts(fields: &RecordFields) -> Vec<String> {
        fields.multiaddrs.iter().map(ToString::to_string).collect()
    }

    const ADDRESSES: [&str; 4] = [
        "/ip4/127.0.0.1/tcp/60000",
        "/ip4/192.0.2.1/tcp/60001",
        "/ip4/192.0.2.1/udp/60000/quic-v1",
        "/dns4/example.org/tcp/443/wss",
    ];

    #[test]
    fn says_in_its_fields_what_it_can_and_the_rest_as_addresses() {
        let fields = record_fields(&local(&ADDRESSES), endpoint(None));
        assert_eq!((fields.ip4, fields.tcp4, fields.udp4), (Some([192, 0, 2, 1].into()), Some(60_001), Some(9000)));
        assert_eq!(texts(&fields), [ADDRESSES[3], ADDRESSES[0], ADDRESSES[2]]);
        assert_eq!(fields.mix_key, local(&[]).mix_key);
    }

    #[test]
    fn an_announced_address_goes_first_and_keeps_the_others() {
        let fields = record_fields(&local(&ADDRESSES[..2]), endpoint(Some([198, 51, 100, 1])));
        assert_eq!((fields.ip4, fields.tcp4, fields.udp4), (Some([198, 51, 100, 1].into()), None, Some(9000)));
        assert_eq!(texts(&fields), ADDRESSES[..2]);
    }

    #[test]
    fn the_address_that_headers_carry_goes_before_what_browsers_dial() {
        let relay = "16Uiu2HAmPiEs2ozjjJF2iN2Pe2FYeMC9w4caRHKYdLdAfjgbWM6o";
        let relayed = format!("/ip4/198.51.100.1/tcp/1/p2p/{relay}/p2p-circuit");
        let mut local = local(&[ADDRESSES[3], &relayed]);
        local.hop_address = wakumix_mix::HopAddress::from_multiaddr(&relayed.parse().unwrap(), local.peer).ok();
        let fields = record_fields(&local, None);
        assert_eq!(texts(&fields), [&relayed, ADDRESSES[3]]);
        assert_eq!((fields.ip4, fields.udp4), (None, None));
    }

    #[test]
    fn its_number_rises_only_with_a_change() {
        let own = OwnRecord::default();
        let key = signing_key(&identity()).unwrap();
        let seq = || own.subscribe().borrow().as_ref().map(Enr::seq).unwrap();
        own.refresh(&key, &local(&ADDRESSES));
        let first = seq();
        assert!(first > 1_600_000_000, "it starts at the time");
        own.refresh(&key, &local(&ADDRESSES));
        assert_eq!(seq(), first);
        assert!(own.says(&local(&ADDRESSES)) && !own.says(&local(&ADDRESSES[..1])));
        own.refresh(&key, &local(&ADDRESSES[..1]));
        assert_eq!(seq(), first + 1);
        own.listens(Endpoint { ip: None, port: 9000, after: first + 5 });
        assert!(!own.says(&local(&ADDRESSES[..1])), "not where discv5 answers");
        own.refresh(&key, &local(&ADDRESSES[..1]));
        assert_eq!(seq(), first + 6, "it exceeds what was told already");
        let text = own.subscribe().borrow().as_ref().map(Enr::to_base64).unwrap();
        let read: NodeRecord = text.parse().unwrap();
        assert_eq!((read.peer, read.fields.udp4), (identity().public().to_peer_id(), Some(9000)));
    }

    #[tokio::test(start_paused = true)]
    #[expect(clippy::disallowed_methods, reason = "the test waits for it")]
    async fn follows_what_this_node_is() {
        let own = OwnRecord::default();
        let sender = watch::Sender::new(Arc::new(local(&ADDRESSES)));
        let task = tokio::spawn(own.clone().follow(identity(), sender.subscribe()));
        let mut records = own.subscribe();
        let first = records.wait_for(Option::is_some).await.unwrap().clone().unwrap();
        sender.send_replace(Arc::new(LocalRecord { capabilities: Capabilities::NONE, ..local(&ADDRESSES) }));
        let second = records.wait_for(|record| *record != Some(first.clone())).await.unwrap().clone().unwrap();
        assert_eq!(NodeRecord::of(&second).unwrap().fields.capabilities, Some(Capabilities::NONE));
        assert!(second.seq() > first.seq());
        drop(sender);
        task.await.unwrap();
    }
}
