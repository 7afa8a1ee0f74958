//! Several writers on a store that loses answers, is late, and lists what is gone (F57 to F60).
//! Which programs they run and what goes wrong is random.

use crate::common::{BLOCKS, content, meta, options, read};
use crate::saved_seeds;
use highwater_checkpoint::testing::{MemoryStore, Trouble, UnreliableStore};
use highwater_checkpoint::{
    Checkpoint, CheckpointError, Checkpoints, Meta, Options, Ownership, Published, Result, Store,
    Validity,
};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What a writer does next.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// It starts, or crashes and starts again, as another writer.
    Open,
    Publish,
    Retire,
    Newest,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        1 => Just(Step::Open),
        5 => Just(Step::Publish),
        4 => Just(Step::Retire),
        2 => Just(Step::Newest),
    ]
}

/// A writer, as a process that may crash.
#[derive(Default)]
struct Process {
    checkpoints: Option<Checkpoints>,
    fenced: bool,
    /// What was published before it started.
    at_start: Option<u64>,
    /// The highest number that it has published itself, or that was there when it started.
    last: Option<u64>,
    has_tried_to_publish: bool,
}

/// What was promised.
#[derive(Default)]
struct Promises {
    /// By content: what each key group has, as the number of the content that it was written with.
    expected: BTreeMap<u64, Expected>,
    /// By number: the content that was reported as published.
    published: BTreeMap<u64, u64>,
    next_content: u64,
    next_writer: u64,
}

struct World {
    inner: Arc<MemoryStore>,
    store: Arc<UnreliableStore>,
    promises: Promises,
    lists_are_fresh: bool,
}

