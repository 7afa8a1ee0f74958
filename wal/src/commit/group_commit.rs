//! Group commit: one thread leads and syncs for all, the others wait for it.
//!
//! A thread that needs a position durable and finds no leader becomes the leader. If there is one,
//! it waits for the event of its group: the group that is being synced, if the position lies below
//! the end of that, or the next group. When a group is done, its event lets all its threads go on
//! without a lock. One thread of the next group is woken to lead.
//!
//! No thread is forgotten. A thread that waits for the next group began to wait while a leader was
//! at work (both hold the lock). The end of that leader wakes one of them. Nothing below the
//! end of the next group was durable then, so the woken thread leads. If a newcomer was faster, the
//! end of the newcomer wakes all of that group. A failure lets every thread go on.
//!
//! The leader signals an event after it releases the lock, maybe much later, when other leaders
//! have come and gone. It may then wake a thread of a later group instead of the one it meant.
//! Therefore no thread is subtracted from a count before all threads of its event go on.

use highwater_disk::EventCount;
use highwater_disk::sync::{AtomicU64, Mutex, Ordering};

#[derive(Debug)]
pub struct GroupCommit {
    /// Everything below is on stable storage.
    durable: AtomicU64,
    /// How many calls so far had to make something durable.
    arrivals: AtomicU64,
    state: Mutex<State>,
    /// Group `n` waits for event `n % 2`.
    done: [EventCount; 2],
}

#[derive(Debug)]
struct State {
    /// A thread leads.
    is_led: bool,
    /// Number of the group that was closed last.
    group: usize,
    /// Where that group ends.
    group_end: u64,
    /// How many threads wait for each event, at least. Until the event lets all go on, threads that
    /// have gone on count too, and a thread that waits again counts again.
    waiting: [usize; 2],
    /// The leader waits until so many have arrived, or for its bound.
    cohort: u64,
    /// Arrivals when the last group was closed.
    arrived_before: u64,
}

impl State {
    /// The event of the group that will make everything below `until` durable.
    fn event_of(&self, until: u64) -> usize {
        let next = usize::from(until > self.group_end);
        (self.group + next) % 2
    }
}

impl GroupCommit {
    pub fn new(durable: u64) -> Self {
        let state = State {
            is_led: false,
            group: 0,
            group_end: durable,
            waiting: [0; 2],
            cohort: 0,
            arrived_before: 0,
        };
        Self {
            durable: AtomicU64::new(durable),
            arrivals: AtomicU64::new(0),
            state: Mutex::new(state),
            done: <[EventCount; 2]>::default(),
        }
    }

    /// Everything below is on stable storage.
    pub fn durable(&self) -> u64 {
        // Acquire pairs with the release in `Leader::publish`.
        self.durable.load(Ordering::Acquire)
    }

    /// How many calls so far had to make something durable.
    pub fn arrivals(&self) -> u64 {
        // It decides only how long a leader waits.
        self.arrivals.load(Ordering::Relaxed)
    }

    /// How many threads wait, roughly.
    pub fn waiting(&self) -> usize {
        self.state.lock().waiting.iter().sum()
    }

    /// Returns once everything below `until`, a position that was handed out, is durable. The
    /// calling thread leads if there is no leader, and waits otherwise.
    ///
    /// # Errors
    /// Those of `check`.
    pub fn make_durable<E>(
        &self,
        until: u64,
        check: impl Fn() -> Result<(), E>,
        lead: impl Fn(Leader<'_>),
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
            if !state.is_led {
                state.is_led = true;
                let cohort = state.cohort;
                drop(state);
                lead(Leader {
                    group_commit: self,
                    cohort,
                    outcome: Outcome::Failed,
                });
                continue;
            }
            let event = state.event_of(until);
            let (Some(waiting), Some(event)) = (state.waiting.get_mut(event), self.done.get(event))
            else {
                unreachable!("the number of an event is 0 or 1")
            };
            *waiting += 1;
            // With the lock held: the leader that signals this group takes the lock first.
            let key = event.key();
            drop(state);
            event.wait(key);
        }
        Ok(())
    }
}

/// The thread that leads. When it is dropped, all threads that it served and one that it did not
/// are woken.
#[derive(Debug)]
pub struct Leader<'a> {
    group_commit: &'a GroupCommit,
    cohort: u64,
    outcome: Outcome,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// Also until the outcome is known.
    Failed,
    Published,
}

