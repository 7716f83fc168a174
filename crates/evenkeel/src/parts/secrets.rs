//! Tests that secrets of a configuration are never displayed: a marker is placed in every argument
//! that can contain one.

use super::{documented, load, vocabulary};
use cluster_command::mask;
use configuration::LoadOptions;
use configuration::outside::Outside;
use language::Environment;
use language::difference::{self, Texts, Vocabulary, compute, mask_secrets, secrets};
use language::render::{self, RenderOptions};

const MARKER: &str = "mArKer7Q";

/// Arguments with a secret, each with a value that contains the marker.
const PLACEHOLDERS: &[(&str, &str)] = &[
    ("<user>:<password>", "anna:mArKer7Q"),
    ("<password>", "mArKer7Q"),
    ("<passphrase>", "mArKer7Q"),
    ("<secret>", "mArKer7Q"),
    ("<base32>", "mArKer7Q"),
    ("<arguments>", "\"--key mArKer7Q\""),
    ("<argument>", "mArKer7Q"),
    ("<program>", "\"/bin/true -pmArKer7Q\""),
    ("<script>", "\"/bin/true -pmArKer7Q\""),
];

/// Names of arguments that sound like secrets and are none: keys of maps, tables and logs, tokens
/// of messages, options, and groups.
const NO_SECRETS: &[&str] = &["key", "key fmt", "token", "bind option", "option", "group"];

