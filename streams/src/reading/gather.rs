//! What a page is put together from.

/// Messages from a position on, up to a limit.
#[derive(Debug)]
pub(crate) struct Gather {
    by_message: bool,
    next: u64,
    limit: usize,
    data: Vec<u8>,
    lengths: Vec<usize>,
    received_ms: Vec<u64>,
    is_full: bool,
}

impl Gather {
    /// Begins at position `next`. There may be `limit` bytes, and at least one message.
    pub(crate) fn new(by_message: bool, next: u64, limit: usize) -> Self {
        Self {
            by_message,
            next,
            limit: limit.max(1),
            data: Vec::new(),
            lengths: Vec::new(),
            received_ms: Vec::new(),
            is_full: false,
        }
    }

    /// Where it goes on.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    pub(crate) fn is_full(&self) -> bool {
        self.is_full
    }

    /// How many bytes there may still be.
    pub(crate) fn room(&self) -> usize {
        self.limit.saturating_sub(self.data.len())
    }

    /// Takes what it needs of the records of a frame, which was received at `received_ms`, and
    /// whose first record begins at `position`: nothing from `stop` on.
    pub(crate) fn take<'r>(
        &mut self,
        mut position: u64,
        received_ms: u64,
        stop: u64,
        records: impl Iterator<Item = &'r [u8]>,
    ) {
        for record in records {
            if self.is_full || position >= stop {
                return;
            }
            let length = if self.by_message {
                1
            } else {
                record.len() as u64
            };
            let end = position + length;
            // A hole would be data that is missing: nothing is taken after one.
            if position > self.next {
                return;
            }
            if end > self.next {
                match self.by_message {
                    true => self.message(record),
                    false => self.bytes(record, position, stop),
                }
                self.received_ms.resize(self.lengths.len(), received_ms);
            }
            position = end;
        }
    }

    fn message(&mut self, message: &[u8]) {
        if !self.lengths.is_empty() && message.len() > self.room() {
            self.is_full = true;
            return;
        }
        self.data.extend_from_slice(message);
        self.lengths.push(message.len());
        self.next += 1;
        self.is_full = self.room() == 0;
    }

    fn bytes(&mut self, record: &[u8], position: u64, stop: u64) {
        let skipped = usize::try_from(self.next - position).unwrap_or(usize::MAX);
        let most = usize::try_from(stop - self.next).unwrap_or(usize::MAX);
        let rest = record.get(skipped..).unwrap_or_default();
        let taken = rest.len().min(most).min(self.room());
        let rest = rest.get(..taken).unwrap_or_default();
        self.data.extend_from_slice(rest);
        self.lengths.push(rest.len());
        self.next += taken as u64;
        self.is_full = self.room() == 0;
    }

    /// The data; the length of each piece of it, and when it was received.
    pub(crate) fn finish(self) -> (Vec<u8>, Vec<usize>, Vec<u64>) {
        (self.data, self.lengths, self.received_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Against the whole, whatever the pages and the frames.
        #[test]
        fn pages_put_together_are_the_whole(
            by_message: bool,
            frames in proptest::collection::vec(proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..20), 1..4), 1..10),
            limit in 1..60_usize,
            share in 0..100_u64,
        ) {
            let records: Vec<&Vec<u8>> = frames.iter().flatten().collect();
            let total = if by_message { records.len() } else { records.iter().map(|r| r.len()).sum() } as u64;
            let stop = total * share / 100;
            let (mut next, mut found, mut pieces) = (0, Vec::new(), 0);
            while next < stop {
                let mut gather = Gather::new(by_message, next, limit);
                let mut position = 0;
                for frame in &frames {
                    gather.take(position, 7, stop, frame.iter().map(Vec::as_slice));
                    position += if by_message { frame.len() } else { frame.iter().map(Vec::len).sum() } as u64;
                }
                prop_assert!(gather.next() > next);
                next = gather.next();
                let (data, lengths, received_ms) = gather.finish();
                prop_assert!(received_ms.iter().all(|ms| *ms == 7) && received_ms.len() == lengths.len());
                prop_assert!(data.len() <= limit || lengths.len() == 1);
                prop_assert_eq!(lengths.iter().sum::<usize>(), data.len());
                pieces += lengths.len();
                found.extend(data);
            }
            prop_assert_eq!(next, stop);
            let stop = usize::try_from(stop).unwrap();
            let whole: Vec<u8> = match by_message {
                true => records[..stop].iter().flat_map(|r| r.iter().copied()).collect(),
                false => records.iter().flat_map(|r| r.iter().copied()).take(stop).collect(),
            };
            prop_assert_eq!(found, whole);
            prop_assert!(!by_message || pieces == stop);
        }
    }
}
