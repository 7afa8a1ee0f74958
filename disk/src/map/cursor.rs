//! The cursor of an append map: hands out disjoint reservations and knows which are unfinished,
//! without a lock.
//!
//! One word holds everything. Bits 0-39 are the offset, bit 40 the current generation. Bits 41-51
//! and 52-62 count the unfinished reservations of each generation. Bit 63 tells whether the map is
//! closed. A reservation is one compare-exchange. [`Cursor::wait_complete`] flips the generation:
//! later reservations count in the other counter. So the wait is only for the reservations already
//! handed out, and is bounded even when appends never pause.
//!
//! Memory orderings: every change of the word after its first value is a read-modify-write. So the
//! release sequence that the end of a reservation begins never breaks. A thread that loads the word
//! with acquire sees the bytes of every reservation finished so far, not only of the last one. A
//! plain store would lose that. `disk/tests/shuttle.rs` tries the interleavings, Miri the
//! orderings.

use crate::map::sync::{AtomicBool, AtomicU64, Mutex, Ordering, spin_loop, yield_now};
use std::fmt;

const OFFSET_BITS: u32 = 40;
/// The highest offset that the cursor can hold, and a mask for it.
pub(crate) const MAX_OFFSET: u64 = (1 << OFFSET_BITS) - 1;
const GENERATION_BIT: u64 = 1 << OFFSET_BITS;
const COUNT_BITS: u32 = 11;
pub(crate) const COUNT_MASK: u64 = (1 << COUNT_BITS) - 1;
const COUNT_SHIFTS: [u32; 2] = [OFFSET_BITS + 1, OFFSET_BITS + 1 + COUNT_BITS];
const CLOSED_BIT: u64 = 1 << 63;
const COUNTS_MASK: u64 = (COUNT_MASK << COUNT_SHIFTS[0]) | (COUNT_MASK << COUNT_SHIFTS[1]);
const _: () = assert!(COUNT_SHIFTS[1] + COUNT_BITS == 63);

/// Who reserves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reserver {
    /// Refused once the map is closed.
    Appender,
    /// Closed the map and may still append.
    Closer,
}

/// Why nothing was reserved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReserveError {
    /// It does not fit, or nothing was asked for.
    Full,
    /// [`AppendMap::close`](crate::AppendMap::close) was called.
    Closed,
}

/// A reservation was dropped before it was filled: the map has a hole that no later write can
/// close.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AbandonedReservation;

impl fmt::Display for AbandonedReservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a writer reserved bytes of the log and never filled them")
    }
}

impl std::error::Error for AbandonedReservation {}

/// Alone on its cache lines, two because processors fetch them in pairs. Every append reads the
/// other fields of the map. It would wait each time for their line to come back from the core that
/// appended last.
#[repr(align(128))]
struct Alone<T>(T);

/// The cursor; see the module.
pub(crate) struct Cursor {
    word: Alone<AtomicU64>,
    abandoned: AtomicBool,
    /// Serialises the threads that wait for complete reservations.
    flip: Mutex<()>,
}

impl Cursor {
    /// A cursor at `start`, open, without reservations.
    pub(crate) fn new(start: u64) -> Self {
        assert!(start <= MAX_OFFSET, "{start} fits the word");
        Self {
            word: Alone(AtomicU64::new(start)),
            abandoned: AtomicBool::new(false),
            flip: Mutex::new(()),
        }
    }

    /// Everything below this offset has been handed out.
    #[inline]
    pub(crate) fn offset(&self) -> u64 {
        // Acquire: a thread that sees a reservation also sees what its owner did before. No byte is
        // read on the strength of it.
        self.word.0.load(Ordering::Acquire) & MAX_OFFSET
    }