const LINES: &[(&str, &str)] = &[
    ("global", "setenv PGDATA mArKer7Q"),
    ("global", "presetenv PGDATA mArKer7Q"),
    ("global", "set-var proc.api_key str(mArKer7Q)"),
    ("global", "on alpha setenv PGDATA mArKer7Q"),
    ("listen", "dynamic-cookie-key mArKer7Q"),
    ("listen", "http-request set-header Authorization mArKer7Q"),
    ("listen", "http-request set-header X-Api-Key mArKer7Q"),
    ("listen", "http-request set-header Cookie sid=mArKer7Q"),
    (
        "listen",
        "http-request replace-header Authorization (.*) mArKer7Q",
    ),
    ("listen", "http-request set-var(txn.token) str(mArKer7Q)"),
    (
        "listen",
        "http-request deny unless { req.hdr(x-api-key) mArKer7Q }",
    ),
    (
        "listen",
        "http-request deny unless { req.hdr(authorization) -m str mArKer7Q }",
    ),
    (
        "listen",
        "http-request deny unless { url_param(token) -m str mArKer7Q }",
    ),
    ("listen", "acl ok req.cook(sid) mArKer7Q"),
    ("listen", "acl ok http_auth_pass(x) mArKer7Q"),
    (
        "listen",
        "http-request set-var(txn.s) req.hdr(x),hmac(sha256,mArKer7Q)",
    ),
    (
        "listen",
        "http-request set-var(txn.s) var(txn.t),jwt_verify(txn.a,mArKer7Q)",
    ),
    (
        "listen",
        "redirect location https://example.org/?token=mArKer7Q",
    ),
    (
        "listen",
        "errorloc 503 https://example.org/?api_key=mArKer7Q",
    ),
    ("listen", "option httpchk GET /health?auth=mArKer7Q"),
    (
        "listen",
        "http-check send meth GET uri / hdr Authorization mArKer7Q",
    ),
    ("listen", "http-check send meth POST uri / body mArKer7Q"),
    ("listen", "tcp-check send \"AUTH mArKer7Q\""),
    (
        "listen",
        "server a 127.0.0.1:1 agent-check agent-port 2 agent-send mArKer7Q",
    ),
    ("listen", "reqadd Authorization:\\ Basic\\ mArKer7Q"),
    (
        "listen",
        "reqirep ^Authorization:.* Authorization:\\ Basic\\ mArKer7Q",
    ),
    ("listen", "reqrep ^X-Api-Key:.* X-Api-Key:\\ mArKer7Q"),
    ("listen", "rspirep ^(Set-Cookie:.*) \\1;\\ key=mArKer7Q"),
    ("listen", "reqidel ^X-Api-Key:\\ mArKer7Q"),
    ("listen", "reqideny ^Authorization:\\ Basic\\ mArKer7Q"),
    ("listen", "reqipass ^X-Api-Key:\\ mArKer7Q"),
    ("listen", "reqitarpit ^X-Api-Key:\\ mArKer7Q"),
    ("listen", "rspideny ^Set-Cookie:\\ a=mArKer7Q"),
    ("listen", "reqisetbe ^X-Api-Key:\\ mArKer7Q x"),
    (
        "listen",
        "reqrep ^([^\\ ]*)\\ /api\\?token=mArKer7Q(.*) \\1\\ /api\\2",
    ),
    (
        "listen",
        "http-request set-header Authorization \u{201c}Bearer mArKer7Q\u{201d}",
    ),
    ("listen", "stats auth anna:mArKer7Q\u{200b}"),
    ("listen", "stats auth\u{a0}anna:mArKer7Q"),
    ("userlist", "user anna insecure\u{2013}password mArKer7Q"),
    ("listen", "block if { hdr(authorization) mArKer7Q }"),
    ("listen", "option httpchk GET /h?token=mArKer7Q"),
    ("listen", "acl a hdr_beg(x-key) mArKer7Q"),
    (
        "config",
        "follow git https://git.example.org/mArKer7Q@x/lb.git branch main",
    ),
    ("listen", "stats auth anna:mArKer7Q # before: mArKer7Q"),
    ("userlist", "user anna insecure-password mArKer7Q"),
    ("userlist", "user anna password mArKer7Q"),
    ("fcgi-app", "set-param HTTP_AUTHORIZATION mArKer7Q"),
    (
        "config",
        "follow git https://mArKer7Q@git.example.org/lb.git",
    ),
    (
        "config",
        "follow git https://anna:mArKer7Q@git.example.org/lb.git",
    ),
    (
        "node",
        "fence agent fence_pve ip=192.0.2.1 passwd=mArKer7Q plug=3",
    ),
    ("virtual-ip", "notify master \"/bin/true mArKer7Q\""),
    (
        "virtual-ip",
        "track script \"/bin/true -pmArKer7Q\" every 5s",
    ),
    (
        "boot",
        "image a kernel /v append mArKer7Q root=/dev/mArKer7Q",
    ),
    (
        "boot",
        "machine a mac 52:54:00:00:00:01 image a power agent fence_x passwd=mArKer7Q",
    ),
    ("console", "second-factor user anna secret mArKer7Q"),
    ("vrrp_instance x", "auth_pass mArKer7Q"),
    ("global_defs", "$AUTH_PASS=mArKer7Q"),
];

