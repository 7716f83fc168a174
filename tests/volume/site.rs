//! Sets up the scenarios with volumes of two copies: the machines of [`crate::cluster::site`], each
//! with its own directory at the same path, and clients that record their writes.

use crate::cluster::site::{Machine, SOON, Site};
use lab::{Random, ScratchDirectory, UnreliableDisk, eventually};
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

pub const SIZE: u64 = 32 << 20;
const BLOCK: usize = 4096;
/// Timeout of a request while a volume moves.
const PATIENCE: Duration = Duration::from_secs(120);

/// A cluster with a volume on alpha and beta.
pub struct VolumeSite {
    pub site: Site,
    /// The disks of alpha and beta, if they can fail.
    pub disks: Vec<UnreliableDisk>,
    /// Mounts of the machines' directories, if there are any.
    mounts: Vec<Xfs>,
    /// Path at which each machine sees its own directory.
    shared: ScratchDirectory,
    own: ScratchDirectory,
    boots: u64,
    size: u64,
}

/// Names of the nodes with the copies.
pub const NODES: [&str; 2] = ["alpha", "beta"];

struct Setting<'a> {
    size: u64,
    disks: Vec<UnreliableDisk>,
    variable: &'a str,
    /// Returns the program of a node, which may be placed in the given directory.
    program: &'a dyn Fn(&Path, &str) -> PathBuf,
}

impl Default for Setting<'_> {
    fn default() -> Self {
        Setting {
            size: SIZE,
            disks: Vec::new(),
            variable: "",
            program: &|_, _| crate::program::binary().to_owned(),
        }
    }
}

/// A mounted XFS, unmounted when this value is dropped.
struct Xfs(PathBuf);

impl Xfs {
    fn mount(image: &Path, at: &Path) -> Xfs {
        fs::File::create(image).unwrap().set_len(512 << 20).unwrap();
        let made = Command::new("mkfs.xfs").arg("-q").arg(image).status();
        assert!(made.unwrap().success());
        let mount = Command::new("mount")
            .args(["-o", "loop"])
            .args([image, at])
            .status();
        assert!(mount.unwrap().success());
        Xfs(at.to_owned())
    }
}

impl Drop for Xfs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

impl VolumeSite {
    /// Creates a cluster that serves a volume, with both copies in sync.
    pub fn new(name: &str) -> VolumeSite {
        VolumeSite::uncreated(name).created()
    }

    /// Variant of `new` on disks that can fail.
    pub fn on_unreliable_disks(name: &str) -> VolumeSite {
        let disk = |_| UnreliableDisk::new(1 << 30).unwrap();
        VolumeSite::configured(name, SIZE, NODES.map(disk).into(), "").created()
    }

    /// Variant of `new` whose volume is configured and not created.
    pub fn uncreated(name: &str) -> VolumeSite {
        VolumeSite::configured(name, SIZE, Vec::new(), "")
    }

    /// Variant of `new` whose processes have this variable (`NAME=VALUE`) in their environment.
    pub fn with_variable(name: &str, variable: &str) -> VolumeSite {
        VolumeSite::configured(name, SIZE, Vec::new(), variable).created()
    }

    /// Variant of `with_variable` whose nodes have a program file each, which
    /// [`VolumeSite::install`] replaces.
    pub fn with_programs(name: &str, variable: &str) -> VolumeSite {
        let program = |own: &Path, node: &str| {
            let path = own.join(format!("{node}.program"));
            fs::copy(crate::program::binary(), &path).unwrap();
            path
        };
        let setting = Setting {
            variable,
            program: &program,
            ..Setting::default()
        };
        VolumeSite::placed(name, setting, |_, _| None).created()
    }

    /// Replaces a node's program file, as a package would, and returns its path.
    pub fn install(&self, node: &str) -> PathBuf {
        let place = self.own.path().join(format!("{node}.program"));
        let new = place.with_extension("new");
        fs::copy(crate::program::binary(), &new).unwrap();
        let mut file = fs::File::options().append(true).open(&new).unwrap();
        file.write_all(b"\n").unwrap();
        drop(file);
        fs::rename(&new, &place).unwrap();
        place
    }

