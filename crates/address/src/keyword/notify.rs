//! Parses the lines for programs that run on a change of state, and for the user that runs them.
//! Refuses programs that run as root although other users can change them.

use super::draft::{AddressConfigDraft, VirtualIp};
use super::track::{NOT_RUN, program};
use super::{Row, codes};
use crate::config::{Notify, NotifyScripts};
use crate::dialect::{NoAccount, account_of};
use crate::programs;
use configuration::outside::{AccountKind, SystemQuery};
use language::arguments::{Args, Built};
use language::{Diagnostic, Spanned};
use std::path::PathBuf;

type NotifySlot = fn(&mut NotifyScripts) -> &mut Option<Notify>;

/// Adds a program for a state; a state may have one.
fn told(draft: &mut AddressConfigDraft, args: &mut Args<'_>, slot: NotifySlot) -> Built {
    let word = args.required("a program")?;
    let words = program(draft, args, word)?;
    args.end()?;
    let virtual_ip = draft.virtual_ip();
    virtual_ip
        .programs
        .commands
        .push(Spanned::new(words.clone(), word.span));
    let slot = slot(&mut virtual_ip.programs.notify);
    if slot.is_some() {
        let told = format!("'{}' may appear only once in a section", args.keyword);
        return Err(Diagnostic::error(&codes::TWICE, word.span, told)
            .help("let one program start the other one"));
    }
    *slot = Some(Notify {
        words,
        account: None,
    });
    Ok(())
}

fn any(draft: &mut AddressConfigDraft, args: &mut Args<'_>) -> Built {
    told(draft, args, |scripts| &mut scripts.any)
}

fn master(draft: &mut AddressConfigDraft, args: &mut Args<'_>) -> Built {
    told(draft, args, |scripts| &mut scripts.master)
}

fn backup(draft: &mut AddressConfigDraft, args: &mut Args<'_>) -> Built {
    told(draft, args, |scripts| &mut scripts.backup)
}

fn fault(draft: &mut AddressConfigDraft, args: &mut Args<'_>) -> Built {
    told(draft, args, |scripts| &mut scripts.fault)
}

fn stop(draft: &mut AddressConfigDraft, args: &mut Args<'_>) -> Built {
    told(draft, args, |scripts| &mut scripts.stop)
}

fn script_user(draft: &mut AddressConfigDraft, args: &mut Args<'_>) -> Built {
    let word = args.required("a user")?;
    let group = args.next().map(|word| word.text().into_owned());
    args.end()?;
    let virtual_ip = draft.virtual_ip();
    virtual_ip.once("'script-user'", word.span)?;
    virtual_ip.programs.user = Some(Spanned::new((word.text().into_owned(), group), word.span));
    Ok(())
}

