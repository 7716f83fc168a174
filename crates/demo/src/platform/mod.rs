//! Implements `evenkeel demo --platform`: a whole cluster on one machine, as root. Two nodes and an
//! arbiter run in network namespaces, with a virtual address, three servers, a client and the web
//! console, and a menu of faults in the terminal.
//!
//! The demo does not change the machine's own network: a browser reaches the consoles through
//! forwarders on loopback. At the end everything is removed: by destructors, by the guard process
//! of the lab, or at the next start.

mod control;
mod ends;
mod error;
mod forward;
mod member;
mod menu;
mod play;
mod site;

use control::DemoControlSocket;
use ends::DemoInput;
use error::PlatformError;
use part::voice::refuse;
use play::Play;
use site::{Base, DemoPlatform, PASSWORD, USER, VIRTUAL};
use std::io::{self, Write};
use std::process::ExitCode;

const NODES: [(usize, &str); 2] = [(0, "alpha"), (1, "beta")];

pub fn main() -> ExitCode {
    match run() {
        Ok(()) | Err(PlatformError::Interrupted) => ExitCode::SUCCESS,
        Err(error) => refuse(format_args!("the platform demo ends: {error}")),
    }
}

fn run() -> Result<(), PlatformError> {
    if !rustix::process::geteuid().is_root() {
        return Err(PlatformError::NotRoot);
    }
    for (program, package) in [("ip", "iproute2"), ("nft", "nftables")] {
        namespace::installed(program).map_err(|_| PlatformError::Missing { program, package })?;
    }
    // Blocks the signals before any thread is started, since threads inherit that.
    let mut ends = DemoInput::new()?;
    let ended = show(&mut ends);
    // Prints this after `show` has dropped the platform, whatever happened.
    let _ = say("All processes, namespaces and files of the demo are removed.");
    ended
}

fn show(ends: &mut DemoInput) -> Result<(), PlatformError> {
    say("Network: two nodes, an arbiter, a client and servers in namespaces of this machine …")?;
    let mut base = Base::new()?;
    let control = DemoControlSocket::listen(&base.control())?;
    say("Cluster: alpha creates it, beta and the arbiter gamma join …")?;
    base.found(ends)?;
    say("Configuration: examples/platform.cfg is applied …")?;
    base.serve(ends)?;
    let site = DemoPlatform::new(base)?;
    introduce(&site)?;
    links(&site, ends)?;
    let mut play = Play::new(site, control);
    let ended = play.run(ends);
    if ended.is_ok() {
        let _ = say("Ending: everything is removed …");
    }
    ended
}

fn introduce(site: &DemoPlatform) -> Result<(), PlatformError> {
    let [alpha, beta, service] = site.addresses();
    say(&format!(
        "\nRunning, as three members of one cluster:\n  \
         alpha, beta  nodes: proxy, virtual address, console\n  \
         gamma        arbiter: votes, and carries no traffic\n  \
         {VIRTUAL}  the virtual address; alpha has it as long as it can serve\n  \
         servers      one, two, three; a client sends about 20 requests per second\n\n\
         Console of alpha  https://{alpha}/   user {USER}, password {PASSWORD}\n\
         Console of beta   https://{beta}/\n\
         The service       http://{service}/  through the virtual address; /stats shows statistics"
    ))
}

fn links(site: &DemoPlatform, ends: &DemoInput) -> Result<(), PlatformError> {
    say(
        "\nSign-in links (each works once, within ten minutes; the browser warns about the self-made certificate):",
    )?;
    for (node, name) in NODES {
        match site.link(ends, node)? {
            Some(link) => say(&format!("  {name:<6}{link}"))?,
            None => say(&format!("  {name:<6}is not running"))?,
        }
    }
    Ok(())
}

/// Prints a line. Returns [`PlatformError::Interrupted`] if the pipe is closed, which ends the
/// demo.
fn say(text: &str) -> Result<(), PlatformError> {
    let mut out = io::stdout().lock();
    let written = writeln!(out, "{text}").and_then(|()| out.flush());
    written.map_err(|_| PlatformError::Interrupted)
}
