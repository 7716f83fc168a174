//! Compares the statistics after the same traffic with HAProxy's.

use crate::program::Program;
use lab::{Behaviour, Location, OriginServer, Peer, Probe, eventually, free_port};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(120);

const CONFIG: &str = "
    defaults
        timeout client 400ms
        timeout server 400ms
        timeout connect 400ms
        retries 1
    listen statistics
        mode http
        bind @STATISTICS@
        stats enable
        stats uri /
    frontend web
        mode http
        maxconn 100
        rate-limit sessions 1000
        bind @WEB@
        http-request deny if { path /denied }
        http-request redirect location /x if { path /moved }
        use_backend slow if { path /slow }
        use_backend broken if { path /broken }
        use_backend dead if { path /dead }
        default_backend app
    backend app
        mode http
        balance roundrobin
        option redispatch
        server a @A@ weight 2 check inter 100ms rise 1
        server b @B@ weight 1 check inter 100ms maxconn 5
        server c @DEAD@ check inter 100ms fall 1 backup
        server d @A@ disabled
    backend slow
        mode http
        server s @SLOW@ maxconn 3 maxqueue 7
    backend broken
        mode http
        server b @BROKEN@
    backend dead
        mode http
        server d @DEAD@
    listen raw
        mode tcp
        maxconn 155
        bind @RAW@
        server a @A@
";

/// Columns that always differ: times, peaks that depend on them, the order of the process, and the
/// length of response heads (compared elsewhere).
const VARIES: &[&str] = &[
    "bin",
    "bout",
    "lastchg",
    "downtime",
    "rate",
    "rate_max",
    "check_duration",
    "lastsess",
    "qtime",
    "ctime",
    "rtime",
    "ttime",
    "req_rate",
    "req_rate_max",
    "conn_rate",
    "conn_rate_max",
    "smax",
    "scur",
    "qtime_max",
    "ctime_max",
    "rtime_max",
    "ttime_max",
    "addr",
    "idle_conn_cur",
    "safe_conn_cur",
    "used_conn_cur",
    "need_conn_est",
    "session",
    "h1_bytes_in",
    "h1_bytes_out",
    "h1_open_connections",
    "h1_open_streams",
    "h1_total_streams",
    "h1_spliced_bytes_in",
    "h1_spliced_bytes_out",
    "last_agt",
    "agent_desc",
    "last_chk",
];

type Table = BTreeMap<String, BTreeMap<String, String>>;

struct StatisticsProxy {
    statistics: SocketAddr,
    web: SocketAddr,
    raw: SocketAddr,
    _peer: Peer,
    _origins: [OriginServer; 4],
}

fn here() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], free_port().unwrap()))
}

impl StatisticsProxy {
    fn start(program: Program) -> Self {
        let origins =
            ["a", "b", "slow", "broken"].map(|name| OriginServer::start_local(name).unwrap());
        origins[2].set_behaviour(Behaviour::Silence);
        origins[3].set_behaviour(Behaviour::BreakOff);
        let (statistics, web, raw) = (here(), here(), here());
        let mut config = CONFIG.to_owned();
        for (mark, address) in [
            ("@STATISTICS@", statistics),
            ("@WEB@", web),
            ("@RAW@", raw),
            ("@A@", origins[0].address()),
            ("@B@", origins[1].address()),
            ("@SLOW@", origins[2].address()),
            ("@BROKEN@", origins[3].address()),
            ("@DEAD@", here()),
        ] {
            config = config.replace(mark, &address.to_string());
        }
        let _peer = program.start(Location::Here, &config, statistics).unwrap();
        StatisticsProxy {
            statistics,
            web,
            raw,
            _peer,
            _origins: origins,
        }
    }

    fn table(&self) -> Table {
        self.columns(&|name| !VARIES.contains(&name))
    }

