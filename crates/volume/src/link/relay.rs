//! Carries bytes between a connection of the network and a stream of this machine, where those
//! are who know what they mean. It looks at none of them.

use super::Wire;
use crate::stream::Bytes;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::sockopt::{
    set_socket_keepalive, set_tcp_keepcnt, set_tcp_keepidle, set_tcp_keepintvl,
    set_tcp_user_timeout,
};
use rustix::net::{Shutdown, shutdown};
use rustix::time::Timespec;
use std::io::{IoSlice, IoSliceMut};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// Bytes that wait in one direction.
const BUFFER_BYTES: usize = 256 << 10;
/// After how long the network is given up if a node takes or confirms nothing.
pub const GONE: Duration = Duration::from_secs(15);
/// How often an idle connection is probed.
const PROBE: Duration = Duration::from_secs(5);
/// How many probes the kernel sends at most.
const PROBES_MAX: u32 = 127;
/// How long the other side may take to close the connection after this side has.
const LEAVE_MAX: Duration = Duration::from_secs(5);

/// Bytes in one direction.
struct Lane {
    bytes: Vec<u8>,
    begin: usize,
    end: usize,
    /// Nothing more comes.
    is_over: bool,
}

impl Lane {
    fn new() -> Lane {
        Lane {
            bytes: vec![0; BUFFER_BYTES],
            begin: 0,
            end: 0,
            is_over: false,
        }
    }

    fn is_empty(&self) -> bool {
        self.begin == self.end
    }

    fn wants(&self) -> bool {
        self.is_empty() && !self.is_over
    }

    /// Moves bytes; returns whether there were any.
    fn step(&mut self, from: &mut impl Bytes, to: &mut impl Bytes) -> Result<bool, Errno> {
        let mut moved = false;
        if self.wants() {
            match from.read(&mut [IoSliceMut::new(&mut self.bytes)]) {
                // A reset is an end as well.
                Ok(0) | Err(Errno::CONNRESET | Errno::PIPE | Errno::TIMEDOUT) => {
                    self.is_over = true;
                    moved = true;
                }
                Ok(count) => {
                    (self.begin, self.end) = (0, count);
                    moved = true;
                }
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
        if !self.is_empty() {
            match to.write(&[IoSlice::new(&self.bytes[self.begin..self.end])]) {
                Ok(count) => {
                    self.begin += count;
                    moved |= count > 0;
                }
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(moved)
    }
}

/// Carries bytes in both directions, until one side has closed its end and the other one has
/// what was sent before. The network is given up once it has taken or confirmed nothing for so
/// long as `gone` says. It blocks.
///
/// # Errors
/// The system's; the connection is gone then, too.
pub fn relay(mut wire: Wire, stream: UnixStream, gone: Duration) -> Result<(), Errno> {
    stream
        .set_nonblocking(true)
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    notice(&wire, gone);
    let mut local = stream.as_fd();
    let (mut out, mut back) = (Lane::new(), Lane::new());
    let mut leaves: Option<Instant> = None;
    // The other side takes nothing any more.
    let mut is_deaf = false;
    let mut has_ended = false;
    loop {
        let mut moved = false;
        let mut sent = Ok(false);
        if leaves.is_none() && !is_deaf {
            sent = out.step(&mut local, &mut wire);
        }
        if sent.is_ok() && !is_deaf && wire.has_output() {
            // What TLS has encrypted.
            match wire.write(&[]) {
                Ok(_) | Err(Errno::AGAIN) => {}
                Err(errno) => sent = Err(errno),
            }
        }
        match sent {
            Ok(sent) => moved |= sent,
            // What the other side said before is still to come.
            Err(_) => is_deaf = true,
        }
        match leaves {
            // Nobody is there for it any more; unread it would make the network drop what was sent.
            Some(_) => {
                back.begin = back.end;
                moved |= back.step(&mut wire, &mut Nowhere)?;
            }
            None => moved |= back.step(&mut wire, &mut local)?,
        }
        if back.is_over && back.is_empty() {
            let _ = shutdown(&stream, Shutdown::Both);
            return Ok(());
        }
        let is_said = out.is_over && out.is_empty() && !is_deaf;
        if is_said && !has_ended {
            wire.end();
            has_ended = true;
            moved = true;
        } else if is_said && !wire.has_output() && leaves.is_none() {
            let _ = shutdown(wire.as_fd(), Shutdown::Write);
            leaves = Instant::now().checked_add(LEAVE_MAX);
            moved = true;
        }
        if leaves.is_some_and(|at| Instant::now() >= at) {
            return Ok(());
        }
        if !moved {
            waits(&wire, &stream, (&out, &back), (leaves, is_deaf));
        }
    }
}

/// Lets the kernel notice that the other machine is gone.
fn notice(wire: &Wire, gone: Duration) {
    let socket = wire.as_fd();
    let probes = gone.as_secs().div_ceil(PROBE.as_secs()) as u32;
    let gone_ms = u32::try_from(gone.as_millis()).unwrap_or(u32::MAX);
    // Without it a break is noticed later, by silence.
    let _ = set_socket_keepalive(socket, true)
        .and_then(|()| set_tcp_keepidle(socket, PROBE))
        .and_then(|()| set_tcp_keepintvl(socket, PROBE))
        .and_then(|()| set_tcp_keepcnt(socket, probes.min(PROBES_MAX)))
        .and_then(|()| set_tcp_user_timeout(socket, gone_ms));
}

fn waits(
    wire: &Wire,
    stream: &UnixStream,
    (out, back): (&Lane, &Lane),
    (leaves, is_deaf): (Option<Instant>, bool),
) {
    let mut network = PollFlags::empty();
    let mut local = PollFlags::empty();
    network.set(PollFlags::IN, back.wants() || leaves.is_some());
    let has_output = !out.is_empty() || wire.has_output();
    network.set(PollFlags::OUT, has_output && !is_deaf);
    local.set(PollFlags::IN, out.wants() && leaves.is_none() && !is_deaf);
    local.set(PollFlags::OUT, !back.is_empty() && leaves.is_none());
    // A side that has ended would wake this at once.
    let mut watched = Vec::with_capacity(2);
    if !network.is_empty() {
        watched.push(PollFd::from_borrowed_fd(wire.as_fd(), network));
    }
    if !local.is_empty() {
        watched.push(PollFd::new(stream, local));
    }
    let left = leaves.map_or(PROBE, |at| at.saturating_duration_since(Instant::now()));
    let left = Timespec::try_from(left).ok();
    // Interrupted or not: everything is looked at again.
    let _ = poll(&mut watched, left.as_ref());
}

/// Takes everything.
struct Nowhere;

impl Bytes for Nowhere {
    fn read(&mut self, _: &mut [IoSliceMut<'_>]) -> Result<usize, Errno> {
        Ok(0)
    }

    fn write(&mut self, slices: &[IoSlice<'_>]) -> Result<usize, Errno> {
        Ok(slices.iter().map(|slice| slice.len()).sum())
    }
}
