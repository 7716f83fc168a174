//! Sends netlink requests, one by one or in batches, and collects the responses.

use super::KernelError;
use super::message::{
    Attributes, HEADER, INET, INET6, Incoming, Messages, NetlinkMessage, flag, kind, text, u32_at,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with,
    sockopt,
};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

/// Maximum wait for a response. The kernel normally responds before the request returns, so this
/// only guards against the impossible.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// Maximum number of times a table is listed again because it changed meanwhile.
const LISTED_AT_MOST: u32 = 10;

/// Number of requests per send: their responses must fit the receive buffer.
const BATCH_MESSAGES: usize = 64;

/// Size of the receive buffer in bytes, for the responses of a batch and for bursts of
/// notifications.
const RECEIVE_BUFFER: usize = 1 << 20;

/// Size of the read buffer, bytes; the kernel's datagrams are at most half of it.
const READ_BYTES: usize = 64 * 1024;

/// Maximum number of unrelated datagrams that one request ignores.
const STRAY_AT_MOST: u32 = 4096;

const SOL_NETLINK: i32 = 270;
const NETLINK_ADD_MEMBERSHIP: i32 = 1;
const NETLINK_CAP_ACK: i32 = 10;
const NETLINK_EXT_ACK: i32 = 11;
const NETLINK_GET_STRICT_CHK: i32 = 12;

/// Attribute with the kernel's message in an extended acknowledgement.
const ACK_WORDS: u16 = 1;

#[derive(Debug)]
pub(super) struct NetlinkSocket {
    fd: OwnedFd,
    sequence: u32,
    buffer: Vec<u8>,
}

