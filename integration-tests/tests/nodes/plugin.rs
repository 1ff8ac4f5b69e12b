//! A role that this project does not have: added in one line, and everything that a role has follows.

mod echo;

use std::{path::Path, time::Duration};

use futures::{FutureExt as _, future::BoxFuture};
use parking_lot::Mutex;
use tokio::time::Instant;
use wakumix_integration_tests::{
    http::{self, metric},
    net::{NodePlan, STOP_LIMIT},
    run, until, within,
};
use wakumix_node::{
    config::{Flag, Inputs, Loaded, load},
    node::Node,
    roles::Roles,
};
use wakumix_role_api::{
    ActorHandle, ConfigError, InboundRequest, Ports, Role, RoleContext, RoleError, RoleFactory, RoleName, RunningRole,
    Service, StopReport, config::Settings, host::ReadRule, mixer,
};
use wakumix_waku::frame;

use echo::EchoFactory;

/// The roles of a program that has one of its own: the line that adds it.
fn roles() -> Roles {
    Roles::built_in().with(&EchoFactory)
}

/// A node of the echo role alone, on loopback.
fn inputs(roles: Roles, flags: &[(&str, &str)]) -> Inputs {
    let common = [
        ("roles", "echo"),
        ("listen-address", "127.0.0.1"),
        ("tcp-port", "0"),
        ("rest-port", "0"),
        ("cluster-id", "66"),
        ("mix-allow-all-addresses", "true"),
        ("ip-colocation-limit", "0"),
    ];
    let flag = |(name, value): &(&str, &str)| Flag { name: (*name).to_owned(), values: vec![(*value).to_owned()] };
    let set = |name: &str| flags.iter().any(|(own, _)| *own == name);
    let common = common.iter().filter(|(name, _)| !set(name));
    Inputs { flags: common.chain(flags).map(flag).collect(), roles, ..Inputs::default() }
}

fn loaded(inputs: &Inputs) -> Loaded {
    load(inputs).unwrap_or_else(|problems| panic!("{problems}"))
}

fn value(loaded: &Loaded, key: &str) -> (String, String) {
    (loaded.values.get(key).unwrap().join(","), loaded.sources[key].to_string())
}

/// What the program prints.
fn printed(arguments: &[&str]) -> String {
    let mut out = Vec::new();
    let done = wakumix::execute(&roles(), [&["wakumix"], arguments].concat(), &mut out);
    done.unwrap_or_else(|failure| panic!("{failure}"));
    String::from_utf8(out).unwrap()
}

#[test]
fn its_keys_are_set_by_file_environment_and_flag_and_shown() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("node.toml");
    std::fs::write(&file, "[echo]\nloud = true\nmax-len = 100\n").unwrap();
    let mut inputs = inputs(roles(), &[]);
    assert_eq!(value(&loaded(&inputs), "echo.max-len"), ("1024".to_owned(), "default".to_owned()));
    inputs.file = Some(file.clone());
    assert_eq!(value(&loaded(&inputs), "echo.max-len"), ("100".to_owned(), format!("file {}", file.display())));
    inputs.environment = vec![("WAKUMIX_ECHO__MAX_LEN".to_owned(), "200".to_owned())];
    let by_environment = "environment variable WAKUMIX_ECHO__MAX_LEN".to_owned();
    assert_eq!(value(&loaded(&inputs), "echo.max-len"), ("200".to_owned(), by_environment));
    inputs.flags.push(Flag { name: "echo.max-len".to_owned(), values: vec!["300".to_owned()] });
    assert_eq!(value(&loaded(&inputs), "echo.max-len"), ("300".to_owned(), "flag --echo.max-len".to_owned()));
    assert_eq!(value(&loaded(&inputs), "echo.loud").0, "true");

    let path = file.to_str().unwrap();
    let shown = printed(&["config", "show", "--roles", "echo", "--config", path, "--echo.max-len=300"]);
    assert!(shown.contains("\n[echo]\nloud = true  # file ") && shown.contains("\nmax-len = 300  # flag "), "{shown}");
    let defaults = printed(&["config", "show", "--defaults"]);
    for part in ["## Echo role\n", "# Answer in capital letters.\n", "\nmax-len = 1024\n"] {
        assert!(defaults.contains(part), "{part}: {defaults}");
    }
    // Without the role its keys are unknown, and so is its name.
    let refused = load(&Inputs { roles: Roles::built_in(), ..inputs }).map(drop).unwrap_err().to_string();
    assert!(refused.contains("`echo` is not a role") && refused.contains("unknown key `echo`"), "{refused}");
}

