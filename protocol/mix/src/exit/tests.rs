//! The decisions of an exit, each by itself; `tests/in_memory.rs` has them together with the hops of a path.

mod fragments;
mod policy;

use libp2p_identity::PeerId;
use wakumix_sphinx::Weaknesses;

use super::*;
use crate::testing::{node, peer, sphinx, surb};
use crate::{COVER_CODEC, DropReason, ExitStatus, HopAddress, Request, fragment::FRAGMENT_CODEC, reply_capacity};

#[test]
fn reads_requests_and_cover_and_counts_the_rest() {
    let request = Request { codec: "/ping", surbs: vec![surb(1).0], data: b"hello" }.encode().unwrap();
    let Ok(Incoming::Request(read_back)) = read(&sphinx(), &request, 0..request.len()) else { panic!() };
    assert_eq!(
        (read_back.codec.as_str(), read_back.surbs.len(), read_back.data.as_slice()),
        ("/ping", 1, &b"hello"[..])
    );
    let cover = [&[16][..], COVER_CODEC.as_bytes(), &[0xaa; 100]].concat();
    assert!(matches!(read(&sphinx(), &cover, 0..cover.len()), Ok(Incoming::Cover)));
    let refusal = |body: &[u8], range| read(&sphinx(), body, range).err();
    assert_eq!(refusal(b"", 0..0), Some(DropReason::BadMessage));
    assert_eq!(refusal(&request, 0..request.len() + 1), Some(DropReason::BadMessage));
    assert_eq!(refusal(b"\x01/\x06", 0..3), Some(DropReason::BadSurbs));
}

#[test]
fn a_fragment_is_for_this_exit_only_without_a_destination() {
    let request = |codec: &str| ExitRequest { codec: codec.to_owned(), surbs: Vec::new(), data: Vec::new() };
    assert!(request(FRAGMENT_CODEC).is_fragment(&HERE));
    assert!(!request(FRAGMENT_CODEC).is_fragment(&node(2).address.encode()));
    assert!(!request("/ping").is_fragment(&HERE));
}

#[test]
fn an_answer_fits_up_to_the_capacity_of_a_reply() {
    let largest = reply_capacity(&sphinx());
    assert_eq!(fit(&sphinx(), 1, vec![7; largest]), Ok(vec![7; largest]));
    assert_eq!(fit(&sphinx(), 1, vec![7; largest + 1]), Err(ExitStatus::AnswerTooLong));
    assert_eq!(fit(&sphinx(), 0, vec![7; largest + 1]), Ok(vec![7; largest + 1]));
}

#[test]
fn an_answer_that_is_too_long_is_never_told_by_an_empty_reply() {
    let of_status = |status, refusal: &[u8]| ReplyContent::of_status(status, refusal.to_vec());
    assert_eq!(of_status(ExitStatus::AnswerTooLong, b""), ReplyContent::Nothing);
    assert_eq!(of_status(ExitStatus::AnswerTooLong, b"no"), ReplyContent::Status(b"no".to_vec()));
    assert_eq!(of_status(ExitStatus::Unreachable, b"").bytes(), Some(&b""[..]));
    assert_eq!(ReplyContent::Nothing.bytes(), None);
}

#[test]
fn an_answer_has_so_many_replies_and_a_refusal_one() {
    let contents = [ReplyContent::Answer(vec![1]), ReplyContent::Status(vec![1]), ReplyContent::Nothing];
    assert_eq!(contents.map(|content| content.replies(DEFAULT_MAX_ANSWERS)), [2, 1, 0]);
}

#[test]
fn replies_go_to_known_nodes_where_the_directory_says() {
    let elsewhere = |seed| HopAddress::from_multiaddr(&"/ip4/10.9.9.9/tcp/9".parse().unwrap(), peer(seed)).unwrap();
    // The path of every `surb` begins at node 1.
    let (surb, _) = surb(1);
    let hop = |own, known: &dyn Fn(&PeerId) -> Option<HopAddress>| first_hop(&surb, peer(own), known, Weaknesses::NONE);
    assert_eq!(hop(7, &|asked| (*asked == peer(1)).then(|| elsewhere(1))), Ok(elsewhere(1)));
    assert_eq!(hop(7, &|_| None), Err(FirstHopError::Unknown));
    assert_eq!(hop(1, &|_| Some(elsewhere(1))), Err(FirstHopError::Invalid));
}
