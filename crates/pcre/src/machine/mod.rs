//! Matches patterns that the linear engine cannot match, by backtracking. The stack is explicit and
//! the steps are counted, so that memory and time are bounded.

mod step;

use super::instruction::{BacktrackVerb, Instruction, InstructionIndex};
use super::parse::newline_length;
use super::program::{MemoCoverage, Program};
use super::tree::{Assertion, Newline};

/// Maximum entries of the stack, 32 bytes each.
const STACK_MAX: usize = 400_000;
const CALLS_MAX: usize = 2_000;
const MEMO_BITS_MAX: usize = 64 << 20;
/// Number of steps after which the memo is worth its memory.
const MEMO_AFTER: usize = 2_000;

const UNSET: usize = usize::MAX;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LimitExceeded;

#[derive(Clone, Copy, Debug)]
pub struct Search {
    pub not_line_start: bool,
    /// Maximum steps of a search without the memo; with the memo, at least four times as many are
    /// allowed.
    pub steps_max: usize,
}

enum BacktrackFrame {
    Choice {
        place: InstructionIndex,
        position: usize,
        alternation: u32,
    },
    /// A greedy repetition that may give back characters down to `low`.
    Shrink {
        place: InstructionIndex,
        low: usize,
        position: usize,
    },
    Grow {
        place: InstructionIndex,
        position: usize,
        left: u32,
    },
    Undo {
        register: u32,
        value: usize,
    },
    UndoCall,
    UndoReturn(Box<(Call, Vec<usize>)>),
    Barrier {
        resumes: Option<InstructionIndex>,
        position: usize,
    },
    AlternationStart(u32),
    Mark {
        mark: u32,
        position: usize,
    },
    Cut {
        cut: BacktrackVerb,
        position: usize,
    },
}

struct Call {
    group: u32,
    back: InstructionIndex,
    position: usize,
    registers: Vec<usize>,
}

enum FailureScope {
    Here,
    SkipTo(usize),
    Everywhere,
}

struct BacktrackMachine<'m> {
    program: &'m Program,
    text: &'m [u8],
    search: Search,
    start: usize,
    registers: Vec<usize>,
    stack: Vec<BacktrackFrame>,
    calls: Vec<Call>,
    steps: usize,
    steps_max: usize,
    /// Number of register values saved by calls; four of them count as one entry of the stack.
    saved: usize,
    visited: Vec<u64>,
    /// Memo bits set within atomic groups and look-arounds.
    log: Vec<usize>,
}

impl Program {
    /// Returns the first match: the start and end of the whole match and of each group. Returns
    /// `None` without a match, and for a text that is not UTF-8 if the pattern requires UTF-8.
    ///
    /// # Errors
    /// Fails if the search takes more steps or memory than its limits allow, or if calls of groups
    /// nest too deeply or without end.
    pub fn find(&self, text: &[u8], search: Search) -> Result<Option<Vec<usize>>, LimitExceeded> {
        if self.utf && std::str::from_utf8(text).is_err() {
            return Ok(None);
        }
        let mut machine = BacktrackMachine {
            program: self,
            text,
            search,
            start: 0,
            registers: vec![UNSET; self.registers],
            stack: Vec::new(),
            calls: Vec::new(),
            steps: 0,
            steps_max: match self.memo {
                MemoCoverage::Impossible => search.steps_max,
                MemoCoverage::Partial => search.steps_max.saturating_mul(4),
                MemoCoverage::Full => search
                    .steps_max
                    .saturating_mul(4)
                    .max(self.code.len().saturating_mul(text.len()).saturating_mul(4)),
            },
            saved: 0,
            visited: Vec::new(),
            log: Vec::new(),
        };
        if machine.memo_bits().is_none() {
            machine.steps_max = search.steps_max;
        }
        machine.search()
    }
}

