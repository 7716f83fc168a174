//! The runtime directory: one socket for each supervisor, and beside it a few
//! readable lines that say which files it serves with. `evenkeel reload` finds
//! a supervisor here. A second socket is the proxy role's: there it takes a new
//! supervisor when the first has gone without a word; beside it lies what that
//! one has to know (`keep`).
//!
//! The directory is its owner's alone. What a supervisor that was killed left
//! behind is removed by the next one.

use language::reason;
use part::role::Resource;
use part::row;
use rustix::fs::{
    CWD, FileType, FlockOperation, Mode, OFlags, RenameFlags, Stat, chmod, flock, open,
    renameat_with,
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

/// Names another directory than the usual one.
const VARIABLE: &str = "EVENKEEL_RUNTIME_DIRECTORY";
/// Supervisors that one directory lists.
const INSTANCES_MAX: usize = 1_024;
/// The longest list of files of one supervisor, bytes.
const LISTING_BYTES_MAX: u64 = 256 * 1024;
/// Supervisors of one process id: containers that share a directory.
const SAME_ID_MAX: usize = 16;
/// Commands that wait to be heard.
const BACKLOG: i32 = 16;

/// Why there is no place to be found at.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// It cannot be made or read.
    #[error("{}: {}", .0.display(), reason(.1))]
    Open(PathBuf, io::Error),
    /// It is somebody else's.
    #[error("{} belongs to another user", .0.display())]
    Owner(PathBuf),
    /// It is a link, which others may lead elsewhere, or a file.
    #[error("{} is not a directory itself: a link is not followed here, so name where it leads", .0.display())]
    Kind(PathBuf),
    /// Others may write into it.
    #[error("other users may write to {}", .0.display())]
    Others(PathBuf),
    /// The socket in it.
    #[error("{}: {}", .0.display(), .1)]
    Socket(PathBuf, Errno),
}

/// Whose socket it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind<'p> {
    /// A supervisor's.
    Supervisor,
    /// That of a supervisor which starts, until it can be reached.
    Starting,
    /// That of a process that serves without a supervisor.
    Process,
    /// That of the role that serves, which lives for as long as the role.
    Serving,
    /// That of another part's role.
    Role(&'p str),
}

impl Instance {
    /// Whether it is this program with these files, in the network of this process.
    pub fn is_of(&self, program: &str, paths: &[PathBuf]) -> bool {
        self.program == program && self.network == network() && self.paths == paths
    }

    /// Whether it is the entry of a role.
    pub(crate) fn is_of_a_role(&self) -> bool {
        matches!(Kind::of(&self.socket), Some(Kind::Serving | Kind::Role(_)))
    }

    /// Whether it is an entry of this kind.
    pub(crate) fn is(&self, kind: Kind<'_>) -> bool {
        Kind::of(&self.socket) == Some(kind)
    }

    /// Returns the process id of the role that listens at this entry's socket, without a
    /// connection to it. `None` where the role has ended, is in another network namespace, or
    /// may not be inspected by this user.
    pub fn role(&self) -> Option<u32> {
        // The kernel's list of sockets may lack one while others of the machine are closed.
        (0..LOOKS).find_map(|_| self.listener())
    }

