//! Whether settings agree with each other and with the limits of the format.

use crate::error::{Result, WalError};
use crate::format::layout::{
    FORMAT_VERSION, MAX_SEGMENT_SIZE, MIN_SEGMENT_SIZE, SEGMENT_ALIGNMENT,
};
use crate::options::settings::{MAX_WRITE_SIZE, Options};
use highwater_disk::PAGE_SIZE;
use std::ops::RangeInclusive;

/// The coarsest unit of [`Options::seal_groups`].
const MAX_SEAL: u64 = 64 << 10;

/// The highest LSN that a new log may begin at.
const MAX_START: u64 = 1 << 62;

const LEVELS: RangeInclusive<i32> = -7..=22;

fn check_size(name: &str, size: u64, most: u64) -> Result<()> {
    let right = (MIN_SEGMENT_SIZE..=most).contains(&size) && size.is_multiple_of(SEGMENT_ALIGNMENT);
    match right {
        true => Ok(()),
        false => Err(WalError::BadOptions {
            what: format!(
                "{name} {size} is not a multiple of {SEGMENT_ALIGNMENT} from {MIN_SEGMENT_SIZE} to {most} \
                 (format {FORMAT_VERSION})"
            ),
        }),
    }
}

impl Options {
    pub(crate) fn check(&self) -> Result<()> {
        let size = self.segment_size;
        check_size("segment_size", size, MAX_SEGMENT_SIZE)?;
        check_size("min_segment_size", self.smallest_segment(), size)?;
        if let Some(level) = self.compression.level()
            && !LEVELS.contains(&level)
        {
            return Err(WalError::BadOptions {
                what: format!("compression level {level} is not one of {LEVELS:?}"),
            });
        }
        if self.start_at > MAX_START {
            return Err(WalError::BadOptions {
                what: format!(
                    "start_at {} is over {MAX_START}, which leaves no room for records",
                    self.start_at
                ),
            });
        }
        self.check_seal_groups()?;
        self.check_longest_write()?;
        self.check_max_bytes()?;
        let (max, fits) = (self.max_record(), self.fits());
        if max > fits {
            return Err(WalError::BadOptions {
                what: format!(
                    "max_record_bytes {max} is over {fits}, the most that fits a segment of {size} bytes"
                ),
            });
        }
        Ok(())
    }

    fn check_seal_groups(&self) -> Result<()> {
        let unit = self.seal_groups;
        if unit == 0 {
            return Ok(());
        }
        let sizes = [
            ("segment_size", self.segment_size),
            ("min_segment_size", self.smallest_segment()),
        ];
        for (name, size) in sizes {
            let right = (PAGE_SIZE..=MAX_SEAL).contains(&unit)
                && unit.is_power_of_two()
                && size.is_multiple_of(unit)
                && size >= 4 * unit;
            if !right {
                return Err(WalError::BadOptions {
                    what: format!(
                        "seal_groups {unit} is neither 0 nor a power of two from {PAGE_SIZE} to {MAX_SEAL} that is a part, at \
                         most a quarter, of {name} {size}"
                    ),
                });
            }
        }
        Ok(())
    }

    /// No write at all would acknowledge what is not written.
    fn check_longest_write(&self) -> Result<()> {
        let bytes = self.longest_write;
        match (PAGE_SIZE..=MAX_WRITE_SIZE).contains(&bytes) && bytes.is_multiple_of(PAGE_SIZE) {
            true => Ok(()),
            false => Err(WalError::BadOptions {
                what: format!(
                    "longest_write {bytes} is not a multiple of {PAGE_SIZE} up to {MAX_WRITE_SIZE}"
                ),
            }),
        }
    }

    fn check_max_bytes(&self) -> Result<()> {
        match self.max_bytes {
            Some(max) if max < 4 * self.segment_size => Err(WalError::BadOptions {
                what: format!(
                    "max_bytes {max} is less than four segments of {} bytes: it is at least {}",
                    self.segment_size,
                    4 * self.segment_size
                ),
            }),
            _ => Ok(()),
        }
    }
}
