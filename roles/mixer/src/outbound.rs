//! The end of a packet here: handed to the host, or dropped, with the outcome sent to the waiting caller.

use wakumix_mix::{DropReason, Outcome, Packet, Stage};
use wakumix_role_api::host::{HostHandle, OutboundPacket, SendFailure};

/// Hands packets to the host. What it refuses is dropped and counted.
pub(crate) fn send_now(host: &HostHandle, mut packets: Vec<OutboundPacket>) {
    for outbound in &mut packets {
        outbound.packet.enter(Stage::Egress);
    }
    if let Err(error) = host.send_packets(packets) {
        let is_full = error.is_full();
        for outbound in error.into_inner() {
            if is_full {
                give_up(outbound, Stage::Egress, DropReason::QueueFull, SendFailure::QueueFull);
            } else {
                give_up(outbound, Stage::Shutdown, DropReason::Stopped, SendFailure::Stopped);
            }
        }
    }
}

/// Drops a packet and tells whoever waits for it.
pub(crate) fn give_up(outbound: OutboundPacket, stage: Stage, reason: DropReason, failure: SendFailure) {
    outbound.packet.finish(Outcome::Dropped { stage, reason });
    if let Some(done) = outbound.done {
        // A caller that has gone away needs no answer.
        let _ = done.send(Err(failure));
    }
}

/// Drops a packet that nobody waits for because the node stops.
pub(crate) fn give_up_stopped(mut packet: Packet) {
    packet.enter(Stage::Shutdown);
    packet.reject(DropReason::Stopped);
}
