//! Reserves ports that no other process of the tests takes between their choice and `listen`.
//!
//! The ports are outside the kernel's ephemeral range where possible, in blocks. A port that the
//! kernel has chosen (port 0) and that was released again can be taken by another test, or by any
//! client that connects meanwhile, which may even connect to itself. A process reserves a block for
//! its lifetime with an abstract Unix socket. Such a socket exists once per network namespace, like
//! a port, and the kernel removes it with the process.

use namespace::LabError;
use std::collections::HashSet;
use std::io;
use std::ops::{Range, RangeInclusive};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::sync::{Mutex, PoisonError};

/// Lowest port; lower ones belong to named services.
const LOWEST: u16 = 10_240;
const BLOCK_PORTS: u16 = 32;
/// Minimum number of ports between [`LOWEST`] and the kernel's range. With fewer, ports from the
/// kernel's range are used, too: the blocks then at least keep tests apart.
const ENOUGH_PORTS: u16 = 4_096;
/// Range below 1024 that few services use.
const PRIVILEGED: Range<u16> = 704..992;
/// Assumed range of the kernel if it cannot be read.
const USUAL_RANGE: RangeInclusive<u16> = 32_768..=60_999;
const RANGE_FILE: &str = "/proc/sys/net/ipv4/ip_local_port_range";

/// Returns a port that no TCP or UDP socket has now, and that no other caller of this function gets
/// while this process lives. Each call returns another port.
pub fn free_port() -> Result<u16, LabError> {
    static OWN: Mutex<Option<Ports>> = Mutex::new(None);
    reserve_port(&OWN, || outside_of(&kernels_range()))
}

/// Returns a reserved port below 1024, as [`free_port`] does. Only root may listen there.
pub fn free_privileged_port() -> Result<u16, LabError> {
    static OWN: Mutex<Option<Ports>> = Mutex::new(None);
    reserve_port(&OWN, || PRIVILEGED)
}

fn reserve_port(
    own: &Mutex<Option<Ports>>,
    range: impl Fn() -> Range<u16>,
) -> Result<u16, LabError> {
    let mut own = own.lock().unwrap_or_else(PoisonError::into_inner);
    let ports = own.get_or_insert_with(|| Ports::within(range()));
    ports
        .next_port()
        .map_err(LabError::io("look for", "a free port"))
}

/// Ports that a process has reserved.
struct Ports {
    lowest: u16,
    blocks: u16,
    /// Next block to try, and number of blocks tried.
    block: u16,
    tried: u16,
    /// Unused ports of the newest block.
    left: Vec<u16>,
    /// Sockets that reserve the blocks until the process ends.
    claims: Vec<UnixListener>,
}

impl Ports {
    fn within(range: Range<u16>) -> Ports {
        let blocks = (range.end - range.start) / BLOCK_PORTS;
        // Begins at a block that differs between consecutive processes: the kernel may still block
        // ports that a previous process used.
        let begin = std::process::id().wrapping_mul(7) % u32::from(blocks);
        Ports {
            lowest: range.start,
            blocks,
            block: u16::try_from(begin).unwrap_or(0),
            tried: 0,
            left: Vec::new(),
            claims: Vec::new(),
        }
    }

    fn next_port(&mut self) -> io::Result<u16> {
        loop {
            match self.left.pop() {
                Some(port) => return Ok(port),
                None => self.claim()?,
            }
        }
    }

