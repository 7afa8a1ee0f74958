//! Where an input of an operator comes from. It is the same in every run of a batch, for any number
//! of workers.

use crate::batch::chunk::SequenceKey;
use crate::batch::positioned::Position;
use highwater_wal::Lsn;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Where an input of an operator comes from, within its batch.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) enum Place {
    /// It was made of one record of the log: the frame, the record in it, and which of the inputs
    /// that were made of this record.
    Log { lsn: Lsn, index: u32, input: u32 },
    /// It was made of the whole batch: the place of its chunk, and which of the records in it.
    Batch { chunk: Vec<u64>, input: u32 },
}

impl fmt::Display for Place {
    /// `LSN.index.input`, or the numbers of the chunk, with dots, and `:input`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Log { lsn, index, input } => write!(f, "{lsn}.{index}.{input}"),
            Self::Batch { chunk, input } => {
                let numbers: Vec<String> = chunk.iter().map(ToString::to_string).collect();
                write!(f, "{}:{input}", numbers.join("."))
            }
        }
    }
}

/// Tells the place of each input of an operator, chunk by chunk.
#[derive(Debug, Default)]
pub(crate) struct Places {
    last: Option<Position>,
    /// How many inputs of the position, or of the chunk, have come before.
    before: u32,
}

impl Places {
    /// The place of the next input: made of the record at `position`, in the chunk `chunk`. Records
    /// of a chunk that was made of the whole batch may have positions too, but one position may be
    /// in several of them.
    pub(crate) fn next(&mut self, position: Option<Position>, chunk: &SequenceKey) -> Place {
        let position = position.filter(|_| matches!(chunk, SequenceKey::Log(_)));
        if position != self.last {
            (self.last, self.before) = (position, 0);
        }
        let input = self.before;
        self.before = self.before.saturating_add(1);
        match (position, chunk) {
            (Some(Position { lsn, index }), _) => Place::Log { lsn, index, input },
            (None, SequenceKey::Batch(chunk)) => Place::Batch {
                chunk: chunk.clone(),
                input,
            },
            // A record of a chunk of the log has a position.
            (None, SequenceKey::Log(number)) => Place::Batch {
                chunk: vec![*number],
                input,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_of_one_record_are_told_apart_by_their_number() {
        let at = |lsn, index| {
            let lsn = Lsn::new(lsn);
            Some(Position { lsn, index })
        };
        let (mut places, log) = (Places::default(), SequenceKey::Log(0));
        let inputs = [at(8, 1), at(8, 1), at(8, 2), at(16, 1), at(16, 1)];
        let found = inputs.map(|position| places.next(position, &log).to_string());
        assert_eq!(found, ["8.1.0", "8.1.1", "8.2.0", "16.1.0", "16.1.1"]);
    }

    #[test]
    fn inputs_made_of_a_whole_batch_are_told_apart_by_their_chunk() {
        let chunk = SequenceKey::batch(3).through_union(1);
        // After `repartition` the records of one position may be in two chunks.
        let lsn = Lsn::new(8);
        for position in [None, Some(Position { lsn, index: 1 })] {
            let mut places = Places::default();
            let found = [(); 2].map(|()| places.next(position, &chunk).to_string());
            assert_eq!(found, ["1.3:0", "1.3:1"]);
        }
    }
}
