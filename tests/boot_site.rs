//! Where machines boot from the network: a host of the lab that is a machine without a disk, as QEMU
//! at a bridge, and a node with a `boot` section.

use crate::guest::Image;
use crate::program::binary;
use lab::{Host, Lab, Process, Scratch, Switch, eventually};
use std::cell::Cell;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// How long a machine may take to boot: its processor is emulated, beside other tests.
pub const PATIENCE: Duration = Duration::from_secs(240);
/// The card of the machine that most scenarios boot.
pub const MAC: &str = "52:54:00:00:00:07";

/// The firmware of a machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Firmware {
    /// BIOS, whose card has iPXE.
    Bios,
    /// UEFI, which loads by PXE.
    Uefi,
    /// UEFI, which loads by HTTP.
    UefiHttp,
    /// UEFI, which loads by PXE over IPv6.
    Uefi6,
    /// UEFI, which loads by HTTP over IPv6, since it gets no address of IPv4.
    UefiHttp6,
    /// UEFI with Secure Boot.
    Secure,
}

/// What machines boot.
pub fn image() -> Option<Image> {
    Image::with(include_bytes!("boot-init.sh"), &["busybox"], &[])
}

/// A machine without a disk.
pub struct Diskless {
    host: Host,
    scratch: Scratch,
    /// How often it was switched on.
    boots: Cell<u32>,
}

impl Diskless {
    /// A machine at a switch.
    pub fn new(lab: &Lab, switch: &Switch, name: &str) -> Diskless {
        let host = lab.host(name).unwrap();
        let card = switch.attach(&host).unwrap();
        let ip = |words: &[&str]| drop(host.ip(words).unwrap());
        ip(&["link", "add", "br0", "type", "bridge"]);
        ip(&["tuntap", "add", "tap0", "mode", "tap"]);
        for one in [card.name(), "tap0"] {
            ip(&["link", "set", one, "master", "br0", "up"]);
        }
        ip(&["link", "set", "br0", "up"]);
        Diskless {
            host,
            scratch: Scratch::new().unwrap(),
            boots: Cell::new(0),
        }
    }

    /// Where it is.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Switches it on. It ends where it would start again.
    pub fn boot(&self, mac: &str, firmware: Firmware) -> Booting {
        let memory_mib = if firmware == Firmware::Bios { 256 } else { 512 };
        self.boot_with(mac, firmware, memory_mib)
    }

    /// The same, with so much memory.
    pub fn boot_with(&self, mac: &str, firmware: Firmware, memory_mib: u32) -> Booting {
        self.boots.set(self.boots.get() + 1);
        let output = format!("console-{}", self.boots.get());
        let output = self.scratch.path().join(output);
        let mut command = Command::new("qemu-system-x86_64");
        command
            .args([
                "-nodefaults",
                "-no-user-config",
                "-no-reboot",
                "-display",
                "none",
            ])
            .args(["-accel", "tcg", "-boot", "n"])
            // Over IPv6, iPXE names itself by it.
            .args(["-uuid", "4c4c4544-0035-5110-8033-b7c04f4e4a32"])
            .args(["-serial", &format!("file:{}", output.display())])
            .args(["-netdev", "tap,id=net,ifname=tap0,script=no,downscript=no"]);
        let card = format!("virtio-net-pci,netdev=net,mac={mac}");
        match firmware {
            Firmware::Bios => command.args(["-device", &card]),
            // Without the card's own iPXE it is the firmware that loads.
            _ => command.args(["-device", &format!("{card},romfile=")]),
        };
        command.args(["-m", &memory_mib.to_string()]);
        self.uefi(&mut command, firmware);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Booting {
            process: self.host.spawn(command).unwrap(),
            output,
        }
    }

    fn uefi(&self, command: &mut Command, firmware: Firmware) {
        let (code, variables) = match firmware {
            Firmware::Bios => return,
            Firmware::Secure => ("OVMF_CODE_4M.secboot.fd", "OVMF_VARS_4M.ms.fd"),
            _ => ("OVMF_CODE.fd", "OVMF_VARS.fd"),
        };
        let directory = Path::new("/usr/share/OVMF");
        let own = self.scratch.path().join(variables);
        fs::copy(directory.join(variables), &own).unwrap();
        let code = directory.join(code);
        let flash =
            |file: &Path, more: &str| format!("if=pflash,format=raw,file={}{more}", file.display());
        command
            .args(["-drive", &flash(&code, ",readonly=on")])
            .args(["-drive", &flash(&own, "")]);
        let without: &[&str] = match firmware {
            Firmware::UefiHttp | Firmware::UefiHttp6 => &["IPv4", "IPv6"],
            Firmware::Uefi6 => &["IPv4"],
            _ => &[],
        };
        for version in without {
            let name = format!("name=opt/org.tianocore/{version}PXESupport,string=n");
            command.args(["-fw_cfg", &name]);
        }
        if firmware == Firmware::Secure {
            command
                .args(["-machine", "q35,smm=on", "-global", "ICH9-LPC.disable_s3=1"])
                .args(["-global", "driver=cfi.pflash01,property=secure,value=on"]);
        }
    }
}

/// A machine that was switched on. Dropped, it is switched off.
pub struct Booting {
    process: Process,
    output: PathBuf,
}

