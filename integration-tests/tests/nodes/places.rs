//! Nodes with fewer places than there are senders.

use futures::future::join_all;
use wakumix_integration_tests::{
    eventually,
    net::{Net, all_with, plans, push},
    run,
};

/// Three quarters of them are for who comes: nine.
const PLACES: usize = 12;

#[test]
fn twelve_senders_are_answered_by_nodes_with_twelve_places() {
    run(async {
        let plans = all_with(plans(4, 2, 1, 12), "max-connections", &PLACES.to_string());
        let net = Net::start(plans).await;
        let senders = (1..=12).map(|number| format!("sender-{number}")).collect::<Vec<_>>();
        for round in 0..3 {
            let pushes = senders.iter().map(|name| push(net.node(name), format!("{round} of {name}")));
            for (name, answer) in senders.iter().zip(join_all(pushes).await) {
                let answer = answer.unwrap_or_else(|failure| panic!("{name}, round {round}: {failure}"));
                assert_eq!(answer.status, 200, "{name}, round {round}");
            }
            // Whoever has come and found no place is gone again.
            eventually(async || {
                for (plan, node) in net.running() {
                    let connected = node.host().status().await.map_or(0, |status| status.connected_peers);
                    if connected > PLACES {
                        return Err(format!("{} is connected to {connected}", plan.name()));
                    }
                }
                Ok(())
            })
            .await;
        }
        net.end().await;
    });
}
