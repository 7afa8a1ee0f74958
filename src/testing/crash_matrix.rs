//! A run with the power cut before every operation of the disk.

use super::collector::Collector;
use super::context::TestContext;
use super::input::Input;
use super::outcome::Outcome;
use super::pipeline::Pipeline;
use super::report::{CrashFailure, CrashReport};
use super::saved_cuts::{self, Cut};
use crate::disk::SimDisk;
use crate::disk::sim::Rng;
use crate::{BoxError, Result, StreamScope};
use std::any::Any;
use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

/// Runs a pipeline undisturbed, then once for each operation of the disk with the power cut
/// there, with the defaults of [`CrashMatrix`].
///
/// # Panics
/// If a run comes out otherwise: with the [`CrashFailure`], which names the operation. The cut is
/// saved in `tests/crash-cuts` of the package and tried first the next time.
pub fn crash_matrix(
    pipeline: impl Fn(&StreamScope, &Collector) -> Result<(), BoxError> + 'static,
    input: &Input,
) -> CrashReport {
    let outcome = CrashMatrix::new(Pipeline::new(pipeline), input).run();
    #[allow(clippy::panic, reason = "that is how a test fails")]
    outcome.unwrap_or_else(|failure| panic!("{failure}"))
}

/// A crash matrix with its settings: see [`crash_matrix`].
///
/// Every life ends by a cut or by a graceful stop. What is compared with the undisturbed run:
///
/// - the records of every committed batch of each collected output, and their order; a batch must
///   not become visible twice;
/// - every state, byte for byte, in the final checkpoint: in a counter too, for example;
/// - every file that the pipeline has written outside of its directory.
///
/// After each cut the program goes on with the next number of workers of the list. After every
/// eighth the power fails once more while it recovers.
#[derive(Debug)]
pub struct CrashMatrix {
    pipeline: Pipeline,
    input: Input,
    workers: Vec<NonZeroUsize>,
    seed: u64,
    max_cuts: u64,
    saved: Option<PathBuf>,
}

impl CrashMatrix {
    /// A matrix of `pipeline` over `input`: one and two workers, seed 7, at most 1,000 cuts for
    /// each number of workers.
    #[must_use]
    pub fn new(pipeline: Pipeline, input: &Input) -> Self {
        Self {
            pipeline,
            input: input.clone(),
            workers: [1, 2].into_iter().filter_map(NonZeroUsize::new).collect(),
            seed: 7,
            max_cuts: 1_000,
            saved: saved_cuts::list_of_test(),
        }
    }

    /// Sets the numbers of workers that are tried. With more than one, the order of the calls to
    /// the disk may differ from run to run.
    #[must_use]
    pub fn workers(mut self, workers: impl IntoIterator<Item = NonZeroUsize>) -> Self {
        self.workers = workers.into_iter().collect();
        self
    }

    /// Sets the seed: it decides which sectors that were not synced survive a cut.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Sets how often the power is cut at most, for each number of workers. Where the run has
    /// more operations, cuts are spread evenly over them, from one that the seed chooses.
    #[must_use]
    pub fn max_cuts(mut self, cuts: u64) -> Self {
        self.max_cuts = cuts.max(1);
        self
    }

    /// Sets the file in which cuts that fail are saved, and from which they are tried first.
    /// Default: `tests/crash-cuts/TEST.txt` in the package under test.
    #[must_use]
    pub fn save_failures_in(mut self, list: impl Into<PathBuf>) -> Self {
        self.saved = Some(list.into());
        self
    }

    /// Runs all of it.
    ///
    /// # Errors
    /// The first run that comes out otherwise. Also if the undisturbed run fails, leaves nothing
    /// to compare or has no input, and if the list of saved cuts cannot be read or written.
    pub fn run(&self) -> Result<CrashReport, Box<CrashFailure>> {
        let mut report = CrashReport {
            operations: 0,
            cuts: 0,
            cuts_in_recovery: 0,
        };
        let saved = match &self.saved {
            Some(list) => saved_cuts::load(list).map_err(|e| self.undisturbed(0, e.to_string()))?,
            None => Vec::new(),
        };
        let mut expected = Expected::default();
        for workers in self.workers.iter().map(|workers| workers.get()) {
            let (outcome, operations) = self.run_undisturbed(workers, 0)?;
            expected.insert(self.run_undisturbed(workers, 0)?.0);
            if let Some(difference) = expected.difference(self, workers, &outcome)? {
                return Err(self.undisturbed(workers, format!("{UNEQUAL}: {difference}")));
            }
            report.operations += operations;
            let of_these = saved
                .iter()
                .filter(|c| c.workers == workers && c.at < operations);
            for cut in of_these.copied().chain(self.cuts(workers, operations)) {
                let tried = self.try_cut(cut, &mut expected, &mut report);
                tried.map_err(|failure| self.save(failure))?;
            }
        }
        Ok(report)
    }

    /// The cuts of the matrix for a number of workers.
    fn cuts(&self, workers: usize, operations: u64) -> impl Iterator<Item = Cut> + use<> {
        let step = operations.div_ceil(self.max_cuts).max(1);
        let first = match step {
            1 => 0,
            _ => Rng::new(self.seed).below(step),
        };
        let seed = self.seed;
        let cut = move |at| Cut { seed, workers, at };
        (0..)
            .map(move |n| first + n * step)
            .take_while(move |at| *at < operations)
            .map(cut)
    }

    fn undisturbed(&self, workers: usize, what: String) -> Box<CrashFailure> {
        Box::new(CrashFailure {
            seed: self.seed,
            workers,
            cut: None,
            operation: String::new(),
            what,
        })
    }

