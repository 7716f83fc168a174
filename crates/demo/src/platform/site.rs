//! Builds and runs all components of the platform demo: hosts, cables, members, servers, client and
//! forwarders; injects its faults, and queries its state. The module prints nothing.
//!
//! There are two switches: clients and the virtual address use `lan`, the members communicate over
//! `back`. The networks exist only in the namespaces.

use super::ends::DemoInput;
use super::error::PlatformError;
use super::forward::Forwarder;
use super::member::{PlatformMember, STEP_TIMEOUT, write_private};
use super::menu::{ActiveFaults, Choice};
use crate::demonstration::NAME;
use crate::load::{Counted, DemoClients, LoadStatistics, Pace};
use crate::server::{NAMES, SERVERS, SampleServer};
use namespace::{InjectedFault, Interface, Lab, LabHost, ScratchDirectory, Switch};
use serde_json::Value;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

pub const CONFIGURATION: &str = include_str!("../../../../examples/platform.cfg");
pub const VIRTUAL: Ipv4Addr = Ipv4Addr::new(10, 60, 0, 100);
pub const USER: &str = "admin";
pub const PASSWORD: &str = "keel";

/// Last byte of the first server's address; the other servers follow.
const FIRST_SERVER: u8 = 181;
const FIRST_PORT: u16 = 8600;
const PORTS_TRIED: u16 = 100;
const RESPONSE_BYTES_MAX: u64 = 64 << 10;
const PACE: Pace = Pace {
    clients: 2,
    per_client: 10,
    patience: Duration::from_secs(2),
};

/// The running platform. Dropping it removes everything.
pub struct DemoPlatform {
    // Fields are dropped in this order: the processes in the hosts before the hosts.
    forwarders: [Forwarder; 3],
    _load: DemoClients,
    seen: Arc<LoadStatistics>,
    failure: Arc<Mutex<String>>,
    faults: Faults,
    base: Base,
}

#[derive(Default)]
struct Faults {
    state: ActiveFaults,
    link: Vec<InjectedFault>,
    cables: Vec<InjectedFault>,
}

/// Hosts of the platform, with the members and servers in them.
pub struct Base {
    members: [PlatformMember; 3],
    servers: [SampleServer; SERVERS],
    cables: [Interface; 2],
    farm: LabHost,
    client: LabHost,
    back: Switch,
    _lan: Switch,
    _lab: Lab,
    scratch: ScratchDirectory,
}

impl Base {
    /// Creates the hosts, connects them, and starts the servers.
    ///
    /// # Errors
    /// Returns errors of the lab and of the system.
    pub fn new() -> Result<Base, PlatformError> {
        let lab = Lab::new("platform")?;
        let scratch = ScratchDirectory::new()?;
        let (lan, back) = (lab.switch("lan")?, lab.switch("back")?);
        let member = |name: &str, number: u8| -> Result<PlatformMember, PlatformError> {
            PlatformMember::new(lab.host(name)?, number, scratch.path())
        };
        let (alpha, beta, gamma) = (member("alpha", 1)?, member("beta", 2)?, member("gamma", 3)?);
        let attach = |switch: &Switch, host: &LabHost, network: u8, number: u8| {
            let interface = switch.attach(host)?;
            interface.address(&format!("10.{network}.0.{number}/24"))?;
            Ok::<Interface, PlatformError>(interface)
        };
        // Attaches the nodes to `lan` first, which is `eth0` in the configuration.
        let of_clients = attach(&lan, &alpha.host, 60, 1)?;
        attach(&lan, &beta.host, 60, 2)?;
        let of_members = attach(&back, &alpha.host, 61, 1)?;
        attach(&back, &beta.host, 61, 2)?;
        attach(&back, &gamma.host, 61, 3)?;
        let (client, farm) = (lab.host("client")?, lab.host("servers")?);
        attach(&lan, &client, 60, 9)?;
        let at_farm = attach(&lan, &farm, 60, FIRST_SERVER)?;
        for number in (FIRST_SERVER + 1..).take(SERVERS - 1) {
            at_farm.address(&format!("10.60.0.{number}/24"))?;
        }
        let [one, two, three] = [0, 1, 2].map(|index| sample(&farm, index));
        Ok(Base {
            members: [alpha, beta, gamma],
            servers: [one?, two?, three?],
            cables: [of_clients, of_members],
            farm,
            client,
            back,
            _lan: lan,
            _lab: lab,
            scratch,
        })
    }

