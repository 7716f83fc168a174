//! Parses the line `pam`: users of the operating system, whose passwords PAM checks.

use super::{Codes, named};
use crate::pam::System;
use crate::user::AuthorizedUser;
use configuration::outside::Outside;
use configuration::{Account, Context, Password};
use language::arguments::{Args, Built};
use language::{Diagnostic, Span, Spanned, suggest};
use std::path::{Path, PathBuf};

const FILE_BYTES_MAX: u64 = 4 << 20;
const SERVICE_MAX: usize = 64;
const USERS_MAX: usize = 10_000;

/// Lines `pam` that were read so far.
#[derive(Debug, Default)]
pub struct Pam {
    users: Vec<Spanned<String>>,
    groups: Vec<Spanned<String>>,
    service: Option<Spanned<String>>,
    socket: Option<Spanned<PathBuf>>,
}

fn names(into: &mut Vec<Spanned<String>>, args: &mut Args<'_>) -> Built {
    loop {
        let word = args.required("a name")?;
        if into.len() >= USERS_MAX {
            return Err(args.unexpected_value(word, "more than 10000 names"));
        }
        if !into.iter().any(|known| known.value == word.str()) {
            into.push(named(word));
        }
        if args.peek().is_none() {
            return Ok(());
        }
    }
}

fn service(pam: &mut Pam, args: &mut Args<'_>, codes: &Codes) -> Built {
    let span = args.line().span;
    let word = args.required("the name of a service of PAM")?;
    args.end()?;
    if let Some(first) = &pam.service {
        return Err(codes.duplicate_setting(first.span, span, "'pam service'"));
    }
    // Refuses a path, because the name of the service is that of a file in /etc/pam.d.
    let fits = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    let name = word.str();
    if name.len() > SERVICE_MAX || name.starts_with('.') || !name.chars().all(fits) {
        return Err(args.unexpected_value(word, "not the name of a file in /etc/pam.d"));
    }
    pam.service = Some(Spanned::new(name.to_owned(), span));
    Ok(())
}

fn socket(pam: &mut Pam, args: &mut Args<'_>, codes: &Codes) -> Built {
    let span = args.line().span;
    let word = args.required("the path of the socket of `saslauthd`")?;
    args.end()?;
    if let Some(first) = &pam.socket {
        return Err(codes.duplicate_setting(first.span, span, "'pam socket'"));
    }
    let value = PathBuf::from(word.str());
    if !System::fits(&value) {
        return Err(args.unexpected_value(word, "not an absolute path of at most 107 bytes"));
    }
    pam.socket = Some(Spanned::new(value, span));
    Ok(())
}

impl Pam {
    /// Reads a line after the keyword `pam`.
    ///
    /// # Errors
    /// Returns a description of the error.
    pub fn line(&mut self, args: &mut Args<'_>, codes: &Codes) -> Built {
        let what = "`user`, `group`, `service` or `socket`";
        let word = args.required(what)?;
        match word.str() {
            "user" => names(&mut self.users, args),
            "group" => names(&mut self.groups, args),
            "service" => service(self, args, codes),
            "socket" => socket(self, args, codes),
            _ => Err(args.unexpected_value(word, &format!("not {what}"))),
        }
    }

    pub fn has_users(&self) -> bool {
        !self.users.is_empty() || !self.groups.is_empty()
    }

    pub fn system(&self) -> System {
        let default = System::default();
        System {
            service: self
                .service
                .as_ref()
                .map_or(default.service, |one| one.value.clone()),
            socket: self
                .socket
                .as_ref()
                .map_or(default.socket, |one| one.value.clone()),
        }
    }

