//! Sets up the scenarios with virtual addresses: two machines and a client on a switch, with either
//! program on each machine.

use crate::program::binary;
use lab::{
    Answerer, Capture, CapturedFrame, Interface, Lab, LabHost, LabProcess, Pace, ScratchDirectory,
    Switch, Watcher, eventually,
};
use std::fs::File;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Timeout of every wait, for a machine that is busy with other tests.
pub const SOON: Duration = Duration::from_secs(120);

/// Port at which the machines return their names.
pub const PORT: u16 = 7;

pub const VIP: &str = "10.60.0.100";
pub const VIP6: &str = "fd60::100";

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Router {
    Evenkeel,
    Keepalived,
}

impl Router {
    /// Returns a command of this program that accepts keepalived's flags.
    pub fn command(self) -> Command {
        match self {
            Router::Evenkeel => {
                let mut command = Command::new(binary());
                command.arg("keepalived");
                command
            }
            Router::Keepalived => Command::new("/usr/sbin/keepalived"),
        }
    }

    /// Both programs in one pair, in both orders.
    pub const MIXED: [[Router; 2]; 2] = [
        [Router::Evenkeel, Router::Keepalived],
        [Router::Keepalived, Router::Evenkeel],
    ];
}

/// Two machines, `alpha` and `beta`, and a client.
#[derive(Debug)]
pub struct Site {
    // Processes in the hosts end before the hosts.
    _answerers: Vec<Answerer>,
    pub capture: Capture,
    pub client: LabHost,
    pub alpha: Node,
    pub beta: Node,
    pub lan: Switch,
    pub lab: Lab,
}

#[derive(Debug)]
pub struct Node {
    pub host: LabHost,
    pub at: Interface,
    pub number: u8,
}

impl Site {
    pub fn new(name: &str) -> Site {
        let lab = Lab::new(name).unwrap();
        let lan = lab.switch("lan").unwrap();
        let node = |name: &str, number: u8| {
            let host = lab.host(name).unwrap();
            let at = lan.attach(&host).unwrap();
            at.address(&format!("10.60.0.{number}/24")).unwrap();
            at.address(&format!("fd60::{number}/64")).unwrap();
            Node { host, at, number }
        };
        let (alpha, beta) = (node("alpha", 1), node("beta", 2));
        let client = lab.host("client").unwrap();
        let at_client = lan.attach(&client).unwrap();
        at_client.address("10.60.0.9/24").unwrap();
        at_client.address("fd60::9/64").unwrap();
        let any = SocketAddr::from(([0_u16; 8], PORT));
        let answerers =
            [&alpha, &beta].map(|node| Answerer::start(&node.host, any, node.name()).unwrap());
        Site {
            _answerers: answerers.into(),
            capture: Capture::start(&at_client).unwrap(),
            client,
            alpha,
            beta,
            lan,
            lab,
        }
    }

    pub fn nodes(&self) -> [&Node; 2] {
        [&self.alpha, &self.beta]
    }

    /// Returns the machines that have an address now.
    pub fn owners(&self, vip: &str) -> Vec<&str> {
        let owners = self.nodes().into_iter().filter(|node| node.has(vip));
        owners.map(Node::name).collect()
    }

    /// Waits until exactly these machines have the address; returns false after [`SOON`].
    pub fn owned_by(&self, vip: &str, owners: &[&str]) -> bool {
        eventually(SOON, || self.owners(vip) == owners)
    }

    /// Starts a client that connects to the address again and again.
    pub fn watch(&self, vip: &str) -> Watcher {
        let address: IpAddr = vip.parse().unwrap();
        let service = SocketAddr::new(address, PORT);
        Watcher::start(&self.client, service, Pace::default()).unwrap()
    }

    /// Returns the adverts of one machine that were captured.
    pub fn adverts(&self, node: &Node) -> Vec<CapturedFrame> {
        let mut adverts = self.capture.frames_of(lab::Talk::Vrrp);
        let own = node.addresses();
        adverts.retain(|frame| match frame.addresses() {
            Some((IpAddr::V6(from), _)) if from.is_unicast_link_local() => {
                node.link_local() == Some(from.into())
            }
            Some((from, _)) => own.contains(&from),
            None => false,
        });
        adverts
    }
}

impl Node {
    pub fn name(&self) -> &str {
        self.host.name()
    }

    pub fn addresses(&self) -> [IpAddr; 2] {
        [
            IpAddr::from([10, 60, 0, self.number]),
            format!("fd60::{}", self.number).parse().unwrap(),
        ]
    }

    /// Returns the Ethernet address of the machine's interface.
    pub fn ethernet(&self) -> [u8; 6] {
        let shown = self
            .host
            .ip(&["-o", "link", "show", self.at.name()])
            .unwrap();
        let mut words = shown.split_whitespace().skip_while(|w| *w != "link/ether");
        let text = words.nth(1).unwrap_or_default();
        let mut bytes = text
            .split(':')
            .map(|byte| u8::from_str_radix(byte, 16).unwrap());
        [(); 6].map(|()| bytes.next().unwrap())
    }

