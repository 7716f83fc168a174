//! Creates sample states of machines with all kinds of problems, for tests and for pages that are
//! inspected by eye.

use crate::history::History;
use crate::inquiry::{ProxyQuery, ProxyResponse, RequestFilter};
use crate::look::MachineReport;
use crate::platform::{MemberKind, Platform, PlatformMember};
use crate::traffic::{StickTableHead, Traffic, TrafficRow, TrafficRowKind};
pub use overview::sample::{ANSWER, sample};
use overview::sample::{ago, event};
use part::report::{Grade, NumberRow, StatusReport, Subject, SubjectAction, SubjectState, Unit};
use part::role::PartMessage;
use part::status::{
    AddressReport, ClusterReport, CompleteCopies, CopyNodes, GuestDisk, GuestReport, GuestState,
    MemberReach, MemberReport, RoleReport, RoleState, RouterReport, RouterState, VolumeReport,
    VolumeServiceState,
};
use part::versions::{ConfigurationVersion, Happened, VersionStage, Versions};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

/// End of the samples of a history, seconds since 1970.
const NOW_S: u64 = 1_795_209_453;

/// Returns the load at a time, in thousandths: a day with a quiet night, and some noise.
fn share(at_s: u64, salt: u64) -> u64 {
    let day = (at_s % 86_400) as f64 / 86_400.0 * std::f64::consts::TAU;
    let minutes = (at_s % 1_500) as f64 / 1_500.0 * std::f64::consts::TAU;
    let noise = (at_s / 10)
        .wrapping_mul(2_654_435_761)
        .wrapping_add(salt * 977)
        % 180;
    let wave = 620.0 - 260.0 * day.cos() + 60.0 * (minutes + salt as f64).sin();
    wave as u64 + noise
}

/// Creates the history of these rows: the last day in steps of `step_s` seconds, and the last hour.
fn history(rows: &[TrafficRow], step_s: u64) -> Arc<History> {
    let mut history = History::default();
    let mut rows_then = rows.to_vec();
    let mut take = |at_s: u64| {
        for (salt, (then, row)) in rows_then.iter_mut().zip(rows).enumerate() {
            let share = share(at_s, salt as u64);
            then.rate = row.rate * share / 800;
            then.takes_ms = row.takes_ms.map(|ms| (ms * (400 + share) / 1_200).max(1));
        }
        history.add_rows(&rows_then, at_s);
    };
    let (hour, day) = (NOW_S - 3_600, NOW_S - 86_400);
    (day..hour).step_by(step_s as usize).for_each(&mut take);
    (hour..=NOW_S).step_by(10).for_each(&mut take);
    Arc::new(history)
}

fn row(kind: TrafficRowKind, proxy: &str, status: &str, rate: u64) -> TrafficRow {
    TrafficRow {
        proxy: proxy.to_owned(),
        name: String::new(),
        kind,
        status: status.to_owned(),
        for_s: Some(3_723),
        queued: (kind != TrafficRowKind::Frontend).then_some(0),
        sessions: rate / 9,
        rate,
        bytes: [rate * 310_000, rate * 4_700_000],
        errors: rate / 50,
        takes_ms: (kind != TrafficRowKind::Frontend && rate > 0).then_some(8 + rate % 23),
        percentiles_ms: (rate > 0).then_some([7 + rate % 17, 31 + rate % 40, 127 + rate % 300]),
        failed: Some(rate / 80),
        check: String::new(),
        settings: BTreeMap::new(),
    }
}

fn server(proxy: &str, name: &str, status: &str, rate: u64, check: &str) -> TrafficRow {
    TrafficRow {
        name: name.to_owned(),
        check: check.to_owned(),
        ..row(TrafficRowKind::Server, proxy, status, rate)
    }
}

fn traffic(rows: Vec<TrafficRow>) -> Traffic {
    let facts = [
        ("Name", "evenkeel"),
        ("CurrConns", "214"),
        ("Maxconn", "20000"),
        ("BytesOutRate", "12400000"),
        ("Uptime", "0d 1h02m03s"),
    ];
    let facts = facts.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let table = |name: &str, kind: &str, used| StickTableHead {
        name: name.to_owned(),
        kind: kind.to_owned(),
        size: 1 << 20,
        used,
    };
    Traffic {
        rows,
        facts: facts.into(),
        tables: vec![
            table("shop", "ip", 214),
            table("mesh/sessions", "string", 12),
        ],
    }
}

