//! The mixer's actor: admits packets. It never waits and never computes, so its inbox is emptied at once.

use libp2p_identity::PeerId;
use wakumix_mix::{DropReason, Packet, Stage};
use wakumix_role_api::{
    Actor, Address, Context, SendError,
    host::{OutboundPacket, Reach, SendFailure},
    mixer::{LocalPacket, MixerMessage},
};

use crate::effects::{Effects, give_up, give_up_stopped};

/// All fields are derivable: the factory makes them anew after a panic. What must survive one, queues and tags, is
/// not here.
pub(crate) struct MixerActor {
    pub(crate) me: PeerId,
    pub(crate) unwrap: Address<Packet>,
    pub(crate) effects: Effects,
}

impl Actor for MixerActor {
    type Message = MixerMessage;

    const NAME: &'static str = "mixer";

    fn handle(&mut self, message: MixerMessage, _: &Context<MixerMessage>) {
        match message {
            MixerMessage::Received(packets) => packets.into_iter().for_each(|packet| self.admit(packet)),
            MixerMessage::Send(packet) => self.send(*packet),
        }
    }
}

impl MixerActor {
    /// Puts a received packet into the queue for unwrapping, or drops it when that is full.
    pub(crate) fn admit(&self, mut packet: Packet) {
        packet.enter(Stage::Unwrap);
        match self.unwrap.try_send(packet) {
            Ok(()) => {}
            Err(SendError::Full(packet)) => packet.reject(DropReason::QueueFull),
            Err(SendError::Closed(packet)) => give_up_stopped(packet),
        }
    }

    /// Sends a packet made here. No path of ours begins at ourselves, and a SURB that does cannot come from an honest
    /// sender (`spec/mix-wire.md` §13: it leaves out the exit), so such a packet is refused, not looped back.
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
