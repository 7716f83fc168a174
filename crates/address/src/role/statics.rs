//! `static_ipaddress`, `static_routes`, `static_rules`: present while the role runs, in
//! every VRRP state.

use super::Level;
use super::event_loop::Role;
use crate::config::{Address, Config};
use crate::kernel::{AddressSeen, AddressSpec};

impl Role {
    /// Replaces the static objects of one configuration by those of another; common ones
    /// are not touched.
    pub(super) fn put_static(&mut self, old: &Config, new: &Config) {
        let gone: Vec<Address> = difference(&old.addresses, &new.addresses);
        let come: Vec<Address> = difference(&new.addresses, &old.addresses);
        let specs = self.static_specs(&gone, &old.global.default_interface);
        self.remove_specs("static", &specs);
        let rules = difference(&old.rules, &new.rules);
        let results = self.kernel.remove_rules(&rules);
        self.log_results("static", rules.iter().map(|r| &r.text), results);
        let routes = difference(&old.routes, &new.routes);
        let results = self.kernel.remove_routes(&routes);
        self.log_results("static", routes.iter().map(|r| &r.text), results);
        let specs = self.static_specs(&come, &new.global.default_interface);
        self.add_static(&specs);
        let routes = difference(&new.routes, &old.routes);
        let results = self.kernel.add_routes(&routes);
        self.log_results("static", routes.iter().map(|r| &r.text), results);
        let rules = difference(&new.rules, &old.rules);
        let results = self.kernel.add_rules(&rules);
        self.log_results("static", rules.iter().map(|r| &r.text), results);
    }

    fn add_static(&mut self, specs: &[AddressSpec]) {
        let results = self.kernel.add_addresses(specs);
        let words = specs.iter().map(|s| format!("{}/{}", s.address, s.prefix));
        let words: Vec<String> = words.collect();
        self.log_results("static", words.iter(), results);
    }

    fn static_specs(&self, addresses: &[Address], default: &str) -> Vec<AddressSpec> {
        let spec = |address: &Address| {
            let name = address.interface.as_deref().unwrap_or(default);
            let seen = self.links.named(name)?;
            Some(AddressSpec::new(address, seen.link.index, None, false))
        };
        addresses.iter().filter_map(spec).collect()
    }

    /// An interface came, or came up: its static addresses and routes are put there.
    pub(super) fn put_static_on(&mut self, name: &str) {
        let Some(index) = self.links.named(name).map(|seen| seen.link.index) else {
            return;
        };
        let default = self.config.global.default_interface.clone();
        let mut specs = self.static_specs(&self.config.addresses, &default);
        specs.retain(|spec| spec.interface == index);
        self.add_static(&specs);
        // The kernel takes routes out with their interface.
        let by = |r: &&crate::config::Route| {
            let named = r.hops.iter().any(|h| h.interface.as_deref() == Some(name));
            named || r.hops.iter().all(|h| h.interface.is_none())
        };
        let routes: Vec<_> = self.config.routes.iter().filter(by).cloned().collect();
        let results = self.kernel.add_routes(&routes);
        self.log_results("static", routes.iter().map(|r| &r.text), results);
    }

    /// Restores a static address that another program deleted.
    pub(super) fn put_static_back(&mut self, seen: &AddressSeen) {
        let default = self.config.global.default_interface.clone();
        let mut specs = self.static_specs(&self.config.addresses, &default);
        specs.retain(|spec| seen.is(spec));
        if specs.is_empty() || !self.links.numbered(seen.interface).is_some_and(|s| s.up) {
            return;
        }
        let line = format!(
            "static address {} was deleted by another program; restored",
            seen.address
        );
        self.log(Level::Notice, &line);
        self.add_static(&specs);
    }

    /// A planned stop takes them out.
    pub(super) fn remove_static(&mut self) {
        let old = std::mem::take(&mut self.config);
        self.put_static(&old, &Config::default());
        self.config = old;
    }
}

/// Returns the elements of `a` that are not in `b`.
fn difference<T: PartialEq + Clone>(a: &[T], b: &[T]) -> Vec<T> {
    a.iter().filter(|x| !b.contains(x)).cloned().collect()
}
