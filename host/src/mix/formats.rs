//! The formats of a node, each with its behaviour.

use std::sync::Arc;

use libp2p::StreamProtocol;
use wakumix_mix::{Ledger, MIX_PROTOCOL, SPHINX_PACKET_PROTOCOL};
use wakumix_role_api::{host::PeerLines, mixer::MixerHandle};
use wakumix_sphinx::{BufferPool, FormatKind};
use wakumix_telemetry::Telemetry;

use super::{behaviour::Behaviour, gate::Gate, inbound::Ingress, loss::Dice};
use crate::{HostConfig, config::MixLimits, limits::LastUses, metrics::MixMetrics, start::MixPort};

/// A behaviour for each format that is served.
#[derive(Default)]
pub(crate) struct Protocols {
    pub(crate) mix: Option<Behaviour>,
    pub(crate) sphinx_packet: Option<Behaviour>,
}

/// What the formats have in common.
struct Common<'a> {
    config: &'a HostConfig,
    limits: MixLimits,
    gate: Gate,
    ledger: Arc<Ledger>,
    mixer: MixerHandle,
    lines: PeerLines,
    metrics: MixMetrics,
    uses: LastUses,
}

impl Protocols {
    /// Behaviours for the formats of the port.
    pub(crate) fn new(port: &MixPort, config: &HostConfig, uses: LastUses, telemetry: &Telemetry) -> Self {
        let formats = &port.formats;
        if let Some(loss) = config.mix.inject_loss {
            tracing::warn!(share = loss.share, seed = loss.seed, "THIS NODE LOSES PACKETS ON PURPOSE: for tests only");
        }
        let common = Common {
            config,
            // Dials are bounded in sum: each format has its part, and none can take that of another.
            limits: MixLimits {
                max_dialling: config.mix.max_dialling / formats.all().len().max(1),
                ..config.mix.clone()
            },
            gate: Gate::new(formats, &config.mix, &port.pressure, config.weaknesses, telemetry),
            ledger: Arc::clone(&port.ledger),
            mixer: port.mixer.clone(),
            lines: port.lines.clone(),
            metrics: MixMetrics::new(telemetry),
            uses,
        };
        let behaviour = |kind| formats.of_kind(kind).map(|served| common.behaviour(kind, served.buffers.clone()));
        Self { mix: behaviour(FormatKind::Mix), sphinx_packet: behaviour(FormatKind::SphinxPacket) }
    }
}

impl Common<'_> {
    fn behaviour(&self, kind: FormatKind, pool: BufferPool) -> Behaviour {
        let ingress = Ingress {
            pool,
            ledger: self.ledger.clone(),
            mixer: self.mixer.clone(),
            turn: Arc::default(),
            idle_timeout: self.limits.idle_timeout,
            frame_timeout: self.limits.frame_timeout,
            metrics: self.metrics.clone(),
            uses: self.uses.clone(),
        };
        let dice = self.limits.inject_loss.map(|loss| Dice::new(loss, kind));
        let (limits, gate, lines) = (self.limits.clone(), self.gate.clone(), self.lines.clone());
        Behaviour::new(protocol(kind), limits, self.config.weaknesses, ingress, gate, dice, lines)
    }
}

const fn protocol(kind: FormatKind) -> StreamProtocol {
    match kind {
        FormatKind::Mix => StreamProtocol::new(MIX_PROTOCOL),
        FormatKind::SphinxPacket => StreamProtocol::new(SPHINX_PACKET_PROTOCOL),
    }
}
