//! Tests the configuration in the console of a cluster member: its versions, an edit with an error,
//! a change that is tried, rolled back and confirmed, and masked secrets.

use crate::console::site::{ANNA, Console, OLGA, SOON};
use crate::webdriver::Browser;
use lab::eventually;

/// Returns the text between two others.
fn between<'t>(text: &'t str, from: &str, to: &str) -> &'t str {
    let (_, rest) = text
        .split_once(from)
        .unwrap_or_else(|| panic!("{from}: {text}"));
    rest.split_once(to).map_or(rest, |(found, _)| found)
}

/// Returns the text of a page's editor, without HTML entities.
fn editor_text(page: &str) -> String {
    let area = between(page, "<textarea", "</textarea>");
    let (_, text) = area.split_once('>').expect("a text");
    let text = text.strip_prefix('\n').unwrap_or(text);
    let plain = text.replace("&quot;", "\"").replace("&lt;", "<");
    plain.replace("&gt;", ">").replace("&amp;", "&")
}

/// Signed-in administrator whose browser runs no scripts.
struct Admin<'c> {
    console: &'c Console,
    cookie: String,
    csrf: String,
    path: String,
}

impl Admin<'_> {
    fn page(&self, path: &str) -> String {
        let response = self.console.get(&["-H", &self.cookie, path]);
        assert_eq!(response.status, 200, "{path}: {}", response.body);
        response.body
    }

    /// Sends a form about a text; returns status and body.
    fn send(&self, to: &str, text: &str, more: &[(&str, &str)]) -> (u16, String) {
        let of = between(&self.page("/config/edit"), "name=\"of\" value=\"", "\"").to_owned();
        let mut fields = vec![
            ("csrf", self.csrf.as_str()),
            ("of", &of),
            ("path", &self.path),
            ("text", text),
        ];
        fields.retain(|(name, _)| !more.iter().any(|(other, _)| other == name));
        fields.extend_from_slice(more);
        let fields: Vec<String> = fields
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let mut words = vec!["-X", "POST", "-H", &self.cookie];
        for field in &fields {
            words.extend(["--data-urlencode", field]);
        }
        let response = self.console.get(&[&words[..], &[to]].concat());
        (response.status, response.body)
    }

    fn versions(&self) -> String {
        self.page("/config")
    }
}

fn admin(console: &Console) -> Admin<'_> {
    let cookie = console.sign_in(ANNA);
    let page = console.get(&["-H", &cookie, "/config/edit"]);
    Admin {
        console,
        cookie,
        csrf: page.csrf(),
        path: between(&page.body, "name=\"path\" value=\"", "\"").to_owned(),
    }
}

#[test]
fn a_mistake_stands_under_its_line_and_a_refused_version_quotes_no_secret() {
    lab::skip_unless_installed!("curl");
    let console = Console::member();
    let admin = admin(&console);
    assert!(eventually(SOON, || admin
        .versions()
        .contains("accepted, served")));
    let text = editor_text(&admin.page("/config/edit"));
    assert!(text.contains("user olga insecure-password ***"), "{text}");

    // A mistake is shown below its line.
    let wrong = text.replace("    default_backend app", "    defualt_backend app");
    let (status, body) = admin.send("/config/check", &wrong, &[]);
    assert_eq!(status, 200, "{body}");
    let line = 1 + wrong
        .lines()
        .position(|line| line.contains("defualt"))
        .unwrap();
    assert!(body.contains(&format!("data-line=\"{line}\"")), "{body}");
    assert!(
        body.contains("defualt_backend") && body.contains("^"),
        "{body}"
    );
    assert!(body.contains("default_backend"), "no proposal: {body}");
    let (_, body) = admin.send("/config/edit", &wrong, &[("do", "review")]);
    assert!(
        body.contains("1 mistake") && !body.contains("/config/apply"),
        "{body}"
    );
    let reason = [("message", "a mistake"), ("do", "apply")];
    let (status, body) = admin.send("/config/apply", &wrong, &reason);
    assert_eq!(status, 303, "{body}");
    assert!(
        eventually(SOON, || admin.versions().contains("refused")),
        "{}",
        admin.versions()
    );

    // The loader's error message about the version quotes no secret, neither on the pages nor in
    // the API.
    let said = console.api(OLGA, &["/api/v1/versions"]).body + &admin.versions();
    for secret in ["kiwi", "plum", "pear"] {
        assert!(!said.contains(secret), "{said}");
    }
}

