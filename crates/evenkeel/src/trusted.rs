//! Converts the cluster credentials that the control role sends into TLS settings and node names,
//! for parts whose roles connect to other nodes, and remembers which credentials a role applied
//! last.

use cluster::authority::{AuthorityError, PartCredentials};
use part::lock;
use part::role::PartMessage;
use part::voice::write_error;
use std::sync::{Arc, Mutex};
use wire::TrustedNodes;

/// Credentials that a role applied last. The control role sends credentials repeatedly, because a
/// message can be lost with a process that forwards it; only different ones are applied.
#[derive(Debug)]
pub(crate) struct RoleCredentials(Mutex<Option<PartCredentials>>);

impl RoleCredentials {
    pub(crate) const fn new() -> RoleCredentials {
        RoleCredentials(Mutex::new(None))
    }

    /// Applies the credentials in a message, unless they are those applied last or cannot be used.
    /// Returns false if the message contains no credentials.
    pub(crate) fn apply(&self, message: &PartMessage, apply: impl FnOnce(TrustedNodes)) -> bool {
        let Some(credentials) = PartCredentials::of(message) else {
            return false;
        };
        let last = &mut *lock(&self.0);
        if last.as_ref() == Some(&credentials) {
            return true;
        }
        match trusted(credentials.clone()) {
            Ok(nodes) => {
                *last = Some(credentials);
                apply(nodes);
            }
            Err(error) => write_error(&format!(
                "evenkeel: {}: cannot use the certificate of this node: {error}\n",
                message.part
            )),
        }
        true
    }
}

/// Converts the credentials that the control role sends.
///
/// # Errors
/// Fails if the certificate cannot be used.
pub(crate) fn trusted(credentials: PartCredentials) -> Result<TrustedNodes, AuthorityError> {
    let (client, server) = credentials.tls()?;
    let addresses = credentials.nodes().iter().map(|node| {
        let addresses = node.addresses.iter().map(|one| one.ip()).collect();
        (node.name.clone(), addresses)
    });
    let (me, addresses) = (credentials.own_name().to_owned(), addresses.collect());
    let node_of: wire::NodeOf =
        Arc::new(move |chain| credentials.node_of(chain).map(str::to_owned));
    Ok(TrustedNodes::new(me, addresses, client, server, node_of))
}