impl Booting {
    /// What it printed.
    pub fn said(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.output).unwrap_or_default()).into_owned()
    }

    /// Waits until it has booted a kernel with these words on its command line.
    #[track_caller]
    pub fn boots(&self, words: &str) {
        // Its last line may not be whole.
        let is_whole = |said: String| {
            { said.split_once("booted: ") }.is_some_and(|(_, line)| line.contains('\n'))
        };
        let booted = || is_whole(self.said()) || self.process.exit().is_some();
        assert!(eventually(PATIENCE, booted), "{}", self.said());
        let said = self.said();
        let line = said.lines().find_map(|line| line.split_once("booted: "));
        assert!(
            line.is_some_and(|(_, line)| line.contains(words)),
            "no `{words}`: {said}"
        );
    }
}

/// A single node with a `boot` section, and a machine.
pub struct BootSite {
    node: Process,
    pub at: Host,
    pub machine: Diskless,
    pub image: Image,
    scratch: Scratch,
    pub lan: Switch,
    pub lab: Lab,
}

impl BootSite {
    /// A node whose section has these lines besides its interface. None where QEMU or a kernel is not
    /// installed.
    pub fn new(name: &str, lines: &str) -> Option<BootSite> {
        BootSite::with(name, "", lines)
    }

    /// As [`BootSite::new`], with other sections before it.
    pub fn with(name: &str, before: &str, lines: &str) -> Option<BootSite> {
        let image = image()?;
        let lab = Lab::new(name).unwrap();
        let lan = lab.switch("lan").unwrap();
        let at = lab.host("node").unwrap();
        let card = lan.attach(&at).unwrap();
        card.address("10.20.0.2/24").unwrap();
        card.address("fd00:20::2/64").unwrap();
        let machine = Diskless::new(&lab, &lan, "diskless");
        let scratch = Scratch::new().unwrap();
        let text = before.to_owned() + &BootSite::text(&scratch, &image, card.name(), lines);
        scratch.write("boot.cfg", text).unwrap();
        let node = BootSite::start(&at, &scratch);
        let site = BootSite {
            node,
            at,
            machine,
            image,
            scratch,
            lan,
            lab,
        };
        site.shows(": answers");
        Some(site)
    }

    fn text(scratch: &Scratch, image: &Image, interface: &str, lines: &str) -> String {
        let boots = format!(
            "kernel {} initrd {} append console=ttyS0 quiet panic=-1",
            image.kernel().display(),
            image.initrd().display()
        );
        let lines = lines.replace("{boots}", &boots);
        let leases = scratch.path().join("leases");
        format!(
            "boot lan\n\tinterface {interface}\n\tleases {}\n{lines}\n",
            leases.display()
        )
    }

    fn start(at: &Host, scratch: &Scratch) -> Process {
        let mut command = Command::new(binary());
        command
            .args(["run", "-f"])
            .arg(scratch.path().join("boot.cfg"))
            .env("EVENKEEL_RUNTIME_DIRECTORY", scratch.path());
        let output = File::create(scratch.path().join("said")).unwrap();
        command
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output);
        at.spawn(command).unwrap()
    }

    /// The node serves other lines.
    #[track_caller]
    pub fn reload(&self, interface: &str, lines: &str) {
        let text = BootSite::text(&self.scratch, &self.image, interface, lines);
        self.scratch.write("boot.cfg", text).unwrap();
        self.command(&["reload"]);
    }

    /// The role ends, and another one follows.
    pub fn kill_role(&self) {
        let roles = self.node.tree();
        let title = |pid: &rustix::process::Pid| {
            let path = format!("/proc/{}/cmdline", pid.as_raw_nonzero());
            fs::read_to_string(path)
                .unwrap_or_default()
                .contains("evenkeel: boot")
        };
        let role = roles.into_iter().find(title).expect("a boot role");
        rustix::process::kill_process(role, rustix::process::Signal::KILL).unwrap();
    }

    /// Runs a command of the node, and returns what it prints.
    #[track_caller]
    pub fn command(&self, words: &[&str]) -> String {
        let mut command = Command::new(binary());
        command
            .args(words)
            .env("EVENKEEL_RUNTIME_DIRECTORY", self.scratch.path());
        self.at.run(command).unwrap()
    }

    /// Runs a command that fails, and returns why.
    #[track_caller]
    pub fn fails(&self, words: &[&str]) -> String {
        let mut command = Command::new(binary());
        command
            .args(words)
            .env("EVENKEEL_RUNTIME_DIRECTORY", self.scratch.path());
        self.at.run(command).unwrap_err().to_string()
    }

    /// Waits until `evenkeel boot show` says this.
    #[track_caller]
    pub fn shows(&self, words: &str) {
        let shown = || {
            let mut command = Command::new(binary());
            command
                .args(["boot", "show"])
                .env("EVENKEEL_RUNTIME_DIRECTORY", self.scratch.path());
            self.at.run(command).unwrap_or_default()
        };
        let came = eventually(PATIENCE, || shown().contains(words));
        let said = fs::read_to_string(self.scratch.path().join("said")).unwrap_or_default();
        assert!(came, "no `{words}`: {}\n{said}", shown());
    }

    /// What a machine asked and was answered.
    #[track_caller]
    pub fn why(&self, machine: &str) -> String {
        self.command(&["boot", "why", machine])
    }
}
