//! The second packet format: the wire of the `sphinx-packet` crate, for fleets that agree on it.
//!
//! Packets are those of that crate in its version 260 with a payload of 5632 bytes, so that a whole WakuMessage travels with
//! its reply block in one of them: the crate opens what is made here at every hop, and the other way round, which the
//! tests do. From the crate come sizes, labels, payload keys and the wide-block cipher; the header is written and read
//! here, because the crate draws a part of it from global randomness, accepts versions of other rules, blinds before a
//! packet is known to be no replay, and leaves keys behind in memory (`docs/decisions/008-second-format.md`).
//!
//! | bytes of a packet | content |
//! |---|---|
//! | 0..32 | α, X25519 u-coordinate |
//! | 32..48 | MAC of the routing information: HMAC-SHA-256, first 16 bytes |
//! | 48..348 | routing information of all hops, encrypted in layers by AES-128-CTR |
//! | 348..5980 | payload, encrypted in layers by LIONESS of ChaCha20 and BLAKE2b |
//!
//! A hop decrypts its routing information, extended by 60 zero bytes, to:
//!
//! | bytes | in the middle | last hop |
//! |---|---|---|
//! | 0 | 1 | 2 |
//! | 1..4 | version: 0, u16 BE 260 | the same |
//! | 4..36 | x coordinate of the next hop's peer key | the same of the destination, or zeros |
//! | 36..44 | where the next hop is and how long to wait (`address.rs`) | where the destination is; or id 0..8 |
//! | 44..52 | MAC for the next hop, 0..8 | zeros; or id 8..16 |
//! | 52..60 | MAC for the next hop, 8..16 | random |
//! | 60..360 | routing information for the next hop | random, then noise |
//!
//! At the last hop, both zero means that it is the destination itself, and an id without a destination that the packet is a
//! reply. With all layers removed, the payload is 16 zero bytes, the body, a byte 1, and zeros to the end.

use core::ops::Range;

use rand_core::CryptoRng;
use zeroize::Zeroizing;

use crate::unwrap::Handshake;
use crate::weakness::Weaknesses;
use crate::{
    AddressBytes, Authenticated, Blinding, BuildError, Opened, PATH_LEN, PacketFormat, PathHop, PrivateKey, Reject,
    ReplyError, ReplyKeys, Surb, SurbError, WireFormat,
};

mod address;
mod header;
mod keys;
mod layout;
mod packet;
mod payload;
mod routing;
mod surb;

use keys::HopKeys;
use layout::{DATA_LEN, HEADER_LEN, PACKET_LEN, SURB_LEN};
use packet::{HeaderRef, PacketMut};
use routing::{Last, Routed};

/// The packet format of the `sphinx-packet` crate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SphinxPacketFormat {
    weaknesses: Weaknesses,
}

impl SphinxPacketFormat {
    /// The format; it has no variants.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The same format without these countermeasures, for the attack suite.
    #[must_use]
    pub fn weakened(self, weaknesses: Weaknesses) -> Self {
        Self { weaknesses }
    }
}

/// The packet at the beginning of a caller's buffer, once the body is known to fit.
fn room_for<'a>(body: &[u8], out: &'a mut [u8]) -> Result<PacketMut<'a>, BuildError> {
    if body.len() > DATA_LEN {
        return Err(BuildError::BodyTooLong { len: body.len(), max: DATA_LEN });
    }
    let len = out.len();
    PacketMut::at_start(out).ok_or(BuildError::OutputTooShort { len, needed: PACKET_LEN })
}

impl PacketFormat for SphinxPacketFormat {
    fn wire(&self) -> WireFormat {
        WireFormat::SphinxPacket
    }

    fn packet_len(&self) -> usize {
        PACKET_LEN
    }

    fn data_len(&self) -> usize {
        DATA_LEN
    }

    fn surb_len(&self) -> usize {
        SURB_LEN
    }

    fn build(
        &self,
        rng: &mut dyn CryptoRng,
        path: &[PathHop; PATH_LEN],
        destination: &AddressBytes,
        body: &[u8],
        out: &mut [u8],
    ) -> Result<(), BuildError> {
        let PacketMut { header, payload } = room_for(body, out)?;
        let keys = header::build(rng, path, &Last::exit(destination)?, header)?;
        payload::write(body, payload);
        for hop in keys.iter().rev() {
            payload::encrypt(hop.payload_seed(), payload);
        }
        Ok(())
    }

    fn create_surb(
        &self,
        rng: &mut dyn CryptoRng,
        path: &[PathHop; PATH_LEN],
    ) -> Result<(Surb, ReplyKeys), BuildError> {
        surb::create(rng, path)
    }

    fn read_surb(&self, bytes: &[u8]) -> Result<Surb, SurbError> {
        surb::read(bytes)
    }

    fn use_surb(&self, _: &mut dyn CryptoRng, surb: Surb, body: &[u8], out: &mut [u8]) -> Result<(), BuildError> {
        let packet = room_for(body, out)?;
        payload::write(body, packet.payload);
        surb::seal(surb, packet)
    }

    fn authenticate(&self, key: &PrivateKey, packet: &[u8]) -> Result<Authenticated, Reject> {
        let packet: &[u8; PACKET_LEN] = packet.try_into().map_err(|_| Reject::Size)?;
        let header = HeaderRef::new(packet).ok_or(Reject::Size)?;
        let handshake = Handshake::new(self.weaknesses, key, header.alpha)?;
        let keys = HopKeys::new(handshake.secret());
        handshake.finish(&keys.mac(header.routing), header.mac, *keys.tag())
    }

    fn open(&self, packet: &mut [u8], authenticated: Authenticated) -> Result<Opened, Reject> {
        let PacketMut { header, payload } = PacketMut::exact(packet).ok_or(Reject::Size)?;
        let keys = HopKeys::new(authenticated.secret());
        payload::decrypt(keys.payload_seed(), payload);
        match routing::open(&keys, header)? {
            Routed::Forward { next, delay_ms } => {
                let blinding = Blinding::new(Zeroizing::new(*keys.blinding()));
                Ok(Opened::Forward { next, delay_ms, blinding })
            }
            Routed::Exit { destination } => {
                let body = payload::read(payload, self.weaknesses)?;
                Ok(Opened::Exit { destination, body: in_packet(&body) })
            }
            Routed::Reply { id } => Ok(Opened::Reply { id }),
        }
    }

    fn blind(&self, packet: &mut [u8], blinding: Blinding) -> Result<(), Reject> {
        let PacketMut { header, .. } = PacketMut::exact(packet).ok_or(Reject::Size)?;
        blinding.apply(header.alpha)
    }

    fn open_reply(&self, keys: &ReplyKeys, packet: &mut [u8]) -> Result<Range<usize>, ReplyError> {
        let PacketMut { payload, .. } = PacketMut::exact(packet).ok_or(ReplyError::Size)?;
        surb::unseal(keys, payload)?;
        let body = payload::read(payload, self.weaknesses)?;
        Ok(in_packet(&body))
    }
}

/// Where a part of the payload is in the packet.
fn in_packet(range: &Range<usize>) -> Range<usize> {
    HEADER_LEN + range.start..HEADER_LEN + range.end
}
