//! Parses and checks the option `hosts` of the lines `desktop` and `app`, which limits the desktop
//! or a program to some hosts.

use super::codes;
use super::section::{Farm, HOSTS_MAX};
use access::keyword::named;
use language::arguments::Args;
use language::{ConfigWord, Diagnostic, Spanned, suggest};

/// Option names of the lines `desktop` and `app`, which end a list of hosts or of groups.
const OPTIONS: [&str; 4] = ["args", "icon", "groups", "hosts"];

pub(super) fn next<'l>(args: &mut Args<'l>) -> Option<&'l ConfigWord> {
    let is_option = |word: &&ConfigWord| OPTIONS.contains(&word.str());
    args.peek().filter(|word| !is_option(word))?;
    args.next()
}

pub(super) fn hosts(
    args: &mut Args<'_>,
    before: &[Spanned<String>],
    option: &ConfigWord,
) -> Result<Vec<Spanned<String>>, Diagnostic> {
    if let Some(first) = before.first() {
        let told = "'hosts' twice in a line";
        let code = &codes::TWICE;
        return Err(Diagnostic::error(code, option.span, told).duplicate_of(first.span));
    }
    let mut hosts: Vec<Spanned<String>> = Vec::new();
    while let Some(word) = next(args) {
        if hosts.len() >= HOSTS_MAX {
            return Err(args.unexpected_value(word, &format!("more than {HOSTS_MAX} hosts")));
        }
        let host = named(word);
        if let Some(first) = hosts.iter().find(|one| one.value == host.value) {
            let told = format!("host '{}' twice in a line", host.value);
            let code = &codes::TWICE;
            return Err(Diagnostic::error(code, host.span, told).duplicate_of(first.span));
        }
        hosts.push(host);
    }
    if hosts.is_empty() {
        let told = Diagnostic::error(&codes::VALUE, option.span, "'hosts' without a host");
        Err(told.help("name the hosts, or remove `hosts`: then it is on all hosts"))
    } else {
        Ok(hosts)
    }
}

pub(super) fn wrong(farm: &Farm) -> Vec<Diagnostic> {
    let desktop = farm.portal.desktop.iter();
    let desktop = desktop.map(|one| ("the desktop".to_owned(), &one.hosts));
    let apps = farm.portal.apps.iter();
    let apps = apps.map(|app| (format!("app '{}'", app.name.value), &app.hosts));
    desktop
        .chain(apps)
        .flat_map(|(what, hosts)| wrong_of(farm, &what, hosts))
        .collect()
}

fn wrong_of(farm: &Farm, what: &str, hosts: &[Spanned<String>]) -> Vec<Diagnostic> {
    let find = |name: &String| farm.hosts.iter().find(|host| host.name.value == *name);
    let unknown = hosts.iter().filter(|host| find(&host.value).is_none());
    let mut wrong: Vec<Diagnostic> = unknown
        .map(|host| {
            let told = format!(
                "farm section '{}' has no host '{}'",
                farm.name.value, host.value
            );
            let names = farm.hosts.iter().map(|one| one.name.value.as_str());
            let near = suggest::nearest(&host.value, names);
            Diagnostic::error(&codes::NO_HOST, host.span, told).did_you_mean(host.span, near)
        })
        .collect();
    let known: Option<Vec<_>> = hosts.iter().map(|host| find(&host.value)).collect();
    let known = known.unwrap_or_default();
    if let (Some(first), true) = (hosts.first(), known.iter().all(|one| one.host.drained))
        && let Some(drained) = known.first()
    {
        let told = format!("all hosts of {what} are drained: nobody new can start it");
        let told = Diagnostic::warning(&codes::ALL_DRAINED, first.span, told);
        wrong.push(told.with_label(drained.name.span, "drained here"));
    }
    wrong
}
