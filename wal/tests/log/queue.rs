//! A queue on a log with a bound, on the simulated disk: producers, a consumer that acknowledges by
//! record, pins, restarts and power cuts at random. Whatever happens, the program can go on: the
//! consumer is refused only while a pin keeps the log, every job that was acknowledged to its
//! producer is consumed, and the files stay within the bound.

use crate::common::model::PATHS;
use crate::saved_seeds;
use crate::saved_seeds::{each_seed, list_of};
use highwater_wal::disk::sim::Rng;
use highwater_wal::disk::{Disk, SimDisk};
use highwater_wal::{
    Admission, AppendOptions, Background, Lsn, Options, Result, RetentionGuard, RoomWait, StreamId,
    Wal, WalError, WritePath,
};
use std::sync::Arc;
use std::time::Duration;

const JOBS: StreamId = StreamId(1);
const ACKS: StreamId = StreamId(2);

/// One program's settings.
#[derive(Debug, Clone, Copy)]
struct Setting {
    segment: u64,
    segments: u64,
    seal: u64,
    path: WritePath,
}

/// What the world outside knows.
struct Queue {
    sim: SimDisk,
    setting: Setting,
    rng: Rng,
    /// The next job's number.
    next: u64,
    /// Jobs below this were acknowledged to their producer.
    acked: u64,
    /// Jobs below this were consumed.
    consumed: u64,
    /// Of the last job consumed.
    position: Lsn,
    /// Of the record that acknowledges it; `None` if that was refused.
    ack: Option<Lsn>,
    /// A pin kept what the last truncation would have freed.
    kept: bool,
    /// Acknowledgements that were refused.
    refused: u32,
    /// Jobs that found the log full.
    waited: u32,
}

/// An open log, and what pins it.
struct Open {
    log: Wal,
    pin: Option<RetentionGuard>,
}

impl Queue {
    fn new(setting: Setting, seed: u64) -> Self {
        Self {
            sim: SimDisk::new(),
            setting,
            rng: Rng::new(seed),
            next: 0,
            acked: 0,
            consumed: 0,
            position: Lsn::ZERO,
            ack: None,
            kept: false,
            refused: 0,
            waited: 0,
        }
    }

    fn open(&mut self) -> Result<Open> {
        let disk: Arc<dyn Disk> = Arc::new(self.sim.clone());
        let Setting {
            segment,
            segments,
            seal,
            path,
        } = self.setting;
        let options = Options::new()
            .segment_size(segment)
            .max_bytes(segments * segment)
            .seal_groups(seal)
            .write_path(path)
            .background(Background::Inline)
            .log_id_seed(1)
            .disk(disk);
        let log = Wal::open_with("/log", options)?;
        // The consumer goes on after its last acknowledgement, or where the log begins: what was
        // truncated was consumed.
        let acks = log.read_from(Lsn::ZERO)?.only(ACKS);
        let last = acks.last().transpose()?.map(|record| {
            let number =
                |at: usize| u64::from_le_bytes(record.payload[at..at + 8].try_into().unwrap());
            (record.lsn, Lsn::new(number(0)), number(8))
        });
        let jobs = log
            .read_from(Lsn::ZERO)?
            .only(JOBS)
            .collect::<Result<Vec<_>>>()?;
        let numbers = jobs.iter().map(|job| number_of(&job.payload));
        let last_job = numbers.clone().max();
        // What was appended and not durable may be gone: its number is used again.
        self.next = last_job.map_or(0, |n| n + 1).max(self.consumed);
        self.next = self.next.max(last.map_or(0, |(.., done)| done));
        assert!(self.next >= self.acked, "an acknowledged job is lost");
        let first = numbers.min().unwrap_or(self.next);
        (self.position, self.ack) = (log.first_lsn(), None);
        self.consumed = self.consumed.min(first);
        if let Some((ack, lsn, done)) = last.filter(|(.., done)| *done >= first) {
            (self.position, self.ack, self.consumed) = (lsn, Some(ack), done);
        }
        Ok(Open { log, pin: None })
    }

    fn produce(&mut self, log: &Wal) -> Result<()> {
        let most = log.max_record_bytes() as u64;
        let size = match self.rng.below(10) {
            0 => most,
            _ => 100 + self.rng.below(most / 4),
        };
        let mut job = self.next.to_le_bytes().to_vec();
        job.resize(usize::try_from(size).unwrap() - 8, 7);
        let lsn = match log.append_batch_to(JOBS, [&job]) {
            Err(WalError::LogFull { reserved_bytes, .. }) => {
                assert_eq!(reserved_bytes, self.setting.segment);
                self.waited += 1;
                return Ok(());
            }
            other => other?.first,
        };
        self.next += 1;
        log.sync_to(lsn)?;
        self.acked = self.next;
        Ok(())
    }

