//! Tests remote desktops with the real programs: two hosts with xrdp, and xfreerdp as the client,
//! which is redirected and returns to its session.

use crate::program::{binary, root};
use lab::pki::{Authority, Leaf};
use lab::{
    Lab, LabError, LabHost, LabProcess, ScratchDirectory, eventually, installed, may_run,
    privileged,
};
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Timeout of every wait, for a machine that is busy with other tests.
pub const SOON: Duration = Duration::from_secs(90);
/// Number of the first display for sessions of the next host; display numbers are shared by the
/// whole machine.
static NEXT_DISPLAY: AtomicU32 = AtomicU32::new(610);
/// Maximum number of displays of a host.
const DISPLAYS: u32 = 20;

/// Hash of anna's password, `secret`, for NLA: its MD4.
const NT_HASH: &str = "878d8014606cda29677a44efa1353fc7";

/// Starts a host of desktops, with its name, its address and its first display.
pub type Start = fn(&ScratchDirectory, &LabHost, &str, &str, &str) -> LabProcess;
const CONFIG: &str = "office.cfg";
const OTHER_CONFIG: &str = "other.cfg";
/// Directory for pictures of the clients' display.
const SCREEN: &str = "screen";

/// A farm of two hosts, and a machine for clients.
pub struct Site {
    // Declared before the hosts, so that the processes in them are dropped first.
    program: LabProcess,
    desktops: Vec<LabProcess>,
    _screen: LabProcess,
    node: LabHost,
    client: LabHost,
    _hosts: Vec<LabHost>,
    _lab: Lab,
    scratch: ScratchDirectory,
}

pub fn address(number: usize) -> String {
    format!("10.77.0.{number}")
}

impl Site {
    /// Creates a farm of two hosts, which `desktop` starts.
    fn new(desktop: Start) -> Site {
        Site::with(desktop, |_| String::new())
    }

    /// Variant of [`Site::new`] with further lines of the farm, which may be followed by other
    /// sections.
    pub fn with(desktop: Start, lines: impl FnOnce(&ScratchDirectory) -> String) -> Site {
        Site::with_options(desktop, "", lines)
    }

    /// Variant of [`Site::with`] with options on the `host` lines.
    pub fn with_options(
        desktop: Start,
        options: &str,
        lines: impl FnOnce(&ScratchDirectory) -> String,
    ) -> Site {
        let lab = Lab::new("desktops").unwrap();
        let lan = lab.switch("lan").unwrap();
        let scratch = ScratchDirectory::new().unwrap();
        fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let host = |name: &str, number: usize| {
            let host = lab.host(name).unwrap();
            let at = lan.attach(&host).unwrap();
            at.address(&format!("{}/24", address(number))).unwrap();
            host
        };
        let (node, client) = (host("node", 1), host("client", 2));
        let mut screen = Command::new("Xvfb");
        screen.args(["-displayfd", "1", "-screen", "0", "1024x768x24"]);
        // Without -noreset, the X server restarts when its last client leaves, and refuses clients
        // meanwhile.
        screen.args(["-nolisten", "tcp", "-noreset"]);
        let screen = spawn(&scratch, &client, screen, SCREEN);
        assert!(eventually(SOON, || display(&scratch).is_some()));
        let mut config = format!(
            "farm office\n    bind {}:3389 crt {}\n    check interval 500ms timeout 5s\n",
            address(1),
            certificate(&scratch, "farm").display()
        );
        let (mut hosts, mut desktops) = (Vec::new(), Vec::new());
        for at in 0..2 {
            let display = NEXT_DISPLAY
                .fetch_add(DISPLAYS, Ordering::Relaxed)
                .to_string();
            let name = format!("ts{}", at + 1);
            let own = host(&name, 11 + at);
            config.push_str(&format!("    host {name} {}{options}\n", address(11 + at)));
            desktops.push(desktop(&scratch, &own, &name, &address(11 + at), &display));
            hosts.push(own);
        }
        config.push_str(&lines(&scratch));
        scratch.write(CONFIG, config).unwrap();
        let program = serve(&scratch, &node, CONFIG);
        let site = Site {
            program,
            desktops,
            _screen: screen,
            node,
            client,
            _hosts: hosts,
            _lab: lab,
            scratch,
        };
        site.shows(&["farm", "list"], |text| text.matches(": up").count() == 2);
        site
    }

