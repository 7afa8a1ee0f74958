//! Which file system a directory lies on, and what that means for data that must survive.

use std::fmt;

/// A kind of file system, as `statfs` tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FileSystem {
    /// ext2, ext3 or ext4: they share one number.
    Ext4,
    /// XFS.
    Xfs,
    /// Btrfs.
    Btrfs,
    /// ZFS.
    Zfs,
    /// F2FS.
    F2fs,
    /// Bcachefs.
    Bcachefs,
    /// JFS.
    Jfs,
    /// tmpfs: memory.
    Tmpfs,
    /// ramfs: memory.
    Ramfs,
    /// overlayfs, the usual root of a container.
    Overlay,
    /// NFS.
    Nfs,
    /// SMB or CIFS.
    Cifs,
    /// 9P: a directory of the host of a virtual machine.
    NineP,
    /// CephFS.
    Ceph,
    /// Lustre.
    Lustre,
    /// AFS.
    Afs,
    /// A process, through FUSE.
    Fuse,
    /// FAT or exFAT.
    Fat,
    /// APFS.
    Apfs,
    /// HFS+.
    Hfs,
    /// One that its system does not call local.
    Remote,
    /// Another one, by its number in `statfs`.
    Other(u64),
    /// The disk does not say.
    Unstated,
}

/// What a file system promises about data that was flushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Suitability {
    /// A local file system that is known to keep what was flushed, to map files coherently and to
    /// lock directories.
    Fit,
    /// Memory: nothing survives the machine.
    Volatile,
    /// Files may come from a layer that is replaced with the container.
    Layered,
    /// A process decides what a flush does.
    Userspace,
    /// Locks, coherent maps, and flushes that reach a disk are not promised.
    Network,
    /// Nothing is known about it here.
    Unknown,
}

/// The numbers are those of Linux' `include/uapi/linux/magic.h` and of the sources of other file
/// systems.
const MAGICS: [(u64, FileSystem); 24] = [
    (0xEF53, FileSystem::Ext4),
    (0x5846_5342, FileSystem::Xfs),
    (0x9123_683E, FileSystem::Btrfs),
    (0x2FC1_2FC1, FileSystem::Zfs),
    (0xF2F5_2010, FileSystem::F2fs),
    (0xCA45_1A4E, FileSystem::Bcachefs),
    (0x3153_464A, FileSystem::Jfs),
    (0x0102_1994, FileSystem::Tmpfs),
    (0x8584_58F6, FileSystem::Ramfs),
    (0x794C_7630, FileSystem::Overlay),
    (0x6175_6673, FileSystem::Overlay), // aufs
    (0x6969, FileSystem::Nfs),
    (0x517B, FileSystem::Cifs),
    (0xFF53_4D42, FileSystem::Cifs),
    (0xFE53_4D42, FileSystem::Cifs),
    (0x0102_1997, FileSystem::NineP),
    (0x786F_4256, FileSystem::NineP), // folders of VirtualBox
    (0x00C3_6400, FileSystem::Ceph),
    (0x0BD0_0BD0, FileSystem::Lustre),
    (0x5346_414F, FileSystem::Afs),
    (0x6B41_4653, FileSystem::Afs), // kAFS
    (0x6573_5546, FileSystem::Fuse),
    (0x4D44, FileSystem::Fat),
    (0x2011_BAB0, FileSystem::Fat), // exFAT
];

impl FileSystem {
    /// The file system with this `f_type`.
    ///
    /// ```
    /// use highwater_disk::FileSystem;
    /// assert_eq!(FileSystem::from_magic(0xEF53), FileSystem::Ext4);
    /// ```
    #[must_use]
    pub fn from_magic(magic: u64) -> Self {
        let known = MAGICS.iter().find(|(number, _)| *number == magic);
        known.map_or(Self::Other(magic), |(_, kind)| *kind)
    }

    /// The file system that macOS calls `name`. `number` is its `f_type` there.
    #[cfg(any(test, target_vendor = "apple"))]
    pub(crate) fn from_name(name: &str, local: bool, number: u64) -> Self {
        match name {
            "apfs" => Self::Apfs,
            "hfs" => Self::Hfs,
            "zfs" => Self::Zfs,
            "tmpfs" => Self::Tmpfs,
            "msdos" | "exfat" => Self::Fat,
            "nfs" => Self::Nfs,
            "smbfs" => Self::Cifs,
            "macfuse" | "osxfuse" => Self::Fuse,
            _ if local => Self::Other(number),
            _ => Self::Remote,
        }
    }

