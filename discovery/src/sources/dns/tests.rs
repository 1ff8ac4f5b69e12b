#![allow(clippy::disallowed_methods, reason = "a test sees a panic of what it starts: it fails")]

use std::{collections::HashMap, net::Ipv4Addr};

use data_encoding::BASE64URL_NOPAD;
use enr::{Enr, EnrKey as _, k256::ecdsa::SigningKey};
use hickory_resolver::proto::{
    op::{Message, OpCode},
    rr::{RData, Record, rdata::TXT},
};
use parking_lot::{Mutex, MutexGuard};
use tokio::net::UdpSocket;
use wakumix_records::dns_tree::EntryName;

use super::*;
use crate::{
    peer_report::Refusal,
    sources::{
        dns::walk::Walk,
        test_double::{Node, sender},
    },
};

/// A DNS in memory, by name; a name that is not there has no texts.
#[derive(Default)]
struct Zone(Mutex<HashMap<String, Result<Vec<String>, String>>>);

impl Zone {
    fn names(&self) -> MutexGuard<'_, HashMap<String, Result<Vec<String>, String>>> {
        self.0.lock()
    }

    fn set(&self, name: &str, text: &str) {
        self.names().insert(name.to_owned(), Ok(vec![text.to_owned()]));
    }
}

impl Txt for Zone {
    fn texts(&self, name: String) -> BoxFuture<'_, Result<Vec<String>, String>> {
        let texts = self.names().get(&name).cloned().unwrap_or(Ok(Vec::new()));
        std::future::ready(texts).boxed()
    }
}

/// Somebody who publishes a list at a domain.
struct Publisher {
    key: SigningKey,
    domain: &'static str,
    zone: Arc<Zone>,
}

impl Publisher {
    fn new(seed: u8, domain: &'static str, zone: &Arc<Zone>) -> Self {
        Self { key: SigningKey::from_slice(&[seed; 32]).unwrap(), domain, zone: Arc::clone(zone) }
    }

    fn url(&self) -> TreeUrl {
        let key = data_encoding::BASE32_NOPAD.encode(&self.key.verifying_key().to_sec1_point(true).to_bytes());
        format!("enrtree://{key}@{}", self.domain).parse().unwrap()
    }

    /// Puts an entry under the name of its hash.
    fn put(&self, text: &str) -> EntryName {
        let name = EntryName::of(text);
        self.zone.set(&format!("{name}.{}", self.domain), text);
        name
    }

    fn branch(&self, children: &[EntryName]) -> EntryName {
        let children: Vec<_> = children.iter().map(ToString::to_string).collect();
        self.put(&format!("enrtree-branch:{}", children.join(",")))
    }

    fn nodes(&self, seeds: std::ops::Range<u16>) -> Vec<EntryName> {
        seeds.map(|seed| self.put(&node(seed))).collect()
    }

    fn root(&self, nodes: &EntryName, links: &EntryName, seq: u64) {
        let content = format!("enrtree-root:v1 e={nodes} l={links} seq={seq}");
        let mut signature = self.key.sign_v4(content.as_bytes()).unwrap();
        signature.push(0);
        let root = format!("{content} sig={}", BASE64URL_NOPAD.encode(&signature));
        let texts = vec!["v=spf1 -all".to_owned(), root];
        self.zone.names().insert(self.domain.to_owned(), Ok(texts));
    }

    /// A list of these nodes in branches of 13, without links.
    fn publish(&self, seeds: std::ops::Range<u16>, seq: u64) {
        let mut level = self.nodes(seeds);
        while level.len() > 1 {
            level = level.chunks(13).map(|children| self.branch(children)).collect();
        }
        let top = self.branch(&level);
        self.root(&top, &self.branch(&[]), seq);
    }
}

fn node(seed: u16) -> String {
    let mut secret = [3; 32];
    secret[..2].copy_from_slice(&seed.to_be_bytes());
    let key = SigningKey::from_slice(&secret).unwrap();
    Enr::builder().ip4(Ipv4Addr::new(5, 6, 7, 8)).tcp4(60_000).build(&key).unwrap().to_base64()
}

async fn walk(walker: &mut Walker, publisher: &Publisher) -> Walk {
    walker.walk(&publisher.url()).await
}

fn world() -> (Arc<Zone>, Publisher, Walker) {
    let zone = Arc::new(Zone::default());
    let publisher = Publisher::new(1, "nodes.example.org", &zone);
    let walker = Walker::new(Arc::clone(&zone) as Arc<dyn Txt>);
    (zone, publisher, walker)
}

