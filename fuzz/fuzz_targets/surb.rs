//! Single-use reply blocks of any bytes, and sound ones with changed bytes: what can be read can be written and used.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use wakumix_fuzz::packets::{FORMATS, KEYS, path, rng};
use wakumix_sphinx::PacketFormat;

/// Each format with the bytes of a sound block; the first byte of the input chooses.
static SOUND: LazyLock<Vec<(&'static dyn PacketFormat, Vec<u8>)>> = LazyLock::new(|| {
    let made = FORMATS.iter().map(|format| (&**format, format.create_surb(&mut rng(1), &path(50))));
    made.map(|(format, made)| (format, made.expect("a fixed path is valid").0.to_bytes().to_vec())).collect()
});

fuzz_target!(|data: &[u8]| {
    let Some((&choice, bytes)) = data.split_first() else { return };
    let (format, sound) = &SOUND[usize::from(choice) % SOUND.len()];
    read(*format, bytes);
    let changes = bytes.iter().chain(std::iter::repeat(&0));
    let changed: Vec<u8> = sound.iter().zip(changes).map(|(byte, change)| byte ^ change).collect();
    read(*format, &changed);
});

fn read(format: &dyn PacketFormat, bytes: &[u8]) {
    let Ok(surb) = format.read_surb(bytes) else { return };
    assert!(bytes.len() == format.surb_len() && surb.encoded_len() == bytes.len());
    assert_eq!(&surb.to_bytes()[..], bytes);
    let mut packet = vec![0; format.packet_len()];
    format.use_surb(&mut rng(2), surb, b"reply", &mut packet).expect("a short body fits");
    // Made for other keys, or damaged: whoever gets it says so.
    for key in &*KEYS {
        let _ = format.authenticate(key, &packet);
    }
}
