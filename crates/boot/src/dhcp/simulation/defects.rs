//! What is broken on purpose: the simulation has to find each of these, or it would not find a mistake.
//!
//! `BOOT_DEFECT=n BOOT_SEEDS=m cargo test -p evenkeel-boot each_defect` looks for the defect `n` in `m` histories.

use super::{Odds, run};
use lab::setting;

/// Among how many histories another one is looked for where that of a defect does not find it any more.
const DEFECT_SEEDS: u64 = 300;

/// What is broken on purpose: the simulation has to find each of these.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Defect {
    /// A node does not look whether it still holds a part after it has received a packet.
    HoldNotChecked,
    /// A node that takes a part believes that it knows every lease.
    AllKnown,
    /// A client is told before its lease is on the disk.
    ToldBeforeStored,
    /// A restart forgets the leases.
    RestartForgets,
    /// A restart forgets which addresses are unclear.
    UnclearForgotten,
    /// A lease ends here when it ends at the client, if both clocks were right.
    NoMargin,
    /// A client that remembers an unclear address gets it.
    RebootGetsUnclear,
    /// What a client gives back is at once another's.
    ReleasedAtOnce,
    /// Leases of before are believed when a part is taken.
    OldLeasesBelieved,
    /// A client is told before the other node knows its lease.
    ToldBeforeKnown,
    /// A copy is adopted that is not whole.
    HalfCopyAdopted,
    /// A copy is adopted though the record does not name the node that has it.
    NamesIgnored,
    /// A copy is adopted of whichever holder and epoch.
    RecordIgnored,
    /// The record names a node when it is told of a part, before it is waited for.
    NamedTooEarly,
    /// What was written to the cluster, and may yet become its record, is not counted.
    WrittenNotCounted,
    /// A node with another range does not wait for a node that may give addresses by the range before.
    RangeNotWaited,
    /// What another node gave by a range of before is taken for free.
    PastForgotten,
    /// What a node gave by a range of before is not told.
    PastNotTold,
    /// A node that waits for another one says that it knows all leases.
    ClearTooEarly,
    /// Leases of before are as short as those of a reload.
    LeaseShortened,
    /// A client hears of a lease while the record says that none has heard of one.
    UnheardTold,
    /// A node whose disk is empty believes that it knows the leases that it gave.
    EmptyDiskBelieved,
    /// A client that says that it uses an unclear address need not answer there.
    LiarBelieved,
    /// A copy is adopted of a node that does not know all leases itself yet.
    ClaimAdopted,
    /// A node that takes a part believes that no lease is longer than those which it has given itself.
    LongestForgotten,
    /// A node that takes a part over believes that it knows whatever is withheld, and why ever.
    DoubtIgnored,
    /// What another node gave by a range of before, and does not say in time, is taken for free.
    LateBelieved,
    /// Nobody is asked for what was withheld because a node was not heard in time.
    LateForgotten,
    /// A node that takes a part from one that did not know what it knows withholds that, too.
    LeftForgotten,
    /// What each of two nodes did not know, and neither gave, is withheld.
    LeftWithheld,
    /// Nobody is asked for what was withheld because a node died that had a part by another range than before.
    MovedForgotten,
    /// A machine that answers at a withheld address gets it, though the node is there that knows whose it is.
    SquatterBelieved,
}

/// Each with a seed that finds it. A change that makes another history of it needs another seed, for which the test
/// looks.
const DEFECTS: [(Defect, u64); 26] = [
    (Defect::HoldNotChecked, 29),
    (Defect::AllKnown, 6),
    (Defect::ToldBeforeStored, 48),
    (Defect::RestartForgets, 51),
    (Defect::UnclearForgotten, 246),
    (Defect::NoMargin, 9_949),
    (Defect::RebootGetsUnclear, 3_184),
    (Defect::ReleasedAtOnce, 2_210),
    (Defect::OldLeasesBelieved, 3_797),
    (Defect::ToldBeforeKnown, 4_393),
    (Defect::HalfCopyAdopted, 100),
    (Defect::NamesIgnored, 6_871),
    (Defect::RecordIgnored, 107),
    (Defect::NamedTooEarly, 4_807),
    (Defect::WrittenNotCounted, 15_005),
    (Defect::RangeNotWaited, 30),
    (Defect::PastForgotten, 42),
    (Defect::PastNotTold, 81),
    (Defect::ClearTooEarly, 1),
    (Defect::LeaseShortened, 212),
    (Defect::UnheardTold, 30_192),
    (Defect::EmptyDiskBelieved, 156),
    (Defect::LiarBelieved, 437),
    (Defect::ClaimAdopted, 1_913),
    (Defect::LongestForgotten, 1_407),
    (Defect::DoubtIgnored, 5_629),
];

impl Odds {
    /// Odds of histories in which a defect does harm that it hardly ever does.
    pub(super) fn of(self, defect: Option<Defect>) -> Odds {
        match defect {
            Some(Defect::WrittenNotCounted) => Odds {
                restless: 60,
                lively: 20,
                lasting: 20,
                ..self
            },
            Some(Defect::RebootGetsUnclear) => Odds {
                restless: 60,
                lively: 0,
                steady: 0,
                empties: true,
                ..self
            },
            Some(Defect::UnheardTold) => Odds {
                restless: 60,
                lively: 20,
                lasting: 40,
                strikes: true,
                ..self
            },
            Some(Defect::DoubtIgnored) => Odds {
                restless: 60,
                lively: 20,
                lasting: 20,
                steady: 0,
                empties: true,
                ..self
            },
            Some(Defect::ClaimAdopted) => Odds {
                restless: 60,
                lively: 90,
                lasting: 100,
                steady: 60,
                ..self
            },
            _ => self,
        }
    }
}

#[test]
fn each_defect_is_found() {
    let only = setting("BOOT_DEFECT");
    let all = DEFECTS.into_iter().enumerate();
    let all = all.filter(|(number, _)| only.is_none_or(|only| only == *number as u64));
    let seeds = setting("BOOT_SEEDS").unwrap_or(DEFECT_SEEDS);
    let mut missed = Vec::new();
    for (number, (defect, seed)) in all {
        let finds = |seed: &u64| run(*seed, Some(defect)).is_err();
        if finds(&seed) {
            continue;
        }
        missed.push(match (0..seeds).find(finds) {
            Some(next) => format!("{number} {defect:?}: not by seed {seed}, but by {next}"),
            None => format!("{number} {defect:?}: BOOT_DEFECT={number} BOOT_SEEDS=n looks further"),
        });
    }
    assert!(
        missed.is_empty(),
        "the seeds do not find these: {missed:#?}"
    );
}
