//! Identifies the user of a session, whatever the form of the name: `Anna`, `EXAMPLE\anna` and
//! `anna@example.org` are one user.

use access::user::List;
use aws_lc_rs::digest::{SHA256, digest};
use protocol::rdp::Logon;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;

pub const ID_BYTES: usize = 16;
const SHOWN_BYTES_MAX: usize = 128;
/// Length in characters to which mstsc truncates a name in the cookie `mstshash`.
pub const HINT_LETTERS: usize = 9;

/// Identifier of a user: the beginning of the SHA-256 of the name. The length is the same for every
/// name, and a token with it does not reveal the name to the network.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserId(#[serde(with = "serde_bytes")] pub [u8; ID_BYTES]);

impl fmt::Debug for UserId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

/// A user, independent of the form of the name. Two people with the same name in two domains always
/// share a host, which does no harm, whereas two sessions of one person would.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FarmUser {
    pub id: UserId,
    /// Display name: in lower case, without its domain, truncated to 128 bytes.
    pub name: String,
}

impl FarmUser {
    /// Returns the user with a name, or None for an empty name.
    pub fn named(name: &str) -> Option<FarmUser> {
        plain(name).map(|account| FarmUser::of(&account))
    }

    /// Returns the user of a logon. A client that sends no user name, because its user logs on at
    /// the host, is identified by its machine or its address, so that each machine always gets the
    /// same host.
    pub fn of_logon(logon: &Logon, from: IpAddr) -> FarmUser {
        let by_machine = || {
            let machine = logon.client_name.trim().to_lowercase();
            if machine.is_empty() {
                FarmUser::of_address(from)
            } else {
                FarmUser::of(&format!("machine/{machine}"))
            }
        };
        FarmUser::named(&logon.user).unwrap_or_else(by_machine)
    }

    pub fn of_address(from: IpAddr) -> FarmUser {
        FarmUser::of(&format!("address/{from}"))
    }

    fn of(account: &str) -> FarmUser {
        let mut id = [0; ID_BYTES];
        let hash = digest(&SHA256, account.as_bytes());
        id.iter_mut()
            .zip(hash.as_ref())
            .for_each(|(to, from)| *to = *from);
        let shown = language::truncated(account, SHOWN_BYTES_MAX).chars();
        let shown = shown.map(|letter| if letter.is_control() { '?' } else { letter });
        FarmUser {
            id: UserId(id),
            name: shown.collect(),
        }
    }
}

/// Normalizes a name: in lower case and without its domain. Returns None if the result is empty.
fn plain(name: &str) -> Option<String> {
    let name = name.rsplit('\\').next().unwrap_or_default().trim();
    let account = name.split('@').next().unwrap_or_default();
    let account = if account.is_empty() { name } else { account };
    (!account.is_empty()).then(|| account.to_lowercase())
}

/// Returns the account for a typed name: an exact match, or else the account that is the same user.
pub fn account_of<'u>(
    users: &'u [access::user::AuthorizedUser],
    typed: &str,
) -> Option<&'u access::user::AuthorizedUser> {
    let same = users.iter().find(|user| user.account.name == typed);
    same.or_else(|| {
        let typed = plain(typed)?;
        let is_it = |user: &&access::user::AuthorizedUser| {
            plain(&user.account.name).is_some_and(|name| name == typed)
        };
        users.iter().find(is_it)
    })
}

/// Returns the name for verifying the password and counting attempts. All forms of one user's name
/// share a count, even if the user does not exist.
pub fn asked_name(users: &List, typed: &str) -> String {
    if users.directory.is_some() {
        return typed.to_owned();
    }
    match account_of(&users.users, typed) {
        Some(user) => user.account.name.clone(),
        None => FarmUser::named(typed)
            .map(|user| user.name)
            .unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_forms_of_a_name_are_one_user() {
        let anna = FarmUser::named("anna").unwrap();
        for form in [
            "Anna",
            "EXAMPLE\\anna",
            "anna@example.org",
            " anna ",
            ".\\ANNA",
        ] {
            assert_eq!(FarmUser::named(form).as_ref(), Some(&anna), "{form}");
        }
        assert_ne!(FarmUser::named("annab"), Some(anna));
        for nobody in ["", " ", "EXAMPLE\\"] {
            assert_eq!(FarmUser::named(nobody), None, "{nobody:?}");
        }
        assert_eq!(FarmUser::named("@odd").unwrap().name, "@odd");
    }

    #[test]
    fn names_are_compared_whole_and_shown_truncated() {
        let long = |end: &str| FarmUser::named(&("ä".repeat(100) + end)).unwrap();
        assert_ne!(long("a").id, long("b").id);
        assert_eq!(long("a").name, "ä".repeat(64));
        assert_eq!(FarmUser::named("a\u{1b}[2Jb").unwrap().name, "a?[2jb");
    }

    #[test]
    fn nameless_clients_are_identified_by_their_machine() {
        let logon = |user: &str, client_name: &str| Logon {
            domain: String::new(),
            user: user.to_owned(),
            client_name: client_name.to_owned(),
            follows: true,
        };
        let from = |last| IpAddr::from([192, 0, 2, last]);
        let of = |user: &str, machine: &str, last| {
            FarmUser::of_logon(&logon(user, machine), from(last)).name
        };
        assert_eq!(of("Anna", "PC7", 1), "anna");
        assert_eq!(of("", "PC7", 1), "machine/pc7");
        assert_eq!(of("", "", 1), "address/192.0.2.1");
    }

    #[test]
    fn a_name_is_the_exact_account_or_that_of_the_same_user_and_all_forms_of_a_stranger_count_as_one()
     {
        let account = |name: &str| {
            access::user::AuthorizedUser::new(configuration::Account {
                name: name.to_owned(),
                groups: Vec::new(),
                password: configuration::Password::None,
            })
        };
        let list = List {
            users: ["EX\\Anna", "anna", "Bert"].map(account).into(),
            ..List::default()
        };
        for (typed, name) in [
            ("anna", "anna"),
            ("EX\\Anna", "EX\\Anna"),
            ("anna@example.org", "EX\\Anna"),
            ("bert", "Bert"),
            ("EX\\BERT", "Bert"),
            ("Nobody", "nobody"),
            ("EX\\nobody", "nobody"),
            ("nobody@example.org", "nobody"),
            ("", ""),
        ] {
            assert_eq!(asked_name(&list, typed), name, "{typed}");
        }
    }
}
