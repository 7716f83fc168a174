//! Fills the root directory of an image: installs the packages, writes the settings of a machine
//! that boots over the network, and sets the times of the files.

use super::{BootImageArguments, KEYRING};
use ::image::system::version_key;
use command::build::debian::{self, Mirrors};
use command::build::inside::Inside;
use command::build::run::{Runner, program};
use command::stopped::Stopped;
use std::os::unix::fs::symlink;
use std::path::Path;

const PACKAGES: &str =
    "linux-image-amd64,initramfs-tools,nbd-client,systemd-resolved,ca-certificates";
/// Hook that mmdebstrap runs before it installs the kernel, which creates the initial RAM disk: it
/// selects network drivers and these modules, and no disk drivers.
const FOR_INITRD: &str = "at=\"$1/usr/share/initramfs-tools\" && mkdir -p \"$at/modules.d\" \"$at/conf.d\" && \
    printf 'nbd\\naoe\\noverlay\\n' >\"$at/modules.d/evenkeel\" && echo MODULES=netboot >\"$at/conf.d/evenkeel\"";
/// Network settings: the address from the initial RAM disk is kept, since the root is accessed
/// through it.
const NETWORK: &str = "[Match]\nName=eth*\n\n[Network]\nDHCP=ipv4\nKeepConfiguration=yes\n";
/// Drop-in of the SSH service: each machine generates its own host keys before OpenSSH starts,
/// since OpenSSH refuses to start without any.
const SSH: &str = "[Service]\nExecStartPre=\nExecStartPre=/usr/bin/ssh-keygen -A\nExecStartPre=/usr/sbin/sshd -t\n";

pub(super) fn unpack(
    wanted: &BootImageArguments,
    mirrors: &Mirrors,
    tree: &Path,
    epoch: u64,
    runner: &Runner,
) -> Result<(), Stopped> {
    let mut include = PACKAGES.to_owned();
    let ssh = wanted.keys.iter().map(|_| "openssh-server");
    for package in ssh.chain(wanted.include.iter().map(String::as_str)) {
        include.push(',');
        include.push_str(package);
    }
    let mut command = program("mmdebstrap");
    command
        .env("SOURCE_DATE_EPOCH", epoch.to_string())
        .args(["--variant=important", "--mode=root"])
        .arg(format!("--include={include}"))
        .arg(format!("--essential-hook={FOR_INITRD}"))
        .arg(&wanted.suite)
        .arg(tree);
    let sources = debian::sources(&wanted.suite, &mirrors.mirror, &mirrors.security);
    let signed = format!("deb [signed-by={KEYRING}] ");
    command.args(
        sources
            .lines()
            .map(|line| line.replacen("deb ", &signed, 1)),
    );
    // Shows the lines that mmdebstrap prints before each phase.
    let phase = |line: &str| line.strip_prefix("I: ").map(str::to_owned);
    runner.shown(&mut command, phase).map(|_| ())
}

pub(super) fn configure(
    wanted: &BootImageArguments,
    mirrors: &Mirrors,
    inside: &Inside,
) -> Result<(), String> {
    inside.write("/etc/hostname", b"debian\n")?;
    let hosts = "127.0.0.1 localhost\n127.0.1.1 debian\n::1 localhost ip6-localhost\n";
    inside.write("/etc/hosts", hosts.as_bytes())?;
    inside.write("/etc/fstab", b"# the kernel has mounted the root\n")?;
    inside.directory("/etc/network")?;
    inside.write(
        "/etc/network/interfaces",
        b"auto lo\niface lo inet loopback\n",
    )?;
    inside.directory("/etc/systemd/network")?;
    inside.write(
        "/etc/systemd/network/20-evenkeel.network",
        NETWORK.as_bytes(),
    )?;
    inside.remove("/etc/resolv.conf")?;
    let link = inside.path().join("etc/resolv.conf");
    symlink("../run/systemd/resolve/stub-resolv.conf", &link)
        .map_err(|error| format!("{}: {error}", link.display()))?;
    let sources = debian::sources(&wanted.suite, &mirrors.mirror, &mirrors.security);
    inside.write("/etc/apt/sources.list", sources.as_bytes())?;
    // Removes other lists of sources: mmdebstrap writes files of its own as well.
    for file in inside.names("/etc/apt/sources.list.d") {
        inside.remove(&format!("/etc/apt/sources.list.d/{file}"))?;
    }
    // Leaves the machine ID empty: each machine generates its own ID at its start.
    inside.write("/etc/machine-id", b"")?;
    for name in inside.names("/etc/ssh") {
        if name.starts_with("ssh_host_") {
            inside.remove(&format!("/etc/ssh/{name}"))?;
        }
    }
    let Some(keys) = &wanted.keys else {
        return Ok(());
    };
    inside.directory("root/.ssh")?;
    inside.write_as("root/.ssh/authorized_keys", keys.as_bytes(), 0o600)?;
    let only_keys = "PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\n";
    inside.write("/etc/ssh/sshd_config.d/evenkeel.conf", only_keys.as_bytes())?;
    inside.directory("/etc/systemd/system/ssh.service.d")?;
    inside.write(
        "/etc/systemd/system/ssh.service.d/evenkeel.conf",
        SSH.as_bytes(),
    )
}

pub(super) fn enable(tree: &Path, runner: &Runner) -> Result<(), Stopped> {
    let mut enable = program("chroot");
    enable
        .arg(tree)
        .args(["systemctl", "enable", "systemd-networkd"]);
    runner.run(&mut enable).map(|_| ())
}

pub(super) fn kernel(inside: &Inside) -> Result<String, String> {
    let files = inside.names("/boot");
    let kernels = files
        .iter()
        .filter_map(|file| file.strip_prefix("vmlinuz-"));
    let newest = kernels.max_by_key(|version| version_key(version));
    newest
        .map(str::to_owned)
        .ok_or_else(|| "the packages have brought no kernel into /boot".to_owned())
}

pub(super) fn age(tree: &Path, epoch: u64, runner: &Runner) -> Result<(), Stopped> {
    let mut find = program("find");
    find.arg(tree)
        .arg("-xdev")
        .args(["-newermt", &format!("@{epoch}")]);
    find.args(["-exec", "touch", "--no-dereference"]);
    find.arg(format!("--date=@{epoch}")).args(["{}", "+"]);
    runner.run(&mut find).map(|_| ())
}
