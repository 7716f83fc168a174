//! Looks up users and groups of the system by name.

use crate::family::Loader;
use configuration::outside::{Account, AccountKind};
use language::{ConfigWord, Diagnostic};
use model::codes;

pub(super) fn user(loader: &mut Loader, word: &ConfigWord) -> Result<u32, Diagnostic> {
    account(loader, word, AccountKind::User, "user")
}

pub(super) fn group(loader: &mut Loader, word: &ConfigWord) -> Result<u32, Diagnostic> {
    account(loader, word, AccountKind::Group, "group")
}

fn account(
    loader: &mut Loader,
    word: &ConfigWord,
    kind: AccountKind,
    what: &str,
) -> Result<u32, Diagnostic> {
    let near = match loader.context.outside.account(kind, word.str()) {
        Account::Known(number) => return Ok(number),
        Account::Unknown(near) => near,
    };
    let diagnostic = Diagnostic::error(
        &codes::UNKNOWN_USER,
        word.span,
        format!("this system has no {what} '{}'", word.text()),
    )
    .label(format!("no such {what}"));
    Err(diagnostic.did_you_mean(word.span, near.as_deref()))
}
