//! Finds the capabilities that a proxy configuration needs at run time, and drops all others.
//!
//! Ports below 1024, `interface`, `transparent` and the owner of a Unix socket of a `bind` line
//! need a capability only when they are opened, with the initial privileges. A socket to a server
//! is created for each connection, so its line may need one at run time. `silent-drop` needs none:
//! if TCP_REPAIR is refused, it has a fallback.

use super::{ConfinementError, ProcessIdentity};
use language::Span;
use model::config::{Borrowed, Config, ConnectionSource, LogTargetAddress, Server, ServerAddress};
use rustix::io::Errno;
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, capability_is_in_bounding_set,
    clear_ambient_capability_set, remove_capability_from_bounding_set, set_capabilities,
};
use std::net::SocketAddr;

const CAPABILITY_MAX: u32 = 63;
/// Ports below this need a privilege (`net.ipv4.ip_unprivileged_port_start`).
const PORT_UNPRIVILEGED_MIN: u16 = 1024;
/// First kernel version on which binding a socket to an interface needs no privilege.
const INTERFACE_UNPRIVILEGED_SINCE: (u32, u32) = (5, 7);

/// Capability that a process keeps, with the reason and the line that requires it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RetainedCapability {
    pub capability: CapabilitySet,
    pub why: Why,
    pub span: Span,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Why {
    /// The role opens listeners at run time, which may have ports below 1024.
    Listens,
    /// `source` of a server has a port below 1024.
    SourcePort,
    SourceInterface,
    Mark,
    ClientAddress,
    /// The process stays root, and connects to a Unix socket of another owner.
    UnixSocket,
}

impl Why {
    pub fn words(self) -> &'static str {
        match self {
            Why::Listens => "a reload may give it addresses with ports below 1024",
            Why::SourcePort => "connections to a server use a source port below 1024",
            Why::SourceInterface => {
                "connections to a server are bound to an interface, which needs privileges before Linux 5.7"
            }
            Why::Mark => "rules set a mark on packets",
            Why::ClientAddress => {
                "connections to a server use the address of a client, or another address that is not local"
            }
            Why::UnixSocket => "to connect to a Unix socket of another user",
        }
    }
}

/// Returns the capabilities that this configuration needs while traffic flows: one entry per
/// reason, with the first line that has it.
pub fn needed(config: &Config, identity: &ProcessIdentity) -> Vec<RetainedCapability> {
    let mut kept: Vec<RetainedCapability> = Vec::new();
    let mut keep = |capability, why, span| {
        if !kept.iter().any(|one| one.why == why) {
            kept.push(RetainedCapability {
                capability,
                why,
                span,
            });
        }
    };
    let old_kernel = kernel_version().is_none_or(|version| version < INTERFACE_UNPRIVILEGED_SINCE);
    let stays_root = identity.stays_root();
    for proxy in &config.proxies {
        for server in &proxy.servers {
            let source = server.source(proxy);
            if source.settings.borrowed.is_some() {
                keep(CapabilitySet::NET_RAW, Why::ClientAddress, server.span);
            }
            if takes_low_ports(source) {
                keep(
                    CapabilitySet::NET_BIND_SERVICE,
                    Why::SourcePort,
                    server.span,
                );
            }
            if source.settings.interface.is_some() && old_kernel {
                keep(CapabilitySet::NET_RAW, Why::SourceInterface, server.span);
            }
            if stays_root && is_unix(server) {
                keep(CapabilitySet::DAC_OVERRIDE, Why::UnixSocket, server.span);
            }
        }
    }
    if let Some(span) = config.global.marks {
        keep(CapabilitySet::NET_ADMIN, Why::Mark, span);
    }
    let of_proxies = config.proxies.iter().flat_map(|proxy| &proxy.logs);
    let of_sections = config.log_forwards.iter().flat_map(|section| &section.logs);
    let all = config.global.logs.iter().chain(of_proxies);
    for target in all.chain(of_sections) {
        if stays_root && matches!(target.address, LogTargetAddress::Unix(_)) {
            keep(CapabilitySet::DAC_OVERRIDE, Why::UnixSocket, target.span);
        }
    }
    kept
}

