//! The own node record: made from what this node is, told to whoever asks.
//!
//! It follows the [`LocalRecord`] and the UDP endpoint that discv5 listens at. Its sequence number starts at the Unix time
//! and rises by one with each change, at most one a [`PAUSE`]: so it is higher after a restart, without a file.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
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

/// Where discv5 answers, in each family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Endpoint {
    /// The address of IPv4 to tell; `None` for that of the host.
    pub ip4: Option<Ipv4Addr>,
    /// The UDP port there; `None` if discv5 does not listen on IPv4.
    pub udp4: Option<u16>,
    /// The address of IPv6 to tell; `None` for that of the host.
    pub ip6: Option<Ipv6Addr>,
    /// The UDP port there; `None` if discv5 does not listen on IPv6.
    pub udp6: Option<u16>,
    /// The sequence number that the record has to exceed, because records up to it have been published.
    pub after: u64,
}

impl Endpoint {
    /// The same after others have seen discv5 at this address.
    pub(crate) fn seen_at(self, address: SocketAddr, after: u64) -> Self {
        let port = Some(address.port());
        match address.ip() {
            IpAddr::V4(ip) => Self { ip4: Some(ip), udp4: port, after, ..self },
            IpAddr::V6(ip) => Self { ip6: Some(ip), udp6: port, after, ..self },
        }
    }
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

    /// Follows the record. `None` before it is made, and forever if the identity is no secp256k1 key.
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

/// What the record says: `ip` and `udp`, `ip6` and `udp6` where discv5 answers, `tcp` and `tcp6` if the host listens there too,
/// and as `multiaddrs` what these cannot say: first the address that packet headers carry, then what browsers dial, then the
/// rest in its order. An address of one link means nothing to anybody else, and is left out.
pub fn record_fields(local: &LocalRecord, endpoint: Option<Endpoint>) -> RecordFields {
    let endpoint = endpoint.unwrap_or_default();
    let told: Vec<&Multiaddr> = local.addresses.iter().filter(|address| !is_of_link(address)).collect();
    let plain = || told.iter().filter_map(|address| plain_tcp(address));
    let plain4: Vec<(Ipv4Addr, u16)> =
        plain().filter_map(of_family(|ip| if let IpAddr::V4(ip) = ip { Some(ip) } else { None })).collect();
    let plain6: Vec<(Ipv6Addr, u16)> =
        plain().filter_map(of_family(|ip| if let IpAddr::V6(ip) = ip { Some(ip) } else { None })).collect();
    let preferred4 = plain4.iter().find(|(ip, _)| !ip.is_loopback()).or(plain4.first());
    let preferred6 = plain6.iter().find(|(ip, _)| !ip.is_loopback()).or(plain6.first());
    let ip4 = endpoint.ip4.or(preferred4.map(|(ip, _)| *ip));
    let ip6 = endpoint.ip6.or(preferred6.map(|(ip, _)| *ip));
    let tcp4 = plain4.iter().find(|(ip, _)| Some(*ip) == ip4).map(|(_, port)| *port);
    let tcp6 = plain6.iter().find(|(ip, _)| Some(*ip) == ip6).map(|(_, port)| *port);
    let said4 = ip4.zip(tcp4).map(|(ip, port)| (IpAddr::V4(ip), port));
    let said6 = ip6.zip(tcp6).map(|(ip, port)| (IpAddr::V6(ip), port));
    let is_said = |own: (IpAddr, u16)| Some(own) == said4 || Some(own) == said6;
    let hop = local.hop_address.as_ref().map(|hop| hop.multiaddr());
    let mut multiaddrs: Vec<_> = told.into_iter().filter(|address| !plain_tcp(address).is_some_and(is_said)).collect();
    multiaddrs.sort_by_key(|address| (hop.as_ref() != Some(address), !is_browsable(address)));
    RecordFields {
        ip4,
        tcp4,
        udp4: endpoint.udp4.filter(|_| ip4.is_some()),
        ip6,
        tcp6,
        udp6: endpoint.udp6.filter(|_| ip6.is_some()),
        capabilities: Some(local.capabilities),
        shards: Some(local.shards.clone()),
        multiaddrs: multiaddrs.into_iter().cloned().collect(),
        mix_key: local.mix_key,
    }
}

/// Takes the addresses of one family.
fn of_family<T>(family: impl Fn(IpAddr) -> Option<T>) -> impl Fn((IpAddr, u16)) -> Option<(T, u16)> {
    move |(ip, port)| family(ip).map(|ip| (ip, port))
}

/// The parts of a plain TCP address.
fn plain_tcp(address: &Multiaddr) -> Option<(IpAddr, u16)> {
    let mut parts = address.iter();
    match (parts.next(), parts.next(), parts.next()) {
        (Some(Protocol::Ip4(ip)), Some(Protocol::Tcp(port)), None) => Some((ip.into(), port)),
        (Some(Protocol::Ip6(ip)), Some(Protocol::Tcp(port)), None) => Some((ip.into(), port)),
        _ => None,
    }
}

/// Whether an address means something on one link alone; a record has no place for which.
fn is_of_link(address: &Multiaddr) -> bool {
    match address.iter().next() {
        Some(Protocol::Ip4(ip)) => ip.is_link_local(),
        Some(Protocol::Ip6(ip)) => ip.is_unicast_link_local(),
        _ => false,
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
    use crate::sources::test_double;

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
            ..test_double::mixer(7)
        }
    }

    fn endpoint(ip: Option<[u8; 4]>) -> Option<Endpoint> {
        Some(Endpoint { ip4: ip.map(Ipv4Addr::from), udp4: Some(9000), ..Endpoint::default() })
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
    fn of_two_families_each_has_its_fields_and_addresses_of_a_link_are_left_out() {
        let addresses =
            ["/ip6/fe80::1/tcp/60000", "/ip6/2a00:1::1/tcp/60000", ADDRESSES[1], "/ip6/2a00:1::1/udp/60000/quic-v1"];
        let both = Endpoint { udp4: Some(9000), udp6: Some(9000), ..Endpoint::default() };
        let fields = record_fields(&local(&addresses), Some(both));
        assert_eq!((fields.ip4, fields.tcp4, fields.udp4), (Some([192, 0, 2, 1].into()), Some(60_001), Some(9000)));
        let ip6 = "2a00:1::1".parse().ok();
        assert_eq!((fields.ip6, fields.tcp6, fields.udp6), (ip6, Some(60_000), Some(9000)));
        assert_eq!(texts(&fields), [addresses[3]]);
        // Of a family in which discv5 does not listen, or the node has no address, there is no such port.
        let fields = record_fields(&local(&addresses[..2]), endpoint(None));
        assert_eq!((fields.ip4, fields.udp4, fields.ip6, fields.udp6), (None, None, ip6, None));
        let seen = both.seen_at("[2a00:2::2]:9001".parse().unwrap(), 7);
        let fields = record_fields(&local(&addresses), Some(seen));
        assert_eq!((fields.ip6, fields.tcp6, fields.udp6), ("2a00:2::2".parse().ok(), None, Some(9001)));
        assert_eq!((fields.ip4, fields.udp4, seen.after), (Some([192, 0, 2, 1].into()), Some(9000), 7));
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
        own.listens(Endpoint { udp4: Some(9000), after: first + 5, ..Endpoint::default() });
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
