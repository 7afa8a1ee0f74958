//! Panics that tests cause on purpose print nothing. The hook is one of the process: tests that run
//! beside each other share it.

use std::cell::Cell;
use std::sync::Once;

thread_local! {
    static UNHEARD: Cell<bool> = const { Cell::new(false) };
}

/// From now on panics that say "on purpose" print nothing.
pub(crate) fn expect_on_purpose() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let payload = info.payload_as_str();
            if !UNHEARD.get() && !payload.is_some_and(|said| said.contains("on purpose")) {
                hook(info);
            }
        }));
    });
}

/// No panic of this thread prints anything while `work` runs.
pub(crate) fn unheard<R>(work: impl FnOnce() -> R) -> R {
    expect_on_purpose();
    UNHEARD.set(true);
    let done = work();
    UNHEARD.set(false);
    done
}
