//! What is built comes out again, in every profile.

use proptest::prelude::*;
use wakumix_sphinx::{ADDRESS_LEN, BuildError, Opened, PACKET_LEN, Reject, Sphinx};

use crate::support::{NO_ADDRESS, Nodes, packet, profiles, rng};

proptest! {
    // Each case walks packets through several hops.
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_body_of_any_length_reaches_the_exit(
        profile in profiles(),
        len in prop_oneof![0usize..=8, 0usize..=3966, Just(3961), Just(3962), Just(3966)],
        destination in any::<[u8; ADDRESS_LEN]>(),
        seed in any::<u64>(),
    ) {
        let nodes = Nodes::new();
        let sphinx = Sphinx::new(profile);
        let body: Vec<u8> = (0..len).map(|i| u8::try_from(i % 251).unwrap()).collect();
        let mut packet = vec![0x5A; profile.packet_len()];
        let built = sphinx.build(&mut rng(seed), &nodes.path, &destination, &body, &mut packet);
        if len > profile.data_len() {
            let refusal = BuildError::BodyTooLong { len, max: profile.data_len() };
            prop_assert_eq!(built, Err(refusal));
            prop_assert!(packet.iter().all(|&byte| byte == 0x5A), "wrote before refusing");
            return Ok(());
        }
        prop_assert_eq!(built, Ok(()));
        match nodes.walk(sphinx, &mut packet).unwrap() {
            Opened::Exit { destination: found, body: range } => {
                prop_assert_eq!(found, destination);
                prop_assert_eq!(&packet[range], &body[..]);
            }
            other => prop_assert!(false, "{:?}", other),
        }
        prop_assert!(packet[PACKET_LEN..].iter().all(|&byte| byte == 0x5A), "touched the proof");
    }

    #[test]
    fn one_byte_too_many_is_refused_with_both_sizes(profile in profiles()) {
        let nodes = Nodes::new();
        let max = profile.data_len();
        let body = vec![0; max + 1];
        let mut packet = vec![0; profile.packet_len()];
        let error = Sphinx::new(profile)
            .build(&mut rng(1), &nodes.path, &NO_ADDRESS, &body, &mut packet)
            .unwrap_err();
        prop_assert_eq!(error, BuildError::BodyTooLong { len: max + 1, max });
        let text = error.to_string();
        prop_assert!(text.contains(&max.to_string()) && text.contains(&(max + 1).to_string()));
    }
}

#[test]
fn two_packets_of_one_body_share_no_header_and_no_sequence() {
    let nodes = Nodes::new();
    let sphinx = Sphinx::new("aes-ctr/seq".parse().unwrap());
    let mut rng = rng(7);
    let mut tails = [[0; 4]; 2];
    let mut alphas = [[0; 32]; 2];
    for (tail, alpha) in tails.iter_mut().zip(&mut alphas) {
        let mut packet = [0; PACKET_LEN];
        sphinx.build(&mut rng, &nodes.path, &NO_ADDRESS, b"same", &mut packet).unwrap();
        alpha.copy_from_slice(&packet[..32]);
        nodes.walk(sphinx, &mut packet).unwrap();
        tail.copy_from_slice(&packet[PACKET_LEN - 4..]);
    }
    assert_ne!(alphas[0], alphas[1]);
    assert_ne!(tails[0], tails[1]);
}

#[test]
fn a_short_output_buffer_is_refused_with_both_sizes() {
    let nodes = Nodes::new();
    let (sphinx, _) = packet(&nodes, 0);
    let mut out = [0; PACKET_LEN - 1];
    let error = sphinx.build(&mut rng(0), &nodes.path, &NO_ADDRESS, b"", &mut out).unwrap_err();
    assert_eq!(error, BuildError::OutputTooShort { len: 4607, needed: 4608 });
}

#[test]
fn the_proof_is_what_follows_the_packet() {
    let sphinx = Sphinx::new("lioness/pad/3".parse().unwrap());
    let mut bytes = vec![1; PACKET_LEN];
    assert_eq!(sphinx.split_proof(&bytes), Err(Reject::Size));
    bytes.extend([7, 8, 9]);
    let (packet, proof) = sphinx.split_proof(&bytes).unwrap();
    assert_eq!((packet.len(), proof), (PACKET_LEN, &[7, 8, 9][..]));
}
