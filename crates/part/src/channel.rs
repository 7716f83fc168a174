//! Sends and receives messages with descriptors over one end of a channel, a SOCK_SEQPACKET socket.
//! Sending never blocks: packets that the peer does not read yet wait in a bounded queue. The
//! descriptors of a refused or incomplete message are closed.

use crate::SharedFd;
use crate::role::{
    DESCRIPTORS_MAX, DecodeError, Decoded, Header, PACKET_BYTES_MAX, PACKET_DESCRIPTORS_MAX,
    SupervisorMessage,
};
use crate::trace;
use language::log_levels::LogLevels;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg,
    sendmsg, socketpair,
};
use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

const OUTGOING_MAX: usize = 1_024;
/// Maximum number of messages that the channel handles itself (of unknown kinds, or with trace
/// levels) before the caller may serve other channels.
const UNKNOWN_MAX: usize = 64;
/// Shortest pause before the next attempt to send while the kernel refuses further descriptors in
/// flight.
const REST_MIN: Duration = Duration::from_millis(2);
const REST_MAX: Duration = Duration::from_millis(100);

/// The reason why a channel cannot be used any longer.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    #[error("the other process has ended")]
    Closed,
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error("a message does not match its descriptors")]
    Descriptors,
    #[error("the other process accepts no messages")]
    Full,
    #[error("the other process did not respond in time")]
    Timeout,
    #[error(transparent)]
    System(#[from] io::Error),
}

impl From<Errno> for ChannelError {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::PIPE | Errno::CONNRESET | Errno::NOTCONN => ChannelError::Closed,
            _ => ChannelError::System(errno.into()),
        }
    }
}

/// A received message with its descriptors.
#[derive(Debug)]
pub struct Received {
    pub message: SupervisorMessage,
    /// The number of a request or its response; zero for all other messages.
    pub ask: u64,
    /// The descriptors, in the order in which the peer sent them.
    pub descriptors: Vec<OwnedFd>,
}

struct Packet {
    bytes: Vec<u8>,
    descriptors: Vec<SharedFd>,
}

struct Partial {
    decoded: Decoded,
    ask: u64,
    wanted: usize,
    descriptors: Vec<OwnedFd>,
}

/// An end of a channel. [`Channel::send`], [`Channel::flush`] and [`Channel::receive`] never block;
/// [`Channel::finish`] and [`Channel::wait`] do.
pub struct Channel {
    socket: OwnedFd,
    outgoing: VecDeque<Packet>,
    incoming: Option<Partial>,
    buffer: Vec<u8>,
    /// End of the pause before the next attempt to send, and the pause's length.
    rests: Option<(Instant, Duration)>,
    /// True if the peer is the supervisor of this process, which sets the levels of trace events.
    is_to_supervisor: bool,
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Channel {
    /// Creates a channel. The second end is for another process.
    ///
    /// # Errors
    /// The socket pair cannot be created.
    pub fn pair() -> io::Result<(Channel, OwnedFd)> {
        let (ours, theirs) = socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )?;
        Ok((Channel::new(ours)?, theirs))
    }

