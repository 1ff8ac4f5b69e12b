//! What an exit does for unknown senders.
//!
//! An exit is never an open one: it speaks the protocols of its list, serves them itself, or passes requests on to known
//! services and, if it forwards, to public unicast addresses and the networks that its operator names, at the ports that are
//! allowed (`spec/mix-wire.md §21 W8`).

use std::fmt;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

use ipnet::IpNet;
use libp2p_identity::PeerId;
use wakumix_sphinx::{AddressBytes, Weaknesses};

use crate::address::is_absent;
use crate::countermeasures::is_open_exit;
use crate::{ExitStatus, HopAddress, is_public, is_within};

/// What the operator of an exit allows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExitPolicy {
    /// The protocols that requests may name; all others are refused.
    pub codecs: Vec<String>,
    /// Whether requests are passed on to services on other nodes.
    pub forward: bool,
    /// Whether they may be passed on to every address that is not public, beyond those of known services; for test nets.
    pub allow_private_addresses: bool,
    /// Networks whose addresses requests may be passed on to, public or not.
    pub networks: Vec<IpNet>,
    /// Ports that requests may be passed on to. Known services are asked at any port.
    pub ports: Vec<RangeInclusive<u16>>,
}

/// What a decision depends on besides the policy, at the moment of the request.
#[derive(Clone, Copy)]
pub struct Surroundings<'a> {
    /// This node.
    pub own_peer: PeerId,
    /// Whether this node serves a protocol itself.
    pub is_served: &'a dyn Fn(&str) -> bool,
    /// Whether a peer is a service of the directory.
    pub is_known_service: &'a dyn Fn(&PeerId) -> bool,
    /// Countermeasures that a test has turned off.
    pub weaknesses: Weaknesses,
}

/// Which service answers a request.
#[derive(Clone, PartialEq, Eq)]
pub enum ExitTarget {
    /// A service of this node.
    Local,
    /// A service of the directory, to be asked where the directory says: its name opens no other address.
    Known(PeerId),
    /// The service at this address.
    At(HopAddress),
}

impl ExitPolicy {
    /// Decides about a request for `destination` that names `codec`.
    ///
    /// # Errors
    /// The status in the reply to the sender: [`ExitStatus::CodecRefused`], [`ExitStatus::NoService`], [`ExitStatus::NotForwarding`],
    /// [`ExitStatus::InvalidDestination`], [`ExitStatus::AddressRefused`] or [`ExitStatus::PortRefused`].
    pub fn target(
        &self,
        around: &Surroundings<'_>,
        codec: &str,
        destination: &AddressBytes,
    ) -> Result<ExitTarget, ExitStatus> {
        let is_open = is_open_exit(around.weaknesses);
        if !is_open && !self.codecs.iter().any(|allowed| allowed == codec) {
            return Err(ExitStatus::CodecRefused);
        }
        if is_absent(destination) {
            return if (around.is_served)(codec) { Ok(ExitTarget::Local) } else { Err(ExitStatus::NoService) };
        }
        if !self.forward {
            return Err(ExitStatus::NotForwarding);
        }
        let address = HopAddress::decode(destination).map_err(|_| ExitStatus::InvalidDestination)?;
        if address.peer() == around.own_peer || address.port() == 0 {
            return Err(ExitStatus::InvalidDestination);
        }
        if (around.is_known_service)(&address.peer()) {
            return Ok(ExitTarget::Known(address.peer()));
        }
        if !is_open {
            self.check_address(address.ip(), address.port())?;
        }
        Ok(ExitTarget::At(address))
    }

    /// Whether a service that the directory does not have may be asked there.
    fn check_address(&self, ip: Ipv4Addr, port: u16) -> Result<(), ExitStatus> {
        if !(self.allow_private_addresses || is_routed(ip) || is_within(&self.networks, ip)) {
            return Err(ExitStatus::AddressRefused);
        }
        if !self.ports.iter().any(|ports| ports.contains(&port)) {
            return Err(ExitStatus::PortRefused);
        }
        Ok(())
    }
}

impl fmt::Debug for Surroundings<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Surroundings").field("own_peer", &self.own_peer).finish_non_exhaustive()
    }
}

impl fmt::Debug for ExitTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Local => "Local",
            Self::Known(_) => "Known(redacted)",
            Self::At(_) => "At(redacted)",
        })
    }
}

/// Whether an address is routed on the public internet, so that a service can be there.
fn is_routed(ip: Ipv4Addr) -> bool {
    is_public(ip.into()) && !ip.is_documentation()
}
