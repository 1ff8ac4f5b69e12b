//! `wakumix pool`: the mix nodes that a running node knows, and what is wrong with those that it cannot use.

#[cfg(test)]
mod tests;

use std::{io::Write, time::Duration};

use wakumix_node::{
    config::Problem,
    rest::pool::{NodeJson, PoolJson},
};
use wakumix_role_api::command::{DEFAULT_NODE, Layout, Side, short_peer, short_time};

use super::{
    Failure,
    rest::{RestNode, TokenArgs},
    wait::WaitArgs,
};

/// How long a node may take to answer.
const LIMIT: Duration = Duration::from_secs(10);

/// Show the mix nodes that a running node knows
///
/// One line a node, usable ones first: what it offers, its wire profiles, whether it puts fragments together (FRAGMENTS),
/// who tells of it, how long ago it was reached, whether it is the operator's entry, was reached, or has only dialled in
/// itself (CLASS), its state and why. --wait waits until enough are usable to send. The node must serve its admin interface: REST on loopback, or rest-admin = true.
#[derive(Debug, clap::Args)]
pub(super) struct PoolCommand {
    /// REST address of the node
    #[arg(long, value_name = "NODE", default_value = DEFAULT_NODE)]
    via: String,
    #[command(flatten)]
    token: TokenArgs,
    #[command(flatten)]
    wait: WaitArgs,
    /// Print the JSON object of GET /admin/v1/pool
    #[arg(long)]
    json: bool,
}

impl PoolCommand {
    pub(super) fn run(&self, out: &mut impl Write) -> Result<(), Failure> {
        let node = RestNode::at(&self.via, LIMIT, self.token.read()?)?;
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
        let pool: PoolJson = node.get("/admin/v1/pool")?.success()?.json("pool")?;
        let usable = usable(&pool);
        if self.wait.is_given() && usable < pool.needed {
            let message = format!("pool too small: {usable} usable mix nodes, {} needed", pool.needed);
            let help = "look at the whole pool without --wait; nodes are found through entry-node and mixnode";
            return Err(Failure::Runtime(Problem::new(message, help)));
        }
        Ok(pool)
    }
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
