//! The address role as a process: it is given a configuration and a channel by
//! the supervisor, runs `address::role` on its one thread, and passes on what
//! that is asked and tells.
//!
//! It decides nothing about addresses. When the supervisor has gone without a
//! word, it serves on and takes another one ([`orders`]).

mod begin;
mod orders;

use crate::roles::channel::{Channel, ChannelError, Received};
use crate::roles::guard::{self, Guard};
use crate::voice::{Form, Voice};
use begin::Given;
use protocol::role::Message;
use std::process::ExitCode;
use std::time::Duration;

/// How long the supervisor may take to say what is to be run.
const FIRST_LIMIT: Duration = Duration::from_secs(30);

/// The life of an address role.
pub fn main(mut channel: Channel) -> ExitCode {
    match first(&mut channel) {
        Ok((given, guard)) => begin::serve(channel, given, guard),
        Err(error) => {
            Voice::new(Form::Own, false)
                .alert(format_args!("the address role did not begin: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// What is to be run, and before it where another supervisor would come.
fn first(channel: &mut Channel) -> Result<(Given, Option<Guard>), ChannelError> {
    let (received, guard) = guard::first(channel, FIRST_LIMIT)?;
    let Received {
        message: Message::TakeAddresses(take),
        descriptors,
    } = received
    else {
        return Err(ChannelError::Descriptors);
    };
    let given = Given::new(*take, descriptors).ok_or(ChannelError::Descriptors)?;
    Ok((given, guard))
}
