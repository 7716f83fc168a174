//! Tests that no command below the access level `admin` shows a secret of the configuration: the
//! test puts a marker wherever a secret is possible.

use super::tests::{ask, context};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lab::ScratchDirectory;
use language::difference::{Vocabulary, set_vocabulary};
use model::config::StatsLevel;

const MARKER: &str = "mArKer7Q";

/// The configuration with the marker. Secrets that only a check reads are tested with the
/// diagnostics.
const FILE: &str = "\
global
 setenv API_TOKEN mArKer7Q
 setenv DB_PASSWORD mArKer7Q
 setenv DATABASE_URL postgres://anna:mArKer7Q@db.example/x
 setenv PLAIN mArKer7Q
 set-var-fmt proc.plain mArKer7Q
 set-var proc.secrecy_key str(mArKer7Q)
 stats socket /run/x.sock level user
userlist u
 user anna insecure-password mArKer7Q
cache c
 total-max-size 1
peers p
 peer here 127.0.0.1:9
resolvers r
 nameserver n 127.0.0.1:53
ring e
 size 4096
defaults
 mode http
 timeout client 1s
 timeout server 1s
 timeout connect 1s
frontend f
 id 5
 bind 127.0.0.1:1 ssl crt AT/a.pem tls-ticket-keys AT/keys
 stats auth admin:mArKer7Q
 acl ok req.hdr(x-api-key) mArKer7Q
 http-request set-header X-Tmp %[var(proc.plain)]%[env(PLAIN)]
 http-request set-header X-Api-Key %[req.hdr(x-tmp)]
 acl shared req.hdr(x-tmp) mArKer7Q
 http-request set-header X-Shared mArKer7Q-2
 http-request deny unless { req.hdr(x-shared) mArKer7Q-2 }
 acl signed http_auth(u)
 http-request deny unless ok or { url_param(token) -m str mArKer7Q }
 http-request set-header Authorization: mArKer7Q
 http-request cache-use c
 http-request set-var(txn.user) req.hdr(x-user),map(AT/tokens.map)
 acl listed req.hdr(authorization) -m str -f AT/plain.lst
 http-request set-header X-Api-Key %[req.hdr(x-tenant),map(AT/plain.map)]
 reqadd Authorization:\\ Basic\\ mArKer7Q
 redirect location https://example.org/?token=mArKer7Q
 errorloc 503 https://example.org/?api_key=mArKer7Q
 default_backend b
backend b
 id 7
 cookie S insert dynamic
 dynamic-cookie-key mArKer7Q
 option httpchk GET /health?auth=mArKer7Q
 http-check send hdr Authorization mArKer7Q body mArKer7Q
 http-request set-var(txn.s) path,hmac(sha256,mArKer7Q)
 stick-table type string size 10 store gpc0
 server s 127.0.0.1:2 check agent-check agent-port 3 agent-send mArKer7Q
";

/// Commands with arguments, in addition to each reading command without any.
const COMMANDS: &[&str] = &[
    "show env API_TOKEN",
    "show env DB_PASSWORD",
    "show env DATABASE_URL",
    "get var proc.secrecy_key",
    "get var proc.plain",
    "show env PLAIN",
    "show stat -1 -1 -1 json desc",
    "show stat typed",
    "show info json desc",
    "show sess all",
    "show servers state b",
    "show servers conn b",
    "show table b",
    "show acl #0",
    "show acl #1",
    "show acl #2",
    "show acl #3",
    "show acl #4",
    "show acl #5",
    "show acl #6",
    "get acl #0 mArKer7",
    "show map AT/tokens.map",
    "get map AT/tokens.map k",
    "show acl AT/plain.lst",
    "get acl AT/plain.lst mArKer7Q-list",
    "show map AT/plain.map",
    "get map AT/plain.map k",
    "show map",
    "show errors -1",
    "show ssl cert AT/a.pem",
    "show tls-keys *",
    "show events e",
    "show requests json",
    "show peers p",
    "show resolvers r",
    "help",
];

#[test]
fn no_command_below_admin_shows_a_secret_of_the_configuration() {
    set_vocabulary(|| Vocabulary {
        secrets: keyword::load::PART.sections.secrets.to_vec(),
        ..Vocabulary::default()
    });
    let scratch = ScratchDirectory::new().unwrap();
    let authority = lab::pki::Authority::new("CA").unwrap();
    let issued = authority.issue(&lab::pki::Leaf::default()).unwrap();
    scratch.write("a.pem", issued.bundle()).unwrap();
    let mut key = [7; 48];
    key[..MARKER.len()].copy_from_slice(MARKER.as_bytes());
    let keys = STANDARD.encode(key);
    scratch
        .write("keys", [&*keys, &keys, &keys].join("\n"))
        .unwrap();
    scratch
        .write("tokens.map", format!("k {MARKER}\n"))
        .unwrap();
    scratch
        .write("plain.lst", format!("{MARKER}-list\n"))
        .unwrap();
    scratch.write("plain.map", format!("k {MARKER}\n")).unwrap();
    let at = scratch.path().display().to_string();
    let context = context(&FILE.replace("AT", &at));
    model::rules::set_up_process(&context.runtime.config());
    let documented = super::documented();
    let mut commands: Vec<String> = documented
        .iter()
        .filter(|row| row.name.starts_with("show") || row.name.starts_with("get"))
        .map(|row| row.name.to_owned())
        .collect();
    commands.extend(COMMANDS.iter().map(|command| command.replace("AT", &at)));
    let private_key = issued.bundle();
    let private_key = private_key.split("PRIVATE KEY-----").nth(1).unwrap();
    let private_key = private_key.lines().nth(1).unwrap();
    let mut found = Vec::new();
    for level in [StatsLevel::User, StatsLevel::Operator] {
        for command in &commands {
            let shown = ask(&context, level, command);
            for secret in [MARKER, &keys[..8], private_key] {
                let lines = shown.lines().filter(|line| line.contains(secret));
                found.extend(lines.map(|line| format!("{level:?} {command}: {line}")));
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
    // The marker really is where the test assumes it, since an administrator sees it.
    let shown = ask(&context, StatsLevel::Admin, "show env API_TOKEN");
    assert!(shown.contains(MARKER), "{shown}");
    let shown = ask(&context, StatsLevel::Admin, "get var proc.secrecy_key");
    assert!(shown.contains(MARKER), "{shown}");
}
