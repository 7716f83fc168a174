//! Parses `vrrp_instance` blocks into drafts: state, priority, adverts, authentication and virtual
//! interfaces of a virtual router.

use super::draft::{At, InstanceDraft};
use super::{AUTHENTICATION, GLOBAL, INSTANCE};
use crate::codes;
use crate::config::{Options, Start, Vmac};
use crate::dialect::keyword::{Row, TOP, block, line};
use crate::dialect::loader::Loader;
use crate::dialect::tree::ConfigStatement;
use crate::dialect::words::SourceWord;
use language::{Diagnostic, suggest};
use std::net::IpAddr;

/// Maximum number of password bytes in an advert.
const PASSWORD_BYTES: usize = 8;
/// Maximum length of the key of `auth_type AH`, in bytes.
const KEY_BYTES: usize = 16;

pub(in crate::dialect) static ROWS: &[Row] = language::rows! {
    "vrrp_instance <name> { … }" &[TOP], block(1, 1, instance),
        "vrrp_instance VI_1 {\n    interface eth0\n    virtual_router_id 51\n    priority 150\n    virtual_ipaddress \
         {\n        192.0.2.10/24\n    }\n}",
        "A virtual router: addresses that one of several machines owns. It needs an `interface`, a `virtual_router_id` \
         and addresses in `virtual_ipaddress`.";
    "state MASTER|BACKUP" &[INSTANCE], line(1, 1, state), "state BACKUP",
        "Initial state. `priority` decides which machine owns the addresses: MASTER only matters with priority 255, \
         which owns them at once. Without `priority`, MASTER means 255.";
    "interface <name>" &[INSTANCE], line(1, 1, interface), "interface eth0",
        "Interface for adverts and addresses. Only unicast instances can omit it.";
    "virtual_router_id <1-255>" &[INSTANCE], line(1, 1, vrid), "virtual_router_id 51",
        "Number of the virtual router, the same on all its machines, and unique on the network.";
    "priority <1-255>" &[INSTANCE],
        line(1, 1, |l, n| l.instance.priority = l.at(n, |l, w| l.small(w, 1..=255))),
        "priority 150",
        "The highest priority owns the addresses. Give every machine a different one; 255 is for the machine to which \
         the addresses belong. Default 100.";
    "advert_int <seconds>" &[INSTANCE],
        line(1, 1, |l, n| option(l, n, |l, w| l.timer(w, 10_000..=255_000_000), |o| &mut o.advert_interval)),
        "version 3\nadvert_int 0.1",
        "Advert interval, the same on all machines: 1 to 255 whole seconds in version 2, 0.01 to 40.95 in version 3. \
         After three missing adverts the addresses move.";
    "version 2|3" &[INSTANCE],
        line(1, 1, |l, n| option(l, n, |l, w| l.small(w, 2..=3), |o| &mut o.version)),
        "version 3",
        "VRRP version. 3 is required for IPv6 and for intervals below one second; it has no authentication. Default \
         `vrrp_version`.";
    "down_timer_adverts <1-100>" &[INSTANCE],
        line(1, 1, |l, n| option(l, n, |l, w| l.small(w, 1..=100), |o| &mut o.down_timer_adverts)),
        "down_timer_adverts 4",
        "Number of missing adverts after which the addresses move. The protocol's value is 3; all machines need the \
         same number.";
    "preempt" &[INSTANCE], line(0, 0, |l, n| preempt(l, n, true)), "preempt",
        "A higher priority takes the addresses from a lower one. This is the default.";
    "nopreempt" &[INSTANCE], line(0, 0, |l, n| preempt(l, n, false)), "state BACKUP\nnopreempt",
        "A higher priority that returns does not take the addresses back. The state must be BACKUP, on all machines.";
    "preempt_delay <seconds>" &[INSTANCE], line(1, 1, preempt_delay), "preempt_delay 30",
        "Delay, 0 to 1000 s, before a higher priority takes the addresses. The state must be BACKUP.";
    "accept" &[INSTANCE], line(0, 0, |l, n| accept(l, n, true)), "accept",
        "Accepts packets to the addresses even if this machine is not their permanent owner. Default, except in strict \
         mode.";
    "no_accept" &[INSTANCE], line(0, 0, |l, n| accept(l, n, false)), "no_accept",
        "Drops packets to the addresses themselves unless the priority is 255: the addresses are only for routing.";
    "authentication { auth_type … auth_pass … }" &[INSTANCE], block(0, 0, authentication),
        "authentication {\n    auth_type PASS\n    auth_pass secret99\n}",
        "A password in every advert, version 2 only. Anyone on the network can read it, so it only protects against \
         mistakes.";
    "auth_type PASS|AH" &[AUTHENTICATION],
        line(1, 1, |l, n| l.instance.auth_ah = l.at(n, |l, w| l.choice(w, &[("PASS", false), ("AH", true)]))),
        "auth_type PASS\nauth_pass secret99",
        "PASS sends the password in clear text; AH signs adverts with the IP authentication header, which few machines \
         support.";
    "auth_pass <password>" &[AUTHENTICATION],
        line(1, 1, |l, n| l.instance.auth_pass = l.at(n, |_, w| Some(w.text.clone().into_bytes()))),
        "auth_type PASS\nauth_pass secret99",
        "The password, the same on all machines. An advert has room for eight bytes; the rest is not sent.";
    "strict_mode [on|off]" &[INSTANCE], line(0, 1, |l, n| switch(l, n, |o| &mut o.strict)),
        "strict_mode off", "Follows the protocol exactly, see `vrrp_strict`, which is its default.";
    "use_vmac [<interface>] [<MAC>]" &[INSTANCE], line(0, 2, use_vmac), "use_vmac vrrp.51",
        "Uses the MAC address of the virtual router on a separate interface (macvlan), so that neighbours need not \
         learn another one when the addresses move.";
    "use_vmac_addr" &[INSTANCE], line(0, 0, |l, n| l.instance.vmac_for_addresses = Some(n.place())),
        "use_vmac_addr", "Like `use_vmac`, for addresses on other interfaces.";
    "vmac_xmit_base" &[INSTANCE],
        line(0, 0, |l, n| l.instance.vmac_transmit_on_base = Some(n.place())),
        "use_vmac\nvmac_xmit_base",
        "With `use_vmac`, sends adverts on the physical interface instead of the virtual one.";
    "use_ipvlan [<interface>] [<address>] [bridge|private|vepa]" &[INSTANCE],
        line(0, 3, use_ipvlan),
        "use_ipvlan ipv.51 192.0.2.51/24 bridge",
        "Puts the addresses on an ipvlan interface, for networks that allow only one MAC address. IPv4 needs a \
         separate address for it.";
    "native_ipv6" &[INSTANCE], line(0, 0, |l, n| l.instance.native_ipv6 = Some(n.place())),
        "native_ipv6\nvirtual_ipaddress {\n    fe80::10\n}",
        "Makes adverts IPv6. The addresses imply it; the keyword exists for old files.";
    "dont_track_primary" &[INSTANCE],
        line(0, 0, |l, _| l.instance.options.values.ignore_interface_faults = true),
        "dont_track_primary", "Ignores faults of the interface itself.";
    "promote_secondaries" &[INSTANCE],
        line(0, 0, |l, _| l.instance.options.values.promote_secondaries = true),
        "promote_secondaries",
        "Configures the interface so that removing one address keeps the others of its network.";
    "vrf <interface>" &[INSTANCE], line(1, 1, |l, n| l.instance.options.values.vrf = n.text()),
        "vrf blue", "With unicast and no interface: the VRF of the instance.";
    "kernel_rx_buf_size <bytes>" &[INSTANCE],
        line(1, 1, |l, n| l.instance.options.values.receive_buffer_bytes = l.count(n, 1..=i64::from(i32::MAX))),
        "kernel_rx_buf_size 65536", "Receive buffer of its socket.";
    "debug <0-4>" &[INSTANCE], line(1, 1, |l, n| l.check(n, 0..=4)), "debug 1",
        "No effect, as in keepalived.";
};

