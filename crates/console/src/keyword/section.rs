//! Parses the head of a `console` section, and all of its lines except those for second factors and
//! tokens.

use super::credentials::Credentials;
use super::{ConsoleLineBuilder, codes};
use crate::user::UserRole;
use ::access::certificate;
use ::access::keyword::{Pam, Proxies, absolute_file, listening_address, named};
use configuration::Context;
use language::arguments::{Args, Built};
use language::keyword::Keyword;
use language::{ConfigLine, Diagnostic, Span, Spanned};
use std::net::SocketAddr;
use std::path::PathBuf;

const FILE_BYTES_MAX: u64 = 256 << 10;
const RULES_MAX: usize = 1_000;

#[derive(Debug)]
pub(super) struct Bind {
    span: Span,
    pub(super) address: SocketAddr,
    pub(super) file: Option<Spanned<PathBuf>>,
    pub(super) is_plain: bool,
    pub(super) accepts_proxy: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum RoleSubject {
    User,
    Group,
}

/// A line `role`, which gives a role to a user or a group.
#[derive(Debug)]
pub(super) struct RoleLine {
    pub(super) span: Span,
    pub(super) role: UserRole,
    pub(super) who: RoleSubject,
    pub(super) name: Spanned<String>,
}

#[derive(Debug, Default)]
pub(super) struct ConsoleSectionDraft {
    pub(super) begun: Option<Span>,
    pub(super) bind: Option<Bind>,
    pub(super) users: Option<Spanned<String>>,
    pub(super) rules: Vec<RoleLine>,
    pub(super) credentials: Credentials,
    pub(super) pam: Pam,
    pub(super) proxies: Proxies,
}

pub(super) fn twice(first: Span, span: Span, what: &str) -> Diagnostic {
    codes::OF_ACCESS.duplicate_setting(first, span, what)
}

pub(super) fn begin(draft: &mut ConsoleSectionDraft, head: &ConfigLine) -> Built {
    let mut args = Args::new(head, 1, "console", "console", &codes::OF_ARGUMENTS);
    args.end()?;
    match draft.begun {
        Some(first) => Err(twice(first, head.span, "a 'console' section")),
        None => {
            draft.begun = Some(head.span);
            Ok(())
        }
    }
}

fn bind(draft: &mut ConsoleSectionDraft, args: &mut Args<'_>) -> Built {
    let span = args.line().span;
    if let Some(first) = &draft.bind {
        return Err(twice(first.span, span, "'bind'"));
    }
    let word = args.required("an address and a port")?;
    let address = listening_address(args, word)?;
    let (mut file, mut plain, mut accepts_proxy) = (None, None, false);
    while let Some(word) = args.peek() {
        args.required("an option")?;
        match word.str() {
            "crt" => file = Some(absolute_file(args)?),
            "plain" => plain = Some(word.span),
            "accept-proxy" => {
                accepts_proxy = true;
                draft.proxies.accept(word.span);
            }
            _ => {
                return Err(
                    args.unexpected_value(word, "not `crt FILE`, `plain` or `accept-proxy`")
                );
            }
        }
    }
    if let Some(plain) = plain
        && !address.ip().to_canonical().is_loopback()
    {
        let told = format!("'plain' at {address}, which other machines may reach");
        let told = Diagnostic::error(&codes::PLAIN, plain, told);
        return Err(
            told.label("passwords would cross the network in the clear").help(
                "remove `plain`: the console makes a certificate itself, or takes one by `crt FILE`",
            ),
        );
    }
    if let (Some(plain), Some(_)) = (plain, &file) {
        let told = "'plain' and 'crt' exclude each other";
        return Err(
            Diagnostic::error(&codes::VALUE, plain, told).label("no TLS, so no certificate")
        );
    }
    draft.bind = Some(Bind {
        span,
        address,
        file,
        is_plain: plain.is_some(),
        accepts_proxy,
    });
    Ok(())
}

pub(super) fn read_certificate(
    context: &mut Context,
    file: &Spanned<PathBuf>,
) -> Result<Vec<u8>, Box<Diagnostic>> {
    let told = |why: String| {
        let told = format!("'crt': cannot use '{}'", file.value.display());
        Box::new(Diagnostic::error(&codes::CERTIFICATE, file.span, told).label(why))
    };
    let secret = context.outside.read_secret(&file.value, FILE_BYTES_MAX);
    let secret = secret.map_err(|unreadable| told(unreadable.to_string()))?;
    let pem = secret.bytes().to_vec();
    certificate::read(&pem).map_err(told)?;
    Ok(pem)
}

fn users(draft: &mut ConsoleSectionDraft, args: &mut Args<'_>) -> Built {
    let span = args.line().span;
    if let Some(first) = &draft.users {
        return Err(twice(first.span, span, "'users'"));
    }
    let word = args.required("the name of a `userlist`")?;
    args.end()?;
    draft.users = Some(named(word));
    Ok(())
}

fn trusted_proxy(draft: &mut ConsoleSectionDraft, args: &mut Args<'_>) -> Built {
    draft.proxies.line(args)
}

fn pam(draft: &mut ConsoleSectionDraft, args: &mut Args<'_>) -> Built {
    draft.pam.line(args, &codes::OF_ACCESS)
}

fn role(draft: &mut ConsoleSectionDraft, args: &mut Args<'_>) -> Built {
    let span = args.line().span;
    let word = args.required("`viewer`, `operator` or `admin`")?;
    let role = UserRole::ALL
        .into_iter()
        .find(|role| role.word() == word.str());
    let role =
        role.ok_or_else(|| args.unexpected_value(word, "not `viewer`, `operator` or `admin`"))?;
    let who = args.required("`user` or `group`")?;
    let who = match who.str() {
        "user" => RoleSubject::User,
        "group" => RoleSubject::Group,
        _ => return Err(args.unexpected_value(who, "not `user` or `group`")),
    };
    let mut names = vec![args.required("a name")?];
    while args.peek().is_some() {
        names.push(args.required("a name")?);
    }
    for name in names {
        if draft.rules.len() >= RULES_MAX {
            return Err(args.unexpected_value(name, "more than 1000 roles"));
        }
        draft.rules.push(RoleLine {
            span,
            role,
            who,
            name: named(name),
        });
    }
    Ok(())
}

pub(super) static LINES: &[Keyword<ConsoleLineBuilder>] = language::rows! {
    "bind [<address>]:<port> [crt <file> | plain] [accept-proxy]" &["console"], bind,
        "bind 127.0.0.1:8600 plain",
        "Where the console listens: an IP address and a port; without an address, all of this machine. A virtual \
         address may be named before the machine has it. `crt` is a certificate with its issuers and its private key \
         in PEM format; without it the console makes a certificate, which browsers ask about once. `plain` is without \
         TLS, for a proxy of this machine in front: it is refused for addresses that other machines reach. With \
         `accept-proxy` connections of the addresses in `trusted-proxy` begin with a PROXY header (version 1 or 2), \
         which has the client's address; all others have to come without one. Without the line the console listens on \
         port 8600 of all addresses.";
    "pam (user <name>... | group <name>... | service <name> | socket <path>)" &["console"], pam,
        "pam user root",
        "Users of the system, whose passwords the system checks (PAM): these, or the members of these groups in \
         `/etc/group` at the time of the load. Users that only a directory knows are named by `pam user`. The console \
         has no right to ask PAM, so it asks `saslauthd` of the package `sasl2-bin`, at `/run/saslauthd/mux` unless \
         `socket` says otherwise, for the service `evenkeel` (`/etc/pam.d/evenkeel`, else `/etc/pam.d/other`) unless \
         `service` names another one. Lines `role`, `second-factor` and `token` are for these users, too.";
    "role (viewer | operator | admin) (user | group) <name>..." &["console"], role,
        "role operator group staff",
        "What users of the list of `users`, and of lines `pam`, may do, by their names or by their groups. A viewer \
         sees everything; an operator also takes servers out and puts them back, and moves what runs; an admin may \
         also do what ends something. Of several roles of a user the highest counts. Users without a role are viewers.";
    "trusted-proxy <address>[/<bits>]..." &["console"], trusted_proxy, "trusted-proxy 127.0.0.1",
        "The proxies in front of the console, at most 64 addresses or networks. Requests from them are of the client \
         that `X-Forwarded-For` names (`option forwardfor` of HAProxy): the rightmost address that is not a trusted \
         proxy. With `bind ... accept-proxy` their connections have to begin with a PROXY header. Without the line all \
         clients behind a proxy have its address, and share its limits.";
    "users <userlist>" &["console"], users, "users operators",
        "Who may sign in: the users of this `userlist`, with their passwords there. A user whom a reload removes is \
         signed out. Without the line, and without `pam`, only `evenkeel console link` lets somebody in.";
};
