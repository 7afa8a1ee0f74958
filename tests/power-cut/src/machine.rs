//! The machine around the program: it is the first process, so it mounts what every system mounts,
//! loads modules, and powers off.

use crate::settings::FileSystem;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use rustix::system::{RebootCommand, finit_module, reboot};
use std::ffi::CStr;
use std::fs::File;
use std::path::Path;
use std::process::Command;

/// Where the device under test is mounted.
pub(crate) const MOUNTED: &str = "/mnt";

/// Modules lie in `/modules`, named so that their order is the one to load them in.
pub(crate) fn prepare() {
    assert_eq!(
        std::process::id(),
        1,
        "this program is to be the first process of a machine of its own"
    );
    for (kind, dir) in [("devtmpfs", "/dev"), ("proc", "/proc"), ("sysfs", "/sys")] {
        mount(kind, dir, kind, MountFlags::empty(), None).expect("the kernel's own file systems");
    }
    let modules = std::fs::read_dir("/modules").expect("the modules of this machine");
    let mut modules: Vec<_> = modules
        .map(|entry| entry.expect("a module").path())
        .collect();
    modules.sort();
    for module in modules {
        let file = File::open(&module).expect("a module");
        finit_module(file, c"", 0).unwrap_or_else(|e| panic!("{}: {e}", module.display()));
    }
}

pub(crate) fn make_file_system(kind: FileSystem, device: &Path) {
    let mut command = match kind {
        FileSystem::Ext4 => Command::new("/sbin/mkfs.ext4"),
        FileSystem::Xfs => Command::new("/sbin/mkfs.xfs"),
    };
    let output = command.arg("-q").arg(device).output().expect("mkfs");
    assert!(output.status.success(), "{output:?}");
}

/// With the defaults of the file system, or without flushes.
pub(crate) fn mount_device(kind: FileSystem, device: &Path, barrier: bool) -> Result<(), String> {
    let name = match kind {
        FileSystem::Ext4 => "ext4",
        FileSystem::Xfs => "xfs",
    };
    let data: Option<&CStr> = if barrier { None } else { Some(c"nobarrier") };
    mount(device, MOUNTED, name, MountFlags::empty(), data)
        .map_err(|e| format!("the file system cannot be mounted: {e}"))
}

pub(crate) fn unmount_device() {
    unmount(MOUNTED, UnmountFlags::empty()).expect("nothing is open there any more");
}

pub(crate) fn power_off() {
    reboot(RebootCommand::PowerOff).expect("the machine goes off");
}
