//! The version, sizes and limits of the format.

/// The format that this version writes, and the newest that it reads.
pub const FORMAT_VERSION: u32 = 2;

/// Larger manifests are neither written nor read, in bytes.
pub const MAX_MANIFEST_BYTES: u64 = 256 << 20;

/// Length of the header of a state file, in bytes.
pub const FILE_HEADER_LEN: u64 = 64;

/// Length of the header of a block of version 1, in bytes.
pub const BLOCK_HEADER_LEN: u64 = 32;
