//! Provides the test bed of every crate: the hosts, links and faults of the crate `namespace`, real
//! peers as child processes, simple servers inside the test process, and probes. Only tests and
//! `xtask` depend on this crate.
//!
//! Each resource belongs to a value, and is removed when the value is dropped, also when a test
//! panics. A guard process, and [`clean`], remove what a killed or interrupted test leaves behind.
//! The crate never changes the machine's own interfaces, addresses or rules, never finds a process
//! by its name, and limits every wait.
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
//! | a machine without a disk, with real firmware | [`Diskless`], [`Image`], [`boot_disk()`] |
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
mod boot_disk;
mod busy;
mod capture;
mod controller;
mod disk;
mod diskless;
mod echo;
mod http;
mod image;
mod memory;
mod names;
mod origin;
mod peer;
pub mod pki;
mod port;
mod probe;
pub mod sim;
mod slapd;
mod storage;
mod syslog;
pub mod tls;
mod unreliable;
mod watcher;
mod witness;

pub use namespace::{
    Condition, Exit, FirewallBlock, Frozen, HostLink, ImpairedCable, InjectedFault, Interface, Lab,
    LabError, LabHost, LabProcess, Location, Missing, PacketFilter, Passed, Random, Removed,
    ScratchDirectory, Signal, Switch, TransportProtocol, Way, Weather, clean, enter_own_network,
    eventually, installed, may_run, privileged, setting, skip_unless_installed, skip_unless_root,
    sleep_in_test, with_default_signals,
};

pub use boot_disk::{boot_disk, printing_boot_disk};
pub use busy::BusyProcessors;
pub use capture::{Capture, CapturedFrame, Talk};
pub use controller::Controller;
pub use disk::FullDisk;
pub use diskless::{BOOT_MAX, Booting, Diskless, Firmware};
pub use echo::Echo;
pub use http::{HttpResponse, MalformedMessage};
pub use image::Image;
pub use memory::anonymous_memory;
pub use names::{Nameserver, Records};
pub use origin::{Behaviour, OriginServer};
pub use peer::Peer;
pub use port::{free_port, free_privileged_port};
pub use probe::{Failure, Probe, Record, Steady, exchange};
pub use slapd::Slapd;
pub use storage::IscsiTarget;
pub use syslog::Syslog;
pub use unreliable::{Trouble, UnreliableDisk};
pub use watcher::{Answerer, Miss, Pace, PollRecord, Watcher, WatcherResults};
pub use witness::{WITNESS, Witness, undisturbed};
