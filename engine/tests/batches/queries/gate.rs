//! A program whose user code waits for the test.

use super::Addition;
use crate::common::builder;
use highwater_engine::wal::disk::SimDisk;
use highwater_engine::{BoxError, DStream, StateGuard, StreamScope, StreamingContext};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

/// User code that stops until the test lets it go on.
pub(super) struct Gate {
    arrived: Mutex<Sender<()>>,
    leave: Mutex<Receiver<()>>,
    is_shut: AtomicBool,
}

/// The test's ends of a gate.
pub(super) struct Keeper {
    pub(super) gate: Arc<Gate>,
    pub(super) arrives: Receiver<()>,
    pub(super) leaves: Sender<()>,
}

impl Keeper {
    pub(super) fn new() -> Self {
        let (arrived, arrives) = channel();
        let (leaves, leave) = channel();
        let gate = Gate {
            arrived: Mutex::new(arrived),
            leave: Mutex::new(leave),
            is_shut: AtomicBool::new(false),
        };
        Self {
            gate: Arc::new(gate),
            arrives,
            leaves,
        }
    }

    /// The program of [`gated`], with one worker and one key group.
    pub(super) fn start(&self, disk: &SimDisk) -> StreamingContext {
        let builder = builder(disk, 1).key_groups(1);
        let context = builder.get_or_create(gated(&self.gate)).unwrap();
        context.start().unwrap();
        context
    }

    pub(super) fn shut(&self) {
        self.gate.is_shut.store(true, Ordering::Release);
    }

    pub(super) fn open(&self) {
        self.gate.is_shut.store(false, Ordering::Release);
        self.leaves.send(()).unwrap();
    }
}

impl Gate {
    fn pass(&self) {
        if self.is_shut.load(Ordering::Acquire) {
            self.arrived.lock().send(()).unwrap();
            let left = self.leave.lock().recv_timeout(Duration::from_secs(20));
            left.expect("the test lets it go on");
        }
    }
}

/// The sums, whose function waits at the gate at the key "slow".
pub(super) fn sums(ssc: &StreamScope, gate: &Arc<Gate>) -> DStream<Addition> {
    let gate = Arc::clone(gate);
    ssc.input::<Addition>("added").update_state_by_key_changed(
        "sums",
        move |key: &String, new: &[i64], sum: &mut StateGuard<i64>| {
            *sum.get_or_insert_with(|| 0) += new.iter().sum::<i64>();
            if key == "slow" {
                gate.pass();
            }
        },
    )
}

/// The same, with an output that keeps nothing.
pub(super) fn gated(gate: &Arc<Gate>) -> impl Fn(&StreamScope) -> Result<(), BoxError> + use<> {
    let gate = Arc::clone(gate);
    move |ssc| {
        sums(ssc, &gate).for_each_batch("out", |_, _: Vec<Addition>| ());
        Ok(())
    }
}
