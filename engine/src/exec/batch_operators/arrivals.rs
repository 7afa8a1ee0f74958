//! What arrives at an input of a batch operator, in the order of the batch.
//!
//! Chunks come from all workers, in any order. But an operator may take them in as they come, so
//! that a batch need not be in memory as a whole. So the worker that makes something of a chunk of
//! the log tells each worker that nothing more comes of it. When that is known of all lower ones, a
//! chunk has its turn.

use crate::batch::chunk::{self, Chunk, ChunkData, SequenceKey};
use std::any::Any;
use std::collections::{BTreeMap, VecDeque};

/// The data of a chunk after which nothing more comes of its chunk of the log.
#[derive(Debug, Clone, Copy)]
pub(in crate::exec) struct EndOfLogChunk;

impl ChunkData for EndOfLogChunk {
    fn duplicate(&self) -> Box<dyn ChunkData> {
        Box::new(*self)
    }
    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

impl EndOfLogChunk {
    /// One for each worker.
    pub(in crate::exec) fn of(number: u64, peers: usize) -> impl Iterator<Item = Chunk> {
        (0..peers).map(move |target| Chunk::new(SequenceKey::Log(number), target, Self))
    }

    fn is(chunk: &Chunk) -> bool {
        let data: &dyn Any = &*chunk.data;
        data.is::<Self>()
    }
}

/// What is made of one chunk of the log.
#[derive(Debug, Default)]
struct OfLogChunk {
    chunks: Vec<Chunk>,
    ended: bool,
}

/// What has arrived at an input in a batch and has not had its turn.
#[derive(Debug, Default)]
pub(in crate::exec) struct Arrivals {
    /// The chunk of the log that has its turn.
    turn: u64,
    by_log_chunk: BTreeMap<u64, OfLogChunk>,
    /// What was made of the whole batch.
    of_batch: Vec<Chunk>,
    ready: VecDeque<Chunk>,
}

impl Arrivals {
    pub(in crate::exec) fn add(&mut self, chunk: Chunk) {
        let SequenceKey::Log(number) = chunk.sequence else {
            return self.of_batch.push(chunk);
        };
        assert!(
            number >= self.turn,
            "nothing comes of a chunk of the log after its end"
        );
        let of_log_chunk = self.by_log_chunk.entry(number).or_default();
        match EndOfLogChunk::is(&chunk) {
            true => of_log_chunk.ended = true,
            false => of_log_chunk.chunks.push(chunk),
        }
        while let Some(first) = self.by_log_chunk.first_entry()
            && *first.key() == self.turn
            && first.get().ended
        {
            self.ready.extend(first.remove().chunks);
            self.turn += 1;
        }
    }

    /// The next chunk, if it has its turn.
    pub(in crate::exec) fn next_ready(&mut self) -> Option<Chunk> {
        self.ready.pop_front()
    }

    /// Nothing more arrives: all that is left, in order.
    pub(in crate::exec) fn rest(self) -> impl Iterator<Item = Chunk> {
        let mut of_batch = self.of_batch;
        chunk::sort(&mut of_batch);
        let of_log = self.by_log_chunk.into_values().flat_map(|of| of.chunks);
        self.ready.into_iter().chain(of_log).chain(of_batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::chunk::open;

    fn log(number: u64, text: &'static str) -> Chunk {
        Chunk::new(SequenceKey::Log(number), 0, vec![text])
    }

    fn end(number: u64) -> Chunk {
        EndOfLogChunk::of(number, 1).next().unwrap()
    }

    fn texts(chunks: impl Iterator<Item = Chunk>) -> String {
        let texts = chunks.flat_map(|chunk| open::<Vec<&str>>(chunk.data));
        texts.collect()
    }

    fn ready(arrivals: &mut Arrivals) -> String {
        texts(std::iter::from_fn(|| arrivals.next_ready()))
    }

    #[test]
    fn a_chunk_has_its_turn_when_all_before_it_have_ended() {
        let mut arrivals = Arrivals::default();
        for chunk in [log(2, "e"), end(2), log(1, "c"), log(0, "a")] {
            arrivals.add(chunk);
            assert_eq!(ready(&mut arrivals), "", "more may come of chunk 0");
        }
        arrivals.add(log(0, "b"));
        arrivals.add(end(0));
        assert_eq!(ready(&mut arrivals), "ab");
        arrivals.add(Chunk::new(SequenceKey::batch(1), 0, vec!["z"]));
        arrivals.add(Chunk::new(SequenceKey::batch(0), 0, vec!["y"]));
        arrivals.add(log(1, "d"));
        assert_eq!(ready(&mut arrivals), "");
        arrivals.add(end(1));
        assert_eq!(ready(&mut arrivals), "cde");
        arrivals.add(end(4));
        arrivals.add(end(3));
        arrivals.add(log(6, "g"));
        arrivals.add(log(5, "f"));
        assert_eq!(ready(&mut arrivals), "");
        assert_eq!(texts(arrivals.rest()), "fgyz");
    }

    #[test]
    fn without_ends_everything_comes_in_order_at_the_end() {
        let mut arrivals = Arrivals::default();
        for chunk in [log(3, "c"), log(1, "a"), log(1, "b")] {
            arrivals.add(chunk);
            assert_eq!(ready(&mut arrivals), "");
        }
        assert_eq!(texts(arrivals.rest()), "abc");
    }
}
