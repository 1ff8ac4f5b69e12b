//! What is made of a directory that is not as it was left.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a helper of a test fails the test")]

mod support;

use std::{fs, path::Path};

use support::*;
use wakumix_keyring::OpenError;

type Harm = fn(&Path, &Path);

/// What may happen to a log, with the log of another key at hand.
const LOST_LOGS: [(&str, Harm); 6] = [
    ("the log is missing", |log, _| fs::remove_file(log).unwrap()),
    ("the log holds the tags of another key", |log, other| fs::write(log, fs::read(other).unwrap()).unwrap()),
    ("the log has version 2; this release knows version 1", |log, _| overwrite(log, |bytes| bytes[11] = 2)),
    ("the file has no sound header of a tag log", |log, _| overwrite(log, |bytes| bytes.truncate(HEADER_LEN - 1))),
    ("record 1 is damaged and sound ones follow it", |log, _| {
        overwrite(log, |bytes| bytes[HEADER_LEN + RECORD_LEN] ^= 1);
    }),
    ("the log cannot be read", |log, _| {
        fs::remove_file(log).unwrap();
        fs::create_dir(log).unwrap();
    }),
];

#[tokio::test]
async fn tags_are_there_after_a_restart() {
    for fixture in [Fixture::new(), Fixture::fixed()] {
        let (ring, rotation) = fixture.open();
        keep(&ring.keys()[0], 0..100).await;
        let stats = ring.stats();
        assert_eq!((stats.tags, stats.capacity, stats.waiting), (100, 1024, 0));
        assert_eq!(stats.bytes_on_disk, (HEADER_LEN + 100 * RECORD_LEN) as u64);
        drop((ring, rotation));
        let (ring, _rotation) = fixture.open();
        assert!(knows(&ring.keys()[0], 0..100));
        assert_eq!((ring.stats().tags, ring.stats().torn_tails), (100, 0));
        keep(&ring.keys()[0], 100..101).await;
    }
}

#[tokio::test]
async fn a_log_cut_at_any_byte_of_its_end_keeps_what_stands_before() {
    const TAGS: u64 = 3;
    let fixture = Fixture::new();
    let (ring, rotation) = fixture.open();
    let key = ring.public();
    keep(&ring.keys()[0], 0..TAGS).await;
    drop((ring, rotation));
    let whole = fs::read(fixture.log(&key)).unwrap();
    for cut in HEADER_LEN..whole.len() {
        fs::write(fixture.log(&key), &whole[..cut]).unwrap();
        let (ring, _rotation) = fixture.open();
        assert_eq!(ring.public(), key);
        let records = ((cut - HEADER_LEN) / RECORD_LEN) as u64;
        let torn = u64::from(!(cut - HEADER_LEN).is_multiple_of(RECORD_LEN));
        assert_eq!((ring.stats().tags as u64, ring.stats().torn_tails), (records, torn), "cut at {cut}");
        let len = fs::metadata(fixture.log(&key)).unwrap().len();
        assert_eq!(len, HEADER_LEN as u64 + records * RECORD_LEN as u64, "cut at {cut}");
        assert!(knows(&ring.keys()[0], 0..records));
        // The log goes on where it was cut.
        keep(&ring.keys()[0], 1000..1001).await;
    }
    let (ring, _rotation) = fixture.open();
    assert_eq!(ring.stats().torn_tails, 0);
    assert!(knows(&ring.keys()[0], 1000..1001));
}

#[tokio::test]
async fn a_key_whose_tags_are_lost_never_opens_a_packet_again_and_another_takes_its_place() {
    for (what, harm) in LOST_LOGS {
        let fixture = Fixture::new();
        let (ring, rotation) = fixture.open();
        keep(&ring.keys()[0], 0..3).await;
        let (first, (second, _)) = (ring.public(), next(&ring));
        let log = fs::read(fixture.log(&first)).unwrap();
        drop((ring, rotation));
        harm(&fixture.log(&first), &fixture.log(&second));

        let (ring, rotation) = fixture.open();
        assert_eq!(publics(&ring), [second], "{what}");
        assert_eq!(next(&ring).1, START + LIFETIME);
        assert_eq!(ring.stats().retired, 1);
        assert_eq!(ring.problem(), None);
        let announced = ring.announced();
        drop((ring, rotation));

        // Nor when somebody brings a log back.
        if fixture.log(&first).is_dir() {
            fs::remove_dir(fixture.log(&first)).unwrap();
        }
        fs::write(fixture.log(&first), log).unwrap();
        let (ring, mut rotation) = fixture.open();
        assert_eq!((publics(&ring), ring.announced()), (vec![second], announced), "{what}");
        assert!(fixture.key_file(&first).exists());
        fixture.set(START + LIFETIME + OVERLAP);
        rotation.turn();
        assert!(!fixture.key_file(&first).exists() && !fixture.log(&first).exists());
        assert_eq!(ring.public(), announced.next.unwrap().0);
    }
}

