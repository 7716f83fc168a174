//! Tests health checks over loopback against scripted servers.

use super::{Level, Notice, RunningChecks, start};
use model::check::{CheckStep, Expect, HttpSend, Pattern, StatusRange, StepAction};
use model::config::{
    Check, CheckKind, Config, EmailAlert, Mailer, Mailers, Proxy, ProxyKind, ProxyOption, Server,
    ServerAddress, ServerOptions,
};
use model::control::install;
use model::state::{CheckStatus, HealthState, ProxyState, ServerState, now_ms};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Behaviour of the server, which can change while it runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Manner {
    Answer(&'static str),
    /// Sends the bytes one by one, with this pause in milliseconds.
    Slow(&'static str, u64),
    Stall,
    Close,
    /// Sends a head and an endless body.
    Huge,
}

struct TestOrigin {
    address: SocketAddr,
    manner: Arc<Mutex<Manner>>,
    requests: Arc<Mutex<Vec<Vec<u8>>>>,
}

const OK: Manner = Manner::Answer("HTTP/1.0 200 OK\r\nserver: x\r\n\r\nall is well");
/// Timeout for anything that has to happen.
const PATIENCE: Duration = Duration::from_secs(20);

fn origin(manner: Manner) -> TestOrigin {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let manner = Arc::new(Mutex::new(manner));
    let requests = Arc::new(Mutex::new(Vec::new()));
    let (now, seen) = (Arc::clone(&manner), Arc::clone(&requests));
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (manner, seen) = (*now.lock().unwrap(), Arc::clone(&seen));
            std::thread::spawn(move || serve(stream, manner, &seen));
        }
    });
    TestOrigin {
        address,
        manner,
        requests,
    }
}

fn serve(mut stream: TcpStream, manner: Manner, seen: &Mutex<Vec<Vec<u8>>>) {
    let mut request = [0; 4096];
    let Ok(length) = stream.read(&mut request) else {
        return;
    };
    if length > 0 {
        seen.lock().unwrap().push(request[..length].to_vec());
    }
    match manner {
        Manner::Answer(text) => _ = stream.write_all(text.as_bytes()),
        Manner::Slow(text, ms) => {
            for byte in text.as_bytes() {
                if stream.write_all(&[*byte]).is_err() {
                    return;
                }
                std::thread::sleep(Duration::from_millis(ms));
            }
        }
        // Waits until the check gives up and closes the connection.
        Manner::Stall => _ = stream.read(&mut request),
        Manner::Close => {}
        Manner::Huge => {
            let _ = stream.write_all(b"HTTP/1.0 200 OK\r\n\r\n");
            while stream.write_all(&[b'x'; 65536]).is_ok() {}
        }
    }
}

struct CheckFixture {
    config: Arc<Config>,
    lines: Arc<Mutex<Vec<(Level, String)>>>,
    checks: Option<RunningChecks>,
    /// Stops the side thread when it is dropped.
    _running: tokio::sync::oneshot::Sender<()>,
}

fn quick() -> ServerOptions {
    ServerOptions {
        check: true,
        inter_ms: 40,
        ..ServerOptions::default()
    }
}

fn http() -> Check {
    expecting(Vec::new())
}

fn expecting(expects: Vec<Expect>) -> Check {
    let steps = expects.into_iter().map(|expect| {
        let mut step = CheckStep::implied(StepAction::Expect(Box::new(expect)));
        step.number = 1;
        step
    });
    let mut check = Check {
        kind: CheckKind::Http,
        line: HttpSend {
            method: Some("GET".into()),
            ..Default::default()
        },
        ..Check::default()
    };
    check.http.steps = steps.collect();
    check.compile();
    check
}

type Described = (SocketAddr, ServerOptions);

fn tree(
    servers: &[Described],
    check: Check,
    options: &[ProxyOption],
    old: Option<&Config>,
) -> Arc<Config> {
    let state = Arc::new(ProxyState::new("back"));
    let server = |(n, (address, options)): (usize, &Described)| {
        let name = format!("web{n}");
        Server {
            span: Default::default(),
            id: n as u32 + 1,
            address_text: address.to_string().into(),
            address: ServerAddress::Inet(*address),
            options: options.clone(),
            state: Arc::new(ServerState::new(&name, Arc::clone(&state))),
            name: name.into(),
            way: 0,
            host: None,
            tracks: None,
            added: None,
        }
    };
    let servers = servers.iter().enumerate().map(server).collect();
    let mut proxy = Proxy {
        name: "back".into(),
        kind: ProxyKind::Backend,
        servers,
        check,
        state: Arc::clone(&state),
        ..Proxy::default()
    };
    proxy.timeouts.check_ms = Some(300);
    options
        .iter()
        .for_each(|option| proxy.options.set(*option, true));
    let mut config = Config {
        proxies: vec![proxy],
        ..Config::default()
    };
    install(&mut config, old, now_ms());
    Arc::new(config)
}

