//! Tests certificates while the proxy serves: changes under load, and the commands of the
//! statistics socket, compared with HAProxy.

use crate::program::{Program, binary};
use lab::pki::{Authority, Issued, KeyKind, Leaf};
use lab::tls::{Terms, TlsClient, TlsOffer, TlsServer};
use lab::{Location, OriginServer, Probe, ScratchDirectory, Signal, eventually, free_port};
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(120);

fn here() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], free_port().unwrap()))
}

/// Returns the reply of a statistics socket. A new process may not have put its socket in place
/// yet.
fn ask(socket: &Path, command: &str) -> io::Result<String> {
    let mut connected = None;
    let is_there = eventually(SOON, || {
        connected = UnixStream::connect(socket).ok();
        connected.is_some()
    });
    assert!(is_there, "nobody listens at {}", socket.display());
    let mut stream = connected.ok_or(io::ErrorKind::NotConnected)?;
    stream.set_read_timeout(Some(SOON))?;
    stream.write_all(command.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// Returns a command with a payload.
fn with_payload(command: &str, payload: &str) -> String {
    format!("{command} <<\n{}\n\n", payload.trim_end())
}

/// The files of a configuration, and some that are sent later.
struct Files {
    scratch: ScratchDirectory,
    authority: Authority,
    other: Authority,
    new: Issued,
    mixed: String,
}

impl Files {
    fn new() -> Files {
        let scratch = ScratchDirectory::new().unwrap();
        let authority = Authority::new("One").unwrap();
        let other = Authority::new("Other").unwrap();
        let issue = |names: &[&str], key| {
            let leaf = Leaf {
                names,
                key,
                ..Leaf::default()
            };
            authority.issue(&leaf).unwrap()
        };
        let (a, b) = (
            issue(&["a.com", "*.a.com", "127.0.0.1"], KeyKind::Ecdsa),
            issue(&["b.com"], KeyKind::Rsa2048),
        );
        let new = issue(&["n.com"], KeyKind::Ecdsa);
        let write = |name: &str, text: &str| {
            scratch.write(name, text).unwrap();
        };
        let chained = [a.bundle().as_str(), authority.certificate_pem()].concat();
        write("a.pem", &chained);
        write("b.pem", &b.bundle());
        write("client.pem", &b.bundle());
        write("ca", authority.certificate_pem());
        write("ca2", other.certificate_pem());
        write("crl", &authority.crl(&[]).unwrap());
        let directory = scratch.path().display().to_string();
        let lines = format!(
            "{directory}/b.pem [verify none ssl-min-ver TLSv1.2 allow-0rtt] b.com !x.b.com\n# a comment\n\
             {directory}/b.pem\n{directory}/a.pem *.foo.com\n"
        );
        write("list", &lines);
        let mixed = [new.certificate_pem.as_str(), &a.key_pem].concat();
        Files {
            scratch,
            authority,
            other,
            new,
            mixed,
        }
    }

    fn path(&self, name: &str) -> String {
        self.scratch.path().join(name).display().to_string()
    }

    fn config(&self, addresses: [SocketAddr; 3]) -> String {
        let [http, one, two] = addresses;
        let path = |name| self.path(name);
        format!(
            "global
    stats socket {{dir}}/sock level admin
defaults
    mode http
    timeout client 5s
    timeout server 5s
    timeout connect 5s
frontend f
    bind {http}
    bind {one} ssl crt {} ca-file {} verify optional crl-file {}
    bind {two} ssl crt-list {}
    default_backend b
backend b
    server s 127.0.0.1:9 ssl verify required ca-file {} crt {}
",
            path("a.pem"),
            path("ca"),
            path("crl"),
            path("list"),
            path("ca2"),
            path("client.pem"),
        )
    }

    /// Returns the payload that a word of the table stands for.
    fn payload(&self, word: &str) -> String {
        match word {
            "$new" => self.new.bundle(),
            "$certificate" => self.new.certificate_pem.clone(),
            "$key" => self.new.key_pem.clone(),
            "$mixed" => self.mixed.clone(),
            "$two" => [
                self.authority.certificate_pem(),
                self.other.certificate_pem(),
            ]
            .concat(),
            "$revoked" => self.authority.crl(&[b"\x05", b"\x12\x34"]).unwrap(),
            text => text.to_owned(),
        }
    }

    /// Returns all commands in their order.
    fn commands(&self) -> Vec<String> {
        let shown = SHOWN.lines().map(|line| format!("{}\n", line.trim()));
        let changes = CHANGED.iter().map(|(command, payload)| match *payload {
            "" => format!("{command}\n"),
            payload => with_payload(command, &self.payload(payload)),
        });
        let directory = self.scratch.path().display().to_string();
        let all = shown.chain(changes);
        all.map(|one| one.replace('@', &directory)).collect()
    }
}

/// Changes, and the commands between them, with `@` for the directory, and payloads.
const CHANGED: &[(&str, &str)] = &[
    ("set ssl cert @/a.pem", "$new"),
    ("show ssl cert", ""),
    ("show ssl cert *@/a.pem", ""),
    ("set ssl cert @/a.pem", "$certificate"),
    ("commit ssl cert @/a.pem", ""),
    ("set ssl cert @/a.pem.key", "$key"),
    ("commit ssl cert @/b.pem", ""),
    ("abort ssl cert @/b.pem", ""),
    ("commit ssl cert @/a.pem", ""),
    ("commit ssl cert @/a.pem", ""),
    ("abort ssl cert @/a.pem", ""),
    ("show ssl cert @/a.pem", ""),
    ("set ssl cert @/a.pem", "$mixed"),
    ("commit ssl cert @/a.pem", ""),
    ("abort ssl cert @/a.pem", ""),
    ("set ssl cert @/a.pem", "junk"),
    ("set ssl cert @/a.pem.key", "junk"),
    ("set ssl cert @/a.pem.issuer", "junk"),
    ("set ssl cert @/nope.pem", "$new"),
    ("new ssl cert @/a.pem", ""),
    ("new ssl cert new.pem", ""),
    ("show ssl cert new.pem", ""),
    ("add ssl crt-list @/list new.pem", ""),
    ("set ssl cert new.pem", "$new"),
    ("commit ssl cert new.pem", ""),
    ("show ssl cert new.pem", ""),
    ("add ssl crt-list @/nope new.pem", ""),
    ("add ssl crt-list @/list nope.pem", ""),
    ("add ssl crt-list @/list new.pem", ""),
    (
        "add ssl crt-list @/list",
        "new.pem [ssl-min-ver TLSv1.2 verify none] n.com !x.n.com",
    ),
    ("add ssl crt-list @/list", "new.pem [foo bar] n.com"),
    ("add ssl crt-list @/list", "[verify none] new.pem"),
    ("add ssl crt-list @/list", "new.pem\nnew.pem"),
    ("show ssl crt-list -n @/list", ""),
    ("del ssl cert new.pem", ""),
    ("del ssl cert nope.pem", ""),
    ("del ssl crt-list @/list new.pem", ""),
    ("del ssl crt-list @/list new.pem:99", ""),
    ("del ssl crt-list @/list new.pem:x", ""),
    ("del ssl crt-list @/list nope.pem", ""),
    ("del ssl crt-list @/nope new.pem", ""),
    ("del ssl crt-list @/list @/b.pem:1", ""),
    ("del ssl crt-list @/list @/b.pem:3", ""),
    ("del ssl crt-list @/list new.pem:5", ""),
    ("del ssl crt-list @/list new.pem", ""),
    ("show ssl crt-list @/list", ""),
    ("del ssl cert new.pem", ""),
    ("set ssl ca-file @/ca", "$two"),
    ("set ssl ca-file @/ca2", "$two"),
    ("set ssl ca-file @/ca", "junk"),
    ("show ssl ca-file *@/ca:2", ""),
    ("commit ssl ca-file @/ca2", ""),
    ("abort ssl ca-file @/ca2", ""),
    ("commit ssl ca-file @/ca", ""),
    ("commit ssl ca-file @/ca", ""),
    ("show ssl ca-file @/ca", ""),
    ("set ssl ca-file @/ca2", "$two"),
    ("commit ssl ca-file @/ca2", ""),
    ("set ssl ca-file @/nope", "$two"),
    ("new ssl ca-file @/ca", ""),
    ("new ssl ca-file new", ""),
    ("show ssl ca-file new", ""),
    ("del ssl ca-file new", ""),
    ("del ssl ca-file nope", ""),
    ("del ssl ca-file @/ca", ""),
    ("set ssl crl-file @/crl", "$revoked"),
    ("show ssl crl-file *@/crl", ""),
    ("commit ssl crl-file @/crl", ""),
    ("show ssl crl-file @/crl:1", ""),
    ("new ssl crl-file new", ""),
    ("show ssl crl-file", ""),
    ("show ssl crl-file new", ""),
    ("abort ssl crl-file @/crl", ""),
    ("del ssl crl-file new", ""),
    ("del ssl crl-file @/crl", ""),
    ("del ssl crl-file @/ca", ""),
];

/// Commands that run before anything changes.
const SHOWN: &str = "show ssl cert
    show ssl cert @/a.pem
    show ssl cert @/b.pem
    show ssl cert @/nope.pem
    show ssl cert *@/a.pem
    show ssl cert @/a.pem.ocsp
    show ssl ca-file @/ca
    show ssl ca-file @/ca:1
    show ssl ca-file @/ca:2
    show ssl ca-file @/nope
    show ssl crl-file
    show ssl crl-file @/crl
    show ssl crl-file @/crl:2
    show ssl crl-file @/nope
    show ssl crt-list
    show ssl crt-list @/list
    show ssl crt-list -n @/list
    show ssl crt-list -n
    show ssl crt-list @/nope
    show ssl ocsp-response
    show ssl ocsp-response abc
    show tls-keys
    show tls-keys nope
    set ssl cert
    set ssl ca-file @/ca
    set ssl crl-file @/crl
    set ssl ocsp-response
    set ssl ocsp-response zzz
    set ssl tls-key
    set ssl tls-key nope abc
    new ssl cert
    new ssl ca-file
    new ssl crl-file
    commit ssl cert
    commit ssl ca-file
    commit ssl crl-file
    commit ssl cert @/a.pem
    abort ssl cert
    abort ssl ca-file
    abort ssl crl-file
    abort ssl cert @/a.pem
    add ssl crt-list
    add ssl crt-list @/list
    del ssl cert
    del ssl ca-file
    del ssl crl-file
    del ssl crt-list
    del ssl crt-list @/list
    del ssl cert @/a.pem";

#[test]
fn certificate_commands_respond_as_in_haproxy() {
    lab::skip_unless_installed!("haproxy");
    let files = Files::new();
    let commands = files.commands();
    let [ours, theirs] = Program::BOTH.map(|program| {
        let addresses = [here(), here(), here()];
        let config = files.config(addresses);
        let peer = program
            .start(Location::Here, &config, addresses[0])
            .unwrap();
        let socket = peer.directory().join("sock");
        let directory = peer.directory().display().to_string();
        let answer = |command: &String| {
            let answer = ask(&socket, command);
            let answer = answer.unwrap_or_else(|error| panic!("{program:?}: {command}: {error}"));
            answer.replace(&directory, "DIR")
        };
        commands.iter().map(answer).collect::<Vec<String>>()
    });
    let mut wrong = String::new();
    for (command, (ours, theirs)) in commands.iter().zip(ours.iter().zip(&theirs)) {
        if ours != theirs {
            let command = command.lines().next().unwrap_or_default();
            wrong += &format!("{command}\n  haproxy:\n{theirs}  evenkeel:\n{ours}\n");
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

/// A process of `evenkeel run`; it and its roles are ended when this value is dropped.
struct Supervisor {
    process: lab::LabProcess,
    scratch: ScratchDirectory,
}

impl Supervisor {
    fn start(scratch: ScratchDirectory, config: &str) -> Supervisor {
        let directory = scratch.path().display().to_string();
        let file = scratch
            .write("config", config.replace("{dir}", &directory))
            .unwrap();
        let mut command = std::process::Command::new(binary());
        command
            .args(["run", "-f"])
            .arg(file)
            .env("EVENKEEL_RUNTIME_DIRECTORY", scratch.path().join("runtime"))
            .stdin(std::process::Stdio::null());
        let process = Location::Here.spawn(command).unwrap();
        Supervisor { process, scratch }
    }

    /// Reloads, and returns when the content of the file is served.
    fn reload(&self) {
        self.process.signal(Signal::HUP).unwrap();
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        // Sends SIGTERM, on which the supervisor ends its roles, too; if it were killed, they would
        // continue.
        let _ = self.process.signal(Signal::TERM);
        let _ = self.process.wait(SOON);
    }
}

/// Ends the load, also when the test fails.
struct StopsLoad<'a>(&'a AtomicBool);

impl Drop for StopsLoad<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[derive(Default)]
struct ClientCounters {
    answered: AtomicUsize,
    failed: AtomicUsize,
}

impl ClientCounters {
    fn count(&self, success: bool) {
        let of = if success {
            &self.answered
        } else {
            &self.failed
        };
        of.fetch_add(1, Ordering::SeqCst);
    }

    fn answered(&self) -> usize {
        self.answered.load(Ordering::SeqCst)
    }
}

/// Clients that send requests without a pause: over one connection, or a new one each time.
struct Load<'a> {
    address: SocketAddr,
    offer: TlsOffer<'a>,
    stop: &'a AtomicBool,
}

impl Load<'_> {
    fn kept(&self, account: &ClientCounters) {
        let client = TlsClient::new_local(&self.offer).unwrap().timeout(SOON);
        let Ok(mut connection) = client.connect(self.address) else {
            return account.count(false);
        };
        while !self.stop.load(Ordering::SeqCst) {
            let answer = connection.get("/");
            let success = answer.is_ok_and(|answer| answer.status == 200);
            account.count(success);
            if !success {
                return;
            }
        }
        let _ = connection.close();
    }

    fn fresh(&self, account: &ClientCounters) {
        let client = TlsClient::new_local(&self.offer).unwrap().timeout(SOON);
        while !self.stop.load(Ordering::SeqCst) {
            let answer = client
                .connect(self.address)
                .and_then(|mut connection| connection.get("/"));
            account.count(answer.is_ok_and(|answer| answer.status == 200));
        }
    }
}

/// Returns the certificate that a new handshake gets.
fn shown(address: SocketAddr, offer: &TlsOffer) -> Option<Vec<u8>> {
    let client = TlsClient::new_local(offer).unwrap().timeout(SOON);
    let connection = client.connect(address).ok()?;
    connection.negotiated().certificates.first().cloned()
}

/// A site whose certificate changes.
struct Changing {
    proxy: Supervisor,
    address: SocketAddr,
    authority: Authority,
}

impl Changing {
    fn start(origin: &OriginServer) -> Changing {
        let authority = Authority::new("CA").unwrap();
        let (scratch, address) = (ScratchDirectory::new().unwrap(), here());
        scratch
            .write("site.pem", issue(&authority).bundle())
            .unwrap();
        let config = format!(
            "global
    stats socket {{dir}}/sock level admin
defaults
    mode http
    timeout client 30s
    timeout server 30s
    timeout connect 30s
listen site
    bind {address} ssl crt {{dir}}/site.pem
    server s {}
",
            origin.address()
        );
        Changing {
            proxy: Supervisor::start(scratch, &config),
            address,
            authority,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.proxy.scratch.path().join(name)
    }

    /// Returns whether a new handshake gets this certificate.
    fn shows(&self, offer: &TlsOffer, new: &Issued) -> bool {
        shown(self.address, offer).as_ref() == Some(&new.der)
    }

    /// Changes the file and reloads.
    fn change_by_file(&self, offer: &TlsOffer) {
        let new = issue(&self.authority);
        std::fs::write(self.path("site.pem"), new.bundle()).unwrap();
        self.proxy.reload();
        assert!(eventually(SOON, || self.shows(offer, &new)), "not taken in");
    }

    fn change_by_command(&self, offer: &TlsOffer) {
        let new = issue(&self.authority);
        let (file, socket) = (self.path("site.pem"), self.path("sock"));
        let name = file.display();
        let set = with_payload(&format!("set ssl cert {name}"), &new.bundle());
        let told = ask(&socket, &set);
        assert!(told.is_ok_and(|said| said.contains("created")));
        let done = ask(&socket, &format!("commit ssl cert {name}\n"));
        assert!(done.is_ok_and(|said| said.contains("Success!")));
        // The new certificate is served at once.
        assert!(self.shows(offer, &new), "not committed");
    }
}

fn issue(authority: &Authority) -> Issued {
    let leaf = Leaf {
        names: &["site.test"],
        ..Leaf::default()
    };
    authority.issue(&leaf).unwrap()
}

#[test]
fn certificates_change_under_load_and_no_request_fails() {
    const CHANGES: usize = 6;
    let origin = OriginServer::start_local("app").unwrap();
    let site = Changing::start(&origin);
    let roots = [site.authority.der()];
    let offer = TlsOffer {
        sni: Some("site.test"),
        roots: &roots,
        ..TlsOffer::default()
    };
    assert!(eventually(SOON, || shown(site.address, &offer).is_some()));
    let stop = AtomicBool::new(false);
    let load = |resume| Load {
        address: site.address,
        offer: TlsOffer { resume, ..offer },
        stop: &stop,
    };
    let accounts: [ClientCounters; 4] = Default::default();
    std::thread::scope(|scope| {
        let _stops = StopsLoad(&stop);
        let [one, two, fresh, resuming] = &accounts;
        let [first, second, new, again] = [false, false, false, true].map(load);
        scope.spawn(move || first.kept(one));
        scope.spawn(move || second.kept(two));
        scope.spawn(move || new.fresh(fresh));
        scope.spawn(move || again.fresh(resuming));
        for change in 0..CHANGES {
            let before: Vec<usize> = accounts.iter().map(ClientCounters::answered).collect();
            match change % 2 {
                0 => site.change_by_file(&offer),
                _ => site.change_by_command(&offer),
            }
            let asked_since = || {
                let mut both = accounts.iter().zip(&before);
                both.all(|(account, before)| {
                    account.answered() > *before || account.failed.load(Ordering::SeqCst) > 0
                })
            };
            assert!(eventually(SOON, asked_since), "a client is stuck");
        }
    });
    let failed = accounts
        .each_ref()
        .map(|one| one.failed.load(Ordering::SeqCst));
    assert_eq!(failed, [0; 4], "of two kept, new and resuming clients");
}

#[test]
fn servers_are_verified_with_the_current_cas() {
    let (right, wrong) = (
        Authority::new("Right").unwrap(),
        Authority::new("Wrong").unwrap(),
    );
    let speaks = TlsServer::new(&issue(&right), &Terms::default()).unwrap();
    let free = SocketAddr::from(([127, 0, 0, 1], 0));
    let origin = OriginServer::tls(Location::Here, "app", free, speaks).unwrap();
    let scratch = ScratchDirectory::new().unwrap();
    let file = scratch.write("ca", right.certificate_pem()).unwrap();
    let (file, address) = (file.display(), here());
    let config = format!(
        "global
    stats socket {{dir}}/sock level admin
defaults
    mode http
    retries 0
    timeout client 30s
    timeout server 30s
    timeout connect 30s
listen site
    bind {address}
    http-reuse always
    server s {} ssl verify required ca-file {file}
",
        origin.address()
    );
    let peer = Program::Evenkeel
        .start(Location::Here, &config, address)
        .unwrap();
    let socket = peer.directory().join("sock");
    let mut probe = Probe::new(Location::Here, address);
    let mut status = || probe.get("/").unwrap().status;
    assert_eq!((status(), status()), (200, 200));
    // A kept connection must not be used after a change of the CA.
    for (authority, expected) in [(&wrong, 503), (&right, 200)] {
        let set = format!("set ssl ca-file {file}");
        let told = ask(&socket, &with_payload(&set, authority.certificate_pem()));
        assert!(told.is_ok_and(|said| said.contains("created")));
        let done = ask(&socket, &format!("commit ssl ca-file {file}\n"));
        assert!(done.is_ok_and(|said| said.contains("Success!")));
        assert_eq!(status(), expected);
    }
}
