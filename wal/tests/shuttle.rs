//! `Turns`, the election of group commit, under the model checker
//! [shuttle](https://docs.rs/shuttle): `RUSTFLAGS="--cfg shuttle" cargo test -p highwater-wal
//! --test shuttle --target-dir target/shuttle`.
//!
//! The gate of the model wakes any one of those who sleep; nothing here relies on the order in
//! which they came.
//!
//! Breaks of `turns.rs` that were tried, each of which a test here catches:
//!
//! - waking: nobody of the next group, or all of it counted as woken; one counted off when it is
//!   woken (only `an_opening_that_comes_late` sees that one); the gates, or their counts, swapped;
//!   nobody of the group that was served, or one; the gates opened before the lead is given back;
//! - waiting: not counted; the ticket taken after the lock is released; whoever is woken taken for
//!   served;
//! - groups: the cut not recorded, or kept after a failure; the group not counted; everybody at the
//!   gate of the next group, or of the last; who waits for exactly the cut sent to the next;
//! - the lead: not marked as taken; free as soon as the group is published; kept after a failure;
//!   taken by one whose position became durable meanwhile;
//! - publishing: at the cut; never;
//! - failures: nobody of the next group woken, or one; nobody of the group that failed; `fail`
//!   ignored; `check` not looked at, or before the frontier.
//!
//! Two were not caught, rightly: a lead that ends as failed although it published wakes more than
//! it must; a count that is never taken back opens a gate at which nobody is. What is known of
//! arrivals decides how long a leader waits, and nothing here.
#![cfg(shuttle)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "test code")]

#[path = "../../disk/tests/explore/mod.rs"]
mod explore;

use explore::{exhaust, explore};
use highwater_wal::turns::{Turn, Turns};
use shuttle::sync::atomic::{AtomicU64, Ordering};
use shuttle::thread::{self, Scope};
use std::sync::atomic::{AtomicBool, AtomicU64 as Unseen};

/// The leader's failure, which every later check returns.
#[derive(Debug, PartialEq, Eq)]
struct Poisoned;

/// What becomes of a lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Publish,
    /// The group ends where the last one did.
    NothingNew,
    FailBeforeCut,
    FailAfterCut,
    /// As a leader that panics behind its sync: everybody has to look for himself, also whom the
    /// group served.
    FailAfterPublish,
    /// As `FailBeforeCut` and `FailAfterCut`, but the next lead may succeed.
    LetGo,
    LetGoAfterCut,
}

/// A log of which there is only what group commit needs to know. The model switches threads at
/// `appended` and `stored`; the rest only checks, and is invisible to it.
struct Log {
    turns: Turns,
    /// Where the next record goes: everything below is complete.
    appended: AtomicU64,
    /// What stable storage holds.
    stored: AtomicU64,
    poisoned: AtomicBool,
    leading: AtomicBool,
    leads: Unseen,
    /// What becomes of the n-th lead, counted from 1.
    fate: fn(u64) -> Fate,
}

impl Log {
    fn new(fate: fn(u64) -> Fate) -> Self {
        Self {
            turns: Turns::new(0),
            appended: AtomicU64::new(0),
            stored: AtomicU64::new(0),
            poisoned: AtomicBool::new(false),
            leading: AtomicBool::new(false),
            leads: Unseen::new(0),
            fate,
        }
    }

    fn healthy() -> Self {
        Self::new(|_| Fate::Publish)
    }

    fn append(&self) -> u64 {
        self.appended.fetch_add(1, Ordering::SeqCst) + 1
    }

    fn commit(&self) -> Result<u64, Poisoned> {
        let until = self.append();
        self.reach(until).map(|()| until)
    }

    fn reach(&self, until: u64) -> Result<(), Poisoned> {
        self.reach_while(until, |_| ())
    }

    /// Waits for `until`, and calls `during` with the number of the lead wherever this thread
    /// syncs.
    fn reach_while(&self, until: u64, during: impl Fn(u64)) -> Result<(), Poisoned> {
        let check = || match self.poisoned.load(Ordering::SeqCst) {
            false => Ok(()),
            true => Err(Poisoned),
        };
        let lead = |turn: Turn<'_>| self.lead(turn, until, &during);
        let outcome = self.turns.reach(until, check, lead);
        match outcome {
            Ok(()) => assert!(
                self.stored.load(Ordering::SeqCst) >= until && self.turns.durable() >= until,
                "{until} is acknowledged and not stored"
            ),
            Err(Poisoned) => assert!(
                self.poisoned.load(Ordering::SeqCst) && self.turns.durable() < until,
                "{until} is refused"
            ),
        }
        outcome
    }

