//! A model of the log next to a real one on a simulated disk, and the checks that every crash test
//! shares.

use highwater_wal::disk::sim::{Call, Fault, FaultKind, Rng};
use highwater_wal::disk::{Disk, SimDisk};
use highwater_wal::{
    Background, Cheat, Compression, Lsn, Options, StreamId, Wal, WalError, WritePath, inspect,
};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a program does.
#[derive(Debug, Clone)]
pub(crate) enum Op {
    /// A simulated thread appends a record of so many bytes.
    Append {
        thread: usize,
        size: usize,
    },
    /// A simulated thread appends a batch.
    Batch {
        thread: usize,
        sizes: Vec<usize>,
    },
    /// Bookkeeping of the program above.
    Control,
    /// A simulated thread waits for what it appended last.
    SyncTo {
        thread: usize,
    },
    Sync,
    /// Gives up so many percent of what is durable.
    Truncate {
        percent: u64,
    },
    /// Takes back what lies between two of so many percent of the log.
    Void {
        percent: u64,
        until: u64,
    },
    /// A consumer moves to so many percent of what is durable, and maybe waits for that.
    Cursor {
        which: usize,
        percent: u64,
        commit: bool,
    },
    /// A consumer goes for good.
    RemoveCursor {
        which: usize,
    },
    /// Reads everything: from now on it must stay.
    Read,
    /// Closes and opens.
    Reopen,
    /// Kills the process; the page cache stays.
    Kill,
    /// The next sync fails, and the process is restarted on the page cache that lies.
    FailedSync,
}

/// One frame: where it stands and its records. One that takes others back has none.
type Written = (u64, Vec<Vec<u8>>);

/// A promise that was broken.
pub(crate) type Violation = String;

/// Why a program stopped.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    Finished,
    PowerCut,
}

/// A log, its disk, and what must be true.
pub(crate) struct World {
    pub(crate) sim: SimDisk,
    cheat: Cheat,
    path: WritePath,
    compression: Compression,
    /// Settings beyond those.
    adjust: fn(Options) -> Options,
    /// Cut the power before so many more mutations.
    remaining: Option<u64>,
    /// Every frame that was appended and may still be there, in order.
    appended: Vec<Written>,
    /// Of the frames that take others back, by where they stand: what they take back.
    voids: BTreeMap<u64, (u64, u64)>,
    /// Where each cursor may be after a crash; `None`: it may not be there.
    cursors: [Vec<Option<u64>>; 2],
    /// So many of them, from the front, were acknowledged or shown.
    acked: usize,
    /// Nothing at or above this was given up.
    truncated: u64,
    threads: [Option<Lsn>; 4],
    counter: u64,
    errors: Errors,
}

/// What an operation that fails means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Errors {
    /// A broken promise, unless the power is off.
    Violate,
    /// Calls are made to fail: an error is right, only its consequences are checked.
    Expected,
}

pub(crate) const SEGMENT_SIZE: u64 = 8 << 10;

const CURSORS: [&str; 2] = ["one", "another"];

/// The promises hold on both.
pub(crate) const PATHS: [WritePath; 2] = [WritePath::PageCache, WritePath::Direct];

impl World {
    pub(crate) fn new(cheat: Cheat, path: WritePath) -> Self {
        Self {
            sim: SimDisk::new(),
            cheat,
            path,
            compression: Compression::Off,
            adjust: |options| options,
            remaining: None,
            appended: Vec::new(),
            voids: BTreeMap::new(),
            cursors: [vec![None], vec![None]],
            acked: 0,
            truncated: 0,
            threads: [None; 4],
            counter: 0,
            errors: Errors::Violate,
        }
    }

    /// With batches compressed.
    pub(crate) fn compressed(mut self) -> Self {
        self.compression = super::zstd();
        self
    }

    /// With other settings.
    pub(crate) fn with(mut self, adjust: fn(Options) -> Options) -> Self {
        self.adjust = adjust;
        self
    }

    /// For disks whose calls are made to fail.
    pub(crate) fn lenient(mut self) -> Self {
        self.errors = Errors::Expected;
        self
    }

