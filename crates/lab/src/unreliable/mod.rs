//! Mounts a disk that fails when a test wants it to: a FUSE file system with files in one directory
//! and their bytes in memory, served by a thread.
//!
//! The disk knows which data was flushed, so that it can lose other data, as a power failure does.
//! Killing a process loses nothing, because its writes are in the memory of the disk.

mod content;
mod protocol;

use content::{FileContent, SECTOR};
use namespace::{LabError, Random, ScratchDirectory};
use protocol::{DSYNC, FuseOpcode, FuseReply, ROOT, Request};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Interval at which the server checks whether it must end.
const LOOK: Duration = Duration::from_millis(200);

/// Faults of a disk; by default there are none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trouble {
    pub reads: bool,
    pub writes: bool,
    pub flushes: bool,
    /// Reads and writes of this sector of 512 bytes fail, in files with this ending.
    pub sector: Option<(&'static str, u64)>,
    /// Writes fail because the disk is full.
    pub full: bool,
    /// Operations hang until this fault ends.
    pub stalls: bool,
    /// Flushes report success and do nothing.
    pub lies: bool,
}

/// Mounted disk with faults, which requires root. Dropping it unmounts the disk; waiting operations
/// continue first.
#[derive(Debug)]
pub struct UnreliableDisk {
    scratch: ScratchDirectory,
    shared: Arc<FuseConnection>,
    ends: Arc<AtomicBool>,
    server: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct FuseConnection {
    channel: File,
    state: Mutex<FileSystemState>,
}

#[derive(Debug)]
struct FileSystemState {
    bytes: u64,
    trouble: Trouble,
    files: BTreeMap<u64, (String, FileContent)>,
    next: u64,
    /// Operations that wait for the end of a stall.
    stalled: Vec<Request>,
    failed: u64,
    power: Power,
    /// Number of open files and directories.
    opened: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Power {
    On,
    /// The power was cut: operations hang, and no content changes.
    Cut,
    /// After [`UnreliableDisk::release`]: all operations fail, since only killed processes still
    /// wait.
    Gone,
}

impl UnreliableDisk {
    /// Mounts a disk of this size without faults.
    ///
    /// # Errors
    /// No privileges, or no FUSE.
    pub fn new(bytes: u64) -> Result<Self, LabError> {
        let scratch = ScratchDirectory::new()?;
        let opened = File::options().read(true).write(true).open("/dev/fuse");
        let channel = opened.map_err(LabError::io("open", "/dev/fuse"))?;
        let path = scratch.path().join("disk");
        std::fs::create_dir(&path).map_err(LabError::io("make", path.display()))?;
        let options = format!(
            "fd={},rootmode=40000,user_id=0,group_id=0,allow_other,default_permissions",
            channel.as_raw_fd()
        );
        let options = std::ffi::CString::new(options).unwrap_or_default();
        let flags = MountFlags::NOSUID | MountFlags::NODEV;
        mount("evenkeel-lab", &path, "fuse", flags, options.as_c_str())
            .map_err(|errno| LabError::io("mount", path.display())(errno.into()))?;
        let state = FileSystemState {
            bytes,
            trouble: Trouble::default(),
            files: BTreeMap::new(),
            next: ROOT + 1,
            stalled: Vec::new(),
            failed: 0,
            power: Power::On,
            opened: 0,
        };
        let shared = Arc::new(FuseConnection {
            channel,
            state: Mutex::new(state),
        });
        let ends = Arc::new(AtomicBool::new(false));
        let (serves, until) = (Arc::clone(&shared), Arc::clone(&ends));
        let server = std::thread::spawn(move || serves.serve(&until));
        Ok(UnreliableDisk {
            scratch,
            shared,
            ends,
            server: Some(server),
        })
    }

    /// Returns the directory with its files.
    pub fn path(&self) -> PathBuf {
        self.scratch.path().join("disk")
    }