    fn link_local(&self) -> Option<IpAddr> {
        let shown = self
            .host
            .ip(&["-6", "-o", "address", "show", "scope", "link"]);
        let shown = shown.ok()?;
        let address = shown
            .split_whitespace()
            .skip_while(|w| *w != "inet6")
            .nth(1)?;
        address.split('/').next()?.parse().ok()
    }

    /// Returns whether the machine has an address on any interface.
    pub fn has(&self, address: &str) -> bool {
        self.host.has_address(address.parse().unwrap())
    }

    /// Starts a program with a configuration in which `{at}` is the interface,
    /// `{own}` and `{peer}` are the addresses of this machine and the other one
    /// (`{own6}`, `{peer6}`), and `{dir}` is a directory of its own.
    pub fn run(&self, router: Router, configuration: &str) -> Running {
        let scratch = ScratchDirectory::new().unwrap();
        let text = self.fill(configuration, scratch.path());
        let config = scratch.write("keepalived.conf", text).unwrap();
        let mut command = router.command();
        let at = |name: &str| scratch.path().join(name);
        command
            .args(["-n", "-l", "-D", "-P", "-f"])
            .arg(&config)
            .arg("-p")
            .arg(at("pid"))
            .arg("-r")
            .arg(at("vrrp.pid"));
        Running::start(self, command, scratch, config)
    }

    pub fn fill(&self, configuration: &str, directory: &Path) -> String {
        let peer = 3 - self.number;
        configuration
            .replace("{at}", self.at.name())
            .replace("{own6}", &format!("fd60::{}", self.number))
            .replace("{peer6}", &format!("fd60::{peer}"))
            .replace("{own}", &format!("10.60.0.{}", self.number))
            .replace("{peer}", &format!("10.60.0.{peer}"))
            .replace("{dir}", &directory.display().to_string())
    }
}

/// A running program on a machine.
#[derive(Debug)]
pub struct Running {
    // Precedes the directory that the process writes to, because fields are dropped in this order.
    pub process: LabProcess,
    scratch: ScratchDirectory,
    config: PathBuf,
}

impl Running {
    pub fn start(
        node: &Node,
        mut command: Command,
        scratch: ScratchDirectory,
        config: PathBuf,
    ) -> Running {
        let said = scratch.path().join("said");
        let output = File::create(&said).unwrap();
        command
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output);
        Running {
            process: node.host.spawn(command).unwrap(),
            scratch,
            config,
        }
    }

    /// Returns the output of the program so far.
    pub fn said(&self) -> String {
        let bytes = std::fs::read(self.scratch.path().join("said")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Waits until the program has printed a text that many times.
    pub fn says(&self, text: &str, times: usize) -> bool {
        eventually(SOON, || self.said().matches(text).count() >= times)
    }

    /// Returns the path of the configuration with which the program was started.
    pub fn config(&self) -> &Path {
        &self.config
    }

    pub fn directory(&self) -> &Path {
        self.scratch.path()
    }

    /// Sends SIGTERM to the program, and waits for its end.
    pub fn stop(&self) {
        self.process.signal(lab::Signal::TERM).unwrap();
        let exit = self.process.wait(SOON);
        assert!(exit.is_some(), "does not stop: {}", self.said());
    }
}

/// A `vrrp_instance` that both programs accept.
#[derive(Clone, Debug)]
pub struct Vrrp {
    pub version: u8,
    pub unicast: bool,
    pub six: bool,
    pub advert: &'static str,
    pub priority: u8,
    /// Further lines of the instance.
    pub more: &'static str,
}

impl Vrrp {
    pub fn new(version: u8) -> Vrrp {
        Vrrp {
            version,
            unicast: false,
            six: false,
            advert: if version == 2 { "1" } else { "0.2" },
            priority: 100,
            more: "",
        }
    }

    pub fn priority(&self, priority: u8) -> Vrrp {
        Vrrp {
            priority,
            ..self.clone()
        }
    }

    pub fn advert(&self, advert: &'static str) -> Vrrp {
        Vrrp {
            advert,
            ..self.clone()
        }
    }

    pub fn more(&self, more: &'static str) -> Vrrp {
        Vrrp {
            more,
            ..self.clone()
        }
    }

    pub fn vip(&self) -> &'static str {
        if self.six { VIP6 } else { VIP }
    }

    pub fn text(&self) -> String {
        let Vrrp {
            version,
            advert,
            priority,
            more,
            ..
        } = self;
        let unicast = match (self.unicast, self.six) {
            (false, _) => String::new(),
            (true, false) => "unicast_src_ip {own}\n unicast_peer {\n {peer}\n }\n".to_owned(),
            (true, true) => "unicast_src_ip {own6}\n unicast_peer {\n {peer6}\n }\n".to_owned(),
        };
        let length = if self.six { 64 } else { 24 };
        let vip = self.vip();
        format!(
            "global_defs {{\n vrrp_version {version}\n}}\n\
             vrrp_instance VI_1 {{\n state BACKUP\n interface {{at}}\n\
             virtual_router_id 51\n priority {priority}\n advert_int {advert}\n\
             {unicast}{more}\n virtual_ipaddress {{\n {vip}/{length}\n }}\n}}\n"
        )
    }
}
