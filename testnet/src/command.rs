//! `wakumix testnet`: a net that sends messages and says how it went.
//!
//! `options` are the flags, `check` judges them, `plan` says what is built, `settings` how each node is configured, `net` starts
//! the nodes, `pools` watches the senders find the others, `traffic` sends and counts, `kill` takes nodes away, `live` shows it
//! while it runs and `report` says how it went. `page` serves a web page that
//! sends through the net. `gossip` is another net: relays alone, under load.

mod check;
mod choices;
mod counters;
mod gossip;
mod kill;
mod live;
mod net;
mod options;
mod page;
mod plan;
mod pools;
mod report;
mod settings;
mod targets;
mod terminal;
mod traffic;

use std::{io::Write as _, time::Duration};

pub use choices::{DiscoveryMethod, Payload, Shape, Share};
pub use options::Options;
pub use report::{KillReport, Percentiles, Report, RolePackets};

use live::View;
use net::KindNet;
use parking_lot::Mutex;
use plan::Plan;
use report::Start;
use tokio::time::Instant;
use traffic::Tally;
use wakumix_node::{config::Problems, runtime::StopSignals};
use wakumix_role_api::sender::SenderHandle;

use crate::MemberError;

/// How long the net may take until every subscriber is reachable and every pool is full.
const START_LIMIT: Duration = Duration::from_secs(180);
/// How long subscribers and packets may lag behind the last answer.
const FINISH_LIMIT: Duration = Duration::from_secs(20);
/// How long stopping a node may take.
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// Why a test net did not run to its end.
#[derive(Debug, thiserror::Error)]
pub enum TestnetError {
    /// The options do not make a net.
    #[error(transparent)]
    Options(#[from] Problems),
    /// A node did not start.
    #[error(transparent)]
    Start(#[from] MemberError),
    /// The net did not come up in time.
    #[error("the net is not ready after {} s: {waiting}", limit.as_secs())]
    NotReady {
        /// The time it had.
        limit: Duration,
        /// What it waited for.
        waiting: String,
    },
    /// Standard output is gone, or signals cannot be waited for.
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

/// Runs a test net and prints its report. True when it [passed](Report::passed). Must be called inside an actix `System`.
pub async fn run(options: Options) -> Result<bool, TestnetError> {
    if let Some(shape) = options.gossip {
        return gossip::run(&options, shape).await;
    }
    let plan = Plan::new(&options)?;
    let screen = live::Screen::new();
    screen.note(&plan.headline());
    let mut net = KindNet::start(&plan).await?;
    if let Some(path) = &options.prometheus_targets {
        net.write_targets(path)?;
    }
    let pools = net.pools();
    let noting = pools.note_times(net.started());
    let view = View { pools: pools.clone(), traffic: None };
    let watch = live::watch(screen, view.clone(), net.started());
    let ready = net.wait_until_ready(&pools, START_LIMIT).await;
    let screen = watch.finish().await;
    ready?;
    let start = Start { ready: net.started().elapsed(), smallest: pools.smallest() };
    screen.note(&format!("ready after {:.1} s", start.ready.as_secs_f64()));

    let tally = Tally::new(&plan);
    let counters = net.counters();
    let started = Instant::now();
    let watch = live::watch(screen, View { traffic: Some((counters.clone(), tally.clone())), ..view }, started);
    let follow = net.follow(&tally).await;
    let senders = net.senders();
    let traffic = traffic::send_all(&plan, &senders, &tally);
    let ((), killed) = futures::join!(traffic, kill::when_due(&plan, &mut net, &pools, &tally));
    let at_rest = traffic::finish(&plan, &counters, &tally, FINISH_LIMIT).await;
    let elapsed = started.elapsed();
    follow.abort();
    noting.abort();
    // Where cover is made the net is at rest only once it has stopped.
    let (net, counted) = if options.makes_cover() {
        net.stop(STOP_LIMIT).await;
        (None, counters.read())
    } else {
        (Some(net), at_rest)
    };
    watch.finish().await;

    let report = Report::new(&plan, &start, &pools, &counted, &tally, killed.as_ref(), elapsed);
    match print(&report, options.json) {
        // Who reads has read enough; what the net is up to does not depend on it.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {}
        printed => printed?,
    }

    let Some(net) = net else { return Ok(report.passed()) };
    if options.hold {
        hold(&plan, &net, &senders).await?;
    }
    net.stop(STOP_LIMIT).await;
    Ok(report.passed())
}

fn print(report: &Report, json: bool) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    if json {
        serde_json::to_writer_pretty(&mut out, report)?;
        writeln!(out)?;
    } else {
        out.write_all(report.render().as_bytes())?;
    }
    out.flush()
}

/// Keeps the net up until the user ends it. With a rate, messages go on.
async fn hold(plan: &Plan, net: &KindNet, senders: &[SenderHandle]) -> Result<(), TestnetError> {
    net.forget_messages().await;
    let mut signals = StopSignals::listen()?;
    let say = |text: &str| {
        // A closed terminal must not stop the net.
        let _ = std::io::stderr().write_all(text.as_bytes());
    };
    let page = match plan.options.websocket {
        true => Some(page::Page::serve(&plan.options.page, &net.websocket_addresses())?),
        false => None,
    };
    say(&net.describe_surfaces(page.as_ref().map(page::Page::url).as_deref()));
    let Some(rate) = plan.options.rate else {
        signals.next().await;
        end(page).await;
        return Ok(());
    };
    say(&format!("meanwhile {rate} messages a second go on\n"));
    let outcomes = Mutex::default();
    tokio::select! {
        _ = signals.next() => {}
        () = traffic::go_on(plan, senders, &outcomes) => {}
    }
    end(page).await;
    let counted: Vec<String> = outcomes.lock().iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    say(&terminal::wrapped(&format!(
        "meanwhile: {}",
        if counted.is_empty() { "no outcome yet".to_owned() } else { counted.join(", ") }
    )));
    Ok(())
}

async fn end(page: Option<page::Page>) {
    if let Some(page) = page {
        page.stop().await;
    }
}