#[test]
fn a_next_key_whose_log_is_lost_is_replaced() {
    let fixture = Fixture::new();
    let (ring, rotation) = fixture.open();
    let (first, (second, _)) = (ring.public(), next(&ring));
    drop((ring, rotation));
    fs::remove_file(fixture.log(&second)).unwrap();
    let (ring, rotation) = fixture.open();
    assert_eq!(publics(&ring), [first]);
    let (third, from) = next(&ring);
    assert_ne!(third, second);
    assert_eq!((from, ring.stats().retired), (START + LIFETIME, 1));
    let announced = ring.announced();
    drop((ring, rotation));
    assert_eq!(fixture.open().0.announced(), announced);
}

#[test]
fn an_earlier_key_whose_log_is_lost_opens_nothing_in_its_overlap() {
    let fixture = Fixture::new();
    let (ring, mut rotation) = fixture.open();
    let (first, (second, from)) = (ring.public(), next(&ring));
    fixture.set(from);
    rotation.turn();
    drop((ring, rotation));
    fs::remove_file(fixture.log(&first)).unwrap();
    assert_eq!(publics(&fixture.open().0), [second]);
}

#[test]
fn a_ring_that_lost_all_its_logs_begins_anew() {
    let fixture = Fixture::new();
    let (ring, rotation) = fixture.open();
    let (first, (second, _)) = (ring.public(), next(&ring));
    drop((ring, rotation));
    fs::remove_file(fixture.log(&first)).unwrap();
    fs::remove_file(fixture.log(&second)).unwrap();
    let (ring, _rotation) = fixture.open();
    let all = [ring.public(), next(&ring).0];
    assert!(!all.contains(&first) && !all.contains(&second));
    assert_eq!(ring.stats().retired, 2);
}

#[tokio::test]
async fn a_key_that_is_set_does_not_start_without_its_tags() {
    for (what, harm) in LOST_LOGS {
        let fixture = Fixture::fixed();
        let (ring, rotation) = fixture.open();
        keep(&ring.keys()[0], 0..3).await;
        let log = fixture.log(&ring.public());
        drop((ring, rotation));
        let other = Fixture::new();
        let of_another_key = other.log(&other.open().0.public());
        harm(&log, &of_another_key);
        let (error, help) = fixture.refusal();
        assert!(error.starts_with("the replay tags of the mix key that is set, "), "{error}");
        assert!(error.contains(what), "{error}");
        let expected = match what {
            what if what.contains("version") => "run the release that wrote it",
            what if what.contains("be read") => "let the user that runs wakumix own the file",
            _ => "set another mix key",
        };
        assert!(help.contains(expected), "{help}");
    }
}

#[test]
fn the_file_of_a_key_that_is_set_holds_no_secret() {
    let fixture = Fixture::fixed();
    let (ring, _rotation) = fixture.open();
    assert_eq!(ring.public(), operators_key().public());
    assert_eq!(ring.announced().next, None);
    let text = fs::read_to_string(fixture.key_file(&ring.public())).unwrap();
    assert!(!text.contains("secret") && !text.contains("4242424242"), "{text}");
}

#[tokio::test]
async fn the_tags_of_a_key_that_is_set_survive_the_loss_of_its_file() {
    let fixture = Fixture::fixed();
    let (ring, rotation) = fixture.open();
    keep(&ring.keys()[0], 0..3).await;
    let key = ring.public();
    drop((ring, rotation));
    fs::remove_file(fixture.key_file(&key)).unwrap();
    assert!(knows(&fixture.open().0.keys()[0], 0..3));
}

#[test]
fn a_ring_before_a_key_that_is_set_is_erased_in_its_time() {
    let mut fixture = Fixture::new();
    let (ring, rotation) = fixture.open();
    let first = ring.public();
    drop((ring, rotation));
    fixture.config.fixed = Some(operators_key());
    let (ring, mut rotation) = fixture.open();
    assert!(fixture.key_file(&first).exists());
    fixture.set(START + 2 * LIFETIME + OVERLAP);
    rotation.turn();
    assert_eq!(fixture.names().len(), 2);
    assert_eq!(publics(&ring), [operators_key().public()]);
    assert!(fixture.key_file(&ring.public()).exists() && fixture.log(&ring.public()).exists());
}

#[test]
fn two_rings_on_one_directory_are_refused_until_the_first_has_gone() {
    let fixture = Fixture::new();
    let first = fixture.open();
    let (error, help) = fixture.refusal();
    assert!(error.ends_with("keys is in use by another process"), "{error}");
    assert!(help.contains("give each node its own directory"), "{help}");
    let key = first.0.keys()[0].clone();
    drop(first);
    // A batch that still holds a key holds the directory.
    assert!(matches!(fixture.try_open(), Err(OpenError::InUse(_))));
    drop(key);
    fixture.open();
}

