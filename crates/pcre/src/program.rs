//! Compiles a tree to instructions of the backtracking machine.

use super::instruction::{
    BacktrackVerb, Barrier, CharacterSet, Instruction, InstructionIndex, Register,
};
use super::linear::can_be_empty;
use super::parse::SyntaxErrorReason;
use super::set::{BYTE_MAX, Set};
use super::starts::{StartBytes, is_anchored};
use super::tree::{
    Condition, Conditional, Greed, LookAround, Newline, PatternNode, Repeat, Tree, Verb,
};

const INSTRUCTIONS_MAX: usize = 60_000;
const BEHIND_MAX: u64 = 65_535;

/// A pattern compiled to instructions. Immutable, so threads share one program.
#[derive(Debug)]
pub struct Program {
    pub(super) code: Vec<Instruction>,
    pub(super) members: Vec<CharacterSet>,
    pub(super) word: CharacterSet,
    pub(super) registers: usize,
    pub(super) groups: u32,
    pub(super) utf: bool,
    pub(super) newline: Newline,
    pub(super) skips_newlines: bool,
    pub(super) not_empty: bool,
    pub(super) not_empty_at_start: bool,
    /// A match starts only at the start of the search.
    pub(super) anchored: bool,
    /// Bytes that a match can start with; `None` when a match can start with any byte or with none.
    pub(super) starts: Option<Box<[bool; 256]>>,
    /// The extent to which the outcome at an instruction depends only on the position, so that each
    /// combination is tried only once.
    pub(super) memo: MemoCoverage,
    pub(super) memo_places: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum MemoCoverage {
    Impossible,
    /// The pattern has atomic groups or look-arounds, within which an instruction may be tried
    /// again.
    Partial,
    Full,
}

struct Compiler<'t> {
    tree: &'t Tree,
    groups: Vec<Option<&'t PatternNode>>,
    code: Vec<Instruction>,
    members: Vec<CharacterSet>,
    registers: u32,
    memo: MemoCoverage,
    memo_places: u32,
    /// Called groups, with the instructions that call them.
    calls: Vec<(u32, InstructionIndex)>,
    called: Vec<(u32, InstructionIndex)>,
    marks: Vec<Box<[u8]>>,
    alternations: u32,
    scope: Scope,
}

#[derive(Default)]
struct Scope {
    /// The innermost alternation, 0 for none.
    alternation: u32,
    /// Groups that are open within the innermost look-around or call.
    open: Vec<u32>,
    /// Jumps of `(*ACCEPT)` to the end of the innermost look-around; `None` at top level.
    accepts: Option<Vec<InstructionIndex>>,
    in_call: bool,
    /// Number of enclosing atomic groups and look-arounds.
    bodies: u32,
}

const NOWHERE: InstructionIndex = InstructionIndex::MAX;

impl Program {
    /// Compiles a tree. When the memo is impossible, each instruction is tried as often as it is
    /// reached.
    ///
    /// # Errors
    /// Fails if the program would have too many instructions, or if an alternative of a look-behind
    /// has no fixed length or a too large one.
    pub fn new(tree: &Tree) -> Result<Self, SyntaxErrorReason> {
        let mut groups = vec![None; tree.groups as usize + 1];
        collect_groups(&tree.root, &mut groups);
        groups[0] = Some(&tree.root);
        let mut compiler = Compiler {
            tree,
            groups,
            code: Vec::new(),
            members: Vec::new(),
            registers: (tree.groups + 1) * 3,
            memo: if tree.not_empty || tree.not_empty_at_start {
                MemoCoverage::Impossible
            } else {
                MemoCoverage::Full
            },
            memo_places: 0,
            calls: Vec::new(),
            called: Vec::new(),
            marks: Vec::new(),
            alternations: 0,
            scope: Scope::default(),
        };
        compiler.compile_node(&tree.root)?;
        compiler.push(Instruction::Match)?;
        compiler.subroutines()?;
        let starts = StartBytes::of(&tree.root, tree.utf);
        Ok(Program {
            anchored: is_anchored(&tree.root),
            starts,
            code: compiler.code,
            members: compiler.members,
            word: CharacterSet::new(tree.word.clone()),
            registers: compiler.registers as usize,
            groups: tree.groups,
            utf: tree.utf,
            newline: tree.newline,
            skips_newlines: !tree.has_newline_literal
                && matches!(
                    tree.newline,
                    Newline::CrLf | Newline::AnyCrLf | Newline::Any
                ),
            not_empty: tree.not_empty,
            not_empty_at_start: tree.not_empty_at_start,
            memo: compiler.memo,
            memo_places: compiler.memo_places,
        })
    }
}

