//! The header α‖β‖γ, built alike for packets and single-use reply blocks (`spec/mix-wire.md §6`).

use ctr::cipher::{StreamCipher, StreamCipherSeek};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::curve::{Bytes32, Multiplier};
use crate::kdf::{blinding, header_keystream, header_mac};
use crate::layout::{
    ADDRESS_LEN, ALPHA_LEN, AddressBytes, BETA_LEN, FILLER_LEN, GAMMA_LEN, HOP_LEN, INNER_BETA_LEN, PATH_LEN,
    ROUTING_LEN, SURB_ID_LEN, routing,
};
use crate::packet::HeaderMut;
use crate::path::{BuildError, PathHop};
use crate::scalar::ScalarChain;

/// What the last hop finds in its routing block.
pub(crate) struct Final<'a> {
    /// Zeros when the exit is the destination, and in SURBs.
    pub(crate) destination: &'a AddressBytes,
    /// Zeros in forward packets.
    pub(crate) id: &'a [u8; SURB_ID_LEN],
}

/// The shared secrets s_0 to s_2 of a path.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub(crate) struct Secrets(pub(crate) [Bytes32; PATH_LEN]);

/// Builds a header in place and returns the secrets of its hops.
pub(crate) fn build(
    ephemeral: &Bytes32,
    path: &[PathHop; PATH_LEN],
    last: &Final<'_>,
    HeaderMut { alpha, beta, gamma }: HeaderMut<'_>,
) -> Result<Secrets, BuildError> {
    let secrets = agree(ephemeral, path, alpha, blinding)?;
    write_last_beta(&secrets, last, beta);
    *gamma = header_mac(&secrets.0[PATH_LEN - 1], beta);
    for i in (0..PATH_LEN - 1).rev() {
        wrap_beta(&path[i + 1].address, path[i].delay_ms, gamma, beta);
        header_keystream(&secrets.0[i]).apply_keystream(beta);
        *gamma = header_mac(&secrets.0[i], beta);
    }
    Ok(secrets)
}

/// Writes α_0 and computes every s_i, one multiplication each (§6.1, `scalar.rs`). What `blinding` makes of α and s is
/// the only thing in which packet formats differ here.
pub(crate) fn agree(
    ephemeral: &Bytes32,
    path: &[PathHop; PATH_LEN],
    alpha_0: &mut [u8; ALPHA_LEN],
    blinding: fn(&[u8; ALPHA_LEN], &Bytes32) -> Zeroizing<Bytes32>,
) -> Result<Secrets, BuildError> {
    let mut chain = ScalarChain::new(ephemeral);
    let mut secrets = Secrets([[0; 32]; PATH_LEN]);
    for (i, hop) in path.iter().enumerate() {
        let scalar = chain.clamped().ok_or(BuildError::Degenerate)?;
        let multiplier = Multiplier::new(&scalar);
        let alpha = multiplier.base();
        let secret = multiplier.times(hop.key.as_bytes()).ok_or(BuildError::Degenerate)?;
        chain.push(&blinding(&alpha, &secret));
        secrets.0[i] = *secret;
        if i == 0 {
            *alpha_0 = alpha;
        }
    }
    Ok(secrets)
}

/// φ, the bytes that earlier hops will have shifted into the end of the last β (§6.3).
pub(crate) fn filler(secrets: &Secrets) -> Zeroizing<[u8; FILLER_LEN]> {
    let mut filler = Zeroizing::new([0; FILLER_LEN]);
    for (i, secret) in secrets.0.iter().take(PATH_LEN - 1).enumerate() {
        // Hop i sees its β followed by 112 zeros; the filler is the end of that.
        let len = (i + 1) * HOP_LEN;
        let mut keystream = header_keystream(secret);
        keystream.seek(ROUTING_LEN - len);
        keystream.apply_keystream(&mut filler[..len]);
    }
    filler
}

/// β_{L−1}: destination, no delay, id and zeros, encrypted; then the filler in clear (§6.4).
fn write_last_beta(secrets: &Secrets, last: &Final<'_>, beta: &mut [u8; BETA_LEN]) {
    beta.fill(0);
    beta[routing::ADDRESS].copy_from_slice(last.destination);
    beta[routing::GAMMA_OR_ID].copy_from_slice(last.id);
    let (block, end) = beta.split_at_mut(routing::FINAL_LEN);
    header_keystream(&secrets.0[PATH_LEN - 1]).apply_keystream(block);
    end.copy_from_slice(&*filler(secrets));
}

/// β_i before its encryption: the next hop's address, this hop's delay, γ_{i+1}, and β_{i+1} cut to size (§6.4).
fn wrap_beta(next: &[u8; ADDRESS_LEN], delay_ms: u16, next_gamma: &[u8; GAMMA_LEN], beta: &mut [u8; BETA_LEN]) {
    beta.copy_within(..INNER_BETA_LEN, HOP_LEN);
    beta[routing::ADDRESS].copy_from_slice(next);
    beta[routing::DELAY].copy_from_slice(&delay_ms.to_be_bytes());
    beta[routing::GAMMA_OR_ID].copy_from_slice(next_gamma);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{appendix_destination, appendix_path, hex32, sha256};

    fn ephemeral() -> Bytes32 {
        core::array::from_fn(|i| u8::try_from(i).unwrap() + 1)
    }

    /// Appendix A, forward packet.
    #[test]
    fn the_first_header_is_the_published_one() {
        let (mut alpha, mut beta, mut gamma) = ([0; ALPHA_LEN], [0; BETA_LEN], [0; GAMMA_LEN]);
        let last = Final { destination: &appendix_destination(), id: &[0; SURB_ID_LEN] };
        let header = HeaderMut { alpha: &mut alpha, beta: &mut beta, gamma: &mut gamma };
        let secrets = build(&ephemeral(), &appendix_path(), &last, header).unwrap();
        assert_eq!(
            secrets.0,
            [
                "b49fcbd9e0a5aaf7ad6bf9fb1022ca0136af0c875b44918a035e1f9079ecf24f",
                "ac55af8a3c071c06aee32133f7ddcd04e244903cb5bccd7f2000c9bddcbc8049",
                "7d4061102bcc555b6f6459e028860383de428e9bba2fc0412c49c449b11d4e71",
            ]
            .map(hex32)
        );
        assert_eq!(sha256(&*filler(&secrets)), "4563f9a49504ecc89cfed28edc1d309c659c861e11174f5dd1c6327d3d92f521");
        assert_eq!(alpha, hex32("07a37cbc142093c8b755dc1b10e86cb426374ad16aa853ed0bdfc0b2b86d1c7c"));
        assert_eq!(sha256(&beta), "d5aabb2e9a63e4073a6231400c25811b1fb8e5dde7e8dd6e5f92c1ea6abc053f");
        assert_eq!(hex::encode(gamma), "8b8592c10442b58079e2e01f924fd95e");
    }
}
