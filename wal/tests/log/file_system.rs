//! Where a log may lie.

use crate::common::warnings::Warnings;
use highwater_wal::disk::sim::{Call, Fault, FaultKind};
use highwater_wal::disk::{Disk, FileSystem, SimDisk};
use highwater_wal::{Background, Options, Wal, WalError};
use std::sync::Arc;

fn options(sim: &SimDisk) -> Options {
    let disk: Arc<dyn Disk> = Arc::new(sim.clone());
    let options = Options::new().segment_size(8 << 10).log_id_seed(1);
    options.background(Background::Inline).disk(disk)
}

/// F51: network file systems are refused, by name and before anything is made, also below
/// directories that do not exist.
#[test]
fn a_network_file_system_is_refused_untouched() {
    for kind in [
        FileSystem::Nfs,
        FileSystem::Cifs,
        FileSystem::NineP,
        FileSystem::Ceph,
    ] {
        let sim = SimDisk::new();
        sim.set_file_system(kind);
        let error = Wal::open_with("/a/b/log", options(&sim)).unwrap_err();
        assert!(
            matches!(&error, WalError::UnsafeFileSystem { kind: found, .. } if *found == kind),
            "{error}"
        );
        let text = error.to_string();
        assert!(
            text.contains(&kind.to_string()) && text.contains("/a/b/log"),
            "{text}"
        );
        assert_eq!(sim.mutations(), 0);
        assert!(sim.list("/a".as_ref()).is_err(), "no directory was made");
        Wal::open_with("/a/b/log", options(&sim).allow_unsafe_file_system())
            .unwrap()
            .close()
            .unwrap();
    }
}

/// How many warnings opening a log on `sim` gives.
fn warnings(sim: &SimDisk, options: Options) -> usize {
    let seen = Warnings::during(|| {
        Wal::open_with("/log", options).unwrap().close().unwrap();
    });
    assert!(sim.list("/log".as_ref()).is_ok());
    seen.len()
}

/// A build without `tracing` tells of nothing, and does the same.
fn told(warnings: usize) -> usize {
    if cfg!(feature = "tracing") {
        warnings
    } else {
        0
    }
}

/// F51: memory, layers, FUSE and strangers are warned of and used; so is a system that does not
/// answer.
#[test]
fn doubtful_file_systems_are_warned_of_and_used() {
    for (kind, expected) in [
        (FileSystem::Tmpfs, 1),
        (FileSystem::Overlay, 1),
        (FileSystem::Fuse, 1),
        (FileSystem::Other(7), 1),
        (FileSystem::Unstated, 0),
        (FileSystem::Xfs, 0),
        (FileSystem::Ext4, 0),
    ] {
        let sim = SimDisk::new();
        sim.set_file_system(kind);
        assert_eq!(warnings(&sim, options(&sim)), told(expected), "{kind}");
    }
    let allowed = SimDisk::new();
    allowed.set_file_system(FileSystem::Nfs);
    let options_of_the_brave = options(&allowed).allow_unsafe_file_system();
    assert_eq!(warnings(&allowed, options_of_the_brave), told(1));
    let silent = SimDisk::new();
    silent.fail(Fault::new(Call::FileSystem, FaultKind::Eacces).forever());
    assert_eq!(warnings(&silent, options(&silent)), told(1));
}