/// Sets the account of a section's programs, and refuses programs that run as root although other
/// users can change them. For a file of another machine, users and programs are unknown.
pub(super) fn secure(draft: &mut AddressConfigDraft, virtual_ip: &mut VirtualIp) {
    if draft.host.name.is_none() {
        return;
    }
    let account = match &virtual_ip.programs.user {
        None => None,
        Some(Spanned { value, span }) => {
            let (user, group) = value;
            match account_of(user, group.as_deref()) {
                Ok(account) => Some(account),
                Err(missing_kind) => {
                    let missing = match (&missing_kind, group) {
                        (NoAccount::Group, Some(group)) => format!("group '{group}'"),
                        _ => format!("user '{user}'"),
                    };
                    let told = format!("'script-user': there is no {missing}");
                    let told = Diagnostic::error(&codes::NO_USER, *span, told);
                    let told = told.help("create it on every node, or name another one");
                    draft.add_diagnostic(told.with_earlier_behaviour(NOT_RUN));
                    let kind = match missing_kind {
                        NoAccount::Group => AccountKind::Group,
                        NoAccount::User => AccountKind::User,
                    };
                    let name = group.clone().filter(|_| kind == AccountKind::Group);
                    let name = name.unwrap_or_else(|| user.clone());
                    draft.lacks.push(SystemQuery::Account(kind, name));
                    return leave_out(virtual_ip, |_| true);
                }
            }
        }
    };
    for script in &mut virtual_ip.programs.scripts {
        script.account.clone_from(&account);
    }
    for one in slots(&mut virtual_ip.programs.notify).into_iter().flatten() {
        one.account.clone_from(&account);
    }
    let missing = std::mem::take(&mut virtual_ip.programs.left_out);
    leave_out(virtual_ip, |words| missing.contains(words));
    let is_root = account.is_none_or(|account| account.uid == 0);
    if !is_root || !rustix::process::geteuid().is_root() {
        return;
    }
    let mut unsafe_ones = Vec::new();
    for program in &virtual_ip.programs.commands {
        // Skips a missing program, which was reported already and which users cannot change.
        if missing.contains(&program.value) {
            continue;
        }
        let Some(part) = programs::changeable(&program.value) else {
            continue;
        };
        // Omits the program's arguments, which may be secret.
        let name = program.value.first().map_or("", String::as_str);
        let part = part.display();
        let told = format!("'{name}' runs as root, and users other than root can change {part}");
        let told = Diagnostic::error(&codes::CHANGEABLE, program.span, told);
        let told = told.label("a user who can change it would be root");
        let told = told.help(format!(
            "run `chown root:root {part}` and `chmod go-w {part}`, or add a line `script-user USER`"
        ));
        draft.add_diagnostic(told.with_earlier_behaviour(NOT_RUN));
        let path = program.value.first().map(PathBuf::from);
        draft
            .lacks
            .push(SystemQuery::Unchangeable(path.unwrap_or_default()));
        unsafe_ones.push(program.value.clone());
    }
    leave_out(virtual_ip, |words| unsafe_ones.contains(words));
}

/// Removes programs of `track script` and `notify`, except the pings of Evenkeel.
fn leave_out(virtual_ip: &mut VirtualIp, is_left_out: impl Fn(&Vec<String>) -> bool) {
    let programs = &mut virtual_ip.programs;
    let commands = &programs.commands;
    programs.scripts.retain(|script| {
        let is_command = commands.iter().any(|one| one.value == script.words);
        !(is_command && is_left_out(&script.words))
    });
    for slot in slots(&mut programs.notify) {
        let leaves = slot.as_ref().is_some_and(|one| is_left_out(&one.words));
        slot.take_if(|_| leaves);
    }
}

fn slots(notify: &mut NotifyScripts) -> [&mut Option<Notify>; 5] {
    [
        &mut notify.any,
        &mut notify.master,
        &mut notify.backup,
        &mut notify.fault,
        &mut notify.stop,
    ]
}

pub(super) static LINES: &[Row] = language::rows! {
    "script-user <user> [<group>]" &["virtual-ip"], script_user, "script-user nobody",
        "The user as whom the programs of `notify` and `track script` of this section run, root without it. A program \
         that runs as root must not be changeable by anybody else: neither its file nor any directory or link on the \
         way to it, nor the script that it names as an interpreter. Such a program is refused, and not started if that \
         changes later.";
    "notify <program>" &["virtual-ip"], any, "notify \"/bin/true changed\"",
        "Starts this program at each change of state, without a shell. The role never waits for it. It appends four \
         arguments: the word `INSTANCE`, the section name, the new state (`MASTER`, `BACKUP`, `FAULT`, `STOP`) and the \
         priority.";
    "notify master <program>" &["virtual-ip"], master, "notify master /bin/true",
        "Starts this program when this machine takes the addresses, with the arguments of `notify` after its own.";
    "notify backup <program>" &["virtual-ip"], backup, "notify backup /bin/true",
        "Starts this program when another machine owns the addresses, with the arguments of `notify` after its own.";
    "notify fault <program>" &["virtual-ip"], fault, "notify fault /bin/true",
        "Starts this program when this machine can no longer own the addresses: an interface is down, or something \
         tracked failed. The arguments of `notify` follow its own.";
    "notify stop <program>" &["virtual-ip"], stop, "notify stop /bin/true",
        "Starts this program when the role stops, with the arguments of `notify` after its own.";
};
