//! Tests displays and terminals of guests in the portal of a farm: a real QEMU, drawn in a browser
//! on one machine, and reached through the other node of a cluster.

use crate::cluster::site::{SOON, Site, configuration};
use crate::console::far::{NAME, Pages, runs_on_beta};
use crate::console::screen::INIT;
use crate::console::site::Console;
use crate::guest::site::PATIENCE;
use crate::tls::site::here;
use crate::webdriver::Browser;
use lab::pki::{Authority, Leaf};
use lab::{Image, eventually};
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};
use std::net::SocketAddr;
use std::sync::Arc;

/// Configuration of a farm whose session host does not run; members of `{groups}` may open its
/// guests.
const FARM: &str = "
farm office
    name desktop.example.org
    bind {rdp} crt {crt}
    host ts1 127.0.0.1:9
    token-key {key}
    web {web} crt {crt}
    portal https://{web}/
    users staff
    guest-consoles groups {groups}
";
const GUEST: &str = "
guest mail
    memory 96m
    console vnc
    stop-timeout 1s
    boot kernel {kernel} initrd {initrd} append \"console=ttyS0 quiet panic=-1\"
guest desk
    memory 96m
    console spice
    stop-timeout 1s
    boot kernel {kernel} initrd {initrd} append \"console=ttyS0 quiet panic=-1\"
";
const SCREEN: &str = "/screen/mail";
const TERMINAL: &str = "/terminal/mail";
const SPICE: &str = "/spice/desk";
/// First message of a SPICE client: the main channel, and two words of capabilities.
const LINK: &[u8] = b"REDQ\x02\0\0\0\x02\0\0\0\x1a\0\0\0\0\0\0\0\x01\0\x01\0\0\0\x01\0\0\0\x12\0\0\0\x09\0\0\0\0\0\0\0";
const STATE: &str = "document.getElementById('screen-state').textContent";
/// Text of the terminal for screen readers.
const SHOWN: &str = "document.querySelector('.xterm-accessibility-tree').textContent";
/// Returns whether the display shows more than one colour: drawing changes no element.
const DRAWN: &str = "return (() => {
    const canvas = document.querySelector('#screen canvas');
    if (!canvas || canvas.width < 300) return false;
    const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
    const one = (at) => pixels[at] << 16 | pixels[at + 1] << 8 | pixels[at + 2];
    for (let at = 4; at < pixels.length; at += 4) if (one(at) !== one(0)) return true;
    return false;
})()";

/// Returns the lines of a farm with its files in a directory, and the CA of its certificate.
fn farm(directory: &std::path::Path, web: SocketAddr, groups: &str) -> (String, Authority) {
    let authority = Authority::new("Test CA").unwrap();
    let leaf = Leaf {
        names: &[NAME],
        ..Leaf::default()
    };
    let (crt, key) = (directory.join("desktop.pem"), directory.join("farm.key"));
    std::fs::write(&crt, authority.issue(&leaf).unwrap().bundle()).unwrap();
    std::fs::write(&key, [7; 32]).unwrap();
    let text = FARM
        .replace("{crt}", &crt.display().to_string())
        .replace("{key}", &key.display().to_string())
        .replace("{rdp}", &here().to_string())
        .replace("{web}", &web.to_string())
        .replace("{groups}", groups);
    (text, authority)
}

fn guest(image: &Image) -> String {
    GUEST
        .replace("{kernel}", &image.kernel().display().to_string())
        .replace("{initrd}", &image.initrd().display().to_string())
}

/// Ends the guests when it is dropped, before the supervisor, which they would outlive.
struct GuestCleanup<'c>(&'c Console);

impl Drop for GuestCleanup<'_> {
    fn drop(&mut self) {
        for name in ["mail", "desk"] {
            self.0.command(&["guest", "stop", name, "--kill"]);
        }
    }
}

fn sign_in(browser: &Browser, url: &str, [name, password]: [&str; 2]) {
    browser.open(url);
    browser.find("input[name=user]").type_text(name);
    browser.find("input[name=password]").type_text(password);
    browser.find("form button").click();
    browser.wait_for("document.readyState === 'complete' && document.querySelector('.viewer')");
}

