//! Sets up the DHCP scenarios: a server, and its clients on the same switch.

use crate::program::binary;
use lab::{Interface, Lab, LabHost, LabProcess, ScratchDirectory, Switch, eventually};
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Timeout of every wait, for a machine that is busy with other tests.
pub const SOON: Duration = Duration::from_secs(120);

/// Records the events and addresses of a client. udhcpc also sets the address: without it, renewals
/// are not possible.
const SCRIPT: &str = "#!/bin/sh
echo \"$1$reason $ip$new_ip_address\" >>\"$TOLD\"
case $1 in
deconfig) ip addr flush dev eth0 ;;
bound) ip addr replace \"$ip/24\" dev eth0 ;;
esac
";

/// A server and its network.
#[derive(Debug)]
pub struct BootSite {
    // Processes in the hosts end before the hosts.
    program: Option<LabProcess>,
    pub server: LabHost,
    pub lan: Switch,
    pub lab: Lab,
    pub scratch: ScratchDirectory,
}

#[derive(Debug)]
pub struct Client {
    pub host: LabHost,
    pub at: Interface,
    scratch: ScratchDirectory,
}

impl BootSite {
    /// Creates a server with 10.60.0.1, on which nothing runs yet.
    pub fn new(name: &str) -> BootSite {
        let lab = Lab::new(name).unwrap();
        let lan = lab.switch("lan").unwrap();
        let server = lab.host("server").unwrap();
        let at = lan.attach(&server).unwrap();
        at.address("10.60.0.1/24").unwrap();
        BootSite {
            program: None,
            server,
            lan,
            lab,
            scratch: ScratchDirectory::new().unwrap(),
        }
    }

    fn config(&self) -> PathBuf {
        self.scratch.path().join("boot.cfg")
    }

    /// Returns a path in the temporary directory of this site.
    pub fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// Writes a section with these lines.
    pub fn write(&self, lines: &str) {
        self.write_with(&self.path("leases"), lines);
    }

    /// Writes a section with these lines, whose leases are in this directory.
    pub fn write_with(&self, leases: &Path, lines: &str) {
        let text = format!(
            "boot lan\n interface eth0\n leases {}\n image rescue disk\n{lines}\n",
            leases.display()
        );
        fs::write(self.config(), text).unwrap();
    }

    /// Starts the program, and waits until it responds.
    pub fn start(&mut self, lines: &str) {
        self.write(lines);
        self.start_again();
        self.shows("answers");
    }

    /// Starts the program with the existing file.
    pub fn start_again(&mut self) {
        let said = File::create(self.scratch.path().join("said")).unwrap();
        let mut command = Command::new(binary());
        command.args(["run", "-f"]).arg(self.config());
        command.stdin(Stdio::null());
        command.stdout(said.try_clone().unwrap()).stderr(said);
        self.program = Some(self.server.spawn(command).unwrap());
    }

    /// Kills the program with all its processes.
    pub fn kill(&mut self) {
        if let Some(program) = self.program.take() {
            program.kill_tree();
        }
    }

    pub fn program(&self) -> &LabProcess {
        self.program.as_ref().unwrap()
    }

    /// Runs an `evenkeel` command on the server; returns its output or error.
    pub fn ours(&self, words: &[&str]) -> String {
        let mut command = Command::new(binary());
        command.args(words);
        command.args(["--pid", &self.program().pid().to_string()]);
        self.server
            .run(command)
            .unwrap_or_else(|error| error.to_string())
    }

    /// Starts `boot watch`, and waits until it watches.
    pub fn watches(&self) -> LabProcess {
        let file = |name| File::create(self.scratch.path().join(name)).unwrap();
        let mut command = Command::new(binary());
        command.args(["boot", "watch", "--pid", &self.program().pid().to_string()]);
        command.stdin(Stdio::null()).stdout(file("watched"));
        command.stderr(file("watching"));
        let watch = self.server.spawn(command).unwrap();
        let begun = || !self.read("watching").is_empty();
        assert!(eventually(SOON, begun));
        watch
    }

    /// Waits until `boot watch` has printed a line with these texts.
    pub fn watched(&self, texts: &[&str]) {
        let is_it = |line: &str| texts.iter().all(|text| line.contains(text));
        let came = eventually(SOON, || self.read("watched").lines().any(is_it));
        assert!(came, "{texts:?}: {}", self.read("watched"));
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.scratch.path().join(name)).unwrap_or_default()
    }

    /// Waits until the report of the network has a text.
    pub fn shows(&self, text: &str) {
        let mut shown = String::new();
        let good = eventually(SOON, || {
            shown = self.ours(&["boot", "show"]);
            shown.contains(text)
        });
        let said = self.read("said");
        assert!(good, "no '{text}' in:\n{shown}\n{said}");
    }

    /// Waits until `evenkeel boot why` prints a text for the client.
    pub fn why(&self, client: &Client, text: &str) {
        let mac = client.mac();
        let mut shown = String::new();
        let good = eventually(SOON, || {
            shown = self.ours(&["boot", "why", &mac]);
            shown.contains(text)
        });
        assert!(good, "no '{text}' in:\n{shown}");
    }

    /// Creates a client on the network of the server.
    pub fn client(&self, name: &str) -> Client {
        Client::new(&self.lab, &self.lan, name)
    }
}

