//! What everything shares: the log, the table, and who waits.

use crate::error::{Error, Result};
use crate::frame::batch::Batch;
use crate::frame::config::Config;
use crate::frame::envelope::{Envelope, Kind, Mark, Place};
use crate::frame::links::Links;
use crate::interface::refusal::Refusal;
use crate::options::Options;
use crate::shared::waiters::Waiters;
use crate::state::stream::Stream;
use crate::state::table::{Part, Table};
use highwater_wal::{Admission, AppendOptions, Durability, LsnRange, StreamId, Wal, WalError};
use parking_lot::Mutex;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// All named streams are in this stream of the log.
pub(crate) const SERVED: StreamId = StreamId(1);

/// Content types that there may be at a time before they are stored once per stream.
const MAX_TYPES: usize = 4096;

/// What everything shares.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) wal: Wal,
    pub(crate) options: Options,
    pub(crate) table: Table,
    pub(crate) waiters: Waiters,
    /// How many forks a stream has, if any. Taken after the locks of parts, and last.
    pub(crate) forks: Mutex<HashMap<u64, u32>>,
    types: Mutex<BTreeSet<Arc<str>>>,
    pub(crate) streams: AtomicUsize,
    pub(crate) counters: Counters,
}

/// What has happened since the start.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) forgotten_producers: AtomicU64,
    pub(crate) expired: AtomicU64,
    /// How often the start of a stream moved on.
    pub(crate) trimmed: AtomicU64,
    /// Bytes of messages that were moved.
    pub(crate) moved_bytes: AtomicU64,
    pub(crate) checkpoints: AtomicU64,
    /// Bytes of messages that were given up: deleted, or older than is kept.
    pub(crate) freed_bytes: AtomicU64,
    /// Bytes of messages that the log keeps for streams.
    pub(crate) live_bytes: AtomicU64,
}

/// The newest frame that something rests on and its stream, if that frame may not last.
pub(crate) type RestsOn = Option<(u64, u64)>;

/// What a name stands for, and the newest frame that this rests on, if that may not last.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) outcome: std::result::Result<u32, Refusal>,
    pub(crate) rests_on: RestsOn,
}

impl Found {
    fn no(refusal: Refusal, rests_on: RestsOn) -> Self {
        Self {
            outcome: Err(refusal),
            rests_on,
        }
    }
}

/// What a frame does beside adding data.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Said<'a> {
    pub(crate) closes: bool,
    pub(crate) mark: Option<Mark<'a>>,
    pub(crate) batch: Option<Batch>,
    pub(crate) stream_sequence: Option<&'a [u8]>,
    pub(crate) start: Option<Place>,
}

impl Core {
    pub(crate) fn new(wal: Wal, options: Options) -> Self {
        Self {
            wal,
            options,
            table: Table::new(),
            waiters: Waiters::default(),
            forks: Mutex::default(),
            types: Mutex::default(),
            streams: AtomicUsize::new(0),
            counters: Counters::default(),
        }
    }

    pub(crate) fn durable(&self) -> u64 {
        self.wal.durable_lsn().get()
    }

    pub(crate) fn now_ms(&self) -> u64 {
        u64::try_from(self.options.clock.now().as_millis()).unwrap_or(u64::MAX)
    }

    pub(crate) fn wall_ms(&self) -> u64 {
        self.options.clock.wall_ms()
    }

    /// One copy of each content type.
    pub(crate) fn content_type(&self, text: &str) -> Arc<str> {
        let mut types = self.types.lock();
        if let Some(known) = types.get(text) {
            return Arc::clone(known);
        }
        let new = Arc::from(text);
        if types.len() < MAX_TYPES {
            types.insert(Arc::clone(&new));
        }
        new
    }

    /// Whether forks need the stream.
    pub(crate) fn has_forks(&self, number: u64) -> bool {
        self.forks.lock().contains_key(&number)
    }

