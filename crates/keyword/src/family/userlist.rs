//! Builds `userlist` sections, which define users, their passwords and groups, for `http_auth` and
//! `http_auth_group`. A list may follow the line that names it, so references are resolved when the
//! whole file is known.

use super::{Args, Built, LineRow};
use crate::family::Loader;
use configuration::outside::Secret;
use configuration::{Account, Accounts};
use language::arguments::section_name;
use language::{ConfigLine, ConfigWord, Diagnostic, Span, suggest};
use model::codes;
use model::config::{Password, UserAccount, Userlist};
use model::rules::draft::Section;
use model::users::Hash;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Sections in which the keywords are valid. In `global` they set the user and group of the
/// process.
const PLACES: &[&str] = &["global", "userlist"];

type SpannedName = (Box<str>, Span);

#[derive(Debug, Default)]
struct UserlistDraft {
    name: Box<str>,
    /// Groups, with the users named in their lines.
    groups: Vec<(SpannedName, Vec<SpannedName>)>,
    /// Users, with the groups named in their lines.
    users: Vec<(SpannedName, Password, Vec<SpannedName>)>,
    /// Positions of the names of groups, to find duplicates: lists may have tens of thousands.
    group_spans: HashMap<Box<str>, Span>,
    user_spans: HashMap<Box<str>, Span>,
    /// An earlier list has the same name, so this one is ignored.
    ignored: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Userlists {
    drafts: Vec<UserlistDraft>,
    /// All lists, once the whole file is known.
    finished: BTreeMap<Box<str>, Arc<Userlist>>,
}

impl Userlists {
    pub(crate) fn accounts(&self) -> impl Iterator<Item = (&str, Accounts)> {
        let lists = self.finished.iter();
        lists.map(|(name, list)| (&**name, accounts(list)))
    }

