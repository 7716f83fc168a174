//! Connects a role to its supervisor: over the role's end of the channel, and at the socket on
//! which the next supervisor connects after the current one has died. One descriptor covers both.

use crate::SharedFd;
use crate::channel::{Channel, ChannelError, Received};
use crate::entry;
use crate::guard::Guard;
use crate::role::{Manner, SupervisorMessage};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Tag of the channel's events in the epoll set.
const CHANNEL: u64 = 0;
const GUARD: u64 = 1;
const SIGNALS: u64 = 2;

/// The connection of a role to its supervisor, which may be missing for a while.
pub struct SupervisorConnection {
    set: OwnedFd,
    channel: Option<Channel>,
    guard: Option<Guard>,
    version: u64,
    /// Number of the configuration version that the role is applying.
    taking: u64,
    writes: bool,
    /// The signals that stop the role while it has no supervisor.
    signals: Option<SignalFd>,
    supervisors: u64,
}

/// Event of the connection with the supervisor, which the role handles.
pub enum LinkEvent {
    /// A message that does not concern the link itself.
    Message(Received),
    /// The supervisor has died. The role continues and waits for the next one, unless it was a
    /// candidate next to another role; then it must end.
    Left { stays: bool },
}

impl SupervisorConnection {
    /// Creates the link of a role that runs a version under the supervisor of a channel.
    ///
    /// # Errors
    /// The epoll set cannot be created.
    pub fn new(
        channel: Channel,
        guard: Option<Guard>,
        version: u64,
    ) -> Result<SupervisorConnection, Errno> {
        let mut link = SupervisorConnection {
            set: epoll::create(CreateFlags::CLOEXEC)?,
            channel: None,
            guard: None,
            version,
            taking: version,
            writes: false,
            signals: None,
            supervisors: 0,
        };
        link.listen(channel)?;
        if let Some(guard) = guard {
            link.watch_for_others(guard)?;
        }
        Ok(link)
    }

    pub fn supervisors(&self) -> u64 {
        self.supervisors
    }

    pub fn has_supervisor(&self) -> bool {
        self.channel.is_some()
    }

    /// Makes TERM and INT stop the role gracefully while it has no supervisor. Under a supervisor
    /// they are ignored, because the supervisor sends its roles a message when they must stop.
    ///
    /// # Errors
    /// The signals cannot be read.
    pub fn stop_by_signals(&mut self) -> Result<(), Errno> {
        let mut set = SigSet::empty();
        set.add(Signal::SIGTERM);
        set.add(Signal::SIGINT);
        let system = |errno: nix::errno::Errno| Errno::from_raw_os_error(errno as i32);
        set.thread_block().map_err(system)?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let signals = SignalFd::with_flags(&set, flags).map_err(system)?;
        epoll::add(
            &self.set,
            &signals,
            EventData::new_u64(SIGNALS),
            EventFlags::IN,
        )?;
        self.signals = Some(signals);
        Ok(())
    }

    /// Reads the pending signals. Returns whether there were any.
    fn is_signalled(&mut self) -> bool {
        let mut came = false;
        if let Some(signals) = &self.signals {
            while let Ok(Some(_)) = signals.read_signal() {
                came = true;
            }
        }
        came
    }

    fn listen(&mut self, channel: Channel) -> Result<(), Errno> {
        let data = EventData::new_u64(CHANNEL);
        epoll::add(&self.set, &channel, data, EventFlags::IN)?;
        self.channel = Some(channel);
        self.writes = false;
        self.supervisors += 1;
        Ok(())
    }

    fn watch_for_others(&mut self, guard: Guard) -> Result<(), Errno> {
        if let Some(listener) = guard.listener() {
            let data = EventData::new_u64(GUARD);
            epoll::add(&self.set, listener, data, EventFlags::IN)?;
        }
        // Drops and closes the previous socket, which removes it from the epoll set.
        self.guard = Some(guard);
        Ok(())
    }

    /// Updates the epoll set, so that queued packets are sent once the supervisor reads again.
    fn watch_writing(&mut self) {
        let Some(channel) = &self.channel else {
            return;
        };
        let writes = channel.waits();
        if writes != self.writes {
            let flags = if writes {
                EventFlags::IN | EventFlags::OUT
            } else {
                EventFlags::IN
            };
            let data = EventData::new_u64(CHANNEL);
            // Ignores a failure: the packets are then sent with the next message.
            let _ = epoll::modify(&self.set, channel, data, flags);
            self.writes = writes;
        }
    }

