//! Tests of volumes over TCP with TLS: common clients read and write, other clients are refused,
//! and reloads change certificates and addresses.

use crate::harness::PATIENCE;
use crate::supervised::Supervised;
use crate::volumes::VolumeFixture;
use lab::pki::{Authority, Leaf};
use lab::{eventually, free_port, skip_unless_installed};
use nix::sys::signal::Signal;
use rustix::net::{AddressFamily, SocketType};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Output};

/// A volume `mail` with TLS, the CA of its clients, and directories of certificates in GnuTLS's
/// layout.
struct VolumeNetworkFixture {
    bed: VolumeFixture,
    port: u16,
    authority: Authority,
    others: Authority,
}

fn text(output: &Output) -> String {
    let all = [&output.stdout[..], &output.stderr].concat();
    String::from_utf8_lossy(&all).into_owned()
}

impl VolumeNetworkFixture {
    fn new() -> VolumeNetworkFixture {
        let site = VolumeNetworkFixture {
            bed: VolumeFixture::new(),
            port: free_port().unwrap(),
            authority: Authority::new("site").unwrap(),
            others: Authority::new("others").unwrap(),
        };
        site.certify(&site.authority);
        site.trust(&site.authority);
        let (own, others) = (&site.authority, &site.others);
        for (directory, accepts, signs) in [
            ("client", own, Some(own)),
            ("other-ca", others, Some(own)),
            // Uses a CA with the same name, so that clients present their certificate.
            ("other-client", own, Some(&Authority::new("site").unwrap())),
            ("no-client", own, None),
        ] {
            site.client(directory, accepts, signs);
        }
        site.configure(&site.bind());
        site.bed.create("mail");
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.bed.scratch.path().join(name)
    }

    fn bind(&self) -> String {
        let file = |name| self.path(name).display().to_string();
        let (site, clients) = (file("site.pem"), file("clients.pem"));
        format!(
            "    bind 127.0.0.1:{} ssl crt {site} ca-file {clients} verify required\n",
            self.port
        )
    }

    fn configure(&self, bind: &str) {
        let section = self.bed.section("mail", "64m");
        self.bed.write(&[section + bind]);
    }

    /// Gives the volume a certificate of this CA.
    fn certify(&self, authority: &Authority) {
        let leaf = Leaf {
            names: &["localhost", "127.0.0.1"],
            ..Leaf::default()
        };
        let issued = authority.issue(&leaf).unwrap();
        self.bed.scratch.write("site.pem", issued.bundle()).unwrap();
    }

    /// Sets the CA by which the volume verifies client certificates.
    fn trust(&self, authority: &Authority) {
        let pem = authority.certificate_pem();
        self.bed.scratch.write("clients.pem", pem).unwrap();
    }

    /// Creates the directory of a client: the CA that it accepts, and a certificate by `signs`, if
    /// any.
    fn client(&self, name: &str, accepts: &Authority, signs: Option<&Authority>) {
        let directory = self.path(name);
        std::fs::create_dir_all(&directory).unwrap();
        let write = |file: &str, text: &str| std::fs::write(directory.join(file), text).unwrap();
        write("ca-cert.pem", accepts.certificate_pem());
        if let Some(signs) = signs {
            let leaf = Leaf {
                names: &["client"],
                client: true,
                ..Leaf::default()
            };
            let issued = signs.issue(&leaf).unwrap();
            write("client-cert.pem", &issued.full_chain());
            write("client-key.pem", &issued.key_pem);
        }
    }

    fn serve(&self) -> Supervised {
        let supervised = self.bed.serve();
        self.bed.comes_to("mail", "serving");
        self.comes_to_listen();
        supervised
    }

    fn comes_to_listen(&self) {
        let listens = || TcpStream::connect(("127.0.0.1", self.port)).is_ok();
        assert!(eventually(PATIENCE, listens), "{}", self.shown());
    }

    fn shown(&self) -> String {
        self.bed.good(&["volume", "show", "mail"])
    }

    fn uri(&self, directory: &str) -> String {
        let directory = self.path(directory);
        let port = self.port;
        format!(
            "nbds://localhost:{port}/mail?tls-certificates={}",
            directory.display()
        )
    }