    /// In the order of the log's own: cut, sync, publish, give the lead back.
    fn lead(&self, mut turn: Turn<'_>, until: u64, during: impl Fn(u64)) {
        assert!(
            !self.leading.swap(true, Ordering::SeqCst),
            "two lead at once"
        );
        let number = self.leads.fetch_add(1, Ordering::SeqCst) + 1;
        let durable = self.turns.durable();
        assert!(durable < until, "{until} needs no lead");
        let fate = (self.fate)(number);
        let arrivals = self.turns.arrivals();
        let frontier = match fate {
            Fate::NothingNew => durable,
            _ => self.appended.load(Ordering::SeqCst),
        };
        if !matches!(fate, Fate::FailBeforeCut | Fate::LetGo) {
            turn.cut(frontier, arrivals);
        }
        if matches!(
            fate,
            Fate::Publish | Fate::NothingNew | Fate::FailAfterPublish
        ) {
            during(number);
            self.stored.store(frontier, Ordering::SeqCst);
            turn.publish(frontier);
        }
        if matches!(
            fate,
            Fate::FailBeforeCut | Fate::FailAfterCut | Fate::FailAfterPublish
        ) {
            self.poisoned.store(true, Ordering::SeqCst);
        }
        if fate == Fate::FailAfterPublish {
            turn.fail();
        }
        self.leading.store(false, Ordering::SeqCst);
        drop(turn);
    }

    /// `threads` of them, each of which commits `rounds` times, or until that fails.
    fn committers<'s>(&'s self, scope: &'s Scope<'s, '_>, threads: u64, rounds: u64) {
        for _ in 0..threads {
            scope.spawn(move || {
                for _ in 0..rounds {
                    if self.commit().is_err() {
                        assert_eq!(self.commit(), Err(Poisoned), "a failure is for good");
                        return;
                    }
                }
            });
        }
    }

    /// That everything is durable, or nothing more ever will be.
    fn assert_ended(&self) {
        let (durable, end) = (self.turns.durable(), self.appended.load(Ordering::SeqCst));
        self.turns
            .reach(durable, || Err(Poisoned), |_| panic!("no lead is needed"))
            .unwrap();
        if self.poisoned.load(Ordering::SeqCst) {
            assert_eq!(self.commit(), Err(Poisoned), "who comes later is told too");
        } else {
            assert_eq!(durable, end);
        }
    }
}

fn committers(log: &Log, threads: u64, rounds: u64) {
    thread::scope(|scope| log.committers(scope, threads, rounds));
    log.assert_ended();
}

#[test]
fn two_take_turns() {
    explore(|| committers(&Log::healthy(), 2, 3));
}

#[test]
fn three_take_turns() {
    explore(|| committers(&Log::healthy(), 3, 2));
}

#[test]
fn four_take_turns() {
    explore(|| committers(&Log::healthy(), 4, 1));
    explore(|| committers(&Log::healthy(), 4, 2));
}

/// One sync is enough for what was there when it began, however late somebody asks for it.
#[test]
fn a_group_serves_everybody_below_its_cut() {
    explore(|| {
        let log = &Log::healthy();
        let positions: Vec<u64> = (0..4).map(|_| log.append()).collect();
        thread::scope(|scope| {
            for until in positions {
                scope.spawn(move || log.reach(until).unwrap());
            }
        });
        assert_eq!(log.leads.load(Ordering::SeqCst), 1);
        log.assert_ended();
    });
}

/// Two wait for the next group, and a third comes when the lead is given back: he or one of the two
/// takes it.
#[test]
fn the_lead_goes_to_one_who_waits_or_to_a_newcomer() {
    explore(|| {
        let log = &Log::healthy();
        thread::scope(|scope| {
            let newcomer = || log.committers(scope, 1, 2);
            let until = log.append();
            let others = |lead| {
                if lead == 1 {
                    log.committers(scope, 2, 1);
                }
            };
            newcomer();
            log.reach_while(until, others).unwrap();
        });
        log.assert_ended();
    });
}

