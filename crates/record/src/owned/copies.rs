//! Keeps this node's copies of the parts of the keys that other nodes own: applies the messages of
//! the owners, and decides which copy is complete, and for which owner and epoch.

use super::{CHANGES_MAX, OwnedChange, OwnedContent, OwnedMessage, PARTS_MAX};
use crate::defect::Defect;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Copies of the parts of other nodes.
#[derive(Debug)]
pub struct OwnedCopies<C: OwnedChange> {
    whole: BTreeMap<usize, OwnedCopy<C>>,
    /// Incomplete copies. The previous copy of a part stays in `whole` until the new one is
    /// complete.
    coming: BTreeMap<usize, OwnedCopy<C>>,
    /// Epoch in which this node last owned each part: messages of earlier owners are ignored.
    held: BTreeMap<usize, u64>,
    /// Generation of the copies on disk. `opened` is that of the files when they were read.
    generation: u32,
    opened: u32,
    defect: Option<Defect>,
}

impl<C: OwnedChange> Default for OwnedCopies<C> {
    fn default() -> OwnedCopies<C> {
        OwnedCopies {
            whole: BTreeMap::new(),
            coming: BTreeMap::new(),
            held: BTreeMap::new(),
            generation: 0,
            opened: 0,
            defect: None,
        }
    }
}

/// Copy, at this node, of the records of a part of the keys that another node owns or owned.
#[derive(Clone, PartialEq, Debug)]
pub struct OwnedCopy<C: OwnedChange> {
    /// Node that owns or owned the part.
    pub node: String,
    /// Epoch in which the node owned the part.
    pub epoch: u64,
    /// Checksum of the division of the keys into parts.
    pub division: u64,
    known: BTreeMap<C::Key, C>,
    by_group: HashMap<C::Group, BTreeSet<C::Key>>,
}

impl<C: OwnedChange> OwnedCopy<C> {
    pub fn new(node: &str, epoch: u64, division: u64) -> OwnedCopy<C> {
        OwnedCopy {
            node: node.to_owned(),
            epoch,
            division,
            known: BTreeMap::new(),
            by_group: HashMap::new(),
        }
    }

    /// Returns whether the copy has what a node decided in an epoch.
    fn is_of(&self, node: &str, epoch: u64) -> bool {
        self.node == node && self.epoch == epoch
    }

    /// Applies changes to the copy.
    pub fn change(&mut self, changes: &[C]) {
        for change in changes {
            let key = change.key();
            let before = if change.has_record() {
                self.known.insert(key, *change)
            } else {
                self.known.remove(&key)
            };
            if let Some(group) = before.and_then(|before| before.group())
                && let Entry::Occupied(mut all) = self.by_group.entry(group)
            {
                all.get_mut().remove(&key);
                if all.get().is_empty() {
                    all.remove();
                }
            }
            if let Some(group) = change.group() {
                self.by_group.entry(group).or_default().insert(key);
            }
        }
    }

    /// Returns the state of each key that has a record.
    pub fn known(&self) -> impl ExactSizeIterator<Item = &C> {
        self.known.values()
    }

    /// Returns the state of a key that has a record.
    pub fn get(&self, key: C::Key) -> Option<&C> {
        self.known.get(&key)
    }

    /// Returns the keys that a client has in this copy.
    fn of_group(&self, group: C::Group) -> impl Iterator<Item = C::Key> {
        self.by_group.get(&group).into_iter().flatten().copied()
    }
}

/// Effect of a message on the copies of a node. After `Whole` and `Changes`, the copy has to be on
/// disk before the owner gets a confirmation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CopyEffect {
    /// The message needs no confirmation.
    Some,
    Whole,
    /// A message has changed a complete copy.
    Changes,
}

/// Reason for which a message is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum OwnedCopyError {
    /// The node with the copy has itself owned the part, in the epoch of the message or in a later
    /// one.
    #[error("the part has another owner since")]
    Old,
    /// The start of the copy is missing.
    #[error("records of a part whose beginning is missing")]
    NotBegun,
    /// The message exceeds a limit: the number of the part, its changes, or the keys of a copy.
    #[error("more records than a part can have")]
    TooMuch,
}

impl<C: OwnedChange> OwnedCopies<C> {
    /// Plants a defect for a simulation.
    #[cfg(any(test, feature = "defects"))]
    pub fn set_defect(&mut self, defect: Option<Defect>) {
        self.defect = defect;
    }

    fn has_defect(&self, defect: Defect) -> bool {
        cfg!(any(test, feature = "defects")) && self.defect == Some(defect)
    }

    /// Records that this node owns a part: messages of the previous owner no longer apply.
    pub fn hold(&mut self, part: usize, epoch: u64) {
        let held = self.held.entry(part).or_default();
        *held = epoch.max(*held);
        self.coming.remove(&part);
    }

    /// Adds a complete copy that was read from disk.
    pub fn restore(&mut self, part: usize, copy: OwnedCopy<C>) {
        self.whole.insert(part, copy);
    }

