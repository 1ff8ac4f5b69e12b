//! `wakumix node`: runs a node until it is told to stop.

use std::time::Duration;

use wakumix_node::{
    config::{Config, Loaded, load, log_form},
    node::Node,
    roles::Roles,
    runtime::{self, Hangups, StopSignals},
};
use wakumix_role_api::Fatal;
use wakumix_telemetry::logging;

use super::{ConfigArgs, Failure, version};

/// The exit code after a second signal.
const EXIT_AT_ONCE: i32 = 3;

/// Run a node
///
/// Runs the roles of the configuration until SIGTERM or SIGINT, then stops within drain-timeout: new work is refused,
/// delayed packets leave at their times, what is left is dropped and counted. A second signal ends it at once; SIGHUP changes
/// nothing.
#[derive(Debug, clap::Args)]
pub(super) struct NodeCommand {
    #[command(flatten)]
    config: ConfigArgs,
}

impl NodeCommand {
    pub(super) fn run(&self, roles: &Roles) -> Result<(), Failure> {
        let inputs = self.config.inputs(roles);
        let loaded = load(&inputs).inspect_err(|_| {
            // Collectors read what is wrong as well. Where there is a logger already, it has a form.
            let (format, name) = log_form(&inputs);
            let _ = logging::init(format, "info", name.as_deref());
        })?;
        let Config { log_format, log_level, log_name, .. } = &loaded.config;
        logging::init(*log_format, log_level, log_name.as_deref()).map_err(Failure::while_running)?;
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
    let no_signals = |error| format!("cannot handle signals: {error}");
    let mut signals = StopSignals::listen().map_err(no_signals)?;
    let mut hangups = Hangups::listen().map_err(no_signals)?;
    let mut node = tokio::select! {
        started = Node::start(loaded) => started.map_err(|error| error.to_string())?,
        signal = signals.next() => {
            tracing::info!(signal, "stopped before it had started");
            return Ok(());
        }
    };
    announce(loaded, &node);
    let cause = loop {
        tokio::select! {
            signal = signals.next() => break Cause::Signal(signal),
            fatal = node.failed() => break Cause::Failed(fatal),
            () = hangups.next() => tracing::info!("SIGHUP changes nothing: a changed configuration is read at the next start"),
        }
    };
    let limit: Duration = loaded.config.drain_timeout.as_duration();
    match &cause {
        Cause::Signal(name) => tracing::info!(signal = name, limit_s = limit.as_secs_f64(), "stopping"),
        Cause::Failed(fatal) => tracing::error!("stopping: {fatal}"),
    }
    let summary = tokio::select! {
        summary = node.stop(limit) => summary,
        signal = signals.next() => at_once(signal),
    };
    tracing::info!(finished = summary.finished, given_up = summary.abandoned, late = summary.late.join(","), "stopped");
    match cause {
        Cause::Signal(_) => Ok(()),
        Cause::Failed(fatal) => Err(fatal.to_string()),
    }
}

/// Ends the process. Whoever asks twice does not want to wait for what the node still holds, which is lost like in a crash.
fn at_once(signal: &'static str) -> ! {
    tracing::warn!(signal, "stopped at once by a second signal; what was held is lost");
    std::process::exit(EXIT_AT_ONCE)
}

/// Says what runs and where.
fn announce(loaded: &Loaded, node: &Node) {
    let roles: Vec<&str> = loaded.config.roles.iter().map(|role| role.as_str()).collect();
    tracing::info!(
        version = version::VERSION,
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
            tracing::info!("{name} on {}://{address}", node.http_scheme());
        }
    }
}
