//! Tests of the subcommands of `evenkeel`: their output, exit codes and files.

use crate::harness::{Bench, CommandOutput, evenkeel, run};

fn ours(bench: &Bench, arguments: &str) -> CommandOutput {
    run(evenkeel(), bench.scratch.path(), arguments.split(' '))
}

#[test]
fn check_exits_with_0_or_1_in_three_formats() {
    let bench = Bench::new();
    bench.listening(18990, "");
    bench.file("bad.cfg", "frontend f\n    bnid 127.0.0.1:18990\n");
    let good = ours(&bench, "check listening.cfg");
    assert_eq!(good.code(), Some(0), "{}", good.stdout);
    let full = ours(&bench, "check bad.cfg");
    assert_eq!(full.code(), Some(1));
    assert!(
        full.stdout.contains("error[E0101]") && full.stdout.contains("did you mean 'bind'?"),
        "{}",
        full.stdout
    );
    assert!(
        !full.stdout.contains('\x1b'),
        "no colour outside of a terminal"
    );
    let concise = ours(&bench, "check --format concise bad.cfg");
    assert!(
        concise.stdout.starts_with("bad.cfg:2:5: "),
        "{}",
        concise.stdout
    );
    let json = ours(&bench, "check --format json bad.cfg");
    assert_eq!(json.code(), Some(1));
    let value: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert!(value.to_string().contains("E0101"));
}

#[test]
fn check_serves_the_requests_of_a_test_section_and_a_start_does_not() {
    let bench = Bench::new();
    let text = |status: u16| {
        format!(
            "frontend web\n    mode http\n    timeout client 5s\n    bind 127.0.0.1:18991\n    \
             http-request return status 204 if {{ path /here }}\n\
             test\n    expect /here on web status {status}\n"
        )
    };
    bench.file("good.cfg", &text(204));
    bench.file("bad.cfg", &text(200));
    let good = ours(&bench, "check good.cfg");
    assert_eq!(good.code(), Some(0), "{}", good.stdout);
    assert!(
        good.stdout.ends_with(", 1 expectation met\n"),
        "{}",
        good.stdout
    );
    let bad = ours(&bench, "check --format concise bad.cfg");
    assert_eq!(bad.code(), Some(1));
    assert!(
        bad.stdout.starts_with(
            "bad.cfg:7:25: error[E0873]: GET /here: expected status 200, but the proxy replies 204"
        ),
        "{}",
        bad.stdout
    );
    // Under HAProxy's name, and at a start, the file is loaded nevertheless.
    let haproxy = ours(&bench, "haproxy -c -f bad.cfg");
    assert_eq!(haproxy.code(), Some(0), "{}", haproxy.stderr);
}

#[test]
fn check_shows_the_differences_from_haproxy_that_apply_to_a_file_and_no_others() {
    let bench = Bench::new();
    bench.file(
        "old.cfg",
        "global\n    user nobody\n    busy-polling\n    stats socket /run/old.sock level user\n\
         listen tunnel\n    bind 127.0.0.1:18992\n    option redispatch\n    balance source\n    \
         server a 127.0.0.1:1 weight 3\n    server b 127.0.0.1:2\n    timeout client 5s\n    \
         timeout connect 5s\n    timeout server 5s\n",
    );
    let text = ours(&bench, "check --against-haproxy old.cfg");
    assert_eq!(text.code(), Some(0), "{}", text.stdout);
    insta::assert_snapshot!(text.stdout);
    let json = ours(&bench, "check --against-haproxy --format json old.cfg");
    let value: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    let keys = value.as_array().unwrap().iter();
    let keys: Vec<&str> = keys.map(|one| one["key"].as_str().unwrap()).collect();
    assert_eq!(
        keys,
        [
            "dynamic-servers-kept",
            "dynamic-servers-idle",
            "lists-operator",
            "secret-values",
            "redispatch-pause",
            "turns-of-weights",
            "hash-redispatch",
            "without-effect"
        ]
    );
    assert_eq!(value[5]["lines"][0]["line"], 9);
    bench.file("wrong.cfg", "listen a\n    bnid :1\n");
    let wrong = ours(&bench, "check --against-haproxy wrong.cfg");
    assert_eq!(wrong.code(), Some(1));
    assert!(wrong.stdout.contains("error[E0101]"), "{}", wrong.stdout);
}

