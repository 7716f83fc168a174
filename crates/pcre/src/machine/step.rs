//! Executes the instructions of the machine.

use super::{BacktrackFrame, BacktrackMachine, CALLS_MAX, Call, LimitExceeded, UNSET};
use crate::instruction::{Barrier, Instruction, InstructionIndex};
use crate::tree::Greed;

struct MachinePosition {
    place: InstructionIndex,
    position: usize,
}

enum StepResult {
    Next,
    Failed,
    Matched,
}

impl BacktrackMachine<'_> {
    /// Executes instructions until a match (returns true) or a failure (returns false).
    pub(super) fn run(
        &mut self,
        place: InstructionIndex,
        position: usize,
    ) -> Result<bool, LimitExceeded> {
        let program = self.program;
        let mut at = MachinePosition { place, position };
        loop {
            self.count_steps(1)?;
            let instruction = &program.code[at.place as usize];
            at.place += 1;
            match self.execute_instruction(instruction, &mut at)? {
                StepResult::Next => {}
                StepResult::Failed => return Ok(false),
                StepResult::Matched => return Ok(true),
            }
        }
    }

    fn execute_instruction(
        &mut self,
        instruction: &Instruction,
        at: &mut MachinePosition,
    ) -> Result<StepResult, LimitExceeded> {
        match instruction {
            Instruction::Byte(byte) => {
                if self.text.get(at.position) != Some(byte) {
                    return Ok(StepResult::Failed);
                }
                at.position += 1;
            }
            Instruction::One(members) => match self.member_at(*members, at.position) {
                Some(next) => at.position = next,
                None => return Ok(StepResult::Failed),
            },
            Instruction::AnyByte => {
                if at.position >= self.text.len() {
                    return Ok(StepResult::Failed);
                }
                at.position += 1;
            }
            Instruction::Assert(assertion) => {
                if !self.assertion_holds(*assertion, at.position) {
                    return Ok(StepResult::Failed);
                }
            }
            Instruction::KeepOut => self.set(0, at.position)?,
            Instruction::Store(register) => self.set(*register, at.position)?,
            Instruction::IfUnmoved(register, to) => {
                if self.registers[*register as usize] == at.position {
                    at.place = *to;
                }
            }
            Instruction::Close { group, start } => {
                let start = self.registers[*start as usize];
                self.set(group * 2, start)?;
                self.set(group * 2 + 1, at.position)?;
            }
            Instruction::Same {
                groups,
                ignore_case,
            } => match self.match_back_reference(groups, *ignore_case, at.position)? {
                Some(next) => at.position = next,
                None => return Ok(StepResult::Failed),
            },
            Instruction::Back(count) => return self.move_back(at, *count),
            Instruction::Jump(to) => at.place = *to,
            Instruction::Fail => return Ok(StepResult::Failed),
            Instruction::Match => return self.matched(at),
            _ => return self.choose(instruction, at),
        }
        Ok(StepResult::Next)
    }

    /// Executes instructions that leave alternatives, and verbs.
    fn choose(
        &mut self,
        instruction: &Instruction,
        at: &mut MachinePosition,
    ) -> Result<StepResult, LimitExceeded> {
        match instruction {
            Instruction::Split {
                first,
                second,
                memo,
                alternation,
            } => {
                if self.was_tried(*memo, at.position) {
                    return Ok(StepResult::Failed);
                }
                self.push(BacktrackFrame::Choice {
                    place: *second,
                    position: at.position,
                    alternation: *alternation,
                })?;
                at.place = *first;
            }
            Instruction::IfSet(groups, to) => {
                let is_set = |group: &u32| self.registers[*group as usize * 2 + 1] != UNSET;
                if !groups.iter().any(is_set) {
                    at.place = *to;
                }
            }
            Instruction::IfRecursing(groups, to) => {
                let recursing = self.calls.last().is_some_and(|call| {
                    groups
                        .as_ref()
                        .is_none_or(|groups| groups.contains(&call.group))
                });
                if !recursing {
                    at.place = *to;
                }
            }
            Instruction::AlternationStart(alternation) => {
                self.push(BacktrackFrame::AlternationStart(*alternation))?;
            }
            Instruction::Mark(mark) => self.push(BacktrackFrame::Mark {
                mark: *mark,
                position: at.position,
            })?,
            Instruction::Cut(cut) => self.push(BacktrackFrame::Cut {
                cut: *cut,
                position: at.position,
            })?,
            _ => return self.enter_or_leave(instruction, at),
        }
        Ok(StepResult::Next)
    }

    /// Executes instructions for repetitions, bodies and calls.
    fn enter_or_leave(
        &mut self,
        instruction: &Instruction,
        at: &mut MachinePosition,
    ) -> Result<StepResult, LimitExceeded> {
        match instruction {
            Instruction::Repeat {
                members,
                min,
                max,
                greed,
                memo,
            } => return self.repeat(at, *members, *min, *max, *greed, *memo),
            Instruction::Enter {
                registers,
                outermost,
                barrier,
            } => return self.enter(at, *registers, *outermost, *barrier),
            Instruction::Leave {
                registers,
                moves,
                cuts,
            } => return self.leave(at, *registers, *moves, *cuts),
            Instruction::LeaveNegative { registers, to } => {
                return self.leave_negative(at, *registers, *to);
            }
            Instruction::Call { group, to } => return self.call(at, *group, *to),
            Instruction::Return => return self.return_from_call(at),
            _ => {}
        }
        Ok(StepResult::Next)
    }

    fn move_back(
        &mut self,
        at: &mut MachinePosition,
        count: u32,
    ) -> Result<StepResult, LimitExceeded> {
        if self.program.utf {
            for _ in 0..count {
                match self.before(at.position) {
                    Some(previous) => at.position = previous,
                    None => return Ok(StepResult::Failed),
                }
            }
            self.count_steps(count as usize / 8)?;
        } else {
            match at.position.checked_sub(count as usize) {
                Some(previous) => at.position = previous,
                None => return Ok(StepResult::Failed),
            }
        }
        Ok(StepResult::Next)
    }

    fn matched(&mut self, at: &mut MachinePosition) -> Result<StepResult, LimitExceeded> {
        let empty = at.position == self.registers[0];
        let refused = self.program.not_empty
            || (self.program.not_empty_at_start && self.start == 0 && at.position == 0);
        if empty && refused {
            return Ok(StepResult::Failed);
        }
        self.registers[1] = at.position;
        Ok(StepResult::Matched)
    }

    fn repeat(
        &mut self,
        at: &mut MachinePosition,
        members: u32,
        min: u32,
        max: Option<u32>,
        greed: Greed,
        memo: u32,
    ) -> Result<StepResult, LimitExceeded> {
        if self.was_tried(memo, at.position) {
            return Ok(StepResult::Failed);
        }
        let mut count = 0;
        while count < min {
            match self.member_at(members, at.position) {
                Some(next) => at.position = next,
                None => return Ok(StepResult::Failed),
            }
            count += 1;
        }
        let low = at.position;
        let most = max.unwrap_or(u32::MAX);
        if greed == Greed::Lazy {
            if count < most {
                self.push(BacktrackFrame::Grow {
                    place: at.place - 1,
                    position: at.position,
                    left: most - count,
                })?;
            }
            return Ok(StepResult::Next);
        }
        // If an earlier try of this repetition reached the same position, all longer repetitions
        // from there have failed.
        let shares = greed == Greed::Greedy && max.is_none() && min <= 1;
        while count < most {
            match self.member_at(members, at.position) {
                Some(next) => at.position = next,
                None => break,
            }
            count += 1;
            if shares && self.was_tried(memo, at.position) {
                break;
            }
        }
        self.count_steps(count as usize / 8)?;
        if greed == Greed::Greedy && at.position > low {
            self.push(BacktrackFrame::Shrink {
                place: at.place,
                low,
                position: at.position,
            })?;
        }
        Ok(StepResult::Next)
    }

    fn enter(
        &mut self,
        at: &mut MachinePosition,
        registers: u32,
        outermost: bool,
        barrier: Barrier,
    ) -> Result<StepResult, LimitExceeded> {
        if outermost {
            self.log.clear();
        }
        self.set(registers, 0)?;
        self.set(registers + 1, at.position)?;
        self.set(registers + 2, self.log.len())?;
        self.registers[registers as usize] = self.stack.len();
        let resumes = match barrier {
            Barrier::None => return Ok(StepResult::Next),
            Barrier::Fails => None,
            Barrier::Resumes(to) => Some(to),
        };
        self.push(BacktrackFrame::Barrier {
            resumes,
            position: at.position,
        })?;
        Ok(StepResult::Next)
    }

    fn leave(
        &mut self,
        at: &mut MachinePosition,
        registers: u32,
        moves: bool,
        cuts: bool,
    ) -> Result<StepResult, LimitExceeded> {
        let height = self.registers[registers as usize];
        if !moves {
            at.position = self.registers[registers as usize + 1];
        }
        self.clear_memo(self.registers[registers as usize + 2]);
        if cuts {
            self.discard_alternatives(height)?;
        }
        Ok(StepResult::Next)
    }

    fn leave_negative(
        &mut self,
        at: &mut MachinePosition,
        registers: u32,
        to: Option<InstructionIndex>,
    ) -> Result<StepResult, LimitExceeded> {
        let height = self.registers[registers as usize];
        let start = self.registers[registers as usize + 1];
        self.clear_memo(self.registers[registers as usize + 2]);
        while self.stack.len() > height {
            if let Some(frame) = self.stack.pop() {
                self.undo_frame(frame);
            }
        }
        match to {
            Some(to) => (at.place, at.position) = (to, start),
            None => return Ok(StepResult::Failed),
        }
        Ok(StepResult::Next)
    }

    fn call(
        &mut self,
        at: &mut MachinePosition,
        group: u32,
        to: InstructionIndex,
    ) -> Result<StepResult, LimitExceeded> {
        let again = |call: &Call| call.group == group && call.position == at.position;
        if self.calls.iter().any(again) || self.calls.len() >= CALLS_MAX {
            return Err(LimitExceeded);
        }
        self.saved += self.registers.len();
        self.calls.push(Call {
            group,
            back: at.place,
            position: at.position,
            registers: self.registers.clone(),
        });
        self.push(BacktrackFrame::UndoCall)?;
        self.count_steps(self.registers.len() / 8)?;
        at.place = to;
        Ok(StepResult::Next)
    }

    fn return_from_call(&mut self, at: &mut MachinePosition) -> Result<StepResult, LimitExceeded> {
        let Some(call) = self.calls.pop() else {
            return Ok(StepResult::Failed);
        };
        self.saved += self.registers.len();
        let mut registers = call.registers.clone();
        // The match start that \K moved stays.
        registers[0] = self.registers[0];
        let inner = std::mem::replace(&mut self.registers, registers);
        at.place = call.back;
        self.push(BacktrackFrame::UndoReturn(Box::new((call, inner))))?;
        Ok(StepResult::Next)
    }
}
