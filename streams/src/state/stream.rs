//! One stream: what its frames say of it.
//!
//! A stream changes by [`Stream::apply`] alone, whether the frame was appended just now or is read
//! at the start: what is known of a stream follows from its frames.

use crate::frame::config::{Config, Fork, Lifetime, Retention};
use crate::frame::envelope::{Envelope, Kind, Place};
use crate::frame::links::Chain;
use crate::interface::media_type;
use crate::state::batches::Batches;
use crate::state::producers::Producers;
use std::collections::VecDeque;
use std::sync::Arc;

/// What is known of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stream {
    pub(crate) number: u64,
    pub(crate) name: Box<str>,
    pub(crate) content_type: Arc<str>,
    /// Whether positions count messages, and not bytes.
    pub(crate) by_message: bool,
    pub(crate) is_closed: bool,
    /// Forks may still need its data.
    pub(crate) is_deleted: bool,
    /// Changed since the last checkpoint.
    pub(crate) is_dirty: bool,
    /// First place that it still has of its own.
    pub(crate) start: Place,
    pub(crate) tail: Place,
    pub(crate) chain: Chain,
    /// When it was last read or written, in milliseconds of the clock that never goes back.
    pub(crate) touched_ms: u64,
    /// What most streams do not have.
    pub(crate) extra: Option<Box<Extra>>,
    pending: Option<Box<Pending>>,
}

/// What most streams do not have.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Extra {
    pub(crate) producers: Producers,
    pub(crate) stream_sequence: Option<Box<[u8]>>,
    /// Producers that number their messages.
    pub(crate) batches: Option<Box<Batches>>,
    /// What it was created with, where that is anything special.
    pub(crate) terms: Option<Box<Terms>>,
    /// Where data is that was moved, ascending and without holes; what follows is in the chain.
    pub(crate) moved: Vec<Block>,
}

/// What a stream was created with beside its name and type.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Terms {
    pub(crate) lifetime: Lifetime,
    pub(crate) fork: Option<Fork>,
    pub(crate) retention: Retention,
}

impl Terms {
    /// `None` if there is nothing special.
    pub(crate) fn of(config: &Config<'_>) -> Option<Box<Self>> {
        let terms = Self {
            lifetime: config.lifetime.clone(),
            fork: config.fork,
            retention: config.retention,
        };
        (terms != Self::default()).then(|| Box::new(terms))
    }
}

/// Data that was moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) first: Place,
    pub(crate) length: Place,
    pub(crate) lsn: u64,
}

impl Block {
    pub(crate) fn end(&self) -> Place {
        self.first.after(self.length)
    }
}

/// What readers see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Visible {
    pub(crate) tail: u64,
    /// LSN of the newest frame.
    pub(crate) newest: u64,
    pub(crate) is_closed: bool,
    pub(crate) is_deleted: bool,
    /// Its first frame is durable.
    pub(crate) exists: bool,
}

/// Frames that are not known to be durable.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Pending {
    /// What is seen before they are.
    now: Visible,
    /// What is seen when the frame at the LSN is durable.
    then: VecDeque<(u64, Visible)>,
}

impl Stream {
    /// The stream that a frame creates.
    pub(crate) fn create(
        envelope: &Envelope<'_>,
        config: &Config<'_>,
        lsn: u64,
        content_type: &Arc<str>,
    ) -> Self {
        let mut stream = Self::of_parts(envelope.stream, config, content_type, Chain::begin(lsn));
        (stream.start, stream.tail) = (envelope.first, envelope.end());
        if let terms @ Some(_) = Terms::of(config) {
            stream.extra = Some(Box::new(Extra {
                terms,
                ..Extra::default()
            }));
        }
        stream.mark(envelope, lsn, usize::MAX);
        stream
    }

    /// An open stream without data.
    pub(crate) fn of_parts(
        number: u64,
        config: &Config<'_>,
        content_type: &Arc<str>,
        chain: Chain,
    ) -> Self {
        Self {
            number,
            name: config.name.into(),
            content_type: Arc::clone(content_type),
            by_message: media_type::counts_messages(config.content_type),
            is_closed: false,
            is_deleted: false,
            is_dirty: true,
            start: Place::default(),
            tail: Place::default(),
            chain,
            touched_ms: 0,
            extra: None,
            pending: None,
        }
    }

    /// Changes it as the frame at `lsn` says. Tells whether a producer was forgotten.
    ///
    /// # Errors
    /// If the frame does not continue the stream: what is wrong.
    pub(crate) fn apply(
        &mut self,
        envelope: &Envelope<'_>,
        lsn: u64,
        most_producers: usize,
    ) -> Result<bool, String> {
        self.is_dirty = true;
        if envelope.kind == Kind::Moved {
            let (first, length) = (envelope.first, envelope.length);
            self.has_moved(Block { first, length, lsn });
            return Ok(false);
        }
        let (expected, found) = (
            (self.chain.frames, self.tail),
            (envelope.index, envelope.first),
        );
        if expected != found {
            return Err(format!(
                "stream {:?}: its frame {} at position {} is followed by frame {} at position {}",
                self.name, expected.0, expected.1.position, found.0, found.1.position
            ));
        }
        self.chain.push(lsn);
        self.tail = envelope.end();
        match (envelope.kind, envelope.start) {
            (Kind::Delete, _) => self.is_deleted = true,
            (_, Some(start)) => self.starts_at(start),
            _ => {}
        }
        Ok(self.mark(envelope, lsn, most_producers))
    }