type Expected = BTreeMap<(&'static str, u32), u64>;

/// A checkpoint that is whole: its number, and its content.
type Whole = (u64, u64);

impl World {
    fn new(seed: u64, kinds: &[Trouble]) -> Self {
        let inner = Arc::new(MemoryStore::new());
        let store = UnreliableStore::new(inner.clone(), seed, 6).only(kinds);
        Self {
            inner,
            store: Arc::new(store),
            promises: Promises::default(),
            lists_are_fresh: !kinds.contains(&Trouble::ListStale),
        }
    }

    /// Every whole checkpoint that is really there, newest first, each byte compared.
    fn whole(&self) -> Vec<Whole> {
        let inner: Arc<dyn Store> = self.inner.clone();
        let found = Checkpoints::inspect(&inner).unwrap().into_iter();
        let valid = found.filter(|c| c.validity == Validity::Valid);
        let whole = valid.map(|c| {
            let manifest = c.manifest.unwrap();
            let content = manifest.lsn / 1000;
            self.check(&Checkpoint::of_manifest(Arc::clone(&inner), manifest));
            (c.number, content)
        });
        whole.collect()
    }

    /// Every byte of the checkpoint.
    fn check(&self, checkpoint: &Checkpoint) {
        for ((state, group), written) in &self.promises.expected[&(checkpoint.lsn() / 1000)] {
            let expected = Some(content(*written, state, *group));
            assert_eq!(read(checkpoint, state, *group), expected, "{state} {group}");
        }
    }

    /// A checkpoint with new content in some key groups, or in all of them.
    fn publish_next(&mut self, checkpoints: &mut Checkpoints) -> Result<Published> {
        self.promises.next_content += 1;
        let n = self.promises.next_content;
        let last = checkpoints.manifests().last();
        let parent = last
            .filter(|_| !n.is_multiple_of(5))
            .map(|m| (m.number, m.lsn / 1000));
        let before = parent.map(|p| self.promises.expected[&p.1].clone());
        let mut expected = before.clone().unwrap_or_default();
        let parent = parent.map(|p| p.0);
        let meta = Meta { parent, ..meta(n) };
        // A lost answer may hide that it was published: what it has is known before.
        let written = BLOCKS
            .into_iter()
            .filter(|(_, group)| before.is_none() || !(n + u64::from(*group)).is_multiple_of(3));
        let written: Vec<_> = written.collect();
        expected.extend(written.iter().map(|block| (*block, n)));
        self.promises.expected.insert(n, expected);
        let mut writer = checkpoints.begin(meta)?;
        for (state, group) in written {
            writer.add_block(
                state,
                group,
                u64::from(group) + 1,
                &content(n, state, group),
            )?;
        }
        for (state, keys) in [("counts", 6), ("empty", 0), ("sessions", 5)] {
            writer.set_keys(state, keys)?;
        }
        writer.publish()
    }

    fn names(&self) -> BTreeSet<String> {
        self.inner
            .list()
            .unwrap()
            .into_iter()
            .map(|f| f.name)
            .collect()
    }

    fn take(&mut self, process: &mut Process, step: Step) {
        let (before, names) = (self.whole(), self.names());
        let result = match step {
            Step::Open => {
                self.promises.next_writer += 1;
                self.open(process)
            }
            Step::Publish => self.publish(process),
            Step::Retire => self.retire(process),
            Step::Newest => self.newest(process),
        };
        if let Err(error) = result {
            match error {
                CheckpointError::Io { .. } => {}
                CheckpointError::Fenced { .. } => {
                    process.fenced = true;
                    let gone: Vec<_> = names.difference(&self.names()).cloned().collect();
                    // What was given up before may still be removed now.
                    let late = self.store.struck().contains_key(&Trouble::Late);
                    assert!(late || gone.is_empty(), "removed although fenced: {gone:?}");
                }
                // What it knows of has been retired by the one that overtook it.
                CheckpointError::Damaged { .. } | CheckpointError::NoneValid { .. }
                    if self.has_overtaken(process) => {}
                other => panic!("{step:?}: {other}"),
            }
        }
        self.check_promises(&before);
    }

    fn has_overtaken(&self, process: &Process) -> bool {
        self.promises.published.keys().next_back().copied() > process.last
    }

    fn open(&mut self, process: &mut Process) -> Result<()> {
        *process = Process::default();
        let options = Options {
            ownership: Ownership::Shared,
            ..options(self.promises.next_writer)
        };
        process.at_start = self.promises.published.keys().next_back().copied();
        process.last = process.at_start;
        process.checkpoints = Some(Checkpoints::open(self.store.clone(), options)?);
        Ok(())
    }

    fn publish(&mut self, process: &mut Process) -> Result<()> {
        let Some(checkpoints) = &mut process.checkpoints else {
            return Ok(());
        };
        process.has_tried_to_publish = true;
        let published = self.publish_next(checkpoints)?;
        let content = self.promises.next_content;
        assert!(!process.fenced, "published although fenced: {published:?}");
        let whole = self.whole();
        assert!(
            whole.contains(&(published.number, content)),
            "{published:?}: {whole:?}"
        );
        self.promises.published.insert(published.number, content);
        process.last = process.last.max(Some(published.number));
        Ok(())
    }

    fn retire(&mut self, process: &mut Process) -> Result<()> {
        let Some(checkpoints) = &mut process.checkpoints else {
            return Ok(());
        };
        let retired = checkpoints.retire()?;
        assert!(!process.fenced, "retired although fenced: {retired:?}");
        let overtaken = self.lists_are_fresh && self.has_overtaken(process);
        assert!(!overtaken, "retired although overtaken: {retired:?}");
        if let Some(needed) = retired.oldest_needed_lsn {
            let covered = self.whole().into_iter().filter(|(_, n)| n * 1000 >= needed);
            assert!(
                covered.count() >= 2,
                "the log could be truncated to {needed}"
            );
        }
        Ok(())
    }

    fn newest(&mut self, process: &mut Process) -> Result<()> {
        let Some(checkpoints) = &mut process.checkpoints else {
            return Ok(());
        };
        let found = match checkpoints.newest() {
            // Its own, of which it does not know that it is durable.
            Err(CheckpointError::NoneValid { .. }) if process.has_tried_to_publish => return Ok(()),
            found => found?.map(|c| (c.number(), c.lsn() / 1000)),
        };
        // The number of one that has been retired since may be another's now; of the newest not.
        let newest = self.promises.published.last_key_value();
        if let (Some((number, content)), Some((last, expected))) = (found, newest) {
            assert!(number != *last || content == *expected, "{found:?}");
        }
        assert!(
            process.has_tried_to_publish || found.map(|f| f.0) >= process.at_start,
            "{found:?}"
        );
        Ok(())
    }

    /// What was published last is there and whole, and the two newest are only followed by newer
    /// ones.
    fn check_promises(&self, before: &[Whole]) {
        let whole = self.whole();
        if let Some((number, content)) = self.promises.published.last_key_value() {
            let newest = whole.first().unwrap();
            assert!(
                newest == &(*number, *content) || newest.0 > *number,
                "{whole:?}"
            );
        }
        for kept in &before[..before.len().min(2)] {
            let newer = whole.iter().filter(|now| now.0 > kept.0).count();
            assert!(
                whole.contains(kept) || newer >= 2,
                "{before:?} -> {whole:?}"
            );
        }
    }

    /// When the store is well again, a new process finds everything, and goes on.
    fn recover(mut self) {
        self.store.heal();
        let published = self.promises.published.keys().next_back().copied();
        let mut process = Process::default();
        self.promises.next_writer += 1;
        self.open(&mut process).unwrap();
        let mut checkpoints = process.checkpoints.unwrap();
        let found = checkpoints.newest().unwrap();
        if let Some(number) = published {
            let found = found.unwrap();
            assert!(found.number() >= number);
            self.check(&found);
        }
        let mut gone_on = false;
        for _ in 0..20 {
            // What is late may take a number away once more.
            match self.publish_next(&mut checkpoints) {
                Ok(_) => {
                    checkpoints.retire().unwrap();
                    let newest = checkpoints.newest().unwrap().unwrap();
                    assert_eq!(newest.lsn() / 1000, self.promises.next_content);
                    self.check(&newest);
                    gone_on = true;
                }
                Err(error) => {
                    let content = self.promises.next_content;
                    let options = options(self.promises.next_writer + content);
                    assert!(
                        matches!(
                            error,
                            CheckpointError::Fenced { .. } | CheckpointError::Io { .. }
                        ),
                        "{error}"
                    );
                    checkpoints = Checkpoints::open(self.store.clone(), options).unwrap();
                }
            }
        }
        assert!(gone_on);
    }
}

fn run(seed: u64, kinds: &[Trouble], steps: Vec<(usize, Step)>) -> BTreeMap<Trouble, u64> {
    let mut world = World::new(seed, kinds);
    let mut processes = [(); 3].map(|()| Process::default());
    for (process, step) in steps {
        world.take(&mut processes[process], step);
    }
    let struck = world.store.struck();
    world.recover();
    struck
}

/// Everything but listings that are not as they should be.
fn fresh() -> Vec<Trouble> {
    let odd = [Trouble::ListStale, Trouble::ListTruncated];
    let mut kinds = Trouble::ALL.to_vec();
    kinds.retain(|kind| !odd.contains(kind));
    kinds
}

proptest! {
    #![proptest_config(saved_seeds::config(256, env!("CARGO_MANIFEST_DIR"), "unreliable"))]

    /// Whatever the store does: a checkpoint that was reported as published is there and whole
    /// until two newer ones are, no name ever has two contents, and a writer that was fenced
    /// stays so and removes nothing.
    #[test]
    fn what_was_published_is_found_again(
        seed: u64,
        steps in prop::collection::vec((0..3_usize, step()), 1..60),
    ) {
        run(seed, &Trouble::ALL, steps);
    }

    /// As long as listings are fresh, an overtaken writer learns of it before it retires anything.
    #[test]
    fn an_overtaken_writer_retires_nothing(
        seed: u64,
        steps in prop::collection::vec((0..3_usize, step()), 1..60),
    ) {
        run(seed, &fresh(), steps);
    }
}

/// The two tests above would prove little if something never went wrong.
#[test]
fn everything_goes_wrong() {
    let mut struck = BTreeSet::new();
    for seed in saved_seeds::seeds(0..40) {
        let steps = [
            Step::Open,
            Step::Publish,
            Step::Publish,
            Step::Retire,
            Step::Publish,
            Step::Newest,
        ];
        let steps = steps.iter().cycle().take(30).map(|step| (0, *step));
        struck.extend(run(seed, &Trouble::ALL, steps.collect()).into_keys());
    }
    if saved_seeds::all_seeds() {
        assert_eq!(struck, BTreeSet::from(Trouble::ALL));
    }
}

#[test]
fn what_goes_wrong_follows_from_the_seed() {
    let steps: Vec<_> = [Step::Open, Step::Publish, Step::Retire]
        .into_iter()
        .cycle()
        .take(60)
        .map(|s| (0, s))
        .collect();
    let [one, same, other] = [7, 7, 8].map(|seed| run(seed, &Trouble::ALL, steps.clone()));
    assert_eq!(one, same);
    assert_ne!(one, other);
}

/// What is done, what the caller is told, and what is there later.
#[test]
fn each_trouble_does_what_it_says() {
    use std::io::ErrorKind as K;
    for (trouble, done, kind, known) in [
        (Trouble::InternalError, false, K::Other, false),
        (Trouble::SlowDown, false, K::ResourceBusy, false),
        (Trouble::Conflict, false, K::AlreadyExists, false),
        (
            Trouble::CredentialsExpired,
            false,
            K::PermissionDenied,
            true,
        ),
        (Trouble::AnswerLost, true, K::TimedOut, false),
        (Trouble::AnswerLostAndRetried, true, K::AlreadyExists, false),
        (Trouble::ConnectionReset, false, K::ConnectionReset, false),
        (Trouble::BrokenOff, false, K::ConnectionReset, false),
        (Trouble::Late, false, K::TimedOut, false),
    ] {
        let inner = Arc::new(MemoryStore::new());
        let store = UnreliableStore::new(inner.clone(), 1, 1).only(&[trouble]);
        let error = store.put_new("state-a", b"x").unwrap_err();
        assert_eq!(
            (error.kind(), error.is_determinate()),
            (kind, known),
            "{trouble:?}"
        );
        assert_eq!(inner.len("state-a").is_ok(), done, "{trouble:?}");
        store.heal();
        let late = (0..100).any(|_| store.len("state-a").is_ok());
        assert_eq!(late, done || trouble == Trouble::Late, "{trouble:?}");
    }
    let inner = Arc::new(MemoryStore::new());
    let names: Vec<String> = (0..20).map(|i| format!("state-{i}")).collect();
    for name in &names {
        inner.put_new(name, b"x").unwrap();
    }
    let with = |trouble| UnreliableStore::new(inner.clone(), 1, 1).only(&[trouble]);
    let listed = with(Trouble::ListTruncated).list().unwrap();
    assert!((10..20).contains(&listed.len()), "{listed:?}");
    let waited = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let seen = Arc::clone(&waited);
    let slow = with(Trouble::Slow);
    let slow = slow.when_slow(move || seen.store(true, std::sync::atomic::Ordering::Relaxed));
    assert_eq!(slow.get("state-1", 9).unwrap(), b"x");
    assert!(waited.load(std::sync::atomic::Ordering::Relaxed));
    let stale = with(Trouble::ListStale);
    stale.delete(&names[..1]).unwrap();
    stale.put_new("state-new", b"x").unwrap();
    let lists: Vec<_> = (0..50).map(|_| stale.list().unwrap()).collect();
    let is_new = |list: &Vec<_>| list == &inner.list().unwrap();
    assert!(lists.iter().any(|l| !is_new(l)) && lists.iter().any(is_new));
    with(Trouble::BrokenOff).delete(&names).unwrap_err();
    let left = inner.list().unwrap().len();
    assert!((2..20).contains(&left), "{left} of 20");
}
