//! The codec of compressed batches: zstd.

use crate::format::layout::{BATCH_LEN_SIZE, MAX_UNCOMPRESSED_BATCH, to_usize};
use crate::stripe::stripe;
use parking_lot::Mutex;
use std::io;
use zstd::bulk::{Compressor, Decompressor};
use zstd::zstd_safe::{ResetDirective, find_frame_compressed_size, get_frame_content_size};

/// Shows that this build has zstd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Zstd(());

impl Zstd {
    /// Present if this build has it.
    pub(crate) const fn here() -> Option<Self> {
        Some(Self(()))
    }

    /// Compresses `payload` if `sample`, a part of it, can be compressed. An error if one of them
    /// does not get smaller by an eighth.
    pub(crate) fn pack(
        self,
        level: i32,
        sample: Option<&[u8]>,
        payload: &[u8],
    ) -> io::Result<Vec<u8>> {
        COMPRESSORS.with(
            || Packer::new(level),
            |packer| {
                packer.set(level)?;
                if let Some(sample) = sample {
                    packer.pack(sample)?;
                }
                packer.pack(payload)
            },
        )
    }

    /// Undoes [`Self::pack`], or reports what is wrong with the payload. The length that it states
    /// is believed up to the bound of the format, and only if the zstd frame states the same;
    /// nothing else decides what is allocated: in one go zstd decodes into the destination itself
    /// and makes no window, however large the frame wants it.
    pub(crate) fn unpack(self, payload: &[u8]) -> Result<Vec<u8>, String> {
        unpack(payload)
    }
}

/// A compression context and the level it is set to.
struct Packer {
    level: i32,
    context: Compressor<'static>,
}

impl Packer {
    fn new(level: i32) -> io::Result<Self> {
        let context = Compressor::new(level)?;
        Ok(Self { level, context })
    }

    fn set(&mut self, level: i32) -> io::Result<()> {
        if self.level != level {
            self.context.set_compression_level(level)?;
            self.level = level;
        }
        Ok(())
    }

    /// The length and the zstd frame. An error if that does not save an eighth: zstd stops when the
    /// room is used up.
    fn pack(&mut self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        let len = u32::try_from(bytes.len()).map_err(io::Error::other)?;
        let room = bytes.len() - bytes.len() / 8;
        let mut packed = vec![0; room];
        let (prefix, frame) = packed.split_at_mut(BATCH_LEN_SIZE);
        prefix.copy_from_slice(&len.to_le_bytes());
        let written = match self.context.compress_to_buffer(bytes, frame) {
            Ok(written) => written,
            Err(error) => {
                // zstd leaves the frame it gave up begun, and refuses another level until it ends.
                let context = self.context.context_mut();
                let _ = context.reset(ResetDirective::SessionOnly);
                return Err(error);
            }
        };
        packed.truncate(BATCH_LEN_SIZE + written);
        Ok(packed)
    }
}

fn unpack(payload: &[u8]) -> Result<Vec<u8>, String> {
    let (prefix, frame) = payload
        .split_first_chunk::<BATCH_LEN_SIZE>()
        .ok_or("it is too short")?;
    let len = to_usize(u64::from(u32::from_le_bytes(*prefix)));
    if len > MAX_UNCOMPRESSED_BATCH {
        return Err(format!(
            "it states {len} bytes, over the {MAX_UNCOMPRESSED_BATCH} of the format"
        ));
    }
    if get_frame_content_size(frame).ok().flatten() != Some(len as u64) {
        return Err(format!("it does not hold the {len} bytes that it states"));
    }
    if find_frame_compressed_size(frame) != Ok(frame.len()) {
        return Err("it is not exactly one zstd frame".to_owned());
    }
    let mut bytes = Vec::with_capacity(len);
    DECOMPRESSORS
        .with(Decompressor::new, |context| {
            context.decompress_to_buffer(frame, &mut bytes)
        })
        .map_err(|e| format!("zstd: {e}"))?;
    if bytes.len() != len {
        return Err(format!(
            "it holds {} bytes, not the {len} that it states",
            bytes.len()
        ));
    }
    Ok(bytes)
}

/// How many contexts of a kind are kept: threads beyond that make one for each call.
const CONTEXTS: usize = 16;

/// Contexts for reuse, shared by all logs of the process: a thread of its own each would keep
/// memory for every thread that ever appended.
struct Pool<T>([Mutex<Option<T>>; CONTEXTS]);

static COMPRESSORS: Pool<Packer> = Pool::new();
static DECOMPRESSORS: Pool<Decompressor<'static>> = Pool::new();

impl<T> Pool<T> {
    const fn new() -> Self {
        Self([const { Mutex::new(None) }; CONTEXTS])
    }

    /// Runs `work` with a context that no other thread uses; waits for none.
    fn with<R>(
        &self,
        make: impl FnOnce() -> io::Result<T>,
        work: impl FnOnce(&mut T) -> io::Result<R>,
    ) -> io::Result<R> {
        // From the thread's own slot on, so that it finds the context that is in its cache.
        let places = self.0.iter().cycle().skip(stripe()).take(CONTEXTS);
        match places.filter_map(Mutex::try_lock).next() {
            Some(mut place) => match &mut *place {
                Some(context) => work(context),
                empty => work(empty.insert(make()?)),
            },
            None => work(&mut make()?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two logs of one process, at different levels: after a batch of one that did not get smaller,
    /// batches of the other were stored as they are, on that context for ever (seen as a test that
    /// failed once in fifty runs beside the others).
    #[test]
    fn a_batch_that_does_not_get_smaller_does_not_stop_other_levels() {
        let mut rng = highwater_disk::sim::Rng::new(1);
        let junk: Vec<u8> = (0..4000).map(|_| rng.below(256).to_le_bytes()[0]).collect();
        let mut packer = Packer::new(1).unwrap();
        for level in [-5, 1, 3, 19] {
            packer.pack(&junk).unwrap_err();
            packer.set(level).unwrap();
            packer.pack(&[7; 4000]).unwrap();
        }
    }

    #[test]
    fn a_thread_that_finds_all_contexts_in_use_makes_one() {
        let busy: Pool<()> = Pool::new();
        let held: Vec<_> = busy.0.iter().map(Mutex::lock).collect();
        assert_eq!(busy.with(|| Ok(()), |()| Ok(7)).unwrap(), 7);
        drop(held);
    }
}
