//! The sender: a bounded number of lines without acknowledgement. After a lost connection it sends
//! exactly those again, under the same sequence numbers.

use crate::demo::parent::child_process::ChildProcess;
use crate::demo::parent::kills::{Answers, KillPoint};
use crate::demo::parent::progress::Progress;
use highwater::disk::{Clock, Notify};
use highwater_log::outcome::Result;
use parking_lot::{Condvar, Mutex};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::Duration;

/// Lines that may be on their way without acknowledgement.
const WINDOW: u64 = 2048;
/// The rate is kept in steps of this length.
const TICK: Duration = Duration::from_millis(1);
/// The producer id: sequence numbers are counted per producer.
const PRODUCER: &str = "demo";
/// A child that does not answer for so long counts as hung.
const PATIENCE: Duration = Duration::from_secs(30);

/// Everything about sending that outlives a connection.
pub(crate) struct Sender<'a> {
    pub(crate) lines: &'a [String],
    /// How many lines there are to send, all rounds together.
    pub(crate) total: u64,
    /// The first so many are acknowledged.
    pub(crate) acknowledged: u64,
    /// The first so many were handed to the network at least once.
    pub(crate) sent: u64,
    /// Lines handed to it once more.
    pub(crate) resent: u64,
    /// Lines per second, at most.
    pub(crate) rate: u64,
    pub(crate) clock: &'a Arc<dyn Clock>,
    pub(crate) progress: &'a Progress,
}

/// How a connection ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// Every line is acknowledged.
    Everything,
    /// The child was killed as planned.
    Killed,
}

/// How much was acknowledged through one connection, for both threads.
struct Window {
    state: Mutex<WindowState>,
    changed: Condvar,
}

struct WindowState {
    acknowledged: u64,
    first_ack: Option<Duration>,
    killed: bool,
    /// Set when nothing more comes: why, or empty if everything is acknowledged.
    closed: Option<String>,
}

impl Sender<'_> {
    /// Sends what is not acknowledged, until everything is or the child is killed as `kill` says.
    /// Also returns the age of the child at the first acknowledgement.
    pub(crate) fn send_all(
        &mut self,
        child: &ChildProcess,
        address: &str,
        kill: Option<KillPoint>,
    ) -> Result<(Sent, Option<Duration>)> {
        if self.acknowledged == self.total {
            child.kill();
            return Ok((kill.map_or(Sent::Everything, |_| Sent::Killed), None));
        }
        let connected = TcpStream::connect(address).and_then(|stream| {
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            Ok((stream.try_clone()?, stream))
        });
        let (answers, lines) = connected.map_err(|e| {
            child.failure(&format!("does not accept a connection on {address}: {e}"))
        })?;
        let window = Window {
            state: Mutex::new(WindowState {
                acknowledged: self.acknowledged,
                first_ack: None,
                killed: false,
                closed: None,
            }),
            changed: Condvar::new(),
        };
        std::thread::scope(|scope| {
            let (total, clock, progress, window) = (self.total, self.clock, self.progress, &window);
            scope.spawn(move || {
                Reader {
                    window,
                    child,
                    kill,
                    total,
                    clock,
                    progress,
                }
                .read(&answers)
            });
            // An error means that the child is gone: the reader notices too and knows why.
            let _ = self.send(&lines, window);
            window.await_end();
            // The reader may still wait for a child that hangs.
            let _ = lines.shutdown(Shutdown::Both);
        });
        let state = window.state.into_inner();
        self.acknowledged = state.acknowledged;
        if state.killed {
            return Ok((Sent::Killed, state.first_ack));
        }
        if self.acknowledged == self.total {
            return Ok((Sent::Everything, state.first_ack));
        }
        let why = state.closed.unwrap_or_default();
        Err(child.failure(&format!(
            "stopped acknowledging after {} lines: {why}",
            self.acknowledged
        )))
    }

    /// Sends from the first line that is not acknowledged on, as fast as window and rate allow.
    fn send(&mut self, stream: &TcpStream, window: &Window) -> io::Result<()> {
        let mut stream = BufWriter::with_capacity(32 << 10, stream);
        let (first, begun) = (self.acknowledged, self.clock.now());
        let mut next = first;
        while next < self.total {
            let Some(room) = window.room(next) else {
                return Ok(());
            };
            let allowed = first.saturating_add(self.lines_in(self.clock.now() - begun + TICK));
            let until = self.total.min(next + room).min(allowed);
            if until <= next {
                wait(&**self.clock, TICK);
                continue;
            }
            for number in next..until {
                writeln!(
                    stream,
                    "{PRODUCER} {} {number}\t{}",
                    number + 1,
                    self.line(number)
                )?;
                if number < self.sent {
                    self.resent += 1;
                }
                self.sent = self.sent.max(number + 1);
            }
            stream.flush()?;
            next = until;
        }
        Ok(())
    }

    fn lines_in(&self, time: Duration) -> u64 {
        let lines = u128::from(self.rate) * time.as_micros() / 1_000_000;
        u64::try_from(lines).unwrap_or(u64::MAX)
    }

    fn line(&self, number: u64) -> &str {
        let index = number
            .checked_rem(self.lines.len() as u64)
            .and_then(|i| usize::try_from(i).ok());
        index
            .and_then(|i| self.lines.get(i))
            .map_or("", String::as_str)
    }
}

