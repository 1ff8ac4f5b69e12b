//! Hop addresses: the bytes of a header, and multiaddresses as operators and peers write them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wakumix_mix::HopAddress;
use wakumix_sphinx::AddressBytes;

/// Bytes that mean something; the others are not looked at.
const USED: usize = 4 + 1 + 2 + 2 * 39;

fuzz_target!(|data: &[u8]| {
    let mut bytes: AddressBytes = [0; 94];
    let len = data.len().min(bytes.len());
    bytes[..len].copy_from_slice(&data[..len]);
    if let Ok(address) = HopAddress::decode(&bytes) {
        let written = address.encode();
        assert_eq!(written[..USED], bytes[..USED]);
        assert_eq!(HopAddress::decode(&written).as_ref(), Ok(&address));
        assert_eq!(HopAddress::from_multiaddr(&address.multiaddr(), address.peer()).as_ref(), Ok(&address));
    }
    let texts = [std::str::from_utf8(data).ok().and_then(|text| text.parse().ok()), data.to_vec().try_into().ok()];
    for address in texts.iter().flatten().filter_map(|address| HopAddress::parse_full(address).ok()) {
        assert_eq!(HopAddress::decode(&address.encode()).as_ref(), Ok(&address));
        let again = address.to_string().parse().expect("what was written can be read");
        assert_eq!(HopAddress::parse_full(&again).as_ref(), Ok(&address));
    }
});
