//! Packets on their way out: what workers do.

use std::sync::Arc;

use futures::{StreamExt, stream::FuturesUnordered};
use libp2p_identity::PeerId;
use rand::rngs::StdRng;
use tokio::sync::oneshot;
use wakumix_client::{ClientError, Dispatch, Input, NotDispatched, SendFailure, SurbStore, TryId};
use wakumix_mix::{DropReason, Packet};
use wakumix_role_api::{Address, NoRoom, mixer::LocalPacket, sender::SenderMessage};

use crate::shell::Shell;

/// How the packet to one first hop left.
struct FirstHop {
    to: PeerId,
    left: oneshot::Receiver<Result<(), SendFailure>>,
}

/// Has the packets built and handed over, and brings the client what became of them.
pub(crate) async fn dispatch(
    shell: Arc<Shell>,
    surbs: SurbStore,
    packets: Box<Dispatch>,
    mut rng: StdRng,
    sender: Address<SenderMessage>,
) {
    let (id, workers) = (packets.id, shell.workers.clone());
    let undispatched = Undispatched { id, sender: &sender };
    let handed_over = workers.run(move || hand_over(&shell, &surbs, &packets, &mut rng)).await;
    let failed = NotDispatched::Failed(ClientError::Internal("building the packet failed"));
    std::mem::forget(undispatched);
    match handed_over.unwrap_or(Err(failed)) {
        Ok(first_hops) => {
            tell(&sender, Input::Dispatched(id)).await;
            follow_first_hops(id, first_hops, &sender).await;
        }
        Err(reason) => tell(&sender, Input::NotDispatched(id, reason)).await,
    }
}

/// Tells the client that a try is lost whose task ends before its packets were handed over: by a panic.
struct Undispatched<'a> {
    id: TryId,
    sender: &'a Address<SenderMessage>,
}

impl Drop for Undispatched<'_> {
    fn drop(&mut self) {
        let reason = NotDispatched::Failed(ClientError::Internal("the task that sends the packet failed"));
        // Where there is no room for it the request ends at its deadline.
        let _ = self.sender.try_send(SenderMessage::Client(Box::new(Input::NotDispatched(self.id, reason))));
    }
}

async fn follow_first_hops(id: TryId, first_hops: Vec<FirstHop>, sender: &Address<SenderMessage>) {
    let leaving = first_hops.into_iter().map(|FirstHop { to, left }| async move { (to, left.await) });
    let mut leaving: FuturesUnordered<_> = leaving.collect();
    while let Some((to, left)) = leaving.next().await {
        // Without a word the answer or the response timeout decides.
        if let Ok(left) = left {
            tell(sender, Input::FirstHop { id, to, left }).await;
        }
    }
}

/// Builds the packets and hands them to the mixer. There is room for them before they are made, so that none is made in vain;
/// once begun it is done to its end, whatever becomes of the task that asked for it.
fn hand_over(
    shell: &Shell,
    surbs: &SurbStore,
    dispatch: &Dispatch,
    rng: &mut StdRng,
) -> Result<Vec<FirstHop>, NotDispatched> {
    let room = || {
        shell.mixer.local().try_reserve().map_err(|no_room| match no_room {
            NoRoom::Full => NotDispatched::Congested,
            NoRoom::Closed => NotDispatched::Failed(ClientError::Stopped),
        })
    };
    let rooms = (0..dispatch.len()).map(|_| room()).collect::<Result<Vec<_>, _>>()?;
    let served = shell.formats.of_kind(dispatch.kind()).ok_or(NotDispatched::Congested)?;
    let buffers: Vec<_> = (0..dispatch.len()).map_while(|_| served.buffers.take()).collect();
    if buffers.len() < dispatch.len() {
        return Err(NotDispatched::Congested);
    }
    if !dispatch.begin() {
        return Err(NotDispatched::Late);
    }
    let made = |buffer| Packet::originated(buffer, &shell.ledger, dispatch.origin());
    let mut packets: Vec<_> = buffers.into_iter().map(made).collect();
    let keys = match dispatch.build(&*served.format, rng, &mut packets) {
        Ok(keys) => keys,
        Err(defect) => {
            packets.into_iter().for_each(|packet| packet.reject(DropReason::Abandoned));
            return Err(NotDispatched::Failed(defect));
        }
    };
    if surbs.insert(shell.now(), dispatch.id, keys).is_err() {
        shell.metrics.record_rejected_credentials();
        packets.into_iter().for_each(|packet| packet.reject(DropReason::QueueFull));
        return Err(NotDispatched::Congested);
    }
    shell.metrics.show_credentials(surbs.len());
    let mut first_hops = Vec::with_capacity(rooms.len());
    for (((room, packet), to), hold) in rooms.into_iter().zip(packets).zip(dispatch.first_hops()).zip(&dispatch.holds) {
        let (done, left) = oneshot::channel();
        let local = LocalPacket { to: to.clone(), packet, hold: *hold, done: Some(done) };
        room.send(local);
        first_hops.push(FirstHop { to: to.peer(), left });
    }
    Ok(first_hops)
}

async fn tell(sender: &Address<SenderMessage>, input: Input) {
    // A sender that has stopped needs no news.
    let _ = sender.send(SenderMessage::Client(Box::new(input))).await;
}
