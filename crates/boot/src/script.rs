//! Generates the scripts of boot loaders (iPXE, GRUB) by which a machine boots its image, shows the
//! menu, enlists itself or boots its own disk. No I/O.
//!
//! iPXE splits a line at spaces and has no quotes; GRUB has those of a shell.

use crate::assignment::BootTarget;
use crate::config::{Image, LanConfig};
use crate::mac::Mac;
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

const MENU_MS: u32 = 30_000;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FetchServers {
    /// Addresses of the nodes: first the one to which the machine sent its request, then the
    /// others.
    pub addresses: Vec<IpAddr>,
    pub port: u16,
    pub disks: Option<IpAddr>,
}

/// Timeout of a fetch without progress, after which the machine tries another node, milliseconds. A
/// node that has lost power does not close its connections, and iPXE would wait for its bytes
/// forever.
const STALL_MS: u32 = 5_000;

const INITIATORS: &str = "iqn.2026-01.org.evenkeel:machine";

impl FetchServers {
    fn base(&self, server: IpAddr) -> String {
        format!("http://{}", SocketAddr::from((server, self.port)))
    }

    /// Returns the address by which the machine uses its disks; an IPv6 address in brackets.
    fn address(&self) -> String {
        match self.disks.unwrap_or(Ipv4Addr::UNSPECIFIED.into()) {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => format!("[{address}]"),
        }
    }

    fn first(&self) -> String {
        let first = self.addresses.first().copied();
        self.base(first.unwrap_or(Ipv4Addr::UNSPECIFIED.into()))
    }
}

pub fn name(mac: Mac) -> String {
    format!("boot/{}.ipxe", mac.dashed())
}

pub fn file(mac: Mac, image: &str, file: &str) -> String {
    format!("boot/{}/{image}/{file}", mac.dashed())
}

struct Script(String);

impl Script {
    fn ipxe() -> Script {
        Script("#!ipxe\n".to_owned())
    }

    fn line(&mut self, line: &str) {
        // Ignores the result: writing to memory cannot fail.
        let _ = writeln!(self.0, "{line}");
    }

    /// Appends the commands after a failure: the script tries the other nodes at once, and after a
    /// pause of 5 seconds any node, because nobody attends to the machine.
    fn again(mut self, mac: Mac, servers: &FetchServers) -> Vec<u8> {
        let (own, others) = match servers.addresses.split_first() {
            Some((own, others)) => (Some(own), others),
            None => (None, [].as_slice()),
        };
        let go_to = |script: &mut Script, server: &IpAddr| {
            let url = format!("{}/{}", servers.base(*server), name(mac));
            script.line(&format!("chain --timeout {STALL_MS} --replace {url} ||"));
        };
        self.line(":failed");
        if !others.is_empty() {
            // The variable outlives the script: if all nodes have failed, the machine pauses.
            self.line("isset ${retried} && goto pause ||");
            self.line("set retried yes");
            self.line("echo This failed. The other node is tried.");
            others.iter().for_each(|other| go_to(&mut self, other));
            self.line(":pause");
            self.line("clear retried");
        }
        self.line("echo This failed. It is tried again in 5 seconds; press Ctrl-B for a shell.");
        self.line("prompt --key 0x02 --timeout 5000 && shell ||");
        others
            .iter()
            .chain(own)
            .for_each(|server| go_to(&mut self, server));
        self.line("goto failed");
        self.0.into_bytes()
    }
}

pub fn ipxe(
    lan: &LanConfig,
    section: &str,
    assigned: BootTarget<'_>,
    mac: Mac,
    servers: &FetchServers,
) -> Vec<u8> {
    match assigned {
        BootTarget::Image(name, image) => of_image(lan, name, image, mac, servers),
        BootTarget::Menu => menu(lan, section, mac, servers),
        BootTarget::Enlist => enlist(section, mac, servers),
        BootTarget::Nothing(why) => disk(why),
    }
}

fn disk(why: &str) -> Vec<u8> {
    let mut script = Script::ipxe();
    script.line(&format!("echo Boots its disk: {why}"));
    script.line("exit");
    script.0.into_bytes()
}

