//! Parses the line `users ldap`: an LDAP directory whose users may sign in.

use super::{Codes, DirectoryCodes, absolute_file};
use crate::ldap::{DISTINGUISHED, Grouping, LdapDirectory, SHORT, Security, Server, TYPED, roots};
use configuration::Context;
use configuration::outside::Outside;
use language::arguments::{Args, Built};
use language::{ConfigWord, Diagnostic, Span, Spanned};
use protocol::ldap::LdapFilter;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

const SERVERS_MAX: usize = 8;
const ADDRESSES_MAX: usize = 4;
const GROUPS_MAX: usize = 64;
/// Maximum length of a distinguished name, bytes.
const NAME_MAX: usize = 1_024;
const PASSWORD_BYTES_MAX: u64 = 1_024;
const AUTHORITIES_BYTES_MAX: u64 = 1 << 20;
const PORT: u16 = 389;
const TLS_PORT: u16 = 636;
/// Default filter for a user, which matches in Active Directory and in OpenLDAP.
const FILTER: &str = "(|(sAMAccountName=%u)(uid=%u))";
const MEMBER_OF: &str = "memberOf";
/// CA bundles of the system on Debian and on Fedora.
const SYSTEM_BUNDLES: [&str; 2] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
];

const OPTIONS: &str = "`base`, `bind-dn`, `bind-password-file`, `filter`, `group-attribute`, `group-filter`, `ca-file`, \
    `plain` or `group:NAME`";

const FORM: &str =
    "for example `users ldap ldaps://dc1.example.org base \"dc=example,dc=org\" group:Desktop`";

#[derive(Debug)]
struct LdapServerArgument {
    span: Span,
    name: String,
    port: u16,
    tls: bool,
}

#[derive(Debug)]
pub struct Ldap {
    pub span: Span,
    /// Groups whose users may sign in. Empty: all users.
    pub groups: Vec<Spanned<String>>,
    servers: Vec<LdapServerArgument>,
    base: Option<String>,
    account: Option<String>,
    password: Option<Spanned<PathBuf>>,
    filter: Option<String>,
    grouping: Option<Grouping>,
    authorities: Option<Spanned<PathBuf>>,
    plain: bool,
}

pub fn is_server(word: &ConfigWord) -> bool {
    let text = word.str();
    text.starts_with("ldap://") || text.starts_with("ldaps://")
}

impl Ldap {
    /// Reads the words after `users ldap`.
    ///
    /// # Errors
    /// Returns a description of the error.
    pub fn read(args: &mut Args<'_>, codes: &Codes) -> Result<Ldap, Diagnostic> {
        Ldap::line(args, codes).map_err(|told| match &told.help {
            // Replaces the keyword's help, whose example for a userlist does not apply here.
            Some(help) if help.starts_with("for example ") => told.help(FORM),
            _ => told,
        })
    }

    fn line(args: &mut Args<'_>, codes: &Codes) -> Result<Ldap, Diagnostic> {
        let mut line = Ldap {
            span: args.line().span,
            groups: Vec::new(),
            servers: Vec::new(),
            base: None,
            account: None,
            password: None,
            filter: None,
            grouping: None,
            authorities: None,
            plain: false,
        };
        while let Some(word) = args.peek().filter(|word| is_server(word)) {
            args.next();
            if line.servers.len() >= SERVERS_MAX {
                return Err(args.unexpected_value(word, "more than 8 servers"));
            }
            let server = server(word);
            line.servers
                .push(server.map_err(|why| args.unexpected_value(word, why))?);
        }
        while let Some(word) = args.next() {
            line.option(word, args, codes)?;
        }
        if line.base.is_none() {
            let told = "`base` is missing: the distinguished name below which users are";
            let told = args.value_error(codes.value, line.span, told);
            return Err(told.help("add `base`, such as `base \"dc=example,dc=org\"`"));
        }
        line.consistent(args, codes)?;
        Ok(line)
    }

