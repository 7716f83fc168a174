//! How a volume with two copies is, for operators.

use super::{Apart, Mirror, boottime};
use crate::replica::{InSync, OtherState, Report, Time};
use std::time::{Duration, Instant};

/// How often numbers are shown anew while nothing else changes.
const AGAIN: Duration = Duration::from_millis(500);
/// How long nothing is shown while the cluster has not reported the lease: a member's reports it
/// soon after a start.
const PATIENCE: Duration = Duration::from_secs(5);
/// How far back the rate of a resync is measured.
const RATE_OVER: Duration = Duration::from_secs(5);

/// Why a volume waits of which the cluster has reported nothing.
pub const NO_CLUSTER: &str = "no cluster has reported the lease of this volume: a volume with two copies needs \
                              `evenkeel run` without -f on a member of a cluster";

/// What is shown.
#[derive(Clone, PartialEq, Debug)]
pub struct Shown {
    /// The replica's own report.
    pub report: Report,
    /// The other node is connected, or why it is not.
    pub link: Result<(), String>,
    /// The name of the other node.
    pub other: String,
    /// The clients that are connected there; None while that is not known.
    pub users: Option<super::Users>,
    /// The node that has the lease; empty: none, or not known.
    pub owner: String,
    /// The copies that have every acknowledged write, as the cluster knows it; `true` first
    /// for this node's, then for the other one's.
    pub in_sync: Option<[bool; 2]>,
    /// The cluster has reported its lease, or that nobody has it.
    pub knows_lease: bool,
    /// What a volume waits for that has no record, or none that means one of its copies.
    pub waits: Option<String>,
    /// Why this copy cannot be adopted now, if it cannot.
    pub no_adoption: Option<String>,
    /// Its size.
    pub size: ShownSize,
    /// The clients that may write.
    pub admission: ShownAdmission,
    /// The resync, and those before it.
    pub resync: ShownResync,
    /// This copy is no part of the volume that the other node serves.
    pub apart: Option<Apart>,
    /// Requests fail instead of waiting for an owner.
    pub fails: bool,
    /// The last thing that was said.
    pub said: String,
    /// What is wrong with the local disk, in words.
    pub trouble: Option<String>,
}

/// The clients that may write.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ShownAdmission {
    /// The node whose clients alone may write, if there is one.
    pub only: Option<String>,
    /// Another user has had the volume while a process of this node had it open.
    pub is_superseded: bool,
}

/// Resyncs of the other copy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ShownResync {
    /// Bytes a second of the present one in the last seconds.
    pub rate: Option<u64>,
    /// Those that this node has finished as the owner.
    pub finished: u64,
}

/// The size of a volume.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ShownSize {
    /// For clients, bytes.
    pub bytes: u64,
    /// Why it is another one than the file says.
    pub why: Option<String>,
}

/// When something was shown, and what a resync has done since.
#[derive(Debug, Default)]
pub(super) struct Showing {
    /// Until then it is not shown that the cluster has reported nothing.
    patient_until: Option<Instant>,
    last: Option<Shown>,
    at: Option<Instant>,
    /// Dirty bytes at earlier times of a resync.
    progress: std::collections::VecDeque<(Instant, u64)>,
    pub(super) said: String,
    /// An epoch of the other node that was ignored last.
    pub(super) absurd: Option<crate::replica::Epoch>,
    /// Resyncs that have ended.
    pub(super) resyncs: u64,
    /// Something happened: it is shown at once.
    pub(super) is_due: bool,
}

impl Showing {
    /// Of a volume that begins now.
    pub(super) fn new(now: Instant) -> Showing {
        Showing {
            patient_until: now.checked_add(PATIENCE),
            ..Showing::default()
        }
    }

