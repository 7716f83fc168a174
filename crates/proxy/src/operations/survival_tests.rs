//! Tests which changes by operators survive into the next process: one row for each command that
//! changes something.

use super::command::Context;
use super::tests::{ask, context};
use crate::carry;
use crate::runtime::Runtime;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use keyword::testing::load_text;
use lab::ScratchDirectory;
use lab::pki::{Authority, KeyKind, Leaf};
use model::config::StatsLevel;
use model::state::now_ms;
use std::sync::Arc;

/// The remaining effect of a command when the next process serves.
enum After {
    /// The effect remains: both processes print the same for this command.
    Kept(&'static str),
    /// The effect is lost: the next process prints this configured value.
    Lost(&'static str),
    /// The command sends a message or changes the connection only, so there is nothing to keep.
    Nothing,
}
use After::{Kept, Lost, Nothing};

const CERT: &str = "show ssl cert AT/a.pem";
const LIST: &str = "show ssl crt-list AT/list";
const TABLE: &str = "show table t data.gpc0 ge 0";
const SERVERS: &str = "show servers state b";
/// Not a real command: prints which checks operators have stopped.
const STOPPED: &str = "stopped checks";
const STAT: &str = "show stat b 7 -1 json";

/// First words of a command, an example, and what remains of its effect. `AT` stands for the
/// directory of the files.
const ORDERS: &[(&str, &str, After)] = &[
    ("abort ssl ca-file", "", Nothing),
    ("abort ssl cert", "", Nothing),
    ("abort ssl crl-file", "", Nothing),
    ("add acl", "add acl AT/acl x", Kept("show acl AT/acl")),
    ("add map", "add map AT/map k v", Kept("show map AT/map")),
    (
        "add server",
        "add server b/n 127.0.0.1:9 weight 3",
        Kept(SERVERS),
    ),
    (
        "add ssl crt-list",
        "add ssl crt-list AT/list AT/b.pem",
        Kept(LIST),
    ),
    ("clear acl", "clear acl AT/acl", Kept("show acl AT/acl")),
    ("clear map", "clear map AT/map", Kept("show map AT/map")),
    (
        "commit acl",
        "prepare acl AT/acl;add acl @1 AT/acl y;commit acl @1 AT/acl",
        Kept("show acl AT/acl"),
    ),
    (
        "commit map",
        "prepare map AT/map;add map @1 AT/map y z;commit map @1 AT/map",
        Kept("show map AT/map"),
    ),
    ("clear counters", "", Nothing),
    (
        "clear table",
        "set table t key 1 data.gpc0 7;clear table t",
        Kept(TABLE),
    ),
    ("commit ssl ca-file", "CA", Kept("show ssl ca-file AT/ca")),
    ("commit ssl cert", "CERT", Kept(CERT)),
    (
        "commit ssl crl-file",
        "CRL",
        Kept("show ssl crl-file AT/crl"),
    ),
    ("debug dev log", "", Nothing),
    ("del acl", "del acl AT/acl a", Kept("show acl AT/acl")),
    ("del map", "del map AT/map a", Kept("show map AT/map")),
    (
        "del server",
        "disable server b/s2;del server b/s2",
        Kept(SERVERS),
    ),
    (
        "del ssl ca-file",
        "new ssl ca-file x;del ssl ca-file x",
        Kept("show ssl ca-file"),
    ),
    (
        "del ssl cert",
        "del ssl crt-list AT/list AT/b.pem:2;del ssl cert AT/b.pem",
        Kept("show ssl cert"),
    ),
    (
        "del ssl crl-file",
        "new ssl crl-file x;del ssl crl-file x",
        Kept("show ssl crl-file"),
    ),
    (
        "del ssl crt-list",
        "del ssl crt-list AT/list AT/b.pem:2",
        Kept(LIST),
    ),
    ("disable agent", "disable agent b/s1", Kept(STOPPED)),
    (
        "disable dynamic-cookie",
        "enable dynamic-cookie backend b;disable dynamic-cookie backend b",
        Kept(STAT),
    ),
    (
        "disable frontend",
        "disable frontend f",
        Kept("show stat f 1 -1"),
    ),
    ("disable health", "disable health b/s1", Kept(STOPPED)),
    ("disable server", "disable server b/s1", Kept(SERVERS)),
    (
        "enable agent",
        "disable agent b/s1;enable agent b/s1",
        Kept(STOPPED),
    ),
    (
        "enable dynamic-cookie",
        "enable dynamic-cookie backend b",
        Kept(STAT),
    ),
    (
        "enable frontend",
        "disable frontend f;enable frontend f",
        Kept("show stat f 1 -1"),
    ),
    (
        "enable health",
        "disable health b/s1;enable health b/s1",
        Kept(STOPPED),
    ),
    (
        "enable server",
        "disable server b/s1;enable server b/s1",
        Kept(SERVERS),
    ),
    ("experimental-mode", "", Nothing),
    ("expert-mode", "", Nothing),
    (
        "new ssl ca-file",
        "new ssl ca-file x",
        Kept("show ssl ca-file"),
    ),
    ("new ssl cert", "new ssl cert x", Kept("show ssl cert")),
    (
        "new ssl crl-file",
        "new ssl crl-file x",
        Kept("show ssl crl-file"),
    ),
    ("operator", "", Nothing),
    ("prepare acl", "", Nothing),
    ("prepare map", "", Nothing),
    // The key is never written to disk.
    (
        "set dynamic-cookie-key",
        "set dynamic-cookie-key backend b k",
        Lost(STAT),
    ),
    ("set map", "set map AT/map a 9", Kept("show map AT/map")),
    (
        "set maxconn frontend",
        "set maxconn frontend f 9",
        Kept("show stat f 1 -1"),
    ),
    (
        "set maxconn global",
        "set maxconn global 9",
        Kept("show info"),
    ),
    (
        "set maxconn server",
        "set maxconn server b/s1 9",
        Kept("show stat b 4 -1"),
    ),
    ("set profiling", "", Nothing),
    (
        "set rate-limit",
        "set rate-limit sessions global 9",
        Kept("show info"),
    ),
    (
        "set server",
        "set server b/s1 weight 5;set server b/s1 addr 127.0.0.9;set server b/s1 port 99;set server b/s2 state drain",
        Kept(SERVERS),
    ),
    ("set severity-output", "", Nothing),
    ("set ssl ca-file", "", Nothing),
    ("set ssl cert", "", Nothing),
    ("set ssl crl-file", "", Nothing),
    ("set ssl ocsp-response", "", Nothing),
    ("set ssl tls-key", "KEY", Kept("show tls-keys *")),
    ("set table", "set table t key 1 data.gpc0 7", Kept(TABLE)),
    ("set timeout", "", Nothing),
    (
        "set var",
        "experimental-mode on;set var proc.survival int(5)",
        Nothing,
    ),
    ("set weight", "set weight b/s1 5", Kept(SERVERS)),
    (
        "shutdown frontend",
        "shutdown frontend f",
        Kept("show stat f 1 -1"),
    ),
    ("shutdown session", "", Nothing),
    ("shutdown sessions server", "", Nothing),
    ("trace", "", Nothing),
    ("user", "", Nothing),
    ("help", "", Nothing),
    ("prompt", "", Nothing),
    ("quit", "", Nothing),
];

/// Commands whose examples undo an earlier one, or whose effect no command prints.
const AS_BEFORE: &[&str] = &[
    "clear table",
    "del ssl ca-file",
    "del ssl crl-file",
    "disable dynamic-cookie",
    "enable agent",
    "enable dynamic-cookie",
    "enable frontend",
    "enable health",
    "enable server",
    "set dynamic-cookie-key",
];

/// Files of a process, their replacements, and the process.
struct RestartFixture {
    scratch: ScratchDirectory,
    authority: Authority,
}

fn bundle(authority: &Authority, name: &str) -> String {
    let leaf = Leaf {
        names: &[name],
        key: KeyKind::Ecdsa,
        ..Leaf::default()
    };
    authority.issue(&leaf).unwrap().bundle()
}

fn key(n: u8) -> String {
    STANDARD.encode([n; 48])
}

impl RestartFixture {
    fn new() -> RestartFixture {
        let scratch = ScratchDirectory::new().unwrap();
        let authority = Authority::new("CA").unwrap();
        let write = |name: &str, text: &str| {
            scratch.write(name, text).unwrap();
        };
        for name in ["a.pem", "b.pem"] {
            write(name, &bundle(&authority, "a.com"));
        }
        let at = scratch.path().display().to_string();
        write("list", &format!("{at}/a.pem\n{at}/b.pem\n"));
        write("ca", authority.certificate_pem());
        write("crl", &authority.crl(&[]).unwrap());
        write("keys", &[key(1), key(2), key(3)].join("\n"));
        write("map", "a 1\nb 2\n");
        write("acl", "a\nb\n");
        RestartFixture { scratch, authority }
    }

    fn text(&self) -> String {
        let at = self.scratch.path().display();
        format!(
            "defaults\n mode http\n timeout client 1s\n timeout server 1s\n timeout connect 1s\n\
             frontend f\n id 1\n maxconn 50\n bind 127.0.0.1:1 ssl crt-list {at}/list ca-file {at}/ca crl-file {at}/crl \
             verify optional tls-ticket-keys {at}/keys\n http-request set-header x %[path,map({at}/map)]\n \
             http-request deny if {{ path -f {at}/acl }}\n\
             backend b\n id 7\n cookie c insert\n server s1 127.0.0.1:2 check agent-check agent-port 3 maxconn 20\n \
             server s2 127.0.0.1:2\n\
             backend t\n id 8\n stick-table type integer size 10 store gpc0\n"
        )
    }

    fn commands(&self, example: &str) -> Vec<String> {
        let at = self.scratch.path().display().to_string();
        let replace = |kind: &str, file: &str, payload: &str| {
            vec![
                format!("set ssl {kind} {at}/{file} <<\n{payload}\n"),
                format!("commit ssl {kind} {at}/{file}"),
            ]
        };
        match example {
            "CERT" => replace("cert", "a.pem", &bundle(&self.authority, "new.com")),
            "CA" => replace(
                "ca-file",
                "ca",
                Authority::new("New").unwrap().certificate_pem(),
            ),
            "CRL" => replace(
                "crl-file",
                "crl",
                &Authority::new("New").unwrap().crl(&[]).unwrap(),
            ),
            "KEY" => vec![format!("set ssl tls-key {at}/keys {}", key(9))],
            example => vec![example.replace("AT", &at)],
        }
    }

    /// Starts a process with the same files and the state of another one.
    fn next(&self, before: &Context, told: &[u8]) -> Context {
        let mut next = load_text(&self.text()).config.expect("the file is valid");
        assert!(carry::import_servers(told, &mut next).is_empty());
        model::control::install(&mut next, None, now_ms());
        let imported = carry::import(told, &next, None).expect("it can be read");
        let runtime = Runtime::leak(Arc::new(next), 2, 5000);
        imported.add_process_counters(runtime);
        Context {
            runtime,
            ..before.clone()
        }
    }

    fn shown(&self, context: &Context, command: &str) -> String {
        if command == STOPPED {
            let config = context.runtime.config();
            let servers = config.proxies.iter().flat_map(|proxy| &proxy.servers);
            let stopped = servers.map(|server| {
                let (checks, agent) = (server.state.checks_stopped(), server.state.agent_stopped());
                format!("{} {checks} {agent}", server.name)
            });
            return stopped.collect::<Vec<_>>().join("\n");
        }
        let command = command.replace("AT", &self.scratch.path().display().to_string());
        let told = ask(context, StatsLevel::Admin, &command);
        let is_stable = |line: &&str| {
            // The remaining numbers differ in each process.
            let limits = ["Maxconn:", "SessRateLimit:"];
            command != "show info" || limits.iter().any(|name| line.starts_with(name))
        };
        let lines = told.lines().filter(is_stable).map(|line| {
            let line = line.split(" exp=").next().unwrap_or_default();
            line.strip_prefix("0x")
                .and_then(|rest| rest.split_once(' '))
                .map_or(line, |(_, rest)| rest)
                .to_owned()
        });
        lines.collect::<Vec<_>>().join("\n")
    }
}

#[test]
fn every_command_that_changes_something_has_a_row() {
    for row in super::documented() {
        let reads = ["show", "get"]
            .iter()
            .any(|verb| row.name.starts_with(verb));
        let has_row = ORDERS.iter().any(|(name, ..)| *name == row.name);
        assert!(reads || has_row, "'{}' has no row", row.name);
    }
}

#[test]
fn next_process_replays_stored_commands() {
    for (name, example, after) in ORDERS {
        let (probe, is_kept) = match after {
            Kept(probe) => (*probe, true),
            Lost(probe) => (*probe, false),
            Nothing => continue,
        };
        let bed = RestartFixture::new();
        let context = context(&bed.text());
        let of_file = bed.shown(&context, probe);
        for command in bed.commands(example) {
            let told = ask(&context, StatsLevel::Admin, &command);
            let refused = [
                "No such",
                "Can't",
                "can't",
                "Unknown command",
                "expects",
                "Require",
            ];
            assert!(
                !refused.iter().any(|word| told.contains(word)),
                "{name}: {told}"
            );
        }
        let ordered = bed.shown(&context, probe);
        assert!(
            ordered != of_file || AS_BEFORE.contains(name),
            "{name} changes nothing"
        );
        let (config, runtime) = (context.runtime.config(), context.runtime);
        let kept = carry::export_kept(&config, Some(runtime));
        let upgraded = carry::export_to_supervisor(&config, Some(runtime)).bytes;
        for told in [kept, upgraded] {
            let next = bed.next(&context, &told);
            let expected = if is_kept { &ordered } else { &of_file };
            assert_eq!(&bed.shown(&next, probe), expected, "{name}");
            // The process after the next one applies the changes, too.
            let config = next.runtime.config();
            let told = carry::export_kept(&config, Some(next.runtime));
            assert_eq!(
                &bed.shown(&bed.next(&next, &told), probe),
                expected,
                "{name}"
            );
        }
    }
}

#[test]
fn renewed_file_counts_and_keys_go_to_the_supervisor_only() {
    let bed = RestartFixture::new();
    let context = context(&bed.text());
    let before = bed.shown(&context, CERT);
    for command in bed.commands("CERT") {
        ask(&context, StatsLevel::Admin, &command);
    }
    let ordered = bed.shown(&context, CERT);
    assert_ne!(before, ordered);
    let (config, runtime) = (context.runtime.config(), context.runtime);
    let kept = carry::export_kept(&config, Some(runtime));
    let has_key = |bytes: &[u8]| bytes.windows(11).any(|part| part == b"PRIVATE KEY");
    assert!(has_key(&kept));
    assert!(!has_key(&carry::export(&config, Some(runtime)).bytes));
    assert!(!has_key(&carry::export_live(&config, Some(runtime), &[])));
    let name = bed.scratch.path().join("a.pem");
    let said = format!(
        "certificate '{}' was changed at run time; the reload loads the file",
        name.display()
    );
    assert_eq!(crate::tls_orders::replaced_by_files(&config), [said]);
    // A file that was renewed after the command takes precedence in the next process.
    bed.scratch
        .write("a.pem", bundle(&bed.authority, "newest.com"))
        .unwrap();
    let newest = bed.shown(&bed.next(&context, &kept), CERT);
    assert!(newest.contains("newest.com"), "{newest}");
}
