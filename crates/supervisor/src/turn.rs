//! One look at a process: whether it has ended, and what it says.

use part::channel::Received;
use part::spawn::{Ending, Started};
use part::voice::Voice;
use rustix::process::Pid;

/// Messages of a process that are read before the others have their turn.
pub const MESSAGES_MAX: usize = 64;

/// One look at a process.
pub struct Turn {
    pid: Pid,
    ending: Option<Ending>,
    left: usize,
}

impl Turn {
    /// Begins one. The end is asked for first: what a process said before is all there then.
    pub fn of(process: &mut Started) -> Turn {
        Turn {
            pid: process.pid(),
            ending: process.ended(),
            left: MESSAGES_MAX,
        }
    }

    /// The next message. A process that took the place of this one while a message was
    /// obeyed has its own turn.
    pub fn next(&mut self, process: Option<&mut Started>, voice: &mut Voice) -> Option<Received> {
        let process = process.filter(|process| process.pid() == self.pid)?;
        self.left = self.left.checked_sub(1)?;
        process.hear(voice)
    }

    /// How the process ended, if it has and is still the one in its place.
    pub fn ending(&self, process: Option<&Started>) -> Option<Ending> {
        let same = process.is_some_and(|process| process.pid() == self.pid);
        self.ending.filter(|_| same)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use part::channel::Channel;
    use part::role::Message;
    use part::spawn::LOADER_ENTRY;
    use part::voice::Form;
    use rustix::process::{PidfdFlags, pidfd_open};
    use std::process::{Child, Command};

    struct Bed {
        process: Started,
        theirs: Channel,
        child: Child,
    }

    impl Drop for Bed {
        fn drop(&mut self) {
            self.process.end_now();
            let _ = self.child.wait();
        }
    }

    fn bed() -> Bed {
        let child = Command::new("sleep").arg("600").spawn().expect("sleep");
        let pid = Pid::from_child(&child);
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).expect("a descriptor");
        let (ours, theirs) = Channel::pair().expect("a channel");
        Bed {
            process: Started::running(LOADER_ENTRY, pid, pidfd, ours),
            theirs: Channel::new(theirs).expect("its other end"),
            child,
        }
    }

    fn voice() -> Voice {
        Voice::new(Form::Own, true)
    }

    #[test]
    fn a_turn_reads_a_bounded_number_of_messages() {
        let mut bed = bed();
        for _ in 0..=MESSAGES_MAX {
            bed.theirs.send(&Message::Pulse, &[]).expect("a message");
        }
        let mut turn = Turn::of(&mut bed.process);
        let mut heard = 0;
        while turn.next(Some(&mut bed.process), &mut voice()).is_some() {
            heard += 1;
        }
        assert_eq!(heard, MESSAGES_MAX);
        assert!(turn.ending(Some(&bed.process)).is_none());
        assert!(bed.process.hear(&mut voice()).is_some());
    }

    #[test]
    fn a_process_that_takes_the_place_of_another_has_its_own_turn() {
        let (mut first, mut second) = (bed(), bed());
        second.theirs.send(&Message::Pulse, &[]).expect("a message");
        first.child.kill().expect("a signal");
        while Turn::of(&mut first.process).ending.is_none() {
            std::thread::yield_now();
        }
        let mut turn = Turn::of(&mut first.process);
        assert!(turn.next(Some(&mut second.process), &mut voice()).is_none());
        assert!(turn.ending(Some(&second.process)).is_none());
        assert!(turn.ending(None).is_none());
    }

    #[test]
    fn what_a_process_said_before_its_end_is_read_with_it() {
        let mut bed = bed();
        bed.theirs.send(&Message::Pulse, &[]).expect("a message");
        bed.child.kill().expect("a signal");
        let turn = loop {
            let turn = Turn::of(&mut bed.process);
            if turn.ending.is_some() {
                break turn;
            }
            std::thread::yield_now();
        };
        let mut turn = turn;
        assert!(turn.next(Some(&mut bed.process), &mut voice()).is_some());
        assert!(turn.ending(Some(&bed.process)).is_some());
    }
}