    /// Accepts a process that connects: with a supervisor it is refused, otherwise it becomes the
    /// next supervisor.
    fn see_who_comes(&mut self) {
        let Some(guard) = &self.guard else {
            return;
        };
        if self.channel.is_some() {
            return guard.close_waiting();
        }
        if let Some(channel) = guard.accept_supervisor(self.version) {
            // Ignores a failure: the channel is then dropped, and the process sees the end of its
            // connection.
            let _ = self.listen(channel);
        }
    }

    /// Returns the next event for the role; None if there is none. Messages about the link itself
    /// are handled here.
    pub fn next_event(&mut self) -> Option<LinkEvent> {
        self.see_who_comes();
        if self.channel.is_none() && self.is_signalled() {
            return Some(LinkEvent::Message(Received {
                message: SupervisorMessage::Stop(Manner::Soft),
                ask: 0,
                descriptors: Vec::new(),
            }));
        }
        loop {
            match self.receive()? {
                Ok(None) => {
                    // Drops pending signals, because the supervisor is alive. A signal after its
                    // death is read once that death was noticed.
                    self.is_signalled();
                    self.watch_writing();
                    return None;
                }
                Ok(Some(received)) => {
                    if let Some(received) = self.obey(received) {
                        return Some(LinkEvent::Message(received));
                    }
                }
                Err(_) => {
                    self.channel = None;
                    let stays = self.guard.is_some();
                    return Some(LinkEvent::Left { stays });
                }
            }
        }
    }

    fn receive(&mut self) -> Option<Result<Option<Received>, ChannelError>> {
        let channel = self.channel.as_mut()?;
        Some(channel.flush().and_then(|()| channel.receive()))
    }

    fn obey(&mut self, received: Received) -> Option<Received> {
        match received.message {
            SupervisorMessage::Guard { uid } => {
                // Ignores a failure: the previous socket then stays.
                let _ = self.watch_for_others(Guard::new(uid, received.descriptors));
            }
            // Reports the number of the configuration version, which the next supervisor requests.
            SupervisorMessage::GiveVersion => self.ready(),
            SupervisorMessage::TellPulse => self.send_message(&SupervisorMessage::Pulse, &[]),
            SupervisorMessage::Unknown { .. } => {}
            _ => return Some(received),
        }
        None
    }

    /// Sends a message to the supervisor.
    pub fn send_message(&mut self, message: &SupervisorMessage, descriptors: &[SharedFd]) {
        self.send_numbered(0, message, descriptors);
    }

    pub fn send_numbered(
        &mut self,
        ask: u64,
        message: &SupervisorMessage,
        descriptors: &[SharedFd],
    ) {
        if let Some(channel) = &mut self.channel {
            // Ignores a failure: the death of the supervisor is noticed at the next read.
            let _ = channel.send_numbered(ask, message, descriptors);
        }
        self.watch_writing();
    }

    pub fn report_unknown_message(&mut self, message: &SupervisorMessage) {
        let kind = message.kind();
        self.send_message(&SupervisorMessage::Unknown { kind }, &[]);
    }

    pub fn ready(&mut self) {
        let (version, words) = (self.version, String::new());
        self.send_message(&SupervisorMessage::Ready { version, words }, &[]);
    }

    pub fn begin_version(&mut self, version: u64) {
        self.taking = version;
    }

    /// Reports that the version of the last `SupervisorConnection::begin_version` is in service.
    pub fn report_version_applied(&mut self) {
        self.version = self.taking;
        let (version, words) = (self.version, String::new());
        self.send_message(&SupervisorMessage::Taken { version, words }, &[]);
    }

    /// Reports that the version of the last `SupervisorConnection::begin_version` was refused, with the reason.
    pub fn refused(&mut self, words: String) {
        let version = self.taking;
        self.send_message(&SupervisorMessage::Refused { version, words }, &[]);
    }

    pub fn send_shutdown_reason(&mut self, words: String) {
        if let Some(channel) = &mut self.channel {
            entry::send_shutdown_reason(channel, words);
        }
    }
}

impl AsFd for SupervisorConnection {
    /// Readable when [`SupervisorConnection::next_event`] has an event.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.set.as_fd()
    }
}
