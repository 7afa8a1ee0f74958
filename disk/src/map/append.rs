//! A mapped file to which many threads append disjoint regions without a lock.
//!
//! Soundness rests on bump allocation: a byte is handed out at most once in the life of the map
//! ([`Region`]), it is written at most once, by [`Region::fill`], and it can be read only after
//! [`AppendMap::complete_prefix`] has seen every region below it completed. So no byte is ever
//! written and read at the same time.
//!
//! One word holds the cursor and who is writing: bits 0-39 the offset, bit 40 the current
//! generation, bits 41-51 and 52-62 the number of unfinished regions of each generation, bit 63
//! whether the map is closed. A reservation is one compare-exchange. Whoever needs the complete
//! prefix flips the generation: regions reserved later count in the other counter, so the wait is
//! for the regions already handed out and is bounded even when appends never pause.
//!
//! Memory orderings: every change of the word after its first value is a read-modify-write. So the
//! release sequence that an unfinished region's end begins never breaks, and whoever loads the word
//! with acquire has seen the bytes of every region that was finished in the word's history so far,
//! not only of the last one. A plain store would lose that. `disk/tests/shuttle.rs` tries the
//! interleavings, Miri the orderings.

use crate::PAGE_SIZE;
use crate::map::backing::MapBacking;
use crate::map::distance::Distance;
use crate::map::refusal::{AbandonedRegion, Asker, InMemory, Refused};
use crate::map::sync::{AtomicBool, AtomicU64, Mutex, Ordering, spin_loop, yield_now};
use std::fmt;
use std::io;
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::Arc;

const OFFSET_BITS: u32 = 40;
const OFFSET_MASK: u64 = (1 << OFFSET_BITS) - 1;
const GENERATION_BIT: u64 = 1 << OFFSET_BITS;
const COUNT_BITS: u32 = 11;
const COUNT_MASK: u64 = (1 << COUNT_BITS) - 1;
const COUNT_SHIFTS: [u32; 2] = [OFFSET_BITS + 1, OFFSET_BITS + 1 + COUNT_BITS];
const CLOSED_BIT: u64 = 1 << 63;
const COUNTS_MASK: u64 = (COUNT_MASK << COUNT_SHIFTS[0]) | (COUNT_MASK << COUNT_SHIFTS[1]);
const _: () = assert!(COUNT_SHIFTS[1] + COUNT_BITS == 63);

/// Regions start and end at multiples of this many bytes.
const ALIGNMENT: u64 = 8;

/// Alone on its cache lines, two because processors fetch them in pairs: every append reads the
/// other fields of the map, and would wait each time for the line to come back from whoever appends
/// on another core.
#[repr(align(128))]
struct Alone<T>(T);

/// A mapped file to which many threads append. Share it in an [`Arc`].
pub struct AppendMap {
    base: NonNull<u8>,
    len: u64,
    word: Alone<AtomicU64>,
    distance: Alone<Distance>,
    /// Every byte below is filled and never written again.
    complete: AtomicU64,
    abandoned: AtomicBool,
    /// Every byte below is durable: it was before the map was made, or a sync said so.
    synced: AtomicU64,
    /// Every byte below is read from the file; the memory was given back.
    given_back: Mutex<u64>,
    /// Serialises those who ask for the complete prefix.
    flip: Mutex<()>,
    backing: Arc<dyn MapBacking>,
}