fn collect_groups<'t>(node: &'t PatternNode, groups: &mut [Option<&'t PatternNode>]) {
    match node {
        PatternNode::Group(number, inner) => {
            let held = &mut groups[*number as usize];
            if held.is_none() {
                *held = Some(node);
            }
            collect_groups(inner, groups);
        }
        PatternNode::Atomic(inner) => collect_groups(inner, groups),
        PatternNode::Concat(list) | PatternNode::Alternate(list) => {
            list.iter().for_each(|node| collect_groups(node, groups));
        }
        PatternNode::Repeat(repeat) => collect_groups(&repeat.node, groups),
        PatternNode::Look(look) => collect_groups(&look.node, groups),
        PatternNode::Conditional(conditional) => {
            if let Condition::Look(look) = &conditional.condition {
                collect_groups(&look.node, groups);
            }
            collect_groups(&conditional.yes, groups);
            collect_groups(&conditional.no, groups);
        }
        _ => {}
    }
}

impl Compiler<'_> {
    fn place(&self) -> InstructionIndex {
        self.code.len() as InstructionIndex
    }

    fn push(&mut self, instruction: Instruction) -> Result<InstructionIndex, SyntaxErrorReason> {
        if self.code.len() >= INSTRUCTIONS_MAX {
            return Err(SyntaxErrorReason::Other(
                "the pattern is too large".to_owned(),
            ));
        }
        self.code.push(instruction);
        Ok(self.place() - 1)
    }

    fn patch_jump(&mut self, at: InstructionIndex) {
        let here = self.place();
        match &mut self.code[at as usize] {
            Instruction::Split { first, second, .. } => {
                let open = if *first == NOWHERE { first } else { second };
                *open = here;
            }
            Instruction::Jump(to)
            | Instruction::IfUnmoved(_, to)
            | Instruction::IfSet(_, to)
            | Instruction::IfRecursing(_, to)
            | Instruction::Enter {
                barrier: Barrier::Resumes(to),
                ..
            }
            | Instruction::LeaveNegative { to: Some(to), .. } => *to = here,
            _ => {}
        }
    }

    fn register(&mut self, count: u32) -> Register {
        self.registers += count;
        self.registers - count
    }

    fn memo_place(&mut self) -> u32 {
        self.memo_places += 1;
        self.memo_places - 1
    }

    /// Adds a split; the target that is not the next instruction stays open.
    fn split(
        &mut self,
        next_first: bool,
        alternation: u32,
    ) -> Result<InstructionIndex, SyntaxErrorReason> {
        let next = self.place() + 1;
        let (first, second) = if next_first {
            (next, NOWHERE)
        } else {
            (NOWHERE, next)
        };
        let memo = self.memo_place();
        self.push(Instruction::Split {
            first,
            second,
            memo,
            alternation,
        })
    }

    fn subroutines(&mut self) -> Result<(), SyntaxErrorReason> {
        let mut done = 0;
        while done < self.calls.len() {
            let (group, at) = self.calls[done];
            done += 1;
            let known = self
                .called
                .iter()
                .find(|(called, _)| *called == group)
                .map(|(_, to)| *to);
            let target = match known {
                Some(to) => to,
                None => {
                    let to = self.place();
                    self.called.push((group, to));
                    self.scope = Scope {
                        in_call: true,
                        ..Scope::default()
                    };
                    if let Some(node) = self.groups[group as usize] {
                        self.compile_node(node)?;
                    }
                    self.push(Instruction::Return)?;
                    to
                }
            };
            if let Instruction::Call { to, .. } = &mut self.code[at as usize] {
                *to = target;
            }
        }
        Ok(())
    }

    fn set(&mut self, set: &Set) -> u32 {
        self.members.push(CharacterSet::new(set.clone()));
        self.members.len() as u32 - 1
    }

    fn compile_node(&mut self, node: &PatternNode) -> Result<(), SyntaxErrorReason> {
        match node {
            PatternNode::Empty => {}
            PatternNode::Char(char) => self.char(*char)?,
            PatternNode::Set(set) => {
                let members = self.set(set);
                self.push(Instruction::One(members))?;
            }
            PatternNode::AnyByte => {
                self.push(Instruction::AnyByte)?;
            }
            PatternNode::Assert(assertion) => {
                self.push(Instruction::Assert(*assertion))?;
            }
            PatternNode::KeepOut => {
                self.push(Instruction::KeepOut)?;
            }
            PatternNode::Group(number, node) => {
                let start = (self.tree.groups + 1) * 2 + number;
                self.push(Instruction::Store(start))?;
                self.scope.open.push(*number);
                self.compile_node(node)?;
                self.scope.open.pop();
                self.push(Instruction::Close {
                    group: *number,
                    start,
                })?;
            }
            PatternNode::Concat(list) => {
                for node in list {
                    self.compile_node(node)?;
                }
            }
            PatternNode::Alternate(list) => self.alternate(list, None)?,
            PatternNode::Repeat(repeat) => self.repeat(repeat)?,
            PatternNode::Atomic(node) => self.atomic(|compiler| compiler.compile_node(node))?,
            PatternNode::Look(look) => self.compile_look_around(look)?,
            PatternNode::BackReference {
                groups,
                ignore_case,
            } => {
                self.memo = MemoCoverage::Impossible;
                self.push(Instruction::Same {
                    groups: groups.as_slice().into(),
                    ignore_case: *ignore_case,
                })?;
            }
            PatternNode::Call(group) => {
                self.memo = MemoCoverage::Impossible;
                let at = self.push(Instruction::Call {
                    group: *group,
                    to: NOWHERE,
                })?;
                self.calls.push((*group, at));
            }
            PatternNode::Conditional(conditional) => self.conditional(conditional)?,
            PatternNode::Verb(verb) => self.verb(verb)?,
        }
        Ok(())
    }

    fn char(&mut self, char: u32) -> Result<(), SyntaxErrorReason> {
        match (self.tree.utf, char::from_u32(char)) {
            (true, Some(char)) => {
                let mut buffer = [0; 4];
                for byte in char.encode_utf8(&mut buffer).bytes() {
                    self.push(Instruction::Byte(byte))?;
                }
            }
            _ => {
                self.push(Instruction::Byte(char as u8))?;
            }
        }
        Ok(())
    }

    /// Compiles alternatives; those of a look-behind first go back by their length.
    fn alternate(
        &mut self,
        list: &[PatternNode],
        back: Option<&[u32]>,
    ) -> Result<(), SyntaxErrorReason> {
        let outer = self.scope.alternation;
        if list.iter().any(has_then) {
            self.alternations += 1;
            self.scope.alternation = self.alternations;
            self.push(Instruction::AlternationStart(self.scope.alternation))?;
        } else {
            self.scope.alternation = 0;
        }
        let alternation = self.scope.alternation;
        let mut ends = Vec::new();
        for (n, node) in list.iter().enumerate() {
            let last = n + 1 == list.len();
            let split = if last {
                None
            } else {
                Some(self.split(true, alternation)?)
            };
            if let Some(back) = back {
                self.push(Instruction::Back(back[n]))?;
            }
            self.scope.alternation = if alternation == 0 { outer } else { alternation };
            self.compile_node(node)?;
            if let Some(split) = split {
                ends.push(self.push(Instruction::Jump(NOWHERE))?);
                self.patch_jump(split);
            }
        }
        for end in ends {
            self.patch_jump(end);
        }
        self.scope.alternation = outer;
        Ok(())
    }

    fn repeat(&mut self, repeat: &Repeat) -> Result<(), SyntaxErrorReason> {
        let Repeat {
            node,
            min,
            max,
            greed,
        } = repeat;
        if *max == Some(0) {
            return Ok(());
        }
        if *greed == Greed::Possessive && !is_single(node) {
            return self.atomic(|compiler| compiler.copies(node, *min, *max, Greed::Greedy));
        }
        self.copies(node, *min, *max, *greed)
    }

    fn copies(
        &mut self,
        node: &PatternNode,
        min: u32,
        max: Option<u32>,
        greed: Greed,
    ) -> Result<(), SyntaxErrorReason> {
        if is_single(node) && !(self.tree.utf && matches!(node, PatternNode::AnyByte)) {
            let members = match node {
                PatternNode::Char(char) => self.set(&Set::from_ranges(&[(*char, *char)])),
                PatternNode::Set(set) => self.set(set),
                _ => self.set(&Set::default().negated(BYTE_MAX)),
            };
            let memo = self.memo_place();
            self.push(Instruction::Repeat {
                members,
                min,
                max,
                greed,
                memo,
            })?;
            return Ok(());
        }
        let greedy = greed != Greed::Lazy;
        let looped = u32::from(max.is_none() && min > 0);
        for _ in 0..min - looped {
            self.compile_node(node)?;
        }
        match max {
            None => self.unlimited(node, min == 0, greedy)?,
            Some(max) => {
                let mut open = Vec::new();
                for _ in min..max {
                    open.push(self.split(greedy, 0)?);
                    self.compile_node(node)?;
                }
                for open in open {
                    self.patch_jump(open);
                }
            }
        }
        Ok(())
    }

    fn unlimited(
        &mut self,
        node: &PatternNode,
        may_skip: bool,
        greedy: bool,
    ) -> Result<(), SyntaxErrorReason> {
        let skip = if may_skip {
            Some(self.split(greedy, 0)?)
        } else {
            None
        };
        let start = self.place();
        let check = if can_be_empty(node) {
            let register = self.register(1);
            self.push(Instruction::Store(register))?;
            Some(register)
        } else {
            None
        };
        self.compile_node(node)?;
        let exit = match check {
            Some(register) => Some(self.push(Instruction::IfUnmoved(register, NOWHERE))?),
            None => None,
        };
        let memo = self.memo_place();
        let end = self.place() + 1;
        let (first, second) = if greedy { (start, end) } else { (end, start) };
        self.push(Instruction::Split {
            first,
            second,
            memo,
            alternation: 0,
        })?;
        for open in [skip, exit].into_iter().flatten() {
            self.patch_jump(open);
        }
        Ok(())
    }

    fn emit_enter(
        &mut self,
        barrier: Barrier,
    ) -> Result<(Register, InstructionIndex), SyntaxErrorReason> {
        if self.memo == MemoCoverage::Full {
            self.memo = MemoCoverage::Partial;
        }
        let registers = self.register(3);
        let at = self.push(Instruction::Enter {
            registers,
            outermost: self.scope.bodies == 0,
            barrier,
        })?;
        self.scope.bodies += 1;
        Ok((registers, at))
    }

    fn atomic(
        &mut self,
        body: impl FnOnce(&mut Self) -> Result<(), SyntaxErrorReason>,
    ) -> Result<(), SyntaxErrorReason> {
        let (registers, _) = self.emit_enter(Barrier::None)?;
        body(self)?;
        self.scope.bodies -= 1;
        self.push(Instruction::Leave {
            registers,
            moves: true,
            cuts: true,
        })?;
        Ok(())
    }

    /// Compiles the body of a look-around, with its own scope for verbs.
    fn compile_look_body(&mut self, look: &LookAround) -> Result<(), SyntaxErrorReason> {
        let outer_open = std::mem::take(&mut self.scope.open);
        let outer_accepts = self.scope.accepts.replace(Vec::new());
        let outer_alternation = std::mem::replace(&mut self.scope.alternation, 0);
        if look.ahead {
            self.compile_node(&look.node)?
        } else {
            let branches = match &look.node {
                PatternNode::Alternate(list) => list.as_slice(),
                node => std::slice::from_ref(node),
            };
            let mut lengths = Vec::new();
            for branch in branches {
                match self.fixed_length(branch, 0) {
                    Some(length) if length <= BEHIND_MAX => lengths.push(length as u32),
                    Some(_) => {
                        return Err(SyntaxErrorReason::Other(format!(
                            "a look-behind goes back at most {BEHIND_MAX} characters"
                        )));
                    }
                    None => {
                        return Err(SyntaxErrorReason::Other(
                            "each alternative of a look-behind has a fixed length".to_owned(),
                        ));
                    }
                }
            }
            self.alternate(branches, Some(&lengths))?;
        }
        for accept in self.scope.accepts.take().unwrap_or_default() {
            self.patch_jump(accept);
        }
        self.scope.open = outer_open;
        self.scope.accepts = outer_accepts;
        self.scope.alternation = outer_alternation;
        self.scope.bodies -= 1;
        Ok(())
    }

    fn compile_look_around(&mut self, look: &LookAround) -> Result<(), SyntaxErrorReason> {
        if look.negated {
            let (registers, enter) = self.emit_enter(Barrier::Resumes(NOWHERE))?;
            self.compile_look_body(look)?;
            self.push(Instruction::LeaveNegative {
                registers,
                to: None,
            })?;
            self.patch_jump(enter);
            return Ok(());
        }
        if look.reenters {
            self.memo = MemoCoverage::Impossible;
        }
        let (registers, _) = self.emit_enter(Barrier::Fails)?;
        self.compile_look_body(look)?;
        self.push(Instruction::Leave {
            registers,
            moves: false,
            cuts: !look.reenters,
        })?;
        Ok(())
    }

    fn conditional(&mut self, conditional: &Conditional) -> Result<(), SyntaxErrorReason> {
        let otherwise = match &conditional.condition {
            Condition::Always(true) => return self.compile_node(&conditional.yes),
            Condition::Always(false) => return self.compile_node(&conditional.no),
            Condition::Groups(groups) => {
                self.memo = MemoCoverage::Impossible;
                self.push(Instruction::IfSet(groups.as_slice().into(), NOWHERE))?
            }
            Condition::Recursing(groups) => {
                self.memo = MemoCoverage::Impossible;
                let groups = groups.as_deref().map(Into::into);
                self.push(Instruction::IfRecursing(groups, NOWHERE))?
            }
            Condition::Look(look) if look.negated => {
                let (registers, enter) = self.emit_enter(Barrier::Resumes(NOWHERE))?;
                self.compile_look_body(look)?;
                let leave = self.push(Instruction::LeaveNegative {
                    registers,
                    to: Some(NOWHERE),
                })?;
                self.patch_jump(enter);
                leave
            }
            Condition::Look(look) => {
                let (registers, enter) = self.emit_enter(Barrier::Resumes(NOWHERE))?;
                self.compile_look_body(look)?;
                self.push(Instruction::Leave {
                    registers,
                    moves: false,
                    cuts: true,
                })?;
                enter
            }
        };
        self.compile_node(&conditional.yes)?;
        let end = self.push(Instruction::Jump(NOWHERE))?;
        self.patch_jump(otherwise);
        self.compile_node(&conditional.no)?;
        self.patch_jump(end);
        Ok(())
    }

    fn mark(&mut self, name: &[u8]) -> u32 {
        match self.marks.iter().position(|mark| **mark == *name) {
            Some(at) => at as u32,
            None => {
                self.marks.push(name.into());
                self.marks.len() as u32 - 1
            }
        }
    }

    fn verb(&mut self, verb: &Verb) -> Result<(), SyntaxErrorReason> {
        if *verb == Verb::Fail {
            self.push(Instruction::Fail)?;
            return Ok(());
        }
        self.memo = MemoCoverage::Impossible;
        let instruction = match verb {
            Verb::Accept => {
                for group in self.scope.open.clone() {
                    let start = (self.tree.groups + 1) * 2 + group;
                    self.push(Instruction::Close { group, start })?;
                }
                match (&mut self.scope.accepts, self.scope.in_call) {
                    (Some(_), _) => {
                        let jump = self.push(Instruction::Jump(NOWHERE))?;
                        self.scope.accepts.get_or_insert_default().push(jump);
                        return Ok(());
                    }
                    (None, true) => Instruction::Return,
                    (None, false) => Instruction::Match,
                }
            }
            Verb::Fail => Instruction::Fail,
            Verb::Commit => Instruction::Cut(BacktrackVerb::Commit),
            Verb::Prune => Instruction::Cut(BacktrackVerb::Prune),
            Verb::Skip(None) => Instruction::Cut(BacktrackVerb::Skip),
            Verb::Skip(Some(name)) => Instruction::Cut(BacktrackVerb::SkipTo(self.mark(name))),
            Verb::Then if self.scope.alternation == 0 => Instruction::Cut(BacktrackVerb::Prune),
            Verb::Then => Instruction::Cut(BacktrackVerb::Then(self.scope.alternation)),
            Verb::Mark(name) => Instruction::Mark(self.mark(name)),
        };
        self.push(instruction)?;
        Ok(())
    }

    fn fixed_length(&self, node: &PatternNode, depth: u32) -> Option<u64> {
        if depth > 50 {
            return None;
        }
        let length = |node: &PatternNode| self.fixed_length(node, depth + 1);
        let group = |number: &u32| length(self.groups.get(*number as usize).copied().flatten()?);
        let same = |mut lengths: Box<dyn Iterator<Item = Option<u64>> + '_>| {
            let first = lengths.next()??;
            lengths.all(|other| other == Some(first)).then_some(first)
        };
        match node {
            PatternNode::Empty
            | PatternNode::Assert(_)
            | PatternNode::KeepOut
            | PatternNode::Look(_) => Some(0),
            PatternNode::Verb(Verb::Accept) => None,
            PatternNode::Verb(_) => Some(0),
            PatternNode::Char(_) | PatternNode::Set(_) => Some(1),
            PatternNode::AnyByte => (!self.tree.utf).then_some(1),
            PatternNode::Group(_, node) | PatternNode::Atomic(node) => length(node),
            PatternNode::Concat(list) => list.iter().try_fold(0u64, |sum, node| {
                sum.checked_add(length(node)?).filter(|sum| *sum < 1 << 40)
            }),
            PatternNode::Alternate(list) => same(Box::new(list.iter().map(length))),
            PatternNode::Repeat(repeat) if repeat.max == Some(repeat.min) => {
                length(&repeat.node)?.checked_mul(u64::from(repeat.min))
            }
            PatternNode::Repeat(_) => None,
            PatternNode::BackReference { groups, .. } => match groups.as_slice() {
                [one] => group(one),
                _ => None,
            },
            PatternNode::Call(number) => group(number),
            PatternNode::Conditional(conditional) => match conditional.condition {
                Condition::Always(true) => length(&conditional.yes),
                Condition::Always(false) => Some(0),
                _ => same(Box::new(
                    [&conditional.yes, &conditional.no].into_iter().map(length),
                )),
            },
        }
    }
}

fn is_single(node: &PatternNode) -> bool {
    matches!(
        node,
        PatternNode::Char(_) | PatternNode::Set(_) | PatternNode::AnyByte
    )
}

/// Returns whether a node contains `(*THEN)` outside of further alternations and look-arounds.
fn has_then(node: &PatternNode) -> bool {
    match node {
        PatternNode::Verb(verb) => *verb == Verb::Then,
        PatternNode::Group(_, node) | PatternNode::Atomic(node) => has_then(node),
        PatternNode::Concat(list) => list.iter().any(has_then),
        PatternNode::Repeat(repeat) => has_then(&repeat.node),
        PatternNode::Conditional(conditional) => {
            has_then(&conditional.yes) || has_then(&conditional.no)
        }
        _ => false,
    }
}
