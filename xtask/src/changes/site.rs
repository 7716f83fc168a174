//! Writes the configuration files of a proxy: a family that varies everything which may change, and
//! one of ten thousand servers.
//!
//! A file is built from a number, which it returns on `/version`, and a shape, which determines its
//! content. Two files of the same shape differ only in the number.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use crate::bench::configuration::many_backends;
use crate::bench::error::BenchError;
use crate::bench::process::free_port;

use super::error::ChangesError;
use super::origins::CHECK_PATH;

/// Path at which a request reads the configuration version in service.
pub const VERSION_PATH: &str = "/version";
/// Path at which a request reads the name of the frontend that serves the listener.
pub const OWNER_PATH: &str = "/owner";
/// Path of the statistics in CSV format.
pub const STATISTICS_PATH: &str = "/stats;csv";
/// Number of kinds of invalid files.
pub const MISTAKES: u64 = 4;
/// Maximum lifetime of an old process in seconds, if it is limited.
const HARD_STOP_SECONDS: u64 = 4;

/// Ports of the proxy and of all servers on 127.0.0.1.
#[derive(Debug, Clone, Copy)]
pub struct Where {
    pub web: u16,
    pub other: u16,
    /// Port of the listener that moves between `web` and `other`.
    pub moving: u16,
    /// Port of the frontend that comes and goes. Below 1024 if root can test that.
    pub passing: u16,
    pub tunnel: u16,
    pub statistics: u16,
    pub origin: u16,
    pub websocket: u16,
    pub down: u16,
    pub echo: u16,
    /// UDP ports that receive the logs.
    pub logs: [u16; 2],
    /// Port of another process: a bind to it fails.
    pub taken: u16,
}

impl Where {
    /// Sets the proxy's own ports to free ones; the other ports are those of running servers.
    pub fn own(&mut self, privileged: bool) -> Result<(), BenchError> {
        for port in [
            &mut self.web,
            &mut self.other,
            &mut self.moving,
            &mut self.passing,
            &mut self.tunnel,
            &mut self.statistics,
        ] {
            *port = free_port()?;
        }
        if privileged {
            self.passing = lab::free_privileged_port().map_err(|_| BenchError::NoPort)?;
        }
        Ok(())
    }
}

/// Folder of one proxy's files, and the properties of the files.
#[derive(Debug, Clone)]
pub struct ProxyFolder {
    pub folder: PathBuf,
    pub at: Where,
    /// The file names a user and a root directory.
    pub confined: bool,
    /// Backends have a server that is down.
    pub down: bool,
    /// Old processes end their connections after some seconds.
    pub hard_stop: bool,
    /// Idle connections are not closed while a process finishes: HAProxy closes
    /// them at once otherwise, under requests that are on their way.
    pub keeps_idle: bool,
}

/// Properties that must hold once a file is in service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Promise {
    pub version: u64,
    /// The frontend that the moving listener belongs to.
    pub owner: &'static str,
    pub passing: bool,
    /// A path that the ACL's file lists.
    pub listed: String,
}

impl Promise {
    fn of(version: u64, shape: u64) -> Self {
        Self {
            version,
            owner: if shape.is_multiple_of(2) {
                "web"
            } else {
                "other"
            },
            passing: shape % 3 == 1,
            listed: format!("/listed/{version}"),
        }
    }
}

impl ProxyFolder {
    pub fn file(&self) -> PathBuf {
        self.folder.join("proxy.cfg")
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.join("socket")
    }

    pub fn create(&self) -> Result<(), ChangesError> {
        for folder in [self.folder.clone(), self.folder.join("empty")] {
            fs::create_dir_all(&folder).map_err(BenchError::file("creating", &folder))?;
        }
        Ok(())
    }

    fn put(&self, name: &str, text: &str) -> Result<(), ChangesError> {
        put(&self.folder.join(name), text).map_err(ChangesError::from)
    }

    /// Writes a valid configuration and the list that it includes.
    pub fn write(&self, version: u64, shape: u64) -> Result<Promise, ChangesError> {
        let promise = Promise::of(version, shape);
        let mut list = format!("# version {version}\n{}\n", promise.listed);
        for extra in 0..shape % 9 {
            let _ = writeln!(list, "/also/{version}/{extra}");
        }
        self.put("paths.lst", &list)?;
        let mut map = "one.test app\ntwo.test second\n".to_owned();
        for extra in 0..shape % 5 {
            let _ = writeln!(map, "more{extra}.test app");
        }
        self.put("hosts.map", &map)?;
        self.put("proxy.cfg", &self.text(version, shape))?;
        Ok(promise)
    }

