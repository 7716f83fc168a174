//! Builds the configuration of the portal: who may sign in, and what users may start.

use super::check::read;
use super::codes;
use super::portal::Users;
use super::section::Farm;
use crate::config::{App, Consoles, Desktop, Portal};
use crate::{icon, signature};
use access::keyword::{Ldap, UserSources, listed};
use access::ldap::LdapDirectory;
use access::user::{AuthorizedUser, List, SecondFactor};
use configuration::{Context, Exchange};
use language::{Diagnostic, Span, Spanned};
use std::collections::BTreeMap;

const ICON_BYTES_MAX: usize = 64 << 10;
const GUEST: &str = "guest";
const OF_PORTAL: [&str; 4] = ["desktop", "app", "guest-consoles", "sign"];
const OF_BOTH: [&str; 3] = ["users", "pam", "second-factor"];

/// Returns errors for lines that the portal needs, and for lines that need a portal.
pub(super) fn incomplete(farm: &Farm) -> Vec<Diagnostic> {
    let Some(span) = farm.given.first("portal") else {
        let has_gateway = farm.given.has("gateway");
        let of_both = OF_BOTH.into_iter().filter(|_| !has_gateway);
        let of_both = of_both.map(|word| (word, "'portal' or 'gateway'"));
        let lines = of_both.chain(OF_PORTAL.map(|word| (word, "'portal'")));
        let lines = lines.filter_map(|(word, needs)| Some((word, needs, farm.given.first(word)?)));
        let told = |(word, needs, span)| {
            let told = format!("'{word}' without a line {needs}");
            let told = Diagnostic::error(&codes::INCOMPLETE, span, told);
            told.help("add `portal https://NAME/`")
        };
        return lines.map(told).collect();
    };
    let needs = [
        (
            &["web"][..],
            "add `web [ADDRESS]:PORT crt FILE`, such as `web :443 crt /etc/evenkeel/desktop.pem`",
        ),
        (
            &["users", "pam"],
            "add `users NAME` with the name of a `userlist`, `users ldap ...`, or `pam user NAME`",
        ),
        (
            &["app", "desktop", "guest-consoles"],
            "add `desktop TITLE`, a line `app` for each program, or `guest-consoles groups NAME`",
        ),
    ];
    let missing = needs
        .into_iter()
        .filter(|(words, _)| !words.iter().any(|word| farm.given.has(word)));
    let told = |(words, help): (&[&str], &str)| {
        let words = words.join("' or '");
        let told = format!("'portal' without a line '{words}'");
        Diagnostic::error(&codes::INCOMPLETE, span, told).help(help)
    };
    missing.map(told).collect()
}

pub(super) fn users(farm: &Farm, context: &mut Context, exchange: &mut Exchange) -> List {
    let lines = &farm.portal;
    if let Some(ldap) = &lines.ldap {
        return List {
            directory: directory(farm, ldap, context),
            ..List::default()
        };
    }
    let known = UserSources {
        list: lines.users.as_ref().map(|users| users.list.value.clone()),
        has_pam: lines.pam.has_users(),
    };
    let mut no_users = false;
    let (mut users, mut groups) = match &lines.users {
        Some(Users { list, groups }) => match listed(list, exchange) {
            Some((users, known_groups)) => (of_groups(users, groups), {
                for group in groups {
                    unknown(group, &known_groups, &known, context);
                }
                // Counts an unknown group as not empty, because it is reported already.
                no_users = groups
                    .iter()
                    .all(|group| known_groups.contains(&group.value));
                known_groups
            }),
            // Returns nothing: the missing userlist is reported already, and would cause all
            // further errors.
            None => return Default::default(),
        },
        None => Default::default(),
    };
    if let (Some(line), true) = (&lines.users, no_users && users.is_empty()) {
        nobody(&line.list, context);
    }
    let (of_system, of_system_groups) = lines.pam.users(&users, &codes::OF_ACCESS, context);
    users.extend(of_system);
    groups.extend(of_system_groups);
    let secrets = &lines.secrets;
    secrets.complete(&mut users, &known, &codes::OF_ACCESS, context);
    if let Some(span) = lines.required {
        require(&mut users, span, context);
    }
    if let Some(line) = &lines.users {
        one_user(&users, line.list.span, context);
    }
    for group in lines.groups() {
        unknown(group, &groups, &known, context);
    }
    let system = lines.pam.system();
    List {
        users,
        system,
        directory: None,
    }
}

fn nobody(list: &Spanned<String>, context: &mut Context) {
    let told = format!(
        "nobody can sign in by userlist '{}': no user of it may",
        list.value
    );
    let told = Diagnostic::warning(&codes::EMPTY_LIST, list.span, told);
    context.report(told.help("add a line `user` to the userlist, or users to a group of the line"));
}

/// Records references to guests, which have to exist.
pub(super) fn refer(farm: &Farm, exchange: &mut Exchange) {
    for guest in farm.portal.consoles.iter().flat_map(|line| &line.guests) {
        exchange.require_object(GUEST, &guest.value, guest.span);
    }
}

fn one_user(users: &[AuthorizedUser], span: Span, context: &mut Context) {
    let mut known = BTreeMap::new();
    for name in users.iter().map(|user| &user.account.name) {
        let Some(user) = crate::user::FarmUser::named(name) else {
            continue;
        };
        if let Some(before) = known.insert(user.id, name) {
            let told = format!("'{before}' and '{name}' are one user here");
            let told = Diagnostic::warning(&codes::ONE_USER, span, told);
            context.report(told.label("they share one session"));
        }
    }
}

