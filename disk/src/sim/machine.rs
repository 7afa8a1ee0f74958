//! One simulated machine: its state under one lock, and the entry of every call.

use super::fault::{Faults, Hit};
use super::inode::FileNode;
use super::rng::Rng;
use super::trace::Trace;
use super::tree::{Inode, NameOp, Names, ROOT, Tree};
use crate::call::Call;
use crate::error::{Crash, DiskError, errno};
use crate::file_system::FileSystem;
use parking_lot::{Mutex, MutexGuard};
use rustix::io::Errno;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::io;
use std::ops::Range;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

#[derive(Debug)]
pub(super) struct Machine {
    state: Mutex<State>,
    /// Held whenever the content of a file is written, by a call or through a map.
    copying: Arc<Mutex<()>>,
}

#[derive(Debug)]
pub(super) enum Node {
    Dir,
    File(FileNode),
}

#[derive(Debug)]
pub(super) struct State {
    crash: Option<Crash>,
    pub(super) operations: u64,
    pub(super) mutations: u64,
    /// The power goes off before this mutation.
    pub(super) cut_before: Option<u64>,
    pub(super) faults: Faults,
    /// Bytes that all live files together may have.
    pub(super) capacity: Option<u64>,
    pub(super) file_system: FileSystem,
    pub(super) time_ms: u64,
    /// Every call, if a test asked for it.
    pub(super) trace: Option<Trace>,
    /// The call that met the planned cut.
    pub(super) cut_at: Option<String>,
    /// The first so many mutations by call and path, if they are noted.
    pub(super) noted: Option<(usize, Vec<String>)>,
    pub(super) locks: BTreeSet<Inode>,
    pub(super) tree: Tree,
    nodes: BTreeMap<Inode, Node>,
    next_inode: Inode,
    copying: Arc<Mutex<()>>,
}

impl Machine {
    pub(super) fn new(state: State) -> Arc<Self> {
        let copying = Arc::clone(&state.copying);
        Arc::new(Self {
            state: Mutex::new(state),
            copying,
        })
    }

    /// The state, for what is no call: counters, faults, looking in from outside.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    pub(super) fn copying(&self) -> &Arc<Mutex<()>> {
        &self.copying
    }

    /// One call that an injected fault makes fail without any effect.
    pub(super) fn call<R>(
        &self,
        call: Call,
        path: &Path,
        run: impl FnOnce(&mut State) -> io::Result<R>,
    ) -> io::Result<R> {
        self.pair_call(call, path, None, run)
    }

    /// As [`Self::call`], for calls with a second path.
    pub(super) fn pair_call<R>(
        &self,
        call: Call,
        path: &Path,
        target: Option<&Path>,
        run: impl FnOnce(&mut State) -> io::Result<R>,
    ) -> io::Result<R> {
        self.faulty_call(call, path, target, |state, hit| {
            match hit.and_then(|hit| hit.kind.error()) {
                Some(error) => Err(error),
                None => run(state),
            }
        })
    }

    /// One call that decides itself what an injected fault does.
    pub(super) fn faulty_call<R>(
        &self,
        call: Call,
        path: &Path,
        target: Option<&Path>,
        run: impl FnOnce(&mut State, Option<Hit>) -> io::Result<R>,
    ) -> io::Result<R> {
        let mut state = self.state.lock();
        let result = state.enter(call, path).and_then(|()| {
            let hit = state.faults.strike(call, path, target);
            run(&mut state, hit)
        });
        state.trace_call(call, path, target, result.as_ref().err());
        result.map_err(|e| match DiskError::of(&e) {
            Some(_) => e, // it says more: at which offset
            None => DiskError::wrap_pair(call, path, target, e),
        })
    }

    /// Whether the mapped pages of `range` can be read in.
    pub(super) fn populate(&self, path: &Path, inode: Inode, range: &Range<u64>) -> io::Result<()> {
        self.faulty_call(Call::Populate, path, None, |state, hit| {
            let fault = |at, cause| DiskError::wrap_at(Call::Populate, path, at, cause);
            if let Some(error) = hit.and_then(|hit| hit.kind.error()) {
                return Err(fault(range.start, error));
            }
            // A map keeps its file, also when no name and no handle is left.
            let bad = state
                .file(inode)
                .ok()
                .and_then(|file| file.first_unreadable(range));
            match bad {
                Some(at) => Err(fault(at, errno(Errno::IO))),
                None => Ok(()),
            }
        })
    }

    /// Closes a handle and, with it, `maps` maps.
    pub(super) fn release(&self, inode: Inode, maps: usize) {
        // A killed process has no files any more.
        if let Ok(file) = self.state().file_mut(inode) {
            file.handles -= 1;
            file.maps -= maps;
        }
    }
}

