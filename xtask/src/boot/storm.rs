//! Measures many machines that fetch a file at once, by TFTP for the comparison with dnsmasq, or by
//! HTTP for that with nginx.

use super::hand::{self, Hand};
use super::site::{cpu_of, output};
use crate::comparison::Error;
use lab::{Lab, LabHost, LabProcess, ScratchDirectory, Switch, eventually};
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, UdpSocket};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Number of machines that fetch at the same time.
pub const MACHINES: u16 = 1_000;
/// Size in bytes of the file that is fetched by HTTP: that of a small kernel.
pub const HTTP_BYTES: usize = 2 << 20;
/// Time after which a machine repeats a packet, as iPXE does at first.
const AGAIN: Duration = Duration::from_secs(1);
/// Maximum number of repetitions of a packet.
const AGAIN_MAX: u32 = 30;
/// Timeout of the start of a server, and of a fetch.
const SOON: Duration = Duration::from_secs(120);
/// Block size in bytes, as iPXE requests it.
const BLOCK: usize = 1_432;
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 20, 0, 1);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum By {
    Tftp,
    Http,
}

#[derive(Clone, Copy, Debug)]
pub struct Measured {
    pub bytes: u64,
    /// Time until the last machine had its file.
    pub all: Duration,
    /// CPU time of the server's processes.
    pub cpu: Duration,
}

fn address(number: u16) -> Ipv4Addr {
    let [high, low] = (number + 1).to_be_bytes();
    Ipv4Addr::new(10, 21, high, low)
}

fn mac(number: u16, separator: char) -> String {
    let [high, low] = number.to_be_bytes();
    format!("02:01:00:00:{high:02x}:{low:02x}").replace(':', &separator.to_string())
}

fn evenkeel(directory: &Path) -> String {
    let mut text = format!(
        "boot lan\n interface eth0\n range 10.20.1.0 10.20.250.255 lease 1h\n leases {}\n \
         image storm kernel {}\n",
        directory.join("leases").display(),
        directory.join("file").display(),
    );
    for number in 0..MACHINES {
        let _ = writeln!(
            text,
            " machine m{number} mac {} address {} image storm",
            mac(number, ':'),
            address(number)
        );
    }
    text
}

/// A file server and a host for the machines.
struct Storm {
    program: LabProcess,
    machines: LabHost,
    scratch: ScratchDirectory,
    label: String,
    _server: LabHost,
    _lan: Switch,
    _lab: Lab,
}

/// Starts a server, lets all machines fetch, and measures that.
pub fn measure(by: By, evenkeel: Option<&Path>) -> Result<Measured, Error> {
    let storm = Storm::start(by, evenkeel)?;
    let fetch = |number: u16| storm.machines.enter(|| run(by, number..number + 1));
    if !eventually(SOON, || fetch(0).is_ok()) {
        return Err(storm.not_ready("a machine gets its file"));
    }
    let before = cpu_of(&storm.program);
    let began = Instant::now();
    let fetched = storm.machines.enter(|| run(by, 0..MACHINES));
    let all = began.elapsed();
    let cpu = cpu_of(&storm.program).saturating_sub(before);
    match fetched {
        Ok(bytes) => Ok(Measured { bytes, all, cpu }),
        Err(error) => Err(storm.not_ready(match error.kind() {
            io::ErrorKind::TimedOut => "each machine gets its file in time",
            _ => "each machine gets its file",
        })),
    }
}

impl Storm {
    fn start(by: By, evenkeel: Option<&Path>) -> Result<Storm, Error> {
        let lab = Lab::new("storm")?;
        let lan = lab.switch("lan")?;
        let (server, machines) = (lab.host("server")?, lab.host("machines")?);
        lan.attach(&server)?.address("10.20.0.1/15")?;
        lan.attach(&machines)?.address("10.20.0.2/15")?;
        // Gives the addresses of all machines to a single network card, so that the server needs
        // one entry in the neighbour table, which all namespaces of this computer share.
        machines.ip(&["route", "add", "local", "10.21.0.0/16", "dev", "lo"])?;
        server.ip(&["route", "add", "10.21.0.0/16", "via", "10.20.0.2"])?;
        let scratch = ScratchDirectory::new()?;
        scratch.write("file", vec![0x5a; HTTP_BYTES])?;
        let (command, label) = match (evenkeel, by) {
            (Some(program), _) => {
                let file = scratch.write("boot.cfg", self::evenkeel(scratch.path()))?;
                let mut command = Command::new(program);
                command.args(["run", "-f"]).arg(file);
                command.env("EVENKEEL_RUNTIME_DIRECTORY", scratch.path());
                (command, program.display().to_string())
            }
            (None, By::Tftp) => (Hand::tftp(&scratch)?, hand::DNSMASQ.to_owned()),
            (None, By::Http) => (Hand::http(&scratch)?, hand::NGINX.to_owned()),
        };
        let mut command = command;
        output(&mut command, &scratch.path().join("said"))?;
        Ok(Storm {
            program: server.spawn(command)?,
            machines,
            scratch,
            label,
            _server: server,
            _lan: lan,
            _lab: lab,
        })
    }

