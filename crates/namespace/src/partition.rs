//! Partitions hosts: finds the ways between hosts of different groups, and closes each so that no
//! interface loses its carrier.
//!
//! A way through a switch is closed in the switch, and a wire by its relay. Frames of a direct
//! cable are dropped where they leave their host.

use crate::error::LabError;
use crate::fault::InjectedFault;
use crate::firewall::nft;
use crate::ground::{Cable, LabState};
use crate::host::LabHost;
use crate::relay::Relayed;
use std::fmt::Write;
use std::sync::Arc;

/// Closed way between hosts, with the means to open it again.
#[derive(Debug)]
pub(crate) enum Closed {
    Table {
        host: LabHost,
        family: &'static str,
        name: String,
    },
    Wire(Arc<Relayed>),
}

impl Closed {
    pub(crate) fn lift(self) -> Result<(), LabError> {
        match self {
            Closed::Table { host, family, name } => {
                nft(&host, &format!("delete table {family} {name}"))
            }
            Closed::Wire(shared) => {
                shared.open_both_ways();
                Ok(())
            }
        }
    }
}

pub(crate) fn mute(host: &LabHost, interface: &str) -> Result<Closed, LabError> {
    let name = format!("mute{}", host.next_block());
    nft(
        host,
        &format!(
            "table netdev {name} {{\nchain egress {{\n\
             type filter hook egress device \"{interface}\" priority -500; policy drop;\n}}\n}}"
        ),
    )?;
    Ok(Closed::Table {
        host: host.clone(),
        family: "netdev",
        name,
    })
}

/// Drops in a switch the frames from the first host of each pair to the second. Returns None if no
/// pair is connected to the switch.
pub(crate) fn through_switch(
    switch: &LabHost,
    pairs: &[(&str, &str)],
) -> Result<Option<Closed>, LabError> {
    let mut rules = String::new();
    {
        let cables = switch.lab_state().cables();
        let ports = |wanted: &str| -> Vec<String> {
            let of = |cable: &Cable| match cable {
                Cable::Port {
                    switch: at,
                    port,
                    host,
                } if at == switch.namespace() && host == wanted => Some(format!("\"{port}\"")),
                _ => None,
            };
            cables.iter().filter_map(of).collect()
        };
        for (from, to) in pairs {
            let (from, to) = (ports(from).join(", "), ports(to).join(", "));
            if !from.is_empty() && !to.is_empty() {
                let _ = writeln!(rules, "iifname {{ {from} }} oifname {{ {to} }} drop");
            }
        }
    }
    if rules.is_empty() {
        return Ok(None);
    }
    let name = format!("part{}", switch.next_block());
    nft(
        switch,
        &format!(
            "table bridge {name} {{\nchain forward {{\n\
             type filter hook forward priority -300; policy accept;\n{rules}}}\n}}"
        ),
    )?;
    Ok(Some(Closed::Table {
        host: switch.clone(),
        family: "bridge",
        name,
    }))
}

pub(crate) fn cut(
    ground: &Arc<LabState>,
    hosts: &[LabHost],
    groups: &[&[&LabHost]],
) -> Result<InjectedFault, LabError> {
    let named: Vec<Vec<&str>> = groups
        .iter()
        .map(|group| group.iter().map(|host| host.namespace()).collect())
        .collect();
    let group_of = |host: &str| named.iter().position(|group| group.contains(&host));
    let parted = |a: &str, b: &str| match (group_of(a), group_of(b)) {
        (Some(a), Some(b)) => a != b,
        _ => false,
    };
    let mut pairs = Vec::new();
    for a in named.iter().flatten() {
        for b in named.iter().flatten() {
            if parted(a, b) {
                pairs.push((*a, *b));
            }
        }
    }
    // Opens the closed ways again if a later step fails.
    let mut closed = Reopen(Vec::new());
    let mut mutes = Vec::new();
    for cable in ground.cables().iter() {
        match cable {
            Cable::Direct(a, b) if parted(&a.0, &b.0) => mutes.extend([a.clone(), b.clone()]),
            Cable::Wire { a, b, shared } if parted(a, b) => {
                shared.close_both_ways();
                closed.0.push(Closed::Wire(Arc::clone(shared)));
            }
            _ => {}
        }
    }
    for (namespace, interface) in mutes {
        if let Some(host) = hosts.iter().find(|host| host.namespace() == namespace) {
            closed.0.push(mute(host, &interface)?);
        }
    }
    for host in hosts {
        closed.0.extend(through_switch(host, &pairs)?);
    }
    let shown: Vec<String> = groups
        .iter()
        .map(|group| group.iter().map(|h| h.name()).collect::<Vec<_>>().join("+"))
        .collect();
    let shown = shown.join(" | ");
    if closed.0.is_empty() {
        return Err(LabError::NothingToCut(shown));
    }
    Ok(ground
        .faults
        .register_fault(format!("partition {shown}"), move || closed.lift()))
}

struct Reopen(Vec<Closed>);

impl Reopen {
    /// Opens all closed ways even if one fails, and returns the first error.
    fn lift(mut self) -> Result<(), LabError> {
        let results: Vec<_> = self.0.drain(..).map(Closed::lift).collect();
        results.into_iter().collect()
    }
}

impl Drop for Reopen {
    fn drop(&mut self) {
        for closed in self.0.drain(..) {
            let _ = closed.lift();
        }
    }
}
