//! Tests two peers in one process: what one counts in a stick table soon reaches the other.

use super::{Driver, report, start};
use keyword::testing::load_text;
use lab::pki::{Authority, Leaf};
use model::config::Config;
use model::control::install;
use model::shared_tables::{Resync, Section, entry};
use model::tables::{DataType, HeldEntry, Table};
use protocol::peers::Update;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Timeout for anything, long enough for busy machines.
const PATIENCE: Duration = Duration::from_secs(30);

fn addresses() -> [SocketAddr; 2] {
    let sockets = [(); 2].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port"));
    sockets.map(|socket| socket.local_addr().expect("it is bound"))
}

fn config(name: &str, addresses: [SocketAddr; 2], old: Option<&Config>) -> Config {
    config_with(name, addresses, old, "")
}

/// Returns a configuration with these lines in its `peers` section.
fn config_with(
    name: &str,
    addresses: [SocketAddr; 2],
    old: Option<&Config>,
    lines: &str,
) -> Config {
    let [one, two] = addresses;
    let text = format!(
        "global\n localpeer {name}\npeers mesh\n {lines}\n peer one {one}\n peer two {two}\n \
         table own type integer size 100 store gpc0\n\
         listen t\n bind 127.0.0.1:1\n \
         stick-table type string len 20 size 1000 expire 1h peers mesh store gpc(2),http_req_rate(1h),conn_cur,server_key,bytes_in_cnt\n"
    );
    let loaded = load_text(&text);
    let mut config = loaded.config.expect("it loads");
    install(&mut config, old, 0);
    config
}

fn table<'c>(config: &'c Config, name: &str) -> &'c Arc<Table> {
    config.tables.live(name).expect("it is there")
}