impl Client {
    pub fn new(lab: &Lab, lan: &Switch, name: &str) -> Client {
        let host = lab.host(name).unwrap();
        let at = lan.attach(&host).unwrap();
        let scratch = ScratchDirectory::new().unwrap();
        let script = scratch.write("script", SCRIPT).unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        Client { host, at, scratch }
    }

    /// Returns the MAC address of the client.
    pub fn mac(&self) -> String {
        let text = self
            .host
            .ip(&["-brief", "link", "show", "dev", "eth0"])
            .unwrap();
        text.split_whitespace().nth(2).unwrap().to_owned()
    }

    fn command(&self, program: &str, words: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(words);
        command.env("TOLD", self.scratch.path().join("told"));
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }

    /// Returns the configuration that the client received, line by line.
    pub fn told(&self) -> Vec<String> {
        let text = fs::read_to_string(self.scratch.path().join("told")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    fn script(&self) -> String {
        self.scratch.path().join("script").display().to_string()
    }

    /// Requests an address once with udhcpc. None: the client gets none.
    pub fn asks(&self) -> Option<String> {
        self.asks_with(&[])
    }

    /// Like `asks`, but the client first requests this address.
    pub fn asks_for(&self, address: &str) -> Option<String> {
        self.asks_with(&["-r", address])
    }

    fn asks_with(&self, more: &[&str]) -> Option<String> {
        let _ = fs::remove_file(self.scratch.path().join("told"));
        let script = self.script();
        let words = [
            "-i", "eth0", "-f", "-n", "-q", "-t", "6", "-T", "1", "-s", &script,
        ];
        let words = [&words[..], more].concat();
        let program = self.host.spawn(self.command("udhcpc", &words)).unwrap();
        assert!(program.wait(SOON).is_some(), "udhcpc ends");
        let told = self.told();
        let bound = told.iter().find_map(|line| line.strip_prefix("bound "));
        bound.map(str::to_owned)
    }

    /// Starts a udhcpc that stays, and renews or releases when it gets a signal.
    pub fn stays(&self) -> LabProcess {
        let script = self.script();
        let words = [
            "-i", "eth0", "-f", "-R", "-t", "6", "-T", "1", "-s", &script,
        ];
        self.host.spawn(self.command("udhcpc", &words)).unwrap()
    }

    /// Waits until the client has recorded a line that begins with `event`; returns the rest of the
    /// line.
    pub fn hears(&self, event: &str) -> String {
        let mut heard = None;
        let good = eventually(SOON, || {
            let told = self.told();
            heard = told
                .iter()
                .rev()
                .find_map(|line| Some(line.strip_prefix(event)?.trim().to_owned()));
            heard.is_some()
        });
        assert!(good, "no {event} in {:?}", self.told());
        heard.unwrap_or_default()
    }

    /// Requests an address with dhclient.
    pub fn asks_with_dhclient(&self) -> String {
        let at = |name: &str| self.scratch.path().join(name).display().to_string();
        let (script, leases, pid) = (self.script(), at("leases"), at("pid"));
        fs::write(&leases, "").unwrap();
        let told = format!("TOLD={}", at("told"));
        let words = [
            "-4",
            "-1",
            "-d",
            "-sf",
            &script,
            "-lf",
            &leases,
            "-pf",
            &pid,
            "-cf",
            "/dev/null",
            "-e",
            &told,
            "eth0",
        ];
        let program = self.host.spawn(self.command("dhclient", &words)).unwrap();
        let address = self.hears("BOUND ");
        drop(program);
        address
    }
    /// Returns the IPv6 address that dhclient gets; None if it ends without one.
    pub fn asks6(&self) -> Option<String> {
        let at = |name: &str| self.scratch.path().join(name).display().to_string();
        let (script, leases, pid) = (self.script(), at("leases6"), at("pid6"));
        fs::write(&leases, "").unwrap();
        let words = [
            "-6",
            "-1",
            "-d",
            "-sf",
            &script,
            "-lf",
            &leases,
            "-pf",
            &pid,
            "-cf",
            "/dev/null",
            "eth0",
        ];
        let program = self.host.spawn(self.command("dhclient", &words)).unwrap();
        let mut address = None;
        let _ = eventually(SOON, || {
            let text = fs::read_to_string(&leases).unwrap_or_default();
            let its = text
                .split_once("iaaddr ")
                .and_then(|(_, rest)| rest.split_once(' '));
            address = its.map(|(address, _)| address.to_owned());
            address.is_some() || program.exit().is_some()
        });
        address
    }
}
