//! Runs a directory of users: OpenLDAP's `slapd` with entries of a test, on an address of this
//! machine.

use crate::pki::{Authority, Issued, Leaf};
use crate::port::free_port;
use namespace::{LabError, LabProcess, Location, ScratchDirectory, eventually};
use std::fs;
use std::io;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Maximum time until the server listens.
const BEGIN_MAX: Duration = Duration::from_secs(60);
/// Schemas of people and groups.
const SCHEMAS: [&str; 3] = ["core", "cosine", "inetorgperson"];

/// A directory server, which is killed when it is dropped.
#[derive(Debug)]
pub struct Slapd {
    _process: LabProcess,
    _scratch: ScratchDirectory,
    authority: Authority,
    ports: [u16; 2],
}

impl Slapd {
    pub const BASE: &str = "dc=example,dc=org";
    /// Only account that may search; users may only bind.
    pub const ACCOUNT: &str = "cn=reader,dc=example,dc=org";
    pub const PASSWORD: &str = "reader's";
    /// Host name in the server's certificate.
    pub const NAME: &str = "localhost";

    /// Starts a server with entries in LDIF below [`Slapd::BASE`]. Binds without TLS are refused.
    pub fn start(entries: &str) -> Result<Slapd, LabError> {
        let scratch = ScratchDirectory::new()?;
        let authority = Authority::new("Directory CA")?;
        let leaf = Leaf {
            names: &[Slapd::NAME],
            ..Leaf::default()
        };
        let issued = authority.issue(&leaf)?;
        let data = scratch.path().join("data");
        fs::create_dir(&data).map_err(LabError::io("create", data.display()))?;
        let config = scratch.write("slapd.conf", config(&scratch, &authority, &issued)?)?;
        let base = format!(
            "dn: {}\nobjectClass: dcObject\nobjectClass: organization\ndc: example\no: Example\n\n\
             dn: {}\nobjectClass: organizationalRole\nobjectClass: simpleSecurityObject\ncn: reader\n\
             userPassword: {}\n\n{entries}",
            Slapd::BASE,
            Slapd::ACCOUNT,
            Slapd::PASSWORD,
        );
        let entries = scratch.write("entries.ldif", base)?;
        add(&config, &entries)?;
        let ports = [free_port()?, free_port()?];
        let mut command = Command::new("slapd");
        let addresses = format!(
            "ldap://127.0.0.1:{} ldaps://127.0.0.1:{}",
            ports[0], ports[1]
        );
        command
            .args(["-d", "0", "-h", &addresses, "-f"])
            .arg(&config);
        let process = Location::Here.spawn(command)?;
        let listens = || {
            ports
                .iter()
                .all(|port| TcpStream::connect(("127.0.0.1", *port)).is_ok())
        };
        if eventually(BEGIN_MAX, listens) {
            Ok(Slapd {
                _process: process,
                _scratch: scratch,
                authority,
                ports,
            })
        } else {
            Err(LabError::io("start", "slapd")(io::Error::other(
                "it does not listen",
            )))
        }
    }

    /// Returns the CA certificate in PEM.
    pub fn authority_pem(&self) -> &str {
        self.authority.certificate_pem()
    }

    /// Returns the server's port for LDAP with StartTLS.
    pub fn port(&self) -> u16 {
        self.ports[0]
    }

    /// Returns the server's port for LDAP over TLS.
    pub fn tls_port(&self) -> u16 {
        self.ports[1]
    }
}

fn config(
    scratch: &ScratchDirectory,
    authority: &Authority,
    issued: &Issued,
) -> Result<String, LabError> {
    let authority = scratch.write("ca.pem", authority.certificate_pem())?;
    let certificate = scratch.write("server.pem", issued.full_chain())?;
    let key = scratch.write("server.key", &issued.key_pem)?;
    let schemas = SCHEMAS.map(|name| format!("include /etc/ldap/schema/{name}.schema\n"));
    Ok(format!(
        "{}modulepath /usr/lib/ldap\nmoduleload back_mdb\nTLSCACertificateFile {}\nTLSCertificateFile {}\n\
         TLSCertificateKeyFile {}\nsecurity simple_bind=128\ndisallow bind_anon\ndatabase mdb\nmaxsize 16777216\n\
         suffix {}\ndirectory {}\naccess to attrs=userPassword by anonymous auth by * none\n\
         access to * by dn.exact={} read by * none\n",
        schemas.concat(),
        authority.display(),
        certificate.display(),
        key.display(),
        Slapd::BASE,
        scratch.path().join("data").display(),
        Slapd::ACCOUNT,
    ))
}

fn add(config: &Path, entries: &Path) -> Result<(), LabError> {
    let mut command = Command::new("slapadd");
    command.arg("-f").arg(config).arg("-l").arg(entries);
    let done = command.stdin(Stdio::null()).output();
    let done = done.map_err(LabError::io("start", "slapadd"))?;
    if done.status.success() {
        Ok(())
    } else {
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        Err(LabError::io("run", "slapadd")(io::Error::other(said)))
    }
}
