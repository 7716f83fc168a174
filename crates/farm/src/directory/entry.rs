//! Defines the entry of a user in the directory: the user's host, as a record of the store.

use crate::collection::Assignee;
use crate::token::NameId;
use record::{InvalidMessage, Value};
use std::net::SocketAddr;

const NAME_BYTES_MAX: usize = 128;

/// Host of a user who has a session there, or has been sent there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Assignment {
    /// Display name; empty if only a token of the user was seen.
    pub name: String,
    pub host: String,
    /// In a message: address of a host that the sender's configuration does not have, so that the
    /// receiver may not know it either.
    pub removed: Option<SocketAddr>,
}

/// Entry of a user in the directory, with the user's connections.
pub type Entry = record::Entry<Assignment>;

impl Value for Assignment {
    type Place = str;

    fn of_place(host: &str) -> Assignment {
        Assignment {
            name: String::new(),
            host: host.to_owned(),
            removed: None,
        }
    }

    fn place(&self) -> &str {
        &self.host
    }

    fn complete(&mut self, other: &Assignment) {
        if self.name.is_empty() {
            self.name.clone_from(&other.name);
        }
    }

    fn check(&self) -> Result<(), InvalidMessage> {
        check_text(&self.name, 0, NAME_BYTES_MAX)?;
        check_text(&self.host, 1, NAME_BYTES_MAX)
    }
}

/// Checks the length of a text, and that it can be displayed.
pub(crate) fn check_text(
    text: &str,
    bytes_min: usize,
    bytes_max: usize,
) -> Result<(), InvalidMessage> {
    let has_length = (bytes_min..=bytes_max).contains(&text.len());
    if has_length && !text.chars().any(char::is_control) {
        Ok(())
    } else {
        Err(InvalidMessage::Name)
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Logon {
    pub id: Assignee,
    /// Display name; empty if it is not known.
    pub name: String,
    pub hint: Option<NameId>,
}
