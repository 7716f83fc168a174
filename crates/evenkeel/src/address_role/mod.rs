//! Runs the address role as a process: receives its configuration and a channel from the
//! supervisor, runs `address::role` on its one thread, and passes messages between the two.
//!
//! The process makes no decisions about addresses. If the supervisor dies, the role continues to
//! serve, and another supervisor can adopt it ([`orders`]).

mod begin;
mod orders;

use begin::AddressRoleInput;
use part::channel::{Channel, Received};
use part::entry;
use part::role::SupervisorMessage;
use std::process::ExitCode;

pub fn main(mut channel: Channel) -> ExitCode {
    part::voice::limit_log();
    match entry::first_of_role(&mut channel, first) {
        Ok((given, guard)) => begin::serve(channel, given, guard),
        Err(error) => entry::exit("the address role did not start", Err(error)),
    }
}

fn first(received: Received) -> Option<AddressRoleInput> {
    match received.message {
        SupervisorMessage::Take(take) => AddressRoleInput::new(*take, received.descriptors),
        _ => None,
    }
}