    /// Variant of `new` whose volume has this size.
    pub fn with_size(name: &str, bytes: u64) -> VolumeSite {
        VolumeSite::configured(name, bytes, Vec::new(), "").created()
    }

    pub fn scratch(&self) -> &Path {
        self.own.path()
    }

    /// Variant of `uncreated` whose machines have an XFS each.
    pub fn on_xfs(name: &str) -> VolumeSite {
        VolumeSite::placed(name, Setting::default(), |own, at| {
            let image = own.join(format!("{}.xfs", at.file_name()?.to_str()?));
            Some(Xfs::mount(&image, at))
        })
    }

    fn created(self) -> VolumeSite {
        for node in self.site.nodes() {
            node.command(&["volume", "create", "mail"]).well();
        }
        self.in_sync();
        self
    }

    fn configured(name: &str, size: u64, disks: Vec<UnreliableDisk>, variable: &str) -> VolumeSite {
        let setting = Setting {
            size,
            disks,
            variable,
            ..Setting::default()
        };
        VolumeSite::placed(name, setting, |_, _| None)
    }

    fn placed(
        name: &str,
        setting: Setting<'_>,
        mount: impl Fn(&Path, &Path) -> Option<Xfs>,
    ) -> VolumeSite {
        let variable = setting.variable;
        let mut volumes = VolumeSite {
            site: Site::empty(name),
            disks: setting.disks,
            mounts: Vec::new(),
            shared: ScratchDirectory::new().unwrap(),
            own: ScratchDirectory::new().unwrap(),
            boots: 0,
            size: setting.size,
        };
        let (own, shared) = (volumes.own.path().to_owned(), volumes.shared.path());
        let machines = [&mut volumes.site.alpha, &mut volumes.site.beta];
        for (index, machine) in machines.into_iter().enumerate() {
            let directory = match volumes.disks.get(index) {
                Some(disk) => disk.path(),
                None => own.join(machine.name()),
            };
            let _ = fs::create_dir(&directory);
            volumes.mounts.extend(mount(&own, &directory));
            let boot = own.join(format!("{}.boot", machine.name()));
            fs::write(&boot, boot_id(index as u64)).unwrap();
            let wrapper = own.join(format!("{}.sh", machine.name()));
            let script = format!(
                "#!/bin/sh\n{variable} exec unshare -m sh -c 'mount --bind {} {} && \
                 mount --bind {} /proc/sys/kernel/random/boot_id && exec {} \"$@\"' x \"$@\"\n",
                directory.display(),
                shared.display(),
                boot.display(),
                (setting.program)(&own, machine.name()).display()
            );
            fs::write(&wrapper, script).unwrap();
            fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o700)).unwrap();
            machine.set_program(&wrapper);
        }
        volumes.configure();
        volumes
    }

    fn configure(&mut self) {
        self.site.found();
        let text = self.configuration("");
        self.site.alpha.apply(&text, &["--now"]).well();
        let configured = |node: &Machine| node.command(&["volume", "show", "mail"]).good;
        let all = || self.site.nodes().into_iter().all(configured);
        assert!(eventually(SOON, all), "{}", self.tell());
    }

    /// Returns the directory of the files, as the configuration names it.
    pub fn backing(&self) -> String {
        self.shared.path().display().to_string()
    }

    /// Returns the configuration of the nodes, with further lines for the volume.
    pub fn configuration(&self, further: &str) -> String {
        format!(
            "node alpha\n\taddress 10.61.0.1\nnode beta\n\taddress 10.61.0.2\n\n\
             volume mail\n\tsize {}\n\ton alpha beta\n\tbacking file {}\n{further}",
            self.size,
            self.shared.path().display()
        )
    }

    /// Returns the configuration of the nodes, with another size of the volume.
    pub fn sized(&self, size: &str) -> String {
        let good = self.configuration("");
        let other = good.replace(&format!("size {SIZE}"), &format!("size {size}"));
        assert_ne!(other, good);
        other
    }

    /// Returns the file with the data of a node's copy.
    pub fn file(&self, node: &str) -> PathBuf {
        let index = NODES.iter().position(|name| *name == node);
        let directory = match index.and_then(|index| self.disks.get(index)) {
            Some(disk) => disk.path(),
            None => self.own.path().join(node),
        };
        directory.join("mail.volume")
    }

    /// Returns the disk of a node, which can fail.
    pub fn disk(&self, node: &str) -> &UnreliableDisk {
        &self.disks[usize::from(node == "beta")]
    }

    /// Cuts the power of these machines at one moment: unflushed data of their disks is lost, and
    /// no process of theirs continues.
    pub fn lose_power(&mut self, machines: &[&str], random: &mut Random) {
        let nodes = || NODES.into_iter().filter(|node| machines.contains(node));
        nodes().for_each(|node| self.disk(node).cut_power());
        let killed = machines
            .iter()
            .map(|name| self.site.machine_mut(name).kill_at_once());
        let killed: Vec<_> = killed.collect();
        for node in nodes() {
            let ended = || self.disk(node).release();
            assert!(eventually(SOON, ended), "{node} still runs");
            self.disk(node).power_on(random);
            self.boots += 1;
            let path = self.own.path().join(format!("{node}.boot"));
            fs::write(path, boot_id(1000 + self.boots)).unwrap();
        }
        drop(killed);
    }

    /// Returns the socket of the volume on a node.
    pub fn socket(&self, node: &str) -> PathBuf {
        self.site.machine(node).runtime().join("volume-mail.sock")
    }

    /// Returns the report of a node about the volume.
    pub fn shown(&self, node: &str) -> String {
        let machine = self.site.machine(node);
        machine.command(&["volume", "show", "mail"]).text()
    }

    /// Returns a fact that a node shows about the volume.
    pub fn fact(&self, node: &str, name: &str) -> Option<String> {
        let text = self.shown(node);
        let mut lines = text.lines();
        let line = lines.find_map(|line| line.strip_prefix(&format!("{name}: ")));
        line.map(str::to_owned)
    }

    /// Returns the state of a node's copy, from its report in JSON.
    pub fn state(&self, node: &str) -> Option<String> {
        let show = ["volume", "show", "mail", "--json"];
        let shown = self.site.machine(node).command(&show).out;
        let report: serde_json::Value = serde_json::from_str(&shown).ok()?;
        let state = report["subjects"][0]["status"]["state"].as_str();
        state.map(str::to_owned)
    }

    /// Returns the node that serves the volume.
    pub fn owner(&self) -> Option<&'static str> {
        let serves = |node: &&str| self.fact(node, "owner here").as_deref() == Some("1");
        ["alpha", "beta"].into_iter().find(serves)
    }

    /// Waits until a node shows this state.
    #[track_caller]
    pub fn becomes(&self, node: &str, state: &str) {
        let is = || self.fact(node, "state").as_deref() == Some(state);
        assert!(
            eventually(SOON, is),
            "{node} is not {state}\n{}",
            self.tell()
        );
    }

    /// Waits until both copies are in sync; returns the owner.
    #[track_caller]
    pub fn in_sync(&self) -> &'static str {
        let mut owner = None;
        let synced = || {
            owner = self.owner().filter(|owner| {
                let mirrored = self.fact(owner, "mirrored").as_deref() == Some("1");
                let other = other(owner);
                mirrored && self.state(other).as_deref() == Some("following")
            });
            owner.is_some()
        };
        assert!(eventually(SOON, synced), "{}", self.tell());
        owner.unwrap_or_default()
    }

    /// Stops these clients, and asserts that both copies are in sync, equal, and contain everything
    /// that the clients wrote.
    #[track_caller]
    pub fn holds(&self, writers: Vec<Writer>) -> Vec<Log> {
        let logs: Vec<Log> = writers.into_iter().map(Writer::stop).collect();
        self.in_sync();
        for (index, log) in logs.iter().enumerate() {
            assert!(
                log.failed.is_none(),
                "client {index}: {:?}\n{}",
                log.failed,
                self.tell()
            );
            assert!(
                log.acknowledged() > 0,
                "client {index} wrote nothing\n{}",
                self.tell()
            );
        }
        for node in NODES {
            let mut client = Client::connect(&self.socket(node)).unwrap();
            for log in &logs {
                log.check(&mut client, node);
            }
        }
        self.copies_are_equal();
        logs
    }

    /// Variant of [`VolumeSite::holds`] after a power failure, in which any unflushed data may be
    /// lost.
    #[track_caller]
    pub fn holds_what_was_flushed(&self, logs: &mut [Log]) {
        self.in_sync();
        for log in logs {
            assert!(log.failed.is_none(), "{:?}\n{}", log.failed, self.tell());
            for node in NODES {
                let mut client = Client::connect(&self.socket(node)).unwrap();
                log.check_flushed(&mut client, node);
            }
        }
        self.copies_are_equal();
    }

    /// Compares the copies. No client is left, so nothing changes any longer.
    #[track_caller]
    fn copies_are_equal(&self) {
        let [alpha, beta] = NODES.map(|node| fs::read(self.file(node)).unwrap());
        assert_eq!(alpha.len(), beta.len());
        let differs = alpha.iter().zip(&beta).position(|(a, b)| a != b);
        assert_eq!(differs, None, "{}", self.tell());
    }

    /// Returns all status information for the message of a failure.
    pub fn tell(&self) -> String {
        let shown = ["alpha", "beta"].map(|node| format!("--- {node}\n{}", self.shown(node)));
        shown.concat() + &self.site.tell()
    }
}

