//! The cases and their targets. How a round of one is taken is in `round`.

use super::configuration::File;
use super::secure::{Key, STREAMS_MAX, Talk};

/// What the numbers of a metric are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// CPU time of one request, or of one handshake.
    MicrosecondsPerRequest,
    /// Memory of one connection.
    BytesPerConnection,
    /// Time of one run.
    Milliseconds,
    /// Memory of one run.
    Mebibytes,
}

/// Whose number ours is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Against {
    /// haproxy's.
    Haproxy,
    /// The better of haproxy's and nginx's, where nginx is measured.
    TheBetter,
}

/// One line of the table.
#[derive(Debug)]
pub struct Metric {
    /// What the table calls it.
    pub about: &'static str,
    /// Of the absolute numbers.
    pub unit: Unit,
    /// What haproxy's number divided by ours is to be at least.
    pub target: f64,
    /// What it should be.
    pub stretch: Option<f64>,
    /// Whose number it is.
    pub against: Against,
}

/// One situation which is measured.
#[derive(Debug)]
pub struct Case {
    /// For `--case`.
    pub name: &'static str,
    /// Its lines of the table.
    pub metrics: &'static [Metric],
    pub(super) file: File,
    pub(super) kind: Kind,
}

#[derive(Debug)]
pub(super) enum Kind {
    Traffic(Traffic),
    /// Idle connections; a metric for each number.
    Idle(&'static [usize]),
    Check,
    /// Traffic over TLS, for nginx too.
    Secure(Secure),
    /// As many idle connections over TLS, for nginx too.
    SecureIdle(usize),
}

#[derive(Debug)]
pub(super) struct Traffic {
    pub(super) connections: usize,
    pub(super) body_bytes: usize,
    pub(super) keep_alive: bool,
    pub(super) requests: u64,
}

#[derive(Debug)]
pub(super) struct Secure {
    pub(super) connections: usize,
    /// What a request that reaches the origin asks for. Handshakes ask the proxy
    /// itself for a few bytes, so that nothing else is in their numbers.
    pub(super) body_bytes: usize,
    pub(super) requests: u64,
    pub(super) talk: Talk,
    /// TLS 1.2, not 1.3.
    pub(super) old: bool,
}

const fn traffic(about: &'static str, target: f64, stretch: Option<f64>) -> Metric {
    Metric {
        about,
        unit: Unit::MicrosecondsPerRequest,
        target,
        stretch,
        against: Against::TheBetter,
    }
}

const fn kept_alive(connections: usize, body_bytes: usize, requests: u64) -> Kind {
    Kind::Traffic(Traffic {
        connections,
        body_bytes,
        keep_alive: true,
        requests,
    })
}

/// A case of handshakes, all with the same target.
const fn handshakes(
    name: &'static str,
    metrics: &'static [Metric],
    (key, old, resumed): (Key, bool, bool),
    requests: u64,
) -> Case {
    Case {
        name,
        metrics,
        file: File::Https(key),
        kind: Kind::Secure(Secure {
            connections: 32,
            body_bytes: 0,
            requests,
            talk: Talk::Handshakes { resumed },
            old,
        }),
    }
}

const fn secure(
    name: &'static str,
    metrics: &'static [Metric],
    (talk, connections): (Talk, usize),
    body_bytes: usize,
    requests: u64,
) -> Case {
    Case {
        name,
        metrics,
        file: File::Https(Key::Ecdsa),
        kind: Kind::Secure(Secure {
            connections,
            body_bytes,
            requests,
            talk,
            old: false,
        }),
    }
}

/// All cases, in the order of the table.
pub static CASES: [Case; 21] = [
    Case {
        name: "small",
        metrics: &[traffic("100-byte answers, 64 connections", 1.15, Some(1.2))],
        file: File::Http,
        kind: kept_alive(64, 100, 80_000),
    },
    Case {
        name: "crowd",
        metrics: &[traffic("100-byte answers, 1,000 connections", 1.3, None)],
        file: File::Http,
        kind: kept_alive(1000, 100, 80_000),
    },
    Case {
        name: "connect",
        metrics: &[traffic("a connection a request", 1.05, None)],
        file: File::Http,
        kind: Kind::Traffic(Traffic {
            connections: 64,
            body_bytes: 100,
            keep_alive: false,
            requests: 25_000,
        }),
    },
    Case {
        name: "medium",
        metrics: &[traffic("16 KiB answers, 64 connections", 1.3, None)],
        file: File::Http,
        kind: kept_alive(64, 16 * 1024, 64_000),
    },
    Case {
        name: "medium-bufsize",
        metrics: &[traffic("16 KiB answers, tune.bufsize 65536", 1.1, None)],
        file: File::HttpLargeBuffers,
        kind: kept_alive(64, 16 * 1024, 64_000),
    },
    Case {
        name: "large",
        metrics: &[traffic("1 MiB answers, tune.bufsize 65536", 1.0, None)],
        file: File::HttpLargeBuffers,
        kind: kept_alive(64, 1024 * 1024, 4000),
    },
    Case {
        name: "tcp",
        metrics: &[traffic(
            "mode tcp, 100-byte answers, 64 connections",
            1.05,
            None,
        )],
        file: File::Tcp,
        kind: kept_alive(64, 100, 80_000),
    },
    Case {
        name: "memory",
        metrics: &[
            Metric {
                about: "memory of each of 5,000 idle connections",
                unit: Unit::BytesPerConnection,
                target: 2.0,
                stretch: None,
                against: Against::TheBetter,
            },
            Metric {
                about: "memory of each of 9,000 idle connections",
                unit: Unit::BytesPerConnection,
                target: 2.0,
                stretch: None,
                against: Against::TheBetter,
            },
        ],
        file: File::Http,
        kind: Kind::Idle(&[5000, 9000]),
    },
    Case {
        name: "check",
        metrics: &[
            Metric {
                about: "-c of 10,000 servers: time on the wall",
                unit: Unit::Milliseconds,
                target: 1.0,
                stretch: None,
                against: Against::TheBetter,
            },
            Metric {
                about: "-c of 10,000 servers: CPU time",
                unit: Unit::Milliseconds,
                target: 1.0,
                stretch: None,
                against: Against::TheBetter,
            },
            Metric {
                about: "-c of 10,000 servers: largest memory",
                unit: Unit::Mebibytes,
                target: 1.0,
                stretch: None,
                against: Against::TheBetter,
            },
        ],
        file: File::ManyServers,
        kind: Kind::Check,
    },
    handshakes(
        "tls13-ecdsa",
        &[traffic("TLS 1.3 handshake, ECDSA P-256", 1.1, None)],
        (Key::Ecdsa, false, false),
        1600,
    ),
    handshakes(
        "tls13-rsa",
        &[traffic("TLS 1.3 handshake, RSA 2048", 1.1, None)],
        (Key::Rsa, false, false),
        800,
    ),
    handshakes(
        "tls13-resumed",
        &[traffic("TLS 1.3 handshake, resumed", 1.1, None)],
        (Key::Ecdsa, false, true),
        2000,
    ),
    handshakes(
        "tls12-ecdsa",
        &[traffic("TLS 1.2 handshake, ECDSA P-256", 1.1, None)],
        (Key::Ecdsa, true, false),
        2000,
    ),
    handshakes(
        "tls12-rsa",
        &[traffic("TLS 1.2 handshake, RSA 2048", 1.1, None)],
        (Key::Rsa, true, false),
        1000,
    ),
    handshakes(
        "tls12-resumed",
        &[traffic("TLS 1.2 handshake, resumed", 1.1, None)],
        (Key::Ecdsa, true, true),
        4000,
    ),
    secure(
        "tls-small",
        &[traffic(
            "TLS 1.3, 100-byte answers, 64 connections",
            1.1,
            None,
        )],
        (Talk::Http1, 64),
        100,
        24_000,
    ),
    secure(
        "tls-medium",
        &[traffic(
            "TLS 1.3, 16 KiB answers, 64 connections",
            1.1,
            None,
        )],
        (Talk::Http1, 64),
        16 * 1024,
        12_000,
    ),
    secure(
        "h2-1",
        &[traffic("HTTP/2, 64 connections of 1 stream", 1.1, None)],
        (Talk::Http2 { streams: 1 }, 64),
        100,
        24_000,
    ),
    secure(
        "h2-10",
        &[traffic("HTTP/2, 16 connections of 10 streams", 1.1, None)],
        (Talk::Http2 { streams: 10 }, 16),
        100,
        24_000,
    ),
    secure(
        "h2-100",
        &[traffic("HTTP/2, 4 connections of 100 streams", 1.1, None)],
        (
            Talk::Http2 {
                streams: STREAMS_MAX,
            },
            4,
        ),
        100,
        24_000,
    ),
    Case {
        name: "tls-memory",
        metrics: &[Metric {
            about: "memory of each of 2,000 idle TLS connections",
            unit: Unit::BytesPerConnection,
            target: 2.0,
            stretch: None,
            against: Against::Haproxy,
        }],
        file: File::Https(Key::Ecdsa),
        kind: Kind::SecureIdle(2000),
    },
];

/// File descriptors that the largest case needs in one process.
pub const DESCRIPTORS_NEEDED: u64 = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_has_a_name_of_its_own_and_a_metric_for_each_number() {
        for (at, case) in CASES.iter().enumerate() {
            assert!(
                CASES[..at].iter().all(|other| other.name != case.name),
                "{}",
                case.name
            );
            let numbers = match &case.kind {
                Kind::Traffic(_) | Kind::Secure(_) | Kind::SecureIdle(_) => 1,
                Kind::Idle(counts) => counts.len(),
                Kind::Check => 3,
            };
            assert_eq!(case.metrics.len(), numbers, "{}", case.name);
        }
    }

    #[test]
    fn the_origin_has_every_body_that_is_asked_for() {
        for case in &CASES {
            let size = match &case.kind {
                Kind::Traffic(traffic) => traffic.body_bytes,
                Kind::Secure(secure) if secure.body_bytes > 0 => secure.body_bytes,
                _ => continue,
            };
            assert!(crate::bench::origin::BODY_SIZES_BYTES.contains(&size));
        }
    }
}
