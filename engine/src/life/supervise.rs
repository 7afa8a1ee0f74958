//! A program that is started again after a failure.

use crate::error::{BoxError, Error};
use crate::flag::Flag;
use crate::life::signals;
use crate::panics;
use highwater_wal::disk::{Clock, OsClock};
use std::sync::Arc;
use std::time::Duration;

/// When a program that has failed is started again: see [`supervise`].
///
/// By default the first pause is one second, and each is twice as long as the last one, up to one
/// minute. A program that ran for a minute counts as healthy: then pauses begin anew. After ten
/// failures in a row it is given up.
#[derive(Debug, Clone)]
pub struct RestartPolicy {
    first_pause: Duration,
    longest_pause: Duration,
    healthy_after: Duration,
    max_failures: u32,
    clock: Arc<dyn Clock>,
}

impl Default for RestartPolicy {
    fn default() -> Self {
        Self {
            first_pause: Duration::from_secs(1),
            longest_pause: Duration::from_secs(60),
            healthy_after: Duration::from_secs(60),
            max_failures: 10,
            clock: Arc::new(OsClock::new()),
        }
    }
}

impl RestartPolicy {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the pause after the first failure, and the longest one.
    #[must_use]
    pub fn pauses(mut self, first: Duration, longest: Duration) -> Self {
        (self.first_pause, self.longest_pause) = (first, longest);
        self
    }

    /// Sets how long a program must have run for its failure to count as the first one.
    #[must_use]
    pub fn healthy_after(mut self, time: Duration) -> Self {
        self.healthy_after = time;
        self
    }

    /// Sets after how many failures in a row the program is given up: at least 1, which never
    /// starts it again.
    #[must_use]
    pub fn max_failures(mut self, failures: u32) -> Self {
        self.max_failures = failures.max(1);
        self
    }

    /// Sets the clock, for tests.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// The pause after so many failures in a row.
    fn pause(&self, failures: u32) -> Duration {
        let doubled = 2_u32.saturating_pow(failures.saturating_sub(1));
        let pause = self.first_pause.saturating_mul(doubled);
        pause.min(self.longest_pause)
    }
}

/// Runs `program`, and runs it again whenever it fails: after a pause, from its last checkpoint.
/// Returns when it returns `Ok`.
///
/// `program` opens its context, starts it and waits for its end. The context must be gone when it
/// returns, so that the next one finds the directory free. A panic counts as a failure.
///
/// After SIGTERM or SIGINT the program is not started again. If it waits with
/// [`await_termination_or_signal`](crate::StreamingContext::await_termination_or_signal), it ends
/// in order then.
///
/// ```no_run
/// use highwater_engine::{BoxError, RestartPolicy, StreamingContext, supervise};
///
/// fn main() -> Result<(), BoxError> {
///     supervise(&RestartPolicy::new(), || {
///         let context = StreamingContext::builder("app.d").get_or_create(|ssc| {
///             ssc.input::<String>("lines").for_each_batch("print", |batch, lines| {
///                 println!("{batch}: {} lines", lines.len());
///             });
///             Ok(())
///         })?;
///         Ok(context.start()?.await_termination_or_signal()?)
///     })
/// }
/// ```
///
/// # Errors
/// The failure of the program: after as many as the policy allows; after a signal; and at once if
/// a new start cannot help, because the program itself is wrong or does not fit its state.
pub fn supervise(
    policy: &RestartPolicy,
    mut program: impl FnMut() -> Result<(), BoxError>,
) -> Result<(), BoxError> {
    let asked = Arc::new(Flag::default());
    let waits = Arc::clone(&asked);
    let _registration = signals::on_signal(move |_| waits.set())?;
    let clock = &*policy.clock;
    let mut failures = 0_u32;
    loop {
        let started = clock.now();
        let Err(error) = panics::catch(&mut program) else {
            return Ok(());
        };
        if clock.now().saturating_sub(started) >= policy.healthy_after {
            failures = 0;
        }
        failures += 1;
        if asked.is_set() || is_permanent(&error) || failures >= policy.max_failures {
            return Err(error);
        }
        let pause = policy.pause(failures);
        tracing::error!(%error, failures, ?pause, "the program failed: it is started again after a pause");
        if asked.wait_until(clock, Some(clock.now().saturating_add(pause))) {
            return Err(error);
        }
    }
}

