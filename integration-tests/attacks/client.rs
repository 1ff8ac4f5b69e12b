//! Packets with a request inside, as an adversary that is a client of the mixnet makes them.

use libp2p::{PeerId, multiaddr::Multiaddr};
use wakumix_integration_tests::http::metric;
use wakumix_mix::{HopAddress, MixNode, Request, decode_reply};
use wakumix_node::node::Node;
use wakumix_sphinx::{
    ADDRESS_LEN, AddressBytes, Opened, PACKET_LEN, PATH_LEN, PathHop, Profile, ReplyKeys, Sphinx, Surb, WireFormat,
};

use crate::adversary::{Caught, Hop};

/// The exit itself is to answer.
pub(crate) const HERE: AddressBytes = [0; ADDRESS_LEN];

/// Starts a hop that speaks what the nodes of these attacks speak.
pub(crate) async fn hop() -> Hop {
    Hop::start(WireFormat::Mix(Profile::default())).await
}

/// A packet whose first hop is `nodes[0]`, and which each hop is asked to hold for `delay_ms`.
pub(crate) fn packet(nodes: [&MixNode; PATH_LEN], delay_ms: u16, destination: &AddressBytes, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![0; PACKET_LEN];
    sphinx().build(&mut rand::rng(), &path(nodes, delay_ms), destination, body, &mut packet).unwrap();
    packet
}

/// A packet that comes back to its sender over one node, which is asked to hold it for `delay_ms`.
pub(crate) fn round_trip(over: &MixNode, sender: &Hop, delay_ms: u16) -> Vec<u8> {
    packet([over, &sender.mix_node(), &sender.mix_node()], delay_ms, &HERE, b"there and back")
}

/// A request whose path ends at `exit`, as the hop before it would see it: the client's own hops are off already.
pub(crate) fn request(client: &Hop, exit: &MixNode, destination: &AddressBytes, request: &Request<'_>) -> Vec<u8> {
    let me = client.mix_node();
    let mut packet = packet([&me, &me, exit], 0, destination, &request.encode().unwrap());
    for _ in 0..PATH_LEN - 1 {
        let Opened::Forward { blinding, .. } = client.open(&mut packet).unwrap() else { panic!("a hop in the middle") };
        sphinx().blind(&mut packet, blinding).unwrap();
    }
    packet
}

/// A reply block over two nodes back to the client.
pub(crate) fn reply_block(client: &Hop, over: [&MixNode; 2]) -> (Surb, ReplyKeys) {
    let [first, second] = over;
    sphinx().create_surb(&mut rand::rng(), &path([first, second, &client.mix_node()], 0)).unwrap()
}

/// What is in a reply that has come over the client's own two hops, in one packet as it left the exit.
pub(crate) fn read_reply(client: &Hop, keys: &ReplyKeys, caught: &Caught) -> Vec<u8> {
    let mut packet = caught.packet.clone();
    for _ in 0..PATH_LEN - 1 {
        let Opened::Forward { blinding, .. } = client.open(&mut packet).unwrap() else { panic!("a hop in the middle") };
        sphinx().blind(&mut packet, blinding).unwrap();
    }
    let Opened::Reply { id } = client.open(&mut packet).unwrap() else { panic!("the end of a reply's path") };
    assert_eq!(id, keys.id());
    decode_reply(sphinx().open_reply(keys, &mut packet).unwrap()).unwrap().to_vec()
}

/// An address in a header.
pub(crate) fn address(address: &Multiaddr, peer: PeerId) -> AddressBytes {
    HopAddress::from_multiaddr(address, peer).unwrap().encode()
}

/// A series of a node's metrics page; 0 where it has not begun.
pub(crate) fn count(node: &Node, series: &str) -> u64 {
    let value = metric(&node.telemetry().render(), series).unwrap_or_default();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
    let count = value as u64;
    count
}

fn sphinx() -> Sphinx {
    Sphinx::new(Profile::default())
}

fn path(nodes: [&MixNode; PATH_LEN], delay_ms: u16) -> [PathHop; PATH_LEN] {
    nodes.map(|node| PathHop { key: node.key, address: node.address.encode(), delay_ms })
}
