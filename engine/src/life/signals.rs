//! SIGTERM and SIGINT (ctrl-c), for everything in the process that waits for them.
//!
//! One thread takes them, from the first registration on. Where nothing waits any more, a signal
//! does what it does without Highwater: it ends the process.

use crate::error::{Error, Result};
use parking_lot::Mutex;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::{emulate_default_handler, signal_name};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// How urgent a signal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Urgency {
    /// The first one.
    Asked,
    /// Another one, after the first.
    Insisted,
}

type OnSignal = Arc<dyn Fn(Urgency) + Send + Sync>;

/// Everything that waits.
static WAITING: Mutex<Waiting> = Mutex::new(Waiting {
    thread_runs: false,
    next: 0,
    by_number: BTreeMap::new(),
});

struct Waiting {
    thread_runs: bool,
    next: u64,
    by_number: BTreeMap<u64, Waiter>,
}

struct Waiter {
    on_signal: OnSignal,
    asked: bool,
}

/// Something that waits for signals, until this is dropped.
pub(crate) struct Registration(u64);

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Registration({})", self.0)
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let waiter = WAITING.lock().by_number.remove(&self.0);
        drop(waiter); // after the lock: it may own a whole context
    }
}

/// Calls `f` for each signal from now on, on a thread of its own. It must return at once.
///
/// If something that waits was asked to end already, `f` is called now: a program that is being
/// started while the signal comes would not hear of it, and run on.
///
/// # Errors
/// If the signals cannot be taken, or the thread cannot start.
pub(crate) fn on_signal(f: impl Fn(Urgency) + Send + Sync + 'static) -> Result<Registration> {
    let mut waiting = WAITING.lock();
    if !waiting.thread_runs {
        start_thread()?;
        waiting.thread_runs = true;
    }
    let number = waiting.next;
    waiting.next += 1;
    let asked = waiting.by_number.values().any(|waiter| waiter.asked);
    let on_signal: OnSignal = Arc::new(f);
    let waiter = Waiter {
        on_signal: Arc::clone(&on_signal),
        asked,
    };
    waiting.by_number.insert(number, waiter);
    drop(waiting);
    if asked {
        on_signal(Urgency::Asked);
    }
    Ok(Registration(number))
}

fn start_thread() -> Result<()> {
    let failed = |e| Error::Worker(format!("SIGTERM and SIGINT cannot be waited for: {e}"));
    let mut signals = Signals::new([SIGTERM, SIGINT]).map_err(failed)?;
    let thread = std::thread::Builder::new().name("highwater-signal".to_owned());
    let thread = thread.spawn(move || signals.forever().for_each(came));
    thread.map(drop).map_err(failed)
}

fn came(signal: i32) {
    let name = signal_name(signal).unwrap_or("a signal");
    let calls = calls(&mut WAITING.lock().by_number);
    if calls.is_empty() {
        if let Err(error) = emulate_default_handler(signal) {
            tracing::error!(%error, "{name} has no effect");
        }
        return;
    }
    for (on_signal, urgency) in calls {
        match urgency {
            Urgency::Asked => tracing::info!("{name}: what runs is brought to its end"),
            Urgency::Insisted => tracing::warn!("{name} again: what runs is stopped at once"),
        }
        on_signal(urgency);
    }
}

/// What a signal calls, in the order of registration. The next one is more urgent.
fn calls(waiting: &mut BTreeMap<u64, Waiter>) -> Vec<(OnSignal, Urgency)> {
    let call = |waiter: &mut Waiter| {
        let urgency = match std::mem::replace(&mut waiter.asked, true) {
            false => Urgency::Asked,
            true => Urgency::Insisted,
        };
        (Arc::clone(&waiter.on_signal), urgency)
    };
    waiting.values_mut().map(call).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A supervised program whose context began to wait just after the signal ran on for ever.
    #[test]
    fn what_begins_to_wait_after_the_signal_is_asked_at_once() {
        let (tell, told) = std::sync::mpsc::channel();
        let tells = |name: &'static str| {
            let tell = tell.clone();
            move |urgency| tell.send((name, urgency)).unwrap()
        };
        let outer = on_signal(tells("outer")).unwrap();
        let before = on_signal(tells("before")).unwrap();
        assert!(told.try_recv().is_err());
        for (on_signal, urgency) in calls(&mut WAITING.lock().by_number) {
            on_signal(urgency);
        }
        drop(before);
        let after = on_signal(tells("after")).unwrap();
        let all: Vec<_> = told.try_iter().collect();
        let asked = |name| (name, Urgency::Asked);
        assert_eq!(all, [asked("outer"), asked("before"), asked("after")]);
        drop((outer, after));
        let fresh = on_signal(tells("fresh")).unwrap();
        assert!(
            told.try_recv().is_err(),
            "nothing that was asked waits any more"
        );
        drop(fresh);
    }

    #[test]
    fn the_first_signal_asks_and_the_next_one_insists() {
        let waiter = |asked| Waiter {
            on_signal: Arc::new(|_| {}),
            asked,
        };
        let mut waiting = BTreeMap::from([(4, waiter(false)), (7, waiter(true))]);
        let mut urgencies = || -> Vec<Urgency> {
            let calls = calls(&mut waiting);
            calls.into_iter().map(|(_, urgency)| urgency).collect()
        };
        assert_eq!(urgencies(), [Urgency::Asked, Urgency::Insisted]);
        assert_eq!(urgencies(), [Urgency::Insisted, Urgency::Insisted]);
        assert!(calls(&mut BTreeMap::new()).is_empty());
    }
}