fn instance(l: &mut Loader<'_>, node: &ConfigStatement) {
    let At { value: name, span } = node.named();
    l.instance = InstanceDraft {
        name,
        place: span,
        ..InstanceDraft::default()
    };
    l.children(INSTANCE, node);
    let done = std::mem::take(&mut l.instance);
    l.drafts.instances.push(done);
}

fn state(l: &mut Loader<'_>, node: &ConfigStatement) {
    let Some(word) = node.argument() else { return };
    let value = match word.text.as_str() {
        "MASTER" => Start::Master,
        "BACKUP" => Start::Backup,
        other => {
            let near = match other.to_ascii_uppercase().as_str() {
                "SLAVE" | "STANDBY" | "SECONDARY" => Some("BACKUP"),
                "PRIMARY" | "ACTIVE" => Some("MASTER"),
                upper => suggest::nearest(upper, ["MASTER", "BACKUP"]),
            };
            let message = format!("unknown state '{other}': use MASTER or BACKUP");
            l.report(
                Diagnostic::error(&codes::BAD_VALUE, word.span, message)
                    .did_you_mean(word.span, near),
            );
            return;
        }
    };
    l.instance.start = Some(At {
        value,
        span: word.span,
    });
}

fn interface(l: &mut Loader<'_>, node: &ConfigStatement) {
    let Some(word) = node.argument() else {
        l.instance.interface_told = true;
        return;
    };
    l.instance.interface = Some(word.at());
    l.drafts.require_interface(word.at(), "vrrp_instance");
}

