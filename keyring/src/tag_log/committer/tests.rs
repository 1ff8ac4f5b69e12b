use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use wakumix_sphinx::PrivateKey;

use super::*;
use crate::tag_log::{HEADER_LEN, RECORD_LEN, header, read};

const HOUR: Duration = Duration::from_secs(3600);

/// A disk that fails as it is told, and forgets what it could not sync.
struct Disk {
    /// What a reader of the file sees.
    file: Vec<u8>,
    /// What is still there after a power failure.
    durable: Vec<u8>,
    dirty: Vec<(usize, Vec<u8>)>,
    /// Bytes that the file may have.
    room: usize,
    syncs_fail: bool,
    writes: usize,
    /// Told of each sync, which then waits for an answer.
    gate: Option<(SyncSender<()>, Receiver<()>)>,
}

#[derive(Clone)]
struct File(Arc<Mutex<Disk>>);

fn write_into(bytes: &mut Vec<u8>, offset: usize, written: &[u8]) {
    bytes.resize(bytes.len().max(offset + written.len()), 0);
    bytes[offset..offset + written.len()].copy_from_slice(written);
}

impl LogFile for File {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut disk = self.0.lock();
        let offset = usize::try_from(offset).unwrap();
        let fits = bytes.len().min(disk.room.saturating_sub(offset));
        disk.writes += 1;
        write_into(&mut disk.file, offset, &bytes[..fits]);
        disk.dirty.push((offset, bytes[..fits].to_vec()));
        if fits == bytes.len() { Ok(()) } else { Err(io::ErrorKind::StorageFull.into()) }
    }

    fn sync(&mut self) -> io::Result<()> {
        let gate = self.0.lock().gate.take();
        if let Some((begun, go)) = gate {
            begun.send(()).unwrap();
            go.recv().unwrap();
        }
        let mut disk = self.0.lock();
        let dirty = mem::take(&mut disk.dirty);
        if disk.syncs_fail {
            return Err(io::Error::other("a sector is bad"));
        }
        for (offset, bytes) in dirty {
            write_into(&mut disk.durable, offset, &bytes);
        }
        let len = disk.file.len();
        disk.durable.resize(len, 0);
        Ok(())
    }

    fn cut(&mut self, len: u64) -> io::Result<()> {
        self.0.lock().file.truncate(usize::try_from(len).unwrap());
        Ok(())
    }
}

fn key() -> wakumix_sphinx::PublicKey {
    PrivateKey::from_bytes([1; 32]).public()
}

fn tag(number: u8) -> Tag {
    [number; 16]
}

fn tags(numbers: std::ops::Range<u8>) -> Vec<Tag> {
    numbers.map(tag).collect()
}

/// Bytes of a log of so many records.
fn room_for(records: usize) -> usize {
    HEADER_LEN + records * RECORD_LEN
}

fn disk() -> File {
    let header = header(&key()).to_vec();
    File(Arc::new(Mutex::new(Disk {
        file: header.clone(),
        durable: header,
        dirty: Vec::new(),
        room: usize::MAX,
        syncs_fail: false,
        writes: 0,
        gate: None,
    })))
}

/// Holds the next sync up: it says that it has begun, and goes on when it is told to.
fn gate(disk: &File) -> (Receiver<()>, SyncSender<()>) {
    let ((begun, has_begun), (go, may_go)) = (sync_channel(1), sync_channel(1));
    disk.0.lock().gate = Some((begun, may_go));
    (has_begun, go)
}

fn start(disk: &File, tag_sync: Duration, retry: Duration) -> (Committer, Arc<Totals>) {
    let totals = Arc::new(Totals::default());
    let settings = Settings { name: "test.tags".to_owned(), tag_sync, retry, totals: Arc::clone(&totals) };
    (Committer::start(Records::new(disk.clone(), &key(), 0), settings).unwrap(), totals)
}

