//! Shows the status of a network to operators.

use super::NetworkState;
use super::shelf::OWN_DISK;
use crate::aoe::server::AoeDiskStatus;
use crate::assignment::{BootTarget, assigned};
use crate::config::AddressSource;
use crate::counters::Counters;
use crate::dhcp::desk::DhcpServer;
use crate::dhcp::pool::AddressCount;
use crate::disk::overlays::OverlayStatus;
use crate::mac::{Mac, mark};
use crate::message::BootMachineStatus;
use crate::portal;
use part::power::control::PowerControl;
use part::report::{Grade, Moment, NumberKind, NumberRow, Subject};
use std::collections::{BTreeMap, BTreeSet};

const UNUSABLE_SHOWN: usize = 4;
const NEW_SHOWN: usize = 20;
/// Time for which the overview reports that older files were found, milliseconds.
const OLDER_MS: u64 = 3_600_000;
pub const NETWORK: &str = "boot-network";

/// Gauges: name, metric and description.
#[rustfmt::skip]
static GAUGES: [[&str; 3]; 17] = [
    ["addresses", "addresses", "Addresses of the range that clients can get, of all parts: the same at each node."],
    ["leased", "leases", "Addresses of the range with a lease by this node, which holds their part: the sum over nodes counts each once."],
    ["leased by other nodes", "leases_elsewhere", "Addresses of the range with a lease by other nodes, as these reported it to this one: they count them, too."],
    ["free", "addresses_free", "Addresses that a new client can get from this node."],
    ["in use by others", "addresses_in_use_elsewhere", "Addresses that somebody uses who did not get them here."],
    ["withheld", "addresses_withheld", "Addresses that another node may have given: only who uses one gets it until its lease has ended."],
    ["range6 addresses", "range6_addresses", "Addresses of range6 that clients can get, of all parts: the same at each node."],
    ["range6 leased", "range6_leases", "Addresses of range6 with a lease by this node, which holds their part: the sum over nodes counts each once."],
    ["range6 leased by other nodes", "range6_leases_elsewhere", "Addresses of range6 with a lease by other nodes, as these reported it to this one: they count them, too."],
    ["range6 free", "range6_addresses_free", "Addresses of range6 that a new client can get from this node."],
    ["range6 in use by others", "range6_addresses_in_use_elsewhere", "Addresses of range6 that somebody uses who did not get them here."],
    ["range6 withheld", "range6_addresses_withheld", "Addresses of range6 that another node may have given: only who uses one gets it until its lease has ended."],
    ["known elsewhere", "lease_copies", "Other nodes that know all leases of the parts that this node holds."],
    ["machines", "machines", "Machines of the file: the same at each node."],
    ["fetches", "fetches_open", "Files that are being fetched."],
    ["iscsi open", "iscsi_connections", "Connections of iSCSI."],
    ["nbd open", "nbd_connections", "Connections of NBD."],
];

/// Counters: name, metric and description.
#[rustfmt::skip]
static COUNTERS: [[&str; 3]; 20] = [
    ["requests", "dhcp_requests_total", "DHCP packets."],
    ["answers", "dhcp_answers_total", "DHCP packets that were answered."],
    ["limited", "dhcp_limited_total", "DHCP packets of machines that sent too many."],
    ["unreadable", "dhcp_unreadable_total", "Packets to the port of DHCP that are none."],
    ["conflicts", "conflicts_total", "Times that an address was in use by somebody who did not get it here."],
    ["tftp", "tftp_files_total", "Files that were fetched by TFTP."],
    ["tftp failed", "tftp_failures_total", "Fetches by TFTP that ended before."],
    ["tftp bytes", "tftp_bytes_total", "Bytes that were sent by TFTP."],
    ["http", "http_files_total", "Files that were fetched by HTTP."],
    ["http failed", "http_failures_total", "Fetches by HTTP that ended before."],
    ["http bytes", "http_bytes_total", "Bytes that were sent by HTTP."],
    ["aoe", "aoe_requests_total", "Requests to disks over Ethernet that have a reply."],
    ["aoe failed", "aoe_failures_total", "Requests to disks over Ethernet without a reply: the disk was out of reach."],
    ["aoe bytes", "aoe_bytes_total", "Bytes of replies of disks over Ethernet."],
    ["iscsi failed", "iscsi_failures_total", "Connections of iSCSI that ended without a logout."],
    ["iscsi refused", "iscsi_refused_total", "Connections and logins of iSCSI that were refused."],
    ["iscsi bytes", "iscsi_bytes_total", "Bytes that were sent by iSCSI."],
    ["nbd failed", "nbd_failures_total", "Connections of NBD that their clients did not end."],
    ["nbd refused", "nbd_refused_total", "Connections of NBD that were refused."],
    ["nbd bytes", "nbd_bytes_total", "Bytes that were sent by NBD."],
];

