//! A program that lives several lives: ten groups of lines, each meant to become one batch, with a
//! transactional sink and a plain one outside of the machine that crashes.

use super::builder;
use highwater_engine::wal::disk::SimDisk;
use highwater_engine::{
    Batch, BoxError, Builder, Guarantee, Result, Sink, SinkContext, StopMode, StreamingContext,
};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;

pub(crate) const GROUPS: u64 = 10;
pub(crate) const LINES: u64 = 3;

/// The lines of a group; group `g` is meant to become batch `g`.
pub(crate) fn line(group: u64, index: u64) -> String {
    // The long word fills segments, so that the log rotates and is truncated within the run.
    let long = "x".repeat(500);
    format!(
        "all g{} w{} w{index} {long}",
        group % 4,
        (group * LINES + index) % 7
    )
}

/// What became visible, by batch; shared by all incarnations of the program, as a database would
/// be.
pub(crate) type Visible = Arc<Mutex<BTreeMap<u64, Vec<(String, u64)>>>>;

/// A transactional sink in memory: staged batches are lost with the process, as an open transaction
/// would be, unless the log says that they were committed; then the sink is told to make them
/// visible at once.
#[derive(Default)]
pub(crate) struct Table {
    visible: Visible,
    staged: Visible,
}

impl Sink<(String, u64)> for Table {
    fn guarantee(&self) -> Guarantee {
        Guarantee::Transactional
    }
    fn open(&mut self, context: &SinkContext) -> Result<(), BoxError> {
        let staged = std::mem::take(&mut *self.staged.lock());
        for (batch, records) in staged {
            if context
                .committed
                .is_some_and(|committed| batch <= committed)
            {
                show(&self.visible, batch, &records);
            }
        }
        Ok(())
    }
    fn stage(&mut self, batch: &Batch, records: Vec<(String, u64)>) -> Result<(), BoxError> {
        assert!(
            !self.visible.lock().contains_key(&batch.id),
            "{batch} was visible and runs again"
        );
        self.staged.lock().insert(batch.id, records);
        Ok(())
    }
    fn publish(&mut self, batch: &Batch) -> Result<(), BoxError> {
        if let Some(records) = self.staged.lock().remove(&batch.id) {
            show(&self.visible, batch.id, &records);
        }
        Ok(())
    }
}

pub(crate) fn show(visible: &Visible, batch: u64, records: &[(String, u64)]) {
    let before = visible.lock().insert(batch, records.to_vec());
    assert!(
        before.is_none_or(|b| b == records),
        "batch {batch} was shown twice with different records"
    );
}

pub(crate) struct World {
    pub(crate) visible: Visible,
    pub(crate) staged: Visible,
    /// What the callback saw; at least once, but the same each time.
    pub(crate) seen: Visible,
    pub(crate) workers: usize,
    /// For breaking the engine on purpose.
    pub(crate) change: fn(Builder) -> Builder,
}

impl World {
    pub(crate) fn new(workers: usize) -> Self {
        Self {
            visible: Visible::default(),
            staged: Visible::default(),
            seen: Visible::default(),
            workers,
            change: |builder| builder,
        }
    }

    pub(crate) fn open(&self, disk: &SimDisk) -> Result<StreamingContext> {
        self.open_with((self.change)(builder(disk, self.workers)))
    }

    pub(crate) fn open_with(&self, builder: Builder) -> Result<StreamingContext> {
        let table = Table {
            visible: Arc::clone(&self.visible),
            staged: Arc::clone(&self.staged),
        };
        let seen = Arc::clone(&self.seen);
        builder.get_or_create(move |ssc| {
            let counts = super::word_count(ssc);
            counts.sink("table", table);
            counts.for_each_batch("seen", move |batch, records: Vec<(String, u64)>| {
                show(&seen, batch.id, &records)
            });
            Ok(())
        })
    }

    /// Sends every group whose batch was not cut yet, runs it, and stops gracefully. Lines carry
    /// sequence numbers, as a client's would that resends what was not acknowledged.
    pub(crate) fn live(&self, disk: &SimDisk) -> Result<()> {
        let context = self.open(disk)?;
        context.start()?;
        self.run_to(&context, GROUPS)?;
        context.stop(StopMode::Graceful)
    }

    /// Sends the groups up to `last` whose batches were not cut yet, and runs them.
    pub(crate) fn run_to(&self, context: &StreamingContext, last: u64) -> Result<()> {
        let input = context.input::<String>("lines")?;
        let done = context.progress().last_batch.unwrap_or(0);
        for group in done + 1..=last {
            for index in 0..LINES {
                input
                    .send_once("client", group * LINES + index, &line(group, index))?
                    .wait()?;
            }
            let batch = context.run_batch()?;
            assert_eq!(batch.id, group, "every group is one batch");
        }
        Ok(())
    }
}

/// The run that nothing interrupts, and how many disk mutations it makes.
pub(crate) fn uninterrupted(workers: usize) -> (BTreeMap<u64, Vec<(String, u64)>>, u64) {
    uninterrupted_with(workers, |builder| builder)
}

/// The same by a program that is built otherwise.
pub(crate) fn uninterrupted_with(
    workers: usize,
    change: fn(Builder) -> Builder,
) -> (BTreeMap<u64, Vec<(String, u64)>>, u64) {
    let (mut world, disk) = (World::new(workers), SimDisk::new());
    world.change = change;
    world.live(&disk).unwrap();
    let visible = world.visible.lock().clone();
    assert!(visible.len() as u64 >= GROUPS);
    (visible, disk.mutations())
}

pub(crate) fn check(world: &World, expected: &BTreeMap<u64, Vec<(String, u64)>>, what: &str) {
    let visible = world.visible.lock();
    for group in 1..=GROUPS {
        assert_eq!(
            visible.get(&group),
            expected.get(&group),
            "{what}: batch {group}"
        );
    }
    for (batch, records) in world.seen.lock().iter().filter(|(b, _)| **b <= GROUPS) {
        assert_eq!(
            Some(records),
            expected.get(batch),
            "{what}: the callback's batch {batch}"
        );
    }
}
