//! Verifies the passwords of user lists for the parts that sign users in.

use configuration::{Account, Password};
use model::users::{Hash, same};

/// Returns whether a password is that of an account. Accounts without a stored password return
/// false at once, so the caller has to hide by timing whether a user exists.
pub(crate) fn verify(account: &Account, password: &[u8]) -> bool {
    match &account.password {
        // The part itself queries the system or an LDAP server.
        Password::None | Password::System | Password::Directory => false,
        Password::Clear(clear) => same(clear, password),
        Password::Hashed(hash) => {
            let hash = Hash::read(hash.as_bytes());
            hash.is_some_and(|hash| hash.is_of(password))
        }
    }
}
