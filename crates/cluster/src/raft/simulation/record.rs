//! Records the requests of clients with their results, and defines the single copy that they must
//! match.

use super::linear::{self, Model, Operation};
use crate::command::{CommandRefusal, CommandResult};
use std::collections::BTreeMap;

/// Key that clients read and write: a lease by name, or the versions.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Key {
    Lease(u8),
    Versions,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ClientOp {
    Read,
    Grant { holder: u64, after: u64 },
    Release { from: u64, epoch: u64 },
    Propose { fit: bool },
    TakeBack { version: u64 },
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Observed {
    Is(Single),
    Given(u64),
    Done,
    Held(u64),
    Old,
    Busy(u64),
    Unfit,
    /// Result that no single copy would return.
    Nonsense(String),
}

impl Observed {
    pub fn of(answer: CommandResult) -> Observed {
        match answer {
            CommandResult::Done => Observed::Done,
            CommandResult::Lease(epoch) => Observed::Given(epoch.0),
            CommandResult::Version(version) => Observed::Given(version.0),
            CommandResult::Refused(CommandRefusal::Held { holder }) => Observed::Held(holder.0),
            CommandResult::Refused(CommandRefusal::OldEpoch | CommandRefusal::NoVersion) => {
                Observed::Old
            }
            CommandResult::Refused(CommandRefusal::Busy { version, .. }) => {
                Observed::Busy(version.0)
            }
            CommandResult::Refused(CommandRefusal::Unfit) => Observed::Unfit,
            other => Observed::Nonsense(format!("{other:?}")),
        }
    }
}

/// A lease: its epoch and holder. The versions: the last one, and the one on its way.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Single {
    pub count: u64,
    pub holder: Option<u64>,
}

struct Copy;

impl Model for Copy {
    type State = Single;
    type Op = ClientOp;
    type Observed = Observed;

    fn begin(&self) -> Single {
        Single::default()
    }

    fn step(&self, state: &Single, op: &ClientOp, said: Option<&Observed>) -> Option<Single> {
        let (after, answer) = does(*state, op);
        said.is_none_or(|said| *said == answer).then_some(after)
    }
}

fn does(state: Single, op: &ClientOp) -> (Single, Observed) {
    let refused = state.holder.map_or(Observed::Old, Observed::Held);
    let given = |holder| {
        let count = state.count + 1;
        let holder = Some(holder);
        (Single { count, holder }, Observed::Given(count))
    };
    let free = Single {
        holder: None,
        ..state
    };
    match op {
        ClientOp::Read => (state, Observed::Is(state)),
        ClientOp::Grant { holder, after } if *after == state.count => given(*holder),
        ClientOp::Grant { .. } => (state, refused),
        ClientOp::Release { epoch, .. } if *epoch != state.count || state.count == 0 => {
            (state, Observed::Old)
        }
        ClientOp::Release { from, .. } if state.holder.is_some_and(|holder| holder != *from) => {
            (state, refused)
        }
        ClientOp::Release { .. } => (free, Observed::Done),
        ClientOp::Propose { fit: false } => (state, Observed::Unfit),
        ClientOp::Propose { fit: true } => match state.holder {
            Some(version) => (state, Observed::Busy(version)),
            None => given(state.count + 1),
        },
        ClientOp::TakeBack { version } if state.holder == Some(*version) => {
            (free, Observed::Given(*version))
        }
        ClientOp::TakeBack { .. } => (state, Observed::Old),
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    Acknowledged,
    Unknown,
    NotDone,
}

#[derive(Default)]
pub struct Record {
    pub operations: BTreeMap<Key, Vec<Operation<ClientOp, Observed>>>,
    pub words: BTreeMap<String, Fate>,
}

impl Record {
    pub fn answered(&self) -> usize {
        let all = self.operations.values().flatten();
        all.filter(|operation| operation.returned.is_some()).count()
    }

    /// Checks each key separately: a history is linearizable if the histories of its keys
    /// are.
    pub fn linearizable(&self) -> Result<(), String> {
        for (key, operations) in &self.operations {
            linear::check(&Copy, operations).map_err(|what| format!("{key:?}: {what}"))?;
        }
        Ok(())
    }
}
