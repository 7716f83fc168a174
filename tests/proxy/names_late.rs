//! Tests a start without nameservers, as after a power cut: everything else is served, and lines
//! with names take effect without a reload once the names resolve.

use crate::program::binary;
use lab::{Location, OriginServer, Peer, Probe, ScratchDirectory, Syslog, eventually, free_port};
use std::fs;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(120);
const LOCAL: &str = "127.0.0.1 localhost\n";

/// Lines of `haproxy.cfg` that may lack an address there.
const ALLOWED: &str = "
    global
        stats socket {dir}/admin.sock mode 600 level admin
    defaults
        mode http
        timeout client 5s
        timeout server 5s
        timeout connect 5s
        @LOG@
        option httplog
    frontend shop
        bind @WEB@
        http-request return status 204 if { path /here }
        default_backend store
    backend store
        server kept 127.0.0.1:@PORT@ disabled
        server named web.late.test:@PORT@ init-addr last,libc,none
";

struct Bed {
    peer: Peer,
    web: SocketAddr,
    log: Syslog,
    hosts: PathBuf,
    _scratch: ScratchDirectory,
    _origin: OriginServer,
}

fn here() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], free_port().unwrap()))
}

impl Bed {
    /// Starts the program with the arguments, in a mount namespace with its own /etc/hosts.
    fn start(arguments: &str, log_line: &str) -> Bed {
        let origin = OriginServer::start_local("late").unwrap();
        let (web, log) = (here(), here());
        let syslog = Syslog::udp(Location::Here, log).unwrap();
        let scratch = ScratchDirectory::new().unwrap();
        let hosts = scratch.write("hosts", LOCAL).unwrap();
        let config = ALLOWED
            .replace("@WEB@", &web.to_string())
            .replace(
                "@LOG@",
                &log_line.replace("@PORT@", &log.port().to_string()),
            )
            .replace("@PORT@", &origin.address().port().to_string());
        let script = format!(
            "mount --bind {} /etc/hosts && EVENKEEL_RUNTIME_DIRECTORY={{dir}}/runtime exec {} {arguments}",
            hosts.display(),
            binary().display(),
        );
        let words = ["-m", "sh", "-c", &script];
        let peer = Peer::start(Location::Here, "unshare", &words, &config, web).unwrap();
        Bed {
            peer,
            web,
            log: syslog,
            hosts,
            _scratch: scratch,
            _origin: origin,
        }
    }

    fn status(&self, path: &str) -> u16 {
        let answer = Probe::new(Location::Here, self.web).get(path);
        answer.map_or(0, |answer| answer.status)
    }

    fn command(&self, command: &str) -> String {
        let socket = self.peer.directory().join("admin.sock");
        let mut text = String::new();
        let asked = UnixStream::connect(socket).and_then(|mut stream| {
            writeln!(stream, "{command}")?;
            stream.read_to_string(&mut text)
        });
        asked.map_or_else(|error| error.to_string(), |_| text)
    }

    fn names_come(&self) {
        fs::write(
            &self.hosts,
            format!("{LOCAL}127.0.0.1 web.late.test log.late.test\n"),
        )
        .unwrap();
    }

    #[track_caller]
    fn serves_late(&self) {
        assert!(eventually(SOON, || self.status("/here") == 204));
        assert_eq!(self.status("/"), 503);
        // Gives orders as an operator, which must survive the change.
        self.command("set maxconn server store/kept 7; set rate-limit sessions global 900");
        self.names_come();
        let serves = eventually(SOON, || self.status("/") == 200);
        assert!(serves, "{}", self.command("show servers state"));
        let told = self.command("show info");
        assert!(told.contains("SessRateLimit: 900"), "{told}");
    }
}

#[test]
fn run_starts_without_names_and_uses_them_once_they_resolve() {
    let bed = Bed::start(
        "run -f {dir}/config",
        "log log.late.test:@PORT@ format rfc3164 local0",
    );
    bed.serves_late();
    bed.status("/");
    let heard = bed.log.wait_for(SOON, |line| line.contains("store/named"));
    assert!(heard.is_some(), "{:#?}", bed.log.messages());
}

#[test]
fn server_without_an_address_comes_back_under_haproxys_name() {
    let log = "log 127.0.0.1:@PORT@ format rfc3164 local0";
    Bed::start("haproxy -W -f {dir}/config", log).serves_late();
}
