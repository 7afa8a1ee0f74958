//! The executor: starts the worker threads, and runs one batch after the other on them.

use crate::batch::chunk::Chunk;
use crate::batch::work::Work;
use crate::checkpointing::capture::{CaptureSink, Whole};
use crate::error::Error;
use crate::exec::attempt::{Attempt, FIRST_EPOCH};
use crate::exec::batch_operators::capturing::CaptureRequest;
use crate::exec::completed::Completed;
use crate::exec::feed::Feed;
use crate::exec::report::Report;
use crate::exec::worker::{self, Command, PATIENCE, Start};
use crate::panics::panic_message;
use crate::plan::batch_scope::BatchScope;
use crate::plan::program::Plan;
use crate::queries::published::Groups;
use crate::state::key_group::KeyGroups;
use crate::state::table::block::RestoredState;
use crate::thread_role::{Role, RoleGuard};
use crate::variables::declared::add_all;
use highwater_wal::disk::Clock;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{JoinHandle, Thread};

/// Worker threads that run a plan.
#[derive(Debug)]
pub(crate) struct Executor {
    commands: Vec<Sender<Command>>,
    reports: Receiver<Report>,
    threads: Vec<Thread>,
    /// What readers look at.
    shared: Groups,
    stopping: Arc<AtomicBool>,
    runner: Option<JoinHandle<()>>,
    /// The newest attempt that was begun.
    attempt: Attempt,
}

