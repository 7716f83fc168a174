//! `evenkeel demo`: two sample web servers, a proxy in front of them from `examples/demo.cfg`, a
//! load, and a view of the events. The demo is one process on loopback, which needs no privileges
//! and no installation.

mod load;
mod plain;
#[cfg(feature = "demonstration")]
mod platform;
mod script;
mod server;
mod stage;
mod view;

use part::voice::refuse;
use stage::RunningDemo;
use std::io::IsTerminal;
use std::process::ExitCode;

#[cfg(feature = "demonstration")]
pub use platform::main as platform;

pub fn main(scripted: bool) -> ExitCode {
    let stage = match RunningDemo::set() {
        Ok(stage) => stage,
        Err(error) => return refuse(format_args!("the demo cannot start: {error}")),
    };
    let terminal = std::io::stdout().is_terminal() && std::io::stdin().is_terminal();
    if scripted {
        script::play(&stage)
    } else if terminal {
        view::show(&stage)
    } else {
        plain::show(&stage)
    }
}
