//! Backups of a log that is in use: everything that was durable is in them, they are sound, and
//! half of one is none.

use highwater_wal::disk::sim::{Call, Fault, FaultKind, Rng};
use highwater_wal::disk::{Disk, OsDisk, SimDisk};
use highwater_wal::inspect::{Backup, Log};
use highwater_wal::{Background, Lsn, Options, Wal, WalError};
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const SEGMENT: u64 = 8 << 10;

fn disk(sim: &SimDisk) -> Arc<dyn Disk> {
    Arc::new(sim.clone())
}

fn options(sim: &SimDisk) -> Options {
    let options = Options::new().segment_size(SEGMENT).log_id_seed(3);
    options.background(Background::Inline).disk(disk(sim))
}

fn look(sim: &SimDisk, dir: &str) -> Log {
    Log::open(disk(sim), dir).unwrap()
}

/// A record that says which one it is.
fn record(number: u64) -> Vec<u8> {
    let mut record = number.to_le_bytes().to_vec();
    record.resize(8 + usize::try_from(number * 7919 % 900).unwrap(), 0xA5);
    record
}

fn numbers(log: &Wal) -> Vec<u64> {
    let records = log.read_from(Lsn::ZERO).unwrap();
    records
        .map(|record| u64::from_le_bytes(record.unwrap().payload[..8].try_into().unwrap()))
        .collect()
}

/// A log whose records are the numbers from 0 on.
struct Live {
    log: Wal,
    lsns: Vec<Lsn>,
    acked: u64,
}

impl Live {
    fn new(log: Wal) -> Self {
        Self {
            log,
            lsns: Vec::new(),
            acked: 0,
        }
    }

    fn append(&mut self) {
        let number = self.lsns.len() as u64;
        self.lsns.push(self.log.append(record(number)).unwrap());
    }

    fn sync(&mut self) {
        self.log.sync().unwrap();
        self.acked = self.lsns.len() as u64;
    }

    fn step(&mut self, rng: &mut Rng, truncates: bool) {
        match rng.below(100) {
            0..80 => self.append(),
            80..95 => self.sync(),
            _ if truncates && self.acked > 0 => {
                let kept = usize::try_from(rng.below(self.acked)).unwrap();
                self.log.truncate_before(self.lsns[kept]).unwrap();
            }
            _ => {}
        }
    }

    /// The number of the first record that the log still has.
    fn first(&self) -> u64 {
        let start = self.log.first_lsn();
        let first = self.lsns.iter().position(|lsn| *lsn >= start);
        first.unwrap_or(self.lsns.len()) as u64
    }
}

/// Opens the backup, and compares it with what it must hold.
fn check(sim: &SimDisk, backup: &Backup, acked: u64, first_at_most: u64, what: &str) {
    let report = look(sim, "/new").verify(|_| ()).unwrap();
    assert!(report.is_ok(), "{what}: {:?}", report.findings);
    assert_eq!(
        (report.records, report.bytes),
        (backup.records, backup.bytes)
    );
    compare(
        "/new".as_ref(),
        options(sim),
        backup,
        acked,
        first_at_most,
        what,
    );
    let left = names(sim);
    assert_eq!(left, ["log", "new"], "{what}");
}

fn compare(
    to: &Path,
    options: Options,
    backup: &Backup,
    acked: u64,
    first_at_most: u64,
    what: &str,
) {
    assert!(backup.end_lsn >= backup.proven_lsn, "{what}: {backup:?}");
    let log = Wal::open_with(to, options).unwrap();
    assert_eq!(
        (log.first_lsn(), log.log_id()),
        (backup.first_lsn, backup.log_id)
    );
    let found = numbers(&log);
    assert_eq!(found.len() as u64, backup.records, "{what}");
    let first = found.first().copied().unwrap_or(acked);
    let end = first + found.len() as u64;
    assert!(
        found.iter().copied().eq(first..end),
        "{what}: a gap in {found:?}"
    );
    assert!(
        end >= acked,
        "{what}: ends at {end}, {acked} were acknowledged"
    );
    assert!(
        first <= first_at_most,
        "{what}: starts at {first}, {first_at_most} is kept"
    );
}

/// What is at the root.
fn names(sim: &SimDisk) -> Vec<String> {
    let entries = sim.list("/".as_ref()).unwrap().into_iter();
    entries.map(|e| e.name.into_string().unwrap()).collect()
}

