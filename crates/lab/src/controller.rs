//! Runs a simulated management controller of a machine (BMC): OpenIPMI's `ipmi_sim`, with the power
//! state of the machine in a file.

use namespace::{LabError, LabProcess, Location, ScratchDirectory, eventually};
use std::fs;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const PASSWORD: &str = "secret";
/// Maximum time until the controller listens.
const BEGIN_MAX: Duration = Duration::from_secs(120);

/// Process of a simulated controller, which is killed when this value is dropped.
#[derive(Debug)]
pub struct Controller {
    _process: LabProcess,
    scratch: ScratchDirectory,
    address: SocketAddr,
}

impl Controller {
    /// User that may power the machine off.
    pub const USER: &str = "admin";

    /// Starts a controller at this address (UDP). The machine is on.
    pub fn start(place: impl Into<Location>, address: SocketAddr) -> Result<Controller, LabError> {
        let scratch = ScratchDirectory::new()?;
        let path = |name: &str| scratch.path().join(name);
        let (power, offs, chassis) = (path("power"), path("offs"), path("chassis"));
        let script = format!(
            "#!/bin/sh\nshift\nverb=$1\nshift\ncase $verb in\n\
             get) for one; do case $one in\npower) echo \"power:$(cat {power})\";;\n\
             *) echo \"$one:0\";;\nesac; done;;\n\
             set) while [ $# -gt 1 ]; do\n[ $1 = power ] && echo $2 >{power} && [ $2 = 0 ] && echo off >>{offs}\n\
             shift 2\ndone;;\nesac\n",
            power = power.display(),
            offs = offs.display(),
        );
        write(&chassis, &script, 0o755)?;
        write(&power, "1\n", 0o600)?;
        write(&path("password"), PASSWORD, 0o600)?;
        write(&path("wrong"), "another", 0o600)?;
        write(&path("lan.conf"), &lan(address, &chassis), 0o600)?;
        let commands = "mc_setbmc 0x20\nmc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02 \
                        persist_sdr\nmc_enable 0x20\n";
        write(&path("commands"), commands, 0o600)?;
        let state = path("state");
        fs::create_dir(&state).map_err(LabError::io("create", state.display()))?;
        let mut command = Command::new("ipmi_sim");
        command.arg("-n").arg("-c").arg(path("lan.conf"));
        command.arg("-f").arg(path("commands"));
        command.arg("-s").arg(state);
        let place = place.into();
        let process = place.spawn(command)?;
        // Checks that the address cannot be bound, which means that the controller listens.
        let listens = || place.enter(|| UdpSocket::bind(address).is_err());
        if eventually(BEGIN_MAX, listens) {
            Ok(Controller {
                _process: process,
                scratch,
                address,
            })
        } else {
            Err(LabError::io("start", "ipmi_sim")(io::Error::other(
                "it does not listen",
            )))
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the file with the password of [`Controller::USER`].
    pub fn password(&self) -> PathBuf {
        self.scratch.path().join("password")
    }

    /// Returns a file with a wrong password.
    pub fn wrong_password(&self) -> PathBuf {
        self.scratch.path().join("wrong")
    }

    /// Returns whether the machine is on.
    pub fn is_on(&self) -> bool {
        fs::read_to_string(self.scratch.path().join("power")).is_ok_and(|power| power == "1\n")
    }

    /// Presses the power button of the machine.
    pub fn switch_on(&self) -> Result<(), LabError> {
        write(&self.scratch.path().join("power"), "1\n", 0o600)
    }

    /// Returns how often the controller received the order to power the machine off.
    pub fn power_off_count(&self) -> usize {
        let offs = fs::read_to_string(self.scratch.path().join("offs"));
        offs.unwrap_or_default().lines().count()
    }
}

fn lan(address: SocketAddr, chassis: &Path) -> String {
    let auth = "none md2 md5 straight";
    let levels = ["callback", "user", "operator", "admin"];
    let allowed = levels.map(|level| format!("allowed_auths_{level} {auth}\n"));
    format!(
        "name \"sim\"\nset_working_mc 0x20\nstartlan 1\naddr {} {}\npriv_limit admin\n{}guid \
         a123456789abcdefa123456789abcdef\nendlan\nchassis_control \"{} 0x20\"\nuser 2 true \"{}\" \"{PASSWORD}\" \
         admin 10 {auth}\n",
        address.ip(),
        address.port(),
        allowed.concat(),
        chassis.display(),
        Controller::USER,
    )
}

fn write(path: &Path, text: &str, mode: u32) -> Result<(), LabError> {
    fs::write(path, text)
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(mode)))
        .map_err(LabError::io("write", path.display()))
}
