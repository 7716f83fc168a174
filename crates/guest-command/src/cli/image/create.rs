//! Implements `evenkeel guest create NAME --debootstrap SUITE`, which builds a Debian system from
//! the packages of a mirror, with nothing prebuilt. The result is a raw disk in a file, which is
//! copied onto the guest's volume as `evenkeel volume import` does.

use super::grub;
use super::place::find_place;
use super::trial::Trial;
use ::image::boot::{self, FIRST_BYTES, GrubEntry, Partition};
use ::image::section::{GuestDraft, NetworkCard};
use ::image::system::{default_grub, version_key};
use clap::ArgMatches;
use command::build::debian::{self, Mirrors};
use command::build::inside::Inside;
use command::build::run::{Runner, find, need, program};
use command::build::workshop::Workshop;
use command::stopped::Stopped;
use command::word;
use guest::config::{Bus, Firmware};
use std::fs::{self, File};
use std::io::{Write, stderr};
use std::net::IpAddr;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use volume::cli::transfer::{Unfilled, fill};
use volume::overwrite::OverwriteKind;
use volume::transfer::TransferSource;

/// Packages of a guest in addition to those of priority "important".
const PACKAGES: &str =
    "linux-image-amd64,openssh-server,grub2-common,grub-pc-bin,qemu-guest-agent,ca-certificates";
const ROOM: u64 = 4 << 30;
const SIZE: u64 = 20 << 30;
/// Kernel option for the interface name `eth0`: names by bus position depend on the machine model.
const APPEND: &str = "net.ifnames=0";

