//! Sets up two machines and a client on a switch, created for every turn, with the same program on
//! both machines.

use crate::comparison::Error;
use lab::{
    Answerer, Interface, Lab, LabHost, LabProcess, OriginServer, Pace, ScratchDirectory, Switch,
    Watcher, WatcherResults, eventually,
};
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

pub const ADDRESS: &str = "10.60.0.100";
const PORT: u16 = 7;

/// Time until the pair has a master and the client is served.
pub const READY_TIMEOUT: Duration = Duration::from_secs(30);

/// Number of consecutive responses after which the address counts as served steadily, before a
/// fault and after it.
pub const STEADY_LOOKS: usize = 60;

/// A program that owns virtual addresses.
#[derive(Clone, Debug)]
pub struct AddressProgram {
    pub label: &'static str,
    pub program: PathBuf,
    pub ours: bool,
}

impl AddressProgram {
    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        if self.ours {
            command.arg("keepalived");
        }
        command
    }

    /// Returns the version that the program reports.
    pub fn version(&self) -> Option<String> {
        let output = self.command().arg("-v").output().ok()?;
        let said = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&said);
        text.lines().find(|l| !l.is_empty()).map(str::to_owned)
    }
}

/// A machine of the pair.
#[derive(Debug)]
pub struct Node {
    pub program: LabProcess,
    pub host: LabHost,
    at: Interface,
    scratch: ScratchDirectory,
}

impl Node {
    pub fn new(
        program: LabProcess,
        host: LabHost,
        at: Interface,
        scratch: ScratchDirectory,
    ) -> Node {
        Node {
            program,
            host,
            at,
            scratch,
        }
    }

    pub fn said(&self) -> String {
        let bytes = fs::read(self.scratch.path().join("said")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Returns how often the node became master.
    pub fn masters(&self) -> usize {
        self.said().matches("Entering MASTER STATE").count()
    }

    pub fn has_address(&self) -> Result<bool, Error> {
        Ok(self.at.has_address(ADDRESS)?)
    }
}

/// A pair whose first machine is master, and a client that polls the address.
#[derive(Debug)]
pub struct Site {
    pub(super) watcher: Option<Watcher>,
    pub(super) _answerers: Vec<Answerer>,
    pub(super) _proxies: Vec<LabProcess>,
    pub(super) _origin: Option<OriginServer>,
    pub alpha: Node,
    pub beta: Node,
    pub(super) label: &'static str,
    pub(super) client: LabHost,
    pub(super) _lan: Switch,
    pub(super) _lab: Lab,
}

impl Site {
    /// Starts the pair, and waits until the first machine serves steadily.
    pub fn start(side: &AddressProgram, advert: &str) -> Result<Site, Error> {
        let lab = Lab::new("bench")?;
        let lan = lab.switch("lan")?;
        let client = lab.host("client")?;
        lan.attach(&client)?.address("10.60.0.9/24")?;
        let node = |name: &str, number: u8, priority: u8| -> Result<Node, Error> {
            let host = lab.host(name)?;
            let at = lan.attach(&host)?;
            at.address(&format!("10.60.0.{number}/24"))?;
            let scratch = ScratchDirectory::new()?;
            let program = run(side, &host, &scratch, advert, priority)?;
            Ok(Node::new(program, host, at, scratch))
        };
        let (alpha, beta) = (node("alpha", 1, 200)?, node("beta", 2, 100)?);
        let any = SocketAddr::from(([0, 0, 0, 0], PORT));
        let answerers = vec![
            Answerer::start(&alpha.host, any, "alpha")?,
            Answerer::start(&beta.host, any, "beta")?,
        ];
        let mut site = Site {
            watcher: None,
            _answerers: answerers,
            _proxies: Vec::new(),
            _origin: None,
            alpha,
            beta,
            label: side.label,
            client,
            _lan: lan,
            _lab: lab,
        };
        let owned = || site.alpha.masters() > 0 && site.alpha.has_address().unwrap_or(false);
        if !eventually(READY_TIMEOUT, owned) {
            return Err(site.not_ready("the first machine becomes master"));
        }
        let service = SocketAddr::from(([10, 60, 0, 100], PORT));
        site.watcher = Some(Watcher::start(&site.client, service, Pace::default())?);
        site.wait_for("alpha", "the first machine serves")?;
        Ok(site)
    }

    pub(super) fn not_ready(&self, waited_for: &'static str) -> Error {
        Error::NotReady {
            label: self.label.to_owned(),
            waited_for,
            said: format!("{}{}", self.alpha.said(), self.beta.said()),
        }
    }

    /// Waits until a machine serves steadily.
    pub fn wait_for(&self, who: &str, waited_for: &'static str) -> Result<(), Error> {
        let watcher = self.watcher.as_ref();
        let served = watcher.is_some_and(|w| w.wait_for(Some(who), STEADY_LOOKS, READY_TIMEOUT));
        if served {
            Ok(())
        } else {
            Err(self.not_ready(waited_for))
        }
    }

    pub fn pass(&self, time: Duration) {
        thread::sleep(time);
    }

    /// Waits until the first machine no longer has the address, and returns the time that this
    /// took, at most `most`.
    pub fn left_behind(&self, since: Instant, most: Duration) -> Duration {
        let gone = || !self.alpha.has_address().unwrap_or(false);
        if eventually(most.saturating_sub(since.elapsed()), gone) {
            since.elapsed().min(most)
        } else {
            most
        }
    }

    pub fn seen(&mut self) -> WatcherResults {
        self.watcher.take().map(Watcher::stop).unwrap_or_default()
    }
}

/// Starts the program of this side on a host, with one virtual router.
pub fn run(
    side: &AddressProgram,
    host: &LabHost,
    scratch: &ScratchDirectory,
    advert: &str,
    priority: u8,
) -> Result<LabProcess, Error> {
    let config = scratch.write(
        "keepalived.conf",
        format!(
            "global_defs {{\n vrrp_version 3\n}}\n\
             vrrp_instance VI_1 {{\n state BACKUP\n interface eth0\n virtual_router_id 51\n \
             priority {priority}\n advert_int {advert}\n \
             virtual_ipaddress {{\n  {ADDRESS}/24\n }}\n}}\n"
        ),
    )?;
    let mut command = side.command();
    command
        .args(["-n", "-l", "-D", "-P", "-f"])
        .arg(config)
        .arg("-p")
        .arg(scratch.path().join("pid"))
        .arg("-r")
        .arg(scratch.path().join("vrrp.pid"));
    output(&mut command, scratch)?;
    Ok(host.spawn(command)?)
}

/// Redirects the output of a program to a file.
pub fn output(command: &mut Command, scratch: &ScratchDirectory) -> Result<(), Error> {
    let path = scratch.path().join("said");
    let (out, err) = File::create(&path)
        .and_then(|file| Ok((file.try_clone()?, file)))
        .map_err(|source| Error::File {
            doing: "creating",
            path,
            source,
        })?;
    command.stdin(Stdio::null()).stdout(out).stderr(err);
    Ok(())
}
