//! The state of a simulated disk: what is live (the page cache) and what is durable.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use backhaul_store::{Entry, Open, Space};

use crate::content::Content;
use crate::errno::{
    EBADF, EEXIST, EFBIG, EINVAL, EIO, EISDIR, ENAMETOOLONG, ENOENT, ENOSPC, ENOTDIR, ENOTEMPTY,
    EXDEV, error,
};
use crate::file_node::FileNode;
use crate::name_op::NameOp;

pub(crate) type NodeId = u64;
pub(crate) type Names = BTreeMap<OsString, NodeId>;

/// The root directory; it needs no name and is always durable.
pub(crate) const ROOT: NodeId = 0;
/// Longest file, so that a wild offset fails instead of taking all memory.
const MAX_FILE_BYTES: u64 = 16 << 30;
/// Room on a disk that nobody has limited.
const DEFAULT_CAPACITY: u64 = 1 << 40;
/// Longest name, as on every common Linux file system.
const MAX_NAME_BYTES: usize = 255;

/// A disk. A clone is cheap: contents, names and operations are shared until changed.
#[derive(Debug, Clone)]
pub(crate) struct State {
    pub(crate) nodes: BTreeMap<NodeId, Node>,
    /// Unsynced changes of names, of all directories, oldest first.
    pub(crate) name_ops: Arc<Vec<NameOp>>,
    pub(crate) capacity_bytes: u64,
    pub(crate) capacity_inodes: u64,
    pub(crate) ignore_flushes: bool,
    /// Files and directories whose flushes and syncs alone are ignored.
    pub(crate) ignore_flushes_of: Arc<BTreeSet<PathBuf>>,
    pub(crate) ignore_dir_syncs: bool,
    pub(crate) flush_count: u64,
    pub(crate) sync_dir_count: u64,
    pub(crate) bytes_written: u64,
    /// Grows with each power cut: handles of an earlier epoch are dead.
    pub(crate) epoch: u64,
    next_node: NodeId,
    next_handle: u64,
}

#[derive(Debug, Clone)]
pub(crate) enum Node {
    File(FileNode),
    Dir(DirNode),
}

#[derive(Debug, Clone, Default)]
pub(crate) struct DirNode {
    pub(crate) live: Arc<Names>,
    pub(crate) durable: Arc<Names>,
}

/// What a handle remembers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Handle {
    pub(crate) node: NodeId,
    pub(crate) id: u64,
    pub(crate) epoch: u64,
    pub(crate) writable: bool,
}

impl Default for State {
    fn default() -> Self {
        Self {
            nodes: BTreeMap::from([(ROOT, Node::Dir(DirNode::default()))]),
            name_ops: Arc::default(),
            capacity_bytes: DEFAULT_CAPACITY,
            capacity_inodes: u64::MAX,
            ignore_flushes: false,
            ignore_flushes_of: Arc::default(),
            ignore_dir_syncs: false,
            flush_count: 0,
            sync_dir_count: 0,
            bytes_written: 0,
            epoch: 0,
            next_node: ROOT + 1,
            next_handle: 1,
        }
    }
}

/// The calls of `Disk`.
impl State {
    pub(crate) fn create_dir_all(&mut self, path: &Path) -> io::Result<()> {
        let names = split(path)?;
        let mut dir = ROOT;
        for (depth, name) in names.iter().enumerate() {
            dir = match self.dir(dir)?.live.get(name) {
                Some(&node) if self.dir(node).is_ok() => node,
                Some(_) if depth + 1 == names.len() => return Err(error(EEXIST)),
                Some(_) => return Err(error(ENOTDIR)),
                None => self.create(dir, name, Node::Dir(DirNode::default()))?,
            };
        }
        Ok(())
    }

    pub(crate) fn open(&mut self, path: &Path, how: Open) -> io::Result<Handle> {
        let (dir, name) = self.parent_of(path)?;
        let node = match (self.dir(dir)?.live.get(&name).copied(), how) {
            (Some(_), Open::CreateNew) => return Err(error(EEXIST)),
            (Some(node), _) => node,
            (None, Open::Create | Open::CreateNew) => {
                self.create(dir, &name, Node::File(FileNode::default()))?
            }
            (None, Open::Read | Open::Write) => return Err(error(ENOENT)),
        };
        let id = self.next_handle;
        self.file_mut(node)?.open(id);
        self.next_handle += 1;
        Ok(Handle { node, id, epoch: self.epoch, writable: how != Open::Read })
    }

