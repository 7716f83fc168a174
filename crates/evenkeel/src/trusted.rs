//! Cluster identities for parts whose roles connect to other nodes.

use cluster::authority::{AuthorityError, PartCredentials};
use std::sync::Arc;
use wire::TrustedNodes;

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
    Ok(TrustedNodes::new(me, addresses, (client, server), node_of))
}
