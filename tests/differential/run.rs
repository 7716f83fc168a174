//! Serves a family with both programs, one after the other at the same addresses, sends the bytes
//! of its cases, and reports the differences.

use super::table::{Case, Family, Normal, Sample};
use crate::program::{Program, root};
use crate::tls::site::Site;
use lab::{Behaviour, Echo, Location, OriginServer, ScratchDirectory, free_port};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Timeout of a response: no case is slow, so only a fault reaches it.
const PATIENCE: Duration = Duration::from_secs(15);
/// Wait of a client between the pieces that it sends.
const BETWEEN_PIECES: Duration = Duration::from_millis(10);
/// Maximum bytes of a response that are read.
const ANSWER_MAX: u64 = 1 << 20;

/// Addresses and files of a family, for both programs.
struct Bed {
    family: &'static Family,
    port: u16,
    origin: OriginServer,
    echo: Echo,
    scratch: ScratchDirectory,
}

type Outcome = Result<String, String>;

impl Bed {
    fn new(family: &'static Family) -> Self {
        let scratch = ScratchDirectory::new().unwrap();
        for (name, text) in family.files {
            scratch.write(name, text).unwrap();
        }
        if family.certificates {
            let site = Site::new();
            for name in ["ca.pem", "site.pem", "client.pem"] {
                let text = std::fs::read_to_string(site.path(name)).unwrap();
                scratch.write(name, text).unwrap();
            }
            // A CA that signed none of the certificates.
            let text = std::fs::read_to_string(Site::new().path("ca.pem")).unwrap();
            scratch.write("other.pem", text).unwrap();
        }
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Bed {
            family,
            port: free_port().unwrap(),
            origin: OriginServer::start_local("app").unwrap(),
            echo: Echo::start(Location::Here, any).unwrap(),
            scratch,
        }
    }

    /// Returns the address of the samples, or of a case: one port at as many addresses of this
    /// machine.
    fn address(&self, n: usize) -> SocketAddr {
        let n = u16::try_from(n).unwrap();
        let [high, low] = n.to_be_bytes();
        SocketAddr::from(([127, 77, high, low], self.port))
    }

    fn put(&self, text: &str, n: usize) -> String {
        text.replace("@SERVER@", &self.origin.address().to_string())
            .replace("@ECHO@", &self.echo.address().to_string())
            .replace("@DIR@", &self.scratch.path().display().to_string())
            .replace("@CASE@", &format!("case{n}"))
            .replace("@ADDRESS@", &self.address(n + 1).to_string())
    }

    fn config(&self, program: Program) -> String {
        let family = self.family;
        let mut text = format!(
            "global\n{}\ndefaults\n    mode http\n    timeout client 10s\n    timeout server 10s\n    \
             timeout connect 10s\n    retries 0\n{}\nfrontend samples\n    bind {}\n    \
             http-request set-var(txn.case) req.hdr(x-case)\n    http-request del-header x-case\n    \
             default_backend samples\nbackend samples\n    server s1 @SERVER@\n",
            family.global,
            family.defaults,
            self.address(0)
        );
        // The rules are in the backend, so that they run after the rule above and before the
        // response.
        for (n, sample) in family.samples.iter().enumerate() {
            if program == Program::Haproxy && sample.newer.is_some() {
                // The line numbers must be the same for both programs.
                text += "#\n#\n";
                continue;
            }
            let expression = sample.expression;
            let this = format!("if {{ var(txn.case) -m str {n} }}");
            let value = match sample.answer {
                // haproxy does not apply response rules to a response that it generates itself.
                Some(_) => "http-response set-header x-value",
                None => "http-request return status 200 content-type text/plain lf-string",
            };
            let _ = writeln!(
                text,
                "    {value} [%[{expression}]] {this} {{ {expression} -m found }}\n    \
                 {value} none {this} !{{ {expression} -m found }}"
            );
        }
        let mut text = self.put(&text, 0);
        for (n, case) in family.cases.iter().enumerate() {
            let skipped = program == Program::Haproxy && case.newer.is_some();
            let lines = format!(
                "frontend @CASE@\n    bind @ADDRESS@ {}\n{}\n{}\n",
                case.bind, case.lines, case.sections
            );
            let lines = self.put(&lines, n);
            if skipped {
                text += &"#\n".repeat(lines.matches('\n').count())
            } else {
                text += &lines
            }
        }
        text
    }

    /// Waits for a response at the first address.
    fn is_answered(&self) {
        let asks = || -> std::io::Result<()> {
            let mut client = TcpStream::connect(self.address(0))?;
            client.set_read_timeout(Some(PATIENCE))?;
            client.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
            client.read_exact(&mut [0])
        };
        assert!(lab::eventually(PATIENCE, || asks().is_ok()));
    }