impl State {
    /// An empty disk.
    pub(super) fn empty() -> Self {
        Self {
            crash: None,
            operations: 0,
            mutations: 0,
            cut_before: None,
            faults: Faults::default(),
            capacity: None,
            file_system: FileSystem::Ext4,
            time_ms: 0,
            trace: None,
            cut_at: None,
            noted: None,
            locks: BTreeSet::new(),
            tree: Tree::default(),
            nodes: BTreeMap::from([(ROOT, Node::Dir)]),
            next_inode: ROOT + 1,
            copying: Arc::default(),
        }
    }

    pub(super) fn crash(&self) -> Option<Crash> {
        self.crash
    }

    /// Counts the call, unless the machine is gone or goes just now.
    fn enter(&mut self, call: Call, path: &Path) -> io::Result<()> {
        if self.crash.is_none() && call.is_mutation() && self.cut_before == Some(self.mutations) {
            if call == Call::CreateDir {
                // The one call of several steps: it may have got as far as any of them.
                let _un_synced = self.make_dirs(path);
            }
            self.cut_at = Some(format!("{call:?} {}", path.display()));
            self.cut_power();
        }
        if let Some(crash) = self.crash {
            return Err(io::Error::other(crash));
        }
        if call.is_mutation()
            && let Some((most, noted)) = &mut self.noted
            && noted.len() < *most
        {
            noted.push(format!("{call:?} {}", path.display()));
        }
        self.operations += 1;
        self.mutations += u64::from(call.is_mutation());
        Ok(())
    }

    fn trace_call(
        &mut self,
        call: Call,
        path: &Path,
        target: Option<&Path>,
        failed: Option<&io::Error>,
    ) {
        let Some(mut trace) = self.trace.take() else {
            return;
        };
        let content = self
            .walk(path)
            .and_then(|inode| Ok(self.file(inode)?.content()));
        trace.note(call, path, target, failed, content.ok().as_deref());
        self.trace = Some(trace);
    }

    /// Switches the power off: from now on nothing changes, not even through the maps.
    pub(super) fn cut_power(&mut self) {
        if self.crash.is_some() {
            return;
        }
        self.crash = Some(Crash::PowerCut);
        let copying = Arc::clone(&self.copying);
        let held = copying.lock();
        for node in self.nodes.values_mut() {
            if let Node::File(file) = node {
                file.detach_maps(&held, &copying);
            }
        }
    }

    /// Both images and all that is un-synced, without handles, maps, locks, faults and counters.
    pub(super) fn fork(&self) -> Self {
        let mut fork = Self::empty();
        fork.capacity = self.capacity;
        fork.file_system = self.file_system;
        fork.time_ms = self.time_ms;
        fork.tree.clone_from(&self.tree);
        fork.next_inode = self.next_inode;
        fork.trace.clone_from(&self.trace);
        let held = self.copying.lock();
        for (inode, node) in &self.nodes {
            let copy = match node {
                Node::Dir => Node::Dir,
                Node::File(file) => Node::File(file.fork(&held, &fork.copying)),
            };
            fork.nodes.insert(*inode, copy);
        }
        fork
    }

    /// Kills the process that uses the disk; its memory and its handles go, the page cache stays.
    pub(super) fn kill(&mut self) -> Self {
        let survivor = self.fork();
        *self = Self {
            crash: Some(Crash::ProcessKill),
            copying: Arc::clone(&self.copying),
            ..Self::empty()
        };
        survivor
    }