/// Lines with a typing error in a word that determines a secret.
const MISSPELT: &[(&str, &str)] = &[
    ("listen", "stats auht admin:mArKer7Q"),
    ("listen", "stats uath admin:mArKer7Q # before: mArKer7Q"),
    ("listen", "stats-auth admin:mArKer7Q"),
    ("listen", "statsauth admin:mArKer7Q"),
    ("listen", "stats auth:admin:mArKer7Q"),
    ("listen", "stats auth=admin:mArKer7Q"),
    ("listen", "stats auth admin mArKer7Q"),
    ("userlist", "user anna passwrod mArKer7Q"),
    ("userlist", "user anna paswd mArKer7Q"),
    ("userlist", "user anna insecure-pasword mArKer7Q groups x"),
    ("userlist", "user anna password:mArKer7Q"),
    ("listen", "http-request set-haeder Authorization mArKer7Q"),
    ("listen", "http-request set-haeder X-Api-Key mArKer7Q"),
    ("listen", "htpt-request set-header Authorisation mArKer7Q"),
    ("listen", "http-request set_header Cookie sid=mArKer7Q"),
    ("listen", "http-request replace-haeder Cookie a mArKer7Q"),
    (
        "listen",
        "http-request set-var(txn.s) req.hdr(x),hmca(sha256,mArKer7Q)",
    ),
    ("listen", "http-request set-var(txn.token) stri(mArKer7Q)"),
    ("listen", "http-request stevar(txn.token) str(mArKer7Q)"),
    ("listen", "acl ok htp_auth_pass(x) mArKer7Q"),
    (
        "listen",
        "http-request deny unless { req.cok(sid) mArKer7Q }",
    ),
    ("listen", "tcp-chek send \"AUTH mArKer7Q\""),
    ("listen", "tcp-check sned \"AUTH mArKer7Q\""),
    ("listen", "dynamic-cookei-key mArKer7Q"),
    ("listen", "server a 127.0.0.1:1 agent-sned mArKer7Q"),
    ("listen", "reqad Authorization:\\ Basic\\ mArKer7Q"),
    ("global", "sotenv PGDATA mArKer7Q"),
    ("fcgi-app", "set-parm HTTP_AUTHORIZATION mArKer7Q"),
    ("vrrp_instance x", "auth_pas mArKer7Q"),
    ("vrrp_instance x", "notfy_master \"/bin/true -pmArKer7Q\""),
    ("virtual-ip", "notfy master \"/bin/true mArKer7Q\""),
    (
        "boot",
        "image a kernel /v apend mArKer7Q root=/dev/mArKer7Q",
    ),
];

/// Returns lines that contain the marker, each with its section: for each keyword row with a secret
/// argument, and the fixed lines of this file.
fn places() -> Vec<(String, String)> {
    let mut all: Vec<(String, String)> = Vec::new();
    for row in documented().iter().filter(|row| row.built) {
        let place = row.places.first().copied().unwrap_or_default();
        for (name, value) in PLACEHOLDERS {
            // A path may contain blanks, so its arguments are tested separately.
            if !row.syntax.contains(name) || row.syntax.contains(&format!("path {name}")) {
                continue;
            }
            // Puts all alternatives of the syntax into one line: each must be masked.
            let line = row.syntax.replace(name, value);
            let line = line.replace(['[', ']', '{', '}', '|', '…'], " ");
            let line = line.replace(['<', '>'], "");
            let line = match place {
                "bind" | "server" => format!("{place} a 127.0.0.1:1 {line}"),
                _ => line,
            };
            let section = match place {
                "bind" | "server" => "listen",
                other => other,
            };
            all.push((section.to_owned(), line));
        }
    }
    let fixed = LINES.iter().chain(MISSPELT);
    all.extend(fixed.map(|(place, line)| ((*place).to_owned(), (*line).to_owned())));
    all
}

fn marked(text: &str, what: &str) -> Option<String> {
    let mut lines = text.lines().filter(|line| line.contains(MARKER));
    lines.next().map(|line| format!("{what}: {line}"))
}

#[test]
fn arguments_named_like_secrets_are_in_the_table() {
    let hints = ["pass", "secret", "token", "key", "credential"];
    for row in documented() {
        for name in row.syntax.split('<').skip(1) {
            let name = name.split('>').next().unwrap_or_default();
            let is_known = PLACEHOLDERS
                .iter()
                .any(|(known, _)| known.contains(&format!("<{name}>")));
            let sounds = hints.iter().any(|hint| name.contains(hint));
            assert!(
                !sounds || is_known || NO_SECRETS.contains(&name),
                "'{}': is <{name}> a secret? Add it to one of the tables of this file, and to `SECRETS` if it is one",
                row.name
            );
        }
    }
}