    fn nbdinfo(&self, uri: &str) -> Output {
        let mut command = Command::new("timeout");
        command.args(["60", "nbdinfo", uri]).output().unwrap()
    }

    fn is_let_in(&self, directory: &str) -> bool {
        let output = self.nbdinfo(&self.uri(directory));
        let shown = text(&output);
        assert!(
            output.status.success() == shown.contains("export-size: 67108864"),
            "{shown}"
        );
        output.status.success()
    }

    fn qemu(&self, words: &[&str]) -> String {
        let directory = self.path("client").display().to_string();
        let credentials = format!("tls-creds-x509,id=tls0,dir={directory},endpoint=client");
        let port = self.port;
        let image = format!("driver=nbd,host=localhost,port={port},export=mail,tls-creds=tls0");
        let mut command = Command::new("timeout");
        command.arg("60").args(words);
        command.args(["--object", &credentials, "--image-opts", &image]);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{words:?}: {}", text(&output));
        text(&output)
    }
}

#[test]
fn clients_with_a_certificate_read_and_write_over_the_network() {
    skip_unless_installed!("nbdinfo");
    skip_unless_installed!("nbdcopy");
    skip_unless_installed!("qemu-img");
    skip_unless_installed!("qemu-io");
    let site = VolumeNetworkFixture::new();
    let supervised = site.serve();
    assert!(site.is_let_in("client"), "{}", site.shown());
    let shown = site.shown();
    let expected = format!("tcp: 127.0.0.1:{} with TLS\n", site.port);
    assert!(shown.contains(&expected), "{shown}");
    let json = site.bed.good(&["volume", "show", "mail", "--json"]);
    assert!(
        json.contains(&format!("127.0.0.1:{} with TLS", site.port)),
        "{json}"
    );
    let info = site.qemu(&["qemu-img", "info"]);
    assert!(info.contains("virtual size: 64 MiB"), "{info}");
    let steps = [
        "-c",
        "write -P 0x5a 1M 3M",
        "-c",
        "flush",
        "-c",
        "read -P 0x5a 1M 3M",
    ];
    let io = site.qemu(&[&["qemu-io"], &steps[..]].concat());
    assert!(io.contains("read 3145728/3145728"), "{io}");
    assert!(!io.contains("failed"), "{io}");
    // Local clients use the same volume.
    site.bed.qemu_io("mail", &["read -P 0x5a 1M 3M"]);
    // The whole volume in both directions, with several simultaneous requests.
    let pattern: Vec<u8> = (0..64 << 20_u32)
        .map(|at: u32| (at >> 12) as u8 ^ at as u8)
        .collect();
    std::fs::write(site.path("pattern"), &pattern).unwrap();
    let (uri, pattern_file) = (site.uri("client"), site.path("pattern"));
    let copy = |from: &std::ffi::OsStr, to: &std::ffi::OsStr| {
        let mut command = Command::new("timeout");
        command.args(["120", "nbdcopy", "--flush"]).args([from, to]);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", text(&output));
    };
    copy(pattern_file.as_os_str(), uri.as_ref());
    copy(uri.as_ref(), site.path("back").as_os_str());
    assert!(std::fs::read(site.path("back")).unwrap() == pattern);
    assert_eq!(supervised.end(Signal::SIGTERM).code(), Some(0));
}

#[test]
fn clients_need_tls_and_a_certificate_of_the_ca() {
    skip_unless_installed!("nbdinfo");
    let site = VolumeNetworkFixture::new();
    let supervised = site.serve();
    assert!(!site.is_let_in("other-client"));
    let says = |words: &str| eventually(PATIENCE, || supervised.has_said(words));
    assert!(
        says("invalid peer certificate: "),
        "the log names the certificate"
    );
    assert!(!site.is_let_in("no-client"));
    assert!(
        says("it presents no certificate of a CA in `ca-file`"),
        "the log says that it is missing"
    );
    assert!(
        !site.is_let_in("other-ca"),
        "the client does not accept the volume"
    );
    let output = site.nbdinfo(&format!("nbd://localhost:{}/mail", site.port));
    let refused = !output.status.success() && text(&output).to_lowercase().contains("tls");
    assert!(refused, "{}", text(&output));
    assert!(says("it does not use TLS, which is required here"));
    assert!(site.is_let_in("client"));
    assert_eq!(supervised.end(Signal::SIGTERM).code(), Some(0));
}