    /// Appends the first frame of a stream, and adds it to its part.
    pub(crate) fn append_create(
        &self,
        part: &mut Part,
        config: Config<'_>,
        messages: &[&[u8]],
        by_message: bool,
        said: Said<'_>,
    ) -> Result<std::result::Result<u32, Refusal>> {
        let number = part.next_number();
        let base = config.fork.map_or(0, |fork| fork.base);
        let envelope = Envelope {
            kind: Kind::Create,
            stream: number,
            index: 0,
            first: Place {
                position: base,
                weight: if by_message { 0 } else { base },
            },
            length: length_of(messages, by_message),
            received_ms: self.wall_ms(),
            links: Links::default(),
            closes: said.closes,
            mark: said.mark,
            batch: said.batch,
            stream_sequence: said.stream_sequence,
            config: Some(config),
            start: None,
        };
        let lsn = match self.append(&envelope, messages, Admission::Ordinary)? {
            Ok(range) => range.first.get(),
            Err(refusal) => return Ok(Err(refusal)),
        };
        let Some(config) = &envelope.config else {
            unreachable!("it was put there")
        };
        let types = self.content_type(config.content_type);
        let mut stream = Stream::create(&envelope, config, lsn, &types);
        stream.touched_ms = self.now_ms();
        stream.was_created();
        self.streams.fetch_add(1, Ordering::Relaxed);
        self.counters
            .live_bytes
            .fetch_add(stream.live_bytes(), Ordering::Relaxed);
        let slot = part.insert(stream);
        part.applied = lsn;
        Ok(Ok(slot))
    }

    /// Appends the next frame of a stream, and applies it.
    pub(crate) fn append_next(
        &self,
        part: &mut Part,
        slot: u32,
        kind: Kind,
        messages: &[&[u8]],
        said: Said<'_>,
    ) -> Result<std::result::Result<(), Refusal>> {
        let stream = part.at_mut(slot).expect("the caller has found it");
        let number = stream.number;
        let envelope = Envelope {
            kind,
            stream: number,
            index: stream.chain.frames,
            first: stream.tail,
            length: length_of(messages, stream.by_message),
            received_ms: self.wall_ms(),
            links: stream.chain.links(),
            closes: said.closes,
            mark: said.mark,
            batch: said.batch,
            stream_sequence: said.stream_sequence,
            config: None,
            start: said.start,
        };
        // What frees space, or ends a stream, has the log's reserve.
        let class = match kind {
            Kind::Data | Kind::Create | Kind::Id => Admission::Ordinary,
            Kind::Close | Kind::Delete | Kind::Moved | Kind::Trim => Admission::Reserve,
        };
        let lsn = match self.append(&envelope, messages, class)? {
            Ok(range) => range.first.get(),
            Err(refusal) => return Ok(Err(refusal)),
        };
        let before = stream.visible();
        let live = stream.live_bytes();
        let applied = stream.apply(&envelope, lsn, self.options.max_producers);
        match applied {
            Ok(false) => {}
            Ok(true) => {
                self.counters
                    .forgotten_producers
                    .fetch_add(1, Ordering::Relaxed);
            }
            Err(what) => return Err(Error::Inconsistent { lsn, what }),
        }
        stream.changed_from(before);
        self.count_live(live, stream.live_bytes());
        part.applied = lsn;
        if kind == Kind::Delete || self.waiters.has(number) {
            self.expect(lsn, number);
        }
        Ok(Ok(()))
    }

    /// Those who wait for the stream are woken when the frame at `lsn` is durable.
    pub(crate) fn expect(&self, lsn: u64, number: u64) {
        self.waiters.expect(lsn, number);
        if self.durable() > lsn {
            // Durable before it was known here: the follower may have looked already.
            self.waiters.wake(number);
        }
    }

    pub(crate) fn count_live(&self, before: u64, after: u64) {
        let counters = &self.counters;
        if after >= before {
            counters
                .live_bytes
                .fetch_add(after - before, Ordering::Relaxed);
        } else {
            counters
                .live_bytes
                .fetch_sub(before - after, Ordering::Relaxed);
            counters
                .freed_bytes
                .fetch_add(before - after, Ordering::Relaxed);
        }
    }