    /// Creates an end from the socket of another process or from an accepted connection.
    ///
    /// # Errors
    /// The socket options cannot be set.
    pub fn new(socket: OwnedFd) -> io::Result<Channel> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC)?;
        Ok(Channel {
            socket,
            outgoing: VecDeque::new(),
            incoming: None,
            buffer: Vec::new(),
            rests: None,
            is_to_supervisor: false,
        })
    }

    /// As [`Channel::new`], for a peer that is the supervisor of this process. The channel handles
    /// its [`SupervisorMessage::SetLogLevels`].
    ///
    /// # Errors
    /// As [`Channel::new`].
    pub fn to_supervisor(socket: OwnedFd) -> io::Result<Channel> {
        let mut channel = Channel::new(socket)?;
        channel.is_to_supervisor = true;
        Ok(channel)
    }

    /// Sends a message, or queues it until the peer reads.
    ///
    /// # Errors
    /// The connection is closed or broken, the message too large, or the queue full.
    pub fn send(
        &mut self,
        message: &SupervisorMessage,
        descriptors: &[SharedFd],
    ) -> Result<(), ChannelError> {
        self.send_numbered(0, message, descriptors)
    }

    /// Sends a numbered request or response.
    ///
    /// # Errors
    /// As [`Channel::send`].
    pub fn send_numbered(
        &mut self,
        ask: u64,
        message: &SupervisorMessage,
        descriptors: &[SharedFd],
    ) -> Result<(), ChannelError> {
        if descriptors.len() > DESCRIPTORS_MAX {
            return Err(ChannelError::Descriptors);
        }
        let packets = descriptors.len().div_ceil(PACKET_DESCRIPTORS_MAX).max(1);
        if self.outgoing.len() + packets > OUTGOING_MAX {
            return Err(ChannelError::Full);
        }
        let bytes = message.encode(ask, descriptors.len());
        if bytes.len() > PACKET_BYTES_MAX {
            return Err(ChannelError::System(Errno::MSGSIZE.into()));
        }
        let mut parts = descriptors.chunks(PACKET_DESCRIPTORS_MAX);
        self.outgoing.push_back(Packet {
            bytes,
            descriptors: parts.next().unwrap_or_default().to_vec(),
        });
        self.outgoing.extend(parts.map(|part| Packet {
            bytes: Header::more(),
            descriptors: part.to_vec(),
        }));
        self.flush()
    }

    /// Sends queued messages until the peer's buffer is full. Never waits: if the kernel refuses
    /// descriptors, the caller tries again at `Channel::next_send_attempt`.
    ///
    /// # Errors
    /// The connection is closed or broken.
    pub fn flush(&mut self) -> Result<(), ChannelError> {
        let now = Instant::now();
        if self.next_send_attempt().is_some_and(|until| until > now) {
            return Ok(());
        }
        while let Some(packet) = self.outgoing.front() {
            match send_packet(&self.socket, packet) {
                Ok(()) => {
                    self.outgoing.pop_front();
                    self.rests = None;
                }
                Err(Errno::AGAIN) => {
                    self.rests = None;
                    return Ok(());
                }
                Err(Errno::INTR) => {}
                // Pauses before the next attempt: descriptors in flight count against the sender
                // until the peer receives them, which a stopped process never does. A timer decides
                // when to try again, because the socket stays writable meanwhile.
                Err(Errno::TOOMANYREFS) => {
                    let rest = self.rests.map_or(REST_MIN, |(_, rest)| rest * 2);
                    let rest = rest.min(REST_MAX);
                    self.rests = Some((now + rest, rest));
                    return Ok(());
                }
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }

    /// Returns the end of the pause after ETOOMANYREFS; None without a pause. After EAGAIN the
    /// channel is polled for writability instead.
    pub fn next_send_attempt(&self) -> Option<Instant> {
        self.rests.map(|(until, _)| until)
    }

    pub fn waits(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Returns whether no packet waits to be sent, and no received message lacks descriptors.
    pub fn is_quiet(&self) -> bool {
        self.outgoing.is_empty() && self.incoming.is_none()
    }

    pub fn interest(&self) -> PollFlags {
        if self.waits() && self.rests.is_none() {
            PollFlags::IN | PollFlags::OUT
        } else {
            PollFlags::IN
        }
    }

    /// Receives the next message; None if there is none yet. A message of an unknown kind gets a
    /// response and is skipped. After many of them the channel returns None, so that they cannot
    /// keep the reader busy.
    ///
    /// # Errors
    /// The connection is closed or broken, or a packet is invalid.
    pub fn receive(&mut self) -> Result<Option<Received>, ChannelError> {
        let mut passed_over = 0;
        while passed_over < UNKNOWN_MAX {
            let (length, descriptors) = match self.receive_packet() {
                Ok(packet) => packet,
                Err(ChannelError::System(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(None);
                }
                Err(error) => return Err(error),
            };
            if length == 0 {
                return Err(ChannelError::Closed);
            }
            self.add(length, descriptors)?;
            let whole = |partial: &mut Partial| partial.descriptors.len() >= partial.wanted;
            let Some(partial) = self.incoming.take_if(whole) else {
                continue;
            };
            match partial.decoded {
                _ if partial.descriptors.len() > partial.wanted => {
                    return Err(ChannelError::Descriptors);
                }
                Decoded::Message(SupervisorMessage::SetLogLevels { levels })
                    if self.is_to_supervisor =>
                {
                    passed_over += 1;
                    if let Some(ring) = partial.descriptors.first() {
                        trace::replace_ring(ring, false);
                    }
                    trace::set_levels(LogLevels::parse_known(&levels));
                }
                Decoded::Message(message) => {
                    return Ok(Some(Received {
                        message,
                        ask: partial.ask,
                        descriptors: partial.descriptors,
                    }));
                }
                // Responds that this end does not support the message; the end of the scope closes
                // the descriptors of the message.
                Decoded::Unknown(kind) => {
                    passed_over += 1;
                    self.send_numbered(partial.ask, &SupervisorMessage::Unknown { kind }, &[])?;
                }
            }
        }
        Ok(None)
    }

    fn add(&mut self, length: usize, descriptors: Vec<OwnedFd>) -> Result<(), ChannelError> {
        let bytes = &self.buffer[..length];
        let header = Header::decode(bytes)?;
        match (&mut self.incoming, header.kind) {
            (Some(partial), Header::MORE) if !descriptors.is_empty() => {
                partial.descriptors.extend(descriptors);
            }
            (None, kind) if kind != Header::MORE => {
                self.incoming = Some(Partial {
                    decoded: SupervisorMessage::decode(bytes)?,
                    ask: header.ask,
                    wanted: header.descriptors as usize,
                    descriptors,
                });
            }
            _ => return Err(ChannelError::Descriptors),
        }
        Ok(())
    }

    fn receive_packet(&mut self) -> Result<(usize, Vec<OwnedFd>), ChannelError> {
        self.buffer.resize(PACKET_BYTES_MAX, 0);
        let mut space =
            [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(PACKET_DESCRIPTORS_MAX))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = loop {
            let mut into = [IoSliceMut::new(&mut self.buffer)];
            match recvmsg(
                &self.socket,
                &mut into,
                &mut control,
                RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT,
            ) {
                // Ignores that the peer closed the connection with messages unread. The kernel
                // reports this once, before the data that the peer had sent itself.
                Err(Errno::INTR | Errno::CONNRESET) => {}
                other => break other?,
            }
        };
        let mut descriptors = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                descriptors.extend(rights);
            }
        }
        // Refuses a truncated packet: the process has too few free descriptors, so some of the
        // received ones were lost.
        if received
            .flags
            .intersects(ReturnFlags::CTRUNC | ReturnFlags::TRUNC)
        {
            return Err(ChannelError::Descriptors);
        }
        Ok((received.bytes, descriptors))
    }

    /// Waits until everything is sent.
    ///
    /// # Errors
    /// The connection is closed or broken, or the deadline expires.
    pub fn finish(&mut self, limit: Duration) -> Result<(), ChannelError> {
        let until = Instant::now() + limit;
        self.flush()?;
        while self.waits() {
            self.wait_readiness(PollFlags::OUT, Some(until))?;
            self.flush()?;
        }
        Ok(())
    }

    /// Waits for the next message.
    ///
    /// # Errors
    /// The connection is closed or broken, a packet is invalid, or the deadline expires.
    pub fn wait(&mut self, limit: Option<Duration>) -> Result<Received, ChannelError> {
        let until = limit.map(|limit| Instant::now() + limit);
        loop {
            if let Some(received) = self.receive()? {
                return Ok(received);
            }
            self.flush()?;
            self.wait_readiness(self.interest(), until)?;
        }
    }

    /// Waits until the socket is ready or the pause before the next attempt to send is over.
    fn wait_readiness(&self, flags: PollFlags, until: Option<Instant>) -> Result<(), ChannelError> {
        let now = Instant::now();
        if until.is_some_and(|until| until <= now) {
            return Err(ChannelError::Timeout);
        }
        let rests = self.next_send_attempt();
        let flags = match rests {
            Some(_) => flags - PollFlags::OUT,
            None => flags,
        };
        let next = until.into_iter().chain(rests).min();
        let left = next.map(|at| timespec(at.saturating_duration_since(now)));
        let mut watched = [PollFd::new(self, flags)];
        match poll(&mut watched, left.as_ref()) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }
}

pub fn timespec(left: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(left.subsec_nanos()),
    }
}