fn shop(busy: u64) -> Traffic {
    let ok = "L7OK 200";
    let mut rows = vec![
        row(TrafficRowKind::Frontend, "www", "OPEN", 412 * busy),
        row(TrafficRowKind::Frontend, "mail", "OPEN", 3 * busy),
        row(TrafficRowKind::Backend, "shop", "UP", 360 * busy),
        server("shop", "web1", "UP", 130 * busy, ok),
        server("shop", "web2", "UP", 124 * busy, ok),
        server("shop", "web3", "DOWN", 0, "L4CON \"Connection refused\""),
        server(
            "shop",
            "web4",
            "UP 2/3",
            106 * busy,
            "L7STS 503 \"warming up\"",
        ),
        row(TrafficRowKind::Backend, "api", "UP", 52 * busy),
        server("api", "node1", "UP", 52 * busy, ok),
        server("api", "node2", "DRAIN", 0, "by an operator, or by its line"),
        server("api", "node3", "MAINT", 0, "by an operator, or by its line"),
        row(TrafficRowKind::Backend, "smtp", "UP", 3 * busy),
        server("smtp", "mx", "no check", 3 * busy, ""),
    ];
    rows[5].for_s = Some(95);
    rows[9].for_s = Some(12);
    rows[2].queued = Some(4 * busy);
    traffic(rows)
}

fn virtual_ip(name: &str, address: &str, is_master: bool, since_ms: u64) -> Subject {
    let (word, grade) = if is_master {
        ("MASTER", Grade::Good)
    } else {
        ("BACKUP", Grade::Standby)
    };
    let held = if is_master {
        ("here", Grade::Good)
    } else {
        ("not here", Grade::Standby)
    };
    let mut one = Subject::new("virtual-ip", name)
        .state(word, grade)
        .publish(&RouterReport {
            state: if is_master {
                RouterState::Master
            } else {
                RouterState::Backup
            },
            ..RouterReport::default()
        })
        .children([Subject::new("address", address)
            .state(held.0, held.1)
            .publish(&AddressReport {
                is_local: is_master,
            })])
        .fact("interface", "eth0")
        .joined("VRID", "51")
        .joined("advert interval", "100 ms")
        .fact("health", "all frontends are available")
        .number("priority", if is_master { 220 } else { 210 })
        .number("moves", 3)
        .number("announcements", 12_431);
    one.since = Some(ago(since_ms));
    one.why = "it has the highest priority".to_owned();
    one.events = vec![event(since_ms + 9_000, "INIT", "BACKUP", "it was started")];
    if is_master {
        one.events.push(event(
            since_ms,
            "BACKUP",
            word,
            "no advertisement for 320 ms",
        ));
    }
    one
}

fn volume(name: &str, word: &str, grade: Grade, why: &str) -> Subject {
    let owner_here = u64::from(word != "copy");
    let status = VolumeReport {
        state: match word {
            "serving" => VolumeServiceState::Serving,
            "serving alone" => VolumeServiceState::Alone,
            "resync" => VolumeServiceState::Resync,
            "copy" => VolumeServiceState::Following,
            _ => VolumeServiceState::Unknown,
        },
        copies: Some(CopyNodes {
            local: "alpha".to_owned(),
            other: "beta".to_owned(),
        }),
        owner: "alpha".to_owned(),
        is_owner: word != "copy",
        complete: CompleteCopies::Both,
        ..VolumeReport::default()
    };
    let mut one = Subject::new("volume", name)
        .state(word, grade)
        .publish(&status)
        .fact("size", "40 GiB")
        .fact("copies", "alpha beta")
        .fact("owner", "alpha")
        .fact("complete", "both copies")
        .number("size bytes", 40 << 30)
        .number("owner here", owner_here)
        .number("mirrored", owner_here * u64::from(word == "serving"))
        .number("writes", 884_120)
        .number("write p99 us", 1_840);
    one.since = Some(ago(3_600_000));
    one.why = why.to_owned();
    one.events = vec![event(3_600_000, "opening", word, "")];
    one
}

