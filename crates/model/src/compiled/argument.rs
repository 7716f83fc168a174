//! Arguments of fetches and converters, ready for use.

use crate::compiled::{Condition, Map};
use crate::sample::VariableName;
use crate::sample::regular::Regular;
use crate::setting::{Userlist, UserlistSlot};
use crate::tables::{Table, TablePlace};
use std::sync::Arc;

/// One argument, ready for use.
#[derive(Clone, Debug)]
pub enum Argument {
    /// A text.
    Text(Box<[u8]>),
    /// A number.
    Int(i64),
    /// A variable.
    Variable(VariableName),
    /// An IPv4 mask or address.
    Ipv4(std::net::Ipv4Addr),
    /// An IPv6 mask or address.
    Ipv6(std::net::Ipv6Addr),
    /// A boolean.
    Bool(bool),
    /// A frontend or backend by name.
    Proxy(Box<str>),
    /// A server by the names of its backend (None is the stream's own) and its own.
    Server(Option<Box<str>>, Box<str>),
    /// A regular expression.
    Regex(Arc<Regular>),
    /// A map.
    Map(Arc<Map>),
    /// ACLs that must all hold.
    Acls(Arc<Condition>),
    /// A stick table.
    Table(Arc<TablePlace>),
    /// A list of users, once the whole file is known.
    Userlist(UserlistSlot),
}

/// The side whose message a fetch looks at.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Side {
    /// The request.
    #[default]
    Request,
    /// The answer.
    Response,
    /// The answer once it is there, else the request: a named ACL does not
    /// know which rules will ask it.
    Either,
}

/// The arguments of one fetch or converter.
#[derive(Clone, Debug, Default)]
pub struct Arguments {
    /// In order; those left out are None.
    pub list: Vec<Option<Argument>>,
    /// For fetches that work on either side.
    pub side: Side,
}

impl Arguments {
    pub(crate) fn at(&self, n: usize) -> Option<&Argument> {
        self.list.get(n)?.as_ref()
    }

    /// The n-th, where it is a text.
    pub fn text(&self, n: usize) -> Option<&[u8]> {
        match self.at(n)? {
            Argument::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The n-th, where it is a number.
    pub fn int(&self, n: usize) -> Option<i64> {
        match self.at(n)? {
            Argument::Int(n) => Some(*n),
            _ => None,
        }
    }

    /// The n-th, where it is a boolean.
    pub fn bool(&self, n: usize) -> Option<bool> {
        match self.at(n)? {
            Argument::Bool(b) => Some(*b),
            _ => None,
        }
    }

    /// The n-th, where it is a variable.
    pub fn variable(&self, n: usize) -> Option<VariableName> {
        match self.at(n)? {
            Argument::Variable(name) => Some(*name),
            _ => None,
        }
    }

    /// The n-th, where it is an IPv4 address or mask.
    pub fn ipv4(&self, n: usize) -> Option<std::net::Ipv4Addr> {
        match self.at(n)? {
            Argument::Ipv4(ip) => Some(*ip),
            _ => None,
        }
    }

    /// The n-th, where it is an IPv6 address or mask.
    pub fn ipv6(&self, n: usize) -> Option<std::net::Ipv6Addr> {
        match self.at(n)? {
            Argument::Ipv6(ip) => Some(*ip),
            _ => None,
        }
    }

    /// The n-th, where it is a proxy's name.
    pub fn proxy(&self, n: usize) -> Option<&str> {
        match self.at(n)? {
            Argument::Proxy(name) => Some(name),
            _ => None,
        }
    }

    /// The n-th, where it is a server: backend and name.
    pub fn server(&self, n: usize) -> Option<(Option<&str>, &str)> {
        match self.at(n)? {
            Argument::Server(backend, name) => Some((backend.as_deref(), name)),
            _ => None,
        }
    }

    /// The n-th, where it is a regular expression.
    pub fn regex(&self, n: usize) -> Option<&Regular> {
        match self.at(n)? {
            Argument::Regex(regex) => Some(regex),
            _ => None,
        }
    }

    /// The n-th, where it is a list of ACLs.
    pub fn acls(&self, n: usize) -> Option<&Condition> {
        match self.at(n)? {
            Argument::Acls(acls) => Some(acls),
            _ => None,
        }
    }

    /// The n-th, where it is a stick table.
    pub fn table(&self, n: usize) -> Option<&Arc<Table>> {
        match self.at(n)? {
            Argument::Table(place) => place.get(),
            _ => None,
        }
    }

    /// The n-th, where it is a list of users.
    pub fn userlist(&self, n: usize) -> Option<&Userlist> {
        Some(self.userlist_slot(n)?.get()?)
    }

    /// The place of that list, which may be empty while the file is read.
    pub(crate) fn userlist_slot(&self, n: usize) -> Option<&UserlistSlot> {
        match self.at(n)? {
            Argument::Userlist(slot) => Some(slot),
            _ => None,
        }
    }

    /// The n-th, where it is a map.
    pub fn map(&self, n: usize) -> Option<&Map> {
        match self.at(n)? {
            Argument::Map(map) => Some(map),
            _ => None,
        }
    }
}
