//! Power cuts: a node's log is used at random, as Raft uses it, and the power is cut before every
//! operation of the disk. Then the node goes on from what it finds.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::needless_pass_by_value,
    reason = "a test fails by panicking, in its helpers too, which are what a crash test takes"
)]

mod common;

use common::Types;
use highwater_openraft::{LogStore, Settings};
use highwater_wal::disk::SimDisk;
use highwater_wal::disk::sim::{CrashReport, CrashTest, Rng};
use highwater_wal::{Background, Cheat, Options};
use openraft::storage::{RaftLogStorage, RaftLogStorageExt};
use openraft::{CommittedLeaderId, Entry, EntryPayload, LogId, RaftLogReader, StorageError, Vote};
use std::error::Error;
use std::ops::RangeInclusive;
use std::sync::Arc;

type Outcome = Result<(), Box<dyn Error + Send + Sync>>;

fn id(term: u64, index: u64) -> LogId<u64> {
    LogId::new(CommittedLeaderId::new(term, 0), index)
}

fn entry(id: LogId<u64>) -> Entry<Types> {
    let text = format!(
        "{id}: {}",
        "x".repeat(usize::try_from(id.index % 7).unwrap() * 90)
    );
    let payload = EntryPayload::Normal(text);
    Entry {
        log_id: id,
        payload,
    }
}

/// What a node does. An append of several entries is several steps: after a cut the first of them
/// may be there.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// The last one of an append has `true`.
    Append(LogId<u64>, bool),
    Vote(u64),
    Committed(LogId<u64>),
    Truncate(LogId<u64>),
    Purge(LogId<u64>),
}

/// What a node has.
#[derive(Debug, Clone, Default, PartialEq)]
struct Held {
    vote: Option<Vote<u64>>,
    purged: Option<LogId<u64>>,
    entries: Vec<LogId<u64>>,
    committed: Option<LogId<u64>>,
}

impl Held {
    fn last(&self) -> Option<LogId<u64>> {
        self.entries.last().copied().or(self.purged)
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Append(id, _) => self.entries.push(id),
            Step::Vote(term) => self.vote = Some(Vote::new(term, 0)),
            Step::Committed(id) => self.committed = Some(id),
            Step::Truncate(id) => self.entries.retain(|e| e.index < id.index),
            Step::Purge(id) => {
                self.entries.retain(|e| e.index > id.index);
                self.purged = Some(id);
            }
        }
    }
}

/// A history as Raft makes them: only what is committed is purged, only what is not is truncated.
fn history(seed: u64, length: usize) -> Vec<Step> {
    let mut rng = Rng::new(seed);
    let (mut held, mut steps, mut term) = (Held::default(), Vec::new(), 1);
    while steps.len() < length {
        let next = held.last().map_or(0, |last| last.index + 1);
        let committed = held.committed.map_or(0, |id| id.index + 1);
        let first = held.purged.map_or(0, |id| id.index + 1);
        let at = |index: u64| held.entries.iter().find(|e| e.index == index).copied();
        let mut new = Vec::new();
        match rng.below(10) {
            0..5 => {
                let more = rng.below(4);
                let ids = (next..=next + more).map(|index| id(term, index));
                new.extend(ids.map(|id| Step::Append(id, id.index == next + more)));
            }
            5 => {
                term += 1;
                new.push(Step::Vote(term));
            }
            6 | 7 if next > committed => {
                let index = committed + rng.below(next - committed);
                new.extend(at(index).map(Step::Committed));
            }
            8 if next > committed => {
                let index = committed + rng.below(next - committed);
                term += 1;
                new.extend([Step::Vote(term), Step::Truncate(at(index).unwrap())]);
            }
            9 if rng.below(4) == 0 => {
                // A snapshot from the leader, of more than is here.
                term += 1;
                let snapshot = id(term, next + rng.below(5));
                new.extend([Step::Committed(snapshot), Step::Purge(snapshot)]);
            }
            9 if committed > first => {
                let index = first + rng.below(committed - first);
                new.extend(at(index).map(Step::Purge));
            }
            _ => {}
        }
        new.iter().for_each(|step| held.take(*step));
        steps.extend(new);
    }
    steps
}

fn after(steps: &[Step], so_many: usize) -> Held {
    let mut held = Held::default();
    steps.iter().take(so_many).for_each(|step| held.take(*step));
    held
}

/// The steps that may have happened if the first `done` returned: up to the end of the next one. A
/// committed log id becomes durable with the step after it.
fn possible(steps: &[Step], done: usize) -> RangeInclusive<usize> {
    let not_durable = |step: &&Step| matches!(step, Step::Committed(_));
    let before = steps
        .iter()
        .take(done)
        .rev()
        .take_while(not_durable)
        .count();
    let inside = |step: &&Step| matches!(step, Step::Append(_, false));
    let more = steps.iter().skip(done).take_while(inside).count();
    done - before..=(done + more + 1).min(steps.len())
}

