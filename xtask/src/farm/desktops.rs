//! Measures real desktops: a host with xrdp and Xvnc, a farm in front of it, and xfreerdp, which
//! connects to the same session in each way.

use super::crowd;
use super::table::{Row, Sample, row};
use crate::bench::options::workspace;
use crate::boot::output;
use crate::comparison::{Error, Unit};
use lab::pki::{Authority, Leaf};
use lab::tls::{TlsClient, TlsOffer};
use lab::{Lab, LabHost, LabProcess, Missing, ScratchDirectory, Switch, eventually, installed};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(60);
/// Number of the first display of sessions; display numbers are shared by the whole machine.
const DISPLAY: &str = "570";
/// Line that xrdp logs when the display of the session is ready.
const CONNECTED: &str = "[INFO ] VNC connection complete, connected ok";
/// Line that xrdp logs when a client has disconnected.
const GONE: &str = "xrdp_mm_module_cleanup";
/// Required programs besides the client.
const PROGRAMS: [&str; 6] = ["xrdp", "Xvnc", "Xvfb", "openssl", "unshare", "xrdp-sesman"];

const NODE: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
const DESKTOP: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 11);
const RDP: u16 = 3389;

/// Way in which xfreerdp reaches its session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// Directly to the session host, without a farm.
    Straight,
    Token,
    Redirected,
    WebSocket,
    /// Through the gateway, with the pair of two requests.
    Pair,
    /// Through the gateway, without a token.
    Both,
    /// xfreerdp reconnects by itself after the farm has ended its connection.
    Cut,
    /// xfreerdp reconnects by itself after the process with its tunnel was killed.
    Restart,
}

/// All ways in the order of a turn.
const WAYS: [Way; 8] = [
    Way::Straight,
    Way::Token,
    Way::Redirected,
    Way::WebSocket,
    Way::Pair,
    Way::Both,
    Way::Cut,
    Way::Restart,
];

/// The row with which all others are compared.
const DIRECT: &str = "xfreerdp straight to the host";

impl Way {
    /// Returns the row; the targets were measured with stand-ins by hand, where the direct way to
    /// the host took 1 second.
    fn row(self) -> Row {
        let (name, most) = match self {
            Way::Straight => (DIRECT, None),
            Way::Token => ("xfreerdp with a token", Some(1.1)),
            Way::Redirected => ("xfreerdp, redirected", Some(2.0)),
            Way::WebSocket => ("xfreerdp by the gateway, WebSocket", Some(1.2)),
            Way::Pair => ("xfreerdp by the gateway, two requests", Some(1.2)),
            Way::Both => ("xfreerdp by the gateway, redirected", None),
            Way::Cut => ("xfreerdp, reconnect after a cut", Some(1.12)),
            Way::Restart => (
                "xfreerdp, reconnect after a restart of the gateway",
                Some(1.72),
            ),
        };
        Row {
            base: Some((DIRECT, most)),
            ..row(name, Unit::Milliseconds, None)
        }
    }
}

/// Runs a turn: each way once, to an existing session.
pub fn turn(xfreerdp: &Path, evenkeel: &Path) -> Result<Vec<Sample>, Error> {
    for program in PROGRAMS {
        installed(program).map_err(Error::Missing)?;
    }
    let site = DesktopFixture::start(xfreerdp, evenkeel)?;
    site.measure(Way::Straight)?;
    let sample = |way: Way| {
        let took = site.measure(way)?;
        Ok((way.row(), took.as_secs_f64() * 1_000.0))
    };
    WAYS.into_iter().map(sample).collect()
}

/// A host, the farm, and a machine for clients.
struct DesktopFixture {
    // Declared before the hosts, so that the processes in them are dropped first.
    program: LabProcess,
    _desktop: LabProcess,
    _screen: LabProcess,
    node: LabHost,
    client: LabHost,
    _host: LabHost,
    _lan: Switch,
    _lab: Lab,
    scratch: ScratchDirectory,
    evenkeel: PathBuf,
    xfreerdp: PathBuf,
}

