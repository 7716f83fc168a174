//! Defines the instructions of the backtracking machine.

use super::set::{BYTE_MAX, Set};
use super::tree::{Assertion, Greed};

pub(super) type Register = u32;
pub(super) type InstructionIndex = u32;

/// A set of characters in a form that is fast to query.
#[derive(Debug)]
pub(super) struct CharacterSet {
    low: [bool; 256],
    /// Used for code points above 255.
    set: Set,
}

impl CharacterSet {
    pub(super) fn new(set: Set) -> Self {
        let mut low = [false; 256];
        for (first, last) in set.ranges() {
            for char in *first..=(*last).min(BYTE_MAX) {
                low[char as usize] = true;
            }
        }
        CharacterSet { low, set }
    }

    pub(super) fn contains_byte(&self, byte: u8) -> bool {
        self.low[usize::from(byte)]
    }

    pub(super) fn contains(&self, char: u32) -> bool {
        match self.low.get(char as usize) {
            Some(found) => *found,
            None => self.set.contains(char),
        }
    }
}

#[derive(Debug)]
pub(super) enum Instruction {
    /// Matches a byte; a character above ASCII in UTF-8 is several bytes.
    Byte(u8),
    One(u32),
    AnyByte,
    Assert(Assertion),
    KeepOut,
    /// Tries the first instruction, then the second.
    Split {
        first: InstructionIndex,
        second: InstructionIndex,
        memo: u32,
        /// The alternation whose next alternative starts at `second`.
        alternation: u32,
    },
    Jump(InstructionIndex),
    Repeat {
        members: u32,
        min: u32,
        max: Option<u32>,
        greed: Greed,
        memo: u32,
    },
    Store(Register),
    /// Jumps if the position equals the stored one: an iteration was empty.
    IfUnmoved(Register, InstructionIndex),
    Close {
        group: u32,
        start: Register,
    },
    /// Starts an atomic group or a look-around; the registers store the height of the stack, the
    /// position and the length of the memo log.
    Enter {
        registers: Register,
        outermost: bool,
        barrier: Barrier,
    },
    /// Ends an atomic group or a look-around after a success. `moves` keeps the position, as an
    /// atomic group does.
    Leave {
        registers: Register,
        moves: bool,
        cuts: bool,
    },
    /// Ends a negative look-around whose body matched: fails, or jumps to `to`.
    LeaveNegative {
        registers: Register,
        to: Option<InstructionIndex>,
    },
    Back(u32),
    Same {
        groups: Box<[u32]>,
        ignore_case: bool,
    },
    Call {
        group: u32,
        to: InstructionIndex,
    },
    Return,
    IfSet(Box<[u32]>, InstructionIndex),
    IfRecursing(Option<Box<[u32]>>, InstructionIndex),
    AlternationStart(u32),
    Mark(u32),
    Cut(BacktrackVerb),
    Fail,
    Match,
}

/// Effect of a backtracking verb within the body of an atomic group or a look-around.
#[derive(Clone, Copy, Debug)]
pub(super) enum Barrier {
    /// The effect extends beyond the body, as in an atomic group.
    None,
    Fails,
    /// Matching continues at an instruction: a negative assertion or a condition.
    Resumes(InstructionIndex),
}

#[derive(Clone, Copy, Debug)]
pub(super) enum BacktrackVerb {
    Commit,
    Prune,
    Skip,
    SkipTo(u32),
    Then(u32),
}
