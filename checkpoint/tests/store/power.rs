//! The power goes off before every mutation of opening, publishing and retiring (F53, F54).

use crate::common;
use crate::common::{check, check_on_top, lsn, options, publish, publish_on_top};
use crate::saved_seeds;
use highwater_checkpoint::{Checkpoints, LocalStore, Result, Store, Validity};
use highwater_disk::SimDisk;
use highwater_disk::sim::{Call, Fault, FaultKind};
use std::collections::BTreeSet;
use std::sync::Arc;

const SEEDS: u64 = 12;
const DIR: &str = "/app/checkpoints";

fn store(disk: &SimDisk) -> Arc<dyn Store> {
    Arc::new(LocalStore::new(Arc::new(disk.clone()), DIR))
}

fn open(disk: &SimDisk, writer: u64) -> Result<Checkpoints> {
    Checkpoints::open(store(disk), options(writer))
}

/// What is known for certain when the power goes off.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
struct Certain {
    /// The newest checkpoint whose publication was confirmed.
    published: u64,
    /// Where the log begins: what was truncated on the word of `retire`.
    log_begins: u64,
}

impl Certain {
    /// What the engine does around one checkpoint: publish, retire, truncate the log.
    fn advance(&mut self, checkpoints: &mut Checkpoints, n: u64) -> Result<()> {
        publish(checkpoints, n)?;
        self.published = n;
        if let Some(lsn) = checkpoints.retire()?.oldest_needed_lsn {
            self.log_begins = lsn;
        }
        Ok(())
    }

    /// After a reboot there is a complete checkpoint: the confirmed one, or the one that was being
    /// written. The log is long enough for it and for the one before.
    fn hold_on(self, disk: &SimDisk, in_the_making: u64) {
        // Only looking: whatever has a manifest is whole, since state goes before manifest and
        // after it.
        if disk.files().iter().any(|f| f.starts_with(DIR)) {
            let found = Checkpoints::inspect(&store(disk)).unwrap();
            let damaged = found.iter().find(|i| i.validity != Validity::Valid);
            assert_eq!(damaged, None);
            let reached = found.iter().filter(|i| {
                i.manifest
                    .as_ref()
                    .is_some_and(|m| m.lsn >= self.log_begins)
            });
            let wanted = usize::try_from(self.published.min(2)).unwrap();
            assert!(reached.count() >= wanted, "{self:?}");
        }
        let mut checkpoints = open(disk, 99).unwrap();
        match checkpoints.newest().unwrap() {
            None => assert_eq!(self, Self::default()),
            Some(newest) => {
                assert!(newest.skipped().is_empty());
                let n = newest.lsn() / 1000;
                assert!(n == self.published || n == in_the_making, "{n}, {self:?}");
                check(&newest, n);
                newest
                    .check_log(&common::log(self.log_begins, lsn(9)))
                    .unwrap();
            }
        }
        // It goes on: no leftover is in the way.
        publish(&mut checkpoints, 8).unwrap();
        checkpoints.retire().unwrap();
        check(&checkpoints.newest().unwrap().unwrap(), 8);
        assert!(
            disk.files()
                .iter()
                .all(|f| f.extension().is_none_or(|e| e != "tmp"))
        );
    }
}

/// Runs open, publish `n`, retire on copies of `base`, with the power cut before each mutation in
/// turn.
fn cut_everywhere(
    base: &SimDisk,
    certain: Certain,
    n: u64,
    mut then: impl FnMut(&SimDisk, Certain),
) {
    for cut in 0.. {
        let disk = base.snapshot();
        disk.cut_power_before(cut);
        let mut now = certain;
        let outcome = open(&disk, n).and_then(|mut c| now.advance(&mut c, n));
        if outcome.is_ok() {
            assert!(cut > 12, "the loop saw {cut} mutations only");
            disk.cut_power_now();
        }
        for seed in saved_seeds::seeds(0..SEEDS) {
            then(&disk.restart_after_power_cut(seed * 1000 + cut), now);
        }
        if outcome.is_ok() {
            break;
        }
    }
}

/// F53: the first checkpoint ever, in a directory that does not exist yet.
#[test]
fn the_first_checkpoint_is_there_or_not() {
    cut_everywhere(
        &SimDisk::new(),
        Certain::default(),
        1,
        |rebooted, certain| {
            certain.hold_on(rebooted, 1);
        },
    );
}

/// F53, F54: a later one, followed by retention and truncation.
#[test]
fn the_previous_or_the_new_checkpoint_is_there() {
    for last in 1..=4 {
        let base = SimDisk::new();
        let mut certain = Certain::default();
        let mut checkpoints = open(&base, 50).unwrap();
        (1..=last).for_each(|n| certain.advance(&mut checkpoints, n).unwrap());
        cut_everywhere(&base, certain, last + 1, |rebooted, certain| {
            certain.hold_on(rebooted, last + 1);
        });
    }
}

/// F12: the power goes off again while the leftovers of the first time are being cleared away.
#[test]
fn the_second_cut_hurts_no_more_than_the_first() {
    let base = SimDisk::new();
    let mut certain = Certain::default();
    let mut checkpoints = open(&base, 50).unwrap();
    (1..=3).for_each(|n| certain.advance(&mut checkpoints, n).unwrap());
    let mut turn = 0;
    cut_everywhere(&base, certain, 4, |rebooted, certain| {
        turn += 1;
        if turn % 7 != 0 {
            return;
        }
        for cut in 0.. {
            let disk = rebooted.snapshot();
            disk.cut_power_before(cut);
            let done = open(&disk, 60).is_ok();
            if done {
                disk.cut_power_now();
            }
            certain.hold_on(&disk.restart_after_power_cut(cut), 4);
            if done {
                break;
            }
        }
    });
}