pub fn rows() -> Vec<NumberRow> {
    let row = |[name, metric, words]: &[&str; 3], kind| NumberRow {
        kind,
        ..NumberRow::new(name, &format!("evenkeel_boot_{metric}"), words)
    };
    let gauges = GAUGES.iter().map(|one| row(one, NumberKind::Gauge));
    let counters = COUNTERS.iter().map(|one| row(one, NumberKind::Counter));
    gauges.chain(counters).collect()
}

#[derive(Debug, Default)]
pub struct ServerStatus {
    pub troubles: Vec<String>,
    /// Reason why leases cannot be sent to another node, by node.
    pub unlinked: BTreeMap<String, String>,
    pub tftp: Counters,
    pub http: Counters,
    pub disks: Vec<AoeDiskStatus>,
    pub roots: Vec<portal::PortalDiskStatus>,
    pub portal: [Counters; 2],
}

impl NetworkState {
    pub fn subject(&mut self, servers: &ServerStatus) -> Subject {
        self.seen.forget_servers();
        let mut subject = Subject::new(NETWORK, &self.name).label("network");
        let counts = self.counts();
        subject = self.state(subject, servers, counts);
        if let Some((_, words)) = &self.files.older {
            subject = subject.fact("files of this node", words.clone());
        }
        subject = subject.fact("interface", self.lan.interface.clone());
        if let Some(here) = self.here() {
            subject = subject.joined(
                "address",
                format!("{}/{}", here.address, here.network.prefix),
            );
        }
        subject = match self.lan.gives {
            AddressSource::Other => subject.fact("addresses", "from another DHCP server"),
            AddressSource::Fixed => subject.fact("addresses", "only for machines of the file"),
            AddressSource::Range { first, last } => {
                let subject = subject.fact("range", format!("{first} to {last}"));
                match self.parts.count {
                    0 | 1 => subject,
                    count => subject.joined(
                        "parts held",
                        format!("{} of {count}", self.parts.standing.held.len()),
                    ),
                }
            }
        };
        subject = self.of_six(subject);
        if let Some(nodes) = self
            .known_to()
            .filter(|_| self.range().is_some() || self.range6().is_some())
        {
            let words = if nodes.is_empty() {
                "no other node: if this one fails, its addresses are withheld".to_owned()
            } else {
                nodes.join(", ")
            };
            subject = subject.joined("leases known to", words);
            let others = self.not_known_to(&nodes, &servers.unlinked);
            if !others.is_empty() {
                subject = subject.list("leases not known to", others);
            }
        }
        subject = self.leases_in_words(subject, counts);
        let others: Vec<String> = self.seen.servers.keys().map(ToString::to_string).collect();
        if !others.is_empty() {
            subject = subject.list("other DHCP servers", others);
        }
        let mut waiting: Vec<String> = self.enlisted().map(|(mac, ..)| mac.to_string()).collect();
        let more = waiting.len().saturating_sub(NEW_SHOWN);
        if more > 0 {
            waiting.truncate(NEW_SHOWN);
            waiting.push(format!("and {more} more"));
        }
        if !waiting.is_empty() {
            subject = subject.list("new machines", waiting);
        }
        let disks = servers.disks.iter().map(|disk| match &disk.trouble {
            None => format!("{} ({}): served", disk.name, disk.target),
            Some(why) => format!("{} ({}): not served here: {why}", disk.name, disk.target),
        });
        let mut disks: Vec<String> = disks.chain(servers.roots.iter().map(words)).collect();
        let overlays = self.overlays.iter();
        disks
            .extend(overlays.map(|(name, overlays)| of_overlays(name, &overlays.overlay_status())));
        if !disks.is_empty() {
            subject = subject.list("disks", disks);
        }
        self.numbers(subject, servers, counts)
    }

    fn counts(&mut self) -> [Option<AddressCount>; 2] {
        let pool = self.desk.as_mut().and_then(DhcpServer::pool);
        let four = pool.map(|pool| pool.count());
        [four, self.six.pool().map(|pool| pool.count())]
    }

