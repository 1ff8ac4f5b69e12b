//! Nodes with fewer places than there are senders.

use futures::future::join_all;
use wakumix_integration_tests::{
    net::{Net, all_with, plans, push},
    run,
};

#[test]
fn twelve_senders_are_answered_by_nodes_that_have_places_for_nine() {
    run(async {
        let plans = all_with(plans(4, 2, 1, 12), "max-connections", "12");
        // A place is free when the request before has its answer; each try asks for two or three.
        let net = Net::start(all_with(plans, "sender.timeout", "30s")).await;
        let senders = (1..=12).map(|number| format!("sender-{number}")).collect::<Vec<_>>();
        for round in 0..2 {
            let pushes = senders.iter().map(|name| push(net.node(name), format!("{round} of {name}")));
            for (name, answer) in senders.iter().zip(join_all(pushes).await) {
                let answer = answer.unwrap_or_else(|failure| panic!("{name}, round {round}: {failure}"));
                assert_eq!(answer.status, 200, "{name}, round {round}");
            }
        }
    });
}