/// Starts a client at each node, and waits until both have written.
pub fn clients(volumes: &VolumeSite) -> Vec<Writer> {
    let writers = NODES.into_iter().zip([0, 4096]);
    let writers = writers.map(|(node, first)| Writer::start(volumes.socket(node), first));
    let writers: Vec<Writer> = writers.collect();
    writers.iter().for_each(|writer| writer.gets_on(50));
    writers
}

/// Returns the boot ID that the kernel would report after a boot.
fn boot_id(number: u64) -> String {
    format!("{number:08x}-0000-4000-8000-000000000000\n")
}

/// Returns the node with the other copy.
pub fn other(node: &str) -> &'static str {
    if node == "alpha" { "beta" } else { "alpha" }
}

/// An independent NBD client, so that Evenkeel's own client is not needed for the checks.
pub struct Client {
    stream: UnixStream,
    cookie: u64,
    /// Size of the export in bytes.
    pub size: u64,
}

impl Client {
    pub fn connect(socket: &Path) -> io::Result<Client> {
        Client::connect_to(socket, "mail")
    }

    pub fn connect_to(socket: &Path, export: &str) -> io::Result<Client> {
        let mut stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut greeting = [0; 18];
        stream.read_exact(&mut greeting)?;
        assert_eq!(&greeting[..16], b"NBDMAGICIHAVEOPT");
        // Fixed newstyle, without zeroes; then the export by its name.
        stream.write_all(&3_u32.to_be_bytes())?;
        stream.write_all(b"IHAVEOPT")?;
        stream.write_all(&1_u32.to_be_bytes())?;
        stream.write_all(&(export.len() as u32).to_be_bytes())?;
        stream.write_all(export.as_bytes())?;
        let mut export = [0; 10];
        stream.read_exact(&mut export)?;
        let (size, _) = export.split_first_chunk().unwrap();
        Ok(Client {
            stream,
            cookie: 0,
            size: u64::from_be_bytes(*size),
        })
    }

