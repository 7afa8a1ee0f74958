//! Records a load once, then cuts the power at its flushes and lets the judge look at each state;
//! and cuts it a second time, at a moment of the recovery or of the life after it. Cases F4-F6,
//! F8-F11 of docs/guarantees.md.

use crate::judge::Known;
use crate::life::{LIVE, Plan};
use crate::machine::{make_file_system, mount_device, unmount_device};
use crate::medium::{Event, Medium, Note, Replay, Survival, Unit};
use crate::nbd::{Cache, Nbd};
use crate::settings::{Cheat, Settings, Setup};
use crate::wire::{Life, listen, lock};
use highwater_wal::disk::sim::Rng;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// The smallest size at which both file systems are made with their usual defaults.
const DEVICE_BYTES: usize = 512 << 20;
const THREADS: u64 = 4;
/// Frames appended after a recovery.
const LATER_APPENDS: u64 = 6;
/// Acknowledgements since the last flush after which the power is cut without one.
const SUSPICIOUS: usize = 4 * THREADS as usize;
/// Failures after which a set-up is given up.
const ENOUGH: usize = 5;

#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Flushes recorded, and writes through the cache.
    pub(crate) flushes: usize,
    pub(crate) states: usize,
    pub(crate) second_cuts: usize,
    /// Acknowledged records that were demanded and there, over all states.
    pub(crate) acknowledged: usize,
    /// Torn states that the file system itself would not mount. They were tried again with whole
    /// blocks of 4 KiB.
    pub(crate) refused: usize,
    pub(crate) failures: usize,
    /// What recovery called the states.
    pub(crate) cases: BTreeMap<String, usize>,
    pub(crate) seconds: u64,
}

/// The medium and the two devices that show it.
pub(crate) struct Bench {
    medium: Arc<Mutex<Medium>>,
    fua: Nbd,
    flush: Nbd,
}

impl Bench {
    pub(crate) fn start(settings: &Settings) -> Self {
        let medium = Arc::new(Mutex::new(Medium::new(DEVICE_BYTES)));
        let device = |number, cache| {
            Nbd::start(number, DEVICE_BYTES, cache, &medium, settings.seed)
                .expect("the kernel takes a device")
        };
        let (fua, flush) = (device(0, Cache::Fua), device(1, Cache::Flush));
        Self { medium, fua, flush }
    }

    pub(crate) fn try_setup(&mut self, setup: &Setup, settings: &Settings) -> Outcome {
        let begun = Instant::now();
        *lock(&self.medium) = Medium::new(DEVICE_BYTES);
        let trial = Trial {
            bench: self,
            setup: *setup,
            settings,
        };
        trial.device().forget().expect("nothing is mounted");
        make_file_system(setup.file_system, trial.device().path());
        trial.device().forget().expect("nothing is mounted");
        let mut outcome = Outcome::default();
        let (replay, known) = trial.record();
        trial.replay(replay, known, &mut outcome);
        outcome.seconds = begun.elapsed().as_secs();
        outcome
    }
}

struct Trial<'a> {
    bench: &'a Bench,
    setup: Setup,
    settings: &'a Settings,
}

