//! Measures the time of a machine from power-on to its kernel: the real firmware and boot loaders,
//! with dnsmasq and nginx configured by hand, or with Evenkeel.

use super::hand::{HTTP_PORT, Hand};
use super::site::output;
use crate::comparison::Error;
use lab::{
    BOOT_MAX, Diskless, Firmware, Image, Lab, LabHost, LabProcess, ScratchDirectory, Switch,
};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

const MAC: &str = "52:54:00:00:00:07";

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Kind {
    pub firmware: Firmware,
    /// Proxy DHCP: another server assigns the addresses.
    pub is_proxy: bool,
}

/// A network with servers, and a machine.
struct FirmwareNetwork {
    // Declared before the hosts, so that the processes in them are dropped first.
    programs: Vec<LabProcess>,
    machine: Diskless,
    scratch: ScratchDirectory,
    /// Files of the other DHCP server.
    beside: ScratchDirectory,
    _hosts: Vec<LabHost>,
    _lan: Switch,
    _lab: Lab,
}

/// Boots a machine; returns the time from power-on to its first process.
pub fn measure(kind: Kind, evenkeel: Option<&Path>) -> Result<Duration, Error> {
    let init = include_bytes!("../../../tests/boot/boot-init.sh");
    let image = Image::with(init, &["busybox"], &[]);
    let image = image.ok_or(Error::Missing(lab::Missing::Program("qemu-system-x86_64")))?;
    let scene = FirmwareNetwork::start(kind, evenkeel, &image)?;
    let began = Instant::now();
    let booting = scene.machine.boot(MAC, kind.firmware)?;
    match booting.booted(BOOT_MAX) {
        Some(_) => Ok(began.elapsed()),
        None => Err(Error::NotReady {
            label: evenkeel.map_or("by hand".to_owned(), |path| path.display().to_string()),
            waited_for: "the machine boots",
            said: booting.console_output() + &scene.said(),
        }),
    }
}

impl FirmwareNetwork {
    fn start(kind: Kind, evenkeel: Option<&Path>, image: &Image) -> Result<FirmwareNetwork, Error> {
        let lab = Lab::new("firmware")?;
        let lan = lab.switch("lan")?;
        let machine = Diskless::new(&lab, &lan, "diskless")?;
        let (server, router) = (lab.host("server")?, lab.host("router")?);
        lan.attach(&server)?.address("10.20.0.2/24")?;
        lan.attach(&router)?.address("10.20.0.1/24")?;
        let mut scene = FirmwareNetwork {
            programs: Vec::new(),
            machine,
            scratch: ScratchDirectory::new()?,
            beside: ScratchDirectory::new()?,
            _hosts: Vec::new(),
            _lan: lan,
            _lab: lab,
        };
        if kind.is_proxy {
            let lines = "interface=eth0\nno-ping\ndhcp-authoritative\n\
                         dhcp-range=10.20.0.50,10.20.0.60,1h\n";
            let command = Hand::dnsmasq(&scene.beside, lines)?;
            scene.spawn(&router, command, "router")?;
            scene.wait("dnsmasq starts", || {
                scene.beside.path().join("dnsmasq.pid").exists()
            })?;
        }
        match evenkeel {
            Some(program) => scene.evenkeel(&server, program, kind, image)?,
            None => scene.by_hand(&server, kind, image)?,
        }
        scene._hosts = vec![server, router];
        Ok(scene)
    }

    fn spawn(&mut self, host: &LabHost, mut command: Command, name: &str) -> Result<(), Error> {
        output(&mut command, &self.scratch.path().join(name))?;
        self.programs.push(host.spawn(command)?);
        Ok(())
    }

    fn wait(&self, what: &'static str, is_done: impl FnMut() -> bool) -> Result<(), Error> {
        if lab::eventually(BOOT_MAX, is_done) {
            Ok(())
        } else {
            Err(Error::NotReady {
                label: "a server".to_owned(),
                waited_for: what,
                said: self.said(),
            })
        }
    }

    fn said(&self) -> String {
        let read = |name| fs::read(self.scratch.path().join(name)).unwrap_or_default();
        ["router", "dnsmasq", "nginx", "evenkeel"]
            .map(|name| String::from_utf8_lossy(&read(name)).into_owned())
            .concat()
    }

