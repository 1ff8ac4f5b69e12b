//! What the mixer takes: packets from the wire and packets made here.

use std::time::Duration;

use tokio::sync::oneshot;
use wakumix_mix::{DropReason, HopAddress, Packet, Stage};

use crate::{Address, RoleName, SendError, host::SendFailure};

/// The role that takes these messages.
pub const NAME: RoleName = RoleName::new("mixer");

/// A finished packet made on this node: a request or a reply through a SURB.
#[derive(Debug)]
pub struct LocalPacket {
    /// Its first hop.
    pub to: HopAddress,
    /// The packet.
    pub packet: Packet,
    /// How long it waits before it leaves.
    pub hold: Duration,
    /// Told how it left.
    pub done: Option<oneshot::Sender<Result<(), SendFailure>>>,
}

/// The way to the mixer. Cheap to clone.
#[derive(Clone, Debug)]
pub struct MixerHandle {
    received: Address<Packet>,
    local: Address<LocalPacket>,
}

impl MixerHandle {
    /// Wraps the mixer's queues: of packets that peers have sent, and of those that were made here. Neither waits behind the
    /// other.
    pub fn new(received: Address<Packet>, local: Address<LocalPacket>) -> Self {
        Self { received, local }
    }

    /// The queue of packets that arrived on a mix protocol: the first of three on their way through the node.
    pub fn received(&self) -> &Address<Packet> {
        &self.received
    }

    /// The queue of packets that were made here.
    pub fn local(&self) -> &Address<LocalPacket> {
        &self.local
    }

    /// Takes a packet that a peer has sent. When the queue is full the newest is dropped; false when the mixer has stopped.
    pub fn receive(&self, packet: Packet) -> bool {
        let drop_for = |mut packet: Packet, stage, reason| {
            packet.enter(stage);
            packet.reject(reason);
        };
        match self.received.try_send(packet) {
            Ok(()) => true,
            Err(SendError::Full(packet)) => {
                drop_for(packet, Stage::Unwrap, DropReason::QueueFull);
                true
            }
            Err(SendError::Closed(packet)) => {
                drop_for(packet, Stage::Shutdown, DropReason::Stopped);
                false
            }
        }
    }

    /// Hands over a packet made here. When the queue is full the packet comes back.
    #[expect(clippy::result_large_err, reason = "the packet comes back whole, without an allocation for each one sent")]
    pub fn send(&self, packet: LocalPacket) -> Result<(), SendError<LocalPacket>> {
        self.local.try_send(packet)
    }
}