    fn mark(&mut self, envelope: &Envelope<'_>, lsn: u64, most_producers: usize) -> bool {
        let mut has_forgotten = false;
        if let Some(mark) = &envelope.mark {
            let producers = &mut self.extra.get_or_insert_default().producers;
            has_forgotten = producers.accept(mark, lsn, most_producers);
        }
        if let Some(batch) = &envelope.batch {
            let batches = &mut self.extra.get_or_insert_default().batches;
            let at = (envelope.first.position, lsn);
            let batches = batches.get_or_insert_default();
            has_forgotten |= batches.accept(*batch, envelope.length.position, at, most_producers);
        }
        if let Some(sequence) = envelope.stream_sequence {
            self.extra.get_or_insert_default().stream_sequence = Some(sequence.into());
        }
        if envelope.closes {
            self.is_closed = true;
        }
        has_forgotten
    }

    fn starts_at(&mut self, start: Place) {
        self.start = start;
        if let Some(extra) = &mut self.extra {
            extra
                .moved
                .retain(|block| block.end().position > start.position);
        }
    }

    /// The block takes the place of those whose data it has.
    fn has_moved(&mut self, new: Block) {
        if new.end().position <= self.start.position {
            return; // given up meanwhile
        }
        let moved = &mut self.extra.get_or_insert_default().moved;
        let (first, end) = (new.first.position, new.end().position);
        moved.retain(|old| old.end().position <= first || old.first.position >= end);
        let at = moved.partition_point(|old| old.first.position < first);
        moved.insert(at, new);
    }

    /// What comes before this position is not in the chain any more.
    pub(crate) fn moved_to(&self) -> Place {
        let last = self.extra.as_deref().and_then(|extra| extra.moved.last());
        last.map_or(self.start, |block| {
            let end = block.end();
            if end.position > self.start.position {
                end
            } else {
                self.start
            }
        })
    }

    fn terms(&self) -> Option<&Terms> {
        self.extra.as_deref()?.terms.as_deref()
    }

    pub(crate) fn fork(&self) -> Option<Fork> {
        self.terms()?.fork
    }

    pub(crate) fn lifetime(&self) -> &Lifetime {
        const UNLIMITED: &Lifetime = &Lifetime::Unlimited;
        self.terms().map_or(UNLIMITED, |terms| &terms.lifetime)
    }

    pub(crate) fn retention(&self) -> Retention {
        self.terms()
            .map(|terms| terms.retention)
            .unwrap_or_default()
    }

    /// Whether it ends by itself, or is not to keep everything.
    pub(crate) fn is_bounded(&self) -> bool {
        *self.lifetime() != Lifetime::Unlimited || !self.retention().is_unbounded()
    }

    /// Bytes of messages that the log keeps for it.
    pub(crate) fn live_bytes(&self) -> u64 {
        self.tail.weight.saturating_sub(self.start.weight)
    }

    /// Bytes in memory, apart from its own.
    pub(crate) fn heap_bytes(&self) -> usize {
        let extra = self.extra.as_deref().map_or(0, |extra| {
            let terms = extra.terms.as_deref().map_or(0, size_of_val);
            size_of::<Extra>()
                + terms
                + extra.producers.heap_bytes()
                + extra.batches.as_deref().map_or(0, Batches::heap_bytes)
                + extra.moved.capacity() * size_of::<Block>()
        });
        let pending = self.pending.as_deref().map_or(0, |pending| {
            size_of::<Pending>() + pending.then.capacity() * size_of::<(u64, Visible)>()
        });
        self.name.len() + extra + pending + self.chain.heap_bytes()
    }

    fn newest_state(&self) -> Visible {
        Visible {
            tail: self.tail.position,
            newest: self.chain.newest,
            is_closed: self.is_closed,
            is_deleted: self.is_deleted,
            exists: true,
        }
    }

    /// What readers see, as far as it was settled.
    pub(crate) fn visible(&self) -> Visible {
        let pending = self.pending.as_deref();
        pending.map_or_else(|| self.newest_state(), |pending| pending.now)
    }

    /// Its first frame was appended just now.
    pub(crate) fn was_created(&mut self) {
        let now = Visible {
            exists: false,
            ..self.newest_state()
        };
        self.changed_from(now);
    }

    /// A frame was appended just now; before it, this was the [visible](Self::visible) state.
    pub(crate) fn changed_from(&mut self, now: Visible) {
        let (lsn, then) = (self.chain.newest, self.newest_state());
        let none = || {
            Box::new(Pending {
                now,
                then: VecDeque::with_capacity(1),
            })
        };
        self.pending
            .get_or_insert_with(none)
            .then
            .push_back((lsn, then));
    }

    /// Everything below `durable` is durable.
    pub(crate) fn settle(&mut self, durable: u64) {
        let Some(pending) = &mut self.pending else {
            return;
        };
        while let Some((_, then)) = pending.then.pop_front_if(|(lsn, _)| *lsn < durable) {
            pending.now = then;
        }
        if pending.then.is_empty() {
            self.pending = None;
        }
    }

    /// The frame that has to be durable for all that is known of it to last.
    pub(crate) fn unsettled(&self) -> Option<u64> {
        let pending = self.pending.as_deref()?;
        pending.then.back().map(|(lsn, _)| *lsn)
    }

    /// When it ends by itself, by either of the clocks.
    pub(crate) fn is_expired(&self, now_ms: u64, wall_ms: u64) -> bool {
        match self.lifetime() {
            Lifetime::Unlimited => false,
            Lifetime::IdleSeconds(seconds) => {
                let idle_ms = seconds.saturating_mul(1000);
                now_ms.saturating_sub(self.touched_ms) >= idle_ms
            }
            Lifetime::Until { at_ms, .. } => wall_ms >= *at_ms,
        }
    }
}