#[tokio::test]
async fn finds_every_node_of_a_list() {
    let (_, publisher, mut walker) = world();
    publisher.publish(1..200, 1);
    let walk = walk(&mut walker, &publisher).await;
    assert_eq!((walk.found.len(), walk.has_root, walk.refused.len()), (199, true, 0), "{:?}", walk.refused);
    assert_eq!(walk.found[0].addresses, ["/ip4/5.6.7.8/tcp/60000".parse().unwrap()]);
}

#[tokio::test]
async fn what_is_broken_is_counted_and_spoils_nothing_else() {
    let (zone, publisher, mut walker) = world();
    let mut children = publisher.nodes(1..10);
    let missing = EntryName::of("nowhere");
    let silent = EntryName::of("silent");
    zone.names().insert(format!("{silent}.nodes.example.org"), Err("no answer".to_owned()));
    let swapped = EntryName::of("another text");
    zone.set(&format!("{swapped}.nodes.example.org"), &node(99));
    // Another letter inside the signature, which differs with each run.
    let mut forged = node(98);
    let letter = if &forged[20..21] == "A" { "B" } else { "A" };
    forged.replace_range(20..21, letter);
    let forged = publisher.put(&forged);
    let strange = publisher.put("hello");
    let link = publisher.put(&publisher.url().to_string());
    children.extend([missing, silent, swapped, forged, strange, link]);
    publisher.root(&publisher.branch(&children), &publisher.branch(&[]), 1);
    let walk = walk(&mut walker, &publisher).await;
    assert_eq!(walk.found.len(), 9);
    assert_eq!(walk.refused, HashMap::from([(Refusal::Malformed, 5), (Refusal::Signature, 1)]));
}

#[tokio::test]
async fn a_root_of_another_key_or_an_older_one_is_refused() {
    let (zone, publisher, mut walker) = world();
    publisher.publish(1..5, 7);
    assert_eq!(walk(&mut walker, &publisher).await.found.len(), 4);
    publisher.publish(1..9, 6);
    let replayed = walk(&mut walker, &publisher).await;
    assert_eq!((replayed.has_root, replayed.found.len()), (false, 0));
    assert_eq!(replayed.refused, HashMap::from([(Refusal::Replayed, 1)]));
    Publisher::new(2, "nodes.example.org", &zone).publish(1..9, 8);
    let forged = walk(&mut walker, &publisher).await;
    assert_eq!((forged.has_root, forged.refused), (false, HashMap::from([(Refusal::Signature, 1)])));
    publisher.publish(1..9, 7);
    assert_eq!(walk(&mut walker, &publisher).await.found.len(), 8);
}

#[tokio::test]
async fn lists_that_link_to_each_other_end_and_only_one_level_is_followed() {
    let (zone, publisher, mut walker) = world();
    let linked = Publisher::new(2, "linked.example.org", &zone);
    let far = Publisher::new(3, "far.example.org", &zone);
    far.publish(100..105, 1);
    let link = |from: &Publisher, to: &[&Publisher], seeds| {
        let links: Vec<_> = to.iter().map(|to| from.put(&to.url().to_string())).collect();
        from.root(&from.branch(&from.nodes(seeds)), &from.branch(&links), 1);
    };
    link(&publisher, &[&linked, &publisher], 1..4);
    link(&linked, &[&publisher, &far, &linked], 10..14);
    let walk = walk(&mut walker, &publisher).await;
    assert_eq!((walk.found.len(), walk.has_root), (7, true));
    assert!(walk.refused.is_empty(), "{:?}", walk.refused);
}

#[tokio::test]
async fn a_list_that_is_linked_to_and_fails_leaves_the_list_as_it_is() {
    let (zone, publisher, mut walker) = world();
    let links: Vec<_> = (10..30)
        .map(|seed| publisher.put(&Publisher::new(seed, "gone.example.org", &zone).url().to_string()))
        .collect();
    publisher.root(&publisher.branch(&publisher.nodes(1..4)), &publisher.branch(&links), 1);
    let walk = walk(&mut walker, &publisher).await;
    assert_eq!((walk.found.len(), walk.has_root), (3, true));
    assert_eq!(walk.refused, HashMap::from([(Refusal::TooMany, 12)]));
}

/// A list without end: every branch has children that are branches.
struct Endless {
    root: String,
    domain: String,
    asked: Mutex<usize>,
}

impl Txt for Endless {
    fn texts(&self, name: String) -> BoxFuture<'_, Result<Vec<String>, String>> {
        *self.asked.lock() += 1;
        let text = if name == self.domain { self.root.clone() } else { format!("enrtree-branch:{name}") };
        std::future::ready(Ok(vec![text])).boxed()
    }
}

