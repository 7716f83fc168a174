//! Why there is no connection.

use std::io;

/// Why there is no connection to a node, or why it ends.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// The network.
    #[error("{}", language::reason(.0))]
    Gone(#[from] io::Error),
    /// It says nothing any more.
    #[error("it does not respond")]
    Silent,
    /// It does not speak this protocol.
    #[error("it does not speak the protocol of {0}")]
    Foreign(&'static str),
    /// It is of another program.
    #[error("it speaks version {theirs} of the protocol, and this node version {ours}")]
    Version {
        /// The version of the other node.
        theirs: u16,
        /// That of this one.
        ours: u16,
    },
    /// What it says has no bounds or no sense, or it is not the node that it should be.
    #[error("refused: {0}")]
    Refused(String),
}