    /// Runs a program while calls fail; then the faults stop, and the process is killed. Tells
    /// whether one struck.
    pub(crate) fn run_lenient(&mut self, program: &[Op]) -> Result<bool, Violation> {
        let mut slot = self.open()?;
        for op in program {
            if slot.is_none() {
                slot = self.open()?;
                self.forget_if(slot.is_some());
            }
            if slot.is_some() && !self.step(&mut slot, op)? {
                slot = None;
            }
        }
        let struck = self.sim.faults_fired() > 0;
        self.sim.clear_faults();
        self.sim = self.sim.kill_process();
        self.errors = Errors::Violate;
        drop(slot);
        Ok(struck)
    }

    fn forget_if(&mut self, opened: bool) {
        if opened {
            self.forget_unacked();
        }
    }

    pub(crate) fn options(&self) -> Options {
        let disk: Arc<dyn Disk> = Arc::new(self.sim.clone());
        let options = Options::new()
            .segment_size(SEGMENT_SIZE)
            .background(Background::Inline)
            .log_id_seed(1)
            .cheat(self.cheat)
            .write_path(self.path)
            .compression(self.compression)
            .disk(disk);
        (self.adjust)(options)
    }

    /// Plans a power cut before mutation `n` from now.
    pub(crate) fn cut_before(&mut self, n: u64) {
        self.remaining = Some(n);
        self.sim.cut_power_before(self.sim.mutations() + n);
    }

    /// Opens the log and compares what it shows with the model.
    pub(crate) fn open(&mut self) -> Result<Option<Wal>, Violation> {
        let log = match Wal::open_with("/log", self.options()) {
            Ok(log) => log,
            Err(_) if self.excused() => return Ok(None),
            Err(error) => return Err(format!("does not open: {error}")),
        };
        self.check(&log)?;
        self.check_cursors(&log)?;
        // The last steps of opening may fail without harm; if the power went off in one of them,
        // nothing was shown.
        Ok((self.sim.is_alive() || self.errors == Errors::Expected).then_some(log))
    }

    /// Everything shown must be what was appended, in order, with nothing acknowledged missing.
    fn check(&mut self, log: &Wal) -> Result<(), Violation> {
        let shown = match read_all(log) {
            Ok(shown) => shown,
            Err(_) if self.excused() => return Ok(()),
            Err(error) => return Err(error),
        };
        let first = log.first_lsn().get();
        if first > self.truncated {
            return Err(format!(
                "starts at {first}, given up was {}",
                self.truncated
            ));
        }
        let skip = self.appended.partition_point(|(lsn, _)| *lsn < first);
        let durable = log.durable_lsn().get();
        let most = self.appended.partition_point(|(lsn, _)| *lsn < durable);
        // A recovery that was cut short may have shown less, and used their places.
        let fits = |reached: &usize| {
            let known = self.visible(skip, *reached);
            known.len() == shown.len() && known.iter().zip(&shown).all(|(a, b)| *a == b)
        };
        let reached = (self.acked.max(skip)..=most)
            .rev()
            .find(fits)
            .unwrap_or(most);
        let known = self.visible(skip.min(reached), reached);
        if shown.len() != known.len() {
            return Err(format!(
                "{} frames shown, {} appended",
                shown.len(),
                known.len()
            ));
        }
        for (shown, known) in shown.iter().zip(known) {
            if shown != known {
                return Err(format!(
                    "frame at {} shown, frame at {} appended, or other bytes",
                    shown.0, known.0
                ));
            }
        }
        if reached < self.acked {
            return Err(format!(
                "{} frames acknowledged or shown, {reached} there",
                self.acked
            ));
        }
        self.acked = reached;
        Ok(())
    }

    /// Each cursor is where it may be, and keeps the log from there on.
    fn check_cursors(&mut self, log: &Wal) -> Result<(), Violation> {
        let there = log.cursors();
        for (name, possible) in CURSORS.iter().zip(&mut self.cursors) {
            let found = there.iter().find(|info| info.name == *name);
            let found = found.map(|info| info.position.get());
            if !possible.contains(&found) {
                return Err(format!(
                    "the cursor {name} is at {found:?}, may be {possible:?}"
                ));
            }
            if found.is_some_and(|at| at < log.first_lsn().get()) {
                return Err(format!("the log was truncated past the cursor {name}"));
            }
            // A recovery that the power ends may find it elsewhere next time.
            if self.sim.is_alive() && self.errors == Errors::Violate {
                *possible = vec![found];
            }
        }
        Ok(())
    }

