//! Calls that are bounded in time and tried again, from code that is not asynchronous.

use crate::store::object::failure::Failure;
use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::time::{sleep, timeout};

/// Bytes per second that a bound in time allows for, on top of its fixed part.
const SLOWEST: u64 = 1 << 20;

/// No pause between two tries is longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How long calls to an object store may take.
///
/// A bound grows by one second for each MiB that is sent or asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallLimits {
    /// For a call with all its tries. Default: two minutes.
    pub call: Duration,
    /// For one try. Default: 30 seconds.
    pub request: Duration,
    /// Before the second try. It doubles with each try, up to five seconds, and each is up to half
    /// longer or shorter by chance. Default: 0.1 seconds.
    pub pause: Duration,
}

impl Default for CallLimits {
    fn default() -> Self {
        Self {
            call: Duration::from_secs(120),
            request: Duration::from_secs(30),
            pause: Duration::from_millis(100),
        }
    }
}

/// One try.
pub(super) type Try<T> = Pin<Box<dyn Future<Output = Result<T, Failure>> + Send>>;

/// Threads of their own that make the calls: the caller may itself be inside of a runtime, which
/// must not be entered twice.
#[derive(Debug)]
pub(crate) struct Calls {
    /// Taken when this is dropped.
    runtime: Option<Runtime>,
}

impl Calls {
    pub(crate) fn new() -> io::Result<Arc<Self>> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("highwater-store")
            .enable_all()
            .build()?;
        Ok(Arc::new(Self {
            runtime: Some(runtime),
        }))
    }

    pub(crate) fn handle(&self) -> Option<&Handle> {
        self.runtime.as_ref().map(Runtime::handle)
    }

    /// Makes a call that sends or asks for `bytes` bytes. `attempt` is told whether an earlier try
    /// may have been done.
    pub(super) fn make<T: Send + 'static>(
        &self,
        limits: CallLimits,
        bytes: u64,
        attempt: impl FnMut(bool) -> Try<T> + Send + 'static,
    ) -> Result<T, Failure> {
        let limits = limits.for_bytes(bytes);
        let (answer, answered) = mpsc::sync_channel(1);
        let Some(handle) = self.handle() else {
            let text = "the store is closed";
            return Err(Failure::refused(io::ErrorKind::NotConnected, text));
        };
        handle.spawn(async move {
            // The caller waits for it.
            let _ = answer.send(tries(limits, attempt).await);
        });
        answered.recv().unwrap_or_else(|_| {
            let text = "the call has failed in an unexpected way";
            Err(Failure::doubtful(io::ErrorKind::Other, text))
        })
    }
}

impl Drop for Calls {
    fn drop(&mut self) {
        // Waiting for its threads would panic inside of another runtime.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl CallLimits {
    fn for_bytes(self, bytes: u64) -> Self {
        let more = Duration::from_secs(bytes / SLOWEST);
        Self {
            call: self.call.saturating_add(more.saturating_mul(2)),
            request: self.request.saturating_add(more),
            ..self
        }
    }
}

async fn tries<T>(
    limits: CallLimits,
    mut attempt: impl FnMut(bool) -> Try<T>,
) -> Result<T, Failure> {
    // Whether a try may have been done: one that failed, or the one that goes on now.
    let (mut doubt, mut running) = (false, false);
    let mut last = String::new();
    let all = async {
        let mut pause = limits.pause;
        loop {
            running = true;
            let tried = timeout(limits.request, attempt(doubt)).await;
            running = false;
            let failure = match tried {
                Ok(Ok(done)) => return Ok(done),
                Ok(Err(failure)) => failure,
                Err(_) => {
                    let text = format!("no answer within {:?}", limits.request);
                    Failure::doubtful(io::ErrorKind::TimedOut, text).passing()
                }
            };
            doubt |= !failure.determinate;
            if !failure.passing {
                return Err(failure);
            }
            failure.text().clone_into(&mut last);
            sleep(by_chance(pause)).await;
            pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
        }
    };
    let result = timeout(limits.call, all).await;
    match result {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(failure)) if doubt => Err(failure.in_doubt()),
        Ok(Err(failure)) => Err(failure),
        Err(_) => {
            let why = match last.is_empty() {
                true => String::new(),
                false => format!("; the last failure was: {last}"),
            };
            let text = format!("given up after {:?}{why}", limits.call);
            Err(match doubt || running {
                true => Failure::doubtful(io::ErrorKind::TimedOut, text),
                false => Failure::refused(io::ErrorKind::TimedOut, text),
            })
        }
    }
}

