//! Parses the lines of a `farm` section for its portal: its address, who signs in, and what they
//! may start.

use super::section::{Farm, FarmSectionDraft, taken};
use super::{FarmLineBuilder, codes, collections};
use access::keyword::{Ldap, Pam, Secrets, absolute_file, is_server, named};
use language::arguments::{Args, Built};
use language::keyword::Keyword;
use language::section::{NamedSection, many, once};
use language::{ConfigWord, Diagnostic, Span, Spanned};
use std::path::PathBuf;

const APPS_MAX: usize = 256;
const GROUPS_MAX: usize = 64;
const TEXT_MAX: usize = 260;
const CONSOLES_MAX: usize = 64;
const GUESTS_MAX: usize = 256;
const DESKTOP: &str = "desktop";

#[derive(Debug, Default)]
pub(super) struct Portal {
    pub(super) authority: Option<Spanned<String>>,
    pub(super) desktop: Option<Desktop>,
    pub(super) apps: Vec<App>,
    pub(super) consoles: Vec<Consoles>,
    pub(super) signs: Option<Spanned<PathBuf>>,
    pub(super) users: Option<Users>,
    pub(super) ldap: Option<Ldap>,
    pub(super) pam: Pam,
    pub(super) secrets: Secrets,
    pub(super) required: Option<Span>,
}

#[derive(Debug)]
pub(super) struct Users {
    pub(super) list: Spanned<String>,
    pub(super) groups: Vec<Spanned<String>>,
}

#[derive(Debug)]
pub(super) struct Desktop {
    pub(super) title: String,
    pub(super) groups: Vec<Spanned<String>>,
    pub(super) hosts: Vec<Spanned<String>>,
}

#[derive(Debug)]
pub(super) struct App {
    pub(super) name: Spanned<String>,
    pub(super) title: String,
    pub(super) path: String,
    pub(super) args: String,
    pub(super) icon: Option<Spanned<PathBuf>>,
    pub(super) groups: Vec<Spanned<String>>,
    pub(super) hosts: Vec<Spanned<String>>,
}

#[derive(Debug)]
pub(super) struct Consoles {
    pub(super) guests: Vec<Spanned<String>>,
    pub(super) groups: Vec<Spanned<String>>,
}

impl Portal {
    pub(super) fn groups(&self) -> impl Iterator<Item = &Spanned<String>> {
        let desktop = self.desktop.iter().map(|desktop| &desktop.groups);
        let apps = self.apps.iter().map(|app| &app.groups);
        let consoles = self.consoles.iter().map(|consoles| &consoles.groups);
        desktop.chain(apps).chain(consoles).flatten()
    }
}

fn portal(draft: &mut FarmSectionDraft, args: &mut Args<'_>) -> Built {
    let farm = once(&mut draft.farms, args, "portal")?;
    let word = args.required("an address such as https://desktop.example.org/")?;
    args.end()?;
    let authority = authority(word.str());
    let authority = authority.ok_or_else(|| {
        args.unexpected_value(word, "not an address such as https://desktop.example.org/")
    })?;
    farm.portal.authority = Some(Spanned::new(authority, word.span));
    Ok(())
}

/// Returns the host of an address without a path, with its port if that is not 443.
fn authority(text: &str) -> Option<String> {
    let rest = text.strip_prefix("https://")?;
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) => (host, port.parse::<u16>().ok().filter(|port| *port != 0)?),
        None => (rest, 443),
    };
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b".-".contains(&byte);
    if host.is_empty() || host.len() > 253 || !host.bytes().all(fits) {
        return None;
    }
    let host = host.to_ascii_lowercase();
    Some(match port {
        443 => host,
        port => format!("{host}:{port}"),
    })
}

fn users(draft: &mut FarmSectionDraft, args: &mut Args<'_>) -> Built {
    let farm = once(&mut draft.farms, args, "users")?;
    let word = args.required("the name of a `userlist`, or `ldap`")?;
    if word.is("ldap") && args.peek().is_some_and(is_server) {
        farm.portal.ldap = Some(Ldap::read(args, &codes::OF_ACCESS)?);
        return Ok(());
    }
    if is_server(word) {
        let told = args.unexpected_value(word, "the address of a server, and no userlist");
        return Err(told.help(format!("write `users ldap {} base ...`", word.text())));
    }
    let list = named(word);
    let mut groups = Vec::new();
    while let Some(word) = args.next() {
        let group = word.str().strip_prefix("group:");
        let group = group.filter(|group| !group.is_empty());
        let group = group.ok_or_else(|| args.unexpected_value(word, "not `group:NAME`"))?;
        bounded(args, word, groups.len(), GROUPS_MAX, "groups")?;
        groups.push(Spanned::new(group.to_owned(), word.span));
    }
    farm.portal.users = Some(Users { list, groups });
    Ok(())
}

fn pam(draft: &mut FarmSectionDraft, args: &mut Args<'_>) -> Built {
    let farm = many(&mut draft.farms, args, "pam")?;
    farm.portal.pam.line(args, &codes::OF_ACCESS)
}