    fn move_cursor(
        &mut self,
        log: &Wal,
        which: usize,
        percent: u64,
        commit: bool,
    ) -> Result<(), WalError> {
        let possible = &mut self.cursors[which];
        if possible.contains(&None) {
            possible.push(Some(log.first_lsn().get()));
        }
        let mut cursor = log.cursor(CURSORS[which])?;
        let position = cursor.position().get();
        possible.retain(Option::is_some);
        let (first, durable) = (log.first_lsn().get(), log.durable_lsn().get());
        let frames = self.appended.iter().map(|(lsn, _)| *lsn);
        let frames: Vec<u64> = frames
            .filter(|lsn| (first..durable).contains(lsn))
            .collect();
        let index = frames.len() * usize::try_from(percent).unwrap() / 100;
        let target = frames.get(index).copied().unwrap_or(durable);
        possible.push(Some(target));
        match target < position {
            true => cursor.rewind(Lsn::new(target))?,
            false => cursor.advance(Lsn::new(target))?,
        }
        let _looks = cursor.durable_position();
        if commit {
            cursor.commit()?;
            *possible = vec![Some(target)];
        }
        Ok(())
    }

    fn remove_cursor(&mut self, log: &Wal, which: usize) -> Result<(), WalError> {
        self.cursors[which].push(None);
        log.remove_cursor(CURSORS[which])?;
        self.cursors[which] = vec![None];
        Ok(())
    }

    /// What a reader must show of the frames between two places of the list.
    fn visible(&self, from: usize, to: usize) -> Vec<&Written> {
        let frames = &self.appended[..to];
        let taken_back = |lsn: u64| {
            let voids = frames.iter().filter_map(|(at, _)| self.voids.get(at));
            let mut voids = voids.map(|(from, to)| *from..*to);
            voids.any(|range| range.contains(&lsn))
        };
        let shown = |(lsn, _): &&Written| !self.voids.contains_key(lsn) && !taken_back(*lsn);
        frames[from..].iter().filter(shown).collect()
    }

    /// After a restart only what was found counts: a frame that was not shown must never come back.
    fn forget_unacked(&mut self) {
        self.appended.truncate(self.acked);
        let end = self.appended.last().map_or(0, |(lsn, _)| lsn + 1);
        let _gone = self.voids.split_off(&end);
        self.threads = [None; 4];
    }

    fn excused(&self) -> bool {
        !self.sim.is_alive() || self.errors == Errors::Expected
    }

    fn payload(&mut self, size: usize) -> Vec<u8> {
        self.counter += 1;
        let mut rng = Rng::new(self.counter);
        let mut bytes = self.counter.to_le_bytes().to_vec();
        bytes.resize_with(size.max(8), || rng.below(7).to_le_bytes()[0]);
        bytes
    }

    /// Runs a program to its end or to the power cut; at the end the power goes off too.
    pub(crate) fn run(&mut self, program: &[Op]) -> Result<Stop, Violation> {
        let Some(log) = self.open()? else {
            return Ok(Stop::PowerCut);
        };
        self.forget_unacked();
        let mut log = Some(log);
        for op in program {
            if !self.step(&mut log, op)? {
                return Ok(Stop::PowerCut);
            }
        }
        let stop = if self.sim.is_alive() {
            Stop::Finished
        } else {
            Stop::PowerCut
        };
        // Before the log is dropped: that would close it, and make everything durable.
        self.sim.cut_power_now();
        drop(log);
        Ok(stop)
    }

