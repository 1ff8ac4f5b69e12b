use std::net::Ipv4Addr;

use rand::{SeedableRng, rngs::StdRng};
use wakumix_records::service_discovery::{AdvertisedService, MIX_SERVICE, service_key};

use super::*;

/// A registrar and the time at it.
struct World {
    registrar: Registrar,
    now: UnixSeconds,
}

struct Advertiser {
    key: Keypair,
    bytes: Vec<u8>,
    /// Where its connection comes from.
    ip: Option<IpAddr>,
}

impl Advertiser {
    fn new(seq: u64, ip: &str) -> Self {
        Self::with_key(Keypair::generate_secp256k1(), seq, ip)
    }

    fn with_key(key: Keypair, seq: u64, ip: &str) -> Self {
        Self { ip: Some(ip.parse().unwrap()), ..Self::claiming(key, seq, &format!("/ip4/{ip}/tcp/60000"), MIX_SERVICE) }
    }

    fn claiming(key: Keypair, seq: u64, address: &str, service: &str) -> Self {
        let services = vec![AdvertisedService { id: service.to_owned(), data: vec![9; 32] }];
        let addresses = vec![address.parse().unwrap()];
        let bytes =
            ExtensiblePeerRecord { peer: key.public().to_peer_id(), seq, addresses, services }.sign(&key).unwrap();
        Self { key, bytes, ip: None }
    }

    fn from(self, ip: [u8; 4]) -> Self {
        Self { ip: Some(ip.into()), ..self }
    }

    fn peer(&self) -> PeerId {
        self.key.public().to_peer_id()
    }
}

impl World {
    fn new(allow_private: bool) -> Self {
        Self { registrar: Registrar::new(Keypair::generate_secp256k1(), allow_private), now: 1_750_000_000 }
    }

    fn ask(&mut self, advertiser: &Advertiser, ticket: Option<Ticket>) -> (RegisterStatus, Option<Ticket>) {
        self.ask_of(MIX_SERVICE, advertiser, ticket)
    }

    fn ask_of(
        &mut self,
        service: &str,
        advertiser: &Advertiser,
        ticket: Option<Ticket>,
    ) -> (RegisterStatus, Option<Ticket>) {
        let request = Register { advertisement: advertiser.bytes.clone(), status: None, ticket };
        let (service, from) = (service_key(service), advertiser.peer());
        let answer = self.registrar.register(service, from, advertiser.ip, &request, self.now);
        (answer.status.unwrap(), answer.ticket)
    }

    /// Puts advertisements in as if each had waited; how many are kept then.
    fn fill(&mut self, advertisers: impl Iterator<Item = (String, Advertiser)>) -> usize {
        for (service, advertiser) in advertisers {
            self.registrar.promises.clear();
            if let (RegisterStatus::Wait, Some(ticket)) = self.ask_of(&service, &advertiser, None) {
                let waited = Ticket::sign(
                    &self.registrar.key,
                    ticket.advertisement.clone(),
                    ticket.first_asked - 10_000 * EXPIRY,
                    self.now - 1,
                    1,
                );
                self.registrar.promises.clear();
                self.ask_of(&service, &advertiser, Some(waited.unwrap()));
            }
        }
        self.registrar.promises.clear();
        self.registrar.len()
    }

    /// The ticket of somebody who has to wait.
    fn ticket(&mut self, advertiser: &Advertiser, ticket: Option<Ticket>) -> Ticket {
        match self.ask(advertiser, ticket) {
            (RegisterStatus::Wait, Some(ticket)) => ticket,
            other => panic!("{other:?}"),
        }
    }

    /// Registers as an honest advertiser does; how long that took.
    fn register(&mut self, advertiser: &Advertiser) -> UnixSeconds {
        let start = self.now;
        let mut ticket = None;
        for _ in 0..100 {
            match self.ask(advertiser, ticket.take()) {
                (RegisterStatus::Confirmed, None) => return self.now - start,
                (RegisterStatus::Wait, Some(next)) => {
                    self.now += UnixSeconds::from(next.wait);
                    ticket = Some(next);
                }
                other => panic!("{other:?}"),
            }
        }
        panic!("never confirmed")
    }

    fn keeps(&self, advertiser: &Advertiser) -> bool {
        let ads = self.registrar.services.get(&service_key(MIX_SERVICE));
        ads.is_some_and(|ads| ads.iter().any(|kept| kept.peer == advertiser.peer()))
    }