fn second_factor(draft: &mut FarmSectionDraft, args: &mut Args<'_>) -> Built {
    let farm = many(&mut draft.farms, args, "second-factor")?;
    let span = args.line().span;
    let word = args.required("`required` or `user`")?;
    match word.str() {
        "user" => farm.portal.secrets.line(args, &codes::OF_ACCESS),
        "required" => {
            args.end()?;
            if let Some(first) = farm.portal.required {
                return Err(codes::OF_ACCESS.duplicate_setting(
                    first,
                    span,
                    "'second-factor required'",
                ));
            }
            farm.portal.required = Some(span);
            Ok(())
        }
        _ => Err(args.unexpected_value(word, "not `required` or `user`")),
    }
}

fn bounded(args: &Args<'_>, word: &ConfigWord, count: usize, max: usize, what: &str) -> Built {
    if count < max {
        Ok(())
    } else {
        Err(args.unexpected_value(word, &format!("more than {max} {what}")))
    }
}

fn text(args: &mut Args<'_>, what: &str) -> Result<String, Diagnostic> {
    let word = args.required(what)?;
    let text = word.str();
    let fits = !text.is_empty() && text.chars().count() <= TEXT_MAX;
    if fits && !text.contains(char::is_control) {
        Ok(text.to_owned())
    } else {
        Err(args.unexpected_value(word, "not 1 to 260 letters in UTF-8 on one line"))
    }
}

fn groups(args: &mut Args<'_>) -> Result<Vec<Spanned<String>>, Diagnostic> {
    let mut groups = vec![named(args.required("a group")?)];
    while let Some(word) = collections::next(args) {
        bounded(args, word, groups.len(), GROUPS_MAX, "groups")?;
        groups.push(named(word));
    }
    Ok(groups)
}

fn desktop(draft: &mut FarmSectionDraft, args: &mut Args<'_>) -> Built {
    let farm = once(&mut draft.farms, args, "desktop")?;
    let title = text(args, "a title")?;
    let mut desktop = Desktop {
        title,
        groups: Vec::new(),
        hosts: Vec::new(),
    };
    while let Some(option) = args.next() {
        match option.str() {
            "groups" => desktop.groups = groups(args)?,
            "hosts" => desktop.hosts = collections::hosts(args, &desktop.hosts, option)?,
            _ => return Err(args.unexpected_value(option, "not `groups` or `hosts`")),
        }
    }
    farm.portal.desktop = Some(desktop);
    Ok(())
}

fn app(draft: &mut FarmSectionDraft, args: &mut Args<'_>) -> Built {
    let farm = many(&mut draft.farms, args, "app")?;
    let word = args.required("a name")?;
    let name = Farm::KIND.object_name("app", word)?;
    if name.value == DESKTOP {
        return Err(args.unexpected_value(word, "the name of the line `desktop`"));
    }
    let apps = &farm.portal.apps;
    if let Some(first) = apps.iter().find(|one| one.name.value == name.value) {
        return Err(taken(&name, "app", first.name.span));
    }
    bounded(args, word, apps.len(), APPS_MAX, "apps in a section")?;
    let title = text(args, "a title")?;
    access::keyword::read_keyword(args, "path")?;
    let mut app = App {
        name,
        title,
        path: text(args, "a program such as \"||WINWORD\"")?,
        args: String::new(),
        icon: None,
        groups: Vec::new(),
        hosts: Vec::new(),
    };
    while let Some(option) = args.next() {
        match option.str() {
            "args" => app.args = text(args, "arguments")?,
            "icon" => app.icon = Some(absolute_file(args)?),
            "groups" => app.groups = groups(args)?,
            "hosts" => app.hosts = collections::hosts(args, &app.hosts, option)?,
            _ => {
                return Err(
                    args.unexpected_value(option, "not `args`, `icon`, `hosts` or `groups`")
                );
            }
        }
    }
    farm.portal.apps.push(app);
    Ok(())
}

fn guest_consoles(draft: &mut FarmSectionDraft, args: &mut Args<'_>) -> Built {
    let farm = many(&mut draft.farms, args, "guest-consoles")?;
    let word = args.required("`guests` or `groups`")?;
    let consoles = &farm.portal.consoles;
    bounded(
        args,
        word,
        consoles.len(),
        CONSOLES_MAX,
        "lines in a section",
    )?;
    let guests = match word.str() {
        "groups" => Vec::new(),
        "guests" => guests(args)?,
        _ => return Err(args.unexpected_value(word, "not `guests` or `groups`")),
    };
    let groups = groups(args)?;
    farm.portal.consoles.push(Consoles { guests, groups });
    Ok(())
}

fn guests(args: &mut Args<'_>) -> Result<Vec<Spanned<String>>, Diagnostic> {
    let mut guests = vec![named(args.required("a guest")?)];
    loop {
        let word = args.required("`groups` and a group")?;
        if word.is("groups") {
            return Ok(guests);
        }
        bounded(args, word, guests.len(), GUESTS_MAX, "guests")?;
        guests.push(named(word));
    }
}

