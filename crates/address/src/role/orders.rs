//! Executes the orders of the supervisor: installs a configuration, hands addresses over, writes
//! dumps, and ends the role. Stores the state for the successor.

use super::begin::{Before, check};
use super::event_loop::AddressRole;
use super::hand_over::keeps_connections;
use super::kept::{KeptHandOver, fingerprint};
use super::leases::name_of;
use super::member::VrrpInstance;
use super::pacemaker::Paced;
use super::report::state_word;
use super::{Dump, Exit, KeptInstance, KeptState, Level, Notification, RoleOrder, clock, settings};
use crate::config::{Config, Dialect};
use crate::kernel::AddressSpec;
use protocol::vrrp::{Instance, Resume, Router, Time, VrrpAction, VrrpState};
use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

/// Time for which a stop waits until its notify scripts have started.
const FINISH_WAIT: Duration = Duration::from_secs(2);

impl AddressRole {
    /// Executes the waiting orders; returns how the role ends, if it ends.
    pub(super) fn execute_orders(&mut self) -> Option<Exit> {
        while let Some(order) = self.given.orders.next() {
            self.process.is_unsupervised = matches!(order, RoleOrder::Left);
            match order {
                RoleOrder::Take(config) => match check(&config) {
                    Ok(()) => self.install_or_defer(config),
                    Err(error) => {
                        let told = Notification::Refused(vec![error.to_string()]);
                        self.given.orders.send_notification(told);
                    }
                },
                RoleOrder::Vitals(memory) => self.read_health_from(memory),
                RoleOrder::Missing(words) => self.miss(words),
                RoleOrder::Stop { release, stays } => {
                    if !release || !self.hand_over_all(stays) {
                        return Some(self.stop(release));
                    }
                }
                RoleOrder::HandOver { name, drain } => self.hand_over(name.as_deref(), drain),
                RoleOrder::Member(news) => self.set_membership(news),
                RoleOrder::Hold(held) => self.hold(held),
                RoleOrder::HandOverLease(name) => self.hand_over_lease(name),
                RoleOrder::Status => {
                    let report = Box::new(self.report());
                    self.given
                        .orders
                        .send_notification(Notification::Report(report));
                }
                RoleOrder::Dump(dump) => self.dump(dump),
                RoleOrder::ClearStatistics => self.clear_statistics(),
                RoleOrder::Left => {
                    self.log(
                        Level::Warning,
                        "the supervisor has ended; the role continues to serve",
                    );
                }
            }
        }
        None
    }

    /// Installs another configuration. Unchanged instances continue, and addresses that are in both
    /// configurations stay where they are.
    pub(super) fn install_config(&mut self, config: Config) {
        self.log(Level::Info, "Reloading");
        let now = clock::now();
        let before = self.before(now, &config);
        // Executes what the old instances have already decided; they decide nothing from here on.
        self.act();
        let old_members = std::mem::take(&mut self.members);
        let mut leaving = Vec::new();
        for (at, member) in old_members.iter().enumerate() {
            let stays = config
                .instances
                .iter()
                .any(|i| i.name == member.config.name && fingerprint(i) == member.fingerprint());
            if !stays {
                leaving.push((at, self.router.instance_snapshot(now, Instance(at))));
            }
        }
        self.members = old_members;
        for (at, kept) in leaving {
            self.stop_removed_instance(now, at, kept);
        }
        self.router.stop_for_successor(now);
        self.remove_changed(&config);
        self.put_static(&self.config.clone(), &config);
        self.teller
            .reopen(&config, &self.runner, &mut self.given.log);
        let gone = std::mem::take(&mut self.members);
        self.install(config, before);
        self.remove_vmacs(gone);
        if self.config.global.fifo_states_on_reload {
            self.write_states();
        }
        self.log(Level::Info, "Reload complete");
        self.given.orders.send_notification(Notification::Taken);
    }

    fn before(&mut self, now: Time, config: &Config) -> HashMap<String, Before> {
        let mut before = HashMap::new();
        for (at, member) in self.members.iter_mut().enumerate() {
            let status = self.router.status(Instance(at));
            let mut history = std::mem::take(&mut member.history);
            if let Some(status) = &status {
                history.base = history.base + status.counters;
            }
            let same = config
                .instances
                .iter()
                .any(|i| i.name == member.config.name && fingerprint(i) == member.fingerprint());
            let resume = self.router.instance_snapshot(now, Instance(at));
            let state = (same && member.is_started).then_some(member.state);
            let was = Before {
                resume: resume.filter(|_| state.is_some()),
                history,
                state,
            };
            before.insert(member.config.name.clone(), was);
        }
        let groups = self.config.groups.iter().zip(0..);
        self.teller.groups_before = groups
            .filter_map(|(group, _)| {
                let first = self
                    .members
                    .iter()
                    .find(|m| group.members.contains(&m.config.name))?;
                Some((group.name.clone(), first.state))
            })
            .collect();
        before
    }

