//! Tests displays and terminals of guests: who sees and opens them. The test takes the place of the
//! role that runs the guests.

use super::*;
use crate::config::Consoles;
use crate::guests::{Asker, GuestProvider};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use part::channel::Received;
use part::codec;
use part::report::{Grade, Opens, StatusReport, Subject, SubjectAction};
use part::role::{OrderResponse, PartMessage, SupervisorMessage};
use part::status::{GuestReport, GuestState};
use part::work::PartRequest;
use screen::kind;
use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdStream;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::UnixStream;

const SOURCE: GuestProvider = GuestProvider { part: "guest" };

struct TestGuestPart {
    asker: RefCell<Asker>,
    report: RefCell<StatusReport>,
    /// Reason why the guest role does not respond.
    silent: Cell<Option<&'static str>>,
    /// Reason why the guest role opens nothing.
    refuses: Cell<&'static str>,
    /// Connections that the guest role received to open a screen, each with the message.
    opened: RefCell<Vec<(PartMessage, OwnedFd)>>,
}

fn offer(word: &str, bytes: &[u8], opens: Opens) -> SubjectAction {
    let message = PartMessage {
        part: "guest".to_owned(),
        kind: 6,
        holds: false,
        bytes: bytes.to_vec(),
        by: String::new(),
    };
    SubjectAction::new(word, word, message).opens(opens)
}

/// The guests `mail` with a display and a terminal, `desk` with a display by SPICE, `erp` with a
/// terminal, and `old` that does not run.
fn report() -> StatusReport {
    let guest = |name: &str, word: &str, on: &str, offers: Vec<SubjectAction>| Subject {
        offers,
        ..Subject::new("guest", name)
            .state(word, Grade::Good)
            .publish(&GuestReport {
                state: match word {
                    "running" => GuestState::Running,
                    "elsewhere" => GuestState::Elsewhere,
                    _ => GuestState::Off,
                },
                node: on.to_owned(),
                ..GuestReport::default()
            })
    };
    let terminal = |bytes| offer("terminal", bytes, Opens::Terminal);
    StatusReport {
        part: "guest".to_owned(),
        subjects: vec![
            guest(
                "mail",
                "running",
                "alpha",
                vec![
                    offer("screen", b"display of mail", Opens::Display),
                    terminal(b"terminal of mail"),
                ],
            ),
            guest(
                "desk",
                "running",
                "alpha",
                vec![offer("screen", b"display of desk", Opens::Spice)],
            ),
            guest(
                "erp",
                "elsewhere",
                "beta",
                vec![terminal(b"terminal of erp")],
            ),
            guest("old", "stopped", "", Vec::new()),
        ],
        ..StatusReport::default()
    }
}

impl TestGuestPart {
    fn of(bed: &PortalFixture) -> TestGuestPart {
        TestGuestPart {
            asker: RefCell::new(Asker::new(SOURCE, Arc::clone(&bed.portal.guests))),
            report: RefCell::new(report()),
            silent: Cell::default(),
            refuses: Cell::default(),
            opened: RefCell::default(),
        }
    }

    fn answer(&self, question: PartRequest) -> Received {
        let received = |message, descriptors: Vec<Arc<OwnedFd>>| Received {
            message,
            ask: question.number,
            descriptors: descriptors
                .into_iter()
                .map(|fd| Arc::into_inner(fd).unwrap())
                .collect(),
        };
        if let Some(words) = self.silent.get() {
            let words = words.to_owned();
            return received(
                SupervisorMessage::Nobody {
                    words,
                    missing: true,
                },
                Vec::new(),
            );
        }
        match question.message {
            SupervisorMessage::TellReport { part } => {
                assert_eq!(part, "guest");
                let (message, file) = self.report.borrow().clone().answer();
                received(message, file)
            }
            SupervisorMessage::Part(message) => {
                let mut descriptors = question.descriptors.into_iter();
                let connection = descriptors.next().and_then(Arc::into_inner).unwrap();
                let words = self.refuses.get();
                if words.is_empty() {
                    self.opened.borrow_mut().push((*message, connection));
                }
                let response = OrderResponse {
                    good: words.is_empty(),
                    words: words.to_owned(),
                };
                let bytes = codec::encode(&response);
                received(SupervisorMessage::Answer { bytes }, Vec::new())
            }
            other => panic!("{other:?}"),
        }
    }