impl Leader<'_> {
    /// How many arrivals to wait for: the threads that the last group released are about to come
    /// back.
    pub fn cohort(&self) -> u64 {
        self.cohort
    }

    /// The group ends at `end`: threads that wait for more wait for the next. `arrivals` had come
    /// when that was decided.
    pub fn close_group(&self, end: u64, arrivals: u64) {
        let mut state = self.group_commit.state.lock();
        state.group += 1;
        state.group_end = end;
        // The next group will have the threads that this one releases, and those that come while it
        // is being synced. Those are added to `cohort` when the sync is over.
        state.cohort = arrivals + (arrivals - state.arrived_before);
        state.arrived_before = arrivals;
    }

    /// Everything below `end`, where the group ends, is durable now.
    pub fn publish(&mut self, end: u64) {
        // Release: a thread that sees this durable LSN sees the bytes below it.
        self.group_commit.durable.store(end, Ordering::Release);
        self.outcome = Outcome::Published;
    }

    /// No thread is served, or can be any more: all have to look for themselves.
    pub fn fail(&mut self) {
        self.outcome = Outcome::Failed;
    }
}

impl Drop for Leader<'_> {
    fn drop(&mut self) {
        let [first, second] = &self.group_commit.done;
        let mut state = self.group_commit.state.lock();
        state.is_led = false;
        // The threads of a failed group wait for the next one, as all do before a group is closed.
        state.group_end = self.group_commit.durable();
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
        let came = self.group_commit.arrivals() - state.arrived_before;
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

    /// Only as much of a log as group commit needs.
    struct Log {
        group_commit: GroupCommit,
        appended: AtomicU64,
        /// Relaxed, so that a thread sees this only if the durable LSN orders it.
        stored: AtomicU64,
        /// The leader of this number fails, and with it the log.
        failing: u64,
        leads: AtomicU64,
    }

    impl Log {
        fn new(failing: u64) -> Self {
            Self {
                group_commit: GroupCommit::new(0),
                appended: AtomicU64::new(0),
                stored: AtomicU64::new(0),
                failing,
                leads: AtomicU64::new(0),
            }
        }

        fn commit(&self) -> Result<(), u64> {
            let until = self.appended.fetch_add(1, Ordering::Relaxed) + 1;
            self.group_commit
                .make_durable(until, || self.check(), |leader| self.lead(leader))?;
            assert!(self.stored.load(Ordering::Relaxed) >= until);
            Ok(())
        }

        fn check(&self) -> Result<(), u64> {
            match self.leads.load(Ordering::Relaxed) {
                leads if leads < self.failing => Ok(()),
                leads => Err(leads),
            }
        }

        fn lead(&self, mut leader: Leader<'_>) {
            let (end, arrivals) = (
                self.appended.load(Ordering::Relaxed),
                self.group_commit.arrivals(),
            );
            leader.close_group(end, arrivals);
            if self.leads.fetch_add(1, Ordering::Relaxed) + 1 < self.failing {
                self.stored.store(end, Ordering::Relaxed);
                leader.publish(end);
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
    fn a_thread_that_sees_the_durable_lsn_sees_what_was_stored() {
        let log = Log::new(u64::MAX);
        std::thread::scope(|scope| {
            // It takes no lock and waits for no event: the durable LSN alone must order it.
            scope.spawn(|| {
                let mut durable = 0;
                while durable < THREADS * ROUNDS {
                    durable = log.group_commit.durable();
                    assert!(log.stored.load(Ordering::Relaxed) >= durable);
                    std::thread::yield_now();
                }
            });
            log.run();
        });
        assert_eq!(log.group_commit.durable(), THREADS * ROUNDS);
    }

    #[test]
    fn a_failure_lets_every_thread_go_on() {
        let log = Log::new(ROUNDS / 2);
        log.run();
        assert_eq!(
            log.commit(),
            Err(ROUNDS / 2),
            "later calls get the error too"
        );
        let durable = log.group_commit.durable();
        assert_eq!(
            log.group_commit
                .make_durable(durable, || log.check(), |_| ()),
            Ok(())
        );
    }
}