fn send_packet(socket: &OwnedFd, packet: &Packet) -> Result<(), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(PACKET_DESCRIPTORS_MAX))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let borrowed: Vec<BorrowedFd<'_>> = packet.descriptors.iter().map(|fd| fd.as_fd()).collect();
    if !borrowed.is_empty() && !control.push(SendAncillaryMessage::ScmRights(&borrowed)) {
        return Err(Errno::MSGSIZE);
    }
    let from = [IoSlice::new(&packet.bytes)];
    sendmsg(
        socket,
        &from,
        &mut control,
        SendFlags::NOSIGNAL | SendFlags::DONTWAIT,
    )
    .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::fstat;
    use std::sync::Arc;

    fn pair() -> (Channel, Channel) {
        let (ours, theirs) = Channel::pair().unwrap();
        (ours, Channel::new(theirs).unwrap())
    }

    fn files(count: usize) -> Vec<SharedFd> {
        (0..count)
            .map(|n| Arc::new(crate::memory::create("n", n.to_string().as_bytes()).unwrap()))
            .collect()
    }

    #[test]
    fn descriptors_arrive_in_their_order_over_several_packets() {
        let (mut ours, mut theirs) = pair();
        // The test holds both ends of the channel, and another test of this process lowers the
        // limit of open files.
        let sent = files(PACKET_DESCRIPTORS_MAX + 7);
        ours.send(&SupervisorMessage::Resume, &sent).unwrap();
        ours.send(&SupervisorMessage::Pause, &[]).unwrap();
        let received = theirs.receive().unwrap().unwrap();
        assert_eq!(received.message, SupervisorMessage::Resume);
        let inodes = |fd: &OwnedFd| fstat(fd).unwrap().st_ino;
        let theirs_inodes: Vec<_> = received.descriptors.iter().map(inodes).collect();
        let ours_inodes: Vec<_> = sent.iter().map(|fd| inodes(fd)).collect();
        assert_eq!(theirs_inodes, ours_inodes);
        assert_eq!(
            theirs.receive().unwrap().unwrap().message,
            SupervisorMessage::Pause
        );
        assert!(theirs.receive().unwrap().is_none());
    }

    #[test]
    fn unknown_message_gets_a_response_and_the_next_arrives() {
        let (mut ours, mut theirs) = pair();
        let mut bytes = SupervisorMessage::Pause.encode(0, 1);
        bytes[2..4].copy_from_slice(&999u16.to_le_bytes());
        let strange = Packet {
            bytes,
            descriptors: files(1),
        };
        send_packet(&ours.socket, &strange).unwrap();
        ours.send(&SupervisorMessage::Resume, &[]).unwrap();
        assert_eq!(
            theirs.receive().unwrap().unwrap().message,
            SupervisorMessage::Resume
        );
        let answer = ours.receive().unwrap().unwrap().message;
        assert_eq!(answer, SupervisorMessage::Unknown { kind: 999 });
    }

    #[test]
    fn a_flood_of_unknown_messages_leaves_its_reader_time_for_others() {
        let (ours, mut theirs) = pair();
        let bytes = Header::decode(&SupervisorMessage::Pause.encode(0, 0)).map(|_| {
            let mut bytes = SupervisorMessage::Pause.encode(0, 0);
            bytes[2..4].copy_from_slice(&999u16.to_le_bytes());
            bytes
        });
        let strange = Packet {
            bytes: bytes.unwrap(),
            descriptors: Vec::new(),
        };
        let sent = (0..10 * UNKNOWN_MAX)
            .take_while(|_| send_packet(&ours.socket, &strange).is_ok())
            .count();
        assert!(sent > UNKNOWN_MAX);
        assert!(theirs.receive().unwrap().is_none());
        assert!(
            theirs.receive_packet().is_ok(),
            "more of them waited and were left for the next turn"
        );
    }

    #[test]
    fn closed_channel_is_reported() {
        let (mut ours, theirs) = pair();
        drop(theirs);
        assert!(matches!(ours.receive(), Err(ChannelError::Closed)));
        assert!(matches!(
            ours.send(&SupervisorMessage::Pause, &[]),
            Err(ChannelError::Closed)
        ));
    }

    #[test]
    fn messages_before_a_close_are_received() {
        let (mut ours, mut theirs) = pair();
        ours.send(&SupervisorMessage::TellState, &[]).unwrap();
        theirs.send(&SupervisorMessage::Pause, &[]).unwrap();
        drop(theirs);
        assert_eq!(
            ours.receive().unwrap().unwrap().message,
            SupervisorMessage::Pause
        );
        assert!(matches!(ours.receive(), Err(ChannelError::Closed)));
    }

    #[test]
    fn unannounced_descriptors_are_refused() {
        let (ours, mut theirs) = pair();
        let packet = Packet {
            bytes: SupervisorMessage::Pause.encode(0, 0),
            descriptors: files(1),
        };
        send_packet(&ours.socket, &packet).unwrap();
        assert!(matches!(theirs.receive(), Err(ChannelError::Descriptors)));
        let (ours, mut theirs) = pair();
        let more = Packet {
            bytes: Header::more(),
            descriptors: files(1),
        };
        send_packet(&ours.socket, &more).unwrap();
        assert!(matches!(theirs.receive(), Err(ChannelError::Descriptors)));
    }

    #[test]
    fn refused_descriptors_are_retried_without_blocking_the_sender() {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};
        const FEW: u64 = 1_024;
        // Drops the capabilities with which the kernel does not apply the limit of descriptors to a
        // process.
        let before = capabilities(None).unwrap();
        let less = before.effective - CapabilitySet::SYS_RESOURCE - CapabilitySet::SYS_ADMIN;
        let without = CapabilitySets {
            effective: less,
            ..before
        };
        set_capabilities(None, without).unwrap();
        let limit = getrlimit(Resource::Nofile);
        let few = Rlimit {
            current: Some(FEW),
            maximum: limit.maximum,
        };
        setrlimit(Resource::Nofile, few).unwrap();
        let (mut ours, mut theirs) = pair();
        let sent = vec![files(1).remove(0); 3 * FEW as usize];
        let began = Instant::now();
        ours.send(&SupervisorMessage::Resume, &sent).unwrap();
        let waited = ours.next_send_attempt().is_some();
        let watched = ours.interest().contains(PollFlags::OUT);
        let finished = ours.finish(Duration::from_millis(50));
        let took = began.elapsed();
        let until = Instant::now() + Duration::from_secs(20);
        while ours.waits() && Instant::now() < until {
            // Receives and drops packets: that closes their descriptors, so that the sender can
            // continue.
            while theirs.receive_packet().is_ok() {}
            ours.flush().unwrap();
        }
        setrlimit(Resource::Nofile, limit).unwrap();
        set_capabilities(None, before).unwrap();
        assert!(waited && !watched, "{waited} {watched}");
        assert!(matches!(finished, Err(ChannelError::Timeout)));
        assert!(took < Duration::from_secs(5), "{took:?}");
        assert!(
            !ours.waits() && ours.next_send_attempt().is_none(),
            "all arrived"
        );
    }

    #[test]
    fn peer_that_reads_nothing_is_not_awaited() {
        let (mut ours, _theirs) = pair();
        let refused = (0..100_000).find_map(|_| ours.send(&SupervisorMessage::Pause, &[]).err());
        assert!(matches!(refused, Some(ChannelError::Full)));
    }
}