fn takes_low_ports(source: ConnectionSource<'_>) -> bool {
    let low = |address: SocketAddr| (1..PORT_UNPRIVILEGED_MIN).contains(&address.port());
    match &source.settings.borrowed {
        Some(Borrowed::Client) => true,
        Some(Borrowed::Address(address)) => low(*address),
        _ => source.address.is_some_and(low),
    }
}

fn is_unix(server: &Server) -> bool {
    let unix = |address: &ServerAddress| matches!(address, ServerAddress::Unix(_));
    unix(&server.address) || server.options.check_host.as_ref().is_some_and(unix)
}

fn kernel_version() -> Option<(u32, u32)> {
    version(rustix::system::uname().release().to_str().ok()?)
}

fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// Removes all capabilities but `keeps` from the bounding set, so that not even a file with
/// capabilities restores them. Without the privilege for that, returns without an error:
/// no-new-privs blocks such files, too.
pub fn bound(keeps: CapabilitySet) -> Result<(), ConfinementError> {
    for number in 0..=CAPABILITY_MAX {
        let one = CapabilitySet::from_bits_retain(1 << number);
        if keeps.contains(one) {
            continue;
        }
        match capability_is_in_bounding_set(one) {
            Ok(true) => match remove_capability_from_bounding_set(one) {
                Ok(()) => {}
                Err(Errno::PERM) => return Ok(()),
                Err(errno) => return Err(ConfinementError::Capabilities { errno }),
            },
            Ok(false) => {}
            // Ends at the first number that this kernel does not know.
            Err(_) => break,
        }
    }
    Ok(())
}

pub fn held() -> Result<CapabilitySet, ConfinementError> {
    let sets = capabilities(None).map_err(|errno| ConfinementError::Capabilities { errno })?;
    Ok(sets.permitted | sets.effective)
}

/// Drops all capabilities but `keeps`, in every set. Returns the remaining ones, which are fewer
/// than requested if the process never had them.
pub fn reduce(keeps: CapabilitySet) -> Result<CapabilitySet, ConfinementError> {
    bound(keeps)?;
    lower(keeps)
}

/// Does the same as [`reduce`], but keeps the bounding set.
pub fn lower(keeps: CapabilitySet) -> Result<CapabilitySet, ConfinementError> {
    let refused = |errno| ConfinementError::Capabilities { errno };
    match clear_ambient_capability_set() {
        // A kernel before 4.3 has no such set.
        Ok(()) | Err(Errno::INVAL) => {}
        Err(errno) => return Err(refused(errno)),
    }
    let left = capabilities(None).map_err(refused)?.permitted & keeps;
    let sets = CapabilitySets {
        effective: left,
        permitted: left,
        inheritable: CapabilitySet::empty(),
    };
    set_capabilities(None, sets).map_err(refused)?;
    held()
}

/// Returns the names of a set as in capabilities(7), or a number for an unknown capability.
pub fn names(set: CapabilitySet) -> Vec<String> {
    let mut names = Vec::new();
    let mut unknown = set;
    for (name, one) in set.iter_names() {
        names.push(format!("CAP_{name}"));
        unknown -= one;
    }
    let numbers = (0..=CAPABILITY_MAX).filter(|number| unknown.bits() >> number & 1 == 1);
    names.extend(numbers.map(|number| number.to_string()));
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_version_is_parsed_in_every_vendor_format() {
        for (release, expected) in [
            ("6.18.44-fc", Some((6, 18))),
            ("5.4.0-generic", Some((5, 4))),
            ("5.10", Some((5, 10))),
            ("7.0-rc1", Some((7, 0))),
            ("", None),
            ("six.1", None),
        ] {
            assert_eq!(version(release), expected, "{release}");
        }
    }

    #[test]
    fn capabilities_are_printed_by_name() {
        let set = CapabilitySet::NET_RAW | CapabilitySet::from_bits_retain(1 << 62);
        assert_eq!(names(set), ["CAP_NET_RAW", "62"]);
    }
}