fn found(log: &[u8]) -> Vec<Tag> {
    let mut tags = Vec::new();
    let recovered = read(log, &key(), |tag| tags.push(*tag)).unwrap();
    assert!(!recovered.torn);
    tags
}

fn durable(disk: &File) -> Vec<Tag> {
    found(&disk.0.lock().durable)
}

fn written(disk: &File) -> Vec<Tag> {
    found(&disk.0.lock().file)
}

#[tokio::test]
async fn what_is_committed_is_on_the_disk() {
    let disk = disk();
    let (log, totals) = start(&disk, Duration::ZERO, HOUR);
    assert!(log.commit(&tags(0..3)).wait().await);
    assert!(log.commit(&tags(3..4)).wait().await);
    assert_eq!(durable(&disk), tags(0..4));
    assert_eq!((log.bytes(), log.waiting()), (room_for(4) as u64, 0));
    assert_eq!((totals.stats().commits, totals.stats().syncs, totals.stats().failures), (2, 2, 0));
}

#[tokio::test]
async fn with_time_to_sync_what_is_committed_is_written_and_synced_at_the_end() {
    let disk = disk();
    let (log, totals) = start(&disk, HOUR, HOUR);
    assert!(log.commit(&tags(0..3)).wait().await);
    assert_eq!((written(&disk), durable(&disk)), (tags(0..3), tags(0..0)));
    assert_eq!((totals.stats().syncs, log.waiting()), (0, 3));
    drop(log);
    assert_eq!(durable(&disk), tags(0..3));
}

#[tokio::test]
async fn syncs_when_the_time_is_over_also_without_traffic() {
    let disk = disk();
    let (has_begun, go) = gate(&disk);
    let (log, _) = start(&disk, Duration::from_millis(1), HOUR);
    assert!(log.commit(&tags(0..3)).wait().await);
    has_begun.recv().unwrap();
    go.send(()).unwrap();
    drop(log);
    assert_eq!(durable(&disk), tags(0..3));
}

#[tokio::test]
async fn no_more_than_the_bound_is_written_and_not_synced() {
    let disk = disk();
    let (has_begun, go) = gate(&disk);
    let (log, totals) = start(&disk, HOUR, HOUR);
    assert!(log.commit(&vec![tag(1); MAX_UNSYNCED]).wait().await);
    assert_eq!(totals.stats().syncs, 0);
    assert!(log.commit(&tags(2..3)).wait().await);
    has_begun.recv_timeout(Duration::from_secs(60)).expect("it syncs before the hour is over");
    go.send(()).unwrap();
}

#[tokio::test]
async fn what_comes_during_a_sync_is_one_group() {
    let disk = disk();
    let (has_begun, go) = gate(&disk);
    let (log, totals) = start(&disk, Duration::ZERO, HOUR);
    let mut first = log.commit(&tags(0..1));
    has_begun.recv().unwrap();
    let mut others: Vec<_> = (1..5).map(|number| log.commit(&[tag(number)])).collect();
    go.send(()).unwrap();
    assert!(first.wait().await);
    for other in &mut others {
        assert!(other.wait().await);
    }
    assert_eq!(durable(&disk), tags(0..5));
    assert_eq!((disk.0.lock().writes, totals.stats().commits), (2, 2));
}

#[tokio::test]
async fn a_full_disk_fails_the_group_leaves_no_half_of_it_and_is_seen() {
    let disk = disk();
    disk.0.lock().room = room_for(4) + 7;
    let (log, totals) = start(&disk, Duration::ZERO, HOUR);
    assert!(log.commit(&tags(0..3)).wait().await);
    assert!(!log.commit(&tags(3..9)).wait().await);
    assert_eq!(written(&disk), tags(0..3));
    assert!(!log.takes(1));
    let problem = log.problem().unwrap();
    assert!(problem.starts_with("the replay tags of test.tags cannot be written: "), "{problem}");
    assert_eq!((totals.stats().failures, log.waiting()), (1, 6));
}