    /// Serves the family with a program; returns the results of all samples, and then of all cases.
    fn serve(&self, program: Program) -> Vec<Outcome> {
        let config = self.config(program);
        let peer = match program.start(Location::Here, &config, self.address(0)) {
            Ok(peer) => peer,
            Err(error) => {
                let error = error.to_string();
                panic!("{program:?}: {error}\n{}", lines_named(&config, &error))
            }
        };
        // The program listens at the first address before the others, but responds only when it
        // listens at all of them.
        if self.family.samples.is_empty() {
            self.is_answered();
        }
        let old = program == Program::Haproxy;
        let samples = self.family.samples.iter().enumerate();
        let mut all: Vec<Outcome> = samples
            .map(|(n, sample)| match sample.newer {
                Some(value) if old => Ok(format!("[{value}]")),
                _ => self.ask(n, sample),
            })
            .collect();
        let cases = self.family.cases.iter().enumerate();
        all.extend(cases.map(|(n, case)| match case.newer {
            Some(value) if old => Ok(value.to_owned()),
            _ => self.play(n, case),
        }));
        // A program that could not bind an address may have responded at the first one, and prints
        // the reason when it ends.
        if all.iter().all(Result::is_err) {
            peer.process().wait(PATIENCE);
        }
        let said = peer.output();
        assert!(
            peer.process().exit().is_none(),
            "{program:?} has ended: {said}"
        );
        all
    }

    fn ask(&self, n: usize, sample: &Sample) -> Outcome {
        self.origin.set_behaviour(match sample.answer {
            Some(head) => Behaviour::Raw(format!("{head}Content-Length: 4\r\n\r\nbody").into()),
            None => Behaviour::Answer,
        });
        let request = sample.request.unwrap_or(super::REQUEST);
        let request = format!("{request}X-Case: {n}\r\nConnection: close\r\n\r\n");
        let (port, said) = talk(self.address(0), request.as_bytes(), false, None)?;
        self.origin.take_requests();
        // Cases of `return` compare the head; here only the value is compared.
        let shown = said.lines().find_map(|line| line.strip_prefix("x-value: "));
        let value = match said.split_once("\r\n\r\n") {
            _ if sample.answer.is_some() && shown.is_some() => shown.unwrap_or_default().to_owned(),
            Some((head, value)) if head.starts_with("HTTP/1.1 200") => value.to_owned(),
            _ => sorted_headers(&said),
        };
        Ok(normalised(&value, sample.normal, port))
    }

    /// Like `talk`, over TLS; the response ends with the connection.
    fn talk_tls(
        &self,
        address: SocketAddr,
        bytes: &[u8],
        arguments: &[&str],
    ) -> Result<String, String> {
        let told = |error: std::io::Error| error.to_string();
        let mut command = Command::new("timeout");
        command.args([
            &PATIENCE.as_secs().to_string(),
            "openssl",
            "s_client",
            "-quiet",
        ]);
        command.args(["-connect", &address.to_string()]);
        command.args(arguments.iter().map(|argument| self.put(argument, 0)));
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut client = command.stderr(Stdio::null()).spawn().map_err(told)?;
        let mut input = client.stdin.take().unwrap();
        let _ = input.write_all(bytes);
        let output = client.wait_with_output().map_err(told)?;
        drop(input);
        Ok(bytes_as_text(&output.stdout))
    }

    fn play(&self, n: usize, case: &Case) -> Outcome {
        self.origin.set_behaviour(match case.server_says {
            Some(bytes) => Behaviour::Raw(bytes.to_vec()),
            None => Behaviour::Answer,
        });
        let mut all = String::new();
        for bytes in case.send {
            if let Some(command) = bytes.strip_prefix(super::COMMAND) {
                let said = self.command(&self.put(&bytes_as_text(command), n))?;
                let _ = write!(all, "<socket>{}", normalised(&said, case.normal, 0));
                continue;
            }
            let address = self.address(n + 1);
            let (port, said) = match case.tls {
                Some(arguments) => (0, self.talk_tls(address, bytes, arguments)?),
                None => talk(address, bytes, case.half_close, case.pieces)?,
            };
            for head in self.origin.take_requests() {
                let _ = write!(all, "<server>{}", normalised(&head, case.normal, port));
            }
            let _ = write!(all, "<client>{}", normalised(&said, case.normal, port));
        }
        Ok(all)
    }