    fn request(&mut self, flags: u16, kind: u16, block: u64, length: u32) -> io::Result<()> {
        self.cookie += 1;
        let mut head = Vec::with_capacity(28);
        head.extend_from_slice(&0x2560_9513_u32.to_be_bytes());
        head.extend_from_slice(&flags.to_be_bytes());
        head.extend_from_slice(&kind.to_be_bytes());
        head.extend_from_slice(&self.cookie.to_be_bytes());
        head.extend_from_slice(&(block * BLOCK as u64).to_be_bytes());
        head.extend_from_slice(&length.to_be_bytes());
        self.stream.write_all(&head)
    }

    fn reply(&mut self) -> io::Result<()> {
        let mut head = [0; 16];
        self.stream.read_exact(&mut head)?;
        let error = u32::from_be_bytes(head[4..8].try_into().unwrap());
        match error {
            0 => Ok(()),
            error => Err(io::Error::from_raw_os_error(error as i32)),
        }
    }

    pub fn write(&mut self, block: u64, bytes: &[u8], fua: bool) -> io::Result<()> {
        self.request(u16::from(fua), 1, block, bytes.len() as u32)?;
        self.stream.write_all(bytes)?;
        self.reply()
    }

    pub fn flush(&mut self) -> io::Result<()> {
        self.request(0, 3, 0, 0)?;
        self.reply()
    }

