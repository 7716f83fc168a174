//! Stores the state of the role for its successor, also after SIGKILL: the states of the instances,
//! their objects in the kernel, leases, hand-overs, and changed kernel settings.

use crate::config::{Address, Instance, Route, Rule};
use crate::kernel::sysctl::Saved;
use part::state_file::{self, BYTES_MAX as MAX_KEPT_BYTES};
use protocol::vrrp::{Resume, Time, VrrpState};
use serde::{Deserialize, Serialize};
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

/// Stored state of a role. Times are nanoseconds of CLOCK_BOOTTIME.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct KeptState {
    /// `/proc/sys/kernel/random/boot_id`: the state is invalid after a restart of the machine.
    pub boot: String,
    pub written_ns: u64,
    pub instances: Vec<KeptInstance>,
    /// Held leases with their ends, nanoseconds of CLOCK_BOOTTIME.
    #[serde(default)]
    pub leases: Vec<(String, u64)>,
    #[serde(default)]
    pub handed_over_leases: Vec<String>,
    #[serde(default)]
    pub hand_overs: Vec<KeptHandOver>,
    /// Last sequence number of an authenticated advert (AH), sent or received.
    #[serde(default)]
    pub sealed: u32,
    /// Kernel settings that a planned stop restores.
    #[serde(default)]
    pub settings: Vec<Saved>,
    /// Supervisor process under which a majority confirmed the served configuration version; empty:
    /// none did.
    #[serde(default)]
    pub confirmed_under: String,
}

/// Stored state of a hand-over: connections continue while its table exists.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct KeptHandOver {
    pub name: String,
    /// Node to which older connections are forwarded. `None`: another node took over the addresses,
    /// and they are still on this node.
    pub to: Option<IpAddr>,
    pub until_ns: u64,
}

#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct KeptInstance {
    pub name: String,
    /// Fingerprint of the interface, router id, VRRP version and address family; an instance with
    /// another fingerprint is not resumed.
    pub fingerprint: String,
    pub state: String,
    pub since_ns: u64,
    pub master_at_ns: u64,
    pub at_ns: u64,
    pub holds: bool,
    /// As a backup: address and priority of the owner.
    pub owner: Option<(IpAddr, u8)>,
    /// As a backup: expiry of the master-down timer, in nanoseconds.
    pub master_down_at_ns: Option<u64>,
    /// As a backup: advert interval of the owner, in nanoseconds.
    pub owner_interval_ns: u64,
    /// Priority of the owner to which an operator handed the addresses over.
    pub yielded: Option<u8>,
    /// Addresses, each with its interface, that were added to the kernel and not removed.
    pub addresses: Vec<(String, Address)>,
    #[serde(default)]
    pub routes: Vec<Route>,
    #[serde(default)]
    pub rules: Vec<Rule>,
}

impl KeptInstance {
    /// Converts the stored state for the router; None if the state's name is unknown.
    pub fn resume(&self) -> Option<Resume> {
        let state = match self.state.as_str() {
            "MASTER" => VrrpState::Master,
            "BACKUP" => VrrpState::Backup,
            "FAULT" => VrrpState::Fault,
            // After a stop, restores only an operator's order to give up the address; otherwise the
            // state is dropped.
            "INIT" if self.yielded.is_some() => VrrpState::Init,
            _ => return None,
        };
        Some(Resume {
            state,
            since: Time(self.since_ns),
            at: Time(self.at_ns),
            holds: self.holds,
            owner: self.owner,
            master_down_at: self.master_down_at_ns.map(Time),
            owner_interval: Duration::from_nanos(self.owner_interval_ns),
            yielded: self.yielded,
        })
    }
}

impl KeptState {
    /// Returns whether the process that stored the state may have left objects in the kernel during
    /// this boot of the machine, which the next process must remove.
    pub fn has_kernel_state(&self) -> bool {
        let holds = |one: &KeptInstance| {
            let has_ways = !one.routes.is_empty() || !one.rules.is_empty();
            one.holds || has_ways || !one.addresses.is_empty()
        };
        let all = self.instances.iter().any(holds);
        let is_left = all || !self.hand_overs.is_empty() || !self.settings.is_empty();
        is_left && self.boot == boot_id()
    }