    /// Changes the faults. If the disk no longer stalls, waiting operations continue.
    pub fn set(&self, trouble: Trouble) {
        let mut state = self.shared.lock();
        let stalls = trouble.stalls;
        state.trouble = trouble;
        if !stalls {
            let stalled = std::mem::take(&mut state.stalled);
            for request in stalled {
                self.shared.carry_out(&mut state, &request);
            }
        }
    }

    /// Returns the number of failed operations.
    pub fn failed(&self) -> u64 {
        self.shared.lock().failed
    }

    /// Returns the number of operations that wait for the end of a stall.
    pub fn stalled(&self) -> usize {
        self.shared.lock().stalled.len()
    }

    /// Cuts the power: from now on operations hang and no content changes. The test must then kill
    /// all processes that use the disk, and call [`UnreliableDisk::release`] until it returns true.
    pub fn cut_power(&self) {
        self.shared.lock().power = Power::Cut;
    }

    /// Fails all waiting and further operations, so that killed processes can end. Returns true if
    /// no file is open any longer.
    pub fn release(&self) -> bool {
        let mut state = self.shared.lock();
        state.power = Power::Gone;
        for request in std::mem::take(&mut state.stalled) {
            self.shared.reply(&request, Err(Errno::IO));
        }
        state.opened == 0
    }

    /// Restores the power: each sector that was not flushed is kept or lost at random.
    pub fn power_on(&self, random: &mut Random) {
        let mut state = self.shared.lock();
        for (_, content) in state.files.values_mut() {
            content.lose_power(random);
        }
        state.power = Power::On;
    }

    /// Returns the bytes of a file.
    pub fn read(&self, name: &str) -> Option<Vec<u8>> {
        let state = self.shared.lock();
        let mut files = state.files.values();
        let (_, content) = files.find(|(one, _)| one == name)?;
        Some(content.read(0, content.length as usize))
    }
}

impl Drop for UnreliableDisk {
    fn drop(&mut self) {
        self.set(Trouble::default());
        self.ends.store(true, Ordering::Relaxed);
        // Detaches the file system, which works even while a process has a file open there. Ignores
        // an error.
        let _ = unmount(self.path(), UnmountFlags::DETACH);
        if let Some(server) = self.server.take() {
            let _ = server.join();
        }
    }
}

impl FuseConnection {
    fn lock(&self) -> MutexGuard<'_, FileSystemState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self, ends: &AtomicBool) {
        let room = protocol::HEAD_BYTES + protocol::WRITE_HEAD_BYTES;
        let mut bytes = vec![0; room + protocol::WRITE_BYTES_MAX];
        let timeout = Timespec::try_from(LOOK).ok();
        while !ends.load(Ordering::Relaxed) {
            let mut descriptors = [PollFd::new(&self.channel, PollFlags::IN)];
            if !matches!(poll(&mut descriptors, timeout.as_ref()), Ok(1..)) {
                continue;
            }
            let count = match (&self.channel).read(&mut bytes) {
                Ok(count) => count,
                Err(error) if protocol::is_over(&error) => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                // Continues after other errors: the request was interrupted.
                Err(_) => continue,
            };
            if let Some(request) = Request::parse(&bytes[..count]) {
                self.handle(request);
            }
        }
    }

    fn handle(&self, request: Request) {
        let mut state = self.lock();
        let on_disk = matches!(
            request.kind,
            FuseOpcode::Read | FuseOpcode::Write | FuseOpcode::Fsync | FuseOpcode::Fallocate
        );
        let stalls = state.trouble.stalls || state.power == Power::Cut;
        if on_disk && stalls {
            state.stalled.push(request)
        } else {
            self.carry_out(&mut state, &request)
        }
    }

    fn carry_out(&self, state: &mut FileSystemState, request: &Request) {
        if request.kind == FuseOpcode::Silent {
            return;
        }
        let outcome = state.outcome(request);
        let fault = matches!(outcome, Err(Errno::IO | Errno::NOSPC));
        state.failed += u64::from(fault);
        self.reply(request, outcome);
    }

