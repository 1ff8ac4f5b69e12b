//! `wakumix pool`: the mix nodes that a running node knows, and what is wrong with those that it cannot use; nodes that it is
//! handed.

mod fleets;
#[cfg(test)]
mod tests;

use std::{io::Write, path::PathBuf, time::Duration};

use wakumix_discovery::Addition;
use wakumix_node::{
    config::{Problem, Problems},
    rest::pool::{AddedJson, NodeJson, NodesJson, PoolJson},
};
use wakumix_role_api::command::{DEFAULT_NODE, Layout, Side, short_peer, short_time};

use super::{
    Failure,
    rest::{AccessArgs, RestNode},
    wait::WaitArgs,
};

/// How long a node may take to answer.
const LIMIT: Duration = Duration::from_secs(10);
/// Nodes in one request, 300 bytes each at most: a node reads bodies of its longest message, 220 kB by default.
const NODES_AT_ONCE: usize = 256;

/// Show the mix nodes that a running node knows, or hand it others
///
/// One line a node, usable ones first: what it offers, its wire profiles, whether it puts fragments together (FRAGMENTS),
/// who tells of it, how long ago it was reached, whether it is the operator's entry, was reached, or has only dialled in
/// itself (CLASS), its state and why. --wait waits until enough are usable to send. The node must serve its admin interface: REST on loopback, rest-tls-client-ca-path, or rest-admin = true.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct PoolCommand {
    #[command(flatten)]
    node: NodeArgs,
    #[command(flatten)]
    wait: WaitArgs,
    /// Print the JSON object of GET /admin/v1/pool
    #[arg(long)]
    json: bool,
    #[command(subcommand)]
    action: Option<Action>,
}

/// What is done besides showing.
#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Hand nodes to a running node, which keeps them until it ends
    ///
    /// Each is a mix node with its key, a peer to stay connected to, or a node record. To keep them for the next start as well,
    /// write them under mixnode, staticnode or entry-node of the configuration.
    Add {
        /// <multiaddr>/p2p/<peer id>:<mix key>, <multiaddr>/p2p/<peer id> or enr:…
        #[arg(required = true, value_name = "NODE")]
        nodes: Vec<String>,
        #[command(flatten)]
        node: NodeArgs,
    },
    /// Hand the mix nodes of a file to a running node: the list of the fleets' site (fleets.logos.co/data.json), or of `export`
    Import(ImportArgs),
    /// Print the mix nodes that a running node uses, in the form that `import` reads
    Export {
        #[command(flatten)]
        node: NodeArgs,
    },
}

/// Which running node is asked.
#[derive(Debug, clap::Args)]
struct NodeArgs {
    /// REST address of the node
    #[arg(long, value_name = "NODE", default_value = DEFAULT_NODE)]
    via: String,
    #[command(flatten)]
    access: AccessArgs,
}

#[derive(Debug, clap::Args)]
struct ImportArgs {
    /// JSON file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Nwaku whose nodes are meant, where the file has several: logos.dev
    #[arg(long)]
    fleet: Option<String>,
    /// Print the mixnode line of a configuration file and ask no node
    #[arg(long)]
    print: bool,
    #[command(flatten)]
    node: NodeArgs,
}

impl NodeArgs {
    fn connect(&self) -> Result<RestNode, Failure> {
        RestNode::at(&self.via, LIMIT, self.access.read()?)
    }
}

impl PoolCommand {
    pub(super) fn run(&self, out: &mut impl Write) -> Result<(), Failure> {
        match &self.action {
            None => self.show(out),
            Some(Action::Add { nodes, node }) => {
                check(nodes)?;
                add(&node.connect()?, nodes, out)
            }
            Some(Action::Import(import)) => import.run(out),
            Some(Action::Export { node }) => {
                let text = serde_json::to_string_pretty(&fleets::written(&pool_of(&node.connect()?)?));
                Ok(writeln!(out, "{}", text.map_err(std::io::Error::from)?)?)
            }
        }
    }

    fn show(&self, out: &mut impl Write) -> Result<(), Failure> {
        let node = self.node.connect()?;
        let pool = self.wait.until(|| self.ask(&node))?;
        if self.json {
            let text = serde_json::to_string_pretty(&pool).map_err(std::io::Error::from)?;
            writeln!(out, "{text}")?;
            return Ok(());
        }
        print(&pool, out)?;
        Ok(())
    }
}

