//! What goes wrong in a mixnet: every request still ends in a typed outcome, and every packet is accounted for.

use std::{net::TcpListener, time::Duration};

use futures::StreamExt as _;
use multiaddr::{Multiaddr, Protocol};
use wakumix_integration_tests::{
    DEADLINE, TOPIC, eventually,
    hop::{Conduct, NwakuNode},
    http::metric,
    net::{
        Drops, Net, NodePlan, STOP_LIMIT, all_with, drops, message, parse_mix_node, plans, push, push_many, tell, usual,
    },
    peer::Muxer,
    ports::nobody,
    process::Process,
    run, until, within,
};
use wakumix_mix::{ExitStatus, HopAddress, MixNode};
use wakumix_role_api::{
    directory::ServiceNode,
    exit,
    host::SendFailure,
    mixer, relay,
    sender::{self, Answer, ClientError, PushFailure},
};
use wakumix_sphinx::{PrivateKey, Profile};

use crate::wakumix;

type Outcomes = Vec<Result<Answer, PushFailure>>;

fn unanswered(outcomes: &Outcomes) -> u64 {
    outcomes.iter().filter(|outcome| outcome.is_err()).count() as u64
}

fn answered(outcomes: &Outcomes) -> u64 {
    let good = outcomes.iter().flatten();
    good.inspect(|answer| assert_eq!(answer.status, 200, "{answer:?}")).count() as u64
}

/// How often a request left that was answered, or was not until its deadline.
fn tries(outcome: &Result<Answer, PushFailure>) -> u64 {
    match outcome {
        Ok(answer) => answer.tries.into(),
        Err(PushFailure::Client(ClientError::Deadline { tries, .. })) => u64::from(*tries),
        Err(failure) => panic!("{failure}"),
    }
}

/// A net in which every request is served and no reply passes the first mixer on its reply path.
async fn net_without_replies(timeout: &str) -> (Net, Vec<NwakuNode>) {
    let net = Net::strangers(all_with(plans(0, 1, 1, 1), "sender.timeout", timeout)).await;
    let exit = net.node("exit-1").peer_id();
    let mut mixers = Vec::new();
    for _ in 0..3 {
        mixers.push(NwakuNode::start(Profile::default(), Muxer::Yamux, Conduct::Withholds(exit)).await);
    }
    let pool: Vec<MixNode> = mixers.iter().map(NwakuNode::mix_node).chain(net.pool()).collect();
    net.tell_all(&pool, &net.services()).await;
    net.link_relays().await;
    net.ready().await;
    (net, mixers)
}

#[test]
fn a_lost_reply_ends_in_a_timeout_that_frees_the_credentials_and_a_late_one_is_dropped() {
    run(async {
        let (net, mixers) = net_without_replies("1s").await;
        let sender = net.node("sender-1");
        let mut subscriber = net.follow("relay-1").await;

        let failure = push(sender, "no answer").await.unwrap_err();
        assert_eq!(failure.kind(), "deadline");
        let PushFailure::Client(ClientError::Deadline { tries, .. }) = failure else { panic!("{failure}") };
        let words = format!("no answer within 1000 ms after {tries} tries; the message may have been published");
        assert_eq!(failure.to_string(), words);
        // One reply block in the first try, two in each later one.
        let replies = 2 * u64::from(tries) - 1;
        assert_eq!(within(subscriber.recv()).await.unwrap().message.payload, b"no answer", "it was published");
        let page = sender.telemetry().render();
        assert_eq!(metric(&page, "mix_surb_creds_active"), Some(0.0));
        assert_eq!(metric(&page, "mix_surb_creds_expired_total"), Some(replies as f64));
        assert_eq!(metric(&page, "mix_reply_timeouts_total"), Some(1.0));
        assert_eq!(metric(&page, "waku_mix_requests_total{outcome=\"deadline\"}"), Some(1.0));

        let withheld = || mixers.iter().map(|mixer| mixer.log().withheld).sum::<usize>();
        let withheld = || u64::try_from(withheld()).unwrap();
        until("the replies are at a mixer", async || withheld() == replies).await;
        for mixer in &mixers {
            mixer.release().await;
        }
        let all: Vec<&NwakuNode> = mixers.iter().collect();
        assert_eq!(net.at_rest_with(&all).await, drops(&[("sender-1", "reply/unknown_reply", replies)]));
        net.end().await;
    });
}