    /// Returns the reply of the statistics socket to a command. The command is repeated while it
    /// still counts a client that has disconnected.
    fn command(&self, command: &str) -> Outcome {
        let until = Instant::now() + PATIENCE;
        loop {
            let said = self.command_once(command);
            let said = said.map_err(|error| format!("{command}: {error}"))?;
            let entries = said.split(" use=").skip(1);
            let busy = entries.filter(|rest| !rest.starts_with("0 ")).count() > 0;
            if !busy || Instant::now() > until {
                return Ok(said);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn command_once(&self, command: &str) -> std::io::Result<String> {
        let mut stream = UnixStream::connect(self.scratch.path().join(super::SOCKET))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(format!("{command}\n").as_bytes())?;
        let mut said = String::new();
        stream.take(ANSWER_MAX).read_to_string(&mut said)?;
        Ok(said)
    }
}

/// Sends bytes, and reads until the connection ends. Also returns the local port.
fn talk(
    address: SocketAddr,
    bytes: &[u8],
    half_close: bool,
    pieces: Option<usize>,
) -> Result<(u16, String), String> {
    let told = |error: std::io::Error| error.to_string();
    let mut stream = TcpStream::connect(address).map_err(told)?;
    let port = stream.local_addr().map_err(told)?.port();
    stream.set_read_timeout(Some(PATIENCE)).map_err(told)?;
    stream.set_nodelay(true).map_err(told)?;
    for (n, piece) in bytes
        .chunks(pieces.unwrap_or(bytes.len()).max(1))
        .enumerate()
    {
        if n > 0 {
            // No result depends on the pieces arriving one by one.
            std::thread::sleep(BETWEEN_PIECES);
        }
        // A program that refuses early resets the connection; its output before that counts.
        let _ = stream.write_all(piece);
    }
    if half_close {
        let _ = stream.shutdown(Shutdown::Write);
    }
    let mut said = Vec::new();
    let end = stream.take(ANSWER_MAX).read_to_end(&mut said);
    let late = |e: &std::io::Error| e.kind() == std::io::ErrorKind::WouldBlock;
    let said = bytes_as_text(&said);
    if end.as_ref().is_err_and(late) {
        return Err(format!("{said}<and no end>"));
    }
    Ok((port, said))
}

/// Converts every byte to a character, so that none is lost.
fn bytes_as_text(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

fn normalised(text: &str, normal: &[Normal], client_port: u16) -> String {
    let mut text = text.to_owned();
    for normal in normal {
        text = match normal {
            Normal::ClientPort => text.replace(&client_port.to_string(), "CLIENT-PORT"),
            Normal::Numbers => without_numbers(&text),
            Normal::ProxyPorts => without_proxy_ports(&text),
            Normal::HeaderOrder => sorted_headers(&text),
            Normal::Entries => without_moments(&text),
            Normal::Dates => without_dates(&text),
        };
    }
    text
}

/// Replaces the ports in a PROXY header of version 2 for IPv4 by question marks.
fn without_proxy_ports(text: &str) -> String {
    const SIGNATURE: &str = "\r\n\r\n\0\r\nQUIT\n";
    const PORTS: std::ops::Range<usize> = 24..28;
    let Some((before, header)) = text.split_once(SIGNATURE) else {
        return text.to_owned();
    };
    let header: Vec<char> = SIGNATURE.chars().chain(header.chars()).collect();
    let shown = header.iter().enumerate();
    let shown = shown.map(|(n, c)| if PORTS.contains(&n) { '?' } else { *c });
    format!("{before}{}", shown.collect::<String>())
}

fn without_numbers(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        let c = if c.is_ascii_digit() { '9' } else { c };
        if c != '9' || !out.ends_with('9') {
            out.push(c);
        }
    }
    out
}

/// Removes the memory addresses and expiry times of entries from the output of `show table`.
fn without_moments(text: &str) -> String {
    let mut out = String::new();
    for line in text.split_inclusive('\n') {
        let line = match line.split_once(": key=") {
            Some((place, rest)) if place.starts_with("0x") => format!("key={rest}"),
            _ => line.to_owned(),
        };
        let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        for word in &mut words {
            let name = word.split_once('=').map(|(name, _)| name.to_owned());
            match name {
                Some(name) if name == "exp" => *word = "exp=".to_owned(),
                // Only whether any bytes were counted is compared.
                Some(name) if name.contains("bytes_") && !word.contains("=0") => {
                    *word = format!("{name}=many");
                }
                _ => {}
            }
        }
        out += &words.join(" ");
    }
    out
}

/// Replaces the dates of cookies: those that are written out, and the time since 1970, in fours of
/// seconds, as five digits to the base of 64 (`maxidle`, `maxlife`).
fn without_dates(text: &str) -> String {
    let mut parts: Vec<&str> = text.split("GMT").collect();
    let end = parts.pop().unwrap_or_default();
    let mut out = String::new();
    for part in parts {
        // Removes the text from the day of the week on.
        let day = part.rfind(", ").unwrap_or(part.len()).saturating_sub(3);
        out += part.get(..day).unwrap_or(part);
        out += "DATE";
    }
    out += end;
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let mut stamps = BTreeSet::new();
    stamps.extend((now - DATES_SECONDS..=now).map(|seconds| stamp(seconds.div_ceil(4))));
    let mut parts = out.split('|');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.get(..5) {
            Some(date) if stamps.contains(date) => plain = plain + "|DATE" + &part[5..],
            _ => plain = plain + "|" + part,
        }
    }
    plain
}

/// Maximum age in seconds of a response whose dates are recognised.
const DATES_SECONDS: u64 = 600;

fn stamp(fours: u64) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digit = |place: u64| char::from(DIGITS[(fours >> (6 * place)) as usize & 63]);
    (0..5).rev().map(digit).collect()
}

fn sorted_headers(text: &str) -> String {
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
    let mut lines = head.split("\r\n");
    let start = lines.next().unwrap_or_default();
    let mut lines: Vec<String> = lines
        .map(|line| match line.split_once(':') {
            Some((name, value)) => format!("{}:{value}", name.to_ascii_lowercase()),
            None => line.to_owned(),
        })
        .collect();
    lines.sort_unstable();
    format!("{start}\r\n{}\r\n\r\n{body}", lines.join("\r\n"))
}

/// Returns the lines of a file that a message names by `:number`.
fn lines_named(config: &str, message: &str) -> String {
    let mut out = String::new();
    for (n, line) in config.lines().enumerate() {
        let behind = |end| message.contains(&format!(":{}{end}", n + 1));
        if [']', ':', ' '].into_iter().any(behind) {
            let _ = writeln!(out, "{:4} {line}", n + 1);
        }
    }
    out
}

/// Returns the keys of the differences in the manual.
fn differences() -> Vec<String> {
    let file = root().join("crates/proxy/src/differences.rs");
    let text = std::fs::read_to_string(file).unwrap();
    let keys = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("key: \""));
    keys.filter_map(|rest| Some(rest.split_once('"')?.0.to_owned()))
        .collect()
}

