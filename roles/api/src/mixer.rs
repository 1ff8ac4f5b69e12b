//! What the mixer takes: packets from the wire and packets made here.

use std::time::Duration;

use tokio::sync::oneshot;
use wakumix_mix::{HopAddress, Packet};

use crate::{Address, SendError, host::SendFailure};

/// A message to the mixer.
#[derive(Debug)]
pub enum MixerMessage {
    /// Packets that arrived on `/mix/1.0.0`.
    Received(Vec<Packet>),
    /// A packet made on this node: a request or a reply through a SURB.
    Send(Box<LocalPacket>),
}

/// A finished packet made on this node.
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
    address: Address<MixerMessage>,
}

impl MixerHandle {
    /// Wraps the mixer's address.
    pub fn new(address: Address<MixerMessage>) -> Self {
        Self { address }
    }

    /// The queue itself, for the host's back-pressure.
    pub fn address(&self) -> &Address<MixerMessage> {
        &self.address
    }

    /// Hands over a packet made here. When the mixer's queue is full the packet comes back.
    pub fn send(&self, packet: LocalPacket) -> Result<(), SendError<Box<LocalPacket>>> {
        match self.address.try_reserve() {
            Ok(slot) => {
                slot.send(MixerMessage::Send(Box::new(packet)));
                Ok(())
            }
            Err(no_room) => Err(no_room.refuse(Box::new(packet))),
        }
    }
}
