//! `AppendMap` under the model checker [shuttle](https://docs.rs/shuttle). It runs the production
//! code with one thread at a time, and decides at every atomic operation and lock which thread goes
//! on: `RUSTFLAGS="--cfg shuttle" cargo test -p highwater-disk --test shuttle --target-dir
//! target/shuttle`.
//!
//! It explores interleavings under sequential consistency: an ordering that is too weak does not
//! show here. Miri looks for those, with the tests in `append_map.rs` (docs/testing.md has the
//! command).
//!
//! Breaks of `append_map.rs` that were tried, each of which a test here catches:
//!
//! - the prefix: no wait for the old generation, or for the wrong one; `complete` published before
//!   the wait, or never; the end read after the wait; only the current generation looked at; a flip
//!   by a plain store; committers not serialised (only `several_committers_flip_the_generations`
//!   sees that one);
//! - regions: reserved by load and store, or by an addition to what was loaded; the length computed
//!   once and not again when the exchange fails; released before the copy, from the generation of
//!   the moment, or by load and store;
//! - closing: by load and store; looked at once and not again when the exchange fails; the closer
//!   refused as well;
//! - abandoned regions: the flag set after the release, or looked at before the wait.
//!
//! One was not caught, rightly: a flip by `fetch_xor` is correct as long as committers are
//! serialised.
//!
//! A scenario that fails prints its schedule; `shuttle::replay(scenario, "<schedule>")` runs
//! exactly that one again.
#![cfg(shuttle)]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "test code"
)]

mod explore;

use explore::{exhaust, explore};
use highwater_disk::{AbandonedReservation, AppendMap, MapBacking, ReserveError, Reserver};
use shuttle::sync::atomic::{AtomicBool, Ordering};
use shuttle::thread;
use std::io;
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::Arc;

/// Regions are multiples of this many bytes.
const UNIT: u64 = 8;

/// Memory in place of a mapped file. Unfilled bytes are zero.
#[derive(Debug)]
struct Memory {
    bytes: NonNull<[u8]>,
    /// Nothing but an operation at which the model can switch threads.
    bend: AtomicBool,
}

#[expect(
    unsafe_code,
    reason = "the memory is shared between the threads of the model"
)]
// SAFETY: the bytes are touched only through the map, which keeps writers and readers apart; this
// is what is tested, and the model runs its threads one at a time on one thread of the system.
unsafe impl Send for Memory {}
#[expect(
    unsafe_code,
    reason = "the memory is shared between the threads of the model"
)]
// SAFETY: as above.
unsafe impl Sync for Memory {}

impl Drop for Memory {
    fn drop(&mut self) {
        #[expect(unsafe_code, reason = "gives back what `map` took")]
        // SAFETY: it came from a box, and the map, which holds the only pointer into it, is gone:
        // it owns this value.
        drop(unsafe { Box::from_raw(self.bytes.as_ptr()) });
    }
}

impl MapBacking for Memory {
    fn sync(&self, _: Range<u64>) -> io::Result<()> {
        Ok(())
    }

    /// `fill` calls this between the reservation and the copy. The model switches threads only at
    /// its own operations. Without one here no thread would ever see bytes that are reserved and
    /// not yet filled.
    fn copy_lock(&self) -> Option<&parking_lot::Mutex<()>> {
        self.bend.load(Ordering::SeqCst);
        None
    }
}

fn map(units: u64) -> AppendMap {
    let len = units * UNIT;
    let bytes = Box::into_raw(vec![0; len as usize].into_boxed_slice());
    let bytes = NonNull::new(bytes).unwrap();
    let memory = Arc::new(Memory {
        bytes,
        bend: AtomicBool::new(false),
    });
    #[expect(unsafe_code, reason = "memory in place of a mapped file")]
    // SAFETY: the box has `len` bytes and lives as long as the backing; no other pointer into it
    // exists.
    unsafe {
        AppendMap::new(bytes.cast(), len, 0, memory)
    }
}

/// Fills the next region of `units` with `mark`, and returns where it lies.
fn append(map: &AppendMap, units: u64, mark: u8) -> Result<Range<u64>, ReserveError> {
    let region = map.reserve(units * UNIT, map.capacity(), Reserver::Appender)?;
    let range = region.offset()..region.offset() + region.size_bytes();
    region.fill(&[&vec![mark; (units * UNIT) as usize]]);
    Ok(range)
}

/// The complete bytes; each must have been filled.
fn filled(map: &AppendMap, end: u64) -> Vec<u8> {
    let bytes = map.read(0..end).expect("what is complete can be read");
    assert!(
        !bytes.contains(&0),
        "complete up to {end} with a hole: {bytes:?}"
    );
    bytes.to_vec()
}

