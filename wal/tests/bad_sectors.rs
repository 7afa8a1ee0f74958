//! A device whose sectors cannot be read: the image below a real file system is cut off at a place,
//! while the file system is mounted. Readers run in processes of their own, so that a SIGBUS shows.
//! Where this process may not mount, the tests say so and pass.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking, in its helpers too"
)]
#![expect(
    clippy::disallowed_methods,
    reason = "these tests break the disk below the log"
)]

mod common;

use common::mounted::Mounted;
use common::process::{Running, await_word, command, role, say};
use highwater_wal::disk::{Disk, OsDisk};
use highwater_wal::layout::segment_name;
use highwater_wal::{Background, Lsn, Options, ReadPath, Wal, WalError, inspect};
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const SEGMENT: u64 = 512 << 10;
const RECORD: usize = 900;
const RECORDS: u64 = 2000;
/// What a child says once the log is open.
const OPENED: &str = "opened";
/// A page of the log.
#[derive(Clone, Copy)]
struct Place {
    segment: u64,
    page: u64,
}

const IN_THE_MIDDLE: Place = Place {
    segment: 1,
    page: 37,
};

fn options(path: ReadPath) -> Options {
    Options::new()
        .segment_size(SEGMENT)
        .background(Background::Inline)
        .read_path(path)
}

fn record(number: u64) -> Vec<u8> {
    let mut record = number.to_le_bytes().to_vec();
    record.resize(RECORD, 0x5A);
    record
}

/// What the children of this file do.
#[test]
fn child() {
    let Some((role, dir)) = role() else { return };
    match role.as_str() {
        "mapped" => read_on_demand(&dir, ReadPath::Mapped),
        "copy" => read_on_demand(&dir, ReadPath::Copy),
        "tools" => use_the_tools(&dir),
        other => panic!("no role {other}"),
    }
}