    /// False once the power is off.
    pub(crate) fn step(&mut self, slot: &mut Option<Wal>, op: &Op) -> Result<bool, Violation> {
        let log = slot.as_ref().expect("a log is open between the steps");
        let outcome = match op {
            Op::Append { thread, size } => {
                let payload = self.payload(*size);
                let stream = StreamId(u16::try_from(*thread).unwrap());
                log.append_batch_to(stream, [&payload]).map(|range| {
                    self.appended.push((range.first.get(), vec![payload]));
                    self.threads[*thread] = Some(range.first);
                })
            }
            Op::Batch { thread, sizes } => {
                let records: Vec<_> = sizes.iter().map(|size| self.payload(*size)).collect();
                log.append_batch(&records).map(|range| {
                    self.appended.push((range.first.get(), records));
                    self.threads[*thread] = Some(range.first);
                })
            }
            Op::Control => {
                let payload = self.payload(16);
                log.append_control(StreamId(0), &payload)
                    .map(|lsn| self.appended.push((lsn.get(), vec![payload])))
            }
            Op::SyncTo { thread } => {
                let Some(lsn) = self.threads[*thread] else {
                    return Ok(true);
                };
                log.sync_to(lsn).map(|()| {
                    self.acked = self
                        .acked
                        .max(self.appended.partition_point(|(at, _)| *at <= lsn.get()));
                })
            }
            Op::Sync => log.sync().map(|()| self.acked = self.appended.len()),
            Op::Truncate { percent } => {
                let (first, end) = (log.first_lsn().get(), log.durable_lsn().get());
                let lsn = first + (end - first) * percent / 100;
                self.truncated = self.truncated.max(lsn);
                log.truncate_before(Lsn::new(lsn))
            }
            Op::Void { percent, until } => {
                let Some((from, to)) = self.range(log, *percent, *until) else {
                    return Ok(true);
                };
                log.void(Lsn::new(from), Lsn::new(to)).map(|lsn| {
                    self.appended.push((lsn.get(), Vec::new()));
                    self.voids.insert(lsn.get(), (from, to));
                    self.threads[0] = Some(lsn);
                })
            }
            Op::Cursor {
                which,
                percent,
                commit,
            } => self.move_cursor(log, *which, *percent, *commit),
            Op::RemoveCursor { which } => self.remove_cursor(log, *which),
            Op::Read => return self.check(log).map(|()| self.sim.is_alive()),
            Op::Reopen => return self.reopen(slot),
            Op::Kill => return self.kill(slot),
            Op::FailedSync => return self.failed_sync(slot),
        };
        match outcome {
            Ok(()) => Ok(true),
            Err(_) if self.errors == Errors::Expected => Ok(true),
            Err(_) if !self.sim.is_alive() => Ok(false),
            Err(error) => Err(format!("{op:?} failed: {error}")),
        }
    }

    /// A range of the log between two of its frames, or one and the end.
    fn range(&self, log: &Wal, percent: u64, until: u64) -> Option<(u64, u64)> {
        let end = log.end_lsn().get();
        let place = |percent: u64| {
            let index = self.appended.len() * usize::try_from(percent).unwrap() / 100;
            self.appended.get(index).map_or(end, |(lsn, _)| *lsn)
        };
        let (from, to) = (place(percent).max(log.first_lsn().get()), place(until));
        (from < to).then_some((from, to))
    }

    fn reopen(&mut self, slot: &mut Option<Wal>) -> Result<bool, Violation> {
        match slot.as_ref().expect("a log is open").close() {
            Ok(()) => self.acked = self.appended.len(),
            Err(_) if self.excused() => return self.replace(slot),
            Err(error) => return Err(format!("does not close: {error}")),
        }
        self.replace(slot)
    }

    /// Goes on in a new process on the same machine.
    fn kill(&mut self, slot: &mut Option<Wal>) -> Result<bool, Violation> {
        if !self.sim.is_alive() {
            return Ok(false);
        }
        let before = self.sim.mutations();
        let next = self.sim.kill_process();
        let planned = self.remaining.map(|n| n.saturating_sub(before));
        self.sim = next;
        if let Some(n) = planned {
            self.cut_before(n);
        }
        self.replace(slot)
    }

    fn replace(&mut self, slot: &mut Option<Wal>) -> Result<bool, Violation> {
        *slot = None;
        let Some(next) = self.open()? else {
            return Ok(false);
        };
        *slot = Some(next);
        self.forget_unacked();
        Ok(true)
    }

    /// F17: after a failed sync the page cache shows bytes that the disk does not have.
    fn failed_sync(&mut self, slot: &mut Option<Wal>) -> Result<bool, Violation> {
        let log = slot.as_ref().expect("a log is open");
        let payload = self.payload(100);
        match log.append_control(StreamId(0), &payload) {
            Ok(lsn) => self.appended.push((lsn.get(), vec![payload])),
            Err(_) if !self.sim.is_alive() => return Ok(false),
            Err(error) => return Err(format!("append failed: {error}")),
        }
        self.sim.fail(Fault::new(Call::SyncMap, FaultKind::Eio));
        if log.sync().is_ok() && self.cheat != Cheat::AckBeforeSync {
            return Err("a failed sync was not noticed".to_owned());
        }
        self.sim.clear_faults();
        if self.sim.is_alive() && log.append("more").is_ok() && self.cheat != Cheat::AckBeforeSync {
            return Err("a poisoned log accepts records".to_owned());
        }
        self.kill(slot)
    }