    fn leases_in_words(
        &mut self,
        mut subject: Subject,
        [range, range6]: [Option<AddressCount>; 2],
    ) -> Subject {
        let me = match self.parts.count {
            0 | 1 => String::new(),
            _ => self.parts.me.clone(),
        };
        let leased = self.leased().words(&me);
        if let Some(count) = range {
            subject = with_counts(subject.fact("leases", leased), &count);
        }
        let leased = self.leased6().words(&me);
        if let Some(count) = range6 {
            subject = with_counts(subject.fact("IPv6 leases", leased), &count);
        }
        subject
    }

    fn of_six(&self, subject: Subject) -> Subject {
        let Some(config) = &self.lan.six else {
            return subject;
        };
        let network = config.network;
        let words = match self.here6() {
            Some(here) => format!("{} in {network}", here.address),
            None => format!("no address of {network}"),
        };
        let subject = subject.fact("IPv6", words);
        match config.range {
            Some((first, last)) => subject.fact("IPv6 range", format!("{first} to {last}")),
            None => subject,
        }
    }

    fn state(
        &mut self,
        subject: Subject,
        servers: &ServerStatus,
        counts: [Option<AddressCount>; 2],
    ) -> Subject {
        let gives = self.lan.gives != AddressSource::Other;
        let other = self.seen.servers.keys().next().filter(|_| gives);
        let troubles = servers
            .troubles
            .iter()
            .cloned()
            .chain(self.parts.keeping.trouble.clone())
            .chain(self.parts.keeping.stays.clone())
            .chain(self.six.keeping.trouble.clone());
        let mut troubles: Vec<String> = troubles.collect();
        if let Some(other) = other {
            troubles.push(format!(
                "a client took an address from another DHCP server, {other}, in the last 10 minutes: end one of the \
                 two, or write `proxy`"
            ));
        }
        troubles.extend(self.without_free(counts));
        troubles.extend(self.superseded_words());
        for node in &self.parts.standing.awaited_nodes {
            troubles.push(format!(
                "node {node} gives addresses by another range: until it has this one, this node gives none of its part"
            ));
        }
        if let Some(words) = self.has_no_majority() {
            troubles.push(words);
        }
        let now_ms = Moment::now().boottime_ms;
        let older = self.files.older.as_ref();
        let older = older.filter(|(at_ms, _)| now_ms.saturating_sub(*at_ms) < OLDER_MS);
        troubles.extend(older.map(|(_, words)| words.clone()));
        if let Some(why) = self.why_closed() {
            let mut subject = subject.state("removed", Grade::Bad);
            subject.why = why;
            return subject;
        }
        if let Some(why) = self.why_reserve() {
            troubles.insert(0, why);
        }
        let is_here = self.here().is_some() || self.here6().is_some();
        let mut subject = match (is_here, troubles.is_empty()) {
            (false, true) => subject.state("waits", Grade::Bad),
            (_, false) => subject.state("trouble", Grade::Bad),
            (true, true) => subject.state("answers", Grade::Good),
        };
        if !is_here && troubles.is_empty() {
            troubles.push(format!(
                "interface {} has no IPv4 address",
                self.lan.interface
            ));
        }
        subject.why = troubles.join("; ");
        subject
    }

    /// Lists the ranges from which this node can give a new machine no address, and why.
    fn without_free(&self, [range, range6]: [Option<AddressCount>; 2]) -> Vec<String> {
        let kept = self.desk.as_ref().map_or(0, DhcpServer::kept);
        let lost = self.parts.keeping.lost_words();
        let range = range.map(|count| (count, kept, "range", lost));
        let kept = self.six.kept();
        let lost = self.six.keeping.lost_words();
        let range6 = range6.map(|count| (count, kept, "range6", lost));
        let ranges = [range, range6].into_iter().flatten();
        let lacking = ranges.filter(|(count, kept, ..)| count.free <= *kept);
        let is_alone = self.parts.count < 2;
        let holds = !self.parts.standing.held.is_empty();
        let words = lacking.filter_map(|(count, _, range, lost)| {
            if count.unclear > 0 && count.free == 0 {
                return Some(format!(
                    "no address of {range} is free here: another node may have given {}{}",
                    withheld(&count),
                    lost.map(|lost| format!(" ({lost})")).unwrap_or_default()
                ));
            }
            // In a cluster another node may have free addresses.
            let is_told = is_alone || (holds && count.declined > 0);
            is_told.then(|| {
                format!(
                    "no address of {range} is free here for new machines: {}",
                    count.taken()
                )
            })
        });
        words.collect()
    }

