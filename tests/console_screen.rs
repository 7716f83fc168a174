//! The display of a guest in a browser: a real QEMU, drawn by noVNC through the console.

use crate::console_site::{ANNA, Console, OLGA, VERA};
use crate::webdriver::Browser;

const GUEST: &str = "guest mail\n    memory 32m\n    boot iso {dir}/empty.iso\n    console vnc\n    stop-timeout 1s\n";
const SCREEN: &str = "/screen/guest/guest/mail/screen";

/// The guests end before the supervisor: they would outlive it.
struct Guest<'c>(&'c Console);

impl Drop for Guest<'_> {
    fn drop(&mut self) {
        self.0.command(&["guest", "stop", "mail", "--kill"]);
    }
}

fn sign_in(browser: &Browser, console: &Console, [name, password]: [&str; 2]) {
    browser.open(&console.url("/part/guest"));
    browser.find("input[name=user]").type_text(name);
    browser.find("input[name=password]").type_text(password);
    browser.find("form button").click();
    browser.wait_for("document.readyState === 'complete' && document.querySelector('.viewer')");
}

/// How many different colours the middle of the display has.
const COLOURS: &str = "(() => {
    const canvas = document.querySelector('#screen canvas');
    if (!canvas || canvas.width < 300) return 0;
    const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
    const seen = new Set();
    for (let at = 0; at < pixels.length; at += 4) {
        seen.add(pixels[at] << 16 | pixels[at + 1] << 8 | pixels[at + 2]);
    }
    return seen.size;
})()";

#[test]
fn an_operator_uses_the_display_of_a_guest_and_others_do_not() {
    lab::skip_unless_root!();
    lab::skip_unless_installed!("chromium");
    lab::skip_unless_installed!("chromedriver");
    lab::skip_unless_installed!("curl");
    lab::skip_unless_installed!("qemu-system-x86_64");
    lab::skip_unless_installed!("/usr/share/novnc/core/rfb.js");
    let console = Console::plain();
    console
        .scratch
        .write("empty.iso", vec![0; 1 << 20])
        .unwrap();
    let guest = GUEST.replace("{dir}", &console.scratch.path().display().to_string());
    console.reload(|config| format!("{config}{guest}"));
    let guest = Guest(&console);
    let browser = Browser::start();
    sign_in(&browser, &console, OLGA);
    browser.wait_for("document.querySelector('a[href=\"/screen/guest/guest/mail/screen\"]')");
    browser
        .find("a[href='/screen/guest/guest/mail/screen']")
        .click();
    browser.wait_for("document.getElementById('screen-state').textContent.startsWith('Connected')");
    // What the firmware writes.
    browser.wait_for(&format!("{COLOURS} > 1"));
    assert_eq!(
        browser.run("return document.getElementById('screen-keys').disabled"),
        false
    );
    if let Some(path) = std::env::var_os("SCREEN_PICTURE") {
        browser.emulate(1400, 900, "light");
        std::fs::write(path, browser.picture()).unwrap();
    }
    refuses(&console);

    // It is in the events by whom; and the page says why, when the guest has gone.
    let events = || format!("{:?}", console.events());
    assert!(
        lab::eventually(crate::console_site::SOON, || events().contains("by olga")),
        "{}",
        events()
    );
    drop(guest);
    browser.wait_for("!document.getElementById('screen-again').hidden");
    let words = "document.getElementById('screen-state').textContent";
    let again = format!(
        "{words}.includes('does not run') \
         || (document.getElementById('screen-again').hidden \
         || document.getElementById('screen-again').click(), false)"
    );
    browser.wait_for(&again);
}

/// Everybody who may not: a viewer, a stranger, and the page of another site.
fn refuses(console: &Console) {
    let socket = format!("{SCREEN}/socket");
    let key = [
        "-H",
        "Connection: Upgrade",
        "-H",
        "Upgrade: websocket",
        "-H",
        "Sec-WebSocket-Version: 13",
        "-H",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ];
    let own = format!("Origin: {}", console.url("").trim_end_matches('/'));
    let cookies = [VERA, OLGA, ANNA].map(|who| console.sign_in(who));
    let [vera, olga, anna] = &cookies;
    for (cookie, origin, status) in [
        (vera.as_str(), own.as_str(), 403),
        ("Cookie: none=1", own.as_str(), 401),
        (olga.as_str(), "Origin: http://evil.example.org", 403),
        (anna.as_str(), "X-Origin: none", 403),
    ] {
        let words = [&key[..], &["-H", cookie, "-H", origin, &socket]].concat();
        assert_eq!(console.get(&words).status, status, "{cookie} {origin}");
    }
    // A display that there is none of, and files that are none.
    for (path, status) in [
        ("/screen/guest/guest/web/screen/socket", 409),
        ("/screen/guest/guest/mail/stop/socket", 409),
        ("/novnc/core/../vnc.html", 404),
        ("/novnc/core/rfb.js", 200),
        (SCREEN, 200),
    ] {
        assert_eq!(console.get(&["-H", olga, path]).status, status, "{path}");
    }
    assert_eq!(console.get(&["-H", vera, SCREEN]).status, 403);
    // The form of actions opens nothing.
    let csrf = console.get(&["-H", olga, "/part/guest"]).csrf();
    let form = format!("csrf={csrf}&what=offer&part=guest&kind=guest&name=mail&word=screen&back=/");
    let told = console.get(&["-H", olga, "-d", &form, "/act"]);
    assert_eq!(told.status, 409, "{told:?}");
    assert!(told.body.contains("a page of its own"), "{told:?}");
}
