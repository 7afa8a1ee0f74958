//! Compression of batches: whether it pays, and undoing it within bounds.

use crate::format::batch::batch_count;
use crate::format::codec::Zstd;
use crate::format::frame::{Encoding, FrameHeader, Tag};
use crate::format::layout::MAX_UNCOMPRESSED_BATCH;
use std::borrow::Cow;
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};

/// Smaller batches are stored as they are: they share too little for zstd to find
/// (`docs/benchmarks.md`).
const MIN_BATCH: usize = 512;
/// Bytes that are tried before the whole batch, while the data is in doubt.
const SAMPLE_SIZE: usize = 4 << 10;
/// The longest pause between two attempts, after failures in a row: 2 to this power, in batches.
const MAX_BACKOFF: u32 = 10;

/// Compresses the batches of one log, and gives up for a while where it does not pay. No
/// thread waits for a lock in it. What the threads share is advice, and may be lost.
#[derive(Debug)]
pub(crate) struct BatchCompressor {
    level: Option<i32>,
    /// How many batches are stored as they are before the next attempt.
    pass_over: AtomicI64,
    /// Failures since the last success.
    doubt: AtomicU32,
    compressed: AtomicU64,
    saved: AtomicU64,
}

impl BatchCompressor {
    /// Compresses at `level`, if at all.
    pub(crate) fn new(level: Option<i32>) -> Self {
        Self {
            level,
            pass_over: AtomicI64::new(0),
            doubt: AtomicU32::new(0),
            compressed: AtomicU64::new(0),
            saved: AtomicU64::new(0),
        }
    }

    /// Batches that were stored compressed, and the bytes that saved.
    pub(crate) fn counts(&self) -> (u64, u64) {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (read(&self.compressed), read(&self.saved))
    }

    /// The payload of a batch frame compressed, if that saves at least an eighth, and what to mark
    /// the frame with.
    pub(crate) fn compress(&self, payload: &[u8]) -> Option<(Tag, Vec<u8>)> {
        let (level, zstd) = (self.level?, Zstd::here()?);
        if !(MIN_BATCH..=MAX_UNCOMPRESSED_BATCH).contains(&payload.len()) {
            return None;
        }
        // Read first: while nothing is in doubt, threads share the line.
        if self.pass_over.load(Ordering::Relaxed) > 0
            && self.pass_over.fetch_sub(1, Ordering::Relaxed) > 0
        {
            return None;
        }
        let doubt = self.doubt.load(Ordering::Relaxed);
        let packed = zstd.pack(level, sample(payload, doubt), payload).ok();
        match &packed {
            Some(packed) => {
                if doubt > 0 {
                    self.doubt.store(0, Ordering::Relaxed);
                }
                let saved = (payload.len() - packed.len()) as u64;
                self.compressed.fetch_add(1, Ordering::Relaxed);
                self.saved.fetch_add(saved, Ordering::Relaxed);
            }
            None => {
                let doubt = (doubt + 1).min(MAX_BACKOFF);
                self.doubt.store(doubt, Ordering::Relaxed);
                self.pass_over.store(1 << doubt, Ordering::Relaxed);
            }
        }
        packed.map(|packed| (Tag::compressed(zstd), packed))
    }
}

/// In doubt a sample decides; at the end of the longest pause it does not, for a batch may begin
/// unlike the rest of it.
fn sample(payload: &[u8], doubt: u32) -> Option<&[u8]> {
    let in_doubt = doubt > 0 && doubt < MAX_BACKOFF;
    let (sample, rest) = payload.split_at_checked(SAMPLE_SIZE)?;
    (in_doubt && rest.len() >= 3 * SAMPLE_SIZE).then_some(sample)
}

/// The payload as it was appended.
pub(crate) fn plain<'a>(header: &FrameHeader, payload: &'a [u8]) -> Result<Cow<'a, [u8]>, String> {
    match header.encoding {
        Encoding::Plain => Ok(Cow::Borrowed(payload)),
        Encoding::Zstd(zstd) => decompress(zstd, payload).map(Cow::Owned),
    }
}

/// Undoes [`BatchCompressor::compress`], or reports what is wrong with the payload.
pub(crate) fn decompress(zstd: Zstd, payload: &[u8]) -> Result<Vec<u8>, String> {
    let batch = zstd
        .unpack(payload)
        .and_then(|bytes| match batch_count(&bytes) {
            Some(_) => Ok(bytes),
            None => Err("what it holds is not a batch".to_owned()),
        });
    batch.map_err(|what| {
        format!("a compressed batch whose bytes are as written, but {what}; restore the file from a backup")
    })
}