    pub(crate) fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        let names = &self.dir(self.find(path)?)?.live;
        let entries = names.iter().filter_map(|(name, node)| {
            let name = name.to_str()?.to_owned();
            Some(match self.nodes.get(node)? {
                Node::File(file) => Entry { name, len: file.live.len() as u64, is_dir: false },
                Node::Dir(_) => Entry { name, len: 0, is_dir: true },
            })
        });
        Ok(entries.collect())
    }

    pub(crate) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let (from_dir, from) = self.parent_of(from)?;
        let (to_dir, to) = self.parent_of(to)?;
        let node = *self.dir(from_dir)?.live.get(&from).ok_or_else(|| error(ENOENT))?;
        let replaced = self.dir(to_dir)?.live.get(&to).copied();
        if replaced == Some(node) {
            return Ok(());
        }
        let moves_dir = self.dir(node).is_ok();
        if moves_dir && from_dir != to_dir {
            // A directory that moved half could become its own parent in an image.
            return Err(error(EXDEV));
        }
        if let Some(replaced) = replaced {
            match (moves_dir, self.dir(replaced)) {
                (true, Err(_)) => return Err(error(ENOTDIR)),
                (false, Ok(_)) => return Err(error(EISDIR)),
                (true, Ok(dir)) if !dir.live.is_empty() => return Err(error(ENOTEMPTY)),
                _ => {}
            }
            if let Ok(file) = self.file_mut(replaced) {
                file.links = file.links.saturating_sub(1);
            }
        }
        Arc::make_mut(&mut self.dir_mut(from_dir)?.live).remove(&from);
        Arc::make_mut(&mut self.dir_mut(to_dir)?.live).insert(to.clone(), node);
        let ops = Arc::make_mut(&mut self.name_ops);
        if from_dir == to_dir {
            ops.push(NameOp::Rename { dir: from_dir, from, to, node });
        } else {
            ops.push(NameOp::Link { dir: to_dir, name: to, node });
            ops.push(NameOp::Unlink { dir: from_dir, name: from, node, joined: true });
        }
        Ok(())
    }

    pub(crate) fn remove(&mut self, path: &Path) -> io::Result<()> {
        let (dir, name) = self.parent_of(path)?;
        let node = *self.dir(dir)?.live.get(&name).ok_or_else(|| error(ENOENT))?;
        let file = self.file_mut(node)?;
        file.links = file.links.saturating_sub(1);
        Arc::make_mut(&mut self.dir_mut(dir)?.live).remove(&name);
        let op = NameOp::Unlink { dir, name, node, joined: false };
        Arc::make_mut(&mut self.name_ops).push(op);
        Ok(())
    }

    pub(crate) fn sync_dir(&mut self, path: &Path) -> io::Result<()> {
        let ignored = self.ignore_dir_syncs || self.ignore_flushes_of.contains(path);
        let node = self.find(path)?;
        let dir = self.dir_mut(node)?;
        if ignored {
            return Ok(());
        }
        dir.durable = Arc::clone(&dir.live);
        if self.name_ops.iter().any(|op| op.dir() == node) {
            Arc::make_mut(&mut self.name_ops).retain(|op| op.dir() != node);
            self.forget_unreachable();
        }
        Ok(())
    }

    /// Makes all files and all names durable, but for those whose flushes are ignored.
    pub(crate) fn sync_all(&mut self, path: &Path) -> io::Result<()> {
        self.find(path)?;
        let ignored = self.ignore_flushes_of.iter().filter_map(|path| self.find(path).ok());
        let ignored: BTreeSet<NodeId> = ignored.collect();
        let (no_files, no_dirs) = (self.ignore_flushes, self.ignore_dir_syncs);
        for (id, node) in &mut self.nodes {
            match node {
                _ if ignored.contains(id) => {}
                Node::File(file) if !no_files => file.flush(),
                Node::Dir(dir) if !no_dirs => dir.durable = Arc::clone(&dir.live),
                Node::File(_) | Node::Dir(_) => {}
            }
        }
        if !no_dirs {
            Arc::make_mut(&mut self.name_ops).retain(|op| ignored.contains(&op.dir()));
            self.forget_unreachable();
        }
        Ok(())
    }

    pub(crate) fn space(&self, path: &Path) -> io::Result<Space> {
        self.find(path)?;
        Ok(Space {
            free_bytes: self.free_bytes(),
            free_inodes: self.free_inodes(),
            total_bytes: self.capacity_bytes,
        })
    }
}