#[test]
fn output_that_cannot_be_written_is_a_failure() {
    use std::process::{Command, Stdio};
    let status = |to: Stdio| {
        let mut command = Command::new(evenkeel());
        command
            .args(["explain", "e0101"])
            .stdout(to)
            .stderr(Stdio::null());
        command.status().unwrap().code()
    };
    let full = std::fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    assert_eq!(status(full.into()), Some(1));
    assert_eq!(status(Stdio::null()), Some(0));
    // A closed pipe, as with `head`.
    let (reader, writer) = rustix::pipe::pipe().unwrap();
    drop(reader);
    assert_eq!(status(writer.into()), Some(0));
}

#[test]
fn version_and_reference_are_printed_as_json() {
    let bench = Bench::new();
    let document = |arguments: &str| -> serde_json::Value {
        let outcome = ours(&bench, arguments);
        assert_eq!(outcome.code(), Some(0), "{}", outcome.stderr);
        serde_json::from_str(&outcome.stdout).unwrap()
    };
    let version = document("version --json");
    let text = ours(&bench, "version").stdout;
    let line = format!("evenkeel {}\n", version["version"].as_str().unwrap());
    assert!(text.starts_with(&line), "{text}");
    let codes = document("explain --json e0101 E0101 E0103");
    let codes: Vec<&str> = codes
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|one| one["code"].as_str())
        .collect();
    assert_eq!(codes, ["E0101", "E0103"]);
    assert!(document("explain --list --json").as_array().unwrap().len() > 100);
    let keyword = document("keyword --json timeout client");
    assert_eq!(keyword[0]["name"], "timeout client");
    assert_eq!(keyword[0]["supported"], true);
    let unknown = ours(&bench, "explain --json E9999");
    assert_eq!((unknown.code(), &*unknown.stdout), (Some(1), ""));
    assert!(
        unknown.stderr.contains("unknown code 'E9999'; near it: "),
        "{}",
        unknown.stderr
    );
}

#[test]
fn explain_knows_every_code_and_suggests_the_nearest() {
    let bench = Bench::new();
    let explained = ours(&bench, "explain e0101");
    assert_eq!(explained.code(), Some(0));
    assert!(explained.stdout.starts_with("E0101: unknown keyword"));
    let listed = ours(&bench, "explain --list").stdout;
    assert!(listed.lines().count() > 40, "{listed}");
    let unknown = ours(&bench, "explain Q0101");
    assert_eq!(unknown.code(), Some(1));
    assert!(unknown.stderr.contains("unknown code"));
}

#[test]
fn keyword_explains_lists_and_suggests() {
    let bench = Bench::new();
    let page = ours(&bench, "keyword timeout client");
    assert_eq!(page.code(), Some(0), "{}", page.stderr);
    assert!(page.stdout.contains("timeout client"));
    let unknown = ours(&bench, "keyword bnid");
    assert_eq!(unknown.code(), Some(1));
    assert!(
        unknown.stderr.contains("did you mean 'bind'?"),
        "{}",
        unknown.stderr
    );
    let called = ours(&bench, "keyword sticky").stderr;
    assert!(
        called.contains("related to 'sticky': cookie, stick on"),
        "{called}"
    );
    for (name, told) in [
        ("show stat", "runtime command"),
        ("cD", "termination state"),
        ("gpc0_rate", "data type"),
    ] {
        let page = ours(&bench, &format!("keyword {name}")).stdout;
        assert!(page.contains(told), "{name}: {page}");
    }
    assert!(ours(&bench, "keyword --list").stdout.lines().count() > 500);
}

