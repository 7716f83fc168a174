//! Tests against the kernel, in namespaces: objects of this crate must equal those of `ip`.

mod addresses;
mod firewall;
mod passage;
mod routes;
mod rules;
mod vmacs;

use super::address::AddressSpec;
use super::{Ack, Kernel, KernelError};
use crate::config::{Route, Rule};
use lab::{Lab, LabHost};
use serde_json::Value;
use std::time::Duration;

/// Two hosts with the same interfaces, one for this crate and one for `ip`: `eth0` and `eth1`, both
/// up, with the addresses that gateways need.
struct KernelHostPair {
    _lab: Lab,
    ours: LabHost,
    theirs: LabHost,
}

impl KernelHostPair {
    fn new(name: &str) -> KernelHostPair {
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
        KernelHostPair {
            _lab: lab,
            ours,
            theirs,
        }
    }
}

/// Returns the output of `ip -j` without values that differ by chance: MACs and what is derived
/// from them.
fn told(host: &LabHost, words: &[&str]) -> Vec<Value> {
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

fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

/// Returns the only result of a batch of one.
fn first<T>(results: Vec<Result<T, KernelError>>, request: &'static str) -> Result<T, KernelError> {
    let none = KernelError::NoAnswer {
        request,
        waited: Duration::ZERO,
    };
    results.into_iter().next().unwrap_or(Err(none))
}

/// Changes of one object, which the role makes in batches.
impl Kernel {
    fn add_address(&mut self, spec: &AddressSpec) -> Result<Ack, KernelError> {
        first(
            self.add_addresses(std::slice::from_ref(spec)),
            "add an address",
        )
    }

    fn renew_address(&mut self, spec: &AddressSpec) -> Result<(), KernelError> {
        first(
            self.renew_addresses(std::slice::from_ref(spec)),
            "renew an address",
        )
    }

    fn remove_address(&mut self, spec: &AddressSpec) -> Result<Ack, KernelError> {
        first(
            self.remove_addresses(std::slice::from_ref(spec)),
            "remove an address",
        )
    }

    fn add_route(&mut self, route: &Route) -> Result<Ack, KernelError> {
        first(self.add_routes(std::slice::from_ref(route)), "add a route")
    }

    fn remove_route(&mut self, route: &Route) -> Result<Ack, KernelError> {
        first(
            self.remove_routes(std::slice::from_ref(route)),
            "remove a route",
        )
    }

    fn add_rule(&mut self, rule: &Rule) -> Result<Ack, KernelError> {
        first(self.add_rules(std::slice::from_ref(rule)), "add a rule")
    }
}