/// F12: a process that dies in every attempt does not fill the disk.
#[test]
fn a_crash_storm_leaves_no_heap_of_leftovers() {
    let mut disk = SimDisk::new();
    let mut certain = Certain::default();
    let mut checkpoints = open(&disk, 50).unwrap();
    (1..=2).for_each(|n| certain.advance(&mut checkpoints, n).unwrap());
    let mut most = 0;
    for writer in 0..30 {
        let died = open(&disk, writer).and_then(|mut checkpoints| {
            disk.fail(
                Fault::new(Call::Link, FaultKind::Eio)
                    .forever()
                    .on("manifest"),
            );
            publish(&mut checkpoints, 3)
        });
        died.unwrap_err();
        disk = disk.kill_process();
        if writer == 0 {
            most = disk.used_bytes();
        }
        assert!(disk.used_bytes() <= most);
    }
    certain.hold_on(&disk, 3);
}

/// F17 for names: directory syncs fail, the process dies, the next one sees manifests that only the
/// page cache has. They are made durable before any older one goes.
#[test]
fn manifests_that_only_the_page_cache_has_replace_nothing_durable() {
    let disk = SimDisk::new();
    let mut certain = Certain::default();
    let mut checkpoints = open(&disk, 50).unwrap();
    (1..=2).for_each(|n| certain.advance(&mut checkpoints, n).unwrap());
    let mut disk = disk;
    for n in 3..=4 {
        let mut checkpoints = open(&disk, n).unwrap();
        let mut writer = checkpoints.begin(common::meta(n)).unwrap();
        for (state, group) in common::BLOCKS {
            let bytes = common::content(n, state, group);
            writer.add_block(state, group, 1, &bytes).unwrap();
        }
        let parts = disk.files().len();
        let syncs = Fault::new(Call::SyncDir, FaultKind::Eio);
        // The last state file's directory sync succeeds, that of the manifest fails.
        disk.fail(syncs.nth(1));
        writer.publish().unwrap_err();
        assert!(disk.files().len() > parts);
        disk = disk.kill_process();
    }
    let mut checkpoints = open(&disk, 60).unwrap();
    assert_eq!(checkpoints.newest().unwrap().unwrap().number(), 4);
    let retired = checkpoints.retire().unwrap();
    assert_eq!(retired.removed, [1, 2]);
    disk.cut_power_now();
    for seed in saved_seeds::seeds(0..SEEDS) {
        let rebooted = disk.restart_after_power_cut(seed);
        let mut checkpoints = open(&rebooted, 61).unwrap();
        check(&checkpoints.newest().unwrap().unwrap(), 4);
        assert_eq!(checkpoints.oldest_needed_lsn(), retired.oldest_needed_lsn);
    }
}

/// F53, F54: as above, where each checkpoint names files of those before it.
#[test]
fn checkpoints_that_share_files_are_whole_whenever_the_power_goes_off() {
    let advance = |checkpoints: &mut Checkpoints, n: u64| {
        publish_on_top(checkpoints, n)?;
        checkpoints
            .retire()
            .map(|retired| retired.oldest_needed_lsn)
    };
    for last in 1..=4 {
        let base = SimDisk::new();
        let mut checkpoints = open(&base, 50).unwrap();
        (1..=last).for_each(|n| {
            advance(&mut checkpoints, n).unwrap();
        });
        let log_begins = checkpoints.oldest_needed_lsn().unwrap_or(0);
        for cut in 0.. {
            let disk = base.snapshot();
            disk.cut_power_before(cut);
            let outcome = open(&disk, 51).and_then(|mut c| advance(&mut c, last + 1));
            if outcome.is_ok() {
                assert!(cut > 12, "the loop saw {cut} mutations only");
                disk.cut_power_now();
            }
            for seed in saved_seeds::seeds(0..SEEDS) {
                let rebooted = disk.restart_after_power_cut(seed * 1000 + cut);
                let found = Checkpoints::inspect(&store(&rebooted)).unwrap();
                let damaged = found.iter().find(|i| i.validity != Validity::Valid);
                assert_eq!(damaged, None);
                let mut checkpoints = open(&rebooted, 99).unwrap();
                let newest = checkpoints.newest().unwrap().unwrap();
                let n = newest.lsn() / 1000;
                assert!(n == last + 1 || (n == last && outcome.is_err()), "{n}");
                let log_begins = *outcome.as_ref().ok().unwrap_or(&Some(log_begins));
                let log = common::log(log_begins.unwrap_or(0), lsn(9));
                for checkpoint in checkpoints.all() {
                    check_on_top(&checkpoint, checkpoint.lsn() / 1000);
                }
                newest.check_log(&log).unwrap();
                // It goes on, and nothing is left lying about.
                publish_on_top(&mut checkpoints, n + 1).unwrap();
                checkpoints.retire().unwrap();
                let needed = checkpoints.all().flat_map(|c| c.manifest().files.clone());
                let needed: BTreeSet<String> = needed.map(|file| file.name).collect();
                let there = store(&rebooted).list().unwrap();
                let there = there.into_iter().map(|file| file.name);
                let there = there.filter(|name| !name.starts_with("manifest"));
                assert_eq!(there.collect::<BTreeSet<_>>(), needed);
            }
            if outcome.is_ok() {
                break;
            }
        }
    }
}