    fn numbers(
        &mut self,
        subject: Subject,
        servers: &ServerStatus,
        [count, count6]: [Option<AddressCount>; 2],
    ) -> Subject {
        let count = count.unwrap_or_default();
        let count6 = count6.filter(|_| self.range6().is_some());
        let known_elsewhere = self.known_to().map_or(0, |nodes| nodes.len() as u64);
        let (tftp, http) = (&servers.tftp, &servers.http);
        let [iscsi, nbd] = &servers.portal;
        let of_disks = |counted: fn(&Counters) -> u64| -> u64 {
            servers
                .disks
                .iter()
                .map(|disk| counted(&disk.counters))
                .sum()
        };
        let (leased, leased6) = (self.leased(), self.leased6());
        let is_shared = self.parts.count > 1;
        let mut subject = subject
            .number("addresses", count.all)
            .number("leased", leased.here);
        if is_shared {
            subject = subject.number("leased by other nodes", leased.elsewhere());
        }
        subject = subject
            .number("free", count.free)
            .number("in use by others", count.declined)
            .number("withheld", count.unclear);
        if let Some(count) = count6 {
            subject = subject
                .number("range6 addresses", count.all)
                .number("range6 leased", leased6.here);
            if is_shared {
                subject = subject.number("range6 leased by other nodes", leased6.elsewhere());
            }
            subject = subject
                .number("range6 free", count.free)
                .number("range6 in use by others", count.declined)
                .number("range6 withheld", count.unclear);
        }
        subject
            .number("known elsewhere", known_elsewhere)
            .number("machines", self.lan.machines.len() as u64)
            .number("fetches", tftp.open + http.open)
            .number("iscsi open", iscsi.open)
            .number("nbd open", nbd.open)
            .number("requests", self.counts.requests)
            .number("answers", self.counts.answers)
            .number("limited", self.counts.limited)
            .number("unreadable", self.counts.unreadable)
            .number("conflicts", self.counts.conflicts)
            .number("tftp", tftp.done)
            .number("tftp failed", tftp.failed)
            .number("tftp bytes", tftp.bytes)
            .number("http", http.done)
            .number("http failed", http.failed)
            .number("http bytes", http.bytes)
            .number("aoe", of_disks(|counters| counters.done))
            .number("aoe failed", of_disks(|counters| counters.failed))
            .number("aoe bytes", of_disks(|counters| counters.bytes))
            .number("iscsi failed", iscsi.failed)
            .number("iscsi refused", iscsi.refused)
            .number("iscsi bytes", iscsi.bytes)
            .number("nbd failed", nbd.failed)
            .number("nbd refused", nbd.refused)
            .number("nbd bytes", nbd.bytes)
    }

    pub fn next(&self, mac: Mac) -> String {
        if let Some(leader) = self.decided_by(mac) {
            return format!("what node {leader} decides");
        }
        let ordered = self.turns.ordered(mac).is_some();
        match assigned(&self.lan, &self.turns, mac) {
            BootTarget::Image(name, _) if ordered => format!("{name} (once)"),
            BootTarget::Image(name, _) => match self.lan.machines.get(&mac) {
                Some(machine) if machine.once => format!("{name} (once)"),
                _ => name.to_owned(),
            },
            BootTarget::Menu => "a menu".to_owned(),
            BootTarget::Enlist => "nothing: waits for a line".to_owned(),
            BootTarget::Nothing(_) => {
                if self.lan.machines.contains_key(&mac) {
                    OWN_DISK.to_owned()
                } else {
                    "nothing".to_owned()
                }
            }
        }
    }

    /// Returns the other node that decides what a machine boots, if the machine has `once` or a
    /// boot order.
    fn decided_by(&self, mac: Mac) -> Option<&str> {
        let standing = &self.parts.standing;
        let line = self.lan.machines.get(&mac);
        let is_once = line.is_some_and(|machine| machine.once);
        let is_its = is_once || standing.orders.contains(&mark(mac));
        let is_elsewhere = is_its && !self.leads() && !standing.leader.is_empty();
        is_elsewhere.then_some(standing.leader.as_str())
    }