    /// Writes a configuration file that the proxy must reject.
    pub fn write_bad(&self, version: u64, shape: u64) -> Result<(), ChangesError> {
        let mut text = self.text(version, shape);
        text.push_str("\nfrontend mistaken\n");
        match version % MISTAKES {
            0 => text.push_str("    bnid 127.0.0.1:1\n"),
            1 => text.push_str("    default_backend nowhere\n"),
            2 => {
                let missing = self.folder.join("missing.lst");
                let _ = writeln!(text, "    acl never path -f {}", missing.display());
            }
            _ => {
                let taken = self.at.taken;
                let _ = writeln!(text, "    bind 127.0.0.1:{taken}\n    default_backend app");
            }
        }
        self.put("proxy.cfg", &text)
    }

    /// Writes the file of ten thousand servers, some of which differ by version.
    pub fn write_many(&self, version: u64) -> Result<(), ChangesError> {
        self.put("proxy.cfg", &self.many(version))
    }

    /// Writes the file of ten thousand servers to a path that no proxy reads.
    pub fn write_many_aside(&self, version: u64) -> Result<(), ChangesError> {
        self.put("aside.cfg", &self.many(version))
    }

    fn many(&self, version: u64) -> String {
        let mut text = self.global(1, 0);
        self.defaults(&mut text, 0);
        let at = self.at;
        let _ = write!(
            text,
            "\nfrontend web\n    bind 127.0.0.1:{}\n    maxconn 4000\n    {}\n    \
             default_backend app\n\nbackend app\n    server s0 127.0.0.1:{}\n",
            at.web,
            version_rule(version),
            at.origin,
        );
        let version = usize::try_from(version).unwrap_or(0);
        many_backends(&mut text, |backend, server| {
            let seed = backend * 31 + server * 7 + version;
            // Leaves out a hundredth of the servers, and changes the weight of a fiftieth.
            match seed % 100 {
                0 => None,
                1 | 2 => Some(20),
                _ => Some(10),
            }
        });
        text
    }

    fn global(&self, threads: u64, shape: u64) -> String {
        let mut text = format!(
            "global\n    nbthread {threads}\n    maxconn {}\n    \
             stats socket {} mode 600 level admin expose-fd listeners\n    \
             log 127.0.0.1:{} local0 info\n",
            8000 + shape % 11,
            self.socket().display(),
            self.at.logs[0]
        );
        if shape % 2 == 1 {
            let _ = writeln!(text, "    log 127.0.0.1:{} local1 notice", self.at.logs[1]);
        }
        if self.confined {
            let empty = self.folder.join("empty");
            let _ = writeln!(
                text,
                "    user nobody\n    group nogroup\n    chroot {}",
                empty.display()
            );
        }
        if self.hard_stop {
            let _ = writeln!(text, "    hard-stop-after {HARD_STOP_SECONDS}s");
        }
        text
    }

    fn defaults(&self, text: &mut String, shape: u64) {
        let _ = write!(
            text,
            "\ndefaults\n    mode http\n    log global\n    option httplog\n    \
             timeout connect 5s\n    timeout client {}s\n    timeout server {}s\n    \
             timeout http-keep-alive {}s\n    timeout queue 5s\n    timeout check 2s\n    \
             timeout tunnel 1h\n",
            60 + shape % 10,
            60 + shape % 7,
            60 + shape % 5,
        );
        if self.keeps_idle {
            text.push_str("    option idle-close-on-response\n");
        }
    }

    fn text(&self, version: u64, shape: u64) -> String {
        let mut text = self.global(1 + shape % 3, shape);
        self.defaults(&mut text, shape);
        self.frontends(&mut text, version, shape);
        self.backends(&mut text, shape);
        let at = self.at;
        let _ = write!(
            text,
            "\nlisten tunnel\n    mode tcp\n    option tcplog\n    bind 127.0.0.1:{}\n    \
             server echo 127.0.0.1:{}\n\nlisten statistics\n    bind 127.0.0.1:{}\n    \
             stats enable\n    stats uri /stats\n",
            at.tunnel, at.echo, at.statistics
        );
        text
    }