    fn listener(&self) -> Option<u32> {
        let bound = bound_name(self.pid, self.network, Kind::of(&self.socket)?);
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

/// How often the kernel's list of sockets is read for one that it does not show.
const LOOKS: usize = 32;
/// The words for what an instance is in a cluster.
const NODE: &str = "node";
const ARBITER: &str = "arbiter";
/// What follows the name of a part.
const OF_PART: &str = "-role";

impl<'p> Kind<'p> {
    /// That of the role of a part.
    pub fn of_part(part: &'p str) -> Kind<'p> {
        match row::serves(part) {
            true => Kind::Serving,
            false => Kind::Role(part),
        }
    }

    fn extension(self) -> String {
        match self {
            Kind::Supervisor => "sock".to_owned(),
            Kind::Starting => "starting".to_owned(),
            Kind::Process => "process".to_owned(),
            Kind::Serving => "role".to_owned(),
            Kind::Role(part) => format!("{part}{OF_PART}"),
        }
    }

    fn of(socket: &'p Path) -> Option<Kind<'p>> {
        match socket.extension()?.to_str()? {
            "sock" => Some(Kind::Supervisor),
            "starting" => Some(Kind::Starting),
            "process" => Some(Kind::Process),
            "role" => Some(Kind::Serving),
            other => other.strip_suffix(OF_PART).map(Kind::Role),
        }
    }
}

/// A supervisor that can be found, or one whose role can.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Instance {
    /// Its process id.
    pub pid: u32,
    /// The program: `evenkeel`, `haproxy` or `keepalived`.
    pub program: String,
    /// Its network namespace.
    pub network: u64,
    /// The files and directories of its command line, absolute.
    pub paths: Vec<PathBuf>,
    /// What it claims for itself.
    pub claims: Claims,
    /// Its socket.
    pub socket: PathBuf,
}

/// What an instance is in a cluster.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Membership {
    /// It serves files, without a cluster.
    #[default]
    None,
    /// It serves what the cluster accepted.
    Node,
    /// It serves nothing.
    Arbiter,
}

/// What an instance claims for itself, so that no other one on this machine uses it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Claims {
    /// What the instance is in a cluster: a node claims the whole machine.
    pub membership: Membership,
    /// Single resources.
    pub resources: BTreeSet<Resource>,
}

/// The directory of root, where nothing else is named.
pub fn of_root() -> PathBuf {
    "/run/evenkeel".into()
}

/// Whether [`path`] is the directory of a user who is not root, and nobody named it.
pub fn is_usual_of_a_user() -> bool {
    let named = std::env::var_os(VARIABLE).is_some_and(|path| !path.is_empty());
    !named && !rustix::process::geteuid().is_root()
}

/// The directory of this user.
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

/// Makes the directory, or sees that it is ours alone.
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
    // One that others are meant to write into (`/tmp`) is not taken from them.
    if mode & 0o1022 != 0 {
        return Err(DirectoryError::Others(directory.into()));
    }
    if mode & 0o777 != 0o700 {
        chmod(directory, Mode::RWXU).map_err(|errno| failed(errno.into()))?;
    }
    Ok(())
}

/// A link, or a directory of somebody else, is not trusted.
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

/// Whether a file is one of this user, and nobody else may read or write it.
pub(crate) fn is_own_file(data: &Stat) -> bool {
    let others = Mode::RWXG | Mode::RWXO;
    data.st_uid == rustix::process::geteuid().as_raw()
        && FileType::from_raw_mode(data.st_mode) == FileType::RegularFile
        && !Mode::from_raw_mode(data.st_mode).intersects(others)
}

/// Whether a path means the same each time; a pipe does not.
pub fn is_lasting(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|data| data.is_file() || data.is_dir())
}

/// The network namespace of this process; 0 where the system does not tell.
pub(crate) fn network() -> u64 {
    std::fs::metadata("/proc/self/ns/net").map_or(0, |data| data.ino())
}

/// The supervisors that live. What dead ones left behind is removed.
///
/// # Errors
/// The directory cannot be read, or belongs to somebody else.
pub fn instances() -> Result<Vec<Instance>, DirectoryError> {
    instances_in(&path(), Kind::Supervisor)
}

/// The supervisors, alive or not, whose role of this part lives.
///
/// # Errors
/// As [`instances`].
pub fn roles(part: &str) -> Result<Vec<Instance>, DirectoryError> {
    instances_in(&path(), Kind::of_part(part))
}

/// The supervisors that live, and the entries of the roles that live.
///
/// # Errors
/// As [`instances`].
pub(crate) fn entries() -> Result<Vec<Instance>, DirectoryError> {
    entries_in(&path(), |_| true)
}