    /// Reserves as many bytes below `limit` as `len` says for the offset at which they will start.
    /// Returns the offset, the length, and the shift of its counter for [`Self::finish`].
    pub(crate) fn reserve_with(
        &self,
        limit: u64,
        reserver: Reserver,
        len: impl Fn(u64) -> u64,
    ) -> Result<(u64, u64, u32), ReserveError> {
        // Acquire, here and at the other loads: a thread that is refused because the map is closed
        // sees what the closer did before. The reservation itself needs no ordering: its bytes are
        // new, and the exchange alone makes it ours.
        let mut word = self.word.0.load(Ordering::Acquire);
        loop {
            if word & CLOSED_BIT != 0 && reserver != Reserver::Closer {
                return Err(ReserveError::Closed);
            }
            let offset = word & MAX_OFFSET;
            let len = len(offset);
            if len == 0 || len > limit.saturating_sub(offset) {
                return Err(ReserveError::Full);
            }
            let shift = count_shift(word);
            if count(word, shift) == COUNT_MASK {
                yield_now();
                word = self.word.0.load(Ordering::Acquire);
                continue;
            }
            let next = word + len + (1 << shift);
            // Release: a thread that sees the reservation sees what came before it (`offset`). The
            // bytes do not depend on it.
            match self
                .word
                .0
                .compare_exchange_weak(word, next, Ordering::AcqRel, Ordering::Acquire)
            {
                Ok(_) => return Ok((offset, len, shift)),
                Err(now) => word = now,
            }
        }
    }

    /// From now on only [`Reserver::Closer`] gets bytes.
    pub(crate) fn close(&self) {
        // Release for the threads that are refused, see `reserve_with`; acquire to see what came
        // before the last reservation.
        self.word.0.fetch_or(CLOSED_BIT, Ordering::AcqRel);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.word.0.load(Ordering::Acquire) & CLOSED_BIT != 0
    }

    /// The owner of the next [`Self::finish`] leaves a hole.
    pub(crate) fn abandon(&self) {
        self.abandoned.store(true, Ordering::Release);
    }

    /// Ends a reservation that counts at `shift`: its bytes are filled, or it is abandoned.
    #[inline]
    pub(crate) fn finish(&self, shift: u32) {
        // Release pairs with the acquire loads in `wait_complete` and `wait_for`. A thread that
        // sees the count fall sees the bytes, and the flag of an abandoned reservation.
        self.word.0.fetch_sub(1 << shift, Ordering::Release);
    }

    /// Waits until every reservation handed out before the call is finished, and returns the offset
    /// below which all are. `publish` is called with it before another thread can flip.
    pub(crate) fn wait_complete(
        &self,
        publish: impl FnOnce(u64),
    ) -> Result<u64, AbandonedReservation> {
        let _serial = self.flip.lock();
        // Acquire, here and when the exchange fails: with both counts at zero this load is all that
        // makes the bytes visible.
        let mut word = self.word.0.load(Ordering::Acquire);
        loop {
            if word & COUNTS_MASK == 0 {
                break; // no reservation is open: the prefix is complete as it is
            }
            // The other generation is empty: the previous flip waited for it, and new reservations
            // count in the current one.
            let flipped = word ^ GENERATION_BIT;
            // The flip itself publishes nothing, and the wait acquires: the bytes do not depend on
            // this ordering.
            match self.word.0.compare_exchange_weak(
                word,
                flipped,
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) => {
                    self.wait_for(count_shift(word));
                    break;
                }
                Err(now) => word = now,
            }
        }
        // The word was acquired after the release that follows the store of the flag: the store
        // cannot be missed.
        if self.abandoned.load(Ordering::Acquire) {
            return Err(AbandonedReservation);
        }
        let end = word & MAX_OFFSET;
        publish(end);
        Ok(end)
    }

    fn wait_for(&self, shift: u32) {
        let mut spins = 0_u32;
        // Acquire pairs with the release in `finish`.
        while count(self.word.0.load(Ordering::Acquire), shift) != 0 {
            spins += 1;
            if spins < 64 {
                spin_loop();
            } else {
                yield_now();
            }
        }
    }
}

/// Where the counter of the current generation is in the word.
#[inline]
fn count_shift(word: u64) -> u32 {
    if word & GENERATION_BIT == 0 {
        COUNT_SHIFTS[0]
    } else {
        COUNT_SHIFTS[1]
    }
}

#[inline]
fn count(word: u64, shift: u32) -> u64 {
    (word >> shift) & COUNT_MASK
}