    fn not_ready(&self, waited_for: &'static str) -> Error {
        let said = fs::read(self.scratch.path().join("said")).unwrap_or_default();
        Error::NotReady {
            label: self.label.clone(),
            waited_for,
            said: String::from_utf8_lossy(&said).into_owned(),
        }
    }
}

impl Drop for Storm {
    fn drop(&mut self) {
        self.program.kill_tree();
    }
}

/// Runs the simultaneous fetches of these machines, and returns the bytes.
fn run(by: By, machines: std::ops::Range<u16>) -> io::Result<u64> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut all = JoinSet::new();
        for number in machines {
            all.spawn(async move {
                let fetched = match by {
                    By::Tftp => timeout(SOON, tftp(number)).await,
                    By::Http => timeout(SOON, http(number)).await,
                };
                fetched.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            });
        }
        let mut bytes = 0;
        while let Some(fetched) = all.join_next().await {
            bytes += fetched.map_err(io::Error::other)??;
        }
        Ok(bytes)
    })
}

/// Fetches the boot loader as iPXE and firmware do (RFC 1350, 2347 to 2349).
async fn tftp(number: u16) -> io::Result<u64> {
    let socket = UdpSocket::bind(SocketAddr::from((address(number), 0))).await?;
    let request = format!("\0\x01snponly.efi\0octet\0blksize\0{BLOCK}\0tsize\00\0");
    let mut own = request.into_bytes();
    let mut to = SocketAddr::from((SERVER, 69));
    let (mut expected, mut bytes, mut again) = (0_u16, 0, 0);
    let mut packet = [0; BLOCK + 4];
    loop {
        socket.send_to(&own, to).await?;
        let (count, from) = loop {
            let Ok(came) = timeout(AGAIN, socket.recv_from(&mut packet)).await else {
                again += 1;
                if again > AGAIN_MAX {
                    return Err(io::ErrorKind::TimedOut.into());
                }
                socket.send_to(&own, to).await?;
                continue;
            };
            let (count, from) = came?;
            let number = u16::from_be_bytes([packet[2], packet[3]]);
            match (packet[1], count) {
                // An acknowledgement of options counts as block 0.
                (6, 4..) if expected == 0 => break (4, from),
                (3, 4..) if expected > 0 && number == expected => break (count, from),
                (5, _) => return Err(io::ErrorKind::NotFound.into()),
                _ => {}
            }
        };
        to = from;
        let [high, low] = expected.to_be_bytes();
        own = vec![0, 4, high, low];
        bytes += count as u64 - 4;
        if expected > 0 && count < BLOCK + 4 {
            socket.send_to(&own, to).await?;
            return Ok(bytes);
        }
        expected = expected.wrapping_add(1);
    }
}

/// Fetches the file of the image by HTTP; returns the number of received bytes.
async fn http(number: u16) -> io::Result<u64> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from((address(number), 0)))?;
    let mut stream = socket.connect((SERVER, hand::HTTP_PORT).into()).await?;
    let request = format!(
        "GET /boot/{}/storm/kernel HTTP/1.1\r\nHost: {SERVER}\r\nConnection: close\r\n\r\n",
        mac(number, '-')
    );
    stream.write_all(request.as_bytes()).await?;
    let (mut bytes, mut head) = (0_u64, Vec::new());
    let mut buffer = vec![0; 64 << 10];
    loop {
        let count = stream.read(&mut buffer).await?;
        if count == 0 {
            break;
        }
        bytes += count as u64;
        if head.len() < 12 {
            head.extend(&buffer[..count.min(12)]);
        }
    }
    if head.starts_with(b"HTTP/1.1 200") && bytes > HTTP_BYTES as u64 {
        Ok(bytes)
    } else {
        Err(io::ErrorKind::InvalidData.into())
    }
}