/// Half to one and a half of a pause, so that clients that failed together do not ask together.
fn by_chance(pause: Duration) -> Duration {
    let by = RandomState::new().hash_one(pause) % 1024;
    let by = u32::try_from(by).unwrap_or(512);
    pause / 2 + pause.saturating_mul(by) / 1024
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    const SHORT: CallLimits = CallLimits {
        call: Duration::from_secs(100),
        request: Duration::from_millis(20),
        pause: Duration::from_millis(1),
    };

    /// The tries of a call: what each does, and whether it was told of doubt.
    fn call(limits: CallLimits, tries: Vec<Option<Failure>>) -> (Result<(), Failure>, Vec<bool>) {
        let calls = Calls::new().unwrap();
        let doubts = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&doubts);
        let mut tries = tries.into_iter();
        let result = calls.make(limits, 0, move |doubt| {
            seen.lock().unwrap().push(doubt);
            match tries.next() {
                Some(Some(failure)) => Box::pin(async { Err(failure) }),
                Some(None) => Box::pin(async { Ok(()) }),
                None => Box::pin(std::future::pending()),
            }
        });
        let doubts = doubts.lock().unwrap().clone();
        (result, doubts)
    }

    fn failure(determinate: bool, passing: bool) -> Option<Failure> {
        let mut failure = Failure::refused(io::ErrorKind::Other, "why");
        failure.determinate = determinate;
        failure.passing = passing;
        Some(failure)
    }

    #[test]
    fn what_passes_is_tried_again() {
        let tries = vec![failure(true, true), failure(false, true), None];
        let (result, doubts) = call(SHORT, tries);
        result.unwrap();
        assert_eq!(doubts, [false, false, true]);
    }

    /// One try that may have been done makes the whole call one that may have been done.
    #[test]
    fn doubt_stays() {
        for (first, determinate) in [(true, true), (false, false)] {
            let (result, doubts) = call(SHORT, vec![failure(first, true), failure(true, false)]);
            assert_eq!(result.unwrap_err().determinate, determinate);
            assert_eq!(doubts, [false, !first]);
        }
    }

    /// A server that says nothing costs the request's bound, and then the call's.
    #[test]
    fn every_call_ends() {
        let limits = CallLimits {
            call: Duration::from_millis(60),
            ..SHORT
        };
        let (result, doubts) = call(limits, vec![]);
        let failure = result.unwrap_err();
        assert!(!failure.determinate && doubts.len() > 1, "{doubts:?}");
        assert_eq!(failure.kind(), io::ErrorKind::TimedOut);
        assert!(
            failure
                .text()
                .starts_with("given up after 60ms; the last failure was: no answer within 20ms")
        );
    }

    /// The bound strikes in a pause, after tries that are known to have done nothing.
    #[test]
    fn giving_up_in_a_pause_leaves_no_doubt_of_its_own() {
        let limits = CallLimits {
            call: Duration::from_millis(20),
            pause: Duration::from_secs(50),
            ..SHORT
        };
        for known in [true, false] {
            let (result, _) = call(limits, vec![failure(known, true)]);
            let failure = result.unwrap_err();
            assert_eq!(failure.determinate, known);
            assert_eq!(
                failure.text(),
                "given up after 20ms; the last failure was: why"
            );
        }
    }

    /// A caller that is inside of a runtime must neither panic nor stop the call.
    #[test]
    fn calls_may_be_made_inside_of_another_runtime() {
        let runtime = Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (result, _) = call(SHORT, vec![failure(true, true), None]);
            result.unwrap();
        });
    }

    #[test]
    fn bounds_grow_with_the_bytes() {
        let limits = CallLimits::default().for_bytes(64 << 20);
        let seconds = [limits.call, limits.request].map(|d| d.as_secs());
        assert_eq!(seconds, [120 + 128, 30 + 64]);
    }
}
