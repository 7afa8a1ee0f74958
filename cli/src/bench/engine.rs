//! `highwater bench engine`: runs the workloads.

use crate::args::EngineBenchArgs;
use crate::bench::bound::{self, Bound};
use crate::bench::corpus::Corpus;
use crate::bench::latency::{self, Load};
use crate::bench::many_keys;
use crate::bench::programs::Program;
use crate::bench::report::{EmptyBatch, Latency, ManyKeys, Measured, Report, Spread, rounded};
use crate::bench::workload::Workload;
use highwater::disk::{Disk, OsClock, OsDisk};
use highwater_disk::probe::{Device, Scratch};
use highwater_log::outcome::{Failure, Outcome, Result};
use highwater_log::output::Output;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

/// Empty batches in a round.
const EMPTY_BATCHES: usize = 100;
/// Intervals for which latency is measured.
const INTERVALS: [Duration; 2] = [Duration::from_millis(50), Duration::from_millis(10)];

/// Runs the command.
pub(crate) fn bench_engine(args: &EngineBenchArgs, out: &mut Output) -> Result<Outcome> {
    let io = |e: std::io::Error| Failure::io("cannot examine", &args.dir, &e);
    let device = Device::of(&args.dir).map_err(io)?;
    let kind = OsDisk::new().file_system(&args.dir).map_err(io)?;
    let bench = Bench {
        args,
        clock: OsClock::new(),
        corpus: Arc::new(Corpus::new(args.lines, args.keys)),
    };
    let programs = bench.programs()?;
    let flushes = bound::flushes(bench.scratch()?.path(), EMPTY_BATCHES, &bench.clock)?;
    let report = Report {
        dir: args.dir.display().to_string(),
        file_system: kind.to_string(),
        device: device.map(|device| device.name()),
        lines: bench.corpus.len(),
        words: bench.corpus.words(),
        vocabulary: args.keys,
        latencies: bench.latencies(&programs)?,
        programs,
        flush_us: Spread::of_micros(&flushes),
        empty_batches: bench.empty_batches()?,
        many_keys: bench.many_keys()?,
    };
    out.show(args.json, &report, Report::print)?;
    Ok(Outcome::Clean)
}

/// A fast program that counts wrongly is worth nothing.
fn check(counted: u64, expected: u64, program: Program) -> Result<()> {
    if counted == expected {
        return Ok(());
    }
    Err(Failure::Finding(format!(
        "{}: the counts add up to {counted}, and not to {expected}",
        program.title()
    )))
}

struct Bench<'a> {
    args: &'a EngineBenchArgs,
    clock: OsClock,
    corpus: Arc<Corpus>,
}

impl Bench<'_> {
    /// A directory for one program, which goes with it.
    fn scratch(&self) -> Result<Scratch> {
        Scratch::create(&self.args.dir, "highwater-bench")
            .map_err(|e| Failure::io("cannot make a directory in", &self.args.dir, &e))
    }

    /// Runs every program with every number of workers beside its bound: what else the machine does
    /// meets both.
    fn programs(&self) -> Result<Vec<Measured>> {
        let mut measured = Vec::new();
        for program in Program::ALL {
            let part = self
                .args
                .lines
                .div_ceil(usize::try_from(program.batches_before()).unwrap_or(1));
            let part = match part < self.args.lines {
                true => Arc::new(Corpus::new(part, self.args.keys)),
                false => Arc::clone(&self.corpus),
            };
            for workers in &self.args.workers {
                measured.push(self.program(program, *workers, &part)?);
            }
        }
        Ok(measured)
    }

    fn program(
        &self,
        program: Program,
        workers: NonZeroUsize,
        corpus: &Arc<Corpus>,
    ) -> Result<Measured> {
        let dir = self.scratch()?;
        let workload = Workload::start(dir.path(), program, workers, corpus)?;
        let mut bound = Bound::of(program);
        let (mut beside, mut times, mut running) = (Vec::new(), Vec::new(), 0);
        let before = usize::try_from(program.batches_before()).unwrap_or(1);
        for round in 0..before + self.args.rounds {
            let (bound_took, of_batch) = bound.round(corpus, &self.clock);
            let (took, counted) = workload.round(&self.clock)?;
            running += of_batch;
            let expected = match program {
                Program::Running | Program::Borrowed => running,
                Program::OfBatch | Program::Windowed | Program::Joined => of_batch,
            };
            check(counted, expected, program)?;
            // From an empty state it is not measured.
            if round >= before {
                beside.push(bound_took);
                times.push(took);
            }
        }
        let speed = Spread::of_speeds(corpus.len(), &times);
        let bound = Spread::of_speeds(corpus.len(), &beside);
        Ok(Measured {
            program,
            workers: workers.get(),
            speed,
            bound,
            ratio: rounded(speed.median / bound.median.max(1e-9)),
        })
    }

    fn empty_batches(&self) -> Result<Vec<EmptyBatch>> {
        let measure = |workers: &NonZeroUsize| {
            let dir = self.scratch()?;
            let program = Program::Running;
            let workload = Workload::start(dir.path(), program, *workers, &self.corpus)?;
            workload.empty_batch(&self.clock)?;
            let times = (0..EMPTY_BATCHES).map(|_| Ok(workload.empty_batch(&self.clock)?.0));
            let times = times.collect::<Result<Vec<Duration>>>()?;
            Ok(EmptyBatch {
                workers: workers.get(),
                us: Spread::of_micros(&times),
            })
        };
        self.args.workers.iter().map(measure).collect()
    }

    fn many_keys(&self) -> Result<Vec<ManyKeys>> {
        let keys = self.args.state_keys;
        let workers = self.args.workers.iter().filter(|_| keys > 0);
        let measure = |workers: &NonZeroUsize| {
            many_keys::measure(self.scratch()?.path(), keys, *workers, &self.clock)
        };
        workers.map(measure).collect()
    }

    /// At half of the speed that the running count has reached.
    fn latencies(&self, programs: &[Measured]) -> Result<Vec<Latency>> {
        let mut latencies = Vec::new();
        let length = Duration::from_secs_f64(self.args.seconds);
        let running = programs
            .iter()
            .filter(|measured| measured.program == Program::Running);
        for (measured, workers) in running.zip(&self.args.workers) {
            for batch_interval in INTERVALS {
                let load = Load {
                    workers: *workers,
                    batch_interval,
                    lines_per_second: measured.speed.median * 1e6 / 2.0,
                    length,
                };
                let dir = self.scratch()?;
                latencies.push(latency::measure(dir.path(), &self.corpus, load)?);
            }
        }
        Ok(latencies)
    }
}