#[expect(
    unsafe_code,
    reason = "the map is shared between threads; see the module's soundness argument"
)]
// SAFETY: the memory behind `base` is owned by `backing`, which is `Send + Sync` and lives as long
// as `self`. Threads write only regions that the compare-exchange in `reserve` gave to them alone,
// and read only below `complete`, which is stored with release ordering after every region below it
// was completed (also release); so there is no data race.
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
    /// lives, and nobody else may write them, or read those at or above `start`, through any
    /// reference while the map lives.
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
            start <= len && len <= OFFSET_MASK,
            "start {start} and length {len} fit the map"
        );
        assert!(
            start.is_multiple_of(ALIGNMENT) && len.is_multiple_of(ALIGNMENT),
            "{start} and {len} are aligned"
        );
        Self {
            base,
            len,
            word: Alone(AtomicU64::new(start)),
            distance: Alone(Distance::default()),
            complete: AtomicU64::new(start),
            abandoned: AtomicBool::new(false),
            synced: AtomicU64::new(start),
            given_back: Mutex::new(0),
            flip: Mutex::new(()),
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
        } else if len > OFFSET_MASK {
            "a file of 1 TiB or more cannot be mapped for appending"
        } else if start > len {
            "the start lies behind the end of the file"
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
        // Acquire: whoever sees a reservation also sees what its thread did before. No byte is read
        // on the strength of it.
        self.word.0.load(Ordering::Acquire) & OFFSET_MASK
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
    /// [`Refused`].
    ///
    /// # Panics
    /// If `len` is zero or no multiple of 8, or `limit` is past the capacity.
    pub fn reserve(&self, len: u64, limit: u64, asker: Asker) -> Result<Region<'_>, Refused> {
        assert!(
            len > 0 && len.is_multiple_of(ALIGNMENT),
            "a region of {len} bytes is aligned"
        );
        self.reserve_with(limit, asker, |_| len)
    }

    /// As [`Self::reserve`] of as many bytes as `len` says for the offset at which they will start;
    /// none if it says 0.
    ///
    /// # Errors
    /// [`Refused`].
    ///
    /// # Panics
    /// If `limit` is past the capacity.
    pub fn reserve_with(
        &self,
        limit: u64,
        asker: Asker,
        len: impl Fn(u64) -> u64,
    ) -> Result<Region<'_>, Refused> {
        assert!(limit <= self.len, "limit {limit} lies inside the map");
        // Acquire, here and at the other loads: whoever is refused because the map is closed sees
        // what the closer did before. The region itself needs no ordering: its bytes are new, and
        // the exchange alone makes it ours.
        let mut word = self.word.0.load(Ordering::Acquire);
        let mut aside = 0;
        loop {
            if word & CLOSED_BIT != 0 && asker != Asker::Closer {
                return Err(Refused::Closed);
            }
            let offset = word & OFFSET_MASK;
            let len = len(offset);
            if len == 0 || len > limit.saturating_sub(offset) {
                return Err(Refused::Full);
            }
            let copying = word & COUNTS_MASK != 0 && asker == Asker::Appender;
            if copying && aside < self.distance.0.steps(word) {
                let now = self.distance.0.step_aside(&self.word.0, word);
                // Whose copy is long, or who was interrupted in it, is not waited for again.
                aside = if now == word { u32::MAX } else { aside + 1 };
                word = now;
                continue;
            }
            let shift = count_shift(word);
            if (word >> shift) & COUNT_MASK == COUNT_MASK {
                yield_now();
                word = self.word.0.load(Ordering::Acquire);
                continue;
            }
            let next = word + len + (1 << shift);
            // Release: whoever sees the reservation sees what came before it (`reserved`). The
            // bytes do not depend on it.
            match self
                .word
                .0
                .compare_exchange_weak(word, next, Ordering::AcqRel, Ordering::Acquire)
            {
                Ok(_) => {
                    return Ok(Region {
                        map: self,
                        offset,
                        len,
                        shift,
                        filled: false,
                    });
                }
                Err(now) => word = now,
            }
        }
    }

    /// From now on only [`Asker::Closer`] gets regions. Regions handed out before are not affected.
    pub fn close(&self) {
        // Release for those who are refused, see `reserve_with`; acquire to see what came before
        // the last reservation.
        self.word.0.fetch_or(CLOSED_BIT, Ordering::AcqRel);
    }

    /// Waits until every region handed out before the call is filled, and returns the offset below
    /// which all is.
    ///
    /// # Errors
    /// [`AbandonedRegion`] if a writer went away without filling its region: there is a hole for
    /// ever.
    pub fn complete_prefix(&self) -> Result<u64, AbandonedRegion> {
        let _serial = self.flip.lock();
        // Acquire, here and when the exchange fails: with both counts at zero this load is all that
        // makes the bytes visible.
        let mut word = self.word.0.load(Ordering::Acquire);
        loop {
            if word & COUNTS_MASK == 0 {
                break; // nobody is writing: the prefix is complete as it stands
            }
            // The other generation is empty: the previous flip waited for it and new regions count
            // in the current one.
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
                    self.wait_for_generation(count_shift(word));
                    break;
                }
                Err(now) => word = now,
            }
        }
        let end = word & OFFSET_MASK;
        // The word was acquired after the release that follows the store of the flag: the store
        // cannot be missed.
        if self.abandoned.load(Ordering::Acquire) {
            return Err(AbandonedRegion);
        }
        // Release pairs with the acquire in `complete`, and passes on all the bytes that the word
        // made visible here.
        self.complete.fetch_max(end, Ordering::Release);
        Ok(end)
    }

    fn wait_for_generation(&self, shift: u32) {
        let mut spins = 0_u32;
        // Acquire pairs with the release in `release`.
        while (self.word.0.load(Ordering::Acquire) >> shift) & COUNT_MASK != 0 {
            spins += 1;
            if spins < 64 {
                spin_loop();
            } else {
                yield_now();
            }
        }
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
        // SAFETY: the range lies below `complete`, so inside the map, and nobody writes those bytes
        // any more.
        Some(unsafe { std::slice::from_raw_parts(self.base.as_ptr().add(start), len) })
    }

    /// Has the pages of `range` read in, where the map shows a file, so that touching them soon
    /// raises no signal. Ask before each pass, as with
    /// [`ReadMap::populate`](crate::ReadMap::populate). Memory of the process needs nothing.
    ///
    /// # Errors
    /// Any I/O error: [`DiskError::offset`](crate::DiskError::offset) says which page it is about.
    /// [`io::ErrorKind::UnexpectedEof`] if somebody cut the file short of it;
    /// [`io::ErrorKind::InvalidInput`] if the range lies outside the map.
    pub fn populate(&self, range: Range<u64>) -> io::Result<()> {
        if range.start > range.end || range.end > self.len {
            return Err(crate::error::invalid(
                "the range to populate lies outside the map",
            ));
        }
        self.backing.populate(range)
    }

    /// Fills `buf` with the bytes from `start` on if all of them are memory of this process, and
    /// known to be filled; it touches no mapped file. Otherwise nothing is copied: read the file.
    #[must_use]
    pub fn copy_from_memory(&self, start: u64, buf: &mut [u8]) -> InMemory {
        // Meanwhile none of it is given back.
        let _given = self.given_back.lock();
        let end = start.saturating_add(buf.len() as u64);
        match self.read(start..end) {
            Some(bytes) if start >= self.backing.in_memory_from() => {
                buf.copy_from_slice(bytes);
                InMemory::Yes
            }
            _ => InMemory::No,
        }
    }

    /// Makes the bytes of `range` durable, which are known to be filled
    /// ([`Self::complete_prefix`]).
    ///
    /// # Errors
    /// Any I/O error; final for the bytes written since the last success.
    /// [`io::ErrorKind::InvalidInput`] if the map is staged and the range is not complete.
    pub fn sync(&self, range: Range<u64>) -> io::Result<()> {
        if self.backing.copies_memory() && range.end > self.complete() {
            return Err(crate::error::invalid("the range to sync is not complete"));
        }
        let Range { start, end } = range;
        self.backing.sync(range)?;
        // One sync at a time moves it on, each from where the last one ended. Release pairs with
        // the acquire in `give_back`: whoever sees the end sees what the sync did.
        if start <= self.synced.load(Ordering::Acquire) {
            self.synced.fetch_max(end, Ordering::AcqRel);
        }
        Ok(())
    }

    /// Has the system provide the memory of `range` now, so that appenders need not wait for it.
    /// Best effort.
    pub fn prefault(&self, range: Range<u64>) {
        self.backing.prefault(range);
    }

    /// Writes zeros to the pages of `range` in the file, before anybody appends to them: a later
    /// sync finds blocks that were written before, which is faster. Only for staged maps, and only
    /// while nobody appends. Not durable by itself.
    ///
    /// # Errors
    /// Any I/O error; [`io::ErrorKind::InvalidInput`] if the range is not of whole pages behind
    /// what was handed out; [`io::ErrorKind::Unsupported`] if the map is not staged.
    pub fn write_zeros(&self, range: Range<u64>) -> io::Result<()> {
        let whole = range.start.is_multiple_of(PAGE_SIZE) && range.end.is_multiple_of(PAGE_SIZE);
        if !whole || range.start < self.reserved() || range.end > self.len {
            return Err(crate::error::invalid(
                "zeros are written to whole pages that were not handed out",
            ));
        }
        self.backing.write_zeros(range)
    }

    /// Gives the memory of the bytes below `end` back to the system, if the map is staged: they are
    /// durable, and from now on read from the file. Who holds a slice of them sees the same bytes
    /// as before.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] if `end` does not end a page, or something below it is not
    /// durable yet; any error of the system, which leaves all as it was.
    pub fn give_back(&self, end: u64) -> io::Result<()> {
        if !end.is_multiple_of(PAGE_SIZE) || end > self.synced.load(Ordering::Acquire) {
            return Err(crate::error::invalid(
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

    fn release(&self, shift: u32) {
        // Release pairs with the acquire loads in `complete_prefix` and `wait_for_generation`:
        // whoever sees the count fall sees the bytes, and the flag of an abandoned region.
        self.word.0.fetch_sub(1 << shift, Ordering::Release);
    }
}

fn count_shift(word: u64) -> u32 {
    if word & GENERATION_BIT == 0 {
        COUNT_SHIFTS[0]
    } else {
        COUNT_SHIFTS[1]
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
#[must_use = "a region that is dropped unfilled leaves a hole and poisons the map"]
#[derive(Debug)]
pub struct Region<'a> {
    map: &'a AppendMap,
    offset: u64,
    len: u64,
    shift: u32,
    filled: bool,
}

impl Region<'_> {
    /// Where the region starts in the file, in bytes.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Length of the region in bytes.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.len
    }

    /// Copies `parts` one behind the other into the region and completes it.
    ///
    /// # Panics
    /// If the parts are not exactly as long as the region (the map is then poisoned).
    pub fn fill(mut self, parts: &[&[u8]]) {
        let total: usize = parts.iter().map(|p| p.len()).sum();
        assert_eq!(total as u64, self.len, "the parts fill the region");
        let _copying = self.map.backing.copy_lock().map(parking_lot::Mutex::lock);
        let mut at = usize::try_from(self.offset).expect("a mapped offset fits the address space");
        for part in parts {
            #[expect(unsafe_code, reason = "the one place that writes into the map")]
            // SAFETY: [offset, offset + len) was given to this region alone, lies inside the map,
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
}

impl Drop for Region<'_> {
    fn drop(&mut self) {
        if !self.filled {
            // Before the count falls: see `complete_prefix`.
            self.map.abandoned.store(true, Ordering::Release);
        }
        self.map.release(self.shift);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Disk as _;
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
    fn regions_are_handed_out_in_order_and_read_once_complete() {
        let map = map(64, 8);
        let first = map.reserve(16, 64, Asker::Appender).unwrap();
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
        assert!(map.reserve(40, 32, Asker::Appender).is_err());
        map.reserve(32, 32, Asker::Appender)
            .unwrap()
            .fill(&[&[1; 32]]);
        assert!(map.reserve(8, 32, Asker::Appender).is_err());
        assert!(
            map.reserve(8, 16, Asker::Appender).is_err(),
            "a limit below the cursor"
        );
        map.reserve(32, 64, Asker::Appender)
            .unwrap()
            .fill(&[&[2; 32]]);
        assert!(map.reserve(8, 64, Asker::Appender).is_err());
        assert_eq!(map.complete_prefix(), Ok(64));
    }

    #[test]
    fn an_abandoned_region_poisons_the_map() {
        let map = map(64, 0);
        map.reserve(8, 64, Asker::Appender)
            .unwrap()
            .fill(&[&[1; 8]]);
        drop(map.reserve(8, 64, Asker::Appender));
        assert_eq!(map.complete_prefix(), Err(AbandonedRegion));
        map.reserve(8, 64, Asker::Appender)
            .unwrap()
            .fill(&[&[3; 8]]);
        assert_eq!(map.complete_prefix(), Err(AbandonedRegion));
        assert_eq!(
            map.complete(),
            0,
            "nothing past the last good answer is shown"
        );
    }

    #[test]
    fn a_region_filled_with_the_wrong_length_poisons_the_map() {
        let map = map(64, 0);
        let region = map.reserve(16, 64, Asker::Appender).unwrap();
        let outcome =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| region.fill(&[b"short"])));
        assert!(outcome.is_err());
        assert_eq!(map.complete_prefix(), Err(AbandonedRegion));
    }

    #[test]
    fn two_thousand_regions_can_be_open_at_once() {
        let map = map(8 * COUNT_MASK, 0);
        let regions: Vec<_> = (0..COUNT_MASK)
            .map(|_| map.reserve(8, map.capacity(), Asker::Appender).unwrap())
            .collect();
        assert_eq!(map.reserved(), map.capacity());
        regions
            .into_iter()
            .for_each(|region| region.fill(&[&[7; 8]]));
        assert_eq!(map.complete_prefix(), Ok(map.capacity()));
    }

    /// Writers never pause, and a reader asks for the complete prefix all the time: each answer
    /// must be bounded (this test ends) and true (every region below it holds the number of its
    /// offset).
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
                            let region = map.reserve(16, size, Asker::Appender).unwrap();
                            let number = region.offset().to_le_bytes();
                            region.fill(&[&number, &number]);
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
    fn a_crooked_region_is_a_bug_of_the_caller() {
        let _ = map(64, 0).reserve(7, 64, Asker::Appender);
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