    fn kept(&mut self) -> Vec<Vec<u8>> {
        self.registrar.advertisements(service_key(MIX_SERVICE), self.now, &mut StdRng::seed_from_u64(1))
    }
}

#[test]
fn everybody_comes_twice_and_is_then_returned_until_it_is_over() {
    let mut world = World::new(true);
    let advertiser = Advertiser::new(1, "127.0.0.1");
    assert_eq!(world.ticket(&advertiser, None).wait, 1);
    assert!(world.kept().is_empty());
    assert_eq!(world.register(&advertiser), 1);
    world.now += EXPIRY - 1;
    assert_eq!(world.kept(), std::slice::from_ref(&advertiser.bytes));
    world.now += 1;
    assert!(world.kept().is_empty());
    assert!(
        world.registrar.services.is_empty()
            && world.registrar.prefixes.similarity(Origin::V4([1, 2, 3, 4].into())) == 0.0
    );
}

#[test]
fn a_ticket_counts_only_in_its_second_and_as_it_was_given() {
    let mut world = World::new(true);
    let advertiser = Advertiser::new(1, "127.0.0.1");
    let ticket = world.ticket(&advertiser, None);
    let other = Advertiser::new(1, "127.0.0.1");
    let foreign = Ticket::sign(&other.key, ticket.advertisement.clone(), 0, ticket.issued, ticket.wait).unwrap();
    let early = world.now;
    for late in [1, 2] {
        world.now = early + late;
        for bad in [Ticket { first_asked: 0, ..ticket.clone() }, Ticket { wait: 0, ..ticket.clone() }, foreign.clone()]
        {
            let next = world.ticket(&advertiser, Some(bad));
            assert_eq!(next.first_asked, world.now, "what was waited is lost");
        }
        assert_eq!(world.ask(&other, Some(ticket.clone())).0, RegisterStatus::Wait, "of another advertisement");
    }
    for (now, status) in
        [(early, RegisterStatus::Wait), (early + 3, RegisterStatus::Wait), (early + 1, RegisterStatus::Confirmed)]
    {
        world.now = now;
        // Time goes back here; what was promised later would still hold.
        world.registrar.promises.clear();
        assert_eq!(world.ask(&advertiser, Some(ticket.clone())).0, status, "after {} s", now - early);
    }
}

#[test]
fn refuses_forgeries_replays_and_what_leads_nowhere() {
    let mut world = World::new(false);
    let key = Keypair::generate_secp256k1();
    let [old, new] = [1, 2].map(|seq| Advertiser::with_key(key.clone(), seq, "5.6.7.8"));
    world.register(&new);
    assert_eq!(world.ask(&old, None).0, RegisterStatus::Rejected, "replay");
    assert_eq!(world.ask(&Advertiser::new(1, "10.0.0.1"), None).0, RegisterStatus::Rejected, "private address");
    let mut forged = Advertiser::new(1, "5.6.7.8");
    *forged.bytes.last_mut().unwrap() ^= 1;
    assert_eq!(world.ask(&forged, None).0, RegisterStatus::Rejected, "wrong signature");
    let foreign = Advertiser { key: Keypair::generate_secp256k1(), bytes: new.bytes.clone(), ip: None };
    assert_eq!(world.ask(&foreign, None).0, RegisterStatus::Rejected, "brought by another peer");
    let request = Register { advertisement: new.bytes.clone(), status: None, ticket: None };
    let other_service = world.registrar.register([7; 32], new.peer(), None, &request, world.now);
    assert_eq!(other_service.status, Some(RegisterStatus::Rejected));
    assert_eq!(world.kept(), std::slice::from_ref(&new.bytes));
}

#[test]
fn a_renewal_does_not_count_against_itself_and_a_newer_record_replaces() {
    let mut world = World::new(false);
    let key = Keypair::generate_secp256k1();
    let [old, new] = [1, 2].map(|seq| Advertiser::with_key(key.clone(), seq, "5.6.7.8"));
    world.register(&old);
    world.now += EXPIRY / 2;
    assert_eq!(world.register(&old), 1);
    world.now += EXPIRY / 2;
    assert_eq!(world.kept(), std::slice::from_ref(&old.bytes));
    assert_eq!(world.register(&new), 1);
    assert_eq!(world.kept(), std::slice::from_ref(&new.bytes));
}

