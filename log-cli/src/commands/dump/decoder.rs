//! A program of the user that turns payloads into text: one line of JSON in, one line of text out,
//! in order.
//!
//! A thread serves each pipe, with room for one record. So neither side can block the other for
//! ever: an answer that takes longer than the time-out is an error that names the record.

use crate::outcome::{Failure, Result};
use crate::text;
use highwater_wal::Lsn;
use serde::Serialize;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

/// The longest answer that is taken, in bytes.
const MAX_ANSWER: u64 = 16 << 20;

/// What the decoder gets for each record, as one line of JSON.
#[derive(Debug, Serialize)]
pub(crate) struct Question<'a> {
    lsn: u64,
    /// Number in its batch.
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<usize>,
    kind: &'a str,
    stream: u16,
    payload_base64: String,
}

impl<'a> Question<'a> {
    pub(crate) fn new(
        lsn: Lsn,
        index: Option<usize>,
        kind: &'a str,
        stream: u16,
        bytes: &[u8],
    ) -> Self {
        Self {
            lsn: lsn.get(),
            index,
            kind,
            stream,
            payload_base64: text::base64(bytes),
        }
    }
}

enum Answer {
    Line(Vec<u8>),
    TooLong,
    End,
    Failed(io::Error),
}

/// The running program.
pub(crate) struct Decoder {
    exe: PathBuf,
    timeout: Duration,
    child: Child,
    questions: Option<SyncSender<Vec<u8>>>,
    answers: Receiver<Answer>,
}

impl Decoder {
    /// Starts `exe`, whose standard error is ours.
    pub(crate) fn start(exe: &Path, timeout: Duration) -> Result<Self> {
        let failed = |e: &io::Error| Failure::io("cannot start the decoder", exe, e);
        let mut child = Command::new(exe)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|e| failed(&e))?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let (Some(stdin), Some(stdout)) = (stdin, stdout) else {
            return Err(failed(&io::ErrorKind::BrokenPipe.into()));
        };
        let (questions, to_ask) = sync_channel(1);
        let (to_answer, answers) = sync_channel(1);
        thread::spawn(move || ask(stdin, &to_ask));
        thread::spawn(move || listen(stdout, &to_answer));
        Ok(Self {
            exe: exe.to_owned(),
            timeout,
            child,
            questions: Some(questions),
            answers,
        })
    }

    /// The answer to one record.
    pub(crate) fn decode(&mut self, question: &Question<'_>) -> Result<String> {
        let mut line = serde_json::to_vec(question)
            .map_err(|e| Failure::Io(format!("cannot encode a record for the decoder: {e}")))?;
        line.push(b'\n');
        if let Some(questions) = &self.questions {
            // If it reads no more, its answers end, which is noticed below.
            let _ = questions.send(line);
        }
        let place = format!("the record at LSN {}", question.lsn);
        match self.answers.recv_timeout(self.timeout) {
            Ok(Answer::Line(line)) => Ok(String::from_utf8_lossy(&line).into_owned()),
            Ok(Answer::TooLong) => Err(self.failure(&format!(
                "answered {place} with a line of more than {}",
                text::bytes(MAX_ANSWER)
            ))),
            Ok(Answer::Failed(e)) => Err(self.failure(&format!("could not be read: {e}"))),
            Ok(Answer::End) => {
                let status = self.status();
                Err(self.failure(&format!("ended ({status}) before it answered {place}")))
            }
            Err(_) => Err(self.failure(&format!(
                "did not answer {place} within {} s: it must write one line per line that it reads, and flush it at once",
                self.timeout.as_secs()
            ))),
        }
    }

    /// Tells the program that nothing follows, and waits for its end.
    pub(crate) fn finish(mut self) -> Result<()> {
        self.questions = None;
        match self.answers.recv_timeout(self.timeout) {
            Ok(Answer::End) => {}
            Ok(_) => return Err(self.failure("wrote more lines than it was asked")),
            Err(_) => {
                let wait = self.timeout.as_secs();
                return Err(self.failure(&format!("did not end within {wait} s of its input")));
            }
        }
        match self.child.wait() {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(self.failure(&format!("failed at its end ({status})"))),
            Err(e) => Err(self.failure(&format!("cannot be waited for: {e}"))),
        }
    }

    fn status(&mut self) -> String {
        self.child
            .wait()
            .map_or_else(|e| e.to_string(), |status| status.to_string())
    }

    fn failure(&self, what: &str) -> Failure {
        Failure::Io(format!("the decoder {} {what}", self.exe.display()))
    }
}

impl Drop for Decoder {
    fn drop(&mut self) {
        // It has ended already, unless something went wrong.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn ask(mut stdin: ChildStdin, questions: &Receiver<Vec<u8>>) {
    while let Ok(line) = questions.recv() {
        if stdin.write_all(&line).and_then(|()| stdin.flush()).is_err() {
            return;
        }
    }
}

fn listen(stdout: ChildStdout, answers: &SyncSender<Answer>) {
    let mut stdout = BufReader::new(stdout);
    loop {
        let mut line = Vec::new();
        let read = (&mut stdout)
            .take(MAX_ANSWER + 1)
            .read_until(b'\n', &mut line);
        let answer = match read {
            Err(e) => Answer::Failed(e),
            Ok(0) => Answer::End,
            Ok(_) if line.last() == Some(&b'\n') => {
                line.pop();
                Answer::Line(line)
            }
            Ok(read) if read as u64 > MAX_ANSWER => Answer::TooLong,
            // The last line may lack its end.
            Ok(_) => Answer::Line(line),
        };
        let more = matches!(answer, Answer::Line(_));
        if answers.send(answer).is_err() || !more {
            return;
        }
    }
}