/// Writes a picture of the page, if `SCREEN_PICTURE` is set.
fn picture(browser: &Browser, name: &str, width: u32, height: u32, scheme: &str) {
    if let Ok(path) = std::env::var("SCREEN_PICTURE") {
        browser.emulate(width, height, scheme);
        // The content of canvases is drawn in the next frames.
        browser.run_async(
            "const done = arguments[0]; requestAnimationFrame(() => requestAnimationFrame(() => done(true)));",
        );
        std::fs::write(format!("{path}-{name}.png"), browser.picture()).unwrap();
    }
}

/// Waits until the page has drawn the display of a guest.
fn is_drawn(browser: &Browser) {
    browser.wait_for(&format!("{STATE}.startsWith('Connected')"));
    let is_drawn = || browser.run(DRAWN) == true;
    assert!(eventually(SOON, is_drawn), "{}", browser.text());
}

/// Checks that no page violated its content security policy.
fn keeps_its_policy(browser: &Browser) {
    let forbidden = |words: &String| words.contains("Content Security Policy");
    let complaints = browser.complaints();
    assert!(!complaints.iter().any(forbidden), "{complaints:?}");
}

#[test]
fn group_members_use_a_guest_in_the_browser() {
    lab::skip_unless_root!();
    lab::skip_unless_installed!("chromium");
    lab::skip_unless_installed!("chromedriver");
    lab::skip_unless_installed!("curl");
    lab::skip_unless_installed!("qemu-system-x86_64");
    lab::skip_unless_installed!("/usr/share/novnc/core/rfb.js");
    lab::skip_unless_installed!("/usr/share/spice-html5/main.js");
    lab::skip_unless_installed!("/usr/share/nodejs/xterm/lib/public/Terminal.js");
    let Some(image) = Image::with(INIT, &["busybox"], &[]) else {
        return;
    };
    let (console, web) = (Console::plain(), here());
    let (farm, _) = farm(console.scratch.path(), web, "ops");
    console.reload(|config| format!("{config}{farm}{}", guest(&image)));
    let guest = GuestCleanup(&console);
    // There is no log before the guest has started.
    let log = || format!("{:?}", console.program(&["guest", "log", "mail"]).output());
    assert!(
        eventually(SOON, || log().contains("guest: ready")),
        "{}",
        log()
    );
    let url = |path: &str| format!("https://{web}{path}");
    let browser = Browser::start();
    sees_nothing(&browser, web);

    sign_in(&browser, &url("/"), crate::console::site::OLGA);
    let list = browser.text();
    assert!(list.contains("running on this node"), "{list}");
    picture(&browser, "portal-guests", 1400, 900, "light");
    picture(&browser, "portal-guests-narrow", 360, 780, "light");
    browser.emulate(1400, 900, "light");
    browser.complaints();
    browser.find(&format!("a[href='{SCREEN}']")).click();
    is_drawn(&browser);
    picture(&browser, "portal-display", 1400, 900, "light");
    picture(&browser, "portal-display-narrow", 360, 780, "light");
    browser.emulate(1400, 900, "light");
    uses_the_terminal(&browser, &url(TERMINAL));
    let second = console.program(&["guest", "console", "mail"]).output();
    let second = String::from_utf8(second.unwrap().stderr).unwrap();
    let who = "in use by olga, at the portal of farm office:";
    assert!(second.contains(who), "{second}");
    browser.open(&url(SPICE));
    is_drawn(&browser);
    picture(&browser, "portal-spice", 1400, 900, "dark");
    picture(&browser, "portal-spice-narrow", 360, 780, "light");
    keeps_its_policy(&browser);

    // The user signs out in another window, and the page reports that.
    browser.run(
        "const form = document.querySelector('form');
         fetch(form.action, { method: 'POST', body: new URLSearchParams(new FormData(form)), redirect: 'manual' });",
    );
    browser.wait_for(&format!("{STATE}.includes('Signed out')"));
    let why = console.command(&["farm", "why", "olga"]);
    for words in [
        "display of mail opened",
        "display of desk opened",
        "terminal of mail opened",
        "terminal of mail closed",
    ] {
        assert!(why.contains(words), "{why}");
    }
    let events = || format!("{:?}", console.events());
    let is_known = || events().contains("by olga from 127.0.0.1");
    assert!(eventually(SOON, is_known), "{}", events());
    drop(guest);
}

