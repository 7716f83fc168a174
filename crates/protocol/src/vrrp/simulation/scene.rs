//! What a checker sees: the machines with their kernels, the network, the neighbours'
//! view, and the time that no machine knows.

use super::network::{HOSTS, Network};
use super::plan::Plan;
use crate::vrrp::{Instance, Resume, Router, State, Status};

/// A packet or an answer that waits for its process.
#[derive(Clone, Debug)]
pub enum Input {
    Packet {
        from: std::net::IpAddr,
        ttl: u8,
        bytes: std::rc::Rc<Vec<u8>>,
    },
    /// Somebody has the address: a machine, or a third one.
    Claim { by: Option<usize> },
}

/// A machine stands still.
#[derive(Clone, Copy, Debug)]
pub struct Pause {
    pub since: u64,
    /// Its kernel, too.
    pub suspended: bool,
}

/// One machine.
#[derive(Debug)]
pub struct Host {
    pub place: usize,
    /// The process, while there is one.
    pub router: Option<Router>,
    pub powered: bool,
    pub pause: Option<Pause>,
    pub inbox: Vec<Input>,
    /// The kernel has the address, until then if nobody renews it.
    pub has: bool,
    pub expires: Option<u64>,
    pub kept: Option<Resume>,
    pub state: State,
    pub faulty: bool,
    pub priority: Option<u8>,
    pub band: usize,
    /// Since when it runs undisturbed.
    pub steady_since: u64,
    /// When its process was killed last.
    pub killed_at: u64,
    /// It took over without having heard anything of the owner before it.
    pub unsure: bool,
    /// Since when it is master.
    pub master_since: u64,
    /// When its last pause ended.
    pub awake_since: u64,
    /// When its last long pause ended, and how many there were since an advert.
    pub slept_until: u64,
    pub pauses: u32,
    /// Counts beginnings, so that orders of a former life come to nothing.
    pub life: u32,
    /// The time that it is to be woken at; later orders replace earlier ones.
    pub wake: u64,
}

impl Host {
    pub fn new(place: usize) -> Host {
        Host {
            place,
            router: None,
            powered: true,
            pause: None,
            inbox: Vec::new(),
            has: false,
            expires: None,
            kept: None,
            state: State::Init,
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

    /// Its process runs and does not stand still.
    pub fn awake(&self) -> bool {
        self.router.is_some() && self.powered && self.pause.is_none()
    }

    /// Its process rules and its kernel has the address.
    pub fn rules(&self) -> bool {
        self.awake() && self.state == State::Master && self.has
    }

    /// Its kernel answers for the address.
    pub fn answers(&self) -> bool {
        self.has && self.powered && !self.pause.is_some_and(|pause| pause.suspended)
    }

    pub fn status(&self) -> Option<Status> {
        self.router.as_ref()?.status(Instance(0))
    }
}

/// All of it.
#[derive(Debug)]
pub struct Scene {
    pub now: u64,
    pub plan: Plan,
    pub hosts: Vec<Host>,
    pub network: Network,
    /// Who neighbours think has the address; None: a third machine.
    pub neighbours: Option<usize>,
    /// They may be wrong, and nobody can know it.
    pub unsure: bool,
    /// Forged packets arrive until then.
    pub forged_until: u64,
}

impl Scene {
    pub fn new(plan: Plan) -> Scene {
        let mut network = Network::new(plan.delay_ns, plan.jitter_ns);
        network.double = plan.double;
        Scene {
            now: 0,
            hosts: (0..plan.hosts).map(Host::new).collect(),
            network,
            neighbours: None,
            unsure: true,
            forged_until: 0,
            plan,
        }
    }

    /// The time as a machine's clock has it: since its kernel began, never the same
    /// as another one's.
    pub fn local(&self, host: usize, at: u64) -> crate::vrrp::Time {
        let drift = (at as i64 / 1_000) * self.plan.drift_ppm[host] / 1_000;
        crate::vrrp::Time((at as i64 + drift + Self::born(host)) as u64)
    }

    /// When a machine's clock has this time: not before.
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

    /// A client reaches somebody who has the address.
    pub fn is_owned(&self) -> bool {
        let mut hosts = self.hosts.iter();
        hosts.any(|host| host.answers() && !self.network.isolated[host.place])
    }

    /// It runs undisturbed, can be heard, and nobody forges packets.
    pub fn is_healthy(&self, host: &Host) -> bool {
        host.awake()
            && !host.faulty
            && !self.network.isolated[host.place]
            && self.now >= self.forged_until
    }

    /// Slack for every check: the longest way of packets, clocks that go half a
    /// hundredth wrong, and a timer's grain.
    pub fn slack(&self, of: u64) -> u64 {
        self.network.longest_ns() * 2 + of / 50 + 200_000
    }

    pub fn places(&self) -> impl Iterator<Item = usize> + use<> {
        0..self.hosts.len().min(HOSTS)
    }
}
