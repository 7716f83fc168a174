//! Writes the configuration section of a guest as text, for a clone of another guest.

use crate::config::{Boot, Console, Firmware, Guest, Migrate, Probe, STOP_MS};
use image::size;
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

/// Returns the section of a clone under another name. The clone gets MAC addresses of its own.
/// Settings that have to differ from the original and cannot be derived are comments. `volume` maps
/// the name of a volume to that of the clone's volume; read-only volumes stay the same.
pub fn copied(name: &str, guest: &Guest, volume: impl Fn(&str) -> String) -> String {
    let mut text = format!("guest {}\n", word(name));
    let mut line = |words: &str| {
        // Writes to a string never fail.
        let _ = writeln!(text, "    {words}");
    };
    if !guest.prefer.is_empty() {
        line(&format!("prefer {}", guest.prefer.join(" ")));
    }
    line(&format!("memory {}", size::words(guest.memory_bytes)));
    line(&format!("cpus {}", guest.cpus));
    for disk in &guest.disks {
        let (volume, ro) = if disk.read_only {
            (disk.volume.clone(), " ro")
        } else {
            (volume(&disk.volume), "")
        };
        let bus = disk.bus.words();
        line(&format!("disk {}{ro}{bus}", word(&volume)));
    }
    for nic in &guest.nics {
        let model = nic.model.words();
        let dropped: Vec<String> = nic.addresses.iter().map(IpAddr::to_string).collect();
        let address = if dropped.is_empty() {
            String::new()
        } else {
            format!(
                "    # without address {}: add `address` with one of its own",
                dropped.join(" ")
            )
        };
        line(&format!("nic {}{model}{address}", word(&nic.bridge)));
    }
    of_boot(guest).iter().for_each(|one| line(one));
    of_operation(guest).iter().for_each(|one| line(one));
    text
}

fn of_boot(guest: &Guest) -> Vec<String> {
    let path = |path: &Path| word(&path.display().to_string());
    let mut lines = match &guest.boot {
        Boot::Disk => Vec::new(),
        Boot::Network => vec!["boot network".to_owned()],
        Boot::Iso(file) => vec![format!("boot iso {}", path(file))],
        Boot::Kernel {
            kernel,
            initrd,
            append,
        } => {
            let initrd = initrd
                .as_deref()
                .map(|file| format!(" initrd {}", path(file)));
            let (append, dropped) = without_addresses(append);
            let append = if append.is_empty() {
                String::new()
            } else {
                format!(" append {}", word(&append))
            };
            let kernel = path(kernel);
            let mut lines = vec![format!(
                "boot kernel {kernel}{}{append}",
                initrd.unwrap_or_default()
            )];
            let dropped = dropped.iter().map(|one| {
                format!("# `append` is without {one}: add one with an address of its own")
            });
            lines.extend(dropped);
            lines
        }
    };
    if guest.firmware == Firmware::Uefi {
        lines.push("firmware uefi".to_owned());
    }
    lines.push(match guest.user_data {
        Some(_) => {
            "# add `user-data` with a file of its own: host name, keys, addresses".to_owned()
        }
        None => return lines,
    });
    lines
}

/// Beginnings of words on a kernel's command line that give the guest an address
/// (`ip=192.0.2.25::…`, `ifname=…`).
const ADDRESSED: [&str; 4] = ["ip=", "ipv6=", "ifname=", "address="];

fn without_addresses(append: &str) -> (String, Vec<String>) {
    let is_own = |word: &&str| {
        let value = ADDRESSED.iter().find_map(|name| word.strip_prefix(name));
        // Keeps `ip=dhcp` and `ip=eth0:dhcp`, which are valid for several guests.
        let is_address = |part: &str| {
            let part = part.split('/').next().unwrap_or_default();
            part.parse::<Ipv4Addr>().is_ok()
        };
        value.is_some_and(|value| {
            value.split(':').any(is_address) || has_ipv6(value) || has_mac(value)
        })
    };
    let (dropped, kept): (Vec<&str>, Vec<&str>) = append.split_whitespace().partition(is_own);
    if dropped.is_empty() {
        return (append.to_owned(), Vec::new());
    }
    // Replaces control characters, so that no line break ends the comment.
    let shown = |word: &&str| word.replace(char::is_control, "?");
    (kept.join(" "), dropped.iter().map(shown).collect())
}

