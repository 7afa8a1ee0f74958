//! One run of a closure on a disk, to its end or to the cut.

use crate::SimDisk;
use std::any::Any;
use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

pub(super) type BoxError = Box<dyn Error + Send + Sync>;

/// A program or a check, and what it acknowledges.
pub(super) type Closure<'a, A> = dyn Fn(Arc<SimDisk>, &mut A) -> Result<(), BoxError> + 'a;

/// Runs `closure` on `disk`. An error and a panic are failures, unless the power went off: what a
/// process says that is dead by then counts for nothing.
pub(super) fn live<A>(
    closure: &Closure<'_, A>,
    disk: &SimDisk,
    acknowledged: &mut A,
) -> Result<(), String> {
    let handle = Arc::new(disk.clone());
    let ended = catch_unwind(AssertUnwindSafe(|| closure(handle, acknowledged)));
    let failed = match ended {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(error)) => with_causes(&*error),
        Err(panic) => panic_text(&*panic),
    };
    if disk.is_alive() { Err(failed) } else { Ok(()) }
}

/// An error and its causes, unless it names them itself.
fn with_causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
    format!("panicked: {}", text.unwrap_or_else(|| "no text".to_owned()))
}
