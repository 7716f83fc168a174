//! Manages the runtime directory, in which each supervisor and each role has a socket, with a text
//! file that lists its files and claims. `evenkeel reload` finds a supervisor here. At the socket
//! of a role, a new supervisor adopts it after the first one has died; a file next to the proxy's
//! socket contains what the new one needs ([`crate::keep`]).
//!
//! Only the owner may use the directory. Each search removes the entries of dead processes.
//! Instances of the same user that use another directory are found by their sockets
//! ([`elsewhere`]).

use language::reason;
use part::role::Resource;
use part::row;
use rustix::fs::{
    CWD, FlockOperation, Mode, OFlags, RenameFlags, chmod, flock, open, renameat_with,
};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with,
    sockopt,
};
use std::collections::BTreeSet;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Environment variable that replaces the default path of the runtime directory.
const VARIABLE: &str = "EVENKEEL_RUNTIME_DIRECTORY";
const INSTANCES_MAX: usize = 1_024;
const LISTING_BYTES_MAX: u64 = 256 * 1024;
/// Maximum number of entries of a kind with one process id: containers may share a directory.
const SAME_ID_MAX: usize = 16;
const BACKLOG: i32 = 16;
const LOCK_TRIES: usize = 10;
const LOCK_PAUSE: Duration = Duration::from_millis(10);

#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    #[error("{}: {}", .0.display(), reason(.1))]
    Open(PathBuf, io::Error),
    #[error("{} belongs to another user", .0.display())]
    Owner(PathBuf),
    /// The path is a symbolic link, which others may redirect, or a file.
    #[error("{} is not a directory, and links are not followed here: name the target of the link", .0.display())]
    Kind(PathBuf),
    #[error("other users may write to {}", .0.display())]
    Others(PathBuf),
    #[error("{}: {}", .0.display(), .1)]
    Socket(PathBuf, Errno),
}

/// The kind of process that owns a socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum SocketOwner<'p> {
    Supervisor,
    /// A starting supervisor, until it can be reached.
    Starting,
    /// A process that serves without a supervisor.
    Process,
    /// The primary role; the entry lives as long as the role.
    Serving,
    Role(&'p str),
}

impl Instance {
    /// Returns whether the instance is this program with these files, in the network namespace of
    /// this process.
    pub fn is_of(&self, program: &str, paths: &[PathBuf]) -> bool {
        self.program == program && self.network == network() && self.paths == paths
    }

    pub(crate) fn is_of_a_role(&self) -> bool {
        matches!(
            SocketOwner::of(&self.socket),
            Some(SocketOwner::Serving | SocketOwner::Role(_))
        )
    }

    pub(crate) fn is(&self, kind: SocketOwner<'_>) -> bool {
        SocketOwner::of(&self.socket) == Some(kind)
    }

    /// Returns the process id of the role that listens at this entry's socket, without a connection
    /// to it. `None` if the role has ended, is in another network namespace, or may not be
    /// inspected by this user.
    pub fn role(&self) -> Option<u32> {
        // Searches several times, because the kernel's list of sockets may lack an entry while
        // other sockets of the machine are closed.
        (0..LOOKS).find_map(|_| self.listener())
    }

    fn listener(&self) -> Option<u32> {
        let bound = bound_name(self.pid, self.network, SocketOwner::of(&self.socket)?);
        let sockets = std::fs::read_to_string("/proc/net/unix").ok()?;
        let inode = sockets.lines().find_map(|line| {
            let mut words = line.split_ascii_whitespace().skip(6);
            let (inode, path) = (words.next()?, words.next()?);
            let is_it = path.rsplit('/').next() == Some(&bound);
            is_it.then(|| format!("socket:[{inode}]"))
        })?;
        let holds = |pid: u32| {
            let open = std::fs::read_dir(format!("/proc/{pid}/fd"));
            let mut open = open.into_iter().flatten().flatten();
            open.any(|fd| std::fs::read_link(fd.path()).is_ok_and(|to| to.as_os_str() == &*inode))
        };
        let all = std::fs::read_dir("/proc").ok()?.flatten();
        let mut all = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        all.find(|pid| holds(*pid))
    }
}

