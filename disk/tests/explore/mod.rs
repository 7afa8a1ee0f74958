//! How the tests under the model checker choose their interleavings.

use shuttle::scheduler::{DfsScheduler, Schedule, Scheduler, Task, TaskId};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Executions of each scenario by each scheduler.
const EXECUTIONS: usize = 10_000;

/// Runs `scenario` under two schedulers: uniformly random switches, and random priorities with few
/// changes (PCT). The second one finds bugs that need one thread to pause for long.
pub(crate) fn explore(scenario: fn()) {
    shuttle::check_random(scenario, EXECUTIONS);
    shuttle::check_pct(scenario, EXECUTIONS, 3);
    shuttle::check_pct(scenario, EXECUTIONS, 5);
}

/// Depth-first search in which a spinning thread lets the others go on first. Otherwise the search
/// would follow a waiting thread for ever. No behaviour is lost: the spinning thread only reads the
/// same value again.
struct Fair(DfsScheduler);

impl Scheduler for Fair {
    fn new_execution(&mut self) -> Option<Schedule> {
        self.0.new_execution()
    }

    fn next_task(
        &mut self,
        runnable: &[&Task],
        current: Option<TaskId>,
        is_yielding: bool,
    ) -> Option<TaskId> {
        let others: Vec<&Task> = runnable
            .iter()
            .copied()
            .filter(|task| !is_yielding || Some(task.id()) != current)
            .collect();
        let choice: &[&Task] = if others.is_empty() { runnable } else { &others };
        self.0.next_task(choice, current, is_yielding)
    }

    fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }
}

/// Tries every interleaving of `scenario`; there must be at least so many, and each comes to its
/// end.
pub(crate) fn exhaust(scenario: fn(), least: usize) {
    let ended = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&ended);
    let scheduler = Fair(DfsScheduler::new(None, false));
    let orders = shuttle::Runner::new(scheduler, shuttle::Config::new()).run(move || {
        scenario();
        counter.fetch_add(1, Ordering::SeqCst);
    });
    assert_eq!(orders, ended.load(Ordering::SeqCst), "each came to its end");
    assert!(
        orders >= least,
        "only {orders} orders: the model does not switch where it should"
    );
    println!("{orders} orders");
}