#[test]
fn no_view_of_a_line_shows_its_secret() {
    let vocabulary: Vocabulary<'_> = vocabulary();
    let places = places();
    assert!(places.len() > LINES.len() + 20, "{}", places.len());
    let mut found = Vec::new();
    for (section, line) in &places {
        let shown =
            String::from_utf8_lossy(&mask_secrets(line.as_bytes(), &vocabulary)).into_owned();
        found.extend(marked(&shown, line));
        let known = secrets(line.as_bytes(), &vocabulary);
        if !known.iter().any(|secret| secret.contains(MARKER)) {
            found.push(format!("{line}: not known as secret"));
        }
        // Differences of a reload: added, removed and changed.
        let file = |line: &str| {
            let text = format!("{section} x\n    {line}\n");
            vec![("a.cfg".to_owned(), text.into_bytes())]
        };
        let (with, without) = (file(line), file("# nothing"));
        let changed = file(&line.replace(MARKER, "other"));
        let pairs = [(&without, &with), (&with, &without), (&with, &changed)];
        for (old, new) in pairs.into_iter().chain([(&changed, &with)]) {
            let texts = |files| Texts { files, other: &[] };
            let told = compute(texts(old), texts(new), &vocabulary).to_string();
            found.extend(marked(&told, line));
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

fn diagnostics(text: &str) -> String {
    let files = vec![("site.cfg".to_owned(), text.as_bytes().to_vec())];
    let options = LoadOptions {
        here: true,
        node: Some("alpha".to_owned()),
        diag: true,
        ..LoadOptions::default()
    };
    let environment = Environment::empty();
    let mut site = load(files, environment, options, None, Outside::default());
    site.without_roles();
    let (sources, found) = (&site.proxy.sources, &site.proxy.diagnostics);
    let look = RenderOptions {
        diag: true,
        ..RenderOptions::default()
    };
    [
        render::full(sources, found, &look),
        render::concise(sources, found, true),
        render::json(sources, found, true),
        render::json_lines(sources, found, true).collect(),
    ]
    .concat()
}

#[test]
fn no_diagnostic_shows_a_secret_of_its_line_or_of_the_next() {
    difference::set_vocabulary(vocabulary);
    let mut found = Vec::new();
    for (section, line) in places() {
        for text in [
            format!("{section} x\n    {line}\n"),
            format!("{section} x\n    bogus-word\n    {line}\n    {line} bogus\n    bogus-word\n"),
            // Cut in the middle of a quote.
            format!("{section} x\n    {line}\"\n"),
        ] {
            found.extend(marked(&diagnostics(&text), &line));
        }
    }
    found.dedup();
    assert!(found.is_empty(), "{found:#?}");
}

/// Lines that compare secrets with a list whose file name reveals nothing.
const LIST_LINES: &[&str] = &[
    "acl a req.hdr(authorization) -m str -f /lists/ordinary",
    "acl a req.cook(session) -f /lists/ordinary",
    "http-request deny unless { req.hdr(x-api-key),map(/lists/ordinary) -m found }",
    "http-request set-header X-Api-Key %[req.hdr(x-tenant),map(/lists/ordinary)]",
    "http-request set-header Authorization \"Basic %[req.hdr(x-user),map(/lists/ordinary)]\"",
];

#[test]
fn masked_lists_show_no_secret_whatever_their_name() {
    use cluster::file_set::SetFile;
    use cluster::history::{MaskedFile, Redaction};
    for line in LIST_LINES {
        let file = |path: &str, main: bool, text: String| SetFile {
            path: path.to_owned(),
            main,
            secret: false,
            mode: 0o644,
            bytes: text.into_bytes(),
        };
        let files = [
            file("/etc/a.cfg", true, format!("listen x\n    {line}\n")),
            file("/lists/ordinary", false, format!("anna {MARKER}\n")),
        ];
        let shown = mask().of(&files).seen(&files[1]);
        assert!(matches!(shown, MaskedFile::Description(_)), "{line}");
        let report = Redaction::of_files(&files, &mask()).apply(MARKER);
        assert!(!report.contains(MARKER), "{line}");
    }
}

#[test]
fn no_diagnostic_quotes_a_line_of_a_list_with_secrets() {
    difference::set_vocabulary(vocabulary);
    let list = std::env::temp_dir().join(format!("evenkeel-list-{}", std::process::id()));
    std::fs::write(&list, format!("a(b {MARKER}(\n{MARKER}((\n")).unwrap();
    for line in [
        "acl a req.hdr(authorization) -m reg -f LIST",
        "acl a req.hdr(x-api-key) -m ip -f LIST",
        "http-request deny unless { req.hdr(x-api-key),map_reg(LIST) -m found }",
        "http-request set-header X-Api-Key %[src,map_ip_str(LIST)]",
        "http-request set-var(txn.api_key) src,map_str_ip(LIST)",
    ] {
        let line = line.replace("LIST", &list.display().to_string());
        let told = diagnostics(&format!("listen x\n    {line}\n"));
        assert!(told.contains("cannot be used"), "{line}: {told}");
        assert_eq!(marked(&told, &line), None);
    }
    std::fs::remove_file(&list).unwrap();
}

#[test]
fn no_message_shows_a_secret_of_the_environment() {
    difference::set_vocabulary(vocabulary);
    let files = vec![(
        "site.cfg".to_owned(),
        b"config\n    follow git \"https://anna:$TOKEN@git.example.org/a\"\n    follow git \"${PASSWORD_URL}\"\n".to_vec(),
    )];
    let mut environment = Environment::empty();
    environment.set("TOKEN", MARKER);
    environment.set(
        "PASSWORD_URL",
        format!("ftp://anna:{MARKER}@git.example.org/a"),
    );
    let site = load(
        files,
        environment,
        LoadOptions::default(),
        None,
        Outside::default(),
    );
    let (sources, found) = (&site.proxy.sources, &site.proxy.diagnostics);
    assert!(found.errors() >= 2);
    assert_eq!(
        marked(&render::json(sources, found, true), "the environment"),
        None
    );
}

#[test]
fn masked_files_show_no_secret() {
    use cluster::file_set::SetFile;
    use cluster::history::MaskedFile;
    let mut found = Vec::new();
    for (section, line) in places() {
        let file = SetFile {
            path: "/etc/a.cfg".to_owned(),
            main: true,
            secret: false,
            mode: 0o600,
            bytes: format!("{section} x\n    {line}\n#   {line}\n").into_bytes(),
        };
        found.extend(match mask().of([&file]).seen(&file) {
            MaskedFile::Text(text) => marked(&String::from_utf8_lossy(&text), &line),
            MaskedFile::Description(words) => marked(&words, &line),
        });
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn keywords_before_secrets_of_both_languages_are_known() {
    use cluster::file_set::SetFile;
    use cluster::history::MaskedFile;
    difference::set_vocabulary(vocabulary);
    let file = |path: &str, text: &str| SetFile {
        path: path.to_owned(),
        main: true,
        secret: false,
        mode: 0o644,
        bytes: text.as_bytes().to_vec(),
    };
    let text = "    stats auth a:SECRET\n    user b insecure-password SECRET\n    user c password SECRET\n    \
                second-factor user anna secret SECRET\n    \
                fence agent fence_apc ip=10.0.0.1 passwd=SECRET plug=3\n    \
                machine a mac 52:54:00:00:00:01 image b power agent fence_apc passwd=SECRET\n    \
                fence agent fence_ipmilan plug=3 password=\"SECRET and\" lanplus=1\n    \
                fence agent fence_ifmib snmp_priv_passwd=SECRET community=SECRET\n";
    let keepalived = "    auth_pass SECRET # auth_pass SECRET\n";
    for (path, text) in [("a.cfg", text), ("keepalived.conf", keepalived)] {
        let MaskedFile::Text(seen) = mask().of([&file(path, text)]).seen(&file(path, text)) else {
            panic!("a text is shown");
        };
        let seen = String::from_utf8_lossy(&seen).into_owned();
        assert!(!seen.contains("SECRET") && seen.contains("***"), "{seen}");
    }
}
