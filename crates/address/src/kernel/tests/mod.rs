//! Against the kernel, in namespaces: what we put there is what `ip` would have put.

mod addresses;
mod firewall;
mod passage;
mod routes;
mod rules;
mod vmacs;

use super::address::AddressSpec;
use super::{Ack, Kernel, KernelError};
use crate::config::{Route, Rule};
use lab::{Host, Lab};
use serde_json::Value;
use std::time::Duration;

/// Two hosts with the same interfaces, one for us and one for `ip`: `eth0` and `eth1`,
/// both up, with the addresses that gateways need.
struct Pair {
    _lab: Lab,
    ours: Host,
    theirs: Host,
}

impl Pair {
    fn new(name: &str) -> Pair {
        let lab = Lab::new(name).unwrap();
        let (ours, theirs) = (lab.host("ours").unwrap(), lab.host("theirs").unwrap());
        for host in [&ours, &theirs] {
            host.sysctl("net/ipv6/conf/default/accept_dad", "0")
                .unwrap();
            for (interface, net) in [("eth0", 1), ("eth1", 2)] {
                let far = format!("far{net}");
                let add = [
                    "link", "add", interface, "type", "veth", "peer", "name", &far,
                ];
                host.ip(&add).unwrap();
                for name in [interface, &far] {
                    host.ip(&["link", "set", name, "up"]).unwrap();
                }
                for address in [format!("10.0.{net}.1/24"), format!("2001:db8:{net}::1/64")] {
                    host.ip(&["address", "add", &address, "dev", interface])
                        .unwrap();
                }
            }
        }
        Pair {
            _lab: lab,
            ours,
            theirs,
        }
    }
}

/// What `ip -j` tells, without what differs by chance: MACs and what follows of them.
fn told(host: &Host, words: &[&str]) -> Vec<Value> {
    let all = [&["-j", "-d"], words].concat();
    let text = host.ip(&all).unwrap();
    if text.trim().is_empty() {
        return Vec::new();
    }
    let Value::Array(mut told) = serde_json::from_str(&text).unwrap() else {
        panic!("no list: {text}")
    };
    for one in &mut told {
        let Some(one) = one.as_object_mut() else {
            continue;
        };
        one.remove("address");
        if let Some(Value::Array(addresses)) = one.get_mut("addr_info") {
            addresses.retain(|a| a["scope"] != "link" || a["family"] == "inet");
        }
    }
    told.retain(|one| {
        let destination = one["dst"].as_str().unwrap_or_default();
        !destination.starts_with("fe80:") && !destination.starts_with("ff00:")
    });
    told
}

/// The words of a line.
fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

/// The only result of a batch of one.
fn first<T>(results: Vec<Result<T, KernelError>>, request: &'static str) -> Result<T, KernelError> {
    let none = KernelError::NoAnswer {
        request,
        waited: Duration::ZERO,
    };
    results.into_iter().next().unwrap_or(Err(none))
}

/// Changes of one object, which the role makes by the batch.
impl Kernel {
    /// Puts an address on its interface.
    fn add_address(&mut self, spec: &AddressSpec) -> Result<Ack, KernelError> {
        first(
            self.add_addresses(std::slice::from_ref(spec)),
            "add an address",
        )
    }

    /// Gives an address its whole lifetime again.
    fn renew_address(&mut self, spec: &AddressSpec) -> Result<(), KernelError> {
        first(
            self.renew_addresses(std::slice::from_ref(spec)),
            "renew an address",
        )
    }

    /// Takes an address from its interface.
    fn remove_address(&mut self, spec: &AddressSpec) -> Result<Ack, KernelError> {
        first(
            self.remove_addresses(std::slice::from_ref(spec)),
            "remove an address",
        )
    }

    /// Adds a route.
    fn add_route(&mut self, route: &Route) -> Result<Ack, KernelError> {
        first(self.add_routes(std::slice::from_ref(route)), "add a route")
    }

    /// Removes a route.
    fn remove_route(&mut self, route: &Route) -> Result<Ack, KernelError> {
        first(
            self.remove_routes(std::slice::from_ref(route)),
            "remove a route",
        )
    }

    /// Adds a rule.
    fn add_rule(&mut self, rule: &Rule) -> Result<Ack, KernelError> {
        first(self.add_rules(std::slice::from_ref(rule)), "add a rule")
    }
}