pub fn of_image(
    lan: &LanConfig,
    name: &str,
    image: &Image,
    mac: Mac,
    servers: &FetchServers,
) -> Vec<u8> {
    let base = servers.first();
    let url = |part: &str| format!("{base}/{}", file(mac, name, part));
    let mut script = Script::ipxe();
    match image {
        Image::Disk => return disk("its image is its disk"),
        Image::Aoe { .. } | Image::Iscsi { .. } => {
            match uri(lan, image, servers) {
                Some(uri) => {
                    script.line(&format!("echo Boots image {name} from {uri}"));
                    // The target identifies the machine by its address; the initiator name is for
                    // operators.
                    script.line(&format!("set initiator-iqn {INITIATORS}.{}", mac.dashed()));
                    script.line(&format!("sanboot {uri} || goto failed"));
                }
                // Fails, and so tries again later, if the image has no such disk. No valid
                // configuration is like that, but a role may have such a state for a moment.
                None => script.line("goto failed"),
            }
        }
        Image::Kernel { initrd, .. } => {
            script.line(&format!("echo Boots image {name} from {base}"));
            let initrds: Vec<String> = (0..initrd.len()).map(|at| format!("initrd{at}")).collect();
            let mut words: Vec<String> =
                initrds.iter().map(|one| format!("initrd={one}")).collect();
            words.extend(kernel_words(lan, image, servers));
            let words = words.join(" ");
            let kernel = format!("kernel --timeout {STALL_MS} {} {words}", url("kernel"));
            script.line(&format!("{} || goto failed", kernel.trim_end()));
            for one in &initrds {
                let from = url(one);
                script.line(&format!(
                    "initrd --timeout {STALL_MS} --name {one} {from} || goto failed"
                ));
            }
            script.line("boot || goto failed");
        }
        Image::Program { bios, uefi } => {
            script.line(&format!("echo Boots image {name} from {base}"));
            script.line("iseq ${platform} efi && goto uefi ||");
            let line = |file: bool, part: &str| {
                if file {
                    format!("chain --timeout {STALL_MS} {} || goto failed", url(part))
                } else {
                    format!("echo Image {name} has no file for this firmware && goto failed")
                }
            };
            script.line(&line(bios.is_some(), "bios"));
            script.line("exit");
            script.line(":uefi");
            script.line(&line(uefi.is_some(), "uefi"));
            script.line("exit");
        }
    }
    script.again(mac, servers)
}

/// Returns the SAN URI of an image's disk. None: there is no such disk.
fn uri(lan: &LanConfig, image: &Image, servers: &FetchServers) -> Option<String> {
    let disk = lan.disks.get(image.disk()?)?;
    match image {
        Image::Aoe { .. } => Some(format!("aoe:{}", disk.target?)),
        Image::Iscsi { .. } => {
            let (address, port) = (servers.address(), lan.ports.iscsi);
            Some(format!(
                "iscsi:{address}::{port}:0:{}",
                disk.iscsi.as_ref()?
            ))
        }
        _ => None,
    }
}

/// Returns the kernel command line: the words for a root by NBD, unless they are configured, and
/// the configured words.
fn kernel_words(lan: &LanConfig, image: &Image, servers: &FetchServers) -> Vec<String> {
    let Image::Kernel { append, nbd, .. } = image else {
        return Vec::new();
    };
    let said = |key: &str| append.split_whitespace().any(|word| word.starts_with(key));
    let root = nbd.as_ref().map(|disk| {
        [
            ("root=", "root=/dev/nbd0".to_owned()),
            (
                "nbdroot=",
                format!("nbdroot={}:{}/{disk}", servers.address(), lan.ports.nbd),
            ),
            ("ip=", "ip=dhcp".to_owned()),
        ]
    });
    let words = root.into_iter().flatten();
    words
        .filter(|(key, _)| !said(key))
        .map(|(_, word)| word)
        .chain(Some(append.clone()).filter(|append| !append.is_empty()))
        .collect()
}

fn menu(lan: &LanConfig, section: &str, mac: Mac, servers: &FetchServers) -> Vec<u8> {
    let mut script = Script::ipxe();
    script.line(":menu");
    script.line(&format!("menu Network {section}: machine {mac}"));
    script.line("item --key d disk Disk of this machine");
    for name in lan.images.keys() {
        script.line(&format!("item image-{name} {name}"));
    }
    script.line("item --gap");
    script.line("item shell Shell of iPXE");
    script.line(&format!(
        "choose --timeout {MENU_MS} --default disk selected && goto ${{selected}} || goto disk"
    ));
    script.line(":disk");
    script.line("exit");
    script.line(":shell");
    script.line("shell");
    script.line("goto menu");
    let base = servers.first();
    for name in lan.images.keys() {
        script.line(&format!(":image-{name}"));
        let url = format!("{base}/boot/{}/{name}.ipxe", mac.dashed());
        script.line(&format!(
            "chain --timeout {STALL_MS} --replace {url} || goto failed"
        ));
    }
    script.again(mac, servers)
}