impl Executor {
    /// Starts `workers` threads with the state that was restored (by state, by group).
    pub(crate) fn start(
        plan: Arc<Plan>,
        groups: KeyGroups,
        workers: usize,
        restored: BTreeMap<usize, RestoredState>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Error> {
        let (commands, receivers): (Vec<_>, Vec<_>) = (0..workers).map(|_| channel()).unzip();
        let (sender, reports) = channel();
        let stopping = Arc::new(AtomicBool::new(false));
        let start = Start {
            plan,
            groups,
            restored: Arc::new(Mutex::new(restored)),
            failed: Arc::default(),
            stopping: Arc::clone(&stopping),
            clock,
        };
        let runner = std::thread::Builder::new()
            .name("highwater-exec".to_owned())
            .spawn(move || run(&start, &sender, receivers))
            .map_err(|e| Error::Worker(format!("the executor thread could not start: {e}")))?;
        let mut executor = Self {
            commands,
            reports,
            threads: Vec::new(),
            shared: Groups::new(),
            stopping,
            runner: Some(runner),
            attempt: Attempt {
                epoch: FIRST_EPOCH - 1,
                kept: FIRST_EPOCH - 1,
            },
        };
        while executor.threads.len() < workers {
            if let Report::Ready(thread, shared) = executor.next_report()? {
                executor.threads.push(thread);
                for (state, group) in shared {
                    let groups = executor.shared.entry(state).or_default();
                    groups.insert(group.group, group);
                }
            }
        }
        Ok(executor)
    }

    /// Runs one batch, waits until every worker is done with it, and keeps it if it has not
    /// failed. `scope` is what its operators are given beside that.
    pub(crate) fn run(
        &mut self,
        work: Work,
        input: Vec<Chunk>,
        scope: &BatchScope,
    ) -> Result<Completed, Error> {
        self.begin(work, input, scope)?;
        let completed = self.complete()?;
        if completed.failure.is_none() {
            self.keep();
        }
        Ok(completed)
    }

    /// Has the workers begin an attempt at a batch. The one before must be complete: if it is not
    /// kept by then, each operator puts it back before it sees anything of this one.
    ///
    /// # Errors
    /// A worker has ended: nothing runs on these workers any more.
    pub(crate) fn begin(
        &mut self,
        work: Work,
        input: Vec<Chunk>,
        scope: &BatchScope,
    ) -> Result<(), Error> {
        self.attempt.epoch += 1;
        let (attempt, feed) = (self.attempt, Arc::new(Feed::new(input)));
        for command in &self.commands {
            let command = command.send(Command::Run {
                attempt,
                work,
                feed: Arc::clone(&feed),
                scope: scope.clone(),
            });
            command.map_err(|_| Error::Worker(self.cause_of_death()))?;
        }
        self.threads.iter().for_each(Thread::unpark);
        Ok(())
    }

    /// The batch that is complete has not failed: what it has changed stays.
    pub(crate) fn keep(&mut self) {
        self.attempt.kept = self.attempt.epoch;
    }

    /// Has the workers copy the state after `batch`, the one that was kept last, for a checkpoint.
    /// They do so between the batches that follow.
    ///
    /// # Errors
    /// A worker has ended.
    pub(crate) fn capture(
        &self,
        batch: u64,
        whole: &Whole,
        sink: &CaptureSink,
    ) -> Result<(), Error> {
        for command in &self.commands {
            let request = CaptureRequest {
                kept: self.attempt.kept,
                batch,
                whole: whole.clone(),
                sink: sink.clone(),
            };
            let command = command.send(Command::Capture(request));
            command.map_err(|_| Error::Worker(self.cause_of_death()))?;
        }
        self.threads.iter().for_each(Thread::unpark);
        Ok(())
    }

    /// The key groups of the states, for readers. They are had once.
    pub(crate) fn take_shared(&mut self) -> Groups {
        std::mem::take(&mut self.shared)
    }

    /// How many workers there are.
    pub(crate) fn workers(&self) -> usize {
        self.commands.len()
    }

    /// Takes in what the workers report of the attempt that was begun, until all of them are done
    /// with it.
    ///
    /// # Errors
    /// A worker has ended: nothing runs on these workers any more.
    pub(crate) fn complete(&self) -> Result<Completed, Error> {
        let epoch = self.attempt.epoch;
        let mut completed = Completed::default();
        loop {
            match self.next_report()? {
                Report::Output { output, mut chunks } => {
                    let outputs = completed.outputs.entry(output).or_default();
                    outputs.append(&mut chunks);
                }
                Report::Tapped { tap, mut chunks } => {
                    completed.tapped.entry(tap).or_default().append(&mut chunks);
                }
                Report::Counted(added) => add_all(&mut completed.counted, &added),
                Report::HotKey(hot) => completed.hot_keys.push(hot),
                Report::Refused(mut noted) => completed.refused.append(&mut noted),
                Report::Keys {
                    state,
                    worker,
                    counts,
                } => {
                    completed.keys.insert((state, worker), counts);
                }
                Report::Failed { epoch: of, failed } => {
                    debug_assert_eq!(of, epoch, "an attempt is complete before the next begins");
                    completed.fail(failed);
                }
                Report::Progress { done } if done > epoch => break,
                Report::Progress { .. } => {}
                Report::Ready(..) | Report::Ended(_) => unreachable!("a worker starts once"),
            }
        }
        Ok(completed)
    }

    fn next_report(&self) -> Result<Report, Error> {
        let mut soon = None;
        for _ in 0..PATIENCE {
            soon = self.reports.try_recv().ok();
            if soon.is_some() {
                break;
            }
            std::thread::yield_now();
        }
        match soon.map_or_else(|| self.reports.recv(), Ok) {
            Ok(Report::Ended(cause)) => Err(Error::Worker(cause)),
            Ok(report) => Ok(report),
            Err(_) => Err(Error::Worker(CHANNEL_CLOSED.to_owned())),
        }
    }

    fn cause_of_death(&self) -> String {
        let mut reports = self.reports.try_iter();
        let cause = reports.find_map(|report| match report {
            Report::Ended(cause) => Some(cause),
            _ => None,
        });
        cause.unwrap_or_else(|| CHANNEL_CLOSED.to_owned())
    }
}

const CHANNEL_CLOSED: &str = "its command channel is closed";

impl Drop for Executor {
    fn drop(&mut self) {
        self.commands.clear();
        self.stopping.store(true, Ordering::Release);
        self.threads.iter().for_each(Thread::unpark);
        // A start that failed has not counted every worker: one that is ready may have parked. The
        // reports end when the last worker and the runner have dropped their senders.
        for report in &self.reports {
            if let Report::Ready(thread, _) = report {
                thread.unpark();
            }
        }
        if let Some(runner) = self.runner.take()
            && runner.join().is_err()
        {
            tracing::error!("the executor thread panicked while it was stopped");
        }
    }
}

/// Runs one generation of workers. The driver learns of its end, whatever happens inside.
fn run(start: &Start, reports: &Sender<Report>, commands: Vec<Receiver<Command>>) {
    let communication = match commands.len() {
        1 => timely::CommunicationConfig::Thread,
        n => timely::CommunicationConfig::Process(n),
    };
    let config = timely::Config {
        communication,
        worker: timely::WorkerConfig::default(),
    };
    let ends = commands
        .into_iter()
        .map(|commands| Mutex::new(Some((commands, reports.clone()))));
    let ends: Vec<_> = ends.collect();
    let start = start.clone();
    let ended = catch_unwind(AssertUnwindSafe(|| {
        let guards = timely::execute(config, move |worker| {
            let ends = ends.get(worker.index()).and_then(|ends| ends.lock().take());
            if let Some((commands, reports)) = ends {
                let _role = RoleGuard::enter(Role::Batch);
                let run = || worker::run(worker, &start, &commands, reports.clone());
                if let Err(panic) = catch_unwind(AssertUnwindSafe(run)) {
                    // The driver waits for this worker, and the others do: it learns of its end
                    // first, and stops them.
                    let _gone = reports.send(Report::Ended(panic_message(&*panic)));
                    resume_unwind(panic);
                }
            }
        })?;
        guards
            .join()
            .into_iter()
            .collect::<Result<Vec<()>, String>>()
    }));
    let cause = match ended {
        Ok(Ok(_)) => "it was stopped".to_owned(),
        Ok(Err(message)) => message,
        Err(panic) => panic_message(&*panic),
    };
    let _gone = reports.send(Report::Ended(cause));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Batch;
    use crate::batch::chunk::{SequenceKey, in_order, open};
    use crate::batch::tick::Tick;
    use crate::batch::work::{Purpose, Shown};
    use crate::plan::graph::Graph;
    use crate::plan::node::{BatchOperator, LocalFn, NodeWork};
    use crate::plan::operator_context::OperatorContext;
    use crate::plan::program::OutputInfo;
    use crate::plan::slide::Slide;
    use crate::sink::batch_fn::Callback;
    use crate::sink::erased::SinkSlot;
    use crate::state::key_group::WorkerSlot;
    use highwater_wal::Lsn;
    use highwater_wal::disk::OsClock;
    use std::panic::Location;

    fn started(plan: Arc<Plan>, workers: usize) -> Executor {
        let (groups, clock) = (KeyGroups::new(8, 1), Arc::new(OsClock::new()));
        Executor::start(plan, groups, workers, BTreeMap::new(), clock).unwrap()
    }

    /// Emits the sum of each of its inputs.
    struct Sums(usize);

    impl BatchOperator for Sums {
        fn apply(&mut self, _: &OperatorContext, inputs: Vec<Vec<Chunk>>, out: &mut Vec<Chunk>) {
            let sums = inputs
                .into_iter()
                .map(|input| in_order::<u64>(input).flatten().sum::<u64>());
            let sums: Vec<u64> = sums.collect();
            out.push(Chunk::new(SequenceKey::batch(self.0 as u64), 0, sums));
        }
    }

    /// A plan of two streams of the log's records, even ones and odd ones, which one operator
    /// reads.
    fn two_inputs() -> Plan {
        let mut graph = Graph::new();
        let at = Location::caller();
        let source = graph.operator("numbers", None, &[], at);
        let mut half = |rest: u64| {
            let run: LocalFn = Arc::new(move |slot: &WorkerSlot, _, chunk, out| {
                let sequence = chunk.sequence;
                let numbers = open::<Vec<u64>>(chunk.data);
                for number in numbers.into_iter().filter(|n| n % 2 == rest) {
                    let target = usize::try_from(number).unwrap() % slot.peers;
                    out.push(Chunk::new(sequence.clone(), target, vec![number]));
                }
            });
            let work = NodeWork::Local { first: source, run };
            graph.node(vec![Graph::LOG], work)
        };
        let inputs = vec![half(0), half(1)];
        let operator = graph.operator("sums", None, &[source, source], at);
        let work = NodeWork::Batch {
            operator,
            make: Arc::new(|slot, _| Box::new(Sums(slot.index))),
            state: None,
        };
        let sums = graph.node(inputs, work);
        let sink = SinkSlot::new(Callback(|_: &Batch, _: Vec<u64>| ()));
        let output = graph.output(OutputInfo { operator, sink });
        graph.node(vec![sums], NodeWork::Output { output });
        graph.finish().unwrap()
    }

    /// Emits its number of the batch in every batch.
    struct Counter(u64);

    impl BatchOperator for Counter {
        fn apply(&mut self, _: &OperatorContext, _: Vec<Vec<Chunk>>, out: &mut Vec<Chunk>) {
            self.0 += 1;
            out.push(Chunk::new(SequenceKey::batch(0), 0, vec![self.0]));
        }
    }

    /// An operator that slides every 2 s, and one that counts how often it has acted behind it.
    fn behind_a_window() -> Plan {
        let mut graph = Graph::new();
        graph.set_interval(1000);
        let at = Location::caller();
        let source = graph.operator("numbers", None, &[], at);
        let window = graph.operator("window", Some("w"), &[source], at);
        graph.set_slide(window, Slide::Millis(2000));
        let behind = graph.operator("counter", None, &[window], at);
        assert_eq!(graph.slide(behind), Slide::Millis(2000));
        // The window here emits nothing: what comes between two slides would be a bug.
        let run: LocalFn = Arc::new(|_, _, _, _| ());
        let first = source;
        let node = graph.node(vec![Graph::LOG], NodeWork::Local { first, run });
        let work = NodeWork::Batch {
            operator: behind,
            make: Arc::new(|_, _| Box::new(Counter(0))),
            state: None,
        };
        let counter = graph.node(vec![node], work);
        let sink = SinkSlot::new(Callback(|_: &Batch, _: Vec<u64>| ()));
        let output = graph.output(OutputInfo {
            operator: behind,
            sink,
        });
        graph.node(vec![counter], NodeWork::Output { output });
        graph.finish().unwrap()
    }

    #[test]
    fn what_reads_a_window_acts_only_in_the_last_part_of_a_tick_where_it_ends() {
        let plan = Arc::new(behind_a_window());
        let mut executor = started(plan, 1);
        let mut acted = Vec::new();
        for (id, (time_ms, is_last_part)) in [
            (5000, true),
            (6000, false),
            (6000, true),
            (7000, true),
            (9000, false),
            (9000, true),
            (10_000, true),
        ]
        .into_iter()
        .enumerate()
        {
            let tick = Tick {
                is_last_part,
                ..Tick::of_version_1(time_ms, 1000, 4000)
            };
            let batch = Batch {
                id: id as u64 + 1,
                time_ms,
                from: Lsn::ZERO,
                to: Lsn::ZERO,
            };
            let work = Work {
                batch,
                tick,
                purpose: Purpose::Run,
                published: None,
                shown: Shown::before(batch.id),
            };
            let done = executor
                .run(work, Vec::new(), &BatchScope::default())
                .unwrap();
            assert_eq!(done.failure, None);
            let found = done.outputs.into_values().flat_map(in_order::<u64>);
            acted.extend(found.flatten().map(|count| (time_ms, count)));
        }
        assert_eq!(acted, [(6000, 1), (10_000, 2)]);
    }

    #[test]
    fn streams_of_different_slides_are_not_combined() {
        let mut graph = Graph::new();
        graph.set_interval(1000);
        let at = Location::caller();
        let source = graph.operator("numbers", None, &[], at);
        let mut window = |name, slide| {
            let window = graph.operator("window", Some(name), &[source], at);
            graph.set_slide(window, Slide::Millis(slide));
            window
        };
        let (two, three, one) = (window("2", 2000), window("3", 3000), window("1", 1000));
        graph.operator("fits", None, &[one, source], at);
        graph.operator("join", None, &[two, three], at);
        graph.operator("union", None, &[two, two, source], at);
        let errors = graph.finish().unwrap_err().0;
        let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(errors.len(), 3, "{errors:?}");
        assert!(
            errors[0].starts_with("join at") && errors[0].contains("2000 ms"),
            "{errors:?}"
        );
        assert!(errors[0].contains("3000 ms"), "{errors:?}");
        assert!(
            errors[1].starts_with("union at") && errors[1].contains("1000 ms"),
            "{errors:?}"
        );
    }

    #[test]
    fn an_operator_may_have_several_inputs() {
        for workers in [1, 3] {
            let plan = Arc::new(two_inputs());
            let mut executor = started(plan, workers);
            for id in 1..4 {
                let batch = Batch {
                    id,
                    time_ms: 0,
                    from: Lsn::ZERO,
                    to: Lsn::ZERO,
                };
                let work = Work {
                    batch,
                    tick: Tick::of_version_1(1000, 1000, 0),
                    purpose: Purpose::Run,
                    published: None,
                    shown: Shown::before(batch.id),
                };
                let input = (0..10).map(|n| Chunk::new(SequenceKey::Log(n), 0, vec![n * id]));
                let done = executor
                    .run(work, input.collect(), &BatchScope::default())
                    .unwrap();
                assert_eq!(done.failure, None);
                let found = done.outputs.into_values().flat_map(in_order::<u64>);
                let found = found.fold([0, 0], |sum, of| [sum[0] + of[0], sum[1] + of[1]]);
                let all = (0..10).map(|n| n * id);
                let odd: u64 = all.clone().filter(|n| n % 2 == 1).sum();
                assert_eq!(found, [all.sum::<u64>() - odd, odd], "{workers} workers");
            }
        }
    }
}
