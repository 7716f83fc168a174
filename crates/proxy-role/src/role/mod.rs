//! Runs the proxy role, the process that serves network traffic. The supervisor passes it a bundle
//! and descriptors. The role builds the configuration from the bundle, drops every privilege that
//! serving does not need, serves, and loads further versions.

mod begin;
mod change;

mod orders;
mod telling;
mod trial;
mod version;

use part::channel::{Channel, Received};
use part::entry;
use part::role::{Personality, SupervisorMessage};
use part::voice::{Form, MessagePrinter};
use std::process::ExitCode;
use version::SupervisorInput;

pub fn main(mut channel: Channel) -> ExitCode {
    let (given, guard) = match entry::first_of_role(&mut channel, first) {
        Ok(first) => first,
        Err(error) => return entry::exit("the proxy did not start", Err(error)),
    };
    let form = match given.take.personality {
        Personality::Own | Personality::Keepalived => Form::Own,
        Personality::Haproxy => Form::Haproxy,
    };
    let mut voice = MessagePrinter::new(form, given.take.plan.quiet);
    match begin::serve(channel, given, guard, &mut voice) {
        Ok(()) => ExitCode::SUCCESS,
        Err(refused) => {
            let (error, channel) = *refused;
            voice.fatal(&error);
            if let Some(mut channel) = channel {
                entry::send_shutdown_reason(&mut channel, error.to_string());
            }
            ExitCode::FAILURE
        }
    }
}

fn first(received: Received) -> Option<SupervisorInput> {
    match received.message {
        SupervisorMessage::Take(take) => SupervisorInput::new(*take, received.descriptors),
        _ => None,
    }
}
