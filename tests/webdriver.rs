//! Implements a small WebDriver client: headless Chromium, driven by chromedriver over HTTP/1.1
//! (W3C WebDriver, and Chromium's commands for the emulation of screens).

use crate::tls::site::here;
use base64::prelude::{BASE64_STANDARD, Engine};
use lab::{Location, Peer, ScratchDirectory};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Timeout of a command. A browser is slow on a machine that runs other tests.
const COMMAND: Duration = Duration::from_secs(180);
/// Timeout of a script that waits for the page, and of a navigation; below that of the command.
const PAGE: Duration = Duration::from_secs(120);
/// Width of a screen in pixels above which pictures are scaled down.
const WIDE: u32 = 2_000;
/// Key of an element's ID in JSON (W3C WebDriver, section 12.2).
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// Calls back as soon as an expression becomes true, looking at each change of the page.
const WAIT: &str = "const done = arguments[arguments.length - 1];
    const holds = () => Boolean(@EXPRESSION@);
    if (holds()) { done(true); return; }
    const observer = new MutationObserver(() => { if (holds()) { observer.disconnect(); done(true); } });
    observer.observe(document, { subtree: true, childList: true, characterData: true, attributes: true });";

/// Code of the Enter key in WebDriver.
const ENTER: &str = "\u{e007}";
pub const CONTROL: &str = "\u{e009}";

/// A browser with one window, which is ended when it is dropped.
pub struct Browser {
    driver: Peer,
    session: String,
    _profile: ScratchDirectory,
}

/// An element of the current page.
pub struct Element<'b> {
    browser: &'b Browser,
    id: String,
}

