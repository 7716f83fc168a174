//! Publishes the status of a mirrored volume for operators when it has changed, at most once per
//! interval, and measures the rate of a resync.

use super::{Apart, Mirror, boottime};
use crate::overwrite::OverwriteMark;
use crate::replica::{InSync, OtherState, ReplicaReport, Time};
use std::time::{Duration, Instant};

const AGAIN: Duration = Duration::from_millis(500);
/// Time for which the first status waits for a lease report. A member of a cluster receives a
/// report soon after a start.
const PATIENCE: Duration = Duration::from_secs(5);
const RATE_OVER: Duration = Duration::from_secs(5);

/// Reason for a volume without any lease report.
pub const NO_CLUSTER: &str = "no cluster has reported the lease of this volume: a volume with two copies needs \
                              `evenkeel run` without -f on a member of a cluster";

#[derive(Clone, PartialEq, Debug)]
pub struct MirrorStatus {
    pub report: ReplicaReport,
    /// Connection to the other node, or the reason why there is none.
    pub link: Result<(), String>,
    pub other: String,
    /// Clients connected to the other node; None while unknown.
    pub users: Option<super::Users>,
    /// Node with the lease; empty if there is none or it is unknown.
    pub owner: String,
    /// Copies with every acknowledged write according to the cluster: this node's copy first, then
    /// the other one's.
    pub in_sync: Option<[bool; 2]>,
    /// True once the cluster has reported the lease, or that nobody holds it.
    pub knows_lease: bool,
    /// Reason why a volume waits that has no record, or whose record matches no copy.
    pub waits: Option<String>,
    pub no_adoption: Option<String>,
    pub size: SizeStatus,
    pub admission: AdmissionStatus,
    /// Mark of an incomplete volume, once the cluster has recorded it and a complete local copy has
    /// stored it.
    pub overwrite: Option<OverwriteMark>,
    pub resync: ResyncStatus,
    /// Set if this node's copy does not belong to the volume that the other node serves.
    pub apart: Option<Apart>,
    /// True if requests fail instead of waiting for a node that owns the volume.
    pub fails: bool,
    pub said: String,
    /// Number of hand-overs that this node refused as the owner.
    pub refused_hand_overs: u64,
    pub trouble: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AdmissionStatus {
    /// Node whose clients alone may write; None: clients of both nodes may.
    pub only: Option<String>,
    /// True if another user had the volume while a process of this node had it open.
    pub is_superseded: bool,
}

/// Progress of the resync of the other copy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ResyncStatus {
    /// Current rate, averaged over the last seconds, bytes per second.
    pub rate: Option<u64>,
    pub finished: u64,
}

/// Size of a volume, and its deviation from the configuration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SizeStatus {
    pub bytes: u64,
    pub why: Option<String>,
}

/// Publishes the status of a volume, and measures the progress of the resync.
#[derive(Debug, Default)]
pub(super) struct StatusPublisher {
    patient_until: Option<Instant>,
    last: Option<MirrorStatus>,
    at: Option<Instant>,
    progress: std::collections::VecDeque<(Instant, u64)>,
    pub(super) said: String,
    pub(super) absurd: Option<crate::replica::Epoch>,
    pub(super) resyncs: u64,
    pub(super) refused_hand_overs: u64,
    pub(super) is_due: bool,
}

impl StatusPublisher {
    pub(super) fn new(now: Instant) -> StatusPublisher {
        StatusPublisher {
            patient_until: now.checked_add(PATIENCE),
            ..StatusPublisher::default()
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.at.map(|at| at + AGAIN).or(self.patient_until)
    }

    /// Publishes the status again even if nothing has changed, because the new configuration may
    /// change its meaning.
    pub(super) fn file_changed(&mut self) {
        self.last = None;
        self.is_due = true;
    }

    fn rate(&mut self, report: &ReplicaReport, now: Instant) -> Option<u64> {
        if report.other != OtherState::Syncing {
            self.progress.clear();
            return None;
        }
        let left = report.dirty_blocks * crate::replica::BLOCK_BYTES;
        self.progress.push_back((now, left));
        tracing::debug!(left_bytes = left, "resync progress");
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
    pub(super) fn show(&mut self, now: Instant) {
        let waits = self.shown.patient_until.is_some_and(|until| now < until);
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
        let recorded = self
            .lease
            .record
            .as_ref()
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
        let shown = MirrorStatus {
            resync: ResyncStatus {
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
            size: SizeStatus {
                bytes: self.room.client_size_bytes(),
                why: self.size_words(),
            },
            admission: AdmissionStatus {
                only: Some(self.lease.recorded.clients.only.clone())
                    .filter(|only| !only.is_empty()),
                is_superseded: self.is_superseded(),
            },
            overwrite: self.shown_overwrite(),
            apart: self.apart(),
            fails: self.fails(now),
            said: self.shown.said.clone(),
            refused_hand_overs: self.shown.refused_hand_overs,
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

    fn waits(&self) -> Option<String> {
        use super::founding::FoundingAction;
        if !self.lease.is_known {
            return Some(NO_CLUSTER.to_owned());
        }
        if let [node, ..] = &self.lease.complete_strangers[..]
            && self.lease.adopts.is_none()
        {
            return Some(format!(
                "only the copy of {node} is complete, and `on` does not name {node}: name it with one of \
                 the two nodes until the copy there is complete. If the copy of {node} is permanently lost, \
                 `evenkeel volume adopt NAME --yes` continues with this one"
            ));
        }
        if let Some(words) = self.gone() {
            return Some(words);
        }
        if self.lease.record.is_none()
            && self.lease.adopts.is_none()
            && let Some(words) = self.foreign_words()
        {
            return Some(words);
        }
        match self.lease.founding.as_ref()? {
            FoundingAction::Waits if self.lease.names.other.is_empty() => Some(
                "it is one of two copies, and the cluster has no record of which one is complete: \
                 `evenkeel volume adopt NAME --yes` continues with this one"
                    .to_owned(),
            ),
            FoundingAction::Waits => Some(format!(
                "a new volume begins when both copies are there: waiting for {}",
                self.lease.names.other
            )),
            FoundingAction::Refuses(words) => Some(words.clone()),
            FoundingAction::Unreadable => Some(
                "the cluster's record of this volume is of a newer version of Evenkeel, or damaged: update this node. \
                 If no node can read it, `evenkeel volume adopt NAME --yes` continues with this node's copy"
                    .to_owned(),
            ),
            FoundingAction::Creates | FoundingAction::Records | FoundingAction::GivesWay => None,
        }
    }
}
