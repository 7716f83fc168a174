//! Makes one attempt of a guest's health check, on a non-blocking socket in the role's epoll set.

use super::agent::{AgentCommand, AgentStep, Conversation};
use super::echo::Echo;
use crate::announce;
use crate::config::Probe;
use rustix::event::epoll::EventFlags;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::sockopt::socket_error;
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
    connect, ipproto, recv, send, socket_with,
};
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

const PIECE_BYTES: usize = 4 << 10;
const PIECES_MAX: usize = 32;

/// Sockets and network of a guest that its check uses.
#[derive(Clone, Copy, Debug)]
pub struct CheckTarget<'a> {
    pub agent: &'a Path,
    /// Bridge of the guest's first card, for link-local addresses; empty: no card.
    pub bridge: &'a str,
}

#[derive(Debug)]
pub struct Attempt {
    socket: OwnedFd,
    kind: AttemptKind,
}

#[derive(Debug)]
enum AttemptKind {
    Tcp,
    /// ICMP echo request. `is_raw`: IPv4 packets are received with their header.
    Ping {
        echo: Echo,
        is_raw: bool,
    },
    Agent(Conversation),
}

impl Attempt {
    /// Starts an attempt. `number` has to differ from those of recent attempts.
    ///
    /// # Errors
    /// The socket cannot be created or connected, or the first bytes cannot be sent.
    pub fn begin(probe: &Probe, target: CheckTarget<'_>, number: u64) -> Result<Attempt, String> {
        match probe {
            Probe::Tcp { at, port } => tcp(address(*at, *port, target)),
            Probe::Ping(at) => ping(address(*at, 0, target), number),
            Probe::Agent => Attempt::agent(target.agent, AgentCommand::Ping, number),
        }
    }

    /// Starts a command of the guest agent on its socket. `number` has to be unique among all
    /// conversations with the agent.
    ///
    /// # Errors
    /// Another program uses the guest agent, its socket cannot be connected, or the first bytes
    /// cannot be sent.
    pub fn agent(path: &Path, command: AgentCommand, number: u64) -> Result<Attempt, String> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None);
        let socket = socket.map_err(reason)?;
        let address = SocketAddrUnix::new(path).map_err(reason)?;
        match connect(&socket, &address) {
            Ok(()) => {}
            Err(Errno::AGAIN) => return Err("another program uses the guest agent".to_owned()),
            Err(errno) => {
                let words = reason(errno);
                return Err(format!("the socket of the guest agent: {words}"));
            }
        }
        let (conversation, first) = Conversation::begin(command, number);
        send_bytes(socket.as_fd(), &first)?;
        Ok(Attempt {
            socket,
            kind: AttemptKind::Agent(conversation),
        })
    }

    pub fn is_synced(&self) -> bool {
        matches!(&self.kind, AttemptKind::Agent(conversation) if conversation.is_synced())
    }

    pub fn poll_result(&mut self) -> Option<Result<(), String>> {
        match &mut self.kind {
            AttemptKind::Tcp => is_connected(self.socket.as_fd()),
            AttemptKind::Ping { echo, is_raw } => receive_echo(self.socket.as_fd(), *echo, *is_raw),
            AttemptKind::Agent(conversation) => converse(self.socket.as_fd(), conversation),
        }
    }

    pub fn watched(&self) -> (BorrowedFd<'_>, EventFlags) {
        let flags = match self.kind {
            AttemptKind::Tcp => EventFlags::OUT,
            AttemptKind::Ping { .. } | AttemptKind::Agent(_) => EventFlags::IN,
        };
        (self.socket.as_fd(), flags)
    }
}

fn address(at: IpAddr, port: u16, target: CheckTarget<'_>) -> SocketAddr {
    match at {
        IpAddr::V6(at) if at.is_unicast_link_local() => {
            let interface = announce::interface(target.bridge);
            SocketAddrV6::new(at, port, 0, interface).into()
        }
        at => SocketAddr::new(at, port),
    }
}

fn socket_of(
    address: SocketAddr,
    kind: SocketType,
    protocol: Option<Protocol>,
) -> Result<OwnedFd, Errno> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    socket_with(family, kind, flags, protocol)
}

fn reason(errno: Errno) -> String {
    match errno {
        Errno::CONNREFUSED => "connection refused".to_owned(),
        Errno::CONNRESET => "connection reset".to_owned(),
        Errno::HOSTUNREACH => "no route to the guest, or it does not respond to ARP".to_owned(),
        Errno::NETUNREACH => "no route to the guest".to_owned(),
        errno => std::io::Error::from(errno).to_string(),
    }
}