/// Reads the log in each way, whenever it is told to, and tells how far each way comes.
fn read_on_demand(dir: &Path, path: ReadPath) {
    let log = match Wal::open_with(dir, options(path)) {
        Ok(log) => log,
        Err(error) => return tell("open", 0, Some(error)),
    };
    say(OPENED);
    while await_word() == "go" {
        let (mut count, mut failed) = (0, None);
        let mut held = Vec::new();
        for read in log.read_from(Lsn::ZERO).unwrap() {
            match read {
                Ok(read) => {
                    assert_eq!(read.payload[..], record(count));
                    held.push(read.payload);
                    count += 1;
                }
                Err(error) => failed = Some(error),
            }
        }
        tell("records", count, failed);
        for (number, payload) in (0..).zip(&held) {
            assert_eq!(payload[..], record(number), "what was read stays");
        }

        let (mut count, mut failed) = (0, None);
        let mut reader = log.read_from(Lsn::ZERO).unwrap();
        loop {
            match reader.next_frame() {
                Ok(Some(frame)) => {
                    assert_eq!(frame.payload(), record(count));
                    count += 1;
                }
                Ok(None) => break,
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
        }
        tell("frames", count, failed);
        tell_chunks(&log);
    }
}

fn tell_chunks(log: &Wal) {
    let end = log.durable_lsn();
    let chunks = match log.chunks(Lsn::ZERO, end, 64 << 10) {
        Ok(chunks) => chunks,
        Err(error) => return tell("chunks", 0, Some(error)),
    };
    let (mut count, mut failed) = (0, None);
    for frame in chunks.iter().flat_map(|chunk| chunk.frames()) {
        match frame {
            Ok(frame) if failed.is_none() => {
                assert_eq!(frame.payload(), record(count));
                count += 1;
            }
            Ok(_) => {}
            Err(error) => failed = Some(error),
        }
    }
    let mut unchecked = 0;
    for frame in chunks.iter().flat_map(|chunk| chunk.unchecked_frames()) {
        match frame {
            Ok(frame) => unchecked += u64::from(frame.payload()[RECORD - 1]),
            Err(_) => assert!(failed.is_some()),
        }
    }
    assert!(unchecked >= count * 0x5A);
    tell("chunks", count, failed);
}

fn tell(what: &str, count: u64, failed: Option<WalError>) {
    let place = failed.as_ref().and_then(WalError::offset);
    match failed {
        None => say(&format!("{what}: {count}")),
        Some(error) => say(&format!("{what}: {count}, then {place:?}: {error}")),
    }
}

fn use_the_tools(dir: &Path) {
    let log = || inspect::Log::open(Arc::new(OsDisk::new()), dir);
    let verified = log().and_then(|log| log.verify(|_| {}));
    match verified {
        Ok(report) => tell("verify", report.records, report.findings.into_iter().next()),
        Err(error) => tell("verify", 0, Some(error)),
    }
    let (mut count, mut failed) = (0, None);
    for frame in log().unwrap().frames(Lsn::ZERO).unwrap() {
        match frame {
            Ok(frame) => count += frame.records().len() as u64,
            Err(error) => failed = Some(error),
        }
    }
    tell("dump", count, failed);
    match log().unwrap().stats(Lsn::ZERO, |_| {}) {
        Ok(stats) => tell("stats", stats.total.records, stats.damage),
        Err(error) => tell("stats", 0, Some(error)),
    }
    let saved = dir.with_extension("saved");
    let disk: Arc<dyn Disk> = Arc::new(OsDisk::new());
    let salvaged = inspect::salvage(&disk, dir, &saved, |_| Ok(()), |_| ()).unwrap();
    let log = Wal::open(&saved).unwrap();
    let kept = log.read_from(Lsn::ZERO).unwrap().count() as u64;
    say(&format!("salvaged: {kept}, {} holes", salvaged.lost.count));
}

/// A file system with a log of which one page cannot be read once [`Self::break_page`] was called.
struct Broken {
    disk: Mounted,
    image: PathBuf,
    segment: PathBuf,
    bad: Place,
    /// Where the page lies in the image.
    cut: u64,
    /// What is cut off there.
    rest: Vec<u8>,
}

impl Broken {
    fn prepare(bad: Place) -> Option<Self> {
        let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let image = scratch.path().join("image");
        // A journal could lie behind the cut, and be written there.
        let disk = Mounted::ext4_with(scratch, &image, 32, "^has_journal")?;
        let dir = disk.path().join("log");
        let log = Wal::open_with(&dir, options(ReadPath::Mapped)).unwrap();
        for number in 0..RECORDS {
            let lsn = log.append(record(number)).unwrap();
            if number % 100 == 0 {
                log.sync_to(lsn).unwrap();
            }
        }
        log.close().unwrap();
        drop(log);
        // The segment is made the last file of the device.
        let segment = dir.join(segment_name(Lsn::new(bad.segment * SEGMENT)));
        let copy = disk.path().join("copy");
        fs::copy(&segment, &copy).unwrap();
        File::open(&copy).unwrap().sync_all().unwrap();
        fs::rename(&copy, &segment).unwrap();
        File::open(&dir).unwrap().sync_all().unwrap();
        disk.mount_again(&image);
        if !disk.reads_its_image_directly() {
            return None;
        }
        let places = Mounted::places(&segment);
        assert_eq!(places.len() as u64, SEGMENT / 4096, "{places:?}");
        let cut = places[usize::try_from(bad.page).unwrap()];
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            let last = Mounted::places(&path).into_iter().max();
            assert!(path == segment || last < Some(cut), "{path:?} {last:?}");
        }
        Some(Self {
            disk,
            image,
            segment,
            bad,
            cut,
            rest: Vec::new(),
        })
    }

    fn dir(&self) -> PathBuf {
        self.disk.path().join("log")
    }

    fn break_page(&mut self) {
        // What the file system wrote later behind the cut would make the image longer again, with a
        // hole.
        rustix::fs::syncfs(File::open(self.disk.path()).unwrap()).unwrap();
        let image = OpenOptions::new().read(true).write(true).open(&self.image);
        let image = image.unwrap();
        let len = image.metadata().unwrap().len();
        self.rest = vec![0; usize::try_from(len - self.cut).unwrap()];
        image.read_exact_at(&mut self.rest, self.cut).unwrap();
        image.set_len(self.cut).unwrap();
    }

    /// What was read is read from the device again.
    fn forget_cache(&self) {
        let segment = File::open(&self.segment).unwrap();
        rustix::fs::fadvise(&segment, 0, None, rustix::fs::Advice::DontNeed).unwrap();
    }

    fn heal(&self) {
        let image = OpenOptions::new().write(true).open(&self.image).unwrap();
        assert_eq!(
            image.metadata().unwrap().len(),
            self.cut,
            "nothing came behind the cut"
        );
        image.write_all_at(&self.rest, self.cut).unwrap();
        image.sync_all().unwrap();
    }

    /// What is told where the page is met: the file and the place, and that it is no damage of the
    /// log.
    fn expect_error(&self, said: &str) {
        let offset = self.bad.page * 4096;
        for part in [
            &format!("then Some({offset}): reading at offset {offset} of"),
            self.segment.to_str().unwrap(),
            "(os error 5)", // the words are those of the C library
        ] {
            assert!(said.contains(part), "{part}: {said}");
        }
    }
}