    fn reply(&self, request: &Request, outcome: Result<FuseReply, Errno>) {
        // Ignores an error: the request may have been interrupted.
        let _ = (&self.channel).write(&protocol::encode(request.unique, outcome));
    }
}

impl FileSystemState {
    fn outcome(&mut self, request: &Request) -> Result<FuseReply, Errno> {
        match request.kind {
            FuseOpcode::Read | FuseOpcode::Write | FuseOpcode::Fsync | FuseOpcode::Fallocate
                if self.power != Power::On =>
            {
                Err(Errno::IO)
            }
            FuseOpcode::Init => Ok(FuseReply::init()),
            FuseOpcode::Lookup => {
                let node = self.named(&request.names(0).next().unwrap_or_default())?;
                Ok(FuseReply::entry(node, self.file(node)?.1.length))
            }
            FuseOpcode::Getattr if request.node == ROOT => Ok(FuseReply::attr(ROOT, 0)),
            FuseOpcode::Getattr => Ok(FuseReply::attr(
                request.node,
                self.file(request.node)?.1.length,
            )),
            FuseOpcode::Setattr if request.node == ROOT => Ok(FuseReply::attr(ROOT, 0)),
            FuseOpcode::Setattr => {
                let file = self.file(request.node)?;
                if request.word(0) & 1 << 3 != 0 {
                    file.1.set_length(request.long(16));
                }
                Ok(FuseReply::attr(request.node, file.1.length))
            }
            FuseOpcode::Unlink => {
                let node = self.named(&request.names(0).next().unwrap_or_default())?;
                // Clears only the name, because processes that have the file open keep it.
                self.file(node)?.0.clear();
                Ok(FuseReply::default())
            }
            FuseOpcode::Rename => {
                let mut names = request.names(8);
                let (from, to) = (names.next(), names.next().unwrap_or_default());
                let node = self.named(&from.unwrap_or_default())?;
                self.files.retain(|_, (name, _)| *name != to);
                self.file(node)?.0 = to;
                Ok(FuseReply::default())
            }
            FuseOpcode::Open => {
                self.opened += 1;
                Ok(FuseReply::default().opened())
            }
            FuseOpcode::Create => {
                let name = request.names(16).next().unwrap_or_default();
                let node = self.next;
                self.next += 1;
                self.opened += 1;
                self.files.insert(node, (name, FileContent::default()));
                Ok(FuseReply::entry(node, 0).opened())
            }
            FuseOpcode::Read => self.read(request),
            FuseOpcode::Write => self.write(request),
            FuseOpcode::Fallocate => self.zero(request),
            FuseOpcode::Fsync => self.flush(request),
            FuseOpcode::Statfs => {
                let used: u64 = self.files.values().map(|(_, one)| one.length).sum();
                let free = if self.trouble.full { used } else { self.bytes };
                let free = free.saturating_sub(used);
                Ok(FuseReply::statfs(self.bytes / 4096, free / 4096))
            }
            FuseOpcode::Release => {
                self.opened = self.opened.saturating_sub(1);
                Ok(FuseReply::default())
            }
            FuseOpcode::Flush => Ok(FuseReply::default()),
            FuseOpcode::Readdir => Ok(self.list(request.long(8))),
            FuseOpcode::Silent | FuseOpcode::Other => Err(Errno::NOSYS),
        }
    }

    fn named(&self, name: &str) -> Result<u64, Errno> {
        let mut files = self.files.iter();
        let found = files.find(|(_, (one, _))| one == name && !name.is_empty());
        found.map(|(node, _)| *node).ok_or(Errno::NOENT)
    }

    fn file(&mut self, node: u64) -> Result<&mut (String, FileContent), Errno> {
        self.files.get_mut(&node).ok_or(Errno::STALE)
    }

