//! The whole run: starts, feeds and kills the child, again and again.

use crate::args::{ChildArgs, DemoArgs};
use crate::demo::child::event::{Ready, Status};
use crate::demo::child::program::ENGINE;
use crate::demo::parent::child_process::ChildProcess;
use crate::demo::parent::corpus::Corpus;
use crate::demo::parent::kills::{self, Kill, KillPoint};
use crate::demo::parent::progress::Progress;
use crate::demo::parent::report::{self, KillReport, Report};
use crate::demo::parent::result;
use crate::demo::parent::sender::{Sender, Sent, wait};
use crate::demo::parent::verdict::judge;
use crate::demo::parent::work_dir::WorkDir;
use crate::message::tell;
use highwater::disk::sim::Rng;
use highwater::disk::{Clock, OsClock, OsDisk};
use highwater_log::outcome::{Failure, Outcome, Result};
use highwater_log::output::Output;
use highwater_log::text;
use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// A small text is repeated until the run takes at least so long. Every process of the child should
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
    let work_dir = WorkDir::prepare(&disk, args.dir.as_deref(), seed)?;
    let outcome = run_in(work_dir.dir(), &corpus, seed, args, &clock, out);
    let clean = matches!(outcome, Ok(Outcome::Clean));
    match (clean, work_dir.dir().display()) {
        (true, _) => work_dir.remove(&disk)?,
        (false, dir) => {
            out.flush()?;
            let engine = work_dir.dir().join(ENGINE);
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
    let progress = Progress::new(total);
    progress.event(&format!(
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
    let plan = kills::plan(args.kills, total, &mut Rng::new(seed));
    let sender = Sender {
        lines: &corpus.lines,
        total,
        acknowledged: 0,
        sent: 0,
        resent: 0,
        rate: args.rate,
        clock,
        progress: &progress,
    };
    let started = clock.now();
    let mut run = Run {
        child,
        plan: plan.into(),
        sender,
        last_start: Duration::ZERO,
        kills: Vec::new(),
        done: Status::default(),
    };
    let driven = run.until_the_end();
    progress.finish();
    driven?;
    let counted = result::read(dir)?;
    let verdict = judge(&corpus.counts, rounds, total, &counted);
    let report = Report {
        took: clock.now() - started,
        sent: run.sender.sent,
        resent: run.sender.resent,
        acknowledged: run.sender.acknowledged,
        done: run.done,
        kills: run.kills,
        seed,
    };
    report::print(&report, &verdict, out)?;
    Ok(Outcome::clean_if(verdict.is_clean()))
}

/// The state of a run.
struct Run<'a> {
    child: ChildArgs,
    plan: VecDeque<Kill>,
    sender: Sender<'a>,
    /// How long the child took to start the last time.
    last_start: Duration,
    kills: Vec<KillReport>,
    /// What all processes have done together.
    done: Status,
}

impl Run<'_> {
    /// Runs process after process, until every line is acknowledged and the child has stopped
    /// gracefully.
    fn until_the_end(&mut self) -> Result<()> {
        loop {
            let process = ChildProcess::spawn(&self.child, self.sender.clock)?;
            match self.plan.front().copied() {
                Some(Kill::DuringRecovery { per_mille }) => {
                    self.plan.pop_front();
                    wait(
                        &**self.sender.clock,
                        self.last_start * u32::try_from(per_mille).unwrap_or(0) / 1000,
                    );
                    process.kill();
                    self.died(process, RECOVERING);
                }
                Some(Kill::UnderLoad(point)) => {
                    if self.send(&process, Some(point))? == Sent::Killed {
                        self.plan.pop_front();
                        self.died(process, "under load");
                    } else {
                        return Err(Failure::Finding(
                            "the run ended before all kills".to_owned(),
                        ));
                    }
                }
                None => {
                    self.send(&process, None)?;
                    self.done = self.done.and_then(process.stop()?);
                    return Ok(());
                }
            }
        }
    }

    /// Sends lines to one process, and reports how the recovery before went.
    fn send(&mut self, process: &ChildProcess, kill: Option<KillPoint>) -> Result<Sent> {
        let (ready, age) = process.await_ready()?;
        self.last_start = age;
        self.started(&ready, age);
        let resent = self.sender.resent;
        let (sent, first_ack) = self.sender.send_all(process, &ready.address, kill)?;
        if let Some(kill) = self.kills.last_mut() {
            kill.first_ack = first_ack;
            kill.resent = self.sender.resent - resent;
        }
        Ok(sent)
    }

    fn started(&mut self, ready: &Ready, age: Duration) {
        let Some(kill) = self.kills.last_mut() else {
            return;
        };
        kill.ready = Some(age);
        let from = ready
            .checkpoint
            .map_or("no checkpoint".to_owned(), |n| format!("checkpoint {n}"));
        kill.recovered_from = format!(
            "{from}, {} of log ({})",
            text::bytes(ready.bytes_to_replay),
            ready.log_end
        );
        let event = format!(
            "recovered in {} from {}",
            text::millis(age),
            kill.recovered_from
        );
        self.sender.progress.event(&event);
    }

    fn died(&mut self, process: ChildProcess, phase: &'static str) {
        let age = process.age();
        let (status, was_ready) = process.reap();
        self.done = self.done.and_then(status);
        let phase = if phase == RECOVERING && was_ready {
            "just recovered"
        } else {
            phase
        };
        let acknowledged = self.sender.acknowledged;
        self.kills.push(KillReport {
            acknowledged,
            phase,
            age,
            ready: None,
            first_ack: None,
            resent: 0,
            recovered_from: String::new(),
        });
        let number = self.kills.len();
        let event = format!(
            "kill {number} ({phase}) after {} acknowledged lines",
            text::grouped(acknowledged)
        );
        self.sender.progress.event(&event);
    }
}
