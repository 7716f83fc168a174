//! Provides the fixture of the IPv6 tests: a node with the boot role, and clients on a switch with
//! the node.

use boot::config::{
    AddressSource, BootConfig, ClientParameters, Image, Ipv6Config, Ipv6Network, LanConfig,
    LanPorts, UnknownMachinePolicy,
};
use boot::mac::Mac;
use boot::message::{MachineHistoryResponse, OperatorRequest};
use boot::role::{BootEnvironment, BootRole};
use lab::{Interface, Lab, LabHost, LabProcess, ScratchDirectory, Switch, eventually};
use part::codec;
use std::collections::BTreeMap;
use std::fs;
use std::net::Ipv6Addr;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Longest wait on a machine that is busy with other tests.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Script that records the events of a client: the name, and the address.
const SCRIPT: &str = "#!/bin/sh
echo \"$reason $new_ip6_address$old_ip6_address\" >>\"$TOLD\"
";

pub struct Ipv6NetworkFixture {
    role: Option<BootRole>,
    pub server: LabHost,
    pub lan: Switch,
    pub lab: Lab,
    leases: ScratchDirectory,
}

pub struct Client {
    pub host: LabHost,
    pub at: Interface,
    scratch: ScratchDirectory,
}

pub fn ip(network: u16, last: u16) -> Ipv6Addr {
    Ipv6Addr::new(0xfd00, network, 0, 0, 0, 0, 0, last)
}

/// Returns a section whose machines get one of ten addresses of the network.
pub fn with_range(network: u16) -> LanConfig {
    LanConfig {
        interface: "eth0".to_owned(),
        network: None,
        gives: AddressSource::Fixed,
        lease_s: 3_600,
        tells: ClientParameters::default(),
        images: BTreeMap::from([("disk".to_owned(), Image::Disk)]),
        disks: BTreeMap::new(),
        machines: BTreeMap::new(),
        unknown: UnknownMachinePolicy::Menu,
        ports: LanPorts::default(),
        leases: "/nowhere".into(),
        secure_boot: false,
        of_nodes: Default::default(),
        of_others: Default::default(),
        virtual_addresses: Default::default(),
        six: Some(Ipv6Config {
            network: Ipv6Network::of(ip(network, 0), 64),
            range: Some((ip(network, 0x100), ip(network, 0x109))),
            lease_s: 3_600,
            machines: BTreeMap::new(),
            dns: Vec::new(),
        }),
    }
}

impl Ipv6NetworkFixture {
    /// Creates a node with this address, on which nothing runs yet.
    pub fn new(name: &str, address: &str) -> Ipv6NetworkFixture {
        let lab = Lab::new(name).unwrap();
        let lan = lab.switch("lan").unwrap();
        let server = lab.host("server").unwrap();
        lan.attach(&server).unwrap().address(address).unwrap();
        Ipv6NetworkFixture {
            role: None,
            server,
            lan,
            lab,
            leases: ScratchDirectory::new().unwrap(),
        }
    }

    fn payload(&self, mut lan: LanConfig) -> Vec<u8> {
        lan.leases = self.leases.path().to_owned();
        codec::encode(&BootConfig {
            lans: [("lan".to_owned(), lan)].into(),
            ..BootConfig::default()
        })
    }

    /// Starts the role, and waits until it responds over IPv6.
    pub fn start(&mut self, lan: LanConfig) {
        let payload = self.payload(lan);
        let place = BootEnvironment {
            only_reads: || Ok(()),
            only_writes: |_| Ok(()),
            runtime: || "/nowhere".into(),
        };
        let role = self.server.enter(|| BootRole::new(place, &payload));
        self.role = Some(role.unwrap());
        let answers = || {
            let report = self.role().report();
            report.subjects[0].state.word == "answers"
        };
        assert!(eventually(PATIENCE, answers), "{:?}", self.role().report());
    }

    pub fn change(&mut self, lan: LanConfig) {
        let payload = self.payload(lan);
        let role = self.role.as_mut().unwrap();
        role.change(&payload).unwrap();
    }

    pub fn stop(&mut self) {
        self.role = None;
    }

    pub fn role(&self) -> &BootRole {
        self.role.as_ref().unwrap()
    }

    pub fn asked(&mut self, card: Mac) -> String {
        let machine = card.to_string();
        let answer = self
            .role
            .as_mut()
            .unwrap()
            .order(&OperatorRequest::Why { machine });
        let asked: MachineHistoryResponse = codec::decode(&answer).unwrap();
        let steps = asked.steps.iter();
        let steps = steps.map(|one| format!("{} -> {}: {}\n", one.asked, one.answered, one.why));
        steps.collect()
    }

    #[track_caller]
    pub fn why(&mut self, client: &Client, text: &str) {
        let card = client.card();
        let came = eventually(PATIENCE, || self.asked(card).contains(text));
        assert!(came, "no `{text}`: {}", self.asked(card));
    }

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

    pub fn card(&self) -> Mac {
        let words = ["-brief", "link", "show", "dev", "eth0"];
        let text = self.host.ip(&words).unwrap();
        let mac = text.split_whitespace().nth(2).unwrap();
        mac.parse().unwrap()
    }

    fn dhclient(&self, words: &[&str]) -> LabProcess {
        let at = |name: &str| self.scratch.path().join(name).display().to_string();
        let mut command = Command::new("dhclient");
        command.arg("-6").args(words).arg("-d");
        command.args(["-sf", &at("script"), "-lf", &at("leases")]);
        command.args(["-pf", &at("pid"), "-cf", "/dev/null"]);
        command.args(["-e", &format!("TOLD={}", at("told")), "eth0"]);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(Stdio::null());
        self.host.spawn(command).unwrap()
    }

    /// Starts dhclient in the background.
    pub fn stays(&self) -> LabProcess {
        let _ = fs::remove_file(self.scratch.path().join("told"));
        self.scratch.write("leases", "").unwrap();
        self.dhclient(&["-1", "-D", "LL"])
    }

    /// Requests an address, and returns it.
    #[track_caller]
    pub fn asks(&self) -> String {
        let program = self.stays();
        self.hears(program)
    }

    /// As [`Client::asks`], with a link-local address and a DUID that do not contain the MAC
    /// address.
    #[track_caller]
    pub fn asks_without_its_card(&self) -> String {
        let mode = "net/ipv6/conf/eth0/addr_gen_mode";
        self.host.sysctl(mode, "1").unwrap();
        let ip = |words: &[&str]| drop(self.host.ip(words).unwrap());
        ip(&["-6", "address", "flush", "dev", "eth0"]);
        ip(&["address", "add", "fe80::7/64", "dev", "eth0", "nodad"]);
        let _ = fs::remove_file(self.scratch.path().join("told"));
        let uuid = "default-duid \"\\000\\004abcdefghijklmnop\";\n";
        self.scratch.write("leases", uuid).unwrap();
        self.hears(self.dhclient(&["-1"]))
    }

    #[track_caller]
    fn hears(&self, program: LabProcess) -> String {
        let mut address = None;
        let came = eventually(PATIENCE, || {
            let told = fs::read_to_string(self.scratch.path().join("told")).unwrap_or_default();
            let mut lines = told.lines();
            address = lines.find_map(|line| Some(line.strip_prefix("BOUND6 ")?.to_owned()));
            address.is_some()
        });
        assert!(came, "no address");
        drop(program);
        address.unwrap()
    }

    pub fn gives_back(&self) {
        let program = self.dhclient(&["-r"]);
        assert!(program.wait(PATIENCE).is_some(), "dhclient ends");
    }
}
