//! One reply from its packet to the request that it answers.

use std::sync::Arc;

use wakumix_mix::{DropReason, MessageError, Outcome, Packet, decode_reply};
use wakumix_role_api::sender::ReplyPacket;
use wakumix_sphinx::{ReplyKeys, Weakness};

use crate::{
    admission::Slot,
    departure::{Reply, Sink},
    shared::Shared,
};

/// Opens a reply on a worker and hands its bytes to the request that waits for them.
pub(crate) async fn open_reply(shared: Arc<Shared>, reply: ReplyPacket, keys: ReplyKeys, slot: Slot) {
    let workers = shared.workers.clone();
    // A panicking job loses its packet, which the ledger counts as abandoned.
    let _ = workers.run(move || settle_reply(&shared, reply, &keys)).await;
    drop(slot);
}

/// A reply that does not open burns nothing: a good copy may still come through the same or another reply block
/// (`spec/mix-wire.md §21` W7).
fn settle_reply(shared: &Shared, reply: ReplyPacket, keys: &ReplyKeys) {
    let ReplyPacket { id, mut packet } = reply;
    let burned = if shared.weaknesses.has(Weakness::BurnedReply) { shared.book.complete(&id) } else { None };
    match open(shared, &mut packet, keys) {
        Ok(data) => match burned.or_else(|| shared.book.complete(&id)) {
            Some(sink) => {
                packet.settle(Outcome::Replied);
                sink.give(Reply::Opened(data));
            }
            None => packet.reject(DropReason::UnknownReply),
        },
        Err(reason) => {
            packet.reject(reason);
            if let Some(sink) = burned {
                sink.give(Reply::Burned);
            }
        }
    }
}

fn open(shared: &Shared, packet: &mut Packet, keys: &ReplyKeys) -> Result<Vec<u8>, DropReason> {
    let served = shared.formats.of(packet).ok_or(DropReason::Size)?;
    let body = served.format.open_reply(keys, packet.bytes_mut()).map_err(DropReason::from)?;
    decode_reply(&packet.bytes()[body]).map(<[u8]>::to_vec).map_err(MessageError::drop_reason)
}

impl Sink {
    fn give(self, reply: Reply) {
        // The request has room for a reply to each of its tries, and may have ended in this moment.
        let _ = self.replies.try_send((self.number, reply));
    }
}
