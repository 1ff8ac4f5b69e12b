//! What `wakumix pool` prints.

use std::collections::BTreeMap;

use wakumix_node::rest::pool::DiversityJson;

use super::*;

fn node(peer_id: &str, state: &str, reason: &str, age_seconds: Option<u64>) -> NodeJson {
    NodeJson {
        peer_id: peer_id.to_owned(),
        state: state.to_owned(),
        reason: reason.to_owned(),
        roles: vec!["relay".to_owned(), "mix".to_owned()],
        profiles: Vec::new(),
        reassembles: None,
        sources: vec!["static".to_owned()],
        age_seconds,
        since_seconds: 1,
        next_check_seconds: None,
        failures: 0,
        class: if age_seconds.is_some() { "reached" } else { "inbound_only" }.to_owned(),
        connected: true,
        operator: None,
        family: None,
        shards: None,
        addresses: Vec::new(),
        hop_address: None,
        mix_pub_key: None,
    }
}

fn printed(nodes: Vec<NodeJson>, usable: usize) -> String {
    let pool = PoolJson {
        needed: 4,
        counts: BTreeMap::from([("usable".to_owned(), usable)]),
        diversity: DiversityJson { subnets: usable, operators: usable },
        nodes,
    };
    let mut out = Vec::new();
    print(&pool, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn shows_a_line_a_node_and_why_it_is_not_used() {
    let nodes = vec![
        NodeJson {
            profiles: vec!["lioness/pad".to_owned(), "sphinx-packet".to_owned()],
            reassembles: Some(true),
            ..node("16Uiu2HAmPiEs2ozjjJF2iN2Pe2FYeMC9w4caRHKYdLdAfjgbWM6o", "usable", "it answered", Some(7))
        },
        node("16Uiu2HAmPiEs2ozjjJF2iN2Pe2FYeMC9w4caRHKYdLdXXXXXXXX1", "unreachable", "3 dials failed", None),
    ];
    let expected = "\
NODE           ROLES      PROFILE                    FRAGMENTS  SOURCE  AGE  CLASS         STATE        WHY
16U*AfjgbWM6o  relay,mix  lioness/pad,sphinx-packet  yes        static   7s  reached       usable
16U*XXXXXXXX1  relay,mix  -                          -          static    -  inbound_only  unreachable  3 dials failed

1 of 2 known mix nodes usable, 4 needed; in 1 /24, of 1 operator as far as is known; too few to send
";
    assert_eq!(printed(nodes, 1), expected);
}

#[test]
fn an_empty_pool_is_told_in_one_line() {
    let expected = "0 of 0 known mix nodes usable, 4 needed; in 0 different /24, of 0 operators as far as is known; too few to send\n";
    assert_eq!(printed(Vec::new(), 0), expected);
}

#[test]
fn says_that_nobody_answers() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let command = |via: &str| PoolCommand {
        node: NodeArgs { via: via.to_owned(), access: AccessArgs::default() },
        wait: WaitArgs::default(),
        json: false,
        action: None,
    };
    let command_to_nobody = command(&nobody.to_string());
    let failure = command_to_nobody.run(&mut Vec::new()).unwrap_err();
    assert_eq!(failure.code(), 3);
    let said = failure.to_string();
    assert!(said.contains(&nobody.to_string()) && said.contains("help: check the address"), "{said}");
    let other = command("ftp://127.0.0.1");
    assert!(other.run(&mut Vec::new()).unwrap_err().to_string().contains("--via: `ftp`"));
}

#[test]
fn what_is_no_node_is_refused_before_a_node_is_asked() {
    let peer = "/ip4/192.0.2.1/tcp/1/p2p/16Uiu2HAmPiEs2ozjjJF2iN2Pe2FYeMC9w4caRHKYdLdAfjgbWM6o";
    let nodes = [peer, "192.0.2.1:60000", &format!("{peer}:77")].map(str::to_owned).to_vec();
    let node = NodeArgs { via: "ftp://nobody".to_owned(), access: AccessArgs::default() };
    let command = PoolCommand {
        node: NodeArgs { via: String::new(), access: AccessArgs::default() },
        wait: WaitArgs::default(),
        json: false,
        action: Some(Action::Add { nodes, node }),
    };
    let failure = command.run(&mut Vec::new()).unwrap_err();
    let said = failure.to_string();
    assert_eq!((failure.code(), said.matches("error: ").count(), said.matches("help: ").count()), (1, 2, 2), "{said}");
    assert!(
        said.contains("`192.0.2.1:60000`: neither") && said.contains(":77`: the mix key has 2 hex digits"),
        "{said}"
    );
}