#[test]
fn a_covered_secret_is_kept_where_its_line_is_and_refused_elsewhere() {
    lab::skip_unless_installed!("curl");
    let console = Console::member();
    let admin = admin(&console);
    let text = editor_text(&admin.page("/config/edit"));
    let covered = text.replace(
        "user olga insecure-password ***",
        "user otto insecure-password ***",
    );
    let (_, body) = admin.send("/config/check", &covered, &[]);
    assert!(body.contains("this secret is masked"), "{body}");

    // The placeholder of a secret is refused in other lines, too.
    let literal = text.replace(
        "    default_backend app",
        "    http-request set-header x-a ***\n    default_backend app",
    );
    let (_, body) = admin.send("/config/check", &literal, &[]);
    assert!(body.contains("this secret is masked"), "{body}");
}

#[test]
fn a_change_is_reviewed_tried_and_taken_back_without_scripts() {
    lab::skip_unless_installed!("curl");
    let console = Console::member();
    let admin = admin(&console);
    let text = editor_text(&admin.page("/config/edit"));
    // A change says what it changes, needs a reason, and waits to be confirmed.
    let new = text.replace("timeout connect 5s", "timeout connect 4s");
    let (_, body) = admin.send("/config/edit", &new, &[("do", "review")]);
    assert!(
        body.contains("-    timeout connect 5s") && body.contains("+    timeout connect 4s"),
        "{body}"
    );
    for secret in ["kiwi", "plum", "pear"] {
        assert!(!body.contains(secret), "{body}");
    }
    let (_, body) = admin.send("/config/apply", &new, &[("message", " ")]);
    assert!(body.contains("Enter a reason"), "{body}");
    let reason = [("message", "less patience"), ("confirm", "300")];
    let (status, body) = admin.send("/config/apply", &new, &reason);
    assert_eq!(status, 303, "{body}");
    assert!(
        eventually(SOON, || admin.versions().contains("value=\"confirm\"")),
        "{}",
        admin.versions()
    );
    let page = admin.versions();
    let version = between(&page, "name=\"version\" value=\"", "\"");
    let (csrf, version) = (format!("csrf={}", admin.csrf), format!("version={version}"));
    let act = |what: &str| {
        let form = format!("do={what}");
        let words = [
            "-X",
            "POST",
            "-H",
            &admin.cookie,
            "-d",
            &csrf,
            "-d",
            &version,
            "-d",
            &form,
        ];
        console.get(&[&words[..], &["/config/act"]].concat())
    };
    assert_eq!(act("cancel").status, 303);
    assert!(
        eventually(SOON, || admin.versions().contains("rolled back")),
        "{}",
        admin.versions()
    );
    assert!(
        admin.versions().contains("cancelled by anna@alpha"),
        "{}",
        admin.versions()
    );
    assert_eq!(act("cancel").status, 409);

    // The secrets are unchanged: olga can still sign in.
    console.sign_in(OLGA);
    history(&admin);
}

/// Checks the origin of each line, and the changes of a version.
fn history(admin: &Admin<'_>) {
    let path = format!("/config/file?path={}&blame=yes", admin.path);
    assert!(admin.page(&path).contains("alpha"), "{}", admin.page(&path));
    let first = admin.page("/config/difference?to=1");
    assert!(first.contains("+frontend web"), "{first}");
    let manual = admin.page("/config/manual?section=backend&line=option+httpchk+GET");
    assert!(manual.contains("option httpchk"), "{manual}");
}