async fn soon(what: &str, mut is: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is() {
        assert!(Instant::now() < end, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn count(table: &Arc<Table>, key: &[u8], n: u64) {
    let held: HeldEntry = table.get(key).expect("room");
    held.add(DataType::Gpc, 1, n);
    held.add(DataType::HttpReqRate, 0, n);
    held.add(DataType::ConnCur, 0, n);
    held.add(DataType::BytesInCnt, 0, n << 33);
    held.set(DataType::ServerKey, 0, table.words.number("web1").into());
    held.queue_peer_update();
}

fn known(table: &Arc<Table>, key: &[u8]) -> Option<[u64; 4]> {
    let held = table.find(key)?;
    let get = |kind, element| held.get(kind, element).unwrap_or(0);
    let word = table.words.text(get(DataType::ServerKey, 0) as u32);
    assert_eq!(word.as_deref(), Some("web1"));
    let kinds = [
        (DataType::Gpc, 1),
        (DataType::HttpReqRate, 0),
        (DataType::ConnCur, 0),
        (DataType::BytesInCnt, 0),
    ];
    Some(kinds.map(|(kind, element)| get(kind, element)))
}

fn block_on(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(test);
}

#[test]
fn counts_are_replicated_and_again_after_an_absence() {
    block_on(async {
        let addresses = addresses();
        let (one, two) = (
            config("one", addresses, None),
            config("two", addresses, None),
        );
        let first = start(&one);
        let second = start(&two);
        count(table(&one, "t"), b"a", 3);
        soon("an update", || {
            known(table(&two, "t"), b"a") == Some([3, 3, 0, 3 << 33])
        })
        .await;
        count(table(&two, "t"), b"b", 5);
        soon("one back", || {
            known(table(&one, "t"), b"b") == Some([5, 5, 0, 5 << 33])
        })
        .await;
        let key = 77u32.to_ne_bytes();
        let held = table(&one, "mesh/own").get(&key).expect("room");
        held.add(DataType::Gpc0, 0, 9);
        held.queue_peer_update();
        soon("a table of the section", || {
            let held = table(&two, "mesh/own").find(&key);
            held.and_then(|held| held.get(DataType::Gpc0, 0)) == Some(9)
        })
        .await;
        // The second process ends, and another one starts with empty tables.
        drop::<Driver>(second);
        count(table(&one, "t"), b"c", 1);
        let again = config("two", addresses, None);
        let second = start(&again);
        for key in [b"a", b"b", b"c"] {
            soon("a lesson", || known(table(&again, "t"), key).is_some()).await;
        }
        let shown = report(&one, None).expect("there are peers");
        assert!(shown.contains("id=two(remote,active)"), "{shown}");
        assert!(report(&one, Some("other")).is_none());
        drop((first, second));
    });
}

#[test]
fn peers_share_tables_over_mutual_tls() {
    let authority = Authority::new("mesh").expect("an authority");
    let of = |client| {
        let leaf = Leaf {
            client,
            ..Leaf::default()
        };
        authority.issue(&leaf).expect("a certificate").bundle()
    };
    let file = |what: &str, text: &str| {
        let name = format!("evenkeel-peers-{what}-{}.pem", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).expect("written");
        path
    };
    let (served, shown) = (file("served", &of(false)), file("shown", &of(true)));
    let ca = file("ca", authority.certificate_pem());
    let lines = format!(
        "default-bind ssl crt {} ca-file {ca} verify required\n default-server ssl crt {} ca-file {ca}",
        served.display(),
        shown.display(),
        ca = ca.display()
    );
    block_on(async {
        let addresses = addresses();
        let one = config_with("one", addresses, None, &lines);
        let two = config_with("two", addresses, None, &lines);
        let (first, second) = (start(&one), start(&two));
        count(table(&one, "t"), b"a", 3);
        soon("an update", || {
            known(table(&two, "t"), b"a") == Some([3, 3, 0, 3 << 33])
        })
        .await;
        // A client without TLS gets no greeting.
        let mut stranger = TcpStream::connect(addresses[0]).await.expect("connected");
        let hello = b"HAProxyS 2.1\none\ntwo 1 1\n";
        stranger.write_all(hello).await.expect("sent");
        let mut said = Vec::new();
        let _ = stranger.read_to_end(&mut said).await;
        assert!(!said.starts_with(b"200"));
        drop((first, second));
    });
    for path in [served, shown, ca] {
        let _ = std::fs::remove_file(path);
    }
}

#[test]
fn unrelated_reload_keeps_peer_connections() {
    block_on(async {
        let addresses = addresses();
        let (one, two) = (
            config("one", addresses, None),
            config("two", addresses, None),
        );
        let mut first = start(&one);
        let _second = start(&two);
        count(table(&one, "t"), b"a", 3);
        soon("an update", || known(table(&two, "t"), b"a").is_some()).await;
        let newer = config("one", addresses, Some(&one));
        first.change(&newer);
        count(table(&newer, "t"), b"b", 3);
        soon("another", || known(table(&two, "t"), b"b").is_some()).await;
        let shown = report(&newer, Some("mesh")).expect("it is there");
        assert!(shown.contains("new_conn=1 "), "{shown}");
    });
}

#[test]
fn strangers_use_no_slot_of_a_peer() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpSocket, TcpStream};
    use tokio::time::timeout;

    async fn connect(from: Ipv4Addr, to: SocketAddr) -> TcpStream {
        let mut waited = Duration::ZERO;
        loop {
            let socket = TcpSocket::new_v4().expect("a socket");
            socket.bind((from, 0).into()).expect("an address of ours");
            match socket.connect(to).await {
                Ok(stream) => return stream,
                // The peer does not listen yet.
                Err(error) => assert!(waited < PATIENCE, "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
            waited += Duration::from_millis(10);
        }
    }

    block_on(async {
        let [own, other] = addresses();
        let away = SocketAddr::from(([127, 0, 0, 2], other.port()));
        let one = config("one", [own, away], None);
        let _first = start(&one);
        let mut strangers = Vec::new();
        for _ in 0..100 {
            strangers.push(connect([127, 0, 0, 3].into(), own).await);
        }
        let mut peer = connect([127, 0, 0, 2].into(), own).await;
        let hello = b"HAProxyS 2.1\none\ntwo 1 1\n";
        peer.write_all(hello).await.expect("it takes it");
        let mut answer = [0; 4];
        let read = timeout(PATIENCE, peer.read_exact(&mut answer)).await;
        read.expect("in time").expect("an answer");
        assert_eq!(&answer, b"200\n");
    });
}

#[test]
fn data_sent_with_the_greeting_is_applied() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio::time::timeout;

    block_on(async {
        let [own, other] = addresses();
        let one = config("one", [own, other], None);
        let _first = start(&one);
        let mut connected = TcpStream::connect(own).await;
        while connected.is_err() {
            // The peer does not listen yet.
            tokio::task::yield_now().await;
            connected = TcpStream::connect(own).await;
        }
        let mut peer = connected.expect("it listens");
        // The greeting of a peer, and its request for a full resynchronization.
        let sent = b"HAProxyS 2.1\none\ntwo 1 1\n\x00\x00";
        peer.write_all(sent).await.expect("it takes it");
        let mut answer = Vec::new();
        let finished = async {
            // Waits for the message that ends the resynchronization.
            while !answer
                .windows(2)
                .any(|two| two == b"\x00\x01" || two == b"\x00\x02")
            {
                assert_ne!(peer.read_buf(&mut answer).await.expect("more"), 0);
            }
        };
        timeout(PATIENCE, finished).await.expect("in time");
    });
}

/// Returns the section of the peer `one`, to which the peer `two` has just connected.
fn section(config: &Config) -> (Section, u64) {
    let peers = config.peers.first().expect("a section");
    let mut section = Section::new(config, peers, 0);
    let connection = section.connect(0);
    section.peers[0].established = true;
    (section, connection)
}

fn news(section: &mut Section) -> usize {
    section.collect();
    (0..section.tables.len())
        .map(|table| section.next_updates(0, table, 10).len())
        .sum()
}

#[test]
fn no_updates_to_a_peer_during_its_resync() {
    let config = config("one", addresses(), None);
    let (mut section, _) = section(&config);
    assert!(section.start_resync_if_due(0, 0));
    count(table(&config, "t"), b"key", 1);
    assert_eq!(news(&mut section), 0, "the lesson goes on");
    section.finish_resync(0, false, 10);
    assert_eq!(news(&mut section), 1, "it is over, though nobody knew all");
    assert_eq!(section.resync, Resync::Needed);
}

#[test]
fn new_peer_is_updated_after_the_resync() {
    let config = config("one", addresses(), None);
    let (mut section, _) = section(&config);
    count(table(&config, "t"), b"key", 1);
    assert_eq!(news(&mut section), 0, "it may teach yet");
    assert!(section.start_resync_if_due(0, 0));
    section.finish_resync(0, true, 10);
    assert_eq!(section.resync, Resync::Done);
    assert_eq!(news(&mut section), 1);
}

#[test]
fn resync_does_not_revert_sent_updates() {
    let config = config("one", addresses(), None);
    let peers = config.peers.first().expect("a section");
    let t = table(&config, "t");
    let shared = Section::new(&config, peers, 0);
    let at = shared.tables.iter().position(|s| Arc::ptr_eq(&s.table, t));
    // Values that the peer has for each key.
    let lesson = |key: &[u8]| Update {
        table: at.expect("it is shared"),
        number: 1,
        expires_in_ms: Some(1_000),
        key: key.to_vec(),
        fields: entry::fields(&t.find(key).expect("it is there")),
    };
    for key in [&b"told"[..], b"kept"] {
        count(t, key, 1);
    }
    let (told, kept) = (lesson(b"told"), lesson(b"kept"));
    t.find(b"told").expect("it is there").mark_as_sent();
    for key in [&b"told"[..], b"kept"] {
        count(t, key, 1);
    }
    entry::take(t, None, &told, true);
    entry::take(t, None, &kept, true);
    let counted = |key: &[u8]| known(t, key).expect("it is there")[0];
    assert_eq!(counted(b"told"), 2, "ours is newer");
    assert_eq!(
        counted(b"kept"),
        1,
        "the peer knows more than who just began"
    );
    entry::take(t, None, &told, false);
    assert_eq!(counted(b"told"), 1, "what a peer tells by itself counts");
}

#[test]
fn hanging_resync_does_not_block_updates_to_others() {
    let config = config("one", addresses(), None);
    let (mut section, connection) = section(&config);
    assert!(section.start_resync_if_due(0, 0));
    assert!(!section.start_resync_if_due(0, 4_999));
    assert!(!section.start_resync_if_due(0, 5_000), "it was asked");
    assert_eq!(section.resync, Resync::Done, "and there is nobody else");
    // A peer whose resynchronizations fail again and again gets no further request for one.
    let mut section = Section::new(&config, config.peers.first().expect("one"), 0);
    let mut connection = connection;
    let mut asked = 0;
    for time in (0..60_000).step_by(3_000) {
        connection = section.connect(0).max(connection);
        section.peers[0].established = true;
        asked += u32::from(section.start_resync_if_due(0, time));
        section.disconnect(0, connection);
    }
    assert_eq!(asked, 3);
    section.connect(0);
    section.peers[0].established = true;
    assert!(!section.start_resync_if_due(0, 60_000));
    assert_eq!(section.resync, Resync::Done);
}

#[test]
fn reload_during_a_resync_restarts_it() {
    block_on(async {
        for (before, behind) in [
            (Resync::Asked(0), Resync::Needed),
            (Resync::Needed, Resync::Needed),
            (Resync::Done, Resync::Done),
        ] {
            let [one, two, other] = [addresses(), addresses()].concat()[..3] else {
                panic!("four");
            };
            let old = config("one", [one, two], None);
            let mut driver = start(&old);
            let state = |config: &Config| Arc::clone(&config.peers[0].state);
            state(&old).lock().as_mut().expect("it runs").resync = before;
            let new = config("one", [one, other], Some(&old));
            driver.change(&new);
            let resync = state(&new).lock().as_ref().map(|section| section.resync);
            assert_eq!(resync, Some(behind));
        }
    });
}

#[test]
fn resync_lasts_while_entries_arrive_within_a_limit() {
    let config = config("one", addresses(), None);
    let (mut section, connection) = section(&config);
    assert!(section.start_resync_if_due(0, 0));
    assert!(section.record_received_entry(0, 4_000));
    assert!(!section.start_resync_if_due(0, 8_000));
    assert_eq!(section.resync, Resync::Asked(0));
    // The synchronization fails and is requested again.
    section.disconnect(0, connection);
    section.connect(0);
    section.peers[0].established = true;
    assert!(section.start_resync_if_due(0, 12_000));
    for second in 13..90 {
        assert!(section.record_received_entry(0, second * 1_000));
    }
    assert!(!section.start_resync_if_due(0, 71_000));
    assert_eq!(section.resync, Resync::Asked(0));
    assert!(!section.start_resync_if_due(0, 72_000));
    assert_eq!(section.resync, Resync::Done);
}
