//! Tests of a session without a supervisor: its requests, and its output when a worker responds
//! slowly, too much, or not at all.

use super::super::processes::view;
use super::*;

struct SessionFixture {
    session: Client,
    user: OwnedFd,
    view: View,
    wishes: Vec<SupervisorRequest>,
}

const WORKER: i32 = 12838;

impl SessionFixture {
    fn new() -> SessionFixture {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (ours, user) =
            socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None).unwrap();
        let now = Instant::now();
        SessionFixture {
            session: Client::new(1, ours, Level::Admin, now),
            user,
            view: view(now),
            wishes: Vec::new(),
        }
    }

    fn turn(&mut self) -> bool {
        let mut turn = SessionContext {
            view: &self.view,
            sockets: "",
            wishes: &mut self.wishes,
        };
        self.session.make_progress(&mut turn)
    }

    fn ask(&mut self, text: &str) -> bool {
        let sent = send(&self.user, text.as_bytes(), SendFlags::DONTWAIT).unwrap();
        assert_eq!(sent, text.len());
        self.turn()
    }

    fn worker(&mut self) -> OwnedFd {
        match self.wishes.pop() {
            Some(SupervisorRequest::Operate { pid, socket, .. }) => {
                assert_eq!(pid, WORKER);
                socket
            }
            other => panic!("{other:?}"),
        }
    }

    fn said(&self) -> String {
        read(&self.user)
    }
}

fn read(fd: &OwnedFd) -> String {
    let mut all = Vec::new();
    let mut bytes = [0; 4096];
    while let Ok((length, _)) = recv(fd, &mut bytes[..], RecvFlags::DONTWAIT) {
        if length == 0 {
            break;
        }
        all.extend_from_slice(&bytes[..length]);
    }
    String::from_utf8(all).unwrap()
}

#[test]
fn worker_ending_during_its_response_is_reported() {
    let mut pair = SessionFixture::new();
    assert!(pair.ask("@1 show stat;show version\n"));
    let worker = pair.worker();
    assert_eq!(read(&worker), "show stat\n");
    send(&worker, b"half an ans", SendFlags::DONTWAIT).unwrap();
    drop(worker);
    pair.view.workers.clear();
    assert!(pair.turn());
    assert_eq!(
        pair.said(),
        "half an ansThe process 12838 ended before it answered.\n\n2.6.12-1+deb12u4\n\n"
    );
}

#[test]
fn unread_response_is_buffered_within_a_limit() {
    let mut pair = SessionFixture::new();
    assert!(pair.ask("@1 show stat\n"));
    let worker = pair.worker();
    let part = [b'x'; 8 * 1024];
    let mut taken = 0;
    for _ in 0..1_000 {
        match send(&worker, &part, SendFlags::DONTWAIT) {
            Ok(length) => taken += length,
            Err(errno) => assert_eq!(errno, Errno::AGAIN),
        }
        assert!(pair.turn());
        assert!(pair.session.output.len() < OUTPUT_MAX + READ_BYTES);
    }
    drop(worker);
    let mut fetched = 0;
    while fetched < taken {
        let part = pair.said().len();
        assert!(part > 0, "{fetched} of {taken}");
        fetched += part;
        assert!(pair.turn());
    }
    assert_eq!(fetched, taken);
}

#[test]
fn payload_ends_at_an_empty_line() {
    let mut pair = SessionFixture::new();
    assert!(pair.ask("show version;@1 add map #0 <<\nkey value\n"));
    let worker = pair.worker();
    assert_eq!(read(&worker), "add map #0 <<\nkey value\n");
    // The worker gets the end of the payload and no input after it.
    assert!(pair.ask("other value\n\nshow version\n"));
    assert_eq!(read(&worker), "other value\n\n");
    let mut byte = [0];
    let end = recv(&worker, &mut byte[..], RecvFlags::DONTWAIT).unwrap();
    assert_eq!(end.0, 0);
    send(&worker, b"\n", SendFlags::DONTWAIT).unwrap();
    drop(worker);
    assert!(pair.turn());
    assert_eq!(pair.said(), "2.6.12-1+deb12u4\n\n\n2.6.12-1+deb12u4\n\n");
}

#[test]
fn commands_of_a_line_share_a_session_of_the_selected_worker() {
    let mut pair = SessionFixture::new();
    assert!(pair.ask("@1; expert-mode on; debug dev log x; @master; show version\n"));
    let worker = pair.worker();
    assert_eq!(read(&worker), "expert-mode on;debug dev log x\n");
    send(&worker, b"\n\n", SendFlags::DONTWAIT).unwrap();
    drop(worker);
    assert!(pair.turn());
    assert_eq!(pair.said(), "\n\n2.6.12-1+deb12u4\n\n");
    // The payload belongs to the last command, and a prompt follows each one.
    assert!(pair.ask("@1;show info;add map #0 <<\nkey value\n\n"));
    let worker = pair.worker();
    assert_eq!(read(&worker), "show info;add map #0 <<\nkey value\n\n");
    drop(worker);
    assert!(pair.turn());
    assert!(pair.ask("prompt;show info;show stat\n"));
    let worker = pair.worker();
    assert_eq!(read(&worker), "show info\n");
    drop(worker);
    assert!(pair.turn());
    let worker = pair.worker();
    assert_eq!(read(&worker), "show stat\n");
}

#[test]
fn session_that_requested_a_reload_gets_its_result() {
    let mut pair = SessionFixture::new();
    assert!(pair.ask("reload\nshow version\n"));
    assert!(matches!(
        pair.wishes.pop(),
        Some(SupervisorRequest::Reload(1))
    ));
    assert!(pair.turn());
    assert_eq!(pair.said(), "");
    assert_eq!(pair.session.watched().count(), 0, "nothing is waited for");
    pair.session.report_reload_result(true, "words\n");
    assert!(!pair.turn());
    assert_eq!(pair.said(), "Success=1\n--\nwords\n\n");
}

#[test]
fn disconnect_ends_the_session() {
    let mut pair = SessionFixture::new();
    assert!(pair.ask("prompt\n"));
    let (_, gone) = socketpair(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )
    .unwrap();
    drop(std::mem::replace(&mut pair.user, gone));
    assert!(!pair.turn());
}