    /// Restarts the program with the same lines in another file. Its stored state belongs to the
    /// path of the file, so it starts without any.
    pub fn loses_everything(&mut self) {
        self.program.kill_tree();
        let file = |name: &str| self.scratch.path().join(name);
        fs::rename(file(CONFIG), file(OTHER_CONFIG)).unwrap();
        self.program = serve(&self.scratch, &self.node, OTHER_CONFIG);
        self.shows(&["farm", "list"], |text| text.matches(": up").count() == 2);
    }

    /// Returns the process of a host with xrdp, in whose namespaces its sessions are.
    pub fn desktop(&self, number: usize) -> &LabProcess {
        &self.desktops[number - 1]
    }

    /// Returns the machine on which the farm runs.
    pub fn node(&self) -> &LabHost {
        &self.node
    }

    /// Returns the path of a file in the directory of the test.
    pub fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// Writes a file of the test.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        self.scratch.write(name, text).unwrap()
    }

    /// Returns the output of a command on the machine of the clients.
    pub fn at_client(&self, command: Command) -> Result<String, LabError> {
        self.client.run(command)
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.scratch.path().join(name)).unwrap_or_default()
    }

    /// Runs an `evenkeel` command on the farm's machine; returns its output or error.
    pub fn ours(&self, words: &[&str]) -> String {
        let mut command = Command::new(binary());
        command.args(words);
        command.args(["--pid", &self.program.pid().to_string()]);
        let printed = self.node.run(command);
        printed.unwrap_or_else(|error| error.to_string())
    }

    /// Waits until the output of an `evenkeel` command satisfies a condition; returns the output.
    pub fn shows(&self, words: &[&str], is_good: impl Fn(&str) -> bool) -> String {
        let mut shown = String::new();
        let good = eventually(SOON, || {
            shown = self.ours(words);
            is_good(&shown)
        });
        assert!(
            good,
            "{words:?}: {shown}\n{}\n{}\n{}\n{}",
            self.read("said"),
            self.read("xfreerdp"),
            self.read("ts1.out"),
            self.read("ts2.out")
        );
        shown
    }

    /// Starts a client of anna.
    pub fn client(&self, options: &[&str]) -> LabProcess {
        self.client_to(&address(1), options)
    }

    /// Starts a client of anna for this host.
    pub fn client_to(&self, host: &str, options: &[&str]) -> LabProcess {
        self.freerdp(&format!("/v:{host}"), options)
    }

    /// Starts a client of anna with a `.rdp` file. The name in it resolves to nothing here.
    pub fn client_of_file(&self, file: &Path) -> LabProcess {
        let farm = format!("/v:{}", address(1));
        self.freerdp(&file.display().to_string(), &[&farm])
    }

    /// Starts a program on the client's machine, with its output in this file.
    pub fn start_at_client(&self, command: Command, output: &str) -> LabProcess {
        spawn(&self.scratch, &self.client, command, output)
    }

    fn freerdp(&self, first: &str, options: &[&str]) -> LabProcess {
        // Line-buffered, so that the file has each message even if the client crashes when it is
        // refused.
        let mut command = Command::new("stdbuf");
        command.args(["-oL", "xfreerdp", first]);
        command.args(["/u:anna", "/p:secret", "/cert:ignore", "/log-level:DEBUG"]);
        command.args(options);
        command
            .env("DISPLAY", display(&self.scratch).unwrap())
            .env("HOME", self.scratch.path());
        spawn(&self.scratch, &self.client, command, "xfreerdp")
    }

    /// Returns how many sessions have begun on each host, and how many were resumed.
    pub fn sessions(&self) -> [[usize; 2]; 2] {
        ["ts1", "ts2"].map(|host| {
            ["sessions", "reconnects"]
                .map(|what| self.read(&format!("{host}/{what}")).lines().count())
        })
    }

    /// Waits until that many sessions have begun and were resumed.
    pub fn has(&self, expected: [[usize; 2]; 2]) {
        let good = eventually(SOON, || self.sessions() == expected);
        let log = self.read("xfreerdp");
        assert!(
            good,
            "{:?}, not {expected:?}\n{}\n{log}",
            self.sessions(),
            self.read("ts1/sesman.log")
        );
    }
}

