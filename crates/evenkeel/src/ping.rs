//! Implements the program of `track ping`: sends one echo request (ICMP, ICMPv6) to an address and
//! waits for the reply. The address role starts it as a process. The exit code is 0 if a reply
//! arrived in time.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, ipproto};
use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Second argument of the command line, after `internal`.
pub const WORD: &str = "ping";

const WAIT_MAX: Duration = Duration::from_secs(3_600);
const ANSWER_BYTES_MAX: usize = 2_048;
const HEAD_BYTES: usize = 8;
/// Payload of the request, after the 4 bytes of the process ID.
const TEXT: &[u8; 16] = b"are you there ? ";

/// Executes `evenkeel internal ping ADDRESS WAIT_MS`, without the first two words.
pub fn main(words: &[OsString]) -> ExitCode {
    let text = |n: usize| words.get(n).and_then(|word| word.to_str());
    let address = text(0).and_then(|word| word.parse::<IpAddr>().ok());
    let wait_ms = text(1).and_then(|word| word.parse::<u64>().ok());
    let (Some(address), Some(wait_ms)) = (address, wait_ms) else {
        return ExitCode::FAILURE;
    };
    let wait = Duration::from_millis(wait_ms).min(WAIT_MAX);
    match ask(address, wait) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) | Err(_) => ExitCode::FAILURE,
    }
}

/// Constants of ICMP for one address family: `question` and `answer` are the types of echo
/// messages.
struct Family {
    domain: AddressFamily,
    protocol: rustix::net::Protocol,
    question: u8,
    answer: u8,
}

fn family(address: IpAddr) -> Family {
    match address {
        IpAddr::V4(_) => Family {
            domain: AddressFamily::INET,
            protocol: ipproto::ICMP,
            question: 8,
            answer: 0,
        },
        IpAddr::V6(_) => Family {
            domain: AddressFamily::INET6,
            protocol: ipproto::ICMPV6,
            question: 128,
            answer: 129,
        },
    }
}

fn ask(address: IpAddr, wait: Duration) -> Result<bool, Errno> {
    let family = family(address);
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let open = |kind| rustix::net::socket_with(family.domain, kind, flags, Some(family.protocol));
    // Falls back to a datagram socket, by which some systems let unprivileged processes ping.
    let (socket, raw) = match open(SocketType::RAW) {
        Ok(socket) => (socket, true),
        Err(_) => (open(SocketType::DGRAM)?, false),
    };
    rustix::net::connect(&socket, &SocketAddr::new(address, 0))?;
    let number = std::process::id().to_be_bytes();
    let question = question(family.question, number);
    rustix::net::send(&socket, &question, SendFlags::empty())?;
    let behind_ip = raw && address.is_ipv4();
    let is_answer = |packet: &[u8]| {
        let packet = if behind_ip {
            without_ip(packet)
        } else {
            packet
        };
        packet.first() == Some(&family.answer)
            && packet.get(HEAD_BYTES..) == question.get(HEAD_BYTES..)
    };
    answered(&socket, Instant::now() + wait, is_answer)
}

fn answered(
    socket: &OwnedFd,
    until: Instant,
    is_answer: impl Fn(&[u8]) -> bool,
) -> Result<bool, Errno> {
    let mut bytes = [0; ANSWER_BYTES_MAX];
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        let limit = Timespec::try_from(left).unwrap_or_default();
        let mut fds = [PollFd::from_borrowed_fd(socket.as_fd(), PollFlags::IN)];
        match poll(&mut fds, Some(&limit)) {
            Ok(0) => return Ok(false),
            Ok(_) => {}
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error),
        }
        match rustix::net::recv(socket, &mut bytes[..], RecvFlags::empty()) {
            Ok((read, _)) if bytes.get(..read).is_some_and(&is_answer) => return Ok(true),
            Ok(_) | Err(Errno::AGAIN | Errno::INTR) => {}
            // Ends the wait after an error, for example because a router reports the address as
            // unreachable.
            Err(_) => return Ok(false),
        }
    }
}

/// Removes the IPv4 header, which raw sockets include.
fn without_ip(packet: &[u8]) -> &[u8] {
    let length = packet
        .first()
        .map_or(0, |first| usize::from(first & 15) * 4);
    packet.get(length..).unwrap_or_default()
}

/// Builds an echo request with its checksum. For IPv6 the kernel replaces the checksum.
fn question(kind: u8, number: [u8; 4]) -> Vec<u8> {
    let mut packet = vec![kind, 0, 0, 0, number[2], number[3], 0, 1];
    packet.extend_from_slice(&number);
    packet.extend_from_slice(TEXT);
    let sum = packet.chunks(2).fold(0_u32, |sum, pair| {
        let high = u32::from(pair.first().copied().unwrap_or(0)) << 8;
        sum + high + u32::from(pair.get(1).copied().unwrap_or(0))
    });
    let folded = (sum & 0xffff) + (sum >> 16);
    let checksum = !u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap_or(0);
    packet[2..4].copy_from_slice(&checksum.to_be_bytes());
    packet
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ping_request_has_a_valid_checksum() {
        let packet = question(8, [1, 2, 3, 4]);
        let sum: u32 = packet
            .chunks(2)
            .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]))
            .sum();
        assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff);
        assert_eq!(packet.len() % 2, 0);
    }

    #[test]
    fn ping_reaches_local_address_but_no_unused_one() {
        lab::skip_unless_root!();
        assert_eq!(
            ask([127, 0, 0, 1].into(), Duration::from_secs(10)),
            Ok(true)
        );
        let six = std::net::Ipv6Addr::LOCALHOST.into();
        if std::net::TcpListener::bind((six, 0)).is_ok() {
            assert_eq!(ask(six, Duration::from_secs(10)), Ok(true));
        }
    }
}
