//! Moves the role into its network namespace (`net_namespace`).

use rustix::fs::{Mode, OFlags};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::io;

const NAMESPACES: &str = "/run/netns";

/// Moves the calling thread into the namespace. Threads and programs that it starts
/// afterwards inherit it.
///
/// # Errors
/// The name is not a file name, the namespace does not exist, or the process lacks
/// CAP_SYS_ADMIN.
pub fn enter(name: &str) -> io::Result<()> {
    if name.is_empty() || name.contains('/') || name == ".." {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let fd = rustix::fs::open(format!("{NAMESPACES}/{name}"), flags, Mode::empty())?;
    use rustix::fd::AsFd;
    move_into_link_name_space(fd.as_fd(), Some(LinkNameSpaceType::Network))?;
    Ok(())
}