    /// Returns what remains after a planned stop: the orders of operators, and the sequence number.
    /// `for_stop`: instances whose addresses were handed over because of the stop.
    pub(super) fn after_stop(self, for_stop: &[String]) -> KeptState {
        let all = self.instances.into_iter();
        let left = all
            .filter(|one| !for_stop.contains(&one.name))
            .filter_map(|one| {
                Some(KeptInstance {
                    yielded: Some(one.yielded?),
                    name: one.name,
                    fingerprint: one.fingerprint,
                    state: "INIT".to_owned(),
                    ..KeptInstance::default()
                })
            });
        KeptState {
            boot: self.boot,
            written_ns: self.written_ns,
            instances: left.collect(),
            handed_over_leases: self.handed_over_leases,
            sealed: self.sealed,
            ..KeptState::default()
        }
    }

    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    pub fn decode(bytes: &[u8]) -> Option<KeptState> {
        serde_json::from_slice(bytes).ok()
    }

    /// Reads the state file of a role, in the form for its successor
    /// (`RoleInputs::stored_state`). `None` if it is incomplete or was never written.
    pub fn read(file: BorrowedFd<'_>) -> Option<Vec<u8>> {
        let bytes = state_file::read(file)?;
        KeptState::decode(&bytes).map(|_| bytes)
    }

    /// Writes the state.
    ///
    /// # Errors
    /// The state is larger than the file may be, even without routes and rules, or the
    /// write fails.
    pub fn write(&self, file: &impl AsFd) -> io::Result<()> {
        let is_empty = self.instances.is_empty()
            && self.leases.is_empty()
            && self.handed_over_leases.is_empty()
            && self.hand_overs.is_empty()
            && self.settings.is_empty();
        if is_empty {
            // Writes an empty state, which the supervisor removes after a planned stop.
            return state_file::write(file, &[]);
        }
        let mut bytes = self.encode();
        if bytes.len() > MAX_KEPT_BYTES {
            // Drops routes and rules of a state that is too large: ownership matters more than what
            // a killed process leaves in the kernel.
            bytes = self.without_ways().encode();
        }
        state_file::write(file, &bytes)
    }

    fn without_ways(&self) -> KeptState {
        let mut kept = self.clone();
        for instance in &mut kept.instances {
            (instance.routes, instance.rules) = (Vec::new(), Vec::new());
        }
        kept
    }

    /// Returns the stored state of this instance, if the instance is unchanged.
    pub fn of(&self, instance: &Instance) -> Option<&KeptInstance> {
        let fingerprint = fingerprint(instance);
        self.instances
            .iter()
            .find(|kept| kept.name == instance.name && kept.fingerprint == fingerprint)
    }
}

/// Maximum interval between two writes of the state as master.
const KEEP_EVERY: Duration = Duration::from_secs(10);

/// Time of the next write of the state, and the state that the predecessor stored.
#[derive(Debug)]
pub(super) struct Keeper {
    pub(super) boot: String,
    /// Identity of the supervisor process, which stays the same during an upgrade of evenkeel.
    pub(super) supervisor: String,
    /// State of the predecessor; None after the first configuration has used it.
    pub(super) before: Option<KeptState>,
    at: Option<Time>,
    now: bool,
}

impl Keeper {
    /// Starts with the state of the predecessor, if it was stored in this boot of the machine.
    pub(super) fn new(boot: String, kept: Option<KeptState>) -> Keeper {
        Keeper {
            // Drops a state from before a restart of the machine.
            before: kept.filter(|kept| kept.boot == boot),
            boot,
            supervisor: supervisor_identity(),
            at: None,
            now: true,
        }
    }

    /// Returns whether a majority has confirmed the served configuration version since the
    /// supervisor started.
    pub(super) fn was_confirmed(&self) -> bool {
        let under = self.before.as_ref().map(|kept| &kept.confirmed_under);
        under.is_some_and(|under| !under.is_empty() && *under == self.supervisor)
    }

    pub(super) fn keep_now(&mut self) {
        self.now = true;
    }

    pub(super) fn keep_within(&mut self, now: Time, wait: Duration) {
        let at = now.after(wait.min(KEEP_EVERY));
        self.at = Some(self.at.map_or(at, |before| before.min(at)));
    }

    /// Resets the timer at the start of a write: none is due until something happens.
    pub(super) fn begin(&mut self) {
        (self.now, self.at) = (false, None);
    }