    /// Stops an instance that the new configuration removes or changes. The other members of its
    /// sync group continue.
    fn stop_removed_instance(&mut self, now: Time, at: usize, kept: Option<Resume>) {
        let Some(member) = self.members.get(at) else {
            return;
        };
        let (name, begun, source) = (member.config.name.clone(), member.is_started, member.source);
        if !begun {
            return;
        }
        let only = settings::of(&self.config, &member.config, false);
        let mut alone = Router::new(vec![only], Vec::new());
        if let Some(source) = source {
            alone.set_source(now, Instance(0), source);
        }
        alone.start(now, Instance(0), kept);
        while alone.poll().is_some() {}
        alone.stop(now, Instance(0));
        while let Some(action) = alone.poll() {
            match action {
                VrrpAction::Send { to, bytes, .. } => {
                    let instance = Instance(at);
                    self.execute_action(VrrpAction::Send {
                        instance,
                        to,
                        bytes,
                    });
                }
                VrrpAction::Release { .. } => self.execute_action(VrrpAction::Release {
                    instance: Instance(at),
                }),
                _ => {}
            }
        }
        self.log(Level::Notice, &format!("({name}) is no longer configured"));
        let deleted = self
            .members
            .get(at)
            .is_some_and(|m| m.config.notify.reports_deleted);
        self.notify(at, if deleted { "DELETED" } else { "FAULT" });
    }

    /// Removes the addresses, routes and rules that a master instance no longer has configured.
    fn remove_changed(&mut self, config: &Config) {
        let mut addresses: Vec<(String, Vec<AddressSpec>)> = Vec::new();
        let mut routes = Vec::new();
        let mut rules = Vec::new();
        for member in self.members.iter().filter(|m| m.holds) {
            let Some(new) = config
                .instances
                .iter()
                .find(|i| i.name == member.config.name)
            else {
                continue;
            };
            let next = VrrpInstance {
                vmac: member.vmac.clone(),
                secondary_vmacs: member.secondary_vmacs.clone(),
                ..VrrpInstance::new(new.clone(), Default::default())
            };
            let wanted = next.specs(&self.host.links);
            let mut gone = member.specs(&self.host.links);
            gone.retain(|old| {
                let same = |new: &AddressSpec| {
                    new.interface == old.interface
                        && (new.address, new.prefix, new.peer, &new.label)
                            == (old.address, old.prefix, old.peer, &old.label)
                };
                !wanted.iter().any(same)
            });
            addresses.push((new.name.clone(), gone));
            let old = &member.config;
            routes.extend(
                old.routes
                    .iter()
                    .filter(|r| !new.routes.contains(r))
                    .cloned(),
            );
            rules.extend(old.rules.iter().filter(|r| !new.rules.contains(r)).cloned());
        }
        for (name, gone) in addresses {
            for spec in &gone {
                let line = format!("({name}) {}/{} no longer exist", spec.address, spec.prefix);
                self.log(Level::Info, &line);
            }
            self.host.remove(&mut self.given.log, &name, &gone);
        }
        self.host
            .remove_rules(&mut self.given.log, "reload", &rules);
        self.host
            .remove_routes(&mut self.given.log, "reload", &routes);
    }

    fn hand_over(&mut self, name: Option<&str>, drain: Option<Duration>) {
        let now = clock::now();
        let mut begun = Vec::new();
        for (at, member) in self.members.iter().enumerate() {
            if name.is_some_and(|name| name != member.config.name) {
                continue;
            }
            if member.config.options.lease {
                if member.state == VrrpState::Master {
                    self.leases.put_last(name_of(&member.config));
                    begun.push(member.config.name.clone());
                }
                continue;
            }
            let drain = drain.unwrap_or(member.config.options.handover_drain);
            // Hands over at once where connections continue while another node already owns the
            // addresses; only other instances drain first.
            let drain = if keeps_connections(&self.config, &member.config) {
                self.hand_overs.set_drain_time(&member.config.name, drain)
            } else {
                drain
            };
            if self.router.hand_over(now, Instance(at), drain) {
                begun.push(member.config.name.clone());
            }
        }
        self.act();
        self.given
            .orders
            .send_notification(Notification::HandOver(begun));
    }