fn directory(farm: &Farm, ldap: &Ldap, context: &mut Context) -> Option<LdapDirectory> {
    let lines = &farm.portal;
    if let Some(span) = farm.given.first("pam") {
        let told = "'pam' beside 'users ldap'";
        let told = Diagnostic::error(&codes::TWO_SOURCES, span, told);
        context.report(told.with_label(ldap.span, "the directory"));
    }
    if let (Some(span), false) = (farm.given.first("gateway"), farm.given.has("portal")) {
        let told = "clients that use NTLM, such as mstsc, cannot authenticate at the gateway";
        let told = Diagnostic::warning(&codes::ONLY_BASIC, span, told);
        let told = told.label("only clients that use Basic come in");
        context.report(told.help("add a portal, whose .rdp files let users into the gateway"));
    }
    let named: Vec<_> = lines.groups().collect();
    let mut directory = ldap.directory(&named, &codes::OF_DIRECTORY, context)?;
    directory.second_factors = lines.secrets.named();
    directory.second_factor_required = lines.required.is_some();
    Some(directory)
}

fn of_groups(mut users: Vec<AuthorizedUser>, groups: &[Spanned<String>]) -> Vec<AuthorizedUser> {
    let is_in = |user: &AuthorizedUser| {
        groups
            .iter()
            .any(|one| user.account.groups.contains(&one.value))
    };
    users.retain(|user| groups.is_empty() || is_in(user));
    users
}

fn unknown(group: &Spanned<String>, all: &[String], known: &UserSources, context: &mut Context) {
    if !all.contains(&group.value) {
        let names = all.iter().map(String::as_str);
        context.report(codes::OF_ACCESS.unknown("group", group, names, known));
    }
}

/// Marks the users without the required second factor, and warns that they cannot sign in.
fn require(users: &mut [AuthorizedUser], span: language::Span, context: &mut Context) {
    let mut without = Vec::new();
    for user in users
        .iter_mut()
        .filter(|user| user.second_factor == SecondFactor::None)
    {
        user.second_factor = SecondFactor::Missing;
        without.push(format!("'{}'", user.account.name));
    }
    if !without.is_empty() {
        let told = format!("no second factor, so no sign-in: {}", without.join(", "));
        let told = Diagnostic::warning(&codes::NO_SECOND, span, told);
        context.report(
            told.label("required here")
                .help("`evenkeel console second-factor NAME` makes one, and prints its line"),
        );
    }
}

pub(super) fn portal(farm: &Farm, first: Option<&[u8]>, context: &mut Context) -> Option<Portal> {
    let lines = &farm.portal;
    let authority = lines.authority.as_ref()?.value.clone();
    let values = |names: &[Spanned<String>]| -> Vec<String> {
        names.iter().map(|one| one.value.clone()).collect()
    };
    let apps = lines.apps.iter().map(|app| App {
        name: app.name.value.clone(),
        title: app.title.clone(),
        path: app.path.clone(),
        args: app.args.clone(),
        icon: app
            .icon
            .as_ref()
            .and_then(|file| icon_of(file, context))
            .unwrap_or_default(),
        groups: values(&app.groups),
        hosts: values(&app.hosts).into_iter().collect(),
    });
    let apps = apps.collect();
    let consoles = lines.consoles.iter().map(|line| Consoles {
        guests: values(&line.guests),
        groups: values(&line.groups),
    });
    let consoles = consoles.collect();
    let signs = match &lines.signs {
        Some(file) => signer_of(file, context),
        None => first.map(<[u8]>::to_vec),
    };
    Some(Portal {
        authority,
        desktop: lines.desktop.as_ref().map(|desktop| Desktop {
            title: desktop.title.clone(),
            groups: values(&desktop.groups),
            hosts: values(&desktop.hosts).into_iter().collect(),
        }),
        apps,
        consoles,
        signs: signs.unwrap_or_default(),
    })
}

fn icon_of(file: &Spanned<std::path::PathBuf>, context: &mut Context) -> Option<Vec<u8>> {
    let wrong = |why: &str| {
        let told = format!("'icon': cannot use '{}': {why}", file.value.display());
        Diagnostic::error(&codes::CERTIFICATE, file.span, told)
    };
    let icon = read("icon", file, context).and_then(|bytes| match icon::side_of(&bytes) {
        _ if bytes.len() > ICON_BYTES_MAX => Err(wrong("it has more than 65536 bytes")),
        Some(_) => Ok(bytes),
        None => Err(wrong(
            "it is not a square PNG of 16, 32, 48, 64, 100 or 256 pixels",
        )),
    });
    icon.map_err(|told| context.report(told)).ok()
}

fn signer_of(file: &Spanned<std::path::PathBuf>, context: &mut Context) -> Option<Vec<u8>> {
    let pem = read("sign", file, context).and_then(|pem| match signature::Signer::read(&pem) {
        Ok(_) => Ok(pem),
        Err(why) => {
            let told = format!("'sign': cannot use '{}': {why}", file.value.display());
            Err(Diagnostic::error(&codes::CERTIFICATE, file.span, told))
        }
    });
    pem.map_err(|told| context.report(told)).ok()
}