#[test]
fn what_is_wrong_with_its_section_names_the_key() {
    for (setting, part) in [
        (("echo.max-len", "0"), "`echo.max-len` in flag --echo.max-len: `0` is not a number from 1 to 65536"),
        (("echo.louder", "true"), "did you mean `--echo.loud`?"),
    ] {
        let refused = load(&inputs(roles(), &[setting])).map(drop).unwrap_err().to_string();
        assert!(refused.contains(part), "{refused}");
    }
}

/// Asks the echo role of a node by its protocol.
async fn ask(asker: &Node, node: &Node, word: &str) -> String {
    let (peer, addresses) = (node.peer_id(), node.listen_addresses().to_vec());
    let (request, read) = (frame::encode(word.as_bytes()), ReadRule::LengthPrefixed { max: 1024 });
    let asked = asker.host().request(peer, addresses, echo::PROTOCOL, request, read, Duration::from_secs(30));
    let answer = within(asked).await.unwrap();
    String::from_utf8(frame::decode(&answer, 1024).unwrap().unwrap().0.to_vec()).unwrap()
}

#[test]
fn it_serves_is_counted_restarted_and_stopped() {
    run(async {
        let node = Node::start(&loaded(&inputs(roles(), &[("echo.loud", "true")]))).await.unwrap();
        let rest = node.rest_address().unwrap();
        let ready = async || http::get(rest, "/health/ready").await;

        let unready = ready().await;
        assert_eq!((unready.status, unready.body.as_str()), (503, "echo: nobody has asked yet"));
        let health = http::get(rest, "/health").await.body;
        assert!(health.contains(r#"{"Echo":"NOT_READY","desc":"nobody has asked yet"}"#), "{health}");
        let asker = NodePlan::new("asker", &["relay"]).start().await.unwrap();
        assert_eq!(ask(&asker, &node, "over a protocol").await, "OVER A PROTOCOL");
        assert_eq!(ready().await.status, 200);
        let answer = http::get(rest, "/echo/v1/over%20REST").await;
        assert_eq!((answer.status, answer.body.as_str()), (200, "OVER REST"));
        let via = rest.to_string();
        let asked = tokio::task::spawn_blocking(move || printed(&["echo", "by-command", "--via", &via]));
        assert_eq!(within(asked).await.unwrap(), "BY-COMMAND\n");
        let page = http::get(rest, "/metrics").await.body;
        assert!(
            page.contains("# HELP waku_mix_echo_answers_total Requests that the echo role has answered."),
            "{page}"
        );
        assert_eq!(metric(&page, "waku_mix_echo_answers_total"), Some(3.0));

        node.actor(echo::NAME).unwrap().inject_panic().await;
        assert_eq!(ask(&asker, &node, "again").await, "AGAIN");
        let restarts = async || {
            let page = http::get(rest, "/metrics").await.body;
            metric(&page, "waku_mix_actor_restarts_total{actor=\"echo\"}")
        };
        until("the restart is counted", async || restarts().await == Some(1.0)).await;

        let other = Node::start(&loaded(&inputs(Roles::built_in(), &[("roles", "relay")]))).await.unwrap();
        assert_eq!(http::get(other.rest_address().unwrap(), "/echo/v1/word").await.status, 404);
        let off = Node::start(&loaded(&inputs(roles(), &[("roles", "relay")]))).await.unwrap();
        let refused = http::get(off.rest_address().unwrap(), "/echo/v1/word").await;
        assert_eq!((refused.status, refused.body.as_str()), (503, "the echo role is off; add it to roles"));

        for node in [node, asker, other, off] {
            let summary = node.stop(STOP_LIMIT).await;
            assert_eq!((summary.abandoned, summary.late), (0, Vec::new()));
        }
    });
}

/// In which order roles have stopped, those of tests beside this one among them.
static STOPPED: Mutex<Vec<RoleName>> = Mutex::new(Vec::new());

/// A role that needs the echo role, and one that needs this one, to see in which order they stop.
#[derive(Clone, Copy, Debug)]
struct Follower(RoleName, &'static [RoleName]);

static FIRST: Follower = Follower(RoleName::new("first"), &[echo::NAME]);
static SECOND: Follower = Follower(RoleName::new("second"), &[RoleName::new("first")]);
/// A role with the protocol of the echo role.
static RIVAL: Follower = Follower(RoleName::new("rival"), &[]);

impl RoleFactory for Follower {
    fn name(&self) -> RoleName {
        self.0
    }

    fn summary(&self) -> &'static str {
        "follows"
    }

    fn needs(&self) -> &'static [RoleName] {
        self.1
    }

    fn configure(&self, _: &Settings<'_>) -> Result<Box<dyn Role>, ConfigError> {
        Ok(Box::new(*self))
    }
}

impl Role for Follower {
    fn name(&self) -> RoleName {
        self.0
    }

    fn services(&self, _: &Ports) -> Vec<Service> {
        let drops = |_: InboundRequest| {};
        if self.0 == RIVAL.0 { vec![Service::new(echo::PROTOCOL, 1, drops)] } else { Vec::new() }
    }

    fn start(self: Box<Self>, _: &RoleContext) -> Result<Box<dyn RunningRole>, RoleError> {
        Ok(self)
    }
}

impl RunningRole for Follower {
    fn name(&self) -> RoleName {
        self.0
    }

    fn actor(&self) -> &ActorHandle {
        panic!("it has none")
    }

    fn ready(&self) -> Result<(), String> {
        Ok(())
    }

    fn stop(&self, _: Instant) -> BoxFuture<'static, StopReport> {
        STOPPED.lock().push(self.0);
        std::future::ready(StopReport { in_time: true, ..StopReport::default() }).boxed()
    }
}

