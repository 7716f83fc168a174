//! Tests the console in a browser: what the pages show and do without a reload.

use crate::console::site::{Console, OLGA, SOON};
use crate::webdriver::Browser;
use lab::{Location, Probe};

/// Returns a JavaScript expression for a server's row in the table of the traffic page.
fn row(server: &str) -> String {
    format!(
        "[...document.querySelectorAll('#traffic tr')]\
         .find((row) => row.cells[0].textContent.trim() === '{server}')"
    )
}

/// Returns a JavaScript expression for the state of a server, as the page shows it.
fn state(server: &str) -> String {
    format!(
        "({}?.querySelector('.c-state')?.textContent ?? '')",
        row(server)
    )
}

fn sign_in(browser: &Browser, console: &Console) {
    browser.open(&console.url("/traffic"));
    let [name, password] = OLGA;
    browser.find("input[name=user]").type_text(name);
    browser.find("input[name=password]").type_text(password);
    browser.find("form button").click();
    // Back at the page that was asked for, with the name of the user.
    browser.wait_for("document.readyState === 'complete' && document.querySelector('.viewer')");
    assert_eq!(browser.url(), console.url("/traffic"));
    assert!(browser.text().contains("olga"), "{}", browser.text());
}

#[test]
fn a_page_shows_a_failed_server_without_a_reload_and_drains_another_one() {
    lab::skip_unless_installed!("chromium");
    lab::skip_unless_installed!("chromedriver");
    lab::skip_unless_installed!("curl");
    let mut console = Console::start();
    let browser = Browser::start();
    sign_in(&browser, &console);
    browser.wait_for("document.getElementById('live').textContent.startsWith('Live')");
    browser.wait_for(&format!("{}.startsWith('UP')", state("one")));
    browser.run("window.loaded = 'once';");

    console.origins[0].stop();
    let down = format!("{}.startsWith('DOWN')", state("one"));
    browser.wait_for(&down);
    browser.wait_for(&format!("{}.includes('Connection refused')", state("one")));
    assert_eq!(browser.run("return window.loaded"), "once");
    browser.wait_for(&format!("{}.startsWith('UP')", state("two")));

    let drain = "button[value=drain][aria-label*='app/two']";
    browser.find(drain).click();
    browser.wait_for("document.readyState === 'complete' && document.querySelector('.told')");
    let told = browser.run("return document.querySelector('.told').textContent");
    let told = told.as_str().unwrap_or_default().to_lowercase();
    assert!(told.contains("app/two") && told.contains("drain"), "{told}");
    browser.wait_for(&format!("{}.startsWith('DRAIN')", state("two")));
    assert_eq!(console.server("two"), "DRAIN");

    browser.open(&console.url("/events"));
    let line = |words: &[&str]| {
        let all: Vec<String> = words
            .iter()
            .map(|word| format!("row.textContent.includes('{word}')"))
            .collect();
        let all = all.join(" && ");
        format!("[...document.querySelectorAll('#events tbody tr')].some((row) => {all})")
    };
    browser.wait_for(&line(&["app/one", "DOWN"]));
    browser.wait_for(&line(&["app/two", "drain", "by olga"]));

    // Signs out with the button of the page.
    browser.find("form[action='/sign-out'] button").click();
    browser.wait_for("document.querySelector('input[name=password]')");
    browser.open(&console.url("/traffic"));
    browser.wait_for("document.querySelector('input[name=password]')");
}

#[test]
fn a_live_page_of_requests_keeps_the_focus_while_rows_come_above_it() {
    lab::skip_unless_installed!("chromium");
    lab::skip_unless_installed!("chromedriver");
    lab::skip_unless_installed!("curl");
    let console = Console::start();
    console.reload(|config| config.replacen("global\n", "global\n    request-history 64\n", 1));
    let ask = |path: &str| {
        let mut probe = Probe::new(Location::Here, console.web).timeout(SOON);
        probe.get(path).is_ok()
    };
    assert!(lab::eventually(SOON, || ask("/first")));
    let browser = Browser::start();
    sign_in(&browser, &console);
    browser.open(&console.url("/requests?path=/"));
    browser.wait_for("document.querySelector('#requests tbody a')");
    let focused = "document.activeElement.getAttribute('href')";
    browser.run("document.querySelector('#requests tbody a').focus()");
    let first = browser.run(&format!("return {focused}"));
    assert!(
        first.as_str().is_some_and(|href| href.contains("0x")),
        "{first}"
    );
    let rows = browser.run("return document.querySelectorAll('#requests tbody tr').length");
    for path in ["/second", "/third"] {
        assert!(ask(path));
    }
    browser.wait_for(&format!(
        "document.querySelectorAll('#requests tbody tr').length >= {rows} + 2"
    ));
    assert_eq!(browser.run(&format!("return {focused}")), first);
}
