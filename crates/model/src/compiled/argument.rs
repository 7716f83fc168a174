//! Defines the compiled arguments of sample fetches and converters.

use crate::compiled::{Condition, Map};
use crate::sample::VariableName;
use crate::sample::regular::Regular;
use crate::setting::{Userlist, UserlistSlot};
use crate::tables::{Table, TablePlace};
use std::sync::Arc;

/// Compiled argument of a fetch or converter.
#[derive(Clone, Debug)]
pub enum Argument {
    Text(Box<[u8]>),
    Int(i64),
    Variable(VariableName),
    /// IPv4 mask or address.
    Ipv4(std::net::Ipv4Addr),
    Ipv6(std::net::Ipv6Addr),
    Bool(bool),
    /// Name of a frontend or backend.
    Proxy(Box<str>),
    /// Server: the name of its backend (None is the stream's backend), and its name.
    Server(Option<Box<str>>, Box<str>),
    Regex(Arc<Regular>),
    Map(Arc<Map>),
    /// Named ACLs, which must all be true.
    Acls(Arc<Condition>),
    Table(Arc<TablePlace>),
    /// Userlist; set when the whole file is loaded.
    Userlist(UserlistSlot),
}

/// Side of the stream whose message a fetch reads.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum MessageSide {
    #[default]
    Request,
    Response,
    /// The response if it has arrived, otherwise the request: for a named ACL, which may be used
    /// in rules of both kinds.
    Either,
}

#[derive(Clone, Debug, Default)]
pub struct Arguments {
    /// Arguments in order; omitted ones are None.
    pub list: Vec<Option<Argument>>,
    /// Side of the stream, for fetches that work on either side.
    pub side: MessageSide,
}

impl Arguments {
    pub(crate) fn at(&self, n: usize) -> Option<&Argument> {
        self.list.get(n)?.as_ref()
    }

    pub fn text(&self, n: usize) -> Option<&[u8]> {
        match self.at(n)? {
            Argument::Text(text) => Some(text),
            _ => None,
        }
    }

    pub fn int(&self, n: usize) -> Option<i64> {
        match self.at(n)? {
            Argument::Int(n) => Some(*n),
            _ => None,
        }
    }

    pub fn bool(&self, n: usize) -> Option<bool> {
        match self.at(n)? {
            Argument::Bool(b) => Some(*b),
            _ => None,
        }
    }

    pub fn variable(&self, n: usize) -> Option<VariableName> {
        match self.at(n)? {
            Argument::Variable(name) => Some(*name),
            _ => None,
        }
    }

    pub fn ipv4(&self, n: usize) -> Option<std::net::Ipv4Addr> {
        match self.at(n)? {
            Argument::Ipv4(ip) => Some(*ip),
            _ => None,
        }
    }

    pub fn ipv6(&self, n: usize) -> Option<std::net::Ipv6Addr> {
        match self.at(n)? {
            Argument::Ipv6(ip) => Some(*ip),
            _ => None,
        }
    }

    pub fn proxy(&self, n: usize) -> Option<&str> {
        match self.at(n)? {
            Argument::Proxy(name) => Some(name),
            _ => None,
        }
    }

    /// Returns the n-th argument if it is a server, as the names of its backend and of itself.
    pub fn server(&self, n: usize) -> Option<(Option<&str>, &str)> {
        match self.at(n)? {
            Argument::Server(backend, name) => Some((backend.as_deref(), name)),
            _ => None,
        }
    }

    pub fn regex(&self, n: usize) -> Option<&Regular> {
        match self.at(n)? {
            Argument::Regex(regex) => Some(regex),
            _ => None,
        }
    }

    pub fn acls(&self, n: usize) -> Option<&Condition> {
        match self.at(n)? {
            Argument::Acls(acls) => Some(acls),
            _ => None,
        }
    }

    pub fn table(&self, n: usize) -> Option<&Arc<Table>> {
        match self.at(n)? {
            Argument::Table(place) => place.get(),
            _ => None,
        }
    }

    pub fn userlist(&self, n: usize) -> Option<&Userlist> {
        Some(self.userlist_slot(n)?.get()?)
    }

    /// Returns the n-th argument if it names a userlist. The userlist may still be missing while
    /// the file is loaded.
    pub(crate) fn userlist_slot(&self, n: usize) -> Option<&UserlistSlot> {
        match self.at(n)? {
            Argument::Userlist(slot) => Some(slot),
            _ => None,
        }
    }

    pub fn map(&self, n: usize) -> Option<&Map> {
        match self.at(n)? {
            Argument::Map(map) => Some(map),
            _ => None,
        }
    }
}