    pub(super) fn stop(&mut self, release: bool) -> Exit {
        let now = clock::now();
        // Logs the stop for `keepalived.conf` only: with our own language, the supervisor logs it.
        if self.config.dialect != Dialect::Own {
            self.log(Level::Info, "Stopping");
        }
        let mut left = None;
        let exit = if release {
            let for_stop = self.hand_overs.take_for_stop();
            left = Some(self.kept_state(now).after_stop(&for_stop));
            self.router.stop_all(now);
            self.act();
            self.end_hand_overs();
            self.remove_static();
            self.host.restore(now, &mut self.given.log);
            let gone = std::mem::take(&mut self.members);
            self.remove_vmacs(gone);
            if let Some(script) = self.config.global.shutdown_script.clone() {
                self.run_once("shutdown_script", &script);
            }
            Exit::Released
        } else {
            self.store_state(now);
            self.router.stop_for_successor(now);
            // Withdraws all masters from the pacemaker, because the successor sends the adverts.
            self.report_masters(Paced::Known);
            Exit::Left
        };
        if let Some(mut left) = left {
            // Stores the kernel settings that could not be restored, so that the next process
            // restores them.
            left.settings = self.host.kernel.saved_settings().to_vec();
            self.write_state(&left);
        }
        let wait = self.config.global.shutdown_script.as_ref();
        let wait = wait
            .filter(|_| release)
            .map_or(FINISH_WAIT, |(_, timeout)| {
                FINISH_WAIT.saturating_add(*timeout)
            });
        self.runner.finish(wait);
        exit
    }

    fn dump(&mut self, dump: Dump) {
        let configured = self.config.global.dump_directory.clone();
        let directory = configured.unwrap_or_else(|| self.given.dump_directory.clone());
        let path: PathBuf = directory.join(dump_name(&self.config, dump));
        let text = match dump {
            Dump::Data => self.dump_data(),
            Dump::Statistics => self.dump_statistics(),
            Dump::Json => self.dump_json(),
        };
        let what = match dump {
            Dump::Data => "Printing VRRP data",
            Dump::Statistics => "Printing VRRP stats",
            Dump::Json => "Printing VRRP as json",
        };
        let pid = std::process::id();
        self.log(Level::Info, &format!("{what} for process({pid}) on signal"));
        match write_anew(&path, text.as_bytes()) {
            Ok(()) => self
                .given
                .orders
                .send_notification(Notification::Dumped(path)),
            Err(error) => self.log(Level::Error, &format!("{}: {error}", path.display())),
        }
    }

    fn clear_statistics(&mut self) {
        for (at, member) in self.members.iter_mut().enumerate() {
            if let Some(status) = self.router.status(Instance(at)) {
                member.history.cleared = member.history.base + status.counters;
            }
        }
    }

    pub(super) fn store_state(&mut self, now: Time) {
        self.keeper.begin();
        let kept = self.kept_state(now);
        // A master stores its state three times within the time that a successor accepts as recent.
        let masters = self.members.iter().zip(self.router.settings().0);
        let masters = masters.filter(|(m, _)| m.state == VrrpState::Master);
        let patience = |s: &protocol::vrrp::Settings| {
            let down = s.interval.saturating_mul(s.down_adverts.max(1).into());
            s.probing.map_or(down, |probing| down.max(probing.bound))
        };
        let least = masters.map(|(_, s)| patience(s) / 3).min();
        if let Some(wait) = least {
            self.keeper.keep_within(now, wait);
        }
        self.write_state(&kept);
    }

    fn write_state(&mut self, kept: &KeptState) {
        if let Some(file) = &self.given.keep
            && let Err(error) = kept.write(file)
        {
            let line = format!("cannot store the state: {error}");
            self.teller.once(&mut self.given.log, Level::Error, line);
        }
    }

    fn kept_state(&mut self, now: Time) -> KeptState {
        let mut kept = KeptState {
            boot: self.keeper.boot.clone(),
            written_ns: now.0,
            instances: Vec::new(),
            leases: self.leases.kept(),
            handed_over_leases: self.leases.handed_over(),
            hand_overs: self.hand_overs.kept(),
            sealed: self.sockets.sealed,
            settings: self.host.kernel.saved_settings().to_vec(),
            confirmed_under: if self.membership.has_confirmed {
                self.keeper.supervisor.clone()
            } else {
                Default::default()
            },
        };
        for (at, member) in self.members.iter_mut().enumerate() {
            let Some(resume) = self.router.instance_snapshot(now, Instance(at)) else {
                continue;
            };
            if resume.state == VrrpState::Master {
                member.history.master_at = Some(now);
            }
            let interface = |a: &crate::config::Address| member.name_of_interface(a).to_owned();
            // Includes addresses that another node owns and that drain here: if the role is killed,
            // its successor must remove them.
            let lingers = self.hand_overs.is_lingering(&member.config.name);
            let addresses = member.addresses().filter(|_| member.holds || lingers);
            kept.instances.push(KeptInstance {
                name: member.config.name.clone(),
                fingerprint: member.fingerprint(),
                state: state_word(resume.state).to_owned(),
                since_ns: resume.since.0,
                master_at_ns: member.history.master_at.map_or(0, |at| at.0),
                at_ns: resume.at.0,
                holds: resume.holds || lingers,
                owner: resume.owner,
                master_down_at_ns: resume.master_down_at.map(|at| at.0),
                owner_interval_ns: u64::try_from(resume.owner_interval.as_nanos()).unwrap_or(0),
                yielded: resume.yielded,
                addresses: addresses.map(|a| (interface(a), a.clone())).collect(),
                routes: held(member, &member.config.routes),
                rules: held(member, &member.config.rules),
            });
        }
        kept
    }

