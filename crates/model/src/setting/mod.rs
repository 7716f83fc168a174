//! Settings of lines that hold no expression and no rule: what everything above them,
//! states and compiled rules among it, may know of a configuration.

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

pub use asked::Asked;
pub use bind::{Bind, BindAddress, BindOwner, HttpProtocol, Preface};
pub use compression::{Algorithm, Compressed, Compression, Direction};
pub(crate) use cpu::cpus_of;
pub use cpu::{CPUS_MAX, CpuMap, CpuSet, ThreadSet};
pub use log::SyslogFormat;
pub use log_step::{LOG_STEPS, LogSteps, Step};
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
pub use userlist::{Password, User, Userlist, UserlistSlot};
pub use workarounds::Workarounds;

/// A proxy of a configuration: its place in `proxies`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ProxyIndex(pub u32);

/// A listener of a configuration.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ListenerIndex {
    /// Its frontend.
    pub frontend: ProxyIndex,
    /// Its place in the frontend's `binds`; beyond them for a session of no client.
    pub bind: u32,
}

/// A server of a proxy: its place in `servers`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ServerIndex(pub u32);
