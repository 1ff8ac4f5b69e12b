//! The queues between the actors of a node, and how much each holds.

use wakumix_role_api::{
    Inbox, Inboxes, Ports, RoleName,
    host::{HostHandle, HostMessage},
    mailbox,
    mixer::MixerHandle,
    relay::RelayHandle,
    sender::SenderHandle,
};
use wakumix_telemetry::Telemetry;

use crate::config::Config;

/// Commands to the host; a command carries a batch of packets.
const HOST: usize = 1024;
/// Packets made here that wait for the mixer.
const LOCAL_PACKETS: usize = 256;
/// Packets that wait for the exit: as many as it works on at a time by default.
const EXIT: usize = 256;
/// Requests and replies that wait for the sender.
const SENDER: usize = 1024;
/// Gossip, lightpush requests and local publishing that wait for the relay.
const RELAY: usize = 1024;

/// The queue of every actor that the configuration needs.
pub(super) fn queues(config: &Config, telemetry: &Telemetry) -> (Ports, Inboxes, Inbox<HostMessage>) {
    let (host, host_inbox) = mailbox("host", HOST, telemetry);
    let mut ports = Ports { host: HostHandle::new(host), mixer: None, exit: None, sender: None, relay: None };
    let mut inboxes = Inboxes::default();
    if config.mixes() {
        let waiting = usize::try_from(config.mixer.max_waiting).unwrap_or(usize::MAX);
        let (received, inbox) = mailbox("mixer", waiting, telemetry);
        let (local, local_inbox) = mailbox("mixer_local", LOCAL_PACKETS, telemetry);
        ports.mixer = Some(MixerHandle::new(received, local));
        (inboxes.mixer, inboxes.local_packets) = (Some(inbox), Some(local_inbox));
    }
    if config.has_role(RoleName::Exit) {
        let (address, inbox) = mailbox("exit", EXIT, telemetry);
        (ports.exit, inboxes.exit) = (Some(address), Some(inbox));
    }
    if config.has_role(RoleName::Sender) {
        let (address, inbox) = mailbox("sender", SENDER, telemetry);
        (ports.sender, inboxes.sender) = (Some(SenderHandle::new(address)), Some(inbox));
    }
    if config.has_role(RoleName::Relay) {
        let (address, inbox) = mailbox("relay", RELAY, telemetry);
        (ports.relay, inboxes.relay) = (Some(RelayHandle::new(address)), Some(inbox));
    }
    (ports, inboxes, host_inbox)
}
