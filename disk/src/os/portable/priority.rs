//! Scheduling priority: systems other than Linux have it for processes, or under other rules.

use std::convert::Infallible;
use std::io;

/// No thread was ever raised.
pub(crate) type Before = Infallible;

pub(crate) fn raise_nice(_wanted: i32) -> io::Result<Option<Before>> {
    Err(io::ErrorKind::Unsupported.into())
}

pub(crate) fn raise_policy(_priority: i32) -> io::Result<Option<Before>> {
    Err(io::ErrorKind::Unsupported.into())
}

pub(crate) fn restore(before: &Before) {
    match *before {}
}

#[cfg(test)]
mod tests {
    use crate::os::priority::Priority;
    use std::io;

    #[test]
    fn a_thread_is_not_raised_and_told_so() {
        assert!(Priority::Ordinary.raise().unwrap().is_none());
        for priority in [Priority::Nice(-5), Priority::RealTime(1)] {
            let error = priority.raise().unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::Unsupported);
        }
    }
}
