//! The settings of a replica: which copy it is, and the bounds of waiting and of memory.

use super::durable::Boot;
use super::geometry::Geometry;
use super::record::Node;

/// Bounds of waiting, nanoseconds, and of memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bounds {
    /// Requests of clients that are under way or wait.
    pub requests: usize,
    /// Blocks of a request.
    pub request_blocks: u32,
    /// A new owner waits so long for the other copy before it serves without it, unless that one's
    /// node is silent.
    pub greet_ns: u64,
    /// The other copy is lost when it does not respond for so long.
    pub other_stall_ns: u64,
    /// The local disk has failed when an operation takes so long, and the other copy is in
    /// sync. Without another copy requests wait.
    pub local_stall_ns: u64,
    /// A proposal is repeated after this.
    pub propose_ns: u64,
    /// After a lost or refused copy the next attempt waits this long, doubled up to 64 times.
    pub retry_ns: u64,
    /// A node that released the lease does not want it for so long.
    pub rest_ns: u64,
    /// Blocks that a resync copies at once.
    pub resync_blocks: u32,
    /// Copies of a resync that are under way; one while clients have requests under way.
    pub resync_window: u32,
    /// Shortest time of a resync per block: the inverse of its rate.
    pub resync_block_ns: u64,
    /// Requests fail when the lease has been over for so long. None: they wait for it.
    pub fail_ns: Option<u64>,
}

impl Bounds {
    /// How often stalled requests are looked for.
    pub fn stall_check_ns(&self) -> u64 {
        self.other_stall_ns.min(self.local_stall_ns) / 4
    }
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds {
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

/// Which copy of which volume this is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settings {
    /// This node.
    pub me: Node,
    /// The node with the other copy.
    pub other: Node,
    /// The boot of this machine.
    pub boot: Boot,
    /// Size and division.
    pub geometry: Geometry,
    /// Bounds of waiting and of memory.
    pub bounds: Bounds,
}
