//! Tests second factors and tokens of the console, from the commands that make them to the access
//! that they give.

use crate::console::site::{ANNA, Console, OLGA, Response, SOON};
use crate::program::binary;
use lab::{Signal, eventually};
use rustix::fs::{Gid, Mode, chmod, chown};
use rustix::process::{Pid, kill_process};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

const DOCUMENTATION: &str = include_str!("../../docs/console.md");
/// Address of the console in the documentation.
const AT: &str = "https://alpha:8600";
/// The table of the documentation, in the backend `app`.
const TABLE: &str = "    stick-table type ip size 100 store http_req_rate(10s)\n    stick on src\n";
/// The site of the documentation.
const SHOP: &str = "https://shop.example.org/";
const MEMBERS: u32 = 4_243;
/// The last line of the section in the configuration.
const LAST: &str = "    role admin user anna\n";

/// Python script that prints the code of RFC 6238 for a secret.
const CODE: &str = "
import base64, hmac, struct, sys, time
key = base64.b32decode(sys.argv[1])
tag = hmac.new(key, struct.pack('>Q', int(time.time()) // 30), 'sha1').digest()
at = tag[-1] & 15
print('%06d' % ((struct.unpack('>I', tag[at:at + 4])[0] & 0x7fffffff) % 1000000))
";

/// Runs a program that succeeds; returns its output.
fn output(mut command: Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Runs a subcommand of `evenkeel console`; returns the output, whose last line is for the
/// configuration.
fn make(words: &[&str]) -> String {
    let mut command = Command::new(binary());
    command.arg("console").args(words);
    output(command)
}

/// Adds the line that was printed last to the section, and reloads.
fn add(console: &Console, printed: &str) {
    let line = printed.lines().last().expect("a line");
    console.reload(|config| config.replace(LAST, &format!("{LAST}{line}\n")));
}

fn code(secret: &str) -> String {
    let mut command = Command::new("python3");
    command.args(["-c", CODE, secret]);
    output(command).trim().to_owned()
}

/// Sends the second form of a sign-in: the proof of the password, and a code.
fn give(console: &Console, half: &str, code: &str) -> Response {
    let (half, code) = (format!("half={half}"), format!("code={code}"));
    console.get(&[
        "--data-urlencode",
        &half,
        "--data-urlencode",
        &code,
        "/sign-in",
    ])
}

/// Signs in with a password; returns the proof of it from the second form.
fn half(console: &Console) -> String {
    let form = console.try_to_sign_in(OLGA[0], OLGA[1]);
    assert_eq!((form.status, form.header("set-cookie")), (200, ""));
    let (_, rest) = form
        .body
        .split_once("name=\"half\" value=\"")
        .expect("a form for a code");
    rest.split('"').next().unwrap_or_default().to_owned()
}

#[test]
fn a_code_signs_in_once_and_also_a_killed_console_knows_that() {
    lab::skip_unless_installed!("curl");
    lab::skip_unless_installed!("python3");
    let console = Console::start();
    let before = console.sign_in(OLGA);
    let printed = make(&["second-factor", "olga"]);
    let secret = printed.trim_end().rsplit(' ').next().expect("a secret");
    add(&console, &printed);
    // The earlier session, which began without a code, has ended.
    assert!(!console.sees(&before));
    let code = code(secret);
    let signed_in = give(&console, &half(&console), &code);
    assert_eq!(signed_in.status, 303, "{signed_in:?}");
    let cookie = signed_in.cookie();
    assert!(console.sees(&cookie));
    assert_eq!(give(&console, &half(&console), &code).status, 403);
    let first = console.role("console").expect("a console");
    let pid = Pid::from_raw(i32::try_from(first).unwrap()).unwrap();
    kill_process(pid, Signal::KILL).unwrap();
    let is_back =
        || console.role("console").is_some_and(|pid| pid != first) && console.sees(&cookie);
    assert!(eventually(SOON, is_back));
    assert_eq!(give(&console, &half(&console), &code).status, 403);
    // A password alone is not enough for a program, either.
    let refused = console.api(OLGA, &["/api/v1/platform"]);
    assert_eq!(refused.status, 403);
    assert!(refused.body.contains("need a token"), "{refused:?}");
    assert_eq!(console.api(ANNA, &["/api/v1/platform"]).status, 200);
}

/// Returns the lines of the documentation that call curl.
fn examples() -> Vec<String> {
    let text = DOCUMENTATION.replace("\\\n", " ");
    let blocks = text.split("```").skip(1).step_by(2);
    let lines = blocks.flat_map(|block| block.lines().map(str::to_owned).collect::<Vec<_>>());
    // Examples about versions need a member of a cluster.
    let is_here = |line: &String| {
        !["/versions", "/apply"]
            .iter()
            .any(|path| line.contains(path))
    };
    lines
        .filter(|line| line.starts_with("curl ") && is_here(line))
        .collect()
}

#[test]
fn the_examples_with_curl_work_as_they_are_written() {
    lab::skip_unless_installed!("curl");
    let console = Console::start();
    let printed = make(&["token", "ci", "--user", "anna", "--scope", "operate"]);
    let token = printed.lines().next().expect("a token");
    let line = printed.lines().last().expect("a line");
    console.reload(|config| {
        config
            .replace(LAST, &format!("{LAST}{line}\n"))
            .replace("\nglobal\n", "\nglobal\n    request-history 64\n")
            .replace("\nbackend app\n", &format!("\nbackend app\n{TABLE}"))
    });
    // Waits for a request in the history.
    let kept = || {
        console.served_by();
        let all = console.api(ANNA, &["/api/v1/requests"]).json();
        Some(all["requests"].get(0)?["id"].as_str()?.to_owned())
    };
    assert!(eventually(SOON, || kept().is_some()));
    let id = kept().expect("an id");
    let examples = examples();
    assert!(examples.len() >= 5, "{examples:?}");
    for example in &examples {
        let line = example.replace(AT, &console.url(""));
        let line = line.replace("-u anna ", &format!("-u {} ", ANNA.join(":")));
        let line = line.replace("/0x1f", &format!("/{id}"));
        let line = line.replace(SHOP, &format!("http://{}/", console.web));
        let line = line.replacen("curl ", "curl -sk --fail-with-body ", 1);
        let mut shell = Command::new("sh");
        shell.args(["-c", &line]).env("TOKEN", token);
        output(shell);
    }
    // The order of the last example was executed, in the name of the token.
    assert!(eventually(SOON, || console.server("one") == "DRAIN"));
    let by = |event: &serde_json::Value| event["why"] == "by anna (token ci)";
    assert!(eventually(SOON, || console.events().iter().any(by)));
    // Without its line in the configuration, the token is invalid.
    let bearer = format!("Authorization: Bearer {token}");
    assert_eq!(console.get(&["-H", &bearer, "/metrics"]).status, 200);
    console.reload(str::to_owned);
    assert_eq!(console.get(&["-H", &bearer, "/metrics"]).status, 401);
}

/// A `saslauthd` in a mount namespace of its own, where the system has one more user, `mira`.
struct System {
    directory: lab::ScratchDirectory,
    daemon: Child,
}

impl System {
    fn start() -> System {
        let directory = lab::ScratchDirectory::new().unwrap();
        let add = |file: &str, line: &str| {
            let text = std::fs::read_to_string(format!("/etc/{file}")).unwrap();
            directory.write(file, format!("{text}{line}\n")).unwrap()
        };
        let mut hash = Command::new("openssl");
        hash.args(["passwd", "-6", "quince"]);
        let hash = output(hash);
        let passwd = add("passwd", "mira:x:4242:4242::/nonexistent:/bin/false");
        let shadow = add(
            "shadow",
            &format!("mira:{}:20000:0:99999:7:::", hash.trim()),
        );
        let run = directory.path().join("run");
        std::fs::create_dir(&run).unwrap();
        // As in the package, only members of a group may connect.
        let group = Some(Gid::from_raw(MEMBERS));
        chown(&run, None, group).unwrap();
        chmod(&run, Mode::from_raw_mode(0o710)).unwrap();
        chmod(directory.path(), Mode::from_raw_mode(0o711)).unwrap();
        let script = "mount --bind \"$1\" /etc/passwd && mount --bind \"$2\" /etc/shadow \
            && exec saslauthd -d -a pam -n 1 -m \"$3\"";
        let mut daemon = Command::new("unshare");
        daemon
            .args(["-m", "sh", "-c", script, "sh"])
            .args([&passwd, &shadow, &run]);
        let daemon = daemon
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let system = System { directory, daemon };
        let socket = system.socket();
        assert!(eventually(SOON, || UnixStream::connect(&socket).is_ok()));
        system
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("run/mux")
    }
}

impl Drop for System {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

#[test]
fn the_system_checks_passwords_of_its_users_by_saslauthd() {
    lab::skip_unless_installed!("curl");
    lab::skip_unless_installed!("saslauthd");
    lab::skip_unless_installed!("openssl");
    let system = System::start();
    let console = Console::start();
    let socket = system.socket();
    let lines = format!("    pam user mira\n    pam socket {}\n", socket.display());
    console.reload(|config| {
        config.replace(LAST, &format!("{LAST}{lines}    role operator user mira\n"))
    });
    // The running console is not a member of the group, and reports that it cannot check passwords.
    let unable = console.try_to_sign_in("mira", "quince");
    assert_eq!(unable.status, 503, "{unable:?}");
    let first = console.role("console").expect("a console");
    let pid = Pid::from_raw(i32::try_from(first).unwrap()).unwrap();
    kill_process(pid, Signal::KILL).unwrap();
    let is_back = || {
        console.role("console").is_some_and(|pid| pid != first)
            && console.try_get(&["/sign-in"]).is_some()
    };
    assert!(eventually(SOON, is_back));
    let signed_in = || console.try_to_sign_in("mira", "quince").status == 303;
    assert!(eventually(SOON, signed_in));
    assert_eq!(console.try_to_sign_in("mira", "pear").status, 403);
    // Users of the list sign in as before, and programs with the password of the system.
    assert_eq!(console.try_to_sign_in(OLGA[0], OLGA[1]).status, 303);
    assert_eq!(
        console
            .api(["mira", "quince"], &["/api/v1/platform"])
            .status,
        200
    );
}