/// The calls of `DiskFile`.
impl State {
    pub(crate) fn close(&mut self, handle: Handle) {
        if handle.epoch != self.epoch {
            return;
        }
        if let Ok(file) = self.file_mut(handle.node) {
            file.close(handle.id);
        }
    }

    pub(crate) fn read(&self, handle: Handle, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        Ok(self.opened(handle)?.live.read(buffer, usize::try_from(at).unwrap_or(usize::MAX)))
    }

    pub(crate) fn len(&self, handle: Handle) -> io::Result<u64> {
        Ok(self.opened(handle)?.live.len() as u64)
    }

    pub(crate) fn write(&mut self, handle: Handle, data: &[u8], offset: u64) -> io::Result<()> {
        let len = self.opened_for_writing(handle)?.live.len();
        let offset = in_file(offset)?;
        let end = in_file((offset as u64).saturating_add(data.len() as u64))?;
        let mut fitting = data.len();
        if end > len {
            let room = usize::try_from(self.free_bytes()).unwrap_or(usize::MAX);
            fitting = fitting.min(len.saturating_add(room).saturating_sub(offset));
        }
        let written = &data[..fitting];
        self.bytes_written += written.len() as u64;
        if !written.is_empty() {
            self.file_mut(handle.node)?.write(written, offset);
        }
        if fitting < data.len() { Err(error(ENOSPC)) } else { Ok(()) }
    }

    pub(crate) fn set_len(&mut self, handle: Handle, len: u64) -> io::Result<()> {
        let old = self.opened_for_writing(handle)?.live.len();
        let len = in_file(len)?;
        if len.saturating_sub(old) as u64 > self.free_bytes() {
            return Err(error(ENOSPC));
        }
        if len != old {
            self.file_mut(handle.node)?.set_len(len);
        }
        Ok(())
    }

    /// `path`: the one under which the file was opened. What was written since a flush
    /// has failed is saved also where the handle hears of that failure.
    pub(crate) fn flush(&mut self, handle: Handle, path: &Path) -> io::Result<()> {
        self.opened(handle)?;
        let is_ignored = self.ignore_flushes || self.ignore_flushes_of.contains(path);
        let file = self.file_mut(handle.node)?;
        if !is_ignored {
            file.flush();
        }
        if file.hears_of_failure(handle.id) { Err(error(EIO)) } else { Ok(()) }
    }

    /// A flush that fails: what it should have made durable is forsaken.
    pub(crate) fn fail_flush(&mut self, handle: Handle) -> io::Result<()> {
        self.opened(handle)?;
        let file = self.file_mut(handle.node)?;
        file.hears_of_failure(handle.id);
        file.forsake(Some(handle.id));
        Err(error(EIO))
    }

    pub(crate) fn try_lock(&mut self, handle: Handle) -> io::Result<bool> {
        self.opened(handle)?;
        Ok(self.file_mut(handle.node)?.try_lock(handle.id))
    }

    pub(crate) fn try_lock_shared(&mut self, handle: Handle) -> io::Result<bool> {
        self.opened(handle)?;
        Ok(self.file_mut(handle.node)?.try_lock_shared(handle.id))
    }

    fn opened(&self, handle: Handle) -> io::Result<&FileNode> {
        if handle.epoch == self.epoch { self.file(handle.node) } else { Err(error(EIO)) }
    }

    fn opened_for_writing(&self, handle: Handle) -> io::Result<&FileNode> {
        let file = self.opened(handle)?;
        if handle.writable { Ok(file) } else { Err(error(EBADF)) }
    }
}

/// What only tests call.
impl State {
    /// Puts a file there, durably and with its directories, past all limits.
    pub(crate) fn plant(&mut self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut names = split(path)?;
        let name = names.pop().ok_or_else(|| error(EISDIR))?;
        let mut dir = ROOT;
        for name in &names {
            dir = self.plant_name(dir, name, || Node::Dir(DirNode::default()))?;
            self.dir(dir)?;
        }
        let node = self.plant_name(dir, &name, || Node::File(FileNode::settled(Arc::default())))?;
        self.file_mut(node)?.settle(Arc::new(Content::from_bytes(bytes)));
        Ok(())
    }

