//! Connecting to a server without holding up a stop.
//!
//! Looking up a name and connecting are calls that cannot be interrupted. They run on a thread of
//! their own. A caller stops waiting for it when the context stops, and the thread ends by itself
//! when the system gives up.

use rustix::net::sockopt::{
    set_socket_keepalive, set_tcp_keepcnt, set_tcp_keepidle, set_tcp_keepintvl,
};
use std::fmt;
use std::io;
use std::net::{TcpStream, ToSocketAddrs};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long one address of the server is tried.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// After so long without a connection an error is reported, and again after each such time.
const REPORT_AFTER: Duration = Duration::from_secs(30);

/// After so long without data the other end is probed ...
const KEEPALIVE_AFTER: Duration = Duration::from_secs(60);
/// ... again and again after so long ...
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// ... and the connection is broken after so many probes without an answer.
const KEEPALIVE_COUNT: u32 = 6;

type Connect = dyn Fn(&str) -> io::Result<TcpStream> + Send + Sync;

/// Connects, one connection at a time, until it is stopped. Clones are the same.
#[derive(Clone)]
pub(crate) struct Dialer {
    connect: Arc<Connect>,
    report_after: Duration,
    shared: Arc<(Mutex<State>, Condvar)>,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Idle,
    Dialing,
    Done(io::Result<TcpStream>),
    Stopped,
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialer").finish_non_exhaustive()
    }
}

impl Dialer {
    pub(crate) fn new(
        connect: impl Fn(&str) -> io::Result<TcpStream> + Send + Sync + 'static,
    ) -> Self {
        Self {
            connect: Arc::new(connect),
            report_after: REPORT_AFTER,
            shared: Arc::default(),
        }
    }

    /// The connection, or `None` once stopped. Calls `still` from time to time while it takes long.
    pub(crate) fn dial(&self, addr: &str, still: impl Fn()) -> io::Result<Option<TcpStream>> {
        {
            let mut state = self.state();
            if matches!(*state, State::Stopped) {
                return Ok(None);
            }
            assert!(matches!(*state, State::Idle), "one connection at a time");
            *state = State::Dialing;
        }
        if let Err(error) = self.begin(addr) {
            self.end(State::Idle);
            return Err(error);
        }
        let mut state = self.state();
        loop {
            match std::mem::take(&mut *state) {
                State::Done(outcome) => return outcome.map(Some),
                State::Stopped => {
                    *state = State::Stopped;
                    return Ok(None);
                }
                waiting => *state = waiting,
            }
            let waited = self.shared.1.wait_timeout(state, self.report_after);
            let (again, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            state = again;
            if timeout.timed_out() && matches!(*state, State::Dialing) {
                drop(state);
                still();
                state = self.state();
            }
        }
    }

    /// Ends the waiting for good.
    pub(crate) fn stop(&self) {
        self.end(State::Stopped);
    }

    fn begin(&self, addr: &str) -> io::Result<()> {
        let (dialer, addr) = (self.clone(), addr.to_owned());
        let thread = std::thread::Builder::new().name("highwater-connect".to_owned());
        let begun = thread.spawn(move || {
            let connected = catch_unwind(AssertUnwindSafe(|| (dialer.connect)(&addr)));
            let panicked = |_| Err(io::Error::other("connecting panicked"));
            dialer.end(State::Done(connected.unwrap_or_else(panicked)));
        });
        begun.map(drop)
    }

    /// Changes the state, unless it is stopped: that is final.
    fn end(&self, next: State) {
        let mut state = self.state();
        if !matches!(*state, State::Stopped) {
            *state = next;
        }
        self.shared.1.notify_all();
    }

    /// The state is consistent between any two statements, so a panic elsewhere does not matter.
    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tries every address of `addr` in turn.
pub(crate) fn connect(addr: &str) -> io::Result<TcpStream> {
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for addr in addr.to_socket_addrs()? {
        let connected = TcpStream::connect_timeout(&addr, CONNECT_TIMEOUT);
        match connected.and_then(|stream| notice_dead_peer(&stream).map(|()| stream)) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Asks the system to find out that the other end is gone without closing: its machine was switched
/// off, or the network is down. Without this a reader waits for ever.
pub(crate) fn notice_dead_peer(stream: &TcpStream) -> io::Result<()> {
    set_tcp_keepidle(stream, KEEPALIVE_AFTER)?;
    set_tcp_keepintvl(stream, KEEPALIVE_INTERVAL)?;
    set_tcp_keepcnt(stream, KEEPALIVE_COUNT)?;
    Ok(set_socket_keepalive(stream, true)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::sync::mpsc;

    #[test]
    fn a_stop_ends_the_waiting_while_the_system_still_tries() {
        let (release, released) = mpsc::channel::<()>();
        let (called, is_called) = mpsc::channel();
        let released = Mutex::new(released);
        let dialer = Dialer::new(move |_| {
            called.send(()).unwrap();
            let _ = released.lock().unwrap().recv();
            Err(io::ErrorKind::TimedOut.into())
        });
        let stopper = dialer.clone();
        let stopping = std::thread::spawn(move || {
            is_called.recv().unwrap();
            stopper.stop();
        });
        assert!(dialer.dial("nowhere:1", || ()).unwrap().is_none());
        stopping.join().unwrap();
        drop(release);
        assert!(
            dialer.dial("nowhere:1", || ()).unwrap().is_none(),
            "for ever"
        );
    }

    #[test]
    fn what_takes_long_is_said_and_ends_all_the_same() {
        let (release, released) = mpsc::channel::<()>();
        let released = Mutex::new(released);
        let mut dialer = Dialer::new(move |_| {
            released.lock().unwrap().recv().unwrap();
            Err(io::ErrorKind::ConnectionRefused.into())
        });
        dialer.report_after = Duration::from_millis(1);
        let still = || release.send(()).unwrap();
        let error = dialer.dial("nowhere:1", still).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[test]
    fn a_panic_is_an_error_and_the_next_try_may_succeed() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap().to_string();
        let first = Mutex::new(true);
        let dialer = Dialer::new(move |addr| {
            let is_first =
                std::mem::take(&mut *first.lock().unwrap_or_else(PoisonError::into_inner));
            assert!(!is_first, "the first one fails");
            connect(addr)
        });
        assert!(dialer.dial(&addr, || ()).is_err());
        let stream = dialer.dial(&addr, || ()).unwrap().unwrap();
        assert!(rustix::net::sockopt::socket_keepalive(&stream).unwrap());
    }
}