/// Checks that a user who is in no group of the line sees no guest.
fn sees_nothing(browser: &Browser, web: SocketAddr) {
    let url = |path: &str| format!("https://{web}{path}");
    sign_in(browser, &url("/"), crate::console::site::VERA);
    assert!(!browser.text().contains("mail"), "{}", browser.text());
    browser.open(&url(SCREEN));
    assert!(
        browser.text().contains("There is no such page"),
        "{}",
        browser.text()
    );
    browser.open(&url("/"));
    browser.find("form button").click();
    browser.wait_for("document.querySelector('input[name=password]')");
}

fn uses_the_terminal(browser: &Browser, url: &str) {
    browser.open(url);
    browser.wait_for(&format!("{STATE}.startsWith('Connected')"));
    browser.press(None, "echo typed-$((6 * 7))\n");
    browser.wait_for(&format!("{SHOWN}.includes('typed-42')"));
    picture(browser, "portal-terminal", 1400, 900, "dark");
}

/// Returns a TLS configuration that trusts this CA.
fn trusts(authority: &Authority) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let certificate = CertificateDer::from(authority.der().to_vec());
    roots.add(certificate).unwrap();
    let config = ClientConfig::builder().with_root_certificates(roots);
    Arc::new(config.with_no_client_auth())
}

#[test]
fn a_portal_opens_what_runs_on_another_node() {
    lab::skip_unless_root!();
    lab::skip_unless_installed!("qemu-system-x86_64");
    let Some(image) = Image::with(INIT, &["busybox"], &[]) else {
        return;
    };
    let site = Site::new("farm-consoles");
    let web = SocketAddr::from(([127, 0, 0, 1], 8643));
    let (farm, authority) = farm(site.alpha.scratch(), web, "support");
    let users = "\nuserlist staff\n    group support users olga\n    user olga insecure-password kiwi\n    \
                 user bert insecure-password plum\n";
    let guest = guest(&image).replace("    memory", "    prefer beta alpha\n    memory");
    let text = configuration("two") + users + &farm + &guest;
    site.alpha.apply(&text, &["--now"]).well();
    assert!(
        eventually(PATIENCE, || runs_on_beta(&site)),
        "{}",
        site.tell()
    );
    // A guest may have started at alpha before beta was connected.
    for name in ["mail", "desk"] {
        site.alpha.command(&["guest", "move", name, "beta"]);
    }
    let tls = trusts(&authority);
    let sign_in = |form: &str| {
        let mut pages = None;
        let signs_in = || {
            pages = Pages::sign_in(&site.alpha, web, Some(Arc::clone(&tls)), form);
            pages.is_some()
        };
        assert!(eventually(SOON, signs_in), "{}", site.tell());
        pages.unwrap()
    };
    let olga = sign_in("user=olga&password=kiwi");
    let shown = || {
        let page = olga.get("/");
        let links = [SCREEN, TERMINAL, SPICE];
        links.iter().all(|words| page.contains(words)) && page.matches("on beta").count() == 2
    };
    assert!(eventually(SOON, shown), "{}", olga.get("/"));
    let bert = sign_in("user=bert&password=plum");
    assert!(!bert.get("/").contains("mail"));
    for page in [SCREEN, SPICE] {
        let refused = bert.get(&format!("{page}/socket"));
        assert!(refused.starts_with("HTTP/1.1 404"), "{refused}");
    }

    let mut display = olga.open(SCREEN);
    display.reads("RFB 003.008");
    let mut terminal = olga.open(TERMINAL);
    terminal.send(b"echo typed-$((6 * 7))\r");
    terminal.reads("typed-42");
    let mut second = olga.open(TERMINAL);
    second.reads("its terminal is in use by olga");

    let moves = ["guest", "move", "mail", "alpha"];
    site.alpha.command(&moves).well();
    for open in [&mut display, &mut terminal] {
        open.reads("The guest has moved to alpha: connect again.");
    }
    let mut display = olga.open(SCREEN);
    display.reads("RFB 003.008");
    let mut terminal = olga.open(TERMINAL);
    let stop = ["guest", "stop", "mail", "--kill"];
    site.alpha.command(&stop).well();
    display.reads("The guest no longer runs.");
    terminal.reads("The guest no longer runs.");
    opens_by_spice(&olga);
}

/// Opens a SPICE display at the other node. A client takes the display only once it has sent its
/// ticket, and locks nobody out before.
fn opens_by_spice(pages: &Pages<'_>) {
    let mut channels = [(); 2].map(|()| pages.open(SPICE));
    for channel in &mut channels {
        channel.send(LINK);
        channel.reads("REDQ");
    }
}
