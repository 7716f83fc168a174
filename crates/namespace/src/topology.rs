//! Implements a laboratory, which creates hosts, connects them, partitions them, and removes
//! everything at the end.
//!
//! The names of its namespaces contain the ID of this process, so that the module `clean` can
//! distinguish those of a killed process.

use crate::clean::{prepare, remove_host};
use crate::error::LabError;
use crate::fault::InjectedFault;
use crate::ground::LabState;
use crate::healed::{self, Condition};
use crate::host::LabHost;
use crate::link::{HostLink, Switch};
use crate::name::{MAX_NAME_BYTES, PREFIX};
use crate::partition;
use crate::process::run_words;
use crate::weather::Weather;
use crate::wire::ImpairedCable;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Laboratory: hosts and their connections. Dropping it kills every process that still runs in one
/// of the hosts, and removes everything.
#[derive(Debug)]
pub struct Lab {
    prefix: String,
    hosts: Mutex<Vec<LabHost>>,
    wires: AtomicU32,
    ground: Arc<LabState>,
}

impl Lab {
    /// Creates an empty lab. The name is shown by `ip netns`; several labs may have the
    /// same one.
    pub fn new(name: &str) -> Result<Self, LabError> {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        check_name(name)?;
        prepare();
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        Ok(Lab {
            prefix: format!("{PREFIX}{}-{number}-{name}", std::process::id()),
            hosts: Mutex::default(),
            wires: AtomicU32::new(0),
            ground: Arc::default(),
        })
    }

    /// Creates a host with only its loopback.
    pub fn host(&self, name: &str) -> Result<LabHost, LabError> {
        check_name(name)?;
        let namespace = format!("{}-{name}", self.prefix);
        let mut hosts = self.lock();
        if hosts.iter().any(|host| host.namespace() == namespace) {
            return Err(LabError::NameTaken(name.to_owned()));
        }
        run_words(&["ip", "netns", "add", &namespace])?;
        let opened = LabHost::open(name, namespace.clone(), Arc::clone(&self.ground));
        let host = opened.inspect_err(|_| remove_host(&namespace))?;
        hosts.push(host.clone());
        Ok(host)
    }

    pub fn link(&self, a: &LabHost, b: &LabHost) -> Result<HostLink, LabError> {
        HostLink::lay(a, b)
    }

    pub fn switch(&self, name: &str) -> Result<Switch, LabError> {
        Switch::create_bridge(self.host(name)?)
    }

    /// Lays a cable with weather between two hosts: frames are lost, late, duplicated or out of
    /// order.
    pub fn connect_impaired(
        &self,
        a: &LabHost,
        b: &LabHost,
        weather: Weather,
    ) -> Result<ImpairedCable, LabError> {
        ImpairedCable::lay(self.relay()?, a, b, weather)
    }

    /// Lays a cable with weather between a host and a switch.
    pub fn connect_impaired_to_switch(
        &self,
        switch: &Switch,
        host: &LabHost,
        weather: Weather,
    ) -> Result<ImpairedCable, LabError> {
        ImpairedCable::attach(self.relay()?, switch, host, weather)
    }

    fn relay(&self) -> Result<LabHost, LabError> {
        let number = self.wires.fetch_add(1, Ordering::Relaxed);
        self.host(&format!("wire-{number}"))
    }

    /// Cuts every cable, and every way through a switch, between hosts of different groups. The
    /// cuts are silent: no host loses its carrier. Traffic within a group, and of hosts in no
    /// group, continues. Between two groups, a way through a third host is cut if that host is in a
    /// group.
    pub fn partition(&self, groups: &[&[&LabHost]]) -> Result<InjectedFault, LabError> {
        let hosts = self.lock().clone();
        partition::cut(&self.ground, &hosts, groups)
    }

    pub fn faults(&self) -> Vec<String> {
        self.ground.faults.active_faults()
    }

    /// Waits until all conditions are true at the same time and stay so for several checks. Every
    /// fault must have been healed before. Returns how long that took, or an error with the failing
    /// conditions.
    ///
    /// ```no_run
    /// # fn owners() -> Vec<&'static str> { vec![] }
    /// # fn main() -> Result<(), namespace::LabError> {
    /// # let lab = namespace::Lab::new("x")?;
    /// # let (a, b) = (lab.host("a")?, lab.host("b")?);
    /// let cut = lab.partition(&[&[&a], &[&b]])?;
    /// // … both own the address …
    /// cut.heal()?;
    /// lab.wait_healed(
    ///     std::time::Duration::from_secs(10),
    ///     &mut [namespace::Condition::new("one owner", || match owners().as_slice() {
    ///         [_] => Ok(()),
    ///         other => Err(format!("{other:?}")),
    ///     })],
    /// )?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn wait_healed(
        &self,
        within: Duration,
        conditions: &mut [Condition<'_>],
    ) -> Result<Duration, LabError> {
        let faults = self.faults();
        if !faults.is_empty() {
            return Err(LabError::StillBroken(faults));
        }
        healed::wait(within, conditions)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<LabHost>> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for host in self.lock().drain(..) {
            remove_host(host.namespace());
        }
    }
}

fn check_name(name: &str) -> Result<(), LabError> {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if name.is_empty() || name.len() > MAX_NAME_BYTES || !name.bytes().all(plain) {
        return Err(LabError::Name(name.to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::NAMESPACES;
    use std::panic::catch_unwind;
    use std::path::Path;
    use std::process::Command;
    use std::time::Duration;

    fn exists(namespace: &str) -> bool {
        Path::new(NAMESPACES).join(namespace).exists()
    }

    #[test]
    fn lab_removes_its_hosts_even_after_a_panic() {
        crate::skip_unless_root!();
        let lab = Lab::new("drop").unwrap();
        let namespace = lab.host("a").unwrap().namespace().to_owned();
        assert!(exists(&namespace));
        let result = catch_unwind(move || {
            let _lab = lab;
            panic!("on purpose");
        });
        assert!(result.is_err());
        assert!(!exists(&namespace));
    }

    #[test]
    fn process_in_a_host_ends_with_the_lab() {
        crate::skip_unless_root!();
        let lab = Lab::new("left").unwrap();
        let mut command = Command::new("sleep");
        command.arg("60");
        let process = lab.host("a").unwrap().spawn(command).unwrap();
        drop(lab);
        assert!(process.wait(Duration::from_secs(5)).is_some());
    }

    #[test]
    fn host_name_is_valid_and_unique() {
        for name in ["", "a/b", "A", "..", &"x".repeat(65)] {
            assert!(matches!(Lab::new(name), Err(LabError::Name(_))), "{name}");
        }
        crate::skip_unless_root!();
        let lab = Lab::new("names").unwrap();
        let _a = lab.host("a").unwrap();
        assert!(matches!(lab.host("a"), Err(LabError::NameTaken(_))));
    }
}
