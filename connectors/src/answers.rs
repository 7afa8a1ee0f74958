//! What a client of `socket_listen` is answered, as text: one line for each of its own.

use highwater_engine::Receipt;
use std::io::Write;
use std::ops::Range;

/// The answers to some lines, in their order. They may be sent when what they say is durable.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    text: Vec<u8>,
    /// The newest receipt, and where its line is. Lines that are stored together share it.
    newest: Option<(Receipt, Range<usize>)>,
}

impl Answers {
    /// The next line is in the log.
    pub(crate) fn stored(&mut self, receipt: Receipt) {
        match &self.newest {
            Some((same, line)) if *same == receipt => self.text.extend_from_within(line.clone()),
            _ => {
                let start = self.text.len();
                match receipt {
                    Receipt::Stored(lsn) => self.write(format_args!("ok {lsn}")),
                    Receipt::Duplicate(lsn) => self.write(format_args!("ok {lsn} duplicate")),
                }
                self.newest = Some((receipt, start..self.text.len()));
            }
        }
    }

    /// The next line is not stored, for this reason.
    pub(crate) fn refused(&mut self, reason: &str) {
        self.write(format_args!("err {reason}"));
    }

    /// What is to be sent.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.text
    }

    fn write(&mut self, line: std::fmt::Arguments<'_>) {
        let written = writeln!(self.text, "{line}");
        debug_assert!(written.is_ok(), "a vector takes every byte");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use highwater_engine::wal::Lsn;
    use proptest::prelude::*;

    #[derive(Debug, Clone)]
    enum Answer {
        Stored(u64),
        Duplicate(u64),
        Refused(&'static str),
    }

    fn answer() -> impl Strategy<Value = Answer> {
        // Few numbers, so that neighbours are often the same.
        let lsn = prop_oneof![0..3_u64, Just(u64::MAX)];
        prop_oneof![
            4 => lsn.clone().prop_map(Answer::Stored),
            2 => lsn.prop_map(Answer::Duplicate),
            1 => prop_oneof![Just("too long: .."), Just("")].prop_map(Answer::Refused),
        ]
    }

    proptest! {
        /// An answer that repeats the one before must be its own line all the same.
        #[test]
        fn each_line_has_its_own_answer_in_its_place(all in proptest::collection::vec(answer(), 0..40)) {
            let (mut answers, mut expected) = (Answers::default(), String::new());
            for answer in &all {
                match answer {
                    Answer::Stored(lsn) => {
                        answers.stored(Receipt::Stored(Lsn::new(*lsn)));
                        expected += &format!("ok {lsn}\n");
                    }
                    Answer::Duplicate(lsn) => {
                        answers.stored(Receipt::Duplicate(Lsn::new(*lsn)));
                        expected += &format!("ok {lsn} duplicate\n");
                    }
                    Answer::Refused(reason) => {
                        answers.refused(reason);
                        expected += &format!("err {reason}\n");
                    }
                }
            }
            prop_assert_eq!(answers.as_bytes(), expected.as_bytes());
        }
    }
}
