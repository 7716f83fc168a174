//! Tests the display and the terminal of a guest in a browser: a real QEMU, drawn by noVNC and
//! xterm.js through the console.

use crate::console::site::{ANNA, Console, OLGA, SOON, VERA};
use crate::webdriver::{Browser, CONTROL};
use lab::Image;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

const GUEST: &str = "guest mail\n    memory 96m\n    console vnc\n    stop-timeout 1s\n    \
                     boot kernel {kernel} initrd {initrd} append \"console=ttyS0 quiet panic=-1\"\n";
/// The first process of the guest: it writes on its display, and is a shell on its serial line.
pub const INIT: &[u8] = b"#!/bin/busybox sh
/bin/busybox mount -t devtmpfs dev /dev
echo guest: on the display >/dev/tty0
echo guest: ready
exec /bin/busybox sh -i
";
const SCREEN: &str = "/screen/guest/guest/mail/screen";
const TERMINAL: &str = "/terminal/guest/guest/mail/terminal";
/// Text of the terminal for screen readers.
const SHOWN: &str = "document.querySelector('.xterm-accessibility-tree').textContent";
pub const STATE: &str = "document.getElementById('screen-state').textContent";

fn guest(image: &Image) -> String {
    GUEST
        .replace("{kernel}", &image.kernel().display().to_string())
        .replace("{initrd}", &image.initrd().display().to_string())
}

/// Ends the guests when it is dropped, before the supervisor, which they would outlive.
pub struct GuestCleanup<'c>(pub &'c Console);

impl Drop for GuestCleanup<'_> {
    fn drop(&mut self) {
        self.0.command(&["guest", "stop", "mail", "--kill"]);
    }
}

pub fn sign_in(browser: &Browser, url: &str, [name, password]: [&str; 2]) {
    browser.open(url);
    browser.find("input[name=user]").type_text(name);
    browser.find("input[name=password]").type_text(password);
    browser.find("form button").click();
    browser.wait_for("document.readyState === 'complete' && document.querySelector('.viewer')");
}

/// Follows the link to a display or terminal on the page of guests.
pub fn follow(browser: &Browser, path: &str) {
    let link = format!("a[href='{path}']");
    browser.wait_for(&format!("document.querySelector(\"{link}\")"));
    browser.find(&link).click();
}

pub fn connects(browser: &Browser) {
    browser.wait_for(&format!("{STATE}.startsWith('Connected')"));
}

/// Writes the picture of the page, if `SCREEN_PICTURE` is set.
pub fn picture(browser: &Browser, name: &str, width: u32, height: u32, scheme: &str) {
    if let Ok(path) = std::env::var("SCREEN_PICTURE") {
        browser.emulate(width, height, scheme);
        // The content of canvases is drawn in the next frames.
        browser.run_async(
            "const done = arguments[0]; requestAnimationFrame(() => requestAnimationFrame(() => done(true)));",
        );
        std::fs::write(format!("{path}-{name}.png"), browser.picture()).unwrap();
    }
}

/// Script for the number of different colours in the middle of the display.
pub const COLOURS: &str = "(() => {
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
fn an_operator_uses_the_display_and_the_terminal_of_a_guest_and_others_do_not() {
    lab::skip_unless_root!();
    lab::skip_unless_installed!("chromium");
    lab::skip_unless_installed!("chromedriver");
    lab::skip_unless_installed!("curl");
    lab::skip_unless_installed!("qemu-system-x86_64");
    lab::skip_unless_installed!("/usr/share/novnc/core/rfb.js");
    lab::skip_unless_installed!("/usr/share/nodejs/xterm/lib/public/Terminal.js");
    let Some(image) = Image::with(INIT, &["busybox"], &[]) else {
        return;
    };
    let console = Console::plain();
    console.reload(|config| format!("{config}{}", guest(&image)));
    let guest = GuestCleanup(&console);
    let browser = Browser::start();
    sign_in(&browser, &console.url("/part/guest"), OLGA);
    follow(&browser, SCREEN);
    connects(&browser);
    // The guest has drawn on the display, which changes no element of the page.
    let is_drawn = || browser.run(&format!("return {COLOURS} > 1")) == true;
    assert!(lab::eventually(SOON, is_drawn), "{}", browser.text());
    assert_eq!(
        browser.run("return document.getElementById('screen-keys').disabled"),
        false
    );
    // The key combination moves the focus out of the display.
    browser.run(
        "const keys = { key: 'Home', ctrlKey: true, altKey: true, bubbles: true };
         document.querySelector('#screen canvas').dispatchEvent(new KeyboardEvent('keydown', keys));",
    );
    browser.wait_for("document.activeElement.id === 'screen-keys'");
    picture(&browser, "display", 1400, 900, "light");
    refuses(&console, SCREEN);
    refuses(&console, TERMINAL);
    uses_the_terminal(&browser, &console);

    // The page connects again when the guest is back.
    let connected = format!("{STATE}.startsWith('Connected')");
    browser.wait_for(&connected);
    for (order, is_there) in [("stop", false), ("start", true)] {
        let said = console.command(&["guest", order, "mail"]);
        let words = format!("{STATE}.startsWith('Connected') === {is_there}");
        assert!(
            lab::eventually(SOON, || browser.run(&format!("return {words}")) == true),
            "{order}: {said}\n{}",
            browser.text()
        );
    }

    // The events name the user of the display and of the terminal. The page shows the reason when
    // the guest has stopped.
    let events = || format!("{:?}", console.events());
    assert!(
        lab::eventually(SOON, || events().matches("by olga").count() > 1),
        "{}",
        events()
    );
    drop(guest);
    browser.wait_for("!document.getElementById('screen-again').hidden");
    let again = format!(
        "{STATE}.includes('does not run') \
         || (document.getElementById('screen-again').hidden \
         || document.getElementById('screen-again').click(), false)"
    );
    browser.wait_for(&again);
}