impl BacktrackMachine<'_> {
    fn search(&mut self) -> Result<Option<Vec<usize>>, LimitExceeded> {
        let mut start = 0;
        loop {
            if let Some(starts) = &self.program.starts {
                let skipped = self.text[start..]
                    .iter()
                    .position(|byte| starts[usize::from(*byte)]);
                let Some(skipped) = skipped else {
                    return Ok(None);
                };
                if skipped > 0 && self.program.anchored {
                    return Ok(None);
                }
                start += skipped;
            }
            self.start = start;
            let next = match self.attempt()? {
                Ok(()) => {
                    let groups = (self.program.groups as usize + 1) * 2;
                    return Ok(Some(self.registers[..groups].to_vec()));
                }
                Err(FailureScope::Everywhere) => return Ok(None),
                Err(FailureScope::SkipTo(position)) if position > start => position,
                Err(_) => self.after(start),
            };
            start = next;
            if self.program.anchored || start > self.text.len() {
                return Ok(None);
            }
            if self.program.skips_newlines
                && self.text[..start].ends_with(b"\r")
                && self.text[start..].starts_with(b"\n")
            {
                start += 1;
            }
        }
    }

    /// Returns the position after the character at `position`; at the end, one past the end.
    fn after(&self, position: usize) -> usize {
        let mut next = position + 1;
        while self.program.utf && self.text.get(next).is_some_and(|b| b & 0xc0 == 0x80) {
            next += 1;
        }
        next
    }

    fn before(&self, position: usize) -> Option<usize> {
        let mut previous = position.checked_sub(1)?;
        while self.program.utf && self.text[previous] & 0xc0 == 0x80 {
            previous = previous.checked_sub(1)?;
        }
        Some(previous)
    }

    fn char_at(&self, position: usize) -> Option<(u32, usize)> {
        let byte = *self.text.get(position)?;
        if !self.program.utf || byte.is_ascii() {
            return Some((u32::from(byte), 1));
        }
        let (length, first) = match byte {
            0xc0..=0xdf => (2, byte & 0x1f),
            0xe0..=0xef => (3, byte & 0x0f),
            _ => (4, byte & 0x07),
        };
        // A character may be incomplete, because `\C` may have split it.
        let rest = self.text.get(position + 1..position + length)?;
        let char = rest
            .iter()
            .fold(u32::from(first), |char, b| char << 6 | u32::from(b & 0x3f));
        Some((char, length))
    }

    fn member_at(&self, members: u32, position: usize) -> Option<usize> {
        let members = &self.program.members[members as usize];
        if !self.program.utf {
            let byte = self.text.get(position)?;
            return members.contains_byte(*byte).then_some(position + 1);
        }
        let (char, length) = self.char_at(position)?;
        members.contains(char).then_some(position + length)
    }

    fn is_word(&self, char: Option<(u32, usize)>) -> bool {
        char.is_some_and(|(char, _)| self.program.word.contains(char))
    }

    fn is_after_newline(&self, position: usize) -> bool {
        let before = &self.text[..position];
        let length = if self.program.newline == Newline::CrLf {
            2
        } else {
            1
        };
        (length..=3.min(position).max(length)).any(|length| {
            before.len() >= length
                && newline_length(
                    &before[before.len() - length..],
                    self.program.newline,
                    self.program.utf,
                ) == length
        })
    }

    fn newline_at(&self, position: usize) -> usize {
        newline_length(
            &self.text[position..],
            self.program.newline,
            self.program.utf,
        )
    }

    fn assertion_holds(&self, assertion: Assertion, position: usize) -> bool {
        let at_start = position == 0;
        let at_end = position == self.text.len();
        match assertion {
            Assertion::SubjectStart | Assertion::SearchStart => at_start,
            Assertion::LineOrSubjectStart => at_start && !self.search.not_line_start,
            Assertion::LineStart if at_start => !self.search.not_line_start,
            Assertion::LineStart => !at_end && self.is_after_newline(position),
            Assertion::SubjectEnd => at_end,
            Assertion::FinalLineEnd => {
                let length = self.newline_at(position);
                at_end || (length > 0 && position + length == self.text.len())
            }
            Assertion::LineEnd => at_end || self.newline_at(position) > 0,
            Assertion::WordBoundary | Assertion::NotWordBoundary => {
                let before = self.before(position).and_then(|at| self.char_at(at));
                let boundary = self.is_word(before) != self.is_word(self.char_at(position));
                boundary == (assertion == Assertion::WordBoundary)
            }
        }
    }

    fn push(&mut self, frame: BacktrackFrame) -> Result<(), LimitExceeded> {
        if self.stack.len() + self.saved / 4 >= STACK_MAX {
            return Err(LimitExceeded);
        }
        self.stack.push(frame);
        Ok(())
    }

    fn set(&mut self, register: u32, value: usize) -> Result<(), LimitExceeded> {
        let old = std::mem::replace(&mut self.registers[register as usize], value);
        self.push(BacktrackFrame::Undo {
            register,
            value: old,
        })
    }

    fn count_steps(&mut self, steps: usize) -> Result<(), LimitExceeded> {
        self.steps += steps;
        if self.steps > self.steps_max {
            return Err(LimitExceeded);
        }
        Ok(())
    }

    fn memo_bits(&self) -> Option<usize> {
        let places = self.program.memo_places as usize;
        (self.text.len() + 1)
            .checked_mul(places)
            .filter(|bits| *bits <= MEMO_BITS_MAX)
    }

    /// Returns whether an instruction was already tried at this position, in which case it failed;
    /// records the attempt otherwise.
    fn was_tried(&mut self, memo: u32, position: usize) -> bool {
        if self.visited.is_empty() {
            if self.steps < MEMO_AFTER || self.program.memo == MemoCoverage::Impossible {
                return false;
            }
            match self.memo_bits() {
                Some(bits) => self.visited = vec![0; bits / 64 + 1],
                None => return false,
            }
        }
        let bit = memo as usize * (self.text.len() + 1) + position;
        let mask = 1u64 << (bit % 64);
        let word = &mut self.visited[bit / 64];
        if *word & mask != 0 {
            return true;
        }
        *word |= mask;
        if self.program.memo == MemoCoverage::Partial {
            self.log.push(bit);
        }
        false
    }

    fn attempt(&mut self) -> Result<Result<(), FailureScope>, LimitExceeded> {
        self.stack.clear();
        self.calls.clear();
        self.saved = 0;
        self.registers.fill(UNSET);
        self.registers[0] = self.start;
        let mut place: InstructionIndex = 0;
        let mut position = self.start;
        loop {
            if self.run(place, position)? {
                return Ok(Ok(()));
            } else {
                match self.backtrack()? {
                    Ok((to, at)) => (place, position) = (to, at),
                    Err(failed) => return Ok(Err(failed)),
                }
            }
        }
    }

    /// Clears the memo bits set within a body that matched, because those attempts did not fail.
    fn clear_memo(&mut self, from: usize) {
        for bit in self.log.drain(from.min(self.log.len())..) {
            self.visited[bit / 64] &= !(1u64 << (bit % 64));
        }
    }

    /// Removes the pending alternatives above a height. Frames that restore registers stay.
    fn discard_alternatives(&mut self, height: usize) -> Result<(), LimitExceeded> {
        let mut to = height;
        for from in height..self.stack.len() {
            let stays = matches!(
                self.stack[from],
                BacktrackFrame::Undo { .. }
                    | BacktrackFrame::UndoCall
                    | BacktrackFrame::UndoReturn(_)
                    | BacktrackFrame::Mark { .. }
            );
            if stays {
                self.stack.swap(to, from);
                to += 1;
            }
        }
        let length = self.stack.len();
        self.stack.truncate(to);
        self.count_steps((length - height) / 8)
    }

    fn undo_frame(&mut self, frame: BacktrackFrame) {
        match frame {
            BacktrackFrame::Undo { register, value } => self.registers[register as usize] = value,
            BacktrackFrame::UndoCall => {
                self.calls.pop();
                self.saved = self.saved.saturating_sub(self.registers.len());
            }
            BacktrackFrame::UndoReturn(held) => {
                let (call, registers) = *held;
                self.saved = self.saved.saturating_sub(registers.len());
                self.registers = registers;
                self.calls.push(call);
            }
            _ => {}
        }
    }

    fn backtrack(
        &mut self,
    ) -> Result<Result<(InstructionIndex, usize), FailureScope>, LimitExceeded> {
        loop {
            self.count_steps(1)?;
            let Some(frame) = self.stack.pop() else {
                return Ok(Err(FailureScope::Here));
            };
            match frame {
                BacktrackFrame::Choice {
                    place, position, ..
                } => return Ok(Ok((place, position))),
                BacktrackFrame::Shrink {
                    place,
                    low,
                    position,
                } => {
                    return Ok(Ok((place, self.shrink(place, low, position)?)));
                }
                BacktrackFrame::Grow {
                    place,
                    position,
                    left,
                } => {
                    let Instruction::Repeat { members, .. } = self.program.code[place as usize]
                    else {
                        continue;
                    };
                    let Some(next) = self.member_at(members, position) else {
                        continue;
                    };
                    if left > 1 {
                        self.push(BacktrackFrame::Grow {
                            place,
                            position: next,
                            left: left - 1,
                        })?;
                    }
                    return Ok(Ok((place + 1, next)));
                }
                BacktrackFrame::Barrier {
                    resumes: Some(place),
                    position,
                } => return Ok(Ok((place, position))),
                BacktrackFrame::Cut { cut, position } => match self.handle_verb(cut, position) {
                    None => {}
                    Some(found) => return Ok(found),
                },
                frame => self.undo_frame(frame),
            }
        }
    }

    /// Returns the position of a greedy repetition with one or more characters fewer.
    fn shrink(
        &mut self,
        place: InstructionIndex,
        low: usize,
        position: usize,
    ) -> Result<usize, LimitExceeded> {
        let mut position = self.before(position).unwrap_or(low).max(low);
        // If the next instruction is a byte, goes back to a position at which this byte follows.
        if let Instruction::Byte(byte) = self.program.code[place as usize] {
            let from = position;
            while position > low && self.text.get(position) != Some(&byte) {
                position -= 1;
            }
            while self.program.utf
                && position > low
                && self.text.get(position).is_some_and(|b| b & 0xc0 == 0x80)
            {
                position -= 1;
            }
            self.count_steps((from - position) / 8)?;
        }
        if position > low {
            self.push(BacktrackFrame::Shrink {
                place,
                low,
                position,
            })?;
        }
        Ok(position)
    }

    /// Handles a verb reached by backtracking. Returns `None` when backtracking continues with
    /// earlier choices.
    fn handle_verb(
        &mut self,
        cut: BacktrackVerb,
        position: usize,
    ) -> Option<Result<(InstructionIndex, usize), FailureScope>> {
        let failed = match cut {
            BacktrackVerb::Commit => FailureScope::Everywhere,
            BacktrackVerb::Prune => FailureScope::Here,
            BacktrackVerb::Skip => FailureScope::SkipTo(position),
            BacktrackVerb::SkipTo(name) => {
                let marked = self.stack.iter().rev().find_map(|frame| match frame {
                    BacktrackFrame::Mark { mark, position } if *mark == name => Some(*position),
                    _ => None,
                });
                FailureScope::SkipTo(marked?)
            }
            BacktrackVerb::Then(_) => FailureScope::Here,
        };
        // A negative look-around, a condition or a call limits the effect of a verb.
        while let Some(frame) = self.stack.pop() {
            match frame {
                BacktrackFrame::Barrier {
                    resumes: Some(place),
                    position,
                } => return Some(Ok((place, position))),
                // A positive look-around, which then fails, limits only the effect of `(*THEN)`.
                BacktrackFrame::Barrier { resumes: None, .. }
                    if matches!(cut, BacktrackVerb::Then(_)) =>
                {
                    return None;
                }
                BacktrackFrame::Choice {
                    place,
                    position,
                    alternation,
                } if matches!(cut, BacktrackVerb::Then(then) if then == alternation) => {
                    return Some(Ok((place, position)));
                }
                BacktrackFrame::AlternationStart(start) if matches!(cut, BacktrackVerb::Then(then) if then == start) =>
                {
                    return None;
                }
                BacktrackFrame::UndoCall => {
                    self.undo_frame(BacktrackFrame::UndoCall);
                    return None;
                }
                frame => self.undo_frame(frame),
            }
        }
        Some(Err(failed))
    }

    fn match_back_reference(
        &mut self,
        groups: &[u32],
        ignore_case: bool,
        position: usize,
    ) -> Result<Option<usize>, LimitExceeded> {
        let found = groups.iter().find_map(|group| {
            let group = *group as usize * 2;
            let (start, end) = (self.registers[group], self.registers[group + 1]);
            (end != UNSET && start <= end).then_some((start, end))
        });
        let Some((start, end)) = found else {
            return Ok(None);
        };
        self.count_steps((end - start) / 8)?;
        let group = &self.text[start..end];
        let rest = &self.text[position..];
        if !ignore_case || !self.program.utf {
            let Some(here) = rest.get(..group.len()) else {
                return Ok(None);
            };
            let same = if ignore_case {
                here.eq_ignore_ascii_case(group)
            } else {
                here == group
            };
            return Ok(same.then_some(position + group.len()));
        }
        let (Ok(group), Ok(rest)) = (std::str::from_utf8(group), std::str::from_utf8(rest)) else {
            return Ok(None);
        };
        let mut length = 0;
        let mut chars = rest.chars();
        for expected in group.chars() {
            let Some(char) = chars.next() else {
                return Ok(None);
            };
            let folded = |c: char| c.to_lowercase().eq(expected.to_lowercase());
            if char != expected && !folded(char) {
                return Ok(None);
            }
            length += char.len_utf8();
        }
        Ok(Some(position + length))
    }
}
