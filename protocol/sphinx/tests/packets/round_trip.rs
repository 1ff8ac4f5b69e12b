//! What is built comes out again, in every format.

use proptest::prelude::*;
use wakumix_sphinx::{ADDRESS_LEN, BuildError, FormatKind, Opened, PACKET_LEN, Sphinx};

use crate::support::{NO_ADDRESS, Nodes, address, body, format_and_len, formats, kinds, rng, sealed_len};

proptest! {
    // Each case walks packets through several hops.
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_body_of_any_length_reaches_the_exit(
        (format, len) in format_and_len(),
        elsewhere in any::<Option<([u8; 4], bool, u16)>>(),
        arbitrary in any::<[u8; ADDRESS_LEN]>(),
        seed in any::<u64>(),
    ) {
        let nodes = Nodes::new();
        let destination = match format.wire().kind() {
            FormatKind::Mix => arbitrary,
            FormatKind::SphinxPacket => {
                elsewhere.map_or(NO_ADDRESS, |(ip, quic, port)| address(ip, quic.into(), port, 0xdd))
            }
        };
        let body = body(len);
        let mut packet = vec![0x5A; format.packet_len()];
        format.build(&mut rng(seed), &nodes.path, &destination, &body, &mut packet).unwrap();
        match nodes.walk(&*format, &mut packet).unwrap() {
            Opened::Exit { destination: found, body: range } => {
                prop_assert_eq!(found, destination);
                prop_assert_eq!(&packet[range], &body[..]);
            }
            other => prop_assert!(false, "{:?}", other),
        }
        prop_assert!(packet[sealed_len(&*format)..].iter().all(|&byte| byte == 0x5A), "touched the proof");
    }
}

#[test]
fn one_byte_more_than_fits_is_refused_with_both_sizes_and_nothing_is_written() {
    let nodes = Nodes::new();
    for format in formats() {
        let (max, packet_len) = (format.data_len(), format.packet_len());
        let mut packet = vec![0x5A; packet_len];
        for len in max + 1..max + 5 {
            let error = format.build(&mut rng(1), &nodes.path, &NO_ADDRESS, &body(len), &mut packet).unwrap_err();
            assert_eq!(error, BuildError::BodyTooLong { len, max });
            let text = error.to_string();
            assert!(text.contains(&max.to_string()) && text.contains(&len.to_string()));
        }
        let needed = sealed_len(&*format);
        let out = &mut packet[..needed - 1];
        let error = format.build(&mut rng(1), &nodes.path, &NO_ADDRESS, b"", out).unwrap_err();
        assert_eq!(error, BuildError::OutputTooShort { len: needed - 1, needed });
        assert!(packet.iter().all(|&byte| byte == 0x5A), "wrote before refusing");
    }
}

#[test]
fn what_follows_a_packet_in_its_buffer_is_left_alone() {
    let nodes = Nodes::new();
    for format in kinds() {
        let len = format.packet_len();
        let mut packet = vec![0x5A; len + 9];
        format.build(&mut rng(1), &nodes.path, &NO_ADDRESS, b"body", &mut packet).unwrap();
        assert_eq!(packet[len..], [0x5A; 9]);
    }
}

#[test]
fn a_packet_depends_on_the_callers_random_numbers_alone() {
    let nodes = Nodes::new();
    for format in kinds() {
        assert_eq!(nodes.packet(&*format, 2), nodes.packet(&*format, 2));
        assert_ne!(nodes.packet(&*format, 2)[..32], nodes.packet(&*format, 3)[..32]);
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
        nodes.walk(&sphinx, &mut packet).unwrap();
        tail.copy_from_slice(&packet[PACKET_LEN - 4..]);
    }
    assert_ne!(alphas[0], alphas[1]);
    assert_ne!(tails[0], tails[1]);
}