    /// Fails if the range includes the bad sector of [`Trouble::sector`].
    fn sound(&mut self, node: u64, offset: u64, length: u64) -> Result<(), Errno> {
        let Some((ending, sector)) = self.trouble.sector else {
            return Ok(());
        };
        let at = sector * SECTOR as u64;
        let hit = offset < at + SECTOR as u64 && at < offset + length;
        if hit && self.file(node)?.0.ends_with(ending) {
            Err(Errno::IO)
        } else {
            Ok(())
        }
    }

    fn read(&mut self, request: &Request) -> Result<FuseReply, Errno> {
        let (offset, count) = (request.long(8), request.word(16));
        if self.trouble.reads {
            return Err(Errno::IO);
        }
        self.sound(request.node, offset, u64::from(count))?;
        let (_, content) = self.file(request.node)?;
        Ok(FuseReply(content.read(offset, count as usize)))
    }

    /// Returns an error if a fault affects a write to the range.
    fn writable(&mut self, node: u64, offset: u64, length: u64) -> Result<(), Errno> {
        match &self.trouble {
            trouble if trouble.writes => Err(Errno::IO),
            trouble if trouble.full => Err(Errno::NOSPC),
            _ => self.sound(node, offset, length),
        }
    }

    fn write(&mut self, request: &Request) -> Result<FuseReply, Errno> {
        let (offset, data) = (request.long(8), request.data());
        let length = data.len() as u64;
        self.writable(request.node, offset, length)?;
        let stable = request.word(32) & DSYNC != 0 && !self.trouble.lies;
        if request.word(32) & DSYNC != 0 && self.trouble.flushes {
            return Err(Errno::IO);
        }
        let (_, content) = self.file(request.node)?;
        content.write(offset, data);
        if stable {
            content.flush_range(offset, length);
        }
        Ok(FuseReply::default().word(data.len() as u32).word(0))
    }

    fn zero(&mut self, request: &Request) -> Result<FuseReply, Errno> {
        // Accepts only punching a hole or zeroing a range; either keeps the size.
        let (offset, length, mode) = (request.long(8), request.long(16), request.word(24));
        if mode != 1 | 2 && mode != 1 | 16 {
            return Err(Errno::OPNOTSUPP);
        }
        self.writable(request.node, offset, length)?;
        let (_, content) = self.file(request.node)?;
        let length = length.min(content.length.saturating_sub(offset));
        content.write(offset, &vec![0; length as usize]);
        Ok(FuseReply::default())
    }

    fn flush(&mut self, request: &Request) -> Result<FuseReply, Errno> {
        if self.trouble.flushes {
            return Err(Errno::IO);
        }
        if !self.trouble.lies
            && let Ok((_, content)) = self.file(request.node)
        {
            content.flush();
        }
        Ok(FuseReply::default())
    }

