//! One loop from its packet to its outcome.

use std::{sync::Arc, time::Duration};

use libp2p_identity::PeerId;
use rand_core::CryptoRng;

use crate::{
    ClientError, LoopOutcome, LoopRequest, Output, RequestId, SurbStore, TryId,
    client::guards_in_use,
    dispatch::{Content, Dispatch, Start},
    exchange::{Common, Turn},
    return_route::ReturnRoute,
    route::{Surroundings, choose_loop},
};

/// A loop that is open.
pub(crate) struct Probe {
    /// When it counts as lost.
    pub(crate) deadline: Duration,
    start: Arc<Start>,
    /// When its packet was handed over.
    left: Option<Duration>,
}

impl Probe {
    /// Chooses the path in the format of this node's choice, and has the packet built.
    pub(crate) fn begin<R: CryptoRng>(
        id: RequestId,
        request: LoopRequest,
        common: &Common,
        turn: &mut Turn<'_, R>,
    ) -> Result<Self, ClientError> {
        let LoopRequest { through, place, timeout } = request;
        let Common { config, network, connected, own, formats, .. } = common;
        let kind = common.formats.first().ok_or(ClientError::Internal("no packet format"))?.wire().kind();
        let return_route = ReturnRoute::to(own, network.directory(), connected)?;
        let guards = guards_in_use(network.directory(), connected, usize::MAX);
        let (guards, weight) = (guards.as_deref(), &|_: &PeerId| 1.0);
        let around = Surroundings { network, connected, return_route: &return_route, formats, guards, weight };
        let path = choose_loop(turn.rng, around, kind, (through, place))?;
        let hold = config.hold.sample(turn.rng, config.hold.encode());
        let start = Arc::<Start>::default();
        let dispatch = Dispatch {
            id: only_try(id),
            holds: vec![hold],
            start: Arc::clone(&start),
            kind,
            content: Content::Loop { path: Box::new(path) },
            delay_ms: config.delay.encode(),
        };
        turn.outputs.push(Output::Dispatch(Box::new(dispatch)));
        let limit = timeout.unwrap_or(config.timeout).min(config.max_timeout);
        Ok(Self { deadline: turn.now.saturating_add(limit), start, left: None })
    }

    pub(crate) fn dispatched(&mut self, now: Duration) {
        self.left.get_or_insert(now);
    }

    /// Its outcome when the packet is back.
    pub(crate) fn returned(&self, now: Duration) -> LoopOutcome {
        LoopOutcome::Returned(now.saturating_sub(self.left.unwrap_or(now)))
    }

    /// Its packet is not built if that has not begun, and its credentials go.
    pub(crate) fn close(&self, id: RequestId, surbs: &SurbStore) {
        let _has_begun = !self.start.is_first();
        surbs.cancel(only_try(id));
    }
}

fn only_try(request: RequestId) -> TryId {
    TryId { request, number: 0 }
}