    pub(crate) fn begin(loader: &mut Loader, line: &ConfigLine) -> Result<(), Diagnostic> {
        let Some(word) = line.word(1) else {
            return Err(Diagnostic::error(
                &codes::SECTION_NAME,
                line.end(),
                "'userlist' expects <name> as arguments",
            )
            .label("the name is missing"));
        };
        section_name("userlist", word, &codes::SECTION_NAME)?;
        let name: Box<str> = word.text().into();
        let ignored = loader.userlists.drafts.iter().any(|d| d.name == name);
        if ignored {
            loader.report(
                Diagnostic::warning(
                    &codes::OVERWRITTEN,
                    word.span,
                    format!("ignoring duplicated userlist '{name}'"),
                )
                .label("the first list of this name applies"),
            );
        }
        loader.userlists.drafts.push(UserlistDraft {
            name,
            ignored,
            ..UserlistDraft::default()
        });
        Ok(())
    }
}

fn accounts(list: &Userlist) -> Accounts {
    let text = |text: &[u8]| String::from_utf8_lossy(text).into_owned();
    let names = |names: &[Box<str>]| names.iter().map(|name| name.to_string()).collect();
    let account = |user: &UserAccount| Account {
        name: user.name.to_string(),
        groups: names(&user.groups),
        password: match &user.password {
            Password::None => configuration::Password::None,
            Password::Clear(secret) => configuration::Password::Clear(secret.bytes().to_vec()),
            Password::Hashed(hash) => configuration::Password::Hashed(text(hash.bytes())),
        },
    };
    Accounts {
        users: list.users.iter().map(account).collect(),
        groups: names(&list.groups),
    }
}

fn draft(loader: &mut Loader) -> &mut UserlistDraft {
    let drafts = &mut loader.userlists.drafts;
    if drafts.is_empty() {
        drafts.push(UserlistDraft::default());
    }
    let last = drafts.len() - 1;
    &mut drafts[last]
}

fn names(word: &ConfigWord) -> Vec<SpannedName> {
    let text = word.text();
    let names = text.split(',').filter(|name| !name.is_empty());
    names.map(|name| (name.into(), word.span)).collect()
}

fn repeated(args: &mut Args<'_>, what: &str, word: &ConfigWord, list: &str, first: Span) {
    let told = format!(
        "ignoring duplicated {what} '{}' in userlist '{list}'",
        word.text()
    );
    args.add_warning(
        Diagnostic::warning(&codes::OVERWRITTEN, word.span, told)
            .label("the first one applies")
            .with_label(first, "this one"),
    );
}

fn unknown_option(
    args: &Args<'_>,
    word: &ConfigWord,
    told: &str,
    known: &[&'static str],
) -> Diagnostic {
    let near = suggest::nearest(&word.text(), known.iter().copied());
    args.word_error(&codes::UNKNOWN_OPTION, word, told)
        .did_you_mean(word.span, near)
}

fn group(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let name = args.required("<name>")?;
    let mut users = Vec::new();
    while let Some(word) = args.next() {
        if !word.is("users") {
            let told = "'group' only supports 'users' option.";
            return Err(unknown_option(args, word, told, &["users"]));
        }
        users = args.next().map(names).unwrap_or_default();
    }
    let draft = draft(loader);
    match draft.group_spans.entry(name.text().into()) {
        Entry::Occupied(first) => {
            let (first, list) = (*first.get(), draft.name.clone());
            repeated(args, "group", name, &list, first);
            return Ok(());
        }
        Entry::Vacant(place) => place.insert(name.span),
    };
    draft.groups.push(((name.text().into(), name.span), users));
    Ok(())
}

fn user(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    const OPTIONS: &[&str] = &["password", "insecure-password", "groups"];
    let name = args.required("<name>")?;
    if name.bytes.is_empty() {
        return Err(args.word_error(&codes::BAD_VALUE, name, "the user name is missing"));
    }
    let (mut password, mut groups, mut clear) = (Password::None, Vec::new(), None);
    let mut given = false;
    while let Some(word) = args.next() {
        match word.str() {
            "password" => {
                password = hashed(args, args.peek().unwrap_or(word));
                given = true;
                args.next();
            }
            "insecure-password" => {
                // Warns of a missing password, which HAProxy accepts.
                let text = args.next();
                if text.is_none_or(|text| text.bytes.is_empty()) {
                    let told = format!("user '{}' has an empty password", name.text());
                    args.add_warning(
                        Diagnostic::warning(&codes::EMPTY_PASSWORD, word.span, told)
                            .label("the password is missing"),
                    );
                }
                let bytes = text.map(|text| &text.bytes[..]).unwrap_or_default();
                password = Password::Clear(Secret::copy(bytes));
                (clear, given) = (Some(word.span), true);
            }
            "groups" => groups = args.next().map(names).unwrap_or_default(),
            _ => {
                let told =
                    "'user' only supports 'password', 'insecure-password' and 'groups' options.";
                return Err(unknown_option(args, word, told, OPTIONS));
            }
        }
    }
    if !given {
        let told = format!(
            "user '{}' has no password and can never log in",
            name.text()
        );
        args.add_warning(
            Diagnostic::warning(&codes::USER_SHUT_OUT, name.span, told).help("add `password HASH`"),
        );
    }
    if let Some(span) = clear {
        super::stats::readable_password(loader, args, span);
    }
    let draft = draft(loader);
    match draft.user_spans.entry(name.text().into()) {
        Entry::Occupied(first) => {
            let (first, list) = (*first.get(), draft.name.clone());
            repeated(args, "user", name, &list, first);
            return Ok(());
        }
        Entry::Vacant(place) => place.insert(name.span),
    };
    let named = (name.text().into(), name.span);
    draft.users.push((named, password, groups));
    Ok(())
}

/// Parses a password hash. Warns of an unsupported kind of hash, whose user can never sign in;
/// HAProxy behaves in the same way if crypt(3) does not support the hash.
fn hashed(args: &mut Args<'_>, word: &ConfigWord) -> Password {
    match Hash::read(&word.bytes) {
        Some(hash) => Password::Hashed(Arc::new(hash)),
        None => {
            args.add_warning(
                Diagnostic::warning(
                    &codes::USER_SHUT_OUT,
                    word.span,
                    "unsupported password hash: the user can never log in",
                )
                .label("not `$6$…`, `$5$…`, `$1$…`, `$2b$…`, `$y$…`, or thirteen characters of DES")
                .help("create one with `mkpasswd -m sha-512`; for a clear-text password use `insecure-password`"),
            );
            Password::None
        }
    }
}

impl Loader {
    /// Completes the lists of the file, and resolves the references to them.
    pub(crate) fn finish_userlists(&mut self) {
        let all = std::mem::take(&mut self.userlists);
        let mut lists: BTreeMap<Box<str>, Arc<Userlist>> = BTreeMap::new();
        for draft in all.drafts.into_iter().filter(|draft| !draft.ignored) {
            let list = self.finish_list(draft);
            lists.insert(list.name.clone(), Arc::new(list));
        }
        for used in std::mem::take(&mut self.userlist_uses.lists) {
            if let Some(list) = lists.get(&used.name) {
                // Ignores an error, which only a second resolution would cause.
                let _ = used.slot.set(Arc::clone(list));
                continue;
            }
            let told = format!("unable to find userlist '{}'", used.name);
            let near = suggest::nearest(&used.name, lists.keys().map(|name| &**name));
            self.report(
                Diagnostic::error(&codes::UNKNOWN_USERLIST, used.span, told)
                    .label("no userlist has this name")
                    .did_you_mean(used.span, near),
            );
        }
        for used in std::mem::take(&mut self.userlist_uses.groups) {
            let Some(list) = used.slot.get() else {
                continue;
            };
            if list.groups.contains(&used.name) {
                continue;
            }
            let told = format!("userlist '{}' has no group '{}'", list.name, used.name);
            let near = suggest::nearest(&used.name, list.groups.iter().map(|name| &**name));
            let told = Diagnostic::error(&codes::UNKNOWN_GROUP, used.span, told)
                .label("invalid group")
                .did_you_mean(used.span, near);
            self.report(told);
        }
        self.userlists.finished = lists;
    }

    fn finish_list(&mut self, draft: UserlistDraft) -> Userlist {
        let mut list = Userlist {
            name: draft.name,
            groups: draft
                .groups
                .iter()
                .map(|((name, _), _)| name.clone())
                .collect(),
            ..Userlist::default()
        };
        for ((name, _), password, groups) in draft.users {
            let known = |(group, _): &SpannedName| draft.group_spans.contains_key(group);
            for (group, span) in groups.iter().filter(|group| !known(group)) {
                let told = format!(
                    "userlist '{}': no such group '{group}' specified in user '{name}'",
                    list.name
                );
                let near = suggest::nearest(group, list.groups.iter().map(|name| &**name));
                let told = Diagnostic::error(&codes::UNKNOWN_GROUP, *span, told)
                    .label("no `group` line of this list defines it");
                self.report(told.suggest(near));
            }
            let groups = groups.into_iter().map(|(name, _)| name).collect();
            list.users.push(UserAccount {
                name,
                password,
                groups,
            });
        }
        list.users.sort_by(|a, b| a.name.cmp(&b.name));
        for ((group, _), users) in draft.groups {
            for (name, span) in users {
                let at = list.users.binary_search_by(|user| user.name.cmp(&name));
                match at.ok().and_then(|at| list.users.get_mut(at)) {
                    Some(user) if user.groups.contains(&group) => {}
                    Some(user) => user.groups.push(group.clone()),
                    None => {
                        let told = format!(
                            "userlist '{}': no such user '{name}' specified in group '{group}'",
                            list.name
                        );
                        self.report(
                            Diagnostic::error(&codes::UNKNOWN_LIST_USER, span, told)
                                .label("no `user` line of this list defines it"),
                        );
                    }
                }
            }
        }
        list.decoy = list.users.iter().find_map(|user| match &user.password {
            Password::Hashed(hash) => Some(Arc::clone(hash)),
            Password::Clear(_) | Password::None => None,
        });
        list
    }
}

fn either(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    match (loader.section, args.keyword) {
        (Section::Userlist, "user") => user(loader, args),
        (Section::Userlist, _) => group(loader, args),
        _ => super::global::who(loader, args),
    }
}

pub static LINES: &[LineRow] = language::rows! {
    "group <name> [users <user>,<user>,...]" PLACES, either, "group root",
        "In `global`: the group of the process once its sockets are open; requires root at the start. In a `userlist`: \
         a group of the list, with its members after `users`. Alternatively, `user` lines list their groups.";
    "user <name> [password <hash> | insecure-password <password>] [groups <group>,<group>,...]" PLACES,
        either,
        "user haproxy",
        "In `global`: the user of the process once its sockets are open; requires root at the start. In a `userlist`: \
         a user of the list. `password` is a crypt(3) hash: SHA-512 ($6$), SHA-256 ($5$), yescrypt ($y$), bcrypt \
         ($2b$, $2a$, $2y$), or the old MD5 ($1$) and DES. `insecure-password` is the clear-text password. Hashes are \
         verified outside the serving threads, and successful logins are cached.";
};

#[cfg(test)]
mod tests {
    use crate::testing::load_text;

    fn told(lines: &str) -> Vec<&'static str> {
        let text = format!("userlist a\n{lines}\nlisten l\n bind 127.0.0.1:1\n");
        let loaded = load_text(&text);
        let codes = loaded.diagnostics.iter().map(|d| d.code.id);
        codes.filter(|code| *code != "W0102").collect()
    }

    #[test]
    fn what_haproxy_refuses_is_refused_and_what_it_warns_of_is_told() {
        for (lines, codes) in [
            (
                "user x insecure-password y groups g,h\ngroup g users x\ngroup h",
                &[][..],
            ),
            ("user x groups g\ngroup g", &["W0440"]),
            ("user x password", &["W0440"]),
            ("user x insecure-password", &["W0442"]),
            ("user x foo b", &["E0209"]),
            ("user x insecure-password a groups", &[]),
            ("group h users", &[]),
            ("user x insecure-password a groups nosuch", &["E0441"]),
            ("group g users y", &["E0442"]),
            ("group g usrs y", &["E0209"]),
            ("group\nuser", &["E0201", "E0201"]),
            ("group g\ngroup g", &["W0106"]),
            (
                "user x insecure-password a\nuser x insecure-password b",
                &["W0106"],
            ),
            ("user x password $9$abc", &["W0440"]),
            ("user x password $1$abcdefgh$cHJi5PXp/ki/ktXzqlk6I1", &[]),
            ("foo bar", &["E0101"]),
        ] {
            assert_eq!(told(lines), codes, "{lines}");
        }
        let codes = |text: &str| -> Vec<&str> {
            let loaded = load_text(text);
            loaded.diagnostics.iter().map(|d| d.code.id).collect()
        };
        assert!(
            codes("userlist\n").contains(&"E0105"),
            "{:?}",
            codes("userlist\n")
        );
        assert!(codes("userlist a b\n").contains(&"E0202"));
        assert!(codes("userlist a!\n").contains(&"E0105"));
        assert!(codes("userlist a\nuserlist a\n").contains(&"W0106"));
    }

    #[test]
    fn lists_and_groups_that_expressions_name_are_found_below_them_or_told() {
        let text = |condition: &str| {
            format!(
                "listen l\n bind 127.0.0.1:1\n mode http\n http-request auth unless {{ {condition} }}\n\
                 userlist a\n group g\n user x insecure-password y groups g\n"
            )
        };
        for (condition, code) in [
            ("http_auth(a)", None),
            ("http_auth(b)", Some("E0440")),
            ("http_auth_group(a) g", None),
            ("http_auth_group(a) g nosuch", Some("E0441")),
            ("http_auth", Some("E0404")),
        ] {
            let loaded = load_text(&text(condition));
            let mut errors = loaded.diagnostics.iter().map(|d| d.code.id);
            let first = errors.find(|id| id.starts_with('E'));
            assert_eq!(first, code, "{condition}");
        }
    }
}
