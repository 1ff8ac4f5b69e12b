use tokio::time::advance;

use super::*;

const SHARED: &str = "/ip4/127.0.0.1/tcp/1";

struct World {
    setups: Setups,
    next: usize,
}

impl World {
    fn new(sockets: usize, quic: usize) -> Self {
        let sources = Sources::new(vec!["127.0.0.0/8".parse().unwrap()]);
        let telemetry = wakumix_role_testkit::telemetry(&crate::METRICS);
        Self { setups: Setups::new(sockets, quic, sources, &telemetry), next: 0 }
    }

    /// A connection from there.
    fn comes(&mut self, kind: Kind, remote: &str) -> Result<Ticket, ConnectionRefusal> {
        self.next += 1;
        let ticket = self.setups.enter(kind);
        let admitted = self.setups.admit(ConnectionId::new_unchecked(self.next), &remote.parse().unwrap());
        admitted.map(|()| ticket).map_err(|exceeded| exceeded.refusal)
    }

    fn socket(&mut self, remote: &str) -> Result<Ticket, ConnectionRefusal> {
        self.comes(Kind::Socket, remote)
    }
}

fn displaced(tickets: &[&Ticket]) -> Vec<bool> {
    tickets.iter().map(|ticket| ticket.state() == DISPLACED).collect()
}

#[tokio::test(start_paused = true)]
async fn the_silent_give_way_before_the_slow_and_the_young_last() {
    let mut world = World::new(3, 0);
    let (mut slow, silent) = (world.socket(SHARED).unwrap(), world.socket(SHARED).unwrap());
    assert_eq!(slow.spoken(), UNDER_WAY);
    advance(SILENCE_GRACE).await;
    let mut young = world.socket(SHARED).unwrap();
    let mut newest = world.socket(SHARED).unwrap();
    assert_eq!(displaced(&[&slow, &silent, &young, &newest]), [false, true, false, false], "silent for a while");
    newest.spoken();
    let mut last = world.socket(SHARED).unwrap();
    assert_eq!(displaced(&[&slow, &young, &newest, &last]), [false, true, false, false], "the slow one has time left");
    last.spoken();
    let mut other = world.socket(SHARED).unwrap();
    assert_eq!(displaced(&[&slow, &newest, &last, &other]), [true, false, false, false], "it had its least");
    other.spoken();
    assert_eq!(world.socket(SHARED).err(), Some(ConnectionRefusal::PendingInbound), "no other had");
    young.spoken();
}

#[tokio::test(start_paused = true)]
async fn one_word_on_each_connection_of_many_addresses_keeps_nobody_out() {
    let mut world = World::new(16, 0);
    let mut comes = |address: [u8; 4]| {
        let [a, b, c, d] = address;
        let mut ticket = world.socket(&format!("/ip4/{a}.{b}.{c}.{d}/tcp/1"))?;
        ticket.spoken();
        Ok::<_, ConnectionRefusal>(ticket)
    };
    let hostile: Vec<_> = (0..16).map(|n| comes([10, 0, n % 4, n]).unwrap()).collect();
    let honest: Vec<_> = (0..3).map(|n| comes([192, 0, n, 1]).unwrap()).collect();
    assert_eq!(displaced(&hostile.iter().collect::<Vec<_>>()).iter().filter(|is| **is).count(), 3);
    // Further ones of the crowd displace each other.
    let more: Vec<_> = (0..40).filter_map(|n| comes([10, 0, n % 4, 100 + n]).ok()).collect();
    assert_eq!(displaced(&honest.iter().collect::<Vec<_>>()), [false; 3]);
    drop(more);
}

#[tokio::test(start_paused = true)]
async fn one_that_is_set_up_gives_way_to_nobody_and_is_forgotten() {
    let mut world = World::new(1, 1);
    let mut ticket = world.socket(SHARED).unwrap();
    world.setups.ended(ConnectionId::new_unchecked(1));
    advance(SILENCE_LIMIT).await;
    let next = world.socket(SHARED).unwrap();
    assert_eq!(ticket.spoken(), OVER);
    drop((ticket, next, world.setups.enter(Kind::Quic)));
    let table = world.setups.table.lock();
    assert!(table.setups.is_empty() && table.numbers.is_empty());
}

#[tokio::test(start_paused = true)]
async fn those_of_one_address_and_subnet_displace_each_other_and_nobody_else() {
    let mut world = World::new(8, 0);
    let other = world.socket("/ip4/192.0.2.1/tcp/1").unwrap();
    let mut crowd: Vec<Ticket> = (0..2).map(|_| world.socket("/ip4/10.0.0.1/tcp/1").unwrap()).collect();
    crowd.push(world.socket("/ip4/10.0.0.1/tcp/1").unwrap());
    assert_eq!(displaced(&crowd.iter().collect::<Vec<_>>()), [true, false, false], "a quarter for one address");
    crowd.iter_mut().for_each(|ticket| _ = ticket.spoken());
    assert_eq!(world.socket("/ip4/10.0.0.1/tcp/1").err(), Some(ConnectionRefusal::AddressShare));
    let neighbours: Vec<_> = (2..5).map(|n| world.socket(&format!("/ip4/10.0.0.{n}/tcp/1")).unwrap()).collect();
    assert_eq!(displaced(&neighbours.iter().collect::<Vec<_>>()), [true, false, false], "half for one subnet");
    assert_eq!(displaced(&[&other]), [false]);
}

#[tokio::test(start_paused = true)]
async fn handshakes_of_quic_displace_each_other_and_no_socket() {
    let mut world = World::new(1, 2);
    let socket = world.socket(SHARED).unwrap();
    let quic: Vec<_> = (0..3).map(|_| world.comes(Kind::Quic, SHARED).unwrap()).collect();
    assert_eq!(displaced(&quic.iter().collect::<Vec<_>>()), [true, false, false]);
    assert_eq!(displaced(&[&socket]), [false]);
}
