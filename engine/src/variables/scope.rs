//! What the operators that run on a thread see and add to.
//!
//! A program may run in two executors at once: its batches in one, a past batch again in another.
//! Their closures are the same, so a variable finds its values through the thread that asks.

use crate::variables::values::{Newest, Values};
use std::cell::RefCell;
use std::sync::Arc;

/// The values that the operators of a batch see: those as of the end of the batch before.
#[derive(Debug, Clone, Default)]
pub(crate) struct Visible {
    /// Whose values they are.
    pub(crate) program: Arc<Newest>,
    pub(crate) values: Arc<Values>,
}

/// What was added to each counter, by index.
pub(crate) type Added = Vec<u64>;

struct Scope {
    visible: Visible,
    added: Added,
}

thread_local! {
    static SCOPE: RefCell<Option<Scope>> = const { RefCell::new(None) };
}

/// Ends the scope, also if the work panics.
struct Leave;

impl Drop for Leave {
    fn drop(&mut self) {
        SCOPE.with_borrow_mut(|scope| *scope = None);
    }
}

/// Runs `work`, whose operators see `visible`. Returns what they added to counters; empty if they
/// added nothing.
pub(crate) fn run(visible: &Visible, work: impl FnOnce()) -> Added {
    let scope = Scope {
        visible: visible.clone(),
        added: Added::new(),
    };
    SCOPE.with_borrow_mut(|current| *current = Some(scope));
    let leave = Leave;
    work();
    let added = SCOPE.with_borrow_mut(|scope| scope.take().map(|s| s.added));
    drop(leave);
    added.unwrap_or_default()
}

/// Adds to a counter of `program`; false if no operator of that program runs on this thread.
pub(crate) fn add(program: &Arc<Newest>, counter: usize, n: u64) -> bool {
    SCOPE.with_borrow_mut(|scope| {
        let of_program = |scope: &&mut Scope| Arc::ptr_eq(&scope.visible.program, program);
        let Some(scope) = scope.as_mut().filter(of_program) else {
            return false;
        };
        if scope.added.len() <= counter {
            scope.added.resize(counter + 1, 0);
        }
        if let Some(added) = scope.added.get_mut(counter) {
            *added = added.saturating_add(n);
        }
        true
    })
}

/// Does `work` for one record. If it fails, what it has added to counters is taken back: in a
/// rebuild, which leaves the record out, it would not be added.
pub(crate) fn attempt<T, E>(work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    let before = SCOPE.with_borrow(|scope| scope.as_ref().map(|scope| scope.added.clone()));
    let done = work();
    if done.is_err() {
        SCOPE.with_borrow_mut(|scope| {
            if let (Some(scope), Some(before)) = (scope, before) {
                scope.added = before;
            }
        });
    }
    done
}

/// The values that this thread sees: in an operator those as of the end of the batch before,
/// elsewhere those as of the last finished batch.
pub(crate) fn values(program: &Arc<Newest>) -> Arc<Values> {
    let seen = SCOPE.with_borrow(|scope| {
        let of_program = |scope: &&Scope| Arc::ptr_eq(&scope.visible.program, program);
        let scope = scope.as_ref().filter(of_program);
        scope.map(|scope| Arc::clone(&scope.visible.values))
    });
    seen.unwrap_or_else(|| program.get())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    #[test]
    fn what_is_added_belongs_to_the_program_that_runs_on_the_thread() {
        let (mine, other) = <(Arc<Newest>, Arc<Newest>)>::default();
        let visible = Visible {
            program: Arc::clone(&mine),
            values: Arc::default(),
        };
        assert!(!add(&mine, 0, 1), "no batch runs here");
        let added = run(&visible, || {
            assert!(add(&mine, 1, u64::MAX) && add(&mine, 1, 7) && add(&mine, 0, 2));
            assert!(!add(&other, 0, 1));
            let elsewhere = Arc::clone(&mine);
            let spawned = std::thread::spawn(move || add(&elsewhere, 0, 1));
            assert!(!spawned.join().unwrap());
        });
        assert_eq!(added, [2, u64::MAX], "it saturates");
        assert!(!add(&mine, 0, 1));
    }

    #[test]
    fn what_a_failed_attempt_has_added_is_taken_back() {
        let program = Arc::<Newest>::default();
        let visible = Visible {
            program: Arc::clone(&program),
            values: Arc::default(),
        };
        let added = run(&visible, || {
            for failed in [false, true, false] {
                let done = attempt(|| {
                    add(&program, 1, 2);
                    if failed { Err(()) } else { Ok(()) }
                });
                assert_eq!(done.is_err(), failed);
            }
        });
        assert_eq!(added, [0, 4]);
    }

    #[test]
    fn a_panic_ends_the_scope() {
        let visible = Visible::default();
        let panics = || run(&visible, || panic!("on purpose"));
        assert!(catch_unwind(AssertUnwindSafe(panics)).is_err());
        assert!(!add(&visible.program, 0, 1));
    }
}
