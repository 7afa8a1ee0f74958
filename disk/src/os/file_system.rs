//! Asking the system on which file system a directory lies.

use crate::file_system::FileSystem;
use std::io;
use std::path::Path;

/// By the number that `statfs` gives.
#[cfg(target_os = "linux")]
pub(crate) fn file_system(dir: &Path) -> io::Result<FileSystem> {
    let statfs = || rustix::fs::statfs(dir).map_err(crate::error::errno);
    let magic = crate::interrupted::uninterrupted(statfs)?.f_type;
    // The kernel's number has 32 bits; some C libraries return it with a sign.
    let magic = u64::try_from(i128::from(magic)).unwrap_or_default() & 0xFFFF_FFFF;
    Ok(FileSystem::from_magic(magic))
}

/// By the name that `statfs` gives, and whether the system calls it local.
#[cfg(target_vendor = "apple")]
pub(crate) fn file_system(dir: &Path) -> io::Result<FileSystem> {
    let statfs = || rustix::fs::statfs(dir).map_err(crate::error::errno);
    let found = crate::interrupted::uninterrupted(statfs)?;
    let name = found.f_fstypename.iter().map(|byte| byte.cast_unsigned());
    let name: Vec<u8> = name.take_while(|byte| *byte != 0).collect();
    let local = found.f_flags & libc::MNT_LOCAL.cast_unsigned() != 0;
    let name = String::from_utf8_lossy(&name);
    Ok(FileSystem::from_name(&name, local, u64::from(found.f_type)))
}

/// Not known here, if there is such a directory.
#[cfg(not(any(target_os = "linux", target_vendor = "apple")))]
pub(crate) fn file_system(dir: &Path) -> io::Result<FileSystem> {
    let metadata = crate::interrupted::uninterrupted(|| std::fs::metadata(dir));
    metadata.map(|_| FileSystem::Unstated)
}