#[test]
fn the_manual_is_read_in_the_terminal_or_written_as_pages() {
    let bench = Bench::new();
    let contents = ours(&bench, "manual");
    assert_eq!(contents.code(), Some(0), "{}", contents.stderr);
    assert!(
        contents.stdout.contains("  timeouts "),
        "{}",
        contents.stdout
    );
    let chapter = ours(&bench, "manual timeouts");
    assert!(chapter.stdout.starts_with("Timeouts\n"));
    assert!(chapter.stdout.contains("timeout client <"));
    let found = ours(&bench, "manual leastconn");
    assert!(found.stdout.contains("balance ("), "{}", found.stdout);
    for (words, first) in [
        ("sticky", "cookie ("),
        ("redirect https", "redirect ("),
        ("real ip", "option forwardfor ("),
        ("health check", "option httpchk ("),
        ("rate limit", "stick-table ("),
        ("sH", "sH ("),
        ("show stat", "show stat ("),
    ] {
        let found = ours(&bench, &format!("manual {words}")).stdout;
        assert!(found.starts_with(first), "{words}: {found}");
    }
    let slip = ours(&bench, "manual stikcy sesion").stdout;
    assert!(slip.contains("results for 'sticky session'"), "{slip}");
    let unknown = ours(&bench, "manual qqqqqqqqqq");
    assert_eq!(unknown.code(), Some(1));
    assert!(
        unknown
            .stderr
            .contains("no chapter or keyword matches 'qqqqqqqqqq'"),
        "{}",
        unknown.stderr
    );
    assert!(
        ours(&bench, "manual --differences")
            .stdout
            .contains("[body-cut]")
    );
    assert!(ours(&bench, "manual --all").stdout.lines().count() > 3000);
    let book = bench.file("note", "").with_file_name("book");
    let written = ours(&bench, "manual --html book");
    assert_eq!(written.code(), Some(0), "{}", written.stderr);
    for page in ["index.html", "timeouts.html", "search.js", "codes.html"] {
        assert!(book.join(page).exists(), "{page}");
    }
    bench.file("occupied", "a file");
    let refused = ours(&bench, "manual --html occupied");
    assert_eq!(refused.code(), Some(1));
    assert!(refused.stderr.contains("occupied"), "{}", refused.stderr);
}

#[test]
fn fmt_checks_prints_or_replaces_and_keeps_the_mode() {
    use std::os::unix::fs::PermissionsExt;
    let bench = Bench::new();
    let path = bench.file("f.cfg", "frontend f\nbind :80\n");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    assert_eq!(ours(&bench, "fmt --check f.cfg").code(), Some(1));
    assert_eq!(
        ours(&bench, "fmt --stdout f.cfg").stdout,
        "frontend f\n    bind :80\n"
    );
    assert_eq!(
        std::fs::read_to_string(&path).unwrap(),
        "frontend f\nbind :80\n",
        "not written yet"
    );
    assert_eq!(ours(&bench, "fmt f.cfg").code(), Some(0));
    assert_eq!(
        std::fs::read_to_string(&path).unwrap(),
        "frontend f\n    bind :80\n"
    );
    assert_eq!(
        std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o640
    );
    assert_eq!(ours(&bench, "fmt --check f.cfg").code(), Some(0));
    assert_eq!(ours(&bench, "fmt missing.cfg").code(), Some(1));
}

#[test]
fn completions_and_the_man_page_come_from_the_same_definitions() {
    let bench = Bench::new();
    for shell in ["bash", "zsh", "fish"] {
        let outcome = ours(&bench, &format!("completions {shell}"));
        assert!(outcome.stdout.contains("explain"), "{shell}");
    }
    let man = ours(&bench, "man").stdout;
    assert!(
        man.contains(".TH") && man.contains("EVENKEEL CHECK"),
        "{man}"
    );
}

#[test]
fn help_is_unchanged() {
    let bench = Bench::new();
    for command in [
        "", "run ", "reload ", "check ", "fmt ", "explain ", "keyword ", "demo ",
    ] {
        let outcome = ours(&bench, &format!("{command}--help"));
        assert_eq!(outcome.code(), Some(0), "{command}");
        let name = format!(
            "help_{}",
            if command.is_empty() {
                "evenkeel"
            } else {
                command.trim()
            }
        );
        insta::assert_snapshot!(name, outcome.stdout);
    }
}