#[test]
fn when_a_mixer_is_killed_in_mid_flow_every_request_is_answered_over_others() {
    run(async {
        let victim = NodePlan::new("victim", &["mixer"]);
        let mut process = Process::start(wakumix(), &[vec!["node".to_owned()], victim.arguments()].concat());
        let entry = process.says("for the mixnode list of others: ").await;
        let victim = parse_mix_node(&entry);

        let net = Net::strangers(all_with(usual(), "sender.timeout", "10s")).await;
        net.tell_all(&[net.pool(), vec![victim.clone()]].concat(), &net.services()).await;
        net.link_relays().await;
        net.ready().await;
        let sender = net.node("sender-1");

        let mut outcomes = push_many(sender, 10, 10).await;
        assert_eq!(unanswered(&outcomes), 0, "while all are up");
        let pushes = (0..50).map(|number| push(sender, format!("in mid-flow {number}")));
        let mut pushes = futures::stream::iter(pushes).buffer_unordered(10);
        for _ in 0..10 {
            outcomes.push(pushes.next().await.unwrap());
        }
        process.kill();
        outcomes.extend(pushes.collect::<Outcomes>().await);

        assert_eq!(outcomes.len(), 60);
        // What met the dead mixer was tried again; it could not be handed over, or was taken and never passed on. What came
        // back for requests that had been answered is dropped.
        let (dropped, lost) = net.at_rest_with_losses().await;
        let allowed = ["egress/dial_failed", "egress/write_failed", "reply/unknown_reply"];
        assert!(dropped.keys().all(|(_, reason)| allowed.contains(&reason.as_str())), "{dropped:?}");
        let met = dropped.values().sum::<u64>() + u64::try_from(lost).unwrap();
        assert!(met > 0, "some packets met it");
        assert_eq!(unanswered(&outcomes), 0, "{dropped:?}");

        // The sender goes on: what does not meet the dead mixer is answered.
        eventually(async || push(sender, "afterwards").await.map_err(|failure| failure.to_string())).await;
        net.end().await;
    });
}

/// Sends requests through a net in which one of three mixers writes two copies of each packet. All are answered; gives
/// what was dropped, and how many packets that mixer has passed on.
async fn with_a_mixer_that(conduct: Conduct) -> (Drops, u64) {
    let doubling = NwakuNode::start(Profile::default(), Muxer::Yamux, conduct).await;
    let net = Net::strangers(plans(2, 1, 1, 1)).await;
    net.tell_all(&[net.pool(), vec![doubling.mix_node()]].concat(), &net.services()).await;
    net.link_relays().await;
    net.ready().await;
    let outcomes = push_many(net.node("sender-1"), 20, 4).await;
    assert_eq!(answered(&outcomes), 20);
    let dropped = net.at_rest_with(&[&doubling]).await;
    for node in ["mixer-1", "mixer-2", "exit-1", "sender-1"] {
        let page = net.node(node).telemetry().render();
        let open = metric(&page, "waku_mix_streams{direction=\"inbound\"}");
        assert!(open > Some(0.0), "{node}");
        assert_eq!(open, metric(&page, "waku_mix_streams_opened_total{direction=\"inbound\"}"), "{node} closed one");
    }
    net.end().await;
    (dropped, doubling.log().passages.len() as u64)
}

#[test]
fn a_packet_that_comes_twice_is_dropped_once_and_its_stream_goes_on() {
    run(async {
        let (dropped, passed_on) = with_a_mixer_that(Conduct::WritesTwice).await;
        assert!(passed_on > 0, "it was on the path of some");
        assert!(dropped.keys().all(|(_, reason)| reason == "unwrap/duplicate"), "{dropped:?}");
        assert_eq!(dropped.values().sum::<u64>(), passed_on, "one of each two copies");
    });
}

#[test]
fn a_damaged_copy_that_comes_first_does_not_shut_the_packet_out() {
    run(async {
        let (dropped, passed_on) = with_a_mixer_that(Conduct::DamagedCopyFirst).await;
        assert!(passed_on > 0, "it was on the path of some");
        assert!(dropped.keys().all(|(_, reason)| reason == "unwrap/mac"), "{dropped:?}");
        assert_eq!(dropped.values().sum::<u64>(), passed_on, "the damaged copies");
    });
}