fn guest(name: &str, on: &str, here: &str, word: &str, grade: Grade) -> Subject {
    let (word, grade) = if on == here {
        (word, grade)
    } else {
        ("elsewhere", Grade::Standby)
    };
    let status = GuestReport {
        state: match word {
            "running" => GuestState::Running,
            "elsewhere" => GuestState::Elsewhere,
            "paused" => GuestState::Paused,
            "off" => GuestState::Off,
            "failed" => GuestState::Failed,
            _ => GuestState::Unknown,
        },
        node: on.to_owned(),
        disks: vec![GuestDisk {
            volume: name.to_owned(),
            is_read_only: false,
        }],
        ..GuestReport::default()
    };
    let mut one = Subject::new("guest", name)
        .state(word, grade)
        .publish(&status)
        .fact("on", on)
        .list("disks", vec![name.to_owned()])
        .number("running", u64::from(word == "running"))
        .number("memory", 4 << 30)
        .number("processors", 2);
    if on == here {
        one.since = Some(ago(2_400_000));
        one.events = vec![event(2_400_000, "starting", word, "its check is up")];
    }
    one
}

fn number_rows() -> Vec<NumberRow> {
    let row = NumberRow::new;
    vec![
        row("priority", "evenkeel_address_priority", "The priority."),
        row(
            "moves",
            "evenkeel_address_moves_total",
            "Moves to this machine.",
        ),
        row(
            "announcements",
            "evenkeel_address_announcements_total",
            "Announcements sent.",
        ),
        row(
            "size bytes",
            "evenkeel_volume_size_bytes",
            "The size of the volume.",
        ),
        row(
            "writes",
            "evenkeel_volume_write_operations_total",
            "Disk operations (writes)",
        ),
        row(
            "write p99 us",
            "evenkeel_volume_write_p99_seconds",
            "99th percentile of writes.",
        )
        .unit(Unit::Microseconds),
        row(
            "memory",
            "evenkeel_guest_memory_bytes",
            "The memory of the guest.",
        ),
        row(
            "processors",
            "evenkeel_guest_cpus",
            "The processors of the guest.",
        ),
        row(
            "running",
            "evenkeel_guest_running",
            "1 where the guest runs on this node.",
        )
        .flag(),
    ]
}

fn reported(part: &str, subjects: Vec<Subject>) -> StatusReport {
    StatusReport {
        part: part.to_owned(),
        at: ago(0),
        subjects,
        rows: number_rows(),
    }
}

fn processes(parts: &[&str]) -> StatusReport {
    let role = |name: &&str| {
        let mut role = Subject::new("role", name)
            .state("running", Grade::Good)
            .publish(&RoleReport {
                state: RoleState::Running,
                process: Some(4712),
                ..RoleReport::default()
            })
            .fact("process", "4712");
        role.since = Some(ago(3_700_000));
        role
    };
    let mut own = Subject::new("supervisor", "4711").state("running", Grade::Good);
    own.since = Some(ago(3_700_000));
    let own = own.lines("files", vec!["/etc/evenkeel/evenkeel.cfg".to_owned()]);
    reported(
        "supervisor",
        [own].into_iter().chain(parts.iter().map(role)).collect(),
    )
}

fn cluster(me: &str, members: &[(&str, &str)]) -> StatusReport {
    let whole = Subject::new("cluster", "shop")
        .state("alpha is the leader", Grade::Good)
        .publish(&ClusterReport {
            leader: "alpha".to_owned(),
            has_majority: true,
            version_in_progress: None,
        })
        .fact("this member", me)
        .fact("accepted", "version 14, by anna: \"shop: web4\"");
    let member = |(name, kind): &(&str, &str)| {
        let word = if *name == me {
            "this machine"
        } else {
            "reachable, direct link, 0.3 ms"
        };
        let status = MemberReport {
            kind: if kind.starts_with("arbiter") {
                part::status::MemberKind::Arbiter
            } else {
                part::status::MemberKind::Node
            },
            is_leader: kind.ends_with(", leader"),
            reach: if *name == me {
                MemberReach::Local
            } else {
                MemberReach::Direct
            },
            served_version: Some(14),
            ..MemberReport::default()
        };
        let one = Subject::new("member", name).state(word, Grade::Good);
        let one = one.publish(&status);
        one.fact("kind", *kind).joined("serves", "version 14")
    };
    let members = members.iter().map(member);
    reported("cluster", [whole].into_iter().chain(members).collect())
}

