//! Puts letters aside, and takes in requests to replay them.
//!
//! A letter is replayed by a frame of the engine's log, from a source that its operator alone
//! reads. The steps are: frame durable, letter marked as replayed, request removed. No batch is cut
//! between the first two. So after a crash a frame without a mark is in no batch, and is marked at
//! the next start; a letter is in one frame, however often it is asked for.

use crate::batch::Batch;
use crate::dead_letters::letter::{About, Letter, LetterId};
use crate::dead_letters::outlet::Outlet;
use crate::dead_letters::replayed::replayed_between;
use crate::dead_letters::request::{DeadLetterFilter, Requests};
use crate::dead_letters::store::{Store, StoredAt};
use crate::error::{Error, Result};
use crate::ingest::admission::Admission;
use crate::refused::noted::Noted;
use crate::refused::place::Place;
use crate::settings::Settings;
use highwater_wal::{Lsn, StreamId, Wal};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

/// A frame has about so many bytes of letters, unless the first one has more.
const FRAME_BYTES: usize = 256 << 10;

/// Where letters are put aside, and from where they come back.
#[derive(Debug)]
pub(crate) struct Desk {
    dir: PathBuf,
    /// The engine's log.
    wal: Arc<Wal>,
    admission: Arc<Admission>,
    /// By name of the operator.
    outlets: BTreeMap<String, Outlet>,
    requests: Requests,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    store: Store,
    /// Letters in a frame of the engine's log that the store does not know yet.
    unmarked: Vec<(Lsn, Vec<LetterId>)>,
    /// Requests that were begun, and where the store ended then: a letter that fails again is not
    /// asked for again.
    begun: BTreeMap<String, Lsn>,
}

impl Desk {
    /// Opens the store. `uncut` is where the batch that is being filled begins: a frame of letters
    /// there may not be marked yet.
    pub(crate) fn open(
        settings: &Settings,
        admission: &Arc<Admission>,
        outlets: BTreeMap<String, Outlet>,
        committed: Option<u64>,
        uncut: Lsn,
    ) -> Result<Self> {
        let wal = Arc::clone(&admission.wal);
        let mut store = Store::open(settings, committed)?;
        let streams = outlets.values().map(|outlet| outlet.stream).collect();
        let span = (uncut, wal.durable_lsn());
        for (lsn, letters) in replayed_between(&wal, &settings.dir, span, &streams)? {
            let ids = letters.into_iter().map(|about| about.id);
            let ids: Vec<LetterId> = ids.filter(|id| store.is_open(id)).collect();
            store.replayed(&ids, lsn)?;
        }
        Ok(Self {
            dir: settings.dir.clone(),
            wal,
            admission: Arc::clone(admission),
            outlets,
            requests: Requests::of(Arc::clone(&settings.disk), &settings.dir),
            state: Mutex::new(State {
                store,
                unmarked: Vec::new(),
                begun: BTreeMap::new(),
            }),
        })
    }

    /// Closes the store.
    pub(crate) fn close(&self) -> Result<()> {
        self.state.lock().store.close()
    }

    /// How many letters are open.
    pub(crate) fn count(&self) -> usize {
        self.state.lock().store.count()
    }

    /// Asks for letters; how many of those that are open now are meant.
    pub(crate) fn request(&self, filter: &DeadLetterFilter) -> Result<usize> {
        let wanted = self.state.lock().store.wanted(|id, _| filter.wants(id));
        self.requests.add(filter)?;
        Ok(wanted.len())
    }

