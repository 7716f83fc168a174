//! Runs machines without a disk that boot from the network: QEMU with real firmware, at a bridge of
//! a host of the lab.

use namespace::{Lab, LabError, LabHost, LabProcess, ScratchDirectory, Switch, eventually};
use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Maximum time for a machine to boot: its processor is emulated, and other tests run at the same
/// time.
pub const BOOT_MAX: Duration = Duration::from_secs(240);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Firmware {
    /// BIOS, whose network card has iPXE.
    Bios,
    /// UEFI, whose network card has iPXE.
    UefiCard,
    /// UEFI that boots with PXE over IPv4.
    Uefi,
    /// UEFI that boots with HTTP over IPv4.
    UefiHttp,
    /// UEFI that boots with PXE over IPv6.
    Uefi6,
    /// UEFI that boots with HTTP over IPv6, because it gets no IPv4 address.
    UefiHttp6,
    Secure,
}

/// Machine without a disk: a host of the lab with a bridge between the switch and QEMU's network
/// card.
#[derive(Debug)]
pub struct Diskless {
    host: LabHost,
    scratch: ScratchDirectory,
    boots: Cell<u32>,
}

impl Diskless {
    /// Creates a machine at a switch.
    pub fn new(lab: &Lab, switch: &Switch, name: &str) -> Result<Diskless, LabError> {
        let host = lab.host(name)?;
        let card = switch.attach(&host)?;
        let ip = |words: &[&str]| host.ip(words).map(drop);
        ip(&["link", "add", "br0", "type", "bridge"])?;
        ip(&["tuntap", "add", "tap0", "mode", "tap"])?;
        for one in [card.name(), "tap0"] {
            ip(&["link", "set", one, "master", "br0", "up"])?;
        }
        ip(&["link", "set", "br0", "up"])?;
        Ok(Diskless {
            host,
            scratch: ScratchDirectory::new()?,
            boots: Cell::new(0),
        })
    }

    pub fn host(&self) -> &LabHost {
        &self.host
    }

    /// Switches the machine on. QEMU ends when the machine would reboot.
    pub fn boot(&self, mac: &str, firmware: Firmware) -> Result<Booting, LabError> {
        let memory_mib = if firmware == Firmware::Bios { 256 } else { 512 };
        self.boot_with(mac, firmware, memory_mib)
    }

    /// Switches the machine on with this amount of memory.
    pub fn boot_with(
        &self,
        mac: &str,
        firmware: Firmware,
        memory_mib: u32,
    ) -> Result<Booting, LabError> {
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
            // Sets the UUID by which iPXE identifies itself over IPv6.
            .args(["-uuid", "4c4c4544-0035-5110-8033-b7c04f4e4a32"])
            .args(["-serial", &format!("file:{}", output.display())])
            .args(["-netdev", "tap,id=net,ifname=tap0,script=no,downscript=no"]);
        let card = format!("virtio-net-pci,netdev=net,mac={mac}");
        match firmware {
            Firmware::Bios | Firmware::UefiCard => command.args(["-device", &card]),
            // Removes the card's own iPXE, so that the firmware loads the boot file.
            _ => command.args(["-device", &format!("{card},romfile=")]),
        };
        command.args(["-m", &memory_mib.to_string()]);
        self.uefi(&mut command, firmware)?;
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Ok(Booting {
            process: self.host.spawn(command)?,
            output,
        })
    }

    fn uefi(&self, command: &mut Command, firmware: Firmware) -> Result<(), LabError> {
        let (code, variables) = match firmware {
            Firmware::Bios => return Ok(()),
            Firmware::Secure => ("OVMF_CODE_4M.secboot.fd", "OVMF_VARS_4M.ms.fd"),
            _ => ("OVMF_CODE.fd", "OVMF_VARS.fd"),
        };
        let directory = Path::new("/usr/share/OVMF");
        let own = self.scratch.path().join(variables);
        fs::copy(directory.join(variables), &own).map_err(LabError::io("copy", own.display()))?;
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
        Ok(())
    }
}

/// QEMU process of a machine that was switched on. Dropping it switches the machine off.
#[derive(Debug)]
pub struct Booting {
    process: LabProcess,
    output: PathBuf,
}

impl Booting {
    /// Returns the output of the machine's console so far.
    pub fn console_output(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.output).unwrap_or_default()).into_owned()
    }

    /// Waits until the first process of the booted kernel prints the kernel's command line, and
    /// returns that. Returns None if QEMU ended before, or after `at_most`.
    pub fn booted(&self, at_most: Duration) -> Option<String> {
        let line = || {
            let said = self.console_output();
            let (_, after) = said.split_once("booted: ")?;
            // Waits for the end of the line, which may be incomplete.
            Some(after.split_once('\n')?.0.trim_end().to_owned())
        };
        let has_ended = || line().is_some() || self.process.exit().is_some();
        eventually(at_most, has_ended).then(line).flatten()
    }

    /// Waits until the machine has booted a kernel with these words on its command line.
    ///
    /// # Panics
    /// The machine ended or took too long, or the command line lacks the words.
    #[track_caller]
    pub fn boots(&self, words: &str) {
        let line = self.booted(BOOT_MAX);
        assert!(
            line.is_some_and(|line| line.contains(words)),
            "no `{words}`: {}",
            self.console_output()
        );
    }
}