fn look(host: &str, traffic: Option<Traffic>, reports: Vec<StatusReport>) -> MachineReport {
    MachineReport {
        changes: VecDeque::new(),
        at: Instant::now(),
        host: host.to_owned(),
        pid: 4711,
        traffic,
        silent: None,
        reports,
    }
}

fn member(name: &str, kind: MemberKind, look: MachineReport) -> PlatformMember {
    PlatformMember {
        name: name.to_owned(),
        kind,
        state: SubjectState {
            word: "up".to_owned(),
            grade: Grade::Good,
        },
        why: String::new(),
        look: Some(Arc::new(look)),
        age_ms: 400,
        silent: None,
        if_it_fails: String::new(),
    }
}

fn versions() -> Versions {
    let version = |id: u64, stage, stage_words: &str, message: &str| ConfigurationVersion {
        id,
        parent: id.checked_sub(1).filter(|parent| *parent > 0),
        author: "anna@alpha".to_owned(),
        message: message.to_owned(),
        time_s: 1_790_000_000 + id as i64 * 3_600,
        stage,
        stage_words: stage_words.to_owned(),
        ..ConfigurationVersion::default()
    };
    let failed = "beta: errors went from 0 to 31 %";
    Versions {
        accepted: Some(3),
        serving: Some(3),
        frozen: Vec::new(),
        events: vec![Happened {
            time_s: 1_790_000_000,
            from: "alpha".to_owned(),
            words: "version 3 of anna@alpha is accepted".to_owned(),
        }],
        all: vec![
            ConfigurationVersion {
                reports: vec![
                    ("alpha".to_owned(), "can serve it".to_owned()),
                    ("beta".to_owned(), "serves it".to_owned()),
                ],
                ..version(
                    5,
                    VersionStage::Canary,
                    "canary on one node (beta)",
                    "a third server",
                )
            },
            ConfigurationVersion {
                why: failed.to_owned(),
                ..version(4, VersionStage::RolledBack, "rolled back", "other timeouts")
            },
            version(3, VersionStage::Accepted, "accepted", "more servers"),
            version(2, VersionStage::Refused, "refused", "a typing mistake"),
            version(1, VersionStage::Accepted, "accepted", "the first one"),
        ],
    }
}

pub fn platform() -> Platform {
    let names = [
        ("alpha", "node, leader"),
        ("beta", "node"),
        ("gamma", "arbiter"),
    ];
    let good = Grade::Good;
    let of_node = |me: &str| {
        let is_alpha = me == "alpha";
        let copy = |word| if is_alpha { word } else { "copy" };
        let (resync, why) = if is_alpha {
            (Grade::Busy, "1.2 GiB left, 110 MiB/s, 11 s")
        } else {
            (good, "")
        };
        let mut volumes = vec![
            volume("mail", copy("serving"), good, ""),
            volume("erp", copy("resync"), resync, why),
        ];
        if !is_alpha {
            let scratch = volume("scratch", "serving", good, "");
            let scratch = scratch.publish(&VolumeReport {
                state: VolumeServiceState::Serving,
                ..VolumeReport::default()
            });
            volumes.push(Subject {
                facts: scratch.facts[..1].to_vec(),
                ..scratch
            });
        }
        let addresses = vec![
            virtual_ip("www", "192.0.2.10/24", is_alpha, 4_000_000),
            virtual_ip("mail", "192.0.2.25/24", !is_alpha, 8_100_000),
        ];
        let mut failed = guest("legacy", "beta", me, "failed", Grade::Bad);
        if !is_alpha {
            failed.why = "its check failed three times: port 25 refuses".to_owned();
        }
        let guests = vec![
            guest("mail", "alpha", me, "running", good),
            guest("erp", "beta", me, "running", good),
            failed,
        ];
        let reports = vec![
            processes(&["proxy", "address", "cluster", "volume", "guest"]),
            reported("address", addresses),
            cluster(me, &names),
            reported("volume", volumes),
            reported("guest", guests),
        ];
        let traffic = shop(if is_alpha { 2 } else { 0 });
        member(me, MemberKind::Node, look(me, Some(traffic), reports))
    };
    let gamma = look(
        "gamma",
        None,
        vec![processes(&["cluster"]), cluster("gamma", &names)],
    );
    let members = vec![
        of_node("alpha"),
        of_node("beta"),
        member("gamma", MemberKind::Arbiter, gamma),
    ];
    Platform {
        members,
        history: history(&shop(2).rows, 300),
        versions: Some(Arc::new(versions())),
    }
}

