//! Writes the configuration files of the programs. Ports come from environment variables, so one
//! file serves both sides at once.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use lab::pki::{Authority, KeyKind, Leaf};

use super::error::BenchError;
use super::map::Lookup;
use super::secure::Key;

/// Names of the environment variables for the ports of the proxy, its statistics, the origin and
/// the log.
pub const PORT_VARIABLES: [&str; 4] = [
    "BENCH_PORT",
    "BENCH_STATISTICS_PORT",
    "BENCH_ORIGIN_PORT",
    "BENCH_SYSLOG_PORT",
];

const HTTP: &str = include_str!("configuration/http.cfg");
const HTTPS: &str = include_str!("configuration/https.cfg");
const NGINX: &str = include_str!("configuration/nginx.conf");
const RULES: &str = include_str!("configuration/rules.cfg");
const COMPRESSION: &str = include_str!("configuration/compression.cfg");
const COOKIE: &str = include_str!("configuration/cookie.cfg");
const ATTACK: &str = include_str!("configuration/attack.cfg");
const URI: &str = include_str!("configuration/uri.cfg");
const TCP: &str = include_str!("configuration/tcp.cfg");
/// The line of the template that a case may replace by a `tune.` keyword.
const TUNE_LINE: &str = "@TUNE@\n";

/// Number of servers in the file of the check case.
const CHECKED_SERVERS: usize = 10_000;
/// Number of servers in each backend of the check case.
const CHECKED_SERVERS_A_BACKEND: usize = 100;

/// Configuration file of a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum File {
    /// HTTP with haproxy's default buffers.
    Http,
    /// HTTP with buffers of 64 KiB, by `tune.bufsize 65536`.
    HttpLargeBuffers,
    /// HTTP with fifty ACLs, a table and a log.
    Rules,
    Compression,
    /// HTTP with persistence by a cookie.
    Cookie,
    /// HTTP for the cases with attacks.
    Attack,
    /// HTTP with servers chosen by a hash of the URI, by `balance uri`.
    Uri,
    /// HTTP with a lookup in a map with this number of entries.
    Map(Lookup, usize),
    Tcp,
    /// HTTPS with HTTP/1 and HTTP/2, and a certificate of this kind.
    Https(Key),
    /// Ten thousand servers, for `-c` only.
    ManyServers,
    /// Ten thousand servers with a mistake in the last line, which must be refused.
    ManyServersMistaken,
}

impl File {
    /// Writes the file into `folder`.
    pub fn write(self, folder: &Path) -> Result<PathBuf, BenchError> {
        let (name, text) = match self {
            Self::Http => ("http.cfg", HTTP.replace(TUNE_LINE, "\n")),
            Self::HttpLargeBuffers => (
                "http-64k.cfg",
                HTTP.replace(TUNE_LINE, "    tune.bufsize 65536\n\n"),
            ),
            Self::Rules => ("rules.cfg", RULES.to_owned()),
            Self::Compression => ("compression.cfg", COMPRESSION.to_owned()),
            Self::Cookie => ("cookie.cfg", COOKIE.to_owned()),
            Self::Attack => ("attack.cfg", ATTACK.to_owned()),
            Self::Uri => ("uri.cfg", URI.to_owned()),
            Self::Map(lookup, entries) => return lookup.write(entries, folder),
            Self::Tcp => ("tcp.cfg", TCP.to_owned()),
            Self::Https(key) => (
                "https.cfg",
                HTTPS.replace("@CERTIFICATE@", &certificate(key, folder)?),
            ),
            Self::ManyServers => ("many-servers.cfg", many_servers()),
            Self::ManyServersMistaken => (
                "mistaken.cfg",
                many_servers() + "    server last 10.9.9.9:80 wieght 10\n",
            ),
        };
        let path = folder.join(name);
        fs::write(&path, text).map_err(BenchError::file("writing", &path))?;
        Ok(path)
    }
}