/// Whether the program would fail the same way again.
fn is_permanent(error: &BoxError) -> bool {
    let error = error.downcast_ref::<Error>();
    error.is_some_and(|error| match error {
        Error::Graph(_)
        | Error::Mismatch(_)
        | Error::Setting(_)
        | Error::LifeCycle(_)
        | Error::DryRun(_)
        | Error::Replayed(_)
        | Error::Replay(_) => true,
        Error::Ended(cause) => matches!(**cause, Error::Graph(_) | Error::Mismatch(_)),
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use highwater_wal::disk::ManualClock;
    use std::cell::Cell;

    /// A clock that jumps to each deadline at once, and says which pauses were waited for.
    fn pauses_of(
        policy: RestartPolicy,
        program: impl Fn(u32, &ManualClock) -> Result<(), BoxError>,
    ) -> (Result<(), String>, u32, Duration) {
        let clock = Arc::new(ManualClock::new(0));
        let shared: Arc<ManualClock> = Arc::clone(&clock);
        let policy = policy.clock(shared);
        let (runs, busy) = (Cell::new(0), Cell::new(Duration::ZERO));
        let ended = Arc::new(Flag::default());
        let mover = {
            let (clock, ended) = (Arc::clone(&clock), Arc::clone(&ended));
            std::thread::spawn(move || {
                while !ended.is_set() {
                    clock.advance(Duration::from_millis(100));
                    std::thread::yield_now();
                }
            })
        };
        let result = supervise(&policy, || {
            runs.set(runs.get() + 1);
            let before = clock.now();
            let ran = program(runs.get(), &clock);
            busy.set(busy.get() + (clock.now() - before));
            ran
        });
        ended.set();
        mover.join().unwrap();
        let waited = clock.now() - busy.get();
        (result.map_err(|e| e.to_string()), runs.get(), waited)
    }

    #[test]
    fn pauses_double_up_to_the_longest() {
        let policy = RestartPolicy::new().pauses(Duration::from_secs(2), Duration::from_secs(9));
        let pauses: Vec<u64> = (1..6).map(|n| policy.pause(n).as_secs()).collect();
        assert_eq!(pauses, [2, 4, 8, 9, 9]);
        assert_eq!(policy.pause(u32::MAX), Duration::from_secs(9));
    }

    #[test]
    fn a_program_is_run_again_until_it_ends_well() {
        let (result, runs, waited) = pauses_of(RestartPolicy::new(), |run, _| match run {
            1 => Err("broken".into()),
            2 => panic!("on purpose"),
            _ => Ok(()),
        });
        assert_eq!((result, runs), (Ok(()), 3));
        assert!(waited >= Duration::from_secs(3), "{waited:?}");
    }

    #[test]
    fn it_is_given_up_after_so_many_failures_in_a_row() {
        let policy = RestartPolicy::new().max_failures(4);
        let (result, runs, waited) =
            pauses_of(policy, |run, _| Err(format!("failure {run}").into()));
        assert_eq!((result, runs), (Err("failure 4".to_owned()), 4));
        assert!(waited >= Duration::from_secs(1 + 2 + 4), "{waited:?}");
    }

    #[test]
    fn a_healthy_run_begins_the_count_anew() {
        let policy = RestartPolicy::new().max_failures(2);
        let (result, runs, _) = pauses_of(policy, |run, clock| {
            if run < 5 {
                clock.advance(Duration::from_secs(60));
            }
            Err(format!("failure {run}").into())
        });
        // The fifth is the second in a row: the fourth was healthy, and counts as the first.
        assert_eq!((result, runs), (Err("failure 5".to_owned()), 5));
    }

    #[test]
    fn a_program_that_is_wrong_is_not_run_again() {
        let wrong =
            |error: fn() -> Error| pauses_of(RestartPolicy::new(), |_, _| Err(error().into())).1;
        assert_eq!(wrong(|| Error::Setting("no".to_owned())), 1);
        assert_eq!(wrong(|| Error::LifeCycle("no")), 1);
        assert_eq!(wrong(|| Error::Worker("gone".to_owned())), 10);
    }
}
