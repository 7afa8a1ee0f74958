//! F85: the directory of a log is copied, file by file and piece by piece, while the log is
//! written, truncated, closed and opened again.
//!
//! Such a copy shows every file at another moment, and each part of a file too. Invariant: a
//! program that opens it and reads gets records without a gap, up to an error if there is one. If
//! nothing was truncated meanwhile, everything that was acknowledged before the copying began is
//! there; and what is refused, [`inspect::repair`] cuts to such a log.

use crate::common::options;
use crate::saved_seeds;
use highwater_wal::disk::sim::Rng;
use highwater_wal::disk::{Access, Disk, DiskFile, SimDisk};
use highwater_wal::{Background, Lsn, Options, Wal, WalError, WritePath, inspect};
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A log whose records are the numbers from 0 on.
struct Live {
    sim: SimDisk,
    path: WritePath,
    /// None only between two lives.
    log: Option<Wal>,
    /// Where each record stands.
    lsns: Vec<Lsn>,
    /// So many are acknowledged.
    acked: u64,
    truncates: bool,
}

fn on(sim: &SimDisk, path: WritePath) -> Options {
    let disk: Arc<dyn Disk> = Arc::new(sim.clone());
    let options = options().write_path(path).disk(disk);
    options.background(Background::Inline)
}

impl Live {
    fn new(path: WritePath) -> Self {
        let sim = SimDisk::new();
        let log = Wal::open_with("/log", on(&sim, path)).unwrap();
        Self {
            sim,
            path,
            log: Some(log),
            lsns: Vec::new(),
            acked: 0,
            truncates: true,
        }
    }

    fn log(&self) -> &Wal {
        self.log.as_ref().unwrap()
    }

    fn step(&mut self, rng: &mut Rng) {
        match rng.below(100) {
            0..70 => {
                let number = self.lsns.len() as u64;
                let mut record = number.to_le_bytes().to_vec();
                record.resize(8 + usize::try_from(rng.below(2_500)).unwrap(), 0xA5);
                self.lsns.push(self.log().append(record).unwrap());
            }
            70..94 => {
                self.log().sync().unwrap();
                self.acked = self.lsns.len() as u64;
            }
            94..98 if self.truncates => {
                let kept = rng.below(self.acked + 1);
                if let Some(lsn) = self.lsns.get(usize::try_from(kept).unwrap()) {
                    self.log().truncate_before(*lsn).unwrap();
                }
            }
            94..98 => (),
            _ => {
                self.log.take().unwrap().close().unwrap();
                self.acked = self.lsns.len() as u64;
                self.log = Some(Wal::open_with("/log", on(&self.sim, self.path)).unwrap());
            }
        }
    }
}

/// A program that copies the directory.
struct Copier {
    to_do: VecDeque<PathBuf>,
    file: Option<Arc<dyn DiskFile>>,
    content: Vec<u8>,
    piece: u64,
    copy: SimDisk,
}

impl Copier {
    /// Lists the directory, in an order of its own.
    fn new(live: &SimDisk, rng: &mut Rng) -> Self {
        let mut names = live.files();
        match rng.below(4) {
            0 => names.sort(),
            1 => {
                names.sort();
                names.reverse();
            }
            _ => {
                for left in (1..names.len()).rev() {
                    names.swap(left, usize::try_from(rng.below(left as u64 + 1)).unwrap());
                }
            }
        }
        let copy = SimDisk::new();
        copy.create_dir_all(Path::new("/log")).unwrap();
        Self {
            to_do: names.into(),
            file: None,
            content: Vec::new(),
            piece: [512, 4096, 1 << 20][usize::try_from(rng.below(3)).unwrap()],
            copy,
        }
    }

    /// Copies a piece; returns whether there is more. A file that is gone when its turn comes is
    /// left out, as `cp` does.
    fn step(&mut self, live: &SimDisk) -> bool {
        let Some(name) = self.to_do.front().cloned() else {
            return false;
        };
        if self.file.is_none() {
            self.file = live.open(&name, Access::Read).ok();
        }
        if let Some(file) = &self.file {
            let at = self.content.len() as u64;
            let piece = file.len().unwrap().saturating_sub(at).min(self.piece);
            if piece > 0 {
                let mut bytes = vec![0; usize::try_from(piece).unwrap()];
                file.read_exact_at(&mut bytes, at).unwrap();
                self.content.extend(bytes);
                return true;
            }
            self.copy.put_file(&name, std::mem::take(&mut self.content));
        }
        self.file = None;
        self.to_do.pop_front();
        !self.to_do.is_empty()
    }
}

/// The numbers in a log.
fn numbers(log: &Wal) -> Result<Vec<u64>, WalError> {
    let records = log.read_from(Lsn::ZERO)?;
    records
        .map(|record| Ok(u64::from_le_bytes(record?.payload[..8].try_into().unwrap())))
        .collect()
}

