//! Sections about a deployment: `constants` (§1) and `nodes` (keys, identities, addresses), and paths through the nodes.

use std::collections::BTreeMap;

use libp2p_identity::{Keypair, PeerId, secp256k1};
use multiaddr::Multiaddr;
use serde_json::Value;
use wakumix_mix::HopAddress;
use wakumix_sphinx::{
    ADDRESS_LEN, ALPHA_LEN, AddressBytes, BETA_LEN, DELAY_LEN, DELTA_LEN, FINAL_PAD_LEN, GAMMA_LEN, HEADER_LEN,
    HOP_LEN, MAX_PATH_LEN, MAX_SURBS, MESSAGE_LEN, PACKET_LEN, PATH_LEN, PathHop, PrivateKey, Profile, PublicKey,
    SECURITY_LEN, SURB_ID_LEN, SURB_LEN,
};

use crate::json::Fields;
use crate::report::{PeerReports, Problem, SectionReport};
use crate::section::{Checked, each, one, unknown};

/// The names of the constants in vector files.
pub(crate) const CONSTANTS: [&str; 19] = [
    "k",
    "r",
    "t",
    "path_length",
    "alpha_size",
    "beta_size",
    "gamma_size",
    "header_size",
    "addr_size",
    "delay_size",
    "packet_size",
    "message_size",
    "payload_size",
    "surb_size",
    "surb_id_len",
    "data_size",
    "padding_length_in_beta",
    "max_surbs",
    "inner_beta_len",
];

/// Our value of a constant, by its name in vector files.
pub(crate) fn constant(profile: Profile, name: &str) -> Option<usize> {
    Some(match name {
        "k" => SECURITY_LEN,
        "r" => MAX_PATH_LEN,
        // Address and delay are t·κ bytes.
        "t" => (ADDRESS_LEN + DELAY_LEN) / SECURITY_LEN,
        "path_length" => PATH_LEN,
        "alpha_size" => ALPHA_LEN,
        "beta_size" => BETA_LEN,
        "gamma_size" => GAMMA_LEN,
        "header_size" => HEADER_LEN,
        "addr_size" => ADDRESS_LEN,
        "delay_size" => DELAY_LEN,
        "packet_size" => PACKET_LEN,
        "message_size" => MESSAGE_LEN,
        "payload_size" => DELTA_LEN,
        "surb_size" => SURB_LEN,
        "surb_id_len" => SURB_ID_LEN,
        "data_size" => profile.data_len(),
        "padding_length_in_beta" => FINAL_PAD_LEN,
        "max_surbs" => MAX_SURBS,
        "inner_beta_len" => BETA_LEN - HOP_LEN,
        _ => return None,
    })
}

/// `constants`: sizes of the packet and its parts.
pub(crate) fn constants(profile: Profile, value: &Value) -> SectionReport {
    let mut report = SectionReport::new("constants");
    let fields = match Fields::of("constants", value) {
        Ok(fields) => fields,
        Err(_) => return unknown("constants", value),
    };
    for (name, _) in fields.iter() {
        one(&mut report, name, |found| {
            match constant(profile, name) {
                Some(ours) => found.value(name, fields.number(name)?, ours as u64),
                None => found.skip("constant of unknown name"),
            }
            Ok(())
        });
    }
    report
}

/// `nodes`: public key from private key, peer id from identity key, address from multiaddress.
pub(crate) fn nodes(value: &Value) -> SectionReport {
    each("nodes", value, |found, fields| {
        fields.text("label")?;
        let public = PrivateKey::from_bytes(fields.array("mix_private_key")?).public();
        let expected = fields.array("mix_public_key")?;
        found.bytes("mix_public_key", &expected, public.as_bytes());
        if let Err(error) = PublicKey::from_bytes(expected) {
            found.fail("mix_public_key", "a key that is accepted", error);
        }
        identity(found, fields)?;
        address(found, fields)
    })
}