    /// Returns the number of writes of copies, over all starts: older copies of the files have a
    /// smaller one.
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// Returns the generation of the files when they were read.
    pub fn opened_generation(&self) -> u32 {
        self.opened
    }

    /// Records that copies of a generation are on disk.
    pub fn stored(&mut self, generation: u32) {
        self.generation = self.generation.max(generation);
    }

    /// Records that copies of a generation were read from disk.
    pub fn read(&mut self, generation: u32) {
        self.stored(generation);
        self.opened = self.generation;
    }

    /// Drops all copies, because their files are older than the recorded generation.
    pub fn forget_older(&mut self, newest: u32) {
        self.whole.clear();
        self.coming.clear();
        self.read(newest);
    }

    /// Drops this node's complete and incomplete copies of a part of the keys.
    pub fn forget(&mut self, part: usize) {
        self.whole.remove(&part);
        self.coming.remove(&part);
    }

    /// Returns this node's copy of a part of the keys, if the copy has everything that this owner
    /// decided in this epoch.
    pub fn of(&self, part: usize, node: &str, epoch: u64) -> Option<&OwnedCopy<C>> {
        let coming = self.coming.get(&part);
        let coming = coming.filter(|_| self.has_defect(Defect::HalfCopyCounts));
        let copy = coming.or(self.whole.get(&part));
        copy.filter(|copy| copy.is_of(node, epoch))
    }

    /// Returns this node's complete copy of a part of the keys; None if there is none.
    pub fn whole(&self, part: usize) -> Option<&OwnedCopy<C>> {
        self.whole.get(&part)
    }

    /// Returns a key that a client has in a part of another node, and that node. `is_its`: returns
    /// whether a key belongs to a part.
    pub fn key_of(
        &self,
        group: C::Group,
        is_its: impl Fn(usize, C::Key) -> bool,
    ) -> Option<(C::Key, &str)> {
        let is_its = &is_its;
        let mut all = self.others().flat_map(|(part, copy)| {
            let its = copy.of_group(group).filter(move |key| is_its(part, *key));
            its.map(|key| (key, copy.node.as_str()))
        });
        all.next()
    }

    /// Returns the copies of parts that another node has owned since this one did.
    pub fn others(&self) -> impl Iterator<Item = (usize, &OwnedCopy<C>)> {
        let is_held = |part: &usize, copy: &OwnedCopy<C>| {
            self.held.get(part).is_some_and(|held| copy.epoch <= *held)
        };
        let others = self.whole.iter();
        let others = others.filter(move |(part, copy)| !is_held(part, copy));
        others.map(|(part, copy)| (*part, copy))
    }

    /// Returns this node's incomplete copy of a part of the keys.
    #[cfg(any(test, feature = "defects"))]
    pub fn coming(&self, part: usize) -> Option<&OwnedCopy<C>> {
        self.coming.get(&part)
    }

    /// Applies a message of an owner.
    ///
    /// # Errors
    /// This node has owned the part in this epoch or a later one, the start of the copy is missing,
    /// or a limit is exceeded.
    pub fn take(
        &mut self,
        node: &str,
        message: &OwnedMessage<C>,
    ) -> Result<CopyEffect, OwnedCopyError> {
        let (part, epoch) = (message.part, message.epoch);
        if part >= PARTS_MAX {
            return Err(OwnedCopyError::TooMuch);
        }
        let is_old = self.held.get(&part).is_some_and(|held| epoch <= *held);
        if is_old {
            return Err(OwnedCopyError::Old);
        }
        let is_its = |copy: &OwnedCopy<C>| copy.is_of(node, epoch);
        match &message.content {
            OwnedContent::Begin(division) => {
                let copy = OwnedCopy::new(node, epoch, *division);
                self.coming.insert(part, copy);
                Ok(CopyEffect::Some)
            }
            OwnedContent::Changes(changes) => {
                let coming = self.coming.get_mut(&part).filter(|copy| is_its(copy));
                let whole = self.whole.get_mut(&part).filter(|copy| is_its(copy));
                let (copy, effect) = match (coming, whole) {
                    (Some(copy), _) => (copy, CopyEffect::Some),
                    (None, Some(copy)) => (copy, CopyEffect::Changes),
                    (None, None) => return Err(OwnedCopyError::NotBegun),
                };
                let keys = copy.known.len() + changes.len();
                if changes.len() > CHANGES_MAX || keys > C::KEYS_MAX + CHANGES_MAX {
                    return Err(OwnedCopyError::TooMuch);
                }
                copy.change(changes);
                Ok(effect)
            }
            OwnedContent::Whole => {
                let coming = self.coming.remove(&part).filter(is_its);
                let whole = coming.ok_or(OwnedCopyError::NotBegun)?;
                self.whole.insert(part, whole);
                Ok(CopyEffect::Whole)
            }
        }
    }
}