#[test]
fn roles_stop_before_those_that_they_need() {
    run(async {
        let roles = Roles::built_in().with(&SECOND).with(&FIRST).with(&EchoFactory);
        let node = Node::start(&loaded(&inputs(roles, &[("roles", "second")]))).await.unwrap();
        assert_eq!(node.roles(), [echo::NAME, FIRST.0, SECOND.0]);
        assert!(node.stop(STOP_LIMIT).await.late.is_empty());
        let own = |name: &&RoleName| [SECOND.0, FIRST.0].contains(name);
        assert_eq!(STOPPED.lock().iter().filter(own).copied().collect::<Vec<_>>(), [SECOND.0, FIRST.0]);
    });
}

/// A role that needs the mixer and does nothing with packets itself.
static READER: Follower = Follower(RoleName::new("reader"), &[mixer::NAME]);

#[test]
fn a_node_whose_role_needs_the_mixer_has_a_mix_key_and_forwards_nothing() {
    run(async {
        let loaded = loaded(&inputs(Roles::built_in().with(&READER), &[("roles", "reader")]));
        assert!(loaded.config.mixes() && !loaded.config.forwards());
        let node = Node::start(&loaded).await.unwrap();
        assert_eq!(node.roles(), [mixer::NAME, READER.0]);
        assert!(node.mix_node().is_some());
        assert!(node.stop(STOP_LIMIT).await.late.is_empty());
    });
}

#[test]
fn two_roles_that_answer_one_protocol_are_refused_with_both_names() {
    run(async {
        let roles = roles().with(&RIVAL);
        let started = Node::start(&loaded(&inputs(roles, &[("roles", "echo,rival")]))).await;
        let refused = started.map(drop).unwrap_err().to_string();
        assert_eq!(refused, "echo and rival both answer /wakumix/echo/1.0.0; turn one of the two off");
    });
}

#[test]
fn every_role_alone_starts_and_stops_and_accounts_for_every_packet() {
    run(async {
        for role in roles().names() {
            let node = Node::start(&loaded(&inputs(roles(), &[("roles", role.as_str())]))).await.unwrap();
            assert!(node.roles().contains(&role));
            let accounts = node.accounts();
            let summary = node.stop(STOP_LIMIT).await;
            assert_eq!((summary.abandoned, summary.late), (0, Vec::new()), "{role}");
            let (held, balance) = accounts.read();
            assert_eq!((held, balance.unaccounted(held)), (0, 0), "{role}: {balance:?}");
        }
    });
}

/// The guide's code is the role that is tested here.
#[test]
fn the_guide_shows_this_role() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let code = std::fs::read_to_string(root.join("integration-tests/tests/nodes/plugin/echo.rs")).unwrap();
    let guide = root.join("roles/api/README.md");
    let written = std::fs::read_to_string(&guide).unwrap();
    let (before, rest) = written.split_once("```rust\n").expect("a block of code");
    let (_, after) = rest.split_once("```").expect("its end");
    let right = format!("{before}```rust\n{code}```{after}");
    if std::env::var_os("WRITE_DOCS").is_some() {
        std::fs::write(&guide, &right).unwrap();
    }
    assert!(
        std::fs::read_to_string(&guide).unwrap() == right,
        "roles/api/README.md shows another role; run WRITE_DOCS=1 cargo test -p wakumix-integration-tests --test nodes guide"
    );
}
