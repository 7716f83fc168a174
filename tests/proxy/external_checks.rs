//! Compares external checks with HAProxy's: the input of a program, and the meaning of its end.
//! Also the process that runs the programs, across reloads and after its own death.

use crate::program::{Program, binary};
use lab::{Location, ScratchDirectory, eventually, free_port};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Longest wait for a check's result.
const PATIENCE: Duration = Duration::from_secs(120);

fn haproxy_is_there() -> bool {
    let there = Path::new("/usr/sbin/haproxy").exists();
    if !there {
        eprintln!("skipped: haproxy is not installed");
        assert!(std::env::var_os("CI").is_none(), "CI needs haproxy");
    }
    there
}

/// Installs a program that records its input, then ends as the file `end` next to it says.
fn install(scratch: &ScratchDirectory, name: &str) -> String {
    let directory = scratch.path().display();
    let text = format!(
        "#!/bin/sh\n{{ echo \"$@\"; env | grep -v ^PWD= | sort; }} > {directory}/part.$HAPROXY_SERVER_NAME\n\
         mv {directory}/part.$HAPROXY_SERVER_NAME {directory}/{name}.$HAPROXY_SERVER_NAME\n\
         . {directory}/end\n"
    );
    let path = scratch.write(name, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path.display().to_string()
}

/// Replaces the file `end` as a whole, because programs may read it at any time.
fn end(scratch: &ScratchDirectory, how: &str) {
    let part = scratch.write("end.part", how).unwrap();
    std::fs::rename(part, scratch.path().join("end")).unwrap();
}

/// Returns name, check status and code of the servers in backend `b`.
fn seen(address: SocketAddr) -> Vec<String> {
    let mut text = String::new();
    if let Ok(mut stream) = TcpStream::connect(address) {
        let _ = stream.write_all(b"GET /;csv;norefresh HTTP/1.0\r\n\r\n");
        let _ = stream.read_to_string(&mut text);
    }
    let rows = text.lines().filter(|line| line.starts_with("b,s"));
    let rows = rows.map(|line| {
        let column = |at| line.split(',').nth(at).unwrap_or_default();
        format!("{} {} {}", column(1), column(36), column(37))
    });
    rows.collect()
}

fn config(address: SocketAddr, command: &str) -> String {
    format!(
        "global\n external-check\n insecure-fork-wanted\n\
         defaults\n mode http\n timeout connect 1s\n timeout client 5s\n timeout server 5s\n\
         listen statistics\n bind {address}\n stats enable\n stats uri /\n\
         listen b\n bind 127.0.0.1:{}\n option external-check\n external-check command {command}\n external-check path /usr/bin:/bin\n\
         server s1 127.0.0.1:7001 check inter 500 rise 1 fall 1 maxconn 5\n\
         server s2 /nonexistent.sock proto h2 check inter 500 rise 1 fall 1\n",
        free_port().unwrap()
    )
}

/// Returns the input of the program, except for the port of the proxy, which differs.
fn given(scratch: &ScratchDirectory, name: &str, server: &str) -> Vec<String> {
    let text = std::fs::read_to_string(scratch.path().join(format!("{name}.{server}")));
    let text = text.unwrap_or_default();
    let port = text
        .split_whitespace()
        .nth(1)
        .map(str::to_owned)
        .unwrap_or_default();
    text.lines()
        .map(|line| line.replace(&port, "PORT"))
        .collect()
}

#[test]
fn external_checks_behave_as_in_haproxy() {
    if !haproxy_is_there() {
        return;
    }
    let outcomes = Program::BOTH.map(|program| {
        let scratch = ScratchDirectory::new().unwrap();
        let command = install(&scratch, "program");
        end(&scratch, "exit 0");
        let address = SocketAddr::from(([127, 0, 0, 1], free_port().unwrap()));
        let config = config(address, &command);
        let _peer = program.start(Location::Here, &config, address).unwrap();
        let comes = |status: &str| {
            let both = || {
                let seen = seen(address);
                seen.len() == 2 && seen.iter().all(|one| one.contains(status))
            };
            assert!(
                eventually(PATIENCE, both),
                "{program:?}: {status}: {:?}",
                seen(address)
            );
        };
        comes("PROCOK 0");
        end(&scratch, "exit 3");
        comes("PROCERR 3");
        end(&scratch, "sleep 600");
        comes("PROCTOUT");
        ["s1", "s2"].map(|server| given(&scratch, "program", server))
    });
    assert_eq!(outcomes[0], outcomes[1]);
    assert!(outcomes[0][0].contains(&"HAPROXY_SERVER_PROTO=h1".to_owned()));
}

/// A supervisor, which is ended when this value is dropped.
struct Run(Child);

impl Drop for Run {
    fn drop(&mut self) {
        let _ = nix_kill(self.0.id(), "TERM");
        let _ = self.0.wait();
    }
}

fn nix_kill(pid: u32, signal: &str) -> bool {
    let status = Command::new("kill")
        .args([format!("-{signal}"), pid.to_string()])
        .status();
    status.is_ok_and(|status| status.success())
}

/// Returns the process of the supervisor that runs programs of checks.
fn runner(supervisor: u32) -> Option<u32> {
    let path = format!("/proc/{supervisor}/task/{supervisor}/children");
    let children = std::fs::read_to_string(path).ok()?;
    children
        .split_whitespace()
        .filter_map(|pid| pid.parse().ok())
        .find(|pid: &u32| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line.starts_with(b"evenkeel: checks")
        })
}

#[test]
fn killed_check_runner_restarts_and_reload_changes_the_program() {
    let scratch = ScratchDirectory::new().unwrap();
    let (one, two) = (install(&scratch, "one"), install(&scratch, "two"));
    // The programs may run as another user.
    std::fs::set_permissions(scratch.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    end(&scratch, "exit 0");
    let address = SocketAddr::from(([127, 0, 0, 1], free_port().unwrap()));
    let file = scratch.write("a.cfg", config(address, &one)).unwrap();
    let child = Command::new(binary())
        .args(["run", "-f"])
        .arg(&file)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let run = Run(child);
    let supervisor = run.0.id();
    let is = |status: &str| seen(address).iter().filter(|s| s.contains(status)).count() == 2;
    assert!(eventually(PATIENCE, || is("PROCOK 0")));
    let first = runner(supervisor).unwrap();
    assert!(nix_kill(first, "KILL"));
    end(&scratch, "exit 4");
    assert!(eventually(PATIENCE, || is("PROCERR 4")));
    assert!(runner(supervisor).is_some_and(|other| other != first));
    // Later output of the first program does not belong to the second.
    scratch.write("a.cfg", config(address, &two)).unwrap();
    assert!(nix_kill(supervisor, "HUP"));
    end(&scratch, "exit 0");
    let there = |name: &str| scratch.path().join(name).exists();
    assert!(eventually(PATIENCE, || there("two.s1") && there("two.s2")));
    assert!(eventually(PATIENCE, || is("PROCOK 0")));
    let last = runner(supervisor);
    drop(run);
    let gone = || last.is_none_or(|pid| !Path::new(&format!("/proc/{pid}/stat")).exists());
    assert!(eventually(PATIENCE, gone));
}
