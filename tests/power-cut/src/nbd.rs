//! A block device of the kernel (`/dev/nbdN`) whose medium is this program's memory. It speaks the
//! transmission phase of the NBD protocol over a pair of sockets.

use crate::medium::{Id, Medium};
use highwater_wal::disk::sim::Rng;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::ioctl::{IntegerSetter, Opcode, ioctl};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

// From the kernel's include/uapi/linux/nbd.h and fs.h.
const NBD_SET_SOCK: Opcode = 0xab00;
const NBD_SET_BLKSIZE: Opcode = 0xab01;
const NBD_DO_IT: Opcode = 0xab03;
const NBD_SET_SIZE_BLOCKS: Opcode = 0xab07;
const NBD_SET_FLAGS: Opcode = 0xab0a;
const BLKFLSBUF: Opcode = 0x1261;
const HAS_FLAGS: usize = 1;
const SEND_FLUSH: usize = 1 << 2;
const SEND_FUA: usize = 1 << 3;
const REQUEST_MAGIC: u32 = 0x2560_9513;
const REPLY_MAGIC: u32 = 0x6744_6698;
const BLOCK: usize = 512;

/// What the device says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cache {
    /// It has a volatile cache that can be flushed; most disks of virtual machines.
    Flush,
    /// Besides, single writes can go through it (FUA); most disks of metal. The kernel uses that
    /// instead of flushes.
    Fua,
}

/// A device. It stays until the machine goes.
#[derive(Debug)]
pub(crate) struct Nbd {
    path: PathBuf,
    file: File,
}

impl Nbd {
    /// Makes the `number`th device of the kernel one of `size` bytes. `seed` decides the order of
    /// answers.
    pub(crate) fn start(
        number: usize,
        size: usize,
        cache: Cache,
        medium: &Arc<Mutex<Medium>>,
        seed: u64,
    ) -> io::Result<Self> {
        let path = PathBuf::from(format!("/dev/nbd{number}"));
        let file = File::options().read(true).write(true).open(&path)?;
        let (ours, kernels) = UnixStream::pair()?;
        let fua = if cache == Cache::Fua { SEND_FUA } else { 0 };
        control::<NBD_SET_SOCK>(&file, kernels.as_raw_fd() as usize)?;
        control::<NBD_SET_BLKSIZE>(&file, BLOCK)?;
        control::<NBD_SET_SIZE_BLOCKS>(&file, size / BLOCK)?;
        control::<NBD_SET_FLAGS>(&file, HAS_FLAGS | SEND_FLUSH | fua)?;
        let medium = Arc::clone(medium);
        std::thread::spawn(move || Server::new(ours, medium, seed).serve());
        let device = file.try_clone()?;
        std::thread::spawn(move || {
            let _open = kernels; // the kernel uses it as long as this call lasts
            control::<NBD_DO_IT>(&device, 0)
        });
        while !Path::new(&format!("/sys/block/nbd{number}/pid")).exists() {
            std::thread::yield_now();
        }
        Ok(Self { path, file })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The kernel forgets what it has of the device in its caches; to be called when nothing is
    /// mounted.
    pub(crate) fn forget(&self) -> io::Result<()> {
        control::<BLKFLSBUF>(&self.file, 0)
    }
}

#[expect(unsafe_code, reason = "the kernel's devices are set up by ioctl")]
fn control<const OPCODE: Opcode>(file: &File, value: usize) -> io::Result<()> {
    // SAFETY: each request above takes an integer or nothing, and touches no memory of this
    // process.
    let done = unsafe { ioctl(file, IntegerSetter::<OPCODE>::new_usize(value)) };
    Ok(done?)
}

/// Takes every waiting request before it answers one, and answers in any order: so as much as
/// possible is under way.
struct Server {
    socket: UnixStream,
    medium: Arc<Mutex<Medium>>,
    rng: Rng,
    waiting: Vec<Waiting>,
}

struct Waiting {
    /// Of a write or flush.
    id: Option<Id>,
    handle: [u8; 8],
    data: Vec<u8>,
}

impl Server {
    fn new(socket: UnixStream, medium: Arc<Mutex<Medium>>, seed: u64) -> Self {
        Self {
            socket,
            medium,
            rng: Rng::new(seed),
            waiting: Vec::new(),
        }
    }

    fn serve(mut self) -> io::Result<()> {
        loop {
            if self.waiting.is_empty() || self.more()? {
                let request = self.take()?;
                self.waiting.push(request);
            } else {
                let which = self.rng.below(self.waiting.len() as u64) as usize;
                let request = self.waiting.swap_remove(which);
                self.answer(&request)?;
            }
        }
    }

    /// Whether a request can be read without waiting.
    fn more(&self) -> io::Result<bool> {
        let mut fds = [PollFd::new(&self.socket, PollFlags::IN)];
        Ok(poll(&mut fds, Some(&Timespec::default()))? > 0)
    }

    fn take(&mut self) -> io::Result<Waiting> {
        let mut header = [0; 28];
        self.socket.read_exact(&mut header)?;
        let number = |at: usize| u32::from_be_bytes(header[at..at + 4].try_into().expect("4"));
        assert_eq!(number(0), REQUEST_MAGIC);
        let at = (number(16) as usize) << 32 | number(20) as usize;
        let len = number(24) as usize;
        let (flags, kind) = (number(4) >> 16, number(4) & 0xffff);
        let mut bytes = Vec::new();
        if kind == 1 {
            bytes.resize(len, 0);
            self.socket.read_exact(&mut bytes)?;
        }
        let mut medium = self.medium.lock().unwrap_or_else(PoisonError::into_inner);
        let (id, data) = match kind {
            0 => (None, medium.read(at, len).to_vec()),
            1 => (Some(medium.write(at, bytes, flags & 1 == 1)), Vec::new()),
            3 => (Some(medium.flush()), Vec::new()),
            _ => return Err(io::Error::other("the device is given up")),
        };
        let handle = header[8..16].try_into().expect("8");
        Ok(Waiting { id, handle, data })
    }

    fn answer(&mut self, request: &Waiting) -> io::Result<()> {
        if let Some(id) = request.id {
            let mut medium = self.medium.lock().unwrap_or_else(PoisonError::into_inner);
            medium.answer(id);
        }
        let no_error = [0; 4];
        let parts = [
            &REPLY_MAGIC.to_be_bytes(),
            &no_error,
            &request.handle[..],
            &request.data,
        ];
        self.socket.write_all(&parts.concat())
    }
}
