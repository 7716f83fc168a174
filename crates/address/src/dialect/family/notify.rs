//! Parses the lines for scripts and named pipes that are notified of state changes, for startup and
//! shutdown scripts, and for the user that runs scripts.

use super::draft::{At, UncheckedProgram};
use super::{GLOBAL, GROUP, INSTANCE};
use crate::codes;
use crate::config::{Account, Notify, NotifyScripts};
use crate::dialect::keyword::{Row, line};
use crate::dialect::loader::Loader;
use crate::dialect::outside::NoAccount;
use crate::dialect::tree::ConfigStatement;
use crate::dialect::words::{SourceWord, command};
use language::Diagnostic;
use std::path::PathBuf;

/// Maximum number of words of a script.
const WORDS_MAX: usize = 256;

const BOTH: &[&str] = &[INSTANCE, GROUP];

pub(in crate::dialect) static ROWS: &[Row] = language::rows! {
    "notify_master <script> [<user> [<group>]]" BOTH,
        line(1, 3, |l, n| set(l, n, |s| &mut s.master)),
        "notify_master \"/usr/bin/logger master\"",
        "Runs when the instance becomes master. Quote a script together with its arguments; no shell is used.";
    "notify_backup <script> [<user> [<group>]]" BOTH,
        line(1, 3, |l, n| set(l, n, |s| &mut s.backup)),
        "notify_backup \"/usr/bin/logger backup\"", "Runs when the instance becomes backup.";
    "notify_fault <script> [<user> [<group>]]" BOTH, line(1, 3, |l, n| set(l, n, |s| &mut s.fault)),
        "notify_fault \"/usr/bin/logger fault\"",
        "Runs when the instance enters FAULT: an interface or something else that is tracked failed.";
    "notify_stop <script> [<user> [<group>]]" BOTH, line(1, 3, |l, n| set(l, n, |s| &mut s.stop)),
        "notify_stop \"/usr/bin/logger stop\"", "Runs when the program stops.";
    "notify_deleted [<script> [<user> [<group>]]]" BOTH, line(0, 3, deleted), "notify_deleted",
        "Reports DELETED instead of FAULT when a reload removes the instance, and runs the script.";
    "notify <script> [<user> [<group>]]" BOTH, line(1, 3, |l, n| set(l, n, |s| &mut s.any)),
        "notify /usr/bin/logger",
        "Runs at every change, with four additional arguments: INSTANCE or GROUP, the name, the new state, the \
         priority.";
    "notify_master_rx_lower_pri <script> [<user> [<group>]]" &[INSTANCE],
        line(1, 3, |l, n| set(l, n, |s| &mut s.lower_priority)),
        "notify_master_rx_lower_pri /usr/bin/logger",
        "Runs when the master receives an advert with a lower priority: another machine has taken the addresses \
         meanwhile.";
    "notify_priority_changes [on|off]" BOTH,
        line(0, 1, |l, n| match l.place {
            GROUP => l.group.notify_priority_changes = l.switch(n),
            _ => l.instance.options.values.notify_priority_changes = l.switch(n),
        }),
        "notify_priority_changes on",
        "Also writes changes of the priority to pipes. Default `vrrp_notify_priority_changes`.";
    "vrrp_notify_priority_changes [on|off]" &[GLOBAL],
        line(0, 1, |l, n| l.config.global.notify_priority_changes = l.switch(n).unwrap_or(false)),
        "vrrp_notify_priority_changes on", "Also writes changes of priorities to pipes.";
    "notify_fifo <path> [<user> [<group>]]" &[GLOBAL], line(1, 3, |l, n| fifo(l, n, 0)),
        "notify_fifo /run/keepalived.fifo",
        "A named pipe that receives every change, in order: `INSTANCE \"VI_1\" MASTER 100`.";
    "notify_fifo_script <script> [<user> [<group>]]" &[GLOBAL],
        line(1, 3, |l, n| fifo_script(l, n, 0)),
        "notify_fifo /run/keepalived.fifo\nnotify_fifo_script /usr/bin/logger",
        "A script that is started once and reads the pipe, whose path is its last argument.";
    "vrrp_notify_fifo <path> [<user> [<group>]]" &[GLOBAL], line(1, 3, |l, n| fifo(l, n, 1)),
        "vrrp_notify_fifo /run/vrrp.fifo", "Like `notify_fifo`, for VRRP changes only.";
    "vrrp_notify_fifo_script <script> [<user> [<group>]]" &[GLOBAL],
        line(1, 3, |l, n| fifo_script(l, n, 1)),
        "vrrp_notify_fifo /run/vrrp.fifo\nvrrp_notify_fifo_script /usr/bin/logger",
        "A script that is started once and reads the pipe of `vrrp_notify_fifo`.";
    "script_user <user> [<group>]" &[GLOBAL],
        line(1, 2, |l, n| l.config.global.script_user = account(l, n.arguments())),
        "script_user root",
        "User of scripts without a user of their own: by default `keepalived_script` if that user exists, otherwise \
         root.";
    "enable_script_security" &[GLOBAL], line(0, 0, |l, _| l.config.global.script_security = true),
        "enable_script_security",
        "Does not run scripts as root if other users could change any part of their path.";
    "startup_script <script> [<user> [<group>]]" &[GLOBAL],
        line(1, 3, |l, n| l.drafts.defaults.startup = script(l, n, "startup script")),
        "startup_script /usr/bin/true", "Runs once, before everything else.";
    "startup_script_timeout <1-1000>" &[GLOBAL],
        line(1, 1, |l, n| l.drafts.defaults.startup_timeout = l.seconds(n, 1..=1000)),
        "startup_script_timeout 20",
        "Maximum duration of the `startup_script` in seconds, by default 10.";
    "shutdown_script <script> [<user> [<group>]]" &[GLOBAL],
        line(1, 3, |l, n| l.drafts.defaults.shutdown = script(l, n, "shutdown script")),
        "shutdown_script /usr/bin/true", "Runs once, after everything else has stopped.";
    "shutdown_script_timeout <1-1000>" &[GLOBAL],
        line(1, 1, |l, n| l.drafts.defaults.shutdown_timeout = l.seconds(n, 1..=1000)),
        "shutdown_script_timeout 20",
        "Maximum duration of the `shutdown_script` in seconds, by default 10.";
    "fifo_write_vrrp_states_on_reload" &[GLOBAL],
        line(0, 0, |l, _| l.config.global.fifo_states_on_reload = true),
        "fifo_write_vrrp_states_on_reload", "Writes all states to the pipes again after a reload.";
};

