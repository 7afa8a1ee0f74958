//! One connection of `socket_listen`: lines in, answers out. The protocol is described at
//! [`Sources::socket_listen_with`](crate::Sources::socket_listen_with).
//!
//! The guarantee depends on the order: append everything that was read, then sync once, then
//! answer.

use crate::answers::Answers;
use crate::dial::notice_dead_peer;
use crate::lines::{Limits, LineBuffer, Piece, text_of};
use highwater_engine::wal::Lsn;
use highwater_engine::wal::disk::Clock;
use highwater_engine::{Error, Receipt, SourceContext};
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

/// Lines that are stored and answered at a time, at most.
const MAX_ROUND_LINES: usize = 8192;
/// A client that takes no answers for so long is disconnected: its connection holds memory and a
/// thread. A client that takes them byte by byte has at most twice as long for the answers of a
/// round.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a closing connection waits for the client to take the last answer.
const LINGER: Duration = Duration::from_millis(200);
/// A client that goes on sending is read from at most so many times.
const LINGER_READS: usize = 16;
/// The longest name of a producer, in bytes.
pub(crate) const MAX_PRODUCER_BYTES: usize = 128;

/// How a line is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// The line is the record.
    Plain,
    /// `<id> <seq> <line>`.
    Deduplicated,
}

/// A client that is being served.
#[derive(Debug)]
pub(crate) struct Connection<'a> {
    pub(crate) source: &'a SourceContext,
    pub(crate) stream: &'a TcpStream,
    pub(crate) peer: SocketAddr,
    pub(crate) framing: Framing,
    pub(crate) limits: Limits,
    pub(crate) idle_timeout: Duration,
}

/// A line to store, or why it is refused.
#[derive(Debug)]
enum Offer<'a> {
    Line(&'a str),
    Numbered {
        producer: &'a str,
        sequence: u64,
        line: &'a str,
    },
    Refused(String),
}

/// The result of some lines: the answers in order, up to the line at which the log failed, if it
/// did.
#[derive(Debug, Default)]
struct Round {
    answers: Answers,
    newest: Option<Lsn>,
    failure: Option<Error>,
}

