//! Carries out what was decided: to the host, the delay queue, the exit, the sender. Decides nothing but what a refusal
//! means: the packet is dropped and counted.

use std::time::Duration;

use wakumix_mix::{DropReason, Stage};
use wakumix_role_api::{
    Address, Formats, SendError,
    exit::{ExitMessage, ExitPacket},
    host::{HostHandle, OutboundPacket},
    sender::{ReplyPacket, SenderHandle},
};

use crate::delay_queue::{DelayQueue, Delayed};
use crate::loops::Loops;
use crate::outbound::send_now;
use crate::pipeline::Decisions;

/// Where packets go from here. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Effects {
    pub(crate) host: HostHandle,
    pub(crate) delays: DelayQueue,
    /// `None` when this node is no exit.
    pub(crate) exit: Option<Address<ExitMessage>>,
    /// `None` when this node sends nothing, so that no reply can be for it.
    pub(crate) sender: Option<SenderHandle>,
    pub(crate) formats: Formats,
    /// The loops that this node has sent.
    pub(crate) loops: Loops,
}

impl Effects {
    /// Carries out the decisions about one batch. Packets without a delay need no room in the delay queue.
    pub(crate) fn carry_out(&self, decisions: Decisions) {
        let Decisions { at_once, later, exits, replies, loops } = decisions;
        if !at_once.is_empty() {
            send_now(&self.host, at_once);
        }
        if !later.is_empty() {
            self.delays.hold(later);
        }
        exits.into_iter().for_each(|packet| self.to_exit(packet));
        replies.into_iter().for_each(|packet| self.to_sender(packet));
        loops.iter().for_each(|id| self.loops.returned(id));
    }

    /// Sends one packet after its delay, if it has one.
    pub(crate) fn send_after(&self, delay: Duration, outbound: OutboundPacket) {
        if delay.is_zero() {
            send_now(&self.host, vec![outbound]);
        } else {
            self.delays.hold([Delayed { delay, outbound }]);
        }
    }

    fn to_exit(&self, mut packet: ExitPacket) {
        packet.packet.enter(Stage::Exit);
        let Some(exit) = &self.exit else {
            return packet.packet.reject(DropReason::NoExit);
        };
        if let Err(error) = exit.try_send(ExitMessage::Packet(packet)) {
            let reason = refusal(&error);
            let ExitMessage::Packet(packet) = error.into_inner();
            packet.packet.reject(reason);
        }
    }

    /// The worker that has recognised a reply opens it.
    fn to_sender(&self, mut packet: ReplyPacket) {
        packet.packet.enter(Stage::Reply);
        match &self.sender {
            Some(sender) => sender.open_reply(&self.formats, packet),
            None => packet.packet.reject(DropReason::UnknownReply),
        }
    }
}

/// How a packet is counted that a queue gave back.
fn refusal<M>(error: &SendError<M>) -> DropReason {
    if error.is_full() { DropReason::QueueFull } else { DropReason::Stopped }
}
