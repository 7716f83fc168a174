//! Adapts the files of a Linux system that comes from another machine: each function maps the old
//! text of a file to the new one.

use std::collections::BTreeMap;

const TERMINAL: &str = "ttyS0";
const OLD_TERMINALS: [&str; 3] = ["hvc0", "xvc0", "xencons"];
/// Drivers needed in an initial RAM disk.
pub const DRIVERS: [&str; 3] = ["virtio_pci", "virtio_blk", "virtio_net"];
/// Kernel command-line words that belong to the old machine.
const OLD_WORDS: [&str; 6] = ["root", "console", "xencons", "ro", "rw", "clocksource"];

/// Result of the change of `fstab`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Fstab {
    pub text: String,
    /// Replaced devices, with their UUIDs.
    pub replaced: Vec<(String, String)>,
    /// Devices without a known file system.
    pub left: Vec<String>,
}

/// Replaces devices in `fstab` by the UUIDs of their file systems. `uuids` has the UUIDs by the
/// names of partitions on the old machine, such as `xvda1`. A name in `fstab` with another prefix
/// (`sd`, `hd`, `vd`) and the same rest is the same disk under an older name.
pub fn fstab(text: &str, uuids: &BTreeMap<String, String>) -> Fstab {
    let mut fstab = Fstab::default();
    for line in text.lines() {
        let device = line.split_whitespace().next().unwrap_or_default();
        let name = device.strip_prefix("/dev/").unwrap_or_default();
        let uuid = uuid_of(name, uuids);
        match uuid {
            Some(uuid) => {
                let rest = line.trim_start().get(device.len()..).unwrap_or_default();
                fstab.text += &format!("UUID={uuid}{rest}\n");
                fstab.replaced.push((device.to_owned(), uuid.to_owned()));
            }
            None => {
                if is_disk(name) {
                    fstab.left.push(device.to_owned());
                }
                fstab.text += &format!("{line}\n");
            }
        }
    }
    fstab
}

/// Returns the UUID of a partition by its name on the old machine, or else by a name with another
/// prefix and the same rest.
pub fn uuid_of<'u>(name: &str, uuids: &'u BTreeMap<String, String>) -> Option<&'u str> {
    let family = |name: &str| {
        let prefixes = ["xvd", "sd", "hd", "vd"];
        let rest = prefixes.iter().find_map(|prefix| name.strip_prefix(prefix));
        rest.filter(|rest| !rest.is_empty()).map(str::to_owned)
    };
    let wanted = family(name)?;
    let exact = uuids.get(name);
    let other = || {
        let mut all = uuids.iter();
        let found = all.find(|(known, _)| family(known).as_deref() == Some(&wanted));
        found.map(|(_, uuid)| uuid)
    };
    exact.or_else(other).map(String::as_str)
}

fn is_disk(name: &str) -> bool {
    let prefixes = ["xvd", "sd", "hd", "vd"];
    prefixes.iter().any(|prefix| name.starts_with(prefix))
}

/// Changes `inittab` so that a login is on the serial terminal: converts a line of Xen's terminals,
/// or adds a line if no line has the serial terminal.
pub fn inittab(text: &str) -> String {
    let mut has = false;
    let mut new = String::new();
    for line in text.lines() {
        let is_rule = !line.trim_start().starts_with('#');
        let mut line = line.to_owned();
        if is_rule && OLD_TERMINALS.iter().any(|old| line.contains(old)) {
            // Disables further lines, because two logins on the same terminal would disturb each
            // other.
            if has {
                line = format!("#{line}");
            } else {
                for old in OLD_TERMINALS {
                    line = line.replace(old, TERMINAL);
                }
            }
        }
        has |= is_rule && line.contains(TERMINAL) && !line.starts_with('#');
        new += &line;
        new.push('\n');
    }
    if !has {
        new += "T0:2345:respawn:/sbin/getty -L ttyS0 115200 vt100\n";
    }
    new
}

/// Adds a line to a list with one word a line, unless the list contains it.
pub fn with_line(text: &str, wanted: &str) -> String {
    let mut new = text.to_owned();
    if text.lines().any(|line| line.trim() == wanted) {
        return new;
    }
    if !new.is_empty() && !new.ends_with('\n') {
        new.push('\n');
    }
    new + wanted + "\n"
}

/// Returns the module list with the virtio drivers appended.
pub fn modules(text: &str) -> String {
    DRIVERS
        .iter()
        .fold(text.to_owned(), |text, driver| with_line(&text, driver))
}

/// Returns the words of the old kernel command line that the new one keeps: all but those for root
/// device, terminals, clock source and Xen, and those with characters that are special in shells.
pub fn command_line(old: &str) -> String {
    let is_kept = |word: &&str| {
        let name = word.split('=').next().unwrap_or_default();
        let is_safe = word
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !b"'\"{};$`\\".contains(&byte));
        !OLD_WORDS.contains(&name) && !name.starts_with("xen") && is_safe
    };
    let kept: Vec<&str> = old.split_whitespace().filter(is_kept).collect();
    kept.join(" ")
}

