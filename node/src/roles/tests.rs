//! Which roles fit together, and the order in which they start.

use wakumix_role_api::{
    ConfigError, Mixing, Role, RoleFactory, RoleName,
    config::{Key, Settings, ValueKind},
    rest::{Access, Method, Operation, Reply, Response, Route},
};

use super::{Roles, RolesError};
use crate::config::{Inputs, load, schema::Schema};

const NOTHING: Operation =
    Operation { summary: "Do nothing", parameters: &[], body: None, replies: &[Reply::text(200, "Nothing.")] };

/// A role that is never configured.
struct Stub {
    name: &'static str,
    needs: &'static [RoleName],
    uses: &'static [RoleName],
    key: &'static str,
    shared: &'static [&'static str],
    path: &'static str,
    access: Access,
}

impl RoleFactory for Stub {
    fn name(&self) -> RoleName {
        RoleName::new(self.name)
    }

    fn summary(&self) -> &'static str {
        "stands for a role"
    }

    fn needs(&self) -> &'static [RoleName] {
        self.needs
    }

    fn uses(&self) -> &'static [RoleName] {
        self.uses
    }

    fn keys(&self) -> Vec<Key> {
        vec![Key::new("Stub role", self.key, ValueKind::Bool, "does nothing").or("true")]
    }

    fn shared_keys(&self) -> Vec<&'static str> {
        self.shared.to_vec()
    }

    fn routes(&self) -> Vec<Route> {
        let handler = |_, _| Box::pin(async { Response::text(200, "") }) as _;
        vec![Route {
            access: self.access,
            method: Method::Get,
            path: self.path,
            takes: false,
            operation: &NOTHING,
            handler,
        }]
    }

    fn configure(&self, _: &Settings<'_>) -> Result<Box<dyn Role>, ConfigError> {
        panic!("nobody configures it")
    }
}

const fn stub(name: &'static str, needs: &'static [RoleName], uses: &'static [RoleName]) -> Stub {
    Stub { name, needs, uses, key: name, shared: &[], path: "/stub", access: Access::Everybody }
}

static A: Stub = Stub { path: "/a", ..stub("a", &[], &[]) };
static B: Stub = Stub { path: "/b", ..stub("b", &[RoleName::new("a")], &[]) };
static C: Stub = Stub { path: "/c", ..stub("c", &[RoleName::new("b")], &[RoleName::new("d")]) };
static D: Stub = Stub { path: "/d", ..stub("d", &[], &[]) };

