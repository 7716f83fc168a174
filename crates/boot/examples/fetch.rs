//! Runs the TFTP and HTTP servers alone, for measurements, and a client that measures TFTP.
//!
//! ```text
//! fetch serve DIRECTORY TFTP-ADDRESS HTTP-ADDRESS
//! fetch get ADDRESS NAME CLIENTS FETCHES BLKSIZE WINDOWSIZE
//! ```

use boot::content::{ContentSource, FetchClient, FetchContent, FetchReport, MissingContent};
use boot::{http, tftp};
use std::error::Error;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

type ExampleResult = Result<(), Box<dyn Error + Send + Sync>>;

struct DirectoryContent(PathBuf);

impl ContentSource for DirectoryContent {
    fn find(&self, name: &str, _: &str, _: &FetchClient) -> Result<FetchContent, MissingContent> {
        let mut parts = Path::new(name).components();
        if parts.all(|part| matches!(part, Component::Normal(_))) {
            Ok(FetchContent::File(self.0.join(name)))
        } else {
            Err(MissingContent(format!("no file {name}")))
        }
    }

    fn fetched(&self, name: &str, asker: &FetchClient, end: &FetchReport) {
        if let FetchReport::Broken(why) = end {
            eprintln!("{name} to {}: {why}", asker.address);
        }
    }
}

fn serve(directory: &str, by_tftp: &str, by_http: &str) -> ExampleResult {
    let shelf = Arc::new(DirectoryContent(PathBuf::from(directory)));
    let listener = tftp::TftpListener {
        socket: UdpSocket::bind(by_tftp)?.into(),
        interface: None,
    };
    let _tftp = tftp::Server::start(vec![listener], shelf.clone(), tftp::TRANSFERS_MAX)?;
    // All clients of a measurement may have one address.
    let limits = http::Limits {
        of_one: 2_048,
        ..http::Limits::default()
    };
    let _http = http::Server::start(vec![TcpListener::bind(by_http)?], shelf, limits)?;
    loop {
        std::thread::park();
    }
}

/// Opens the socket of a client: on loopback each client has another address.
fn socket(server: SocketAddr, client: u16) -> std::io::Result<UdpSocket> {
    let [high, low] = client.to_be_bytes();
    if server.ip().is_loopback() {
        UdpSocket::bind(SocketAddr::from(([127, 1 + high, low, 9], 0)))
    } else {
        UdpSocket::bind("0.0.0.0:0")
    }
}

/// Fetches a file, and returns its length.
fn fetch(
    socket: &UdpSocket,
    server: SocketAddr,
    name: &str,
    block: usize,
    mut window: u16,
) -> std::io::Result<u64> {
    socket.set_read_timeout(Some(Duration::from_secs(1)))?;
    let request = match window {
        1 => format!("\0\x01{name}\0octet\0blksize\0{block}\0"),
        _ => format!("\0\x01{name}\0octet\0blksize\0{block}\0windowsize\0{window}\0"),
    };
    let (mut to, mut last) = (server, request.into_bytes());
    socket.send_to(&last, to)?;
    let (mut expected, mut since, mut bytes) = (1_u16, 0, 0);
    let mut packet = vec![0; block + 4];
    let mut silences = 0;
    loop {
        let (length, from) = match socket.recv_from(&mut packet) {
            Ok(came) => came,
            Err(error) if silences > 20 => return Err(error),
            Err(_) => {
                silences += 1;
                socket.send_to(&last, to)?;
                continue;
            }
        };
        to = from;
        let Some((head, data)) = packet
            .get(..length)
            .and_then(<[u8]>::split_first_chunk::<4>)
        else {
            continue;
        };
        let mut is_last = false;
        match head {
            [0, 6, ..] => {
                if !packet.windows(10).any(|part| part == b"windowsize") {
                    window = 1;
                }
                last = vec![0, 4, 0, 0];
            }
            [0, 3, high, low] => {
                let is_next = u16::from_be_bytes([*high, *low]) == expected;
                if is_next {
                    bytes += data.len() as u64;
                    is_last = data.len() < block;
                    last = vec![0, 4, *high, *low];
                    (expected, since) = (expected.wrapping_add(1), since + 1);
                    if since < window && !is_last {
                        continue;
                    }
                } else if since == 0 {
                    // A block that was sent after a lost one.
                    continue;
                }
                since = 0;
            }
            _ => return Err(std::io::Error::other("the server sent an error")),
        }
        socket.send_to(&last, to)?;
        if is_last {
            return Ok(bytes);
        }
    }
}

fn get(server: &str, name: &str, numbers: [&str; 4]) -> ExampleResult {
    let server: SocketAddr = server.parse()?;
    let [clients, fetches, block, window] = numbers.map(str::parse::<u16>);
    let (clients, fetches, block, window) = (clients?, fetches?, block?, window?);
    let begin = Instant::now();
    let bytes = std::thread::scope(|scope| {
        let client = |client| {
            scope.spawn(move || -> std::io::Result<u64> {
                let each = (0..fetches).map(|_| {
                    let socket = socket(server, client)?;
                    fetch(&socket, server, name, block.into(), window)
                });
                each.sum()
            })
        };
        let all: Vec<_> = (0..clients).map(client).collect();
        let joined = all.into_iter().map(|one| match one.join() {
            Ok(fetched) => fetched,
            Err(_) => Err(std::io::Error::other("a client panicked")),
        });
        joined.sum::<std::io::Result<u64>>()
    })?;
    let took = begin.elapsed();
    let rate = bytes as f64 / took.as_secs_f64() / 1e6;
    println!(
        "{bytes} bytes in {:.2} s: {rate:.0} MB/s",
        took.as_secs_f64()
    );
    Ok(())
}

fn main() -> ExampleResult {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["serve", directory, by_tftp, by_http] => serve(directory, by_tftp, by_http),
        ["get", server, name, a, b, c, d] => get(server, name, [a, b, c, d]),
        _ => Err("fetch serve DIRECTORY TFTP HTTP, or fetch get ADDRESS NAME CLIENTS FETCHES BLKSIZE WINDOWSIZE".into()),
    }
}
