//! `print`: the first records of every batch on the standard output.

use highwater_engine::{Batch, BoxError, Guarantee, Sink};
use std::fmt::{Debug, Write as _};
use std::io::{self, Write};

const RULE: &str = "-------------------------------------------";

/// Writes batches for people to read.
#[derive(Debug)]
pub(crate) struct Console<W> {
    n: usize,
    out: W,
    /// The output failed, and that was logged.
    broken: bool,
}

impl Console<io::Stdout> {
    pub(crate) fn stdout(n: usize) -> Self {
        Self {
            n,
            out: io::stdout(),
            broken: false,
        }
    }
}

impl<T: Debug, W: Write + Send + 'static> Sink<T> for Console<W> {
    fn guarantee(&self) -> Guarantee {
        Guarantee::AtLeastOnce
    }

    /// What cannot be printed is logged.
    fn may_fail(&self) -> bool {
        false
    }

    fn limit(&self) -> usize {
        self.n.saturating_add(1) // one more, to know whether there are more
    }

    fn stage(&mut self, batch: &Batch, records: Vec<T>) -> Result<(), BoxError> {
        let mut text = format!(
            "{RULE}\nTime: {} ms (batch {})\n{RULE}\n",
            batch.time_ms, batch.id
        );
        for record in records.iter().take(self.n) {
            writeln!(text, "{record:?}")?;
        }
        text.push_str(if records.len() > self.n {
            "...\n\n"
        } else {
            "\n"
        });
        // In one piece, so that two outputs or a log on the same terminal do not mix with it.
        let written = self
            .out
            .write_all(text.as_bytes())
            .and_then(|()| self.out.flush());
        if let Err(error) = written
            && !self.broken
        {
            self.broken = true;
            tracing::warn!(%error, "print cannot write to the standard output; the program goes on without");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use highwater_engine::wal::Lsn;

    fn batch() -> Batch {
        Batch {
            id: 7,
            time_ms: 1_357_008_430_000,
            from: Lsn::new(8),
            to: Lsn::new(16),
        }
    }

    #[test]
    fn a_batch_looks_as_in_spark() {
        let mut console = Console {
            n: 2,
            out: Vec::new(),
            broken: false,
        };
        Sink::stage(&mut console, &batch(), vec![("hello", 1), ("world", 2)]).unwrap();
        Sink::stage(&mut console, &batch(), vec![("a", 1), ("b", 2), ("c", 3)]).unwrap();
        let rule = "-------------------------------------------";
        let head = format!("{rule}\nTime: 1357008430000 ms (batch 7)\n{rule}\n");
        let expected = format!(
            "{head}(\"hello\", 1)\n(\"world\", 2)\n\n{head}(\"a\", 1)\n(\"b\", 2)\n...\n\n"
        );
        assert_eq!(String::from_utf8(console.out).unwrap(), expected);
    }

    struct ClosedPipe;

    impl Write for ClosedPipe {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_closed_pipe_does_not_stop_the_program() {
        let mut console = Console {
            n: 2,
            out: ClosedPipe,
            broken: false,
        };
        Sink::stage(&mut console, &batch(), vec![1]).unwrap();
        Sink::stage(&mut console, &batch(), vec![2]).unwrap();
        assert!(console.broken);
    }
}
