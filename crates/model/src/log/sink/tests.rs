//! Tests log targets on loopback and in directories: passed to another process, changed, broken.

use super::*;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixDatagram;

fn line(target: &LogTargetAddress, text: &str) -> QueuedLogLine {
    QueuedLogLine {
        target: target.clone(),
        bytes: text.into(),
    }
}

/// Binds a socket in place of a syslog daemon.
fn daemon() -> (UdpSocket, LogTargetAddress) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let patience = Some(Duration::from_secs(5));
    socket.set_read_timeout(patience).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, LogTargetAddress::Udp(address))
}

fn received(socket: &UdpSocket) -> (String, u16) {
    let mut bytes = [0; 100];
    let (count, from) = socket.recv_from(&mut bytes).unwrap();
    let text = String::from_utf8_lossy(&bytes[..count]).into_owned();
    (text, from.port())
}

struct TestDirectory(PathBuf);

impl TestDirectory {
    fn new(name: &str) -> TestDirectory {
        let path = std::env::temp_dir().join(format!("evenkeel-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        TestDirectory(path)
    }
}

impl Drop for TestDirectory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn unix(path: &Path) -> (UnixDatagram, LogTargetAddress) {
    let socket = UnixDatagram::bind(path).unwrap();
    socket.set_nonblocking(true).unwrap();
    (socket, LogTargetAddress::Unix(path.to_owned()))
}

fn text(socket: &UnixDatagram) -> Option<String> {
    let mut bytes = [0; 100];
    let count = socket.recv(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes[..count]).into_owned())
}

#[test]
fn targets_of_another_process_are_in_the_order_of_their_addresses() {
    let (first, a) = daemon();
    let (second, b) = daemon();
    let missing = LogTargetAddress::Unix("/nonexistent/log".into());
    let stream = LogTargetAddress::Fd(1);
    let addresses = [b.clone(), missing, stream, a.clone()];
    let sink = Sink::open(addresses.clone());
    let descriptors = sink.into_descriptors(&addresses);
    let there: Vec<bool> = descriptors.iter().map(Option::is_some).collect();
    assert_eq!(there, [true, false, false, true]);
    let mut sink = Sink::from_descriptors(&addresses, descriptors);
    let _ = sink.deliver(&line(&a, "to a"));
    let _ = sink.deliver(&line(&b, "to b"));
    assert_eq!(received(&first).0, "to a");
    assert_eq!(received(&second).0, "to b");
}

#[test]
fn a_target_that_stays_keeps_its_socket_and_one_that_is_gone_takes_its_last_lines() {
    let (stays, a) = daemon();
    let (gone, b) = daemon();
    let mut sink = Sink::open([a.clone(), b.clone()]);
    let _ = sink.deliver(&line(&a, "1"));
    let port = received(&stays).1;
    sink.change(Sink::open([a.clone()]));
    let _ = sink.deliver(&line(&a, "2"));
    assert_eq!(received(&stays), ("2".to_owned(), port));
    let _ = sink.deliver(&line(&b, "late"));
    assert_eq!(received(&gone).0, "late");
    assert_eq!((sink.open.len(), sink.retired.len()), (1, 1));
    // The target is configured again and keeps its socket.
    sink.change(Sink::open([b.clone()]));
    assert_eq!((sink.open.len(), sink.retired.len()), (1, 1));
}

#[test]
fn targets_that_are_gone_are_closed_when_there_are_many() {
    let mut sink = Sink::default();
    for n in 1..100 {
        let address = LogTargetAddress::Udp(([127, 0, 0, 1], n).into());
        sink.change(Sink::open([address]));
        assert!(sink.retired.len() <= RETIRED_MAX);
    }
    assert_eq!(sink.retired.len(), RETIRED_MAX);
    let last = LogTargetAddress::Udp(([127, 0, 0, 1], 98).into());
    assert_eq!(sink.retired.back().map(|(address, _)| address), Some(&last));
}

#[test]
fn a_daemon_that_was_restarted_is_reached_by_a_change_without_its_path() {
    let directory = TestDirectory::new("log-restart");
    let path = directory.0.join("log");
    let (old, address) = unix(&path);
    let mut sink = Sink::open([address.clone()]);
    drop(old);
    std::fs::remove_file(&path).unwrap();
    let (new, _) = unix(&path);
    let fresh = Sink::open([address.clone()]);
    // Simulates a root directory that does not contain the socket.
    std::fs::remove_file(&path).unwrap();
    sink.change(fresh);
    let _ = sink.deliver(&line(&address, "hello"));
    assert_eq!(text(&new).as_deref(), Some("hello"));
}

#[test]
fn a_daemon_that_was_restarted_is_reached_by_its_path() {
    let directory = TestDirectory::new("log-again");
    let path = directory.0.join("log");
    let (old, address) = unix(&path);
    let mut sink = Sink::open([address.clone()]);
    drop(old);
    std::fs::remove_file(&path).unwrap();
    let (new, _) = unix(&path);
    let _ = sink.deliver(&line(&address, "hello"));
    assert_eq!(text(&new).as_deref(), Some("hello"));
}

#[test]
fn in_another_root_a_path_is_also_tried_without_the_name_of_the_root() {
    let directory = TestDirectory::new("log-root");
    let path = directory.0.join("log");
    let (daemon, _) = unix(&path);
    // The configured name begins with a root path that does not exist inside the root.
    let root = Path::new("/srv/nonexistent-root");
    let named = root.join(path.strip_prefix("/").unwrap());
    let address = LogTargetAddress::Unix(named);
    let mut sink = Sink::open([address.clone()]).within(Some(root));
    assert!(sink.open.is_empty());
    let _ = sink.deliver(&line(&address, "inside"));
    assert_eq!(text(&daemon).as_deref(), Some("inside"));
    // A change of the targets keeps the root directory.
    drop(daemon);
    std::fs::remove_file(&path).unwrap();
    let (daemon, _) = unix(&path);
    sink.change(Sink::open([address.clone()]));
    let _ = sink.deliver(&line(&address, "still"));
    assert_eq!(text(&daemon).as_deref(), Some("still"));
}

#[test]
fn a_numbered_descriptor_is_what_it_was_at_the_start_whatever_has_the_number_later() {
    let (ours, theirs) = UnixDatagram::pair().unwrap();
    theirs.set_nonblocking(true).unwrap();
    let address = LogTargetAddress::Fd(ours.as_raw_fd());
    let mut sink = Sink::open([address.clone()]);
    let mut late = Sink::default();
    assert!(late.deliver(&line(&address, "to nobody")).is_err());
    assert_eq!(text(&theirs), None);
    drop(ours);
    let _ = sink.deliver(&line(&address, "hello"));
    assert_eq!(text(&theirs).as_deref(), Some("hello"));
}

#[test]
fn the_delivery_goes_on_with_the_targets_of_a_change_behind_the_lines_that_wait() {
    let (old, a) = daemon();
    let (new, b) = daemon();
    start(Sink::open([a.clone()]), Box::new(|_| {})).unwrap();
    send(&a, b"before".to_vec());
    change(Sink::open([b.clone()]));
    send(&b, b"after".to_vec());
    send(&a, b"late".to_vec());
    assert_eq!(received(&old).0, "before");
    assert_eq!(received(&new).0, "after");
    assert_eq!(received(&old).0, "late");
    drain(Duration::from_secs(5));
}

#[test]
fn a_target_that_loses_lines_is_reported_once_in_a_while() {
    use std::sync::{Arc, Mutex};
    let told: Arc<Mutex<Vec<String>>> = Arc::default();
    let heard = Arc::clone(&told);
    let mut losses = Losses::new(Box::new(move |text| {
        heard.lock().unwrap().push(text.into())
    }));
    let full = || io::Error::from_raw_os_error(28);
    let (stdout, file) = (
        LogTargetAddress::Fd(1),
        LogTargetAddress::Unix("/dev/log".into()),
    );
    let now = Instant::now();
    for _ in 0..3 {
        losses.report(&stdout, &full(), now);
    }
    losses.report(&file, &full(), now);
    losses.report(&stdout, &full(), now + REPORT_EVERY);
    let told = told.lock().unwrap();
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(
        told[0].starts_with("log lines are dropped: cannot send to stdout (No space left"),
        "{told:?}"
    );
    assert!(told[1].contains("cannot send to /dev/log"), "{told:?}");
}

#[test]
fn failed_start_leaves_no_queue() {
    let queue: OnceLock<SyncSender<u8>> = OnceLock::new();
    let failed = start_once(&queue, |_| Err(io::ErrorKind::WouldBlock.into()));
    assert_eq!(failed.unwrap_err().kind(), io::ErrorKind::WouldBlock);
    assert!(queue.get().is_none());
    let mut receiver = None;
    start_once(&queue, |started| {
        receiver = Some(started);
        Ok(())
    })
    .unwrap();
    queue.get().unwrap().send(7).unwrap();
    assert_eq!(receiver.unwrap().recv(), Ok(7));
    start_once(&queue, |_| panic!("it runs already")).unwrap();
}
