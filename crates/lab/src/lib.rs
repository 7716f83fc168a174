//! Test bed of every crate: hosts, links and faults built from network namespaces, real peers as
//! child processes, simple servers inside the test process, and probes.
//!
//! Each resource belongs to a value and is removed when that value is dropped, also when a test
//! panics. A guard process, and [`mod@clean`], remove what a killed or interrupted test leaves
//! behind. The crate never touches the host's own interfaces, addresses or rules, never finds a
//! process by its name, and bounds every wait.
//!
//! | what | how |
//! |---|---|
//! | hosts and their connections | [`Lab::host`], [`Lab::link`], [`Lab::switch`], `Lab::connect_impaired` |
//! | an unplugged cable: the carrier is lost | [`Interface::pull`], [`HostLink::cut`] |
//! | a cable that drops all frames, or those of one direction | [`HostLink::silence`], [`HostLink::one_way`], [`Switch::one_way`], [`ImpairedCable::silence`] |
//! | a partition between groups | [`Lab::partition`] |
//! | loss, delay, jitter, duplicated and reordered frames, from a seed | [`Weather`], `ImpairedCable::impair` |
//! | a frozen process, a killed tree, a host without power | [`LabProcess::freeze`], [`LabProcess::kill_tree`], [`LabHost::power_off`] |
//! | busy processors, a full disk | [`BusyProcessors`], [`FullDisk`] |
//! | a disk that stalls, fails, ignores a flush, or loses power | [`UnreliableDisk`] |
//! | a filter that drops selected packets | [`LabHost::block`] |
//! | a storage system, and guests that count on it | [`IscsiTarget`] |
//! | a machine without a disk, with real firmware | [`Diskless`], [`Image`] |
//! | the management controller of a machine | [`Controller`] |
//! | a directory of users (LDAP) | [`Slapd`] |
//! | availability as clients see it | [`Probe`], [`Watcher`] with an [`Answerer`] on each machine |
//! | frames on a cable | [`Capture`] |
//! | recovery after a fault | [`Lab::wait_healed`] |
//!
//! A fault is a value; dropping it heals the fault. Clock jumps are not supported: all namespaces
//! of a machine share its clocks, so a test that sets them back would do so for every process.
//!
//! Two machines that share an address, and a partition between them:
//!
//! ```no_run
//! # use std::time::Duration;
//! # use lab::{Answerer, Condition, Lab, Pace, Watcher};
//! # fn main() -> Result<(), lab::LabError> {
//! let lab = Lab::new("hello")?;
//! let lan = lab.switch("lan")?;
//! let (alpha, beta) = (lab.host("alpha")?, lab.host("beta")?);
//! let client = lab.host("client")?;
//! for (host, address) in [(&alpha, "10.0.0.1/24"), (&beta, "10.0.0.2/24")] {
//!     lan.attach(host)?.address(address)?;
//! }
//! lan.attach(&client)?.address("10.0.0.9/24")?;
//! let _one = Answerer::start(&alpha, "0.0.0.0:7".parse().unwrap(), "alpha")?;
//! let _two = Answerer::start(&beta, "0.0.0.0:7".parse().unwrap(), "beta")?;
//! // … something on both that keeps 10.0.0.100 served …
//! let service = "10.0.0.100:7".parse().unwrap();
//! let watcher = Watcher::start(&client, service, Pace::default())?;
//! let cut = lab.partition(&[&[&alpha], &[&beta, &client]])?;
//! assert!(watcher.wait_for(Some("beta"), 10, Duration::from_secs(10)));
//! cut.heal()?;
//! let mut quiet = Condition::new("all agree", || Ok(()));
//! lab.wait_healed(Duration::from_secs(10), std::slice::from_mut(&mut quiet))?;
//! assert!(watcher.stop().longest_gap() < Duration::from_secs(5));
//! # Ok(())
//! # }
//! ```
//!
//! A server and a client that keeps its connection:
//!
//! ```no_run
//! # fn main() -> Result<(), lab::LabError> {
//! let lab = lab::Lab::new("hello")?;
//! let (web, client) = (lab.host("web")?, lab.host("client")?);
//! let link = lab.link(&web, &client)?;
//! link.a.address("10.0.0.1/24")?;
//! link.b.address("10.0.0.2/24")?;
//! let origin = lab::OriginServer::start(&web, "web", "10.0.0.1:80".parse().unwrap())?;
//! let mut probe = lab::Probe::new(&client, origin.address());
//! assert_eq!(probe.get("/").unwrap().status, 200);
//! let cut = link.cut()?;
//! assert!(probe.get("/").is_err());
//! cut.heal()?;
//! # Ok(())
//! # }
//! ```

#![expect(
    clippy::missing_errors_doc,
    reason = "the errors of a test bed only fail the test"
)]

mod acceptor;
mod busy;
mod capture;
mod clean;
mod controller;
mod disk;
mod diskless;
mod echo;
mod error;
mod exit;
mod fault;
mod firewall;
mod ground;
mod guard;
mod healed;
mod host;
mod http;
mod image;
mod link;
mod name;
mod names;
mod origin;
mod packet;
mod partition;
mod peer;
pub mod pki;
mod port;
mod probe;
mod process;
mod random;
mod relay;
mod scratch;
mod slapd;
mod storage;
mod syslog;
pub mod tls;
mod topology;
mod unreliable;
mod wait;
mod watcher;
mod weather;
mod wire;
mod witness;

pub use busy::BusyProcessors;
pub use capture::{Capture, CapturedFrame, Talk};
pub use clean::{Removed, clean};
pub use controller::Controller;
pub use disk::FullDisk;
pub use diskless::{BOOT_MAX, Booting, Diskless, Firmware};
pub use echo::Echo;
pub use error::LabError;
pub use exit::Exit;
pub use fault::InjectedFault;
pub use firewall::{FirewallBlock, PacketFilter, TransportProtocol};
pub use guard::{Missing, installed, may_run, privileged};
pub use healed::Condition;
pub use host::{LabHost, Location, enter_own_network};
pub use http::{HttpResponse, MalformedMessage};
pub use image::Image;
pub use link::{HostLink, Interface, Switch};
pub use names::{Nameserver, Records};
pub use origin::{Behaviour, OriginServer};
pub use packet::Way;
pub use peer::Peer;
pub use port::{free_port, free_privileged_port};
pub use probe::{Failure, Probe, Record, Steady, exchange};
pub use process::{Frozen, LabProcess, Signal, with_default_signals};
pub use random::{Random, setting};
pub use scratch::ScratchDirectory;
pub use slapd::Slapd;
pub use storage::IscsiTarget;
pub use syslog::Syslog;
pub use topology::Lab;
pub use unreliable::{Trouble, UnreliableDisk};
pub use wait::{eventually, sleep_in_test};
pub use watcher::{Answerer, Miss, Pace, PollRecord, Watcher, WatcherResults};
pub use weather::Weather;
pub use wire::{ImpairedCable, Passed};
pub use witness::{WITNESS, Witness, undisturbed};
