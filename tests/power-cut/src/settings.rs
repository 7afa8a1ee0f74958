//! What is to be tried: `name=value` arguments, which come from the kernel's command line.

use crate::medium::Device;
use crate::nbd::Cache;
use highwater_wal::WritePath;
use std::fmt;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileSystem {
    Ext4,
    Xfs,
}

/// What is broken on purpose, to show that it is noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cheat {
    None,
    /// The log acknowledges before it syncs.
    AckBeforeSync,
    /// The log takes its old start for given before the new one is durable.
    UnlinkBeforeControl,
    /// The log syncs no directory.
    NoDirectorySync,
    /// The file system sends no flushes (ext4 only).
    NoBarrier,
    /// The device answers flushes and does nothing.
    IgnoreFlushes,
}

/// One way to run the log.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setup {
    pub(crate) file_system: FileSystem,
    pub(crate) path: WritePath,
    pub(crate) cache: Cache,
}

impl fmt::Display for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {:?} {:?}", self.file_system, self.path, self.cache)
    }
}

#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) file_systems: Vec<FileSystem>,
    pub(crate) paths: Vec<WritePath>,
    pub(crate) caches: Vec<Cache>,
    pub(crate) cheat: Cheat,
    cheat_name: String,
    pub(crate) seed: u64,
    /// Frames that each of the threads appends.
    pub(crate) appends: u64,
    /// Every how many flushes the power is cut; 1 is at each.
    pub(crate) every: usize,
    /// [`highwater_wal::Options::seal_groups`], in bytes; 0 is off.
    pub(crate) seal_groups: u64,
    /// Torn states at each of these, besides the one in which nothing survives that was not
    /// flushed.
    pub(crate) torn: u64,
    /// Only say that the machine works.
    pub(crate) probe: bool,
}

impl Settings {
    pub(crate) fn from_arguments(arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut settings = Self {
            file_systems: vec![FileSystem::Ext4, FileSystem::Xfs],
            paths: vec![WritePath::Direct, WritePath::PageCache],
            caches: vec![Cache::Fua, Cache::Flush],
            cheat: Cheat::None,
            cheat_name: "none".to_owned(),
            seed: 1,
            appends: 150,
            every: 1,
            seal_groups: 0,
            torn: 1,
            probe: false,
        };
        for argument in arguments {
            let (name, value) = argument.split_once('=').unwrap_or((&argument, ""));
            settings
                .set(name, value)
                .ok_or_else(|| format!("what is {argument}?"))?;
        }
        Ok(settings)
    }

    fn set(&mut self, name: &str, value: &str) -> Option<()> {
        match name {
            "fs" => self.file_systems = list(value, file_system)?,
            "path" => self.paths = list(value, write_path)?,
            "cache" => self.caches = list(value, cache)?,
            "cheat" => {
                self.cheat = cheat(value)?;
                value.clone_into(&mut self.cheat_name);
            }
            "seed" => self.seed = value.parse().ok()?,
            "appends" => self.appends = value.parse().ok()?,
            "every" => self.every = value.parse().ok().filter(|n| *n > 0)?,
            "torn" => self.torn = value.parse().ok()?,
            "seal_groups" => self.seal_groups = value.parse().ok()?,
            "probe" => self.probe = true,
            _ => return None,
        }
        Some(())
    }

    pub(crate) fn setups(&self) -> Vec<Setup> {
        let mut setups = Vec::new();
        for &file_system in &self.file_systems {
            for &path in &self.paths {
                setups.extend(self.caches.iter().map(|&cache| Setup {
                    file_system,
                    path,
                    cache,
                }));
            }
        }
        setups
    }

    /// Arguments for a process that uses a log on this path.
    pub(crate) fn for_path(&self, path: WritePath) -> [String; 4] {
        let path = match path {
            WritePath::PageCache => "page-cache",
            _ => "direct",
        };
        let (cheat, seed) = (self.cheat_name.clone(), self.seed);
        [
            format!("path={path}"),
            format!("cheat={cheat}"),
            format!("seed={seed}"),
            format!("seal_groups={}", self.seal_groups),
        ]
    }

    pub(crate) fn device(&self) -> Device {
        match self.cheat {
            Cheat::IgnoreFlushes => Device::IgnoresFlushes,
            _ => Device::Honest,
        }
    }
}

fn list<T>(value: &str, one: impl Fn(&str) -> Option<T>) -> Option<Vec<T>> {
    value.split(',').map(one).collect()
}

fn file_system(name: &str) -> Option<FileSystem> {
    match name {
        "ext4" => Some(FileSystem::Ext4),
        "xfs" => Some(FileSystem::Xfs),
        _ => None,
    }
}

fn write_path(name: &str) -> Option<WritePath> {
    match name {
        "direct" => Some(WritePath::Direct),
        "page-cache" => Some(WritePath::PageCache),
        _ => None,
    }
}

fn cache(name: &str) -> Option<Cache> {
    match name {
        "fua" => Some(Cache::Fua),
        "flush" => Some(Cache::Flush),
        _ => None,
    }
}

fn cheat(name: &str) -> Option<Cheat> {
    match name {
        "none" => Some(Cheat::None),
        "ack-before-sync" => Some(Cheat::AckBeforeSync),
        "unlink-before-control" => Some(Cheat::UnlinkBeforeControl),
        "no-directory-sync" => Some(Cheat::NoDirectorySync),
        "no-barrier" => Some(Cheat::NoBarrier),
        "ignore-flushes" => Some(Cheat::IgnoreFlushes),
        _ => None,
    }
}
