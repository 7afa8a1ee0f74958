//! Whether the reader of a tool's output is still there.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::os::fd::AsFd;

/// True if the reader of `output` (a pipe, a socket) has gone away, so that there is no point in
/// waiting for more to write.
pub fn reader_is_gone(output: &impl AsFd) -> bool {
    let mut fds = [PollFd::new(output, PollFlags::empty())];
    let at_once = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let gone = PollFlags::ERR | PollFlags::HUP;
    let ready = poll(&mut fds, Some(&at_once)).is_ok_and(|ready| ready > 0);
    ready && fds.iter().any(|fd| fd.revents().intersects(gone))
}

#[cfg(test)]
#[cfg_attr(miri, allow(unused, reason = "Miri has no such system calls"))]
mod tests {
    use super::*;
    use std::io;

    #[test]
    #[cfg_attr(miri, ignore = "Miri has no such system calls")]
    fn a_reader_that_went_away_is_noticed() {
        let (reader, writer) = io::pipe().unwrap();
        assert!(!reader_is_gone(&writer));
        drop(reader);
        assert!(reader_is_gone(&writer));
    }
}