fn serve(scratch: &ScratchDirectory, node: &LabHost, config: &str) -> LabProcess {
    let mut command = Command::new(binary());
    command.args(["run", "-f"]).arg(scratch.path().join(config));
    spawn(scratch, node, command, "said")
}

/// Returns the display of the clients, once its server, which chooses a free one, runs.
fn display(scratch: &ScratchDirectory) -> Option<String> {
    let said = fs::read_to_string(scratch.path().join(SCREEN)).ok()?;
    // The X server may print warnings first.
    let is_number = |line: &&str| line.parse::<u32>().is_ok();
    let (whole, _) = said.rsplit_once('\n')?;
    let number = whole.lines().rfind(is_number)?;
    Some(format!(":{number}"))
}

fn spawn(
    scratch: &ScratchDirectory,
    host: &LabHost,
    mut command: Command,
    said: &str,
) -> LabProcess {
    let said = File::create(scratch.path().join(said)).unwrap();
    command.stdin(Stdio::null());
    command.stdout(said.try_clone().unwrap()).stderr(said);
    host.spawn(command).unwrap()
}

/// Makes a certificate with its key in one file.
pub fn certificate(scratch: &ScratchDirectory, name: &str) -> PathBuf {
    let leaf = Leaf {
        names: &["desktop.example.org"],
        ..Leaf::default()
    };
    let issued = Authority::new("Test CA").unwrap().issue(&leaf).unwrap();
    scratch
        .write(&format!("{name}.pem"), issued.bundle())
        .unwrap()
}

/// Starts a host that shows the display of the clients, and demands NLA.
fn shadow(
    scratch: &ScratchDirectory,
    host: &LabHost,
    name: &str,
    address: &str,
    _: &str,
) -> LabProcess {
    let sam = scratch.write(&format!("{name}.sam"), format!("anna:::{NT_HASH}:::\n"));
    let home = scratch.path().join(name);
    fs::create_dir(&home).unwrap();
    let mut command = Command::new("freerdp-shadow-cli");
    command.args([
        "/port:3389",
        &format!("/bind-address:{address}"),
        "/sec:nla",
    ]);
    command.arg(format!("/sam-file:{}", sam.unwrap().display()));
    command
        .env("DISPLAY", self::display(scratch).unwrap())
        .env("HOME", home);
    spawn(scratch, host, command, &format!("{name}.out"))
}

/// Starts a host with xrdp.
pub fn xrdp(
    scratch: &ScratchDirectory,
    host: &LabHost,
    name: &str,
    address: &str,
    display: &str,
) -> LabProcess {
    let directory = scratch.path().join(name);
    fs::create_dir(&directory).unwrap();
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
    let mut openssl = Command::new("openssl");
    openssl.args([
        "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "10",
    ]);
    openssl.arg("-subj").arg(format!("/CN={name}"));
    openssl.arg("-keyout").arg(directory.join("host.key"));
    openssl.arg("-out").arg(directory.join("host.crt"));
    let made = openssl.stderr(Stdio::null()).status().unwrap();
    assert!(made.success());
    let mut command = Command::new("unshare");
    command.args(["--mount", "--pid", "--fork", "--kill-child"]);
    command.arg(root().join("tests/farm/farm-host.sh"));
    command.arg(&directory).args([address, display]);
    spawn(scratch, host, command, &format!("{name}.out"))
}

pub fn is_ready(test: &str) -> bool {
    let programs = [
        "xrdp",
        "Xvnc",
        "freerdp-shadow-cli",
        "xfreerdp",
        "Xvfb",
        "openssl",
        "unshare",
        "xmessage",
    ];
    let needs = programs.into_iter().fold(privileged(), |needs, program| {
        needs.and_then(|()| installed(program))
    });
    may_run(test, needs)
}