#[test]
fn first_hops_that_nobody_can_reach_are_replaced_until_that_is_told_and_the_credentials_are_free() {
    run(async {
        // A node that forwards draws its own first hops.
        let [senders, others]: [Vec<_>; 2] = {
            let (senders, others) = plans(0, 1, 1, 1).into_iter().partition(|plan| plan.has_role("sender"));
            [senders, others]
        };
        let net = Net::strangers([all_with(senders, "roles", "mixer,sender"), others].concat()).await;
        // Dials wait for its first word. So nobody is known to be unreachable before the path is chosen.
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let address: Multiaddr = format!("/ip4/127.0.0.1/tcp/{}", silent.local_addr().unwrap().port()).parse().unwrap();
        let ghost = || {
            let secret = PrivateKey::generate(&mut rand::rng());
            let peer = libp2p::identity::Keypair::from(libp2p::identity::secp256k1::Keypair::generate());
            let address = HopAddress::from_multiaddr(&address, peer.public().to_peer_id()).unwrap();
            MixNode::new(address, secret.public())
        };
        let sender = net.node("sender-1");
        assert!(tell(sender, &[net.pool(), vec![ghost(), ghost(), ghost()]].concat(), &net.services()).await);
        let credentials = || metric(&sender.telemetry().render(), "mix_surb_creds_active");
        let hang_up = async {
            until("the request is under way", async || credentials() > Some(0.0)).await;
            drop(silent);
        };
        let (outcome, ()) = futures::join!(push(sender, "to nobody"), hang_up);
        let failure = outcome.unwrap_err();
        assert_eq!(failure, PushFailure::Client(ClientError::FirstHop(SendFailure::DialFailed)));
        assert_eq!(failure.to_string(), "the first hop failed: the hop cannot be reached");
        let failed = net.at_rest().await;
        let made = net.balance("sender-1").originated;
        assert!((1..=8).contains(&made), "one packet for each first hop that was tried, eight at most: {made}");
        assert_eq!(failed, drops(&[("sender-1", "egress/dial_failed", made)]));
        assert_eq!(credentials(), Some(0.0));
        net.end().await;
    });
}

#[test]
fn a_service_that_the_exit_cannot_reach_is_told_through_the_mixnet() {
    run(async {
        let mut plans = plans(0, 0, 0, 1);
        plans.extend((1..=4).map(|number| NodePlan::new(format!("gate-{number}"), &["mixer", "exit"])));
        let net = Net::strangers(plans).await;
        let stopped = NodePlan::new("stopped", &["relay"]).start().await.unwrap();
        let service = ServiceNode::new(stopped.peer_id(), vec![nobody()]);
        stopped.stop(DEADLINE).await;
        net.tell_all(&net.pool(), &[service]).await;
        net.ready().await;
        let failure = push(net.node("sender-1"), "to a service that is gone").await.unwrap_err();
        assert_eq!(failure, PushFailure::ExitRefused { status: 503, reason: ExitStatus::NoAnswer });
        let sent = net.balance("sender-1").sent;
        let spare = net.at_rest().await.values().sum::<u64>();
        assert!(spare <= 2 * (sent - 1), "nobody else can be asked: {spare} answers too many to {sent} packets");
        net.end().await;
    });
}

#[test]
fn a_hop_of_another_profile_forwards_and_the_end_of_the_path_notices() {
    run(async {
        let plans = all_with(plans(3, 2, 2, 1), "sender.timeout", "3s");
        let (odd, others): (Vec<_>, Vec<_>) = plans.into_iter().partition(|plan| plan.name() == "mixer-1");
        let odd = all_with(odd, "mix.profile", "aes-ctr/pad");
        let net = Net::start([odd, others].concat()).await;
        let outcomes = push_many(net.node("sender-1"), 30, 30).await;
        let dropped = net.at_rest().await;

        let forwarded = net.balance("mixer-1").forwarded;
        assert!(forwarded > 0, "it passes packets on as if nothing was wrong");
        let noticed = |reason: &str| -> u64 {
            dropped.iter().filter(|((_, found), _)| found == reason).map(|(_, count)| count).sum()
        };
        let (there, back) = (noticed("unwrap/integrity") + noticed("exit/integrity"), noticed("reply/integrity"));
        let late = noticed("reply/unknown_reply");
        assert!(there > 0 && back + late > 0, "{dropped:?}");
        assert!((there + back..=there + back + late).contains(&forwarded), "{forwarded} {dropped:?}");
        assert_eq!(dropped.values().sum::<u64>(), there + back + late, "{dropped:?}");

        // Each try is a packet, which comes to an exit or is spoilt on its way; so is each answer.
        let exits = ["exit-1", "exit-2"].map(|exit| net.balance(exit));
        let (delivered, replies) = (exits.iter().map(|exit| exit.delivered), exits.iter().map(|exit| exit.sent));
        let sent = net.balance("sender-1").sent;
        assert_eq!(sent, delivered.sum::<u64>() + there);
        // The deadline may come while a worker makes one more.
        let uncounted = sent - outcomes.iter().map(tries).sum::<u64>();
        assert!(uncounted <= unanswered(&outcomes), "{uncounted} tries too many");
        // Answers to two tries of a request may come at once.
        let replied = net.balance("sender-1").replied;
        assert_eq!(replies.sum::<u64>(), replied + back + late);
        assert!(replied >= answered(&outcomes));
        assert!(answered(&outcomes) > 0, "other ways are tried");
        net.end().await;
    });
}