fn enlist(section: &str, mac: Mac, servers: &FetchServers) -> Vec<u8> {
    let mut script = Script::ipxe();
    let base = servers.first();
    script.line(&format!(
        "echo This machine is new in network {section}: {mac}"
    ));
    script.line("echo It waits for a `machine` line in the configuration; `evenkeel boot enlist` shows one.");
    let [of_ipxe @ .., _, _, _, _, _] = &FACTS;
    let mut query: Vec<String> = of_ipxe
        .iter()
        .map(|fact| format!("{fact}=${{{fact}:uristring}}"))
        .collect();
    query.push("memory=${memsize}".to_owned());
    query.push("card=${net0/chip:uristring}".to_owned());
    let url = format!("{base}/enlist/{}.ipxe?{}", mac.dashed(), query.join("&"));
    script.line(&format!(
        "chain --timeout {STALL_MS} --replace {url} || goto failed"
    ));
    script.again(mac, servers)
}

/// Names of the facts that a new machine may report about itself. The first seven are settings of
/// iPXE; iPXE also reports `memory` and `card`. The last three are for a script in an image.
pub const FACTS: [&str; 12] = [
    "manufacturer",
    "product",
    "serial",
    "uuid",
    "platform",
    "buildarch",
    "asset",
    "memory",
    "card",
    "cpu",
    "cpus",
    "disks",
];

/// Returns the iPXE script of a machine that has reported its facts.
pub fn enlisted(mac: Mac, servers: &FetchServers) -> Vec<u8> {
    let mut script = Script::ipxe();
    script.line("echo Waiting. It is looked up again every 10 seconds; press Ctrl-B for a shell.");
    script.line("prompt --key 0x02 --timeout 10000 && shell ||");
    script.line(&format!(
        "chain --timeout {STALL_MS} --replace {}/{} || goto failed",
        servers.first(),
        name(mac)
    ));
    script.again(mac, servers)
}

/// Returns the GRUB configuration that loads the script of the running machine.
pub fn grub_start() -> Vec<u8> {
    b"configfile /boot/${net_default_mac}.grub\n".to_vec()
}

fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

pub fn grub(
    lan: &LanConfig,
    section: &str,
    assigned: BootTarget<'_>,
    mac: Mac,
    servers: &FetchServers,
) -> Vec<u8> {
    let entry = |script: &mut Script, name: &str, image: &Image| {
        let words = kernel_words(lan, image, servers).join(" ");
        entry(script, name, image, &words, mac);
    };
    let mut script = Script(String::new());
    match assigned {
        BootTarget::Image(name, image) => {
            script.line("set timeout=0");
            entry(&mut script, name, image);
        }
        BootTarget::Menu => {
            script.line(&format!("set timeout={}", MENU_MS / 1000));
            script.line("menuentry 'Disk of this machine' { exit }");
            for (name, image) in &lan.images {
                entry(&mut script, name, image);
            }
        }
        BootTarget::Enlist => {
            let told =
                format!("Machine {mac} is new in network {section}; it waits for a machine line.");
            script.line(&format!("echo {}", quoted(&told)));
            script.line("sleep 10");
            script.line(&format!("configfile /boot/{mac}.grub"));
        }
        BootTarget::Nothing(_) => script.line("exit"),
    }
    script.0.into_bytes()
}

fn sorry(script: &mut Script, told: &str) {
    script.line(&format!("  echo {}", quoted(told)));
    script.line("  sleep 10");
}

fn entry(script: &mut Script, name: &str, image: &Image, words: &str, mac: Mac) {
    let path = |part: &str| format!("/{}", file(mac, name, part));
    script.line(&format!("menuentry {} {{", quoted(name)));
    match image {
        Image::Disk => script.line("  exit"),
        Image::Kernel { initrd, .. } => {
            let words: Vec<String> = words.split_whitespace().map(quoted).collect();
            script.line(format!("  linux {} {}", path("kernel"), words.join(" ")).trim_end());
            if !initrd.is_empty() {
                let all: Vec<String> = (0..initrd.len())
                    .map(|at| path(&format!("initrd{at}")))
                    .collect();
                script.line(&format!("  initrd {}", all.join(" ")));
            }
        }
        Image::Program { uefi: Some(_), .. } => {
            script.line(&format!("  chainloader {}", path("uefi")))
        }
        Image::Program { uefi: None, .. } => {
            sorry(script, &format!("Image {name} has no file for UEFI"));
        }
        Image::Aoe { .. } | Image::Iscsi { .. } => {
            let told = format!("Image {name} is a disk over the network, which GRUB cannot boot");
            sorry(script, &told);
        }
    }
    script.line("}");
}

#[cfg(test)]
mod tests;
