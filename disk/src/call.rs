//! The kinds of calls to a disk.

use std::fmt;

/// One kind of call to the disk. Errors name it; the simulator counts it and makes it fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Call {
    /// [`Disk::create_dir_all`](crate::Disk::create_dir_all)
    CreateDir,
    /// [`Disk::list`](crate::Disk::list)
    List,
    /// [`Disk::create_new`](crate::Disk::create_new)
    Create,
    /// [`Disk::open`](crate::Disk::open)
    Open,
    /// [`Disk::rename`](crate::Disk::rename)
    Rename,
    /// [`Disk::hard_link`](crate::Disk::hard_link)
    Link,
    /// [`Disk::remove_file`](crate::Disk::remove_file)
    Remove,
    /// [`Disk::sync_dir`](crate::Disk::sync_dir)
    SyncDir,
    /// [`Disk::lock_dir`](crate::Disk::lock_dir)
    Lock,
    /// [`DiskFile::len`](crate::DiskFile::len)
    Len,
    /// [`DiskFile::read_at`](crate::DiskFile::read_at)
    Read,
    /// [`DiskFile::write_at`](crate::DiskFile::write_at)
    Write,
    /// [`DiskFile::set_len`](crate::DiskFile::set_len)
    SetLen,
    /// [`DiskFile::allocate`](crate::DiskFile::allocate)
    Allocate,
    /// [`DiskFile::sync`](crate::DiskFile::sync)
    Sync,
    /// [`DiskFile::map_append`](crate::DiskFile::map_append)
    MapAppend,
    /// [`DiskFile::map_read`](crate::DiskFile::map_read)
    MapRead,
    /// [`AppendMap::sync`](crate::AppendMap::sync)
    SyncMap,
    /// [`Disk::file_system`](crate::Disk::file_system)
    FileSystem,
    /// [`AppendMap::give_back`](crate::AppendMap::give_back)
    GiveBack,
    /// [`ReadMap::populate`](crate::ReadMap::populate) and
    /// [`AppendMap::populate`](crate::AppendMap::populate)
    Populate,
    /// [`AppendMap::sync`](crate::AppendMap::sync) of a direct map: a write past the page cache
    WriteDirect,
    /// [`DiskFile::map_append_direct`](crate::DiskFile::map_append_direct)
    MapAppendDirect,
}

impl Call {
    /// Every call, in the order of declaration: for tests that fail each in turn.
    pub const ALL: [Self; 23] = [
        Self::CreateDir,
        Self::List,
        Self::Create,
        Self::Open,
        Self::Rename,
        Self::Link,
        Self::Remove,
        Self::SyncDir,
        Self::Lock,
        Self::Len,
        Self::Read,
        Self::Write,
        Self::SetLen,
        Self::Allocate,
        Self::Sync,
        Self::MapAppend,
        Self::MapRead,
        Self::SyncMap,
        Self::FileSystem,
        Self::GiveBack,
        Self::Populate,
        Self::WriteDirect,
        Self::MapAppendDirect,
    ];

    /// Whether the call can change what a power cut leaves.
    ///
    /// ```
    /// use highwater_disk::Call;
    /// assert!(Call::Write.is_mutation() && !Call::Read.is_mutation());
    /// ```
    #[must_use]
    pub fn is_mutation(self) -> bool {
        !matches!(
            self,
            Self::List
                | Self::Open
                | Self::Len
                | Self::Read
                | Self::MapRead
                | Self::Lock
                | Self::FileSystem
                | Self::Populate
        )
    }

    fn verb(self) -> &'static str {
        match self {
            Self::CreateDir => "create directory",
            Self::List => "list directory",
            Self::Create => "create",
            Self::Open => "open",
            Self::Rename => "rename",
            Self::Link => "link",
            Self::Remove => "remove",
            Self::SyncDir => "sync directory",
            Self::Lock => "lock directory",
            Self::Len => "get the length of",
            Self::Read => "read",
            Self::Write => "write",
            Self::SetLen => "set the length of",
            Self::Allocate => "allocate the blocks of",
            Self::Sync => "sync",
            Self::MapAppend => "map for appending",
            Self::MapRead => "map for reading",
            Self::SyncMap => "sync the map of",
            Self::FileSystem => "ask for the file system of",
            Self::GiveBack => "give back memory of the map of",
            Self::Populate => "read the mapped file",
            Self::WriteDirect => "write past the page cache to",
            Self::MapAppendDirect => "open for writing past the page cache",
        }
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.verb())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_is_listed_once() {
        for (index, call) in Call::ALL.iter().enumerate() {
            assert_eq!(*call as usize, index, "{call:?}");
        }
    }
}
