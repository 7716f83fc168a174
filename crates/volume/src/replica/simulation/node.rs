//! Simulated machine: its disk, its clock, and its process with the replica, if one runs.

use super::AttemptNumbers;
use super::disk::Disk;
use crate::replica::defect::InjectedDefect;
use crate::replica::{
    Boot, CopyId, Epoch, Geometry, NodeId, Record, Replica, ReplicaLimits, Settings, Time, VolumeId,
};

pub const GEOMETRY: Geometry = Geometry {
    blocks: 64,
    extent_blocks: 8,
    log_extents: 3,
};
pub const VOLUME: VolumeId = VolumeId([7; 16]);

pub const BOUNDS: ReplicaLimits = ReplicaLimits {
    requests: 64,
    request_blocks: 8,
    greet_ns: 10_000_000,
    other_stall_ns: 15_000_000,
    local_stall_ns: 30_000_000,
    propose_ns: 4_000_000,
    retry_ns: 2_000_000,
    rest_ns: 16_000_000,
    resync_blocks: 4,
    resync_window: 3,
    resync_block_ns: 20_000,
    fail_ns: None,
};

#[derive(Debug)]
pub struct SimulatedNode {
    pub replica: Option<Replica<AttemptNumbers>>,
    pub disk: Disk,
    pub life: u64,
    boot: u64,
    powered: bool,
    pub paused_until: u64,
    clock_from: u64,
    drift_ppm: i64,
    pub tick_at: Option<u64>,
    /// Lease of this process, and whether the replica knows it.
    pub granted: Option<(Epoch, Record, bool)>,
    /// Last epoch that this process must not use.
    pub seen: Epoch,
    /// True if the configuration names no other node.
    pub single: bool,
    pub wanted: u64,
    /// End of the zeroed space after the end of the volume, as reported to the replica.
    pub prepared: u64,
    /// Epoch in which the node served after the last event.
    pub served: Option<Epoch>,
}

impl SimulatedNode {
    pub fn new(disk: Disk, drift_ppm: i64) -> SimulatedNode {
        SimulatedNode {
            wanted: disk.kept.head.blocks,
            replica: None,
            disk,
            life: 0,
            boot: 1,
            powered: true,
            paused_until: 0,
            clock_from: 0,
            drift_ppm,
            tick_at: None,
            granted: None,
            seen: Epoch(0),
            single: false,
            prepared: 0,
            served: None,
        }
    }

    /// Returns the time on the node's clock.
    pub fn local(&self, now: u64) -> Time {
        let since = (now - self.clock_from) as i64;
        let shown = since + since / 1_000 * self.drift_ppm / 1_000;
        Time(1_000_000 + shown as u64)
    }

    /// Returns the latest real time at which the node's clock still shows `local`.
    pub fn real(&self, local: Time) -> u64 {
        let shown = local.0.saturating_sub(1_000_000) as i64;
        let since = shown * 1_000 / (1_000 + self.drift_ppm / 1_000);
        self.clock_from + since as u64 + 2_000
    }

    pub fn start(
        &mut self,
        me: usize,
        now: u64,
        broken: InjectedDefect,
        fail_ns: Option<u64>,
    ) -> bool {
        if self.replica.is_some() || !self.powered {
            return false;
        }
        let settings = Settings {
            me: NodeId(me as u16),
            other: if self.single {
                NodeId(2)
            } else {
                NodeId(1 - me as u16)
            },
            boot: Boot(u128::from(self.boot)),
            copy: CopyId(100 + me as u64),
            geometry: GEOMETRY,
            bounds: ReplicaLimits { fail_ns, ..BOUNDS },
        };
        let mut replica = Replica::new(settings, &self.disk.kept, self.local(now));
        replica.break_it(broken);
        self.replica = Some(replica);
        self.prepared = self.disk.kept.head.blocks;
        true
    }

    pub fn stop(&mut self) {
        self.replica = None;
        self.life += 1;
        self.tick_at = None;
        self.granted = None;
        self.served = None;
    }

    pub fn power_off(&mut self, now: u64) {
        self.stop();
        self.powered = false;
        self.boot += 1;
        self.clock_from = now;
        self.paused_until = 0;
    }

    pub fn power_on(&mut self) {
        self.powered = true;
    }
}
