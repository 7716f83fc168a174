//! Boots an imported system as a test: starts QEMU with the arguments that the guest will have, on
//! snapshots of its disks, and with an isolated network. The test watches the serial terminal until
//! it shows a login prompt or a known failure, or the time limit expires.

use super::server::{Image, Server};
use crate::cli::confine;
use command::build::run::{Runner, program};
use command::build::workshop::Workshop;
use command::stopped::Stopped;
use guest::config::{Bus, Disk, Firmware, Guest};
use guest::qemu::command::{StartParameters, arguments, ovmf};
use guest::qemu::home::{GuestDirectory, Lock};
use guest::qemu::host::{has_kvm, program as program_path};
use guest::qemu::process::{ProcessRights, QemuProcess};
use guest::qemu::user::QemuUser;
use guest::qemu::volume::Sockets;
use part::role::{VOLUME_SOCKET, volume_directory};
use serde_json::json;
use std::ffi::OsString;
use std::fs;
use std::io::{Write, stderr};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const LOOK_EVERY: Duration = Duration::from_millis(100);
const TELL_EVERY: Duration = Duration::from_secs(20);
const END_BYTES: usize = 4096;
const LINES_SHOWN: usize = 15;
/// Texts on the terminal that show a failed boot.
const FAILURES: [&str; 8] = [
    "Kernel panic",
    "No bootable device",
    "grub rescue>",
    "(initramfs)",
    "emergency mode",
    "dracut:/#",
    "error: no such device",
    "Give root password for maintenance",
];

