//! Formats the described processes as text, as one line for each process, or as JSON.

use super::{Access, Account, Calls, Capabilities, ProcessPrivileges, Reason};
use serde_json::{Value, json};
use std::fmt::Write;

const LISTED_MAX: usize = 8;
const LABEL_WIDTH: usize = 16;

impl Account {
    fn called(&self) -> String {
        match &self.name {
            Some(name) => format!("{name} ({})", self.id),
            None => self.id.to_string(),
        }
    }
}

impl Access {
    fn words(self, any_file: bool) -> String {
        match self {
            Access::User => "not used: access as its user".to_owned(),
            Access::Listed(version) if any_file => {
                format!("version {version}: only the files listed here")
            }
            Access::Listed(version) => format!("version {version}: no files"),
            Access::Unavailable => "not available on this kernel: access as its user".to_owned(),
        }
    }
}

impl Calls {
    fn words(self) -> &'static str {
        match self {
            Calls::Any => "not used: all system calls",
            Calls::NotDeadly => {
                "denies system calls that only an attacker would use (exec, mounts, modules, …)"
            }
            Calls::Needed => {
                "allows only the system calls that serving needs; one that only an attacker would use (exec, \
                 mounts, modules, …) kills the process"
            }
            Calls::Unfiltered => "not available on this kernel: all system calls",
        }
    }

    fn word(self) -> &'static str {
        match self {
            Calls::Any => "any",
            Calls::NotDeadly => "not-deadly",
            Calls::Needed => "needed",
            Calls::Unfiltered => "unavailable",
        }
    }
}

pub fn full(processes: &[ProcessPrivileges]) -> String {
    let mut text = String::new();
    for process in processes {
        let _ = writeln!(text, "{}: {}", process.name, process.purpose);
        for (label, values) in rows(process) {
            for (index, value) in values.iter().enumerate() {
                let label = if index == 0 { label } else { "" };
                let _ = writeln!(text, "  {label:LABEL_WIDTH$}{value}");
            }
        }
        text.push('\n');
    }
    text += "If a user other than root starts Evenkeel, all processes run as that user, without capabilities.\n";
    text
}

fn rows(process: &ProcessPrivileges) -> Vec<(&'static str, Vec<String>)> {
    let who = |account: &Account| vec![format!("{}: {}", account.called(), account.why)];
    let any_file = !process.reads.is_empty() || !process.writes.is_empty();
    let mut rows = vec![
        ("user", who(&process.user)),
        ("group", who(&process.group)),
        ("root directory", vec![process.root.display().to_string()]),
        ("capabilities", capabilities(&process.capabilities)),
        (
            "no-new-privs",
            vec![yes(process.no_new_privileges).to_owned()],
        ),
        ("Landlock", vec![process.access.words(any_file)]),
        ("seccomp", vec![process.calls.words().to_owned()]),
    ];
    let lists = [
        ("reads", &process.reads),
        ("writes", &process.writes),
        ("opens", &process.opens),
        ("connects to", &process.connects),
    ];
    for (label, list) in lists {
        if !list.is_empty() {
            rows.push((label, shortened(list)));
        }
    }
    rows
}

fn yes(it_is: bool) -> &'static str {
    if it_is { "yes" } else { "no" }
}

fn capabilities(capabilities: &Capabilities) -> Vec<String> {
    match capabilities {
        Capabilities::All => vec!["all, inherited from the start".to_owned()],
        Capabilities::Only(kept) if kept.is_empty() => vec!["none".to_owned()],
        Capabilities::Only(kept) => kept
            .iter()
            .map(|one| format!("{}: {} ({})", one.capability, one.why, one.place))
            .collect(),
    }
}

fn shortened(list: &[String]) -> Vec<String> {
    let mut shown: Vec<String> = list.iter().take(LISTED_MAX).cloned().collect();
    if list.len() > LISTED_MAX {
        shown.push(format!("… and {} more", list.len() - LISTED_MAX));
    }
    shown
}

pub fn concise(processes: &[ProcessPrivileges]) -> String {
    let mut text = String::new();
    for process in processes {
        let capabilities = match &process.capabilities {
            Capabilities::All => "all".to_owned(),
            Capabilities::Only(kept) if kept.is_empty() => "none".to_owned(),
            Capabilities::Only(kept) => {
                let names: Vec<&str> = kept.iter().map(|one| &*one.capability).collect();
                names.join(",")
            }
        };
        let landlock = match process.access {
            Access::Listed(version) => version.to_string(),
            Access::User => "no".to_owned(),
            Access::Unavailable => "unavailable".to_owned(),
        };
        let _ = writeln!(
            text,
            "{}: user={} group={} root={} capabilities={capabilities} no-new-privs={} landlock={landlock} seccomp={}",
            process.name,
            process.user.id,
            process.group.id,
            process.root.display(),
            yes(process.no_new_privileges),
            process.calls.word(),
        );
    }
    text
}

pub fn json(processes: &[ProcessPrivileges]) -> String {
    let processes: Vec<Value> = processes.iter().map(value).collect();
    format!("{:#}\n", json!({ "processes": processes }))
}

fn value(process: &ProcessPrivileges) -> Value {
    let account =
        |account: &Account| json!({ "id": account.id, "name": account.name, "why": account.why });
    let capabilities = match &process.capabilities {
        Capabilities::All => json!("all"),
        Capabilities::Only(kept) => kept
            .iter()
            .map(|one| json!({ "capability": one.capability, "why": one.why, "line": one.place }))
            .collect(),
    };
    let landlock = match process.access {
        Access::Listed(version) => Some(version),
        _ => None,
    };
    json!({
        "name": process.name,
        "purpose": process.purpose,
        "user": account(&process.user),
        "group": account(&process.group),
        "root_directory": process.root.to_string_lossy(),
        "capabilities": capabilities,
        "no_new_privileges": process.no_new_privileges,
        "landlock": landlock,
        "system_calls": process.calls.word(),
        "reads": process.reads,
        "writes": process.writes,
        "opens": process.opens,
        "connects_to": process.connects,
    })
}

pub(super) fn of_addresses(reasons: &[Reason], format: Option<&str>) -> String {
    if format == Some("json") {
        let reasons = reasons
            .iter()
            .map(|one| serde_json::json!({ "capability": one.capability, "why": one.why }));
        let all = serde_json::json!({
            "process": "address",
            "capabilities": reasons.collect::<Vec<_>>(),
        });
        return format!("{all:#}\n");
    }
    let mut text = "address: owns the virtual addresses\n".to_owned();
    if format != Some("concise") {
        text += "  user          root, limited to what is listed here\n";
        text += "  system calls  not limited\n";
        text += "  files         not limited: notify and track programs inherit the limits\n";
    }
    for one in reasons {
        text += &format!("  {:<14}{}\n", one.capability, one.why);
    }
    text
}