#[cfg(unix)]
#[test]
fn what_it_writes_is_for_its_owner_alone_and_other_key_files_are_refused() {
    use std::os::unix::fs::PermissionsExt;
    let fixture = Fixture::new();
    let key = fixture.open().0.public();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&fixture.directory()), 0o700);
    assert_eq!((mode(&fixture.key_file(&key)), mode(&fixture.log(&key))), (0o600, 0o600));
    fs::set_permissions(fixture.key_file(&key), fs::Permissions::from_mode(0o644)).unwrap();
    let (error, help) = fixture.refusal();
    assert!(error.ends_with(".key is open to others (mode 0644)"), "{error}");
    assert!(help.starts_with("run `chmod 600 "), "{help}");
}

#[test]
fn refuses_key_files_that_it_does_not_understand() {
    for (from, to, expected, advice) in [
        ("mix key 1", "mix key 2", "the file has version 2; this release knows version 1", "run the release that"),
        ("secret", "sekret", "line 6 is not what a key file has there", "away"),
        ("number", "numbre", "line 3 is not what", "away"),
    ] {
        let fixture = Fixture::new();
        let path = fixture.key_file(&fixture.open().0.public());
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace(from, to)).unwrap();
        let (error, help) = fixture.refusal();
        assert!(error.contains(expected), "{error}");
        assert!(help.contains(advice), "{help}");
    }
}

#[test]
fn refuses_a_key_file_under_the_name_of_another() {
    let fixture = Fixture::new();
    let (ring, rotation) = fixture.open();
    let (first, second) = (fixture.key_file(&ring.public()), fixture.key_file(&next(&ring).0));
    drop((ring, rotation));
    fs::copy(first, second).unwrap();
    let (error, _) = fixture.refusal();
    assert!(error.contains("the public key is not that of the secret or of the file's name"), "{error}");
}

#[test]
fn finishes_what_a_crash_interrupted() {
    let fixture = Fixture::new();
    let (ring, rotation) = fixture.open();
    let (first, (second, _)) = (ring.public(), next(&ring));
    let header = fs::read(fixture.log(&first)).unwrap();
    let names = fixture.names();
    drop((ring, rotation));
    // Between a log and its key; in the middle of each; a file that is not ours.
    fs::write(fixture.directory().join("0123456789abcdef.tags"), &header).unwrap();
    fs::write(fixture.directory().join("0123456789abcdef.key.new"), "wakumix mix").unwrap();
    fs::write(fixture.directory().join("fedcba9876543210.tags.new"), &header[..7]).unwrap();
    // In the middle of erasing.
    fs::write(fixture.directory().join("aaaaaaaaaaaaaaaa.tags"), [header, vec![7; 40]].concat()).unwrap();
    fs::copy(fixture.key_file(&first), fixture.directory().join("aaaaaaaaaaaaaaaa.key")).unwrap();
    fs::write(fixture.directory().join("aaaaaaaaaaaaaaaa.key"), [0; 200]).unwrap();
    let (ring, _rotation) = fixture.open();
    assert_eq!((ring.public(), next(&ring).0), (first, second));
    assert_eq!(fixture.names(), names);
}

#[test]
fn leaves_files_alone_that_are_not_its_own() {
    let fixture = Fixture::new();
    drop(fixture.open());
    for name in ["README", "0123456789abcdef.key.bak", "0123.key", "lost+found"] {
        fs::write(fixture.directory().join(name), "kept").unwrap();
    }
    fixture.open();
    assert_eq!(fixture.names().len(), 8);
}

#[test]
fn a_crash_between_the_first_key_and_the_second_keeps_the_first() {
    let fixture = Fixture::new();
    let (ring, rotation) = fixture.open();
    let (first, (second, _)) = (ring.public(), next(&ring));
    drop((ring, rotation));
    fs::remove_file(fixture.key_file(&second)).unwrap();
    assert_eq!(fixture.open().0.public(), first);
}

#[tokio::test]
async fn a_lower_bound_forgets_no_tag_and_takes_no_new_one() {
    let mut fixture = Fixture::new();
    fixture.config.tags = 2000;
    let (ring, rotation) = fixture.open();
    keep(&ring.keys()[0], 0..1500).await;
    drop((ring, rotation));
    fixture.config.tags = 1024;
    let (ring, _rotation) = fixture.open();
    assert!(knows(&ring.keys()[0], 0..1500));
    let verdicts = ring.keys()[0].admit(tags(1500..1501)).verdicts;
    assert_eq!(verdicts, [Err(wakumix_mix::ReplayError::Full)]);
    assert_eq!((ring.stats().tags, ring.stats().capacity), (1500, 1024));
}

#[test]
fn impossible_settings_are_refused_before_anything_is_made() {
    let mut fixture = Fixture::new();
    fixture.config.overlap = fixture.config.lifetime;
    let (error, _) = fixture.refusal();
    assert!(error.starts_with("overlap is 1000s"), "{error}");
    assert!(!fixture.directory().exists());
}

#[test]
fn a_path_that_is_a_file_is_no_directory() {
    let fixture = Fixture::new();
    fs::write(fixture.directory(), "").unwrap();
    let (error, help) = fixture.refusal();
    assert!(error.ends_with("is not a directory"), "{error}");
    assert!(help.starts_with("name another directory"), "{help}");
}
