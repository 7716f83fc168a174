//! Builds hosts, cables and faults from network namespaces, with the processes that run in them: a
//! whole network on one machine, as root. `evenkeel demo --platform` runs its cluster in one, and
//! the crate `lab` adds peers, servers and probes for tests.
//!
//! Each resource belongs to a value, and is removed when the value is dropped. A guard process, and
//! [`mod@clean`], remove what a killed process leaves behind. The crate never changes the machine's
//! own interfaces, addresses or rules, never finds a process by its name, and limits every wait.
//!
//! Each fault is a value; dropping it heals the fault.

#![expect(
    clippy::missing_errors_doc,
    reason = "the demo and tests only show these errors, which name the failed step"
)]

mod clean;
mod error;
mod exit;
mod fault;
mod firewall;
mod ground;
mod guard;
mod healed;
mod host;
mod link;
mod name;
mod packet;
mod partition;
mod process;
mod random;
mod relay;
mod scratch;
mod topology;
mod wait;
mod weather;
mod wire;

pub use clean::{Removed, clean};
pub use error::LabError;
pub use exit::Exit;
pub use fault::InjectedFault;
pub use firewall::{FirewallBlock, PacketFilter, TransportProtocol};
pub use guard::{Missing, installed, may_run, privileged};
pub use healed::Condition;
pub use host::{LabHost, Location, enter_own_network};
pub use link::{HostLink, Interface, Switch};
pub use packet::{FRAME_BYTES_MAX, PacketSocket, Way, raise_priority};
pub use process::{Frozen, LabProcess, MAX_SAID_BYTES, Signal, with_default_signals};
pub use random::{Random, setting};
pub use scratch::ScratchDirectory;
pub use topology::Lab;
pub use wait::{eventually, sleep_in_test};
pub use weather::Weather;
pub use wire::{ImpairedCable, Passed};