fn assert_holds(map: &AppendMap, range: Range<u64>, mark: u8) {
    let bytes = map
        .read(range.clone())
        .expect("what is complete can be read");
    assert!(
        bytes.iter().all(|b| *b == mark),
        "{range:?} holds {bytes:?}, not {mark}"
    );
}

/// What `complete_prefix` answers is filled, covers what was filled before the call, and is never
/// written again.
fn committer_beside_writers(writers: u8, rounds: u8, committers: u8) {
    let map = &map(u64::from(writers) * u64::from(rounds) * 2);
    thread::scope(|scope| {
        for writer in 1..=writers {
            scope.spawn(move || {
                for round in 0..rounds {
                    let mark = writer * 16 + round;
                    let range = append(map, 1 + u64::from(round % 2), mark).unwrap();
                    let end = map.complete_prefix().unwrap();
                    assert!(end >= range.end, "{range:?} was filled before the call");
                    assert_holds(map, range, mark);
                }
            });
        }
        for _ in 0..committers {
            scope.spawn(move || {
                let mut seen: Vec<u8> = Vec::new();
                for _ in 0..3 {
                    let end = map.complete_prefix().unwrap();
                    let now = filled(map, end);
                    assert!(now.starts_with(&seen), "{seen:?} became {now:?}");
                    seen = now;
                }
            });
        }
    });
    let end = map.complete_prefix().unwrap();
    assert_eq!(end, map.reserved());
    filled(map, end);
}

#[test]
fn a_prefix_is_filled_and_stays() {
    explore(|| {
        let map = &map(6);
        thread::scope(|scope| {
            for mark in 1..=3 {
                scope.spawn(move || {
                    append(map, 1, mark).unwrap();
                    append(map, 1, mark + 16).unwrap();
                });
            }
            scope.spawn(move || {
                let mut seen: Vec<u8> = Vec::new();
                for _ in 0..3 {
                    let end = map.complete_prefix().unwrap();
                    let now = filled(map, end);
                    assert!(now.starts_with(&seen), "{seen:?} became {now:?}");
                    seen = now;
                }
            });
        });
        assert_eq!(map.complete_prefix(), Ok(map.capacity()));
        filled(map, map.capacity());
    });
}

/// Generations flip under several committers at once, some of which are writers as well, as in
/// group commit.
#[test]
fn several_committers_flip_the_generations() {
    explore(|| committer_beside_writers(2, 2, 2));
}

#[test]
fn writers_commit_for_themselves() {
    explore(|| committer_beside_writers(3, 2, 0));
}

/// Who only looks, without asking for the prefix, never sees `complete` run ahead of the bytes.
#[test]
fn what_is_shown_as_complete_is_filled() {
    explore(|| {
        let map = &map(4);
        thread::scope(|scope| {
            for mark in 1..=2 {
                scope.spawn(move || {
                    append(map, 1, mark).unwrap();
                    append(map, 1, mark + 16).unwrap();
                });
            }
            scope.spawn(move || {
                for _ in 0..2 {
                    map.complete_prefix().unwrap();
                }
            });
            scope.spawn(move || {
                let mut seen = 0;
                for _ in 0..4 {
                    let complete = map.complete();
                    assert!(complete >= seen, "it never shrinks");
                    filled(map, complete);
                    seen = complete;
                }
            });
        });
    });
}

/// After `close` no appender gets a region, and the prefix covers all that any appender got.
#[test]
fn a_closed_map_hands_out_nothing_more() {
    explore(|| {
        let map = &map(8);
        let closed = &AtomicBool::new(false);
        let ends = thread::scope(|scope| {
            let writers: Vec<_> = (1..=2)
                .map(|mark| {
                    scope.spawn(move || {
                        let mut last = 0;
                        for _ in 0..3 {
                            let after = closed.load(Ordering::SeqCst);
                            match append(map, 1, mark) {
                                Ok(range) => {
                                    assert!(
                                        !after,
                                        "{range:?} was handed out after the map was closed"
                                    );
                                    last = range.end;
                                }
                                Err(refused) => assert_eq!(refused, ReserveError::Closed),
                            }
                        }
                        last
                    })
                })
                .collect();
            map.close();
            closed.store(true, Ordering::SeqCst);
            let end = map.complete_prefix().unwrap();
            assert_eq!(end, map.reserved(), "nothing is reserved past the end");
            filled(map, end);
            // The closer may still append, for the seal, and it is the last.
            let seal = map.reserve(UNIT, map.capacity(), Reserver::Closer).unwrap();
            assert_eq!(seal.offset(), end);
            seal.fill(&[&[255; UNIT as usize]]);
            assert_eq!(map.complete_prefix(), Ok(end + UNIT));
            assert_holds(map, end..end + UNIT, 255);
            writers
                .into_iter()
                .map(|w| (w.join().unwrap(), end))
                .collect::<Vec<_>>()
        });
        for (last, end) in ends {
            assert!(last <= end, "a reservation up to {last} past the end {end}");
        }
    });
}