/// All there must be: no gap, nothing that was never written, nothing less than what was
/// acknowledged before.
fn check(found: &[u64], first_at_most: u64, acked: u64, appended: u64, what: &str) {
    let first = found.first().copied().unwrap_or(first_at_most);
    let end = first + found.len() as u64;
    assert!(
        found.iter().copied().eq(first..end),
        "{what}: a gap in {found:?}"
    );
    assert!(
        end >= acked && end <= appended,
        "{what}: ends at {end}, {acked} acknowledged before, {appended} appended"
    );
    assert!(
        first <= first_at_most,
        "{what}: starts at {first}, nothing from {first_at_most} on was truncated"
    );
}

#[derive(Debug, Default)]
struct Outcomes {
    opened: u64,
    refused: u64,
    repaired: u64,
}

fn copy_while_it_goes_on(seed: u64, path: WritePath, outcomes: &mut Outcomes) {
    let what = format!("seed {seed}, {path:?}");
    let mut rng = Rng::new(seed);
    let mut live = Live::new(path);
    for _ in 0..rng.below(150) {
        live.step(&mut rng);
    }
    let acked = live.acked;
    let started_at = live.log().first_lsn();
    let mut copier = Copier::new(&live.sim, &mut rng);
    live.truncates = rng.chance(300);
    let pace = 1 + rng.below(8);
    while copier.step(&live.sim) {
        for _ in 0..rng.below(pace) {
            live.step(&mut rng);
        }
    }
    let kept = live.log().first_lsn();
    // A file whose records were given up is used again, and may be copied half as it was and half
    // as it is.
    let acked = if kept == started_at { acked } else { 0 };
    let first_kept = live.lsns.iter().position(|lsn| *lsn >= kept);
    let first_kept = first_kept.unwrap_or(live.lsns.len()) as u64;
    let appended = live.lsns.len() as u64;
    let copy: Arc<dyn Disk> = Arc::new(copier.copy.snapshot());
    let report = inspect::Log::open(Arc::clone(&copy), "/log").and_then(|log| log.verify(|_| ()));
    let sound = report.is_ok_and(|report| report.is_ok());
    let opened = Wal::open_with("/log", on(&copier.copy.snapshot(), path));
    match opened.and_then(|log| numbers(&log)) {
        Ok(found) => {
            outcomes.opened += 1;
            check(&found, first_kept, acked, appended, &what);
        }
        Err(error) => {
            outcomes.refused += 1;
            assert!(!sound, "{what}: verified, and refused: {error}");
            assert!(
                matches!(
                    error,
                    WalError::Corrupt { .. } | WalError::BadDirectory { .. }
                ),
                "{what}: {error}"
            );
            if kept == started_at {
                let repaired = inspect::repair(&copy, "/log", "/repaired", |_| ());
                let repaired = repaired.unwrap_or_else(|e| panic!("{what}: {error}; {e}"));
                let backup = inspect::Log::open(Arc::clone(&copy), "/repaired").unwrap();
                assert!(backup.verify(|_| ()).unwrap().is_ok(), "{what}");
                let log = Wal::open_with("/repaired", on_disk(&copy)).unwrap();
                check(
                    &numbers(&log).unwrap(),
                    first_kept,
                    acked,
                    appended,
                    &format!("{what}, {repaired:?}"),
                );
                outcomes.repaired += 1;
            }
        }
    }
}

fn on_disk(disk: &Arc<dyn Disk>) -> Options {
    let options = options().background(Background::Inline);
    options.disk(Arc::clone(disk))
}

#[test]
fn a_copy_of_a_live_log_is_a_log_without_a_gap_or_is_refused() {
    for path in [WritePath::Direct, WritePath::PageCache] {
        let mut outcomes = Outcomes::default();
        for seed in
            saved_seeds::seeds(0..std::env::var("COPIES").map_or(300, |n| n.parse().unwrap()))
        {
            copy_while_it_goes_on(seed, path, &mut outcomes);
        }
        println!("{path:?}: {outcomes:?}");
        let Outcomes {
            opened,
            refused,
            repaired,
        } = outcomes;
        let met = opened > 50 && refused > 50 && repaired > 20;
        assert!(met || !saved_seeds::all_seeds(), "too easy");
    }
}

/// A copy taken at once, as snapshots of file systems and volumes are, is what a power cut leaves,
/// and sound.
#[test]
fn a_snapshot_is_sound() {
    for seed in saved_seeds::seeds(0..200) {
        let mut rng = Rng::new(seed);
        let path = [WritePath::Direct, WritePath::PageCache][usize::from(seed % 2 == 0)];
        let mut live = Live::new(path);
        for _ in 0..rng.below(150) {
            live.step(&mut rng);
        }
        let copy: Arc<dyn Disk> = Arc::new(live.sim.snapshot());
        let log = inspect::Log::open(Arc::clone(&copy), Path::new("/log")).unwrap();
        assert!(log.verify(|_| ()).unwrap().is_ok(), "seed {seed}");
        let log = Wal::open_with("/log", on_disk(&copy)).unwrap();
        let found = numbers(&log).unwrap();
        let first = live.log().first_lsn();
        let kept = live.lsns.iter().position(|lsn| *lsn >= first);
        let kept = kept.unwrap_or(live.lsns.len()) as u64;
        check(
            &found,
            kept,
            live.acked,
            live.lsns.len() as u64,
            &format!("seed {seed}"),
        );
    }
}