    /// Reserves the next block that no process has reserved, and collects its unused ports.
    fn claim(&mut self) -> io::Result<()> {
        while self.tried < self.blocks {
            let block = self.block;
            self.block = (block + 1) % self.blocks;
            self.tried += 1;
            let name = format!("evenkeel-lab-ports-{}-{block}", self.lowest);
            match UnixListener::bind_addr(&SocketAddr::from_abstract_name(name)?) {
                Ok(claim) => {
                    let first = self.lowest + block * BLOCK_PORTS;
                    let taken = taken()?;
                    self.left = (first..first + BLOCK_PORTS).rev().collect();
                    self.left.retain(|port| !taken.contains(port));
                    self.claims.push(claim);
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::ErrorKind::AddrNotAvailable.into())
    }
}

/// Returns the ports of all sockets, because a program that does not use this module may have one.
/// The ports are looked up and not tried: a trial socket lives on in every child that is just
/// starting.
fn taken() -> io::Result<HashSet<u16>> {
    let mut ports = HashSet::new();
    for table in ["tcp", "tcp6", "udp", "udp6"] {
        let sockets = match std::fs::read_to_string(format!("/proc/thread-self/net/{table}")) {
            // Skips the tables of IPv6 if they do not exist: then no process can have a port there.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            sockets => sockets?,
        };
        // Reads the local address of each line, after a header line: number, local address, remote
        // address and so on.
        let locals = sockets
            .lines()
            .filter_map(|line| line.split_whitespace().nth(1));
        let local = locals.filter_map(|address| address.rsplit_once(':'));
        ports.extend(local.filter_map(|(_, port)| u16::from_str_radix(port, 16).ok()));
    }
    Ok(ports)
}

/// Returns the kernel's ephemeral range.
fn kernels_range() -> RangeInclusive<u16> {
    let text = std::fs::read_to_string(RANGE_FILE).unwrap_or_default();
    let mut words = text.split_whitespace().map(str::parse);
    match (words.next(), words.next()) {
        (Some(Ok(first)), Some(Ok(last))) => first..=last,
        _ => USUAL_RANGE,
    }
}

/// Returns the range that ports are taken from.
fn outside_of(ephemeral: &RangeInclusive<u16>) -> Range<u16> {
    let (first, last) = (*ephemeral.start(), *ephemeral.end());
    if first.saturating_sub(LOWEST) >= ENOUGH_PORTS {
        LOWEST..first
    } else if u16::MAX - last >= ENOUGH_PORTS {
        last.max(LOWEST) + 1..u16::MAX
    } else {
        LOWEST..u16::MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, UdpSocket};
    use std::process::Command;
    use std::sync::atomic::{AtomicBool, Ordering};

    #[test]
    fn a_port_is_handed_out_once_and_to_no_client() {
        let ephemeral = kernels_range();
        let ports: Vec<u16> = (0..100).map(|_| free_port().unwrap()).collect();
        let different: HashSet<&u16> = ports.iter().collect();
        assert_eq!(different.len(), ports.len());
        if outside_of(&ephemeral) != (LOWEST..u16::MAX) {
            assert!(ports.iter().all(|port| !ephemeral.contains(port)));
        }
    }

    #[test]
    fn ports_are_given_to_one_owner() {
        for range in [outside_of(&kernels_range()), PRIVILEGED] {
            let mut one = Ports::within(range.clone());
            let mut other = Ports::within(range);
            let ports = |from: &mut Ports| -> HashSet<u16> {
                (0..80).map(|_| from.next_port().unwrap()).collect()
            };
            assert!(ports(&mut one).is_disjoint(&ports(&mut other)));
        }
    }

    #[test]
    fn a_port_can_be_listened_at_while_children_are_started() {
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !done.load(Ordering::Relaxed) {
                        // Starts children, which have our open sockets until they execute another
                        // program.
                        assert!(Command::new("true").status().unwrap().success());
                    }
                });
            }
            for _ in 0..200 {
                let at = (Ipv4Addr::LOCALHOST, free_port().unwrap());
                let heard = TcpListener::bind(at).and(UdpSocket::bind(at));
                done.fetch_or(heard.is_err(), Ordering::Relaxed);
                heard.unwrap();
            }
            done.store(true, Ordering::Relaxed);
        });
    }

    #[test]
    fn port_in_use_is_skipped() {
        let (one, two) = (free_port().unwrap(), free_port().unwrap());
        let _listens = TcpListener::bind((Ipv4Addr::LOCALHOST, one)).unwrap();
        let _hears = UdpSocket::bind((Ipv6Addr::LOCALHOST, two)).unwrap();
        let taken = taken().unwrap();
        assert!(taken.contains(&one) && taken.contains(&two));

        let mut ports = Ports::within(outside_of(&kernels_range()));
        let first = ports.next_port().unwrap();
        let others: Vec<u16> = (first + 1..first + BLOCK_PORTS)
            .filter(|port| !taken.contains(port))
            .collect();
        assert!(ports.left.iter().rev().eq(&others));
    }

    #[test]
    fn ports_lie_outside_of_the_kernels_range_where_there_is_room() {
        for (range, wanted) in [
            (32_768..=60_999, LOWEST..32_768),
            (1_024..=50_000, 50_001..u16::MAX),
            (1_024..=65_000, LOWEST..u16::MAX),
            (12_000..=65_535, LOWEST..u16::MAX),
            (1..=2_000, LOWEST + 1..u16::MAX),
        ] {
            assert_eq!(outside_of(&range), wanted, "{range:?}");
        }
    }
}