fn bed(servers: &[Described], check: Check, options: &[ProxyOption]) -> CheckFixture {
    bed_of(tree(servers, check, options, None))
}

fn bed_of(config: Arc<Config>) -> CheckFixture {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let taken = Arc::clone(&lines);
    let notice: Notice =
        Arc::new(move |_, _, level, line| taken.lock().unwrap().push((level, line.to_owned())));
    let (give, checks) = std::sync::mpsc::channel();
    let (running, ended) = tokio::sync::oneshot::channel::<()>();
    let tree = Arc::clone(&config);
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            give.send(start(&tree, notice)).unwrap();
            let _ = ended.await;
        });
    });
    CheckFixture {
        config,
        lines,
        checks: checks.recv().ok(),
        _running: running,
    }
}

impl CheckFixture {
    fn state(&self, n: usize) -> &Arc<ServerState> {
        &self.config.proxies[0].servers[n].state
    }

    fn until(&self, what: &str, mut is_so: impl FnMut(&Self) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !is_so(self) {
            assert!(
                Instant::now() < end,
                "never: {what}; lines: {:?}",
                self.lines()
            );
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn until_status(&self, status: CheckStatus) {
        let last = |bed: &Self| bed.state(0).report(now_ms()).last_check.status;
        self.until(&format!("{status:?}"), |bed| last(bed) == status);
    }

    fn lines(&self) -> Vec<String> {
        self.lines
            .lock()
            .unwrap()
            .iter()
            .map(|(_, line)| without_duration(line))
            .collect()
    }
}

/// Removes the duration, which depends on the machine.
fn without_duration(line: &str) -> String {
    let Some(at) = line.find("duration: ") else {
        return line.to_owned();
    };
    let digits = &line[at + 10..];
    let rest = digits.trim_start_matches(|c: char| c.is_ascii_digit());
    format!("{}duration: N{rest}", &line[..at])
}

#[test]
fn a_server_goes_down_after_fall_and_comes_up_after_rise() {
    let origin = origin(OK);
    let bed = bed(&[(origin.address, quick())], http(), &[]);
    bed.until("surely up", |bed| {
        bed.state(0).report(now_ms()).status_text() == "UP"
    });
    *origin.manner.lock().unwrap() = Manner::Answer("HTTP/1.0 500 Bad\r\n\r\n");
    let mut seen = Vec::new();
    bed.until("down", |bed| {
        let text = bed.state(0).report(now_ms()).status_text();
        if seen.last() != Some(&text) {
            seen.push(text);
        }
        !bed.state(0).usable()
    });
    assert!(
        seen.iter()
            .all(|text| ["UP", "UP 2/3", "UP 1/3", "DOWN"].contains(&&**text)),
        "{seen:?}"
    );
    assert!(seen.contains(&"UP 1/3".to_owned()), "{seen:?}");
    assert!(!bed.state(0).usable_for_persistence());
    bed.until("told", |bed| bed.lines().len() == 2);
    *origin.manner.lock().unwrap() = OK;
    bed.until("up", |bed| bed.lines().len() == 3);
    assert!(bed.state(0).usable());
    // The messages equal those of haproxy 2.6.12, word by word.
    assert_eq!(
        bed.lines(),
        [
            "Server back/web0 is DOWN, reason: Layer7 wrong status, code: 500, info: \"Bad\", check duration: Nms. \
         0 active and 0 backup servers left. 0 sessions active, 0 requeued, 0 remaining in queue.",
            "backend back has no server available!",
            "Server back/web0 is UP, reason: Layer7 check passed, code: 200, check duration: Nms. \
         1 active and 0 backup servers online. 0 sessions requeued, 0 total in queue.",
        ]
    );
    let levels: Vec<Level> = bed
        .lines
        .lock()
        .unwrap()
        .iter()
        .map(|(level, _)| *level)
        .collect();
    assert_eq!(levels, [Level::Alert, Level::Emergency, Level::Notice]);
    assert_eq!(
        origin.requests.lock().unwrap()[0],
        b"GET / HTTP/1.0\r\n\r\n"
    );
}

#[test]
fn each_invalid_response_has_its_status() {
    let origin = origin(OK);
    let mut options = quick();
    (options.rise, options.fall) = (1, 1);
    let bed = bed(&[(origin.address, options)], http(), &[]);
    for (manner, status) in [
        (OK, CheckStatus::Layer7Ok),
        (
            Manner::Answer("hello there\r\n\r\n"),
            CheckStatus::Layer7Invalid,
        ),
        (OK, CheckStatus::Layer7Ok),
        (Manner::Answer("HTTP/1.0 200 O"), CheckStatus::Layer7Invalid),
        (Manner::Stall, CheckStatus::Layer7Timeout),
        (Manner::Close, CheckStatus::Layer7Invalid),
        (
            Manner::Answer("HTTP/1.1 503 No\r\n\r\n"),
            CheckStatus::Layer7Status,
        ),
        // The timeout of 300 ms ends before the head is complete.
        (
            Manner::Slow("HTTP/1.0 200 OK\r\nx: y\r\n\r\n", 30),
            CheckStatus::Layer7Timeout,
        ),
        (
            Manner::Slow("HTTP/1.0 200 OK\r\n\r\n", 2),
            CheckStatus::Layer7Ok,
        ),
        (Manner::Huge, CheckStatus::Layer7Ok),
    ] {
        *origin.manner.lock().unwrap() = manner;
        bed.until_status(status);
    }
}

#[test]
fn expected_text_is_searched_in_a_bounded_body() {
    let origin = origin(Manner::Huge);
    let expect = Expect::new(Pattern::Text(b"well".as_slice().into()));
    let bed = bed(&[(origin.address, quick())], expecting(vec![expect]), &[]);
    bed.until_status(CheckStatus::Layer7Invalid);
    let report = bed.state(0).report(now_ms());
    assert_eq!(report.last_check.info, "HTTP content check did not match");
    *origin.manner.lock().unwrap() = Manner::Slow("HTTP/1.0 200 OK\r\n\r\nall is well", 1);
    bed.until_status(CheckStatus::Layer7Ok);
}

#[test]
fn failed_checks_are_logged_with_log_health_checks() {
    let origin = origin(OK);
    let gone = ([127, 0, 0, 1], lab::free_port().unwrap()).into();
    let backup = ServerOptions {
        backup: true,
        ..quick()
    };
    let range = StatusRange {
        first: 201,
        last: 299,
    };
    let mut expect = Expect::new(Pattern::Status(vec![range]));
    expect.negated = true;
    let bed = bed(
        &[(gone, quick()), (origin.address, backup)],
        expecting(vec![expect]),
        &[ProxyOption::LogHealthChecks],
    );
    bed.until("both told", |bed| bed.lines().len() >= 3);
    let lines = bed.lines();
    for line in [
        "Health check for server back/web0 failed, reason: Layer4 connection problem, info: \"Connection refused\", \
         check duration: Nms, status: 0/2 DOWN.",
        "Server back/web0 is DOWN. 0 active and 1 backup servers left. Running on backup. \
         0 sessions active, 0 requeued, 0 remaining in queue.",
        "Health check for backup server back/web1 succeeded, reason: Layer7 check passed, code: 200, \
         check duration: Nms, status: 3/3 UP.",
    ] {
        assert!(lines.contains(&line.to_owned()), "{lines:#?}");
    }
}

#[test]
fn status_404_drains_a_server_but_never_raises_it() {
    let origin = origin(OK);
    let bed = bed(
        &[(origin.address, quick())],
        Check {
            disable_on_404: true,
            send_state: true,
            ..http()
        },
        &[],
    );
    bed.until_status(CheckStatus::Layer7Ok);
    *origin.manner.lock().unwrap() = Manner::Answer("HTTP/1.0 404 Nope\r\n\r\n");
    bed.until_status(CheckStatus::Layer7OkConditional);
    assert!(!bed.state(0).usable() && bed.state(0).usable_for_persistence());
    assert_eq!(bed.state(0).report(now_ms()).status_text(), "NOLB");
    *origin.manner.lock().unwrap() = Manner::Answer("HTTP/1.0 500 x\r\n\r\n");
    bed.until("down", |bed| {
        bed.state(0).report(now_ms()).health == HealthState::Down
    });
    *origin.manner.lock().unwrap() = Manner::Answer("HTTP/1.0 404 Nope\r\n\r\n");
    bed.until("a 404 of a server that is down", |bed| {
        let last = bed.state(0).report(now_ms()).last_check;
        last.code == 404 && last.status == CheckStatus::Layer7Status
    });
    let requests = origin.requests.lock().unwrap();
    let first = String::from_utf8_lossy(&requests[0]).into_owned();
    assert!(
        first.contains("x-haproxy-server-state: UP 1/3; address=127.0.0.1; port="),
        "{first}"
    );
    assert!(first.contains("; name=back/web0; node="), "{first}");
    assert!(
        first.contains("; weight=1/1; scur=0/0; qcur=0\r\n"),
        "{first}"
    );
}

#[test]
fn plain_check_only_connects_and_sends_a_proxy_header() {
    let origin = origin(Manner::Close);
    let options = ServerOptions {
        send_proxy: Some(1),
        ..quick()
    };
    let bed = bed(&[(origin.address, options)], Check::default(), &[]);
    bed.until_status(CheckStatus::Layer4Ok);
    bed.until("a header", |_| !origin.requests.lock().unwrap().is_empty());
    let header = origin.requests.lock().unwrap()[0].clone();
    let header = String::from_utf8_lossy(&header).into_owned();
    let end = format!(" {}\r\n", origin.address.port());
    assert!(
        header.starts_with("PROXY TCP4 127.0.0.1 127.0.0.1 ") && header.ends_with(&end),
        "{header}"
    );
}

#[test]
fn checks_go_where_addr_and_port_say() {
    let origin = origin(OK);
    let nowhere: SocketAddr = "127.0.0.1:1".parse().unwrap();
    let options = ServerOptions {
        check_port: Some(origin.address.port()),
        ..quick()
    };
    let bed = bed(&[(nowhere, options)], http(), &[]);
    bed.until_status(CheckStatus::Layer7Ok);
}

#[test]
fn stopped_checks_and_maintenance_send_nothing() {
    let origin = origin(OK);
    let mut bed = bed(&[(origin.address, quick())], http(), &[]);
    bed.until_status(CheckStatus::Layer7Ok);
    let count = || origin.requests.lock().unwrap().len();
    // A check that was in progress may still end, however late.
    let ended = |what: &str| {
        let before = count();
        lab::sleep_in_test(Duration::from_millis(300), "that nothing is asked");
        assert!(count() <= before + 1, "{what}");
    };
    bed.state(0)
        .set_admin(model::state::AdminState::Maintenance, now_ms());
    ended("maintenance is not checked");
    let before = count();
    bed.state(0)
        .set_admin(model::state::AdminState::Ready, now_ms());
    bed.until("checked again", |_| count() > before);
    bed.state(0).stop_checks(true);
    ended("`disable health`");
    let before = count();
    assert!(bed.state(0).is_up(), "it stays what it was");
    bed.state(0).stop_checks(false);
    bed.until("checked again", |_| count() > before);
    if let Some(checks) = bed.checks.take() {
        checks.stop();
    }
    ended("the checks have ended");
}

#[test]
fn reload_keeps_starts_and_ends_checks() {
    let (stays, goes, comes) = (origin(OK), origin(OK), origin(OK));
    let nowhere = ([127, 0, 0, 1], lab::free_port().unwrap()).into();
    let mut seldom = quick();
    (seldom.inter_ms, seldom.rise) = (60_000, 1);
    let servers = [
        (stays.address, quick()),
        (nowhere, seldom.clone()),
        (goes.address, quick()),
    ];
    let mut bed = bed(&servers, http(), &[]);
    bed.until("the second is down", |bed| !bed.state(1).is_up());
    bed.until("all were asked", |_| {
        let asked = |origin: &TestOrigin| !origin.requests.lock().unwrap().is_empty();
        asked(&stays) && asked(&goes)
    });
    let count = |origin: &TestOrigin| origin.requests.lock().unwrap().len();
    for n in 0..20 {
        // The address of the third server changes back and forth; that of the second stays.
        let third = [comes.address, goes.address][n % 2];
        let servers = [
            (stays.address, quick()),
            (nowhere, seldom.clone()),
            (third, quick()),
        ];
        let wanted = if n == 19 { &servers[..2] } else { &servers };
        let next = tree(wanted, http(), &[], Some(&bed.config));
        bed.checks.as_ref().unwrap().change(&next);
        assert!(!next.proxies[0].servers[1].state.is_up(), "change {n}");
        bed.config = next;
        std::thread::sleep(Duration::from_millis(10));
    }
    bed.until("the new one was asked", |_| count(&comes) > 0);
    // A check that was running at the last change may still end.
    bed.until("the others are at rest", |_| {
        let before = (count(&goes), count(&comes));
        std::thread::sleep(Duration::from_millis(200));
        (count(&goes), count(&comes)) == before
    });
    let before = (count(&stays), count(&goes), count(&comes));
    bed.until("the one that stays goes on", |_| {
        count(&stays) > before.0 + 2
    });
    assert_eq!((count(&goes), count(&comes)), (before.1, before.2));
    // The newest configuration is referenced by the test and by both schedules, and by running
    // checks.
    bed.until("no check runs", |bed| Arc::strong_count(&bed.config) == 3);
    let told = bed.lines();
    assert!(told.iter().all(|line| !line.contains("UP")), "{told:#?}");
}

/// Starts a mail server that accepts everything; returns its address and what it received.
fn mail_server() -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mails = Arc::new(Mutex::new(Vec::new()));
    let taken = Arc::clone(&mails);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let taken = Arc::clone(&taken);
            std::thread::spawn(move || {
                let mail = take_mail(stream);
                taken.lock().unwrap().push(mail);
            });
        }
    });
    (address, mails)
}

