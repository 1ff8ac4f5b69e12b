//! Kademlia service discovery: messages, and advertisements as they come and behind a good signature.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wakumix_fuzz::{KEY, opened};
use wakumix_records::{
    fuzzing,
    service_discovery::{AdvertisementError, ExtensiblePeerRecord, Message},
};

fuzz_target!(|data: &[u8]| {
    if let Ok(decoded) = Message::decode(data) {
        let _ = Message::decode(&decoded.message.encode_fitting()).expect("what was written can be read");
    }
    let _ = ExtensiblePeerRecord::open(data);
    let Ok(record) = fuzzing::advertisement(&opened(data)) else { return };
    let _ = record.mix_key();
    let _ = record.offers(&[7; 32]);
    match record.sign(&KEY) {
        Ok(again) => assert_eq!(ExtensiblePeerRecord::open(&again).expect("what was written can be read"), record),
        Err(error) => assert!(matches!(error, AdvertisementError::TooLong(_)), "{error}"),
    }
});