/// Replaces the texts of all reports by noise: no decision may change by that.
pub fn with_noise(mut platform: Platform) -> Platform {
    for member in &mut platform.members {
        let look = member.look.as_mut().map(Arc::make_mut);
        for report in look.into_iter().flat_map(|look| &mut look.reports) {
            *report = std::mem::take(report).with_noise();
        }
    }
    platform
}

pub fn broken() -> Platform {
    let mut platform = platform();
    platform.members[1].look = None;
    platform.members[1].state = SubjectState {
        word: "away".to_owned(),
        grade: Grade::Bad,
    };
    platform.members[1].why = "no heartbeat on any link".to_owned();
    platform.members[1].silent = Some("connection timed out".to_owned());
    platform.members[1].age_ms = 48_000;
    platform.members[2].age_ms = 29_000;
    let alpha = platform.members[0].look.as_mut().map(Arc::make_mut);
    let reports = alpha.into_iter().flat_map(|look| &mut look.reports);
    for subject in reports.flat_map(|report| &mut report.subjects) {
        if (subject.kind.as_str(), subject.name.as_str()) == ("member", "beta") {
            let status = MemberReport {
                reach: MemberReach::Away,
                silent_ms: Some(48_000),
                ..MemberReport::of(subject)
            };
            *subject = subject
                .clone()
                .state("away for 48 s", Grade::Bad)
                .publish(&status);
        }
    }
    platform
}

fn session_host(name: &str, word: &str, grade: Grade, users: [u64; 3], who: &[&str]) -> Subject {
    let [connected, left, pending] = users;
    let offer = match word {
        "drained" => ("ready", "Put back"),
        _ => ("drain", "Drain"),
    };
    let mut one = Subject::new("host", name)
        .state(word, grade)
        .fact("address", "10.0.0.11:3389")
        .fact(
            "users",
            format!("{connected} connected, {left} disconnected, {pending} pending"),
        )
        .joined("weight", "10")
        .number("connected", connected)
        .number("disconnected", left)
        .lines(
            "sessions",
            who.iter().map(|one| (*one).to_owned()).collect(),
        );
    one.since = Some(ago(7_400_000));
    one.offers = vec![SubjectAction::new(
        offer.0,
        offer.1,
        PartMessage::new("farm", 1, &offer.0),
    )];
    one
}

/// Creates two nodes with a farm of remote desktops, one of whose hosts is down.
pub fn desktops() -> Platform {
    let mut platform = platform();
    let row = NumberRow::new;
    let rows = vec![
        row(
            "connected",
            "evenkeel_farm_host_connected",
            "Users with a connection.",
        ),
        row(
            "disconnected",
            "evenkeel_farm_host_disconnected",
            "Users whose session has no connection.",
        ),
    ];
    let mut down = session_host(
        "ts3",
        "down",
        Grade::Bad,
        [0, 1, 0],
        &["dora: disconnected, kept for 23 h"],
    );
    down.why = "no answer to a request within 2000 ms".to_owned();
    let farm = Subject::new("farm", "office")
        .state("degraded", Grade::Busy)
        .list("listens", vec!["192.0.2.10:3389".to_owned()])
        .fact("balance", "load")
        .list(
            "clients",
            vec!["84 routed".to_owned(), "31 redirected".to_owned()],
        );
    let who = [
        "anna: connected from 10.0.0.71",
        "bert: connected from 198.51.100.7 by the gateway",
        "carl: connecting",
    ];
    let farm = farm.children(vec![
        session_host("ts1", "up", Grade::Good, [2, 0, 1], &who),
        session_host(
            "ts2",
            "drained",
            Grade::Standby,
            [1, 0, 0],
            &["emil: connected from node beta"],
        ),
        down,
    ]);
    for member in &mut platform.members {
        let look = member.look.as_mut().map(Arc::make_mut);
        let look = look.filter(|_| member.kind == MemberKind::Node);
        let report = StatusReport {
            rows: rows.clone(),
            ..reported("farm", vec![farm.clone()])
        };
        look.into_iter()
            .for_each(|look| look.reports.push(report.clone()));
    }
    platform
}

