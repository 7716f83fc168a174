//! Tests a proxy that connects to its servers from the addresses of its clients (`source …
//! usesrc`), as an unprivileged user with the one capability that this needs.

use crate::program::Program;
use lab::{Lab, LabHost, Probe, ScratchDirectory, eventually};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(120);

/// Starts a server that responds with the address of its client.
fn mirror(host: &LabHost, at: SocketAddr) {
    let listener: TcpListener = host.tcp_listen(at).unwrap();
    std::thread::spawn(move || {
        while let Ok((mut socket, from)) = listener.accept() {
            let mut request = Vec::new();
            let mut bytes = [0; 4096];
            while !request.windows(4).any(|w| w == b"\r\n\r\n") {
                match socket.read(&mut bytes) {
                    Ok(n) if n > 0 => request.extend_from_slice(&bytes[..n]),
                    _ => break,
                }
            }
            let body = from.to_string();
            let _ = write!(
                socket,
                "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
        }
    });
}

const CONFIGURATION: &str = "
global
    user nobody
    chroot /var/empty
defaults
    mode http
    timeout client 20s
    timeout server 20s
    timeout connect 20s
listen ip
    bind 203.0.113.1:80
    server s 192.0.2.2:80 source 0.0.0.0 usesrc clientip
listen whole
    bind 203.0.113.1:81
    source 0.0.0.0 usesrc client
    server s 192.0.2.2:80
listen header
    bind 203.0.113.1:82
    server s 192.0.2.2:80 source 0.0.0.0 usesrc hdr_ip(x-real)
listen ports
    bind 203.0.113.1:83
    server s 192.0.2.2:80 source 192.0.2.1:40000-40009
";

fn shows(program: Program) {
    let lab = Lab::new("transparent").unwrap();
    let scratch = ScratchDirectory::new().unwrap();
    let [client, balancer, server] = ["client", "balancer", "server"].map(|n| lab.host(n).unwrap());
    let outside = lab.link(&client, &balancer).unwrap();
    outside.a.address("203.0.113.7/24").unwrap();
    outside.b.address("203.0.113.1/24").unwrap();
    let inside = lab.link(&balancer, &server).unwrap();
    inside.a.address("192.0.2.1/24").unwrap();
    inside.b.address("192.0.2.2/24").unwrap();
    server.route("default", "192.0.2.1").unwrap();
    // Packets from servers to clients belong to the proxy's sockets.
    let name = inside.a.name();
    balancer
        .ip(&["rule", "add", "iif", name, "lookup", "100"])
        .unwrap();
    balancer
        .ip(&[
            "route",
            "add",
            "local",
            "0.0.0.0/0",
            "dev",
            "lo",
            "table",
            "100",
        ])
        .unwrap();
    mirror(&server, "192.0.2.2:80".parse().unwrap());
    std::fs::create_dir_all(scratch.path().join("empty")).unwrap();
    let empty = scratch.path().join("empty").display().to_string();
    let mut text = CONFIGURATION.replace("/var/empty", &empty);
    if program == Program::Haproxy {
        // haproxy needs all privileges of root here.
        text = text.replace("    user nobody\n", "");
    }
    let path = scratch.write("proxy.cfg", text).unwrap();
    let mut command = program.command();
    command.arg("-db").arg("-f").arg(path);
    let _process = balancer.spawn(command).unwrap();
    let to = |port: u16| SocketAddr::from(([203, 0, 113, 1], port));
    assert!(eventually(SOON, || client
        .tcp_connect(to(80), SOON)
        .is_ok()));
    let seen = |port: u16, headers: &[(&str, &str)]| {
        let mut probe = Probe::new(&client, to(port));
        let answer = probe.request("GET", "/", headers, b"").unwrap();
        assert_eq!(answer.status, 200);
        answer.text()
    };
    assert!(seen(80, &[]).starts_with("203.0.113.7:"));
    assert!(seen(81, &[]).starts_with("203.0.113.7:"));
    assert!(seen(82, &[("x-real", "198.51.100.9")]).starts_with("198.51.100.9:"));
    if program == Program::Evenkeel {
        // haproxy 2.6 responds with 500: "source-header-missing" of the differences.
        assert!(seen(82, &[]).starts_with("192.0.2.1:"));
    }
    for _ in 0..3 {
        let from: SocketAddr = seen(83, &[]).parse().unwrap();
        assert!((40000..=40009).contains(&from.port()), "{from}");
    }
}

#[test]
fn servers_see_the_addresses_of_clients() {
    shows(Program::Evenkeel);
}

#[test]
fn servers_see_the_addresses_of_clients_as_with_haproxy() {
    shows(Program::Haproxy);
}
