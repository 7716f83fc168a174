//! Defines settings of configuration lines that contain no expressions or rules. The modules for
//! states and for compiled rules use these types.

mod asked;
mod bind;
mod compression;
mod cpu;
mod log;
mod log_step;
mod mailers;
mod observing;
mod proxy;
mod resolvers;
mod server;
mod status_codes;
mod userlist;
mod workarounds;

pub use asked::RecordingOptions;
pub use bind::{Bind, BindAddress, BindOwner, HttpProtocol, Preface};
pub use compression::{Algorithm, Compressed, Compression, Direction};
pub(crate) use cpu::cpus_of;
pub use cpu::{CPUS_MAX, CpuMap, CpuSet, ThreadSet};
pub use log::SyslogFormat;
pub use log_step::{LOG_STEPS, LogSteps, StreamLogStep};
pub use mailers::{EmailAlert, Mailer, Mailers};
pub use observing::{Agent, InitState, Observe, Observing, OnError};
pub use proxy::{
    Capture, Captures, ForwardFor, Mode, OptionSet, ProxyKind, ProxyOption, Reference, ReuseMode,
    Timeouts,
};
pub use resolvers::{
    AddressFamily, Hold, HostName, InitAddress, NETWORKS_MAX, NameServer, NamedPort, Resolvers,
    Resolving,
};
pub use server::ServerAddress;
pub use status_codes::{CountedCodes, StatusCodes};
pub use userlist::{Password, UserAccount, Userlist, UserlistSlot};
pub use workarounds::Workarounds;

/// Index of a proxy in the `proxies` of a configuration.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ProxyIndex(pub u32);

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ListenerIndex {
    pub frontend: ProxyIndex,
    /// Index in the frontend's `binds`; out of range for a session without a client.
    pub bind: u32,
}

/// Index of a server in the `servers` of a proxy.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ServerIndex(pub u32);
