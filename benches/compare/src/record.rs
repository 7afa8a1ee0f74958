//! The records that are written, and what replay must give back.

/// Index and thread stand before the filling.
const STAMP: usize = 16;
const BATCH: usize = 256;

/// A record of `size` bytes that does not compress; [`stamp`] makes it one of many.
pub fn blank(size: usize) -> Vec<u8> {
    assert!(size >= STAMP, "a record holds at least its stamp");
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut record = vec![0; size];
    for chunk in record.chunks_mut(8) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        chunk.copy_from_slice(&state.to_le_bytes()[..chunk.len()]);
    }
    record
}

/// Makes `record` the `index`-th (from 1) of its thread. Big-endian: in the order of bytes records
/// keep their order.
pub fn stamp(record: &mut [u8], index: u64, thread: u64) {
    record[..8].copy_from_slice(&index.to_be_bytes());
    record[8..STAMP].copy_from_slice(&thread.to_be_bytes());
}

/// The index of a stamped record.
pub fn index(record: &[u8]) -> u64 {
    u64::from_be_bytes(record[..8].try_into().unwrap())
}

/// The records that a store is filled with.
pub struct Records {
    batch: Vec<Vec<u8>>,
    next: u64,
    count: u64,
}

impl Records {
    pub fn new(size: usize, count: u64) -> Self {
        Self {
            batch: vec![blank(size); BATCH],
            next: 1,
            count,
        }
    }

    /// Up to 256 more records.
    pub fn next_batch(&mut self) -> Option<&[Vec<u8>]> {
        let left = usize::try_from(self.count + 1 - self.next).unwrap();
        let len = left.min(BATCH);
        for record in &mut self.batch[..len] {
            stamp(record, self.next, 0);
            self.next += 1;
        }
        (len > 0).then(|| &self.batch[..len])
    }
}

/// What was read, in order: cheap beside any replay, for the engine's own checksum covers the rest
/// of each record.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Digest {
    pub records: u64,
    pub bytes: u64,
    hash: u64,
}

impl Digest {
    #[inline]
    pub fn add(&mut self, record: &[u8]) {
        let last = record[record.len() - 1];
        self.records += 1;
        self.bytes += record.len() as u64;
        self.hash = (self.hash ^ index(record) ^ u64::from(last))
            .wrapping_mul(0x0100_0000_01B3)
            .rotate_left(23);
    }

    /// Of what [`Records`] gave out.
    pub fn expected(size: usize, count: u64) -> Self {
        let mut digest = Self::default();
        let mut records = Records::new(size, count);
        while let Some(batch) = records.next_batch() {
            batch.iter().for_each(|record| digest.add(record));
        }
        digest
    }

    pub fn hash(&self) -> String {
        format!("{:016x}", self.hash)
    }
}