impl Window {
    /// Waits for room in the window; `None` if the connection is over.
    fn room(&self, next: u64) -> Option<u64> {
        let mut state = self.state.lock();
        loop {
            if state.closed.is_some() {
                return None;
            }
            let room = WINDOW - (next - state.acknowledged).min(WINDOW);
            if room > 0 {
                return Some(room);
            }
            self.changed.wait(&mut state);
        }
    }

    fn await_end(&self) {
        let mut state = self.state.lock();
        while state.closed.is_none() {
            self.changed.wait(&mut state);
        }
    }

    fn close(&self, why: &str) {
        self.state.lock().closed = Some(why.to_owned());
        self.changed.notify_all();
    }
}

/// The half that reads acknowledgements, and kills.
struct Reader<'a> {
    window: &'a Window,
    child: &'a ChildProcess,
    kill: Option<KillPoint>,
    total: u64,
    clock: &'a Arc<dyn Clock>,
    progress: &'a Progress,
}

impl Reader<'_> {
    /// Reads until everything is acknowledged or the child is gone.
    fn read(mut self, stream: &TcpStream) {
        let mut stream = BufReader::new(stream);
        let mut line = String::new();
        let why = loop {
            line.clear();
            match stream.read_line(&mut line) {
                Ok(0) => break "the connection was closed".to_owned(),
                Ok(_) if !line.ends_with('\n') => {
                    break "the connection broke inside a line".to_owned();
                }
                Ok(_) if is_ok(&line) => {}
                Ok(_) => break format!("it answered {:?}", line.trim_end()),
                Err(e) => break e.to_string(),
            }
            let acknowledged = self.one_more();
            if let Some(point) = self
                .kill
                .take_if(|point| acknowledged >= point.acknowledged)
            {
                self.window.state.lock().killed = true;
                wait(&**self.clock, point.delay);
                self.child.kill();
                match point.answers {
                    Answers::Arrive => {} // every answer that it gave counts
                    Answers::Lost => break String::new(),
                }
            } else if acknowledged == self.total {
                break String::new();
            }
        };
        self.window.close(&why);
    }

    fn one_more(&self) -> u64 {
        let mut state = self.window.state.lock();
        state.acknowledged += 1;
        state.first_ack.get_or_insert_with(|| self.child.age());
        let acknowledged = state.acknowledged;
        drop(state);
        self.window.changed.notify_all();
        self.progress.acknowledged(acknowledged);
        acknowledged
    }
}

/// An acknowledgement: `ok` and the LSN, and `duplicate` for a line that was sent again after a
/// kill.
fn is_ok(line: &str) -> bool {
    let lsn = line.trim_end().strip_prefix("ok ");
    let lsn = lsn.map(|lsn| lsn.strip_suffix(" duplicate").unwrap_or(lsn));
    lsn.is_some_and(|lsn| lsn.parse::<u64>().is_ok())
}

/// Waits for some time. For the moment of a kill there is nothing else to wait for.
pub(crate) fn wait(clock: &dyn Clock, time: Duration) {
    let never = Arc::new(Notify::default());
    let _deadline = clock.wait(&never, Some(clock.now().saturating_add(time)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_acknowledgements_count() {
        assert!(is_ok("ok 4096\n") && is_ok("ok 4096 duplicate\n"));
        for other in [
            "ok\n",
            "ok duplicate\n",
            "ok x\n",
            "err full\n",
            "okay 1\n",
            "\n",
        ] {
            assert!(!is_ok(other), "{other:?}");
        }
    }
}