    fn list(&self, from: u64) -> FuseReply {
        let files = self.files.iter().filter(|(_, (name, _))| !name.is_empty());
        let left = files.skip(from as usize).zip(from + 1..);
        // Lists all files in one response, because a directory has only a few.
        left.fold(FuseReply::default(), |reply, ((node, (name, _)), next)| {
            reply.named(*node, next, name)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{FallocateFlags, OFlags, fallocate, fcntl_setfl, fdatasync};
    use std::fs;
    use std::os::unix::fs::FileExt;

    fn disk() -> (UnreliableDisk, File) {
        let disk = UnreliableDisk::new(64 << 20).unwrap();
        let path = disk.path().join("a.volume");
        let mut options = File::options();
        let file = options.create_new(true).read(true).write(true).open(path);
        (disk, file.unwrap())
    }

    #[test]
    fn a_disk_without_trouble_is_a_file_system() {
        crate::skip_unless_root!();
        let (disk, file) = disk();
        file.set_len(1 << 20).unwrap();
        file.write_all_at(&[7; 200_000], 5000).unwrap();
        let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        fallocate(&file, hole, 8192, 4096).unwrap();
        file.sync_all().unwrap();
        let bytes = fs::read(disk.path().join("a.volume")).unwrap();
        assert_eq!(bytes.len(), 1 << 20);
        assert_eq!(bytes[4998..5002], [0, 0, 7, 7]);
        assert_eq!(bytes[8191..8193], [7, 0]);
        assert_eq!(bytes[12287..12289], [0, 7]);
        fs::rename(disk.path().join("a.volume"), disk.path().join("b")).unwrap();
        let names = fs::read_dir(disk.path()).unwrap();
        let names: Vec<_> = names.map(|one| one.unwrap().file_name()).collect();
        assert_eq!(names, ["b"]);
        fs::remove_file(disk.path().join("b")).unwrap();
        assert!(!disk.path().join("b").exists());
        // Switches to direct I/O, as volumes use it.
        fcntl_setfl(&file, OFlags::DIRECT | OFlags::RDWR).unwrap();
    }

    #[test]
    fn a_disk_fails_as_it_is_set() {
        crate::skip_unless_root!();
        let (disk, file) = disk();
        file.write_all_at(&[7; 8192], 0).unwrap();
        let code = |result: std::io::Result<()>| result.map_err(|e| e.raw_os_error());
        let mut block = [0; 4096];
        let mut set = |change: &dyn Fn(&mut Trouble)| {
            let mut trouble = Trouble::default();
            change(&mut trouble);
            disk.set(trouble);
            (
                code(file.read_exact_at(&mut block, 4096)),
                code(file.write_all_at(&[8; 4096], 4096)),
                code(fdatasync(&file).map_err(Into::into)),
            )
        };
        let (io, full) = (Err(Some(5)), Err(Some(28)));
        assert_eq!(set(&|on| on.reads = true), (io, Ok(()), Ok(())));
        assert_eq!(set(&|on| on.writes = true), (Ok(()), io, Ok(())));
        assert_eq!(set(&|on| on.flushes = true), (Ok(()), Ok(()), io));
        assert_eq!(set(&|on| on.full = true), (Ok(()), full, Ok(())));
        let sector = ("volume", 9);
        assert_eq!(set(&|on| on.sector = Some(sector)), (io, io, Ok(())));
        assert_eq!(set(&|_| {}), (Ok(()), Ok(()), Ok(())));
        assert_eq!(disk.failed(), 6);
    }

    #[test]
    fn stalled_disk_continues_and_power_loss_drops_unflushed_data() {
        crate::skip_unless_root!();
        let (disk, file) = disk();
        let file = Arc::new(file);
        file.write_all_at(&[1; 4096], 0).unwrap();
        fdatasync(&*file).unwrap();
        disk.set(Trouble {
            stalls: true,
            ..Trouble::default()
        });
        let writes = Arc::clone(&file);
        let writer = std::thread::spawn(move || writes.write_all_at(&[2; 4096], 0));
        assert!(namespace::eventually(LOOK * 50, || disk.stalled() == 1));
        assert!(!writer.is_finished());
        disk.set(Trouble::default());
        writer.join().unwrap().unwrap();
        fdatasync(&*file).unwrap();
        disk.set(Trouble {
            lies: true,
            ..Trouble::default()
        });
        file.write_all_at(&[3; 1 << 20], 0).unwrap();
        fdatasync(&*file).unwrap();
        let mut lost = 0;
        for seed in 0..20 {
            disk.cut_power();
            assert!(!disk.release());
            assert!(file.write_all_at(&[4; 512], 0).is_err());
            disk.power_on(&mut Random::new(seed));
            let bytes = disk.read("a.volume").unwrap();
            assert!(bytes[..4096].iter().all(|byte| matches!(byte, 2 | 3)));
            lost += bytes.iter().filter(|byte| **byte != 3).count();
        }
        assert!(lost > 0);
        drop(file);
        assert!(namespace::eventually(LOOK * 50, || disk.release()));
    }
}
