//! Who syncs for everybody, and who waits for it: the election of group commit.
//!
//! Whoever needs a position durable and finds the lead free takes it. Who finds it taken waits at
//! the gate of its group: the one that is being synced, if the position lies below its cut, or the
//! next. When a group is done, everybody at its gate is let through, without a lock, and one of the
//! next group is woken to lead.
//!
//! Nobody is forgotten: whoever waits for the next group began to while a leader was at work (both
//! hold the lock), and that leader's end wakes one of them. Nothing below the cut of the next group
//! was durable then, so the one that is woken leads, unless a newcomer was faster, whose end wakes
//! all of that group. A failure lets everybody through.
//!
//! A gate is opened after the lock is released, maybe much later, when others have led: it may then
//! find those of a later group, and wake one of them instead of whom it was meant for. Therefore
//! nobody is counted off before everybody at his gate is let through.

use highwater_disk::EventCount;
use highwater_disk::sync::{AtomicU64, Mutex, Ordering};

#[derive(Debug)]
pub struct Turns {
    /// Everything below is on stable storage.
    durable: AtomicU64,
    /// How many came so far to have something made durable.
    arrivals: AtomicU64,
    state: Mutex<State>,
    /// Group `n` waits at gate `n % 2`.
    gates: [EventCount; 2],
}

#[derive(Debug)]
struct State {
    lead: Lead,
    /// Number of the group that was cut last.
    group: usize,
    /// Where that group ends.
    cut: u64,
    /// How many wait at each gate, at least: until it is opened for all, also those who have gone
    /// through count, and who waits again counts again.
    waiting: [usize; 2],
    /// The leader waits until so many have arrived, or for its bound.
    cohort: u64,
    /// Arrivals when the last group was cut.
    taken: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lead {
    Free,
    Taken,
}

impl State {
    /// The gate of the group that will make everything below `until` durable.
    fn gate_of(&self, until: u64) -> usize {
        let next = usize::from(until > self.cut);
        (self.group + next) % 2
    }
}

impl Turns {
    pub fn new(durable: u64) -> Self {
        let state = State {
            lead: Lead::Free,
            group: 0,
            cut: durable,
            waiting: [0; 2],
            cohort: 0,
            taken: 0,
        };
        Self {
            durable: AtomicU64::new(durable),
            arrivals: AtomicU64::new(0),
            state: Mutex::new(state),
            gates: <[EventCount; 2]>::default(),
        }
    }

    /// Everything below is on stable storage.
    pub fn durable(&self) -> u64 {
        // Acquire pairs with the release in `Turn::publish`.
        self.durable.load(Ordering::Acquire)
    }

    /// How many came so far to have something made durable.
    pub fn arrivals(&self) -> u64 {
        // A number to decide how long to wait by, no more.
        self.arrivals.load(Ordering::Relaxed)
    }

    /// How many wait, roughly.
    pub fn waiting(&self) -> usize {
        self.state.lock().waiting.iter().sum()
    }

    /// Returns once everything below `until`, a position that was handed out, is durable: by
    /// leading, if nobody does, or by waiting for who does.
    ///
    /// # Errors
    /// What `check` says.
    pub fn reach<E>(
        &self,
        until: u64,
        check: impl Fn() -> Result<(), E>,
        lead: impl Fn(Turn<'_>),
    ) -> Result<(), E> {
        if self.durable() >= until {
            return Ok(());
        }
        self.arrivals.fetch_add(1, Ordering::Relaxed);
        while self.durable() < until {
            let mut state = self.state.lock();
            if self.durable() >= until {
                break;
            }
            check()?;
            if state.lead == Lead::Free {
                state.lead = Lead::Taken;
                let cohort = state.cohort;
                drop(state);
                lead(Turn {
                    turns: self,
                    cohort,
                    outcome: Outcome::Failed,
                });
                continue;
            }
            let gate = state.gate_of(until);
            let (Some(waiting), Some(gate)) = (state.waiting.get_mut(gate), self.gates.get(gate))
            else {
                unreachable!("a gate is 0 or 1")
            };
            *waiting += 1;
            // With the lock held: whoever opens the gate for this group takes the lock first.
            let key = gate.key();
            drop(state);
            gate.wait(key);
        }
        Ok(())
    }
}

/// The lead. When it goes, whoever it served and one of those it did not are woken.
#[derive(Debug)]
pub struct Turn<'a> {
    turns: &'a Turns,
    cohort: u64,
    outcome: Outcome,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// Also as long as nothing else is known.
    Failed,
    Published,
}

impl Turn<'_> {
    /// How many arrivals to wait for: those whom the last group released are about to come back.
    pub fn cohort(&self) -> u64 {
        self.cohort
    }