/// Writes a file for nginx that corresponds to [`File::Https`], with its ports. nginx's own files
/// are below `folder`.
pub fn write_nginx(key: Key, folder: &Path, port: u16, origin: u16) -> Result<PathBuf, BenchError> {
    let text = NGINX
        .replace("@CERTIFICATE@", &certificate(key, folder)?)
        .replace("@FOLDER@", &folder.display().to_string())
        .replace("@PORT@", &port.to_string())
        .replace("@ORIGIN_PORT@", &origin.to_string());
    let path = folder.join("nginx.conf");
    fs::write(&path, text).map_err(BenchError::file("writing", &path))?;
    Ok(path)
}

/// Returns the path of a certificate with its key; creates the file if it does not exist.
fn certificate(key: Key, folder: &Path) -> Result<String, BenchError> {
    let (name, kind) = match key {
        Key::Ecdsa => ("ecdsa.pem", KeyKind::Ecdsa),
        Key::Rsa => ("rsa.pem", KeyKind::Rsa2048),
    };
    let path = folder.join(name);
    if !path.exists() {
        let leaf = Leaf {
            names: &["www.example.com"],
            key: kind,
            ..Leaf::default()
        };
        let authority = Authority::new("Bench").map_err(BenchError::Laboratory)?;
        let issued = authority.issue(&leaf).map_err(BenchError::Laboratory)?;
        fs::write(&path, issued.bundle()).map_err(BenchError::file("writing", &path))?;
    }
    Ok(path.display().to_string())
}

fn many_servers() -> String {
    let backends = CHECKED_SERVERS / CHECKED_SERVERS_A_BACKEND;
    let mut text = String::from(
        "global\n    nbthread 1\n    maxconn 9900\n\ndefaults\n    mode http\n    \
         timeout connect 5s\n    timeout client 30s\n    timeout server 30s\n    \
         option forwardfor\n\nfrontend web\n    bind 127.0.0.1:8080\n",
    );
    // Writing to a String cannot fail.
    for backend in 0..backends {
        let _ = writeln!(
            text,
            "    use_backend b{backend} if {{ path_beg /b{backend}/ }}"
        );
    }
    text.push_str("    default_backend b0\n");
    many_backends(&mut text, |_, _| Some(10));
    text
}

/// Adds the backends of ten thousand servers. `weight` returns the weight of a server by its
/// backend and its position, or None to leave the server out.
pub fn many_backends(text: &mut String, weight: impl Fn(usize, usize) -> Option<u32>) {
    // Writing to a String cannot fail.
    for backend in 0..CHECKED_SERVERS / CHECKED_SERVERS_A_BACKEND {
        let _ = writeln!(text, "\nbackend b{backend}\n    balance roundrobin");
        for server in 0..CHECKED_SERVERS_A_BACKEND {
            let Some(weight) = weight(backend, server) else {
                continue;
            };
            let _ = writeln!(
                text,
                "    server s{server} 10.{}.{}.{}:80 weight {weight}",
                1 + backend / 100,
                backend % 100,
                1 + server
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_templates_name_every_port_and_leave_no_mark() {
        let all = [HTTP, HTTPS, TCP, RULES, COMPRESSION, COOKIE, URI, ATTACK];
        for text in all {
            for name in &PORT_VARIABLES[..3] {
                assert!(text.contains(&format!("${{{name}}}")), "{name}");
            }
        }
        assert!(RULES.contains(PORT_VARIABLES[3]));
        assert_eq!(RULES.matches("\n    acl ").count(), 50);
        assert_eq!(HTTP.matches(TUNE_LINE).count(), 1);
        let folder = std::env::temp_dir().join(format!("evenkeel-bench-{}-c", std::process::id()));
        fs::create_dir(&folder).expect("a folder");
        let ours = File::Https(Key::Ecdsa).write(&folder).expect("our file");
        let map = File::Map(Lookup::Network, 3).write(&folder);
        let theirs = write_nginx(Key::Rsa, &folder, 1, 2).expect("nginx's file");
        for path in [ours, map.expect("the map's file"), theirs] {
            let text = fs::read_to_string(path).expect("what was written");
            assert!(!text.contains('@'), "{text}");
        }
        fs::remove_dir_all(folder).expect("to clean up");
    }

    #[test]
    fn the_checked_file_has_ten_thousand_servers() {
        assert_eq!(
            many_servers().matches("\n    server ").count(),
            CHECKED_SERVERS
        );
    }
}
