//! Runs the process of a single-threaded role that handles one event at a time. The life cycle
//! under the supervisor is the same for all such roles; a [`Work`] implements the rest.

use crate::SharedFd;
use crate::channel::{Channel, Received, timespec};
use crate::entry;
use crate::guard::Guard;
use crate::link::{LinkEvent, SupervisorConnection};
use crate::memory;
use crate::report::StatusReport;
use crate::role::{Manner, MemberNews, Parcel, PartMessage, SupervisorMessage, Take};
use crate::state_file;
use crate::voice;
use nix::sys::signal::SigSet;
use rustix::event::{PollFd, PollFlags, poll};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::ExitCode;
use std::time::{Duration, Instant};

const STOP_LOOK: Duration = Duration::from_millis(5);

/// A request to another part, through the supervisor.
pub struct PartRequest {
    /// Request number, not 0; the response repeats it.
    pub number: u64,
    pub message: SupervisorMessage,
    pub descriptors: Vec<SharedFd>,
}

/// The work of a role with a single thread. [`main`] calls all methods on that thread, one at a
/// time. No method may block: the supervisor kills a role whose main loop does not respond.
pub trait Work: Sized {
    /// Starts with the payload of a version and with the last state that the previous role stored
    /// ([`Work::state`]); another version of the program may have written the state.
    ///
    /// # Errors
    /// The reason why the role cannot run, as text.
    fn start(payload: &[u8], state: Option<&[u8]>) -> Result<Self, String>;

    /// Applies the payload of another version.
    ///
    /// # Errors
    /// The reason why the role keeps the current version, as text.
    fn change(&mut self, payload: &[u8]) -> Result<(), String>;

    /// Returns when `Work::run_due_work` must be called next.
    fn next_due(&self) -> Option<Instant>;

    fn run_due_work(&mut self);

    /// Returns the state with which the next role starts; it is stored after each call of
    /// the other methods.
    fn state(&self) -> Vec<u8>;

    fn report(&self) -> StatusReport;