fn vrid(l: &mut Loader<'_>, node: &ConfigStatement) {
    l.instance.vrid = l.at(node, |l, w| l.small(w, 1..=255));
    l.instance.vrid_told = l.instance.vrid.is_none();
}

/// Parses an option of the instance, and stores it with its position if it is valid.
fn option<T>(
    l: &mut Loader<'_>,
    node: &ConfigStatement,
    read: fn(&mut Loader<'_>, &SourceWord) -> Option<T>,
    field: fn(&mut Options) -> &mut T,
) {
    if let Some(At { value, span }) = l.at(node, read) {
        let options = &mut l.instance.options;
        options.set(l.keyword, span, |o| *field(o) = value);
    }
}

/// Stores a switch of an instance or, in `global_defs`, the default for all instances, whose
/// keyword has the additional prefix `vrrp_`.
pub(super) fn switch(
    l: &mut Loader<'_>,
    node: &ConfigStatement,
    field: impl FnOnce(&mut Options) -> &mut bool,
) {
    let Some(value) = l.switch(node) else { return };
    let options = match l.place {
        GLOBAL => &mut l.drafts.defaults.options,
        _ => &mut l.instance.options,
    };
    let name = l.keyword.trim_start_matches("vrrp_");
    options.set(name, node.place(), |o| *field(o) = value);
}

fn preempt(l: &mut Loader<'_>, node: &ConfigStatement, value: bool) {
    let options = &mut l.instance.options;
    options.set("preempt", node.place(), |o| o.preempt = value);
}

fn preempt_delay(l: &mut Loader<'_>, node: &ConfigStatement) {
    if let Some(value) = l.time(node, 0..=1_000_000_000) {
        let options = &mut l.instance.options;
        options.set("preempt_delay", node.whole(), |o| o.preempt_delay = value);
    }
}

fn accept(l: &mut Loader<'_>, node: &ConfigStatement, value: bool) {
    let options = &mut l.instance.options;
    options.set("accept", node.place(), |o| o.accept = value);
}

fn authentication(l: &mut Loader<'_>, node: &ConfigStatement) {
    l.instance.auth_place = Some(node.place());
    l.children(AUTHENTICATION, node);
}

/// Returns the first eight bytes of a password, padded with zeroes, and whether the rest was cut
/// off.
pub(in crate::dialect) fn password(bytes: &[u8]) -> ([u8; PASSWORD_BYTES], bool) {
    let mut sent = [0; PASSWORD_BYTES];
    let length = bytes.len().min(PASSWORD_BYTES);
    sent[..length].copy_from_slice(&bytes[..length]);
    (sent, bytes.len() > PASSWORD_BYTES)
}

/// Returns the key of `auth_type AH`, padded with zeroes.
pub(in crate::dialect) fn key(bytes: &[u8]) -> [u8; KEY_BYTES] {
    let mut key = [0; KEY_BYTES];
    // Uses only the first eight bytes of the password, as keepalived does.
    key[..PASSWORD_BYTES].copy_from_slice(&password(bytes).0);
    key
}

fn use_vmac(l: &mut Loader<'_>, node: &ConfigStatement) {
    let mut vmac = Vmac::default();
    for word in node.arguments() {
        match mac(&word.text) {
            Some((mac, _)) if mac[0] & 1 != 0 => {
                let message = format!("'{}' is a multicast address", word.text);
                l.error(&codes::BAD_VALUE, word.span, message);
            }
            Some((mac, ends_in_vrid)) => {
                vmac.mac = Some(mac);
                l.instance.vmac_ends_in_vrid = ends_in_vrid;
            }
            None if word.text.contains(':') && word.text.len() > 13 => {
                let message = format!("'{}' is not a MAC address of five or six octets", word.text);
                l.error(&codes::BAD_VALUE, word.span, message);
            }
            None => vmac.name = interface_name(l, word),
        }
    }
    l.instance.vmac = Some(vmac);
}

/// Returns a name that is valid for an interface, and reports an invalid one.
fn interface_name(l: &mut Loader<'_>, word: &SourceWord) -> Option<String> {
    /// IFNAMSIZ without the terminating zero.
    const NAME_BYTES_MAX: usize = 15;
    if word.text.len() <= NAME_BYTES_MAX && !word.text.contains('/') && !word.text.is_empty() {
        return Some(word.text.clone());
    }
    let message = format!(
        "'{}' is not a valid interface name: at most {NAME_BYTES_MAX} bytes, without '/'",
        word.text
    );
    l.error(&codes::BAD_VALUE, word.span, message);
    None
}

/// Parses a MAC with six octets. One with five, also with a colon at its end, ends in the router id,
/// which may be configured further down: the result is true, and the sixth octet zero.
fn mac(text: &str) -> Option<([u8; 6], bool)> {
    let five = text.strip_suffix(':');
    let octets: Option<Vec<u8>> = five
        .unwrap_or(text)
        .split(':')
        .map(|octet| (octet.len() <= 2).then(|| u8::from_str_radix(octet, 16).ok())?)
        .collect();
    let mut octets = octets?;
    let ends_in_vrid = octets.len() == 5;
    if ends_in_vrid {
        octets.push(0);
    } else if five.is_some() {
        return None;
    }
    Some((octets.try_into().ok()?, ends_in_vrid))
}

fn use_ipvlan(l: &mut Loader<'_>, node: &ConfigStatement) {
    let mut vmac = Vmac {
        is_ipvlan: true,
        ..Vmac::default()
    };
    for word in node.arguments() {
        let plain = word.text.split('/').next().unwrap_or_default();
        match (word.text.as_str(), plain.parse::<IpAddr>()) {
            (mode @ ("bridge" | "private" | "vepa"), _) => {
                vmac.ipvlan_mode = Some(mode.to_owned());
            }
            (_, Ok(address)) => vmac.ipvlan = Some(address),
            _ => vmac.name = interface_name(l, word),
        }
    }
    l.instance.vmac = Some(vmac);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_cut_to_eight_bytes() {
        assert_eq!(password(b"abc"), (*b"abc\0\0\0\0\0", false));
        assert_eq!(password(b"12345678"), (*b"12345678", false));
        let (sent, cut) = password(b"some_secure_password_goes_here");
        assert_eq!((&sent, cut), (b"some_sec", true));
    }

    #[test]
    fn a_mac_may_end_with_the_router_id() {
        let whole = |last| Some(([2, 0, 0x5e, 0, 1, last], false));
        assert_eq!(mac("02:00:5e:00:01:33"), whole(0x33));
        // Keepalived, too, keeps a last octet of zero.
        assert_eq!(mac("02:00:5e:00:01:00"), whole(0));
        for text in ["02:00:5e:00:01", "02:00:5e:00:01:"] {
            assert_eq!(mac(text), Some(([2, 0, 0x5e, 0, 1, 0], true)));
        }
        for text in ["vrrp", "eth0:1", "02:00:5e:00:01:33:", "02:00:5e:00"] {
            assert_eq!(mac(text), None);
        }
    }
}
