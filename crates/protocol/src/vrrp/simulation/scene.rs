//! Holds everything that the checkers of the VRRP simulation see: the machines with their
//! kernels, the network, which machine the neighbours use, and the global time that no machine
//! knows.

use super::network::{HOSTS, VrrpSimulatedNetwork};
use super::plan::VrrpSimulationPlan;
use crate::vrrp::{Instance, Resume, Router, VrrpState, VrrpStatus};

/// A packet or a reply that waits for its process.
#[derive(Clone, Debug)]
pub enum Input {
    Packet {
        from: std::net::IpAddr,
        ttl: u8,
        bytes: std::rc::Rc<Vec<u8>>,
    },
    /// A machine (None: one without a router) claims the address.
    Claim { by: Option<usize> },
}

#[derive(Clone, Copy, Debug)]
pub struct Pause {
    pub since: u64,
    /// The kernel is suspended, too.
    pub suspended: bool,
}

#[derive(Debug)]
pub struct VrrpSimulatedHost {
    pub place: usize,
    /// Router of the running process, if there is one.
    pub router: Option<Router>,
    pub powered: bool,
    pub pause: Option<Pause>,
    pub inbox: Vec<Input>,
    /// The kernel has the address, until `expires` unless the process renews it.
    pub has: bool,
    pub expires: Option<u64>,
    pub kept: Option<Resume>,
    pub state: VrrpState,
    pub faulty: bool,
    pub priority: Option<u8>,
    pub band: usize,
    /// Time of the last start, change of the fault, or end of a suspension.
    pub steady_since: u64,
    /// Time at which the process last ended; `u64::MAX` if its kernel was suspended then.
    pub killed_at: u64,
    /// The machine became master for another reason than a stop or a preemption of the owner.
    pub unsure: bool,
    pub master_since: u64,
    /// End of the last suspension since the start of the process; 0: none.
    pub awake_since: u64,
    /// End of the last suspension longer than 1.3 advert intervals.
    pub slept_until: u64,
    pub pauses: u32,
    /// Number of ends of the process, by which events for an earlier process are ignored.
    pub life: u32,
    /// Time of the next wake-up of the process; a later order replaces an earlier one.
    pub wake: u64,
}

impl VrrpSimulatedHost {
    pub fn new(place: usize) -> VrrpSimulatedHost {
        VrrpSimulatedHost {
            place,
            router: None,
            powered: true,
            pause: None,
            inbox: Vec::new(),
            has: false,
            expires: None,
            kept: None,
            state: VrrpState::Init,
            faulty: false,
            priority: None,
            band: 0,
            steady_since: 0,
            killed_at: 0,
            unsure: false,
            master_since: 0,
            awake_since: 0,
            slept_until: 0,
            pauses: 0,
            life: 0,
            wake: u64::MAX,
        }
    }

    /// Returns whether the process of the machine runs and is not suspended.
    pub fn awake(&self) -> bool {
        self.router.is_some() && self.powered && self.pause.is_none()
    }

    /// Returns whether the process of the machine is master and its kernel has the address.
    pub fn rules(&self) -> bool {
        self.awake() && self.state == VrrpState::Master && self.has
    }

    /// Returns whether the kernel of the machine responds for the address.
    pub fn answers(&self) -> bool {
        self.has && self.powered && !self.pause.is_some_and(|pause| pause.suspended)
    }

    pub fn status(&self) -> Option<VrrpStatus> {
        self.router.as_ref()?.status(Instance(0))
    }
}

/// Complete state of a simulated history.
#[derive(Debug)]
pub struct Scene {
    pub now: u64,
    pub plan: VrrpSimulationPlan,
    pub hosts: Vec<VrrpSimulatedHost>,
    pub network: VrrpSimulatedNetwork,
    /// Machine to which the neighbours send packets for the address; None: a machine without a
    /// router.
    pub neighbours: Option<usize>,
    /// The neighbours may use the wrong machine, and no machine can know that.
    pub unsure: bool,
    pub forged_until: u64,
}

impl Scene {
    pub fn new(plan: VrrpSimulationPlan) -> Scene {
        let mut network = VrrpSimulatedNetwork::new(plan.delay_ns, plan.jitter_ns);
        network.double = plan.double;
        Scene {
            now: 0,
            hosts: (0..plan.hosts).map(VrrpSimulatedHost::new).collect(),
            network,
            neighbours: None,
            unsure: true,
            forged_until: 0,
            plan,
        }
    }

    /// Returns the time on a machine's own clock, which counts from the start of its kernel, so
    /// that every machine has a different time.
    pub fn local(&self, host: usize, at: u64) -> crate::vrrp::Time {
        let drift = (at as i64 / 1_000) * self.plan.drift_ppm[host] / 1_000;
        crate::vrrp::Time((at as i64 + drift + Self::born(host)) as u64)
    }

    /// Returns the global time at which a machine's own clock shows this time, or a little later.
    pub fn global(&self, host: usize, local: crate::vrrp::Time) -> u64 {
        let passed = local.0 as i64 - Self::born(host);
        let slow = 1_000_000 + self.plan.drift_ppm[host];
        let mut at = passed / 1_000 * 1_000_000 / slow * 1_000;
        while self.local(host, at.max(0) as u64) < local {
            at += 1_000;
        }
        at.max(0) as u64
    }

    fn born(host: usize) -> i64 {
        (host as i64 + 1) * 77_000_000_000
    }

    /// Returns whether clients reach a machine that has the address.
    pub fn is_owned(&self) -> bool {
        let mut hosts = self.hosts.iter();
        hosts.any(|host| host.answers() && !self.network.isolated[host.place])
    }

    /// Returns whether a machine runs without a fault, its packets reach others, and no packets
    /// are forged.
    pub fn is_healthy(&self, host: &VrrpSimulatedHost) -> bool {
        host.awake()
            && !host.faulty
            && !self.network.isolated[host.place]
            && self.now >= self.forged_until
    }

    /// Returns the tolerance for a limit of `of` ns: twice the longest packet delay, 2 % for clocks
    /// that drift, and 200 us for late timers.
    pub fn slack(&self, of: u64) -> u64 {
        self.network.longest_ns() * 2 + of / 50 + 200_000
    }

    pub fn places(&self) -> impl Iterator<Item = usize> + use<> {
        0..self.hosts.len().min(HOSTS)
    }
}
