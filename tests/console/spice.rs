//! Tests the display of a guest by SPICE in a browser: a real QEMU, drawn by spice-html5 through
//! the console.

use crate::console::screen::{
    COLOURS, GuestCleanup, Relay, STATE, connects, follow, picture, sign_in,
};
use crate::console::site::{Console, OLGA, SOON};
use crate::webdriver::Browser;
use lab::{Image, eventually};

const GUEST: &str = "guest mail\n    memory 96m\n    console spice\n    stop-timeout 1s\n    \
                     boot kernel {kernel} initrd {initrd} append \"console=ttyS0 quiet panic=-1\"\n";
/// The init process of the guest, which prints on its serial line what is typed at its display.
const INIT: &[u8] = b"#!/bin/busybox sh
/bin/busybox mount -t devtmpfs dev /dev
echo guest: on the display >/dev/tty1
echo guest: ready
while read line; do echo \"guest: typed $line\"; done </dev/tty1
";
const SPICE: &str = "/spice/guest/guest/mail/screen";
/// Moves the mouse to places in the page, and returns what the guest receives: two corners of the
/// picture, a place between them, and one outside.
const MOUSE: &str = "
    const canvas = document.querySelector('#screen canvas');
    const box = canvas.getBoundingClientRect();
    const scale = Math.min(box.width / canvas.width, box.height / canvas.height);
    const [x, y] = [box.left + box.width / 2, box.top + box.height / 2];
    return [[-1, -1], [.5025, .5025], [1, 1], [2, 2]].map(([across, down]) => {
        const at = {
            clientX: x + across * (canvas.width * scale / 2 - .1), clientY: y + down * (canvas.height * scale / 2 - .1),
        };
        canvas.dispatchEvent(new MouseEvent('mousemove', { ...at, bubbles: true }));
        return `${canvas.sc.mousex - canvas.width / 2} ${canvas.sc.mousey - canvas.height / 2}`;
    }).concat(`${canvas.width / 2} ${canvas.height / 2}`).join();";

/// Sends a message that no browser needs, and records the messages of the page from then on.
const FORBIDDEN: &str = "
    window.said = [];
    const state = document.getElementById('screen-state');
    new MutationObserver(() => said.push(state.textContent)).observe(state, { childList: true });
    const { inputs } = document.querySelector('#screen canvas').sc;
    inputs.ws.send(new Uint8Array([200, 0, 0, 0, 0, 0]).buffer);";

/// Padding of a small number that the library encrypts.
const PADS: &str = "
    const [done] = arguments;
    import('/spice-html5/thirdparty/rsa.js').then(({ RSAKey }) => {
        const key = new RSAKey();
        key.n = { bitLength: () => 1024 };
        done(key.doPublic({ modPowInt: () => ({ toString: () => 'abc' }) }).toString(16));
    }, String).then(done);";

/// Starts a machine with the guest, and a relay that can lose connections.
fn console(image: &Image) -> (Console, Relay) {
    let console = Console::plain();
    let guest = GUEST
        .replace("{kernel}", &image.kernel().display().to_string())
        .replace("{initrd}", &image.initrd().display().to_string());
    console.reload(|config| format!("{config}{guest}"));
    let relay = Relay::start(console.at);
    (console, relay)
}

/// Opens the page of the display in a browser.
fn page(relay: &Relay) -> Browser {
    let browser = Browser::start();
    sign_in(&browser, &format!("http://{}/part/guest", relay.at), OLGA);
    follow(&browser, SPICE);
    browser
}

fn draws(browser: &Browser) {
    connects(browser);
    let is_drawn = || browser.run(&format!("return {COLOURS} > 1")) == true;
    assert!(eventually(SOON, is_drawn), "{}", browser.text());
}

/// Types words into the display until the guest has them. QEMU keeps few keys for a guest that is
/// slow.
fn types(browser: &Browser, console: &Console, words: &str) {
    browser.wait_for("document.activeElement === document.querySelector('#screen canvas')");
    let log = || console.command(&["guest", "log", "mail"]);
    // A kernel that is starting mistakes keys for responses of its keyboard.
    let is_ready = || log().contains("guest: ready");
    assert!(eventually(SOON, is_ready), "{}", log());
    let is_typed = || {
        browser.press(None, &format!("{words}\n"));
        log().contains(&format!("guest: typed {words}"))
    };
    assert!(eventually(SOON, is_typed), "{}", log());
}

