//! The advertiser: registers this node with registrars all over the key space, and puts its record into the DHT.
//!
//! Three registrars are held in each bucket around the service's place, drawn at random: most lie far away, where many are,
//! so no registrar sees or hides a large part of the advertisers (`spec/waku.md §6.6`).

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures::{FutureExt, StreamExt, future::BoxFuture, join, stream::FuturesUnordered};
use libp2p_identity::PeerId;
use rand::seq::IteratorRandom;
use tokio::{select, sync::watch, time::sleep};
use wakumix_records::service_discovery::{
    Contact, MIX_SERVICE, Message, MessageKind, Register, RegisterStatus, Ticket, ValueRecord, service_key,
};
use wakumix_waku::record::Capabilities;

use super::{
    client::{Client, bucket_of},
    parameters::{EXPIRY, REFRESH, SERVICE_BUCKETS, SMALLEST_WAIT},
    position::Position,
    record::advertisement,
};
use crate::{local::LocalRecord, source::SourceContext};

/// `K_register`: registrars in each bucket.
const PER_BUCKET: usize = 3;
/// A registration is renewed at half its life, so that a registrar that lets it wait for the other half still has it.
const RENEWAL: Duration = Duration::from_secs(EXPIRY / 2);
/// Between two looks for registrars in buckets that lack some, once there are any.
const MAINTENANCE: Duration = Duration::from_secs(60);

/// Follows what this node is, and tells it. Runs forever.
pub(super) async fn run(client: Client, context: SourceContext) {
    let mut local = context.local.clone();
    let mut last_seq = 0;
    loop {
        let now = local.borrow_and_update().clone();
        client.server.lock().set_serves(now.capabilities != Capabilities::NONE);
        // Two changes within a second are in order too.
        last_seq = client.unix().max(last_seq + 1);
        let record = advertisement(&now, &context.identity, last_seq);
        let key = now.peer.to_bytes();
        let own = record.clone().map(|value| (service_key(MIX_SERVICE), ValueRecord { key, value }));
        client.server.lock().set_own(own);
        let change = changed(&mut local, &now);
        match record {
            Some(record) => select! {
                () = change => {}
                () = advertise(&client, record) => {}
            },
            None => change.await,
        }
    }
}

/// Waits until something changes that is advertised. Forever when nothing will.
async fn changed(local: &mut watch::Receiver<Arc<LocalRecord>>, old: &LocalRecord) {
    let told = |record: &LocalRecord| (record.capabilities, record.mix_key, record.addresses.clone());
    if local.wait_for(|new| told(new) != told(old)).await.is_err() {
        std::future::pending::<()>().await;
    }
}

async fn advertise(client: &Client, record: Vec<u8>) {
    join!(register(client, &record), publish(client, &record));
}

/// Keeps the record under this node's own key at the peers closest to it.
async fn publish(client: &Client, record: &[u8]) {
    let key = client.me.to_bytes();
    let value = ValueRecord { key: key.clone(), value: record.to_vec() };
    let request = Message { record: Some(value), ..Message::new(MessageKind::PutValue, key.clone()) };
    let mut wait = SMALLEST_WAIT;
    loop {
        let closest = client.walk(&key).await;
        let put: FuturesUnordered<_> = closest.iter().map(|contact| client.ask(contact, &request)).collect();
        let kept = put.filter(|answer| std::future::ready(answer.is_some())).count().await;
        wait = if kept > 0 { REFRESH } else { (2 * wait).min(REFRESH) };
        sleep(wait).await;
    }
}

/// Holds registrations, and replaces those that end.
async fn register(client: &Client, record: &[u8]) {
    let mut held: HashMap<PeerId, usize> = HashMap::new();
    let mut running: FuturesUnordered<BoxFuture<'_, PeerId>> = FuturesUnordered::new();
    let mut wait = SMALLEST_WAIT;
    loop {
        for (bucket, contact) in missing(client, &held) {
            held.insert(contact.peer, bucket);
            running.push(hold(client, contact, record).boxed());
        }
        wait = (2 * wait).min(MAINTENANCE);
        let look = sleep(wait);
        tokio::pin!(look);
        // One that ended is replaced at the next look: a registrar that refuses at once is not asked in a loop.
        loop {
            select! {
                () = &mut look => break,
                Some(peer) = running.next() => drop(held.remove(&peer)),
            }
        }
    }
}

/// Registrars for buckets that lack some.
fn missing(client: &Client, held: &HashMap<PeerId, usize>) -> Vec<(usize, Contact)> {
    let place = Position::of_service(service_key(MIX_SERVICE));
    let contacts = client.server.lock().table.contacts();
    let mut missing = Vec::new();
    for bucket in 0..SERVICE_BUCKETS {
        let count = held.values().filter(|other| **other == bucket).count();
        let is_new =
            |contact: &&Contact| bucket_of(place, &contact.peer) == bucket && !held.contains_key(&contact.peer);
        let chosen = contacts.iter().filter(is_new).sample(&mut rand::rng(), PER_BUCKET.saturating_sub(count));
        missing.extend(chosen.into_iter().map(|contact| (bucket, contact.clone())));
    }
    missing
}

/// Registers with one registrar again and again, until it refuses or does not answer.
async fn hold(client: &Client, registrar: Contact, record: &[u8]) -> PeerId {
    let mut ticket = None;
    loop {
        let register = Register { advertisement: record.to_vec(), status: None, ticket: ticket.take() };
        let key = service_key(MIX_SERVICE).to_vec();
        let request = Message { register: Some(register), ..Message::new(MessageKind::Register, key) };
        let answer = client.ask(&registrar, &request).await.and_then(|answer| answer.register);
        let wait = match answer {
            Some(Register { status: Some(RegisterStatus::Confirmed), .. }) => RENEWAL,
            Some(Register { status: Some(RegisterStatus::Wait), ticket: Some(next), .. })
                if is_worth_waiting(&next, record) =>
            {
                let wait = Duration::from_secs(next.wait.into());
                ticket = Some(next);
                wait
            }
            _ => return registrar.peer,
        };
        sleep(wait).await;
    }
}

/// A ticket for this record, and for no longer than a registration lives.
fn is_worth_waiting(ticket: &Ticket, record: &[u8]) -> bool {
    ticket.advertisement == record && (1..=EXPIRY).contains(&ticket.wait.into())
}
