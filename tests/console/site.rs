//! Sets up the console scenarios: a supervisor with a proxy, two servers and a console, and the
//! clients of the console.

use crate::program::binary;
use crate::tls::site::here;
use lab::{LabProcess, Location, OriginServer, Probe, ScratchDirectory, Signal, eventually};

use serde_json::Value;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Timeout of every wait, for a machine with other load.
pub const SOON: Duration = Duration::from_secs(90);
/// Name and password of an operator.
pub const OLGA: [&str; 2] = ["olga", "kiwi"];
pub const VERA: [&str; 2] = ["vera", "plum"];
pub const ANNA: [&str; 2] = ["anna", "pear"];

/// The line of the viewer in the userlist.
pub const VERA_LINE: &str = "    user vera insecure-password plum\n";

const CONFIG: &str = "
global
    stats socket {dir}/sock level admin
userlist staff
    group ops users olga
    user olga insecure-password kiwi
    user vera insecure-password plum
    user anna insecure-password pear
defaults
    mode http
    timeout client 10s
    timeout server 10s
    timeout connect 5s
frontend web
    bind @WEB@
    default_backend app
backend app
    option httpchk GET /
    server one @ONE@ check inter 500ms
    server two @TWO@ check inter 500ms
console
    bind @CONSOLE@ @OPTIONS@
    users staff
    role operator group ops
    role admin user anna
";

/// Address at which the machine listens for other members; no other test uses it.
const MEMBER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 31, 0, 1));

/// A machine with a console.
pub struct Console {
    process: LabProcess,
    pub scratch: ScratchDirectory,
    pub origins: [OriginServer; 2],
    pub web: SocketAddr,
    pub at: SocketAddr,
    scheme: &'static str,
    config: String,
}

#[derive(Debug)]
pub struct Response {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Response {
    /// Returns the value of a header; an empty text if there is none.
    pub fn header(&self, name: &str) -> &str {
        let mut fields = self.head.lines().filter_map(|line| line.split_once(':'));
        let found = fields.find(|(field, _)| field.eq_ignore_ascii_case(name));
        found.map_or("", |(_, value)| value.trim())
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Returns the CSRF token of the forms on this page.
    pub fn csrf(&self) -> String {
        let (_, rest) = self
            .body
            .split_once("name=\"csrf\" value=\"")
            .expect("a form");
        rest.split('"').next().unwrap_or_default().to_owned()
    }

    /// Returns the header `Cookie` for the session that this response begins.
    pub fn cookie(&self) -> String {
        let cookie = self.header("set-cookie").split(';').next();
        format!("Cookie: {}", cookie.unwrap_or_default())
    }
}

/// Preparations of a machine with a console before its start.
struct Prepared {
    scratch: ScratchDirectory,
    origins: [OriginServer; 2],
    web: SocketAddr,
    at: SocketAddr,
    scheme: &'static str,
    config: String,
    file: PathBuf,
}

impl Prepared {
    fn new(options: &str) -> Prepared {
        let origins = ["one", "two"].map(|name| OriginServer::start_local(name).unwrap());
        let (web, at) = (here(), here());
        let scratch = ScratchDirectory::new().unwrap();
        let mut config = CONFIG.replace("{dir}", &scratch.path().display().to_string());
        for (mark, value) in [
            ("@WEB@", web.to_string()),
            ("@ONE@", origins[0].address().to_string()),
            ("@TWO@", origins[1].address().to_string()),
            ("@CONSOLE@", at.to_string()),
            ("@OPTIONS@", options.to_owned()),
        ] {
            config = config.replace(mark, &value);
        }
        let file = scratch.write("config", &config).unwrap();
        // Only the owner may read the configuration, because it contains passwords.
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        let scheme = match options {
            "plain" => "http",
            _ => "https",
        };
        Prepared {
            scratch,
            origins,
            web,
            at,
            scheme,
            config,
            file,
        }
    }