pub fn alone() -> Platform {
    let rows = vec![
        row(TrafficRowKind::Frontend, "www", "OPEN", 38),
        row(TrafficRowKind::Backend, "app", "UP", 38),
        server("app", "one", "UP", 20, "L7OK 200"),
        server("app", "two", "UP", 18, "L7OK 200"),
    ];
    let history = history(&rows, 300);
    let www = virtual_ip("www", "192.0.2.10/24", true, 4_000_000);
    let reports = vec![
        processes(&["proxy", "address"]),
        reported("address", vec![www]),
    ];
    let look = look("alpha", Some(traffic(rows)), reports);
    Platform {
        members: vec![member("alpha", MemberKind::Node, look)],
        history,
        versions: None,
    }
}

/// Creates one machine with 500 servers in 10 backends and 50 guests, with a load factor.
pub fn large(busy: u64) -> Platform {
    let mut rows = vec![row(TrafficRowKind::Frontend, "www", "OPEN", 9_000 * busy)];
    for backend in 0..10 {
        let proxy = format!("app{backend}");
        rows.push(row(TrafficRowKind::Backend, &proxy, "UP", 900 * busy));
        for number in 0..50 {
            let name = format!("server-{backend}-{number}");
            rows.push(server(&proxy, &name, "UP", (9 + number) * busy, "L7OK 200"));
        }
    }
    let history = history(&rows[..60], 300);
    let guest = |number| {
        guest(
            &format!("guest-{number}"),
            "alpha",
            "alpha",
            "running",
            Grade::Good,
        )
    };
    let reports = vec![
        processes(&["proxy", "guest"]),
        reported("guest", (0..50).map(guest).collect()),
    ];
    let look = look("alpha", Some(traffic(rows)), reports);
    Platform {
        members: vec![member("alpha", MemberKind::Node, look)],
        history,
        versions: None,
    }
}

pub fn many() -> Platform {
    let mut rows = vec![row(TrafficRowKind::Frontend, "www", "OPEN", 9_000)];
    for backend in 0..25 {
        let proxy = format!("backend-with-a-long-name-{backend:02}");
        rows.push(row(TrafficRowKind::Backend, &proxy, "UP", 360));
        for number in 0..40 {
            let status = if (backend, number) == (7, 21) {
                "DOWN"
            } else {
                "UP"
            };
            let name = format!("server-{backend:02}-{number:02}.rack.example.com");
            rows.push(server(&proxy, &name, status, 9, "L7OK 200"));
        }
    }
    // Limits the history to the first backends, because that of all takes long to create.
    let history = history(&rows[..90], 3_600);
    let look = look("alpha", Some(traffic(rows)), vec![processes(&["proxy"])]);
    Platform {
        members: vec![member("alpha", MemberKind::Node, look)],
        history,
        versions: None,
    }
}

pub const REQUEST: &str = r#"{"id":"0x2f1c","unique_id":"C0000207:1F90_4F7B0A69_0003:790E","thread":1,"mode":"http",
"accepted":"2026-11-20T21:17:32.101+01:00","began":"2026-11-20T21:17:32.140+01:00",
"ended":"2026-11-20T21:17:33.056+01:00","client":"192.0.2.7:41814","frontend":"www","backend":"shop",
"backend_by":"use_backend (/etc/evenkeel/site.cfg:14)","server":"web4","server_by":"balance leastconn; redispatched after a failed try",
"method":"POST","host":"shop.example.org","path":"/cart/checkout","status":504,"server_status":null,"bytes_in":812,
"bytes_out":194,"timers":{"TR":3,"Tw":12,"Tc":401,"Tr":500,"Ta":916},"termination":"sH--",
"meaning":["the server timeout struck while the proxy waited for the response headers"],"cached":false,
"page":"errorfile 504","retries":1,"redispatched":true,"server_queue":4,"backend_queue":1,
"rules":[{"file":"/etc/evenkeel/site.cfg","line":12,"rule":"http-request set-header","text":"http-request set-header X-Shop 1 if { path_beg /cart }",
"ends":false},
{"file":"/etc/evenkeel/site.cfg","line":14,"rule":"use_backend shop","ends":true}],"rules_left_out":0,
"failed_tries":[{"server":"web3","after_ms":401,"failure":"connection refused"}]}"#;

pub const FILES: &str = r#"[
    {"path": "/etc/evenkeel/site.cfg", "main": true, "text": "global\n    stats socket /run/x\n<b>\n", "description": ""},
    {"path": "/etc/evenkeel/site.pem", "main": false, "text": null, "description": "a secret of 9 bytes (not shown)"}
]"#;

