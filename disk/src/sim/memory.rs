//! Memory that is the content of a file for `read_at`, `write_at` and an append map at once.

use parking_lot::{Mutex, MutexGuard};
use std::fmt;
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::Arc;

/// Zeroed bytes at an address that never changes, aligned to 8. A writer holds the copy lock.
pub(super) struct Memory {
    base: NonNull<u64>,
    words: usize,
    /// One lock for all files of a machine: a crash copies them at one instant.
    copying: Arc<Mutex<()>>,
}

#[expect(
    unsafe_code,
    reason = "shared between the disk and the maps of its files"
)]
// SAFETY: the bytes are written only with `copying` held, and `read` holds it too. An `AppendMap`
// over the bytes writes with the lock held as well (`MapBacking::copy_lock`). It reads without the
// lock only bytes that are not written any more.
unsafe impl Send for Memory {}
#[expect(
    unsafe_code,
    reason = "shared between the disk and the maps of its files"
)]
// SAFETY: as above.
unsafe impl Sync for Memory {}

impl Memory {
    /// `content`, then zeros up to `size_bytes` or a little more.
    pub(super) fn new(content: &[u8], size_bytes: usize, copying: Arc<Mutex<()>>) -> Self {
        let words = size_bytes.max(content.len()).div_ceil(size_of::<u64>());
        let boxed = Box::into_raw(vec![0_u64; words].into_boxed_slice());
        let base = NonNull::new(boxed.cast::<u64>()).expect("a box is never null");
        // SAFETY: the allocation is at least as long as `content`, is not `content`, and no other
        // thread knows it yet.
        #[expect(unsafe_code, reason = "fills the new allocation")]
        unsafe {
            std::ptr::copy_nonoverlapping(content.as_ptr(), base.as_ptr().cast(), content.len());
        }
        Self {
            base,
            words,
            copying,
        }
    }

    pub(super) fn capacity(&self) -> usize {
        self.words * size_of::<u64>()
    }

    /// The address of the bytes.
    pub(super) fn base(&self) -> NonNull<u8> {
        self.base.cast()
    }

    /// The lock under which the bytes are written.
    pub(super) fn copy_lock(&self) -> &Arc<Mutex<()>> {
        &self.copying
    }

    /// Shows all bytes to `f`. `f` must not touch the memory of any file of the machine (the lock
    /// is held).
    pub(super) fn read<R>(&self, f: impl FnOnce(&[u8]) -> R) -> R {
        let held = self.copying.lock();
        f(self.bytes(&held))
    }

    /// All bytes, for a caller that already holds the copy lock of this machine.
    pub(super) fn bytes<'a>(&'a self, held: &'a MutexGuard<'_, ()>) -> &'a [u8] {
        assert!(
            std::ptr::eq(MutexGuard::mutex(held), &raw const *self.copying),
            "the lock is this machine's"
        );
        #[expect(
            unsafe_code,
            reason = "the bytes are shared with maps, so no safe container can own them"
        )]
        // SAFETY: the allocation has `capacity` initialised bytes and lives as long as `self`; they
        // are not written while the lock is held.
        unsafe {
            std::slice::from_raw_parts(self.base().as_ptr(), self.capacity())
        }
    }

    /// Copies `bytes` to offset `at`.
    pub(super) fn write(&self, at: usize, bytes: &[u8]) {
        assert!(
            at <= self.capacity() && bytes.len() <= self.capacity() - at,
            "the write lies in the memory"
        );
        let _held = self.copying.lock();
        #[expect(
            unsafe_code,
            reason = "the bytes are shared with maps, so no safe container can own them"
        )]
        // SAFETY: the target lies inside the allocation (asserted), and the lock is held. `bytes`
        // cannot overlap it. They would have to come from `read`, which holds the lock, or from a
        // map, which the caller must not pass (`AppendMap::new`).
        unsafe {
            std::ptr::copy(bytes.as_ptr(), self.base().as_ptr().add(at), bytes.len());
        }
    }

    /// Overwrites `range` with zeros.
    pub(super) fn zero(&self, range: Range<usize>) {
        assert!(
            range.start <= range.end && range.end <= self.capacity(),
            "the range lies in the memory"
        );
        let _held = self.copying.lock();
        #[expect(
            unsafe_code,
            reason = "the bytes are shared with maps, so no safe container can own them"
        )]
        // SAFETY: the range lies inside the allocation (asserted) and the lock is held.
        unsafe {
            std::ptr::write_bytes(
                self.base().as_ptr().add(range.start),
                0,
                range.end - range.start,
            );
        }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        let slice = std::ptr::slice_from_raw_parts_mut(self.base.as_ptr(), self.words);
        #[expect(unsafe_code, reason = "frees what `new` allocated")]
        // SAFETY: `base` and `words` come from the box leaked in `new`, and are freed only here.
        drop(unsafe { Box::from_raw(slice) });
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory")
            .field("capacity", &self.capacity())
            .finish_non_exhaustive()
    }
}