/// Connects to the export `mail` over the Unix socket, completes the handshake, and returns the
/// open connection.
fn client_here(site: &VolumeNetworkFixture) -> UnixStream {
    let mut socket = UnixStream::connect(site.bed.socket("mail")).unwrap();
    socket.read_exact(&mut [0; 18]).unwrap();
    socket.write_all(&[0, 0, 0, 3]).unwrap();
    // NBD_OPT_EXPORT_NAME: size and flags, no zeroes.
    socket
        .write_all(b"IHAVEOPT\0\0\0\x01\0\0\0\x04mail")
        .unwrap();
    socket.read_exact(&mut [0; 10]).unwrap();
    socket
}

#[test]
fn client_above_the_limit_is_closed_and_logged() {
    skip_unless_installed!("nbdinfo");
    let site = VolumeNetworkFixture::new();
    let supervised = site.serve();
    let clients: Vec<UnixStream> = (0..15).map(|_| client_here(&site)).collect();
    assert!(!site.is_let_in("client"));
    let words = "no free client slot (it has 15)";
    assert!(eventually(PATIENCE, || supervised.has_said(words)));
    let refused = || {
        site.shown()
            .contains("the connection limit was reached: 1\n")
    };
    assert!(eventually(PATIENCE, refused), "{}", site.shown());
    drop(clients);
    assert!(eventually(PATIENCE, || site.is_let_in("client")));
    assert_eq!(supervised.end(Signal::SIGTERM).code(), Some(0));
}

/// Connects from an address of this machine.
fn connect_from(from: [u8; 4], port: u16) -> TcpStream {
    let kind = (AddressFamily::INET, SocketType::STREAM);
    let socket = rustix::net::socket(kind.0, kind.1, None).unwrap();
    rustix::net::bind(&socket, &SocketAddr::from((from, 0))).unwrap();
    rustix::net::connect(&socket, &SocketAddr::from(([127, 0, 0, 1], port))).unwrap();
    socket.into()
}

#[test]
fn silent_connections_do_not_block_others() {
    skip_unless_installed!("nbdinfo");
    let site = VolumeNetworkFixture::new();
    let supervised = site.serve();
    // As many connections as permitted, of several addresses; half of them send part of a
    // handshake.
    let silent: Vec<TcpStream> = (0..80_u8)
        .map(|number| {
            let mut socket = connect_from([127, 0, 0, 2 + number / 16], site.port);
            if number % 2 == 0 {
                socket.write_all(&[0, 0, 0, 3]).unwrap();
                socket.write_all(b"IHAVEOPT\0\0\0\x05\0\0\0\0").unwrap();
            }
            socket
        })
        .collect();
    assert!(site.is_let_in("client"));
    let mut greeting = [0; 18];
    (&silent[79]).read_exact(&mut greeting).unwrap();
    assert_eq!(&greeting[..16], b"NBDMAGICIHAVEOPT");
    drop(silent);
    assert_eq!(supervised.end(Signal::SIGTERM).code(), Some(0));
}

#[test]
fn reload_loads_certificates_and_keeps_clients() {
    skip_unless_installed!("nbdinfo");
    skip_unless_installed!("qemu-io");
    let site = VolumeNetworkFixture::new();
    let supervised = site.serve();
    let connected = IdleQemuIo::new(&site);
    assert!(site.is_let_in("client"));
    // Both the certificate and the CA of clients have changed.
    site.certify(&site.others);
    site.trust(&site.others);
    let outcome = supervised.reload();
    let expected = format!(
        "~ volume mail: bind 127.0.0.1:{} with TLS: other certificates",
        site.port
    );
    assert!(outcome.stderr.contains(&expected), "{outcome:?}");
    assert!(eventually(PATIENCE, || !site.is_let_in("client")));
    site.client("changed", &site.others, Some(&site.others));
    assert!(site.is_let_in("changed"));
    connected.works();
    // Unusable files change nothing.
    site.bed.scratch.write("site.pem", "").unwrap();
    let outcome = supervised.reload();
    assert!(outcome.stderr.contains("error[E0814]"), "{outcome:?}");
    assert!(site.is_let_in("changed"));
    assert_eq!(supervised.end(Signal::SIGTERM).code(), Some(0));
}

