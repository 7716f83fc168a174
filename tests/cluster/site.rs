//! Sets up the cluster scenarios: two nodes, an arbiter, a client, two servers, and two switches.
//! Clients and virtual addresses are on `lan`; the members communicate over `back`.

use crate::program::binary;
use lab::{
    Condition, Exit, Failure, Frozen, HttpResponse, InjectedFault, Lab, LabError, LabHost,
    LabProcess, OriginServer, Probe, Record, ScratchDirectory, Steady, Switch, eventually,
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Timeout of every wait, for a machine that is busy with other tests.
pub const SOON: Duration = Duration::from_secs(120);

/// The address that both nodes serve.
pub const VIP: &str = "10.60.0.100";

/// A secret that the configuration's file of certificates would hold: no arbiter may
/// ever have it on its disk.
pub const SECRET: &str = "a-password-that-nobody-else-has";

/// Configuration of the nodes, with `{word}` at `/version`.
const CONFIGURATION: &str = "
node alpha
\taddress 10.60.0.1
node beta
\taddress 10.60.0.2

virtual-ip www
\taddress 10.60.0.100/24
\tinterface eth0
\tprefer alpha beta
\tfailover 300ms

userlist admins
\tuser anna insecure-password {secret}

defaults
\tmode http
\ttimeout connect 2s
\ttimeout client 20s
\ttimeout server 20s

frontend www
\tbind :80
\thttp-request return status 200 content-type text/plain string {word} if { path /version }
\tdefault_backend farm

backend farm
\tserver one 10.60.0.181:80 check inter 200ms
\tserver two 10.60.0.182:80 check inter 200ms
";

/// Returns a configuration that responds with a word at `/version`.
pub fn configuration(word: &str) -> String {
    CONFIGURATION
        .replace("{word}", word)
        .replace("{secret}", SECRET)
}

/// Returns whether any file below a directory contains these bytes.
pub fn holds(directory: &Path, bytes: &[u8]) -> bool {
    let entries = fs::read_dir(directory).unwrap();
    entries.flatten().any(|entry| {
        let path = entry.path();
        if path.is_dir() {
            return holds(&path, bytes);
        }
        let content = fs::read(&path).unwrap_or_default();
        content.windows(bytes.len()).any(|window| window == bytes)
    })
}

/// Three machines, their client and servers, and the networks.
#[derive(Debug)]
pub struct Site {
    // Processes in the hosts end before the hosts.
    pub alpha: Machine,
    pub beta: Machine,
    pub arbiter: Machine,
    _origins: Vec<OriginServer>,
    pub client: LabHost,
    pub farm: LabHost,
    pub back: Switch,
    pub lan: Switch,
    pub lab: Lab,
}

/// A machine that can be a member.
#[derive(Debug)]
pub struct Machine {
    process: Option<LabProcess>,
    pub host: LabHost,
    pub number: u8,
    program: PathBuf,
    state: PathBuf,
    scratch: ScratchDirectory,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Said {
    pub good: bool,
    pub out: String,
    pub err: String,
}

impl Said {
    pub fn text(&self) -> String {
        format!("{}{}", self.out, self.err)
    }

    /// Asserts that the command succeeded.
    #[track_caller]
    pub fn well(self) -> Said {
        assert!(self.good, "{}", self.text());
        self
    }

    /// Asserts that the command was refused with these words.
    #[track_caller]
    pub fn refused(self, words: &[&str]) -> Said {
        assert!(!self.good, "not refused: {}", self.text());
        for word in words {
            let text = self.text();
            assert!(text.contains(word), "does not say `{word}`: {text}");
        }
        self
    }
}

impl Site {
    /// Creates three machines that belong to no cluster.
    pub fn empty(name: &str) -> Site {
        let lab = Lab::new(name).unwrap();
        let (lan, back) = (lab.switch("lan").unwrap(), lab.switch("back").unwrap());
        let node = |name: &str, number: u8| {
            let machine = Machine::new(&lab, name, number);
            let at = lan.attach(&machine.host).unwrap();
            at.address(&format!("10.60.0.{number}/24")).unwrap();
            machine.join(&back);
            machine
        };
        let (alpha, beta) = (node("alpha", 1), node("beta", 2));
        let arbiter = Machine::new(&lab, "arbiter", 3);
        arbiter.join(&back);
        let (client, farm) = (lab.host("client").unwrap(), lab.host("farm").unwrap());
        let at_client = lan.attach(&client).unwrap();
        at_client.address("10.60.0.9/24").unwrap();
        let at_farm = lan.attach(&farm).unwrap();
        let origin = |(number, name): (u8, &str)| {
            at_farm.address(&format!("10.60.0.{number}/24")).unwrap();
            let at = SocketAddr::from(([10, 60, 0, number], 80));
            OriginServer::start(&farm, name, at).unwrap()
        };
        let origins = [(181, "one"), (182, "two")].map(origin).into();
        Site {
            alpha,
            beta,
            arbiter,
            _origins: origins,
            client,
            farm,
            back,
            lan,
            lab,
        }
    }

    /// Creates a further machine that belongs to no cluster.
    pub fn machine_more(&self, name: &str, number: u8) -> Machine {
        let machine = Machine::new(&self.lab, name, number);
        let at = self.lan.attach(&machine.host).unwrap();
        at.address(&format!("10.60.0.{number}/24")).unwrap();
        machine.join(&self.back);
        machine
    }

    /// Creates a cluster of two nodes and an arbiter that serves its first version.
    pub fn new(name: &str) -> Site {
        let mut site = Site::empty(name);
        site.found();
        site.begin();
        site
    }

    /// Waits until the site serves its first version, and alpha has the address.
    #[track_caller]
    pub fn begin(&self) {
        let site = self;
        site.apply("one").well();
        assert!(
            eventually(SOON, || site.serves_everywhere("one")),
            "{}",
            site.tell()
        );
        // Waits until both nodes know that alpha has the address: the other node tries versions
        // first.
        let owns = |status: &Value| {
            let owned = |name: &str| {
                let members = status["members"].as_array()?;
                let member = members.iter().find(|member| member["name"] == name)?;
                member["addresses_owned"].as_u64()
            };
            (owned("alpha"), owned("beta")) == (Some(1), Some(0))
        };
        let settled = || {
            let known = |node: &Machine| node.status().is_some_and(|status| owns(&status));
            site.nodes().into_iter().all(known) && site.vip_serves()
        };
        assert!(eventually(SOON, settled), "{}", site.tell());
    }

    /// Creates the cluster, and waits until all three members agree on a leader.
    pub fn found(&mut self) {
        self.alpha
            .command(&["cluster", "init", "shop", "--name", "alpha"])
            .well();
        self.alpha.start();
        let token = self.alpha.token(&["cluster", "invite"]);
        self.beta
            .command(&["cluster", "join", &token, "--name", "beta"])
            .well();
        self.beta.start();
        let token = self.alpha.token(&["cluster", "invite", "--arbiter"]);
        self.arbiter
            .command(&["arbiter", "join", &token, "--name", "arbiter"])
            .well();
        self.arbiter.start();
        assert!(
            eventually(SOON, || self.agree(&self.machines()).is_some()),
            "{}",
            self.tell()
        );
    }

    pub fn machines(&self) -> [&Machine; 3] {
        [&self.alpha, &self.beta, &self.arbiter]
    }

    pub fn nodes(&self) -> [&Machine; 2] {
        [&self.alpha, &self.beta]
    }

    pub fn machine(&self, name: &str) -> &Machine {
        let machine = self.machines().into_iter().find(|m| m.name() == name);
        machine.unwrap_or_else(|| panic!("there is no {name}"))
    }

    pub fn machine_mut(&mut self, name: &str) -> &mut Machine {
        let machines = [&mut self.alpha, &mut self.beta, &mut self.arbiter];
        let machine = machines.into_iter().find(|m| m.name() == name);
        machine.unwrap_or_else(|| panic!("there is no {name}"))
    }

    /// Returns the leader and its term if all of these machines agree, all members vote, and a
    /// majority responds.
    pub fn agree(&self, machines: &[&Machine]) -> Option<(String, u64)> {
        self.agree_as(3, machines)
    }

    /// Like `agree`, for a cluster with that many members.
    pub fn agree_as(&self, members: usize, machines: &[&Machine]) -> Option<(String, u64)> {
        let mut found: Option<(String, u64)> = None;
        for machine in machines {
            let status = machine.status()?;
            let voters = status["members"].as_array()?;
            let all =
                voters.len() == members && voters.iter().all(|member| member["votes"] == true);
            if status["majority"] != true || !all {
                return None;
            }
            let leader = status["leader"].as_u64()?;
            let name = voters.iter().find(|member| member["id"] == leader)?["name"]
                .as_str()?
                .to_owned();
            let here = (name, status["log"]["term"].as_u64()?);
            if found.as_ref().is_some_and(|found| *found != here) {
                return None;
            }
            found = Some(here);
        }
        found
    }

    #[track_caller]
    pub fn leader(&self) -> (String, u64) {
        let mut found = None;
        let agreed = || {
            found = self.agree(&self.machines());
            found.is_some()
        };
        assert!(eventually(SOON, agreed), "{}", self.tell());
        found.unwrap_or_default()
    }

    /// Applies a new version without judgement, from alpha, or from any running machine.
    pub fn apply(&self, word: &str) -> Said {
        let by = self.machines().into_iter().find(|m| m.process.is_some());
        by.unwrap_or(&self.alpha)
            .apply(&configuration(word), &["--now"])
    }

    /// Returns whether both nodes return a word at their own addresses.
    pub fn serves_everywhere(&self, word: &str) -> bool {
        self.nodes().iter().all(|node| self.serves(node, word))
    }

    /// Returns whether a node returns a word at its own address.
    pub fn serves(&self, node: &Machine, word: &str) -> bool {
        self.word_of(node).as_deref() == Some(word)
    }

    /// Returns the response of a node at `/version`.
    pub fn word_of(&self, node: &Machine) -> Option<String> {
        let answer = self.ask(node.service(), "/version").ok()?;
        Some(answer.text().trim().to_owned())
    }

    /// Sends a request over its own connection, with retries for a while.
    pub fn ask(&self, at: SocketAddr, path: &str) -> Result<HttpResponse, Failure> {
        let mut probe = Probe::new(&self.client, at).timeout(Duration::from_secs(5));
        probe.get(path)
    }

    pub fn vip_serves(&self) -> bool {
        self.ask(vip(), "/")
            .is_ok_and(|answer| answer.status == 200)
    }

    /// Cuts the direct link between the nodes on the members' network, in both directions. Both
    /// nodes still reach the arbiter, and receive each other's adverts.
    pub fn cut_direct(&self) -> [InjectedFault; 2] {
        self.cut("alpha", "beta")
    }

    /// Cuts the direct link between any two members on the members' network.
    pub fn cut(&self, one: &str, other: &str) -> [InjectedFault; 2] {
        let (a, b) = (&self.machine(one).host, &self.machine(other).host);
        [
            self.back.one_way(a, b).unwrap(),
            self.back.one_way(b, a).unwrap(),
        ]
    }

    /// Starts clients of both nodes at their own addresses, and one of the shared address.
    pub fn load(&self) -> Load {
        let client = |at: SocketAddr| {
            let probe = Probe::new(&self.client, at).timeout(Duration::from_secs(10));
            probe.steadily("/", Duration::from_millis(5))
        };
        Load {
            own: self.nodes().map(|node| client(node.service())),
            shared: client(vip()),
        }
    }

    /// Waits until no fault remains and all machines agree.
    #[track_caller]
    pub fn healed(&self) {
        let mut agreed = Condition::new("all three agree on a leader", || {
            match self.agree(&self.machines()) {
                Some(_) => Ok(()),
                None => Err("they do not".to_owned()),
            }
        });
        let healed = self
            .lab
            .wait_healed(SOON, std::slice::from_mut(&mut agreed));
        drop(agreed);
        assert!(healed.is_ok(), "{healed:?}\n{}", self.tell());
    }

    /// Returns all status information for the message of a failure.
    pub fn tell(&self) -> String {
        let of = |machine: &Machine| {
            let status = machine.command(&["cluster", "status"]).text();
            format!(
                "--- {}\n{}\nstatus: {status}\n",
                machine.name(),
                machine.said()
            )
        };
        self.machines().map(of).concat()
    }
}

/// Returns the shared address of the nodes.
pub fn vip() -> SocketAddr {
    format!("{VIP}:80").parse().unwrap()
}

impl Machine {
    fn new(lab: &Lab, name: &str, number: u8) -> Machine {
        let scratch = ScratchDirectory::new().unwrap();
        Machine {
            process: None,
            host: lab.host(name).unwrap(),
            number,
            program: binary().to_owned(),
            state: scratch.path().join("state"),
            scratch,
        }
    }

    fn join(&self, back: &Switch) {
        let at = back.attach(&self.host).unwrap();
        at.address(&format!("10.61.0.{}/24", self.number)).unwrap();
    }

    pub fn name(&self) -> &str {
        self.host.name()
    }

    /// Address of the proxy of this member.
    pub fn service(&self) -> SocketAddr {
        SocketAddr::from(([10, 60, 0, self.number], 80))
    }

    /// Address for connections between members.
    pub fn member_address(&self) -> SocketAddr {
        SocketAddr::from(([10, 61, 0, self.number], 7443))
    }

    pub fn state(&self) -> PathBuf {
        self.state.clone()
    }

    /// Makes the machine run this program from its next start on.
    pub fn set_program(&mut self, path: &Path) {
        self.program = path.to_owned();
    }

    /// Makes the machine use another state directory from its next start on.
    pub fn set_state(&mut self, path: &Path) {
        self.state = path.to_owned();
    }

    /// Moves the state directory of the machine to another path.
    pub fn move_state(&mut self, path: &Path) {
        let mut command = Command::new("mv");
        command.arg(&self.state).arg(path);
        self.host.run(command).unwrap();
        self.state = path.to_owned();
    }

    pub fn runtime(&self) -> PathBuf {
        self.scratch.path().join("run")
    }

    pub fn scratch(&self) -> &Path {
        self.scratch.path()
    }

    fn evenkeel(&self) -> Command {
        self.invocation(&self.program)
    }

    fn invocation(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .env("EVENKEEL_RUNTIME_DIRECTORY", self.runtime())
            .stdin(Stdio::null());
        command
    }

    /// Runs an `evenkeel` command on the machine, with the state directory and the address for
    /// members where the command needs them.
    pub fn command(&self, words: &[&str]) -> Said {
        let mut command = self.evenkeel();
        command.args(words);
        if matches!(words, [_, "init" | "join" | "recover", ..]) {
            command.arg("--state").arg(self.state());
        }
        if matches!(words, [_, "init" | "join", ..]) {
            let listen = self.member_address().to_string();
            command.args(["--listen", &listen]);
        }
        self.finish(command)
    }

    /// Runs a command of another program on the machine.
    pub fn command_of(&self, program: &Path, words: &[&str]) -> Said {
        let mut command = self.invocation(program);
        command.args(words);
        self.finish(command)
    }

    /// Runs an `evenkeel` command on the machine; returns its exit code, or None if it did not end
    /// by itself.
    pub fn exit_code(&self, words: &[&str]) -> Option<i32> {
        let mut command = self.evenkeel();
        command.args(words);
        match self.host.run(command) {
            Ok(_) => Some(0),
            Err(LabError::Command {
                exit: Exit::Code(code),
                ..
            }) => Some(code),
            Err(_) => None,
        }
    }

    fn finish(&self, command: Command) -> Said {
        match self.host.run(command) {
            Ok(out) => Said {
                good: true,
                out,
                err: String::new(),
            },
            Err(LabError::Command { said, .. }) => Said {
                good: false,
                out: String::new(),
                err: said,
            },
            Err(error) => Said {
                good: false,
                out: String::new(),
                err: error.to_string(),
            },
        }
    }

    /// Runs a command until it succeeds; returns the token that it prints.
    #[track_caller]
    pub fn token(&self, words: &[&str]) -> String {
        let mut said = self.command(words);
        // Repeats the command, because the cluster may not have a leader yet.
        let given = || {
            said = self.command(words);
            said.good
        };
        assert!(eventually(SOON, given), "{}", self.said());
        let mut words = said.out.split_whitespace();
        let token = words.find(|word| word.starts_with("EK1-"));
        token.unwrap_or_else(|| panic!("{said:?}")).to_owned()
    }

    /// Applies a configuration from a file, with further arguments.
    pub fn apply(&self, text: &str, further: &[&str]) -> Said {
        self.apply_with(text, &[], further)
    }

    /// Like `apply`, with further files on the command line.
    pub fn apply_with(&self, text: &str, files: &[&str], further: &[&str]) -> Said {
        let file = self.scratch.write("site.cfg", text).unwrap();
        // The file contains a password.
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        let mut command = self.evenkeel();
        command.args(["config", "apply"]).arg(file).args(files);
        command.arg("--state").arg(self.state());
        command.args(["-m", "a change"]).args(further);
        // Names the accepted version as the basis of the change, whoever applied that version.
        if let Some(seen) = self.accepted() {
            command.args(["--onto", &seen.to_string()]);
        }
        self.finish(command)
    }

    /// Starts `evenkeel run` on the machine, as its systemd unit would.
    pub fn start(&mut self) {
        let path = self.scratch.path().join("said");
        let output = File::options()
            .create(true)
            .append(true)
            .open(path)
            .unwrap();
        let mut command = self.evenkeel();
        command
            .args(["run", "--state"])
            .arg(self.state())
            .stdout(output.try_clone().unwrap())
            .stderr(output);
        self.process = Some(self.host.spawn(command).unwrap());
    }

    /// Installs a copy of the program for this machine alone, as a package would.
    pub fn install(&mut self) {
        let place = self.scratch.path().join("evenkeel");
        let new = self.scratch.path().join("evenkeel.new");
        fs::copy(binary(), &new).unwrap();
        fs::rename(&new, &place).unwrap();
        self.program = place;
    }

    /// Returns the supervisor and its current proxy.
    pub fn processes(&self) -> Option<(Pid, Pid)> {
        Some((self.supervisor()?, self.role("proxy-role")?))
    }

    pub fn supervisor(&self) -> Option<Pid> {
        self.process.as_ref()?.tree().into_iter().next()
    }

    /// Returns whether all processes of the machine run the installed program.
    pub fn runs_what_is_installed(&self) -> bool {
        let current = |pid: &Pid| {
            let path = format!("/proc/{}/exe", pid.as_raw_nonzero());
            fs::read_link(path).is_ok_and(|program| program == self.program)
        };
        let tree = self.process.as_ref().map(LabProcess::tree);
        tree.is_some_and(|tree| tree.iter().all(current)) && self.control().is_some()
    }

    /// Kills the program on the machine with all its processes.
    pub fn kill(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill_tree();
        }
    }

    /// Kills the program on the machine with all its processes, and does not wait for their end.
    /// The drop of the returned process does.
    pub fn kill_at_once(&mut self) -> Option<LabProcess> {
        let process = self.process.take()?;
        process.kill_tree();
        Some(process)
    }

    /// Freezes all processes of the machine until the guard is dropped.
    #[track_caller]
    pub fn freeze(&self) -> Frozen<'_> {
        self.process.as_ref().expect("it runs").freeze().unwrap()
    }

    /// Kills the supervisor of the machine alone; the roles continue.
    #[track_caller]
    pub fn kill_supervisor(&mut self) {
        if let Some(process) = self.process.take() {
            process.signal(Signal::KILL).unwrap();
            assert!(process.wait(SOON).is_some(), "{}", self.said());
            // Skips the drop, because the roles are in its process group; they end with the host.
            std::mem::forget(process);
        }
    }

    /// Sends SIGTERM to the supervisor, and waits for its end.
    #[track_caller]
    pub fn stop(&mut self) {
        if let Some(process) = self.process.take() {
            process.signal(Signal::TERM).unwrap();
            assert!(process.wait(SOON).is_some(), "{}", self.said());
        }
    }

    /// Returns the output of the machine so far.
    pub fn said(&self) -> String {
        let bytes = std::fs::read(self.scratch.path().join("said")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Returns whether the machine has an address now.
    pub fn has(&self, address: &str) -> bool {
        self.host.has_address(address.parse().unwrap())
    }

    pub fn control(&self) -> Option<Pid> {
        self.role("control-role")
    }

    /// Returns a role of the machine, by a word of its command line.
    pub fn role(&self, name: &str) -> Option<Pid> {
        let is_it = |pid: &Pid| {
            let path = format!("/proc/{}/cmdline", pid.as_raw_nonzero());
            let line = std::fs::read(path).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).into_owned();
            line.contains(name)
        };
        self.process.as_ref()?.tree().into_iter().rfind(is_it)
    }

    #[track_caller]
    pub fn kill_control(&self) {
        let control = self.control().expect("a control role runs");
        kill_process(control, Signal::KILL).unwrap();
    }

    /// Returns the state of the cluster as this machine reports it.
    pub fn status(&self) -> Option<Value> {
        self.process.as_ref()?;
        let said = self.command(&["cluster", "status", "--json"]);
        serde_json::from_str(&said.out).ok().filter(|_| said.good)
    }

    /// Returns the version that the machine knows to be accepted.
    pub fn accepted(&self) -> Option<u64> {
        self.status()?["configuration"]["accepted"].as_u64()
    }

    /// Waits until the reported status of the cluster satisfies a condition.
    pub fn tells(&self, fits: impl Fn(&Value) -> bool) -> bool {
        eventually(SOON, || self.status().is_some_and(|status| fits(&status)))
    }

    /// Waits until the machine's status text of the cluster contains these words.
    pub fn tells_words(&self, words: &[&str]) -> bool {
        eventually(SOON, || {
            let text = self.command(&["cluster", "status"]).text();
            words.iter().all(|word| text.contains(word))
        })
    }
}

#[derive(Debug)]
pub struct Load {
    own: [Steady; 2],
    shared: Steady,
}

#[derive(Debug)]
pub struct Fared {
    /// Requests to the nodes' own addresses, alpha's first.
    pub own: [Vec<Record>; 2],
    /// Requests to the shared address of the nodes.
    pub shared: Vec<Record>,
}

impl Load {
    pub fn stop(self) -> Fared {
        Fared {
            own: self.own.map(Steady::stop),
            shared: self.shared.stop(),
        }
    }
}

/// Returns the requests that failed or got an error.
pub fn failed(records: &[Record]) -> Vec<&Record> {
    let bad = |record: &&Record| !matches!(record.outcome, Ok(200));
    records.iter().filter(bad).collect()
}

impl Fared {
    /// Asserts that no request failed, and that there were requests to each address.
    #[track_caller]
    pub fn without_a_failure(&self) {
        self.own_without_a_failure();
        assert!(self.shared.len() > 10, "{} requests", self.shared.len());
        let failed = failed(&self.shared);
        assert!(failed.is_empty(), "{VIP}: {failed:?}");
    }

    /// Asserts that no request to a node's own address failed.
    #[track_caller]
    pub fn own_without_a_failure(&self) {
        for (records, name) in self.own.iter().zip(["alpha", "beta"]) {
            assert!(records.len() > 10, "{name}: {} requests", records.len());
            let failed = failed(records);
            assert!(failed.is_empty(), "{name}: {failed:?}");
        }
    }
}
