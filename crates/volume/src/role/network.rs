//! Where clients reach the volumes of this node over TCP.

use super::socket;
use crate::config::Volumes;
use crate::network::{Bind, Listening, Seen};
use std::collections::BTreeMap;
use std::path::Path;

/// The listeners, by the names of their volumes.
#[derive(Debug, Default)]
pub(super) struct Network(BTreeMap<String, Listening>);

impl Network {
    /// Goes over to those of another version. They are taken out of it: nobody else needs the
    /// keys. Connections stay.
    pub(super) fn change(&mut self, volumes: &mut Volumes, runtime: &Path) {
        let of = |(name, spec): (&String, &mut crate::config::Spec)| {
            let bind = spec.bind.take()?;
            Some((name.clone(), bind))
        };
        let wanted: BTreeMap<String, Bind> = volumes.0.iter_mut().filter_map(of).collect();
        // An address may go from one volume to another.
        self.0.retain(|name, listening| {
            let bind = wanted.get(name);
            bind.is_some_and(|bind| listening.change(bind))
        });
        for (name, bind) in wanted {
            let start = || Listening::start(&name, socket::path(runtime, &name), &bind);
            self.0.entry(name.clone()).or_insert_with(start);
        }
    }

    /// How the listener of a volume is, if it has one.
    pub(super) fn seen(&self, name: &str) -> Option<Seen> {
        self.0.get(name).map(Listening::seen)
    }
}
