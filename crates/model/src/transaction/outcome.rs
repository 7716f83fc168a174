//! Records how a stream ended, for logs and counters: its status, and the cause and phase of its
//! end.

use std::cell::Cell;

/// Cause of the end of a stream: the first letter of the termination state.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Termination {
    /// `-`: normal end.
    #[default]
    Normal,
    /// `C`: the client aborted.
    ClientAbort,
    /// `c`: the client timed out.
    ClientTimeout,
    /// `S`: the server aborted or refused.
    ServerAbort,
    /// `s`: the server timed out.
    ServerTimeout,
    /// `P`: the proxy refused it (a rule, an invalid message).
    Proxy,
    /// `R`: a resource was exhausted.
    Resource,
    /// `I`: an internal error ended the stream.
    Internal,
    /// `D`: the server went down and its sessions were shut down.
    ServerDown,
    /// `U`: an active server came up and sessions of backups were shut down.
    ServerUp,
    /// `K`: an operator ended the stream.
    Killed,
    /// `L`: handled locally (statistics, redirections, returns).
    Local,
}

impl Termination {
    pub fn letter(self) -> u8 {
        match self {
            Termination::Normal => b'-',
            Termination::ClientAbort => b'C',
            Termination::ClientTimeout => b'c',
            Termination::ServerAbort => b'S',
            Termination::ServerTimeout => b's',
            Termination::Proxy => b'P',
            Termination::Resource => b'R',
            Termination::Internal => b'I',
            Termination::ServerDown => b'D',
            Termination::ServerUp => b'U',
            Termination::Killed => b'K',
            Termination::Local => b'L',
        }
    }
}

/// Phase of a stream when it ended: the second letter of the termination state.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum StreamPhase {
    /// `R`: waiting for a whole request.
    Request,
    /// `Q`: in a queue.
    Queue,
    /// `C`: connecting to a server.
    Connect,
    /// `H`: waiting for the head of the response.
    Headers,
    /// `D`: moving data.
    Data,
    /// `L`: sending the last data to the client.
    Last,
    /// `T`: held in a tarpit.
    Tarpit,
    /// `-`: complete.
    #[default]
    Done,
}

impl StreamPhase {
    pub fn letter(self) -> u8 {
        match self {
            StreamPhase::Request => b'R',
            StreamPhase::Queue => b'Q',
            StreamPhase::Connect => b'C',
            StreamPhase::Headers => b'H',
            StreamPhase::Data => b'D',
            StreamPhase::Last => b'L',
            StreamPhase::Tarpit => b'T',
            StreamPhase::Done => b'-',
        }
    }
}

#[derive(Debug, Default)]
pub struct StreamOutcome {
    pub termination: Termination,
    pub phase: StreamPhase,
    /// The proxy itself generated the response (statistics, redirection, error).
    pub local: bool,
    /// The response is the statistics page.
    pub statistics: bool,
    /// Status for logs if the stream's `response` has no head (an error page); otherwise 0.
    pub local_status: u16,
    /// Status of the server's response before any rule; 0 without one.
    pub server_status: u16,
    /// Status for logs if the response is a configured error page (`errorloc`); otherwise 0.
    pub error_status: Cell<u16>,
}

impl StreamOutcome {
    pub fn end(&mut self, termination: Termination, phase: StreamPhase) {
        (self.termination, self.phase) = (termination, phase);
    }
}