    pub fn shown(&mut self, mac: Mac) -> BootMachineStatus {
        let line = self.lan.machines.get(&mac);
        let name = line.map(|machine| machine.name.clone());
        let power = line.and_then(|machine| machine.power.as_ref());
        let power = power.map(PowerControl::name).unwrap_or_default();
        let new = self.seen.new.get(&mac).filter(|_| name.is_none());
        let facts = new.map(|(_, facts)| facts.clone().into_iter().collect());
        let last = self.last_step(mac);
        let last = last.map(|(step, node)| (step.clone(), node.to_owned()));
        let (last, last_node) = last.unzip();
        BootMachineStatus {
            network: self.name.clone(),
            name: name.unwrap_or_default(),
            mac,
            address: self.address_of(mac),
            address6: self.address6_of(mac),
            node: self.node_of(mac),
            next: self.next(mac),
            booted: self.last_booted(mac),
            last,
            last_node: last_node.unwrap_or_default(),
            facts: facts.unwrap_or_default(),
            power,
        }
    }

    /// Returns the time of a machine's last request to any node, milliseconds of CLOCK_BOOTTIME;
    /// zero: there was none.
    pub fn asked_ms(&self, mac: Mac) -> u64 {
        let last = self.last_step(mac);
        last.map_or(0, |(step, _)| step.at.boottime_ms)
    }

    /// Returns the MAC addresses of all machines that are configured, sent a request, or have a
    /// lease from any node.
    pub fn macs(&mut self) -> BTreeSet<Mac> {
        let mut all = self.macs_elsewhere();
        all.extend(self.history.last().map(|(mac, _)| mac));
        all.extend(self.lan.machines.keys());
        all
    }

    pub fn find_machine(&mut self, machine: &str) -> Option<Mac> {
        let named = self
            .lan
            .machines
            .iter()
            .find(|(_, one)| one.name == machine);
        named.map(|(mac, _)| *mac).or_else(|| {
            let mac: Mac = machine.parse().ok()?;
            let is_known = self.lan.machines.contains_key(&mac)
                || self.history.last_of(mac).is_some()
                || self.is_known_elsewhere(mac);
            is_known.then_some(mac)
        })
    }
}

fn of_overlays(disk: &str, look: &OverlayStatus) -> String {
    let many = if look.count == 1 {
        "overlay"
    } else {
        "overlays"
    };
    let told = format!(
        "{disk}: {} {many} with {} KiB",
        look.count,
        look.bytes >> 10
    );
    // A line of the report has no space for more names.
    let unusable = look.unusable.iter().take(UNUSABLE_SHOWN).cloned();
    let more = look.unusable.len().saturating_sub(UNUSABLE_SHOWN);
    let more = (more > 0).then(|| format!("and {more} more"));
    let trouble = unusable.chain(more).chain(look.trouble.clone());
    let trouble: Vec<String> = trouble.collect();
    if trouble.is_empty() {
        told
    } else {
        format!("{told}: {}", trouble.join("; "))
    }
}

fn words(disk: &portal::PortalDiskStatus) -> String {
    let by = [
        disk.served.target.clone(),
        disk.served.is_export.then(|| "NBD".to_owned()),
    ];
    let by: Vec<String> = by.into_iter().flatten().collect();
    let (name, by) = (&disk.name, by.join(", "));
    match (&disk.trouble, disk.clients) {
        (Some(why), _) => format!("{name} ({by}): not served here: {why}"),
        (None, 0) => format!("{name} ({by}): served"),
        (None, 1) => format!("{name} ({by}): served, 1 connection"),
        (None, count) => format!("{name} ({by}): served, {count} connections"),
    }
}

fn with_counts(subject: Subject, count: &AddressCount) -> Subject {
    let subject = subject.joined("free here", count.free.to_string());
    match count.unclear {
        0 => subject,
        _ => subject.joined("withheld here", withheld(count)),
    }
}

fn withheld(count: &AddressCount) -> String {
    let now_ms = part::report::Moment::now().boottime_ms;
    let minutes = count
        .unclear_until_ms
        .saturating_sub(now_ms)
        .div_ceil(60_000);
    let who = match count.known_elsewhere {
        0 => "which only their users get",
        _ => "which only users that are known here get until the nodes reach each other,",
    };
    format!("{}, {who} for up to {minutes} minutes", count.unclear)
}

#[cfg(test)]
mod tests;