    fn plant_name(
        &mut self,
        dir: NodeId,
        name: &OsStr,
        make: impl FnOnce() -> Node,
    ) -> io::Result<NodeId> {
        let node = match self.dir(dir)?.live.get(name) {
            Some(&node) => node,
            None => self.insert(make()),
        };
        let entries = self.dir_mut(dir)?;
        Arc::make_mut(&mut entries.live).insert(name.to_owned(), node);
        Arc::make_mut(&mut entries.durable).insert(name.to_owned(), node);
        if !self.name_ops.is_empty() {
            let ops = self.name_ops.iter().cloned();
            self.name_ops = Arc::new(ops.filter_map(|op| op.without(dir, name, node)).collect());
        }
        Ok(node)
    }

    /// Damages one byte on the medium and in the cache.
    pub(crate) fn flip_bits(&mut self, path: &Path, offset: u64, mask: u8) -> io::Result<()> {
        let node = self.find(path)?;
        let file = self.file_mut(node)?;
        let offset = in_file(offset)?;
        if offset >= file.live.len() {
            return Err(error(EINVAL));
        }
        for content in [&mut file.live, &mut file.durable] {
            let mut byte = [0];
            if content.read(&mut byte, offset) == 1 {
                Arc::make_mut(content).write(&[byte[0] ^ mask], offset);
            }
        }
        Ok(())
    }

    pub(crate) fn file_at(&self, path: &Path) -> io::Result<&FileNode> {
        self.file(self.find(path)?)
    }

    pub(crate) fn forsake(&mut self, path: &Path) -> io::Result<()> {
        let node = self.find(path)?;
        self.file_mut(node)?.forsake(None);
        Ok(())
    }

    /// Every file with its path, in the order of the paths.
    pub(crate) fn files(&self) -> Vec<(PathBuf, &FileNode)> {
        let mut files = Vec::new();
        let mut dirs = vec![(PathBuf::from("/"), ROOT)];
        while let Some((path, dir)) = dirs.pop() {
            let Ok(dir) = self.dir(dir) else { continue };
            for (name, &node) in dir.live.iter() {
                match self.nodes.get(&node) {
                    Some(Node::File(file)) => files.push((path.join(name), file)),
                    Some(Node::Dir(_)) => dirs.push((path.join(name), node)),
                    None => {}
                }
            }
        }
        files.sort_by(|(left, _), (right, _)| left.cmp(right));
        files
    }

    /// Bytes in files that have a name.
    pub(crate) fn total_bytes(&self) -> u64 {
        self.file_nodes().filter(|file| file.links > 0).map(|file| file.live.len() as u64).sum()
    }

    pub(crate) fn unflushed_ops(&self) -> usize {
        self.name_ops.len() + self.file_nodes().map(|file| file.ops.len()).sum::<usize>()
    }

    /// Every handle dies, with its lock: the process is gone, or the power is.
    pub(crate) fn drop_handles(&mut self) {
        self.epoch += 1;
        for node in self.nodes.values_mut() {
            if let Node::File(file) = node {
                file.drop_handles();
            }
        }
    }

    /// Takes over the files of `image`, as after a reboot.
    pub(crate) fn become_image(&mut self, image: Self) {
        self.nodes = image.nodes;
        self.name_ops = image.name_ops;
        self.drop_handles();
    }

    /// A disk as large as this one, without sabotage or counts, that holds `nodes`.
    pub(crate) fn with_image(&self, nodes: BTreeMap<NodeId, Node>) -> Self {
        Self {
            nodes,
            capacity_bytes: self.capacity_bytes,
            capacity_inodes: self.capacity_inodes,
            next_node: self.next_node,
            ..Self::default()
        }
    }
}

/// Nodes and room.
impl State {
    fn create(&mut self, dir: NodeId, name: &OsStr, mut node: Node) -> io::Result<NodeId> {
        if self.free_inodes() == 0 {
            return Err(error(ENOSPC));
        }
        if let Node::File(file) = &mut node {
            file.links = 1;
        }
        let node = self.insert(node);
        Arc::make_mut(&mut self.dir_mut(dir)?.live).insert(name.to_owned(), node);
        let op = NameOp::Link { dir, name: name.to_owned(), node };
        Arc::make_mut(&mut self.name_ops).push(op);
        Ok(node)
    }