fn identity(found: &mut PeerReports, fields: Fields<'_>) -> Checked {
    let peer = peer_id(fields)?;
    found.recorded_bytes("peer_id_bytes", fields.optional_bytes("peer_id_bytes")?, &peer.to_bytes());
    if let Some(mut key) = fields.optional_bytes("libp2p_secp256k1_private_key")? {
        match secp256k1::SecretKey::try_from_bytes(&mut key) {
            Ok(key) => {
                let pair = Keypair::from(secp256k1::Keypair::from(key));
                let derived = pair.public().to_peer_id().to_base58();
                found.value("peer_id", peer.to_base58().as_str(), derived.as_str());
            }
            Err(error) => {
                found.fail("libp2p_secp256k1_private_key", "a secp256k1 key", error);
            }
        }
    }
    Ok(())
}

fn address(found: &mut PeerReports, fields: Fields<'_>) -> Checked {
    let text = fields.text("multiaddr")?;
    let bytes: AddressBytes = fields.array("address_bytes")?;
    let parsed: Multiaddr = text.parse().map_err(|error| Problem::new("multiaddr", "a multiaddress", error))?;
    match HopAddress::from_multiaddr(&parsed, peer_id(fields)?) {
        Ok(address) => found.bytes("address_bytes", &bytes, &address.encode()),
        Err(error) => found.fail("multiaddr", "an address that a header can carry", error),
    }
    match HopAddress::decode(&bytes) {
        Ok(address) => found.value("multiaddr", text, &address.multiaddr().to_string()),
        Err(error) => found.fail("address_bytes", "an address that can be read back", error),
    }
    Ok(())
}

fn peer_id(fields: Fields<'_>) -> Result<PeerId, Problem> {
    fields.text("peer_id")?.parse().map_err(|error| Problem::new("peer_id", "a peer id", error))
}

/// A node as a path needs it.
#[derive(Clone, Copy)]
pub(crate) struct Node {
    pub(crate) private: [u8; 32],
    pub(crate) public: [u8; 32],
    pub(crate) address: AddressBytes,
}

impl Node {
    pub(crate) fn hop(&self, field: &str, delay_ms: u16) -> Result<PathHop, Problem> {
        let key = PublicKey::from_bytes(self.public)
            .map_err(|error| Problem::new(field, "a public key that is accepted", error))?;
        Ok(PathHop { key, address: self.address, delay_ms })
    }
}

/// The nodes of a file by label; those that cannot be read are left out (the section `nodes` reports them).
pub(crate) struct Nodes(BTreeMap<String, Node>);

impl Nodes {
    pub(crate) fn read(value: Option<&Value>) -> Self {
        let list = value.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        Self(list.iter().filter_map(|node| read_node(node).ok()).collect())
    }

    /// The nodes of the list `path` of labels, from hop 0 on.
    pub(crate) fn path(&self, fields: Fields<'_>) -> Result<[Node; 3], Problem> {
        let labels = fields.triple("path")?;
        let mut nodes = Vec::with_capacity(labels.len());
        for (index, label) in labels.iter().enumerate() {
            let found = label.as_str().and_then(|label| self.0.get(label));
            nodes.push(*found.ok_or_else(|| {
                Problem::new(format!("path[{index}]"), "the label of a valid entry of `nodes`", label)
            })?);
        }
        nodes.try_into().map_err(|_| Problem::new("path", "three nodes", "another number"))
    }

    /// Every node.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Node> {
        self.0.values()
    }
}

fn read_node(value: &Value) -> Result<(String, Node), Problem> {
    let fields = Fields::of("node", value)?;
    let node = Node {
        private: fields.array("mix_private_key")?,
        public: fields.array("mix_public_key")?,
        address: fields.array("address_bytes")?,
    };
    Ok((fields.text("label")?.to_owned(), node))
}

/// The hops of a path with their delays.
pub(crate) fn hops(nodes: &[Node; 3], delays: [u16; 3]) -> Result<[PathHop; 3], Problem> {
    let [first, second, third] = nodes;
    let [a, b, c] = delays;
    Ok([first.hop("path[0]", a)?, second.hop("path[1]", b)?, third.hop("path[2]", c)?])
}

/// The keys at recorded hops are those of the path's nodes.
pub(crate) fn same_keys(found: &mut PeerReports, path: &[Node; 3], hops: &[Value]) -> Checked {
    for (index, (node, hop)) in path.iter().zip(hops).enumerate() {
        found.at_hop(Some(index));
        let key = Fields::of("hop", hop)?.bytes("node_private_key")?;
        found.bytes("node_private_key", &key, &node.private);
    }
    found.at_hop(None);
    Ok(())
}
