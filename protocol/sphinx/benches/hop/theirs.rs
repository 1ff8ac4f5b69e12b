//! The same operations of the `sphinx-packet` crate.

use std::hint::black_box;

use sphinx_packet::crypto::PublicKey;
use sphinx_packet::header::delays::Delay;
use sphinx_packet::packet::ProcessedPacketData;
use sphinx_packet::route::{Destination, DestinationAddressBytes, Node, NodeAddressBytes};
use sphinx_packet::version::SINGLE_SEED_SURB_VERSION;
use sphinx_packet::{SURB, SURBMaterial, SphinxPacket, SphinxPacketBuilder};
use x25519_dalek::StaticSecret;

use crate::{DELTA_LEN, Operation, body};

struct Nodes {
    keys: [StaticSecret; 3],
    route: [Node; 3],
    delays: [Delay; 3],
    destination: Destination,
}

fn nodes() -> Nodes {
    let keys = [1, 2, 3].map(|byte| StaticSecret::from([byte; 32]));
    let route = keys.each_ref().map(|key| Node::new(NodeAddressBytes::from_bytes([7; 32]), PublicKey::from(key)));
    Nodes {
        keys,
        route,
        delays: [50; 3].map(Delay::new_from_millis),
        destination: Destination::new(DestinationAddressBytes::from_bytes([3; 32]), [4; 16]),
    }
}

fn packet(nodes: &Nodes, body: &[u8], payload_len: usize) -> Vec<u8> {
    SphinxPacketBuilder::new()
        .with_payload_size(payload_len)
        .build_packet(body, &nodes.route, &nodes.destination, &nodes.delays)
        .unwrap()
        .to_bytes()
}

fn forward(key: &StaticSecret, packet: &[u8]) -> Vec<u8> {
    let processed = SphinxPacket::from_bytes(packet).unwrap().process(key).unwrap();
    match processed.data {
        ProcessedPacketData::ForwardHop { next_hop_packet, .. } => next_hop_packet.to_bytes(),
        ProcessedPacketData::FinalHop { .. } => panic!("not the final hop"),
    }
}

fn walk(nodes: &Nodes, packet: &[u8]) -> Vec<u8> {
    forward(&nodes.keys[1], &forward(&nodes.keys[0], packet))
}

pub(crate) fn hop(payload_len: usize) -> Operation {
    let nodes = nodes();
    let received = packet(&nodes, &body(), payload_len);
    Box::new(move || {
        black_box(forward(&nodes.keys[0], black_box(&received)));
    })
}

pub(crate) fn exit(payload_len: usize) -> Operation {
    let nodes = nodes();
    let received = walk(&nodes, &packet(&nodes, &body(), payload_len));
    Box::new(move || {
        let packet = SphinxPacket::from_bytes(black_box(&received)).unwrap();
        match packet.process(&nodes.keys[2]).unwrap().data {
            ProcessedPacketData::FinalHop { payload, .. } => {
                black_box(payload.recover_plaintext().unwrap());
            }
            ProcessedPacketData::ForwardHop { .. } => panic!("the final hop"),
        }
    })
}

pub(crate) fn build(payload_len: usize) -> Operation {
    let nodes = nodes();
    let body = body();
    Box::new(move || {
        black_box(packet(&nodes, black_box(&body), payload_len));
    })
}

fn material(nodes: &Nodes) -> SURBMaterial {
    SURBMaterial::new(nodes.route.to_vec(), nodes.delays.to_vec(), nodes.destination.clone(), SINGLE_SEED_SURB_VERSION)
}

pub(crate) fn surb_create() -> Operation {
    let nodes = nodes();
    Box::new(move || {
        let (surb, recovery) = material(&nodes).construct_recoverable_SURB().unwrap();
        black_box((surb.to_bytes(), recovery));
    })
}

pub(crate) fn surb_use() -> Operation {
    let nodes = nodes();
    let body = body();
    let (surb, _) = material(&nodes).construct_recoverable_SURB().unwrap();
    let bytes = surb.to_bytes();
    Box::new(move || {
        let surb = SURB::from_bytes(black_box(&bytes)).unwrap();
        let (packet, _) = surb.use_surb(black_box(&body), DELTA_LEN).unwrap();
        black_box(packet.to_bytes());
    })
}

pub(crate) fn reply_open() -> Operation {
    let nodes = nodes();
    let (surb, recovery) = material(&nodes).construct_recoverable_SURB().unwrap();
    let (packet, _) = surb.use_surb(&body(), DELTA_LEN).unwrap();
    let received = walk(&nodes, &packet.to_bytes());
    Box::new(move || {
        let packet = SphinxPacket::from_bytes(black_box(&received)).unwrap();
        match packet.process(&nodes.keys[2]).unwrap().data {
            ProcessedPacketData::FinalHop { payload, .. } => {
                black_box(recovery.recover_plaintext(payload).unwrap());
            }
            ProcessedPacketData::ForwardHop { .. } => panic!("the final hop"),
        }
    })
}