/// The first leader has given the lead back and not yet woken whom it should. Meanwhile others
/// lead, and for the fourth group somebody waits at the gate that is about to be opened. If he is
/// woken instead, and goes back to sleep, then whom the second group left asleep must not take the
/// one wake of the third: he leads nothing.
#[test]
fn an_opening_that_comes_late() {
    explore(|| {
        let log = &Log::healthy();
        let returned = &AtomicBool::new(false);
        thread::scope(|scope| {
            // Behind the cut, since it is spawned after. Returns when somebody waits.
            let waiter = move || {
                log.committers(scope, 1, 1);
                while log.turns.waiting() == 0 {
                    thread::yield_now();
                }
            };
            scope.spawn(move || {
                let first = log.append();
                log.reach_while(first, |lead| {
                    if lead == 1 {
                        waiter()
                    }
                })
                .unwrap();
                returned.store(true, Ordering::SeqCst);
            });
            while log.turns.durable() == 0 {
                thread::yield_now();
            }
            for _ in 0..2 {
                let until = log.append();
                let held = |lead| {
                    if lead == 3 {
                        waiter();
                        while !returned.load(Ordering::SeqCst) {
                            thread::yield_now();
                        }
                    }
                };
                log.reach_while(until, held).unwrap();
            }
        });
        log.assert_ended();
    });
}

#[test]
fn a_group_of_nothing_new() {
    explore(|| {
        let fate = |lead| match lead % 2 {
            1 => Fate::NothingNew,
            _ => Fate::Publish,
        };
        committers(&Log::new(fate), 3, 2);
    });
}

/// At the first lead or the second.
macro_rules! failures {
    ($($name:ident: $fate:ident,)*) => {$(
        #[test]
        fn $name() {
            explore(|| committers(&Log::new(|_| Fate::$fate), 4, 1));
            explore(|| {
                let fate = |lead| if lead == 2 { Fate::$fate } else { Fate::Publish };
                committers(&Log::new(fate), 3, 2);
            });
        }
    )*};
}

failures! {
    a_lead_that_fails_before_the_cut: FailBeforeCut,
    a_lead_that_fails: FailAfterCut,
    a_lead_that_fails_when_it_has_published: FailAfterPublish,
}

/// A lead that is given back with nothing done and nothing wrong.
#[test]
fn a_lead_that_is_let_go() {
    explore(|| {
        let fate = |lead| match lead {
            1 => Fate::LetGo,
            2 => Fate::LetGoAfterCut,
            _ => Fate::Publish,
        };
        committers(&Log::new(fate), 3, 1);
        committers(&Log::new(fate), 3, 2);
    });
    explore(|| {
        let fate = |lead| match lead {
            1 => Fate::LetGoAfterCut,
            _ => Fate::Publish,
        };
        committers(&Log::new(fate), 4, 1);
    });
}

/// Who watches sees the frontier ascend, and never above what is stored.
#[test]
fn what_is_shown_as_durable_is_stored() {
    explore(|| {
        let log = &Log::healthy();
        thread::scope(|scope| {
            log.committers(scope, 2, 2);
            scope.spawn(move || {
                let mut seen = 0;
                for _ in 0..6 {
                    let durable = log.turns.durable();
                    assert!(durable >= seen && durable <= log.stored.load(Ordering::SeqCst));
                    seen = durable;
                }
            });
        });
        log.assert_ended();
    });
}

/// A lead beside others who come for `untils`, from when it is taken; the group ends at 1.
fn lead_beside<const OTHERS: usize>(untils: [u64; OTHERS]) {
    let (turns, taken) = (&Turns::new(0), &AtomicBool::new(false));
    let well = || Ok::<(), Poisoned>(());
    let last = untils.into_iter().max().unwrap();
    thread::scope(|scope| {
        let lead = |mut turn: Turn<'_>| {
            assert!(!taken.swap(true, Ordering::SeqCst), "one lead is enough");
            for until in untils {
                let lead = move |mut turn: Turn<'_>| {
                    turn.cut(last, turns.arrivals());
                    turn.publish(last);
                };
                scope.spawn(move || turns.reach(until, well, lead).unwrap());
            }
            turn.cut(1, turns.arrivals());
            turn.publish(1);
        };
        turns.reach(1, well, lead).unwrap();
    });
    assert_eq!(turns.durable(), last);
}

#[test]
fn every_order_of_a_lead_and_one_it_serves() {
    exhaust(|| lead_beside([1]), 10_000);
}

#[test]
fn every_order_of_a_lead_and_a_successor() {
    exhaust(|| lead_beside([2]), 100_000);
}
