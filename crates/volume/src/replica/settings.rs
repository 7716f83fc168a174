//! Defines the settings of a replica: its identity, timeouts and limits.

use super::durable::Boot;
use super::geometry::Geometry;
use super::record::{CopyId, NodeId};

/// Timeouts, in nanoseconds, and limits of memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReplicaLimits {
    pub requests: usize,
    pub request_blocks: u32,
    /// Time for which a new owner waits for the other copy before it serves alone, unless the other
    /// node is silent.
    pub greet_ns: u64,
    /// Timeout of the other copy's responses, after which that copy counts as lost.
    pub other_stall_ns: u64,
    /// Timeout of a local disk operation, after which the disk counts as failed if the other copy
    /// is in sync. Without another copy in sync, requests wait.
    pub local_stall_ns: u64,
    pub propose_ns: u64,
    /// Delay before the next attempt to greet the other copy after a loss or a refusal; it doubles
    /// up to 64 times this value.
    pub retry_ns: u64,
    /// Time for which a node that released the lease does not request it again.
    pub rest_ns: u64,
    pub resync_blocks: u32,
    /// Maximum number of concurrent resync copies; only one while client requests are in progress.
    pub resync_window: u32,
    /// Minimum time per block of a resync: the inverse of its rate.
    pub resync_block_ns: u64,
    /// Time after the end of the lease at which requests fail. None: they wait for the lease.
    pub fail_ns: Option<u64>,
}

impl ReplicaLimits {
    pub fn stall_check_ns(&self) -> u64 {
        self.other_stall_ns.min(self.local_stall_ns) / 4
    }
}

impl Default for ReplicaLimits {
    fn default() -> ReplicaLimits {
        ReplicaLimits {
            requests: 256,
            request_blocks: 8192,
            greet_ns: 500_000_000,
            other_stall_ns: 2_000_000_000,
            local_stall_ns: 10_000_000_000,
            propose_ns: 200_000_000,
            retry_ns: 1_000_000_000,
            rest_ns: 2_000_000_000,
            resync_blocks: 16,
            resync_window: 8,
            resync_block_ns: 20_000,
            fail_ns: None,
        }
    }
}

/// Settings of a replica: its identity, its limits and timeouts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settings {
    pub me: NodeId,
    pub other: NodeId,
    pub boot: Boot,
    /// Random identity to give to a copy without one, which an earlier release created.
    pub copy: CopyId,
    pub geometry: Geometry,
    pub bounds: ReplicaLimits,
}