struct GuestImageArguments {
    name: String,
    suite: String,
    mirror: Option<String>,
    keys: Option<String>,
    password: Option<String>,
    network: Option<StaticNetwork>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct StaticNetwork {
    address: IpAddr,
    prefix: u8,
    gateway: Option<IpAddr>,
}

pub fn main(matches: &ArgMatches) -> ExitCode {
    match create(matches) {
        Ok(text) => {
            let _ = write!(stderr(), "{text}");
            ExitCode::SUCCESS
        }
        Err(Unfilled::Before(error)) => error.exit(". Nothing was written to a volume"),
        Err(Unfilled::During(error)) => {
            error.exit(". The volume is incomplete: create it again with `--yes`")
        }
    }
}

impl GuestImageArguments {
    fn of(matches: &ArgMatches) -> Result<GuestImageArguments, String> {
        let suite = word(matches, "debootstrap");
        debian::suite(&suite)?;
        let mirror = matches.get_one::<String>("mirror").cloned();
        mirror.as_deref().map(debian::mirror).transpose()?;
        let text = |name| {
            matches
                .get_one::<PathBuf>(name)
                .map(|path| debian::secret(path))
                .transpose()
        };
        let wanted = GuestImageArguments {
            name: word(matches, "NAME"),
            suite,
            mirror,
            keys: text("ssh-key")?
                .map(|text| debian::public_keys(&text))
                .transpose()?,
            password: text("password-file")?
                .map(|text| password(&text))
                .transpose()?,
            network: matches
                .get_one::<String>("address")
                .map(|address| StaticNetwork::parse(address, matches.get_one::<String>("gateway")))
                .transpose()?,
        };
        match debian::is_name(&wanted.name) {
            false => Err(format!("'{}' is not a host name: only letters, digits and `-` are allowed", wanted.name)),
            true if wanted.keys.is_none() && wanted.password.is_none() => Err(
                "nobody could log in: `--ssh-key FILE` for root's key, `--password-file FILE` for a password at the console"
                    .to_owned(),
            ),
            true => Ok(wanted),
        }
    }
}

fn password(text: &str) -> Result<String, String> {
    let password = text.trim_end_matches(['\n', '\r']);
    let fits = !password.is_empty() && password.len() <= 256 && !password.contains(['\n', '\0']);
    if fits {
        Ok(password.to_owned())
    } else {
        Err("`--password-file` needs one line with the password".to_owned())
    }
}

impl StaticNetwork {
    fn parse(address: &str, gateway: Option<&String>) -> Result<StaticNetwork, String> {
        let wrong =
            || format!("'{address}' is not an address with a prefix length, such as 192.0.2.25/24");
        let (ip, prefix) = address.split_once('/').ok_or_else(wrong)?;
        let ip: IpAddr = ip.parse().map_err(|_| wrong())?;
        let most = if ip.is_ipv4() { 32 } else { 128 };
        let prefix = prefix
            .parse()
            .ok()
            .filter(|length: &u8| (1..=most).contains(length));
        let gateway = gateway.map(|text| {
            text.parse()
                .map_err(|_| format!("'{text}' is not the address of a gateway"))
        });
        Ok(StaticNetwork {
            address: ip,
            prefix: prefix.ok_or_else(wrong)?,
            gateway: gateway.transpose()?,
        })
    }
}

fn interfaces(network: Option<&StaticNetwork>) -> String {
    let begin = "auto lo\niface lo inet loopback\n\nauto eth0\n";
    let Some(network) = network else {
        return format!("{begin}iface eth0 inet dhcp\niface eth0 inet6 auto\n");
    };
    let family = if network.address.is_ipv4() {
        "inet"
    } else {
        "inet6"
    };
    let mut text = format!(
        "{begin}iface eth0 {family} static\n    address {}/{}\n",
        network.address, network.prefix
    );
    if let Some(gateway) = network.gateway {
        text += &format!("    gateway {gateway}\n");
    }
    text
}

fn create(matches: &ArgMatches) -> Result<String, Unfilled> {
    let wanted = GuestImageArguments::of(matches)?;
    if !rustix::process::geteuid().is_root() {
        return Err("building a system requires root: run the command with sudo"
            .to_owned()
            .into());
    }
    let mut needs = vec![("qemu-nbd", "qemu-utils"), ("mke2fs", "e2fsprogs")];
    needs.extend(grub::NEEDS);
    if find("mmdebstrap").is_none() {
        needs.push(("debootstrap", "debootstrap"));
    }
    need(&needs)?;
    let mut draft = GuestDraft {
        name: wanted.name.clone(),
        memory_mib: 2048,
        cpus: 2,
        disks: vec![(wanted.name.clone(), SIZE)],
        nics: vec![NetworkCard {
            addresses: wanted
                .network
                .iter()
                .map(|network| network.address)
                .collect(),
            ..NetworkCard::default()
        }],
        ..GuestDraft::default()
    };
    let place = find_place(matches, &mut draft)?;
    place.is_there()?;
    let (Some(volume), Some(size)) = (place.volumes.first(), place.sizes.first().copied()) else {
        return Err(format!("guest '{}' has no disk", wanted.name).into());
    };
    if size < 2 << 30 {
        return Err(format!("volume '{volume}' is smaller than 2 GiB: Debian does not fit").into());
    }
    let runner = Runner::new()?;
    let shop = Workshop::new(matches.get_one::<PathBuf>("work").map(PathBuf::as_path))?;
    shop.has_room(ROOM)?;
    shop.with_own_mounts()?;
    let disk = build(&wanted, size, &shop, &runner)?;
    if !matches.get_flag("no-test-boot") {
        let limit = matches.get_one::<u64>("boot-limit").copied().unwrap_or(600);
        say("test boot, until its terminal has a login prompt");
        let trial = Trial {
            name: &wanted.name,
            disks: std::slice::from_ref(&disk),
            memory_mib: 1024,
            bus: Bus::Virtio,
            firmware: Firmware::Bios,
            limit: Duration::from_secs(limit),
        };
        let took = trial.run(&shop, &runner)?;
        say(&format!("login prompt after {} s", took.as_secs()));
    }
    drop(runner);
    let source = TransferSource::open(&disk.to_string_lossy()).map_err(Stopped::from)?;
    let words = format!("Debian {}", wanted.suite);
    let summary = fill(
        matches,
        volume,
        OverwriteKind::GuestCreate,
        &words,
        source,
        matches.get_flag("yes"),
    )?;
    Ok(format!(
        "created {words} on volume {volume}: {summary}\n{}",
        place.after
    ))
}

fn say(words: &str) {
    // Ignores an error: without a reader the build continues.
    let _ = writeln!(stderr(), "{words}");
}

fn build(
    wanted: &GuestImageArguments,
    size: u64,
    shop: &Workshop,
    runner: &Runner,
) -> Result<PathBuf, Stopped> {
    let tree = shop.directory("tree")?;
    let Mirrors { mirror, security } = Mirrors::of(wanted.mirror.as_deref(), runner)?;
    say(&format!("packages of {} from {mirror}", wanted.suite));
    packages(wanted, &mirror, &tree, runner)?;
    say("configuration and GRUB");
    let uuid =
        fs::read_to_string("/proc/sys/kernel/random/uuid").map_err(|error| error.to_string())?;
    let uuid = uuid.trim();
    let inside = Inside::open(&tree)?;
    configure(wanted, &inside, &mirror, &security, uuid)?;
    if let Some(password) = &wanted.password {
        set_password(&tree, password)?;
    }
    grub::copy_modules(&inside, "/boot/grub")?;
    let disk = shop.path().join("disk.raw");
    let file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&disk);
    let file = file.map_err(|error| format!("{}: {error}", disk.display()))?;
    let io = |error: std::io::Error| format!("{}: {error}", disk.display());
    file.set_len(size).map_err(io)?;
    let partition = Partition {
        begin: FIRST_BYTES,
        size: (size - FIRST_BYTES) / 4096 * 4096,
        is_swap: false,
    };
    let table = boot::table(&[partition]).map_err(|error| error.to_string())?;
    file.write_all_at(&table, 0).map_err(io)?;
    say("file system");
    let mut make = program("mke2fs");
    make.args(["-q", "-F", "-t", "ext4", "-U", uuid, "-E"]);
    make.arg(format!("offset={FIRST_BYTES},nodiscard"))
        .arg("-d")
        .arg(&tree)
        .arg(&disk);
    make.arg(format!("{}k", partition.size >> 10));
    runner.run(&mut make)?;
    let home = grub::Home {
        uuid,
        system: "ext4",
        directory: "/boot/grub",
    };
    grub::embed(runner, shop.path(), &file, &home, FIRST_BYTES)?;
    Ok(disk)
}

