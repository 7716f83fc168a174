//! Parses the lines `second-factor user`, and adds the second factors to the users of a section.

use super::{Codes, UserSources, named, read_keyword};
use crate::second_factor;
use crate::user::{AuthorizedUser, SecondFactor};
use configuration::Context;
use language::arguments::{Args, Built};
use language::{Span, Spanned};
use std::collections::BTreeMap;

const SECRETS_MAX: usize = 10_000;

#[derive(Debug)]
struct Secret {
    span: Span,
    user: Spanned<String>,
    value: Vec<u8>,
}

#[derive(Debug, Default)]
pub struct Secrets {
    all: Vec<Secret>,
}

impl Secrets {
    /// Reads a line after `second-factor user`.
    ///
    /// # Errors
    /// Returns a description of the error.
    pub fn line(&mut self, args: &mut Args<'_>, codes: &Codes) -> Built {
        let span = args.line().span;
        let user = named(args.required("the name of a user")?);
        read_keyword(args, "secret")?;
        let word = args.required("a secret in Base32")?;
        // Omits the secret from the message, which must not repeat it.
        let Some(value) = second_factor::read(word.str()) else {
            let told = "the secret is not 16 to 64 bytes in Base32";
            let told = args.value_error(codes.value, word.span, told);
            return Err(told.help("`evenkeel console second-factor NAME` makes one"));
        };
        args.end()?;
        if let Some(first) = self.all.iter().find(|one| one.user.value == user.value) {
            let what = format!("the second factor of '{}'", user.value);
            return Err(codes.duplicate_setting(first.span, span, &what));
        }
        if self.all.len() >= SECRETS_MAX {
            return Err(args.value_error(codes.value, span, "more than 10000 second factors"));
        }
        self.all.push(Secret { span, user, value });
        Ok(())
    }

    pub fn first(&self) -> Option<Span> {
        self.all.first().map(|one| one.span)
    }

    /// Returns the second factors by the name of the user in lower case.
    pub fn named(&self) -> BTreeMap<String, SecondFactor> {
        let all = self.all.iter();
        let all = all.map(|one| (one.user.value.to_lowercase(), one.value.clone()));
        all.map(|(name, secret)| (name, SecondFactor::Codes(secret)))
            .collect()
    }

    pub fn complete(
        &self,
        users: &mut [AuthorizedUser],
        known: &UserSources,
        codes: &Codes,
        context: &mut Context,
    ) {
        for secret in &self.all {
            let name = &secret.user.value;
            match users.iter_mut().find(|user| user.account.name == *name) {
                Some(user) => user.second_factor = SecondFactor::Codes(secret.value.clone()),
                None => {
                    let names = users.iter().map(|user| user.account.name.as_str());
                    context.report(codes.unknown("user", &secret.user, names, known));
                }
            }
        }
    }
}
