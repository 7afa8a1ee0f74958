//! The executor: starts the worker threads, and runs one batch after the other on them.

use crate::batch::chunk::Parcel;
use crate::batch::work::Work;
use crate::error::Error;
use crate::exec::completed::Completed;
use crate::exec::shared::Shared;
use crate::exec::worker::{self, Command};
use crate::panics::panic_message;
use crate::plan::program::Plan;
use crate::state::table::RestoredState;
use crate::thread_role::{Inside, Role};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;

/// Worker threads that run a plan.
#[derive(Debug)]
pub(crate) struct Executor {
    shared: Arc<Shared>,
    commands: Vec<std::sync::mpsc::Sender<Command>>,
    runner: Option<JoinHandle<()>>,
}

impl Executor {
    /// Starts `workers` threads whose first epoch is `first`, with the state that was restored (by
    /// state, by group).
    pub(crate) fn start(
        plan: Arc<Plan>,
        workers: usize,
        first: u64,
        restored: BTreeMap<usize, RestoredState>,
    ) -> Result<Self, Error> {
        let shared = Arc::new(Shared::new(plan, workers, first, restored));
        let (commands, receivers): (Vec<_>, Vec<_>) =
            (0..workers).map(|_| std::sync::mpsc::channel()).unzip();
        let on_thread = Arc::clone(&shared);
        let runner = std::thread::Builder::new()
            .name("highwater-exec".to_owned())
            .spawn(move || run(&on_thread, workers, receivers))
            .map_err(|e| Error::Worker(format!("the executor thread could not start: {e}")))?;
        shared.wait_for_threads()?;
        Ok(Self {
            shared,
            commands,
            runner: Some(runner),
        })
    }

    /// Runs one batch and waits until every worker is done with it.
    pub(crate) fn run(&self, work: Work, input: Vec<Parcel>) -> Result<Completed, Error> {
        self.shared.begin(work);
        let peers = self.commands.len();
        let mut shares: Vec<Vec<Parcel>> = Vec::new();
        shares.resize_with(peers, Vec::new);
        for (share, parcel) in (0..peers).cycle().zip(input) {
            shares
                .get_mut(share)
                .expect("cycles below the number of peers")
                .push(parcel);
        }
        for (command, share) in self.commands.iter().zip(shares) {
            command
                .send(Command::Batch {
                    epoch: work.batch.id,
                    input: share,
                })
                .map_err(|_| Error::Worker(self.shared.cause_of_death()))?;
        }
        self.shared.wake_workers();
        self.shared.wait_for(work)
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        self.commands.clear();
        self.shared.stop();
        self.shared.wake_workers();
        if let Some(runner) = self.runner.take()
            && runner.join().is_err()
        {
            tracing::error!("the executor thread panicked while it was stopped");
        }
    }
}

/// Runs one generation of workers; whatever happens inside, the driver learns of its end.
fn run(shared: &Arc<Shared>, workers: usize, receivers: Vec<std::sync::mpsc::Receiver<Command>>) {
    let communication = match workers {
        1 => timely::CommunicationConfig::Thread,
        n => timely::CommunicationConfig::Process(n),
    };
    let config = timely::Config {
        communication,
        worker: timely::WorkerConfig::default(),
    };
    let receivers: Vec<_> = receivers
        .into_iter()
        .map(|r| parking_lot::Mutex::new(Some(r)))
        .collect();
    let on_worker = Arc::clone(shared);
    let ended = catch_unwind(AssertUnwindSafe(|| {
        let guards = timely::execute(config, move |worker| {
            let commands = receivers.get(worker.index()).and_then(|r| r.lock().take());
            if let Some(commands) = commands {
                let _inside = Inside::enter(Role::Batch);
                let run = AssertUnwindSafe(|| worker::run(worker, &on_worker, &commands));
                if let Err(panic) = catch_unwind(run) {
                    // The other workers wait for this one: they must learn of its end first.
                    on_worker.died(panic_message(&*panic));
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
    shared.died(cause);
}