impl Trial<'_> {
    fn device(&self) -> &Nbd {
        match self.setup.cache {
            Cache::Fua => &self.bench.fua,
            Cache::Flush => &self.bench.flush,
        }
    }

    fn mount(&self) -> Result<(), Fault> {
        let barrier = self.settings.cheat != Cheat::NoBarrier;
        mount_device(self.setup.file_system, self.device().path(), barrier)
            .map_err(Fault::Unmountable)
    }

    fn unmount(&self) {
        unmount_device();
        self.device().forget().expect("nothing is mounted");
    }

    /// A life with the mounted log, in a process of its own.
    fn live(&self, plan: Plan) -> Life {
        let mut arguments = vec![LIVE.to_owned()];
        arguments.extend(plan.arguments());
        arguments.extend(self.settings.for_path(self.setup.path));
        listen(&arguments, &self.bench.medium)
    }

    /// One life of a log under load, from its creation to its close: the events, and what was known
    /// at first.
    fn record(&self) -> (Replay, Known) {
        assert!(self.mount().is_ok(), "a new file system");
        rustix::fs::sync();
        lock(&self.bench.medium).settle();
        let mark = lock(&self.bench.medium).mark();
        let life = self.live(Plan {
            threads: THREADS,
            appends: self.settings.appends,
            numbers: self.settings.seed << 32,
        });
        self.unmount();
        let events = lock(&self.bench.medium).rewind(mark);
        assert_eq!(life.failure, None, "a disk that works");
        println!("  recorded: {}", life.remark.unwrap_or_default());
        let known = Known {
            frames: life.appended,
            opened: false,
            acked: None,
            start: life.openings[0].first,
            latest_start: life.openings[0].first,
        };
        (Replay::new(events, self.settings.device()), known)
    }

    /// Cuts the power just before each flush is answered: then most is acknowledged on the ground
    /// of what is durable.
    fn replay(&self, mut replay: Replay, mut known: Known, outcome: &mut Outcome) {
        let mut rng = Rng::new(self.settings.seed);
        let mut unflushed = 0;
        while replay.position() < replay.len() && outcome.failures < ENOUGH {
            if replay.is_at_flush() || unflushed == SUSPICIOUS {
                outcome.flushes += 1;
                unflushed = 0;
                if outcome.flushes.is_multiple_of(self.settings.every) {
                    self.cut(&replay, &known, Survival::Nothing, outcome);
                    for _ in 0..self.settings.torn {
                        self.cut(&replay, &known, torn(rng.next_u64()), outcome);
                    }
                }
            }
            let mut medium = lock(&self.bench.medium);
            if let Some(note) = replay.step(&mut medium) {
                unflushed += usize::from(matches!(note, Note::Acked(_)));
                known.learn(note);
            }
            medium.settle();
        }
        self.cut(&replay, &known, Survival::Everything, outcome);
    }

    fn cut(&self, replay: &Replay, known: &Known, survival: Survival, outcome: &mut Outcome) {
        outcome.states += 1;
        let mark = lock(&self.bench.medium).mark();
        let found = self.live_twice(replay, known, survival, outcome);
        if let Err(Fault::Unmountable(what) | Fault::Wrong(what)) = found {
            outcome.failures += 1;
            let at = replay.position();
            println!("  FAILURE: cut at event {at}, {survival:?}: {what}");
        }
        lock(&self.bench.medium).rewind(mark);
    }

    /// Opens what the cut has left, cuts the power again meanwhile or soon after, and opens what
    /// that has left.
    fn live_twice(
        &self,
        replay: &Replay,
        known: &Known,
        survival: Survival,
        outcome: &mut Outcome,
    ) -> Result<(), Fault> {
        let seed = replay.position() as u64;
        let first = || self.first_life(seed, known);
        let (first, events) = self.after(replay, survival, &mut outcome.refused, first)?;
        outcome.acknowledged += first.acknowledged;
        *outcome.cases.entry(first.case).or_default() += 1;

        let mut rng = Rng::new(seed ^ self.settings.seed);
        let at = rng.below(events.len() as u64) as usize;
        let mut again = Replay::new(events, self.settings.device());
        let known = self.play_until(at, &mut again, known.clone(), first.later);
        let second = || self.second_life(seed, &known);
        outcome.second_cuts += 1;
        let found = self.after(&again, torn(rng.next_u64()), &mut outcome.refused, second);
        let (acknowledged, _) = found.map_err(|fault| fault.after(at))?;
        outcome.acknowledged += acknowledged;
        Ok(())
    }

    /// Puts the medium into the state of a cut, mounts it for `life`, and takes back what that
    /// wrote.
    fn after<T>(
        &self,
        replay: &Replay,
        survival: Survival,
        refused: &mut usize,
        life: impl Fn() -> Result<T, Fault>,
    ) -> Result<(T, Vec<Event>), Fault> {
        let before = lock(&self.bench.medium).mark();
        replay.cut(&mut lock(&self.bench.medium), survival);
        let start = lock(&self.bench.medium).mark();
        let result = self.mount().and_then(|()| {
            let result = life();
            self.unmount();
            result
        });
        let events = lock(&self.bench.medium).rewind(start);
        match (result, survival) {
            // The file system's own doing: see there.
            (
                Err(Fault::Unmountable(_)),
                Survival::Torn {
                    seed,
                    unit: Unit::Sector,
                },
            ) => {
                *refused += 1;
                lock(&self.bench.medium).rewind(before);
                let unit = Unit::Block;
                self.after(replay, Survival::Torn { seed, unit }, refused, life)
            }
            (result, _) => Ok((result?, events)),
        }
    }

    /// What is known after that many events: `before` what the first life did, or `after` it had
    /// opened its log.
    fn play_until(
        &self,
        at: usize,
        replay: &mut Replay,
        mut before: Known,
        mut after: Known,
    ) -> Known {
        before.opened = false;
        while replay.position() < at {
            if let Some(note) = replay.step(&mut lock(&self.bench.medium)) {
                before.learn(note);
                after.learn(note);
            }
        }
        if after.opened { after } else { before }
    }

    /// Opens, checks, appends.
    fn first_life(&self, seed: u64, known: &Known) -> Result<First, Fault> {
        let life = self.live(later(1, seed));
        let (acknowledged, later) = judge(&life, known)?;
        Ok(First {
            later,
            acknowledged,
            case: life.openings[0].case.clone(),
        })
    }

    /// Opens, checks, appends, closes, and opens again: then everything is there. How many
    /// acknowledged records were.
    fn second_life(&self, seed: u64, known: &Known) -> Result<usize, Fault> {
        let life = self.live(later(2, seed));
        Ok(judge(&life, known)?.0)
    }
}