    /// Returns the wanted columns of the statistics.
    fn columns(&self, wanted: &dyn Fn(&str) -> bool) -> Table {
        let mut probe = Probe::new(Location::Here, self.statistics);
        let text = probe.get("/;csv").unwrap().text();
        let mut lines = text.lines();
        let head = lines.next().unwrap().trim_start_matches("# ");
        let columns: Vec<&str> = head.split(',').collect();
        let row = |line: &str| {
            let cells: BTreeMap<String, String> = columns
                .iter()
                .zip(line.split(','))
                .filter(|(name, _)| wanted(name) && !name.is_empty())
                .map(|(name, cell)| ((*name).to_owned(), cell.to_owned()))
                .collect();
            (format!("{}/{}", cells["pxname"], cells["svname"]), cells)
        };
        lines.filter(|line| !line.is_empty()).map(row).collect()
    }

    fn traffic(&self) {
        let checked = || {
            let table = self.table();
            table["app/c"]["status"].starts_with("DOWN") && table["app/a"]["status"] == "UP"
        };
        assert!(eventually(SOON, checked), "{:?}", self.table()["app/c"]);
        let mut probe = Probe::new(Location::Here, self.web);
        for _ in 0..9 {
            probe.get("/").unwrap();
        }
        for path in ["/denied", "/moved", "/slow", "/broken", "/dead"] {
            probe.disconnect();
            // The termination states of these requests are compared with the logs.
            let _ = probe.get(path);
        }
        for bytes in ["nonsense\r\n\r\n", "GET / HTTP/1.1\r\nhost:"] {
            let mut stream = TcpStream::connect(self.web).unwrap();
            stream.set_read_timeout(Some(SOON)).unwrap();
            stream.write_all(bytes.as_bytes()).unwrap();
            let _ = stream.read_to_end(&mut Vec::new());
        }
        let mut stream = TcpStream::connect(self.raw).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
        stream.read_to_end(&mut Vec::new()).unwrap();
        drop(probe);
    }
}

#[test]
fn the_table_after_the_same_traffic_is_haproxys() {
    lab::skip_unless_installed!("haproxy");
    let [ours, theirs] = Program::BOTH.map(|program| {
        let side = StatisticsProxy::start(program);
        side.traffic();
        lab::sleep_in_test(Duration::from_millis(500), "haproxy counts what has ended");
        side.table()
    });
    assert_eq!(
        ours.keys().collect::<Vec<_>>(),
        theirs.keys().collect::<Vec<_>>()
    );
    let mut wrong = String::new();
    for (name, cells) in &theirs {
        // Requests for the table are traffic, too, and their number varies.
        let counted = !name.starts_with("statistics/");
        for (column, theirs) in cells.iter().filter(|_| counted) {
            let ours = ours[name].get(column).map_or("missing", String::as_str);
            // A star marks a check that is in progress.
            let [ours, theirs] = [ours, theirs].map(|cell| cell.trim_start_matches("* "));
            if ours != theirs {
                wrong += &format!("{name} {column}: haproxy {theirs:?}, evenkeel {ours:?}\n");
            }
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn bytes_over_http_1_are_counted_in_haproxys_direction() {
    lab::skip_unless_installed!("haproxy");
    let [ours, theirs] = Program::BOTH.map(|program| {
        let side = StatisticsProxy::start(program);
        let mut stream = TcpStream::connect(side.web).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        // The request is much longer than the response.
        let request = format!(
            "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\nx-pad: {}\r\n\r\n",
            "x".repeat(8_000)
        );
        stream.write_all(request.as_bytes()).unwrap();
        stream.read_to_end(&mut Vec::new()).unwrap();
        let wanted = ["pxname", "svname", "h1_bytes_in", "h1_bytes_out"];
        let counted = || {
            let table = side.columns(&|name| wanted.contains(&name));
            ["web/FRONTEND", "app/BACKEND"].map(|row| {
                ["h1_bytes_in", "h1_bytes_out"].map(|name| table[row][name].parse().unwrap_or(0))
            })
        };
        let all = |of: [[u64; 2]; 2]| of.iter().flatten().all(|bytes| *bytes > 0);
        assert!(eventually(SOON, || all(counted())), "{:?}", counted());
        counted().map(|[bytes_in, bytes_out]| bytes_in > bytes_out)
    });
    assert_eq!(ours, theirs);
    assert_eq!(ours, [true, false]);
}