#[tokio::test]
async fn a_write_that_works_again_brings_what_failed_and_ends_the_trouble() {
    let disk = disk();
    disk.0.lock().room = room_for(1);
    let (log, _) = start(&disk, Duration::ZERO, HOUR);
    assert!(!log.commit(&tags(0..3)).wait().await);
    disk.0.lock().room = usize::MAX;
    assert!(log.commit(&tags(3..4)).wait().await);
    assert_eq!(durable(&disk), tags(0..4));
    assert!(log.takes(1));
    assert_eq!((log.problem(), log.waiting()), (None, 0));
}

#[tokio::test]
async fn a_log_that_failed_is_tried_again_without_traffic() {
    let disk = disk();
    disk.0.lock().room = room_for(1);
    let (has_begun, go) = gate(&disk);
    let (log, _) = start(&disk, Duration::ZERO, Duration::from_millis(1));
    assert!(!log.commit(&tags(0..3)).wait().await);
    disk.0.lock().room = usize::MAX;
    has_begun.recv().unwrap();
    go.send(()).unwrap();
    assert!(log.commit(&tags(3..4)).wait().await);
    assert_eq!(durable(&disk), tags(0..4));
    assert!(log.takes(1));
}

#[tokio::test]
async fn what_a_failed_sync_may_have_lost_is_written_again() {
    let disk = disk();
    let (log, _) = start(&disk, Duration::ZERO, HOUR);
    assert!(log.commit(&tags(0..2)).wait().await);
    disk.0.lock().syncs_fail = true;
    assert!(!log.commit(&tags(2..4)).wait().await);
    disk.0.lock().syncs_fail = false;
    assert!(log.commit(&tags(4..5)).wait().await);
    assert_eq!(durable(&disk), tags(0..5));
}

#[tokio::test]
async fn what_failed_is_written_at_the_end_if_the_disk_lets_it() {
    let disk = disk();
    disk.0.lock().room = room_for(0);
    let (log, _) = start(&disk, Duration::ZERO, HOUR);
    assert!(!log.commit(&tags(0..3)).wait().await);
    disk.0.lock().room = usize::MAX;
    drop(log);
    assert_eq!(durable(&disk), tags(0..3));
}

#[test]
fn a_failed_write_does_not_cut_what_was_acknowledged() {
    let disk = disk();
    let mut records = Records::new(disk.clone(), &key(), 0);
    records.append(&tags(0..2));
    records.write().unwrap();
    disk.0.lock().syncs_fail = true;
    records.sync().unwrap_err();
    disk.0.lock().room = room_for(2) + 3;
    records.append(&tags(2..3));
    records.write().unwrap_err();
    assert_eq!(written(&disk), tags(0..2));
}

#[test]
fn the_queue_takes_no_more_than_its_bound() {
    let disk = disk();
    let (has_begun, go) = gate(&disk);
    let (log, _) = start(&disk, Duration::ZERO, HOUR);
    log.commit(&tags(0..1));
    has_begun.recv().unwrap();
    assert!(log.takes(MAX_WAITING));
    log.commit(&tags(1..2));
    assert!(!log.takes(MAX_WAITING));
    assert!(log.takes(MAX_WAITING - 1));
    go.send(()).unwrap();
}

#[tokio::test]
async fn a_log_whose_thread_panics_takes_no_tags_and_says_why() {
    let disk = disk();
    let (log, _totals) = start(&disk, Duration::ZERO, HOUR);
    // The file panics where nobody hears of the sync.
    disk.0.lock().gate = Some((sync_channel(0).0, sync_channel(0).1));
    assert!(!log.commit(&tags(0..1)).wait().await);
    while log.problem().is_none() {
        tokio::task::yield_now().await;
    }
    assert_eq!(log.problem().unwrap(), PANICKED);
    assert!(!log.takes(1));
    assert!(!log.commit(&tags(1..2)).wait().await);
}