/// Compares the results of both programs for a family, and panics if any differ unexpectedly.
pub fn compare(family: &'static Family) {
    let bed = Bed::new(family);
    let theirs = bed.serve(Program::Haproxy);
    let ours = bed.serve(Program::Evenkeel);
    let samples = family.samples.iter();
    let named = |sample: &Sample| match sample.request {
        Some(request) => format!("{} of {request:?}", sample.expression),
        None => sample.expression.to_owned(),
    };
    let names = samples.map(|sample| (named(sample), sample.differs, sample.newer));
    let cases = family.cases.iter();
    let names = names.chain(cases.map(|case| (case.name.to_owned(), case.differs, case.newer)));
    let known = differences();
    let mut wrong = String::new();
    for ((name, differs, newer), (theirs, ours)) in names.zip(theirs.iter().zip(&ours)) {
        let explained = differs.is_some_and(|key| known.iter().any(|known| known == key));
        if let (Some(key), false) = (differs, explained) {
            let _ = writeln!(wrong, "== {name}: differences.rs has no key '{key}'");
        }
        if (theirs != ours) != differs.is_some() {
            let should = if newer.is_some() { "wanted" } else { "haproxy" };
            let same = if differs.is_some() {
                "\n   they do not differ any more"
            } else {
                ""
            };
            let _ = writeln!(
                wrong,
                "== {name}{same}\n   {should:8} {theirs:?}\n   evenkeel {ours:?}"
            );
        }
    }
    wrong += &not_refused(&bed);
    let family = family.name;
    assert!(wrong.is_empty(), "\nfamily {family}\n{wrong}");
}

/// Returns the `refused` lines of a family that a program accepts.
fn not_refused(bed: &Bed) -> String {
    let mut wrong = String::new();
    for line in bed.family.refused {
        let config = format!(
            "defaults\n    mode http\n    timeout client 1s\n    timeout server 1s\n    timeout connect 1s\n\
             frontend f\n    bind 127.0.0.1:{}\n    {line}\n",
            bed.port
        );
        let file = bed
            .scratch
            .write("refused.cfg", bed.put(&config, 0))
            .unwrap();
        for program in Program::BOTH {
            let mut command = program.command();
            command.args(["-c", "-f"]).arg(&file);
            command.stdout(Stdio::null()).stderr(Stdio::null());
            if command.status().unwrap().success() {
                let _ = writeln!(wrong, "== {program:?} accepts: {line}");
            }
        }
    }
    wrong
}
