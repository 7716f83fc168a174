//! Provides a joining client without a valid token, for tests.

use super::*;

/// Asks for admission with an invented secret, with or without the question that
/// precedes it in the protocol. Returns the response.
pub(crate) async fn demand<N: ConnectionFactory>(
    network: &N,
    token: &Token,
    newcomer: &Newcomer,
    asks_first: bool,
) -> Result<Denied, JoinError> {
    let address = token.addresses[0];
    let malformed = || JoinError::Malformed { address };
    let mut stream = connect(network, address, token).await?;
    let binding = binding_of(&stream).ok_or_else(malformed)?;
    if asks_first {
        let hint = JoinRequest::Invited(Digest([7; 32]));
        let said = exchange(&mut stream, address, &hint).await?;
        assert!(matches!(said, Response::Unknown), "it is known");
    }
    let key = MemberKey::generate()?;
    let request = Request {
        secret: vec![7; 32],
        name: newcomer.name.clone(),
        kind: newcomer.kind,
        addresses: newcomer.addresses.clone(),
        port: newcomer.port,
        certificate: key.request(&binding.0)?,
        sealing_key: None,
        format: FORMAT,
    };
    let join = JoinRequest::Join(Box::new(request));
    match exchange(&mut stream, address, &join).await? {
        Response::Denied(why) => Ok(why),
        _ => Err(malformed()),
    }
}