#[test]
fn a_change_takes_an_administrator_and_a_form_of_this_console() {
    lab::skip_unless_installed!("curl");
    let console = Console::member();
    let anna = admin(&console);
    let olga = console.sign_in(OLGA);
    let seen = console.get(&["-H", &olga, "/config/file?version=1"]);
    assert_eq!(seen.status, 200, "{seen:?}");
    for path in ["/config/edit", "/config/roll-back?to=1"] {
        assert_eq!(console.get(&["-H", &olga, path]).status, 403, "{path}");
    }
    let csrf = console.get(&["-H", &olga, "/"]).csrf();
    for path in ["check", "edit", "apply", "act", "roll-back"] {
        let path = format!("/config/{path}");
        let fields = format!(
            "csrf={csrf}&of=1&version=1&to=1&do=cancel&path={}&text=x&message=x",
            anna.path
        );
        let post = |words: &[&str]| {
            let all = [&["-X", "POST", "-d", &fields], words, &[&path]].concat();
            console.get(&all).status
        };
        assert_eq!(post(&["-H", &olga]), 403, "{path}");
        // The token of another session, and a request from another site.
        assert_eq!(post(&["-H", &anna.cookie]), 403, "{path}");
        let evil = ["-H", &anna.cookie, "-H", "Origin: https://evil.example"];
        assert_eq!(post(&evil), 403, "{path}");
        assert!(matches!(post(&[]), 303 | 401), "{path}");
    }
    for path in [
        "/config/file?version=x",
        "/config/file?version=99",
        "/config/file?path=/etc/shadow",
        "/config/nothing",
        "/config/difference?to=99",
    ] {
        let status = console.get(&["-H", &anna.cookie, path]).status;
        assert!(matches!(status, 400 | 404 | 409), "{path}: {status}");
    }
    for path in ["/config", "/config/edit", "/config/file"] {
        assert_eq!(console.get(&[path]).status, 303, "{path}");
    }
}

/// A user edits version 1 while version 2 is accepted: the text is kept, and the changes are shown.
fn who_has_begun_before(console: &Console, text: &str) {
    let admin = admin(console);
    let text = text.replace("timeout client 10s", "timeout client 11s");
    let (status, page) = admin.send("/config/edit", &text, &[("of", "1"), ("do", "review")]);
    assert_eq!(status, 200, "{page}");
    for words in [
        "Version 2 was accepted while you edited version 1",
        "inter 400ms",
        "name=\"onto\" value=\"2\"",
    ] {
        assert!(page.contains(words), "{words}: {page}");
    }
    assert_eq!(editor_text(&page), text);
    let (_, page) = admin.send("/config/edit", &text, &[("of", "1"), ("onto", "2")]);
    assert!(page.contains("name=\"of\" value=\"2\""), "{page}");
}

#[test]
fn a_program_changes_the_configuration_and_follows_what_becomes_of_it() {
    lab::skip_unless_installed!("curl");
    let console = Console::member();
    let versions = || console.api(OLGA, &["/api/v1/versions"]).json();
    assert_eq!(versions()["accepted"], 1);
    let files = console.api(OLGA, &["/api/v1/files"]).json();
    let file = &files["files"][0];
    let (path, text) = (
        file["path"].as_str().unwrap(),
        file["text"].as_str().unwrap(),
    );
    let fields = [
        "of=1".to_owned(),
        format!("path={path}"),
        format!(
            "text={}",
            text.replace("check inter 500ms", "chekc inter 500ms")
        ),
        "message=by a program".to_owned(),
    ];
    let send = |user, fields: &[String], to| {
        let mut words = vec!["-X", "POST"];
        for field in fields {
            words.extend(["--data-urlencode", field]);
        }
        words.push(to);
        console.api(user, &words)
    };
    // A check has no message.
    let found = send(ANNA, &fields[..3], "/api/v1/check").json();
    assert_eq!(found["good"], false, "{found}");
    assert!(
        found["all"][0]["message"]
            .as_str()
            .unwrap()
            .contains("chekc"),
        "{found}"
    );
    assert_eq!(send(OLGA, &fields, "/api/v1/apply").status, 403);
    let refused = send(ANNA, &fields, "/api/v1/apply");
    assert_eq!(refused.status, 422, "{refused:?}");
    assert!(refused.body.contains("chekc"), "{refused:?}");
    assert_eq!(refused.json()["findings"]["good"], false, "{refused:?}");
    let mut fields = fields;
    fields[2] = format!(
        "text={}",
        text.replace("check inter 500ms", "check inter 400ms")
    );
    let waits = [&fields[..], &["wait=90".to_owned()]].concat();
    let done = send(ANNA, &waits, "/api/v1/apply");
    assert_eq!(done.status, 200, "{done:?}");
    assert_eq!(done.json()["version"], 2);
    assert_eq!(done.json()["outcome"], "accepted", "{done:?}");
    assert_eq!(versions()["accepted"], 2, "{}", versions());
    // A change that is based on the previous version is refused, with the reason.
    let stale = send(ANNA, &fields, "/api/v1/apply");
    assert_eq!(stale.status, 409);
    assert!(
        stale.body.contains("version 2 was accepted meanwhile"),
        "{stale:?}"
    );
    let changed = console.api(OLGA, &["/api/v1/differences?from=1&to=2"]).body;
    assert!(changed.contains("inter 400ms"), "{changed}");
    who_has_begun_before(&console, text);
}

