//! Scheduling priority of the calling thread, raised for a while.
//!
//! Beside threads that compute without pause, a thread that was woken when its write was done waits
//! for the end of their time slice: milliseconds, where the write took microseconds. Raised, it
//! runs at once.

use crate::os::native::priority as native;
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
    before: native::Before,
    _thread: PhantomData<*const ()>,
}

impl Priority {
    /// Raises the calling thread until the result is dropped; `None` if there is nothing to raise,
    /// because the thread is that urgent already.
    ///
    /// # Errors
    /// [`io::ErrorKind::PermissionDenied`] if the process may not;
    /// [`io::ErrorKind::Unsupported`] on systems other than Linux.
    pub fn raise(self) -> io::Result<Option<Raised>> {
        let before = match self {
            Self::Ordinary => return Ok(None),
            Self::Nice(nice) => native::raise_nice(i32::from(nice))?,
            Self::RealTime(priority) => native::raise_policy(i32::from(priority))?,
        };
        Ok(before.map(|before| Raised {
            before,
            _thread: PhantomData,
        }))
    }
}

impl Drop for Raised {
    fn drop(&mut self) {
        native::restore(&self.before);
    }
}
