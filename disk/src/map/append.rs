//! A mapped file to which many threads append at disjoint offsets without a lock.
//!
//! Soundness rests on bump allocation. The [`Cursor`] hands out a byte at most once in the life of
//! the map ([`Reservation`]). It is written at most once, by [`Reservation::fill`]. It can be read
//! only after [`AppendMap::complete_prefix`] has seen every reservation below it finished. So no
//! byte is ever written and read at the same time.

use crate::error::invalid;
use crate::map::backing::MapBacking;
use crate::map::cursor::{AbandonedReservation, Cursor, MAX_OFFSET, ReserveError, Reserver};
use crate::map::sync::{AtomicU64, Mutex, Ordering};
use crate::units::PAGE_SIZE;
use std::fmt;
use std::io;
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::Arc;

/// Reservations start and end at multiples of this many bytes.
const ALIGNMENT: u64 = 8;

/// A mapped file to which many threads append. Share it in an [`Arc`].
pub struct AppendMap {
    base: NonNull<u8>,
    len: u64,
    cursor: Cursor,
    /// Every byte below is filled and never written again.
    complete: AtomicU64,
    /// Every byte below is durable: it was before the map was made, or a sync succeeded.
    synced: AtomicU64,
    /// Every byte below is read from the file; the memory was given back.
    given_back: Mutex<u64>,
    backing: Arc<dyn MapBacking>,
}

#[expect(
    unsafe_code,
    reason = "the map is shared between threads; see the module's soundness argument"
)]
// SAFETY: the memory behind `base` is owned by `backing`, which is `Send + Sync` and lives as long
// as `self`. Threads write only what the compare-exchange in `Cursor::reserve_with` gave to them
// alone. They read only below `complete`, which is stored with release ordering after every
// reservation below it was finished (also release). So there is no data race.
unsafe impl Send for AppendMap {}
#[expect(
    unsafe_code,
    reason = "the map is shared between threads; see the module's soundness argument"
)]
// SAFETY: as above.
unsafe impl Sync for AppendMap {}

impl AppendMap {
    /// Wraps mapped memory whose first `start` bytes are already written and will be only read.
    ///
    /// # Safety
    /// `base` must point to `len` bytes that stay mapped, readable and writable while `backing`
    /// lives. While the map lives no other reference may write them, or read those at or above
    /// `start`.
    ///
    /// # Panics
    /// If `start` is past `len`, either is no multiple of 8, or the map is larger than 1 TiB.
    #[expect(unsafe_code, reason = "the contract is the caller's")]
    #[must_use]
    pub unsafe fn new(
        base: NonNull<u8>,
        len: u64,
        start: u64,
        backing: Arc<dyn MapBacking>,
    ) -> Self {
        assert!(
            start <= len && len <= MAX_OFFSET,
            "start {start} and length {len} fit the map"
        );
        assert!(
            start.is_multiple_of(ALIGNMENT) && len.is_multiple_of(ALIGNMENT),
            "{start} and {len} are aligned"
        );
        Self {
            base,
            len,
            cursor: Cursor::new(start),
            complete: AtomicU64::new(start),
            synced: AtomicU64::new(start),
            given_back: Mutex::new(0),
            backing,
        }
    }

    /// Whether [`Self::new`] takes a map of `len` bytes with the cursor at `start`.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`], with the rule that is broken.
    pub(crate) fn check_shape(start: u64, len: u64) -> io::Result<()> {
        let broken = if len == 0 {
            "an empty file cannot be mapped"
        } else if len > MAX_OFFSET {
            "a file of 1 TiB or more cannot be mapped for appending"
        } else if start > len {
            "the start lies past the end of the file"
        } else if !start.is_multiple_of(ALIGNMENT) || !len.is_multiple_of(ALIGNMENT) {
            "start and length must be multiples of 8"
        } else {
            return Ok(());
        };
        Err(io::Error::new(io::ErrorKind::InvalidInput, broken))
    }

    /// Size of the map in bytes.
    #[must_use]
    pub fn capacity(&self) -> u64 {
        self.len
    }

    /// Everything below this offset has been handed out (not necessarily filled).
    #[must_use]
    pub fn reserved(&self) -> u64 {
        self.cursor.offset()
    }

