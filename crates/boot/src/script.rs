//! Scripts of boot loaders: what a machine runs to boot what is assigned to it.
//!
//! iPXE splits a line at spaces and knows no quotes; GRUB has those of a shell.

use crate::assignment::Assigned;
use crate::config::{Image, Lan};
use crate::mac::Mac;
use std::fmt::Write;
use std::net::Ipv4Addr;

/// How long a menu waits, milliseconds.
const MENU_MS: u32 = 30_000;

/// Where a machine fetches from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Servers {
    /// The address of the node that the machine asked, and those of the others.
    pub addresses: Vec<Ipv4Addr>,
    /// The port of HTTP.
    pub port: u16,
}

impl Servers {
    fn base(&self, server: Ipv4Addr) -> String {
        format!("http://{server}:{}", self.port)
    }

    fn first(&self) -> String {
        self.base(
            self.addresses
                .first()
                .copied()
                .unwrap_or(Ipv4Addr::UNSPECIFIED),
        )
    }
}

/// The name of the script of a machine.
pub fn name(mac: Mac) -> String {
    format!("boot/{}.ipxe", mac.dashed())
}

/// The name of a file of an image, for a machine.
pub fn file(mac: Mac, image: &str, file: &str) -> String {
    format!("boot/{}/{image}/{file}", mac.dashed())
}

struct Script(String);

impl Script {
    fn ipxe() -> Script {
        Script("#!ipxe\n".to_owned())
    }

    fn line(&mut self, line: &str) {
        // Memory is written without errors.
        let _ = writeln!(self.0, "{line}");
    }

    /// Goes on at another node, and from there here again: nobody stands before such a machine.
    fn again(mut self, mac: Mac, servers: &Servers) -> Vec<u8> {
        self.line(":failed");
        self.line("echo This failed. It is tried again in 5 seconds; press Ctrl-B for a shell.");
        self.line("prompt --key 0x02 --timeout 5000 && shell ||");
        for server in servers
            .addresses
            .iter()
            .skip(1)
            .chain(servers.addresses.first())
        {
            let base = servers.base(*server);
            self.line(&format!("chain --replace {base}/{} ||", name(mac)));
        }
        self.line("goto failed");
        self.0.into_bytes()
    }
}

/// The script of iPXE for a machine.
pub fn ipxe(
    lan: &Lan,
    section: &str,
    assigned: Assigned<'_>,
    mac: Mac,
    servers: &Servers,
) -> Vec<u8> {
    match assigned {
        Assigned::Image(name, image) => of_image(lan, name, image, mac, servers),
        Assigned::Menu => menu(lan, section, mac, servers),
        Assigned::Enlist => enlist(section, mac, servers),
        Assigned::Nothing(why) => disk(why),
    }
}

fn disk(why: &str) -> Vec<u8> {
    let mut script = Script::ipxe();
    script.line(&format!("echo Boots its disk: {why}"));
    script.line("exit");
    script.0.into_bytes()
}

