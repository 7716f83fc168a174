//! Creates the keys of members in tests: always the same for a number, so that a seed replays its
//! history.

use crate::authority::MemberKey;
use crate::log::{MemberSignature, Signer, SigningError};
use crate::member::{Digest, MemberId};
use aws_lc_rs::signature::Ed25519KeyPair;
use std::sync::Arc;

/// Signs with the key of a member of this number.
pub(crate) struct TestSigner(MemberKey);

pub(crate) fn signer(member: MemberId) -> Arc<TestSigner> {
    Arc::new(TestSigner(key(member)))
}

pub(crate) fn key(member: MemberId) -> MemberKey {
    let seed = [member.0 as u8; 32];
    let pair = Ed25519KeyPair::from_seed_unchecked(&seed).expect("a seed has 32 bytes");
    let pkcs8 = pair.to_pkcs8().expect("a key has a form");
    MemberKey::from_pkcs8(pkcs8.as_ref()).expect("it was just written")
}

pub(crate) fn certificate(member: MemberId) -> Digest {
    key(member).digest()
}

impl Signer for TestSigner {
    fn sign(&self, bytes: &[u8]) -> Result<MemberSignature, SigningError> {
        Ok(MemberSignature {
            public_key: self.0.public().to_vec(),
            signature: self.0.sign(bytes).map_err(|_| SigningError)?,
            certificate: Vec::new(),
        })
    }
}
