//! The bound of buffered writes: one `pwrite` and one `fdatasync` per group, on extents written
//! before.

use super::group::{Group, GroupBuffer, Medium, Wait, create_ring};
use super::{Engine, Purpose, Role, Store};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

pub struct BarePwrite;

impl Engine for BarePwrite {
    fn name(&self) -> &'static str {
        "bare-pwrite"
    }

    fn role(&self) -> Role {
        Role::Bound
    }

    fn setting(&self) -> &'static str {
        "pwrite + fdatasync per group, written extents, cohort wait of at most 40 µs"
    }

    fn replays(&self) -> Option<&'static str> {
        None
    }

    fn open(&self, dir: &Path, _purpose: Purpose) -> Box<dyn Store> {
        let file = create_ring(&dir.join("ring"));
        Box::new(Group::new(Buffered(file), Wait::Cohort))
    }
}

struct Buffered(File);

impl Medium for Buffered {
    fn alignment(&self) -> u64 {
        1
    }

    fn place(&self, _offset: u64, bytes: &[u8], group: &mut GroupBuffer) {
        group.put(bytes);
    }

    fn flush(&self, offset: u64, _len: u64, group: &[u8]) {
        self.0.write_all_at(group, offset).unwrap();
        self.0.sync_data().unwrap();
    }

    fn hand_over(&self, offset: u64, group: &[u8]) {
        self.0.write_all_at(group, offset).unwrap();
    }
}
