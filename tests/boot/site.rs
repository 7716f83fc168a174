//! Sets up the scenarios in which machines boot: a diskless machine in QEMU at a bridge of a lab
//! host, and a node with a `boot` section.

use crate::program::binary;
use lab::{
    BOOT_MAX, Diskless, Image, Lab, LabHost, LabProcess, ScratchDirectory, Switch, eventually,
};
use std::fs::{self, File};
use std::process::{Command, Stdio};

/// MAC address of the machine that most scenarios boot.
pub const MAC: &str = "52:54:00:00:00:07";

pub fn image() -> Option<Image> {
    Image::with(include_bytes!("boot-init.sh"), &["busybox"], &[])
}

/// A single node with a `boot` section, and a machine.
pub struct BootSite {
    node: LabProcess,
    pub at: LabHost,
    pub machine: Diskless,
    pub image: Image,
    scratch: ScratchDirectory,
    pub lan: Switch,
    pub lab: Lab,
}

impl BootSite {
    /// Creates a node whose section has these lines besides its interface. None where QEMU or a
    /// kernel is not installed.
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
        let machine = Diskless::new(&lab, &lan, "diskless").unwrap();
        let scratch = ScratchDirectory::new().unwrap();
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

    fn text(scratch: &ScratchDirectory, image: &Image, interface: &str, lines: &str) -> String {
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

    fn start(at: &LabHost, scratch: &ScratchDirectory) -> LabProcess {
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

    /// Reloads the node with these lines in its section.
    #[track_caller]
    pub fn reload(&self, interface: &str, lines: &str) {
        let text = BootSite::text(&self.scratch, &self.image, interface, lines);
        self.scratch.write("boot.cfg", text).unwrap();
        self.command(&["reload"]);
    }

    /// Kills the boot role, which the supervisor then restarts.
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

    /// Runs a command that fails, and returns its error.
    #[track_caller]
    pub fn fails(&self, words: &[&str]) -> String {
        let mut command = Command::new(binary());
        command
            .args(words)
            .env("EVENKEEL_RUNTIME_DIRECTORY", self.scratch.path());
        self.at.run(command).unwrap_err().to_string()
    }

    /// Waits until `evenkeel boot show` prints this.
    #[track_caller]
    pub fn shows(&self, words: &str) {
        let shown = || {
            let mut command = Command::new(binary());
            command
                .args(["boot", "show"])
                .env("EVENKEEL_RUNTIME_DIRECTORY", self.scratch.path());
            self.at.run(command).unwrap_or_default()
        };
        let came = eventually(BOOT_MAX, || shown().contains(words));
        let said = fs::read_to_string(self.scratch.path().join("said")).unwrap_or_default();
        assert!(came, "no `{words}`: {}\n{said}", shown());
    }

    /// Returns the requests of a machine and the replies to them.
    #[track_caller]
    pub fn why(&self, machine: &str) -> String {
        self.command(&["boot", "why", machine])
    }
}
