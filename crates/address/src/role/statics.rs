//! Keeps the objects of `static_ipaddress`, `static_routes` and `static_rules` in the kernel while
//! the role runs, in every VRRP state.

use super::Level;
use super::event_loop::AddressRole;
use crate::config::{Address, Config};
use crate::kernel::AddressSeen;

impl AddressRole {
    /// Replaces the static objects of one configuration by those of another. Objects in both are
    /// not touched.
    pub(super) fn put_static(&mut self, old: &Config, new: &Config) {
        let gone: Vec<Address> = difference(&old.addresses, &new.addresses);
        let come: Vec<Address> = difference(&new.addresses, &old.addresses);
        let specs = self.host.specs(&gone, old.global.default_interface());
        self.host.remove(&mut self.given.log, "static", &specs);
        let rules = difference(&old.rules, &new.rules);
        self.host
            .remove_rules(&mut self.given.log, "static", &rules);
        let routes = difference(&old.routes, &new.routes);
        self.host
            .remove_routes(&mut self.given.log, "static", &routes);
        let specs = self.host.specs(&come, new.global.default_interface());
        self.host.add(&mut self.given.log, "static", &specs);
        let routes = difference(&new.routes, &old.routes);
        self.host.add_routes(&mut self.given.log, "static", &routes);
        let rules = difference(&new.rules, &old.rules);
        self.host.add_rules(&mut self.given.log, "static", &rules);
    }

    /// Adds the static addresses and routes of an interface that appeared or came up.
    pub(super) fn put_static_on(&mut self, name: &str) {
        let Some(index) = self.host.links.named(name).map(|seen| seen.link.index) else {
            return;
        };
        let default = self.config.global.default_interface().to_owned();
        let mut specs = self.host.specs(&self.config.addresses, &default);
        specs.retain(|spec| spec.interface == index);
        self.host.add(&mut self.given.log, "static", &specs);
        // Adds the routes again, because the kernel removes routes together with their interface.
        let by = |r: &&crate::config::Route| {
            let named = r.hops.iter().any(|h| h.interface.as_deref() == Some(name));
            named || r.hops.iter().all(|h| h.interface.is_none())
        };
        let routes: Vec<_> = self.config.routes.iter().filter(by).cloned().collect();
        self.host.add_routes(&mut self.given.log, "static", &routes);
    }

    pub(super) fn put_static_back(&mut self, seen: &AddressSeen) {
        let default = self.config.global.default_interface().to_owned();
        let mut specs = self.host.specs(&self.config.addresses, &default);
        specs.retain(|spec| seen.is(spec));
        if specs.is_empty()
            || !self
                .host
                .links
                .numbered(seen.interface)
                .is_some_and(|s| s.up)
        {
            return;
        }
        let line = format!(
            "static address {} was deleted by another program; restored",
            seen.address
        );
        self.log(Level::Notice, &line);
        self.host.add(&mut self.given.log, "static", &specs);
    }

    pub(super) fn remove_static(&mut self) {
        let old = std::mem::take(&mut self.config);
        self.put_static(&old, &Config::default());
        self.config = old;
    }
}

fn difference<T: PartialEq + Clone>(a: &[T], b: &[T]) -> Vec<T> {
    a.iter().filter(|x| !b.contains(x)).cloned().collect()
}
