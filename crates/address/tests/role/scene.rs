//! Builds the network of the tests: hosts on a switch with address roles in them.

use crate::child::{self, DUMPS, SOCKET, STALL, STATE, VITALS};
use address::config::{Address, Config, Dialect, Instance, InstanceTransport, Options, Peer};
use address::role::VIRTUAL_IP;
use lab::{Interface, Lab, LabHost, LabProcess, ScratchDirectory, Switch, eventually};
use part::report::{StatusReport, Subject};
use std::env;
use std::io::Write;
use std::net::IpAddr;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Longest wait of a test, also on a busy machine.
pub const LATEST: Duration = Duration::from_secs(30);

pub const VIP: &str = "10.0.0.100";

/// Hosts `alpha`, `beta` (10.0.0.1 and .2) and a client (.9) on a switch.
pub struct Scene {
    pub alpha: LabHost,
    pub beta: LabHost,
    pub client: LabHost,
    pub at_alpha: Interface,
    pub scratch: ScratchDirectory,
    _switch: Switch,
    _lab: Lab,
}

impl Scene {
    pub fn new(name: &str) -> Scene {
        let lab = Lab::new(name).unwrap();
        let switch = lab.switch("lan").unwrap();
        let hosts = ["alpha", "beta", "client"].map(|n| lab.host(n).unwrap());
        let ports = [0, 1, 2].map(|n| {
            let port = switch.attach(&hosts[n]).unwrap();
            let last = [1, 2, 9][n];
            port.address(&format!("10.0.0.{last}/24")).unwrap();
            port.address(&format!("fd00::{last}/64")).unwrap();
            port
        });
        let [alpha, beta, client] = hosts;
        let [at_alpha, _, _] = ports;
        Scene {
            alpha,
            beta,
            client,
            at_alpha,
            scratch: ScratchDirectory::new().unwrap(),
            _switch: switch,
            _lab: lab,
        }
    }

    pub fn role(&self, host: &LabHost, config: &Config) -> AddressRoleFixture {
        self.role_with(host, config, None)
    }

    pub fn role_with(
        &self,
        host: &LabHost,
        config: &Config,
        vitals: Option<&Path>,
    ) -> AddressRoleFixture {
        let name = host.name().to_owned();
        let path = self.scratch.path().join(format!("{name}.socket"));
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path).unwrap();
        let mut command = Command::new(env::current_exe().unwrap());
        command
            .args(["--exact", "--nocapture"])
            .arg("child::this_process_is_a_role_when_it_was_started_as_one")
            .env(SOCKET, &path)
            .env(STATE, self.scratch.path().join(format!("{name}.state")))
            .env(DUMPS, self.scratch.path())
            .env(STALL, self.stall(host))
            .stdout(Stdio::null());
        if let Some(path) = vitals {
            command.env(VITALS, path);
        }
        let process = host.spawn(command).unwrap();
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(&config.encode()).unwrap();
        stream.write_all(b"\n").unwrap();
        let said = Arc::new(Mutex::new(Vec::new()));
        let (read, keep) = (stream.try_clone().unwrap(), Arc::clone(&said));
        std::thread::spawn(move || {
            for line in child::lines(read) {
                keep.lock().unwrap().push(line);
            }
        });
        let role = AddressRoleFixture {
            process,
            stream,
            said,
            name,
        };
        role.wait_for("ready");
        role
    }

    /// Returns the path of the file that blocks the loop of a host's role ([`STALL`]).
    pub fn stall(&self, host: &LabHost) -> PathBuf {
        self.scratch.path().join(format!("{}.stall", host.name()))
    }

    pub fn has(&self, host: &LabHost, address: &str) -> bool {
        let shown = host.ip(&["-o", "address", "show"]).unwrap();
        shown.contains(&format!(" {address}/"))
    }

    pub fn comes_to(&self, host: &LabHost, address: &str) -> bool {
        eventually(LATEST, || self.has(host, address))
    }

    pub fn leaves(&self, host: &LabHost, address: &str) -> bool {
        eventually(LATEST, || !self.has(host, address))
    }
}

