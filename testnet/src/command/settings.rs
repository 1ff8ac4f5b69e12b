//! What each node of a test net is configured with.

use libp2p_identity::secp256k1;
use rand_chacha::{ChaCha20Rng, rand_core::Rng as _};
use wakumix_node::config::Timespan;
use wakumix_sphinx::PrivateKey;

use super::options::Options;
use crate::{Kind, NodePlan};

/// A node of this kind, with keys and losses drawn from the seed. The net decides which nodes it discovers.
pub(super) fn node_plan(options: &Options, kind: Kind, number: u16, rng: &mut ChaCha20Rng) -> NodePlan {
    let (identity, mix_key, loss_seed) = (identity(rng), PrivateKey::generate(rng), rng.next_u32());
    let (delay, surfaces) = (options.delay.to_string(), options.hold.to_string());
    let plan = kind
        .plan(number.into())
        .held_for(&delay, &delay)
        .with("nodekey", &hex::encode(identity.to_bytes()))
        .with("mix.profile", &options.profiles())
        .with("mixer.cover", &options.cover)
        .with("rest", &surfaces)
        .with("metrics-server", &surfaces);
    // Pages find nodes by their descriptors.
    let plan = match options.websocket {
        true => plan.with("websocket-support", "true").with("websocket-port", "0").with("descriptors", "true"),
        false => plan,
    };
    // A mix key that is set is never replaced, so where keys are to be, the node draws its own.
    let plan = match options.rotate {
        None => plan.with("mixkey", &hex::encode(mix_key.as_bytes())),
        Some(lifetime) => {
            let overlap = Timespan::from_millis(lifetime.as_millis() / 2);
            let plan = plan.without("mixkey").with("keys.lifetime", &lifetime.to_string());
            plan.with("keys.overlap", &overlap.to_string())
        }
    };
    match options.loss {
        None => plan,
        Some(loss) => {
            let plan = plan.with("host.inject-loss", &loss.to_string());
            plan.with("host.inject-loss-seed", &loss_seed.to_string())
        }
    }
}

/// Ports of a node: libp2p and discv5, REST, metrics.
pub(super) const PORTS: u32 = 3;

/// Gives the node at this place of the net its ports, if they begin at one.
pub(super) fn with_ports(plan: NodePlan, base: Option<u16>, place: usize) -> NodePlan {
    let Some(base) = base else { return plan };
    let first = u32::from(base) + PORTS * u32::try_from(place).unwrap_or(u32::MAX / PORTS);
    let keys = [("tcp-port", 0), ("discv5-udp-port", 0), ("rest-port", 1), ("metrics-server-port", 2)];
    keys.iter().fold(plan, |plan, (key, offset)| plan.with(key, &(first + offset).to_string()))
}

/// The secret of a secp256k1 identity.
fn identity(rng: &mut ChaCha20Rng) -> secp256k1::SecretKey {
    loop {
        let mut bytes = [0; 32];
        rng.fill_bytes(&mut bytes);
        // All but about one in 2^128 values are keys.
        if let Ok(secret) = secp256k1::SecretKey::try_from_bytes(&mut bytes) {
            return secret;
        }
    }
}