    fn evenkeel(
        &mut self,
        server: &LabHost,
        program: &Path,
        kind: Kind,
        image: &Image,
    ) -> Result<(), Error> {
        let (addresses, own) = if kind.is_proxy {
            (" proxy\n", "")
        } else {
            (" range 10.20.0.100 10.20.0.199\n", " address 10.20.0.107")
        };
        let path = self.scratch.path();
        let text = format!(
            "boot lan\n interface eth0\n leases {}\n{addresses} image rescue kernel {} initrd {} \
             append console=ttyS0 quiet panic=-1\n machine node7 mac {MAC}{own} image rescue\n",
            path.join("leases").display(),
            image.kernel().display(),
            image.initrd().display(),
        );
        let file = self.scratch.write("boot.cfg", text)?;
        let runtime = self.scratch.path().to_owned();
        let mut command = Command::new(program);
        command.args(["run", "-f"]).arg(file);
        command.env("EVENKEEL_RUNTIME_DIRECTORY", &runtime);
        self.spawn(server, command, "evenkeel")?;
        let answers = || {
            let mut command = Command::new(program);
            command.args(["boot", "show"]);
            command.env("EVENKEEL_RUNTIME_DIRECTORY", &runtime);
            server
                .run(command)
                .is_ok_and(|shown| shown.contains(": answers"))
        };
        self.wait("evenkeel answers", answers)
    }

    /// Starts the servers as the manuals of iPXE and dnsmasq describe.
    fn by_hand(&mut self, server: &LabHost, kind: Kind, image: &Image) -> Result<(), Error> {
        let base = format!("http://10.20.0.2:{HTTP_PORT}");
        let addresses = if kind.is_proxy {
            format!(
                "dhcp-range=10.20.0.0,proxy\npxe-service=tag:!ipxe,x86PC,\"iPXE\",undionly.kpxe\n\
                 pxe-service=tag:ipxe,x86PC,\"iPXE\",{base}/boot.ipxe\n"
            )
        } else {
            format!(
                "dhcp-range=10.20.0.100,10.20.0.199,1h\ndhcp-host={MAC},10.20.0.107\n\
                 dhcp-authoritative\ndhcp-boot=tag:bios,tag:!ipxe,undionly.kpxe\n\
                 dhcp-boot=tag:uefi,tag:!ipxe,snponly.efi\n\
                 dhcp-boot=tag:web,tag:!ipxe,{base}/snponly.efi\n\
                 dhcp-option-force=tag:web,60,HTTPClient\n"
            )
        };
        let lines = format!(
            "interface=eth0\nno-ping\ndhcp-match=set:ipxe,175\n\
             dhcp-match=set:bios,option:client-arch,0\n\
             dhcp-match=set:uefi,option:client-arch,7\ndhcp-match=set:uefi,option:client-arch,9\n\
             dhcp-match=set:web,option:client-arch,16\n{addresses}\
             dhcp-boot=tag:ipxe,{base}/boot.ipxe\n"
        );
        let nginx = Hand::http(&self.scratch)?;
        let www = self.scratch.path().join("www");
        let copy = |from: &Path, name: &str| {
            let path = www.join(name);
            let copied = fs::copy(from, &path).map(drop);
            copied.map_err(|source| Error::File {
                doing: "creating",
                path,
                source,
            })
        };
        copy(image.kernel(), "kernel")?;
        copy(&image.initrd(), "initrd")?;
        copy(Path::new("/usr/lib/ipxe/snponly.efi"), "snponly.efi")?;
        let script = format!(
            "#!ipxe\nkernel {base}/kernel initrd=initrd console=ttyS0 quiet panic=-1\n\
             initrd {base}/initrd\nboot\n"
        );
        self.scratch.write("www/boot.ipxe", script)?;
        let dnsmasq = Hand::dnsmasq(&self.scratch, &lines)?;
        self.spawn(server, nginx, "nginx")?;
        self.spawn(server, dnsmasq, "dnsmasq")?;
        let is_there = |name: &str| self.scratch.path().join(name).exists();
        self.wait("dnsmasq and nginx start", || {
            is_there("nginx.pid") && is_there("dnsmasq.pid")
        })
    }
}

impl Drop for FirmwareNetwork {
    fn drop(&mut self) {
        for program in &self.programs {
            program.kill_tree();
        }
    }
}