    /// Discards a range, which reads as zeroes here.
    pub fn trim(&mut self, block: u64, bytes: u32) -> io::Result<()> {
        self.request(0, 4, block, bytes)?;
        self.reply()
    }

    pub fn zero(&mut self, block: u64, bytes: u32) -> io::Result<()> {
        self.request(0, 6, block, bytes)?;
        self.reply()
    }

    pub fn read(&mut self, block: u64) -> io::Result<Vec<u8>> {
        self.request(0, 0, block, BLOCK as u32)?;
        self.reply()?;
        let mut bytes = vec![0; BLOCK];
        self.stream.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

/// Content that a client wrote to one block.
#[derive(Clone, Copy, Default)]
struct Written {
    /// The last number that was acknowledged.
    acknowledged: u64,
    /// The last number that was sent.
    sent: u64,
    /// The last number that was flushed, or written with FUA.
    stable: u64,
}

/// Content that a client wrote to its own blocks.
pub struct Log {
    first: u64,
    blocks: Vec<Written>,
    failed: Option<String>,
    number: u64,
    /// The longest time from one acknowledgement to the next.
    pub longest: Duration,
}

/// A client that writes numbers to its own blocks in random order, until it is stopped.
pub struct Writer {
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicU64>,
    thread: JoinHandle<Log>,
}

/// A client that reads until it is stopped, and records an error.
pub struct Reader {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Option<String>>,
}

impl Reader {
    pub fn start(socket: PathBuf) -> Reader {
        let stop = Arc::new(AtomicBool::new(false));
        let stops = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut random = Random::new(3);
            let mut client = Client::connect(&socket).ok();
            while !stops.load(Ordering::Relaxed) {
                let Some(connected) = &mut client else {
                    lab::sleep_in_test(Duration::from_millis(20), "a client connects again");
                    client = Client::connect(&socket).ok();
                    continue;
                };
                match connected.read(random.below(8192)) {
                    Ok(_) => {}
                    Err(error) if error.raw_os_error().is_some() => return Some(error.to_string()),
                    Err(_) => client = None,
                }
            }
            None
        });
        Reader { stop, thread }
    }

    /// Asserts that no read failed.
    #[track_caller]
    pub fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        assert_eq!(self.thread.join().unwrap(), None);
    }
}

/// Returns the content of a block with this number: a different word at each place.
fn content(block: u64, number: u64) -> Vec<u8> {
    let words = (0..BLOCK as u64 / 8).map(|at| (number << 24 | at) ^ block << 48);
    words.flat_map(u64::to_le_bytes).collect()
}

impl Writer {
    /// Starts a client that writes to blocks from `first` on. If its connection ends, it connects
    /// again, and repeats the write without a reply, as QEMU does.
    pub fn start(socket: PathBuf, first: u64) -> Writer {
        Writer::go_on(socket, Log::new(first))
    }

    /// Continues with an existing log.
    pub fn go_on(socket: PathBuf, mut log: Log) -> Writer {
        log.longest = Duration::ZERO;
        let stop = Arc::new(AtomicBool::new(false));
        let acknowledged = Arc::new(AtomicU64::new(0));
        let (stops, counts) = (Arc::clone(&stop), Arc::clone(&acknowledged));
        let thread = std::thread::spawn(move || {
            log.write_until(&socket, &stops, &counts);
            log
        });
        Writer {
            stop,
            acknowledged,
            thread,
        }
    }

    /// Waits until that many further writes are acknowledged.
    #[track_caller]
    pub fn gets_on(&self, more: u64) {
        let from = self.acknowledged.load(Ordering::Relaxed);
        let on = || self.acknowledged.load(Ordering::Relaxed) >= from + more;
        assert!(
            eventually(SOON, on) || self.thread.is_finished(),
            "writes wait"
        );
    }