    /// Boots again after the power cut, as `seed` decides; checks, cuts the power again, checks
    /// again.
    pub(crate) fn reboot(&mut self, seed: u64) -> Result<(), Violation> {
        for round in 0..2 {
            self.sim.cut_power_now();
            self.sim = self.sim.restart_after_power_cut(seed + round);
            self.remaining = None;
            if (seed + round).is_multiple_of(5) {
                self.check_repair()?;
            }
            let log = self.open()?.expect("nothing cuts the power now");
            self.forget_unacked();
            // Not closed: what was shown must stay even so.
            self.sim.cut_power_now();
            drop(log);
        }
        self.sim = self.sim.restart_after_power_cut(seed);
        Ok(())
    }

    /// What no crash may look like is damage: a repair instead of the recovery loses nothing
    /// either, and says so.
    fn check_repair(&self) -> Result<(), Violation> {
        let sim = self.sim.snapshot();
        let disk: Arc<dyn Disk> = Arc::new(sim.clone());
        let repaired = match inspect::repair(&disk, "/log", "/repaired", |_| ()) {
            Ok(repaired) => repaired,
            Err(WalError::BadDirectory { .. }) if self.appended.is_empty() => return Ok(()),
            Err(error) => return Err(format!("repair: {error}")),
        };
        if !repaired.lost.is_empty() {
            return Err(format!("repair says {:?}", repaired.lost));
        }
        let log = Wal::open_with("/repaired", self.options().disk(disk));
        let log = log.map_err(|e| format!("repaired, but does not open: {e}"))?;
        self.fork(sim).check(&log)
    }

    /// The same disaster again, from the same state.
    pub(crate) fn fork(&self, sim: SimDisk) -> Self {
        Self {
            sim,
            appended: self.appended.clone(),
            voids: self.voids.clone(),
            cursors: self.cursors.clone(),
            threads: [None; 4],
            ..*self
        }
    }
}

fn read_all(log: &Wal) -> Result<Vec<Written>, Violation> {
    let mut frames: Vec<Written> = Vec::new();
    for record in log.read_from(Lsn::ZERO).map_err(|e| e.to_string())? {
        let record = record.map_err(|e| format!("reading: {e}"))?;
        match frames.last_mut() {
            Some((lsn, records)) if *lsn == record.lsn.get() => {
                records.push(record.payload.to_vec())
            }
            _ => frames.push((record.lsn.get(), vec![record.payload.to_vec()])),
        }
    }
    Ok(frames)
}

/// Cuts the power before every mutation of the program, boots as each of `seeds` decides, checks,
/// and goes on with a second program that is cut somewhere too.
pub(crate) fn cut_everywhere(
    cheat: Cheat,
    program: &[Op],
    after: &[Op],
    seeds: std::ops::Range<u64>,
) -> Result<u64, Violation> {
    cut_everywhere_with(|options| options, cheat, program, after, seeds)
}

/// The same with other settings.
pub(crate) fn cut_everywhere_with(
    adjust: fn(Options) -> Options,
    cheat: Cheat,
    program: &[Op],
    after: &[Op],
    seeds: std::ops::Range<u64>,
) -> Result<u64, Violation> {
    let cuts = PATHS.map(|path| {
        let new = || World::new(cheat, path).with(adjust);
        cut_everywhere_in(new, program, after, seeds.clone()).map_err(|e| format!("{path:?}: {e}"))
    });
    let [page_cache, direct] = cuts;
    Ok(page_cache?.min(direct?))
}

/// The same in worlds of one make.
pub(crate) fn cut_everywhere_in(
    new: impl Fn() -> World,
    program: &[Op],
    after: &[Op],
    seeds: std::ops::Range<u64>,
) -> Result<u64, Violation> {
    for cut in 0.. {
        let mut world = new();
        world.cut_before(cut);
        let stop = world.run(program).map_err(|e| format!("cut {cut}: {e}"))?;
        world.sim.cut_power_now();
        for seed in seeds.clone() {
            let at = |e| format!("cut {cut}, seed {seed}: {e}");
            let mut second = world.fork(world.sim.clone());
            second.reboot(seed).map_err(at)?;
            second.cut_before(Rng::new(seed ^ cut).below(24));
            second.run(after).map_err(at)?;
            second.sim.cut_power_now();
            second.reboot(seed + 7).map_err(at)?;
        }
        if stop == Stop::Finished {
            return Ok(cut);
        }
    }
    unreachable!("a program ends")
}
