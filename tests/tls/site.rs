//! Sets up the TLS scenarios: a site with certificates of both kinds in its own directory, and the
//! programs that connect to it.

use lab::pki::{Authority, KeyKind, Leaf};
use lab::{Location, Peer, ScratchDirectory, free_port};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

pub const NAME: &str = "site.test";

/// Certificates and keys as files.
pub struct Site {
    pub scratch: ScratchDirectory,
}

impl Site {
    /// Creates `ca.pem`, `site.pem` (ECDSA), `rsa.pem` (for `rsa.test`), `chain.pem` (below another
    /// authority), `client.pem` (certificate and key).
    pub fn new() -> Site {
        let scratch = ScratchDirectory::new().unwrap();
        let authority = Authority::new("Test CA").unwrap();
        let below = authority.intermediate("Between").unwrap();
        let names = &[NAME, "*.wild.test", "127.0.0.1"];
        let leaf = |names| Leaf {
            names,
            ..Leaf::default()
        };
        let site = authority.issue(&leaf(names)).unwrap();
        let rsa = Leaf {
            key: KeyKind::Rsa2048,
            ..leaf(&["rsa.test"])
        };
        let rsa = authority.issue(&rsa).unwrap();
        let chain = below.issue(&leaf(&["chain.test"])).unwrap();
        let client = Leaf {
            subject: &[("O", "Evenkeel"), ("CN", "alice")],
            client: true,
            ..Leaf::default()
        };
        let client = authority.issue(&client).unwrap();
        for (name, text) in [
            ("ca.pem", authority.certificate_pem().to_owned()),
            ("site.pem", site.bundle()),
            ("rsa.pem", rsa.bundle()),
            ("chain.pem", chain.bundle()),
            ("client.pem", client.bundle()),
        ] {
            scratch.write(name, text).unwrap();
        }
        Site { scratch }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// Returns a path as a word of a command line or configuration.
    pub fn word(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// Runs curl with this site's CA and the addresses of its names.
    pub fn curl(&self, at: SocketAddr, arguments: &[&str]) -> Output {
        let mut command = Command::new("curl");
        command.args(["--silent", "--show-error", "--max-time", "60"]);
        command.args(["--cacert", &self.word("ca.pem")]);
        for name in [NAME, "rsa.test", "chain.test", "a.wild.test"] {
            let resolve = format!("{name}:{}:{}", at.port(), at.ip());
            command.args(["--resolve", &resolve]);
        }
        output(command.args(arguments))
    }

    /// Starts nginx with TLS on this machine, which serves its directory `www`.
    pub fn nginx(&self, more: &str) -> Peer {
        let address = here();
        let files = self.path("www");
        std::fs::create_dir_all(&files).unwrap();
        std::fs::write(files.join("small"), "small").unwrap();
        let certificate = self.word("site.pem");
        let config = format!(
            "user root; worker_processes 1; events {{}} http {{ access_log off; keepalive_requests 100000;
             client_body_temp_path {{dir}}/body; client_max_body_size 0;
             ssl_protocols TLSv1.2 TLSv1.3;
             server {{ listen {address} ssl; root {}; {more}
             ssl_certificate {certificate}; ssl_certificate_key {certificate};
             location / {{ dav_methods PUT; }} }} }}",
            files.display()
        );
        Peer::nginx(Location::Here, &config, address).unwrap()
    }
}

/// Returns a free address of this machine.
pub fn here() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], free_port().unwrap()))
}

/// Runs a program to its end.
pub fn output(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).output().unwrap()
}

/// Returns the output of a program that succeeded.
pub fn said(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Returns all output of a program, however it ended.
pub fn all_said(output: &Output) -> String {
    let mut said = String::from_utf8_lossy(&output.stdout).into_owned();
    said.push_str(&String::from_utf8_lossy(&output.stderr));
    said
}

/// Returns bytes whose words all differ.
pub fn much(bytes: usize) -> Vec<u8> {
    (0..bytes / 8)
        .flat_map(|n| (n as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes())
        .collect()
}

/// Runs `openssl s_client` without any input.
pub fn s_client(at: SocketAddr, arguments: &[&str]) -> String {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", &at.to_string()]);
    all_said(&output(command.args(arguments)))
}