/// Number of attempts to find a socket in the kernel's list.
const LOOKS: usize = 32;
/// Number of readings of the kernel's list that are combined.
const READINGS: usize = 8;
/// Value of the line `member` in the text file of a cluster node.
const NODE: &str = "node";
const ARBITER: &str = "arbiter";
const OF_PART: &str = "-role";

impl<'p> SocketOwner<'p> {
    pub fn of_part(part: &'p str) -> SocketOwner<'p> {
        if row::is_primary(part) {
            SocketOwner::Serving
        } else {
            SocketOwner::Role(part)
        }
    }

    fn extension(self) -> String {
        match self {
            SocketOwner::Supervisor => "sock".to_owned(),
            SocketOwner::Starting => "starting".to_owned(),
            SocketOwner::Process => "process".to_owned(),
            SocketOwner::Serving => "role".to_owned(),
            SocketOwner::Role(part) => format!("{part}{OF_PART}"),
        }
    }

    fn of(socket: &'p Path) -> Option<SocketOwner<'p>> {
        match socket.extension()?.to_str()? {
            "sock" => Some(SocketOwner::Supervisor),
            "starting" => Some(SocketOwner::Starting),
            "process" => Some(SocketOwner::Process),
            "role" => Some(SocketOwner::Serving),
            other => other.strip_suffix(OF_PART).map(SocketOwner::Role),
        }
    }
}

/// An entry of the runtime directory whose process listens: a supervisor, a role, or a process that
/// serves without a supervisor.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Instance {
    pub pid: u32,
    /// Program name: `evenkeel`, `haproxy` or `keepalived`.
    pub program: String,
    pub network: u64,
    pub paths: Vec<PathBuf>,
    pub claims: Claims,
    pub socket: PathBuf,
    /// True if the entry is in another runtime directory than that of this process.
    pub is_elsewhere: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Membership {
    #[default]
    None,
    /// The instance serves the version that the cluster accepted.
    Node,
    /// The instance serves nothing and only votes.
    Arbiter,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Claims {
    /// Cluster membership of the instance; a node claims the whole machine.
    pub membership: Membership,
    pub resources: BTreeSet<Resource>,
}

pub fn of_root() -> PathBuf {
    "/run/evenkeel".into()
}

/// Returns whether [`path`] is the default directory of a user other than root.
pub fn is_usual_of_a_user() -> bool {
    let named = std::env::var_os(VARIABLE).is_some_and(|path| !path.is_empty());
    !named && !rustix::process::geteuid().is_root()
}

pub fn path() -> PathBuf {
    if let Some(path) = std::env::var_os(VARIABLE).filter(|path| !path.is_empty()) {
        return path.into();
    }
    let uid = rustix::process::geteuid();
    if uid.is_root() {
        return of_root();
    }
    match std::env::var_os("XDG_RUNTIME_DIR").filter(|path| !path.is_empty()) {
        Some(directory) => Path::new(&directory).join("evenkeel"),
        None => format!("/tmp/evenkeel-{}", uid.as_raw()).into(),
    }
}

/// Creates the directory with mode 0700. Refuses an existing one that is a link, belongs to another
/// user, or is shared; otherwise sets its mode to 0700.
fn prepare(directory: &Path) -> Result<(), DirectoryError> {
    let failed = |error| DirectoryError::Open(directory.into(), error);
    match std::fs::DirBuilder::new().mode(0o700).create(directory) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(failed(error)),
    }
    check(directory)?;
    let mode = std::fs::symlink_metadata(directory)
        .map_err(failed)?
        .permissions()
        .mode();
    // Refuses a shared directory such as `/tmp`, which others may write to or which is sticky: its
    // mode must not change.
    if mode & 0o1022 != 0 {
        return Err(DirectoryError::Others(directory.into()));
    }
    if mode & 0o777 != 0o700 {
        chmod(directory, Mode::RWXU).map_err(|errno| failed(errno.into()))?;
    }
    Ok(())
}

/// Checks that the directory is no symbolic link and belongs to this user.
fn check(directory: &Path) -> Result<(), DirectoryError> {
    let data = std::fs::symlink_metadata(directory)
        .map_err(|error| DirectoryError::Open(directory.into(), error))?;
    if !data.is_dir() {
        return Err(DirectoryError::Kind(directory.into()));
    }
    if data.uid() != rustix::process::geteuid().as_raw() {
        return Err(DirectoryError::Owner(directory.into()));
    }
    Ok(())
}

/// Returns whether a path is a regular file or a directory, which can be read again; a pipe cannot.
pub fn is_lasting(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|data| data.is_file() || data.is_dir())
}

/// Returns the network namespace of this process; 0 if the system does not report it.
pub(crate) fn network() -> u64 {
    std::fs::metadata("/proc/self/ns/net").map_or(0, |data| data.ino())
}

/// Returns the running supervisors. Removes the entries of dead ones.
///
/// # Errors
/// The directory cannot be read, or belongs to another user.
pub fn instances() -> Result<Vec<Instance>, DirectoryError> {
    instances_in(&path(), SocketOwner::Supervisor)
}

/// Returns the supervisors, running or not, whose role of this part runs.
///
/// # Errors
/// As [`instances`].
pub fn roles(part: &str) -> Result<Vec<Instance>, DirectoryError> {
    instances_in(&path(), SocketOwner::of_part(part))
}

/// Returns the entries of running supervisors and of running roles.
///
/// # Errors
/// As [`instances`].
pub(crate) fn entries() -> Result<Vec<Instance>, DirectoryError> {
    entries_in(&path(), |_| true)
}

/// Returns the claims of all instances except the one with this supervisor, as lines. Roles that
/// the supervisor adopts belong to its own instance.
pub fn claimed_by_others(supervisor: u32) -> BTreeSet<String> {
    // Without a readable directory, the claims of other instances are unknown and none is returned.
    let all = entries().unwrap_or_default();
    let claims = claims_of_others(&all, supervisor).into_iter();
    claims.map(|resource| resource.line()).collect()
}

fn claims_of_others(all: &[Instance], supervisor: u32) -> BTreeSet<Resource> {
    let is_own = |one: &Instance| one.pid == supervisor && one.network == network();
    let own = all.iter().find(|one| is_own(one));
    let is_adopted = |one: &Instance| {
        let same = own.is_some_and(|own| one.is_of(&own.program, &own.paths));
        one.is_of_a_role() && same
    };
    let others = all.iter().filter(|one| !is_own(one) && !is_adopted(one));
    let claims = others.flat_map(|one| &one.claims.resources);
    claims.cloned().collect()
}

/// Returns the path for a file of this name in the directory, which only the owner may use.
pub(crate) fn place(name: &str) -> Result<PathBuf, DirectoryError> {
    let directory = path();
    prepare(&directory)?;
    Ok(directory.join(name))
}

fn instances_in(
    directory: &Path,
    wanted: SocketOwner<'_>,
) -> Result<Vec<Instance>, DirectoryError> {
    entries_in(directory, |kind| kind == wanted)
}

fn entries_in(
    directory: &Path,
    is_wanted: impl Fn(SocketOwner<'_>) -> bool,
) -> Result<Vec<Instance>, DirectoryError> {
    let (mut found, dead) = search(directory, is_wanted)?;
    remove_dead(directory, &dead);
    found.sort_by_key(|instance| instance.pid);
    Ok(found)
}

/// Returns the entries of a directory, and the sockets of dead processes.
fn search(
    directory: &Path,
    is_wanted: impl Fn(SocketOwner<'_>) -> bool,
) -> Result<(Vec<Instance>, Vec<PathBuf>), DirectoryError> {
    let failed = |error| DirectoryError::Open(directory.into(), error);
    match std::fs::symlink_metadata(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Default::default()),
        _ => check(directory)?,
    }
    let mut found = Vec::new();
    let mut dead = Vec::new();
    let entries = std::fs::read_dir(directory).map_err(failed)?;
    for entry in entries.take(4 * INSTANCES_MAX).flatten() {
        let socket = entry.path();
        let Some(kind) = SocketOwner::of(&socket) else {
            continue;
        };
        match lives(&socket) {
            Ok(true) if is_wanted(kind) => found.extend(read(&socket)),
            Ok(false) => dead.push(socket),
            Ok(true) | Err(_) => {}
        }
    }
    Ok((found, dead))
}

/// Returns the instances of this user in this network namespace whose entries are in other runtime
/// directories. The kernel's list of sockets names these directories.
///
/// `is_own_read`: true if the directory of this process was read already; it is left out then.
pub(crate) fn elsewhere(is_own_read: bool) -> Vec<Instance> {
    let read = || {
        let sockets = std::fs::read("/proc/net/unix").unwrap_or_default();
        String::from_utf8_lossy(&sockets).into_owned()
    };
    let own = is_own_read.then(path);
    elsewhere_in(own.as_deref(), &directories_of_lists(read))
}

/// Returns the runtime directories in several readings of the kernel's list of sockets, because each
/// reading may lack entries ([`Instance::role`]).
fn directories_of_lists(mut read: impl FnMut() -> String) -> BTreeSet<PathBuf> {
    let lists = (0..READINGS).map(|_| read());
    lists.flat_map(|list| runtime_directories(&list)).collect()
}

fn elsewhere_in(own: Option<&Path>, directories: &BTreeSet<PathBuf>) -> Vec<Instance> {
    let identity = |path: &Path| {
        let data = std::fs::metadata(path).ok()?;
        Some((data.dev(), data.ino()))
    };
    let mut seen: BTreeSet<_> = own.and_then(identity).into_iter().collect();
    let mut found = Vec::new();
    for directory in directories {
        // Skips directories in which other users can create files: such a user could bind a name of
        // this form.
        if !is_private(directory) {
            continue;
        }
        let identity = identity(directory).filter(|one| !seen.contains(one));
        if let (Some(identity), Ok((entries, _))) = (identity, search(directory, |_| true)) {
            seen.insert(identity);
            found.extend(entries);
        }
    }
    for one in &mut found {
        one.is_elsewhere = true;
    }
    found
}

/// Returns whether only this user can create files in a directory, which `/tmp` is not.
fn is_private(directory: &Path) -> bool {
    let data = std::fs::metadata(directory);
    data.is_ok_and(|data| {
        data.is_dir()
            && data.uid() == rustix::process::geteuid().as_raw()
            && data.permissions().mode() & 0o022 == 0
    })
}

fn runtime_directories(sockets: &str) -> BTreeSet<PathBuf> {
    let directories = sockets.lines().filter_map(|line| {
        // Skips the seven columns before the path, which may contain spaces.
        let path = (0..7).try_fold(line, |rest, _| {
            rest.trim_start().split_once(' ').map(|(_, rest)| rest)
        })?;
        let path = Path::new(path);
        let pid = bound_pid(path)?;
        // Resolves a relative path from the working directory of the process that bound it.
        Some(Path::new(&format!("/proc/{pid}/cwd")).join(path.parent()?))
    });
    directories.collect()
}

/// Returns the process id in the name under which a socket was bound.
fn bound_pid(socket: &Path) -> Option<u32> {
    SocketOwner::of(socket)?;
    let stem = socket.file_stem()?.to_str()?.strip_prefix('.')?;
    let (pid, network) = stem.split_once('-')?;
    network.parse::<u64>().ok()?;
    pid.parse().ok()
}

/// Removes the entries of dead processes. Each socket is checked again under the lock, so that a
/// process which enters under the same name at this moment keeps its entry. If another process
/// holds the lock, the entries remain until the next search.
fn remove_dead(directory: &Path, dead: &[PathBuf]) {
    if dead.is_empty() {
        return;
    }
    let Ok(_lock) = Lock::take(directory, FlockOperation::NonBlockingLockExclusive) else {
        return;
    };
    for socket in dead {
        if lives(socket) == Ok(false) {
            remove(socket);
        }
    }
}

/// The lock of a directory: only one process at a time may add entries, remove dead ones, or act as
/// a cluster member.
pub(crate) struct Lock(OwnedFd);

impl Lock {
    fn take(directory: &Path, how: FlockOperation) -> Result<Lock, DirectoryError> {
        let failed = |errno: Errno| DirectoryError::Open(directory.into(), errno.into());
        locked(directory, how).map(Lock).map_err(failed)
    }
}

fn locked(directory: &Path, how: FlockOperation) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fd = open(directory, flags, Mode::empty())?;
    rustix::io::retry_on_intr(|| flock(&fd, how))?;
    Ok(fd)
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Unlocks explicitly, because a child process may hold a copy of the descriptor, which
        // would keep the lock.
        let _ = flock(&self.0, FlockOperation::Unlock);
    }
}

