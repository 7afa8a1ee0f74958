//! Several requests at once, whose answers are taken in order.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// How far it has come.
struct Progress<I: Iterator, R> {
    items: I,
    /// How many items were begun.
    begun: usize,
    /// How many answers were taken.
    taken: usize,
    answers: BTreeMap<usize, (I::Item, R)>,
    /// Nothing more is to be begun.
    stopped: bool,
}

struct Shared<I: Iterator, R> {
    progress: Mutex<Progress<I, R>>,
    changed: Condvar,
}

/// Ends the work of all threads, also when the one that holds it panics.
struct Stop<'a, I: Iterator, R> {
    shared: &'a Shared<I, R>,
    is_armed: bool,
}

impl<I: Iterator, R> Drop for Stop<'_, I, R> {
    fn drop(&mut self) {
        if self.is_armed {
            self.shared.progress().stopped = true;
            self.shared.changed.notify_all();
        }
    }
}

impl<I: Iterator, R> Progress<I, R> {
    fn begin(&mut self) -> Option<(usize, I::Item)> {
        let item = self.items.next()?;
        self.begun += 1;
        Some((self.begun - 1, item))
    }
}

impl<I: Iterator, R> Shared<I, R> {
    fn progress(&self) -> MutexGuard<'_, Progress<I, R>> {
        // Nothing is left half changed.
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, progress: MutexGuard<'a, Progress<I, R>>) -> MutexGuard<'a, Progress<I, R>> {
        let woken = self.changed.wait(progress);
        woken.unwrap_or_else(PoisonError::into_inner)
    }

    /// The next item to begin, once there is room for its answer.
    fn begin(&self, at_once: usize) -> Option<(usize, I::Item)> {
        let mut progress = self.progress();
        loop {
            if progress.stopped {
                return None;
            }
            if progress.begun < progress.taken.saturating_add(at_once) {
                return progress.begin();
            }
            progress = self.wait(progress);
        }
    }

    /// Item `at` and its answer. If no thread has begun it, the caller does.
    fn answer(&self, at: usize, fetch: impl FnOnce(&I::Item) -> R) -> Option<(I::Item, R)> {
        let mut progress = self.progress();
        loop {
            if let Some(answer) = progress.answers.remove(&at) {
                return Some(answer);
            }
            if progress.stopped {
                return None;
            }
            if progress.begun == at {
                let (_, item) = progress.begin()?;
                drop(progress);
                let answer = fetch(&item);
                return Some((item, answer));
            }
            progress = self.wait(progress);
        }
    }

    /// What a thread does: it fetches, until there is nothing more.
    fn work(&self, at_once: usize, fetch: impl Fn(&I::Item) -> R) {
        let mut stop = Stop {
            shared: self,
            is_armed: true,
        };
        while let Some((at, item)) = self.begin(at_once) {
            let answer = fetch(&item);
            self.progress().answers.insert(at, (item, answer));
            self.changed.notify_all();
        }
        stop.is_armed = false;
    }
}

/// Fetches all items, `at_once` at a time, and takes their answers in the order of the items. No
/// more than `at_once` answers are there or on their way at any time. The first error ends it, in
/// the order of the items: it is the one that would be found one by one.
pub(super) fn in_order<T: Send, R: Send, E>(
    items: impl Iterator<Item = T> + Send,
    at_once: usize,
    fetch: impl Fn(&T) -> R + Sync,
    mut take: impl FnMut(T, R) -> Result<(), E>,
) -> Result<(), E> {
    if at_once <= 1 {
        for item in items {
            let answer = fetch(&item);
            take(item, answer)?;
        }
        return Ok(());
    }
    let shared = Shared {
        progress: Mutex::new(Progress {
            items,
            begun: 0,
            taken: 0,
            answers: BTreeMap::new(),
            stopped: false,
        }),
        changed: Condvar::new(),
    };
    std::thread::scope(|scope| {
        let _stop = Stop {
            shared: &shared,
            is_armed: true,
        };
        for _ in 0..at_once {
            let thread = std::thread::Builder::new().name("highwater-fetch".to_owned());
            let work = || shared.work(at_once, &fetch);
            // This thread does what others do not, so it may do without them.
            if let Err(error) = thread.spawn_scoped(scope, work) {
                tracing::warn!(%error, "a thread to read checkpoints could not start");
                break;
            }
        }
        // Without an answer all were taken, or another thread has panicked: the scope goes on with
        // that.
        while let Some((item, answer)) = {
            let at = shared.progress().taken;
            shared.answer(at, &fetch)
        } {
            take(item, answer)?;
            shared.progress().taken += 1;
            shared.changed.notify_all();
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn answers_come_in_order_and_are_few() {
        for at_once in [0, 1, 2, 3, 7, 200] {
            let items: Vec<usize> = (0..100).collect();
            let (begun, taken) = (AtomicUsize::new(0), AtomicUsize::new(0));
            let fetch = |item: &&usize| {
                let begun = begun.fetch_add(1, Ordering::SeqCst) + 1;
                let ahead = begun - taken.load(Ordering::SeqCst);
                assert!(ahead <= at_once.max(1), "{ahead} of {at_once}");
                **item * 2
            };
            let mut found = Vec::new();
            let all: Result<(), ()> = in_order(items.iter(), at_once, fetch, |item, answer| {
                assert_eq!(answer, item * 2);
                found.push(*item);
                taken.fetch_add(1, Ordering::SeqCst);
                Ok(())
            });
            all.unwrap();
            assert_eq!(found, items);
        }
    }

    /// None of the first requests gets an answer before all of them are there.
    #[test]
    fn requests_are_made_at_once() {
        let meet = Barrier::new(4);
        let items: Vec<usize> = (0..8).collect();
        let fetch = |_: &&usize| {
            meet.wait();
        };
        in_order(items.iter(), 4, fetch, |_, ()| Ok::<_, ()>(())).unwrap();
    }

    #[test]
    fn the_first_error_in_order_comes_back_and_ends_it() {
        let items: Vec<usize> = (0..1000).collect();
        for at_once in [1, 4] {
            let fetched = AtomicUsize::new(0);
            let fetch = |item: &&usize| {
                fetched.fetch_add(1, Ordering::SeqCst);
                if **item >= 10 { Err(**item) } else { Ok(()) }
            };
            let mut taken = 0;
            let result = in_order(items.iter(), at_once, fetch, |_, answer| {
                answer.map(|()| taken += 1)
            });
            assert_eq!((result, taken), (Err(10), 10));
            assert!(fetched.load(Ordering::SeqCst) <= 10 + at_once);
        }
    }

    #[test]
    #[should_panic(expected = "a scoped thread panicked")]
    fn a_panic_of_a_request_ends_it() {
        let caller = std::thread::current().id();
        let fetch = |_: &&usize| {
            assert_eq!(std::thread::current().id(), caller, "on another thread");
            // So that the others begin the rest.
            std::thread::yield_now();
        };
        let items: Vec<usize> = (0..100_000).collect();
        in_order(items.iter(), 4, fetch, |_, ()| Ok::<_, ()>(())).unwrap();
    }

    #[test]
    #[should_panic(expected = "while it is taken")]
    fn a_panic_of_the_caller_ends_it() {
        let items: Vec<usize> = (0..100).collect();
        let take = |_: &usize, ()| -> Result<(), ()> { panic!("while it is taken") };
        in_order(items.iter(), 4, |_| (), take).unwrap();
    }
}
