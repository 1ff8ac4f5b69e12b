//! `wakumix node`: runs a node until it is told to stop.

use std::time::Duration;

use wakumix_node::{
    config::{Loaded, load},
    node::Node,
    roles::Roles,
    runtime::{self, StopSignals},
};
use wakumix_role_api::Fatal;
use wakumix_telemetry::logging;

use super::{ConfigArgs, Failure};

/// Run a node
///
/// Runs the roles of the configuration until SIGTERM or SIGINT, then stops within drain-timeout: new work is refused,
/// delayed packets leave at their times, what is left is dropped and counted.
#[derive(Debug, clap::Args)]
pub(super) struct NodeCommand {
    #[command(flatten)]
    config: ConfigArgs,
}

impl NodeCommand {
    pub(super) fn run(&self, roles: &Roles) -> Result<(), Failure> {
        let loaded = load(&self.config.inputs(roles))?;
        logging::init(loaded.config.log_format, &loaded.config.log_level).map_err(Failure::while_running)?;
        if !loaded.config.core_dumps {
            runtime::keep_memory_private().map_err(Failure::while_running)?;
        }
        for warning in &loaded.warnings {
            tracing::warn!("{warning}");
        }
        let ended = runtime::block_on(serve(&loaded)).map_err(Failure::while_running)?;
        ended.map_err(Failure::while_running)
    }
}

/// Why the node stops.
enum Cause {
    Signal(&'static str),
    Failed(Fatal),
}

async fn serve(loaded: &Loaded) -> Result<(), String> {
    // Before anything is announced: whoever reads that the node runs may tell it to stop.
    let mut signals = StopSignals::listen().map_err(|error| format!("cannot handle signals: {error}"))?;
    let mut node = Node::start(loaded).await.map_err(|error| error.to_string())?;
    announce(loaded, &node);
    let cause = tokio::select! {
        signal = signals.next() => Cause::Signal(signal),
        fatal = node.failed() => Cause::Failed(fatal),
    };
    let limit: Duration = loaded.config.drain_timeout.as_duration();
    match &cause {
        Cause::Signal(name) => tracing::info!(signal = name, limit_s = limit.as_secs_f64(), "stopping"),
        Cause::Failed(fatal) => tracing::error!("stopping: {fatal}"),
    }
    let summary = node.stop(limit).await;
    tracing::info!(finished = summary.finished, given_up = summary.abandoned, late = summary.late.join(","), "stopped");
    match cause {
        Cause::Signal(_) => Ok(()),
        Cause::Failed(fatal) => Err(fatal.to_string()),
    }
}

/// Says what runs and where.
fn announce(loaded: &Loaded, node: &Node) {
    let roles: Vec<&str> = loaded.config.roles.iter().map(|role| role.as_str()).collect();
    tracing::info!(
        version = wakumix_node::VERSION,
        roles = roles.join(","),
        profile = %loaded.config.profiles_text(),
        cluster = loaded.config.cluster_id,
        "node started"
    );
    let peer = node.peer_id();
    for address in node.listen_addresses() {
        tracing::info!("listening on {address}/p2p/{peer}");
    }
    if let Some(mix_node) = node.mix_node().filter(|_| loaded.config.forwards()) {
        tracing::info!("for the mixnode list of others: {}/p2p/{peer}:{}", mix_node.address.multiaddr(), mix_node.key);
    }
    if let Some(warning) = node.mix_node().and_then(|own| loaded.closed_network_warning(own.address.ip())) {
        tracing::warn!("{warning}");
    }
    for (name, address) in [("REST", node.rest_address()), ("metrics", node.metrics_address())] {
        if let Some(address) = address {
            tracing::info!("{name} on http://{address}");
        }
    }
}
