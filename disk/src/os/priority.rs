//! Scheduling priority of the calling thread, raised for a while.
//!
//! Beside threads that compute without pause, a thread that was woken when its write was done waits
//! for the end of their time slice: milliseconds, where the write took microseconds. Raised, it
//! runs at once.

use std::io;
use std::marker::PhantomData;

/// How urgently a thread is to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Priority {
    /// As its creator decided.
    #[default]
    Ordinary,
    /// With this nice value, from -20 (most urgent) to 19. Raising needs `CAP_SYS_NICE` or
    /// `RLIMIT_NICE`.
    Nice(i8),
    /// Before every ordinary thread (`SCHED_FIFO`), with this priority from 1 to 99. Needs
    /// `CAP_SYS_NICE` or `RLIMIT_RTPRIO`.
    RealTime(u8),
}

/// The calling thread has the priority while this lives. Not `Send`: it is about one thread.
#[derive(Debug)]
pub struct Raised {
    before: Before,
    _thread: PhantomData<*const ()>,
}

#[derive(Debug)]
enum Before {
    Nice(i32),
    /// An ordinary policy and the thread's parameter for it.
    Policy(i32, libc::sched_param),
}

impl Priority {
    /// Raises the calling thread until the result is dropped; `None` if there is nothing to raise,
    /// because the thread is that urgent already.
    ///
    /// # Errors
    /// [`io::ErrorKind::PermissionDenied`] if the process may not.
    pub fn raise(self) -> io::Result<Option<Raised>> {
        let before = match self {
            Self::Ordinary => return Ok(None),
            Self::Nice(nice) => raise_nice(i32::from(nice))?,
            Self::RealTime(priority) => raise_policy(i32::from(priority))?,
        };
        Ok(before.map(|before| Raised {
            before,
            _thread: PhantomData,
        }))
    }
}

fn raise_nice(wanted: i32) -> io::Result<Option<Before>> {
    // Linux: 0 is the calling thread, not the process.
    let before = rustix::process::getpriority_process(None)?;
    if before <= wanted {
        return Ok(None);
    }
    rustix::process::setpriority_process(None, wanted)?;
    Ok(Some(Before::Nice(before)))
}

fn raise_policy(priority: i32) -> io::Result<Option<Before>> {
    let mut param = libc::sched_param { sched_priority: 0 };
    #[expect(unsafe_code, reason = "system calls that the standard library has not")]
    // SAFETY: the calls take the calling thread (0) and a parameter that lives during the call.
    let policy = unsafe {
        let policy = libc::sched_getscheduler(0);
        if policy < 0 || libc::sched_getparam(0, &raw mut param) != 0 {
            return Err(io::Error::last_os_error());
        }
        policy
    };
    if matches!(policy, libc::SCHED_FIFO | libc::SCHED_RR) {
        return Ok(None);
    }
    set_policy(
        libc::SCHED_FIFO,
        libc::sched_param {
            sched_priority: priority,
        },
    )?;
    Ok(Some(Before::Policy(policy, param)))
}

fn set_policy(policy: i32, param: libc::sched_param) -> io::Result<()> {
    #[expect(
        unsafe_code,
        reason = "a system call that the standard library has not"
    )]
    // SAFETY: the call takes the calling thread (0) and a parameter that lives during the call.
    match unsafe { libc::sched_setscheduler(0, policy, &raw const param) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

impl Drop for Raised {
    /// Going back to an ordinary priority is always permitted.
    fn drop(&mut self) {
        let _ = match self.before {
            Before::Nice(nice) => {
                rustix::process::setpriority_process(None, nice).map_err(Into::into)
            }
            Before::Policy(policy, param) => set_policy(policy, param),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> i32 {
        #[expect(unsafe_code, reason = "asks the kernel")]
        // SAFETY: takes the calling thread and no pointer.
        unsafe {
            libc::sched_getscheduler(0)
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
                assert_eq!(policy(), libc::SCHED_FIFO);
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