#[tokio::test]
async fn a_chain_of_branches_and_a_huge_list_are_cut_off() {
    let (_, publisher, mut walker) = world();
    let mut top = publisher.branch(&publisher.nodes(1..2));
    for _ in 0..20 {
        top = publisher.branch(&[top]);
    }
    publisher.root(&top, &publisher.branch(&[]), 1);
    let deep = walk(&mut walker, &publisher).await;
    assert_eq!((deep.found.len(), deep.refused), (0, HashMap::from([(Refusal::TooMany, 1)])));

    let names: Vec<_> = (0..30_000).map(|index| EntryName::of(&format!("missing {index}"))).collect();
    let level: Vec<_> = names.chunks(150).map(|children| publisher.branch(children)).collect();
    let top: Vec<_> = level.chunks(150).map(|children| publisher.branch(children)).collect();
    let mut children = publisher.nodes(1..4);
    children.extend(top);
    publisher.root(&publisher.branch(&children), &publisher.branch(&[]), 2);
    let huge = walk(&mut walker, &publisher).await;
    let refused: u64 = huge.refused.values().sum();
    assert!(refused >= 10_000 && huge.refused.contains_key(&Refusal::TooMany), "{:?}", huge.refused);
}

#[tokio::test]
async fn a_server_that_answers_anything_cannot_make_a_walk_longer() {
    let (zone, publisher, _) = world();
    publisher.publish(1..5, 1);
    let root = zone.names()["nodes.example.org"].clone().unwrap()[1].clone();
    let endless = Arc::new(Endless { root, domain: "nodes.example.org".to_owned(), asked: Mutex::new(0) });
    let walk = Walker::new(Arc::clone(&endless) as Arc<dyn Txt>).walk(&publisher.url()).await;
    assert_eq!((walk.found.len(), walk.refused), (0, HashMap::from([(Refusal::Malformed, 2)])));
    assert_eq!(*endless.asked.lock(), 3, "what has the wrong hash leads nowhere");
}

#[tokio::test(start_paused = true)]
async fn a_list_that_fails_is_tried_again_after_30_seconds_and_then_less_often() {
    let (zone, publisher, _) = world();
    let source = Dns { urls: vec![publisher.url().to_string()], txt: Arc::clone(&zone) as Arc<dyn Txt> };
    let start = tokio::time::Instant::now();
    let node = Node::new(1, sender(1), &source);
    let tried = |times: usize, log: &Mutex<crate::sources::test_double::Log>| log.lock().unanswered == times;
    for (wait, times) in [(29, 1), (2, 2), (58, 2), (2, 3), (118, 3), (2, 4)] {
        sleep(Duration::from_secs(wait)).await;
        assert!(tried(times, &node.log), "{times} times after {:?}", start.elapsed());
    }
    publisher.publish(1..6, 1);
    sleep(Duration::from_secs(241)).await;
    let found = node.log.lock().found.len();
    assert_eq!((found, node.log.lock().answered), (5, 1));
    sleep(REFRESH).await;
    assert_eq!(node.log.lock().answered, 2);
}

#[tokio::test]
async fn reads_a_list_from_a_name_server_over_udp() {
    let (zone, publisher, _) = world();
    publisher.publish(1..30, 1);
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let server = tokio::spawn(serve(socket, zone));
    let mut walker = Walker::new(Arc::new(NameServers::new(vec![address])));
    let walk = walk(&mut walker, &publisher).await;
    server.abort();
    assert_eq!((walk.found.len(), walk.refused.len()), (29, 0), "{:?}", walk.refused);
}

/// A name server of one zone.
async fn serve(socket: UdpSocket, zone: Arc<Zone>) {
    let mut buffer = [0; 4096];
    while let Ok((len, from)) = socket.recv_from(&mut buffer).await {
        let request = Message::from_vec(&buffer[..len]).unwrap();
        let query = request.queries[0].clone();
        let mut response = Message::response(request.metadata.id, OpCode::Query);
        // A resolver may ask in mixed case.
        let asked = query.name().to_ascii().trim_end_matches('.').to_ascii_lowercase();
        let texts =
            zone.names().iter().find(|(name, _)| name.to_ascii_lowercase() == asked).map(|(_, texts)| texts.clone());
        for text in texts.and_then(Result::ok).unwrap_or_default() {
            let strings = text.as_bytes().chunks(255).collect();
            response.add_answer(Record::from_rdata(query.name().clone(), 60, RData::TXT(TXT::from_bytes(strings))));
        }
        response.add_query(query);
        let bytes = response.to_vec().unwrap();
        socket.send_to(&bytes, from).await.unwrap();
    }
}