fn later(turn: u64, seed: u64) -> Plan {
    Plan {
        threads: 1,
        appends: LATER_APPENDS,
        numbers: turn << 60 | seed << 24,
    }
}

/// How many acknowledged records a life has shown, and what is known if it came to that before the
/// next cut.
fn judge(life: &Life, known: &Known) -> Result<(usize, Known), String> {
    let failure = || life.failure.clone().unwrap_or("it told nothing".into());
    let opening = life.openings.first().ok_or_else(failure)?;
    if let Some(failure) = &life.failure {
        return Err(failure.clone());
    }
    let mut acknowledged = known.check(opening)?;
    let mut later = known.after(opening);
    later.frames.extend(life.appended.clone());
    let again = life.openings.get(1).ok_or_else(failure)?;
    let mut closed = later.clone();
    closed.acked = closed.frames.keys().next_back().copied();
    acknowledged += closed.check(again)?;
    match again.case.as_str() {
        "clean end" => Ok((acknowledged, later)),
        other => Err(format!("closed cleanly, but found: {other}")),
    }
}

/// What a life after a cut has to tell.
struct First {
    /// What is known if it came to that before the next cut.
    later: Known,
    acknowledged: usize,
    case: String,
}

/// What is wrong with a state.
enum Fault {
    Unmountable(String),
    Wrong(String),
}

impl From<String> for Fault {
    fn from(what: String) -> Self {
        Self::Wrong(what)
    }
}

impl Fault {
    fn after(self, event: usize) -> Self {
        let (Self::Unmountable(what) | Self::Wrong(what)) = self;
        Self::Wrong(format!("and again at event {event}: {what}"))
    }
}

fn torn(seed: u64) -> Survival {
    let unit = Unit::Sector;
    Survival::Torn { seed, unit }
}
