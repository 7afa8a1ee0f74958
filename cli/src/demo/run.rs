//! The parent: drives the child through its lives.

use super::corpus::Corpus;
use super::event::{Ready, Status};
use super::feed::{Fed, Feeder, wait};
use super::life::Life;
use super::place::Place;
use super::program::ENGINE;
use super::random::Random;
use super::result;
use super::schedule::{self, Kill, Strike};
use super::show::Show;
use super::table::{self, Death, Story};
use super::verdict::judge;
use crate::args::{ChildArgs, DemoArgs};
use crate::outcome::{Failure, Outcome, Result};
use crate::output::{Output, tell};
use crate::text;
use highwater::disk::{Clock, OsClock, OsDisk};
use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// A small text is repeated until the run takes at least so long: every life of the child should
/// see batches, checkpoints and truncations of the log.
const MS_PER_KILL: u64 = 2500;

/// A kill before the child accepts connections.
const RECOVERING: &str = "recovering";

/// Runs the demo.
pub(crate) fn run(args: &DemoArgs, out: &mut Output) -> Result<Outcome> {
    let disk = OsDisk::new();
    let clock: Arc<dyn Clock> = Arc::new(OsClock::new());
    let seed = args
        .seed
        .unwrap_or_else(|| RandomState::new().hash_one("seed") >> 32);
    let corpus = Corpus::read(&disk, &args.files, Path::new("."))?;
    let place = Place::prepare(&disk, args.dir.as_deref(), seed)?;
    let outcome = run_in(place.dir(), &corpus, seed, args, &clock, out);
    let clean = matches!(outcome, Ok(Outcome::Clean));
    match (clean, place.dir().display()) {
        (true, _) => place.remove(&disk)?,
        (false, dir) => {
            out.flush()?;
            let engine = place.dir().join(ENGINE);
            let engine = engine.display();
            tell(format!("kept {dir}"));
            tell(format!(
                "see `highwater log verify {engine}`, `highwater checkpoint list {engine}`"
            ));
        }
    }
    outcome
}

fn run_in(
    dir: &Path,
    corpus: &Corpus,
    seed: u64,
    args: &DemoArgs,
    clock: &Arc<dyn Clock>,
    out: &mut Output,
) -> Result<Outcome> {
    let lines = corpus.lines.len() as u64;
    let enough = (args.rate * MS_PER_KILL / 1000 * u64::from(args.kills)).div_ceil(lines.max(1));
    let rounds = args.rounds.unwrap_or(enough);
    let total = lines.checked_mul(rounds).ok_or_else(|| {
        let (lines, rounds) = (text::grouped(lines), text::grouped(rounds));
        Failure::Usage(format!(
            "{lines} lines cannot be sent {rounds} times: lower --rounds"
        ))
    })?;
    let show = Show::new(total);
    show.event(&format!(
        "{} files, {}, {} lines, sent {rounds} times: {} lines; seed {seed}",
        corpus.files,
        text::bytes(corpus.bytes),
        text::grouped(lines),
        text::grouped(total),
    ));
    let child = ChildArgs {
        dir: dir.to_owned(),
        workers: args.workers,
        faults: args.faults,
    };
    let kills = schedule::kills(args.kills, total, &mut Random::new(seed)).into();
    let feeder = Feeder {
        lines: &corpus.lines,
        total,
        acknowledged: 0,
        sent: 0,
        resent: 0,
        rate: args.rate,
        clock,
        show: &show,
    };
    let started = clock.now();
    let mut drive = Drive {
        child,
        kills,
        feeder,
        last_start: Duration::ZERO,
        deaths: Vec::new(),
        done: Status::default(),
    };
    let driven = drive.until_the_end();
    show.finish();
    driven?;
    let counted = result::read(dir)?;
    let verdict = judge(&corpus.counts, rounds, total, &counted);
    let story = Story {
        took: clock.now() - started,
        sent: drive.feeder.sent,
        resent: drive.feeder.resent,
        acknowledged: drive.feeder.acknowledged,
        done: drive.done,
        deaths: drive.deaths,
        seed,
    };
    table::print(&story, &verdict, out)?;
    Ok(Outcome::clean_if(verdict.is_clean()))
}

/// The state of a run.
struct Drive<'a> {
    child: ChildArgs,
    kills: VecDeque<Kill>,
    feeder: Feeder<'a>,
    /// How long the child took to start the last time.
    last_start: Duration,
    deaths: Vec<Death>,
    /// What all lives have done together.
    done: Status,
}

impl Drive<'_> {
    /// Life after life, until every line is acknowledged and the child has stopped gracefully.
    fn until_the_end(&mut self) -> Result<()> {
        loop {
            let life = Life::begin(&self.child, self.feeder.clock)?;
            match self.kills.front().copied() {
                Some(Kill::Recovering { per_mille }) => {
                    self.kills.pop_front();
                    wait(
                        &**self.feeder.clock,
                        self.last_start * u32::try_from(per_mille).unwrap_or(0) / 1000,
                    );
                    life.kill();
                    self.died(life, RECOVERING);
                }
                Some(Kill::Feeding(strike)) => {
                    if self.feed(&life, Some(strike))? == Fed::Killed {
                        self.kills.pop_front();
                        self.died(life, "under load");
                    } else {
                        return Err(Failure::Finding(
                            "the run ended before all kills".to_owned(),
                        ));
                    }
                }
                None => {
                    self.feed(&life, None)?;
                    self.done = self.done.and_then(life.stop()?);
                    return Ok(());
                }
            }
        }
    }

    /// Feeds one life, and notes how the recovery before it went.
    fn feed(&mut self, life: &Life, kill: Option<Strike>) -> Result<Fed> {
        let (ready, age) = life.await_ready()?;
        self.last_start = age;
        self.started(&ready, age);
        let resent = self.feeder.resent;
        let (fed, first_ack) = self.feeder.feed(life, &ready.address, kill)?;
        if let Some(death) = self.deaths.last_mut() {
            death.first_ack = first_ack;
            death.resent = self.feeder.resent - resent;
        }
        Ok(fed)
    }

    fn started(&mut self, ready: &Ready, age: Duration) {
        let Some(death) = self.deaths.last_mut() else {
            return;
        };
        death.ready = Some(age);
        let from = ready
            .checkpoint
            .map_or("no checkpoint".to_owned(), |n| format!("checkpoint {n}"));
        death.recovered_from = format!(
            "{from}, {} of log ({})",
            text::bytes(ready.bytes_to_replay),
            ready.log_end
        );
        let event = format!(
            "recovered in {} from {}",
            text::millis(age),
            death.recovered_from
        );
        self.feeder.show.event(&event);
    }

    fn died(&mut self, life: Life, phase: &'static str) {
        let age = life.age();
        let (status, was_ready) = life.bury();
        self.done = self.done.and_then(status);
        let phase = if phase == RECOVERING && was_ready {
            "just recovered"
        } else {
            phase
        };
        let acknowledged = self.feeder.acknowledged;
        self.deaths.push(Death {
            acknowledged,
            phase,
            age,
            ready: None,
            first_ack: None,
            resent: 0,
            recovered_from: String::new(),
        });
        let number = self.deaths.len();
        let event = format!(
            "kill {number} ({phase}) after {} acknowledged lines",
            text::grouped(acknowledged)
        );
        self.feeder.show.event(&event);
    }
}