    /// A machine that boots on what the power cut left.
    pub(super) fn survivor(&self, seed: u64) -> Self {
        const SURVIVAL_PER_MILLE: [u64; 5] = [0, 100, 500, 900, 1000];
        let mut rng = Rng::new(seed);
        let mut draw = || {
            let index = usize::try_from(rng.below(5)).unwrap_or(0);
            SURVIVAL_PER_MILLE.get(index).copied().unwrap_or(0)
        };
        let (of_names, of_sectors) = (draw(), draw());
        let names = self.tree.survivor(&mut rng, of_names);
        let mut survivor = Self::empty();
        survivor.capacity = self.capacity;
        survivor.file_system = self.file_system;
        survivor.time_ms = self.time_ms;
        survivor.next_inode = self.next_inode;
        survivor.trace.clone_from(&self.trace);
        for inode in names.targets() {
            let copy = match self.nodes.get(&inode) {
                None => continue,
                Some(Node::Dir) => Node::Dir,
                Some(Node::File(file)) => {
                    if let Some(Node::File(copied)) = survivor.nodes.get_mut(&inode) {
                        copied.links += 1; // a second name
                        continue;
                    }
                    let content = file.survivor(&mut rng, of_sectors);
                    let mut copy = FileNode::durable(content, &survivor.copying);
                    copy.links = 1;
                    copy.modified_ms = file.modified_ms;
                    copy.inherit_unreadable(file.unreadable());
                    Node::File(copy)
                }
            };
            survivor.nodes.insert(inode, copy);
        }
        survivor.tree = Tree::durable(names);
        survivor
    }

    // ---- paths and inodes

    /// The inode of `path`.
    pub(super) fn walk(&self, path: &Path) -> io::Result<Inode> {
        normal(path)
            .iter()
            .try_fold(ROOT, |dir, name| self.child(dir, name))
    }

    /// The inode of `path` in the durable names.
    pub(super) fn walk_durable(&self, path: &Path) -> Option<Inode> {
        normal(path)
            .iter()
            .try_fold(ROOT, |dir, name| self.tree.durable.get(dir, name))
    }

    /// The inode of `name` in the directory `dir`.
    pub(super) fn child(&self, dir: Inode, name: &OsStr) -> io::Result<Inode> {
        self.expect_dir(dir)?;
        self.tree
            .names
            .get(dir, name)
            .ok_or_else(|| errno(Errno::NOENT))
    }

    pub(super) fn expect_dir(&self, inode: Inode) -> io::Result<()> {
        match self.nodes.get(&inode) {
            Some(Node::Dir) => Ok(()),
            _ => Err(errno(Errno::NOTDIR)),
        }
    }

    /// The inode of the directory `dir`.
    pub(super) fn walk_dir(&self, dir: &Path) -> io::Result<Inode> {
        let inode = self.walk(dir)?;
        self.expect_dir(inode)?;
        Ok(inode)
    }

    /// The directory that holds (or will hold) the name of `path`, and the name.
    pub(super) fn walk_parent(&self, path: &Path) -> io::Result<(Inode, OsString)> {
        let mut names = normal(path);
        let name = names.pop().ok_or_else(|| errno(Errno::EXIST))?;
        let dir = names
            .iter()
            .try_fold(ROOT, |dir, name| self.child(dir, name))?;
        self.expect_dir(dir)?;
        Ok((dir, name))
    }

    pub(super) fn node(&self, inode: Inode) -> Option<&Node> {
        self.nodes.get(&inode)
    }

    pub(super) fn file(&self, inode: Inode) -> io::Result<&FileNode> {
        match self.nodes.get(&inode) {
            Some(Node::File(file)) => Ok(file),
            Some(Node::Dir) => Err(errno(Errno::ISDIR)),
            None => Err(errno(Errno::STALE)),
        }
    }

    pub(super) fn file_mut(&mut self, inode: Inode) -> io::Result<&mut FileNode> {
        match self.nodes.get_mut(&inode) {
            Some(Node::File(file)) => Ok(file),
            Some(Node::Dir) => Err(errno(Errno::ISDIR)),
            None => Err(errno(Errno::STALE)),
        }
    }

