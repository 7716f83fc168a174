//! Defines the errors of `bench-cluster`.

use super::rpc::RpcError;
use crate::comparison;
use std::fmt;

#[derive(Debug)]
pub enum Error {
    Comparison(comparison::Error),
    /// A query to a member failed.
    Rpc(RpcError),
    /// An invitation without a token.
    NoToken(String),
    /// A member does not respond.
    NoMember(usize),
}

impl From<comparison::Error> for Error {
    fn from(error: comparison::Error) -> Self {
        Error::Comparison(error)
    }
}

impl From<lab::LabError> for Error {
    fn from(error: lab::LabError) -> Self {
        Error::Comparison(error.into())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Comparison(error) => error.fmt(f),
            Error::Rpc(source) => write!(f, "asking etcd: {source}"),
            Error::NoToken(said) => write!(f, "no token in what an invitation said: {said}"),
            Error::NoMember(number) => write!(f, "member {number} does not answer"),
        }
    }
}

impl std::error::Error for Error {}