    fn option(&mut self, word: &ConfigWord, args: &mut Args<'_>, codes: &Codes) -> Built {
        let is_second = match word.str() {
            "base" => self.base.replace(name(args)?).is_some(),
            "bind-dn" => self.account.replace(name(args)?).is_some(),
            "bind-password-file" => self.password.replace(absolute_file(args)?).is_some(),
            "filter" => self
                .filter
                .replace(filter(args, &[SHORT, TYPED])?)
                .is_some(),
            "group-attribute" => {
                let word = args.required("an attribute such as memberOf")?;
                let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-.;".contains(&byte);
                if word.str().is_empty() || !word.str().bytes().all(fits) {
                    return Err(args.unexpected_value(word, "not the name of an attribute"));
                }
                let attribute = Grouping::Attribute(word.str().to_owned());
                self.grouping.replace(attribute).is_some()
            }
            "group-filter" => {
                let filter = filter(args, &[DISTINGUISHED, SHORT, TYPED])?;
                self.grouping.replace(Grouping::Filter(filter)).is_some()
            }
            "ca-file" => self.authorities.replace(absolute_file(args)?).is_some(),
            "plain" => std::mem::replace(&mut self.plain, true),
            text => {
                let group = text
                    .strip_prefix("group:")
                    .filter(|group| !group.is_empty());
                let group =
                    group.ok_or_else(|| args.unexpected_value(word, &format!("not {OPTIONS}")))?;
                if self.groups.len() >= GROUPS_MAX {
                    return Err(args.unexpected_value(word, "more than 64 groups"));
                }
                self.groups.push(Spanned::new(group.to_owned(), word.span));
                false
            }
        };
        if is_second {
            let told = match word.str() {
                    "group-attribute" | "group-filter" => {
                        "groups are found by `group-attribute` or by `group-filter`, and this is the second one"
                            .to_owned()
                    }
                    word => format!("'{word}' is there twice"),
                };
            Err(args.value_error(codes.twice, word.span, &told))
        } else {
            Ok(())
        }
    }

    fn consistent(&self, args: &Args<'_>, codes: &Codes) -> Built {
        let told = |what: &str| Err(args.value_error(codes.value, self.span, what));
        if self.account.is_some() != self.password.is_some() {
            return told("`bind-dn` and `bind-password-file` need each other");
        }
        let in_tls = self.servers.iter().find(|server| server.tls);
        if let (true, Some(server)) = (self.plain, in_tls) {
            let what = format!("`plain`, and ldaps://{} is in TLS", server.name);
            return told(&what);
        }
        if self.plain && self.authorities.is_some() {
            return told("`ca-file` is of no use with `plain`");
        }
        Ok(())
    }

    /// Builds the configuration of the directory. `named` are the groups that other lines of the
    /// section name.
    pub fn directory(
        &self,
        named: &[&Spanned<String>],
        codes: &DirectoryCodes,
        context: &mut Context,
    ) -> Option<LdapDirectory> {
        let servers = self.servers.iter();
        let servers = servers.map(|server| self.server(server, codes, &mut *context));
        let servers = servers.collect();
        let account = match (&self.account, &self.password) {
            (Some(name), Some(file)) => Some((name.clone(), password(file, codes, context)?)),
            _ => None,
        };
        let authorities = if self.plain {
            Vec::new()
        } else {
            self.authorities(codes, context)?
        };
        let words = |all: &mut dyn Iterator<Item = &Spanned<String>>| {
            let mut words: Vec<String> = all.map(|one| one.value.clone()).collect();
            words.sort();
            words.dedup();
            words
        };
        Some(LdapDirectory {
            servers,
            authorities,
            base: self.base.clone().unwrap_or_default(),
            account,
            filter: self.filter.clone().unwrap_or_else(|| FILTER.to_owned()),
            grouping: self
                .grouping
                .clone()
                .unwrap_or_else(|| Grouping::Attribute(MEMBER_OF.to_owned())),
            only: words(&mut self.groups.iter()),
            named: words(&mut self.groups.iter().chain(named.iter().copied())),
            second_factors: BTreeMap::new(),
            second_factor_required: false,
        })
    }

    fn server(
        &self,
        server: &LdapServerArgument,
        codes: &DirectoryCodes,
        context: &mut Context,
    ) -> Server {
        let addresses: Vec<IpAddr> = match server.name.parse() {
            Ok(address) => vec![address],
            // Sorts the addresses, so that the configuration stays the same if a nameserver rotates
            // them.
            Err(_) => BTreeSet::from_iter(context.outside.addresses(&server.name).iter().copied())
                .into_iter()
                .collect(),
        };
        if addresses.is_empty() {
            let told = format!("'{}' has no address now", server.name);
            let told = Diagnostic::warning(codes.no_server, server.span, told);
            context.report(told.label("it is asked once the name has one"));
        }
        Server {
            name: server.name.clone(),
            port: server.port,
            addresses: addresses
                .into_iter()
                .take(ADDRESSES_MAX)
                .map(|address| SocketAddr::new(address, server.port))
                .collect(),
            security: match (self.plain, server.tls) {
                (true, _) => Security::Plain,
                (false, true) => Security::Tls,
                (false, false) => Security::StartTls,
            },
        }
    }

