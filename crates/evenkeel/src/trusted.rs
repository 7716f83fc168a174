//! What a part whose roles meet those of other nodes needs to know of the cluster.

use cluster::authority::{AuthorityError, PartCredentials};
use wire::Trusted;

/// From what the control role says.
///
/// # Errors
/// The certificate cannot be used.
pub(crate) fn trusted(credentials: PartCredentials) -> Result<Trusted, AuthorityError> {
    let (client, server) = credentials.tls()?;
    let addresses = credentials.nodes().iter().map(|node| {
        let addresses = node.addresses.iter().map(|one| one.ip()).collect();
        (node.name.clone(), addresses)
    });
    Ok(Trusted {
        me: credentials.own_name().to_owned(),
        addresses: addresses.collect(),
        client,
        server,
        node_of: Box::new(move |certificate| credentials.node_of(certificate).map(str::to_owned)),
    })
}
