//! Starts the address role, and installs its first configuration and those of reloads: creates the
//! virtual routers, tracked objects and virtual interfaces, opens the sockets, and computes
//! priorities and faults.

use super::bfd::Bfd;
use super::event_loop::{AddressRole, RoleProcess};
use super::files::TrackedFiles;
use super::hand_over::HandOvers;
use super::health::Health;
use super::host::HostNetwork;
use super::kept::{Keeper, boot_id};
use super::leases::{Lease, Leases};
use super::member::{History, VrrpInstance};
use super::processes::Processes;
use super::runner::Runner;
use super::scripts::TrackedScript;
use super::sockets::{self, Sockets};
use super::standing::Membership;
use super::tell::Teller;
use super::tracker::{Tracker, tracked_by_any};
use super::{KeptState, Level, RoleError, RoleInputs, clock, namespace, realtime, settings};
use crate::config::Config;
use crate::kernel::{AddressSeen, KernelError};
use protocol::vrrp::{Instance, Resume, Router, Time, VrrpState};
use std::collections::HashMap;
use std::io;
use std::net::IpAddr;

/// Maximum number of authenticated adverts that a process may have sent after it last stored its
/// state.
const SEALED_AHEAD: u32 = 1_000;

/// Maximum number of virtual routers on one machine; a larger number is a mistake.
pub const MAX_INSTANCES: usize = 4096;

/// Previous state of a virtual router that continues.
#[derive(Debug, Default)]
pub(super) struct Before {
    pub resume: Option<Resume>,
    pub history: History,
    pub state: Option<VrrpState>,
}

pub(super) fn system(what: &'static str) -> impl FnOnce(KernelError) -> RoleError {
    move |error| RoleError::System {
        what,
        error: io::Error::other(error),
    }
}

impl AddressRole {
    pub(super) fn begin(config: Config, mut given: RoleInputs) -> Result<AddressRole, RoleError> {
        check(&config)?;
        if let Some(name) = &config.global.network_namespace {
            namespace::enter(name).map_err(|error| RoleError::Namespace {
                name: name.clone(),
                error,
            })?;
        }
        if let Some(mask) = config.global.umask {
            rustix::process::umask(rustix::fs::Mode::from_bits_truncate(mask));
        }
        let runner = Runner::start().map_err(|error| RoleError::System {
            what: "the script thread",
            error,
        })?;
        let host = HostNetwork::open(&config)?;
        let teller = Teller::open(&config, &runner, &mut given.log);
        let health = Health::open(given.vitals.as_ref(), &mut given.log);
        let boot = boot_id();
        let kept = given
            .stored_state
            .take()
            .and_then(|b| KeptState::decode(&b));
        let mut role = AddressRole {
            config: Config::default(),
            given,
            process: RoleProcess {
                timer: clock::Timer::new().ok(),
                ..RoleProcess::default()
            },
            host,
            members: Vec::new(),
            router: Router::new(Vec::new(), Vec::new()),
            sockets: Sockets {
                // Skips numbers: the previous process may have sent further authenticated adverts
                // after it stored its state.
                sealed: kept.as_ref().map_or(0, |kept| match kept.sealed {
                    0 => 0,
                    sealed => sealed.saturating_add(SEALED_AHEAD),
                }),
                ..Sockets::default()
            },
            tracker: Tracker::default(),
            runner,
            teller,
            health,
            membership: Membership::default(),
            leases: leases_before(kept.as_ref().filter(|kept| kept.boot == boot)),
            hand_overs: HandOvers::default(),
            keeper: Keeper::new(boot, kept),
        };
        role.membership.has_confirmed = role.keeper.was_confirmed();
        if let Some(kept) = &role.keeper.before {
            role.host.kernel.adopt_settings(kept.settings.clone());
        }
        role.run_startup_script(&config);
        role.process.privileges = realtime::take(&config, &mut role.given.log);
        role.put_static(&Config::default(), &config);
        let known = role.known_instances(&config);
        let going_on = role.hand_overs_going_on(&config);
        let before = role.kept_resumes(&config, &going_on);
        role.install(config, before);
        role.begin_hand_overs(&known, going_on);
        Ok(role)
    }

