//! Packets of any bytes, in every format: as they come, which the MAC stops, and behind a MAC that was good.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use wakumix_fuzz::packets::{FORMATS, KEYS, Sound};
use wakumix_sphinx::{Opened, PacketFormat};

/// Each format with each kind of packet; the first byte of the input chooses.
static SOUND: LazyLock<Vec<(&'static dyn PacketFormat, Sound)>> =
    LazyLock::new(|| FORMATS.iter().flat_map(|format| Sound::all(&**format).map(|sound| (&**format, sound))).collect());

fuzz_target!(|data: &[u8]| {
    let Some((&choice, bytes)) = data.split_first() else { return };
    let (format, sound) = &SOUND[usize::from(choice) % SOUND.len()];
    let key = &KEYS[sound.hop];
    // Of any length.
    let _ = format.authenticate(key, bytes);
    let _ = format.open_reply(&sound.reply_keys, &mut bytes.to_vec());

    // Of the right one. The secret of the sound packet stands for a MAC that holds: with it any bytes are read.
    let mut packet = bytes.to_vec();
    packet.resize(format.packet_len(), 0);
    let _ = format.authenticate(key, &packet);
    let authentic = format.authenticate(key, &sound.packet).expect("it was built for this key");
    match format.open(&mut packet, authentic) {
        Ok(Opened::Forward { blinding, .. }) => drop(format.blind(&mut packet, blinding)),
        Ok(Opened::Exit { body, .. }) => assert!(packet.get(body).is_some()),
        Ok(Opened::Reply { .. }) => {
            if let Ok(body) = format.open_reply(&sound.reply_keys, &mut packet) {
                assert!(packet.get(body).is_some());
            }
        }
        Err(_) => {}
    }
});