/// Replaces `GRUB_CMDLINE_LINUX` in `/etc/default/grub`, for the menus that the system creates
/// itself.
pub fn default_grub(text: &str, append: &str) -> String {
    let append = match append {
        "" => String::new(),
        append => format!(" {append}"),
    };
    let line = format!("GRUB_CMDLINE_LINUX=\"console=tty0 console=ttyS0,115200{append}\"");
    let is_old = |line: &str| line.trim_start().starts_with("GRUB_CMDLINE_LINUX=");
    let kept = text.lines().filter(|line| !is_old(line));
    let mut new: String = kept.map(|line| format!("{line}\n")).collect();
    new += &line;
    new + "\n"
}

/// Returns a key that orders the versions of kernels, with numbers by their value.
pub fn version_key(version: &str) -> Vec<(u64, String)> {
    let parts = version.split(['.', '-', '_', '+']);
    let key = parts.map(|part| match part.parse() {
        Ok(number) => (number, String::new()),
        Err(_) => (0, part.to_owned()),
    });
    key.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_of_fstab_become_uuids() {
        let uuids: BTreeMap<String, String> = [("xvda1", "a1"), ("xvda2", "a2"), ("sdb1", "b1")]
            .map(|(name, uuid)| (name.to_owned(), uuid.to_owned()))
            .into();
        let old = "# /dev/xvda1 a comment\nproc /proc proc defaults 0 0\n/dev/xvda2\t/ ext3 errors=remount-ro 0 1\n  \
                   /dev/sda1 none swap sw 0 0\n/dev/xvdb1 /srv ext3\nUUID=77 /x ext4\n/dev/xvdc1 /y ext3\n/dev/vg/z /z ext3";
        let new = fstab(old, &uuids);
        assert_eq!(
            new.text,
            "# /dev/xvda1 a comment\nproc /proc proc defaults 0 0\nUUID=a2\t/ ext3 errors=remount-ro 0 1\n\
             UUID=a1 none swap sw 0 0\nUUID=b1 /srv ext3\nUUID=77 /x ext4\n/dev/xvdc1 /y ext3\n/dev/vg/z /z ext3\n"
        );
        assert_eq!(new.left, ["/dev/xvdc1"]);
        assert_eq!(new.replaced[1], ("/dev/sda1".to_owned(), "a1".to_owned()));
    }

    #[test]
    fn a_login_is_on_the_serial_terminal_once() {
        for (old, new) in [
            (
                "1:2345:respawn:/sbin/getty 38400 hvc0\n2:23:respawn:/sbin/getty 38400 tty2\n",
                "1:2345:respawn:/sbin/getty 38400 ttyS0\n2:23:respawn:/sbin/getty 38400 tty2\n",
            ),
            (
                "1:2345:respawn:/sbin/getty 38400 hvc0\n3:2:respawn:/sbin/getty 38400 xvc0",
                "1:2345:respawn:/sbin/getty 38400 ttyS0\n#3:2:respawn:/sbin/getty 38400 xvc0\n",
            ),
            (
                "#T0:23:respawn:/sbin/getty -L ttyS0 9600 vt100\n",
                "#T0:23:respawn:/sbin/getty -L ttyS0 9600 vt100\nT0:2345:respawn:/sbin/getty -L ttyS0 115200 vt100\n",
            ),
            (
                "T0:23:respawn:/sbin/getty -L ttyS0 9600 vt100\n",
                "T0:23:respawn:/sbin/getty -L ttyS0 9600 vt100\n",
            ),
        ] {
            assert_eq!(inittab(old), new);
        }
    }

    #[test]
    fn lists_get_what_they_lack() {
        assert_eq!(with_line("tty1\nttyS0\n", "ttyS0"), "tty1\nttyS0\n");
        assert_eq!(with_line("tty1", "ttyS0"), "tty1\nttyS0\n");
        assert_eq!(modules(""), "virtio_pci\nvirtio_blk\nvirtio_net\n");
        assert_eq!(
            modules("virtio_blk\n"),
            "virtio_blk\nvirtio_pci\nvirtio_net\n"
        );
    }

    #[test]
    fn a_command_line_loses_what_is_of_the_old_machine() {
        for (old, new) in [
            ("xencons=tty clocksource=jiffies quiet", "quiet"),
            (
                "root=/dev/xvda1 ro console=hvc0 elevator=noop",
                "elevator=noop",
            ),
            ("4 vga=normal '}", "4 vga=normal"),
            ("", ""),
        ] {
            assert_eq!(command_line(old), new);
        }
        let old = "GRUB_DEFAULT=0\nGRUB_CMDLINE_LINUX=\"console=hvc0\"\n";
        assert_eq!(
            default_grub(old, "quiet"),
            "GRUB_DEFAULT=0\nGRUB_CMDLINE_LINUX=\"console=tty0 console=ttyS0,115200 quiet\"\n"
        );
    }

    #[test]
    fn kernels_are_in_the_order_of_their_versions() {
        let mut all = [
            "2.6.32-5-amd64",
            "6.1.0-9-amd64",
            "6.1.0-10-amd64",
            "3.2.0-4-amd64",
        ];
        all.sort_by_key(|version| version_key(version));
        let sorted = [
            "2.6.32-5-amd64",
            "3.2.0-4-amd64",
            "6.1.0-9-amd64",
            "6.1.0-10-amd64",
        ];
        assert_eq!(all, sorted);
    }
}