    pub(super) fn install(&mut self, config: Config, mut before: HashMap<String, Before>) {
        let now = clock::now();
        self.tracker.generation += 1;
        self.config = config;
        self.sockets.announcer.clear();
        self.host.links.set_delays(&self.config.interface_delays);
        self.set_tracker(now);
        let listed = self.host.list_addresses(&mut self.given.log);
        let mut resumes = Vec::new();
        self.members = Vec::new();
        for instance in &self.config.instances {
            let was = before.remove(&instance.name).unwrap_or_default();
            let mut member = VrrpInstance::new(instance.clone(), was.history);
            member.previous_state = was.state;
            member.resume = was.resume;
            resumes.push(was.resume);
            self.members.push(member);
        }
        for at in 0..self.members.len() {
            self.make_vmacs(at);
        }
        self.prepare_interfaces(now);
        let of = |i: &crate::config::Instance| {
            settings::of(&self.config, i, self.tracker.generation == 1)
        };
        let all = self.config.instances.iter().map(of).collect();
        self.router = Router::new(all, settings::groups(&self.config));
        for at in 0..self.members.len() {
            self.connect(now, at, &listed);
            self.open_frames(at);
        }
        self.begin_health(now);
        // Evaluates all members before the first one starts, because groups start as one.
        self.evaluate_all_instances(now);
        self.close_unused();
        self.start_scripts(now);
        self.act();
        self.keeper.keep_now();
    }

    fn close_unused(&mut self) {
        let members = &self.members;
        for (place, adverts) in self.sockets.adverts.iter_mut().enumerate() {
            if !members.iter().any(|m| m.socket == Some(place)) {
                adverts.broken = true;
            }
        }
        // Removes sockets only from the end, so that the indices of the others stay valid.
        while self.sockets.adverts.last().is_some_and(|a| a.broken) {
            self.sockets.adverts.pop();
        }
        let links = &self.host.links;
        self.sockets.frames.retain(|(interface, ipv6), _| {
            members.iter().any(|m| {
                m.addresses().any(|a| {
                    a.address.is_ipv6() == *ipv6 && m.interface_of(links, a) == Some(*interface)
                })
            })
        });
    }

    fn set_tracker(&mut self, now: Time) {
        let old = std::mem::take(&mut self.tracker);
        let config = &self.config;
        let tracked: Vec<_> = tracked_by_any(config).collect();
        let is_used = |name: &str, of: fn(&crate::config::Tracked) -> Vec<&str>| {
            tracked.iter().any(|t| of(t).contains(&name))
        };
        for script in &config.scripts {
            // Skips a script that nothing tracks.
            if !is_used(&script.name, |t| {
                t.scripts.iter().map(|s| s.0.as_str()).collect()
            }) {
                continue;
            }
            let before = old.scripts.iter().find(|a| a.script().name == script.name);
            let mut script = script.clone();
            if script.account.is_none() {
                script.account.clone_from(&config.global.script_user);
            }
            if let Some(words) = self
                .teller
                .refuses(config, &script.words, script.account.as_ref())
            {
                let line = format!("Disabling track script {}: {words}", script.name);
                (self.given.log)(Level::Warning, &line);
                continue;
            }
            let asked = TrackedScript::new(now, script, self.tracker.generation, before);
            self.tracker.scripts.push(asked);
        }
        if !config.files.is_empty() {
            match TrackedFiles::open(&config.files) {
                Ok((files, said)) => {
                    for line in said {
                        (self.given.log)(Level::Warning, &line);
                    }
                    self.tracker.files = Some(files);
                }
                Err(error) => (self.given.log)(Level::Error, &format!("track_file: {error}")),
            }
        }
        if !config.processes.is_empty() {
            match Processes::watch(&config.processes) {
                Ok(processes) => self.tracker.processes = Some(processes),
                Err(error) => (self.given.log)(Level::Error, &format!("track_process: {error}")),
            }
        }
        let (bfd, errors) = Bfd::open(&config.bfd, old.bfd, now);
        for error in errors {
            (self.given.log)(Level::Error, &format!("bfd_instance: {error}"));
        }
        self.tracker.bfd = bfd;
    }

    /// Opens the member's socket and selects its source address, as far as that is possible now.
    pub(super) fn connect(&mut self, now: Time, at: usize, listed: &[AddressSeen]) {
        let virtual_ones: Vec<IpAddr> = self.config.virtual_addresses().collect();
        let Some(member) = self.members.get_mut(at) else {
            return;
        };
        let needs = !member.config.interface.is_empty();
        let interface = member
            .advert_interface(&self.host.links)
            .map(|(index, name)| (index, name.to_owned()));
        if needs && interface.is_none() {
            // Closes the socket without a further fault: a missing interface is reported as a
            // tracked object.
            (member.socket, member.untracked.connection) = (None, None);
            return;
        }
        member
            .untracked
            .connection
            .clone_from(&member.untracked.vmac);
        let mtu = self.host.links.named(&member.config.interface);
        let mtu = mtu.map_or(sockets::MTU_BYTES, |seen| seen.link.mtu);
        let buffer = sockets::receive_buffer(&self.config.global, &member.config, mtu);
        let wanted = sockets::wanted(&member.config, interface, buffer);
        match self.sockets.adverts_of(wanted) {
            Ok(place) => member.socket = Some(place),
            Err(error) => {
                member.socket = None;
                member.untracked.connection = Some(format!("advert socket: {error}"));
            }
        }
        match member.find_source(&self.host.links, listed, &virtual_ones) {
            Some(source) if member.source != Some(source) => {
                member.source = Some(source);
                self.router.set_source(now, Instance(at), source);
            }
            Some(_) => {}
            None if needs => {
                // Keeps the old source, which the last advert still needs to release the addresses.
                let words = match member.config.source {
                    Some(source) => format!("no interface has the source address {source}"),
                    None => format!(
                        "interface {} has no source address for adverts",
                        member.config.interface
                    ),
                };
                member.untracked.connection = Some(words);
            }
            None => {}
        }
    }

