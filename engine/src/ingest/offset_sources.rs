//! The sources of a program that keep their own data: what they are asked for before a cut, which
//! batch has what of them, and what they may forget.

use crate::batch::Batch;
use crate::batch::source_range::{SourceRange, place};
use crate::engine_log::cut::{self, Cut};
use crate::error::{BoxError, Error, Result};
use crate::ingest::offset_context::OffsetContext;
use crate::ingest::source::{Advance, AdvanceLimit, OffsetRange, Source};
use crate::ingest::source_context::SourceContext;
use crate::panics;
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// A source that keeps its own data.
pub(crate) struct OffsetSource {
    pub(crate) stream: u16,
    pub(crate) source: Arc<dyn Source>,
    pub(crate) context: SourceContext,
}

/// The sources of a program that keep their own data.
#[derive(Default)]
pub(crate) struct OffsetSources {
    /// In the order of the program.
    sources: Vec<OffsetSource>,
    /// Whether one of them had more than the last cut has taken.
    has_more: AtomicBool,
    /// What batches have that are cut and not finished.
    ranges: Mutex<BTreeMap<u64, Arc<[SourceRange]>>>,
    released: Mutex<Released>,
}

/// How far a source's items are, by name.
type Positions = BTreeMap<String, u64>;

/// What sources may forget.
#[derive(Default)]
struct Released {
    /// The positions of each source as of batches after which a checkpoint was taken, ascending.
    captured: VecDeque<(u64, Vec<Positions>)>,
    /// What the sources were told last.
    told: Vec<Positions>,
}

impl fmt::Debug for OffsetSources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OffsetSources")
            .field("sources", &self.sources.len())
            .finish_non_exhaustive()
    }
}

impl OffsetSources {
    /// Opens the sources. `cuts` are those of batches that will run again, `checkpoint` is the
    /// batch of the checkpoint that was found.
    pub(crate) fn open(
        sources: Vec<OffsetSource>,
        cuts: &[Cut],
        checkpoint: Option<u64>,
    ) -> Result<Self> {
        for of in &sources {
            of.open()?;
        }
        let ranges = cuts.iter().filter(|cut| !cut.sources.is_empty());
        let ranges = ranges.map(|cut| (cut.last.batch.id, Arc::clone(&cut.sources)));
        let opened = Self {
            has_more: AtomicBool::new(false),
            ranges: Mutex::new(ranges.collect()),
            sources,
            released: Mutex::default(),
        };
        checkpoint
            .into_iter()
            .for_each(|batch| opened.captured(batch));
        Ok(opened)
    }

    /// Whether one of the sources had more than the last cut has taken.
    pub(crate) fn has_more(&self) -> bool {
        self.has_more.load(Ordering::Relaxed)
    }

    /// What the batch that is being cut has of the sources. A source that fails, or whose answer
    /// contradicts what it said before, has no part in it.
    pub(crate) fn advance(&self, max_bytes: u64, interval: Duration) -> Vec<SourceRange> {
        let mut all = Vec::new();
        let mut has_more = false;
        let shares = self.sources.len().max(1);
        let of_all = |of: &OffsetSource| of.context.max_record_bytes() / 2;
        let cut_bytes = self.sources.first().map_or(0, of_all) / shares;
        for of in &self.sources {
            if of.context.is_stopping() {
                continue;
            }
            let limit = AdvanceLimit {
                bytes: max_bytes,
                records: of.context.records_allowed(interval),
                cut_bytes,
            };
            match of.advance(&limit, &all) {
                Ok(advance) => {
                    // A rate is that of an interval.
                    let may_have_more = limit.records.is_none() && !advance.ranges.is_empty();
                    has_more |= advance.has_more && may_have_more;
                    all.extend(of.ranges(advance.ranges));
                }
                Err(error) => of.context.report_error(&error),
            }
        }
        self.has_more.store(has_more, Ordering::Relaxed);
        all
    }

    /// A cut is durable: its batch has these ranges, and no other batch will.
    pub(crate) fn was_cut(&self, batch: &Batch, ranges: &Arc<[SourceRange]>) {
        if ranges.is_empty() {
            return;
        }
        assert!(
            batch.from < batch.to,
            "{batch} has records of sources, so it has a place for them"
        );
        for of in &self.sources {
            let its = ranges.iter().filter(|range| range.stream == of.stream);
            of.context.advanced(place(batch), its);
        }
        self.ranges.lock().insert(batch.id, Arc::clone(ranges));
    }