    /// Responds to requests until the future completes.
    async fn answers<T>(&self, what: impl Future<Output = T>) -> T {
        let answers = async {
            loop {
                let questions = {
                    let mut asker = self.asker.borrow_mut();
                    asker.move_queued_requests();
                    asker.take_outgoing_requests()
                };
                for question in questions {
                    let answer = self.answer(question);
                    self.asker.borrow_mut().handle_guest_response(&answer);
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            value = what => value,
            () = answers => unreachable!(),
        }
    }
}

fn block_on<T>(what: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().build().unwrap().block_on(what)
}

fn consoles(guests: &[&str], groups: &[&str]) -> Consoles {
    let owned = |all: &[&str]| all.iter().map(|one| (*one).to_owned()).collect();
    Consoles {
        guests: owned(guests),
        groups: owned(groups),
    }
}

/// A portal in which `staff` opens these guests.
fn bed(guests: &[&str]) -> (PortalFixture, TestGuestPart) {
    let bed = PortalFixture::new();
    bed.change(&farm_with(vec![consoles(guests, &["staff"])]));
    let part = TestGuestPart::of(&bed);
    (bed, part)
}

fn farm_with(lines: Vec<Consoles>) -> Farm {
    let mut farm = farm();
    if let Some(portal) = &mut farm.portal {
        portal.consoles = lines;
    }
    farm
}

/// Returns the response to a request while the stand-in for the guest role responds.
fn get(bed: &PortalFixture, part: &TestGuestPart, path: &str, headers: &[(&str, &str)]) -> Got {
    let headers = headers.iter();
    let request = Request::get(path).header("host", "desktop.example.org");
    let request = headers.fold(request, |request, (name, value)| {
        request.header(*name, *value)
    });
    let request = request.body(Full::<Bytes>::default()).unwrap();
    block_on(part.answers(got(&bed.portal, request)))
}

#[test]
fn members_of_a_group_see_the_guests_that_can_be_opened_and_others_see_nothing() {
    let (bed, part) = bed(&[]);
    let (anna, bert) = (bed.sign_in("anna"), bed.sign_in("bert"));
    let list = |cookie: &str| get(&bed, &part, "/", &[("cookie", cookie)]);
    let seen = list(&anna);
    for link in [
        "/screen/mail",
        "/terminal/mail",
        "/spice/desk",
        "/terminal/erp",
    ] {
        assert!(seen.text().contains(&format!("href=\"{link}\"")), "{link}");
    }
    assert!(
        !seen.text().contains("/screen/erp")
            && !seen.text().contains("/screen/desk")
            && !seen.text().contains("old")
    );
    assert!(
        seen.text().contains("running</span> on alpha"),
        "{}",
        seen.text()
    );
    assert!(seen.text().contains("<span class=\"kind\">on beta"));
    let none = list(&bert);
    assert!(!none.text().contains("mail") && !none.text().contains("Virtual machines"));
    // The line allows one guest only, then none for anna.
    bed.change(&farm_with(vec![consoles(&["erp"], &["staff"])]));
    let seen = list(&anna);
    assert!(seen.text().contains("/terminal/erp") && !seen.text().contains("mail"));
    bed.change(&farm_with(vec![consoles(&[], &["others"])]));
    assert!(!list(&anna).text().contains("Virtual machines"));
}

#[test]
fn a_part_that_does_not_respond_leaves_the_rest_of_the_list() {
    let (bed, part) = bed(&[]);
    part.silent.set(Some("the guest role did not respond"));
    let anna = bed.sign_in("anna");
    let list = get(&bed, &part, "/", &[("cookie", &anna)]);
    assert!(list.text().contains("the guest role did not respond"));
    assert!(list.text().contains("/start/calc.rdp"));
}

#[test]
fn forbidden_guests_are_hidden_and_stopped_ones_marked() {
    let (bed, part) = bed(&["mail", "desk", "erp", "old"]);
    let cookies = ["anna", "bert"].map(|name| bed.sign_in(name));
    let [anna, bert] = cookies.each_ref().map(String::as_str);
    let status = |path: &str, cookie: &str| {
        let got = get(&bed, &part, path, &[("cookie", cookie)]);
        (got.status, String::from_utf8_lossy(&got.body).into_owned())
    };
    for (path, cookie, expected, words) in [
        ("/screen/mail", "", 303, ""),
        ("/screen/mail/socket", "", 401, "Signed out. Sign in first."),
        ("/screen/mail", bert, 404, ""),
        ("/screen/mail/socket", bert, 404, ""),
        ("/screen/other/socket", anna, 404, ""),
        ("/screen/mail", anna, 200, "Display of mail"),
        ("/screen/mail/socket", anna, 200, ""),
        ("/screen/old/socket", anna, 409, "old has no display now"),
        ("/screen/erp/socket", anna, 409, "erp has no display now"),
        ("/terminal/erp/socket", anna, 200, ""),
        // The display of `desk` is one of SPICE.
        ("/screen/desk", anna, 303, ""),
        (
            "/screen/desk/socket",
            anna,
            409,
            "The display of desk now has another page",
        ),
        ("/spice/desk", anna, 200, "Display of desk"),
        ("/spice/mail", anna, 303, ""),
        ("/screen/", anna, 404, ""),
        ("/screen/mail/more/socket", anna, 404, ""),
        ("/novnc/core/rfb.js", "", 401, ""),
        ("/novnc/core/rfb.js", anna, 404, ""),
        ("/screen.js", "", 200, ""),
    ] {
        let (status, body) = status(path, cookie);
        assert_eq!(status, expected, "{path}");
        assert!(body.contains(words), "{path}: {body}");
    }
    let old_link = get(&bed, &part, "/screen/desk", &[("cookie", anna)]);
    assert_eq!(old_link.header(hyper::header::LOCATION), "/spice/desk");
    // Without a library the page says what is missing, and the list forbids scripts.
    let policy = |path| {
        let got = get(&bed, &part, path, &[("cookie", anna)]);
        got.header(CONTENT_SECURITY_POLICY).to_owned()
    };
    assert!(policy("/screen/mail").contains("script-src 'self'"));
    assert!(!policy("/").contains("script-src"));
    assert!(
        status("/screen/mail", anna)
            .1
            .contains("<code>novnc</code>")
    );
    // No request so far has opened anything.
    assert!(part.opened.borrow().is_empty() && bed.portal.events().is_empty());
}

#[test]
fn another_version_of_websocket_is_refused_with_the_one_that_works() {
    let (bed, part) = bed(&[]);
    let anna = bed.sign_in("anna");
    let headers = [
        ("cookie", anna.as_str()),
        ("origin", "https://desktop.example.org"),
        ("connection", "upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("sec-websocket-version", "12"),
    ];
    let got = get(&bed, &part, "/screen/mail/socket", &headers);
    assert_eq!(got.status, 426);
    assert_eq!(got.header(hyper::header::SEC_WEBSOCKET_VERSION), "13");
}

/// The client's end of a connection to the portal.
struct Browser<S>(S);

fn browser(portal: &Arc<Portal>) -> Browser<impl AsyncRead + AsyncWrite + Unpin + use<>> {
    let (own, other) = tokio::io::duplex(64 << 10);
    let portal = Arc::clone(portal);
    tokio::spawn(async move {
        let service = service_fn(move |request: Request<hyper::body::Incoming>| {
            let portal = Arc::clone(&portal);
            async move { Ok::<_, Infallible>(portal.respond(HOME.parse().unwrap(), request).await) }
        });
        let connection = http1::Builder::new().serve_connection(TokioIo::new(other), service);
        let _ = connection.with_upgrades().await;
    });
    Browser(own)
}

impl<S: AsyncRead + AsyncWrite + Unpin> Browser<S> {
    /// Requests a WebSocket; returns the first line of the response.
    async fn asks(&mut self, path: &str, cookie: &str, origin: &str) -> String {
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: desktop.example.org\r\nOrigin: {origin}\r\nCookie: {cookie}\r\n\
             Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        self.0.write_all(head.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.0.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap();
        head.lines().next().unwrap_or_default().to_owned()
    }

    /// Sends a short binary message (RFC 6455, section 5.2), masked with zeros.
    async fn sends(&mut self, bytes: &[u8]) {
        let length = 0x80 | u8::try_from(bytes.len()).unwrap();
        let frame = [&[0x82, length, 0, 0, 0, 0], bytes].concat();
        self.0.write_all(&frame).await.unwrap();
    }

    /// Reads messages up to the first one that is no heartbeat. Returns its first byte and its
    /// content.
    async fn reads(&mut self) -> (u8, Vec<u8>) {
        loop {
            let (first, length) = (
                self.0.read_u8().await.unwrap(),
                self.0.read_u8().await.unwrap(),
            );
            let mut content = vec![0; usize::from(length)];
            self.0.read_exact(&mut content).await.unwrap();
            if first != 0x89 && (first, length) != (0x81, 0) {
                return (first, content);
            }
        }
    }

    /// Returns the reason with which the connection ends.
    async fn reason(&mut self) -> String {
        let (first, content) = self.reads().await;
        assert_eq!(first, 0x88, "{content:?}");
        String::from_utf8_lossy(content.get(2..).unwrap_or_default()).into_owned()
    }
}

const OWN: &str = "https://desktop.example.org";

async fn sign_out(bed: &PortalFixture, cookie: &str, csrf: &str) {
    let form = Request::post("/sign-out").header("host", "desktop.example.org");
    let form = form.header(ORIGIN, OWN).header(COOKIE, cookie);
    let form = form.body(Full::<Bytes>::from(format!("csrf={csrf}")));
    assert_eq!(got(&bed.portal, form.unwrap()).await.status, 303);
}

#[test]
fn a_user_opens_a_display_until_the_session_ends() {
    let (bed, part) = bed(&[]);
    let anna = bed.sign_in("anna");
    let csrf = get(&bed, &part, "/", &[("cookie", &anna)]).field("csrf");
    block_on(part.answers(async {
        let mut foreign = browser(&bed.portal);
        let line = foreign.asks("/screen/mail/socket", &anna, "https://evil.example.org");
        assert_eq!(line.await, "HTTP/1.1 403 Forbidden");
        let mut browser = browser(&bed.portal);
        let line = browser.asks("/screen/mail/socket", &anna, OWN).await;
        assert_eq!(line, "HTTP/1.1 101 Switching Protocols");
        let (message, end) = part.opened.borrow_mut().pop().unwrap();
        assert_eq!(
            (message.kind, &*message.bytes),
            (6, &b"display of mail"[..])
        );
        let end = StdStream::from(end);
        end.set_nonblocking(true).unwrap();
        let mut end = UnixStream::from_std(end).unwrap();
        end.write_all(b"RFB").await.unwrap();
        assert_eq!(browser.reads().await, (0x82, b"RFB".to_vec()));
        browser.sends(b"key").await;
        let mut key = [0; 3];
        end.read_exact(&mut key).await.unwrap();
        assert_eq!(&key, b"key");
        // The sign-out ends the display, too: what is typed then reaches nothing.
        sign_out(&bed, &anna, &csrf).await;
        browser.sends(b"x").await;
        assert_eq!(browser.reason().await, "Signed out.");
        assert_eq!(end.read(&mut key).await.unwrap(), 0);
    }));
    let events = bed.portal.events();
    let events: Vec<_> = events
        .iter()
        .map(|one| (one.to.as_str(), one.why.as_str()))
        .collect();
    let by = "by anna from 192.0.2.1";
    assert_eq!(
        events,
        [
            ("display of mail opened", by),
            ("display of mail closed", by)
        ]
    );
    let user = FarmUser::named("anna").unwrap();
    let steps = bed.portal.site.why(&user).unwrap().steps;
    let got: Vec<_> = steps.iter().map(|step| step.got.as_str()).collect();
    assert_eq!(
        got,
        [
            "signed in",
            "display of mail opened",
            "display of mail closed"
        ]
    );
}

#[test]
fn each_channel_of_a_display_is_judged_and_all_of_them_are_one_display_of_one_user() {
    let (bed, part) = bed(&[]);
    let (anna, bert) = (bed.sign_in("anna"), bed.sign_in("bert"));
    let csrf = get(&bed, &part, "/", &[("cookie", &anna)]).field("csrf");
    block_on(part.answers(async {
        let socket = "/spice/desk/socket";
        let mut channels = Vec::new();
        for _ in 0..4 {
            let mut channel = browser(&bed.portal);
            let line = channel.asks(socket, &anna, OWN).await;
            assert_eq!(line, "HTTP/1.1 101 Switching Protocols");
            channels.push(channel);
        }
        assert_eq!(part.opened.borrow().len(), 4);
        for (cookie, origin, status) in [
            ("", OWN, "401 Unauthorized"),
            (bert.as_str(), OWN, "404 Not Found"),
            (anna.as_str(), "https://evil.example.org", "403 Forbidden"),
        ] {
            let line = browser(&bed.portal).asks(socket, cookie, origin).await;
            assert_eq!(line, format!("HTTP/1.1 {status}"));
        }
        // The channels of a display are limited.
        for _ in 4..kind::of(Opens::Spice).connections {
            let mut channel = browser(&bed.portal);
            channel.asks(socket, &anna, OWN).await;
            channels.push(channel);
        }
        let mut further = browser(&bed.portal);
        further.asks(socket, &anna, OWN).await;
        assert!(
            further
                .reason()
                .await
                .contains("display is in use by anna:")
        );
        // The sign-out ends all of them.
        sign_out(&bed, &anna, &csrf).await;
        for channel in &mut channels {
            assert_eq!(channel.reason().await, "Signed out.");
        }
    }));
    let events = bed.portal.events();
    let events: Vec<_> = events.iter().map(|one| one.to.as_str()).collect();
    assert_eq!(events, ["display of desk opened", "display of desk closed"]);
}

#[test]
fn a_user_who_leaves_the_group_loses_what_is_open() {
    let (bed, part) = bed(&[]);
    let anna = bed.sign_in("anna");
    block_on(part.answers(async {
        let mut browser = browser(&bed.portal);
        browser.asks("/terminal/mail/socket", &anna, OWN).await;
        bed.change(&farm_with(vec![consoles(&["erp"], &["staff"])]));
        browser.sends(b"x").await;
        assert_eq!(
            browser.reason().await,
            "You are no longer permitted to use this."
        );
    }));
}

#[test]
fn a_terminal_is_for_one_and_what_the_part_refuses_is_told() {
    let (bed, part) = bed(&[]);
    let anna = bed.sign_in("anna");
    block_on(part.answers(async {
        let mut first = browser(&bed.portal);
        first.asks("/terminal/mail/socket", &anna, OWN).await;
        let mut second = browser(&bed.portal);
        second.asks("/terminal/mail/socket", &anna, OWN).await;
        let reason = second.reason().await;
        assert!(
            reason.starts_with("its terminal is in use by anna:"),
            "{reason}"
        );
        part.refuses.set("mail does not run");
        let mut third = browser(&bed.portal);
        third.asks("/screen/mail/socket", &anna, OWN).await;
        assert_eq!(third.reason().await, "mail does not run");
    }));
    let events = bed.portal.events();
    let refused = events
        .iter()
        .find(|one| one.to == "display of mail refused");
    assert!(
        refused.unwrap().why.ends_with(": mail does not run"),
        "{events:?}"
    );
}