pub struct AddressRoleFixture {
    pub process: LabProcess,
    stream: UnixStream,
    said: Arc<Mutex<Vec<String>>>,
    name: String,
}

impl AddressRoleFixture {
    pub fn order(&self, line: &str) {
        let mut stream = &self.stream;
        stream.write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    pub fn said(&self) -> Vec<String> {
        self.said.lock().unwrap().clone()
    }

    pub fn says(&self, part: &str) -> bool {
        self.said().iter().any(|line| line.contains(part))
    }

    pub fn count(&self, part: &str) -> usize {
        self.said()
            .iter()
            .filter(|line| line.contains(part))
            .count()
    }

    pub fn wait_for(&self, part: &str) {
        let said = eventually(LATEST, || self.says(part));
        assert!(
            said,
            "{} never said `{part}`:\n{}",
            self.name,
            self.said().join("\n")
        );
    }

    pub fn take(&self, config: &Config) {
        let before = self.count("taken");
        self.order(&format!(
            "take {}",
            String::from_utf8(config.encode()).unwrap()
        ));
        assert!(
            eventually(LATEST, || self.count("taken") > before),
            "{:?}",
            self.said()
        );
    }

    pub fn report(&self) -> StatusReport {
        let before = self.count("report {");
        self.order("status");
        assert!(eventually(LATEST, || self.count("report {") > before));
        let said = self.said();
        let last = said.iter().rev().find_map(|l| l.strip_prefix("report "));
        serde_json::from_str(last.unwrap()).unwrap()
    }

    pub fn first(&self) -> Subject {
        self.report().of_kind(VIRTUAL_IP).next().unwrap().clone()
    }

    pub fn number(&self, name: &str) -> u64 {
        self.first().value(name).unwrap()
    }

    pub fn state(&self, name: &str) -> String {
        let report = self.report();
        report.find(VIRTUAL_IP, name).unwrap().state.word.clone()
    }
}

pub fn hears_adverts(role: &AddressRoleFixture, more: u64) {
    let heard = || role.number("adverts_received");
    let before = heard();
    assert!(eventually(LATEST, || heard() >= before + more));
}

pub fn address(text: &str) -> Address {
    let (address, prefix) = text.split_once('/').unwrap();
    Address::new(address.parse().unwrap(), prefix.parse().unwrap())
}

pub fn instance(name: &str, vrid: u8, priority: u8) -> Instance {
    Instance {
        name: name.to_owned(),
        interface: "eth0".to_owned(),
        vrid,
        priority,
        ipv6: false,
        transport: InstanceTransport::Multicast {
            group: IpAddr::from([224, 0, 0, 18]),
        },
        addresses: vec![address("10.0.0.100/24")],
        options: Options {
            advert_interval: Duration::from_millis(100),
            version: 3,
            ..Options::default()
        },
        ..Instance::default()
    }
}

/// Returns the instance of [`simple`] with adverts to one peer.
pub fn unicast(peer: &str, priority: u8) -> Instance {
    let mut one = instance("VI_1", 51, priority);
    one.transport = InstanceTransport::Unicast {
        peers: vec![Peer {
            address: peer.parse().unwrap(),
            min_ttl: None,
            max_ttl: None,
        }],
        ttl: None,
        check_source: true,
    };
    one
}

pub fn config(instances: Vec<Instance>) -> Config {
    Config {
        dialect: Dialect::Keepalived,
        instances,
        ..Config::default()
    }
}

pub fn simple(priority: u8) -> Config {
    config(vec![instance("VI_1", 51, priority)])
}

/// Increases the advert interval to one second, so that a restarted role on a busy machine is ready
/// before the other one takes over.
pub fn patient(mut config: Config) -> Config {
    for instance in &mut config.instances {
        instance.options.advert_interval = Duration::from_secs(1);
    }
    config
}
