//! Sets up a DHCP server and its clients in two namespaces, created for every turn.

use crate::comparison::Error;
use lab::{Lab, LabHost, LabProcess, ScratchDirectory, Switch, eventually};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Time in seconds during which exchanges begin.
pub const SECONDS: u32 = 5;
/// Timeout of the start of a server, and of perfdhcp.
const SOON: Duration = Duration::from_secs(60);
/// Number of machines that the servers know.
const MACHINES: u32 = 10_000;
/// Number of clients that get addresses of the range.
const CLIENTS: u32 = 60_000;
/// First MAC address of the known machines.
const KNOWN: &str = "02:01:00:00:00:00";
const UNKNOWN: &str = "02:02:00:00:00:00";
/// Path of Kea's lease file, which Kea accepts only in this directory.
const KEA_LEASES: &str = "/var/lib/kea/evenkeel-bench.csv";

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Evenkeel,
    Kea,
    Dnsmasq,
}

#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Number of exchanges that begin per second.
    pub rate: u32,
    /// The servers know the clients.
    pub is_known: bool,
}

#[derive(Clone, Copy, Debug)]
pub struct Measured {
    pub exchanges: f64,
    pub cpu: Duration,
    pub p99: Duration,
}

#[derive(Debug)]
pub struct BootServer {
    program: LabProcess,
    client: LabHost,
    scratch: ScratchDirectory,
    label: String,
    _server: LabHost,
    _lan: Switch,
    _lab: Lab,
}

/// Returns the IP address and the MAC address of a known machine.
fn machine(number: u32) -> (String, String) {
    let [_, _, high, low] = (number + 1).to_be_bytes();
    let [_, _, c, d] = number.to_be_bytes();
    (
        format!("10.21.{high}.{low}"),
        format!("02:01:00:00:{c:02x}:{d:02x}"),
    )
}

fn evenkeel(directory: &Path) -> String {
    let mut text = format!(
        "boot lan\n interface eth0\n range 10.20.1.0 10.20.250.255 lease 1h\n unknown menu\n \
         leases {}\n image disk disk\n",
        directory.join("leases").display()
    );
    for number in 0..MACHINES {
        let (address, mac) = machine(number);
        let _ = writeln!(
            text,
            " machine m{number} mac {mac} address {address} image disk"
        );
    }
    text
}

fn kea() -> String {
    let machines = (0..MACHINES).map(machine);
    let machines = machines.map(|(address, mac)| {
        format!("{{\"hw-address\": \"{mac}\", \"ip-address\": \"{address}\"}}")
    });
    let machines: Vec<String> = machines.collect();
    format!(
        "{{\"Dhcp4\": {{\"interfaces-config\": {{\"interfaces\": [\"eth0\"]}}, \
         \"lease-database\": {{\"type\": \"memfile\", \"persist\": true, \"name\": \"{KEA_LEASES}\"}}, \
         \"valid-lifetime\": 3600, \"subnet4\": [{{\"id\": 1, \"subnet\": \"10.20.0.0/15\", \
         \"pools\": [{{\"pool\": \"10.20.1.0 - 10.20.250.255\"}}], \
         \"reservations-out-of-pool\": true, \"reservations\": [{}]}}], \
         \"loggers\": [{{\"name\": \"kea-dhcp4\", \"severity\": \"ERROR\", \
         \"output_options\": [{{\"output\": \"stderr\"}}]}}]}}}}",
        machines.join(", ")
    )
}

fn dnsmasq(directory: &Path) -> String {
    let mut text = format!(
        "port=0\ninterface=eth0\nbind-interfaces\nuser=root\nno-ping\ndhcp-authoritative\nquiet-dhcp\n\
         dhcp-range=10.20.1.0,10.20.250.255,255.254.0.0,1h\ndhcp-lease-max=100000\n\
         dhcp-leasefile={0}/leases\npid-file={0}/pid\n",
        directory.display()
    );
    for number in 0..MACHINES {
        let (address, mac) = machine(number);
        let _ = writeln!(text, "dhcp-host={mac},{address}");
    }
    text
}

impl Kind {
    fn command(self, program: &Path, scratch: &ScratchDirectory) -> Result<Command, Error> {
        let directory = scratch.path();
        let text = match self {
            Kind::Evenkeel => evenkeel(directory),
            Kind::Kea => kea(),
            Kind::Dnsmasq => dnsmasq(directory),
        };
        let file = scratch.write("server.conf", text)?;
        let mut command = Command::new(program);
        match self {
            Kind::Evenkeel => command.args(["run", "-f"]),
            Kind::Kea => {
                remove_leases();
                command.env("KEA_PIDFILE_DIR", directory);
                command.env("KEA_LOCKFILE_DIR", directory);
                command.arg("-c")
            }
            Kind::Dnsmasq => command.args(["--keep-in-foreground", "-C"]),
        };
        command.arg(file);
        Ok(command)
    }
}

/// Removes the leases of a turn of Kea, and the files next to them.
fn remove_leases() {
    for end in ["", ".1", ".2", ".completed", ".output", ".pid"] {
        // Most of these files do not exist.
        let _ = fs::remove_file(format!("{KEA_LEASES}{end}"));
    }
}

impl Drop for BootServer {
    fn drop(&mut self) {
        self.program.kill_tree();
        remove_leases();
    }
}