#[test]
fn an_actor_that_panics_during_traffic_is_restarted_and_counted() {
    run(async {
        let net = Net::start(all_with(usual(), "sender.timeout", "5s")).await;
        let sender = net.node("sender-1");
        let panics = [
            ("mixer-1", mixer::NAME, "mixer"),
            ("exit-1", exit::NAME, "exit"),
            ("exit-1", relay::NAME, "relay"),
            ("sender-1", sender::NAME, "sender"),
        ];
        let faults = async {
            for (node, role, _) in panics {
                let actor = net.node(node).actor(role).unwrap();
                actor.inject_panic().await;
                until("the actor is made anew", async || actor.restarts() == 1).await;
            }
        };
        let (outcomes, ()) = futures::join!(push_many(sender, 50, 5), faults);
        for failure in outcomes.iter().filter_map(|outcome| outcome.as_ref().err()) {
            assert!(matches!(failure.kind(), "deadline" | "internal" | "busy"), "{failure}");
        }
        for (node, _, actor) in panics {
            let page = net.node(node).telemetry().render();
            let series = format!("waku_mix_actor_restarts_total{{actor=\"{actor}\"}}");
            assert_eq!(metric(&page, &series), Some(1.0), "{node}");
        }
        net.ready().await;
        assert_eq!(answered(&push_many(sender, 20, 5).await), 20, "traffic goes on");
        let dropped = net.at_rest().await;
        // A panic lets go of what its actor has in hand, and of who waits for a reply; both are counted so.
        let allowed = |reason: &str| reason.ends_with("/abandoned") || reason == "reply/unknown_reply";
        assert!(dropped.keys().all(|(_, reason)| allowed(reason)), "{dropped:?}");
        assert_eq!(metric(&sender.telemetry().render(), "mix_surb_creds_active"), Some(0.0));
        net.end().await;
    });
}

/// Starts a mixer as a process and hands it packets that are to be held for `hold_ms`; the process, and the node that they go to.
async fn holding_packets(count: u64, hold_ms: u16, drain_timeout: &str) -> (Process, NwakuNode) {
    let plan = NodePlan::new("mixer", &["mixer"])
        .with("drain-timeout", drain_timeout)
        .with("mixer.delay-rule", "as-encoded")
        .with("mixer.max-delay", "1m")
        .with("log-format", "json")
        .with("metrics-server", "true");
    let process = Process::start(wakumix(), &[vec!["node".to_owned()], plan.arguments()].concat());
    let entry = process.says("for the mixnode list of others: ").await;
    let mixer = parse_mix_node(entry.split('"').next().unwrap());
    let metrics = process.says("metrics on http://").await;
    let metrics = metrics.split('"').next().unwrap().parse().unwrap();

    let nwaku = NwakuNode::start(Profile::default(), Muxer::Yamux, Conduct::Withholds(mixer.peer())).await;
    let next = nwaku.mix_node();
    let path = [mixer, next.clone(), next];
    for _ in 0..count {
        nwaku.send_packet(&path, b"held", hold_ms).await;
    }
    until("all packets are in", async || {
        let page = wakumix_integration_tests::http::get(metrics, "/metrics").await.body;
        metric(&page, "waku_mix_packets_received_total") == Some(count as f64)
    })
    .await;
    (process, nwaku)
}

/// Ends a mixer that holds packets with SIGTERM; how many came out, and what its last log line says of the others.
async fn terminated_with_packets(count: u64, hold_ms: u16, drain_timeout: &str) -> (u64, u64, u64) {
    let (process, nwaku) = holding_packets(count, hold_ms, drain_timeout).await;
    process.terminate();
    let ended = process.ended().await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let stopped = ended.logged("stopped");
    let number = |field: &str| stopped[field].as_u64().unwrap();
    let (finished, given_up) = (number("finished"), number("given_up"));
    // What was written may still be on its way into the peer.
    nwaku.has_seen(|log| log.received + given_up >= count).await;
    (nwaku.log().received, finished, given_up)
}

#[test]
fn a_node_that_is_terminated_sends_the_packets_that_it_holds() {
    run(async {
        // Long enough for some to be there still on a busy machine, short enough for all to leave before the test has hung.
        let (came_out, finished, given_up) = terminated_with_packets(20, 2_000, "50s").await;
        assert_eq!((came_out, given_up), (20, 0));
        assert!(finished > 0, "some were held when the signal came");
    });
}