/// Relay between a browser and the console that can lose the WebSockets: they stay open, and
/// transfer nothing any longer.
pub struct Relay {
    pub at: SocketAddr,
    /// Number of connections so far.
    count: Arc<AtomicUsize>,
    lost: Arc<AtomicUsize>,
}

struct Relayed {
    number: usize,
    is_socket: AtomicBool,
    lost: Arc<AtomicUsize>,
}

impl Relay {
    pub fn start(to: SocketAddr) -> Relay {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let relay = Relay {
            at: listener.local_addr().unwrap(),
            count: Arc::default(),
            lost: Arc::default(),
        };
        let (count, lost) = (Arc::clone(&relay.count), Arc::clone(&relay.lost));
        thread::spawn(move || {
            for client in listener.incoming() {
                let (client, server) = (client.unwrap(), TcpStream::connect(to).unwrap());
                let both = (client.try_clone().unwrap(), server.try_clone().unwrap());
                let relayed = Arc::new(Relayed {
                    number: count.fetch_add(1, Ordering::Relaxed),
                    is_socket: AtomicBool::new(false),
                    lost: Arc::clone(&lost),
                });
                for (from, to) in [(client, server), (both.1, both.0)] {
                    let relayed = Arc::clone(&relayed);
                    thread::spawn(move || relayed.carry(from, to));
                }
            }
        });
        relay
    }

    pub fn loses(&self) {
        let count = self.count.load(Ordering::Relaxed);
        self.lost.store(count, Ordering::Relaxed);
    }
}

impl Relayed {
    fn is_lost(&self) -> bool {
        let lost = self.lost.load(Ordering::Relaxed);
        self.number < lost && self.is_socket.load(Ordering::Relaxed)
    }

    fn carry(&self, mut from: TcpStream, mut to: TcpStream) {
        let upgrade = b"Upgrade: websocket";
        let mut bytes = vec![0; 64 << 10];
        while let Ok(count @ 1..) = from.read(&mut bytes) {
            let piece = &bytes[..count];
            if piece.windows(upgrade.len()).any(|words| words == upgrade) {
                self.is_socket.store(true, Ordering::Relaxed);
            }
            if !self.is_lost() && to.write_all(piece).is_err() {
                return;
            }
        }
        if !self.is_lost() {
            // The other side may have closed the connection before.
            let _ = to.shutdown(Shutdown::Write);
        }
    }
}

#[test]
fn a_page_whose_connection_is_lost_notices_it_and_connects_again() {
    lab::skip_unless_root!();
    lab::skip_unless_installed!("chromium");
    lab::skip_unless_installed!("chromedriver");
    lab::skip_unless_installed!("qemu-system-x86_64");
    lab::skip_unless_installed!("/usr/share/novnc/core/rfb.js");
    lab::skip_unless_installed!("/usr/share/nodejs/xterm/lib/public/Terminal.js");
    let Some(image) = Image::with(INIT, &["busybox"], &[]) else {
        return;
    };
    let console = Console::plain();
    console.reload(|config| format!("{config}{}", guest(&image)));
    let _guest = GuestCleanup(&console);
    let relay = Relay::start(console.at);
    let url = |path: &str| format!("http://{}{path}", relay.at);
    let browser = Browser::start();
    let loses = || {
        relay.loses();
        browser.wait_for(&format!("!{STATE}.startsWith('Connected')"));
        connects(&browser);
    };
    sign_in(&browser, &url("/part/guest"), OLGA);
    follow(&browser, SCREEN);
    connects(&browser);
    loses();
    boots(&console);
    browser.open(&url("/part/guest"));
    follow(&browser, TERMINAL);
    connects(&browser);
    let types = || {
        browser.press(None, "echo typed-$((6 * 7))\n");
        browser.wait_for(&format!("{SHOWN}.includes('typed-42')"));
    };
    types();
    // The server detects the loss, too: a terminal has one user at a time.
    loses();
    types();
}

/// Waits until the guest runs a shell: a serial line buffers little of the text that is typed
/// before.
fn boots(console: &Console) {
    let log = || console.command(&["guest", "log", "mail"]);
    let is_ready = || log().contains("guest: ready");
    assert!(lab::eventually(SOON, is_ready), "{}", log());
}

