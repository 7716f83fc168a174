//! A role's end of the channel to its supervisor. When the supervisor has died, it is also
//! the socket where the next one comes: both are behind one descriptor.

use crate::Shared;
use crate::channel::{Channel, ChannelError, Received};
use crate::entry;
use crate::guard::Guard;
use crate::role::{Manner, Message};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Tags of the events in the epoll set.
const CHANNEL: u64 = 0;
const GUARD: u64 = 1;
const SIGNALS: u64 = 2;

/// A role under a supervisor, or without one for a while.
pub struct Link {
    set: OwnedFd,
    channel: Option<Channel>,
    guard: Option<Guard>,
    /// The version that runs.
    version: u64,
    /// The version that it was told to take.
    taking: u64,
    /// The set also waits until the channel can be written.
    writes: bool,
    /// The signals that end the role while it has no supervisor.
    signals: Option<SignalFd>,
    /// Supervisors that it has had.
    supervisors: u64,
}

/// An event of the link, for the role.
pub enum LinkEvent {
    /// A message that is not about the link itself.
    Message(Received),
    /// The supervisor has died. The next one comes here, unless this role was a candidate
    /// beside another one: then it has to end.
    Left {
        /// It continues.
        stays: bool,
    },
}

impl Link {
    /// The link of a role that runs a version, under the supervisor of a channel.
    ///
    /// # Errors
    /// The system's, where an epoll set cannot be made.
    pub fn new(channel: Channel, guard: Option<Guard>, version: u64) -> Result<Link, Errno> {
        let mut link = Link {
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

    /// How many supervisors it has had, with the present one.
    pub fn supervisors(&self) -> u64 {
        self.supervisors
    }

    /// TERM and INT stop the role in good order while it has no supervisor. With one they
    /// are ignored: a supervisor that is to stop tells its roles.
    ///
    /// # Errors
    /// The system's, where the signals cannot be read.
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

    /// Reads the signals that came; whether there were any.
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
        // The previous socket is closed here, and leaves the set with that.
        self.guard = Some(guard);
        Ok(())
    }

    /// Waiting packets are sent once the supervisor reads again.
    fn watch_writing(&mut self) {
        let Some(channel) = &self.channel else {
            return;
        };
        let writes = channel.waits();
        if writes != self.writes {
            let flags = match writes {
                true => EventFlags::IN | EventFlags::OUT,
                false => EventFlags::IN,
            };
            let data = EventData::new_u64(CHANNEL);
            // If this fails, they are sent with the next message.
            let _ = epoll::modify(&self.set, channel, data, flags);
            self.writes = writes;
        }
    }

    /// A process that connects while there is a supervisor is refused; without one it is
    /// the next supervisor.
    fn see_who_comes(&mut self) {
        let Some(guard) = &self.guard else {
            return;
        };
        if self.channel.is_some() {
            return guard.turn_away();
        }
        if let Some(channel) = guard.take_in(self.version) {
            // One that cannot be watched sees the end of its connection.
            let _ = self.listen(channel);
        }
    }

    /// The next thing that the role has to know; None when there is nothing more. Messages
    /// about the link itself are answered here.
    pub fn hear(&mut self) -> Option<LinkEvent> {
        self.see_who_comes();
        if self.channel.is_none() && self.is_signalled() {
            return Some(LinkEvent::Message(Received {
                message: Message::Stop(Manner::Soft),
                ask: 0,
                descriptors: Vec::new(),
            }));
        }
        loop {
            match self.receive()? {
                Ok(None) => {
                    // The supervisor lives. A signal that came behind its death is read
                    // once that was seen.
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
            Message::Guard { uid } => {
                // If the new socket cannot be watched, the previous one stays.
                let _ = self.watch_for_others(Guard::new(uid, received.descriptors));
            }
            // The next supervisor asks for the number of the version.
            Message::GiveVersion => self.ready(),
            Message::TellPulse => self.say(&Message::Pulse, &[]),
            Message::Unknown { .. } => {}
            _ => return Some(received),
        }
        None
    }

    /// Sends a message.
    pub fn say(&mut self, message: &Message, descriptors: &[Shared]) {
        self.say_numbered(0, message, descriptors);
    }

    /// Sends the answer to a question.
    pub fn say_numbered(&mut self, ask: u64, message: &Message, descriptors: &[Shared]) {
        if let Some(channel) = &mut self.channel {
            // A supervisor that has died is noticed at the next read.
            let _ = channel.send_numbered(ask, message, descriptors);
        }
        self.watch_writing();
    }

    /// Reports to the supervisor that a message is of an unknown kind.
    pub fn not_known(&mut self, message: &Message) {
        let kind = message.kind();
        self.say(&Message::Unknown { kind }, &[]);
    }

    /// Reports to the supervisor that the version runs.
    pub fn ready(&mut self) {
        let (version, words) = (self.version, String::new());
        self.say(&Message::Ready { version, words }, &[]);
    }

    /// The role goes over to a version.
    pub fn take(&mut self, version: u64) {
        self.taking = version;
    }

    /// Reports that the version of the last [`Link::take`] runs.
    pub fn taken(&mut self) {
        self.version = self.taking;
        let (version, words) = (self.version, String::new());
        self.say(&Message::Taken { version, words }, &[]);
    }

    /// Reports that the version of the last [`Link::take`] does not run, and why.
    pub fn refused(&mut self, words: String) {
        let version = self.taking;
        self.say(&Message::Refused { version, words }, &[]);
    }

    /// Reports why the role ends.
    pub fn last_words(&mut self, words: String) {
        if let Some(channel) = &mut self.channel {
            entry::last_words(channel, words);
        }
    }
}

impl AsFd for Link {
    /// Readable when [`Link::hear`] has something.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.set.as_fd()
    }
}