impl Connection<'_> {
    /// Serves the client until it leaves, the context stops or the log fails.
    pub(crate) fn serve(&self) {
        let prepared = notice_dead_peer(self.stream)
            .and_then(|()| self.stream.set_nodelay(true))
            .and_then(|()| self.stream.set_write_timeout(Some(WRITE_TIMEOUT)))
            .and_then(|()| self.stream.set_read_timeout(Some(self.idle_timeout)));
        match prepared.and_then(|()| self.exchange()) {
            Ok(None) => {}
            Ok(Some(last_answer)) => close_with(self.stream, &last_answer),
            Err(error) => {
                tracing::debug!(source = self.source.name(), peer = %self.peer, %error, "connection lost");
            }
        }
    }

    /// Returns the last answer.
    fn exchange(&self) -> io::Result<Option<String>> {
        let mut buffer = LineBuffer::new(self.limits.max_line_bytes, 0);
        let clock = self.source.clock();
        let mut newest_line = clock.now();
        loop {
            let count = self.read(&mut buffer);
            if self.source.is_stopping() {
                return Ok(Some("err stopping\n".to_owned()));
            }
            if buffer.begins_as_utf16() {
                return Ok(Some(self.refuse_utf16()));
            }
            let silent = matches!(&count, Err(e) if is_timeout(e));
            if !silent && !matches!(count, Ok(1..)) {
                self.note_half_line(&buffer);
                return count.map(|_| None);
            }
            loop {
                let pieces = buffer.take(MAX_ROUND_LINES);
                if pieces.is_empty() {
                    break;
                }
                if let Some(last_answer) = self.answer(&buffer, &pieces)? {
                    return Ok(Some(last_answer));
                }
                newest_line = clock.now(); // only now: what we took to answer is no fault of the client
            }
            // Bytes without a line end do not count: a slow client could keep its connection with
            // them for ever.
            if silent || clock.now().saturating_sub(newest_line) >= self.idle_timeout {
                self.note_half_line(&buffer);
                let idle = self.idle_timeout;
                return Ok(Some(format!("err idle: no line for {idle:?}\n")));
            }
        }
    }

    fn refuse_utf16(&self) -> String {
        let peer = self.peer;
        self.source.skip(&format!(
            "{peer} sends UTF-16, by its first two bytes: its connection is closed"
        ));
        "err utf-16: this source takes UTF-8\n".to_owned()
    }

    fn read(&self, buffer: &mut LineBuffer) -> io::Result<usize> {
        loop {
            match buffer.fill(|room| Read::read(&mut &*self.stream, room)) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                done => return done,
            }
        }
    }

    fn note_half_line(&self, buffer: &LineBuffer) {
        if let Some(at) = buffer.unfinished() {
            self.source.skip(&format!(
                "{} disconnected in the middle of the line at byte {at} of its connection: the half line is not \
                 stored, and was not acknowledged",
                self.peer
            ));
        }
    }

    /// Stores what arrived, makes it durable, and only then answers.
    fn answer(&self, buffer: &LineBuffer, pieces: &[Piece]) -> io::Result<Option<String>> {
        let round = self.store(buffer, pieces);
        if let Some(newest) = round.newest
            && let Err(error) = self.source.sync_to(newest)
        {
            return Ok(Some(refusal(&error)));
        }
        let clock = self.source.clock();
        write_within(
            &mut &*self.stream,
            round.answers.as_bytes(),
            &*clock,
            WRITE_TIMEOUT,
        )?;
        Ok(round.failure.as_ref().map(refusal))
    }

    /// Appends the lines in their order, as few frames as their producers allow.
    fn store(&self, buffer: &LineBuffer, pieces: &[Piece]) -> Round {
        let offers: Vec<Offer<'_>> = pieces
            .iter()
            .map(|piece| self.offer(buffer, piece))
            .collect();
        let mut round = Round::default();
        for run in offers.chunk_by(Offer::goes_with) {
            let stored = match run.first() {
                Some(Offer::Numbered { producer, .. }) => {
                    self.store_once(producer, run, &mut round)
                }
                Some(Offer::Refused(reason)) => {
                    round.answers.refused(reason);
                    Ok(())
                }
                Some(Offer::Line(_)) | None => self.store_plain(run, &mut round),
            };
            if let Err(error) = stored {
                round.failure = Some(error);
                break;
            }
        }
        round
    }

    fn store_plain(&self, run: &[Offer<'_>], round: &mut Round) -> Result<(), Error> {
        let lines: Vec<&str> = run
            .iter()
            .filter_map(|offer| {
                if let Offer::Line(line) = offer {
                    Some(*line)
                } else {
                    None
                }
            })
            .collect();
        for group in self.limits.groups(&lines, |line| line.len()) {
            let lsn = self.source.append_text(group)?;
            round.newest = round.newest.max(Some(lsn));
            for _ in group {
                round.answers.stored(Receipt::Stored(lsn));
            }
        }
        Ok(())
    }

    fn store_once(
        &self,
        producer: &str,
        run: &[Offer<'_>],
        round: &mut Round,
    ) -> Result<(), Error> {
        let lines: Vec<(u64, &[u8])> = run
            .iter()
            .filter_map(|offer| match offer {
                Offer::Numbered { sequence, line, .. } => Some((*sequence, line.as_bytes())),
                _ => None,
            })
            .collect();
        for group in self.limits.groups(&lines, |(_, line)| line.len()) {
            let appended = self.source.append_once(producer, group)?;
            round.newest = round.newest.max(appended.lsn);
            for receipt in appended.receipts {
                round.answers.stored(receipt);
            }
        }
        Ok(())
    }

    fn offer<'b>(&self, buffer: &'b LineBuffer, piece: &Piece) -> Offer<'b> {
        let (at, checked) = match piece {
            Piece::TooLong { at } => (
                *at,
                Err(format!(
                    "too long: a line may have {} bytes",
                    self.limits.max_line_bytes
                )),
            ),
            Piece::Line { range, at, .. } => (*at, parse(buffer.bytes(range), self.framing)),
        };
        checked.unwrap_or_else(|reason| {
            self.source.skip(&format!(
                "line at byte {at} of the connection from {}: {reason}",
                self.peer
            ));
            Offer::Refused(reason)
        })
    }
}

impl Offer<'_> {
    /// Whether both may be in one frame.
    fn goes_with(&self, next: &Self) -> bool {
        match (self, next) {
            (Offer::Line(_), Offer::Line(_)) => true,
            (Offer::Numbered { producer: a, .. }, Offer::Numbered { producer: b, .. }) => a == b,
            _ => false,
        }
    }
}

/// Writes all of `bytes`, unless the reader is so slow that this takes longer than `limit`. A
/// single write waits no longer than the time-out of `out`, if it has one.
fn write_within(
    out: &mut impl Write,
    mut bytes: &[u8],
    clock: &dyn Clock,
    limit: Duration,
) -> io::Result<()> {
    let deadline = clock.now().saturating_add(limit);
    while !bytes.is_empty() {
        match out.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => bytes = bytes.split_at(count).1,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        if !bytes.is_empty() && clock.now() >= deadline {
            return Err(io::ErrorKind::TimedOut.into());
        }
    }
    Ok(())
}

