//! Runs real programs with a configuration of the test, such as haproxy and nginx, waits until they
//! accept connections, and ends them.

use namespace::{Exit, LabError, LabProcess, Location, MAX_SAID_BYTES, ScratchDirectory};
use std::fs::File;
use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Maximum time until a peer accepts connections.
const READY_TIMEOUT: Duration = Duration::from_secs(30);

const READY_POLL: Duration = Duration::from_millis(10);
const CONFIG: &str = "config";
const OUTPUT: &str = "output";

/// Placeholder for the peer's own directory in its configuration and arguments.
const DIRECTORY: &str = "{dir}";

/// Process of a program that accepts connections at an address. Dropping it kills the process and
/// removes its directory.
#[derive(Debug)]
pub struct Peer {
    // Declared before the directory that it writes to, because fields are dropped in this order.
    process: LabProcess,
    scratch: ScratchDirectory,
    address: SocketAddr,
    program: String,
}

impl Peer {
    /// Starts haproxy with this configuration, and waits until the address accepts connections.
    /// `{dir}` in the configuration is replaced by the peer's own directory.
    pub fn haproxy(
        place: impl Into<Location>,
        config: &str,
        address: SocketAddr,
    ) -> Result<Self, LabError> {
        Peer::start(
            place,
            "haproxy",
            &["-db", "-f", "{dir}/config"],
            config,
            address,
        )
    }

    /// Starts nginx with this configuration. Options keep it in the foreground and set its pid
    /// file; the configuration decides everything else.
    pub fn nginx(
        place: impl Into<Location>,
        config: &str,
        address: SocketAddr,
    ) -> Result<Self, LabError> {
        let global = "daemon off; pid {dir}/pid;";
        let args = [
            "-p",
            "{dir}",
            "-e",
            "{dir}/error",
            "-c",
            "{dir}/config",
            "-g",
            global,
        ];
        Peer::start(place, "nginx", &args, config, address)
    }

    /// Starts any program whose configuration is the file `{dir}/config`, and waits until the
    /// address accepts connections.
    pub fn start(
        place: impl Into<Location>,
        program: &str,
        args: &[&str],
        config: &str,
        address: SocketAddr,
    ) -> Result<Self, LabError> {
        let place = place.into();
        let scratch = ScratchDirectory::new()?;
        let directory = scratch.path().display().to_string();
        scratch.write(CONFIG, config.replace(DIRECTORY, &directory))?;
        let output_path = scratch.write(OUTPUT, "")?;
        let output = File::options()
            .append(true)
            .open(&output_path)
            .map_err(LabError::io("open", output_path.display()))?;
        let errors = output
            .try_clone()
            .map_err(LabError::io("open", output_path.display()))?;
        let mut command = Command::new(program);
        command
            .args(args.iter().map(|arg| arg.replace(DIRECTORY, &directory)))
            .env("PATH", path_with_daemons())
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors);
        let peer = Peer {
            process: place.spawn(command)?,
            scratch,
            address,
            program: program.to_owned(),
        };
        peer.wait_until_ready(&place)?;
        Ok(peer)
    }

    /// Returns the address at which the peer accepts connections.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the peer's process, to signal it or to see how it ended.
    pub fn process(&self) -> &LabProcess {
        &self.process
    }

    pub fn directory(&self) -> &Path {
        self.scratch.path()
    }

    /// Replaces the configuration file. The test must notify the program.
    pub fn rewrite(&self, config: &str) -> Result<(), LabError> {
        let directory = self.scratch.path().display().to_string();
        let config = config.replace(DIRECTORY, &directory);
        self.scratch.write(CONFIG, config).map(drop)
    }

    /// Returns the peer's output so far, of both streams.
    pub fn output(&self) -> String {
        let mut said = Vec::new();
        if let Ok(file) = File::open(self.scratch.path().join(OUTPUT)) {
            // Ignores an error: for a message, whatever could be read is better than nothing.
            let _ = file.take(MAX_SAID_BYTES).read_to_end(&mut said);
        }
        String::from_utf8_lossy(&said).into_owned()
    }

    fn wait_until_ready(&self, place: &Location) -> Result<(), LabError> {
        let started = Instant::now();
        let connect = || TcpStream::connect_timeout(&self.address, READY_TIMEOUT);
        loop {
            let answered = place.enter(connect).is_ok();
            // Checks the process first, because another program may respond there while this one
            // fails to bind.
            if let Some(exit) = self.process.exit() {
                return Err(self.died(exit));
            }
            if answered {
                return Ok(());
            }
            if started.elapsed() > READY_TIMEOUT {
                return Err(LabError::NotReady {
                    program: self.program.clone(),
                    address: self.address,
                    waited: started.elapsed(),
                    said: self.output(),
                });
            }
            thread::sleep(READY_POLL);
        }
    }

    fn died(&self, exit: Exit) -> LabError {
        LabError::Died {
            program: self.program.clone(),
            exit,
            said: self.output(),
        }
    }
}

/// Adds the directories of daemons on Debian, which are not in a user's path.
fn path_with_daemons() -> std::ffi::OsString {
    let mut path = std::env::var_os("PATH").unwrap_or_default();
    path.push(":/usr/sbin:/sbin");
    path
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{OriginServer, Probe, Syslog, free_port};

    const HAPROXY: &str = "
        global
            log {dir}/log local0
        defaults
            mode http
            log global
            option httplog
            timeout client 5s
            timeout server 5s
            timeout connect 5s
        listen web
            bind @LISTEN@
            server s @ORIGIN@
";

    fn local_address() -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], free_port().unwrap()))
    }

    #[test]
    fn haproxy_serves_from_an_origin() {
        crate::skip_unless_installed!("haproxy");
        let origin = OriginServer::start_local("web0").unwrap();
        let log = Syslog::udp(Location::Here, "127.0.0.1:0".parse().unwrap()).unwrap();
        let address = local_address();
        let config = HAPROXY
            .replace("@LISTEN@", &address.to_string())
            .replace("@ORIGIN@", &origin.address().to_string())
            .replace("{dir}/log", &log.address().unwrap().to_string());
        let peer = Peer::haproxy(Location::Here, &config, address).unwrap();
        let mut probe = Probe::new(Location::Here, peer.address());
        assert_eq!(probe.get("/through").unwrap().text(), "web0");
        let line = log.wait_for(Duration::from_secs(5), |line| line.contains("/through"));
        assert!(line.unwrap().contains("web/s"));
    }

    #[test]
    fn nginx_serves_in_a_host_and_its_workers_end_with_it() {
        crate::skip_unless_root!();
        crate::skip_unless_installed!("nginx");
        let lab = crate::Lab::new("nginx").unwrap();
        let host = lab.host("web").unwrap();
        let config = "events {} http { access_log off; server { listen 127.0.0.1:80;
            location / { return 200 nginx; } } }";
        let address = "127.0.0.1:80".parse().unwrap();
        let peer = Peer::nginx(&host, config, address).unwrap();
        let mut probe = Probe::new(&host, address);
        assert_eq!(probe.get("/").unwrap().text(), "nginx");
        drop(peer);
        assert!(host.tcp_connect(address, Duration::from_secs(1)).is_err());
    }

    #[test]
    fn failed_peer_reports_the_reason() {
        crate::skip_unless_installed!("haproxy");
        match Peer::haproxy(Location::Here, "nonsense here", local_address()) {
            Err(LabError::Died { exit, said, .. }) => {
                assert_eq!(exit, Exit::Code(1));
                assert!(said.contains("nonsense"), "{said}");
            }
            other => panic!("{other:?}"),
        }
    }
}