#[cfg(test)]
#[cfg(feature = "zstd")]
mod tests {
    use super::*;
    use crate::format::batch::encode_batch;
    use crate::format::layout::BATCH_LEN_SIZE;
    use proptest::prelude::*;
    use zstd::bulk::Compressor;
    use zstd::zstd_safe::CParameter;

    const ZSTD: Option<i32> = Some(1);

    /// More threads than there are contexts for reuse.
    const THREADS: usize = 32;

    fn decompress(payload: &[u8]) -> Result<Vec<u8>, String> {
        super::decompress(Zstd::here().unwrap(), payload)
    }

    impl BatchCompressor {
        /// The bytes alone.
        fn packed(&self, payload: &[u8]) -> Option<Vec<u8>> {
            Some(self.compress(payload)?.1)
        }
    }

    fn text(size: usize) -> Vec<u8> {
        let words = ["the ", "log ", "is ", "synced ", "before ", "it "];
        let text = (0..).flat_map(|n: usize| words[n * n % 6].bytes());
        encode_batch(&[text.take(size).collect::<Vec<_>>()], 1 << 30)
            .unwrap()
            .0
    }

    fn junk(size: usize, seed: u64) -> Vec<u8> {
        let mut rng = highwater_disk::sim::Rng::new(seed);
        let junk = std::iter::repeat_with(|| rng.below(256).to_le_bytes()[0]);
        encode_batch(&[junk.take(size).collect::<Vec<_>>()], 1 << 30)
            .unwrap()
            .0
    }

    /// A compressed batch that states `len` and holds `frame`.
    fn stated(len: usize, frame: &[u8]) -> Vec<u8> {
        let len = u32::try_from(len).unwrap().to_le_bytes();
        [&len[..], frame].concat()
    }

    #[test]
    fn what_saves_an_eighth_is_compressed() {
        let log = BatchCompressor::new(ZSTD);
        for size in [MIN_BATCH, 4000, 100_000] {
            let batch = text(size);
            let packed = log.packed(&batch).unwrap();
            assert!(packed.len() <= batch.len() - batch.len() / 8);
            assert_eq!(decompress(&packed).unwrap(), batch);
        }
        assert_eq!(log.packed(&text(MIN_BATCH - 9)), None, "too small");
        assert_eq!(log.packed(&text(MAX_UNCOMPRESSED_BATCH)), None, "too large");
        let off = BatchCompressor::new(None);
        assert_eq!(off.packed(&text(4000)), None);
        assert_eq!(off.counts(), (0, 0));
    }

    /// So many of `batches` were tried, counted by the compressor's own doubt.
    fn attempts(log: &BatchCompressor, batch: &[u8], batches: usize) -> usize {
        let tried = |_: &usize| {
            let passes = log.pass_over.load(Ordering::Relaxed) > 0;
            assert_eq!(log.packed(batch), None);
            !passes
        };
        (0..batches).filter(tried).count()
    }

    /// Ever fewer attempts while nothing is gained; all batches again as soon as one attempt gains.
    #[test]
    fn incompressible_batches_are_passed_over_and_compressible_ones_found_again() {
        for size in [600, 64 << 10] {
            let log = BatchCompressor::new(ZSTD);
            let tried = attempts(&log, &junk(size, 1), 20_000);
            assert!((20..40).contains(&tried), "{tried} attempts");
            let until_found = (0..)
                .position(|_: usize| log.packed(&text(size)).is_some())
                .unwrap();
            assert!(until_found <= 1 << MAX_BACKOFF, "{until_found}");
            assert!((0..1000).all(|_| log.packed(&text(size)).is_some()));
        }
    }

    /// A sample alone would turn such batches down for ever.
    #[test]
    fn batches_that_begin_with_junk_are_found_again_too() {
        let log = BatchCompressor::new(ZSTD);
        attempts(&log, &junk(64 << 10, 1), 5000);
        let mixed = encode_batch(&[junk(2 * SAMPLE_SIZE, 2), text(64 << 10)], 1 << 30)
            .unwrap()
            .0;
        let found = (0..4 << MAX_BACKOFF).any(|_| log.packed(&mixed).is_some());
        assert!(found);
        assert!((0..100).all(|_| log.packed(&mixed).is_some()));
    }

