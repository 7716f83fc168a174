//! Faults by rule: packets that disappear. Each block is a separate table in its host's nftables,
//! so that lifting one never affects another.

use crate::error::LabError;
use crate::host::LabHost;
use std::fmt::Write;
use std::net::IpAddr;
use std::process::Command;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TransportProtocol {
    Tcp,
    Udp,
}

/// Selection of packets. All set criteria must match; an empty filter matches all packets.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PacketFilter {
    remote: Option<IpAddr>,
    port: Option<(TransportProtocol, u16)>,
    protocol: Option<u8>,
}

impl PacketFilter {
    pub fn all() -> Self {
        PacketFilter::default()
    }

    /// Restricts the filter to packets from or to this address.
    pub fn remote(mut self, address: IpAddr) -> Self {
        self.remote = Some(address);
        self
    }

    /// Restricts the filter to packets with this port at either end.
    pub fn port(mut self, transport: TransportProtocol, port: u16) -> Self {
        self.port = Some((transport, port));
        self
    }

    /// Restricts the filter to this protocol number (VRRP is 112).
    pub fn protocol(mut self, number: u8) -> Self {
        self.protocol = Some(number);
        self
    }

    /// Returns the rule; `side` is the word for the remote end's address.
    fn rule(&self, side: &str) -> String {
        let mut rule = String::new();
        if let Some(address) = self.remote {
            let family = if address.is_ipv4() { "ip" } else { "ip6" };
            let _ = write!(rule, "{family} {side} {address} ");
        }
        if let Some(number) = self.protocol {
            let _ = write!(rule, "meta l4proto {number} ");
        }
        let Some((transport, port)) = self.port else {
            return format!("{rule}drop");
        };
        let transport = match transport {
            TransportProtocol::Tcp => "tcp",
            TransportProtocol::Udp => "udp",
        };
        format!("{rule}{transport} sport {port} drop; {rule}{transport} dport {port} drop")
    }
}

impl LabHost {
    /// Silently drops matching packets in both directions until the value is dropped. Established
    /// connections are affected, too.
    pub fn block(&self, filter: &PacketFilter) -> Result<FirewallBlock, LabError> {
        FirewallBlock::add_table(self.clone(), filter)
    }
}

/// A fault that lasts as long as this value.
#[derive(Debug)]
pub struct FirewallBlock {
    host: LabHost,
    table: String,
    lifted: bool,
}

impl FirewallBlock {
    fn add_table(host: LabHost, filter: &PacketFilter) -> Result<Self, LabError> {
        let table = format!("block{}", host.next_block());
        let chain = |hook: &str, side: &str| {
            format!(
                "chain {hook} {{ type filter hook {hook} priority -300; policy accept; {}; }}",
                filter.rule(side)
            )
        };
        let rules = format!(
            "table inet {table} {{\n{}\n{}\n{}\n}}",
            chain("prerouting", "saddr"),
            chain("output", "daddr"),
            chain("forward", "daddr"),
        );
        nft(&host, &rules)?;
        Ok(FirewallBlock {
            host,
            table,
            lifted: false,
        })
    }

    /// Ends the fault, and reports an error if that fails.
    pub fn lift(mut self) -> Result<(), LabError> {
        self.lifted = true;
        self.delete()
    }

    fn delete(&self) -> Result<(), LabError> {
        nft(&self.host, &format!("delete table inet {}", self.table))
    }
}

impl Drop for FirewallBlock {
    fn drop(&mut self) {
        if !self.lifted {
            // The host may be gone already.
            let _ = self.delete();
        }
    }
}

pub(crate) fn nft(host: &LabHost, rules: &str) -> Result<(), LabError> {
    let mut command = Command::new("nft");
    command.arg(rules);
    host.run(command).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Echo, Lab};
    use std::net::SocketAddr;
    use std::time::Duration;

    #[test]
    fn a_block_hits_what_fits_its_filter_until_it_is_lifted() {
        crate::skip_unless_root!();
        // A blocked connection is awaited in vain.
        let patience = |reached| Duration::from_millis(if reached { 10_000 } else { 300 });
        let lab = Lab::new("block").unwrap();
        let (a, b) = (lab.host("a").unwrap(), lab.host("b").unwrap());
        let link = lab.link(&a, &b).unwrap();
        link.a.address("10.4.0.1/24").unwrap();
        link.b.address("10.4.0.2/24").unwrap();
        link.a.address("fd04::1/64").unwrap();
        link.b.address("fd04::2/64").unwrap();
        let seven = Echo::start(&a, "[::]:7".parse().unwrap()).unwrap();
        let eight = Echo::start(&a, "[::]:8".parse().unwrap()).unwrap();
        let reaches = |address: &str, wanted: bool| {
            let address: SocketAddr = address.parse().unwrap();
            b.tcp_connect(address, patience(wanted)).is_ok()
        };
        let all = ["10.4.0.1:7", "10.4.0.1:8", "[fd04::1]:7", "[fd04::1]:8"];
        let reached = |wanted: [bool; 4]| -> Vec<bool> {
            let each = all.iter().zip(wanted);
            each.map(|(address, wanted)| reaches(address, wanted))
                .collect()
        };
        assert_eq!(reached([true; 4]), [true; 4]);
        let port = PacketFilter::all().port(TransportProtocol::Tcp, 7);
        for (filter, expected) in [
            (port.clone(), [false, true, false, true]),
            (
                port.remote("10.4.0.2".parse().unwrap()),
                [false, true, true, true],
            ),
            (
                PacketFilter::all().remote("fd04::2".parse().unwrap()),
                [true, true, false, false],
            ),
            (PacketFilter::all().protocol(112), [true; 4]),
            (PacketFilter::all(), [false; 4]),
        ] {
            let block = a.block(&filter).unwrap();
            assert_eq!(reached(expected), expected, "{filter:?}");
            block.lift().unwrap();
        }
        assert_eq!(reached([true; 4]), [true; 4]);
        drop((seven, eight));
    }
}
