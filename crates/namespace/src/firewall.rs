//! Injects faults by rules of nftables that drop packets at a host. Each block is a separate table,
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

    /// Returns the rules of one chain. `side` is `saddr` or `daddr`, whichever is the remote
    /// address there.
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

/// Rules of a host that drop packets as long as this value exists.
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
            // Ignores an error: the host may be gone already.
            let _ = self.delete();
        }
    }
}

pub(crate) fn nft(host: &LabHost, rules: &str) -> Result<(), LabError> {
    let mut command = Command::new("nft");
    command.arg(rules);
    host.run(command).map(drop)
}