/// What other instances claim than the one with this supervisor, as lines. Roles that the
/// supervisor adopts are its own.
pub fn claimed_by_others(supervisor: u32) -> BTreeSet<String> {
    // Without the directory nothing is known of others.
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

/// A place in the directory for a file of this name, which is the owner's alone.
pub(crate) fn place(name: &str) -> Result<PathBuf, DirectoryError> {
    let directory = path();
    prepare(&directory)?;
    Ok(directory.join(name))
}

fn instances_in(directory: &Path, wanted: Kind<'_>) -> Result<Vec<Instance>, DirectoryError> {
    entries_in(directory, |kind| kind == wanted)
}

fn entries_in(
    directory: &Path,
    is_wanted: impl Fn(Kind<'_>) -> bool,
) -> Result<Vec<Instance>, DirectoryError> {
    let failed = |error| DirectoryError::Open(directory.into(), error);
    match std::fs::symlink_metadata(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        _ => check(directory)?,
    }
    let mut found = Vec::new();
    let mut dead = Vec::new();
    let entries = std::fs::read_dir(directory).map_err(failed)?;
    for entry in entries.take(4 * INSTANCES_MAX).flatten() {
        let socket = entry.path();
        let Some(kind) = Kind::of(&socket) else {
            continue;
        };
        match lives(&socket) {
            Ok(true) if is_wanted(kind) => found.extend(read(&socket)),
            Ok(false) => dead.push(socket),
            Ok(true) | Err(_) => {}
        }
    }
    remove_dead(directory, &dead);
    found.sort_by_key(|instance| instance.pid);
    Ok(found)
}

/// Removes the entries of dead processes. A process that enters under the same name
/// at this moment keeps its entry: each socket is asked again while nobody can enter.
/// Where somebody holds the lock, the entries wait for the next search.
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

/// The lock of a directory: one process at a time enters or removes the dead, or is a member.
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
        // A child may have a copy of the descriptor, with which the lock would stay.
        let _ = flock(&self.0, FlockOperation::Unlock);
    }
}

/// Whether somebody has this socket, without a connection to it: one of another
/// type is refused for its type where there is somebody.
fn lives(socket: &Path) -> Result<bool, Errno> {
    // Nobody in this directory has one of datagrams; volumes have streams.
    let fd = unix(SocketType::DGRAM)?;
    match connect(&fd, &SocketAddrUnix::new(socket)?) {
        Ok(()) | Err(Errno::PROTOTYPE) => Ok(true),
        Err(Errno::CONNREFUSED) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// A connection to a supervisor.
///
/// # Errors
/// The system's, where nobody listens.
pub fn connected(socket: &Path) -> Result<OwnedFd, Errno> {
    let fd = unix(SocketType::SEQPACKET)?;
    connect(&fd, &SocketAddrUnix::new(socket)?)?;
    Ok(fd)
}

/// A connection to a role, whose packets say which process sent them: the
/// kernel's word for it.
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
    match Kind::of(socket) {
        Some(kind @ (Kind::Serving | Kind::Role(_) | Kind::Starting | Kind::Process)) => {
            socket.with_extension(kind.extension() + "-of")
        }
        Some(Kind::Supervisor) | None => socket.with_extension(""),
    }
}

/// The file of the version that a role serves, and the one from which that is
/// made.
pub(crate) fn kept_of(socket: &Path) -> (PathBuf, PathBuf) {
    let stem = socket.file_stem().unwrap_or_default().to_string_lossy();
    let beside = socket.with_file_name(format!(".{stem}.kept"));
    (socket.with_extension("kept"), beside)
}

fn read(socket: &Path) -> Option<Instance> {
    use std::io::Read;
    // What is no file, a pipe for example, would keep the reader waiting.
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let mut options = std::fs::OpenOptions::new();
    let file = options
        .read(true)
        .custom_flags(flags)
        .open(listing_of(socket));
    let file = file
        .ok()
        .filter(|file| file.metadata().is_ok_and(|data| data.is_file()))?;
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
            // A later version says more.
            _ => {}
        }
    }
    (instance.pid > 0).then_some(instance)
}

