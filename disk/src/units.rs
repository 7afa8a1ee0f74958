//! The units in which devices and the kernel handle files.

/// Smallest unit that a device writes as a whole, in bytes. A power cut tears between sectors,
/// never inside one.
pub const SECTOR_SIZE: u64 = 512;

/// Granularity of memory maps and of the page cache, in bytes.
pub const PAGE_SIZE: u64 = 4096;

/// [`SECTOR_SIZE`] as a size in memory.
pub(crate) const SECTOR: usize = 512;

/// [`PAGE_SIZE`] as a size in memory.
pub(crate) const PAGE: usize = 4096;

const _: () = assert!(SECTOR as u64 == SECTOR_SIZE && PAGE as u64 == PAGE_SIZE);