    pub fn stop(self) -> Log {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

impl Log {
    /// Creates a log of the blocks from `first` on.
    pub fn new(first: u64) -> Log {
        Log {
            first,
            blocks: vec![Written::default(); 512],
            failed: None,
            number: 0,
            longest: Duration::ZERO,
        }
    }

    /// Returns the last number that was flushed.
    pub fn flushed(&self) -> u64 {
        let stable = self.blocks.iter().map(|block| block.stable);
        stable.max().unwrap_or_default()
    }

    /// Adapts the log to a power failure: only flushed writes still count as acknowledged.
    pub fn power_failed(&mut self) {
        for block in &mut self.blocks {
            block.acknowledged = block.stable;
        }
    }

    fn write_until(&mut self, socket: &Path, stop: &AtomicBool, count: &AtomicU64) {
        let mut random = Random::new(self.first + 7 + self.number);
        let mut client = Client::connect(socket).ok();
        let mut since = Instant::now();
        while !stop.load(Ordering::Relaxed) {
            self.number += 1;
            let number = self.number;
            let at = random.below(self.blocks.len() as u64);
            let block = self.first + at;
            let bytes = content(block, number);
            self.blocks[at as usize].sent = number;
            let fua = number.is_multiple_of(8);
            loop {
                let Some(connected) = &mut client else {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    lab::sleep_in_test(Duration::from_millis(20), "a client connects again");
                    client = Client::connect(socket).ok();
                    continue;
                };
                let written = connected.write(block, &bytes, fua);
                let flushed = written.and_then(|()| match number % 8 {
                    4 => connected.flush(),
                    _ => Ok(()),
                });
                match flushed {
                    Ok(()) => break,
                    Err(error) if matches!(error.raw_os_error(), Some(1 | 5 | 12 | 22 | 28)) => {
                        self.failed = Some(format!("block {block}: {error}"));
                        return;
                    }
                    // The connection has ended, and the next write opens another one.
                    Err(_) => client = None,
                }
            }
            self.blocks[at as usize].acknowledged = number;
            match number % 8 {
                0 => self.blocks[at as usize].stable = number,
                4 => self
                    .blocks
                    .iter_mut()
                    .for_each(|block| block.stable = block.acknowledged),
                _ => {}
            }
            self.longest = self.longest.max(since.elapsed());
            since = Instant::now();
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub fn acknowledged(&self) -> usize {
        let some = self.blocks.iter().filter(|one| one.acknowledged > 0);
        some.count()
    }

    /// Checks the blocks after a power failure: each sector may have lost unflushed data on its
    /// own.
    #[track_caller]
    fn check_flushed(&mut self, client: &mut Client, node: &str) {
        self.power_failed();
        for (at, written) in self.blocks.iter().enumerate() {
            let block = self.first + at as u64;
            let bytes = client.read(block).unwrap();
            for (sector, bytes) in bytes.chunks(512).enumerate() {
                let word = u64::from_le_bytes(bytes[..8].try_into().unwrap());
                let number = if bytes.iter().all(|byte| *byte == 0) {
                    0
                } else {
                    (word ^ block << 48) >> 24
                };
                let range = written.stable..=written.sent;
                assert!(
                    range.contains(&number),
                    "{node}: sector {sector} of block {block} has {number}, not {range:?}"
                );
                let place = sector * 512;
                let whole = number == 0 || bytes == &content(block, number)[place..place + 512];
                assert!(whole, "{node}: sector {sector} of block {block} is torn");
            }
        }
    }

    /// Asserts that each block has the last acknowledged number, or one that was sent later, in all
    /// of the block.
    #[track_caller]
    fn check(&self, client: &mut Client, node: &str) {
        for (at, written) in self.blocks.iter().enumerate() {
            let block = self.first + at as u64;
            let bytes = client.read(block).unwrap();
            let word = u64::from_le_bytes(bytes[..8].try_into().unwrap());
            let number = (word ^ block << 48) >> 24;
            if written.sent == 0 {
                assert!(
                    bytes.iter().all(|byte| *byte == 0),
                    "{node}: block {block} was not written"
                );
                continue;
            }
            if bytes.iter().all(|byte| *byte == 0) && written.acknowledged == 0 {
                continue;
            }
            assert_eq!(
                bytes,
                content(block, number),
                "{node}: block {block} is torn"
            );
            let range = written.acknowledged..=written.sent;
            assert!(
                range.contains(&number),
                "{node}: block {block} has {number}, not {range:?}"
            );
        }
    }
}