impl BootServer {
    /// Starts a server, and waits until it responds.
    pub fn start(kind: Kind, program: &Path) -> Result<BootServer, Error> {
        let lab = Lab::new("bench")?;
        let lan = lab.switch("lan")?;
        let (server, client) = (lab.host("server")?, lab.host("client")?);
        lan.attach(&server)?.address("10.20.0.1/15")?;
        lan.attach(&client)?.address("10.20.0.2/15")?;
        let scratch = ScratchDirectory::new()?;
        let mut command = kind.command(program, &scratch)?;
        output(&mut command, &scratch.path().join("said"))?;
        let site = BootServer {
            program: server.spawn(command)?,
            client,
            scratch,
            label: program.display().to_string(),
            _server: server,
            _lan: lan,
            _lab: lab,
        };
        let one = [
            "-R",
            "1",
            "-b",
            "mac=02:03:00:00:00:00",
            "-r",
            "1",
            "-p",
            "1",
            "-W",
            "100000",
        ];
        if !eventually(SOON, || {
            site.perfdhcp(&one).is_ok_and(|text| received(&text) > 0.0)
        }) {
            return Err(site.not_ready("it answers"));
        }
        Ok(site)
    }

    fn not_ready(&self, waited_for: &'static str) -> Error {
        let said = fs::read(self.scratch.path().join("said")).unwrap_or_default();
        Error::NotReady {
            label: self.label.clone(),
            waited_for,
            said: String::from_utf8_lossy(&said).into_owned(),
        }
    }

    /// Runs the clients, and returns the output of perfdhcp.
    fn perfdhcp(&self, words: &[&str]) -> Result<String, Error> {
        let path = self.scratch.path().join("perfdhcp");
        let mut command = Command::new("perfdhcp");
        command
            .args(["-4", "-1", "-l", "eth0", "-x", "t"])
            .args(words);
        output(&mut command, &path)?;
        // perfdhcp also fails if packets were lost, so its exit status is ignored.
        if self.client.spawn(command)?.wait(SOON).is_none() {
            return Err(self.not_ready("perfdhcp ends"));
        }
        fs::read_to_string(&path).map_err(|source| Error::File {
            doing: "reading",
            path,
            source,
        })
    }

    /// Runs the clients for [`SECONDS`], and measures the exchanges.
    pub fn load(&self, load: Load) -> Result<Measured, Error> {
        let (clients, base) = if load.is_known {
            (MACHINES, KNOWN)
        } else {
            (CLIENTS, UNKNOWN)
        };
        let (clients, base) = (clients.to_string(), format!("mac={base}"));
        let (rate, time) = (load.rate.to_string(), SECONDS.to_string());
        let before = cpu_of(&self.program);
        let words = [
            "-R", &clients, "-b", &base, "-r", &rate, "-p", &time, "-W", "500000",
        ];
        let text = self.perfdhcp(&words)?;
        let cpu = cpu_of(&self.program).saturating_sub(before);
        let exchanges = received(&text);
        let p99 = p99(&text).filter(|_| exchanges > 0.0);
        let p99 = p99.ok_or_else(|| self.not_ready("clients are answered"))?;
        Ok(Measured {
            exchanges,
            cpu,
            p99,
        })
    }
}

/// Returns the CPU time of all processes of a server.
pub fn cpu_of(program: &LabProcess) -> Duration {
    let mut tree = program.tree();
    tree.extend(rustix::process::Pid::from_raw(program.pid()));
    tree.sort_unstable_by_key(|pid| pid.as_raw_nonzero());
    tree.dedup();
    tree.into_iter()
        .map(|pid| cpu_of_process(pid.as_raw_nonzero().get()))
        .sum()
}

/// Returns the CPU time of all threads of a process, including ended ones.
fn cpu_of_process(pid: i32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields);
    // User time and system time: fields 14 and 15.
    let ticks = fields.split(' ').skip(11).take(2);
    let ticks: u64 = ticks.filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 1_000 / rustix::param::clock_ticks_per_second().max(1))
}

/// Returns the number of complete exchanges: the received packets of the last kind.
fn received(text: &str) -> f64 {
    let mut counts = text
        .lines()
        .filter_map(|line| line.strip_prefix("received packets: "));
    counts
        .next_back()
        .and_then(|count| count.trim().parse().ok())
        .unwrap_or(0.0)
}

/// Returns the 99th percentile of the time to a reply.
fn p99(text: &str) -> Option<Duration> {
    let pairs = text
        .lines()
        .filter_map(|line| line.strip_prefix("sent / received: "));
    let mut times: Vec<f64> = pairs
        .filter_map(|pair| {
            let (sent, received) = pair.split_once(" / ")?;
            Some(received.trim().parse::<f64>().ok()? - sent.trim().parse::<f64>().ok()?)
        })
        .collect();
    times.sort_unstable_by(f64::total_cmp);
    let time = times.get(times.len() * 99 / 100)?;
    Some(Duration::from_secs_f64(time.max(0.0)))
}

/// Redirects the output of a command to a file.
pub fn output(command: &mut Command, path: &PathBuf) -> Result<(), Error> {
    let failed = |source| Error::File {
        doing: "creating",
        path: path.clone(),
        source,
    };
    let out = File::create(path).map_err(failed)?;
    let err = out.try_clone().map_err(failed)?;
    command.stdin(Stdio::null()).stdout(out).stderr(err);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_of_perfdhcp_are_read() {
        let mut text = "received packets: 7\nreceived packets: 5\n".to_owned();
        for number in 0..200 {
            let _ = writeln!(
                text,
                "sent / received: 000003.000000 / 000003.{:06}",
                number + 1
            );
        }
        text.push_str("sent / received: 000003.998246 / *\n");
        assert_eq!(received(&text), 5.0);
        let p99 = p99(&text).unwrap();
        assert_eq!(p99.as_micros(), 199);
        assert_eq!(received(""), 0.0);
    }
}