/// Returns whether a process listens on this socket, without a connection to it: the kernel refuses
/// a socket of another type with a different error if a process listens.
fn lives(socket: &Path) -> Result<bool, Errno> {
    // Connects with a socket type that no process in this directory uses, so that no connection is
    // made: supervisors and roles have packet sockets, volumes stream sockets.
    let fd = unix(SocketType::DGRAM)?;
    match connect(&fd, &SocketAddrUnix::new(socket)?) {
        Ok(()) | Err(Errno::PROTOTYPE) => Ok(true),
        Err(Errno::CONNREFUSED) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Connects to a supervisor.
///
/// # Errors
/// No process listens, or the connection fails.
pub fn connected(socket: &Path) -> Result<OwnedFd, Errno> {
    let fd = unix(SocketType::SEQPACKET)?;
    connect(&fd, &SocketAddrUnix::new(socket)?)?;
    Ok(fd)
}

/// Connects to a role. The packets carry the sender's process id, as verified by the kernel.
pub(crate) fn connected_to_role(socket: &Path) -> Result<OwnedFd, Errno> {
    let fd = unix(SocketType::SEQPACKET)?;
    sockopt::set_socket_passcred(&fd, true)?;
    connect(&fd, &SocketAddrUnix::new(socket)?)?;
    Ok(fd)
}

fn unix(kind: SocketType) -> Result<OwnedFd, Errno> {
    socket_with(
        AddressFamily::UNIX,
        kind,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )
}

fn listing_of(socket: &Path) -> PathBuf {
    match SocketOwner::of(socket) {
        Some(
            kind @ (SocketOwner::Serving
            | SocketOwner::Role(_)
            | SocketOwner::Starting
            | SocketOwner::Process),
        ) => socket.with_extension(kind.extension() + "-of"),
        Some(SocketOwner::Supervisor) | None => socket.with_extension(""),
    }
}

/// Returns the path of the file with the version that a role serves, and of the temporary file that
/// replaces it.
pub(crate) fn kept_of(socket: &Path) -> (PathBuf, PathBuf) {
    let stem = socket.file_stem().unwrap_or_default().to_string_lossy();
    let beside = socket.with_file_name(format!(".{stem}.kept"));
    (socket.with_extension("kept"), beside)
}

fn read(socket: &Path) -> Option<Instance> {
    use std::io::Read;
    // Opens without waiting and follows no link, because a path that is no regular file, such as a
    // pipe, could block the reader.
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let mut options = std::fs::OpenOptions::new();
    let file = options
        .read(true)
        .custom_flags(flags)
        .open(listing_of(socket));
    let file = file.ok().filter(|file| {
        let data = file.metadata();
        data.is_ok_and(|data| data.is_file() && data.uid() == rustix::process::geteuid().as_raw())
    })?;
    let mut text = String::new();
    file.take(LISTING_BYTES_MAX)
        .read_to_string(&mut text)
        .ok()?;
    let mut instance = Instance {
        pid: 0,
        program: String::new(),
        network: 0,
        paths: Vec::new(),
        claims: Claims::default(),
        socket: socket.into(),
        is_elsewhere: false,
    };
    for line in text.lines() {
        match line.split_once(' ').unwrap_or((line, "")) {
            ("pid", pid) => instance.pid = pid.parse().ok()?,
            ("program", program) => instance.program = program.to_owned(),
            ("network", network) => instance.network = network.parse().ok()?,
            ("file", path) => instance.paths.push(path.into()),
            ("member", NODE) => instance.claims.membership = Membership::Node,
            ("member", ARBITER) => instance.claims.membership = Membership::Arbiter,
            ("claims", line) => instance.claims.resources.extend(Resource::parse(line)),
            // Ignores unknown lines, which later versions of the program may add.
            _ => {}
        }
    }
    (instance.pid > 0).then_some(instance)
}

pub(crate) fn remove(socket: &Path) {
    // Errors are ignored: another starting supervisor may have removed the files.
    if SocketOwner::of(socket) == Some(SocketOwner::Serving) {
        let (kept, beside) = kept_of(socket);
        let _ = std::fs::remove_file(kept);
        let _ = std::fs::remove_file(beside);
    }
    let _ = std::fs::remove_file(listing_of(socket));
    let _ = std::fs::remove_file(socket);
}

/// The entry of this process or of one of its roles; dropping the value removes it.
#[derive(Debug)]
pub(crate) struct Entry {
    socket: PathBuf,
    pid: u32,
}

impl Entry {
    /// Creates the entry of a socket that this process opened before it executed a newer program.
    pub fn kept(socket: PathBuf) -> Entry {
        Entry {
            socket,
            pid: std::process::id(),
        }
    }

    pub fn socket(&self) -> &Path {
        &self.socket
    }

    pub fn exists(&self) -> bool {
        self.socket.exists() && listing_of(&self.socket).exists()
    }

    /// Makes the entry name this process as its owner, after the process has moved into the
    /// background.
    pub fn move_to_this_process(&mut self) {
        self.pid = std::process::id();
    }

    /// Replaces the text file of the entry: process id, program, network namespace, files and
    /// claims.
    ///
    /// # Errors
    /// The file cannot be written; its previous contents remain.
    pub fn write(&self, program: &str, paths: &[PathBuf], claims: &Claims) -> io::Result<()> {
        let mut text = format!(
            "pid {}\nprogram {program}\nnetwork {}\n",
            self.pid,
            network()
        );
        for path in paths {
            // Replaces line ends in a path, which would end the line.
            text += &format!("file {}\n", path.display().to_string().replace('\n', "?"));
        }
        text += &match claims.membership {
            Membership::None => String::new(),
            Membership::Node => format!("member {NODE}\n"),
            Membership::Arbiter => format!("member {ARBITER}\n"),
        };
        for resource in &claims.resources {
            text += &format!("claims {}\n", resource.line());
        }
        let listing = listing_of(&self.socket);
        let name = listing.file_name().unwrap_or_default().to_string_lossy();
        let beside = listing.with_file_name(format!(".{name}.new"));
        let written = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&beside)
            .and_then(|mut file| io::Write::write_all(&mut file, text.as_bytes()))
            .and_then(|()| std::fs::rename(&beside, &listing));
        if written.is_err() {
            let _ = std::fs::remove_file(&beside);
        }
        written
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        // Only the process of the entry removes it: the parent of a process in the background has a
        // copy of this value.
        if self.pid == std::process::id() {
            remove(&self.socket);
        }
    }
}

/// Adds an entry to the runtime directory. Returns the entry and its listening socket.
pub(crate) fn enter(
    kind: SocketOwner<'_>,
    program: &str,
    paths: &[PathBuf],
    claims: &Claims,
) -> Result<(Entry, OwnedFd), DirectoryError> {
    enter_in(&path(), kind, program, paths, claims)
}

/// Runs a step while no other process can add an entry or a claim in the directory of this user.
/// The step gets the directory and the running instances in it.
///
/// # Errors
/// The directory cannot be used.
pub(crate) fn exclusively<T>(
    step: impl FnOnce(&Path, Vec<Instance>) -> Result<T, DirectoryError>,
) -> Result<T, DirectoryError> {
    let directory = &path();
    prepare(directory)?;
    let _lock = Lock::take(directory, FlockOperation::LockExclusive)?;
    let all = entries_in(directory, |_| true)?;
    step(directory, all)
}

/// Locks a directory until the value is dropped; None if another process still holds the lock after
/// [`LOCK_TRIES`] attempts.
///
/// # Errors
/// The directory cannot be opened or locked.
pub(crate) fn lock(directory: &Path) -> rustix::io::Result<Option<Lock>> {
    for _ in 0..LOCK_TRIES {
        match locked(directory, FlockOperation::NonBlockingLockExclusive) {
            Ok(fd) => return Ok(Some(Lock(fd))),
            // Tries again, because another process may only be testing the lock (`is_locked`).
            Err(Errno::WOULDBLOCK) => std::thread::sleep(LOCK_PAUSE),
            Err(errno) => return Err(errno),
        }
    }
    Ok(None)
}

/// Returns whether another process holds the lock of a directory. A process that tries to take the
/// lock at this moment tries again.
pub fn is_locked(directory: &Path) -> bool {
    let tested = locked(directory, FlockOperation::NonBlockingLockShared);
    tested.err() == Some(Errno::WOULDBLOCK)
}

/// Adds an entry as [`enter`] does, in the given directory instead of the runtime directory.
pub(crate) fn enter_in(
    directory: &Path,
    kind: SocketOwner<'_>,
    program: &str,
    paths: &[PathBuf],
    claims: &Claims,
) -> Result<(Entry, OwnedFd), DirectoryError> {
    prepare(directory)?;
    // Called to remove the entries of dead processes.
    instances_in(directory, kind)?;
    let _lock = Lock::take(directory, FlockOperation::LockExclusive)?;
    enter_locked(directory, kind, program, paths, claims)
}

/// Adds an entry as [`enter_in`] does, while the caller holds the lock of the directory
/// ([`exclusively`]).
pub(crate) fn enter_locked(
    directory: &Path,
    kind: SocketOwner<'_>,
    program: &str,
    paths: &[PathBuf],
    claims: &Claims,
) -> Result<(Entry, OwnedFd), DirectoryError> {
    let pid = std::process::id();
    let (socket, fd) = open_socket(directory, kind, pid)?;
    let entry = Entry { socket, pid };
    let written = entry.write(program, paths, claims);
    written.map_err(|error| DirectoryError::Open(listing_of(&entry.socket), error))?;
    Ok((entry, fd))
}

/// Returns the name under which a socket is bound before [`name_socket`] renames it. The kernel
/// continues to list the socket under this name ([`bound_pid`]).
fn bound_name(pid: u32, network: u64, kind: SocketOwner<'_>) -> String {
    format!(".{pid}-{network}.{}", kind.extension())
}

/// Opens a listening socket, which is renamed only when it listens: other starting processes take a
/// socket that does not listen for the entry of a dead supervisor.
fn open_socket(
    directory: &Path,
    kind: SocketOwner<'_>,
    pid: u32,
) -> Result<(PathBuf, OwnedFd), DirectoryError> {
    let failed = |path: &Path, errno| DirectoryError::Socket(path.into(), errno);
    let beside = directory.join(bound_name(pid, network(), kind));
    // Removes the socket of a killed process that had the same process id.
    let _ = std::fs::remove_file(&beside);
    let address = SocketAddrUnix::new(&beside).map_err(|errno| failed(&beside, errno))?;
    let fd = unix(SocketType::SEQPACKET).map_err(|errno| failed(&beside, errno))?;
    bind(&fd, &address).map_err(|errno| failed(&beside, errno))?;
    let named = listen(&fd, BACKLOG)
        .map_err(|errno| failed(&beside, errno))
        .and_then(|()| name_socket(directory, &beside, kind, pid));
    if named.is_err() {
        let _ = std::fs::remove_file(&beside);
    }
    Ok((named?, fd))
}

fn name_socket(
    directory: &Path,
    beside: &Path,
    kind: SocketOwner<'_>,
    pid: u32,
) -> Result<PathBuf, DirectoryError> {
    let failed = |path: &Path, errno| DirectoryError::Socket(path.into(), errno);
    let mut last = Errno::EXIST;
    for n in 0..SAME_ID_MAX {
        let name = match n {
            0 => format!("{pid}.{}", kind.extension()),
            n => format!("{pid}-{n}.{}", kind.extension()),
        };
        let path = directory.join(name);
        match renameat_with(CWD, beside, CWD, &path, RenameFlags::NOREPLACE) {
            Ok(()) => return Ok(path),
            Err(Errno::EXIST) => last = Errno::EXIST,
            Err(errno) => return Err(failed(&path, errno)),
        }
    }
    Err(failed(directory, last))
}

#[cfg(test)]
mod tests;