    /// Appends a frame.
    pub(crate) fn append(
        &self,
        envelope: &Envelope<'_>,
        messages: &[&[u8]],
        class: Admission,
    ) -> Result<std::result::Result<LsnRange, Refusal>> {
        let header = envelope.encode();
        let records = std::iter::once(&*header).chain(messages.iter().copied());
        // Ordered now; those who need to know wait for it.
        let options = AppendOptions::new().stream(SERVED).admission(class);
        let options = options.durability(Durability::Os);
        match self.wal.append_batch_with(&options, records) {
            Ok(range) => Ok(Ok(range)),
            Err(WalError::RecordTooLarge { .. }) => Ok(Err(Refusal::TooLarge {
                most: self.max_body_bytes(),
            })),
            Err(error) => Err(error.into()),
        }
    }

    /// The longest body that always fits.
    pub(crate) fn max_body_bytes(&self) -> usize {
        self.wal.max_record_bytes().saturating_sub(MAX_HEADER_BYTES)
    }

    /// Where the stream of a name is, after what is due by time.
    ///
    /// # Errors
    /// If the end of its time cannot be written.
    pub(crate) fn find(&self, part: &mut Part, name: &str) -> Result<Found> {
        let durable = self.durable();
        let none = || Found::no(Refusal::NotFound, None);
        let Some(slot) = part.slot_of_name(name) else {
            return Ok(none());
        };
        let Some(stream) = part.at_mut(slot) else {
            return Ok(none());
        };
        stream.settle(durable);
        if !stream.is_deleted && stream.is_expired(self.now_ms(), self.wall_ms()) {
            self.expire(part, slot)?;
        }
        let Some(stream) = part.at_mut(slot) else {
            return Ok(none());
        };
        let rests_on = stream.unsettled().map(|lsn| (lsn, stream.number));
        let outcome = match stream.is_deleted {
            false => Ok(slot),
            true if self.has_forks(stream.number) => Err(Refusal::Gone),
            true => Err(Refusal::NotFound),
        };
        Ok(Found { outcome, rests_on })
    }

    /// Ends a stream whose time is over.
    pub(crate) fn expire(&self, part: &mut Part, slot: u32) -> Result<()> {
        self.counters.expired.fetch_add(1, Ordering::Relaxed);
        match self.append_next(part, slot, Kind::Delete, &[], Said::default())? {
            Ok(()) => Ok(()),
            Err(_) => unreachable!("a frame without data fits"),
        }
    }

    /// What became durable is seen, and what is deleted and not needed is removed.
    pub(crate) fn settle(&self, number: u64) {
        let mut next = Some(number);
        while let Some(number) = next {
            let mut part = self.table.of_number(number);
            next = self.settle_in(&mut part, number);
        }
    }

    /// As [`Self::settle`], of one stream. The stream that it was forked from is next.
    pub(crate) fn settle_in(&self, part: &mut Part, number: u64) -> Option<u64> {
        let durable = self.durable();
        let stream = part.numbered(number)?;
        stream.settle(durable);
        if !stream.is_deleted || stream.unsettled().is_some() || self.has_forks(number) {
            return None;
        }
        let removed = part.remove(number)?;
        self.streams.fetch_sub(1, Ordering::Relaxed);
        self.count_live(removed.live_bytes(), 0);
        let parent = removed.fork()?.parent;
        let mut forks = self.forks.lock();
        let count = forks.get_mut(&parent)?;
        *count -= 1;
        if *count == 0 {
            forks.remove(&parent);
        }
        Some(parent)
    }
}

/// The most that an envelope takes, with what the log needs for each record.
const MAX_HEADER_BYTES: usize = 16 << 10;

pub(crate) fn length_of(messages: &[&[u8]], by_message: bool) -> Place {
    let weight = messages.iter().map(|message| message.len() as u64).sum();
    let position = if by_message {
        messages.len() as u64
    } else {
        weight
    };
    Place { position, weight }
}