impl Browser {
    /// Starts chromedriver and a browser that accepts every certificate and connects to
    /// loopback addresses only.
    pub fn start() -> Browser {
        let address = here();
        let port = format!("--port={}", address.port());
        let driver = Peer::start(Location::Here, "chromedriver", &[&port], "", address).unwrap();
        let profile = ScratchDirectory::new().unwrap();
        let args = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--no-first-run",
            // A page that was left must not keep its stream of events open.
            "--disable-features=BackForwardCache",
            "--ignore-certificate-errors",
            "--hide-scrollbars",
            "--window-size=1400,900",
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
            &format!("--user-data-dir={}", profile.path().display()),
        ];
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "acceptInsecureCerts": true,
            "goog:chromeOptions": { "args": args },
            "goog:loggingPrefs": { "browser": "WARNING" },
            "timeouts": { "script": millis(PAGE), "pageLoad": millis(PAGE), "implicit": 0 },
        } } });
        let created = exchange(driver.address(), "POST", "/session", Some(&wanted));
        let created = created.unwrap_or_else(|error| panic!("{error}\n{}", driver.output()));
        let session = created["sessionId"].as_str().expect("a session id");
        Browser {
            session: session.to_owned(),
            driver,
            _profile: profile,
        }
    }

    fn command(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value, String> {
        let path = format!("/session/{}{path}", self.session);
        exchange(self.driver.address(), method, &path, body)
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        let done = self.command("POST", path, Some(body));
        done.unwrap_or_else(|error| panic!("{path}: {error}\npage:\n{}", self.text()))
    }

    pub fn open(&self, url: &str) {
        self.post("/url", &json!({ "url": url }));
    }

    /// Returns the URL of the current page.
    pub fn url(&self) -> String {
        let url = self.command("GET", "/url", None).unwrap();
        url.as_str().unwrap_or_default().to_owned()
    }

    /// Runs a script in the page; returns what it returns.
    pub fn run(&self, script: &str) -> Value {
        self.post("/execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// Runs a script that calls its last argument back; returns what it passes.
    pub fn run_async(&self, script: &str) -> Value {
        self.post("/execute/async", &json!({ "script": script, "args": [] }))
    }

    /// Waits until an expression is true in the page, however long the page needs. Fails with
    /// the text of the page after [`PAGE`].
    pub fn wait_for(&self, expression: &str) {
        let script = json!({ "script": WAIT.replace("@EXPRESSION@", expression), "args": [] });
        loop {
            let at = self.url();
            let waited = self.command("POST", "/execute/async", Some(&script));
            // A navigation ends the scripts of the page that is left.
            match waited {
                Err(error) if error.contains("script timeout") && self.url() != at => {}
                Err(error) => panic!("{expression}: {error}\npage:\n{}", self.text()),
                Ok(_) => return,
            }
        }
    }

    /// Returns the first element that a CSS selector matches.
    pub fn find(&self, selector: &str) -> Element<'_> {
        let by = json!({ "using": "css selector", "value": selector });
        let found = self.post("/element", &by);
        Element {
            browser: self,
            id: found[ELEMENT].as_str().expect("an element").to_owned(),
        }
    }

    /// Presses keys one after the other, wherever the focus is, while `held` is down; a line feed
    /// is the Enter key.
    pub fn press(&self, held: Option<&str>, text: &str) {
        let action = |kind: &str, key: &str| json!({ "type": kind, "value": key });
        let letters = text.chars().map(|one| match one {
            '\n' => ENTER.to_owned(),
            one => one.to_string(),
        });
        let pressed = letters.flat_map(|key| [action("keyDown", &key), action("keyUp", &key)]);
        let down = held.map(|key| action("keyDown", key));
        let up = held.map(|key| action("keyUp", key));
        let all: Vec<Value> = down.into_iter().chain(pressed).chain(up).collect();
        let keyboard = json!({ "type": "key", "id": "keyboard", "actions": all });
        self.post("/actions", &json!({ "actions": [keyboard] }));
    }

    /// Returns the browser's console messages since the last call: failed scripts, and violations
    /// of a policy.
    pub fn complaints(&self) -> Vec<String> {
        let entries = self.post("/se/log", &json!({ "type": "browser" }));
        let entries = entries.as_array().cloned().unwrap_or_default();
        let words = entries.iter().map(|entry| entry["message"].to_string());
        words.collect()
    }

    /// Returns the text of the page, for the message of a failure.
    pub fn text(&self) -> String {
        let script = json!({ "script": "return document.body.innerText", "args": [] });
        let text = self.command("POST", "/execute/sync", Some(&script));
        text.map_or_else(
            |error| error,
            |text| text.as_str().unwrap_or_default().to_owned(),
        )
    }

    /// Runs a command of the Chrome DevTools protocol.
    fn devtools(&self, name: &str, parameters: &Value) -> Value {
        self.post(
            "/goog/cdp/execute",
            &json!({ "cmd": name, "params": parameters }),
        )
    }

    /// Emulates a screen of these pixels and a colour scheme, `light` or `dark`. Of a wide
    /// screen, pictures have half the size.
    pub fn emulate(&self, width: u32, height: u32, scheme: &str) {
        let scale = if width > WIDE { 0.5 } else { 1.0 };
        let size = json!({
            "width": width, "height": height, "deviceScaleFactor": scale, "mobile": false,
        });
        self.devtools("Emulation.setDeviceMetricsOverride", &size);
        let scheme = json!({ "name": "prefers-color-scheme", "value": scheme });
        let motion = json!({ "name": "prefers-reduced-motion", "value": "reduce" });
        let media = json!({ "features": [scheme, motion] });
        self.devtools("Emulation.setEmulatedMedia", &media);
    }

    /// Returns a picture of the screen as PNG.
    pub fn picture(&self) -> Vec<u8> {
        let picture = self.devtools("Page.captureScreenshot", &json!({ "format": "png" }));
        let data = picture["data"].as_str().expect("a picture");
        BASE64_STANDARD.decode(data).expect("base64")
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The command ends the browser; chromedriver itself is killed when its value is dropped.
        let _ = self.command("DELETE", "", None);
    }
}

impl Element<'_> {
    fn post(&self, what: &str, body: &Value) {
        let path = format!("/element/{}/{what}", self.id);
        self.browser.post(&path, body);
    }

    /// Clicks the element, and waits for a navigation that the click begins.
    pub fn click(&self) {
        self.post("click", &json!({}));
    }

    pub fn type_text(&self, text: &str) {
        self.post("value", &json!({ "text": text }));
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Sends one command over a connection of its own; returns its `value`.
///
/// # Errors
/// The error that chromedriver reports, or the reason why there is no response.
fn exchange(
    at: SocketAddr,
    method: &str,
    path: &str,
    body: Option<&Value>,
) -> Result<Value, String> {
    let lost = |error: std::io::Error| format!("chromedriver: {error}");
    let mut stream = TcpStream::connect(at).map_err(lost)?;
    stream.set_read_timeout(Some(COMMAND)).map_err(lost)?;
    let body = body.map(Value::to_string).unwrap_or_default();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: {at}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).map_err(lost)?;
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).map_err(lost)?;
        match line.trim_end().split_once(':') {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value
                    .trim()
                    .parse()
                    .map_err(|_| "invalid length".to_owned())?;
            }
            None if line.trim_end().is_empty() => break,
            _ => {}
        }
    }
    let mut bytes = vec![0; length];
    reader.read_exact(&mut bytes).map_err(lost)?;
    let text = String::from_utf8_lossy(&bytes);
    let answer: Value = serde_json::from_str(&text).map_err(|error| format!("{error}: {text}"))?;
    let value = answer["value"].clone();
    match value["error"].as_str() {
        Some(error) => Err(format!("{error}: {}", value["message"])),
        None => Ok(value),
    }
}