    /// When it is shown again.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.at.map(|at| at + AGAIN).or(self.patient_until)
    }

    /// What it means may be another thing now: it is shown again, even if nothing else changes.
    pub(super) fn file_changed(&mut self) {
        self.last = None;
        self.is_due = true;
    }

    fn rate(&mut self, report: &Report, now: Instant) -> Option<u64> {
        if report.other != OtherState::Syncing {
            self.progress.clear();
            return None;
        }
        let left = report.dirty_blocks * crate::replica::BLOCK_BYTES;
        self.progress.push_back((now, left));
        while let Some((at, _)) = self.progress.front()
            && now.saturating_duration_since(*at) > RATE_OVER
        {
            self.progress.pop_front();
        }
        let (since, before) = *self.progress.front()?;
        let ms = u64::try_from(now.saturating_duration_since(since).as_millis()).ok()?;
        (ms > 0).then(|| before.saturating_sub(left).saturating_mul(1000) / ms)
    }
}

impl Mirror {
    /// Shows how it is, if that is due.
    pub(super) fn show(&mut self, now: Instant) {
        let waits = { self.shown.patient_until }.is_some_and(|until| now < until);
        if waits && !self.lease.is_known {
            return;
        }
        let due = self.shown.at.is_none_or(|at| now >= at + AGAIN);
        if !due && !self.shown.is_due {
            return;
        }
        self.shown.is_due = false;
        self.shown.at = Some(now);
        let report = self.replica.report(self.time());
        let is_joined = report.follows || report.other == OtherState::InSync;
        let recorded = { self.lease.record.as_ref() }
            .is_some_and(|record| InSync::contains(record.in_sync, super::ME));
        if is_joined && recorded && !report.faulty {
            self.local.trouble = None;
        }
        let trouble = match (self.local.stalls(now), self.local.trouble) {
            (true, _) => Some("its disk does not respond".to_owned()),
            (false, Some(failure)) => Some(format!("its disk fails: {failure}")),
            (false, None) => None,
        };
        let record = self.lease.record.as_ref();
        let shown = Shown {
            resync: ShownResync {
                rate: self.shown.rate(&report, now),
                finished: self.shown.resyncs,
            },
            report,
            link: match self.peer.session() {
                Some(_) => Ok(()),
                None => Err(self.peer.why_not.clone()),
            },
            other: self.lease.names.other.clone(),
            users: self.peer.users(),
            owner: self.lease.holder.clone(),
            in_sync: record.map(|record| {
                let has = |node| InSync::contains(record.in_sync, node);
                [has(super::ME), has(super::OTHER)]
            }),
            knows_lease: self.lease.is_known,
            waits: self.waits(),
            no_adoption: self.no_adoption(),
            size: ShownSize {
                bytes: self.room.shown(),
                why: self.size_words(),
            },
            admission: ShownAdmission {
                only: Some(self.lease.recorded.clients.only.clone())
                    .filter(|only| !only.is_empty()),
                is_superseded: self.is_superseded(),
            },
            apart: self.apart(),
            fails: self.fails(now),
            said: self.shown.said.clone(),
            trouble,
        };
        let failed = self.shown.last.as_ref().is_some_and(|last| last.fails);
        if failed && !shown.fails {
            self.outside.meter.forget_troubles();
        }
        if self.shown.last.as_ref() != Some(&shown) {
            (self.outside.show)(shown.clone());
            self.shown.last = Some(shown);
        }
    }

    fn time(&self) -> Time {
        boottime()
    }

    /// What a volume without a record waits for, in words.
    fn waits(&self) -> Option<String> {
        use super::founding::Founding;
        if !self.lease.is_known {
            return Some(NO_CLUSTER.to_owned());
        }
        if let Some(words) = self.gone() {
            return Some(words);
        }
        match self.lease.founding.as_ref()? {
            Founding::Waits if self.lease.names.other.is_empty() => Some(
                "it is one of two copies, and the cluster has no record of which one is complete: \
                 `evenkeel volume adopt NAME --yes` goes on with this one"
                    .to_owned(),
            ),
            Founding::Waits => Some(format!(
                "a new volume begins when both copies are there: waiting for {}",
                self.lease.names.other
            )),
            Founding::Refuses(words) => Some(words.clone()),
            Founding::Unreadable => Some(
                "the cluster's record of this volume is of a newer version of Evenkeel, or damaged: update this node. \
                 If no node can read it, `evenkeel volume adopt NAME --yes` goes on with this node's copy"
                    .to_owned(),
            ),
            Founding::Creates | Founding::Records | Founding::GivesWay => None,
        }
    }
}