impl DesktopFixture {
    fn start(xfreerdp: &Path, evenkeel: &Path) -> Result<DesktopFixture, Error> {
        let lab = Lab::new("desktops")?;
        let lan = lab.switch("lan")?;
        let host = |name: &str, address: Ipv4Addr| -> Result<LabHost, Error> {
            let host = lab.host(name)?;
            lan.attach(&host)?.address(&format!("{address}/24"))?;
            Ok(host)
        };
        let (node, client) = (host("node", NODE)?, host("client", CLIENT)?);
        let own = host("desktop", DESKTOP)?;
        let scratch = ScratchDirectory::new()?;
        open(scratch.path())?;
        let mut screen = Command::new("Xvfb");
        screen.args(["-displayfd", "1", "-screen", "0", "1024x768x24"]);
        screen.args(["-nolisten", "tcp", "-noreset"]);
        let screen = spawn(&scratch, &client, screen, "screen")?;
        let desktop = xrdp(&scratch, &own)?;
        scratch.write("office.cfg", configuration(&scratch)?)?;
        let mut run = Command::new(evenkeel);
        run.args(["run", "-f"])
            .arg(scratch.path().join("office.cfg"));
        run.env("EVENKEEL_RUNTIME_DIRECTORY", scratch.path());
        let site = DesktopFixture {
            program: spawn(&scratch, &node, run, "said")?,
            _desktop: desktop,
            _screen: screen,
            node,
            client,
            _host: own,
            _lan: lan,
            _lab: lab,
            scratch,
            evenkeel: evenkeel.to_owned(),
            xfreerdp: xfreerdp.to_owned(),
        };
        site.wait("Xvfb starts", || site.display().is_some())?;
        site.wait("the farm's host is up", || {
            site.ours(&["farm", "list"])
                .is_ok_and(|shown| shown.contains(": up"))
        })?;
        Ok(site)
    }

    fn read(&self, name: &str) -> String {
        let bytes = fs::read(self.scratch.path().join(name)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn wait(&self, waited_for: &'static str, is_done: impl FnMut() -> bool) -> Result<(), Error> {
        if eventually(SOON, is_done) {
            Ok(())
        } else {
            Err(self.not_ready(waited_for))
        }
    }

    fn not_ready(&self, waited_for: &'static str) -> Error {
        Error::NotReady {
            label: "a desktop".to_owned(),
            waited_for,
            said: self.read("said") + &self.read("xfreerdp"),
        }
    }

    /// Returns the display of the clients, once its server runs.
    fn display(&self) -> Option<String> {
        let said = self.read("screen");
        // The X server may print warnings first.
        let (whole, _) = said.rsplit_once('\n')?;
        let number = whole.lines().rfind(|line| line.parse::<u32>().is_ok())?;
        Some(format!(":{number}"))
    }

    /// Runs an `evenkeel` command on the farm's machine; returns its output.
    fn ours(&self, words: &[&str]) -> Result<String, Error> {
        let mut command = Command::new(&self.evenkeel);
        command.args(words);
        command.env("EVENKEEL_RUNTIME_DIRECTORY", self.scratch.path());
        Ok(self.node.run(command)?)
    }

    /// Returns the time that a client needs to reach its session in this way.
    fn measure(&self, way: Way) -> Result<Duration, Error> {
        let options = self.options(way)?;
        let mut log = Log::at_end(self.scratch.path().join("ts1/xrdp.log"));
        let mut began = Instant::now();
        let client = self.comes(&options)?;
        self.wait("the session is shown", || log.has(CONNECTED))?;
        let mut took = began.elapsed();
        if matches!(way, Way::Cut | Way::Restart) {
            began = Instant::now();
            match way {
                Way::Cut => drop(self.ours(&["farm", "disconnect", "anna"])?),
                _ => self.kill_role()?,
            }
            self.wait("the session is shown again", || log.has(CONNECTED))?;
            took = began.elapsed();
        }
        drop(log);
        let mut log = Log::at_end(self.scratch.path().join("ts1/xrdp.log"));
        client.kill_tree();
        self.wait("the client is gone", || log.has(GONE))?;
        Ok(took)
    }

    /// Returns the arguments of xfreerdp.
    fn options(&self, way: Way) -> Result<Vec<String>, Error> {
        let host = match way {
            Way::Straight => DESKTOP,
            _ => NODE,
        };
        let mut options = vec![format!("/v:{host}")];
        let by_gateway = |transport: &str| {
            [
                format!("/g:{NODE}:443"),
                format!("/gt:{transport}"),
                "/gu:anna".to_owned(),
                "/gp:secret".to_owned(),
            ]
        };
        match way {
            Way::Straight | Way::Token | Way::Redirected | Way::Cut => {}
            Way::WebSocket | Way::Both | Way::Restart => options.extend(by_gateway("http")),
            Way::Pair => options.extend(by_gateway("http,no-websockets")),
        }
        // Files from the portal contain a token.
        if matches!(way, Way::Token | Way::WebSocket | Way::Pair) {
            options.push(format!("/load-balance-info:{}", self.token()?));
        }
        if matches!(way, Way::Cut | Way::Restart) {
            options.push("+auto-reconnect".to_owned());
        }
        Ok(options)
    }

    /// Starts a client of anna.
    fn comes(&self, options: &[String]) -> Result<LabProcess, Error> {
        let mut command = Command::new(&self.xfreerdp);
        command
            .args(["/u:anna", "/p:secret", "/cert:ignore"])
            .args(options);
        command.env("DISPLAY", self.display().unwrap_or_default());
        command.env("HOME", self.scratch.path());
        spawn(&self.scratch, &self.client, command, "xfreerdp")
    }

    /// Logs on like a redirected client; returns the token of the redirection.
    fn token(&self) -> Result<String, Error> {
        let tls = TlsClient::new_local(&TlsOffer::default())?.config();
        let redirected = self.client.enter(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            let to = SocketAddr::from((NODE, RDP));
            runtime.block_on(crowd::redirected(tls, CLIENT, to, "anna"))
        });
        let token = redirected.and_then(|token| String::from_utf8(token).map_err(io::Error::other));
        token.map_err(|_| self.not_ready("a token"))
    }

    /// Kills the process that has the tunnels.
    fn kill_role(&self) -> Result<(), Error> {
        let is_role = |pid: &Pid| {
            let path = format!("/proc/{}/cmdline", pid.as_raw_nonzero());
            let words = fs::read(path).unwrap_or_default();
            String::from_utf8_lossy(&words).contains("farm-role")
        };
        let role = self.program.tree().into_iter().find(is_role);
        let killed = role.is_some_and(|pid| kill_process(pid, Signal::KILL).is_ok());
        if killed {
            Ok(())
        } else {
            Err(self.not_ready("the role is killed"))
        }
    }
}

/// A log file of which only new text is read.
struct Log {
    path: PathBuf,
    read: usize,
}

impl Log {
    fn at_end(path: PathBuf) -> Log {
        let read = fs::metadata(&path).map_or(0, |known| known.len());
        Log {
            path,
            read: usize::try_from(read).unwrap_or(usize::MAX),
        }
    }