    /// Consumes up to `most` jobs and acknowledges the last one.
    fn consume(&mut self, open: &Open, most: usize) -> Result<()> {
        let Open { log, pin } = open;
        let jobs = log
            .read_from(self.position.max(log.first_lsn()))?
            .only(JOBS);
        let jobs = jobs.collect::<Result<Vec<_>>>()?;
        let new = jobs.iter().map(|job| (number_of(&job.payload), job.lsn));
        let new: Vec<_> = new
            .filter(|(number, _)| *number >= self.consumed)
            .take(most)
            .collect();
        let lsn = match (new.last(), self.ack) {
            (Some((_, lsn)), _) => *lsn,
            // At rest nothing before its own record is needed. It says so again, so that what only
            // acknowledgements and restarts have added goes.
            (None, _) => self.position,
        };
        let rests = new.is_empty();
        for (number, _) in new {
            assert_eq!(number, self.consumed, "no job is passed over");
            self.consumed += 1;
        }
        (self.position, self.ack) = (lsn, None);
        let mut ack = [lsn.get().to_le_bytes(), self.consumed.to_le_bytes()].concat();
        // With a pin, such as use up the reserve.
        ack.resize(if pin.is_some() { 500 } else { 16 }, 0);
        let appended = match self.rng.below(2) {
            0 => log.append_control(ACKS, &ack),
            _ => {
                let reserve = AppendOptions::new()
                    .stream(ACKS)
                    .admission(Admission::Reserve);
                log.append_with(&reserve, &ack)
            }
        };
        match appended {
            Ok(acked) => {
                log.sync_to(acked)?;
                self.ack = Some(acked);
            }
            Err(
                error @ WalError::LogFull {
                    reserved_bytes: 0, ..
                },
            ) => {
                assert!(self.kept, "refused although nothing keeps the log: {error}");
                self.refused += 1;
            }
            Err(error) => return Err(error),
        }
        self.kept = pin.is_some();
        let needed = self.ack.filter(|_| rests);
        log.truncate_before(needed.unwrap_or(lsn))
    }

    fn step(&mut self, slot: &mut Option<Open>) -> Result<()> {
        let open = slot.as_mut().unwrap();
        match self.rng.below(24) {
            0..=13 => self.produce(&open.log)?,
            14..=18 => {
                let most = 1 + usize::try_from(self.rng.below(20)).unwrap();
                self.consume(open, most)?;
            }
            19..=20 => open.pin = Some(open.log.retain_as(open.log.first_lsn(), "a slow reader")?),
            21 => open.pin = None,
            22 => {
                let closed = open.log.close();
                assert!(
                    closed
                        .as_ref()
                        .err()
                        .is_none_or(|e| e.is_no_space() || !self.sim.is_alive())
                );
                *slot = None;
                *slot = Some(self.open()?);
            }
            _ if !self.sim.is_alive() => {} // killing comes too late
            _ => {
                self.sim = self.sim.kill_process();
                *slot = None;
                *slot = Some(self.open()?);
            }
        }
        self.check_bound();
        Ok(())
    }

    fn check_bound(&self) {
        let files = self.sim.files().into_iter();
        let segments = files.filter(|path| path.to_string_lossy().contains(".wal"));
        let sizes = segments.map(|path| self.sim.read_file(path).unwrap().len() as u64);
        // One more after a restart in the reserve.
        let most = (self.setting.segments + 1) * self.setting.segment;
        let used: u64 = sizes.sum();
        assert!(used <= most, "{used} bytes of {most}");
    }

    /// Whatever state this is: without pins the consumer comes to the end, and then a producer gets
    /// in.
    fn finish(&mut self, open: &mut Open) {
        open.pin = None;
        let log = &open.log;
        while self.consumed < self.next {
            let before = self.consumed;
            self.consume(open, 1).unwrap();
            assert!(self.consumed > before);
        }
        self.consume(open, 1).unwrap();
        let waited = log.wait_for_room_timeout(Duration::ZERO).unwrap();
        assert_eq!(waited, RoomWait::Room, "{:?} {:?}", log.stats(), self.ack);
        let lsn = log.append(vec![7; log.max_record_bytes()]).unwrap();
        log.sync_to(lsn).unwrap();
    }
}

fn number_of(job: &[u8]) -> u64 {
    u64::from_le_bytes(job[..8].try_into().unwrap())
}

/// So many steps in each of four lives, with the power cut before a random mutation of each life.
/// Tells how often an acknowledgement, and a job, was refused.
fn run(setting: Setting, seed: u64, steps: u32) -> (u32, u32) {
    let mut queue = Queue::new(setting, seed);
    for life in 0..4 {
        if life > 0 {
            queue.sim = queue.sim.restart_after_power_cut(seed + life);
        }
        let mut slot = Some(queue.open().unwrap());
        if life < 3 {
            let cut = queue.sim.mutations() + 1 + queue.rng.below(600);
            queue.sim.cut_power_before(cut);
        }
        for _ in 0..steps {
            if let Err(error) = queue.step(&mut slot) {
                assert!(!queue.sim.is_alive(), "{setting:?} {seed}: {error}");
                break;
            }
        }
        if life == 3 {
            queue.finish(slot.as_mut().unwrap());
        }
        queue.sim.cut_power_now();
    }
    (queue.refused, queue.waited)
}

fn seeds() -> u64 {
    std::env::var("QUEUE_SEEDS").map_or(60, |n| n.parse().unwrap())
}

#[test]
fn no_program_is_locked_out_of_its_log() {
    let (mut refused, mut waited) = (0, 0);
    let list = list_of(env!("CARGO_MANIFEST_DIR"), "queue");
    for path in PATHS {
        for (segment, segments, seal) in [(8 << 10, 4, 0), (8 << 10, 7, 0), (64 << 10, 4, 4096)] {
            let setting = Setting {
                segment,
                segments,
                seal,
                path,
            };
            let plan = format!("{setting:?}");
            each_seed(&list, &plan, 0..seeds(), 120, |seed, steps| {
                let (acks, jobs) = run(setting, seed, steps);
                refused += acks;
                waited += jobs;
            });
        }
    }
    if !saved_seeds::all_seeds() {
        return;
    }
    assert!(waited > 1000, "the bound is met: {waited}");
    assert!(
        refused > 20,
        "pins that use up the reserve are met: {refused}"
    );
}
