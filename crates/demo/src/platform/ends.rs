//! Waits for the input of the platform demo: signals and lines of standard input. The signals are
//! blocked and read here, so that the demo always ends in an orderly way.

use super::error::PlatformError;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use part::channel::timespec;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use std::io::stdin;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

const LINE_BYTES_MAX: usize = 256;
const POLL: Duration = Duration::from_millis(100);

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum InputEvent {
    Line(String),
    End,
    Nothing,
}

#[derive(Debug)]
pub struct DemoInput {
    signals: SignalFd,
    unread: Vec<u8>,
}

impl DemoInput {
    /// Blocks the signals that end the demo, for this thread and those that it starts from now on.
    ///
    /// # Errors
    /// Returns the system's error.
    pub fn new() -> Result<DemoInput, PlatformError> {
        let failed = PlatformError::system("watch signals");
        let set: SigSet = [
            Signal::SIGINT,
            Signal::SIGTERM,
            Signal::SIGHUP,
            Signal::SIGQUIT,
        ]
        .into_iter()
        .collect();
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let opened = set
            .thread_block()
            .and_then(|()| SignalFd::with_flags(&set, flags));
        Ok(DemoInput {
            signals: opened.map_err(|errno| failed(errno.into()))?,
            unread: Vec::new(),
        })
    }

    /// Waits for a line of input, for an end by a signal or the end of the input, or for the
    /// timeout.
    ///
    /// # Errors
    /// Returns the system's error.
    pub fn wait(&mut self, timeout: Duration) -> Result<InputEvent, PlatformError> {
        let until = Instant::now() + timeout;
        loop {
            if let Some(line) = line(&mut self.unread) {
                return Ok(InputEvent::Line(line));
            }
            let left = until.saturating_duration_since(Instant::now());
            let input = stdin();
            let mut fds = [
                PollFd::from_borrowed_fd(self.signals.as_fd(), PollFlags::IN),
                PollFd::from_borrowed_fd(input.as_fd(), PollFlags::IN),
            ];
            match poll(&mut fds, Some(&timespec(left))) {
                Ok(0) => return Ok(InputEvent::Nothing),
                Ok(_) => {}
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(PlatformError::system("wait")(errno.into())),
            }
            if !fds[0].revents().is_empty() {
                return Ok(InputEvent::End);
            }
            let mut buffer = [0; LINE_BYTES_MAX];
            match rustix::io::read(input.as_fd(), &mut buffer) {
                // Treats an error as the end of the input, such as that of a closed terminal.
                Ok(0) | Err(_) => return Ok(InputEvent::End),
                Ok(count) => self.unread.extend(buffer.iter().take(count)),
            }
        }
    }

    /// Waits until a condition is true, which is checked every [`POLL`]. Lines of input stay
    /// unread.
    ///
    /// # Errors
    /// Returns an error after a signal, and the error `late` after the timeout.
    pub fn until(
        &self,
        timeout: Duration,
        mut condition: impl FnMut() -> bool,
        late: impl FnOnce() -> PlatformError,
    ) -> Result<(), PlatformError> {
        let end = Instant::now() + timeout;
        loop {
            if condition() {
                return Ok(());
            }
            let mut fds = [PollFd::new(&self.signals, PollFlags::IN)];
            match poll(&mut fds, Some(&timespec(POLL))) {
                Ok(0) | Err(Errno::INTR) => {}
                Ok(_) => return Err(PlatformError::Interrupted),
                Err(errno) => return Err(PlatformError::system("wait")(errno.into())),
            }
            if Instant::now() >= end {
                return Err(late());
            }
        }
    }
}

fn line(unread: &mut Vec<u8>) -> Option<String> {
    let ends = unread.iter().position(|byte| *byte == b'\n');
    let end = ends.or_else(|| (unread.len() >= LINE_BYTES_MAX).then(|| unread.len() - 1))?;
    let line: Vec<u8> = unread.drain(..=end).collect();
    Some(String::from_utf8_lossy(&line).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn input_lines_are_read_singly_within_a_limit() {
        let mut unread = b"1\nheal\r\nq".to_vec();
        assert_eq!(line(&mut unread).as_deref(), Some("1"));
        assert_eq!(line(&mut unread).as_deref(), Some("heal"));
        assert_eq!(line(&mut unread), None);
        unread = vec![b'x'; LINE_BYTES_MAX + 10];
        while line(&mut unread).is_some() {}
        assert!(unread.len() < LINE_BYTES_MAX);
    }
}
