//! Building headers, alike for packets and single-use reply blocks.

use ctr::cipher::{StreamCipher, StreamCipherSeek};
use rand_core::CryptoRng;
use zeroize::Zeroizing;

use crate::header::agree;
use crate::layout::PATH_LEN;
use crate::path::{BuildError, PathHop};
use crate::sphinx_packet::address::Compact;
use crate::sphinx_packet::keys::HopKeys;
use crate::sphinx_packet::layout::{EXTENDED_LEN, FILLER_LEN, ROUTING_LEN, STEP_LEN};
use crate::sphinx_packet::packet::HeaderMut;
use crate::sphinx_packet::routing::{Last, write_forward};

/// Builds a header in place and returns the keys of its hops. Nothing is written if an address does not fit.
pub(super) fn build(
    rng: &mut dyn CryptoRng,
    path: &[PathHop; PATH_LEN],
    last: &Last,
    HeaderMut { alpha, mac, routing }: HeaderMut<'_>,
) -> Result<[HopKeys; PATH_LEN], BuildError> {
    let [_, second, third] = path.each_ref().map(|hop| Compact::of(&hop.address));
    let next = [second.ok_or(BuildError::Address)?, third.ok_or(BuildError::Address)?];
    let mut ephemeral = Zeroizing::new([0; 32]);
    rng.fill_bytes(&mut *ephemeral);
    let blinding = |_: &_, secret: &_| Zeroizing::new(*HopKeys::new(secret).blinding());
    let secrets = agree(&ephemeral, path, alpha, blinding)?;
    let keys = secrets.0.each_ref().map(HopKeys::new);

    write_last(rng, &keys, last, routing);
    *mac = keys[PATH_LEN - 1].mac(routing);
    for i in (0..PATH_LEN - 1).rev() {
        routing.copy_within(..ROUTING_LEN - STEP_LEN, STEP_LEN);
        write_forward(&next[i], path[i].delay_ms, mac, routing);
        keys[i].stream().apply_keystream(routing);
        *mac = keys[i].mac(routing);
    }
    Ok(keys)
}

/// The last hop's routing information: its block and random bytes, encrypted; then the filler in clear. Random and not
/// zero, so that the exit does not learn from a known region how long the path was.
fn write_last(rng: &mut dyn CryptoRng, keys: &[HopKeys; PATH_LEN], last: &Last, routing: &mut [u8; ROUTING_LEN]) {
    let (block, end) = routing.split_at_mut(ROUTING_LEN - FILLER_LEN);
    let padding = last.write(block);
    rng.fill_bytes(padding);
    keys[PATH_LEN - 1].stream().apply_keystream(block);
    end.copy_from_slice(&*filler(keys));
}

/// The bytes that earlier hops will have shifted into the end of the last hop's routing information.
fn filler(keys: &[HopKeys; PATH_LEN]) -> Zeroizing<[u8; FILLER_LEN]> {
    let mut filler = Zeroizing::new([0; FILLER_LEN]);
    for (i, hop) in keys.iter().take(PATH_LEN - 1).enumerate() {
        // Hop i sees its routing information followed by 60 zeros; the filler is the end of that.
        let len = (i + 1) * STEP_LEN;
        let mut stream = hop.stream();
        stream.seek(EXTENDED_LEN - len);
        stream.apply_keystream(&mut filler[..len]);
    }
    filler
}