#[test]
fn a_browser_shows_a_mistake_while_it_is_typed_and_follows_the_change() {
    lab::skip_unless_installed!("chromium");
    lab::skip_unless_installed!("chromedriver");
    lab::skip_unless_installed!("curl");
    let console = Console::member();
    let browser = Browser::start();
    browser.open(&console.url("/config"));
    let [name, password] = ANNA;
    browser.find("input[name=user]").type_text(name);
    browser.find("input[name=password]").type_text(password);
    browser.find("form button").click();
    browser.wait_for("document.querySelector('a[href=\"/config/edit\"]')");
    browser.find("a[href='/config/edit']").click();
    browser.wait_for("document.querySelector('#findings .good')");

    // A mistake that is typed at the end is shown below its line, and marked beside it.
    browser.run("const t = document.getElementById('text'); t.focus(); t.setSelectionRange(t.value.length, t.value.length);");
    browser
        .find("#text")
        .type_text("backend more\n    ballance roundrobin\n");
    browser.wait_for("document.querySelector('#findings li.bad .carets')");
    browser.wait_for("[...document.querySelectorAll('#marks .words')].some((one) => one.textContent.includes('balance'))");
    browser.wait_for("document.querySelector('#gutter .bad')");
    browser.run("const t = document.getElementById('text'); t.value = t.value.replace('ballance', 'balance'); t.dispatchEvent(new Event('input'));");
    browser.wait_for("!document.querySelector('#findings li.bad') && document.querySelector('#findings .outcome')");
    // The manual shows the keyword in the line with the cursor.
    browser.run("const t = document.getElementById('text'); t.focus(); const at = t.value.indexOf('balance'); t.setSelectionRange(at, at);");
    browser.wait_for("document.getElementById('manual').textContent.includes('balance')");

    browser.find("button[value=review]").click();
    browser
        .wait_for("document.querySelector('form[action=\"/config/apply\"] button[value=apply]')");
    browser.find("#message").type_text("one more backend");
    browser.run("document.getElementById('confirm').value = '300'");
    browser.find("button[value=apply]").click();
    // The page follows the rollout without a reload, until it waits for confirmation and is
    // accepted.
    browser.wait_for("document.querySelector('.steps .here')");
    browser.wait_for("document.querySelector('button[value=confirm]')");
    browser.find("button[value=confirm]").click();
    browser.wait_for("document.readyState === 'complete' && [...document.querySelectorAll('.history li')].some((one) => one.textContent.includes('one more backend') && one.textContent.includes('accepted, served'))");
    browser.open(&console.url("/traffic"));
    browser.wait_for("document.body.textContent.includes('more')");
    browser.open(&console.url("/events"));
    browser.wait_for("[...document.querySelectorAll('#events tbody tr')].some((row) => row.textContent.includes('anna@alpha'))");
}