    /// Everything below this offset is known to be filled; see [`Self::complete_prefix`] for the
    /// exact answer.
    #[must_use]
    pub fn complete(&self) -> u64 {
        // Acquire pairs with the release in `complete_prefix`: the bytes below are visible, which
        // `read` relies on.
        self.complete.load(Ordering::Acquire)
    }

    /// Hands out the next `len` bytes, unless they do not fit below `limit` or the map is closed.
    /// Lock-free.
    ///
    /// # Errors
    /// [`ReserveError`].
    ///
    /// # Panics
    /// If `len` is zero or no multiple of 8, or `limit` is past the capacity.
    pub fn reserve(
        &self,
        len: u64,
        limit: u64,
        reserver: Reserver,
    ) -> Result<Reservation<'_>, ReserveError> {
        assert!(
            len > 0 && len.is_multiple_of(ALIGNMENT),
            "a reservation of {len} bytes is aligned"
        );
        self.reserve_with(limit, reserver, |_| len)
    }

    /// As [`Self::reserve`] of as many bytes as `len` says for the offset at which they will start;
    /// none if it says 0.
    ///
    /// # Errors
    /// [`ReserveError`].
    ///
    /// # Panics
    /// If `limit` is past the capacity.
    pub fn reserve_with(
        &self,
        limit: u64,
        reserver: Reserver,
        len: impl Fn(u64) -> u64,
    ) -> Result<Reservation<'_>, ReserveError> {
        assert!(limit <= self.len, "limit {limit} lies inside the map");
        let (offset, len, shift) = self.cursor.reserve_with(limit, reserver, len)?;
        Ok(Reservation {
            map: self,
            offset,
            len,
            shift,
            filled: false,
        })
    }

    /// From now on only [`Reserver::Closer`] gets bytes. Earlier reservations are not affected.
    pub fn close(&self) {
        self.cursor.close();
    }

    /// Waits until every reservation handed out before the call is filled. Returns the offset below
    /// which every byte is filled.
    ///
    /// # Errors
    /// [`AbandonedReservation`] if a writer dropped its reservation unfilled: the hole stays for
    /// ever.
    pub fn complete_prefix(&self) -> Result<u64, AbandonedReservation> {
        self.cursor.wait_complete(|end| {
            // Release pairs with the acquire in `complete`, and passes on all the bytes that the
            // cursor made visible here.
            self.complete.fetch_max(end, Ordering::Release);
        })
    }

    /// The bytes of `range`, or `None` if they are not all known to be filled.
    #[must_use]
    pub fn read(&self, range: Range<u64>) -> Option<&[u8]> {
        if range.start > range.end || range.end > self.complete() {
            return None;
        }
        let start = usize::try_from(range.start).ok()?;
        let len = usize::try_from(range.end - range.start).ok()?;
        #[expect(unsafe_code, reason = "a view into the map")]
        // SAFETY: the range lies below `complete`, so inside the map, and no thread writes those
        // bytes any more.
        Some(unsafe { std::slice::from_raw_parts(self.base.as_ptr().add(start), len) })
    }

    /// Reads in the pages of `range` where the map shows a file, so that touching them soon raises
    /// no signal. Call it before each pass, as with
    /// [`ReadMap::populate`](crate::ReadMap::populate). Memory of the process needs nothing.
    ///
    /// # Errors
    /// Any I/O error: [`DiskError::offset`](crate::DiskError::offset) tells the page.
    /// [`io::ErrorKind::UnexpectedEof`] if the file was cut short of it;
    /// [`io::ErrorKind::InvalidInput`] if the range lies outside the map.
    pub fn populate(&self, range: Range<u64>) -> io::Result<()> {
        if range.start > range.end || range.end > self.len {
            return Err(invalid("the range to populate lies outside the map"));
        }
        self.backing.populate(range)
    }

    /// Fills `buf` with the bytes from `start` on and returns true, if all of them are memory of
    /// this process and known to be filled. It touches no mapped file. Otherwise it copies nothing:
    /// read the file.
    #[must_use]
    pub fn copy_from_memory(&self, start: u64, buf: &mut [u8]) -> bool {
        // While the lock is held none of it is given back.
        let _given = self.given_back.lock();
        let end = start.saturating_add(buf.len() as u64);
        match self.read(start..end) {
            Some(bytes) if start >= self.backing.in_memory_from() => {
                buf.copy_from_slice(bytes);
                true
            }
            _ => false,
        }
    }

    /// Makes the bytes of `range` durable, which are known to be filled
    /// ([`Self::complete_prefix`]).
    ///
    /// # Errors
    /// Any I/O error; final for the bytes written since the last success.
    /// [`io::ErrorKind::InvalidInput`] if the map is direct and the range is not complete.
    pub fn sync(&self, range: Range<u64>) -> io::Result<()> {
        if self.backing.copies_memory() && range.end > self.complete() {
            return Err(invalid("the range to sync is not complete"));
        }
        let Range { start, end } = range;
        self.backing.sync(range)?;
        // One sync at a time moves it on, each from where the last one ended. Release pairs with
        // the acquire in `give_back`: a thread that sees the end sees what the sync did.
        if start <= self.synced.load(Ordering::Acquire) {
            self.synced.fetch_max(end, Ordering::AcqRel);
        }
        Ok(())
    }

    /// Asks the system for the memory of `range` now, so that appenders need not wait for it. Best
    /// effort.
    pub fn prefault(&self, range: Range<u64>) {
        self.backing.prefault(range);
    }

    /// Writes zeros to the pages of `range` in the file, before any thread appends to them. A later
    /// sync then finds blocks that were written before, which is faster. Only for direct maps, and
    /// only while no thread appends. Not durable by itself.
    ///
    /// # Errors
    /// Any I/O error; [`io::ErrorKind::InvalidInput`] if the range is not of whole pages after what
    /// was handed out; [`io::ErrorKind::Unsupported`] if the map is not direct.
    pub fn write_zeros(&self, range: Range<u64>) -> io::Result<()> {
        let whole = range.start.is_multiple_of(PAGE_SIZE) && range.end.is_multiple_of(PAGE_SIZE);
        if !whole || range.start < self.reserved() || range.end > self.len {
            return Err(invalid(
                "zeros are written to whole pages that were not handed out",
            ));
        }
        self.backing.write_zeros(range)
    }

    /// Gives the memory of the bytes below `end` back to the system, if the map is direct. They are
    /// durable, and from now on the map shows them from the file. A slice of them keeps showing the
    /// same bytes.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] if `end` does not end a page, or a byte below it is not
    /// durable yet; any error of the system, which changes nothing.
    pub fn give_back(&self, end: u64) -> io::Result<()> {
        if !end.is_multiple_of(PAGE_SIZE) || end > self.synced.load(Ordering::Acquire) {
            return Err(invalid(
                "only whole pages that are durable can be given back",
            ));
        }
        let mut given = self.given_back.lock();
        if end > *given {
            self.backing.give_back(*given..end)?;
            *given = end;
        }
        Ok(())
    }

    /// Gives all memory back to the system that the map can do without, if it is direct and closed:
    /// of what is durable, and of what was never handed out. Every slice keeps showing the same
    /// bytes. Nothing may be appended any more, not by a [`Reserver::Closer`] either.
    ///
    /// # Errors
    /// Any error of the system: the memory is then as it was.
    ///
    /// # Panics
    /// If the map is neither closed nor full.
    pub fn retire(&self) -> io::Result<()> {
        assert!(
            self.cursor.is_closed() || self.reserved() == self.len,
            "a map that is retired takes no more appends"
        );
        let unused = self.reserved().next_multiple_of(PAGE_SIZE).min(self.len);
        self.backing.discard(unused..self.len);
        let durable = self.synced.load(Ordering::Acquire).min(self.reserved());
        self.give_back(durable / PAGE_SIZE * PAGE_SIZE)
    }
}