#[test]
fn reloads_add_move_and_remove_an_address() {
    skip_unless_installed!("nbdinfo");
    skip_unless_installed!("qemu-io");
    let mut site = VolumeNetworkFixture::new();
    let supervised = site.serve();
    let connected = IdleQemuIo::new(&site);
    // Configures a port that another program still uses.
    let former = site.port;
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    site.port = taken.local_addr().unwrap().port();
    site.configure(&site.bind());
    let outcome = supervised.reload();
    let line = format!(
        "bind 127.0.0.1:{former} with TLS -> 127.0.0.1:{} with TLS",
        site.port
    );
    assert!(outcome.stderr.contains(&line), "{outcome:?}");
    let words = format!("cannot listen at 127.0.0.1:{}", site.port);
    assert!(
        eventually(PATIENCE, || site.shown().contains(&words)),
        "{}",
        site.shown()
    );
    assert!(supervised.has_said(&words));
    assert!(
        TcpStream::connect(("127.0.0.1", former)).is_err(),
        "the former one is closed"
    );
    drop(taken);
    assert!(eventually(PATIENCE, || !site.shown().contains(&words)));
    site.comes_to_listen();
    assert!(site.is_let_in("client"));
    connected.works();
    site.configure("");
    let outcome = supervised.reload();
    assert!(outcome.stderr.contains("-> none"), "{outcome:?}");
    let gone = || TcpStream::connect(("127.0.0.1", site.port)).is_err();
    assert!(eventually(PATIENCE, gone));
    assert!(!site.shown().contains("tcp: "));
    assert_eq!(supervised.end(Signal::SIGTERM).code(), Some(0));
}

#[test]
fn on_this_machine_a_volume_needs_no_tls() {
    skip_unless_installed!("nbdinfo");
    skip_unless_installed!("qemu-io");
    let site = VolumeNetworkFixture::new();
    site.configure(&format!("    bind 127.0.0.1:{}\n", site.port));
    let supervised = site.serve();
    let uri = format!("nbd://127.0.0.1:{}/mail", site.port);
    let output = site.nbdinfo(&uri);
    assert!(output.status.success(), "{}", text(&output));
    let mut command = Command::new("timeout");
    command.args(["60", "qemu-io", "-f", "raw", "-c", "write -P 7 0 64k"]);
    command.args(["-c", "read -P 7 0 64k", &uri]);
    let shown = text(&command.output().unwrap());
    assert!(shown.contains("read 65536/65536"), "{shown}");
    assert!(site.shown().contains("without TLS"));
    assert_eq!(supervised.end(Signal::SIGTERM).code(), Some(0));
}

/// qemu-io with an idle TLS connection.
struct IdleQemuIo(std::process::Child);

impl IdleQemuIo {
    fn new(site: &VolumeNetworkFixture) -> IdleQemuIo {
        let directory = site.path("client").display().to_string();
        let credentials = format!("tls-creds-x509,id=tls0,dir={directory},endpoint=client");
        let port = site.port;
        let image = format!("driver=nbd,host=localhost,port={port},export=mail,tls-creds=tls0");
        let mut command = Command::new("qemu-io");
        command.args(["--object", &credentials, "--image-opts", &image]);
        command.stdin(std::process::Stdio::piped());
        let child = command
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let is_there = || site.shown().contains("tcp connections: 1");
        assert!(eventually(PATIENCE, is_there), "{}", site.shown());
        IdleQemuIo(child)
    }

    /// Checks that reads and writes work on the existing connection.
    fn works(mut self) {
        let mut stdin = self.0.stdin.take().unwrap();
        let steps = b"write -P 0x77 1M 64k\nflush\nread -P 0x77 1M 64k\nquit\n";
        stdin.write_all(steps).unwrap();
        drop(stdin);
        let output = self.0.wait_with_output().unwrap();
        let shown = text(&output);
        let good = shown.contains("wrote 65536/65536") && shown.contains("read 65536/65536");
        assert!(good, "{shown}");
    }
}