    /// The group ends at `frontier`: who waits for more waits for the next. `arrivals` had come
    /// when that was decided.
    pub fn cut(&self, frontier: u64, arrivals: u64) {
        let mut state = self.turns.state.lock();
        state.group += 1;
        state.cut = frontier;
        // The next group will have those that this one releases, and those that come while it is
        // being synced; `cohort` is completed when it is known how many those are.
        state.cohort = arrivals + (arrivals - state.taken);
        state.taken = arrivals;
    }

    /// Everything below `frontier`, where the group was cut, is durable now.
    pub fn publish(&mut self, frontier: u64) {
        // Release: whoever sees the frontier sees the bytes below it.
        self.turns.durable.store(frontier, Ordering::Release);
        self.outcome = Outcome::Published;
    }

    /// Nobody is served, or nobody can be any more: all have to look for themselves.
    pub fn fail(&mut self) {
        self.outcome = Outcome::Failed;
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let [first, second] = &self.turns.gates;
        let mut state = self.turns.state.lock();
        state.lead = Lead::Free;
        // Whom a failed group left behind waits for the next one, as everybody does before a cut.
        state.cut = self.turns.durable();
        let (served, next) = match state.group % 2 {
            0 => (first, second),
            _ => (second, first),
        };
        let State {
            waiting: [w0, w1],
            group,
            ..
        } = &mut *state;
        let (of_served, of_next) = if *group % 2 == 0 { (w0, w1) } else { (w1, w0) };
        let to_serve = std::mem::take(of_served);
        let (to_wake, all) = match self.outcome {
            Outcome::Failed => (std::mem::take(of_next), true),
            Outcome::Published => (*of_next, false),
        };
        let came = self.turns.arrivals() - state.taken;
        state.cohort += came;
        drop(state);
        if to_wake > 0 {
            if all {
                next.notify_all()
            } else {
                next.notify_one()
            }
        }
        if to_serve > 0 {
            served.notify_all();
        }
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;

    const THREADS: u64 = 4;
    /// Miri is a thousand times slower.
    const ROUNDS: u64 = if cfg!(miri) { 10 } else { 2_000 };

    /// A log of which there is only what group commit needs to know.
    struct Log {
        turns: Turns,
        appended: AtomicU64,
        /// Relaxed, so that whoever is told of a frontier sees this only if the frontier orders it.
        stored: AtomicU64,
        /// The lead of this number fails, and with it the log.
        failing: u64,
        leads: AtomicU64,
    }

    impl Log {
        fn new(failing: u64) -> Self {
            Self {
                turns: Turns::new(0),
                appended: AtomicU64::new(0),
                stored: AtomicU64::new(0),
                failing,
                leads: AtomicU64::new(0),
            }
        }

        fn commit(&self) -> Result<(), u64> {
            let until = self.appended.fetch_add(1, Ordering::Relaxed) + 1;
            self.turns
                .reach(until, || self.check(), |turn| self.lead(turn))?;
            assert!(self.stored.load(Ordering::Relaxed) >= until);
            Ok(())
        }

        fn check(&self) -> Result<(), u64> {
            match self.leads.load(Ordering::Relaxed) {
                leads if leads < self.failing => Ok(()),
                leads => Err(leads),
            }
        }

        fn lead(&self, mut turn: Turn<'_>) {
            let (frontier, arrivals) =
                (self.appended.load(Ordering::Relaxed), self.turns.arrivals());
            turn.cut(frontier, arrivals);
            if self.leads.fetch_add(1, Ordering::Relaxed) + 1 < self.failing {
                self.stored.store(frontier, Ordering::Relaxed);
                turn.publish(frontier);
            }
        }

        fn run(&self) {
            std::thread::scope(|scope| {
                for _ in 0..THREADS {
                    scope.spawn(|| (0..ROUNDS).try_for_each(|_| self.commit()));
                }
            });
        }
    }

    #[test]
    fn whoever_is_told_sees_what_was_stored() {
        let log = Log::new(u64::MAX);
        std::thread::scope(|scope| {
            // One that takes no lock and waits at no gate: the frontier alone must order it.
            scope.spawn(|| {
                let mut durable = 0;
                while durable < THREADS * ROUNDS {
                    durable = log.turns.durable();
                    assert!(log.stored.load(Ordering::Relaxed) >= durable);
                    std::thread::yield_now();
                }
            });
            log.run();
        });
        assert_eq!(log.turns.durable(), THREADS * ROUNDS);
    }

    #[test]
    fn a_failure_lets_everybody_through() {
        let log = Log::new(ROUNDS / 2);
        log.run();
        assert_eq!(log.commit(), Err(ROUNDS / 2), "who comes later is told too");
        let durable = log.turns.durable();
        assert_eq!(log.turns.reach(durable, || log.check(), |_| ()), Ok(()));
    }
}
