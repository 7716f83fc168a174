//! Defines the mark of a volume whose content a command is replacing. The mark is stored before the
//! first write and removed after the last flush. A volume that has it is incomplete: the command
//! runs, or was interrupted, and the volume contains parts of two contents.

use std::num::NonZeroU64;

/// Number of bits of the start time, seconds, in the number of a mark.
const SECONDS_BITS: u32 = 40;
const RANDOM_BITS: u32 = 16;

/// Kind of command that replaces the content of a volume.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OverwriteKind {
    VolumeRestore = 1,
    VolumeImport = 2,
    GuestRestore = 3,
    GuestImport = 4,
    GuestClone = 5,
    Copy = 6,
    GuestCreate = 7,
}

const KINDS: [OverwriteKind; 7] = [
    OverwriteKind::VolumeRestore,
    OverwriteKind::VolumeImport,
    OverwriteKind::GuestRestore,
    OverwriteKind::GuestImport,
    OverwriteKind::GuestClone,
    OverwriteKind::Copy,
    OverwriteKind::GuestCreate,
];

impl OverwriteKind {
    pub fn command(self) -> &'static str {
        match self {
            OverwriteKind::VolumeRestore => "evenkeel volume restore",
            OverwriteKind::VolumeImport => "evenkeel volume import",
            OverwriteKind::GuestRestore => "evenkeel guest restore",
            OverwriteKind::GuestImport => "evenkeel guest import",
            OverwriteKind::GuestClone => "evenkeel guest clone",
            OverwriteKind::Copy => "evenkeel copy",
            OverwriteKind::GuestCreate => "evenkeel guest create",
        }
    }
}

/// Mark that one run of a command sets. The number contains the kind of command (8 bits), the start
/// time (40 bits) and random bits that distinguish runs (16 bits).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OverwriteMark(NonZeroU64);

impl OverwriteMark {
    /// Creates the mark of a command. `seconds`: start of the command, seconds since 1970.
    pub fn new(kind: OverwriteKind, seconds: u64, random: u16) -> OverwriteMark {
        let seconds = seconds & ((1 << SECONDS_BITS) - 1);
        let kind = (kind as u64) << (SECONDS_BITS + RANDOM_BITS);
        let number = kind | seconds << RANDOM_BITS | u64::from(random);
        OverwriteMark(NonZeroU64::new(number).unwrap_or(NonZeroU64::MIN))
    }

    /// Decodes the number of a mark; None for zero, which stands for no mark.
    pub fn from_number(number: u64) -> Option<OverwriteMark> {
        NonZeroU64::new(number).map(OverwriteMark)
    }

    /// Returns the number of the mark; never 0.
    pub fn number(self) -> u64 {
        self.0.get()
    }

    /// Returns the kind of the command; None if a newer release has set the mark.
    pub fn kind(self) -> Option<OverwriteKind> {
        let number = self.number() >> (SECONDS_BITS + RANDOM_BITS);
        KINDS.into_iter().find(|kind| *kind as u64 == number)
    }

    /// Returns the start of the command, seconds since 1970.
    pub fn begun_seconds(self) -> u64 {
        self.number() >> RANDOM_BITS & ((1 << SECONDS_BITS) - 1)
    }
}

/// Change of a mark by a command or an operator.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MarkChange {
    Set(OverwriteMark),
    /// Removes this mark. A different mark stays.
    Clear(OverwriteMark),
}

impl MarkChange {
    /// Returns the mark of the volume after the change; None if the change does not apply to the
    /// current mark `before`.
    pub fn applied(self, before: Option<OverwriteMark>) -> Option<Option<OverwriteMark>> {
        match self {
            MarkChange::Set(mark) => (before != Some(mark)).then_some(Some(mark)),
            MarkChange::Clear(mark) => (before == Some(mark)).then_some(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mark_contains_its_command_and_its_begin() {
        for kind in KINDS {
            for seconds in [0, 1, 1_796_043_600, (1 << 40) - 1] {
                for random in [0, 7, u16::MAX] {
                    let mark = OverwriteMark::new(kind, seconds, random);
                    let read = OverwriteMark::from_number(mark.number()).unwrap();
                    assert_eq!(read, mark);
                    assert_eq!((read.kind(), read.begun_seconds()), (Some(kind), seconds));
                }
            }
        }
        assert_eq!(OverwriteMark::from_number(0), None);
        let newer = OverwriteMark::from_number(200 << 56 | 5 << 16).unwrap();
        assert_eq!((newer.kind(), newer.begun_seconds()), (None, 5));
    }

    #[test]
    fn clear_removes_only_its_own_mark() {
        let mark = |random| OverwriteMark::new(OverwriteKind::VolumeImport, 9, random);
        let (own, other) = (mark(1), mark(2));
        assert_eq!(MarkChange::Set(own).applied(None), Some(Some(own)));
        assert_eq!(MarkChange::Set(own).applied(Some(other)), Some(Some(own)));
        assert_eq!(MarkChange::Set(own).applied(Some(own)), None);
        assert_eq!(MarkChange::Clear(own).applied(Some(own)), Some(None));
        assert_eq!(MarkChange::Clear(own).applied(Some(other)), None);
        assert_eq!(MarkChange::Clear(own).applied(None), None);
    }
}
