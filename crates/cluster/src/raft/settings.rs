//! Defines times and sizes of the engine, and converts them to a configuration of openraft.

use crate::member::{MemberId, MemberKind};
use crate::raft::error::EngineError;
use openraft::{Config, SnapshotPolicy};
use std::collections::BTreeSet;
use std::time::Duration;

const PAYLOAD_ENTRIES_MAX: u64 = 128;
const QUEUE_MAX: u64 = 1024;

/// Times and sizes. [`Settings::default`] fits members of one site.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Heartbeat interval of the leader. Responses that take longer are lost, and they
    /// alone confirm a leader without writes. So the interval bounds the round-trip time
    /// between members.
    pub heartbeat: Duration,
    /// Shortest election timeout. A follower stands for election when it has not heard
    /// from a leader for [`Settings::election_max`] plus a random time between the two
    /// settings. It must be at least twice the heartbeat. A vote that takes longer than
    /// this is lost.
    pub election_min: Duration,
    /// Longest fixed part of the election timeout, see [`Settings::election_min`]. A follower that
    /// heard from the leader within this time votes for no other member, unless it knows that the
    /// leader is lost.
    pub election_max: Duration,
    /// Time for which a node follows an arbiter, before it asks for votes itself.
    pub arbiter_leads_max: Duration,
    pub propose_limit: Duration,
    /// Number of entries after which a new snapshot is built.
    pub snapshot_entries: u64,
    pub snapshot_bytes: u64,
    /// Number of entries before the end of a snapshot that stay in the log, for members that lag
    /// slightly.
    pub keep_entries: u64,
    /// Nodes of the cluster, as this member knew them at its start. By these it knows
    /// whom to follow before it has a log.
    pub nodes: BTreeSet<MemberId>,
    /// Returns seconds since 1970, for the displayed time of a command.
    pub clock: fn() -> i64,
}

fn now_s() -> i64 {
    i64::try_from(part::clock::unix_ms() / 1_000).unwrap_or(i64::MAX)
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            heartbeat: Duration::from_millis(80),
            election_min: Duration::from_millis(200),
            election_max: Duration::from_millis(300),
            arbiter_leads_max: Duration::from_secs(60),
            propose_limit: Duration::from_secs(5),
            // Keeps the log short, because each write to a longer log goes deeper into the file and
            // takes longer.
            snapshot_entries: 512,
            snapshot_bytes: 16 << 20,
            keep_entries: 512,
            nodes: BTreeSet::new(),
            clock: now_s,
        }
    }
}

impl Settings {
    pub(super) fn config(&self, kind: MemberKind, votes: bool) -> Result<Config, EngineError> {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Config {
            cluster_name: "evenkeel".to_owned(),
            heartbeat_interval: millis(self.heartbeat),
            election_timeout_min: millis(self.election_min),
            election_timeout_max: millis(self.election_max),
            max_payload_entries: PAYLOAD_ENTRIES_MAX,
            max_append_entries: Some(PAYLOAD_ENTRIES_MAX),
            snapshot_policy: SnapshotPolicy::LogsSinceLast(self.snapshot_entries),
            max_in_snapshot_log_to_keep: self.keep_entries,
            api_channel_size: Some(QUEUE_MAX),
            notification_channel_size: Some(QUEUE_MAX),
            // Followers get entries while the leader writes them to its own disk.
            broadcast_submitted_on_append: Some(true),
            enable_pre_vote: Some(true),
            // `election` decides when an arbiter stands. A member whose store was lost does
            // not stand before it is a voter again.
            enable_elect: kind == MemberKind::Node && votes,
            // `pipeline` detects a follower that was restored from a backup.
            allow_log_reversion: Some(true),
            // The state of a restarted leader may lack entries that it reported.
            enable_leader_restore: Some(false),
            backoff: "20ms 40ms 80ms ..200ms".to_owned(),
            ..Config::default()
        }
        .validate()
        .map_err(|error| EngineError::Settings(error.into()))
    }
}