/// Returns whether a value contains an IPv6 address, as dracut writes it (`[2001:db8::1]`) or
/// without brackets.
fn has_ipv6(value: &str) -> bool {
    let inner = value
        .split(['[', ']'])
        .map(|part| part.split('/').next().unwrap_or(part));
    let mut inner = inner.filter(|part| part.matches(':').count() > 1);
    inner.any(|part| {
        part.parse::<Ipv6Addr>()
            .is_ok_and(|one| !one.is_unspecified())
    })
}

fn has_mac(value: &str) -> bool {
    let parts: Vec<&str> = value.rsplit(':').take(6).collect();
    let is_pair = |part: &&str| part.len() == 2 && part.bytes().all(|one| one.is_ascii_hexdigit());
    parts.len() == 6 && parts.iter().all(is_pair)
}

fn of_operation(guest: &Guest) -> Vec<String> {
    let mut lines = Vec::new();
    match guest.console {
        Console::Vnc => {}
        Console::Spice => lines.push("console spice".to_owned()),
        Console::Serial => lines.push("console serial".to_owned()),
    }
    match guest.check.as_ref().map(|check| &check.probe) {
        None => {}
        Some(Probe::Agent) => lines.push("check agent".to_owned()),
        Some(Probe::Tcp { port, .. }) => {
            lines.push(format!("# add `check tcp {port}` once it has an `address`"));
        }
        Some(Probe::Ping(_)) => {
            lines.push("# add `check ping` once it has an `address`".to_owned())
        }
    }
    match guest.migrate {
        Migrate::Live => {}
        Migrate::Cold => lines.push("migrate cold".to_owned()),
        Migrate::Never => lines.push("migrate never".to_owned()),
    }
    if guest.stop_ms != STOP_MS {
        lines.push(format!("stop-timeout {}ms", guest.stop_ms));
    }
    if guest.order.priority != 0 {
        lines.push(format!("priority {}", guest.order.priority));
    }
    if guest.order.fails_back {
        lines.push("fail-back yes".to_owned());
    }
    lines
}

pub fn word(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:=,@%+".contains(&byte);
    if !text.is_empty() && text.bytes().all(plain) {
        text.to_owned()
    } else {
        let escaped = text.chars().flat_map(|one| {
            let escape = matches!(one, '"' | '\\' | '$').then_some('\\');
            escape.into_iter().chain([one])
        });
        format!("\"{}\"", escaped.collect::<String>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Nic;

    #[test]
    fn a_clone_never_takes_the_addresses_of_the_original_and_says_which() {
        let guest = Guest {
            nics: vec![Nic {
                bridge: "br0".to_owned(),
                mac: [0x52, 0x54, 0, 1, 2, 3],
                addresses: vec![
                    "192.0.2.25".parse().unwrap(),
                    "2001:db8::25".parse().unwrap(),
                ],
                model: Default::default(),
            }],
            boot: Boot::Kernel {
                kernel: "/k".into(),
                initrd: None,
                append: "console=ttyS0 ip=192.0.2.25::192.0.2.1:255.255.255.0:mail:eth0:off quiet"
                    .to_owned(),
            },
            ..Guest::plain(1 << 30)
        };
        let text = copied("web", &guest, str::to_owned);
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        for line in [
            "nic br0    # without address 192.0.2.25 2001:db8::25: add `address` with one of its own",
            "boot kernel /k append \"console=ttyS0 quiet\"",
            "# `append` is without ip=192.0.2.25::192.0.2.1:255.255.255.0:mail:eth0:off: add one with an address of its own",
        ] {
            assert!(lines.contains(&line), "{text}");
        }
        let lines = text.lines().filter(|line| !line.contains('#'));
        assert!(!lines.collect::<String>().contains("192.0.2.25"), "{text}");
    }

    #[test]
    fn other_addresses_stay_in_the_command_line() {
        for append in [
            "ip=dhcp",
            "ip=:::::eth0:dhcp",
            "ip=eth0:dhcp6 x",
            "root=10.0.0.1:/srv",
            "a  b",
        ] {
            assert_eq!(without_addresses(append), (append.to_owned(), Vec::new()));
        }
        for append in [
            "ip=10.0.0.2",
            "ip=[2001:db8::2]::[2001:db8::1]:64::eth0:none",
            "ifname=lan:52:54:00:01:02:03",
            "ip=10.0.0.2/24",
        ] {
            assert_eq!(
                without_addresses(append),
                (String::new(), vec![append.to_owned()])
            );
        }
    }
}
