//! The honest sender: a bounded number of lines without acknowledgement, and after a loss of the
//! connection exactly those again, under the same sequence numbers.

use super::life::Life;
use super::schedule::{Answers, Strike};
use super::show::Show;
use crate::outcome::Result;
use highwater::disk::{Clock, Notify};
use parking_lot::{Condvar, Mutex};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::Duration;

/// Lines that may be on their way without acknowledgement.
const WINDOW: u64 = 2048;
/// The rate is kept in steps of this length.
const TICK: Duration = Duration::from_millis(1);
/// Who we are: sequence numbers are counted per producer.
const PRODUCER: &str = "demo";
/// A child that is silent for so long counts as hung.
const PATIENCE: Duration = Duration::from_secs(30);

/// Everything about sending that outlives a connection.
pub(crate) struct Feeder<'a> {
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
    pub(crate) show: &'a Show,
}

/// How a connection ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fed {
    /// Every line is acknowledged.
    Everything,
    /// The child was killed as planned.
    Killed,
}

/// How much was acknowledged through one connection, for both threads.
struct Flow {
    state: Mutex<FlowState>,
    changed: Condvar,
}

struct FlowState {
    acknowledged: u64,
    first_ack: Option<Duration>,
    killed: bool,
    /// Nothing more comes; why, unless everything is acknowledged.
    closed: Option<String>,
}

impl Feeder<'_> {
    /// Sends what is not acknowledged, until everything is or the child is killed as `kill` says.
    /// Also returns the age of the child at the first acknowledgement.
    pub(crate) fn feed(
        &mut self,
        life: &Life,
        address: &str,
        kill: Option<Strike>,
    ) -> Result<(Fed, Option<Duration>)> {
        if self.acknowledged == self.total {
            life.kill();
            return Ok((kill.map_or(Fed::Everything, |_| Fed::Killed), None));
        }
        let connected = TcpStream::connect(address).and_then(|stream| {
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            Ok((stream.try_clone()?, stream))
        });
        let (answers, lines) = connected.map_err(|e| {
            life.failure(&format!("does not accept a connection on {address}: {e}"))
        })?;
        let flow = Flow {
            state: Mutex::new(FlowState {
                acknowledged: self.acknowledged,
                first_ack: None,
                killed: false,
                closed: None,
            }),
            changed: Condvar::new(),
        };
        std::thread::scope(|scope| {
            let (total, clock, show, flow) = (self.total, self.clock, self.show, &flow);
            scope.spawn(move || {
                Reader {
                    flow,
                    life,
                    kill,
                    total,
                    clock,
                    show,
                }
                .read(&answers)
            });
            // An error means that the child is gone: the reader notices as well and knows why.
            let _ = self.send(&lines, flow);
            flow.await_end();
            // The reader may still wait for a child that hangs.
            let _ = lines.shutdown(Shutdown::Both);
        });
        let state = flow.state.into_inner();
        self.acknowledged = state.acknowledged;
        if state.killed {
            return Ok((Fed::Killed, state.first_ack));
        }
        if self.acknowledged == self.total {
            return Ok((Fed::Everything, state.first_ack));
        }
        let why = state.closed.unwrap_or_default();
        Err(life.failure(&format!(
            "stopped acknowledging after {} lines: {why}",
            self.acknowledged
        )))
    }

    /// Sends from the first line that is not acknowledged on, as fast as window and rate allow.
    fn send(&mut self, stream: &TcpStream, flow: &Flow) -> io::Result<()> {
        let mut stream = BufWriter::with_capacity(32 << 10, stream);
        let (first, begun) = (self.acknowledged, self.clock.now());
        let mut next = first;
        while next < self.total {
            let Some(room) = flow.room(next) else {
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

impl Flow {
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
    flow: &'a Flow,
    life: &'a Life,
    kill: Option<Strike>,
    total: u64,
    clock: &'a Arc<dyn Clock>,
    show: &'a Show,
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
            if let Some(strike) = self
                .kill
                .take_if(|strike| acknowledged >= strike.acknowledged)
            {
                self.flow.state.lock().killed = true;
                wait(&**self.clock, strike.delay);
                self.life.kill();
                match strike.answers {
                    Answers::Arrive => {} // whatever it said before it died counts
                    Answers::Lost => break String::new(),
                }
            } else if acknowledged == self.total {
                break String::new();
            }
        };
        self.flow.close(&why);
    }

    fn one_more(&self) -> u64 {
        let mut state = self.flow.state.lock();
        state.acknowledged += 1;
        state.first_ack.get_or_insert_with(|| self.life.age());
        let acknowledged = state.acknowledged;
        drop(state);
        self.flow.changed.notify_all();
        self.show.acknowledged(acknowledged);
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

/// Waits for the moment of a kill, which is a moment in time and nothing else.
pub(crate) fn wait(clock: &dyn Clock, time: Duration) {
    let nobody_rings = Arc::new(Notify::default());
    let _deadline = clock.wait(&nobody_rings, Some(clock.now().saturating_add(time)));
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
