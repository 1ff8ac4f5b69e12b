use super::*;

#[test]
fn percentiles_are_nearest_ranks() {
    let times = (1..=200).map(Duration::from_millis).collect();
    let Percentiles { p50, p90, p99, max } = Percentiles::of(times);
    assert_eq!((p50, p90, p99, max), (100.0, 180.0, 198.0, 200.0));
    assert_eq!(Percentiles::of(Vec::new()).p99, 0.0);
    assert_eq!(Percentiles::of(vec![Duration::from_millis(7)]).p50, 7.0);
}

#[test]
fn sampled_delay_of_a_round_trip_is_the_sum_of_six_holds() {
    let p50 = sampled_delay(DelayLaw::Exponential { mean_ms: 50 }, 1).p50;
    // The median of a sum of six exponentials of mean 50 is 283.5; whole milliseconds cost 3 of them.
    assert!((265.0..295.0).contains(&p50), "{p50}");
    assert_eq!(sampled_delay(DelayLaw::None, 1).max, 0.0);
}

fn report() -> Report {
    let packets = [("sender", RolePackets { sent: 2, ..RolePackets::default() }), ("exit", RolePackets::default())];
    Report {
        profile: "lioness/pad".to_owned(),
        seed: 1,
        nodes: BTreeMap::new(),
        discovery: "discv5",
        ready_after_s: 3.25,
        pool_after_s: [(4, 1.25), (38, 2.75)].into(),
        pool_usable_min: 44,
        pool_mixers_min: 39,
        pool_usable_min_at_end: 45,
        payload_bytes: 1024,
        sent: 2,
        answered: 2,
        answered_share: 1.0,
        outcomes: [("confirmed", 2)].into(),
        retried: 0,
        tries_per_message: 1.0,
        tries_max: 1,
        packets_per_message: 1.5,
        loss_percent: 0.0,
        troubled: false,
        kill: None,
        received: 4,
        expected_receptions: 4,
        missing: 0,
        unexpected: 0,
        unaccounted: 0,
        lost_between: 0,
        held: 0,
        round_trip_ms: Percentiles { p50: 250.4, p90: 300.0, p99: 400.0, max: 400.0 },
        sampled_delay_ms: Percentiles::default(),
        packets: packets.into(),
        dropped: BTreeMap::new(),
        seconds: 1.25,
    }
}

#[test]
fn passes_only_if_everything_came_and_nothing_is_left() {
    assert!(report().passed());
    for wrong in [
        Report { answered: 1, ..report() },
        Report { received: 3, ..report() },
        Report { unexpected: 1, ..report() },
        Report { unaccounted: 1, ..report() },
        Report { held: 1, ..report() },
        Report { missing: 1, ..report() },
    ] {
        assert!(!wrong.passed() && wrong.render().contains("NOT every message"), "{}", wrong.render());
    }
}

#[test]
fn where_packets_are_lost_on_purpose_999_of_1000_messages_are_enough() {
    let troubled = |answered: u64| Report {
        sent: 1000,
        answered,
        answered_share: answered as f64 / 1000.0,
        received: 2 * answered,
        expected_receptions: 2000,
        troubled: true,
        ..report()
    };
    for (answered, passes, said) in [
        (1000, true, "every message was answered and received\n"),
        (999, true, "at least 99.9 % of the messages were answered, and these were received\n"),
        (998, false, "NOT 99.9 % of the messages"),
    ] {
        let report = troubled(answered);
        assert_eq!(report.passed(), passes, "{answered}");
        assert!(report.render().contains(said), "{}", report.render());
    }
    assert!(!Report { missing: 1, ..troubled(999) }.passed());
    assert!(!Report { troubled: false, ..troubled(999) }.passed());
}

#[test]
fn renders_counts_times_and_what_went_wrong() {
    let text = report().render();
    for line in [
        "pool of 4 after 1.2 s, of 38 after 2.8 s; smallest pool 44 nodes, 39 of them",
        "  mixers; at the end 45",
        "sent 2   answered 2   received by subscribers 4 of 4   in 1.2 s",
        "outcomes: 2 confirmed; 100 % answered",
        "tries per message 1.00, at most 1; packets per message 1.50; messages that",
        "  needed another try 0",
        "round trip            250 ms   300 ms   400 ms   400 ms",
        "packet balance: unaccounted 0, held 0",
        "every message was answered and received",
    ] {
        assert!(text.lines().any(|shown| shown == line), "{line}:\n{text}");
    }
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    assert!(text.find("\nexit ") < text.find("\nsender "), "in the order of the kinds:\n{text}");
    let failed = Report {
        answered: 1,
        answered_share: 0.5,
        outcomes: [("confirmed", 1), ("deadline", 1)].into(),
        missing: 1,
        dropped: [("egress/dial_failed".to_owned(), 3)].into(),
        unexpected: 5,
        ..report()
    };
    let text = failed.render();
    for line in [
        "outcomes: 1 confirmed, 1 deadline; 50 % answered",
        "dropped: 3 × egress/dial_failed",
        "received, but sent by nobody: 5",
        "answered, but not received by a subscriber: 1",
    ] {
        assert!(text.lines().any(|shown| shown == line), "{line}:\n{text}");
    }
}

#[test]
fn renders_what_a_kill_did() {
    let kill = KillReport {
        mixers: 13,
        exits: 1,
        after_messages: 60,
        pools_rid_after_s: Some(2.5),
        answered_after: 120,
        retried_after: 0,
    };
    let killed = Report { retried: 9, troubled: true, kill: Some(kill.clone()), lost_between: 7, ..report() };
    let text = killed.render();
    for line in [
        "13 mixers and 1 exit killed after 60 messages",
        "every pool was rid of them 2.5 s after the kill; of 120 messages answered that",
        "  were sent after that, 0 needed another try",
        "packet balance: unaccounted 0, held 0, written to nodes that were gone 7",
    ] {
        assert!(text.lines().any(|shown| shown == line), "{line}:\n{text}");
    }
    assert!(killed.passed());
    let kept = Report { kill: Some(KillReport { pools_rid_after_s: None, ..kill }), ..killed };
    assert!(kept.render().contains("some pool still has one of them"), "{}", kept.render());
}

#[test]
fn a_net_without_messages_has_no_times() {
    let text = Report { sent: 0, answered: 0, received: 0, expected_receptions: 0, ..report() }.render();
    assert!(!text.contains("round trip") && text.contains("no message was sent"), "{text}");
}

#[test]
fn the_json_form_has_what_scripts_read() {
    let json = serde_json::to_value(report()).unwrap();
    for pointer in [
        "/sent",
        "/answered",
        "/answered_share",
        "/outcomes/confirmed",
        "/tries_per_message",
        "/packets_per_message",
        "/missing",
        "/received",
        "/expected_receptions",
        "/residue",
        "/pool_usable_min",
        "/pool_mixers_min",
        "/pool_after_s/4",
        "/pool_after_s/38",
        "/round_trip_ms/p50",
        "/round_trip_ms/p99",
        "/sampled_delay_ms/p50",
        "/sampled_delay_ms/p99",
        "/packets/sender/sent",
    ] {
        assert!(json.pointer(pointer).is_some_and(serde_json::Value::is_number), "{pointer}");
    }
}
