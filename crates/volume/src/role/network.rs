//! Starts and stops the TCP listeners for NBD clients of this node's volumes.

use super::socket;
use crate::config::Volumes;
use crate::network::{Bind, ListenerStatus, TcpListening};
use std::collections::BTreeMap;
use std::path::Path;

#[derive(Debug, Default)]
pub(super) struct VolumeListeners(BTreeMap<String, TcpListening>);

impl VolumeListeners {
    /// Applies a new configuration. Removes the listeners' settings from it, because the threads of
    /// volumes do not need the keys. Open connections persist.
    pub(super) fn change(&mut self, volumes: &mut Volumes, runtime: &Path) {
        let of = |(name, spec): (&String, &mut crate::config::Spec)| {
            let bind = spec.bind.take()?;
            Some((name.clone(), bind))
        };
        let wanted: BTreeMap<String, Bind> = volumes.0.iter_mut().filter_map(of).collect();
        // Closes old listeners first, because an address may move from one volume to another.
        self.0.retain(|name, listening| {
            let bind = wanted.get(name);
            bind.is_some_and(|bind| listening.change(bind))
        });
        for (name, bind) in wanted {
            let start = || TcpListening::start(&name, socket::path(runtime, &name), &bind);
            self.0.entry(name.clone()).or_insert_with(start);
        }
    }

    pub(super) fn seen(&self, name: &str) -> Option<ListenerStatus> {
        self.0.get(name).map(TcpListening::seen)
    }
}