pub const ROUTE: &str = r#"{"request":"GET https://shop.example.org/cart","source":"192.0.2.10:49152",
"destination":"203.0.113.1:443","frontend":"www","tls":{"name":"shop.example.org","certificate":["shop.example.org"]},
"lines":[{"section":"www","file":"site.cfg","line":12,"text":"http-request deny if { src -f bad.lst }","met":false,
"terms":[{"term":"src","met":false,"values":["192.0.2.10"]}],"applies":false,"ends":false,"backend":null,"fails":null},
{"section":"www","file":"site.cfg","line":14,"text":"use_backend shop if { path_beg /cart }","met":true,
"terms":[{"term":"path_beg","met":true,"values":["/cart"]}],"applies":true,"ends":true,"backend":"shop","fails":null}],
"left_out":0,"outcome":{"kind":"server","backend":"shop","server":"web1","address":"10.0.0.1:80",
"why":"balance leastconn; it has the fewest sessions for its weight"},
"live":{"instance":"","at":"2026-11-20 20:17:32 UTC","servers":[{"name":"web1","status":"UP","since_ms":3723000,
"check":"","sessions":4,"limit":100,"waiting":0,"weight":1}],"notes":[]}}"#;

/// Creates the response of a proxy to `show requests json`: this number of requests, each with this
/// path and host.
pub fn requests(number: usize, path: &str, host: &str) -> String {
    let statuses = [200, 200, 304, 200, 504, 200, 403, 200];
    let letters = [
        "----", "----", "----", "--VN", "sH--", "----", "PR--", "----",
    ];
    let (servers, methods) = (["web1", "web2", "web4"], ["GET", "POST"]);
    let places = ["", "cart", "search/deep/list", "images/logo.svg"];
    let one = |at: usize| {
        let kind = at % statuses.len();
        serde_json::json!({
            "id": format!("{:#x}", 0x2f1c - at.min(0x2000)), "mode": "http", "client": format!("192.0.2.{}:41814", at % 250),
            "ended": format!("2026-11-20T21:17:{:02}.056+01:00", 59 - at % 60), "frontend": "www", "backend": "shop",
            "server": servers[at % 3], "method": methods[at % 2],
            "host": host, "path": format!("{path}{}", places[at % 4]),
            "status": statuses[kind], "bytes_in": 400, "bytes_out": 1_200 * (at + 1), "termination": letters[kind],
            "timers": { "TR": 1, "Tw": 0, "Tc": 1, "Tr": 8 + at, "Ta": 14 + at }, "meaning": ["it ended so"],
        })
    };
    let all: Vec<_> = (0..number).map(one).collect();
    serde_json::json!({ "since": "9", "missed": 0, "oldest": "2026-11-20T21:02:11.000+01:00", "requests": all })
        .to_string()
}

pub fn asked(reply: Result<&str, &str>) -> (ProxyQuery, ProxyResponse) {
    let filter = RequestFilter {
        host: "shop.example.org".to_owned(),
        ..RequestFilter::default()
    };
    let ask = ProxyQuery::Requests { filter, max: 60 };
    let answer = ProxyResponse::read(&ask, reply);
    (ask, answer)
}

/// Creates the response of a proxy to `show table shop json`: this number of entries with this key.
pub fn entries(number: usize, key: &str) -> String {
    let one = |at: usize| {
        serde_json::json!({
            "key": format!("{key}{}", at % 250), "plain": true, "expires_ms": 1_000 * (at + 1),
            "values": { "http_req_rate": 900 / (at + 1), "gpc0": at % 3, "conn_cnt": 7 * at },
        })
    };
    let columns = [("http_req_rate", 10_000), ("gpc0", 0), ("conn_cnt", 0)];
    let columns = columns.map(|(name, ms)| serde_json::json!({ "name": name, "period_ms": ms }));
    let entries: Vec<_> = (0..number).map(one).collect();
    serde_json::json!({
        "name": "shop", "type": "ip", "size": 1 << 20, "used": 214, "expire_ms": 600_000, "sorted_by": "http_req_rate",
        "matching": number, "columns": columns, "entries": entries,
    })
    .to_string()
}

pub fn screen() -> SubjectAction {
    SubjectAction::new("screen", "Screen", PartMessage::new("guest", 0, &()))
}