    fn frontends(&self, text: &mut String, version: u64, shape: u64) {
        let at = self.at;
        let promise = Promise::of(version, shape);
        let moving = |name| {
            if promise.owner == name {
                format!("    bind 127.0.0.1:{}\n", at.moving)
            } else {
                String::new()
            }
        };
        let _ = write!(
            text,
            "\nfrontend web\n    bind 127.0.0.1:{}\n{}    maxconn {}\n    \
             acl listed path -f {}\n    {}\n    {}\n    \
             http-request return status 200 content-type text/plain string listed if listed\n    \
             http-request set-header x-version {version}\n",
            at.web,
            moving("web"),
            4000 + shape % 13,
            self.folder.join("paths.lst").display(),
            version_rule(version),
            owner_rule("web"),
        );
        for extra in 0..shape % 6 {
            let _ = writeln!(text, "    http-request set-header x-extra-{extra} {shape}");
        }
        let _ = write!(
            text,
            "    use_backend websocket if {{ path /websocket }}\n    \
             use_backend %[req.hdr(host),lower,map({},app)]\n    default_backend app\n\n\
             frontend other\n    bind 127.0.0.1:{}\n{}    {}\n    default_backend second\n",
            self.folder.join("hosts.map").display(),
            at.other,
            moving("other"),
            owner_rule("other"),
        );
        if promise.passing {
            let _ = write!(
                text,
                "\nfrontend passing\n    bind 127.0.0.1:{}\n    {}\n    default_backend app\n",
                at.passing,
                owner_rule("passing")
            );
        }
    }

    fn backends(&self, text: &mut String, shape: u64) {
        let at = self.at;
        let balance = ["roundrobin", "leastconn", "random", "static-rr"];
        let chosen = balance[(shape % balance.len() as u64) as usize];
        for (name, servers) in [("app", 2 + shape % 4), ("second", 1 + shape / 2 % 3)] {
            let _ = write!(
                text,
                "\nbackend {name}\n    balance {chosen}\n    option httpchk GET {CHECK_PATH}\n"
            );
            if self.down {
                let _ = writeln!(
                    text,
                    "    server down 127.0.0.1:{} check inter 500ms fall 2 rise 2",
                    at.down
                );
            }
            for server in 0..servers {
                let limit = if (shape + server).is_multiple_of(3) {
                    " maxconn 200"
                } else {
                    ""
                };
                let _ = writeln!(
                    text,
                    "    server s{server} 127.0.0.1:{} weight {}{limit}",
                    at.origin,
                    10 + (shape + server) % 20
                );
            }
        }
        let _ = write!(
            text,
            "\nbackend websocket\n    server ws 127.0.0.1:{}\n",
            at.websocket
        );
    }
}

fn version_rule(version: u64) -> String {
    returns(&format!("version-{version}"), VERSION_PATH)
}

fn owner_rule(name: &str) -> String {
    returns(name, OWNER_PATH)
}

fn returns(text: &str, path: &str) -> String {
    format!(
        "http-request return status 200 content-type text/plain string {text} if {{ path {path} }}"
    )
}

/// Replaces a file as a whole, because a proxy may read it at any moment.
fn put(path: &Path, text: &str) -> Result<(), BenchError> {
    let new = path.with_extension("new");
    fs::write(&new, text).map_err(BenchError::file("writing", &new))?;
    fs::rename(&new, path).map_err(BenchError::file("renaming to", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site() -> ProxyFolder {
        ProxyFolder {
            folder: PathBuf::from("/nowhere"),
            at: Where {
                web: 1,
                other: 2,
                moving: 3,
                passing: 4,
                tunnel: 5,
                statistics: 6,
                origin: 7,
                websocket: 8,
                down: 9,
                echo: 10,
                logs: [11, 12],
                taken: 13,
            },
            confined: true,
            down: true,
            hard_stop: false,
            keeps_idle: false,
        }
    }

    #[test]
    fn files_of_one_shape_differ_in_their_version_only() {
        let site = site();
        for shape in 0..30 {
            let (one, two) = (site.text(1, shape), site.text(2, shape));
            assert_ne!(one, two);
            let as_two = one
                .replace("version-1 ", "version-2 ")
                .replace("x-version 1\n", "x-version 2\n");
            assert_eq!(as_two, two);
        }
    }

    #[test]
    fn neighbouring_shapes_differ_and_the_moving_listener_has_one_owner() {
        let site = site();
        for shape in 0..60 {
            let text = site.text(0, shape);
            assert_ne!(text, site.text(0, shape + 1));
            assert_eq!(text.matches("bind 127.0.0.1:3\n").count(), 1);
            assert_eq!(
                text.contains("frontend passing"),
                Promise::of(0, shape).passing
            );
        }
    }
}