#[test]
fn an_operator_uses_a_display_by_spice_and_the_next_one_hears_who() {
    lab::skip_unless_root!();
    lab::skip_unless_installed!("chromium");
    lab::skip_unless_installed!("chromedriver");
    lab::skip_unless_installed!("qemu-system-x86_64");
    lab::skip_unless_installed!("/usr/share/spice-html5/main.js");
    let Some(image) = Image::with(INIT, &["busybox"], &[]) else {
        return;
    };
    let (console, relay) = console(&image);
    let guest = GuestCleanup(&console);
    let browser = page(&relay);
    browser.complaints();
    draws(&browser);
    types(&browser, &console, "a-42");
    assert_eq!(browser.run_async(PADS), "0".repeat(253) + "abc");
    for (name, width, height, scheme) in [
        ("spice-narrow", 360, 780, "light"),
        ("spice", 1400, 900, "light"),
    ] {
        picture(&browser, name, width, height, scheme);
    }
    assert_eq!(
        browser.run(MOUSE),
        "-360 -200,180 100,359 199,359 199,360 200",
        "{}",
        browser.text()
    );
    // The key combination moves the focus out of the display.
    browser.run(
        "const keys = { key: 'Home', ctrlKey: true, altKey: true, bubbles: true };
         document.querySelector('#screen canvas').dispatchEvent(new KeyboardEvent('keydown', keys));",
    );
    browser.wait_for("document.activeElement.id === 'screen-keys'");
    let forbidden = |words: &String| words.contains("Content Security Policy");
    let complaints = browser.complaints();
    assert!(!complaints.iter().any(forbidden), "{complaints:?}");

    // A message that is not passed to a guest ends the display, the page says which one, and
    // connects again.
    browser.run(FORBIDDEN);
    browser.wait_for(
        "said.some((words) => words.includes('not forwarded to guests (type 200, channel 3)'))",
    );
    draws(&browser);

    let second = page(&relay);
    second.wait_for(&format!(
        "{STATE}.includes('display is in use by olga, at the web console')"
    ));
    picture(&second, "spice-refused", 1400, 900, "light");
    assert_eq!(
        browser.run(&format!("return {STATE}.startsWith('Connected')")),
        true
    );
    // A display is one event, whatever connections it has: the second page is another display.
    let events = format!("{:?}", console.events());
    assert_eq!(events.matches("display opened").count(), 2, "{events}");
    drop(guest);
    browser.wait_for(&format!("{STATE}.includes('does not run')"));
    picture(&browser, "spice-off", 1400, 900, "light");
}

#[test]
#[ignore = "waits until a page notices that its connections are lost"]
fn a_page_of_spice_gets_its_display_back_after_a_loss_and_when_its_guest_is_there_again() {
    lab::skip_unless_root!();
    lab::skip_unless_installed!("chromium");
    lab::skip_unless_installed!("chromedriver");
    lab::skip_unless_installed!("qemu-system-x86_64");
    lab::skip_unless_installed!("/usr/share/spice-html5/main.js");
    let Some(image) = Image::with(INIT, &["busybox"], &[]) else {
        return;
    };
    let (console, relay) = console(&image);
    let _guest = GuestCleanup(&console);
    let browser = page(&relay);
    draws(&browser);
    for words in ["b-43", "c-44"] {
        relay.loses();
        browser.wait_for(&format!("!{STATE}.startsWith('Connected')"));
        picture(&browser, "spice-lost", 360, 780, "light");
        draws(&browser);
        types(&browser, &console, words);
    }
    // A page whose guest was stopped for a while gets its display back, too.
    for (order, is_there) in [("stop", false), ("start", true)] {
        console.command(&["guest", order, "mail"]);
        browser.wait_for(&format!("{STATE}.startsWith('Connected') === {is_there}"));
    }
    draws(&browser);
}