    /// Returns the stored state of the previous process, and removes from the kernel what
    /// belonged to instances that no longer exist.
    pub(super) fn kept_resumes(
        &mut self,
        config: &Config,
        going_on: &[KeptHandOver],
    ) -> HashMap<String, Before> {
        let mut before = HashMap::new();
        let Some(kept) = self.keeper.before.take() else {
            return before;
        };
        for instance in &config.instances {
            let goes_on = |one: &KeptHandOver| one.name == instance.name && one.to.is_none();
            let lingers = going_on.iter().any(goes_on);
            if let Some(kept) = kept.of(instance) {
                let mut resume = kept.resume();
                if let Some(resume) = resume.as_mut().filter(|_| lingers) {
                    // Keeps the addresses until the hand-over ends, which removes them.
                    resume.holds = false;
                }
                let mut was = Before {
                    state: resume.map(|r| r.state),
                    resume,
                    ..Before::default()
                };
                was.history.is_resumed =
                    was.state == Some(VrrpState::Master) && !self.membership.has_confirmed;
                before.insert(instance.name.clone(), was);
            }
        }
        let mut left = Vec::new();
        for old in &kept.instances {
            let now = config.instances.iter().find(|i| i.name == old.name);
            for (interface, address) in &old.addresses {
                let stays = now.is_some_and(|i| {
                    let mut all = i.addresses.iter().chain(&i.excluded);
                    fingerprint(i) == old.fingerprint && all.any(|a| a.address == address.address)
                });
                let seen = self.host.links.named(interface);
                if let (false, Some(seen)) = (stays, seen) {
                    left.push(AddressSpec::new(address, seen.link.index, None, true));
                }
            }
        }
        for spec in &left {
            let line = format!(
                "removing {}/{}, left by a previous process",
                spec.address, spec.prefix
            );
            self.log(Level::Info, &line);
        }
        self.host.remove(&mut self.given.log, "left over", &left);
        self.remove_left_ways(config, &kept);
        before
    }

    /// Removes rules and routes of the previous process that are no longer configured.
    fn remove_left_ways(&mut self, config: &Config, kept: &KeptState) {
        let (mut rules, mut routes) = (Vec::new(), Vec::new());
        for old in &kept.instances {
            let now = config.instances.iter().find(|i| i.name == old.name);
            let now = now.filter(|i| fingerprint(i) == old.fingerprint);
            let wanted = now.map_or(&[][..], |i| &i.rules);
            rules.extend(old.rules.iter().filter(|r| !wanted.contains(r)).cloned());
            let wanted = now.map_or(&[][..], |i| &i.routes);
            routes.extend(old.routes.iter().filter(|r| !wanted.contains(r)).cloned());
        }
        let texts = rules
            .iter()
            .map(|r| &r.text)
            .chain(routes.iter().map(|r| &r.text));
        for text in texts.cloned().collect::<Vec<_>>() {
            self.log(
                Level::Info,
                &format!("removing {text}, left by a previous process"),
            );
        }
        self.host
            .remove_rules(&mut self.given.log, "left over", &rules);
        self.host
            .remove_routes(&mut self.given.log, "left over", &routes);
    }
}

fn held<T: Clone>(member: &VrrpInstance, all: &[T]) -> Vec<T> {
    if member.holds {
        all.to_vec()
    } else {
        Vec::new()
    }
}

/// Returns the file name of a dump. With `data_use_instance` it contains the instance and the
/// network namespace, so that several programs on a machine do not overwrite each other's dumps.
fn dump_name(config: &Config, dump: Dump) -> String {
    let name = dump.file_name();
    let global = &config.global;
    let parts = [&global.instance, &global.network_namespace];
    let beside: String = parts
        .into_iter()
        .flatten()
        .map(|part| format!("_{}", part.replace('/', "_")))
        .collect();
    match name.rsplit_once('.') {
        Some((stem, kind)) if global.dumps_by_instance => format!("{stem}{beside}.{kind}"),
        _ => name.to_owned(),
    }
}

/// Writes a file in a world-writable directory: removes an existing file, and follows no
/// link.
fn write_anew(path: &std::path::Path, bytes: &[u8]) -> std::io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = std::fs::File::options()
        .write(true)
        .create_new(true)
        // Makes the file readable only by its owner: a dump contains passwords, and the directory
        // is readable by everybody.
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)
}
