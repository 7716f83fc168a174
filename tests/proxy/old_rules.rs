//! Tests a file of 2011 with rules about header lines: Evenkeel runs it unchanged, and the output
//! of `evenkeel upgrade` does the same, here and in a current HAProxy.

use crate::program::{Program, binary};
use lab::{Location, ScratchDirectory, free_port};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(120);

const CONFIG: &str = r"
global
	maxconn 500

defaults
	mode http
	contimeout 5000	# to servers
	clitimeout 20000
	srvtimeout 20000

userlist customers
	user ann insecure-password hello

frontend public
	id 80
	bind @PUBLIC@
	option http-server-close
	default_backend farm
	# What servers tell of themselves.
	rspidel ^Server:.*$
	rspidel ^X-Powered-By:.*$

frontend secure
	id 8443
	bind @SECURE@
	option http-server-close
	default_backend farm
	block if { path /blocked }
	reqirep ^(\w+\ )https:/(/.*)$ \1http:/\2
	reqadd X-Forwarded-Proto:\ https
	reqitarpit ^[^:\ ]*\ /.*\.exe
	rspirep ^Location:\s*http://.*?\.example\.com(/.*)$ Location:\ \1
	timeout tarpit 10ms

backend farm
	redispatch
	acl secure fe_id 8443
	acl is_page path_beg -i /page/
	http-request deny if is_page !secure
	acl is_ann path_beg /ann
	http-request auth realm Ann if is_ann !{ http_auth(customers) }
	server a @ORIGIN@
";

/// Starts a server that reveals too much and returns the head that it received.
fn origin() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || serve(stream));
        }
    });
    address
}

fn serve(mut stream: TcpStream) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head).ok()? == 0 {
                return None;
            }
        }
        let line = head.lines().next()?;
        let proto = head.contains("x-forwarded-proto: https");
        let body = format!("{line} {proto}");
        let answer = format!(
            "HTTP/1.1 200 OK\r\nServer: IIS/7.5\r\nX-Powered-By: ASP.NET\r\nLocation: http://www.example.com/there\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(answer.as_bytes()).ok()?;
    }
}

/// Returns the responses to two requests of one connection: status, headers of interest, body.
fn seen(at: SocketAddr, target: &str, header: &str) -> Vec<String> {
    let mut stream = TcpStream::connect(at).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut all = Vec::new();
    for _ in 0..2 {
        let request = format!("GET {target} HTTP/1.1\r\nHost: h\r\n{header}\r\n");
        if stream.write_all(request.as_bytes()).is_err() {
            break;
        }
        let (mut lines, mut length) = (Vec::new(), 0);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 || line == "\r\n" {
                break;
            }
            let line = line.trim_end().to_owned();
            if let Some(text) = line.strip_prefix("content-length: ") {
                length = text.parse().unwrap();
            }
            let told = [
                "HTTP/",
                "server:",
                "x-powered-by:",
                "location:",
                "www-authenticate:",
            ];
            if told.iter().any(|begin| line.starts_with(begin)) {
                lines.push(line);
            }
        }
        let mut body = vec![0; length];
        if lines.is_empty() || reader.read_exact(&mut body).is_err() {
            break;
        }
        if lines[0].contains(" 200 ") {
            lines.push(String::from_utf8_lossy(&body).into_owned());
        }
        all.push(lines.join("|"));
    }
    all
}

fn observe(program: Program, text: &str) -> Vec<Vec<String>> {
    let (public, secure) = (free_port().unwrap(), free_port().unwrap());
    let [public, secure] = [public, secure].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
    let text = text
        .replace("@PUBLIC@", &public.to_string())
        .replace("@SECURE@", &secure.to_string())
        .replace("@ORIGIN@", &origin().to_string());
    let _peer = program.start(Location::Here, &text, public).unwrap();
    let ann = "Authorization: Basic YW5uOmhlbGxv\r\n";
    vec![
        seen(public, "/a", ""),
        seen(secure, "/a", ""),
        seen(secure, "https://h/a", ""),
        seen(secure, "/a/SETUP.EXE?x", ""),
        seen(secure, "/blocked", ""),
        seen(public, "/page/x", ""),
        seen(secure, "/page/x", ""),
        seen(public, "/ann", ""),
        seen(public, "/ann", ann),
    ]
}

#[test]
fn old_line_rules_work_before_and_after_upgrade() {
    let ours = observe(Program::Evenkeel, CONFIG);
    let public = "HTTP/1.1 200 OK|location: http://www.example.com/there|GET /a HTTP/1.1 false";
    assert_eq!(ours[0], [public, public]);
    let secure = "HTTP/1.1 200 OK|server: IIS/7.5|x-powered-by: ASP.NET|location: /there|GET /a HTTP/1.1 true";
    assert_eq!(ours[1], [secure, secure]);
    assert!(
        ours[2][1].ends_with("|GET http://h/a HTTP/1.1 true"),
        "{:?}",
        ours[2]
    );
    for (at, status) in [
        (3, "500"),
        (4, "403"),
        (5, "403"),
        (6, "200"),
        (7, "401"),
        (8, "200"),
    ] {
        assert!(
            ours[at][0].starts_with(&format!("HTTP/1.1 {status} ")),
            "{at}: {:?}",
            ours[at]
        );
    }
    let scratch = ScratchDirectory::new().unwrap();
    let file = scratch
        .write(
            "old.cfg",
            CONFIG
                .replace("@PUBLIC@", "127.0.0.1:1")
                .replace("@SECURE@", "127.0.0.1:2")
                .replace("@ORIGIN@", "127.0.0.1:3"),
        )
        .unwrap();
    let output = Command::new(binary())
        .args(["upgrade", "--stdout"])
        .arg(file)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(said, "");
    let new = String::from_utf8(output.stdout).unwrap();
    assert!(
        new.contains("\ttimeout connect 5000\t# to servers\n"),
        "{new}"
    );
    let new = new
        .replace("bind 127.0.0.1:1\n", "bind @PUBLIC@\n")
        .replace("bind 127.0.0.1:2\n", "bind @SECURE@\n")
        .replace("server a 127.0.0.1:3\n", "server a @ORIGIN@\n");
    for program in Program::BOTH {
        assert_eq!(observe(program, &new), ours, "{program:?}\n{new}");
    }
}
