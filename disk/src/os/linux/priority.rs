//! Scheduling priority of the calling thread: Linux has one for each thread, although POSIX knows
//! one for each process.

use libc::{SYS_sched_getparam, SYS_sched_getscheduler, SYS_sched_setscheduler, c_int, c_long};
use std::io;

/// What a thread goes back to.
#[derive(Debug)]
pub(crate) enum Before {
    Nice(i32),
    /// An ordinary policy and the thread's parameter for it.
    Policy(c_int, Param),
}

/// The kernel's `sched_param`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(crate) struct Param {
    priority: c_int,
}

/// The calling thread.
const SELF: c_int = 0;

/// Raises the thread to this nice value, if that is more urgent.
pub(crate) fn raise_nice(wanted: i32) -> io::Result<Option<Before>> {
    // Linux: 0 is the calling thread, not the process.
    let before = rustix::process::getpriority_process(None)?;
    if before <= wanted {
        return Ok(None);
    }
    rustix::process::setpriority_process(None, wanted)?;
    Ok(Some(Before::Nice(before)))
}

/// Lets the thread run before every ordinary one.
pub(crate) fn raise_policy(priority: i32) -> io::Result<Option<Before>> {
    let mut param = Param { priority: 0 };
    #[expect(
        unsafe_code,
        reason = "a system call that the standard library has not"
    )]
    // SAFETY: the call takes the calling thread and no pointer.
    let policy = known(unsafe { libc::syscall(SYS_sched_getscheduler, SELF) })?;
    #[expect(
        unsafe_code,
        reason = "a system call that the standard library has not"
    )]
    // SAFETY: the kernel writes one `c_int` into the parameter, which lives during the call.
    known(unsafe { libc::syscall(SYS_sched_getparam, SELF, &raw mut param) })?;
    if matches!(policy, libc::SCHED_FIFO | libc::SCHED_RR) {
        return Ok(None);
    }
    set_policy(libc::SCHED_FIFO, Param { priority })?;
    Ok(Some(Before::Policy(policy, param)))
}

fn set_policy(policy: c_int, param: Param) -> io::Result<()> {
    #[expect(
        unsafe_code,
        reason = "a system call that the standard library has not"
    )]
    // SAFETY: the kernel reads one `c_int` from the parameter, which lives during the call.
    let set = unsafe { libc::syscall(SYS_sched_setscheduler, SELF, policy, &raw const param) };
    known(set).map(|_| ())
}

/// What a system call returned. Called by number, because musl answers these three with ENOSYS.
fn known(returned: c_long) -> io::Result<c_int> {
    c_int::try_from(returned)
        .ok()
        .filter(|known| *known >= 0)
        .ok_or_else(io::Error::last_os_error)
}

/// Going back to an ordinary priority is always permitted.
pub(crate) fn restore(before: &Before) {
    let _ = match *before {
        Before::Nice(nice) => rustix::process::setpriority_process(None, nice).map_err(Into::into),
        Before::Policy(policy, param) => set_policy(policy, param),
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::priority::Priority;

    fn policy() -> c_long {
        #[expect(unsafe_code, reason = "asks the kernel")]
        // SAFETY: takes the calling thread and no pointer.
        unsafe {
            libc::syscall(SYS_sched_getscheduler, SELF)
        }
    }

    /// Where the process may not, that is an error and nothing has changed.
    #[test]
    #[cfg_attr(miri, ignore = "Miri knows no scheduler")]
    fn a_thread_is_raised_and_goes_back() {
        let before = policy();
        match Priority::RealTime(1).raise() {
            Ok(raised) => {
                assert!(raised.is_some());
                assert_eq!(policy(), c_long::from(libc::SCHED_FIFO));
                assert!(
                    Priority::RealTime(1).raise().unwrap().is_none(),
                    "it is already"
                );
            }
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "{error}"),
        }
        assert_eq!(policy(), before);
        let nice = || rustix::process::getpriority_process(None).unwrap();
        let before = nice();
        if let Ok(raised) = Priority::Nice(-5).raise() {
            assert!(raised.is_some() && nice() == -5);
        }
        assert_eq!(nice(), before);
        assert!(Priority::Ordinary.raise().unwrap().is_none());
        assert!(
            Priority::Nice(19).raise().unwrap().is_none(),
            "never lowers a thread"
        );
    }
}