    /// Returns a command of `evenkeel` with these arguments and its own runtime directory.
    fn program(&self, words: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command.args(words);
        let runtime = self.scratch.path().join("runtime");
        command.env("EVENKEEL_RUNTIME_DIRECTORY", runtime);
        command.stdin(Stdio::null());
        command
    }

    /// Waits until the console responds and both servers are up.
    fn begin(self, process: LabProcess) -> Console {
        let console = Console {
            process,
            scratch: self.scratch,
            origins: self.origins,
            web: self.web,
            at: self.at,
            scheme: self.scheme,
            config: self.config,
        };
        let responds = || console.try_get(&["/sign-in"]).is_some();
        assert!(eventually(SOON, responds), "the console does not respond");
        let serves = || console.server("one") == "UP" && console.server("two") == "UP";
        assert!(eventually(SOON, serves), "{}", console.platform());
        console
    }
}

impl Console {
    /// Starts a proxy and a console with TLS and a certificate that the console makes.
    pub fn start() -> Console {
        Console::with("")
    }

    /// Starts a proxy and a console without TLS.
    pub fn plain() -> Console {
        Console::with("plain")
    }

    /// Starts a cluster of this machine alone, whose first version has the proxy and the console.
    ///
    /// From then on the test's thread is in a network of its own: a node of a cluster excludes
    /// instances beside it.
    pub fn member() -> Console {
        lab::enter_own_network();
        let (member, state) = (SocketAddr::new(MEMBER, here().port()), "state");
        let site = Prepared::new("");
        let program = |words: &[&str]| {
            let mut command = site.program(words);
            command.arg("--state").arg(site.scratch.path().join(state));
            command
        };
        let listen = member.to_string();
        let init = [
            "cluster", "init", "north", "--name", "alpha", "--listen", &listen,
        ];
        let made = program(&init).output().unwrap();
        assert!(made.status.success(), "{made:?}");
        let process = Location::Here.spawn(program(&["run"])).unwrap();
        let file = site.file.display().to_string();
        let apply = ["config", "apply", &file, "--now", "-m", "the first version"];
        let mut said = None;
        let applied = || {
            let output = program(&apply).output().unwrap();
            let good = output.status.success();
            said = Some(output);
            good
        };
        assert!(eventually(SOON, applied), "{said:?}");
        site.begin(process)
    }

    fn with(options: &str) -> Console {
        let site = Prepared::new(options);
        let mut command = site.program(&["run", "-f"]);
        command.arg(&site.file);
        site.begin(Location::Here.spawn(command).unwrap())
    }
    pub fn pid(&self) -> i32 {
        self.process.pid()
    }

    /// Returns the URL of a path of the console.
    pub fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme, self.at)
    }