impl NetlinkSocket {
    /// Opens a socket of a netlink protocol; None: rtnetlink.
    pub fn open(protocol: Option<rustix::net::Protocol>) -> Result<NetlinkSocket, KernelError> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let fd = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, protocol)?;
        rustix::net::bind(&fd, &netlink::SocketAddrNetlink::new(0, 0))?;
        // Tries to exceed the system's limit, which a privileged process may; others get at most
        // the limit.
        if sockopt::set_socket_recv_buffer_size_force(&fd, RECEIVE_BUFFER).is_err() {
            sockopt::set_socket_recv_buffer_size(&fd, RECEIVE_BUFFER)?;
        }
        let socket = NetlinkSocket {
            fd,
            sequence: 0,
            buffer: vec![0; READ_BYTES],
        };
        // Ignores errors: older kernels lack some of these options, and their refusals have no
        // message.
        let _ = socket.option(NETLINK_EXT_ACK, 1);
        let _ = socket.option(NETLINK_CAP_ACK, 1);
        let _ = socket.option(NETLINK_GET_STRICT_CHK, 1);
        Ok(socket)
    }

    pub fn join(&self, group: u32) -> Result<(), KernelError> {
        let group = i32::try_from(group).map_err(|_| Errno::INVAL)?;
        self.option(NETLINK_ADD_MEMBERSHIP, group)
            .map_err(KernelError::Socket)
    }

    fn option(&self, name: i32, value: i32) -> std::io::Result<()> {
        let length = std::mem::size_of::<i32>() as libc::socklen_t;
        // SAFETY: the descriptor is open, and value is an int that lives through the call, whose
        // size is given.
        let done = unsafe {
            libc::setsockopt(
                self.fd.as_raw_fd(),
                SOL_NETLINK,
                name,
                std::ptr::from_ref(&value).cast(),
                length,
            )
        };
        if done == 0 {
            Ok(())
        } else {
            Err(std::io::Error::last_os_error())
        }
    }

    pub fn batch(
        &mut self,
        request: &'static str,
        messages: &mut [NetlinkMessage],
    ) -> Vec<Result<(), KernelError>> {
        let mut results = Vec::with_capacity(messages.len());
        for some in messages.chunks_mut(BATCH_MESSAGES) {
            results.extend(self.chunk(request, some));
        }
        results
    }

    pub fn one(
        &mut self,
        request: &'static str,
        message: NetlinkMessage,
    ) -> Result<(), KernelError> {
        let lost = KernelError::NoAnswer {
            request,
            waited: Duration::ZERO,
        };
        self.batch(request, &mut [message])
            .pop()
            .unwrap_or(Err(lost))
    }

    fn chunk(
        &mut self,
        request: &'static str,
        messages: &mut [NetlinkMessage],
    ) -> Vec<Result<(), KernelError>> {
        let first = self.sequence.wrapping_add(1);
        let mut bytes = Vec::new();
        for message in messages.iter_mut() {
            self.sequence = self.sequence.wrapping_add(1);
            bytes.extend_from_slice(message.finish(self.sequence));
        }
        let mut answers: Vec<Option<Result<(), KernelError>>> =
            messages.iter().map(|_| None).collect();
        let began = Instant::now();
        if let Err(errno) = self.send(&bytes, began) {
            return answers
                .iter()
                .map(|_| Err(KernelError::from(errno)))
                .collect();
        }
        let mut open = answers.len();
        let mut stray = 0;
        while open > 0 && stray < STRAY_AT_MOST {
            let Ok(length) = self.receive(began) else {
                break;
            };
            stray += 1;
            for message in Messages(self.buffer.get(..length).unwrap_or(&[])) {
                let place = message.sequence.wrapping_sub(first) as usize;
                let Some(answer) = answers.get_mut(place) else {
                    continue;
                };
                if message.kind == kind::ERROR && answer.is_none() {
                    *answer = Some(acknowledged(request, &message));
                    open -= 1;
                }
            }
        }
        let waited = began.elapsed();
        let lost = || Err(KernelError::NoAnswer { request, waited });
        answers
            .into_iter()
            .map(|a| a.unwrap_or_else(lost))
            .collect()
    }

    /// Sends the messages as one nftables transaction, of which the first one is the begin and the
    /// last one the end: either all take effect or none. Fails with the first refusal.
    pub fn transaction(
        &mut self,
        request: &'static str,
        messages: &mut [NetlinkMessage],
    ) -> Result<(), KernelError> {
        let last = messages.len().saturating_sub(2);
        self.send_whole(request, messages, last)
    }

    /// Sends an nftables transaction without its end: the kernel validates all messages, loads the
    /// modules that they need, and drops the transaction. Fails with the first refusal.
    pub fn trial(
        &mut self,
        request: &'static str,
        messages: &mut [NetlinkMessage],
    ) -> Result<(), KernelError> {
        let last = messages.len().saturating_sub(1);
        self.send_whole(request, messages, last)
    }

    /// Sends the messages at once, and waits for the first refusal, or for the acknowledgement of
    /// the message at index `last`.
    fn send_whole(
        &mut self,
        request: &'static str,
        messages: &mut [NetlinkMessage],
        last: usize,
    ) -> Result<(), KernelError> {
        let began = Instant::now();
        let first = self.sequence.wrapping_add(1);
        let mut bytes = Vec::new();
        for (place, message) in messages.iter_mut().enumerate() {
            self.sequence = self.sequence.wrapping_add(1);
            if place == last {
                message.acknowledge();
            }
            bytes.extend_from_slice(message.finish(self.sequence));
        }
        let room = bytes.len().saturating_mul(2).max(RECEIVE_BUFFER);
        if sockopt::set_socket_send_buffer_size_force(&self.fd, room).is_err() {
            sockopt::set_socket_send_buffer_size(&self.fd, room)?;
        }
        self.send(&bytes, began)?;
        for _ in 0..STRAY_AT_MOST {
            let Ok(length) = self.receive(began) else {
                break;
            };
            for message in Messages(self.buffer.get(..length).unwrap_or(&[])) {
                let place = message.sequence.wrapping_sub(first) as usize;
                if message.kind != kind::ERROR || place >= messages.len() {
                    continue;
                }
                acknowledged(request, &message)?;
                if place == last {
                    return Ok(());
                }
            }
        }
        Err(KernelError::NoAnswer {
            request,
            waited: began.elapsed(),
        })
    }

    /// Lists a table: each response is passed to `each`, which returns what to keep.
    pub fn dump<T>(
        &mut self,
        request: &'static str,
        mut message: NetlinkMessage,
        each: impl Fn(&Incoming<'_>) -> Option<T>,
    ) -> Result<Vec<T>, KernelError> {
        for _ in 0..LISTED_AT_MOST {
            self.sequence = self.sequence.wrapping_add(1);
            let began = Instant::now();
            let bytes = message.finish(self.sequence).to_vec();
            self.send(&bytes, began)?;
            if let Some(all) = self.listed(request, began, &each)? {
                return Ok(all);
            }
        }
        Err(KernelError::NeverStill { request })
    }

    /// Lists a table of which each family has its own; `N` is the length of the header that begins
    /// with the family.
    pub fn dump_of_families<T, const N: usize>(
        &mut self,
        request: &'static str,
        get: u16,
        new: u16,
        read: impl Fn(&Incoming<'_>) -> Option<T>,
    ) -> Result<Vec<T>, KernelError> {
        let mut all = Vec::new();
        for family in [INET, INET6] {
            let mut body = [0; N];
            if let Some(first) = body.first_mut() {
                *first = family;
            }
            let ask = NetlinkMessage::new(get, flag::REQUEST | flag::DUMP, &body);
            let each = |m: &Incoming<'_>| m.read_as(new, &read);
            match self.dump(request, ask, each) {
                Ok(some) => all.extend(some),
                // Skips the family: a kernel without IPv6 has no such table.
                Err(KernelError::Refused {
                    errno: Errno::OPNOTSUPP | Errno::AFNOSUPPORT,
                    ..
                }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(all)
    }

    /// Collects the responses of one listing; None if the table changed meanwhile or responses were
    /// lost.
    fn listed<T>(
        &mut self,
        request: &'static str,
        began: Instant,
        each: &impl Fn(&Incoming<'_>) -> Option<T>,
    ) -> Result<Option<Vec<T>>, KernelError> {
        let mut all = Vec::new();
        let mut still = true;
        loop {
            let length = match self.receive(began) {
                Ok(length) => length,
                Err(Errno::NOBUFS) => return Ok(None),
                Err(Errno::TIMEDOUT) => {
                    return Err(KernelError::NoAnswer {
                        request,
                        waited: began.elapsed(),
                    });
                }
                Err(errno) => return Err(errno.into()),
            };
            for message in Messages(self.buffer.get(..length).unwrap_or(&[])) {
                if message.sequence != self.sequence {
                    continue;
                }
                still &= message.flags & flag::DUMP_INTERRUPTED == 0;
                match message.kind {
                    kind::DONE | kind::ERROR => {
                        acknowledged(request, &message)?;
                        return Ok(still.then_some(all));
                    }
                    kind::OVERRUN => still = false,
                    _ => all.extend(each(&message)),
                }
            }
        }
    }

    /// Requests a single object, and returns the response; an error if the kernel has no such
    /// object.
    pub fn get<T>(
        &mut self,
        request: &'static str,
        mut message: NetlinkMessage,
        each: impl Fn(&Incoming<'_>) -> Option<T>,
    ) -> Result<T, KernelError> {
        self.sequence = self.sequence.wrapping_add(1);
        let began = Instant::now();
        let bytes = message.finish(self.sequence).to_vec();
        self.send(&bytes, began)?;
        for _ in 0..STRAY_AT_MOST {
            let Ok(length) = self.receive(began) else {
                break;
            };
            for message in Messages(self.buffer.get(..length).unwrap_or(&[])) {
                if message.sequence != self.sequence {
                    continue;
                }
                if message.kind == kind::ERROR {
                    acknowledged(request, &message)?;
                } else if let Some(found) = each(&message) {
                    return Ok(found);
                }
            }
        }
        Err(KernelError::NoAnswer {
            request,
            waited: began.elapsed(),
        })
    }

    fn send(&self, bytes: &[u8], began: Instant) -> Result<(), Errno> {
        loop {
            match send(&self.fd, bytes, SendFlags::NOSIGNAL) {
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN | Errno::NOBUFS) => self.wait(PollFlags::OUT, began)?,
                Err(errno) => return Err(errno),
            }
        }
    }

    fn receive(&mut self, began: Instant) -> Result<usize, Errno> {
        loop {
            match recv(&self.fd, &mut self.buffer[..], RecvFlags::DONTWAIT) {
                Ok((length, _)) => return Ok(length),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => self.wait(PollFlags::IN, began)?,
                Err(errno) => return Err(errno),
            }
        }
    }

    fn wait(&self, events: PollFlags, began: Instant) -> Result<(), Errno> {
        let left = ANSWER_WITHIN
            .checked_sub(began.elapsed())
            .ok_or(Errno::TIMEDOUT)?;
        let timeout = Timespec::try_from(left).map_err(|_| Errno::INVAL)?;
        let mut polled = [PollFd::new(&self.fd, events)];
        match poll(&mut polled, Some(&timeout)) {
            Ok(0) => Err(Errno::TIMEDOUT),
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(errno) => Err(errno),
        }
    }

    /// Returns the next datagram, or `None` if there is none now; never waits.
    ///
    /// # Errors
    /// `recv` errors other than `EAGAIN` and `EINTR`; `ENOBUFS` after a buffer overrun.
    pub fn try_receive(&mut self) -> Result<Option<&[u8]>, Errno> {
        loop {
            match recv(&self.fd, &mut self.buffer[..], RecvFlags::DONTWAIT) {
                Ok((length, _)) => return Ok(self.buffer.get(..length)),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(None),
                Err(errno) => return Err(errno),
            }
        }
    }
}

impl AsFd for NetlinkSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn acknowledged(request: &'static str, message: &Incoming<'_>) -> Result<(), KernelError> {
    let code = u32_at(message.body, 0).unwrap_or(0).cast_signed();
    if code == 0 {
        return Ok(());
    }
    let errno = Errno::from_raw_os_error(code.unsigned_abs().cast_signed());
    let mut words = String::new();
    if message.flags & flag::ACK_ATTRIBUTES != 0 {
        // Skips what follows the error: the header of the request, and its body unless the kernel
        // says that it omitted the body. The end of a listing has neither.
        let skipped = match message.kind {
            kind::DONE => 4,
            _ if message.flags & flag::CAPPED != 0 => 4 + HEADER,
            _ => 4 + u32_at(message.body, 4).unwrap_or(0) as usize,
        };
        let attributes = message
            .body
            .get(skipped.next_multiple_of(4)..)
            .unwrap_or(&[]);
        words = Attributes(attributes)
            .find(ACK_WORDS)
            .map(text)
            .unwrap_or_default();
    }
    Err(KernelError::Refused {
        request,
        errno,
        words,
    })
}