    /// Creates the cluster and starts its members.
    ///
    /// # Errors
    /// A step failed, or the demo was ended.
    pub fn found(&mut self, ends: &DemoInput) -> Result<(), PlatformError> {
        let [alpha, beta, gamma] = &mut self.members;
        alpha.become_member(&["cluster", "init", "platform"])?;
        alpha.start()?;
        let token = alpha.invite(ends, &["cluster", "invite"])?;
        beta.become_member(&["cluster", "join", &token])?;
        beta.start()?;
        let token = alpha.invite(ends, &["cluster", "invite", "--arbiter"])?;
        gamma.become_member(&["arbiter", "join", &token])?;
        gamma.start()?;
        let [alpha, beta, gamma] = &self.members;
        let agree = || [alpha, beta, gamma].iter().all(|member| is_whole(member));
        let late = || alpha.late("an agreement of three members on a leader");
        ends.until(STEP_TIMEOUT, agree, late)
    }

    pub fn control(&self) -> PathBuf {
        self.scratch.path().join("control")
    }

    /// Applies the configuration, and waits until a client gets a response at the virtual address.
    ///
    /// # Errors
    /// A step failed, or the demo was ended.
    pub fn serve(&self, ends: &DemoInput) -> Result<(), PlatformError> {
        let file = self.scratch.path().join("platform.cfg");
        let section = format!(
            "\n\n{NAME}\n    control unix@{}\n",
            self.control().display()
        );
        write_private(&file, &(CONFIGURATION.to_owned() + &section))
            .map_err(PlatformError::system("write the configuration"))?;
        let [alpha, ..] = &self.members;
        alpha.apply(&file)?;
        // Requests only after the address has its owner: a connection without a request would count
        // as an error in the statistics.
        let serves = || self.owners() == [alpha.name()] && self.responds().is_ok();
        let late = || alpha.late("a response at the virtual address");
        ends.until(STEP_TIMEOUT, serves, late)
    }
}

impl Base {
    fn responds(&self) -> io::Result<()> {
        let mut stream = self.client.tcp_connect(service(), PACE.patience)?;
        stream.set_read_timeout(Some(PACE.patience))?;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: platform\r\nConnection: close\r\n\r\n")?;
        io::copy(&mut stream.take(RESPONSE_BYTES_MAX), &mut io::sink()).map(drop)
    }

    fn owners(&self) -> Vec<&str> {
        let owners = self.members.iter();
        let owners = owners.filter(|member| member.host.has_address(VIRTUAL.into()));
        owners.map(PlatformMember::name).collect()
    }
}

impl DemoPlatform {
    /// Starts the client and the forwarders.
    ///
    /// # Errors
    /// Returns the system's error.
    pub fn new(base: Base) -> Result<DemoPlatform, PlatformError> {
        let failed = || PlatformError::system("forward a port of 127.0.0.1");
        let forward = |first: u16, host: &LabHost, to: SocketAddr| {
            let on = IpAddr::from(Ipv4Addr::LOCALHOST);
            Forwarder::start(on, first..first + PORTS_TRIED, host, to).map_err(failed())
        };
        let [alpha, beta, _] = &base.members;
        let first = forward(FIRST_PORT, &alpha.host, PlatformMember::console())?;
        let second = forward(
            first.address.port() + 1,
            &beta.host,
            PlatformMember::console(),
        )?;
        let third = forward(second.address.port() + 1, &base.client, service())?;
        let (seen, failure) = (
            Arc::new(LoadStatistics::default()),
            Arc::new(Mutex::default()),
        );
        let told = {
            let failure = Arc::clone(&failure);
            move |text| *failure.lock().unwrap_or_else(PoisonError::into_inner) = text
        };
        let load = base
            .client
            .enter(|| DemoClients::start(service(), PACE, &seen, told));
        Ok(DemoPlatform {
            forwarders: [first, second, third],
            _load: load.map_err(PlatformError::system("start the client"))?,
            seen,
            failure,
            faults: Faults::default(),
            base,
        })
    }