    fn insert(&mut self, node: Node) -> NodeId {
        let id = self.next_node;
        self.next_node += 1;
        self.nodes.insert(id, node);
        id
    }

    /// Drops the nodes that neither a name, a handle nor an image can reach.
    fn forget_unreachable(&mut self) {
        let mut reachable: BTreeSet<NodeId> = self.name_ops.iter().map(NameOp::node).collect();
        reachable.insert(ROOT);
        for node in self.nodes.values() {
            if let Node::Dir(dir) = node {
                reachable.extend(dir.live.values().chain(dir.durable.values()));
            }
        }
        self.nodes.retain(|id, node| {
            reachable.contains(id) || matches!(node, Node::File(file) if file.is_open())
        });
    }

    fn free_bytes(&self) -> u64 {
        let held = self.file_nodes().filter(|file| file.is_held());
        self.capacity_bytes.saturating_sub(held.map(|file| file.live.len() as u64).sum())
    }

    fn free_inodes(&self) -> u64 {
        if self.capacity_inodes == u64::MAX {
            return u64::MAX;
        }
        let used = self.nodes.iter().filter(|(id, node)| match node {
            Node::File(file) => file.is_held(),
            Node::Dir(_) => **id != ROOT,
        });
        self.capacity_inodes.saturating_sub(used.count() as u64)
    }

    fn file_nodes(&self) -> impl Iterator<Item = &FileNode> {
        self.nodes.values().filter_map(|node| match node {
            Node::File(file) => Some(file),
            Node::Dir(_) => None,
        })
    }

    fn find(&self, path: &Path) -> io::Result<NodeId> {
        split(path)?.iter().try_fold(ROOT, |dir, name| {
            self.dir(dir)?.live.get(name).copied().ok_or_else(|| error(ENOENT))
        })
    }

    /// The directory that holds (or would hold) the last name of `path`.
    fn parent_of(&self, path: &Path) -> io::Result<(NodeId, OsString)> {
        let mut names = split(path)?;
        let name = names.pop().ok_or_else(|| error(EISDIR))?;
        let dir = names.iter().try_fold(ROOT, |dir, name| {
            self.dir(dir)?.live.get(name).copied().ok_or_else(|| error(ENOENT))
        })?;
        self.dir(dir)?;
        Ok((dir, name))
    }

    fn dir(&self, node: NodeId) -> io::Result<&DirNode> {
        match self.nodes.get(&node) {
            Some(Node::Dir(dir)) => Ok(dir),
            Some(Node::File(_)) => Err(error(ENOTDIR)),
            None => Err(error(ENOENT)),
        }
    }

    fn dir_mut(&mut self, node: NodeId) -> io::Result<&mut DirNode> {
        match self.nodes.get_mut(&node) {
            Some(Node::Dir(dir)) => Ok(dir),
            Some(Node::File(_)) => Err(error(ENOTDIR)),
            None => Err(error(ENOENT)),
        }
    }

    fn file(&self, node: NodeId) -> io::Result<&FileNode> {
        match self.nodes.get(&node) {
            Some(Node::File(file)) => Ok(file),
            Some(Node::Dir(_)) => Err(error(EISDIR)),
            None => Err(error(ENOENT)),
        }
    }

    fn file_mut(&mut self, node: NodeId) -> io::Result<&mut FileNode> {
        match self.nodes.get_mut(&node) {
            Some(Node::File(file)) => Ok(file),
            Some(Node::Dir(_)) => Err(error(EISDIR)),
            None => Err(error(ENOENT)),
        }
    }
}

/// The names on the way to `path`. Relative paths start at the root too.
fn split(path: &Path) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(name) if name.len() > MAX_NAME_BYTES => {
                return Err(error(ENAMETOOLONG));
            }
            Component::Normal(name) => names.push(name.to_owned()),
            Component::ParentDir => {
                names.pop();
            }
            Component::Prefix(_) | Component::RootDir | Component::CurDir => {}
        }
    }
    Ok(names)
}

fn in_file(offset: u64) -> io::Result<usize> {
    match usize::try_from(offset) {
        Ok(small) if offset <= MAX_FILE_BYTES => Ok(small),
        _ => Err(error(EFBIG)),
    }
}
