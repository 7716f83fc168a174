//! Reads the messages of a process, at most [`MESSAGES_MAX`], and notices its end in one turn of
//! the main loop.

use part::channel::Received;
use part::spawn::{ProcessExit, Started};
use part::voice::MessagePrinter;
use rustix::process::Pid;

pub const MESSAGES_MAX: usize = 64;

pub struct ProcessTurn {
    pid: Pid,
    ending: Option<ProcessExit>,
    left: usize,
}

impl ProcessTurn {
    /// Begins to read the messages of a process. Checks first whether the process has ended, so
    /// that messages sent before the end are still read.
    pub fn of(process: &mut Started) -> ProcessTurn {
        ProcessTurn {
            pid: process.pid(),
            ending: process.process_exit(),
            left: MESSAGES_MAX,
        }
    }

    /// Returns the next message. None if there is none, after [`MESSAGES_MAX`] messages, or if
    /// another process has replaced this one while a message was handled; that process has its own
    /// turn.
    pub fn next(
        &mut self,
        process: Option<&mut Started>,
        voice: &mut MessagePrinter,
    ) -> Option<Received> {
        let process = process.filter(|process| process.pid() == self.pid)?;
        self.left = self.left.checked_sub(1)?;
        process.receive_message(voice)
    }

    /// Returns how the process ended, if it had ended when the turn began and no other process has
    /// replaced it.
    pub fn ending(&self, process: Option<&Started>) -> Option<ProcessExit> {
        let same = process.is_some_and(|process| process.pid() == self.pid);
        self.ending.filter(|_| same)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bed::{bed, voice};
    use part::role::SupervisorMessage;

    #[test]
    fn a_turn_reads_a_bounded_number_of_messages() {
        let (mut process, mut theirs) = bed();
        for _ in 0..=MESSAGES_MAX {
            theirs
                .channel
                .send(&SupervisorMessage::Pulse, &[])
                .expect("sent");
        }
        let mut turn = ProcessTurn::of(&mut process);
        let mut heard = 0;
        while turn.next(Some(&mut process), &mut voice()).is_some() {
            heard += 1;
        }
        assert_eq!(heard, MESSAGES_MAX);
        assert!(turn.ending(Some(&process)).is_none());
        assert!(process.receive_message(&mut voice()).is_some());
    }

    #[test]
    fn turn_of_a_predecessor_ignores_its_successor() {
        let (mut first, mut theirs) = bed();
        let (mut second, mut its) = bed();
        its.channel
            .send(&SupervisorMessage::Pulse, &[])
            .expect("sent");
        theirs.child.kill().expect("a signal");
        while ProcessTurn::of(&mut first).ending.is_none() {
            std::thread::yield_now();
        }
        let mut turn = ProcessTurn::of(&mut first);
        assert!(turn.next(Some(&mut second), &mut voice()).is_none());
        assert!(turn.ending(Some(&second)).is_none());
        assert!(turn.ending(None).is_none());
    }

    #[test]
    fn final_messages_are_read_with_the_end() {
        let (mut process, mut theirs) = bed();
        theirs
            .channel
            .send(&SupervisorMessage::Pulse, &[])
            .expect("sent");
        theirs.child.kill().expect("a signal");
        let mut turn = loop {
            let turn = ProcessTurn::of(&mut process);
            if turn.ending.is_some() {
                break turn;
            }
            std::thread::yield_now();
        };
        assert!(turn.next(Some(&mut process), &mut voice()).is_some());
        assert!(turn.ending(Some(&process)).is_some());
    }
}