    /// Puts aside what a batch has refused, before it is committed; durable when this returns.
    pub(crate) fn put_aside<'a>(
        &self,
        batch: &Batch,
        noted: &[Noted],
        name: impl Fn(usize) -> &'a str,
    ) -> Result<()> {
        let is_any = noted.iter().any(|noted| noted.letter.is_some());
        let streams: BTreeSet<StreamId> = self.outlets.values().map(|o| o.stream).collect();
        let replayed = match is_any {
            true => replayed_between(&self.wal, &self.dir, (batch.from, batch.to), &streams)?,
            false => BTreeMap::new(),
        };
        let letters = noted.iter().filter_map(|noted| {
            let operator = name(noted.operator);
            let before = before(&replayed, operator, &noted.place);
            let letter = noted.letter.as_ref()?;
            let about = About {
                attempts: before.map_or(1, |before| before.attempts.saturating_add(1)),
                id: before.map_or_else(
                    || LetterId {
                        operator: operator.to_owned(),
                        batch: batch.id,
                        place: noted.place.clone(),
                    },
                    |before| before.id.clone(),
                ),
                failed_in: batch.id,
                time_ms: batch.time_ms,
                error: letter.error.clone(),
            };
            let input = letter.input.clone();
            Some(Letter { about, input })
        });
        let mut letters: Vec<Letter> = letters.collect();
        letters.sort_by(|a, b| a.about.id.cmp(&b.about.id));
        self.state.lock().store.put(batch, &letters)
    }

    /// Takes in what was asked for, before a batch is cut: as much as a batch may have.
    pub(crate) fn take_in(&self) -> Result<()> {
        let mut state = self.state.lock();
        state.mark(&self.wal)?;
        for (name, filter) in self.requests.all()? {
            let end = state.store.end();
            let until = *state.begun.entry(name.clone()).or_insert(end);
            let wanted = |id: &LetterId, at: &StoredAt| at.lsn() < until && filter.wants(id);
            if !self.take_in_some(&mut state, wanted)? {
                break; // the rest has its turn at the next cut
            }
            self.requests.remove(&name)?;
            state.begun.remove(&name);
        }
        Ok(())
    }

    /// Appends the letters of which `wanted` is true to the log; false if the batch is full before
    /// the last one.
    fn take_in_some(
        &self,
        state: &mut State,
        wanted: impl Fn(&LetterId, &StoredAt) -> bool,
    ) -> Result<bool> {
        let mut by_operator = BTreeMap::<String, Vec<(LetterId, StoredAt)>>::new();
        for (id, at) in state.store.wanted(wanted) {
            by_operator
                .entry(id.operator.clone())
                .or_default()
                .push((id, at));
        }
        for (operator, letters) in by_operator {
            let Some(outlet) = self.outlets.get(&operator) else {
                tracing::warn!(
                    operator,
                    count = letters.len(),
                    "dead letters are not replayed: the program has no such operator that puts records aside. If it was renamed, give it this name with .named(..)"
                );
                continue;
            };
            if !self.replay(state, outlet, letters)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Appends letters of one operator, in frames; false if the batch is full before the last one.
    fn replay(
        &self,
        state: &mut State,
        outlet: &Outlet,
        letters: Vec<(LetterId, StoredAt)>,
    ) -> Result<bool> {
        let limit = FRAME_BYTES.min(self.wal.max_record_bytes() / 2);
        let mut frame = Frame::default();
        for (id, at) in letters {
            let letter = state.store.read(at)?;
            if let Some(refused) = outlet.check.refused([letter.as_slice()].into_iter()) {
                let error = refused.message;
                tracing::warn!(%id, error, "this dead letter is not replayed: its operator does not read the record any more");
                continue;
            }
            if frame.bytes.saturating_add(letter.len()) > limit {
                self.append(state, outlet, std::mem::take(&mut frame))?;
            }
            if self.admission.batch_is_full() {
                self.append(state, outlet, frame)?;
                return Ok(false);
            }
            frame.bytes = frame.bytes.saturating_add(letter.len());
            frame.ids.push(id);
            frame.letters.push(letter);
        }
        self.append(state, outlet, frame)?;
        Ok(true)
    }

    /// Appends a frame of letters to the log, and marks them.
    fn append(&self, state: &mut State, outlet: &Outlet, frame: Frame) -> Result<()> {
        if frame.ids.is_empty() {
            return Ok(());
        }
        let letters: Vec<&[u8]> = frame.letters.iter().map(Vec::as_slice).collect();
        let lsn = outlet.source.append(&letters)?;
        state.unmarked.push((lsn, frame.ids));
        state.mark(&self.wal)
    }
}

/// Letters on their way into one frame.
#[derive(Debug, Default)]
struct Frame {
    ids: Vec<LetterId>,
    letters: Vec<Vec<u8>>,
    bytes: usize,
}

impl State {
    /// Marks letters whose frame is in the engine's log. If this fails, it must be done before the
    /// next cut.
    fn mark(&mut self, wal: &Wal) -> Result<()> {
        while let Some((lsn, ids)) = self.unmarked.first() {
            wal.sync_to(*lsn)?;
            self.store.replayed(ids, *lsn)?;
            drop(self.unmarked.remove(0));
        }
        Ok(())
    }
}

/// What is known of a letter that has failed again: `operator` has it from a frame of the log.
fn before<'a>(
    replayed: &'a BTreeMap<Lsn, Vec<About>>,
    operator: &str,
    place: &Place,
) -> Option<&'a About> {
    let Place::Log { lsn, index, .. } = place else {
        return None;
    };
    // The first record of a frame is no letter.
    let at = usize::try_from(*index).ok()?.checked_sub(1)?;
    let about = replayed.get(lsn)?.get(at)?;
    (about.id.operator == operator).then_some(about)
}

/// What a request to a program without dead letters gets.
pub(crate) fn no_dead_letters() -> Error {
    Error::LifeCycle(
        "the program puts no dead letters aside, or has not been started: call .on_error(ErrorPolicy::DeadLetter) on a stream",
    )
}