/// Removes an entry.
pub(crate) fn remove(socket: &Path) {
    // Another supervisor that starts now may have done it.
    if Kind::of(socket) == Some(Kind::Serving) {
        let (kept, beside) = kept_of(socket);
        let _ = std::fs::remove_file(kept);
        let _ = std::fs::remove_file(beside);
    }
    let _ = std::fs::remove_file(listing_of(socket));
    let _ = std::fs::remove_file(socket);
}

/// This supervisor's entry; it goes when this is dropped.
#[derive(Debug)]
pub(crate) struct Entry {
    socket: PathBuf,
    pid: u32,
}

impl Entry {
    /// The entry of a socket that this process made before it executed a newer
    /// program.
    pub fn kept(socket: PathBuf) -> Entry {
        Entry {
            socket,
            pid: std::process::id(),
        }
    }

    /// Its socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// The entry of a process that continues in the background as this one.
    pub fn move_to_this_process(&mut self) {
        self.pid = std::process::id();
    }

    /// Writes what the instance claims, in place of what it claimed before.
    ///
    /// # Errors
    /// The file cannot be written: what it claimed before is still listed.
    pub fn write(&self, program: &str, paths: &[PathBuf], claims: &Claims) -> io::Result<()> {
        let mut text = format!(
            "pid {}\nprogram {program}\nnetwork {}\n",
            self.pid,
            network()
        );
        for path in paths {
            // A name may hold anything; a line may not hold its end.
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
        // A copy of this value in the process that only started the one in the
        // background leaves the entry alone.
        if self.pid == std::process::id() {
            remove(&self.socket);
        }
    }
}

/// Enters a supervisor or its role, and gives the socket that it can be reached
/// at.
pub(crate) fn enter(
    kind: Kind<'_>,
    program: &str,
    paths: &[PathBuf],
    claims: &Claims,
) -> Result<(Entry, OwnedFd), DirectoryError> {
    enter_in(&path(), kind, program, paths, claims)
}

/// Runs a step while no other process can enter, or claim anything, in the directory of
/// this user. The step gets the directory and everything in it that lives.
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

/// Takes the lock on a directory, which ends with the process; None where another one has it.
///
/// # Errors
/// The system's.
pub(crate) fn lock(directory: &Path) -> rustix::io::Result<Option<Lock>> {
    match locked(directory, FlockOperation::NonBlockingLockExclusive) {
        Ok(fd) => Ok(Some(Lock(fd))),
        Err(Errno::WOULDBLOCK) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// The same as [`enter`] in a directory of which the place is known.
pub(crate) fn enter_in(
    directory: &Path,
    kind: Kind<'_>,
    program: &str,
    paths: &[PathBuf],
    claims: &Claims,
) -> Result<(Entry, OwnedFd), DirectoryError> {
    prepare(directory)?;
    // For what dead ones left behind.
    instances_in(directory, kind)?;
    let _lock = Lock::take(directory, FlockOperation::LockExclusive)?;
    enter_locked(directory, kind, program, paths, claims)
}

/// The same as [`enter_in`] within [`exclusively`].
pub(crate) fn enter_locked(
    directory: &Path,
    kind: Kind<'_>,
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

/// The name with which a socket is bound, before [`name_socket`] renames it.
fn bound_name(pid: u32, network: u64, kind: Kind<'_>) -> String {
    format!(".{pid}-{network}.{}", kind.extension())
}

/// It gets its name when it listens: one that does not is taken by others that
/// start for what a dead supervisor left behind.
fn open_socket(
    directory: &Path,
    kind: Kind<'_>,
    pid: u32,
) -> Result<(PathBuf, OwnedFd), DirectoryError> {
    let failed = |path: &Path, errno| DirectoryError::Socket(path.into(), errno);
    let beside = directory.join(bound_name(pid, network(), kind));
    // Of a process of the same id that was killed in these few lines.
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
    kind: Kind<'_>,
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