/// While it is copied the log goes on: between two segments there are appends, syncs, truncations.
#[test]
fn a_backup_of_a_live_log_has_what_was_durable_when_it_began() {
    let (mut again, mut whole) = (0, 0);
    for seed in 0..150 {
        let what = format!("seed {seed}");
        let mut rng = Rng::new(seed);
        let sim = SimDisk::new();
        let mut live = Live::new(Wal::open_with("/log", options(&sim)).unwrap());
        for _ in 0..rng.below(300) {
            live.step(&mut rng, true);
        }
        let acked = live.acked;
        let truncates = rng.chance(500);
        let log = look(&sim, "/log");
        let backup = log.backup("/new", |_| {
            for _ in 0..rng.below(20) {
                live.step(&mut rng, truncates);
            }
        });
        let backup = backup.unwrap_or_else(|e| panic!("{what}: {e}"));
        again += u32::from(backup.tries > 1);
        whole += u32::from(backup.tries == 1);
        let kept = live.first();
        drop(live);
        check(&sim, &backup, acked, kept, &what);
    }
    assert!(again > 5 && whole > 50, "{again} {whole}");
}

#[test]
fn a_log_that_is_truncated_again_and_again_is_given_up() {
    let sim = SimDisk::new();
    let mut live = Live::new(Wal::open_with("/log", options(&sim)).unwrap());
    let go_on = |live: &mut Live| {
        (0..80).for_each(|_| live.append());
        live.sync();
    };
    go_on(&mut live);
    let mut looks = 0;
    let error = look(&sim, "/log").backup("/new", |_| {
        looks += 1;
        go_on(&mut live);
        let last = live.lsns[live.lsns.len() - 60];
        live.log.truncate_before(last).unwrap();
    });
    let error = error.unwrap_err().to_string();
    assert!(
        error.contains("truncated 16 times") && error.contains("retain_as"),
        "{error}"
    );
    assert!(looks >= 16, "{looks}");
    assert_eq!(names(&sim), ["log"]);
    // Kept, it can be copied.
    let guard = live.log.retain_as(live.log.first_lsn(), "backup");
    let (acked, kept) = (live.acked, live.first());
    let backup = look(&sim, "/log").backup("/new", |_| {
        go_on(&mut live);
        let last = live.lsns[live.lsns.len() - 60];
        live.log.truncate_before(last).unwrap();
    });
    drop((guard, live));
    check(&sim, &backup.unwrap(), acked, kept, "kept");
}

/// A closed log of several segments.
fn closed() -> SimDisk {
    let sim = SimDisk::new();
    let mut live = Live::new(Wal::open_with("/log", options(&sim)).unwrap());
    (0..80).for_each(|_| live.append());
    live.log.close().unwrap();
    sim
}

/// At every step: the copy is there as a whole, or not at all, and the next backup works.
#[test]
fn half_of_a_backup_is_none_when_the_power_fails() {
    let (before, after) = {
        let sim = closed();
        let before = sim.mutations();
        look(&sim, "/log").backup("/new", |_| ()).unwrap();
        (before, sim.mutations())
    };
    assert!(after - before > 30, "{before} {after}");
    let (mut there, mut absent, mut left) = (0, 0, 0);
    for n in before..=after {
        for seed in 0..4 {
            let sim = closed();
            if n < after {
                sim.cut_power_before(n);
            }
            let made = look(&sim, "/log").backup("/new", |_| ());
            assert_eq!(made.is_ok(), n == after, "{n}");
            let sim = match n == after {
                true => sim,
                false => sim.restart_after_power_cut(seed),
            };
            let found = names(&sim);
            if found.contains(&"new".to_owned()) {
                there += 1;
                let log = Wal::open_with("/new", options(&sim)).unwrap();
                assert!(numbers(&log).iter().copied().eq(0..80), "{n} {seed}");
                continue;
            }
            absent += 1;
            left += u32::from(found.len() > 1);
            let backup = look(&sim, "/log").backup("/new", |_| ()).unwrap();
            check(&sim, &backup, 80, 0, &format!("{n} {seed}"));
        }
    }
    assert!(
        there > 3 && absent > 100 && left > 50,
        "{there} {absent} {left}"
    );
}

#[test]
fn a_full_disk_is_a_clear_error_and_nothing_is_left() {
    let used = closed().used_bytes();
    let needed = {
        let sim = closed();
        look(&sim, "/log").backup("/new", |_| ()).unwrap();
        sim.used_bytes() - used
    };
    let mut refused = 0;
    for room in (0..needed).step_by(4096) {
        let sim = closed();
        let files = sim.files();
        sim.set_capacity(Some(used + room));
        let error = look(&sim, "/log").backup("/new", |_| ());
        let Err(error) = error else {
            assert!(room > 0 && names(&sim) == ["log", "new"]);
            continue;
        };
        refused += 1;
        let full = |error: &WalError| matches!(error, WalError::Io { source, .. } if source.kind() == ErrorKind::StorageFull);
        assert!(full(&error), "{room}: {error}");
        assert!(error.to_string().contains("/.new.backup"), "{error}");
        assert_eq!((sim.files(), names(&sim)), (files, vec!["log".to_owned()]));
    }
    assert!(refused > 5, "{refused}");
}

