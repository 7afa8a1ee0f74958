//! A store around another, some of whose calls go wrong.

use crate::store::error::StoreError;
use crate::store::reading::Reading;
use crate::store::{Store, StoredFile};
use crate::testing::trouble::Trouble;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// So many listings from before are kept, to be given out again.
const OLD_LISTINGS: usize = 8;

/// So many calls in a row fail for credentials that have expired.
const EXPIRED_CALLS: u32 = 4;

/// A [`Store`] around another, some of whose calls go wrong: which ones, and how, follows from a
/// seed and the order of the calls. Several writers may share one.
///
/// ```
/// use highwater_checkpoint::testing::{MemoryStore, UnreliableStore};
/// use highwater_checkpoint::{Checkpoints, Options};
/// use std::sync::Arc;
///
/// let inner = Arc::new(MemoryStore::new());
/// // One call in four goes wrong.
/// let store = Arc::new(UnreliableStore::new(inner, 42, 4));
/// let opened = (0..100).find_map(|_| Checkpoints::open(store.clone(), Options::default()).ok());
/// assert!(opened.is_some());
/// store.heal();
/// assert!(Checkpoints::open(store, Options::default()).is_ok());
/// ```
pub struct UnreliableStore {
    inner: Arc<dyn Store>,
    kinds: Vec<Trouble>,
    when_slow: Box<dyn Fn() + Send + Sync>,
    schedule: Mutex<Schedule>,
}

#[derive(Debug)]
struct Schedule {
    random: u64,
    /// One call in so many goes wrong; 0 for none.
    one_in: u64,
    expired: u32,
    late: Vec<Change>,
    listings: VecDeque<Vec<StoredFile>>,
    struck: BTreeMap<Trouble, u64>,
}

/// A change that comes late.
#[derive(Debug)]
enum Change {
    Put(String, Vec<u8>),
    Delete(Vec<String>),
}

impl UnreliableStore {
    /// A store around `inner`, one of whose calls in `one_in` goes wrong (0: none does), in any of
    /// the ways that [`Trouble`] has.
    #[must_use]
    pub fn new(inner: Arc<dyn Store>, seed: u64, one_in: u32) -> Self {
        Self {
            inner,
            kinds: Trouble::ALL.to_vec(),
            when_slow: Box::new(std::thread::yield_now),
            schedule: Mutex::new(Schedule {
                random: seed,
                one_in: u64::from(one_in),
                expired: 0,
                late: Vec::new(),
                listings: VecDeque::new(),
                struck: BTreeMap::new(),
            }),
        }
    }

    /// With these kinds of trouble only.
    #[must_use]
    pub fn only(mut self, kinds: &[Trouble]) -> Self {
        self.kinds = kinds.to_vec();
        self
    }

    /// What a slow call does before it goes on: a test may wait there for what should not have to
    /// wait. By default it lets other threads run.
    #[must_use]
    pub fn when_slow(mut self, wait: impl Fn() + Send + Sync + 'static) -> Self {
        self.when_slow = Box::new(wait);
        self
    }

    /// From here on nothing goes wrong. What is late still comes.
    pub fn heal(&self) {
        let mut schedule = self.schedule();
        schedule.one_in = 0;
        schedule.expired = 0;
    }

    /// How often each kind has struck.
    #[must_use]
    pub fn struck(&self) -> BTreeMap<Trouble, u64> {
        self.schedule().struck.clone()
    }

    fn schedule(&self) -> MutexGuard<'_, Schedule> {
        // Nothing is left half changed.
        self.schedule.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What goes wrong with the next call, of those kinds that can.
    fn next(&self, possible: &[Trouble]) -> Option<Trouble> {
        self.let_late_ones_come();
        let mut schedule = self.schedule();
        let trouble = if schedule.expired > 0 {
            schedule.expired -= 1;
            Some(Trouble::CredentialsExpired)
        } else {
            schedule.pick(&self.kinds, possible)
        };
        if let Some(trouble) = trouble {
            *schedule.struck.entry(trouble).or_default() += 1;
        }
        drop(schedule);
        if trouble == Some(Trouble::Slow) {
            (self.when_slow)();
        }
        trouble
    }