    /// A new inode without a name.
    pub(super) fn add_file(&mut self, content: Vec<u8>) -> Inode {
        let mut file = FileNode::durable(content, &self.copying);
        file.modified_ms = self.time_ms;
        self.add_node(Node::File(file))
    }

    fn add_node(&mut self, node: Node) -> Inode {
        let inode = self.next_inode;
        self.next_inode += 1;
        self.nodes.insert(inode, node);
        inode
    }

    /// Changes a name in the page cache, and the link counts with it.
    pub(super) fn change_name(&mut self, op: NameOp) {
        let gains = match &op {
            NameOp::Add { node, .. } => Some(*node),
            NameOp::Remove { .. } | NameOp::Rename { .. } => None,
        };
        let loses = match &op {
            NameOp::Add { .. } => None,
            NameOp::Remove { node, .. } => Some(*node),
            NameOp::Rename { to, .. } => self.tree.names.get(to.0, &to.1),
        };
        if let Some(Node::File(file)) = gains.and_then(|inode| self.nodes.get_mut(&inode)) {
            file.links += 1;
        }
        if let Some(Node::File(file)) = loses.and_then(|inode| self.nodes.get_mut(&inode)) {
            file.links -= 1;
        }
        self.tree.change(op);
    }

    /// Creates `dir` and its missing parents, with durable names.
    pub(super) fn create_dir_all(&mut self, dir: &Path) -> io::Result<()> {
        let to_sync = self.make_dirs(dir)?;
        to_sync.into_iter().for_each(|dir| self.tree.sync(dir));
        Ok(())
    }

    /// As `OsDisk`: syncs the parent of each created directory and that of the deepest one that
    /// existed. A process killed in the middle may have left the name of that one un-synced.
    fn make_dirs(&mut self, path: &Path) -> io::Result<Vec<Inode>> {
        let mut dir = ROOT;
        let mut to_sync = Vec::new();
        for name in normal(path) {
            let next = match self.tree.names.get(dir, &name) {
                Some(next) => {
                    to_sync.clear(); // something deeper exists
                    next
                }
                None => {
                    let node = self.add_node(Node::Dir);
                    self.change_name(NameOp::Add { dir, name, node });
                    node
                }
            };
            self.expect_dir(next)?;
            to_sync.push(dir);
            dir = next;
        }
        Ok(to_sync)
    }

    /// Bytes that may still be added to live files.
    pub(super) fn free_bytes(&self) -> u64 {
        let Some(capacity) = self.capacity else {
            return u64::MAX;
        };
        capacity.saturating_sub(self.used_bytes())
    }

    pub(super) fn used_bytes(&self) -> u64 {
        let live = self.nodes.values().filter_map(|node| match node {
            Node::File(file) if file.is_live() => Some(file.len() as u64),
            Node::File(_) | Node::Dir => None,
        });
        live.sum()
    }

    /// Frees the inodes that can never be seen again.
    pub(super) fn collect_garbage(&mut self) {
        let tree = &self.tree;
        self.nodes.retain(|inode, node| match node {
            Node::Dir => true,
            Node::File(file) => file.is_live() || tree.may_survive(*inode),
        });
    }

    /// The paths of all files that can be reached through `names`.
    pub(super) fn file_paths(&self, names: &Names) -> Vec<PathBuf> {
        let mut paths = Vec::new();
        let mut open = vec![(ROOT, PathBuf::from("/"))];
        while let Some((dir, path)) = open.pop() {
            for (name, inode) in names.of(dir) {
                match self.nodes.get(&inode) {
                    Some(Node::Dir) => open.push((inode, path.join(name))),
                    Some(Node::File(_)) => paths.push(path.join(name)),
                    None => {}
                }
            }
        }
        paths.sort();
        paths
    }
}

/// The names along `path`, from the root: relative paths start there too, and `..` is resolved in
/// the text.
pub(super) fn normal(path: &Path) -> Vec<OsString> {
    let mut names = Vec::new();
    for component in path.components() {
        match component {
            Component::Prefix(_) | Component::RootDir | Component::CurDir => {}
            Component::ParentDir => drop(names.pop()),
            Component::Normal(name) => names.push(name.to_os_string()),
        }
    }
    names
}
