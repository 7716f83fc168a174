//! Measures two copies by hand: the minimal cost of a write on two machines. A client writes 4 KiB
//! to a file and sends it to the other machine; both have it on stable storage before the next
//! write. There is no NBD, no order between clients, and no handling of failures.

use super::error::VolumeBenchError;
use super::fio::{Numbers, SIZE_MIB};
use super::peers::{FAR, machines};
use super::side::{Client, Servers, Side};
use crate::comparison;
use lab::{LabHost, Random, ScratchDirectory};
use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

const BLOCK_BYTES: usize = 4096;
const PORT: u16 = 7;

#[derive(Debug)]
pub struct Hand {
    near: LabHost,
    far: LabHost,
    scratch: ScratchDirectory,
}

/// Creates the machines, and writes both files once.
pub fn start() -> Result<Side, VolumeBenchError> {
    let (lab, near, far) = machines()?;
    let scratch = ScratchDirectory::new()?;
    let zeroes = vec![1; (SIZE_MIB << 20) as usize];
    for name in ["near", "far"] {
        let path = scratch.write(name, &zeroes)?;
        let synced = File::open(&path).and_then(|file| file.sync_all());
        synced.map_err(failed("writing", &path))?;
    }
    Ok(Side {
        client: Client::Hand(Hand { near, far, scratch }),
        servers: Servers::Hosts(Vec::new()),
        _programs: Vec::new(),
        _files: Vec::new(),
        _lab: Some(lab),
    })
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> VolumeBenchError {
    let path = path.to_owned();
    move |source| {
        comparison::Error::File {
            doing,
            path,
            source,
        }
        .into()
    }
}

impl Hand {
    /// Writes for this number of seconds.
    pub fn run(&self, seconds: u32) -> Result<Numbers, VolumeBenchError> {
        let at = SocketAddr::from(([10, 63, 0, 2], PORT));
        let listener = self.far.tcp_listen(at);
        let listener = listener.map_err(failed("listening at", Path::new(FAR)))?;
        let path = self.scratch.path().join("far");
        let other = thread::spawn(move || follow(&listener, &path));
        let connected = self.near.tcp_connect(at, Duration::from_secs(5));
        let stream = connected.map_err(failed("connecting to", Path::new(FAR)))?;
        let path = self.scratch.path().join("near");
        let took = write(stream, &path, Duration::from_secs(seconds.into()));
        let mut took = took.map_err(failed("writing", &path))?;
        // The thread ends with the connection.
        let _ = other.join();
        took.sort_by(f64::total_cmp);
        let at = |percent: usize| took.get(took.len() * percent / 100).copied();
        let count = took.len() as f64;
        Ok(Numbers {
            operations: count / f64::from(seconds),
            count,
            write_p50_us: at(50).unwrap_or_default(),
            write_p99_us: at(99).unwrap_or_default(),
            ..Numbers::default()
        })
    }
}

fn open(path: &Path) -> std::io::Result<File> {
    File::options().read(true).write(true).open(path)
}

/// Writes for this time; returns the duration of each write in microseconds.
fn write(mut stream: TcpStream, path: &Path, time: Duration) -> std::io::Result<Vec<f64>> {
    stream.set_nodelay(true)?;
    let file = open(path)?;
    let mut random = Random::new(1);
    let mut message = vec![7; 8 + BLOCK_BYTES];
    let (begun, mut took) = (Instant::now(), Vec::new());
    while begun.elapsed() < time {
        let start = Instant::now();
        let offset = random.below((SIZE_MIB << 20) / BLOCK_BYTES as u64) * BLOCK_BYTES as u64;
        message[..8].copy_from_slice(&offset.to_le_bytes());
        stream.write_all(&message)?;
        file.write_all_at(&message[8..], offset)?;
        file.sync_data()?;
        stream.read_exact(&mut [0])?;
        took.push(start.elapsed().as_secs_f64() * 1e6);
    }
    Ok(took)
}

/// The other machine: writes received data until the connection ends.
fn follow(listener: &TcpListener, path: &Path) -> std::io::Result<()> {
    let (mut stream, _) = listener.accept()?;
    stream.set_nodelay(true)?;
    let file = open(path)?;
    let mut message = vec![0; 8 + BLOCK_BYTES];
    loop {
        stream.read_exact(&mut message)?;
        let (offset, block) = message.split_at(8);
        let offset = u64::from_le_bytes(offset.try_into().unwrap_or_default());
        file.write_all_at(block, offset)?;
        file.sync_data()?;
        stream.write_all(&[1])?;
    }
}
