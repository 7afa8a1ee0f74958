//! A batch of an output in hand: cut into shares, staged, tried again.

use crate::batch::Batch;
use crate::batch::chunk::{Chunk, in_order};
use crate::error::BoxError;
use crate::panics;
use crate::sink::part::{Part, Records, StagedPart};
use crate::sink::staged::StagedSink;
use crate::thread_role::{Role, RoleGuard};
use std::sync::Arc;

/// The records of a batch for one output, until they are staged. They stay in hand, so that a sink
/// that fails can be tried again.
pub(crate) trait InHand: Send {
    /// Stages what is not staged yet; may be called again after an error.
    fn stage(&mut self, batch: &Batch, how: Staging) -> Result<(), BoxError>;
    /// What was staged.
    fn parts(&self) -> Vec<StagedPart>;
}

/// How a batch is staged.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Staging {
    /// Whether shares are staged at the same time, on threads of their own.
    pub(crate) in_parallel: bool,
    /// Whether a failure is final: then nothing needs to stay in hand.
    pub(crate) once: bool,
}

/// One worker's share of a batch.
struct Share<T> {
    part: Part,
    /// Number of its first record.
    first: u64,
    pieces: Vec<Vec<T>>,
    /// `Some` when it is staged.
    staged: Option<Option<Vec<u8>>>,
}

/// A batch for a [`StagedSink`].
pub(crate) struct Shares<T, S> {
    sink: Arc<S>,
    shares: Vec<Share<T>>,
}

impl<T: Send + 'static, S: StagedSink<T>> Shares<T, S> {
    /// Cuts the batch into a share for each of `workers`, of equal length.
    pub(crate) fn new(sink: Arc<S>, chunks: Vec<Chunk>, workers: usize) -> Self {
        let pieces: Vec<Vec<T>> = in_order::<T>(chunks).collect();
        let count = workers.min(sink.max_parts()).max(1);
        Self {
            sink,
            shares: cut(pieces, count),
        }
    }
}

/// Cuts records into at most `count` shares of equal length, in their order; none but the only one
/// is empty.
fn cut<T>(pieces: Vec<Vec<T>>, count: usize) -> Vec<Share<T>> {
    let len: usize = pieces.iter().map(Vec::len).sum();
    let count = count.min(len).max(1);
    let mut pieces = pieces.into_iter();
    let mut rest: Vec<T> = Vec::new();
    let mut shares = Vec::with_capacity(count);
    let mut first = 0;
    for number in 0..count {
        // The share ends there.
        let end = end_of_share(len, number, count);
        let mut share = Share {
            part: Part {
                number: u32::try_from(number).unwrap_or(u32::MAX),
                count: u32::try_from(count).unwrap_or(u32::MAX),
            },
            first: first as u64,
            pieces: Vec::new(),
            staged: None,
        };
        while first < end {
            if rest.is_empty() {
                match pieces.next() {
                    Some(next) => rest = next,
                    None => break,
                }
                continue;
            }
            let tail = match rest.len() > end - first {
                true => rest.split_off(end - first),
                false => Vec::new(),
            };
            let piece = std::mem::replace(&mut rest, tail);
            first += piece.len();
            share.pieces.push(piece);
        }
        shares.push(share);
    }
    shares
}

/// Where share `number` of `count` ends: all are of equal length, but for one record.
fn end_of_share(len: usize, number: usize, count: usize) -> usize {
    let (each, more) = (len / count, len % count);
    (number + 1) * each + more.min(number + 1)
}

impl<T> Share<T> {
    fn stage<S: StagedSink<T>>(&mut self, sink: &S, batch: &Batch) -> Result<(), BoxError> {
        let records = Records::new(&self.pieces, self.first);
        let staged = panics::catch(|| sink.stage(batch, self.part, &records))?;
        self.staged = Some(staged);
        Ok(())
    }
}

impl<T: Send + 'static, S: StagedSink<T>> InHand for Shares<T, S> {
    fn stage(&mut self, batch: &Batch, how: Staging) -> Result<(), BoxError> {
        let sink = &*self.sink;
        let mut left = self.shares.iter_mut().filter(|s| s.staged.is_none());
        let Some(own) = left.next() else {
            return Ok(());
        };
        if !how.in_parallel {
            own.stage(sink, batch)?;
            return left.try_for_each(|share| share.stage(sink, batch));
        }
        std::thread::scope(|scope| {
            let mut threads = Vec::new();
            for share in left {
                let thread = std::thread::Builder::new().name("highwater-stage".to_owned());
                let thread = thread.spawn_scoped(scope, move || {
                    // It may send into an input of its own context.
                    let _role = RoleGuard::enter(Role::Batch);
                    share.stage(sink, batch)
                });
                match thread {
                    Ok(thread) => threads.push(thread),
                    Err(error) => {
                        tracing::warn!(%error, "a thread to stage a part could not start")
                    }
                }
            }
            let own = own.stage(sink, batch);
            let ended = threads.into_iter().map(|thread| {
                let panicked = |_| Err("the thread that staged a part panicked".into());
                thread.join().unwrap_or_else(panicked)
            });
            // All are waited for; the error of the first share comes back, whichever was faster.
            ended.fold(own, Result::and)
        })?;
        // Those that no thread could be had for.
        let mut left = self.shares.iter_mut().filter(|s| s.staged.is_none());
        left.try_for_each(|share| share.stage(sink, batch))
    }

    fn parts(&self) -> Vec<StagedPart> {
        let staged = self.shares.iter().filter_map(|share| {
            let token = share.staged.clone()??;
            let part = share.part.number;
            Some(StagedPart { part, token })
        });
        staged.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_of_equal_length_and_one_after_the_other_the_batch() {
        for pieces in [&[][..], &[0], &[1], &[3, 0, 4], &[1, 1, 1, 1, 1], &[100]] {
            let len: usize = pieces.iter().sum();
            for count in 1..=7 {
                let mut next = 0..;
                let records = pieces.iter().map(|n| next.by_ref().take(*n).collect());
                let shares = cut::<u64>(records.collect(), count);
                let lens: Vec<usize> = shares
                    .iter()
                    .map(|share| share.pieces.iter().map(Vec::len).sum())
                    .collect();
                let (min, max) = (lens.iter().min().unwrap(), lens.iter().max().unwrap());
                assert!(max - min <= 1, "{pieces:?} in {count}: {lens:?}");
                assert_eq!(shares.len(), count.min(len).max(1));
                let mut first = 0;
                for (number, share) in shares.iter().enumerate() {
                    assert_eq!(share.part.number as usize, number);
                    assert_eq!(share.part.count as usize, shares.len());
                    assert_eq!(share.first, first);
                    let found: Vec<u64> = share.pieces.iter().flatten().copied().collect();
                    let end = first + found.len() as u64;
                    assert_eq!(found, (first..end).collect::<Vec<_>>());
                    first = end;
                }
                assert_eq!(first, len as u64);
            }
        }
    }
}
