//! The proxy role: the process that speaks with the network. The supervisor
//! gives it a bundle and descriptors; it builds the configuration again from
//! the bundle, gives up every right, serves, and takes further versions in.
//!
//! It opens no file, looks no name up, binds no address and starts no process.
//! When the supervisor has gone without a word, it serves on, and takes another
//! one ([`guard`]).

mod begin;
mod change;

mod orders;
mod telling;
mod trial;
mod version;

use crate::roles::channel::{Channel, ChannelError, Received};
use crate::roles::guard::{self, Guard};
use crate::voice::{Form, Voice};
use protocol::role::{Message, Personality};
use std::process::ExitCode;
use std::time::Duration;
use version::Given;

/// How long the supervisor may take to hand over the first version.
const FIRST_LIMIT: Duration = Duration::from_secs(30);
/// How long the supervisor may take to hear why a role does not begin.
const LAST_WORDS_LIMIT: Duration = Duration::from_secs(1);

/// The life of a proxy role.
pub fn main(mut channel: Channel) -> ExitCode {
    let (given, guard) = match first(&mut channel) {
        Ok(first) => first,
        Err(error) => {
            Voice::new(Form::Own, false).alert(format_args!("the proxy did not begin: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let form = match given.take.personality {
        Personality::Own | Personality::Keepalived => Form::Own,
        Personality::Haproxy => Form::Haproxy,
    };
    let mut voice = Voice::new(form, given.take.plan.quiet);
    match begin::serve(channel, given, guard, &mut voice) {
        Ok(()) => ExitCode::SUCCESS,
        Err(refused) => {
            let (error, channel) = *refused;
            voice.fatal(&error);
            if let Some(mut channel) = channel {
                let words = error.to_string();
                // It sees the end of this process all the same.
                let _ = channel.send(&Message::Ended { words }, &[]);
                let _ = channel.finish(LAST_WORDS_LIMIT);
            }
            ExitCode::FAILURE
        }
    }
}

/// The first version, and before it the word that this role is to stay, so that
/// it stays from its first moment on.
fn first(channel: &mut Channel) -> Result<(Given, Option<Guard>), ChannelError> {
    let (received, guard) = guard::first(channel, FIRST_LIMIT)?;
    let Received {
        message: Message::Take(take),
        descriptors,
    } = received
    else {
        return Err(ChannelError::Descriptors);
    };
    let given = Given::new(*take, descriptors).ok_or(ChannelError::Descriptors)?;
    Ok((given, guard))
}
