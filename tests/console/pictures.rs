//! Opens the pages of sample platforms and of a sample portal in a browser: axe-core checks their
//! accessibility, and the pictures for the manual are taken.

use crate::program::{example, root};
use crate::tls::site::{output, said};
use crate::webdriver::Browser;
use lab::{Missing, ScratchDirectory};
use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Variable with the directory of the pictures; without it they are taken and discarded.
const PICTURES: &str = "CONSOLE_PICTURES";
/// Maximum size of a picture in bytes: the pictures are part of the repository.
const PICTURE_MAX: usize = 150 << 10;
/// The pictures: the page below its folder, width and height of the screen, colour scheme.
const TAKEN: [(&str, u32, u32, &str); 16] = [
    ("two/config", 1400, 800, "light"),
    ("two/config-editor", 1400, 800, "light"),
    ("two/overview", 1400, 800, "light"),
    ("two/overview", 1400, 800, "dark"),
    ("two/overview", 360, 780, "light"),
    ("two/overview", 2560, 1300, "dark"),
    ("two/traffic", 1400, 800, "light"),
    ("two/traffic", 1400, 800, "dark"),
    ("two/traffic", 360, 780, "dark"),
    ("two/traffic", 2560, 1300, "light"),
    ("portal/list", 1400, 800, "light"),
    ("portal/list", 360, 780, "dark"),
    ("portal/guests", 1400, 800, "light"),
    ("portal/guests", 360, 780, "dark"),
    ("portal/sign-in", 1400, 800, "light"),
    ("portal/sign-in", 360, 780, "light"),
];
/// Screens on which the pages are checked: a telephone and a desktop.
const CHECKED: [(u32, u32); 2] = [(360, 780), (1400, 900)];
const SCHEMES: [&str; 2] = ["light", "dark"];

/// Script for the findings of axe-core: violations by rule, each with its impact and its elements.
const CHECK: &str = "const done = arguments[arguments.length - 1];
    axe.run(document).then((found) => done(found.violations.map((one) => ({
        rule: one.id, impact: one.impact, help: one.help,
        nodes: one.nodes.slice(0, 3).map((node) => node.html.slice(0, 160) + ' ' + node.failureSummary),
    }))), (error) => done(String(error)));";

/// The pages as files, and a server for them.
struct Pages {
    scratch: ScratchDirectory,
    at: SocketAddr,
}

impl Pages {
    fn new() -> Pages {
        let scratch = ScratchDirectory::new().unwrap();
        for pages in ["pages", "portal"] {
            said(&output(Command::new(example(pages)).arg(scratch.path())));
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let directory = scratch.path().to_owned();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let directory = directory.clone();
                // A browser that closes a connection early is no failure.
                std::thread::spawn(move || serve(stream, &directory).unwrap_or_default());
            }
        });
        Pages { scratch, at }
    }

    fn open(&self, browser: &Browser, path: &str) {
        browser.open(&format!("http://{}/{path}", self.at));
        // A page for a signed-in user shows `Live` once the console keeps it updated; waits for
        // that.
        browser.wait_for(
            "document.readyState === 'complete' && \
             (document.getElementById('live')?.textContent ?? 'Live').startsWith('Live')",
        );
    }

    fn all(&self) -> Vec<String> {
        let mut all = Vec::new();
        for platform in std::fs::read_dir(self.scratch.path()).unwrap().flatten() {
            for page in std::fs::read_dir(platform.path()).unwrap().flatten() {
                let path = page.path();
                if path
                    .extension()
                    .is_some_and(|extension| extension == "html")
                {
                    let path = path.strip_prefix(self.scratch.path()).unwrap();
                    all.push(path.display().to_string());
                }
            }
        }
        all.sort();
        all
    }
}

/// Serves the file of one request, or a stream of events without an end.
fn serve(mut stream: TcpStream, directory: &Path) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut field = String::new();
    while reader.read_line(&mut field)? > 2 {
        field.clear();
    }
    let path = line.split(' ').nth(1).unwrap_or_default();
    if path.starts_with("/live") {
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n: \n\n")?;
        // Keeps the stream open until the browser closes it.
        return reader.read_line(&mut field).map(drop);
    }
    let kind = match path.rsplit('.').next() {
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("png") => "image/png",
        _ => "text/html; charset=utf-8",
    };
    let (status, bytes) = match std::fs::read(directory.join(path.trim_start_matches('/'))) {
        Ok(bytes) => ("200 OK", bytes),
        Err(_) => ("404 Not Found", Vec::new()),
    };
    let length = bytes.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
    )?;
    stream.write_all(&bytes)
}

/// Returns the directory into which `scripts/install-test-peers` unpacks axe-core.
fn axe() -> Result<PathBuf, Missing> {
    let file = root().join("target/test-tools/axe-core/axe.min.js");
    if file.is_file() {
        Ok(file)
    } else {
        Err(Missing::Program("axe-core (scripts/install-test-peers)"))
    }
}

/// Returns the violations of the current page that prevent a user from using it.
fn violations(browser: &Browser) -> Vec<String> {
    let found = browser.run_async(CHECK);
    let found = found
        .as_array()
        .unwrap_or_else(|| panic!("axe-core: {found}"));
    let is_bad = |one: &&Value| matches!(one["impact"].as_str(), Some("serious" | "critical"));
    found.iter().filter(is_bad).map(Value::to_string).collect()
}

#[test]
#[ignore = "checks every page in both schemes: minutes"]
fn no_page_has_a_serious_violation_of_accessibility() {
    fn skipped_here() {}
    lab::skip_unless_installed!("chromium");
    lab::skip_unless_installed!("chromedriver");
    let name = std::any::type_name_of_val(&skipped_here);
    if !lab::may_run(name, axe().map(drop)) {
        return;
    }
    let axe = std::fs::read_to_string(axe().unwrap()).unwrap();
    let (pages, browser) = (Pages::new(), Browser::start());
    let all = pages.all();
    assert!(all.len() > 10, "{all:?}");
    let mut wrong = Vec::new();
    for (width, height) in CHECKED {
        for scheme in SCHEMES {
            browser.emulate(width, height, scheme);
            for path in &all {
                pages.open(&browser, path);
                browser.run(&axe);
                let found = violations(&browser).into_iter();
                wrong.extend(found.map(|one| format!("{path} ({width}, {scheme}): {one}")));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
#[ignore = "for `make screenshots`"]
fn the_pictures_of_the_manual_are_small() {
    lab::skip_unless_installed!("chromium");
    lab::skip_unless_installed!("chromedriver");
    let (pages, browser) = (Pages::new(), Browser::start());
    for (page, width, height, scheme) in TAKEN {
        browser.emulate(width, height, scheme);
        pages.open(&browser, &format!("{page}.html"));
        let overflows = "return document.documentElement.scrollWidth > innerWidth";
        assert_eq!(
            browser.run(overflows),
            false,
            "{page} is wider than {width} px"
        );
        let picture = browser.picture();
        let size = picture.len();
        assert!(
            (1_000..PICTURE_MAX).contains(&size),
            "{page} {width}: {size} bytes"
        );
        if let Some(directory) = std::env::var_os(PICTURES) {
            let page = page
                .replace("two/", "console-")
                .replace("portal/", "portal-");
            let name = format!("{page}-{width}-{scheme}.png");
            std::fs::write(Path::new(&directory).join(name), picture).unwrap();
        }
    }
}