pub struct Trial<'a> {
    pub name: &'a str,
    /// Disks of the guest: raw files.
    pub disks: &'a [PathBuf],
    pub memory_mib: u64,
    pub bus: Bus,
    pub firmware: Firmware,
    pub limit: Duration,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum TerminalState {
    Login,
    Failure(&'static str),
    Nothing,
}

fn examine_terminal(text: &str) -> TerminalState {
    let last = text.lines().rev().find(|line| !line.trim().is_empty());
    if last.is_some_and(|line| line.trim_end().ends_with("login:")) {
        return TerminalState::Login;
    }
    let failure = FAILURES.iter().find(|words| text.contains(*words));
    failure.map_or(TerminalState::Nothing, |words| {
        TerminalState::Failure(words)
    })
}

impl Trial<'_> {
    /// Boots the guest. Returns the time until the prompt.
    ///
    /// # Errors
    /// Fails with the last lines of the terminal if the boot does not succeed.
    pub fn run(&self, shop: &Workshop, runner: &Runner) -> Result<Duration, Stopped> {
        let begun = Instant::now();
        let (servers, volumes) = self.serve(shop, runner)?;
        let home = GuestDirectory::new(shop.path(), "trial");
        let process = self.start(&home, &volumes)?;
        let done = self.watch(&home, &process, runner, begun);
        process.kill();
        while !process.has_ended() {
            std::thread::sleep(LOOK_EVERY);
        }
        home.remove();
        drop(servers);
        done.map(|()| begun.elapsed())
    }

    /// Serves a snapshot of each disk at the path where QEMU looks for volumes.
    fn serve(&self, shop: &Workshop, runner: &Runner) -> Result<(Vec<Server>, PathBuf), Stopped> {
        let volumes = shop.directory("volumes")?;
        let mut servers = Vec::new();
        for (index, disk) in self.disks.iter().enumerate() {
            let export = volume(index);
            let home = GuestDirectory::new(shop.path(), &export);
            home.make().map_err(|error| error.to_string())?;
            let overlay = home.path().join("snapshot.qcow2");
            let mut make = program("qemu-img");
            make.args(["create", "-q", "-f", "qcow2", "-F", "raw", "-b"])
                .arg(disk)
                .arg(&overlay);
            runner.run(&mut make)?;
            let below = super::server::file(disk)?;
            let image = Image {
                node: json!({
                    "driver": "qcow2", "discard": "unmap", "file": super::server::file(&overlay)?,
                    "backing": {"driver": "raw", "file": below},
                }),
                files: vec![disk.clone()],
                writes: true,
            };
            let server = Server::start(shop, &export, &image)?;
            let directory = volume_directory(&volumes, &export);
            fs::create_dir(&directory)
                .and_then(|()| symlink(server.socket(), directory.join(VOLUME_SOCKET)))
                .map_err(|error| format!("{}: {error}", directory.display()))?;
            servers.push(server);
        }
        Ok((servers, volumes))
    }

    fn guest(&self) -> Guest {
        let disks = (0..self.disks.len()).map(|index| Disk {
            volume: volume(index),
            read_only: false,
            bus: self.bus,
            external: None,
        });
        Guest {
            disks: disks.collect(),
            firmware: self.firmware,
            ..Guest::plain(self.memory_mib.max(16) << 20)
        }
    }

    fn start(&self, home: &GuestDirectory, volumes: &Path) -> Result<QemuProcess, Stopped> {
        let io = |error: std::io::Error| format!("the test boot cannot start: {error}");
        home.make().map_err(io)?;
        let Lock::Free(lock) = home.lock().map_err(io)? else {
            return Err("the test boot is already running".to_owned().into());
        };
        let mut files = Vec::new();
        if self.firmware == Firmware::Uefi {
            let [code, variables] =
                ovmf().ok_or("OVMF is not installed: apt-get install ovmf".to_owned())?;
            fs::copy(variables, home.variables()).map_err(io)?;
            files.push(code);
        }
        let guest = self.guest();
        let sockets = Sockets::open(&guest, volumes).map_err(|error| error.to_string())?;
        let program = program_path();
        let user = QemuUser::of_guest(home).map_err(io)?;
        home.make_own(user).map_err(io)?;
        let start = StartParameters {
            name: self.name,
            guest: &guest,
            home,
            volumes: &sockets,
            user: user.map(|user| user.option(&program)),
            taps: &[],
            has_kvm: has_kvm(),
            arrives: false,
        };
        let mut arguments = arguments(&start);
        // Removes `-S`, with which the guest would wait for an order that never comes.
        arguments.retain(|one| one != "-S");
        // Adds an isolated network interface, since systems wait for one.
        let card = [
            "-netdev",
            "user,id=trial,restrict=on",
            "-device",
            "virtio-net-pci,netdev=trial,romfile=",
        ];
        arguments.extend(card.map(OsString::from));
        let files: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
        let rights = ProcessRights {
            files: confine(home.path(), &files).map_err(io)?,
            changes_user: user.is_some(),
            has_network: false,
            file_bytes_max: None,
            group: None,
        };
        let kept: Vec<_> = sockets.into_descriptors().collect();
        let process = QemuProcess::start(&program, arguments, home, &lock, &kept, rights);
        Ok(process.map_err(io)?)
    }

    fn watch(
        &self,
        home: &GuestDirectory,
        process: &QemuProcess,
        runner: &Runner,
        begun: Instant,
    ) -> Result<(), Stopped> {
        let mut told = begun;
        loop {
            let text = fs::read(home.log()).unwrap_or_default();
            let end =
                String::from_utf8_lossy(&text[text.len().saturating_sub(END_BYTES)..]).into_owned();
            match examine_terminal(&end) {
                TerminalState::Login => return Ok(()),
                TerminalState::Failure(words) => {
                    return Err(failed(&format!("\"{words}\""), &end).into());
                }
                TerminalState::Nothing => {}
            }
            if process.has_ended() {
                let words = fs::read_to_string(home.words()).unwrap_or_default();
                return Err(failed(&format!("QEMU ended: {}", words.trim()), &end).into());
            }
            if begun.elapsed() >= self.limit {
                let words = format!("no login prompt within {} s", self.limit.as_secs());
                return Err(failed(&words, &end).into());
            }
            if let Some(signal) = runner.signal() {
                return Err(Stopped::By(signal));
            }
            if told.elapsed() >= TELL_EVERY {
                told = Instant::now();
                let line = last_lines(&end, 1);
                // Ignores an error: without a reader the boot continues.
                let _ = writeln!(stderr(), "  {} s:{line}", begun.elapsed().as_secs());
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }
}

fn volume(index: usize) -> String {
    format!("disk{index}")
}

fn failed(why: &str, terminal: &str) -> String {
    let lines = last_lines(terminal, LINES_SHOWN);
    format!(
        "the test boot failed: {why}. The end of its serial terminal:{lines}\nThe volume was not touched"
    )
}

const LINE_MAX: usize = 160;

fn last_lines(text: &str, count: usize) -> String {
    let plain = plain(text);
    let lines = plain.lines().map(str::trim).filter(|line| !line.is_empty());
    let lines: Vec<&str> = lines.collect();
    let from = lines.len().saturating_sub(count);
    let separator = if count == 1 { " " } else { "\n  " };
    let short = |line: &&str| line.chars().take(LINE_MAX).collect::<String>();
    lines[from..]
        .iter()
        .map(|line| format!("{separator}{}", short(line)))
        .collect()
}

/// Returns the text of terminal output without control sequences (ECMA-48, section 5.4) and other
/// control characters.
fn plain(text: &str) -> String {
    let mut plain = String::new();
    let mut signs = text.chars();
    while let Some(sign) = signs.next() {
        match sign {
            '\x1b' => pass_sequence(&mut signs),
            '\r' | '\n' => plain.push('\n'),
            sign if !sign.is_control() => plain.push(sign),
            _ => {}
        }
    }
    plain
}

fn pass_sequence(signs: &mut std::str::Chars<'_>) {
    if signs.next() == Some('[') {
        // Skips the rest of the sequence, up to its final byte.
        signs.find(|sign| ('@'..='~').contains(sign));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_is_seen_at_the_end_and_a_failure_anywhere() {
        for (text, seen) in [
            (
                "Debian GNU/Linux 12 mail ttyS0\r\n\r\nmail login: ",
                TerminalState::Login,
            ),
            ("mail login: \r\n\r\n", TerminalState::Login),
            ("mail login: root\r\nPassword: ", TerminalState::Nothing),
            ("Starting login: service\nok", TerminalState::Nothing),
            (
                "x\n[ 1.2] Kernel panic - not syncing: VFS\n",
                TerminalState::Failure("Kernel panic"),
            ),
            (
                "ALERT!  UUID=1 does not exist.\n(initramfs) ",
                TerminalState::Failure("(initramfs)"),
            ),
            ("", TerminalState::Nothing),
        ] {
            assert_eq!(examine_terminal(text), seen, "{text:?}");
        }
        assert_eq!(last_lines("a\n\x1b[5;80H\x1b[7mb\x1b[m\r\n\n", 1), " b");
        assert_eq!(last_lines("a\x1b[", 1), " a");
        assert_eq!(last_lines("a\nb\n", 5), "\n  a\n  b");
    }
}