#[test]
fn a_node_that_has_no_time_to_drain_counts_the_packets_that_it_gives_up() {
    run(async {
        // Longer than any machine takes to hand them over: a packet that is being written when the process ends is lost.
        let (came_out, _, given_up) = terminated_with_packets(20, 60_000, "1ms").await;
        assert_eq!((came_out, given_up), (0, 20));
    });
}

#[test]
fn a_second_signal_ends_a_node_at_once() {
    run(async {
        // Less than the mixer has for them: it waits until they leave.
        let (process, nwaku) = holding_packets(20, 30_000, "50s").await;
        process.terminate();
        process.says("stopping").await;
        process.terminate();
        let ended = process.ended().await;
        assert_eq!(ended.code, Some(3), "{}", ended.stderr);
        let line = ended.logged("stopped at once by a second signal; what was held is lost");
        assert_eq!((&line["signal"], nwaku.log().received), (&"SIGTERM".into(), 0));
    });
}

/// Stops the sender while one request is under way; gives how that request ended.
async fn stopped_with_a_request(net: &mut Net, limit: Duration) -> Result<Answer, PushFailure> {
    let sender = net.node("sender-1").sender().unwrap();
    let open = tokio::spawn(async move { sender.push(message("open"), Some(TOPIC.to_owned()), None, None).await });
    until("the request has left", async || net.balance("sender-1").sent == 1).await;
    net.stop("sender-1", limit).await;
    within(open).await.unwrap()
}

#[test]
fn a_stopping_sender_waits_for_an_answer_that_comes_in_time() {
    run(async {
        let mut net = Net::start(all_with(usual(), "mix.delay", "50ms")).await;
        let answer = stopped_with_a_request(&mut net, STOP_LIMIT).await.unwrap();
        assert_eq!(answer.kind(), "confirmed");
        net.at_rest_after("sender-1", &[answer]).await;
        net.end().await;
    });
}

#[test]
fn a_request_that_is_open_when_the_sender_must_end_is_told_so() {
    run(async {
        let (mut net, _mixers) = net_without_replies("1m").await;
        let outcome = stopped_with_a_request(&mut net, Duration::from_millis(100)).await;
        assert_eq!(outcome.unwrap_err(), PushFailure::Client(ClientError::Stopped));
        net.end().await;
    });
}

/// Keeps connections open on which nothing is said, and makes each anew that is ended.
fn silent_connections(to: &[Multiaddr], each: usize) -> Vec<AbortOnDrop> {
    let sockets = to.iter().flat_map(|address| (0..each).map(move |_| tcp_port(address)));
    let hold = |port| async move {
        loop {
            if let Ok(mut socket) = tokio::net::TcpStream::connect(("127.0.0.1", port)).await {
                // Ends when the node ends it.
                let _ = tokio::io::AsyncReadExt::read(&mut socket, &mut [0]).await;
            }
        }
    };
    sockets.map(|port| AbortOnDrop(tokio::spawn(hold(port)))).collect()
}

struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn tcp_port(address: &Multiaddr) -> u16 {
    let port = address.iter().find_map(|part| if let Protocol::Tcp(port) = part { Some(port) } else { None });
    port.expect("an address over TCP")
}

#[test]
fn silent_connections_to_every_node_keep_no_new_sender_out() {
    /// As many as a node sets up at a time.
    const EACH: usize = 64;
    run(async {
        let mut net = Net::start(plans(4, 2, 0, 0)).await;
        let addresses: Vec<_> = ["mixer-1", "mixer-2", "mixer-3", "mixer-4", "exit-1", "exit-2"]
            .map(|name| net.node(name).listen_addresses()[0].clone())
            .into();
        let _silent = silent_connections(&addresses, EACH);
        let refused = |page: &str, reason: &str| {
            metric(page, &format!("waku_mix_connections_refused_total{{reason=\"{reason}\"}}")).unwrap_or_default()
        };
        // The first of them were ended: all places were taken for seconds.
        until("all places are taken", async || {
            let pages = ["mixer-1", "exit-2"].map(|name| net.node(name).telemetry().render());
            pages.iter().all(|page| refused(page, "silent") >= EACH as f64)
        })
        .await;
        let (pool, services) = (net.pool(), net.services());
        net.add(plans(0, 0, 0, 1)).await;
        let sender = net.node("sender-1");
        assert!(tell(sender, &pool, &services).await);
        let outcomes = push_many(sender, 10, 1).await;
        assert_eq!(answered(&outcomes), 10, "{outcomes:?}");
    });
}