impl PoolCommand {
    fn ask(&self, node: &RestNode) -> Result<PoolJson, Failure> {
        let pool = pool_of(node)?;
        let usable = usable(&pool);
        if self.wait.is_given() && usable < pool.needed {
            let message = format!("pool too small: {usable} usable mix nodes, {} needed", pool.needed);
            let help = "look at the whole pool without --wait; nodes are found through entry-node and mixnode";
            return Err(Failure::Runtime(Problem::new(message, help)));
        }
        Ok(pool)
    }
}

impl ImportArgs {
    fn run(&self, out: &mut impl Write) -> Result<(), Failure> {
        let listed = fleets::read(&self.file, self.fleet.as_deref())?;
        for line in listed.notes() {
            writeln!(std::io::stderr().lock(), "note: {line}")?;
        }
        if self.print {
            let entries: Vec<String> = listed.entries.iter().map(|entry| format!("    \"{entry}\",")).collect();
            return Ok(writeln!(out, "mixnode = [\n{}\n]", entries.join("\n"))?);
        }
        add(&self.node.connect()?, &listed.entries, out)
    }
}

/// Whether each can be read; the node would say the same of the first that cannot.
fn check(nodes: &[String]) -> Result<(), Failure> {
    let help = "write <multiaddr>/p2p/<peer id>:<mix key>, <multiaddr>/p2p/<peer id> or enr:…";
    let wrong =
        |node: &String| node.parse::<Addition>().err().map(|error| Problem::new(format!("`{node}`: {error}"), help));
    let problems: Vec<Problem> = nodes.iter().filter_map(wrong).collect();
    if problems.is_empty() { Ok(()) } else { Err(Problems(problems).into()) }
}

/// Hands nodes over, and says what the pool is then.
fn add(node: &RestNode, nodes: &[String], out: &mut impl Write) -> Result<(), Failure> {
    let mut added = 0;
    for nodes in nodes.chunks(NODES_AT_ONCE) {
        let body = NodesJson { nodes: nodes.to_vec() };
        let taken: AddedJson = node.post("/admin/v1/pool", &body)?.success()?.json("count")?;
        added += taken.added;
    }
    writeln!(out, "added {added}; {}", summary(&pool_of(node)?))?;
    Ok(())
}

fn pool_of(node: &RestNode) -> Result<PoolJson, Failure> {
    node.get("/admin/v1/pool")?.success()?.json("pool")
}

fn print(pool: &PoolJson, out: &mut impl Write) -> std::io::Result<()> {
    if !pool.nodes.is_empty() {
        let head =
            ["NODE", "ROLES", "PROFILE", "FRAGMENTS", "SOURCE", "AGE", "CLASS", "STATE", "WHY"].map(str::to_owned);
        let rows: Vec<_> = std::iter::once(head).chain(pool.nodes.iter().map(row)).collect();
        let mut sides = [Side::Left; 9];
        sides[5] = Side::Right;
        let layout = Layout::of(sides, &rows);
        for row in &rows {
            layout.write(out, row)?;
        }
        writeln!(out)?;
    }
    writeln!(out, "{}", summary(pool))
}

fn row(node: &NodeJson) -> [String; 9] {
    let listed = |names: &[String]| if names.is_empty() { "-".to_owned() } else { names.join(",") };
    let age = node.age_seconds.map_or_else(|| "-".to_owned(), short_time);
    let fragments = match node.reassembles {
        Some(true) => "yes",
        Some(false) => "no",
        None => "-",
    };
    let why = if node.state == USABLE { "" } else { &node.reason };
    [
        short_peer(&node.peer_id),
        listed(&node.roles),
        listed(&node.profiles),
        fragments.to_owned(),
        listed(&node.sources),
        age,
        node.class.clone(),
        node.state.clone(),
        why.to_owned(),
    ]
}

/// The state of nodes that need no excuse.
const USABLE: &str = wakumix_role_api::directory::PoolState::Usable.as_str();

fn usable(pool: &PoolJson) -> usize {
    pool.counts.get(USABLE).copied().unwrap_or(0)
}

fn summary(pool: &PoolJson) -> String {
    let usable = usable(pool);
    let diversity = &pool.diversity;
    let plural = |count: usize, one: &'static str, many: &'static str| if count == 1 { one } else { many };
    let mut text = format!(
        "{usable} of {} known mix nodes usable, {} needed; in {} {}, of {} {} as far as is known",
        pool.nodes.len(),
        pool.needed,
        diversity.subnets,
        plural(diversity.subnets, "/24", "different /24"),
        diversity.operators,
        plural(diversity.operators, "operator", "operators"),
    );
    if usable < pool.needed {
        text.push_str("; too few to send");
    }
    text
}