    pub(super) fn is_due(&self, now: Time) -> bool {
        self.now || self.at.is_some_and(|at| at <= now)
    }

    pub(super) fn deadline(&self) -> Option<Time> {
        self.at
    }

    pub(super) fn instances_before(&self) -> impl Iterator<Item = &KeptInstance> {
        self.before.iter().flat_map(|kept| &kept.instances)
    }
}

/// Returns the id of the current boot; empty if the system does not report one.
pub(super) fn boot_id() -> String {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    boot.trim().to_owned()
}

/// Returns the identity of the parent process; empty if it is unknown.
fn supervisor_identity() -> String {
    let Some(parent) = rustix::process::getppid() else {
        return String::new();
    };
    let pid = parent.as_raw_nonzero();
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // Reads field 22, the start time, after the name (field 2), which may contain spaces and
    // parentheses.
    let fields = stat.rsplit_once(')').map(|(_, fields)| fields);
    let started = fields.and_then(|fields| fields.split_whitespace().nth(19));
    started.map_or_else(String::new, |started| format!("{pid}/{started}"))
}

pub fn fingerprint(instance: &Instance) -> String {
    format!(
        "{}/{}/{}/{}",
        instance.interface, instance.vrid, instance.options.version, instance.ipv6
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{MemfdFlags, memfd_create};

    #[test]
    fn routes_that_are_too_many_to_be_kept_do_not_cost_the_rest() {
        let file = memfd_create("kept", MemfdFlags::CLOEXEC).unwrap();
        let route = Route {
            text: "r".repeat(1000),
            ..Route::default()
        };
        let instance = KeptInstance {
            name: "A".to_owned(),
            routes: vec![route; MAX_KEPT_BYTES / 1000],
            ..KeptInstance::default()
        };
        let mut kept = KeptState {
            instances: vec![instance],
            ..KeptState::default()
        };
        kept.write(&file).unwrap();
        let read = KeptState::decode(&KeptState::read(file.as_fd()).unwrap());
        kept.instances[0].routes.clear();
        assert_eq!(read, Some(kept));
    }

    #[test]
    fn only_orders_of_operators_survive_a_planned_stop() {
        let one = |name: &str, yielded| KeptInstance {
            name: name.to_owned(),
            state: "BACKUP".to_owned(),
            holds: true,
            yielded,
            ..KeptInstance::default()
        };
        let kept = KeptState {
            instances: vec![
                one("www", Some(210)),
                one("mail", Some(210)),
                one("dns", None),
            ],
            leases: vec![("address/vpn".to_owned(), 9)],
            handed_over_leases: vec!["address/vpn".to_owned()],
            confirmed_under: "1/2".to_owned(),
            ..KeptState::default()
        };
        // The addresses of `mail` were handed over because of the stop.
        let left = kept.after_stop(&["mail".to_owned()]);
        let names: Vec<&str> = left.instances.iter().map(|one| &*one.name).collect();
        assert_eq!(names, ["www"]);
        let resume = left.instances[0].resume().unwrap();
        assert_eq!(
            (resume.state, resume.holds, resume.yielded),
            (VrrpState::Init, false, Some(210))
        );
        assert!(left.leases.is_empty() && left.confirmed_under.is_empty());
        assert_eq!(left.handed_over_leases, ["address/vpn"]);
    }

    #[test]
    fn a_state_is_read_as_it_was_written_and_a_torn_one_is_none() {
        let file = memfd_create("kept", MemfdFlags::CLOEXEC).unwrap();
        assert_eq!(KeptState::read(file.as_fd()), None);
        let mut kept = KeptState {
            boot: "b".repeat(100),
            handed_over_leases: vec!["address/vpn".to_owned()],
            ..KeptState::default()
        };
        kept.write(&file).unwrap();
        let read = |f: &std::os::fd::OwnedFd| KeptState::read(f.as_fd());
        assert_eq!(KeptState::decode(&read(&file).unwrap()), Some(kept.clone()));
        kept.boot = "c".to_owned();
        kept.write(&file).unwrap();
        assert_eq!(KeptState::decode(&read(&file).unwrap()), Some(kept));
        rustix::io::pwrite(&file, &0u64.to_le_bytes(), 0).unwrap();
        assert_eq!(read(&file), None);
        rustix::io::pwrite(&file, &u64::MAX.to_le_bytes(), 0).unwrap();
        assert_eq!(read(&file), None);
    }
}