fn tcp(address: SocketAddr) -> Result<Attempt, String> {
    let socket = socket_of(address, SocketType::STREAM, None).map_err(reason)?;
    match connect(&socket, &address) {
        Ok(()) | Err(Errno::INPROGRESS | Errno::INTR) => Ok(Attempt {
            socket,
            kind: AttemptKind::Tcp,
        }),
        Err(errno) => Err(reason(errno)),
    }
}

fn is_connected(socket: BorrowedFd<'_>) -> Option<Result<(), String>> {
    let mut watched = [PollFd::from_borrowed_fd(socket, PollFlags::OUT)];
    let at_once = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    if !matches!(poll(&mut watched, Some(&at_once)), Ok(1..)) {
        return None;
    }
    Some(match socket_error(socket) {
        Ok(Ok(())) => Ok(()),
        Ok(Err(errno)) | Err(errno) => Err(reason(errno)),
    })
}

/// Sends an echo request. The kernel gives ICMP datagram sockets only to the groups of
/// `ping_group_range`. A raw socket needs CAP_NET_RAW, which the role has.
fn ping(address: SocketAddr, number: u64) -> Result<Attempt, String> {
    let is_ipv6 = address.is_ipv6();
    let protocol = Some(if is_ipv6 {
        ipproto::ICMPV6
    } else {
        ipproto::ICMP
    });
    let (socket, is_raw) = match socket_of(address, SocketType::DGRAM, protocol) {
        Ok(socket) => (socket, false),
        Err(_) => {
            let raw = socket_of(address, SocketType::RAW, protocol);
            let raw = raw.map_err(|errno| format!("cannot open an ICMP socket: {errno}"))?;
            (raw, true)
        }
    };
    // Connects the socket, which then receives only packets from this source, and the network's
    // errors about it.
    connect(&socket, &address).map_err(reason)?;
    // Mixes the process ID in, so that two roles use different identifiers.
    let id = (number >> 16) as u16 ^ std::process::id() as u16;
    let echo = Echo {
        is_ipv6,
        id: is_raw.then_some(id),
        sequence: number as u16,
    };
    match send(&socket, &echo.request(), SendFlags::DONTWAIT) {
        Ok(_) | Err(Errno::INTR | Errno::AGAIN) => {}
        Err(errno) => return Err(reason(errno)),
    }
    Ok(Attempt {
        socket,
        kind: AttemptKind::Ping { echo, is_raw },
    })
}

fn receive_echo(socket: BorrowedFd<'_>, echo: Echo, is_raw: bool) -> Option<Result<(), String>> {
    let mut bytes = [0; PIECE_BYTES];
    for _ in 0..PIECES_MAX {
        match recv(socket, &mut bytes, RecvFlags::DONTWAIT) {
            Ok((count, _)) => {
                let packet = bytes.get(..count).unwrap_or_default();
                if echo.is_reply(packet, is_raw) {
                    return Some(Ok(()));
                }
            }
            Err(Errno::AGAIN) => return None,
            Err(Errno::INTR) => {}
            Err(errno) => return Some(Err(reason(errno))),
        }
    }
    None
}

fn send_bytes(socket: BorrowedFd<'_>, bytes: &[u8]) -> Result<(), String> {
    match send(socket, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
        Ok(count) if count == bytes.len() => Ok(()),
        Ok(_) | Err(Errno::AGAIN) => Err("the guest agent takes no commands".to_owned()),
        Err(errno) => Err(reason(errno)),
    }
}

fn converse(socket: BorrowedFd<'_>, conversation: &mut Conversation) -> Option<Result<(), String>> {
    let mut bytes = [0; PIECE_BYTES];
    for _ in 0..PIECES_MAX {
        let piece = match recv(socket, &mut bytes, RecvFlags::DONTWAIT) {
            Ok((0, _)) => return Some(Err("QEMU closed the socket of the agent".to_owned())),
            Ok((count, _)) => bytes.get(..count).unwrap_or_default(),
            Err(Errno::AGAIN) => return None,
            Err(Errno::INTR) => continue,
            Err(errno) => return Some(Err(reason(errno))),
        };
        match conversation.take(piece) {
            AgentStep::Wait => {}
            AgentStep::Send(bytes) => {
                if let Err(words) = send_bytes(socket, &bytes) {
                    return Some(Err(words));
                }
            }
            AgentStep::Well => return Some(Ok(())),
            AgentStep::Failed(words) => return Some(Err(words)),
        }
    }
    None
}