    /// Threads share the contexts, more threads than there are.
    #[test]
    fn threads_compress_and_decompress_at_once() {
        let log = BatchCompressor::new(ZSTD);
        std::thread::scope(|scope| {
            for seed in 0..THREADS {
                let log = &log;
                scope.spawn(move || {
                    for round in 0..50 {
                        let batch = text(1000 + seed * 100 + round);
                        let packed = log.packed(&batch).unwrap();
                        assert_eq!(decompress(&packed).unwrap(), batch);
                    }
                });
            }
        });
    }

    /// F73, F87: a length that is not the frame's, in either direction, and lengths over the bound,
    /// small as the frame is.
    #[test]
    fn bombs_and_wrong_lengths_are_refused() {
        let zeros = |size| encode_batch(&[vec![0_u8; size - 8]], size).unwrap().0;
        let largest = zeros(MAX_UNCOMPRESSED_BATCH);
        let packed = zstd::bulk::compress(&largest, 1).unwrap();
        assert!(packed.len() < 10_000);
        assert!(decompress(&stated(largest.len(), &packed)).unwrap() == largest);
        let bomb = zeros(MAX_UNCOMPRESSED_BATCH + 1);
        let packed = zstd::bulk::compress(&bomb, 1).unwrap();
        for len in [0, 1, 4, bomb.len() - 1, bomb.len(), u32::MAX as usize] {
            let error = decompress(&stated(len, &packed)).unwrap_err();
            assert_eq!(error.contains("over"), len >= bomb.len(), "{error}");
        }
        let good = zstd::bulk::compress(&text(1000), 1).unwrap();
        assert!(decompress(&stated(1008, &good)).is_ok());
        for len in [0, 1007, 1009, MAX_UNCOMPRESSED_BATCH] {
            assert!(decompress(&stated(len, &good)).is_err(), "{len}");
        }
        let empty = zstd::bulk::compress(&[], 1).unwrap();
        for (len, frame) in [
            (1008, [&good[..], &empty].concat()),
            (1008, [&good[..], b"more"].concat()),
            (2016, [&good[..], &good].concat()),
            (0, empty),
            (1008, good[..good.len() - 1].to_vec()),
            (1008, Vec::new()),
        ] {
            assert!(decompress(&stated(len, &frame)).is_err());
        }
        for short in 0..BATCH_LEN_SIZE {
            assert!(decompress(&vec![0; short]).is_err());
        }
        let no_batch = zstd::bulk::compress(&[7; 1000], 1).unwrap();
        assert!(decompress(&stated(1000, &no_batch)).is_err());
    }

    /// F73: a frame that wants a window of 2 GiB gets none, and one that hides its length is
    /// refused.
    #[test]
    fn the_frame_does_not_decide_what_is_allocated() {
        let batch = text(10_000);
        let mut compressor = Compressor::new(19).unwrap();
        let context = compressor.context_mut();
        context
            .set_parameter(CParameter::ContentSizeFlag(false))
            .unwrap();
        let hidden = compressor.compress(&batch).unwrap();
        let error = decompress(&stated(batch.len(), &hidden)).unwrap_err();
        assert!(error.contains("does not hold"), "{error}");
        // Magic, descriptor with a window and a content size of 8 bytes, window log 31, content
        // size, a raw block.
        let mut wide = vec![0x28, 0xB5, 0x2F, 0xFD, 0b1100_0000, (31 - 10) << 3];
        wide.extend_from_slice(&(batch.len() as u64).to_le_bytes());
        let block = (u32::try_from(batch.len()).unwrap() << 3) | 1;
        wide.extend_from_slice(&block.to_le_bytes()[..3]);
        wide.extend_from_slice(&batch);
        assert_eq!(decompress(&stated(batch.len(), &wide)).unwrap(), batch);
    }

    proptest! {
        /// F73, F87: what is not a compressed batch is an error, whatever it is.
        #[test]
        fn junk_and_damage_are_errors(bytes in proptest::collection::vec(any::<u8>(), 0..64), at in 0..200_usize, bit in 0..8_u8) {
            prop_assert!(decompress(&bytes).is_err());
            let batch = text(2000);
            let mut packed = BatchCompressor::new(ZSTD).packed(&batch).unwrap();
            let at = at % packed.len();
            packed[at] ^= 1_u8 << bit;
            // Without the frame's checksum in front a flipped literal passes; a bad length or
            // structure does not.
            if let Ok(other) = decompress(&packed) {
                prop_assert_eq!(other.len(), batch.len());
            }
        }
    }
}