    fn authorities(&self, codes: &DirectoryCodes, context: &mut Context) -> Option<Vec<u8>> {
        let Some(file) = &self.authorities else {
            let outside = &mut context.outside;
            let mut bundles = SYSTEM_BUNDLES.iter();
            let found = bundles.find_map(|path| of_system(outside, Path::new(path)));
            if found.is_none() {
                let told = "this machine has no CA certificates (package ca-certificates)";
                let told = Diagnostic::error(codes.file, self.span, told);
                context.report(told.help("add `ca-file FILE`"));
            }
            return found;
        };
        let shown = file.value.display();
        let read = context.outside.read(&file.value, AUTHORITIES_BYTES_MAX);
        let read = read.map_err(|_| "it cannot be read".to_owned());
        let found = read.and_then(|text| match roots(&text) {
            Ok(_) => Ok(text.to_vec()),
            Err(why) => Err(why),
        });
        let told = |why| {
            let told = format!("'ca-file': cannot use '{shown}': {why}");
            context.report(Diagnostic::error(codes.file, file.span, told));
        };
        found.map_err(told).ok()
    }
}

fn of_system(outside: &mut Outside, path: &Path) -> Option<Vec<u8>> {
    outside.mark_as_local(path);
    let text = outside.read(path, AUTHORITIES_BYTES_MAX).ok()?;
    roots(&text).ok()?;
    Some(text.to_vec())
}

fn password(
    file: &Spanned<PathBuf>,
    codes: &DirectoryCodes,
    context: &mut Context,
) -> Option<Vec<u8>> {
    let secret = context.outside.read_secret(&file.value, PASSWORD_BYTES_MAX);
    let password = secret.map(|secret| {
        let line = secret.bytes().split(|byte| *byte == b'\n').next();
        line.unwrap_or_default().trim_ascii_end().to_vec()
    });
    let why = match password {
        // Refuses an empty password, with which the search would be anonymous instead of with the
        // account.
        Ok(password) if password.is_empty() => "has no password in its first line",
        Ok(password) => return Some(password),
        Err(_) => "cannot be read",
    };
    let told = format!("'bind-password-file': '{}' {why}", file.value.display());
    context.report(Diagnostic::error(codes.file, file.span, told));
    None
}

fn server(word: &ConfigWord) -> Result<LdapServerArgument, &'static str> {
    const NONE: &str = "not an address such as ldaps://dc1.example.org";
    let text = word.str();
    let (tls, rest) = match text.strip_prefix("ldaps://") {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix("ldap://").ok_or(NONE)?),
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let default = if tls { TLS_PORT } else { PORT };
    let (name, port) = match rest.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']').ok_or(NONE)?;
            let port = (!port.is_empty()).then(|| port.strip_prefix(':').ok_or(NONE));
            (address, port.transpose()?)
        }
        None => match rest.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (rest, None),
        },
    };
    let port = match port {
        Some(port) => port.parse().ok().filter(|port| *port != 0).ok_or(NONE)?,
        None => default,
    };
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    let is_name = !name.is_empty() && name.len() <= 253 && name.bytes().all(fits);
    if is_name || name.parse::<IpAddr>().is_ok() {
        Ok(LdapServerArgument {
            span: word.span,
            name: name.to_ascii_lowercase(),
            port,
            tls,
        })
    } else {
        Err(NONE)
    }
}

fn name(args: &mut Args<'_>) -> Result<String, Diagnostic> {
    const WHAT: &str = "a distinguished name such as \"dc=example,dc=org\"";
    let word = args.required(WHAT)?;
    let text = word.str();
    let fits = text.contains('=') && text.len() <= NAME_MAX;
    if fits && !text.contains(char::is_control) {
        Ok(text.to_owned())
    } else {
        Err(args.unexpected_value(word, &format!("not {WHAT}")))
    }
}

/// Reads a filter in which an attribute must be equal to one of these values.
fn filter(args: &mut Args<'_>, values: &[&str]) -> Result<String, Diagnostic> {
    let word = args.required("a filter such as \"(uid=%u)\"")?;
    let filter = LdapFilter::parse(word.str());
    let filter =
        filter.map_err(|error| args.unexpected_value(word, &format!("not a filter: {error}")))?;
    if filter.equal_to(values).is_empty() {
        let values = values.join("` or `");
        let told = format!("a filter in which no attribute is equal to `{values}`");
        return Err(args.unexpected_value(word, &told));
    }
    Ok(word.str().to_owned())
}