/// Whatever call fails, there is no copy, or a whole one.
#[test]
fn a_call_that_fails_leaves_no_copy() {
    let mut struck = 0;
    for call in [
        Call::Create,
        Call::CreateDir,
        Call::Write,
        Call::Sync,
        Call::SetLen,
        Call::Rename,
        Call::SyncDir,
        Call::Read,
        Call::Lock,
        Call::List,
    ] {
        for nth in 0.. {
            let sim = closed();
            sim.fail(Fault::new(call, FaultKind::Eio).nth(nth).on("new"));
            let made = look(&sim, "/log").backup("/new", |_| ());
            let fired = sim.faults_fired() > 0;
            sim.clear_faults();
            if !fired {
                break;
            }
            struck += 1;
            let there = names(&sim).contains(&"new".to_owned());
            if made.is_err() && !there {
                look(&sim, "/log").backup("/new", |_| ()).unwrap();
            }
            let log = Wal::open_with("/new", options(&sim)).unwrap();
            assert!(numbers(&log).iter().copied().eq(0..80), "{call:?} {nth}");
        }
    }
    assert!(struck > 30, "{struck}");
}

#[test]
fn what_is_in_the_way_or_damaged_is_refused() {
    let sim = closed();
    let log = look(&sim, "/log");
    let refused = |to: &str| log.backup(to, |_| ()).unwrap_err().to_string();
    sim.create_dir_all("/taken".as_ref()).unwrap();
    assert!(
        refused("/taken").contains("there already"),
        "{}",
        refused("/taken")
    );
    assert!(
        refused("/log/inside").contains("outside"),
        "{}",
        refused("/log/inside")
    );
    assert!(
        refused("/no/parent").contains("/no/parent"),
        "{}",
        refused("/no/parent")
    );
    // What an interrupted backup left goes; what is not of a log stays.
    sim.create_dir_all("/.new.backup".as_ref()).unwrap();
    sim.put_file("/.new.backup/notes", b"mine".to_vec());
    assert!(refused("/new").contains("notes"), "{}", refused("/new"));
    sim.delete_file("/.new.backup/notes");
    let lock = sim.lock_dir("/.new.backup".as_ref()).unwrap();
    assert!(
        refused("/new").contains("another backup"),
        "{}",
        refused("/new")
    );
    drop(lock);
    log.backup("/new", |_| ()).unwrap();
    // A damaged log is told, and not copied.
    let segment = "/log/00000000000000008192.wal";
    sim.edit(segment, |bytes| bytes[5000] ^= 1);
    let error = look(&sim, "/log").backup("/other", |_| ()).unwrap_err();
    assert!(
        matches!(&error, WalError::Corrupt { file, .. } if file == Path::new(segment)),
        "{error}"
    );
    assert_eq!(names(&sim), ["log", "new", "taken"]);
}

/// On a real disk, while another thread appends, syncs and truncates.
#[test]
fn a_backup_on_a_real_disk_beside_a_writer() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path().join("log");
    let small = || Options::new().segment_size(64 << 10);
    let log = Wal::open_with(&dir, small()).unwrap();
    let (acked, first, stop) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut lsns = Vec::new();
            while stop.load(Ordering::Acquire) == 0 {
                let number = lsns.len() as u64;
                lsns.push(log.append(record(number)).unwrap());
                if number % 20 == 19 {
                    log.sync_to(lsns[lsns.len() - 1]).unwrap();
                    acked.store(number + 1, Ordering::Release);
                }
                if number % 2000 == 1999 {
                    // Before: what is truncated may be missing from then on.
                    first.store(number - 1000, Ordering::Release);
                    let kept = lsns[lsns.len() - 1000];
                    log.truncate_before(kept).unwrap();
                }
            }
        });
        for round in 0..12 {
            while acked.load(Ordering::Acquire) < 400 * round {
                std::thread::yield_now();
            }
            let before = acked.load(Ordering::Acquire);
            let to = tmp.path().join(format!("new-{round}"));
            let live = Log::open(Arc::new(OsDisk::new()), &dir).unwrap();
            let backup = live.backup(&to, |_| ()).unwrap();
            let kept = first.load(Ordering::Acquire);
            compare(&to, small(), &backup, before, kept, &format!("{round}"));
        }
        stop.store(1, Ordering::Release);
    });
}