    /// What a batch has of the sources.
    pub(crate) fn of(&self, batch: &Batch) -> Arc<[SourceRange]> {
        let ranges = self.ranges.lock().get(&batch.id).cloned();
        ranges.unwrap_or_else(|| Arc::new([]))
    }

    /// A batch has finished: it does not run again, but in a replay, which reads the log.
    pub(crate) fn finished(&self, batch: &Batch) {
        if !self.sources.is_empty() {
            self.ranges.lock().remove(&batch.id);
        }
    }

    /// A checkpoint is taken after the batch that has finished last, `batch`.
    pub(crate) fn captured(&self, batch: u64) {
        if self.sources.is_empty() {
            return;
        }
        let positions = self.sources.iter().map(|of| {
            let (_, settled) = of.context.settled();
            let items = settled.producers.iter();
            items
                .map(|(item, at)| (item.to_owned(), at.sequence))
                .collect()
        });
        let positions = positions.collect();
        self.released.lock().captured.push_back((batch, positions));
    }

    /// Tells the sources what no batch will read again: what the oldest retained checkpoint covers,
    /// which is that of batch `oldest`. A fallback to it replays what comes after.
    pub(crate) fn release(&self, oldest: Option<u64>) {
        let Some(oldest) = oldest.filter(|_| !self.sources.is_empty()) else {
            return;
        };
        let mut released = self.released.lock();
        let mut covered = None;
        while let Some((batch, _)) = released.captured.front()
            && *batch <= oldest
        {
            covered = released.captured.pop_front();
        }
        let Some((_, positions)) = covered else {
            return;
        };
        let told = std::mem::replace(&mut released.told, positions.clone());
        drop(released);
        for (at, (of, positions)) in self.sources.iter().zip(&positions).enumerate() {
            let told = told.get(at);
            let is_new = |item, offset| told.and_then(|told| told.get(item)) != Some(offset);
            for (item, offset) in positions
                .iter()
                .filter(|(item, offset)| is_new(*item, *offset))
            {
                let done = panics::catch(|| {
                    of.source.release(item, *offset);
                    Ok::<_, BoxError>(())
                });
                done.unwrap_or_else(|error| of.context.report_error(&error));
            }
        }
    }
}

impl OffsetSource {
    pub(crate) fn open(&self) -> Result<()> {
        let context = OffsetContext::new(self.context.clone());
        let opened = panics::catch(|| self.source.open(&context));
        opened.map_err(|error| Error::Source {
            name: self.context.name().to_owned(),
            source: error,
        })
    }

    /// Asks the source, and checks its answer. `others` is what the batch has of other sources.
    fn advance(&self, limit: &AdvanceLimit, others: &[SourceRange]) -> Result<Advance, BoxError> {
        let context = OffsetContext::new(self.context.clone());
        let mut advance = panics::catch(|| self.source.advance(&context, limit))?;
        let fits = limit.fits(&advance.ranges);
        if fits < advance.ranges.len() {
            if fits == 0 {
                return Err("the name of an item is too long for a cut".into());
            }
            advance.ranges.truncate(fits);
            advance.has_more = true;
        }
        let mut known = self.context.positions();
        let mut ends = BTreeMap::<&str, u64>::new();
        let mut fresh = BTreeSet::new();
        for OffsetRange { item, from, to, .. } in &advance.ranges {
            let position = ends.get(&**item).copied();
            let position = position.or_else(|| self.context.last_sequence(item));
            match position {
                Some(position) if position != *from => {
                    return Err(format!(
                        "it wants {item} from offset {from} on, and batches have it up to {position}"
                    )
                    .into());
                }
                None if fresh.insert(&**item) => known += 1,
                _ => {}
            }
            ends.insert(item, *to);
        }
        if known > OffsetContext::ITEMS && !fresh.is_empty() {
            let (max, new) = (OffsetContext::ITEMS, fresh.len());
            return Err(format!(
                "it has {new} new items, and the positions of no more than {max} can be remembered: move or delete some"
            )
            .into());
        }
        let ranges = others.iter().cloned();
        let all: Vec<SourceRange> = ranges.chain(self.ranges(advance.ranges.clone())).collect();
        cut::check(&all)?;
        Ok(advance)
    }

    fn ranges(&self, ranges: Vec<OffsetRange>) -> impl Iterator<Item = SourceRange> {
        let stream = self.stream;
        ranges.into_iter().map(move |range| SourceRange {
            stream,
            item: range.item,
            from: range.from,
            to: range.to,
            identity: range.identity,
            records: range.records,
        })
    }
}