impl fmt::Debug for AppendMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AppendMap")
            .field("capacity", &self.len)
            .field("reserved", &self.reserved())
            .field("complete", &self.complete())
            .finish_non_exhaustive()
    }
}

/// Bytes of an [`AppendMap`] that belong to this value alone, to be filled exactly once.
#[must_use = "a reservation that is dropped unfilled leaves a hole and poisons the map"]
#[derive(Debug)]
pub struct Reservation<'a> {
    map: &'a AppendMap,
    offset: u64,
    len: u64,
    /// Where the cursor counts it.
    shift: u32,
    filled: bool,
}

impl Reservation<'_> {
    /// Where it starts in the file, in bytes.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Its length in bytes.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.len
    }

    /// Copies `parts` into it, one after the other, and finishes it.
    ///
    /// # Panics
    /// If the parts are not exactly as long as the reservation (the map is then poisoned).
    pub fn fill(mut self, parts: &[&[u8]]) {
        let total: usize = parts.iter().map(|p| p.len()).sum();
        assert_eq!(total as u64, self.len, "the parts fill the reservation");
        let _copying = self.map.backing.copy_lock().map(parking_lot::Mutex::lock);
        let mut at = usize::try_from(self.offset).expect("a mapped offset fits the address space");
        for part in parts {
            #[expect(unsafe_code, reason = "the one place that writes into the map")]
            // SAFETY: [offset, offset + len) was given to this value alone, lies inside the map,
            // and the parts' lengths add up to len. The parts are not inside it: no reference to
            // unfilled bytes exists.
            unsafe {
                std::ptr::copy_nonoverlapping(
                    part.as_ptr(),
                    self.map.base.as_ptr().add(at),
                    part.len(),
                );
            }
            at += part.len();
        }
        self.filled = true;
    }

    /// Lets `write` fill it where it is, all zeros before, and finishes it. While `write` runs,
    /// no thread learns that anything from here on is complete.
    ///
    /// `write` must not use the map: in a simulation its lock is held.
    ///
    /// If it panics, the map is poisoned.
    pub fn fill_in_place<T>(mut self, write: impl FnOnce(&mut [u8]) -> T) -> T {
        let _copying = self.map.backing.copy_lock().map(parking_lot::Mutex::lock);
        let at = usize::try_from(self.offset).expect("a mapped offset fits the address space");
        let len = usize::try_from(self.len).expect("a mapped length fits the address space");
        #[expect(unsafe_code, reason = "writes into the map in place")]
        // SAFETY: [offset, offset + len) was given to this value alone and lies inside the map. No
        // other reference to it exists before it is finished, which is below. Its bytes are
        // initialised: a new map shows zeros or what the file holds.
        let bytes = unsafe { std::slice::from_raw_parts_mut(self.map.base.as_ptr().add(at), len) };
        bytes.fill(0);
        let written = write(bytes);
        self.filled = true;
        written
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        if !self.filled {
            // Before the count falls: see `Cursor::wait_complete`.
            self.map.cursor.abandon();
        }
        self.map.cursor.finish(self.shift);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::Disk as _;
    use crate::map::cursor::COUNT_MASK;
    use crate::map::sync::AtomicBool;
    use crate::sim::SimDisk;
    use std::path::Path;

    /// Rounds of the tests with threads: Miri is a thousand times slower.
    const ROUNDS: u64 = if cfg!(miri) { 20 } else { 2_000 };

    fn map(len: u64, start: u64) -> AppendMap {
        let sim = SimDisk::new();
        let file = sim.create_new(Path::new("map")).unwrap();
        file.set_len(len).unwrap();
        file.map_append(start).unwrap()
    }

    #[test]
    fn reservations_are_handed_out_in_order_and_read_once_complete() {
        let map = map(64, 8);
        let first = map.reserve(16, 64, Reserver::Appender).unwrap();
        assert_eq!((first.offset(), first.size_bytes()), (8, 16));
        assert_eq!(
            (map.reserved(), map.complete(), map.capacity()),
            (24, 8, 64)
        );
        first.fill(&[b"01234567", b"", b"89abcdef"]);
        assert_eq!(map.read(8..24), None, "not known to be complete yet");
        assert_eq!(map.complete_prefix(), Ok(24));
        assert_eq!(map.read(8..24), Some(&b"0123456789abcdef"[..]));
        assert_eq!(map.read(8..25), None);
        assert_eq!(
            map.read(0..8),
            Some(&[0; 8][..]),
            "what stood below the start"
        );
    }

    #[test]
    fn a_reservation_respects_the_limit() {
        let map = map(64, 0);
        assert!(map.reserve(40, 32, Reserver::Appender).is_err());
        map.reserve(32, 32, Reserver::Appender)
            .unwrap()
            .fill(&[&[1; 32]]);
        assert!(map.reserve(8, 32, Reserver::Appender).is_err());
        assert!(
            map.reserve(8, 16, Reserver::Appender).is_err(),
            "a limit below the cursor"
        );
        map.reserve(32, 64, Reserver::Appender)
            .unwrap()
            .fill(&[&[2; 32]]);
        assert!(map.reserve(8, 64, Reserver::Appender).is_err());
        assert_eq!(map.complete_prefix(), Ok(64));
    }

    #[test]
    fn an_abandoned_reservation_poisons_the_map() {
        let map = map(64, 0);
        map.reserve(8, 64, Reserver::Appender)
            .unwrap()
            .fill(&[&[1; 8]]);
        drop(map.reserve(8, 64, Reserver::Appender));
        assert_eq!(map.complete_prefix(), Err(AbandonedReservation));
        map.reserve(8, 64, Reserver::Appender)
            .unwrap()
            .fill(&[&[3; 8]]);
        assert_eq!(map.complete_prefix(), Err(AbandonedReservation));
        assert_eq!(
            map.complete(),
            0,
            "nothing past the last good answer is shown"
        );
    }

    #[test]
    fn a_reservation_filled_with_the_wrong_length_poisons_the_map() {
        let map = map(64, 0);
        let reservation = map.reserve(16, 64, Reserver::Appender).unwrap();
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            reservation.fill(&[b"short"])
        }));
        assert!(outcome.is_err());
        assert_eq!(map.complete_prefix(), Err(AbandonedReservation));
    }

    #[test]
    fn two_thousand_reservations_can_be_open_at_once() {
        let map = map(8 * COUNT_MASK, 0);
        let reservations: Vec<_> = (0..COUNT_MASK)
            .map(|_| map.reserve(8, map.capacity(), Reserver::Appender).unwrap())
            .collect();
        assert_eq!(map.reserved(), map.capacity());
        reservations
            .into_iter()
            .for_each(|reservation| reservation.fill(&[&[7; 8]]));
        assert_eq!(map.complete_prefix(), Ok(map.capacity()));
    }

    /// Writers never pause, and a reader asks for the complete prefix all the time. Each answer
    /// must come (this test ends) and be true (every byte below it holds the number of its offset).
    #[test]
    fn the_prefix_is_complete_while_others_append() {
        const WRITERS: u64 = 3;
        let size = WRITERS * ROUNDS * 16;
        let map = map(size, 0);
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let writers: Vec<_> = (0..WRITERS)
                .map(|_| {
                    scope.spawn(|| {
                        for _ in 0..ROUNDS {
                            let reservation = map.reserve(16, size, Reserver::Appender).unwrap();
                            let number = reservation.offset().to_le_bytes();
                            reservation.fill(&[&number, &number]);
                        }
                    })
                })
                .collect();
            for _ in 0..2 {
                scope.spawn(|| {
                    let mut seen = 0;
                    while !done.load(Ordering::Acquire) {
                        let end = map.complete_prefix().unwrap();
                        assert!(end >= seen, "the prefix never shrinks");
                        assert_numbered(&map, seen..end);
                        seen = end;
                        std::thread::yield_now();
                    }
                });
            }
            // One that never takes the lock nor looks at the word: `complete` alone must make the
            // bytes visible.
            scope.spawn(|| {
                let mut seen = 0;
                while !done.load(Ordering::Relaxed) {
                    let end = map.complete();
                    assert_numbered(&map, seen..end);
                    seen = end;
                    std::thread::yield_now();
                }
            });
            for writer in writers {
                writer.join().unwrap();
            }
            done.store(true, Ordering::Release);
        });
        assert_eq!(map.complete_prefix(), Ok(size));
        assert_numbered(&map, 0..size);
    }

    fn assert_numbered(map: &AppendMap, range: Range<u64>) {
        for offset in range.step_by(16) {
            let number = offset.to_le_bytes();
            assert_eq!(
                map.read(offset..offset + 16),
                Some(&[number, number].concat()[..])
            );
        }
    }

    #[test]
    #[should_panic(expected = "aligned")]
    fn an_unaligned_reservation_is_a_bug_of_the_caller() {
        let _ = map(64, 0).reserve(7, 64, Reserver::Appender);
    }

    #[test]
    fn shapes_that_cannot_be_mapped_are_errors() {
        let sim = SimDisk::new();
        let file = sim.create_new(Path::new("map")).unwrap();
        for (len, start) in [(0, 0), (63, 0), (64, 4), (64, 72)] {
            file.set_len(len).unwrap();
            let error = file.map_append(start).unwrap_err();
            assert_eq!(
                error.kind(),
                io::ErrorKind::InvalidInput,
                "{len} {start}: {error}"
            );
        }
    }
}