#[test]
fn asking_again_finds_no_shorter_wait() {
    let mut world = World::new(false);
    for host in 0..5 {
        world.register(&Advertiser::new(1, &format!("5.6.7.{host}")));
    }
    let alike = Advertiser::new(1, "5.6.7.99");
    let first = world.ticket(&alike, None).wait;
    assert!(first > 300, "{first}");
    // Its likes expire meanwhile, and it asks without its ticket.
    world.now += 60;
    world.registrar.services.clear();
    world.registrar.prefixes = Prefixes::default();
    // The few seconds for the service are over, those for the address are not.
    let again = world.ticket(&alike, None).wait;
    assert!((first - 66..=first - 60).contains(&again), "{first} s, then {again} s");
}

#[test]
fn likes_wait_longer_than_unverified_peers() {
    let mut world = World::new(false);
    for index in 0..60u8 {
        let ip = Ipv4Addr::from([11 + index, index, 1, 1]).to_string();
        let wait = world.register(&Advertiser::new(1, &ip));
        world.now -= wait;
        world.registrar.promises.clear();
    }
    for host in 0..10 {
        let wait = world.register(&Advertiser::new(1, &format!("77.1.1.{host}")));
        world.now -= wait;
        world.registrar.promises.clear();
    }
    let alike = world.ticket(&Advertiser::new(1, "77.1.1.200"), None).wait;
    world.registrar.promises.clear();
    let stranger = world.ticket(&Advertiser::new(1, "120.200.3.4"), None).wait;
    assert!(alike > 2 * stranger, "{alike} s and {stranger} s");
}

#[test]
fn a_flood_makes_itself_wait_and_pushes_nobody_out() {
    let mut world = World::new(true);
    let honest = Advertiser::new(1, "127.0.0.1");
    world.register(&honest);
    let flooder = |index| (world.now, Advertiser::new(1, &format!("127.0.{index}.1")), None);
    let mut waiting: Vec<(UnixSeconds, Advertiser, Option<Ticket>)> = (0..100).map(flooder).collect();
    let time = 45;
    let end = world.now + time;
    while world.now < end {
        let (due, later): (Vec<_>, Vec<_>) = waiting.into_iter().partition(|(due, ..)| *due <= world.now);
        waiting = later;
        for (_, advertiser, ticket) in due {
            if let (RegisterStatus::Wait, Some(ticket)) = world.ask(&advertiser, ticket) {
                waiting.push((world.now + UnixSeconds::from(ticket.wait), advertiser, Some(ticket)));
            }
        }
        world.now += 1;
    }
    // In an empty registrar each one that is kept costs the next one of its service E/C = 0.9 s.
    let kept = world.registrar.len() as u64;
    assert!((time / 2..time * 5 / 4).contains(&kept), "{kept} kept");
    assert!(world.keeps(&honest));
    assert_eq!(world.kept().len(), RETURNED);
}

#[test]
fn a_full_registrar_lets_everybody_wait_as_long_as_may_be_and_keeps_what_it_has() {
    let mut world = World::new(true);
    let honest = Advertiser::new(1, "127.0.0.1");
    world.register(&honest);
    let until = world.now + EXPIRY;
    for _ in 1..CAPACITY {
        let (origin, leads_to) = (Origin::Hidden, Way::Ip4);
        let other = Kept { peer: PeerId::random(), seq: 1, origin, leads_to, bytes: Vec::new(), until };
        world.registrar.put_in([7; 32], other);
    }
    let late = Advertiser::new(1, "127.0.0.2");
    let ticket = world.ticket(&late, None);
    assert_eq!(UnixSeconds::from(ticket.wait), EXPIRY);
    world.now += EXPIRY - 1;
    assert_eq!(UnixSeconds::from(world.ticket(&late, None).wait), EXPIRY);
    assert!(world.keeps(&honest) && world.registrar.len() == CAPACITY);
    world.now += 1;
    assert_eq!(world.ask(&late, Some(ticket)).0, RegisterStatus::Confirmed, "there is room again");
}

#[test]
fn promises_are_bounded() {
    let mut world = World::new(false);
    for index in 0..10_000u32 {
        let origin = Origin::V4(Ipv4Addr::from(0x0500_0000 + index));
        world.registrar.promise(Promised::Origin(origin), world.now + 100, world.now);
    }
    assert_eq!(world.registrar.promises.len(), MAX_PROMISES);
    world.now += 101;
    world.registrar.promise(Promised::Service([2; 32]), world.now + 1, world.now);
    assert_eq!(world.registrar.promises.len(), 1);
}