fn packages(
    wanted: &GuestImageArguments,
    mirror: &str,
    tree: &Path,
    runner: &Runner,
) -> Result<(), Stopped> {
    let include = format!("--include={PACKAGES}");
    let mut command = match find("mmdebstrap") {
        Some(_) => {
            let mut command = program("mmdebstrap");
            command
                .args([
                    "--variant=important",
                    "--mode=root",
                    &include,
                    &wanted.suite,
                ])
                .arg(tree)
                .arg(mirror);
            command
        }
        None => {
            let mut command = program("debootstrap");
            command
                .args(["--arch=amd64", &include, &wanted.suite])
                .arg(tree)
                .arg(mirror);
            command
        }
    };
    // Shows the lines that both programs print before each phase, debootstrap for each package.
    let phase = |line: &str| line.strip_prefix("I: ").map(str::to_owned);
    runner.shown(&mut command, phase).map(|_| ())
}

fn configure(
    wanted: &GuestImageArguments,
    inside: &Inside,
    mirror: &str,
    security: &str,
    uuid: &str,
) -> Result<(), String> {
    let name = &wanted.name;
    let short = name.split('.').next().unwrap_or(name);
    inside.write("/etc/hostname", format!("{name}\n").as_bytes())?;
    let hosts =
        format!("127.0.0.1 localhost\n127.0.1.1 {name} {short}\n::1 localhost ip6-localhost\n");
    inside.write("/etc/hosts", hosts.as_bytes())?;
    let fstab = format!("UUID={uuid} / ext4 errors=remount-ro 0 1\n");
    inside.write("/etc/fstab", fstab.as_bytes())?;
    inside.write(
        "/etc/network/interfaces",
        interfaces(wanted.network.as_ref()).as_bytes(),
    )?;
    inside.write(
        "/etc/apt/sources.list",
        debian::sources(&wanted.suite, mirror, security).as_bytes(),
    )?;
    // Removes the sources that mmdebstrap writes on its own.
    for file in inside.names("/etc/apt/sources.list.d") {
        inside.remove(&format!("/etc/apt/sources.list.d/{file}"))?;
    }
    // Empties the machine ID, so that each guest generates its own ID at its first start.
    inside.write("/etc/machine-id", b"")?;
    if let Some(keys) = &wanted.keys {
        inside.directory("root/.ssh")?;
        inside.write_as("root/.ssh/authorized_keys", keys.as_bytes(), 0o600)?;
    }
    let only_keys = "PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\n";
    inside.write("/etc/ssh/sshd_config.d/evenkeel.conf", only_keys.as_bytes())?;
    let grub = inside.text("/etc/default/grub").unwrap_or_default();
    inside.write("/etc/default/grub", default_grub(&grub, APPEND).as_bytes())?;
    inside.directory("/boot/grub")?;
    let files = inside.names("/boot");
    let kernels = files
        .iter()
        .filter_map(|file| file.strip_prefix("vmlinuz-"));
    let mut kernels: Vec<&str> = kernels.collect();
    kernels.sort_by_key(|version| version_key(version));
    let kernel = kernels
        .pop()
        .ok_or("the packages have installed no kernel in /boot")?;
    let menu = GrubEntry {
        title: format!("Debian {}", wanted.suite),
        kernel: format!("/boot/vmlinuz-{kernel}"),
        initrd: Some(format!("/boot/initrd.img-{kernel}")),
        root: uuid.to_owned(),
        append: APPEND.to_owned(),
    };
    inside.write("/boot/grub/grub.cfg", menu.text().as_bytes())
}