/// The script of iPXE for an image.
pub fn of_image(lan: &Lan, name: &str, image: &Image, mac: Mac, servers: &Servers) -> Vec<u8> {
    let base = servers.first();
    let url = |part: &str| format!("{base}/{}", file(mac, name, part));
    let mut script = Script::ipxe();
    match image {
        Image::Disk => return disk("its image is its disk"),
        Image::Aoe { disk } => match lan.disks.get(disk) {
            Some(disk) => {
                script.line(&format!("echo Boots image {name} from aoe:{}", disk.target));
                script.line(&format!("sanboot aoe:{} || goto failed", disk.target));
            }
            // No valid file has this; a role may have it for a moment.
            None => script.line("goto failed"),
        },
        Image::Kernel { initrd, append, .. } => {
            script.line(&format!("echo Boots image {name} from {base}"));
            let initrds: Vec<String> = (0..initrd.len()).map(|at| format!("initrd{at}")).collect();
            let mut words: Vec<String> =
                initrds.iter().map(|one| format!("initrd={one}")).collect();
            words.push(append.clone());
            words.retain(|word| !word.is_empty());
            let kernel = format!("kernel {} {}", url("kernel"), words.join(" "));
            script.line(&format!("{} || goto failed", kernel.trim_end()));
            for one in &initrds {
                script.line(&format!("initrd --name {one} {} || goto failed", url(one)));
            }
            script.line("boot || goto failed");
        }
        Image::Program { bios, uefi } => {
            script.line(&format!("echo Boots image {name} from {base}"));
            script.line("iseq ${platform} efi && goto uefi ||");
            let line = |file: bool, part: &str| match file {
                true => format!("chain {} || goto failed", url(part)),
                false => format!("echo Image {name} has no file for this firmware && goto failed"),
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

fn menu(lan: &Lan, section: &str, mac: Mac, servers: &Servers) -> Vec<u8> {
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
        script.line(&format!("chain --replace {url} || goto failed"));
    }
    script.again(mac, servers)
}

fn enlist(section: &str, mac: Mac, servers: &Servers) -> Vec<u8> {
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
    script.line(&format!("chain --replace {url} || goto failed"));
    script.again(mac, servers)
}

/// What a new machine may say of itself. The first ones are settings of iPXE; the last three are for a
/// script in an image.
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

/// The script of iPXE for a machine that has said what it is.
pub fn enlisted(mac: Mac, servers: &Servers) -> Vec<u8> {
    let mut script = Script::ipxe();
    script.line("echo Waiting. It is looked up again every 10 seconds; press Ctrl-B for a shell.");
    script.line("prompt --key 0x02 --timeout 10000 && shell ||");
    script.line(&format!(
        "chain --replace {}/{} || goto failed",
        servers.first(),
        name(mac)
    ));
    script.again(mac, servers)
}

/// What leads GRUB to the script of the machine that it runs on.
pub fn grub_start() -> Vec<u8> {
    b"configfile /boot/${net_default_mac}.grub\n".to_vec()
}

fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// The script of GRUB for a machine.
pub fn grub(lan: &Lan, section: &str, assigned: Assigned<'_>, mac: Mac) -> Vec<u8> {
    let mut script = Script(String::new());
    match assigned {
        Assigned::Image(name, image) => {
            script.line("set timeout=0");
            entry(&mut script, name, image, mac);
        }
        Assigned::Menu => {
            script.line(&format!("set timeout={}", MENU_MS / 1000));
            script.line("menuentry 'Disk of this machine' { exit }");
            for (name, image) in &lan.images {
                entry(&mut script, name, image, mac);
            }
        }
        Assigned::Enlist => {
            let told =
                format!("Machine {mac} is new in network {section}; it waits for a machine line.");
            script.line(&format!("echo {}", quoted(&told)));
            script.line("sleep 10");
            script.line(&format!("configfile /boot/{mac}.grub"));
        }
        Assigned::Nothing(_) => script.line("exit"),
    }
    script.0.into_bytes()
}

/// Shows for a while why an entry of a menu boots nothing.
fn sorry(script: &mut Script, told: &str) {
    script.line(&format!("  echo {}", quoted(told)));
    script.line("  sleep 10");
}

fn entry(script: &mut Script, name: &str, image: &Image, mac: Mac) {
    let path = |part: &str| format!("/{}", file(mac, name, part));
    script.line(&format!("menuentry {} {{", quoted(name)));
    match image {
        Image::Disk => script.line("  exit"),
        Image::Kernel { initrd, append, .. } => {
            let words: Vec<String> = append.split_whitespace().map(quoted).collect();
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
        Image::Aoe { .. } => {
            let told = format!("Image {name} is a disk over the network, which GRUB cannot boot");
            sorry(script, &told);
        }
    }
    script.line("}");
}