fn take_mail(mut stream: TcpStream) -> String {
    use std::io::BufRead;
    let lines = std::io::BufReader::new(stream.try_clone().unwrap()).lines();
    let (mut mail, mut in_data) = (String::new(), false);
    let _ = stream.write_all(b"220-welcome\r\n220 here\r\n");
    for line in lines.map_while(Result::ok) {
        mail += &line;
        mail.push('\n');
        let answer: &[u8] = match (&*line, in_data) {
            (".", true) => b"250 taken\r\n",
            (_, true) => continue,
            ("DATA", _) => b"354 go on\r\n",
            ("QUIT", _) => b"221 bye\r\n",
            _ => b"250 ok\r\n",
        };
        in_data = line == "DATA";
        if stream.write_all(answer).is_err() {
            break;
        }
    }
    mail
}

#[test]
fn state_changes_are_mailed_as_configured() {
    for (level, mails_of_both) in [(None, false), (Some(5), true)] {
        let (address, mails) = mail_server();
        let mut mailers = Mailers::new("ops", Default::default());
        mailers.servers.push(Mailer {
            name: "a".into(),
            address,
        });
        let origin = origin(Manner::Answer("HTTP/1.0 500 Bad\r\n\r\n"));
        let mut config = tree(&[(origin.address, quick())], http(), &[], None);
        let proxy = &mut Arc::get_mut(&mut config).unwrap().proxies[0];
        proxy.email = Some(Box::new(EmailAlert {
            mailers: Some(Arc::new(mailers)),
            from: Some("lb@example.org".into()),
            to: Some("ops@example.org".into()),
            host_name: Some("lb.example".into()),
            level,
            ..EmailAlert::default()
        }));
        let bed = bed_of(config);
        bed.until("a mail", |_| !mails.lock().unwrap().is_empty());
        *origin.manner.lock().unwrap() = OK;
        bed.until("up", |bed| bed.state(0).usable());
        if mails_of_both {
            bed.until("a second mail", |_| mails.lock().unwrap().len() == 2);
        }
        let mails = mails.lock().unwrap();
        let begin =
            "HELO lb.example\nMAIL FROM:<lb@example.org>\nRCPT TO:<ops@example.org>\nDATA\nFrom: ";
        assert!(mails[0].starts_with(begin), "{}", mails[0]);
        let subject = "\nSubject: [HAProxy Alert] Server back/web0 is DOWN, reason: Layer7 wrong status, code: 500";
        assert!(mails[0].contains(subject), "{}", mails[0]);
        assert!(mails[0].ends_with("\n\n.\nQUIT\n"), "{}", mails[0]);
        if mails_of_both {
            assert!(mails[1].contains("back/web0 is UP"), "{}", mails[1]);
        }
    }
}