    /// Returns the users, and the names of the groups that lines may refer to. A user of the
    /// `userlist` cannot be one of the operating system, too.
    pub fn users(
        &self,
        listed: &[AuthorizedUser],
        codes: &Codes,
        context: &mut Context,
    ) -> (Vec<AuthorizedUser>, Vec<String>) {
        if !self.has_users() {
            if let Some(span) = self.settings() {
                let told = Diagnostic::warning(codes.no_pam_users, span, "nobody signs in by PAM");
                context.report(
                    told.label("for which users?")
                        .help("add `pam user NAME` or `pam group NAME`"),
                );
            }
            return Default::default();
        }
        let groups = Groups::of_system(&mut context.outside);
        let mut users = Vec::new();
        let mut add = |name: &str, span, context: &mut Context| {
            let is_known = |user: &AuthorizedUser| user.account.name == name;
            if listed.iter().any(is_known) {
                let told = format!("user '{name}' is in the userlist, too");
                let told = Diagnostic::error(codes.twice, span, told);
                context.report(
                    told.label("which password counts?")
                        .help("remove one of the two"),
                );
            } else if users.len() < USERS_MAX && !users.iter().any(is_known) {
                users.push(AuthorizedUser::new(Account {
                    name: name.to_owned(),
                    groups: groups.of(name),
                    password: Password::System,
                }));
            }
        };
        for user in &self.users {
            add(&user.value, user.span, context);
        }
        for group in &self.groups {
            let Some(members) = groups.members(&group.value) else {
                let told = format!("this machine has no group '{}'", group.value);
                let told = Diagnostic::error(codes.no_user, group.span, told);
                let near = suggest::nearest(&group.value, groups.names());
                context.report(
                    told.label("not in /etc/group")
                        .did_you_mean(group.span, near),
                );
                continue;
            };
            for member in members {
                add(member, group.span, context);
            }
        }
        (users, groups.names().map(str::to_owned).collect())
    }

    pub fn first(&self) -> Option<Span> {
        self.users
            .iter()
            .chain(&self.groups)
            .map(|one| one.span)
            .next()
    }

    fn settings(&self) -> Option<Span> {
        let service = self.service.as_ref().map(|one| one.span);
        service.or_else(|| Some(self.socket.as_ref()?.span))
    }
}

/// Groups of the operating system with their members.
struct Groups {
    members: Vec<(String, Vec<String>)>,
}

impl Groups {
    /// Reads the groups of this machine, which are not part of a configuration version. A file that
    /// cannot be read counts as empty.
    fn of_system(outside: &mut Outside) -> Groups {
        let mut text = |path: &str| {
            outside.mark_as_local(Path::new(path));
            let read = outside.read(Path::new(path), FILE_BYTES_MAX);
            read.map(|text| String::from_utf8_lossy(&text).into_owned())
                .unwrap_or_default()
        };
        Groups::read(&text("/etc/group"), &text("/etc/passwd"))
    }

    /// Reads `/etc/group` and `/etc/passwd` (group(5), passwd(5)): the members of each group,
    /// including the users whose primary group it is. Malformed lines are ignored.
    fn read(group: &str, passwd: &str) -> Groups {
        let users = passwd.lines().filter_map(|line| {
            let mut fields = line.split(':');
            Some((fields.next()?, fields.nth(2)?))
        });
        let users: Vec<(&str, &str)> = users.collect();
        let members = group.lines().filter_map(|line| {
            let mut fields = line.split(':');
            let (name, _, number) = (fields.next()?, fields.next()?, fields.next()?);
            let listed = fields.next()?.split(',').filter(|name| !name.is_empty());
            let own = users.iter().filter(|(_, of)| *of == number);
            let mut all: Vec<String> = listed
                .chain(own.map(|(name, _)| *name))
                .map(String::from)
                .collect();
            all.sort();
            all.dedup();
            Some((name.to_owned(), all))
        });
        Groups {
            members: members.collect(),
        }
    }

    fn members(&self, group: &str) -> Option<&[String]> {
        let found = self.members.iter().find(|(name, _)| name == group);
        found.map(|(_, members)| &members[..])
    }

    fn of(&self, user: &str) -> Vec<String> {
        let is_in = |members: &Vec<String>| members.iter().any(|name| name == user);
        let groups = self.members.iter().filter(|(_, members)| is_in(members));
        groups.map(|(name, _)| name.clone()).collect()
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.members.iter().map(|(name, _)| name.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_include_users_by_their_primary_group() {
        let groups = Groups::read(
            "adm:x:4:anna,bert\nstaff:x:50:\nanna:x:1000:\nbad line\n:::\n",
            "anna:x:1000:1000::/:/bin/sh\ncarl:x:1001:50::/:/bin/sh\nx\n",
        );
        assert_eq!(
            groups.members("adm"),
            Some(&["anna".to_owned(), "bert".to_owned()][..])
        );
        assert_eq!(groups.members("staff"), Some(&["carl".to_owned()][..]));
        assert_eq!(groups.members("nobody"), None);
        assert_eq!(groups.of("anna"), ["adm", "anna"]);
    }
}