    /// Does what earlier callers have given up.
    fn let_late_ones_come(&self) {
        let mut come = Vec::new();
        let mut schedule = self.schedule();
        let mut waiting = std::mem::take(&mut schedule.late);
        while let Some(change) = waiting.pop() {
            // Each comes some calls later, and they overtake one another.
            match schedule.below(4) {
                0 => come.push(change),
                _ => schedule.late.push(change),
            }
        }
        drop(schedule);
        for change in come {
            // The caller does not wait for the answer any more.
            let _ = match change {
                Change::Put(name, bytes) => self.inner.put_new(&name, &bytes),
                Change::Delete(names) => self.inner.delete(&names),
            };
        }
    }

    fn read<T>(&self, read: impl FnOnce(&dyn Store) -> io::Result<T>) -> io::Result<T> {
        use Trouble as T;
        let possible = [
            T::InternalError,
            T::SlowDown,
            T::CredentialsExpired,
            T::AnswerLost,
            T::ConnectionReset,
            T::BrokenOff,
            T::Slow,
        ];
        match self.next(&possible) {
            Some(T::Slow) | None => read(&*self.inner),
            Some(trouble) => Err(answer(trouble)),
        }
    }

    fn remember_listing(&self) {
        if let Ok(listing) = self.inner.list() {
            let mut schedule = self.schedule();
            schedule.listings.push_back(listing);
            if schedule.listings.len() > OLD_LISTINGS {
                schedule.listings.pop_front();
            }
        }
    }
}

impl Schedule {
    /// The next number of the sequence (SplitMix64), below `bound`.
    fn below(&mut self, bound: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound.max(1)
    }

    fn pick(&mut self, kinds: &[Trouble], possible: &[Trouble]) -> Option<Trouble> {
        if self.one_in == 0 || self.below(self.one_in) != 0 {
            return None;
        }
        let possible: Vec<Trouble> = possible
            .iter()
            .copied()
            .filter(|t| kinds.contains(t))
            .collect();
        let at = self.below(possible.len() as u64);
        let trouble = possible.get(usize::try_from(at).ok()?).copied()?;
        if trouble == Trouble::CredentialsExpired {
            self.expired = EXPIRED_CALLS;
        }
        Some(trouble)
    }
}

/// What the caller gets to know.
fn answer(trouble: Trouble) -> io::Error {
    use Trouble as T;
    use io::ErrorKind as K;
    let (kind, text) = match trouble {
        T::InternalError => (K::Other, "the store answers 500 Internal Server Error"),
        T::SlowDown => (K::ResourceBusy, "the store answers 503 Slow Down"),
        T::Conflict | T::AnswerLostAndRetried => (K::AlreadyExists, "the file exists"),
        T::CredentialsExpired => (K::PermissionDenied, "the credentials have expired"),
        T::ConnectionReset | T::BrokenOff => (K::ConnectionReset, "the connection was reset"),
        T::AnswerLost | T::Late | T::Slow | T::ListTruncated | T::ListStale => {
            (K::TimedOut, "no answer came in time")
        }
    };
    io::Error::new(kind, text)
}

fn write_answer(trouble: Trouble) -> StoreError {
    match trouble {
        Trouble::CredentialsExpired => StoreError::determinate(answer(trouble)),
        _ => StoreError::indeterminate(answer(trouble)),
    }
}

impl fmt::Debug for UnreliableStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnreliableStore")
            .field("inner", &self.inner)
            .field("schedule", &self.schedule)
            .finish_non_exhaustive()
    }
}

impl Store for UnreliableStore {
    fn place(&self) -> String {
        self.inner.place()
    }