/// Padding, as the commit writes it: as long as is missing to the next boundary from where it will
/// lie, or not at all.
#[test]
fn padding_reaches_a_boundary_from_wherever_it_lies() {
    const BOUNDARY: u64 = 4 * UNIT;
    explore(|| {
        let map = &map(16);
        let padded = thread::scope(|scope| {
            for mark in 1..=2 {
                scope.spawn(move || {
                    append(map, 1, mark).unwrap();
                    append(map, 2, mark).unwrap();
                });
            }
            let missing = |offset: u64| offset.next_multiple_of(BOUNDARY) - offset;
            let padding = map.reserve_with(map.capacity(), Reserver::Appender, missing);
            let Ok(region) = padding else {
                assert_eq!(padding.unwrap_err(), ReserveError::Full, "none was missing");
                return None;
            };
            let range = region.offset()..region.offset() + region.size_bytes();
            assert!(range.end.is_multiple_of(BOUNDARY), "{range:?}");
            region.fill(&[&vec![254; (range.end - range.start) as usize]]);
            assert!(map.complete_prefix().unwrap() >= range.end);
            Some(range)
        });
        let end = map.complete_prefix().unwrap();
        let bytes = filled(map, end);
        let padding = bytes.iter().filter(|b| **b == 254).count() as u64;
        let range = padded.unwrap_or(0..0);
        assert_eq!(padding, range.end - range.start, "it was not overwritten");
        assert_holds(map, range, 254);
        assert_eq!(end, 6 * UNIT + padding);
    });
}

/// An answer never covers a region that was given up. One that came before it may: it ends below.
#[test]
fn an_abandoned_region_is_never_covered() {
    explore(|| {
        let map = &map(4);
        let hole = thread::scope(|scope| {
            let quitter = scope.spawn(move || {
                let region = map
                    .reserve(UNIT, map.capacity(), Reserver::Appender)
                    .unwrap();
                let offset = region.offset();
                drop(region);
                assert_eq!(map.complete_prefix(), Err(AbandonedReservation));
                offset
            });
            scope.spawn(move || {
                for mark in 1..=2 {
                    append(map, 1, mark).unwrap();
                }
            });
            scope.spawn(move || {
                let mut failed = false;
                for _ in 0..3 {
                    match map.complete_prefix() {
                        Ok(end) => {
                            assert!(!failed, "the hole stays for ever");
                            filled(map, end);
                        }
                        Err(AbandonedReservation) => failed = true,
                    }
                }
            });
            quitter.join().unwrap()
        });
        assert_eq!(map.complete_prefix(), Err(AbandonedReservation));
        assert!(map.complete() <= hole, "nothing past the hole is shown");
    });
}

/// No thread waits in this race, so that the search ends by itself.
#[test]
fn every_order_of_two_writers_and_a_close() {
    exhaust(
        || {
            let map = &map(3);
            let ranges = thread::scope(|scope| {
                let writers: Vec<_> = (1..=2)
                    .map(|mark| {
                        scope.spawn(move || append(map, 1, mark).map(|range| (range, mark)))
                    })
                    .collect();
                map.close();
                let reserved = map.reserved();
                let ranges: Vec<_> = writers
                    .into_iter()
                    .filter_map(|w| w.join().unwrap().ok())
                    .collect();
                assert_eq!(map.reserved(), reserved, "nothing after the close");
                ranges
            });
            assert_eq!(map.complete_prefix(), Ok(ranges.len() as u64 * UNIT));
            for (range, mark) in ranges {
                assert_holds(map, range, mark);
            }
        },
        9_000,
    );
}

#[test]
fn every_order_of_a_writer_and_a_committer() {
    exhaust(
        || {
            let map = &map(2);
            thread::scope(|scope| {
                scope.spawn(move || {
                    append(map, 1, 1).unwrap();
                    append(map, 1, 2).unwrap();
                });
                let end = map.complete_prefix().unwrap();
                filled(map, end);
            });
            assert_eq!(map.complete_prefix(), Ok(2 * UNIT));
        },
        1_000,
    );
}