    /// The run that nothing disturbs, stopped and started again so many times at its end: what it
    /// leaves, and how many operations it makes.
    fn run_undisturbed(
        &self,
        workers: usize,
        restarts: u64,
    ) -> Result<(Outcome, u64), Box<CrashFailure>> {
        let failed = |what: String| self.undisturbed(workers, what);
        if self.input.records() == 0 {
            return Err(failed(
                "the input has no records: nothing is proven".to_owned(),
            ));
        }
        let mut test = TestContext::off(self.pipeline_with(workers), SimDisk::new());
        for _life in 0..=restarts {
            live(&mut test, &self.input).map_err(|e| failed(e.to_string()))?;
        }
        let operations = test.disk().mutations();
        let outcome = test.outcome().map_err(failed)?;
        if let Some(violation) = outcome.violations.first() {
            return Err(failed(violation.clone()));
        }
        if outcome.is_empty() {
            return Err(failed(
                "the pipeline leaves no output, no file and no state: nothing is proven".to_owned(),
            ));
        }
        Ok((outcome, operations))
    }

    fn pipeline_with(&self, workers: usize) -> Pipeline {
        let workers = NonZeroUsize::new(workers).unwrap_or(NonZeroUsize::MIN);
        self.pipeline.clone().workers(workers)
    }

    /// The number of workers after `workers` in the list.
    fn next_workers(&self, workers: usize) -> usize {
        let at = self.workers.iter().position(|w| w.get() == workers);
        let next = self.workers.iter().cycle().nth(at.map_or(0, |at| at + 1));
        next.map_or(1, |w| w.get())
    }

    /// One run with a cut, to its end.
    fn try_cut(
        &self,
        cut: Cut,
        expected: &mut Expected,
        report: &mut CrashReport,
    ) -> Result<(), Box<CrashFailure>> {
        let mut rng = Rng::new(cut.seed ^ cut.at.rotate_left(32));
        let disk = SimDisk::new();
        disk.cut_power_before(cut.at);
        let mut test = TestContext::off(self.pipeline_with(cut.workers), disk);
        let first_life = live(&mut test, &self.input);
        let operation = test.disk().power_cut_at();
        let failed = |what: String| {
            Box::new(CrashFailure {
                seed: cut.seed,
                workers: cut.workers,
                cut: Some(cut.at),
                operation: operation
                    .clone()
                    .unwrap_or_else(|| "which never came".to_owned()),
                what,
            })
        };
        if let Err(error) = first_life
            && !SimDisk::caused_by_power_cut(&*error)
        {
            return Err(failed(format!("before the restart: {error}")));
        }
        report.cuts += 1;
        test.cut_power(rng.next_u64());
        test.replace(self.pipeline_with(self.next_workers(cut.workers)));
        if report.cuts.is_multiple_of(8) {
            test.disk().cut_power_before(rng.below(40));
            if let Err(error) = live(&mut test, &self.input)
                && !SimDisk::caused_by_power_cut(&*error)
            {
                return Err(failed(format!("after the restart: {error}")));
            }
            report.cuts_in_recovery += u64::from(test.disk().power_cut_at().is_some());
            test.cut_power(rng.next_u64());
        }
        live(&mut test, &self.input).map_err(|e| failed(format!("after the restart: {e}")))?;
        let found = test.outcome().map_err(&failed)?;
        match expected.difference(self, cut.workers, &found)? {
            Some(what) => Err(failed(what)),
            None => Ok(()),
        }
    }

    fn save(&self, mut failure: Box<CrashFailure>) -> Box<CrashFailure> {
        if let Some(list) = &self.saved {
            let note = match saved_cuts::save(list, &failure) {
                Ok(()) => format!("saved in {}", list.display()),
                Err(e) => format!("not saved in {}: {e}", list.display()),
            };
            failure.what = format!("{} ({note})", failure.what);
        }
        failure
    }
}

/// What undisturbed runs leave, by their last batch. A stop cuts a batch of its own. So a run
/// whose power fails during the stop has one more than others, and is compared with an
/// undisturbed run that was stopped twice.
#[derive(Debug, Default)]
struct Expected {
    by_last_batch: BTreeMap<u64, Outcome>,
}

impl Expected {
    fn insert(&mut self, outcome: Outcome) {
        self.by_last_batch
            .entry(outcome.last_batch)
            .or_insert(outcome);
    }

    /// How a run differs from the undisturbed one, if it does.
    fn difference(
        &mut self,
        matrix: &CrashMatrix,
        workers: usize,
        found: &Outcome,
    ) -> Result<Option<String>, Box<CrashFailure>> {
        let of_one_stop = self.by_last_batch.keys().next().copied().unwrap_or(0);
        let stops = found.last_batch.saturating_sub(of_one_stop);
        if stops <= MOST_STOPS && !self.by_last_batch.contains_key(&found.last_batch) {
            self.insert(matrix.run_undisturbed(workers, stops)?.0);
        }
        Ok(match self.by_last_batch.get(&found.last_batch) {
            Some(expected) => expected.difference(found),
            None => Some(format!(
                "the last batch is {}, that of the undisturbed run {of_one_stop}",
                found.last_batch
            )),
        })
    }
}

/// Every life of a run stops once at most, and it has three.
const MOST_STOPS: u64 = 2;

/// A closure reads a clock, draws a random number, or counts its calls.
const UNEQUAL: &str = "two undisturbed runs differ, so a closure is not a function of its input";

/// One life, up to the end of the input. A panic of the pipeline's own assertions is an error.
fn live(test: &mut TestContext, input: &Input) -> Result<(), BoxError> {
    let lived = catch_unwind(AssertUnwindSafe(|| test.finish(input)));
    lived.unwrap_or_else(|panic| Err(panic_text(&*panic).into()))
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
    format!("panicked: {}", text.unwrap_or_else(|| "no text".to_owned()))
}
