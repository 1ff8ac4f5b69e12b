//! W5: a recorded packet is sent again with another encoding of α.
//!
//! A hop multiplies α by a clamped scalar, a multiple of 8, and the field arithmetic ignores the top bit of α. So α plus any of
//! the 8 points of small order, with that bit or without, gives the same secret: 16 encodings of one packet
//! (`spec/mix-wire.md §21 W5`, Appendix A). Whoever watches the mixer sees the copies leave for the next hop.

use curve25519_dalek::{constants::EIGHT_TORSION, montgomery::MontgomeryPoint};
use wakumix_integration_tests::{
    net::{Net, NodePlan},
    run,
};
use wakumix_mix::DropReason;
use wakumix_sphinx::{ALPHA_LEN, Weakness, Weaknesses, WireFormat};

use crate::{
    Verdict,
    adversary::{Hop, dropped},
    check,
};

/// The bit of α that the field arithmetic ignores, in its last byte.
const IGNORED_BIT: u8 = 0x80;

#[test]
fn no_other_encoding_of_alpha_passes_a_packet_twice() {
    check(Weakness::EncodingInTag, async |weak| attack(weak, "lioness/pad").await);
}

#[test]
fn no_other_encoding_of_alpha_passes_a_packet_of_the_second_format_twice() {
    check(Weakness::EncodingInTag, async |weak| attack(weak, WireFormat::SPHINX_PACKET).await);
}

#[test]
fn an_alpha_of_small_order_is_refused_before_its_mac_is_looked_at() {
    run(async {
        let (net, hop) = victim(Weaknesses::NONE, "lioness/pad").await;
        let node = net.node("victim");
        let packet = hop.packets_over(&node.mix_node().unwrap(), 1).remove(0);
        let points = EIGHT_TORSION.iter().map(|point| point.to_montgomery().to_bytes());
        let copies: Vec<_> = points.flat_map(with_and_without_top_bit).map(|alpha| with(&packet, alpha)).collect();
        assert_eq!(hop.passed(node, &copies).await, 0);
        let refused = dropped(node, DropReason::Alpha) + dropped(node, DropReason::ZeroSecret);
        assert_eq!((refused, dropped(node, DropReason::Mac)), (16, 0));
        net.end().await;
    });
}

async fn attack(weak: Weaknesses, format: &str) -> Verdict {
    let (net, hop) = victim(weak, format).await;
    let node = net.node("victim");
    let packet = hop.packets_over(&node.mix_node().unwrap(), 1).remove(0);
    assert_eq!(hop.passed(node, std::slice::from_ref(&packet)).await, 1, "the packet itself");

    let copies: Vec<_> = other_encodings(&packet).into_iter().map(|alpha| with(&packet, alpha)).collect();
    assert_eq!(copies.len(), 15);
    let again = hop.passed(node, &copies).await;
    if weak == Weaknesses::NONE {
        // Those with the top bit are no canonical encodings; the others have the tag of the packet.
        assert_eq!((dropped(node, DropReason::Alpha), dropped(node, DropReason::Duplicate)), (8, 7));
    }
    net.end().await;
    (again > 0).into()
}

async fn victim(weak: Weaknesses, format: &str) -> (Net, Hop) {
    let plan = NodePlan::new("victim", &["mixer"]).with("mix.profile", format).weakened(weak);
    (Net::strangers(vec![plan]).await, Hop::start(format.parse().unwrap()).await)
}

/// The encodings of a packet's α that give the same secret, but for its own.
fn other_encodings(packet: &[u8]) -> Vec<[u8; ALPHA_LEN]> {
    let alpha = *packet.first_chunk().unwrap();
    let point = MontgomeryPoint(alpha).to_edwards(0).expect("a multiple of the base point");
    let points = EIGHT_TORSION.iter().map(|torsion| (point + torsion).to_montgomery().to_bytes());
    points.flat_map(with_and_without_top_bit).filter(|encoding| *encoding != alpha).collect()
}

fn with_and_without_top_bit(alpha: [u8; ALPHA_LEN]) -> [[u8; ALPHA_LEN]; 2] {
    let mut marked = alpha;
    marked[ALPHA_LEN - 1] |= IGNORED_BIT;
    [alpha, marked]
}

fn with(packet: &[u8], alpha: [u8; ALPHA_LEN]) -> Vec<u8> {
    [&alpha[..], &packet[ALPHA_LEN..]].concat()
}