fn of(roles: &[&'static dyn RoleFactory]) -> Roles {
    Roles { listed: roles.into() }
}

fn order(roles: &Roles, named: &[&'static str]) -> Result<Vec<&'static str>, String> {
    let named: Vec<_> = named.iter().copied().map(RoleName::new).collect();
    let ordered = roles.in_order(&named).map_err(|RolesError { problem }| problem)?;
    Ok(ordered.iter().map(|role| role.name().as_str()).collect())
}

#[test]
fn what_a_role_needs_or_uses_starts_before_it() {
    let roles = of(&[&C, &D, &B, &A]);
    assert_eq!(order(&roles, &["c"]), Ok(vec!["a", "b", "c"]));
    assert_eq!(order(&roles, &["c", "d"]), Ok(vec!["d", "a", "b", "c"]));
    assert_eq!(order(&roles, &["a"]), Ok(vec!["a"]));
    let built_in = Roles::built_in();
    assert_eq!(order(&built_in, &["sender", "exit", "relay"]), Ok(vec!["mixer", "relay", "exit", "sender"]));
    assert_eq!(order(&built_in, &["sender"]), Ok(vec!["mixer", "sender"]));
    assert_eq!(order(&built_in, &["relay"]), Ok(vec!["relay"]));
}

#[test]
fn a_role_that_this_build_lacks_is_named_with_its_feature() {
    static LOST: Stub = stub("lost", &[RoleName::new("mixer")], &[]);
    let refused = order(&of(&[&LOST]), &["lost"]).unwrap_err();
    assert_eq!(refused, "the lost role needs the mixer role, which is not in this build: build with the feature mixer");
    assert!(order(&of(&[&B]), &["b"]).unwrap_err().ends_with("add a to the roles of the program"));
}

#[test]
fn roles_that_wait_for_each_other_are_refused() {
    static FIRST: Stub = stub("first", &[RoleName::new("second")], &[]);
    static SECOND: Stub = Stub { path: "/second", ..stub("second", &[], &[RoleName::new("first")]) };
    assert_eq!(of(&[&FIRST, &SECOND]).check().unwrap_err().problem, "the roles first, second wait for each other");
}

#[test]
fn two_roles_that_claim_the_same_are_refused_with_both_names() {
    let problem = |roles: Roles| Schema::new(&roles).unwrap_err().problem;
    assert_eq!(problem(of(&[&A, &A])), "two roles have the name a");
    static ROUTE: Stub = Stub { path: "/stub/{this}", ..stub("first", &[], &[]) };
    static SAME_ROUTE: Stub = Stub { path: "/stub/{that}", ..stub("other", &[], &[]) };
    assert_eq!(problem(of(&[&ROUTE, &SAME_ROUTE])), "the roles first and other both have the route /stub/{that}");
    static SAME_KEY: Stub = Stub { key: "a", path: "/other", ..stub("other", &[], &[]) };
    assert_eq!(problem(of(&[&A, &SAME_KEY])), "a and other both have the key `a`");
    static KEY_OF_THE_NODE: Stub = Stub { key: "tcp-port", ..stub("other", &[], &[]) };
    let roles = of(&[&KEY_OF_THE_NODE]);
    let refused = load(&Inputs { roles, ..Inputs::default() }).map(|loaded| loaded.config.roles).unwrap_err();
    assert_eq!(refused.to_string(), "error: the node and other both have the key `tcp-port`");
}

#[test]
fn a_route_that_the_node_has_or_that_nothing_guards_is_refused() {
    static METRICS: Stub = Stub { path: "/metrics", ..stub("first", &[], &[]) };
    static HEALTH: Stub = Stub { path: "/health/{of}", ..stub("first", &[], &[]) };
    static OPEN_ADMIN: Stub = Stub { path: "/admin/v1/keys", ..stub("first", &[], &[]) };
    static HIDDEN: Stub = Stub { path: "/keys", access: Access::Operators, ..stub("first", &[], &[]) };
    static BARE: Stub = Stub { path: "keys", ..stub("first", &[], &[]) };
    for (role, part) in [
        (&METRICS, "the route /metrics of first: the node itself serves /metrics"),
        (&HEALTH, "the node itself serves /health and what is below"),
        (&OPEN_ADMIN, "routes of operators, and no others, stand below /admin/"),
        (&HIDDEN, "routes of operators, and no others, stand below /admin/"),
        (&BARE, "a path begins with /"),
    ] {
        let problem = of(&[role]).check().unwrap_err().problem;
        assert!(problem.contains(part), "{problem}");
    }
    static FINE: Stub = Stub { path: "/healthy", ..stub("first", &[], &[]) };
    assert_eq!(of(&[&FINE]).check(), Ok(()));
}

#[test]
fn a_role_that_needs_the_mixer_makes_the_node_one_that_mixes() {
    static READER: Stub = Stub { path: "/reader", ..stub("reader", &[wakumix_role_api::mixer::NAME], &[]) };
    let roles = Roles::built_in().with(&READER);
    assert!(roles.mixes(READER.name()) && !roles.mixes(wakumix_role_api::relay::NAME));
    assert_eq!(roles.mixing(&[READER.name()]), Mixing::NONE);
    assert_eq!(order(&roles, &["reader"]), Ok(vec!["mixer", "reader"]));
}

#[test]
fn a_role_that_reads_a_key_of_nobody_is_refused() {
    static CURIOUS: Stub = Stub { shared: &["cluster-id", "cluster"], ..stub("curious", &[], &[]) };
    let problem = Schema::new(&of(&[&CURIOUS])).unwrap_err().problem;
    assert_eq!(problem, "curious reads the key `cluster`, which nobody has");
}

#[cfg(all(feature = "relay", feature = "exit", feature = "sender"))]
#[test]
fn the_default_configuration_is_the_default_of_every_role() {
    let loaded = load(&Inputs::default()).unwrap();
    let settings = loaded.settings();
    assert_eq!(wakumix_mixer::Config::read(&settings), Ok(wakumix_mixer::Config::default()));
    assert_eq!(wakumix_exit::Config::read(&settings), Ok(wakumix_exit::Config::default()));
    assert_eq!(wakumix_sender::Config::read(&settings), Ok(wakumix_sender::Config::default()));
    assert_eq!(wakumix_relay::Config::read(&settings), Ok(wakumix_relay::Config::default()));
}

#[test]
fn a_node_does_what_any_of_its_roles_makes_it_do() {
    let mixing = |names: &[&'static str]| {
        Roles::built_in().mixing(&names.iter().copied().map(RoleName::new).collect::<Vec<_>>())
    };
    assert_eq!(mixing(&["relay"]), Mixing::NONE);
    assert_eq!(mixing(&["sender", "relay"]), Mixing { sends: true, ..Mixing::NONE });
    assert_eq!(mixing(&["sender", "exit"]), Mixing { forwards: true, exits: true, sends: true });
}