/// Returns the token of the last redirection that a client has logged, with its bytes as
/// hexadecimal numbers.
fn token(log: &str) -> String {
    let (_, dump) = log
        .rsplit_once("LB_LOAD_BALANCE_INFO:")
        .expect("a redirection");
    let lines = dump
        .lines()
        .skip(1)
        .map(|line| line.rsplit("- ").next().unwrap_or_default());
    let mut bytes = Vec::new();
    for line in lines {
        let mut words = line.split_whitespace();
        if words
            .next()
            .is_none_or(|offset| offset.parse() != Ok(bytes.len()))
        {
            break;
        }
        let row =
            words.map_while(|word| (word.len() == 2).then(|| u8::from_str_radix(word, 16).ok())?);
        bytes.extend(row.take(16));
    }
    String::from_utf8(bytes)
        .expect("a token is text")
        .trim_end()
        .to_owned()
}

#[test]
fn xfreerdp_is_redirected_and_comes_back_to_its_session_after_a_cut() {
    if !is_ready("a redirected client") {
        return;
    }
    let site = Site::new(xrdp);
    let first = site.client(&[]);
    site.has([[1, 0], [0, 0]]);
    let shown = site.shows(&["farm", "sessions"], |text| text.contains(" connected"));
    assert!(shown.contains("anna") && shown.contains("ts1"), "{shown}");
    assert!(site.read("xfreerdp").contains("LB_LOAD_BALANCE_INFO"));
    // Cuts the connection of the first client.
    first.kill_tree();
    site.shows(&["farm", "sessions"], |text| text.contains("disconnected"));
    // Another client of the same user, with the name in another form.
    let second = site.client(&["/d:EXAMPLE"]);
    site.has([[1, 1], [0, 0]]);
    let token = token(&site.read("xfreerdp"));
    second.kill_tree();
    site.shows(&["farm", "sessions"], |text| text.contains("disconnected"));
    // With the token the client is routed at once.
    let list = site.ours(&["farm", "list"]);
    let _third = site.client(&[&format!("/load-balance-info:{token}")]);
    site.has([[1, 2], [0, 0]]);
    let log = site.read("xfreerdp");
    assert!(!log.contains("LB_LOAD_BALANCE_INFO"), "{log}");
    let why = site.ours(&["farm", "why", "EXAMPLE\\Anna"]);
    assert_eq!(why.matches("redirected to ts1").count(), 2, "{why}\n{list}");
    assert_eq!(why.matches("routed to ts1").count(), 3, "{why}");
}

#[test]
fn a_drained_host_gets_nobody_new_and_its_user_comes_back() {
    if !is_ready("a drained host") {
        return;
    }
    let site = Site::new(xrdp);
    site.ours(&["farm", "drain", "ts1"]);
    let first = site.client(&[]);
    site.has([[0, 0], [1, 0]]);
    first.kill_tree();
    site.shows(&["farm", "sessions"], |text| text.contains("disconnected"));
    site.ours(&["farm", "ready", "ts1"]);
    site.ours(&["farm", "drain", "ts2"]);
    let _second = site.client(&[]);
    site.has([[0, 0], [1, 1]]);
}

#[test]
fn nla_is_between_the_client_and_its_host() {
    if !is_ready("NLA") {
        return;
    }
    let site = Site::new(shadow);
    let _client = site.client(&[]);
    let is_active = || {
        site.read("xfreerdp")
            .contains("--> CONNECTION_STATE_ACTIVE")
    };
    assert!(eventually(SOON, is_active), "{}", site.read("xfreerdp"));
    let log = site.read("xfreerdp");
    // TLS with the farm, then NLA with the host.
    let securities = log
        .lines()
        .filter_map(|line| line.split("Negotiated ").nth(1));
    assert_eq!(
        securities.collect::<Vec<_>>(),
        ["TLS security", "NLA security"]
    );
    site.shows(&["farm", "sessions"], |text| text.contains(" connected"));
}
