//! Implements the commands about the process: loaded configurations, threads, memory pools,
//! descriptors.

use super::{Context, Session};
use model::log::clf_date;
use model::transaction::Endpoint;
use rustix::fd::{BorrowedFd, RawFd};
use std::fmt::Write;
use std::net::SocketAddr;
use std::time::SystemTime;

const DESCRIPTORS_MAX: u64 = 1 << 20;

/// `show configuration`: the configurations still in use, the newest last.
pub fn configuration(context: &Context, _: &mut Session, _: &[&str]) -> String {
    let mut out = String::from("# version since age connections newest\n");
    let now = SystemTime::now();
    for version in context.runtime.versions() {
        let age = now.duration_since(version.since).unwrap_or_default();
        // Writing to a string cannot fail.
        let _ = writeln!(
            out,
            "{} {} {}s {} {}",
            version.number,
            clf_date(version.since),
            age.as_secs(),
            version.connections,
            if version.newest { "yes" } else { "no" },
        );
    }
    out
}

/// `show activity`: the sum of each field, then its value on each thread.
pub fn activity(context: &Context, _: &mut Session, _: &[&str]) -> String {
    let threads = context.runtime.threads();
    let loads: Vec<usize> = (0..threads).map(reactor::load).collect();
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let each: String = loads.iter().map(|load| format!("{load} ")).collect();
    format!(
        "thread_id: 0 (1..{threads})\ndate_now: {}.{:06}\ntasks: {} [ {each}]\n\
         tasks_refused: {}\ntasks_panicked: {}\nlogs_dropped: {}\n",
        now.as_secs(),
        now.subsec_micros(),
        loads.iter().sum::<usize>(),
        reactor::refused_tasks(),
        reactor::panics(),
        model::log::dropped(),
    )
}

/// `show pools`: the only pool is that of buffers, and each thread has its own.
pub fn pools(_: &Context, _: &mut Session, _: &[&str]) -> String {
    format!(
        "Memory comes from the system allocator; each thread keeps buffers for reuse.\n  \
         - Pool buffer ({} bytes)\n",
        reactor::buffer_size()
    )
}

/// `show fd [num]`: the open descriptors and their types.
pub fn descriptors(context: &Context, _: &Session, words: &[&str]) -> String {
    let wanted = words.get(2).map(|word| word.parse::<RawFd>());
    let most = context.runtime.files_max.min(DESCRIPTORS_MAX) as RawFd;
    let mut out = String::new();
    match wanted {
        Some(Ok(fd)) => descriptor(&mut out, fd),
        Some(Err(_)) | None => (0..most).for_each(|fd| descriptor(&mut out, fd)),
    }
    out
}

fn descriptor(out: &mut String, number: RawFd) {
    if number < 0 {
        return;
    }
    // SAFETY: the descriptor is only used to read its type and addresses; a number that is not
    // open, or is closed meanwhile, gives EBADF.
    let fd = unsafe { BorrowedFd::borrow_raw(number) };
    let Ok(stat) = rustix::fs::fstat(fd) else {
        return;
    };
    use rustix::fs::FileType;
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Socket => return socket(out, number, fd),
        FileType::RegularFile => "file",
        FileType::Directory => "directory",
        FileType::CharacterDevice => "device",
        FileType::Fifo => "pipe",
        _ => "event",
    };
    // Writing to a string cannot fail.
    let _ = writeln!(out, "{number:7} : type={kind}");
}

fn socket(out: &mut String, number: RawFd, fd: BorrowedFd<'_>) {
    use rustix::net::sockopt;
    let listens = sockopt::socket_acceptconn(fd).unwrap_or(false);
    let address = |address: Result<rustix::net::SocketAddrAny, _>| {
        let endpoint = address
            .ok()
            .and_then(|address| SocketAddr::try_from(address).ok())
            .map_or(Endpoint::Unix, Endpoint::Inet);
        match endpoint {
            Endpoint::Inet(address) => address.to_string(),
            Endpoint::Unix => "unix".into(),
        }
    };
    let own = address(rustix::net::getsockname(fd));
    let _ = if listens {
        writeln!(out, "{number:7} : type=listener addr={own}")
    } else {
        match rustix::net::getpeername(fd) {
            Ok(Some(peer)) => {
                let peer = address(Ok::<_, rustix::io::Errno>(peer));
                writeln!(out, "{number:7} : type=connection addr={own} peer={peer}")
            }
            _ => writeln!(out, "{number:7} : type=socket addr={own}"),
        }
    };
}