/// Parses the script of a line and the account that runs it. The program is checked at the end.
pub(in crate::dialect) fn script(
    l: &mut Loader<'_>,
    node: &ConfigStatement,
    what: &'static str,
) -> Option<Notify> {
    let word = node.argument()?;
    let words = split(l, word)?;
    let account = account(l, node.arguments().get(1..).unwrap_or_default());
    l.drafts.commands.push(UncheckedProgram {
        what,
        program: words.first().cloned().unwrap_or_default(),
        script: None,
        account: account.clone(),
        span: word.span,
    });
    Some(Notify { words, account })
}

/// Splits a script into program and arguments.
pub(in crate::dialect) fn split(l: &mut Loader<'_>, word: &SourceWord) -> Option<Vec<String>> {
    match command(&word.text) {
        Some(words) if !words.is_empty() && words.len() <= WORDS_MAX => Some(words),
        Some(words) => {
            let message = match words.len() {
                0 => "the script is missing".to_owned(),
                n => format!("a script with {n} words; the maximum is {WORDS_MAX}"),
            };
            l.error(&codes::MISSING_VALUE, word.span, message);
            None
        }
        None => {
            let message = "unmatched quote in this script";
            l.error(&codes::UNMATCHED_QUOTE, word.span, message);
            None
        }
    }
}

/// Looks up a user and an optional group by name; an unknown one is an error.
pub(in crate::dialect) fn account(l: &mut Loader<'_>, words: &[SourceWord]) -> Option<Account> {
    let user = words.first()?;
    let group = words.get(1);
    match l
        .outside
        .account(&user.text, group.map(|g| g.text.as_str()))
    {
        Ok(account) => Some(account),
        Err(missing) => {
            let (what, word) = match missing {
                NoAccount::User => ("user", user),
                NoAccount::Group => ("group", group.unwrap_or(user)),
            };
            let told = Diagnostic::error(
                &codes::UNKNOWN_ACCOUNT,
                word.span,
                format!("{what} '{}' does not exist on this machine", word.text),
            );
            l.report(match word.text.starts_with(['-', '/']) {
                true => told.help("quote a script together with its arguments: \"/path/script argument\""),
                false if l.keyword == "script_user" => told.help("create it, or name another one"),
                false => told.help("the words after a script are its user and group; quote arguments together with \
                    the script"),
            });
            None
        }
    }
}

fn scripts<'l>(l: &'l mut Loader<'_>) -> &'l mut NotifyScripts {
    match l.place {
        GROUP => &mut l.group.notify,
        _ => &mut l.instance.notify,
    }
}

fn set(
    l: &mut Loader<'_>,
    node: &ConfigStatement,
    field: fn(&mut NotifyScripts) -> &mut Option<Notify>,
) {
    let found = script(l, node, "notify script");
    *field(scripts(l)) = found;
}

fn deleted(l: &mut Loader<'_>, node: &ConfigStatement) {
    let found = match node.argument() {
        Some(_) => script(l, node, "notify script"),
        None => None,
    };
    let scripts = scripts(l);
    scripts.reports_deleted = true;
    scripts.deleted = found;
}

fn fifo(l: &mut Loader<'_>, node: &ConfigStatement, which: usize) {
    let Some(word) = node.argument() else { return };
    if !word.text.starts_with('/') {
        let message = format!("'{}' is not an absolute path", word.text);
        l.error(&codes::BAD_VALUE, word.span, message);
        return;
    }
    let account = account(l, node.arguments().get(1..).unwrap_or_default());
    let draft = &mut l.drafts.fifos[which];
    draft.account = account;
    draft.path = Some(At {
        value: PathBuf::from(&word.text),
        span: word.span,
    });
}

fn fifo_script(l: &mut Loader<'_>, node: &ConfigStatement, which: usize) {
    let Some(found) = script(l, node, "fifo script") else {
        return;
    };
    l.drafts.fifos[which].script = Some(At {
        value: found,
        span: node.whole(),
    });
}