#[test]
fn the_own_advertisement_is_returned_without_waiting() {
    let mut world = World::new(true);
    world.registrar.set_own(Some((service_key(MIX_SERVICE), vec![1, 2, 3])));
    assert_eq!(world.kept(), [vec![1, 2, 3]]);
    assert!(world.registrar.advertisements([7; 32], world.now, &mut StdRng::seed_from_u64(1)).is_empty());
    world.registrar.set_own(None);
    assert!(world.kept().is_empty());
}

#[test]
fn a_claim_to_an_honest_nodes_address_makes_nobody_wait_but_the_claimant() {
    let mut world = World::new(false);
    let claim = |ip: [u8; 4]| {
        let address = "/ip4/5.6.7.8/tcp/60000";
        Advertiser::claiming(Keypair::generate_secp256k1(), 1, address, MIX_SERVICE).from(ip)
    };
    // One that is kept, and many that wait.
    world.register(&claim([77, 1, 1, 1]));
    for host in 2..100 {
        world.ask(&claim([77, 1, 1, host]), None);
    }
    assert!(world.ticket(&claim([77, 1, 1, 1]), None).wait > 800);
    let honest = Advertiser::new(1, "5.6.7.8");
    let other = Advertiser::new(1, "120.200.3.4");
    let waited = [world.register(&honest), world.register(&other)];
    // They share the first bits with the one that is kept.
    assert!(waited.iter().all(|wait| *wait <= 100), "{waited:?}");
}

#[test]
fn one_identity_has_four_places_whatever_it_offers() {
    let mut world = World::new(true);
    let key = Keypair::generate_secp256k1();
    let services = (0..600).map(|index| {
        let service = format!("/service/{index}");
        (service.clone(), Advertiser::claiming(key.clone(), 1, "/ip4/127.0.0.1/tcp/1", &service))
    });
    assert_eq!(world.fill(services), MAX_PER_PEER);
}

#[test]
fn one_subnet_of_connections_has_its_share_whatever_addresses_it_claims() {
    let mut world = World::new(false);
    let claims = (0..200_u8).map(|host| {
        let address = format!("/ip4/{}.1.1.1/tcp/1", 11 + host % 60);
        let claim = Advertiser::claiming(Keypair::generate_secp256k1(), 1, &address, MIX_SERVICE);
        (MIX_SERVICE.to_owned(), claim.from([77, 1, 1, host]))
    });
    assert_eq!(world.fill(claims), MAX_PER_SUBNET);
    let newcomer = Advertiser::new(1, "5.6.7.8");
    assert!(world.register(&newcomer) < EXPIRY / 4);
}

/// A service, an address that is claimed, and where the connection comes from.
type Claim = (String, String, Option<[u8; 4]>);

#[test]
fn services_that_nobody_here_looks_for_names_and_hidden_advertisers_share_a_quarter_each() {
    // Sixty connections of each /24, of another one for each kind.
    let from = |first: u8, index: u16| {
        let [subnet, host] = [index / 60, index % 60].map(|part| u8::try_from(part).unwrap());
        Some([first + subnet, 1, 1, host])
    };
    let somewhere = || "/ip4/9.9.9.9/tcp/1".to_owned();
    let mix = || MIX_SERVICE.to_owned();
    let unknown = |index: u16| (format!("/service/{index}"), somewhere(), from(11, index));
    let named = |index: u16| (mix(), format!("/dns4/n{index}.example.org/tcp/1"), from(31, index));
    let hidden = |_: u16| (mix(), somewhere(), None);
    let ip6 = |index: u16| (mix(), format!("/ip6/2a00::{index:x}/tcp/1"), from(51, index));
    let kinds: [&dyn Fn(u16) -> Claim; 4] = [&unknown, &named, &hidden, &ip6];
    for kind in kinds {
        let mut world = World::new(false);
        let flood = (0..400).map(|index| {
            let (service, address, ip) = kind(index);
            let claim = Advertiser::claiming(Keypair::generate_secp256k1(), 1, &address, &service);
            (service, Advertiser { ip: ip.map(Into::into), ..claim })
        });
        assert_eq!(world.fill(flood), QUARTER);
        let honest = (MIX_SERVICE.to_owned(), Advertiser::new(1, "5.6.7.8"));
        assert_eq!(world.fill(std::iter::once(honest)), QUARTER + 1, "others find a place");
    }
}