    /// What it promises.
    ///
    /// ```
    /// use highwater_disk::{Disk, OsDisk, Suitability};
    /// # let dir = tempfile::tempdir()?;
    /// let file_system = OsDisk::new().file_system(dir.path())?;
    /// if file_system.suitability() == Suitability::Network {
    ///     println!("{file_system} does not promise to keep what was flushed");
    /// }
    /// # Ok::<_, std::io::Error>(())
    /// ```
    #[must_use]
    pub fn suitability(self) -> Suitability {
        match self {
            Self::Ext4 | Self::Xfs | Self::Btrfs | Self::Zfs => Suitability::Fit,
            Self::F2fs | Self::Bcachefs | Self::Jfs => Suitability::Fit,
            Self::Tmpfs | Self::Ramfs => Suitability::Volatile,
            Self::Overlay => Suitability::Layered,
            Self::Fuse => Suitability::Userspace,
            Self::Nfs | Self::Cifs | Self::NineP | Self::Ceph | Self::Lustre | Self::Afs => {
                Suitability::Network
            }
            Self::Remote => Suitability::Network,
            Self::Apfs | Self::Hfs => Suitability::Unknown,
            Self::Fat | Self::Other(_) | Self::Unstated => Suitability::Unknown,
        }
    }
}

impl fmt::Display for FileSystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
            Self::Btrfs => "btrfs",
            Self::Zfs => "zfs",
            Self::F2fs => "f2fs",
            Self::Bcachefs => "bcachefs",
            Self::Jfs => "jfs",
            Self::Tmpfs => "tmpfs",
            Self::Ramfs => "ramfs",
            Self::Overlay => "overlay",
            Self::Nfs => "nfs",
            Self::Cifs => "cifs",
            Self::NineP => "9p",
            Self::Ceph => "ceph",
            Self::Lustre => "lustre",
            Self::Afs => "afs",
            Self::Fuse => "fuse",
            Self::Fat => "fat",
            Self::Apfs => "apfs",
            Self::Hfs => "hfs",
            Self::Remote => "a network file system",
            Self::Other(magic) => return write!(f, "an unknown file system ({magic:#x})"),
            Self::Unstated => "an unnamed file system",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// F51: each number names one file system, and those that lose data are told from those that
    /// keep it.
    #[test]
    fn numbers_become_names() {
        let numbers: BTreeSet<u64> = MAGICS.iter().map(|(number, _)| *number).collect();
        assert_eq!(numbers.len(), MAGICS.len(), "no number stands twice");
        let of = |magic| FileSystem::from_magic(magic);
        assert_eq!(of(0xEF53).to_string(), "ext4");
        assert_eq!(of(0x6969).suitability(), Suitability::Network);
        assert_eq!(of(0x0102_1994).suitability(), Suitability::Volatile);
        assert_eq!(of(0x794C_7630).suitability(), Suitability::Layered);
        assert_eq!(of(0x6573_5546).suitability(), Suitability::Userspace);
        assert_eq!(of(0xBEEF).suitability(), Suitability::Unknown);
        assert!(of(0xBEEF).to_string().contains("0xbeef"));
    }

    /// F51: as macOS tells it. What its own file systems keep was never tried, so they are warned
    /// of.
    #[test]
    fn names_become_kinds() {
        let of = |name, local| FileSystem::from_name(name, local, 26);
        assert_eq!(of("apfs", true).suitability(), Suitability::Unknown);
        assert_eq!(of("hfs", true).to_string(), "hfs");
        for (name, local) in [
            ("nfs", true),
            ("smbfs", false),
            ("webdav", false),
            ("afpfs", false),
        ] {
            assert_eq!(
                of(name, local).suitability(),
                Suitability::Network,
                "{name}"
            );
        }
        assert_eq!(of("macfuse", true).suitability(), Suitability::Userspace);
        assert_eq!(of("new", true), FileSystem::Other(26));
    }
}
