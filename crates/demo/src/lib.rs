//! Implements `evenkeel demo`: two sample web servers, a proxy in front of them from
//! `examples/demo.cfg`, clients that send requests, and a view of the events. The demo is one
//! process on loopback, which needs no privileges and no installation.
//!
//! The feature `platform` adds `evenkeel demo --platform`, a whole cluster on one machine, and
//! [`demonstration`], the part that shows its faults in the console.

#![cfg_attr(
    not(feature = "platform"),
    allow(dead_code, reason = "the demo of the platform uses it")
)]

#[cfg(feature = "platform")]
pub mod demonstration;
mod load;
mod plain;
#[cfg(feature = "platform")]
mod platform;
mod script;
mod server;
mod stage;
mod view;

use part::voice::refuse;
use stage::RunningDemo;
use std::io::IsTerminal;
use std::process::ExitCode;

#[cfg(feature = "platform")]
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