    /// Returns the process ID of a role of this supervisor.
    pub fn role(&self, name: &str) -> Option<u32> {
        let path = format!("/proc/{0}/task/{0}/children", self.pid());
        let children = std::fs::read_to_string(path).ok()?;
        let mut children = children
            .split_whitespace()
            .filter_map(|pid| pid.parse().ok());
        children.find(|pid: &u32| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line.starts_with(format!("evenkeel: {name}").as_bytes())
        })
    }

    /// Requests a path; the words before it are curl's. None: there is no response.
    pub fn try_get(&self, words: &[&str]) -> Option<Response> {
        let (path, words) = words.split_last().expect("a path");
        let mut command = Command::new("curl");
        command.args(["-sk", "-i", "--path-as-is", "--max-time", "60"]);
        command.args(["-H", "Expect:"]).args(words);
        let output = command.arg(self.url(path)).output().expect("curl runs");
        let text = String::from_utf8_lossy(&output.stdout);
        let (head, body) = text.split_once("\r\n\r\n")?;
        let status = head.split_whitespace().nth(1)?.parse().ok()?;
        Some(Response {
            status,
            head: head.to_owned(),
            body: body.to_owned(),
        })
    }

    /// Requests a path that has a response; the words before it are curl's.
    pub fn get(&self, words: &[&str]) -> Response {
        let response = self.try_get(words);
        response.unwrap_or_else(|| panic!("no response: {words:?}"))
    }

    /// Requests a path of the API with name and password.
    pub fn api(&self, [name, password]: [&str; 2], words: &[&str]) -> Response {
        let user = format!("{name}:{password}");
        self.get(&[&["-u", &user], words].concat())
    }

    /// Sends the form to sign in.
    pub fn try_to_sign_in(&self, name: &str, password: &str) -> Response {
        let (name, password) = (format!("user={name}"), format!("password={password}"));
        let words = ["--data-urlencode", &name, "--data-urlencode", &password];
        self.get(&[&words[..], &["/sign-in"]].concat())
    }

    /// Signs in; returns the header `Cookie` of the session.
    pub fn sign_in(&self, [name, password]: [&str; 2]) -> String {
        let response = self.try_to_sign_in(name, password);
        assert_eq!(response.status, 303, "{response:?}");
        response.cookie()
    }

    /// Returns whether a session sees the pages.
    pub fn sees(&self, cookie: &str) -> bool {
        let response = self.try_get(&["-H", cookie, "/"]);
        response.is_some_and(|response| response.status == 200)
    }

    /// Requests `GET /api/v1/platform` as the admin.
    pub fn platform(&self) -> Value {
        self.api(ANNA, &["/api/v1/platform"]).json()
    }

    /// Returns the state of a server in the API; an empty text if there is none.
    pub fn server(&self, name: &str) -> String {
        let platform = self.platform();
        let rows = platform["members"][0]["traffic"].as_array();
        let mut rows = rows.into_iter().flatten();
        let row = rows.find(|row| row["server"] == name);
        let status = row.and_then(|row| row["status"].as_str());
        status.unwrap_or_default().to_owned()
    }

    /// Requests `GET /api/v1/events` as the admin.
    pub fn events(&self) -> Vec<Value> {
        let events = self.api(ANNA, &["/api/v1/events"]).body;
        let events = events.lines().map(serde_json::from_str);
        events.collect::<Result<_, _>>().expect("lines of JSON")
    }

    /// Returns a server's bits of `srv_admin_state` in `show servers state` of the runtime API.
    pub fn admin_state(&self, name: &str) -> u32 {
        let mut socket = UnixStream::connect(self.scratch.path().join("sock")).unwrap();
        socket.write_all(b"show servers state\n").unwrap();
        let mut text = String::new();
        socket.read_to_string(&mut text).unwrap();
        let mut lines = text.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        let line = lines.find(|line| line.get(3) == Some(&name));
        line.and_then(|line| line.get(6)?.parse().ok())
            .unwrap_or_else(|| panic!("{text}"))
    }

    /// Returns the server that responds to a client of the proxy.
    pub fn served_by(&self) -> String {
        let mut probe = Probe::new(Location::Here, self.web);
        probe
            .get("/")
            .map_or_else(|_| String::new(), |answer| answer.text())
    }

    /// Writes another configuration and reloads.
    pub fn reload(&self, change: impl Fn(&str) -> String) {
        self.write(change);
        self.command(&["reload"]);
    }

    /// Writes the configuration without a reload.
    pub fn write(&self, change: impl Fn(&str) -> String) {
        self.scratch.write("config", change(&self.config)).unwrap();
    }

    /// Returns an `evenkeel` command for this supervisor.
    pub fn program(&self, words: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command.args(words).args(["--pid", &self.pid().to_string()]);
        command.env(
            "EVENKEEL_RUNTIME_DIRECTORY",
            self.scratch.path().join("runtime"),
        );
        command.stdin(Stdio::null());
        command
    }

    /// Runs an `evenkeel` command for this supervisor; returns its output.
    pub fn command(&self, words: &[&str]) -> String {
        let output = self.program(words).output().unwrap();
        assert!(output.status.success(), "{words:?}: {output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        // The supervisor ends its roles only on a signal that requests it.
        let _ = self.process.signal(Signal::TERM);
        let _ = self.process.wait(SOON);
    }
}