    /// Returns a descriptor that is readable when `Work::run_due_work` must be called before its due
    /// time.
    fn wake_descriptor(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// Handles a message for this part. Returns the response, empty if the message has none; None
    /// if the message is not known.
    fn handle_message(&mut self, message: &PartMessage) -> Option<Vec<u8>> {
        let _ = message;
        None
    }

    /// Handles a report of the control role about this machine as a cluster member.
    fn update_membership(&mut self, news: &MemberNews) {
        let _ = news;
    }

    /// As [`Work::handle_message`], for a message that carries a connection.
    fn handle_connection(&mut self, message: &PartMessage, connection: OwnedFd) -> Option<Vec<u8>> {
        let _ = (message, connection);
        None
    }

    /// Handles the end of another part on this machine: its earlier messages no longer hold.
    fn handle_part_end(&mut self, part: &str) {
        let _ = part;
    }

    /// Handles the adoption by another supervisor, which does not know the messages that the role
    /// sent to other parts.
    fn adopted(&mut self) {}

    /// Begins a graceful stop in this manner, without waiting for its end.
    fn stop(&mut self, manner: Manner) {
        let _ = manner;
    }

    /// Returns whether the process may end after [`Work::stop`]. Until then messages for other
    /// parts are still sent, because the stop may depend on them. The implementation must bound the
    /// time itself.
    fn has_stopped(&self) -> bool {
        true
    }

    fn take_messages(&mut self) -> Vec<PartMessage> {
        Vec::new()
    }

    fn take_requests(&mut self) -> Vec<PartRequest> {
        Vec::new()
    }

    /// Handles the response to a request of this role or of the previous one.
    fn handle_response(&mut self, answer: Received) {
        let _ = answer;
    }
}

struct RoleLoop<W> {
    work: W,
    link: SupervisorConnection,
    keep: Option<OwnedFd>,
    stored: Vec<u8>,
}

pub fn main<W: Work>(mut channel: Channel) -> ExitCode {
    voice::limit_log();
    // Unblocks all signals: the supervisor blocks them, because it reads them from a descriptor,
    // and this process inherited the mask. The call cannot fail with a valid set.
    let _ = SigSet::empty().thread_set_mask();
    let first = |received: Received| match received.message {
        SupervisorMessage::Take(take) => {
            let parcel = take.sort(received.descriptors)?;
            Some((take, parcel))
        }
        _ => None,
    };
    match entry::first_of_role(&mut channel, first) {
        Ok(((take, parcel), guard)) => match start::<W>(channel, guard, &take, parcel) {
            Some(running) => running.run(),
            None => ExitCode::FAILURE,
        },
        Err(error) => entry::exit("the role did not start", Err(error)),
    }
}

/// Starts the role. None if the role cannot start; the reason was sent to the supervisor.
fn start<W: Work>(
    mut channel: Channel,
    guard: Option<Guard>,
    take: &Take,
    parcel: Parcel<OwnedFd>,
) -> Option<RoleLoop<W>> {
    let state = parcel.keep.as_ref();
    let state = state.and_then(|file| state_file::read(file.as_fd()));
    let _operation = apply_span(take).entered();
    let payload = memory::read(&parcel.payload).map_err(|error| error.to_string());
    let work = payload.and_then(|payload| W::start(&payload, state.as_deref()));
    let work = match work {
        Ok(work) => work,
        Err(words) => {
            entry::send_shutdown_reason(&mut channel, words);
            return None;
        }
    };
    let mut link = SupervisorConnection::new(channel, guard, take.version).ok()?;
    link.ready();
    Some(RoleLoop {
        work,
        link,
        keep: parcel.keep,
        stored: Vec::new(),
    })
}

fn apply_span(take: &Take) -> tracing::Span {
    tracing::error_span!("apply", op = %take.operation, version = take.version)
}

impl<W: Work> RoleLoop<W> {
    fn run(mut self) -> ExitCode {
        let mut supervisors = self.link.supervisors();
        loop {
            if std::mem::replace(&mut supervisors, self.link.supervisors()) != supervisors {
                self.work.adopted();
            }
            self.store();
            let due = self.work.next_due();
            let left = due.map(|due| due.saturating_duration_since(Instant::now()));
            self.send_messages();
            let is_woken = {
                let mut watched = vec![PollFd::new(&self.link, PollFlags::IN)];
                let wakes = self.work.wake_descriptor();
                watched.extend(wakes.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
                // Ignores the result: the loop checks everything again, also after an interruption.
                let _ = poll(&mut watched, left.map(timespec).as_ref());
                watched.get(1).is_some_and(|one| !one.revents().is_empty())
            };
            while let Some(heard) = self.link.next_event() {
                match heard {
                    LinkEvent::Left { stays: true } => {}
                    LinkEvent::Left { stays: false } => return ExitCode::SUCCESS,
                    LinkEvent::Message(received) => {
                        if let Some(manner) = self.obey(received) {
                            self.stop_work(manner);
                            return ExitCode::SUCCESS;
                        }
                    }
                }
            }
            if is_woken || due.is_some_and(|due| due <= Instant::now()) {
                self.work.run_due_work();
            }
        }
    }

    fn send_messages(&mut self) {
        for message in self.work.take_messages() {
            self.link
                .send_message(&SupervisorMessage::Part(Box::new(message)), &[]);
        }
        for PartRequest {
            number,
            message,
            descriptors,
        } in self.work.take_requests()
        {
            self.link.send_numbered(number, &message, &descriptors);
        }
    }

    fn stop_work(&mut self, manner: Manner) {
        self.work.stop(manner);
        loop {
            // `has_stopped` is evaluated before the last messages are sent, so that no message is
            // lost.
            let has_stopped = self.work.has_stopped();
            self.send_messages();
            if has_stopped {
                return self.store();
            }
            std::thread::sleep(STOP_LOOK);
        }
    }

    /// Handles a message. Returns the manner of the stop if the role must end.
    fn obey(&mut self, mut received: Received) -> Option<Manner> {
        match received.message {
            SupervisorMessage::Take(take) => {
                self.link.begin_version(take.version);
                match self.change(&take, received.descriptors) {
                    Ok(()) => self.link.report_version_applied(),
                    Err(words) => self.link.refused(words),
                }
            }
            SupervisorMessage::TellReport { .. } => {
                let (answer, file) = self.work.report().answer();
                self.link.send_numbered(received.ask, &answer, &file);
            }
            SupervisorMessage::Part(message) => {
                let heard = match (MemberNews::of(&message), received.descriptors.pop()) {
                    (Some(news), _) => {
                        self.work.update_membership(&news);
                        Some(Vec::new())
                    }
                    (None, Some(connection)) => self.work.handle_connection(&message, connection),
                    (None, None) => self.work.handle_message(&message),
                };
                match heard {
                    Some(bytes) if received.ask != 0 => {
                        let answer = SupervisorMessage::Answer { bytes };
                        self.link.send_numbered(received.ask, &answer, &[]);
                    }
                    Some(_) => {}
                    None => self
                        .link
                        .report_unknown_message(&SupervisorMessage::Part(message)),
                }
            }
            SupervisorMessage::Answer { .. } | SupervisorMessage::Nobody { .. }
                if received.ask != 0 =>
            {
                self.work.handle_response(received);
            }
            SupervisorMessage::Gone { part } => self.work.handle_part_end(&part),
            SupervisorMessage::Stop(manner) => return Some(manner),
            other => self.link.report_unknown_message(&other),
        }
        None
    }

    fn change(&mut self, take: &Take, descriptors: Vec<OwnedFd>) -> Result<(), String> {
        let parcel = take.sort(descriptors);
        let parcel = parcel.ok_or("the message does not match its descriptors")?;
        let payload = memory::read(&parcel.payload).map_err(|error| error.to_string())?;
        let _operation = apply_span(take).entered();
        let changed = self.work.change(&payload);
        tracing::info!(refused = changed.as_ref().err(), "version applied");
        changed
    }

    /// Stores the state if it has changed. Ignores errors: without the file the next role starts
    /// from scratch.
    fn store(&mut self) {
        let state = self.work.state();
        if let Some(file) = self.keep.as_ref().filter(|_| state != self.stored)
            && state_file::write(file, &state).is_ok()
        {
            self.stored = state;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(20);

    /// Stops after a few calls of `has_stopped`, and reports how many calls preceded each message.
    struct Slow {
        manner: Option<Manner>,
        said: u16,
    }

    impl Work for Slow {
        fn start(_: &[u8], _: Option<&[u8]>) -> Result<Slow, String> {
            Ok(Slow {
                manner: None,
                said: 0,
            })
        }

        fn change(&mut self, _: &[u8]) -> Result<(), String> {
            Ok(())
        }

        fn next_due(&self) -> Option<Instant> {
            None
        }

        fn run_due_work(&mut self) {}

        fn state(&self) -> Vec<u8> {
            Vec::new()
        }

        fn report(&self) -> StatusReport {
            StatusReport::default()
        }

        fn stop(&mut self, manner: Manner) {
            self.manner = Some(manner);
        }

        fn has_stopped(&self) -> bool {
            self.said >= 2
        }

        fn take_messages(&mut self) -> Vec<PartMessage> {
            self.said += 1;
            vec![PartMessage {
                part: "test".to_owned(),
                kind: self.said,
                holds: false,
                bytes: Vec::new(),
                by: String::new(),
            }]
        }
    }

    #[test]
    fn stopping_role_sends_messages_until_its_work_ends() {
        let (ours, theirs) = Channel::pair().expect("a channel");
        let mut theirs = Channel::new(theirs).expect("the other end of the channel");
        let mut running = RoleLoop {
            work: Slow::start(&[], None).expect("it starts"),
            link: SupervisorConnection::new(ours, None, 1).expect("a link"),
            keep: None,
            stored: Vec::new(),
        };
        let stop = Received {
            message: SupervisorMessage::Stop(Manner::Leave),
            ask: 0,
            descriptors: Vec::new(),
        };
        assert_eq!(running.obey(stop), Some(Manner::Leave));
        running.stop_work(Manner::Leave);
        assert_eq!(running.work.manner, Some(Manner::Leave));
        for kind in 1..=3 {
            let received = theirs.wait(Some(SOON)).expect("a message");
            let SupervisorMessage::Part(message) = received.message else {
                panic!("{:?}", received.message);
            };
            assert_eq!(message.kind, kind);
        }
        assert!(theirs.receive().expect("no error").is_none());
    }
}
