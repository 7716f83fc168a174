//! Lists deliberate defects of a node. The simulation has to find each of them, or it would not
//! find a real one.
//!
//! `BOOT_DEFECT=n BOOT_SEEDS=m cargo test -p evenkeel-boot each_defect` searches `m` histories
//! for the defect `n`.

use super::{Odds, run};
use lab::setting;

/// Number of histories in which the test searches for a new seed, if that of a defect no longer
/// finds it.
const DEFECT_SEEDS: u64 = 300;

/// Deliberate defect that the simulation has to find.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum InjectedDefect {
    /// A node does not check whether it still holds a part after it has received a packet.
    HoldNotChecked,
    /// A node that takes a part assumes that it knows every lease.
    AllKnown,
    /// A client gets its response before its lease is on disk.
    ToldBeforeStored,
    /// A restart forgets the leases.
    RestartForgets,
    /// A restart forgets which addresses are unclear.
    UnclearForgotten,
    /// A lease ends at the node when it ends at the client, without a margin for the clocks.
    NoMargin,
    /// A client that remembers an unclear address gets it.
    RebootGetsUnclear,
    /// A released address is at once available to other clients.
    ReleasedAtOnce,
    /// Old leases count as current when a part is taken.
    OldLeasesBelieved,
    /// A client gets its response before the other node knows its lease.
    ToldBeforeKnown,
    /// An incomplete copy is adopted.
    HalfCopyAdopted,
    /// A copy is adopted although the record does not name the node that has it.
    NamesIgnored,
    /// A copy is adopted of any holder and epoch.
    RecordIgnored,
    /// The record names a node as soon as the copy begins, before the holder waits for it.
    NamedTooEarly,
    /// Records that were written and may yet take effect are not counted.
    WrittenNotCounted,
    /// A node with another range does not wait for a node that may assign addresses by the
    /// previous range.
    RangeNotWaited,
    /// Addresses that another node assigned by a previous range count as free.
    PastForgotten,
    /// Addresses that a node assigned by a previous range are not reported.
    PastNotTold,
    /// A node that waits for another one states that it knows all leases.
    ClearTooEarly,
    /// Old leases count as short as those of the reloaded configuration.
    LeaseShortened,
    /// A client gets a lease while the record states that none has got one.
    UnheardTold,
    /// A node whose disk is empty assumes that it knows the leases that it gave.
    EmptyDiskBelieved,
    /// A client that claims to use an unclear address need not respond to ARP there.
    LiarBelieved,
    /// A copy is adopted of a node that does not know all leases itself yet.
    ClaimAdopted,
    /// A node that takes a part assumes that no lease is longer than its own.
    LongestForgotten,
    /// A node that takes a part over assumes that it knows everything that is withheld, whatever
    /// the reason.
    DoubtIgnored,
    /// Addresses that a late node assigned by a previous range count as free.
    LateBelieved,
    /// No node is queried for what was withheld because a node was late.
    LateForgotten,
    /// A node that takes a part from one that lacked its knowledge withholds that, too.
    LeftForgotten,
    /// Addresses that each of two nodes did not know, and neither assigned, are withheld.
    LeftWithheld,
    /// No node is queried for what was withheld because a node failed that had a part by a
    /// previous range.
    MovedForgotten,
    /// A machine that responds at a withheld address gets it, though a node is up that knows the
    /// owner.
    SquatterBelieved,
    /// The leases of an older copy of the disk count as current.
    OlderDiskBelieved,
    /// A client gets its response before the cluster has recorded the generation of its lease.
    ToldBeforeRecorded,
}

/// Each defect with a seed that finds it. A change that alters the history needs another seed,
/// for which the test searches.
const DEFECTS: [(InjectedDefect, u64); 28] = [
    (InjectedDefect::HoldNotChecked, 29),
    (InjectedDefect::AllKnown, 6),
    (InjectedDefect::ToldBeforeStored, 48),
    (InjectedDefect::RestartForgets, 51),
    (InjectedDefect::UnclearForgotten, 246),
    (InjectedDefect::NoMargin, 9_949),
    (InjectedDefect::RebootGetsUnclear, 3_184),
    (InjectedDefect::ReleasedAtOnce, 2_210),
    (InjectedDefect::OldLeasesBelieved, 3_797),
    (InjectedDefect::ToldBeforeKnown, 4_393),
    (InjectedDefect::HalfCopyAdopted, 100),
    (InjectedDefect::NamesIgnored, 6_871),
    (InjectedDefect::RecordIgnored, 107),
    (InjectedDefect::NamedTooEarly, 4_807),
    (InjectedDefect::WrittenNotCounted, 15_005),
    (InjectedDefect::RangeNotWaited, 30),
    (InjectedDefect::PastForgotten, 42),
    (InjectedDefect::PastNotTold, 81),
    (InjectedDefect::ClearTooEarly, 1),
    (InjectedDefect::LeaseShortened, 212),
    (InjectedDefect::UnheardTold, 30_192),
    (InjectedDefect::EmptyDiskBelieved, 156),
    (InjectedDefect::LiarBelieved, 437),
    (InjectedDefect::ClaimAdopted, 1_913),
    (InjectedDefect::LongestForgotten, 1_407),
    (InjectedDefect::DoubtIgnored, 5_629),
    (InjectedDefect::OlderDiskBelieved, 123),
    (InjectedDefect::ToldBeforeRecorded, 51),
];

impl Odds {
    /// Returns the odds of histories in which a rarely harmful defect does harm.
    pub(super) fn of(self, defect: Option<InjectedDefect>) -> Odds {
        match defect {
            Some(InjectedDefect::WrittenNotCounted) => Odds {
                restless: 60,
                lively: 20,
                lasting: 20,
                restores: false,
                ..self
            },
            Some(InjectedDefect::RebootGetsUnclear) => Odds {
                restless: 60,
                lively: 0,
                steady: 0,
                empties: true,
                restores: false,
                ..self
            },
            Some(InjectedDefect::UnheardTold) => Odds {
                restless: 60,
                lively: 20,
                lasting: 40,
                strikes: true,
                restores: false,
                ..self
            },
            Some(InjectedDefect::DoubtIgnored) => Odds {
                restless: 60,
                lively: 20,
                lasting: 20,
                steady: 0,
                empties: true,
                restores: false,
                ..self
            },
            Some(InjectedDefect::ClaimAdopted) => Odds {
                restless: 60,
                lively: 90,
                lasting: 100,
                steady: 60,
                restores: false,
                ..self
            },
            Some(InjectedDefect::OlderDiskBelieved | InjectedDefect::ToldBeforeRecorded) => Odds {
                steady: 0,
                restores: true,
                ..self
            },
            Some(_) => Odds {
                restores: false,
                ..self
            },
            None => self,
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
