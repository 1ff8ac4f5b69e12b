//! What an answer is worth.

use std::collections::{HashMap, HashSet};

use libp2p_identity::PeerId;
use wakumix_records::descriptor::{Descriptor, MAX_DESCRIPTORS, MAX_LEN, Request};
use wakumix_sphinx::Weaknesses;

use super::support::{ME, NOW, descriptor, framed, keypair, known, mix_key, peer, sealed};
use crate::{
    peer_report::{Refusal, SignedRecord},
    sources::{
        descriptors::{
            asker::Ask,
            check::{Checked, Reader},
            store::DescriptorStore,
        },
        test_double::reached,
    },
};

async fn checked(request: Request, answer: Vec<u8>, store: &DescriptorStore) -> Checked {
    let ask = Ask { peer: peer(1), addresses: Vec::new(), request };
    Reader { me: peer(ME), now: NOW, is_reached: true, store, weaknesses: Weaknesses::NONE }.read(&answer, &ask).await
}

async fn read(request: Request, descriptors: Vec<Vec<u8>>) -> Checked {
    checked(request, framed(descriptors), &DescriptorStore::default()).await
}

fn peers(checked: &Checked) -> Vec<PeerId> {
    checked.reports.iter().map(|report| report.peer).collect()
}

fn signed(change: impl FnOnce(&mut Descriptor)) -> Vec<u8> {
    let mut changed = descriptor(9);
    change(&mut changed);
    changed.seal(&keypair(9)).unwrap()
}

#[tokio::test]
async fn a_good_descriptor_becomes_a_report_that_can_be_passed_on() {
    let checked = read(Request::Own, vec![sealed(1)]).await;
    let (report, told) = (&checked.reports[0], descriptor(1));
    assert_eq!((report.peer, report.version, report.expires), (told.peer, told.issued, Some(told.expires)));
    assert_eq!((report.mix_key, &report.addresses), (told.mix_key, &told.addresses));
    assert_eq!(report.record, Some(SignedRecord::Descriptor(sealed(1))));
    assert_eq!((checked.news, checked.refused), (1, HashMap::new()));
}

#[tokio::test]
async fn what_follows_the_key_and_what_the_node_is_able_to_do_become_part_of_the_report() {
    for (reassembles, is_full) in [(true, false), (false, true)] {
        let next_key = Some((mix_key(2), NOW + 60));
        let bytes = Descriptor { next_key, reassembles, is_full, ..descriptor(1) }.seal(&keypair(1)).unwrap();
        let report = read(Request::Own, vec![bytes]).await.reports.remove(0);
        assert_eq!((report.next_key, report.reassembles), (next_key, Some(reassembles)));
        assert_eq!(report.is_full, Some(is_full));
    }
}

#[tokio::test]
#[cfg(feature = "weaknesses")]
async fn only_a_missing_countermeasure_takes_what_another_peer_signed() {
    use wakumix_sphinx::Weakness;

    // The last byte is of the signature.
    let mut forged = sealed(1);
    *forged.last_mut().unwrap() ^= 1;
    let ask = Ask { peer: peer(1), addresses: Vec::new(), request: Request::Own };
    let store = DescriptorStore::default();
    let weak = Weaknesses::NONE.with(Weakness::UnsignedEntries);
    for (weaknesses, taken) in [(Weaknesses::NONE, 0), (weak, 1)] {
        let reader = Reader { me: peer(ME), now: NOW, store: &store, weaknesses };
        assert_eq!(reader.read(&framed(vec![forged.clone()]), &ask).await.reports.len(), taken);
    }
}

#[tokio::test]
async fn each_bad_descriptor_is_counted_by_what_is_wrong_and_spoils_nothing() {
    let mut forged = sealed(2);
    *forged.last_mut().unwrap() ^= 1;
    let answer = vec![
        sealed(1),
        vec![7; 100],
        forged,
        signed(|old| (old.issued, old.expires) = (NOW - 3600, NOW)),
        signed(|early| (early.issued, early.expires) = (NOW + 301, NOW + 400)),
        vec![0; MAX_LEN + 1],
        Vec::new(),
        sealed(3),
    ];
    let checked = read(Request::Sample(MAX_DESCRIPTORS), answer).await;
    assert_eq!(peers(&checked), [peer(1), peer(3)]);
    let expected = [(Refusal::Malformed, 2), (Refusal::Signature, 1), (Refusal::Expired, 2), (Refusal::TooMany, 1)];
    assert_eq!(checked.refused, expected.into());
}

#[tokio::test]
async fn more_than_was_asked_for_is_not_read() {
    let checked = read(Request::Sample(2), (1..=5).map(sealed).collect()).await;
    assert_eq!((peers(&checked), checked.refused), (vec![peer(1), peer(2)], [(Refusal::TooMany, 3)].into()));
    let checked = read(Request::Own, vec![sealed(2)]).await;
    assert_eq!((peers(&checked), checked.refused), (vec![], [(Refusal::TooMany, 1)].into()));
    let named = Request::Peers(vec![peer(2), peer(3)]);
    let checked = read(named, vec![sealed(3), sealed(4)]).await;
    assert_eq!((peers(&checked), checked.refused), (vec![peer(3)], [(Refusal::TooMany, 1)].into()));
}

#[tokio::test]
async fn a_peer_counts_once_in_an_answer() {
    let newer = Descriptor { issued: NOW, ..descriptor(1) }.seal(&keypair(1)).unwrap();
    let checked = read(Request::Sample(4), vec![sealed(1), newer, sealed(1)]).await;
    assert_eq!((peers(&checked), checked.refused), (vec![peer(1)], [(Refusal::TooMany, 2)].into()));
}

#[tokio::test]
async fn what_is_known_and_what_is_about_this_node_is_passed_over() {
    let store = DescriptorStore::new(reached([known(1), known(2)]), &HashSet::new(), NOW);
    let newer = Descriptor { issued: NOW, ..descriptor(2) }.seal(&keypair(2)).unwrap();
    let answer = framed(vec![sealed(1), newer, sealed(3), sealed(ME)]);
    let checked = checked(Request::Sample(8), answer, &store).await;
    assert_eq!((peers(&checked), checked.news), (vec![peer(2), peer(3)], 1));
    assert_eq!(checked.refused, HashMap::new());
}

#[tokio::test]
async fn an_answer_that_is_none_is_counted_once() {
    for answer in [Vec::new(), vec![5, 1], vec![2, 0xff, 0xff], vec![0xff; 20]] {
        let checked = checked(Request::Own, answer, &DescriptorStore::default()).await;
        assert_eq!((checked.reports.len(), checked.refused), (0, [(Refusal::Malformed, 1)].into()));
    }
}
