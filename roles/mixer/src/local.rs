//! Packets made on this node: sent after their hold.

use libp2p_identity::PeerId;
use tokio::{sync::watch, time::Instant};
use wakumix_mix::{DropReason, Stage};
use wakumix_role_api::{
    Inbox,
    host::{OutboundPacket, Reach, SendFailure},
    mixer::LocalPacket,
};

use crate::delay_queue::stop_deadline;
use crate::effects::Effects;
use crate::outbound::give_up;

/// The task that takes them. Its queue outlives it.
#[derive(Clone)]
pub(crate) struct LocalPackets {
    pub(crate) me: PeerId,
    pub(crate) queue: Inbox<LocalPacket>,
    pub(crate) effects: Effects,
    pub(crate) stop: watch::Receiver<Option<Instant>>,
}

impl LocalPackets {
    /// Sends what comes until the node stops, and then what is left.
    pub(crate) async fn run(mut self) {
        let Some(mut queue) = self.queue.receiver() else {
            tracing::error!("the queue of local packets is read by somebody else; report this as a bug");
            return;
        };
        loop {
            let packet = tokio::select! {
                biased;
                packet = queue.recv() => packet,
                _ = stop_deadline(&mut self.stop) => {
                    self.queue.close();
                    queue.try_recv()
                }
            };
            let Some(packet) = packet else { return };
            self.send(packet);
        }
    }

    /// Sends a packet made here. No path of ours begins at ourselves, and a SURB that does cannot come from an honest
    /// sender (`spec/mix-wire.md §13`: it leaves out the exit), so such a packet is refused, not looped back.
    pub(crate) fn send(&self, packet: LocalPacket) {
        let LocalPacket { to, packet, hold, done } = packet;
        let outbound = OutboundPacket { to, reach: Reach::Dial, packet, done };
        if outbound.to.peer() == self.me {
            give_up(outbound, Stage::Egress, DropReason::InvalidDestination, SendFailure::DialFailed);
            return;
        }
        self.effects.send_after(hold, outbound);
    }
}
