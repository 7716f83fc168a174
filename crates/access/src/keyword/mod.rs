//! Parses the lines of a section that define who may sign in, and from where: users of a
//! `userlist`, of the operating system or of an LDAP directory, second factors, the listening
//! address, and trusted proxies. Each part of the platform (console, farm) has its own keywords and
//! diagnostic codes for these lines.

mod ldap;
mod listening;
mod pam;
mod proxies;
mod second_factor;

pub use ldap::{Ldap, is_server};
pub use listening::{absolute_file, listening_address};
pub use pam::Pam;
pub use proxies::{Proxies, ProxyCodes};
pub use second_factor::Secrets;

use crate::user::AuthorizedUser;
use configuration::{Accounts, Exchange};
use language::arguments::{Args, Built};
use language::{Code, ConfigWord, Diagnostic, Span, Spanned, suggest};
use std::fmt;

/// Diagnostic codes that a part of the platform uses for errors in the lines about users.
#[derive(Clone, Copy, Debug)]
pub struct Codes {
    pub value: &'static Code,
    pub twice: &'static Code,
    pub no_user: &'static Code,
    /// The section configures PAM, but has no users for it.
    pub no_pam_users: &'static Code,
}

/// Diagnostic codes that a part of the platform uses for the files and servers of a directory.
#[derive(Clone, Copy, Debug)]
pub struct DirectoryCodes {
    pub file: &'static Code,
    pub no_server: &'static Code,
}

impl Codes {
    pub fn duplicate_setting(&self, first: Span, span: Span, what: &str) -> Diagnostic {
        let told = format!("{what} may appear only once");
        Diagnostic::error(self.twice, span, told).duplicate_of(first)
    }

    pub fn unknown<'n>(
        &self,
        word: &str,
        name: &Spanned<String>,
        names: impl IntoIterator<Item = &'n str>,
        known: &UserSources,
    ) -> Diagnostic {
        let told = format!("{known} no {word} '{}'", name.value);
        let told = Diagnostic::error(self.no_user, name.span, told);
        let near = suggest::nearest(&name.value, names);
        told.label("unknown here").did_you_mean(name.span, near)
    }
}

/// Sources of users in a section, as text for messages: "userlist 'a' has", "userlist 'a' and the
/// lines `pam` have".
#[derive(Clone, Debug)]
pub struct UserSources {
    pub list: Option<String>,
    pub has_pam: bool,
}

impl fmt::Display for UserSources {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.list, self.has_pam) {
            (Some(list), false) => write!(out, "userlist '{list}' has"),
            (Some(list), true) => write!(out, "userlist '{list}' and the lines `pam` have"),
            (None, _) => write!(out, "the lines `pam` have"),
        }
    }
}

/// Returns a word with its position.
pub fn named(word: &ConfigWord) -> Spanned<String> {
    Spanned::new(word.str().to_owned(), word.span)
}

/// Reads a mandatory keyword.
///
/// # Errors
/// The keyword is missing, or another one is there.
pub fn read_keyword(args: &mut Args<'_>, word: &str) -> Built {
    let what = format!("`{word}`");
    let found = args.required(&what)?;
    if found.is(word) {
        Ok(())
    } else {
        Err(args.unexpected_value(found, &format!("not {what}")))
    }
}

/// Returns the users and the groups of a `userlist`. None if there is no such list, which is
/// reported elsewhere.
pub fn listed(
    list: &Spanned<String>,
    exchange: &mut Exchange,
) -> Option<(Vec<AuthorizedUser>, Vec<String>)> {
    exchange.require_object(Accounts::KIND, &list.value, list.span);
    let mut all = exchange.exports_of_kind(Accounts::KIND);
    let found = all.find(|one| one.name == list.value);
    let accounts = found.and_then(|one| one.value::<Accounts>())?;
    let users = accounts.users.into_iter().map(AuthorizedUser::new);
    Some((users.collect(), accounts.groups))
}