    /// Opens the sockets that receive address claims of other hosts.
    pub(super) fn open_frames(&mut self, at: usize) {
        let Some(member) = self.members.get(at) else {
            return;
        };
        let wanted: Vec<(u32, bool)> = member
            .addresses()
            .filter_map(|a| {
                Some((
                    member.interface_of(&self.host.links, a)?,
                    a.address.is_ipv6(),
                ))
            })
            .collect();
        for (interface, ipv6) in wanted {
            if let Err(error) = self.sockets.frames_of(interface, ipv6) {
                let line = format!(
                    "cannot listen for ARP and neighbour discovery on interface {interface}: {error}"
                );
                self.teller.once(&mut self.given.log, Level::Warning, line);
            }
        }
    }

    /// Computes priorities and faults of all instances from their tracked objects, and
    /// starts the instances that waited for them.
    pub(super) fn evaluate_all_instances(&mut self, now: Time) {
        for at in 0..self.members.len() {
            self.evaluate_instance(now, at);
        }
        for at in 0..self.members.len() {
            let Some(member) = self.members.get_mut(at) else {
                return;
            };
            // Starts a member with a fault, too, so that the fault is reported.
            let ready = !member.judgement.unknown || !member.faults().is_empty();
            if !member.is_started && ready {
                member.is_started = true;
                let resume = member.resume.take();
                self.router.start(now, Instance(at), resume);
            }
        }
    }

    pub(super) fn evaluate_instance(&mut self, now: Time, at: usize) {
        if let Some(member) = self.members.get_mut(at) {
            member.check_refused_addresses(now);
        }
        self.update_limits(now, at);
        let Some(member) = self.members.get_mut(at) else {
            return;
        };
        let judgement = self
            .tracker
            .judge(&self.config, &self.host.links, &member.config);
        let unleased = self.leases.fault(now, &member.config);
        let got_its_lease = member.untracked.lease.is_some() && unleased.is_none();
        member.untracked.lease = unleased;
        let before = std::mem::replace(&mut member.judgement, judgement);
        let was = if before.priority == 0 {
            member.config.priority
        } else {
            before.priority
        };
        let is = member.judgement.priority;
        let faults = member.faults();
        let words = (!faults.is_empty()).then(|| faults.join(", "));
        let changed = member.told_fault != Some(words.clone());
        member.told_fault = Some(words.clone());
        if was != is {
            let name = member.config.name.clone();
            self.log(
                Level::Info,
                &format!("({name}) Changing effective priority from {was} to {is}"),
            );
        }
        if before.priority != is {
            self.router.set_priority(now, Instance(at), is);
        }
        if changed {
            self.router.set_fault(now, Instance(at), words);
        }
        if got_its_lease {
            self.router.grant_lease(now, Instance(at));
        }
        if was != is {
            self.tell_priority(at);
        }
    }
}

/// Returns the leases that the previous role held and that this role continues to hold, and the
/// leases that the previous role handed over.
fn leases_before(kept: Option<&KeptState>) -> Leases {
    let held = kept.iter().flat_map(|kept| &kept.leases);
    let mut leases = Leases::new(held.map(|(name, until_ns)| Lease {
        name: name.clone(),
        until_ns: *until_ns,
        is_inherited: false,
    }));
    let handed_over = kept.iter().flat_map(|kept| &kept.handed_over_leases);
    leases.restore_handed_over(handed_over.cloned());
    leases
}

/// Returns whether routes and rules must be monitored. On a router with a full routing table the
/// notifications are expensive.
pub(super) fn watches_routes(config: &Config) -> bool {
    let of = |i: &crate::config::Instance| !i.routes.is_empty() || !i.rules.is_empty();
    config.instances.iter().any(of) || !config.routes.is_empty() || !config.rules.is_empty()
}

pub(super) fn check(config: &Config) -> Result<(), RoleError> {
    if config.instances.len() > MAX_INSTANCES {
        return Err(RoleError::TooMany {
            what: "virtual routers",
            at_most: MAX_INSTANCES,
        });
    }
    Ok(())
}
