//! What the exit's policy is fed with, and the service that it names.

use libp2p_identity::PeerId;
use multiaddr::Multiaddr;
use wakumix_mix::{
    ExitStatus,
    exit::{ExitPolicy, ExitTarget, PolicyContext},
};
use wakumix_role_api::{Directory, Service, Services, host::ReadRule};
use wakumix_sphinx::{AddressBytes, Weaknesses};
use wakumix_waku::lightpush::{MAX_RESPONSE_LEN, V2_PROTOCOL, V3_PROTOCOL};

/// The protocols whose answers this exit can read from a stream: it has to know where they end.
pub(crate) const READABLE: [&str; 2] = [V3_PROTOCOL, V2_PROTOCOL];

/// How the answer of any of the [`READABLE`] protocols is read: one frame, its length kept in front (§11.1).
pub(crate) const READ_RULE: ReadRule = ReadRule::LengthPrefixed { max: MAX_RESPONSE_LEN };

/// Which service answers a request.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    /// A service of this node.
    Local(Service),
    /// A service elsewhere.
    Remote {
        /// Its peer id.
        peer: PeerId,
        /// Where to find it.
        addresses: Vec<Multiaddr>,
        /// Whether it is the sender that says so, and not the directory.
        is_stranger: bool,
    },
}

/// The policy, and what it depends on.
#[derive(Clone, Copy)]
pub(crate) struct Policy<'a> {
    pub(crate) rules: &'a ExitPolicy,
    pub(crate) me: PeerId,
    pub(crate) services: &'a Services,
    pub(crate) directory: &'a Directory,
    pub(crate) weaknesses: Weaknesses,
}

impl Policy<'_> {
    /// Decides about a request for `destination` that names `codec`.
    pub(crate) fn target(&self, codec: &str, destination: &AddressBytes) -> Result<Target, ExitStatus> {
        let service = |peer: &PeerId| self.directory.lightpush.iter().find(|node| node.peer == *peer);
        let around = PolicyContext {
            own_peer: self.me,
            is_served: &|codec| self.services.get(codec).is_some(),
            is_known_service: &|peer| service(peer).is_some(),
            weaknesses: self.weaknesses,
        };
        match self.rules.target(&around, codec, destination)? {
            ExitTarget::Local => self.services.get(codec).cloned().map(Target::Local).ok_or(ExitStatus::NoService),
            ExitTarget::Known(peer) => {
                let addresses = service(&peer).map(|known| known.addresses.clone()).unwrap_or_default();
                Ok(Target::Remote { peer, addresses, is_stranger: false })
            }
            ExitTarget::At(address) => {
                let (peer, addresses) = (address.peer(), vec![address.multiaddr()]);
                Ok(Target::Remote { peer, addresses, is_stranger: true })
            }
        }
    }
}
