//! Parses the lines of a `console` section for second factors and tokens.

use super::section::{ConsoleSectionDraft, twice};
use super::{ConsoleLineBuilder, codes};
use crate::access::token;
use crate::config::{ConsoleUser, SecondFactor, Token};
use crate::user::{Scope, UserRole};
use ::access::keyword::{Secrets, UserSources, named, read_keyword};
use configuration::Context;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use language::arguments::{Args, Built, section_name};
use language::keyword::Keyword;
use language::{Diagnostic, Span, Spanned};

const TOKENS_MAX: usize = 1_000;
const DATE_LENGTH: usize = 10;

/// A token, with the positions of its line and of its user.
#[derive(Debug)]
pub(super) struct TokenLine {
    span: Span,
    user: Span,
    token: Token,
}

#[derive(Debug, Default)]
pub(super) struct Credentials {
    required: Option<Spanned<UserRole>>,
    pub(super) secrets: Secrets,
    tokens: Vec<TokenLine>,
}

fn second_factor(draft: &mut ConsoleSectionDraft, args: &mut Args<'_>) -> Built {
    let word = args.required("`required for` or `user`")?;
    match word.str() {
        "required" => required(&mut draft.credentials, args),
        "user" => draft.credentials.secrets.line(args, &codes::OF_ACCESS),
        _ => Err(args.unexpected_value(word, "not `required for` or `user`")),
    }
}

fn required(credentials: &mut Credentials, args: &mut Args<'_>) -> Built {
    let span = args.line().span;
    read_keyword(args, "for")?;
    let word = args.required("`viewer`, `operator` or `admin`")?;
    let role = UserRole::ALL
        .into_iter()
        .find(|role| role.word() == word.str());
    let value =
        role.ok_or_else(|| args.unexpected_value(word, "not `viewer`, `operator` or `admin`"))?;
    args.end()?;
    if let Some(first) = &credentials.required {
        return Err(twice(first.span, span, "'second-factor required'"));
    }
    credentials.required = Some(Spanned::new(value, span));
    Ok(())
}

fn token(draft: &mut ConsoleSectionDraft, args: &mut Args<'_>) -> Built {
    let span = args.line().span;
    let word = args.required("a name")?;
    let name = section_name("token", word, &codes::VALUE)?.to_owned();
    read_keyword(args, "user")?;
    let user = named(args.required("the name of a user")?);
    read_keyword(args, "scope")?;
    let word = args.required("`read`, `operate` or `configure`")?;
    let scope = Scope::ALL
        .into_iter()
        .find(|scope| scope.word() == word.str());
    let scope =
        scope.ok_or_else(|| args.unexpected_value(word, "not `read`, `operate` or `configure`"))?;
    let until_s = if args.take_if("expires") {
        Some(end_of_day(args)?)
    } else {
        None
    };
    read_keyword(args, "hash")?;
    let word = args.required("the SHA-256 of the token")?;
    let Some(hash) = token::read(word.str()) else {
        let told = "the hash is not 64 hexadecimal digits";
        let told = args.value_error(&codes::VALUE, word.span, told);
        return Err(told.help("`evenkeel console token` makes a token, and its line"));
    };
    args.end()?;
    let tokens = &mut draft.credentials.tokens;
    if let Some(first) = tokens.iter().find(|one| one.token.name == name) {
        return Err(twice(first.span, span, &format!("the token '{name}'")));
    }
    if let Some(first) = tokens.iter().find(|one| one.token.hash == hash) {
        return Err(twice(first.span, span, "the hash of a token"));
    }
    if tokens.len() >= TOKENS_MAX {
        return Err(args.value_error(&codes::VALUE, span, "more than 1000 tokens"));
    }
    tokens.push(TokenLine {
        span,
        user: user.span,
        token: Token {
            name,
            user: user.value,
            scope,
            until_s,
            hash,
        },
    });
    Ok(())
}

/// Returns the end of a day, seconds since 1970. None if the text is not a date.
pub fn end_of(date: &str) -> Option<u64> {
    let date = Some(date).filter(|date| date.len() == DATE_LENGTH)?;
    let date: Date = date.parse().ok()?;
    let end = date.tomorrow().ok()?.to_zoned(TimeZone::UTC).ok()?;
    Some(u64::try_from(end.timestamp().as_second()).unwrap_or_default())
}

fn end_of_day(args: &mut Args<'_>) -> Result<u64, Diagnostic> {
    let word = args.required("a date")?;
    end_of(word.str()).ok_or_else(|| args.unexpected_value(word, "not a date such as 2027-01-31"))
}

impl Credentials {
    /// Returns the first line that makes sense only with users.
    pub(super) fn first(&self) -> Option<(&'static str, Span)> {
        let required = self.required.iter().map(|one| ("second-factor", one.span));
        let secrets = self
            .secrets
            .first()
            .into_iter()
            .map(|span| ("second-factor", span));
        let tokens = self.tokens.iter().map(|one| ("token", one.span));
        required.chain(secrets).chain(tokens).next()
    }

    /// Marks the users who need a second factor and have none, and warns that they cannot sign in.
    pub(super) fn require(&self, users: &mut [ConsoleUser], context: &mut Context) {
        let Some(required) = &self.required else {
            return;
        };
        let mut without = Vec::new();
        for user in users {
            if user.role >= required.value && user.second_factor == SecondFactor::None {
                user.second_factor = SecondFactor::Missing;
                without.push(format!("'{}'", user.account.name));
            }
        }
        if !without.is_empty() {
            let told = format!("no second factor, so no sign-in: {}", without.join(", "));
            let told = Diagnostic::warning(&codes::NO_SECOND, required.span, told);
            context.report(
                told.label("required here")
                    .help("`evenkeel console second-factor NAME` makes one, and prints its line"),
            );
        }
    }

    /// Returns the tokens of the listed users, and reports those of other users.
    pub(super) fn tokens(
        &self,
        users: &[ConsoleUser],
        known: &UserSources,
        context: &mut Context,
    ) -> Vec<Token> {
        let is_of = |one: &&TokenLine| users.iter().any(|user| user.account.name == one.token.user);
        for one in self.tokens.iter().filter(|one| !is_of(one)) {
            let user = Spanned::new(one.token.user.clone(), one.user);
            let names = users.iter().map(|user| user.account.name.as_str());
            context.report(codes::OF_ACCESS.unknown("user", &user, names, known));
        }
        let known = self.tokens.iter().filter(is_of);
        known.map(|one| one.token.clone()).collect()
    }
}

pub(super) static LINES: &[Keyword<ConsoleLineBuilder>] = language::rows! {
    "second-factor (required for (viewer | operator | admin) | user <name> secret <base32>)" &["console"],
        second_factor,
        "second-factor user anna secret GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ",
        "The second factor of sign-in: codes of an app (TOTP, RFC 6238), each of which is accepted once. `evenkeel \
         console second-factor NAME` makes the secret of a user, shows it as a QR code for the app, and prints the \
         line `second-factor user`. With `required for` users of this role, and of those above it, need one: without \
         it they cannot sign in. Programs of a user with a second factor use a `token`.";
    "token <name> user <user> scope (read | operate | configure) [expires <date>] hash <sha256>" &["console"],
        token,
        "token ci user anna scope read expires 2030-12-31 hash \
         ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        "A token by which programs use `/api/v1` and `/metrics` for a user. It may do what the user's role allows, but \
         `read` only looks, `operate` does what an operator may, and `configure` has no bound of its own. `expires` is \
         its last day, in UTC. `evenkeel console token` makes one, shows it once, and prints the line: the file has \
         only its SHA-256.";
};
