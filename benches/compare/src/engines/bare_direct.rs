//! The bound of direct writes: one `pwrite` per group to a file opened with `O_DIRECT | O_DSYNC`,
//! on extents written before. Groups are padded to the device's sector.

use super::group::{Group, GroupBuffer, Medium, Wait, create_ring};
use super::{Engine, Purpose, Role, Store};
use rustix::fs::OFlags;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

/// Direct writes must start and end at multiples of the device's logical sector: one of these.
const SECTORS: [u64; 2] = [512, 4096];

pub struct BareDirect {
    wait: Wait,
}

impl BareDirect {
    pub const AT_ONCE: Self = Self { wait: Wait::No };
    pub const COHORT: Self = Self { wait: Wait::Cohort };
}

impl Engine for BareDirect {
    fn name(&self) -> &'static str {
        match self.wait {
            Wait::No => "bare-direct",
            Wait::Cohort => "bare-direct-cohort",
        }
    }

    fn role(&self) -> Role {
        Role::Bound
    }

    fn setting(&self) -> &'static str {
        match self.wait {
            Wait::No => "O_DIRECT + O_DSYNC pwrite per group, written extents, no cohort wait",
            Wait::Cohort => {
                "O_DIRECT + O_DSYNC pwrite per group, written extents, cohort wait of at most 40 µs"
            }
        }
    }

    fn appends_without_sync(&self) -> bool {
        false
    }

    fn replays(&self) -> Option<&'static str> {
        None
    }

    fn open(&self, dir: &Path, _purpose: Purpose) -> Box<dyn Store> {
        let path = dir.join("ring");
        drop(create_ring(&path));
        let flags = OFlags::DIRECT | OFlags::DSYNC;
        let file = OpenOptions::new()
            .write(true)
            .custom_flags(flags.bits().cast_signed())
            .open(&path)
            .unwrap();
        let mut direct = Direct { file, sector: 0 };
        direct.sector = SECTORS
            .into_iter()
            .find(|sector| direct.accepts(*sector))
            .expect("the file system takes direct writes of one sector");
        Box::new(Group::new(direct, self.wait))
    }
}

struct Direct {
    file: File,
    sector: u64,
}

impl Direct {
    fn accepts(&self, sector: u64) -> bool {
        let mut one = GroupBuffer::new();
        one.pad_to(usize::try_from(sector).unwrap());
        // Not at the start, where every block is a multiple of every sector.
        self.file.write_all_at(one.bytes(), sector).is_ok()
    }
}

impl Medium for Direct {
    fn alignment(&self) -> u64 {
        self.sector
    }

    fn place(&self, _offset: u64, bytes: &[u8], group: &mut GroupBuffer) {
        group.put(bytes);
    }

    fn flush(&self, offset: u64, _len: u64, group: &[u8]) {
        self.file.write_all_at(group, offset).unwrap();
    }

    fn hand_over(&self, _offset: u64, _group: &[u8]) {
        unreachable!("a direct write waits for the device");
    }
}
