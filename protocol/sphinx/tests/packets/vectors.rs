//! `spec/mix-wire.md Appendix A`: values computed by the compiled reference.

use sha2::{Digest, Sha256};
use wakumix_sphinx::{Block, Cipher, DELTA_LEN, Opened, PACKET_LEN, Profile, Sphinx, Surb, SurbId};

use crate::support::{Nodes, address};

struct Vector {
    cipher: Cipher,
    block: Block,
    pad_len: u16,
    /// SHA-256 of the packet at its sender, after hop 0, after hop 1.
    packets: [&'static str; 3],
    /// SHA-256 of the reply packet that the exit sends.
    reply: &'static str,
}

const VECTORS: [Vector; 3] = [
    Vector {
        cipher: Cipher::AesCtr,
        block: Block::Seq,
        pad_len: 3940,
        packets: [
            "1c9057671df3957912fb40c4aa88b4e4889e1c39baef83f336f1a713404c40d3",
            "5c302dc3db262bc4528b36c2c68eb819703d20be2d53f9dcb100e3991fc62252",
            "5787139d81410fe28f4665c61b7628b09d8d5da8204551ecf6f43ef40c84b6d1",
        ],
        reply: "c4b91a7fcb46db7a382883ce55aa9d287cf17414ee3ec6297df0b97f7ebaf766",
    },
    Vector {
        cipher: Cipher::Lioness,
        block: Block::Seq,
        pad_len: 3940,
        packets: [
            "53a889befce4d227414a434b56b8f6fc982e408a0a69a68b3ecc5fbd83a6f98b",
            "daf16bf4ed4cb5ad3bd2ee5f59a56a6f09e05ef3804e1af2d84b62707cccfdd0",
            "00955beab832914ab08e6586b8cfb59770de403c2512ce510c5d881f01c96266",
        ],
        reply: "9433c7b94500f3384d0b6bed05ae3043070349ec37a615d37e63548865a82597",
    },
    Vector {
        cipher: Cipher::Lioness,
        block: Block::Pad,
        pad_len: 3944,
        packets: [
            "54677dd4ecffeaf3a826dcff2a52630047450610d0cc90694b9e0cf2449a5ff9",
            "d104c919399f2464260886583a37cbdc1e0e8a00ad1ba33cccc63f91b5e3af4a",
            "94e914715e4f855a84f6dd31d5664078a161d04094186ffb15b7ba74ec2eabf2",
        ],
        reply: "981b94e07aced7a4772d9535dac631ba79e962075a791fa6f8061f82ab241947",
    },
];

const SEQUENCE: [u8; 4] = [1, 2, 3, 4];
const BODY: &[u8] = b"\x0b/test/1.0.0\x00hello mix";

/// `first`, `first` + 1, and so on.
fn counting<const N: usize>(first: u8) -> [u8; N] {
    core::array::from_fn(|i| first + u8::try_from(i).unwrap())
}

fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

fn sphinx(vector: &Vector) -> Sphinx {
    Sphinx::new(Profile { cipher: vector.cipher, block: vector.block, proof_len: 0 })
}

#[test]
fn forward_packets_have_the_published_hashes_at_every_hop() {
    let nodes = Nodes::new();
    let destination = address([10, 0, 0, 9], 1, 9000, 0xdd);
    for vector in &VECTORS {
        let sphinx = sphinx(vector);
        let block = sphinx.message_block(BODY, SEQUENCE).unwrap();
        assert_eq!(block[..2], vector.pad_len.to_be_bytes());
        let mut packet = [0; PACKET_LEN];
        sphinx.build_block(&counting(1), &nodes.path, &destination, &block, &mut packet).unwrap();
        assert_eq!(sha256(&packet), vector.packets[0]);
        for i in 0..2 {
            nodes.forward(&sphinx, i, &mut packet);
            assert_eq!(sha256(&packet), vector.packets[i + 1]);
        }
        match nodes.open(&sphinx, 2, &mut packet).unwrap() {
            Opened::Exit { destination: found, body } => {
                assert_eq!(found, destination);
                assert_eq!(&packet[body], BODY);
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(packet[PACKET_LEN - DELTA_LEN..][16..], block);
    }
}

#[test]
fn the_replay_tag_is_the_published_one() {
    let nodes = Nodes::new();
    let sphinx = sphinx(&VECTORS[2]);
    let block = sphinx.message_block(BODY, SEQUENCE).unwrap();
    let mut packet = [0; PACKET_LEN];
    sphinx.build_block(&counting(1), &nodes.path, &[0; 94], &block, &mut packet).unwrap();
    let auth = sphinx.authenticate(&nodes.keys[0], &packet).unwrap();
    assert_eq!(hex::encode(auth.tag().as_bytes()), "100aa51c821ee31058f8b4139d28ed911fa2e6fecbfcd44c506e77ea1eff9452");
}

#[test]
fn reply_blocks_and_replies_have_the_published_hashes_and_open() {
    let nodes = Nodes::new();
    for vector in &VECTORS {
        let sphinx = sphinx(vector);
        let id = SurbId::from_bytes(counting(0xc0));
        let (surb, keys) = sphinx.create_surb_with(&counting(0x21), &nodes.path, id, &counting(0xe0)).unwrap();
        let bytes = surb.to_bytes();
        assert_eq!(sha256(&bytes), "d8dff333c79b7c1601a0736cec89b8c8c0a4e637d1696e946701d9469d34836d");

        let received = Surb::from_bytes(&bytes).unwrap();
        assert_eq!(received.hop, nodes.path[0].address);
        let block = sphinx.message_block(b"\x00pong", SEQUENCE).unwrap();
        let mut packet = [0; PACKET_LEN];
        sphinx.use_surb_block(received, &block, &mut packet).unwrap();
        assert_eq!(sha256(&packet), vector.reply);

        match nodes.walk(&sphinx, &mut packet).unwrap() {
            Opened::Reply { id: found } => assert_eq!(found, keys.id()),
            other => panic!("{other:?}"),
        }
        assert_eq!(sphinx.open_reply(&keys, &mut packet), Ok(&b"\x00pong"[..]));
    }
}
