//! Determines the account of each script, and warns about scripts that cannot be run or that run as
//! root insecurely.

use crate::codes;
use crate::config::Account;
use crate::dialect::family::draft::UncheckedProgram;
use crate::dialect::loader::Loader;
use crate::dialect::outside::Program;
use language::Diagnostic;
use std::collections::{HashMap, HashSet};

/// User of scripts without a configured one, if the system has this user.
const DEFAULT_USER: &str = "keepalived_script";

/// Checks every script; returns the names of `vrrp_script` blocks that are not run.
pub(super) fn finish(l: &mut Loader<'_>) -> HashSet<String> {
    let commands = std::mem::take(&mut l.drafts.commands);
    if commands.is_empty() {
        return HashSet::new();
    }
    if l.config.global.script_user.is_none() {
        l.config.global.script_user = l.outside.account(DEFAULT_USER, None).ok();
    }
    let default = l.config.global.script_user.clone();
    let scripts = l.drafts.scripts.iter().map(|at| &at.value);
    let accounts = scripts.map(|s| (s.name.clone(), s.account.clone()));
    let accounts: HashMap<String, Option<Account>> = accounts.collect();
    let mut disabled = HashSet::new();
    let mut insecure = None;
    for command in &commands {
        let own = command
            .script
            .as_ref()
            .and_then(|name| accounts.get(name)?.clone());
        let account = command.account.clone().or(own).or(default.clone());
        let root = account.as_ref().is_none_or(|a| a.uid == 0);
        let usable = look(l, command, account.as_ref(), root);
        // Warns about usable scripts only: a missing script is no security problem, as in
        // keepalived.
        if root && usable && insecure.is_none() {
            insecure = Some(command.span);
        }
        if let (false, Some(name)) = (usable, &command.script) {
            disabled.insert(name.clone());
        }
    }
    if let (Some(span), false) = (insecure, l.config.global.script_security) {
        l.report(
            Diagnostic::warning(
                &codes::SCRIPT_SECURITY,
                span,
                "scripts are run as root, and 'enable_script_security' is not set",
            )
            .label("the first one")
            .help(
                "add 'enable_script_security' to global_defs, and a 'script_user' other than root",
            ),
        );
    }
    disabled
}

/// Returns whether a script can be run; if not, reports the reason.
fn look(
    l: &mut Loader<'_>,
    command: &UncheckedProgram,
    account: Option<&Account>,
    root: bool,
) -> bool {
    let who = account.map_or("root", |a| a.name.as_str());
    let message = match l.outside.program(&command.program, account) {
        Program::Usable | Program::Unknown => return true,
        Program::Missing => format!("script '{}' not found", command.program),
        Program::NotExecutable => format!("'{}' cannot be executed by {who}", command.program),
        Program::Unsafe(_) if !root || !l.config.global.script_security => return true,
        Program::Unsafe(part) => format!(
            "'{}' is not run as root, because others can change '{}'",
            command.program,
            part.display()
        ),
    };
    let tracked = command.what == "vrrp_script";
    let told = Diagnostic::warning(&codes::SCRIPT_UNUSABLE, command.span, message);
    l.report(if tracked {
        told.label("not run, and its result is ignored")
    } else {
        told
    });
    false
}
