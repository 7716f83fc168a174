//! The section of a guest as text, for one that is made from another.

use crate::config::{Boot, Console, Firmware, Guest, Migrate, Probe, STOP_MS};
use crate::size;
use std::fmt::Write;
use std::path::Path;

/// Returns the section of a guest of another name that is a copy of this one. Its MAC addresses are
/// its own. What has to differ and cannot be known is in comments. `volume`: what its volumes are
/// called; one that is only read stays the same.
pub fn copied(name: &str, guest: &Guest, volume: impl Fn(&str) -> String) -> String {
    let mut text = format!("guest {}\n", word(name));
    let mut line = |words: &str| {
        // Memory is written without errors.
        let _ = writeln!(text, "    {words}");
    };
    if !guest.prefer.is_empty() {
        line(&format!("prefer {}", guest.prefer.join(" ")));
    }
    line(&format!("memory {}", size::words(guest.memory_bytes)));
    line(&format!("cpus {}", guest.cpus));
    for disk in &guest.disks {
        let (volume, ro) = match disk.read_only {
            true => (disk.volume.clone(), " ro"),
            false => (volume(&disk.volume), ""),
        };
        let bus = disk.bus.words();
        line(&format!("disk {}{ro}{bus}", word(&volume)));
    }
    for nic in &guest.nics {
        let model = nic.model.words();
        let address = match nic.addresses.is_empty() {
            true => "",
            false => "    # add `address` with one of its own",
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
            let initrd = { initrd.as_deref() }.map(|file| format!(" initrd {}", path(file)));
            let append = match append.is_empty() {
                true => String::new(),
                false => format!(" append {}", word(append)),
            };
            let kernel = path(kernel);
            vec![format!(
                "boot kernel {kernel}{}{append}",
                initrd.unwrap_or_default()
            )]
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

/// A word as a file has it.
pub fn word(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:=,@%+".contains(&byte);
    match !text.is_empty() && text.bytes().all(plain) {
        true => text.to_owned(),
        false => {
            let escaped = text.chars().flat_map(|one| {
                let escape = matches!(one, '"' | '\\' | '$').then_some('\\');
                escape.into_iter().chain([one])
            });
            format!("\"{}\"", escaped.collect::<String>())
        }
    }
}