/// Sets the password of root in a directory tree without exposing it on a command line.
fn set_password(tree: &Path, password: &str) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("chpasswd: {error}");
    // Runs the guest's program: PAM of the host would load modules of another release.
    let mut command = program("chroot");
    command
        .arg(tree)
        .arg("/usr/sbin/chpasswd")
        .stdin(std::process::Stdio::piped());
    let mut child = command.spawn().map_err(failed)?;
    let input = child.stdin.take();
    let written = input.map(|mut input| input.write_all(format!("root:{password}\n").as_bytes()));
    // Waits also after an error, so that no program in the image is left running.
    let status = child.wait().map_err(failed)?;
    written.transpose().map_err(failed)?;
    if status.success() {
        Ok(())
    } else {
        Err("chpasswd could not set the password".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_network_is_dhcp_or_a_fixed_address() {
        assert!(interfaces(None).contains("iface eth0 inet dhcp"));
        let gateway = "192.0.2.1".to_owned();
        let network = StaticNetwork::parse("192.0.2.25/24", Some(&gateway)).unwrap();
        let text = interfaces(Some(&network));
        assert!(
            text.ends_with("inet static\n    address 192.0.2.25/24\n    gateway 192.0.2.1\n"),
            "{text}"
        );
        let six = StaticNetwork::parse("2001:db8::25/64", None).unwrap();
        assert!(interfaces(Some(&six)).contains("inet6 static"));
        for wrong in ["192.0.2.25", "192.0.2.25/33", "x/24", "192.0.2.25/0"] {
            assert!(StaticNetwork::parse(wrong, None).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_password_is_one_line() {
        assert_eq!(password("secret\n").as_deref(), Ok("secret"));
        assert!(password("a\nb\n").is_err() && password("\n").is_err());
    }
}