    /// Returns host and port of the consoles of alpha and beta and of the service, for a browser of
    /// this machine. The host of beta's console has another name than that of alpha's: browsers
    /// keep the cookies of all ports of a host together, so signing in to one console would sign
    /// out of the other.
    pub fn addresses(&self) -> [String; 3] {
        let [alpha, beta, service] = self.forwarders.each_ref();
        [
            alpha.address.to_string(),
            format!("localhost:{}", beta.address.port()),
            service.address.to_string(),
        ]
    }

    pub fn state(&self) -> &ActiveFaults {
        &self.faults.state
    }

    pub fn seen(&self) -> Counted {
        self.seen.read()
    }

    pub fn failure(&self) -> String {
        self.failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub fn owners(&self) -> Vec<&str> {
        self.base.owners()
    }

    pub fn members(&self) -> impl Iterator<Item = (&str, bool)> {
        self.base
            .members
            .iter()
            .map(|member| (member.name(), member.runs()))
    }

    /// Returns the leader that the first running member with a majority reports.
    pub fn leader(&self) -> Option<String> {
        let running = self.base.members.iter().filter(|member| member.runs());
        let mut statuses = running.filter_map(PlatformMember::status);
        statuses.find_map(|status| leader(&status))
    }

    /// Returns a sign-in link for the console of a node, for a browser of this machine. Returns
    /// None if the node does not run.
    ///
    /// # Errors
    /// Fails if the command succeeds too late or prints no link, or if the demo was ended.
    pub fn link(&self, ends: &DemoInput, node: usize) -> Result<Option<String>, PlatformError> {
        let (members, addresses) = (&self.base.members, self.addresses());
        let (Some(member), Some(address)) = (members.get(node), addresses.get(node)) else {
            return Ok(None);
        };
        if !member.runs() {
            return Ok(None);
        }
        let printed = member.retry(ends, &["console", "link"])?;
        match through(&printed, address) {
            Some(link) => Ok(Some(link)),
            None => Err(PlatformError::Output {
                command: "evenkeel console link",
                wanted: "link",
                output: printed,
            }),
        }
    }

    /// Injects or heals the faults that a choice changes.
    ///
    /// # Errors
    /// Returns errors of the lab and of the system.
    pub fn change(&mut self, choice: Choice) -> Result<(), PlatformError> {
        let after = self.faults.state.after(choice);
        self.set_link(after.link_cut)?;
        self.set_cables(after.cables_out)?;
        self.set_servers(after.stopped)?;
        let [alpha, ..] = &mut self.base.members;
        match (after.alpha_dead, alpha.runs()) {
            (true, _) => alpha.kill(),
            // Starts the node after the cables are connected, so that its network is complete.
            (false, false) => alpha.start()?,
            (false, true) => {}
        }
        self.faults.state = after;
        Ok(())
    }

    fn set_link(&mut self, cut: bool) -> Result<(), PlatformError> {
        let [alpha, beta, _] = &self.base.members;
        if !cut {
            return heal(&mut self.faults.link);
        }
        if self.faults.link.is_empty() {
            let back = &self.base.back;
            let pairs = [(alpha, beta), (beta, alpha)];
            for (from, to) in pairs {
                self.faults.link.push(back.one_way(&from.host, &to.host)?);
            }
        }
        Ok(())
    }

    fn set_cables(&mut self, out: bool) -> Result<(), PlatformError> {
        if !out {
            return heal(&mut self.faults.cables);
        }
        if self.faults.cables.is_empty() {
            for interface in &self.base.cables {
                self.faults.cables.push(interface.pull()?);
            }
        }
        Ok(())
    }

    fn set_servers(&mut self, stopped: [bool; SERVERS]) -> Result<(), PlatformError> {
        for (server, stopped) in self.base.servers.iter().zip(stopped) {
            if stopped {
                server.stop()
            } else {
                let started = self.base.farm.enter(|| server.restart());
                started.map_err(PlatformError::system("start a server"))?;
            }
        }
        Ok(())
    }
}

/// Heals all faults, and returns the first error. A failure does not prevent the others.
fn heal(faults: &mut Vec<InjectedFault>) -> Result<(), PlatformError> {
    let healed: Vec<_> = faults.drain(..).map(InjectedFault::heal).collect();
    healed
        .into_iter()
        .collect::<Result<(), _>>()
        .map_err(PlatformError::Lab)
}

fn service() -> SocketAddr {
    SocketAddr::from((VIRTUAL, 80))
}

fn sample(farm: &LabHost, index: u8) -> Result<SampleServer, PlatformError> {
    let name = NAMES.get(usize::from(index)).copied().unwrap_or("more");
    let address = SocketAddr::from(([10, 60, 0, FIRST_SERVER + index], 80));
    let started = farm.enter(|| SampleServer::at(name, address));
    started.map_err(PlatformError::system("start a server"))
}

fn is_whole(member: &PlatformMember) -> bool {
    let Some(status) = member.status() else {
        return false;
    };
    let members = status.get("members").and_then(Value::as_array);
    let vote = |members: &Vec<Value>| {
        let votes = |member: &Value| member.get("votes") == Some(&Value::Bool(true));
        members.len() == 3 && members.iter().all(votes)
    };
    leader(&status).is_some() && members.is_some_and(vote)
}

fn leader(status: &Value) -> Option<String> {
    status
        .get("majority")
        .and_then(Value::as_bool)
        .filter(|majority| *majority)?;
    let id = status.get("leader").filter(|leader| !leader.is_null())?;
    let members = status.get("members")?.as_array()?;
    let leader = members.iter().find(|member| member.get("id") == Some(id))?;
    Some(leader.get("name")?.as_str()?.to_owned())
}

/// Returns the link that `evenkeel console link` printed, with the address of a forwarder instead
/// of the console's own.
fn through(printed: &str, address: &str) -> Option<String> {
    let link = printed.lines().find(|line| line.contains("://"))?;
    let (scheme, rest) = link.trim().split_once("://")?;
    let (_, path) = rest.split_once('/')?;
    Some(format!("{scheme}://{address}/{path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_is_of_this_site() {
        let text = CONFIGURATION;
        assert!(text.contains(&format!("address {VIRTUAL}/24")));
        for (index, name) in NAMES.iter().enumerate() {
            let number = usize::from(FIRST_SERVER) + index;
            assert!(text.contains(&format!("server {name} 10.60.0.{number}:80")));
        }
        assert!(text.contains(&format!("user {USER} password")));
        assert!(text.contains(&format!("bind :{}", PlatformMember::console().port())));
    }

    #[test]
    fn the_printed_password_is_the_one_of_the_configuration() {
        let line = CONFIGURATION
            .lines()
            .find(|line| line.trim().starts_with("user "));
        let hash = line.unwrap().split_whitespace().nth(3).unwrap();
        let hash = model::users::Hash::read(hash.as_bytes()).unwrap();
        assert!(hash.is_of(PASSWORD.as_bytes()));
    }

    #[test]
    fn sign_in_link_uses_the_forwarded_port() {
        let address = "127.0.0.1:8600";
        let printed = "https://alpha:8600/sign-in/abc?x=1\ncertificate (SHA-256): aa\n";
        let link = through(printed, address);
        assert_eq!(
            link.as_deref(),
            Some("https://127.0.0.1:8600/sign-in/abc?x=1")
        );
        assert_eq!(through("nothing", address), None);
    }

    #[test]
    fn the_leader_is_named_only_with_a_majority() {
        let status = |majority: bool| {
            serde_json::json!({
                "majority": majority, "leader": 2,
                "members": [{"id": 1, "name": "alpha"}, {"id": 2, "name": "beta"}],
            })
        };
        assert_eq!(leader(&status(true)).as_deref(), Some("beta"));
        assert_eq!(leader(&status(false)), None);
    }
}