fn sign(draft: &mut FarmSectionDraft, args: &mut Args<'_>) -> Built {
    let farm = once(&mut draft.farms, args, "sign")?;
    farm.portal.signs = Some(absolute_file(args)?);
    args.end()
}

pub(super) static LINES: &[Keyword<FarmLineBuilder>] = language::rows! {
    "portal <url>" &["farm"], portal, "portal https://desktop.example.org/",
        "The portal: users sign in with a browser, and start what they may by a signed `.rdp` file with a routing \
         token. The address, `https://NAME/` or `https://NAME:PORT/`, is the one that browsers have. It also is the \
         feed of Windows' \"RemoteApp and Desktop Connections\", at `/rdweb/feed/webfeed.aspx`. It needs a line `web`, \
         a line `users` or `pam`, and a line `app`, `desktop` or `guest-consoles`.";
    "users (<userlist> | ldap <url>... base <dn> [bind-dn <dn> bind-password-file <file>] [filter <filter>] \
          [group-attribute <name> | group-filter <filter>] [ca-file <file>] [plain]) [group:<name>...]" &["farm"],
        users,
        "users operators group:staff",
        "Who may sign in at the portal and use the gateway: the users of this `userlist`, or those of a directory \
         (Active Directory, OpenLDAP); with `group:` only those of these groups. Hosts authenticate users themselves, \
         so the names should be the same there. A user whom a reload removes is signed out, and gets no new tunnel. Of \
         a directory the servers are asked in their order, the next one after 2 seconds: `ldaps://NAME[:PORT]`, or \
         `ldap://NAME[:PORT]` with StartTLS, or without TLS with `plain`. Their certificates have to be of their \
         names, and signed by one of `ca-file`, or by one that the system trusts. The account `bind-dn` searches below \
         `base` for the one entry of `filter`, where `%u` is the name without its domain and `%n` the name as it was \
         typed; the default is `(|(sAMAccountName=%u)(uid=%u))`. The password is that with which a bind to this entry \
         succeeds. Its groups are in `group-attribute` (`memberOf`), or are those that `group-filter` finds, where \
         `%d` is the distinguished name of the user. Lines name a group by its common name or by its distinguished \
         name. NTLM cannot use a directory: clients come into the gateway by Basic, or by files of the portal.";
    "pam (user <name>... | group <name>... | service <name> | socket <path>)" &["farm"], pam,
        "pam user root",
        "Users of the system who may sign in at the portal and use the gateway, as in a `console` section: these, or \
         the members of these groups in `/etc/group` at the time of the load. Their passwords are checked by \
         `saslauthd`.";
    "second-factor (required | user <name> secret <base32>)" &["farm"], second_factor,
        "second-factor user anna secret GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ",
        "The second factor of sign-in at the portal: codes of an app (TOTP, RFC 6238). `evenkeel console second-factor \
         NAME` makes the secret of a user, and prints the line. With `required` users without one cannot sign in. A \
         user with a second factor cannot use the feed, which knows passwords only, and comes into the gateway by \
         files of the portal.";
    "desktop <title> [hosts <name>...] [groups <name>...]" &["farm"], desktop,
        "desktop \"Full desktop\"",
        "The full desktop in the list of the portal, by this title; with `groups` only for users of one of these \
         groups of the `userlist`. With `hosts` it is only on these hosts, for clients without a `.rdp` file of the \
         portal, too.";
    "app <name> <title> path <program> [args <arguments>] [icon <file>] [hosts <name>...] [groups <name>...]" &["farm"],
        app,
        "app word \"Word\" path \"||WINWORD\" groups staff",
        "A program in the list of the portal (RemoteApp), by this title. `path` is the name under which the hosts \
         publish it, such as `||WINWORD`, or its path there; a host has to permit it. `icon` is a square PNG of 16, \
         32, 48, 64, 100 or 256 pixels and at most 64 KiB; without it the portal draws one. `hosts` are the hosts that \
         have the program; without it all have it. A user has one session for all that is on the same hosts, and one \
         that is at such a host already serves. With `groups` it is only for users of one of these groups of the \
         `userlist`.";
    "guest-consoles [guests <guest>...] groups <name>..." &["farm"], guest_consoles,
        "guest-consoles groups staff",
        "Users of these groups open the displays and the serial terminals of guests in the portal, in the browser, on \
         whichever node a guest runs; with `guests` only of the guests that it names. A display gives the keyboard and \
         the mouse, so users can do what can be done at the machine itself. They can neither start, stop nor move it. \
         Without a line nobody opens any.";
    "sign crt <file>" &["farm"], sign, "sign crt /etc/evenkeel/desktop.pem",
        "The certificate with its issuers and its private key, RSA or ECDSA in PEM format, that signs `.rdp` files. \
         Windows shows its name, and warns of nothing if the machine trusts it. Without the line the certificate of \
         the first `bind` line signs.";
};
