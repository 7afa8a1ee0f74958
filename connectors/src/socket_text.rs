//! `socket_text`: reads lines from a server.

use crate::dial::{Dialer, connect};
use crate::lines::{Limits, LineBuffer, Piece, text_of};
use highwater_engine::{BoxError, Error, Receiver, SourceContext};
use std::io::{self, Read};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

/// Lines that are stored at a time, at most.
const MAX_ROUND_LINES: usize = 8192;

/// The receiver.
#[derive(Debug)]
pub(crate) struct SocketText {
    addr: String,
    limits: Option<Limits>,
    dialer: Dialer,
    /// The connection, so that a stopping context can interrupt it.
    current: Arc<Mutex<Option<Arc<TcpStream>>>>,
}

impl SocketText {
    pub(crate) fn new(addr: &str) -> Self {
        Self::with(addr, Dialer::new(connect))
    }

    fn with(addr: &str, dialer: Dialer) -> Self {
        Self {
            addr: addr.to_owned(),
            limits: None,
            dialer,
            current: Arc::default(),
        }
    }

    fn receive(
        &self,
        source: &SourceContext,
        stream: &TcpStream,
        limits: Limits,
    ) -> Result<(), BoxError> {
        let mut buffer = LineBuffer::new(limits.max_line_bytes, 0);
        loop {
            let read = buffer.fill(|room| Read::read(&mut &*stream, room));
            if source.is_stopping() {
                return Ok(());
            }
            match read {
                Ok(1..) => {}
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                ended => {
                    self.note_half_line(source, &buffer);
                    let why = ended
                        .err()
                        .map_or("the server closed it".to_owned(), |e| e.to_string());
                    return Err(format!("the connection to {} ended: {why}", self.addr).into());
                }
            }
            if buffer.begins_as_utf16() {
                return Err(format!(
                    "{} sends UTF-16, as its first two bytes say: this source takes UTF-8",
                    self.addr
                )
                .into());
            }
            loop {
                let pieces = buffer.take(MAX_ROUND_LINES);
                if pieces.is_empty() {
                    break;
                }
                self.store(source, &buffer, &pieces, limits)?;
            }
        }
    }

    fn note_half_line(&self, source: &SourceContext, buffer: &LineBuffer) {
        if let Some(at) = buffer.unfinished() {
            source.skip(&format!(
                "{} disconnected in the middle of the line at byte {at} of the connection: the half line is not stored",
                self.addr
            ));
        }
    }

    /// Appends what one read brought and waits for the disk, so that no more than that is ever in
    /// memory alone.
    fn store(
        &self,
        source: &SourceContext,
        buffer: &LineBuffer,
        pieces: &[Piece],
        limits: Limits,
    ) -> Result<(), Error> {
        let lines: Vec<&str> = pieces
            .iter()
            .filter_map(|p| self.accept(source, buffer, p, limits))
            .collect();
        let mut newest = None;
        for group in limits.groups(&lines, |line| line.len()) {
            newest = newest.max(Some(source.append_text(group)?));
        }
        newest.map_or(Ok(()), |lsn| source.sync_to(lsn))
    }

    fn accept<'b>(
        &self,
        source: &SourceContext,
        buffer: &'b LineBuffer,
        piece: &Piece,
        limits: Limits,
    ) -> Option<&'b str> {
        let (at, why) = match piece {
            Piece::TooLong { at } => (*at, format!("longer than {} bytes", limits.max_line_bytes)),
            Piece::Line { range, at, .. } => {
                let line = buffer.bytes(range);
                match text_of(line) {
                    Ok(line) => return Some(line),
                    Err(wrong) => (*at, format!("not utf-8: the byte at {wrong} of the line")),
                }
            }
        };
        source.skip(&format!(
            "line at byte {at} of the connection to {}: {why}",
            self.addr
        ));
        None
    }
}

impl Receiver for SocketText {
    fn open(&mut self, source: &SourceContext) -> Result<(), BoxError> {
        let port = self
            .addr
            .rsplit_once(':')
            .and_then(|(_, port)| port.parse::<u16>().ok());
        if port.is_none() {
            return Err(
                format!("\"{}\" is not an address: it must be host:port", self.addr).into(),
            );
        }
        self.limits = Some(Limits::of(source, None)?);
        let (current, dialer) = (Arc::clone(&self.current), self.dialer.clone());
        source.on_stop(move || {
            dialer.stop();
            if let Some(stream) = &*current.lock().unwrap_or_else(PoisonError::into_inner) {
                let _ = stream.shutdown(Shutdown::Both);
            }
        });
        Ok(())
    }

    fn run(&mut self, source: &SourceContext) -> Result<(), BoxError> {
        let Some(limits) = self.limits else {
            return Err("run was called before open".into());
        };
        let still = || {
            let addr = &self.addr;
            source.report_error(
                &format!("still waiting for {addr}: its name is looked up, or it does not answer")
                    .into(),
            );
        };
        let dialled = self.dialer.dial(&self.addr, still);
        let dialled = dialled.map_err(|e| format!("cannot connect to {}: {e}", self.addr))?;
        let Some(stream) = dialled.map(Arc::new) else {
            return Ok(()); // the context stops
        };
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&stream));
        // A stop before the line above found nothing to interrupt; a stop after it does.
        let ended = if source.is_stopping() {
            Ok(())
        } else {
            self.receive(source, &stream, limits)
        };
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = None;
        ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::line::Line;
    use highwater_engine::wal::disk::SimDisk;
    use highwater_engine::{StopMode, StreamingContext};
    use std::sync::mpsc;
    use std::time::Duration;

    /// A server that does not answer, or a name that cannot be looked up, held up every stop until
    /// the system gave up.
    #[test]
    fn a_stop_does_not_wait_for_a_connection_that_nobody_answers() {
        for mode in [StopMode::Graceful, StopMode::Immediate] {
            let (called, is_called) = mpsc::channel();
            let (release, released) = mpsc::channel::<()>();
            let released = Mutex::new(released);
            let black_hole = Dialer::new(move |_: &str| {
                called.send(()).unwrap();
                let _ = released.lock().unwrap().recv();
                Err(io::ErrorKind::TimedOut.into())
            });
            let context = StreamingContext::builder("/app")
                .disk(Arc::new(SimDisk::new()))
                .get_or_create(|ssc| {
                    let receiver = SocketText::with("10.0.0.1:9", black_hole);
                    ssc.text_source(
                        "socket_text",
                        "lines",
                        |text: &str| Line::from(text),
                        receiver,
                    )
                    .for_each_batch("nowhere", |_, _: Vec<Line>| ());
                    Ok(())
                })
                .unwrap();
            context.start().unwrap();
            is_called.recv().unwrap();
            let (stopped, is_stopped) = mpsc::channel();
            std::thread::spawn(move || stopped.send(context.stop(mode)).unwrap());
            let outcome = is_stopped.recv_timeout(Duration::from_secs(60));
            outcome.expect("the stop waits for the connection").unwrap();
            drop(release);
        }
    }
}
