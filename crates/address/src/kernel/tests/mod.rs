//! Against the kernel, in namespaces: what we put there is what `ip` would have put.

mod addresses;
mod firewall;
mod passage;
mod routes;
mod rules;
mod vmacs;

use lab::{Host, Lab};
use serde_json::Value;

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