fn uses_the_terminal(browser: &Browser, console: &Console) {
    boots(console);
    let mut held = holds(console);
    browser.complaints();
    browser.open(&console.url("/part/guest"));
    follow(browser, TERMINAL);
    // A terminal has one user at a time; the page names the other user.
    browser.wait_for(&format!(
        "{STATE}.includes('terminal is in use by process')"
    ));
    // The page does not report a connection before that: typed text would be lost.
    browser.run(&format!(
        "window.said = [];
         const note = () => window.said.push({STATE});
         new MutationObserver(note).observe(document.getElementById('screen-state'), {{ childList: true }});"
    ));
    browser.find("#screen-again").click();
    browser.wait_for("window.said.some((words) => words.includes('in use by process'))");
    let said = browser.run("return window.said").to_string();
    assert!(!said.contains("Connected"), "{said}");
    held.kill().unwrap();
    held.wait().unwrap();
    browser.find("#screen-again").click();
    connects(browser);
    // The terminal has the focus.
    browser.press(None, "echo typed-$((6 * 7))\n");
    browser.wait_for(&format!("{SHOWN}.includes('typed-42')"));
    browser.run(
        "const data = new DataTransfer();
         data.setData('text/plain', 'echo pasted-$((6 * 7))\\n');
         const paste = new ClipboardEvent('paste', { clipboardData: data, bubbles: true });
         document.querySelector('#screen textarea').dispatchEvent(paste);",
    );
    browser.wait_for(&format!("{SHOWN}.includes('pasted-42')"));
    let label = "return document.querySelector('#screen textarea').getAttribute('aria-label')";
    assert_eq!(
        browser.run(label),
        "Terminal of guest mail. Ctrl-] leaves it."
    );
    let second = console.program(&["guest", "console", "mail"]).output();
    let second = String::from_utf8(second.unwrap().stderr).unwrap();
    assert!(
        second.contains("in use by olga, at the web console:"),
        "{second}"
    );

    // The terminal uses the available space in both schemes, and does not violate the content
    // security policy.
    for (name, width, height, scheme) in [
        ("terminal-narrow", 360, 780, "light"),
        ("terminal-light", 1400, 900, "light"),
        ("terminal-dark", 1400, 900, "dark"),
    ] {
        picture(browser, name, width, height, scheme);
    }
    browser.emulate(360, 780, "light");
    browser.wait_for("document.querySelector('.xterm-screen').clientWidth < 360");
    browser.emulate(1400, 900, "dark");
    browser.wait_for("document.querySelector('.xterm-screen').clientWidth > 1000");
    let style = "getComputedStyle(document.querySelector('.xterm-viewport')).backgroundColor";
    browser.wait_for(&format!("{style} === 'rgb(23, 28, 34)'"));
    let forbidden = |words: &String| words.contains("Content Security Policy");
    let complaints = browser.complaints();
    assert!(!complaints.iter().any(forbidden), "{complaints:?}");

    // The key combination moves the focus out of the terminal.
    browser.press(Some(CONTROL), "]");
    browser.wait_for("document.activeElement.id === 'screen-keys'");
}

/// Starts a command that holds the terminal of the guest.
fn holds(console: &Console) -> Child {
    let mut command = console.program(&["guest", "console", "mail"]);
    command.stdin(Stdio::piped()).stdout(Stdio::null());
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut first = String::new();
    let mut lines = BufReader::new(child.stderr.take().unwrap());
    lines.read_line(&mut first).unwrap();
    assert!(first.starts_with("connected to mail"), "{first}");
    child
}

/// Checks that the WebSocket of a page is refused for a viewer, a stranger, and the page of another
/// site.
fn refuses(console: &Console, page: &str) {
    let socket = format!("{page}/socket");
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
    // Paths of displays that do not exist, and of files that do or do not exist.
    for (path, status) in [
        ("/screen/guest/guest/web/screen/socket", 409),
        ("/screen/guest/guest/mail/stop/socket", 409),
        ("/screen/guest/guest/mail/terminal/socket", 409),
        ("/terminal/guest/guest/mail/screen/socket", 409),
        ("/novnc/core/../vnc.html", 404),
        ("/novnc/core/rfb.js", 200),
        ("/xterm/xterm.js", 200),
        ("/xterm/xterm.css", 200),
        ("/xterm/public/Terminal.js", 404),
        (page, 200),
    ] {
        assert_eq!(console.get(&["-H", olga, path]).status, status, "{path}");
    }
    assert_eq!(console.get(&["-H", vera, page]).status, 403);
    // The form for actions cannot open a display.
    let csrf = console.get(&["-H", olga, "/part/guest"]).csrf();
    let form = format!("csrf={csrf}&what=offer&part=guest&kind=guest&name=mail&word=screen&back=/");
    let told = console.get(&["-H", olga, "-d", &form, "/act"]);
    assert_eq!(told.status, 409, "{told:?}");
    assert!(told.body.contains("a separate page"), "{told:?}");
}