/// Whether a read ended because its time-out has passed.
fn is_timeout(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    )
}

fn parse(line: &[u8], framing: Framing) -> Result<Offer<'_>, String> {
    let line = text_of(line).map_err(|at| format!("not utf-8: the byte at {at} of the line"))?;
    match framing {
        Framing::Plain => Ok(Offer::Line(line)),
        Framing::Deduplicated => {
            let malformed = || "malformed: this source expects `<id> <seq> <line>`".to_owned();
            parse_numbered(line).ok_or_else(malformed)
        }
    }
}

fn parse_numbered(line: &str) -> Option<Offer<'_>> {
    let (producer, rest) = line.split_once(' ')?;
    let (digits, line) = rest.split_once(' ')?;
    // `parse` takes a sign too; a number that can be written in two ways causes mistakes.
    let sequence = digits
        .bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| digits.parse().ok())??;
    let named = (1..=MAX_PRODUCER_BYTES).contains(&producer.len());
    named.then_some(Offer::Numbered {
        producer,
        sequence,
        line,
    })
}

/// The last line for a client whose line the engine did not take.
fn refusal(error: &Error) -> String {
    match error {
        Error::Stopped => "err stopping\n".to_owned(),
        other => {
            let reason = other.to_string().replace(char::is_control, " ");
            format!("err unavailable: {reason}\n")
        }
    }
}

/// Sends the last answer and closes in order. Closing a socket with unread data resets the
/// connection, and the answer may be lost. So what the client still sends is read for a moment.
pub(crate) fn close_with(stream: &TcpStream, last_answer: &str) {
    let mut stream = stream;
    let sent = stream
        .write_all(last_answer.as_bytes())
        .and_then(|()| stream.shutdown(Shutdown::Write))
        .and_then(|()| stream.set_read_timeout(Some(LINGER)));
    let mut ignored = [0; 8192];
    for _ in 0..LINGER_READS {
        if sent.is_err() || !matches!(stream.read(&mut ignored), Ok(1..)) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use highwater_engine::wal::disk::ManualClock;
    use std::sync::Arc;

    /// A client that takes a byte a second.
    struct Trickle {
        clock: Arc<ManualClock>,
        taken: usize,
    }

    impl Write for Trickle {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            self.clock.advance(Duration::from_secs(1));
            self.taken += 1;
            Ok(1)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Each byte that it took restarted the time-out: it kept its connection for ever.
    #[test]
    fn a_client_that_takes_its_answers_byte_by_byte_is_given_up() {
        let second = Duration::from_secs(1);
        for (limit, len, taken, is_done) in [
            (30 * second, 100, 30, false),
            (30 * second, 30, 30, true),
            (Duration::MAX, 99, 99, true),
        ] {
            let clock = Arc::new(ManualClock::new(0));
            let mut client = Trickle {
                clock: Arc::clone(&clock),
                taken: 0,
            };
            let written = write_within(&mut client, &vec![b'x'; len], &*clock, limit);
            assert_eq!((written.is_ok(), client.taken), (is_done, taken));
        }
    }

    fn numbered(line: &str) -> Option<(String, u64, String)> {
        match parse_numbered(line)? {
            Offer::Numbered {
                producer,
                sequence,
                line,
            } => Some((producer.to_owned(), sequence, line.to_owned())),
            _ => None,
        }
    }

    #[test]
    fn a_numbered_line_has_three_parts_and_the_last_may_hold_spaces_or_nothing() {
        let parts =
            |producer: &str, sequence, line: &str| Some((producer.into(), sequence, line.into()));
        assert_eq!(numbered("p-1 7 a b  c"), parts("p-1", 7, "a b  c"));
        assert_eq!(
            numbered("p 18446744073709551615 "),
            parts("p", u64::MAX, "")
        );
        assert_eq!(numbered("käse 007 x"), parts("käse", 7, "x"));
    }

    #[test]
    fn everything_else_is_malformed() {
        let long_name = format!("{} 1 x", "p".repeat(129));
        for line in [
            "",
            "p",
            "p 7",
            "p  7 x",
            " 7 x",
            "p -7 x",
            "p +7 x",
            "p 7x y",
            "p  x",
            "p 18446744073709551616 x",
            &long_name,
        ] {
            assert_eq!(numbered(line), None, "{line:?}");
        }
    }
}