/// How many records a child came to.
fn count(said: &str) -> u64 {
    let number = said.split([':', ',']).nth(1).unwrap();
    number.trim().parse().unwrap()
}

/// F30, F31: a reader that met a bad sector in a map died of SIGBUS. It gets an error that names
/// the file and the page, after every record before it, in whichever way it reads; and all records
/// once the sector can be read again.
#[test]
fn a_bad_sector_is_an_error_to_readers_and_heals() {
    if cfg!(highwater_portable) {
        return eprintln!("skipped: nothing reads around a bad sector here");
    }
    for role in ["mapped", "copy"] {
        let Some(mut broken) = Broken::prepare(IN_THE_MIDDLE) else {
            return;
        };
        let mut running = Running::start(command(role, &broken.dir()));
        // Opening writes. What it wrote after the cut made the image longer again, with a hole that
        // read as zeros: one run in ten met a checksum error.
        assert_eq!(running.hear().as_deref(), Some(OPENED));
        broken.break_page();
        running.tell("go");
        let mut counts = Vec::new();
        for what in ["records", "frames", "chunks"] {
            let said = running.hear().expect("the reader lives");
            assert!(said.starts_with(what), "{said}");
            broken.expect_error(&said);
            counts.push(count(&said));
        }
        let before = counts[0];
        assert!(before > 500 && before < RECORDS, "{before}");
        // Splitting into chunks reads every header.
        assert_eq!(counts, [before, before, 0]);
        broken.heal();
        running.tell("go");
        for what in ["records", "frames", "chunks"] {
            assert_eq!(running.hear(), Some(format!("{what}: {RECORDS}")));
        }
        running.tell("stop");
        let (said, status) = running.finish();
        assert!(said.is_empty() && status.success(), "{status} {said:?}");
    }
}

/// F30: the tools name the file and the page, show what is before it, and save what is intact
/// around it.
#[test]
fn a_bad_sector_is_an_error_to_the_tools() {
    if cfg!(highwater_portable) {
        return eprintln!("skipped: nothing reads around a bad sector here");
    }
    let Some(mut broken) = Broken::prepare(IN_THE_MIDDLE) else {
        return;
    };
    broken.break_page();
    let (said, status) = Running::start(command("tools", &broken.dir())).finish();
    assert!(status.success(), "{status} {said:?}");
    for (what, said) in ["verify", "dump", "stats"].iter().zip(&said) {
        assert!(said.starts_with(what), "{said}");
        broken.expect_error(said);
    }
    assert!(count(&said[1]) > 500, "{said:?}");
    let kept = count(&said[3]);
    assert!(kept > count(&said[1]) && kept < RECORDS, "{said:?}");
}

/// F30: a bad sector that opening reads is named, nothing is written, and the log opens once it can
/// be read.
#[test]
fn a_bad_sector_where_the_log_ends_is_an_error_at_open() {
    let Some(mut broken) = Broken::prepare(Place {
        segment: 3,
        page: 1,
    }) else {
        return;
    };
    let dir = broken.dir();
    let mut running = Running::start(command("mapped", &dir));
    assert_eq!(running.hear().as_deref(), Some(OPENED));
    running.tell("go");
    for what in ["records", "frames", "chunks"] {
        assert_eq!(running.hear(), Some(format!("{what}: {RECORDS}")));
    }
    running.tell("stop");
    assert!(running.finish().1.success());
    broken.forget_cache();
    broken.break_page();
    let meta = fs::read(dir.join("LOG")).unwrap();
    for role in ["mapped", "copy"] {
        let (said, status) = Running::start(command(role, &dir)).finish();
        assert!(status.success() && said.len() == 1, "{status} {said:?}");
        assert!(said[0].starts_with("open: 0"), "{said:?}");
        broken.expect_error(&said[0]);
    }
    assert_eq!(fs::read(dir.join("LOG")).unwrap(), meta);
    broken.heal();
    let log = Wal::open_with(&dir, options(ReadPath::Mapped)).unwrap();
    assert_eq!(log.read_from(Lsn::ZERO).unwrap().count() as u64, RECORDS);
}
