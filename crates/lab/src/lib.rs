//! The laboratory: hosts, links and faults out of network namespaces, real
//! peers as child processes, simple servers inside the test, and probes. The
//! test bed of every crate and of `evenkeel rehearse`.
//!
//! Everything belongs to a value and goes with it, also when a test panics;
//! what a killed test leaves behind is swept by the next one. Nothing here
//! touches the host's own interfaces, addresses or rules, no process is ever
//! found by its name, and every wait has an end.
//!
//! ```no_run
//! # fn main() -> Result<(), lab::LabError> {
//! let lab = lab::Lab::new("hello")?;
//! let (web, client) = (lab.host("web")?, lab.host("client")?);
//! let link = lab.link(&web, &client)?;
//! link.a.address("10.0.0.1/24")?;
//! link.b.address("10.0.0.2/24")?;
//! let origin = lab::Origin::start(&web, "web", "10.0.0.1:80".parse().unwrap())?;
//! let mut probe = lab::Probe::new(&client, origin.address());
//! assert_eq!(probe.get("/").unwrap().status, 200);
//! link.down()?;
//! assert!(probe.get("/").is_err());
//! # Ok(())
//! # }
//! ```

mod acceptor;
mod echo;
mod error;
mod firewall;
mod guard;
mod host;
mod http;
mod link;
mod names;
mod origin;
mod peer;
pub mod pki;
mod port;
mod probe;
mod process;
mod scratch;
mod syslog;
pub mod tls;
mod topology;
mod wait;

pub use echo::Echo;
pub use error::LabError;
pub use firewall::{Block, Filter, Transport};
pub use guard::{Missing, installed, may_run, privileged};
pub use host::{Host, Place};
pub use http::{Answer, Malformed};
pub use link::{Interface, Link, Switch};
pub use names::{Names, Records};
pub use origin::{Behaviour, Origin};
pub use peer::Peer;
pub use port::free_port;
pub use probe::{Failure, Probe, Record, Steady, exchange};
pub use process::{Exit, Process, Signal};
pub use scratch::Scratch;
pub use syslog::Syslog;
pub use topology::Lab;
pub use wait::eventually;