async fn read(store: &mut LogStore<Types>) -> Result<Held, StorageError<u64>> {
    let state = store.get_log_state().await?;
    let entries = store.try_get_log_entries(..).await?;
    for found in &entries {
        assert_eq!(*found, entry(found.log_id), "its own content");
    }
    let held = Held {
        vote: store.read_vote().await?,
        purged: state.last_purged_log_id,
        entries: entries.iter().map(|entry| entry.log_id).collect(),
        committed: store.read_committed().await?,
    };
    assert_eq!(state.last_log_id, held.last());
    let first = held.purged.map(|id| id.index + 1);
    let first = first.or(held.entries.first().map(|id| id.index));
    let indexes = held.entries.iter().map(|id| id.index);
    assert!(
        indexes.eq((first.unwrap_or(0)..).take(held.entries.len())),
        "no hole"
    );
    Ok(held)
}

async fn go_on(
    store: &mut LogStore<Types>,
    steps: &[Step],
    done: &mut usize,
) -> Result<(), StorageError<u64>> {
    let mut append = Vec::new();
    for (number, step) in steps.iter().enumerate().skip(*done) {
        match *step {
            Step::Append(id, last) => {
                append.push(entry(id));
                if !last {
                    continue;
                }
                store.blocking_append(std::mem::take(&mut append)).await?;
            }
            Step::Vote(term) => store.save_vote(&Vote::new(term, 0)).await?,
            Step::Committed(id) => store.save_committed(Some(id)).await?,
            Step::Truncate(id) => store.truncate(id).await?,
            Step::Purge(id) => store.purge(id).await?,
        }
        *done = number + 1;
        // At once, also what is not durable elsewhere.
        if number % 5 == 0 {
            let found = read(store).await?;
            assert_eq!(found, after(steps, *done), "step {number}: {step:?}");
        }
    }
    Ok(())
}

/// A node's life: it opens its log, which must hold what was acknowledged, and goes on.
fn live(steps: &[Step], cheat: Cheat) -> impl Fn(Arc<SimDisk>, &mut usize) -> Outcome {
    move |disk, done| {
        let log = Options::new()
            .disk(disk)
            .background(Background::Inline)
            .cheat(cheat)
            .segment_size(8 << 10);
        let settings = Settings::new().log(log).cleaner_thread(false);
        let mut store = LogStore::<Types>::open_with("/log", settings.max_pending_bytes(1500))?;
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        runtime.block_on(async {
            let found = read(&mut store).await?;
            let at = possible(steps, *done).find(|n| after(steps, *n) == found);
            let Some(at) = at else {
                let expected = after(steps, *done);
                return Err(format!("found {found:?} after step {done}: {expected:?}").into());
            };
            *done = at;
            go_on(&mut store, steps, done).await?;
            let held = read(&mut store).await?;
            let expected = after(steps, steps.len());
            let committed = held.committed;
            assert_eq!(
                held,
                Held {
                    committed,
                    ..expected
                }
            );
            Ok(())
        })
    }
}

fn cut_everywhere(steps: &[Step], cheat: Cheat) -> Result<CrashReport, String> {
    let test = CrashTest::new(live(steps, cheat), live(steps, cheat));
    let test = test.seeds(0..2).cut_recovery_every(2);
    test.run().map_err(|failure| failure.to_string())
}

#[test]
fn what_was_acknowledged_is_there_after_every_power_cut() {
    let (mut cuts, mut truncated, mut purged) = (0, 0, 0);
    for seed in 0..6 {
        let steps = history(seed, 60);
        let of = |kind: fn(&&Step) -> bool| steps.iter().filter(kind).count();
        truncated += of(|step| matches!(step, Step::Truncate(_)));
        purged += of(|step| matches!(step, Step::Purge(_)));
        let report = cut_everywhere(&steps, Cheat::None);
        let report = report.unwrap_or_else(|failure| panic!("history {seed}: {failure}"));
        cuts += report.cuts;
        assert!(report.cuts_in_recovery > 20, "{report}");
    }
    assert!(truncated > 10 && purged > 10, "{truncated} {purged}");
    assert!(cuts > 300, "{cuts}");
}

/// What the rig cannot catch it does not test.
#[test]
fn a_log_that_acknowledges_before_the_sync_is_caught() {
    let history = history(1, 40);
    assert!(cut_everywhere(&history, Cheat::AckBeforeSync).is_err());
    cut_everywhere(&history, Cheat::None).unwrap();
}