    fn prepare(&self) -> io::Result<()> {
        self.read(|inner| inner.prepare())
    }

    fn remake(&self) -> io::Result<()> {
        self.read(|inner| inner.remake())
    }

    fn put_new(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        use Trouble as T;
        let possible = [
            T::InternalError,
            T::SlowDown,
            T::Conflict,
            T::CredentialsExpired,
            T::AnswerLost,
            T::AnswerLostAndRetried,
            T::ConnectionReset,
            T::BrokenOff,
            T::Late,
            T::Slow,
        ];
        let trouble = self.next(&possible);
        let result = match trouble {
            None | Some(T::Slow) => self.inner.put_new(name, bytes),
            Some(trouble @ (T::AnswerLost | T::AnswerLostAndRetried)) => {
                let done = self.inner.put_new(name, bytes);
                done.and(Err(write_answer(trouble)))
            }
            Some(trouble) => {
                if trouble == T::Late {
                    let late = Change::Put(name.to_owned(), bytes.to_vec());
                    self.schedule().late.push(late);
                }
                Err(write_answer(trouble))
            }
        };
        self.remember_listing();
        result
    }

    fn len(&self, name: &str) -> io::Result<u64> {
        self.read(|inner| inner.len(name))
    }

    fn reading(&self) -> Reading {
        self.inner.reading()
    }

    fn get_range(&self, name: &str, offset: u64, len: u64) -> io::Result<Vec<u8>> {
        self.read(|inner| inner.get_range(name, offset, len))
    }

    fn list(&self) -> io::Result<Vec<StoredFile>> {
        use Trouble as T;
        let possible = [
            T::InternalError,
            T::SlowDown,
            T::CredentialsExpired,
            T::AnswerLost,
            T::ConnectionReset,
            T::Slow,
            T::ListTruncated,
            T::ListStale,
        ];
        let trouble = self.next(&possible);
        let mut listing = self.inner.list()?;
        let mut schedule = self.schedule();
        match trouble {
            None | Some(T::Slow) => Ok(listing),
            Some(T::ListTruncated) => {
                let from = schedule.below(listing.len() as u64);
                let len = schedule.below(listing.len() as u64 / 2 + 1);
                let mut at = 0;
                listing.retain(|_| {
                    at += 1;
                    !(from..from.saturating_add(len)).contains(&(at - 1))
                });
                Ok(listing)
            }
            Some(T::ListStale) => {
                let old = schedule.below(OLD_LISTINGS as u64);
                let old = usize::try_from(old)
                    .ok()
                    .and_then(|at| schedule.listings.get(at));
                Ok(old.cloned().unwrap_or(listing))
            }
            Some(trouble) => Err(answer(trouble)),
        }
    }

    fn delete(&self, names: &[String]) -> Result<(), StoreError> {
        use Trouble as T;
        let possible = [
            T::InternalError,
            T::SlowDown,
            T::CredentialsExpired,
            T::AnswerLost,
            T::ConnectionReset,
            T::BrokenOff,
            T::Late,
            T::Slow,
        ];
        let trouble = self.next(&possible);
        let result = match trouble {
            None | Some(T::Slow) => self.inner.delete(names),
            Some(T::AnswerLost) => {
                let done = self.inner.delete(names);
                done.and(Err(write_answer(T::AnswerLost)))
            }
            Some(T::BrokenOff) => {
                let some: Vec<String> = {
                    let mut schedule = self.schedule();
                    let chosen = names.iter().filter(|_| schedule.below(2) == 0);
                    chosen.cloned().collect()
                };
                let done = self.inner.delete(&some);
                done.and(Err(write_answer(T::BrokenOff)))
            }
            Some(trouble) => {
                if trouble == T::Late {
                    let late = Change::Delete(names.to_vec());
                    self.schedule().late.push(late);
                }
                Err(write_answer(trouble))
            }
        };
        self.remember_listing();
        result
    }
}
