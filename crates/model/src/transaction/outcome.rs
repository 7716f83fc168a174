//! What came of a stream: its status, what ended it and where, as logs and counters see it.

use std::cell::Cell;

/// What ended a stream: the first letter of the termination state.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Termination {
    /// `-`: as it should.
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
    /// `P`: the proxy refused (a rule, a bad message).
    Proxy,
    /// `R`: a resource was exhausted.
    Resource,
    /// `I`: an impossible state closed it.
    Internal,
    /// `D`: the server went down and its sessions were shut down.
    ServerDown,
    /// `U`: an active server came up and sessions of backups were shut down.
    ServerUp,
    /// `K`: an operator killed it.
    Killed,
    /// `L`: handled locally (statistics, redirections, returns).
    Local,
}

impl Termination {
    /// Its letter.
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

/// Where a stream was when it ended: the second letter.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Phase {
    /// `R`: waiting for a whole request.
    Request,
    /// `Q`: in a queue.
    Queue,
    /// `C`: connecting to a server.
    Connect,
    /// `H`: waiting for the answer's head.
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

impl Phase {
    /// Its letter.
    pub fn letter(self) -> u8 {
        match self {
            Phase::Request => b'R',
            Phase::Queue => b'Q',
            Phase::Connect => b'C',
            Phase::Headers => b'H',
            Phase::Data => b'D',
            Phase::Last => b'L',
            Phase::Tarpit => b'T',
            Phase::Done => b'-',
        }
    }
}

/// What came of a stream.
#[derive(Debug, Default)]
pub struct Outcome {
    /// What ended it.
    pub termination: Termination,
    /// Where it was then.
    pub phase: Phase,
    /// The answer came out of the proxy itself (statistics, redirection, error).
    pub local: bool,
    /// The answer is the statistics page.
    pub statistics: bool,
    /// Status for logs when no answer's head stands in the stream's `response` (an
    /// error page); 0 where one does.
    pub local_status: u16,
    /// The status that the server gave, before any rule; 0 where it gave none.
    pub server_status: u16,
    /// The status of which its answer is the configuration's page (`errorloc`), for
    /// logs; 0 where it is none.
    pub error_status: Cell<u16>,
}

impl Outcome {
    /// The stream ends by `termination`, in `phase`.
    pub fn end(&mut self, termination: Termination, phase: Phase) {
        (self.termination, self.phase) = (termination, phase);
    }
}