#[test]
fn the_personalities_need_no_link() {
    let bench = Bench::new();
    bench.listening(18990, "");
    let outcome = ours(&bench, "haproxy -c -f listening.cfg");
    assert_eq!(
        (outcome.code(), outcome.stdout.as_str()),
        (Some(0), "Configuration file is valid\n")
    );
    let keepalived = ours(&bench, "keepalived --signum=DATA");
    assert_eq!(
        (keepalived.code(), keepalived.stdout.as_str()),
        (Some(0), "10\n")
    );
}

#[test]
fn the_scripted_demo_loses_no_request() {
    let bench = Bench::new();
    let outcome = ours(&bench, "demo --script");
    assert_eq!(
        outcome.code(),
        Some(0),
        "{}{}",
        outcome.stdout,
        outcome.stderr
    );
    assert!(outcome.stdout.contains("phase                 requests"));
}

#[test]
fn valid_file_without_listeners_has_its_own_exit_code() {
    let bench = Bench::new();
    std::fs::create_dir(bench.scratch.path().join("empty")).unwrap();
    bench.file("b.cfg", "backend b\n    server s 127.0.0.1:1\n");
    for format in ["full", "concise", "json"] {
        let outcome = ours(&bench, &format!("check --format {format} b.cfg"));
        assert_eq!(outcome.code(), Some(2), "{}", outcome.stderr);
        let told = outcome.stderr.contains("nothing to run on this machine");
        assert_eq!(told, format != "json", "{}", outcome.stderr);
    }
    for command in ["check empty", "run -f empty"] {
        let outcome = ours(&bench, command);
        assert_eq!(outcome.code(), Some(1));
        let told = outcome.stderr.contains("ends with .cfg in empty");
        assert!(told, "{}", outcome.stderr);
    }
}

#[test]
fn fmt_leaves_a_damaged_file_as_it_is() {
    let bench = Bench::new();
    let text = b"global\n  maxconn 5\0 0\n";
    let path = bench.scratch.path().join("n.cfg");
    std::fs::write(&path, text).unwrap();
    let outcome = run(evenkeel(), bench.scratch.path(), ["fmt", "n.cfg"]);
    assert_eq!(outcome.code(), Some(1));
    assert!(
        outcome.stderr.contains("n.cfg:2: a NUL byte"),
        "{}",
        outcome.stderr
    );
    assert_eq!(std::fs::read(&path).unwrap(), text);
}

#[test]
fn upgrade_fails_for_errors_and_for_files_of_keepalived() {
    let bench = Bench::new();
    let at = bench.scratch.path();
    std::fs::write(at.join("bad.cfg"), "global\n    maxcon 5\n").unwrap();
    let outcome = run(evenkeel(), at, ["upgrade", "bad.cfg"]);
    assert_eq!(outcome.code(), Some(1), "{}", outcome.stderr);
    let text = "vrrp_instance VI_1 {\n    interface eth0\n    virtual_router_id 5\n}\n";
    std::fs::write(at.join("keepalived.conf"), text).unwrap();
    let outcome = run(evenkeel(), at, ["upgrade", "keepalived.conf"]);
    assert_eq!(outcome.code(), Some(1), "{}", outcome.stderr);
    let told = "keepalived.conf is a file of keepalived";
    assert!(outcome.stderr.contains(told), "{}", outcome.stderr);
}

#[test]
fn files_with_only_comments_are_valid() {
    let bench = Bench::new();
    bench.file("comment.cfg", "# later\n\n");
    bench.file("empty.cfg", "");
    for files in ["comment.cfg", "empty.cfg", "comment.cfg empty.cfg"] {
        let outcome = ours(&bench, &format!("check {files}"));
        assert_eq!(outcome.code(), Some(2), "{files}: {}", outcome.stderr);
        let valid = "configuration valid: 0 frontends, 0 backends, 0 servers\n";
        assert_eq!(outcome.stdout, valid, "{files}");
    }
}
