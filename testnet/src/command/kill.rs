//! Kills nodes without warning while messages are sent, and watches how the senders get rid of them.

use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::{net::KindNet, plan::Plan, pools::Pools, traffic::Tally};

/// How long the senders may take to be rid of dead nodes before the report says that they were not.
const RID_LIMIT: Duration = Duration::from_secs(120);

/// What became of a kill.
#[derive(Clone, Copy, Debug)]
pub(super) struct Killed {
    /// When the last of the victims was gone.
    pub(super) at: Instant,
    /// When no sender had any of them in its pool any more.
    pub(super) rid_at: Option<Instant>,
}

/// Kills who the plan says once so many messages are sent, and waits until no pool has them any more.
pub(super) async fn when_due(plan: &Plan, net: &mut KindNet, pools: &Pools, tally: &Tally) -> Option<Killed> {
    let kill = plan.kill.as_ref()?;
    tally.until_sent(kill.after).await;
    let victims = net.kill(&kill.victims).await;
    let at = Instant::now();
    let is_rid = pools.until(|directory| victims.iter().all(|victim| directory.mix_node(victim).is_none()));
    let rid_at = timeout(RID_LIMIT, is_rid).await.ok().map(|()| Instant::now());
    Some(Killed { at, rid_at })
}
