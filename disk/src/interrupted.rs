//! Calls that a signal interrupts, and which of them are made again.
//!
//! A read or a query changes nothing, so it is made again. A write that a later sync covers goes on
//! where it stopped. A sync is never made again, nor a write that also syncs (`RWF_DSYNC`). The
//! interrupted call may have met an error, and the kernel reports an error only once.

use std::io;

/// After so many interruptions in a row the error is returned, so that nothing hangs for ever.
const MAX_IN_A_ROW: u32 = 1000;

/// Counts interruptions of one call without progress.
#[derive(Debug, Default)]
pub(crate) struct Interruptions(u32);

impl Interruptions {
    /// Whether the call that returned `error` is to be made again.
    pub(crate) fn again(&mut self, error: &io::Error) -> bool {
        self.0 += 1;
        error.kind() == io::ErrorKind::Interrupted && self.0 < MAX_IN_A_ROW
    }
}

/// Makes a call again while signals interrupt it. For reads, queries, and calls that may be done
/// twice; never for a sync.
pub(crate) fn uninterrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let mut interruptions = Interruptions::default();
    loop {
        match call() {
            Err(e) if interruptions.again(&e) => {}
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_made_again_while_signals_interrupt_it_but_not_for_ever() {
        let mut calls = 0;
        let third = uninterrupted(|| {
            calls += 1;
            match calls {
                3 => Ok("read"),
                _ => Err(io::Error::from(io::ErrorKind::Interrupted)),
            }
        });
        assert_eq!(third.unwrap(), "read");
        let mut calls = 0;
        let endless = uninterrupted(|| -> io::Result<()> {
            calls += 1;
            Err(io::ErrorKind::Interrupted.into())
        });
        assert_eq!(endless.unwrap_err().kind(), io::ErrorKind::Interrupted);
        assert_eq!(calls, MAX_IN_A_ROW);
    }

    #[test]
    fn another_error_ends_it_at_once() {
        let mut calls = 0;
        let failed = uninterrupted(|| -> io::Result<()> {
            calls += 1;
            Err(io::ErrorKind::PermissionDenied.into())
        });
        assert_eq!(failed.unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        assert_eq!(calls, 1);
    }
}