    /// Returns whether the words were logged since the last match.
    fn has(&mut self, words: &str) -> bool {
        let bytes = fs::read(&self.path).unwrap_or_default();
        let new = String::from_utf8_lossy(bytes.get(self.read..).unwrap_or_default());
        let Some(at) = new.find(words) else {
            return false;
        };
        self.read += at + words.len();
        true
    }
}

fn spawn(
    scratch: &ScratchDirectory,
    host: &LabHost,
    mut command: Command,
    said: &str,
) -> Result<LabProcess, Error> {
    output(&mut command, &scratch.path().join(said))?;
    Ok(host.spawn(command)?)
}

fn open(path: &Path) -> Result<(), Error> {
    let opened = fs::set_permissions(path, fs::Permissions::from_mode(0o755));
    opened.map_err(|source| Error::File {
        doing: "opening",
        path: path.to_owned(),
        source,
    })
}

/// Starts the host with xrdp, as the scenarios do.
fn xrdp(scratch: &ScratchDirectory, host: &LabHost) -> Result<LabProcess, Error> {
    let directory = scratch.path().join("ts1");
    fs::create_dir(&directory).map_err(|source| Error::File {
        doing: "creating",
        path: directory.clone(),
        source,
    })?;
    open(&directory)?;
    let mut openssl = Command::new("openssl");
    openssl.args([
        "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "10",
    ]);
    openssl
        .args(["-subj", "/CN=ts1", "-keyout"])
        .arg(directory.join("host.key"));
    openssl.arg("-out").arg(directory.join("host.crt"));
    let made = openssl.stderr(Stdio::null()).status();
    if !made.is_ok_and(|status| status.success()) {
        return Err(Error::Missing(Missing::Program("openssl")));
    }
    let mut command = Command::new("unshare");
    command.args(["--mount", "--pid", "--fork", "--kill-child"]);
    command.arg(workspace().join("tests/farm/farm-host.sh"));
    command
        .arg(&directory)
        .args([&DESKTOP.to_string(), DISPLAY]);
    spawn(scratch, host, command, "ts1.out")
}

fn configuration(scratch: &ScratchDirectory) -> Result<String, Error> {
    let leaf = Leaf {
        names: &["desktop.example.org"],
        ..Leaf::default()
    };
    let issued = Authority::new("Bench CA")?.issue(&leaf)?;
    let crt = scratch.write("farm.pem", issued.bundle())?;
    let crt = crt.display();
    Ok(format!(
        "farm office\n\tbind {NODE}:{RDP} crt {crt}\n\thost ts1 {DESKTOP}\n\tweb {NODE}:443 crt {crt}\n\
         \tgateway https://desktop.example.org/remoteDesktopGateway/\n\tusers staff\n\n\
         userlist staff\n\tuser anna insecure-password secret\n"
    ))
}
