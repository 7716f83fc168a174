//! Lists all cases of the benchmark and their targets.

use super::attack::Attack;
use super::case::{Against, Case, Kind, Metric, Secure, Traffic, Unit};
use super::configuration::File;
use super::map::Lookup;
use super::secure::{Key, STREAMS_MAX, Talk};

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
        lines: "",
        requests,
    })
}

/// Returns a case of TLS handshakes.
const fn handshakes(
    name: &'static str,
    metrics: &'static [Metric],
    key: Key,
    old: bool,
    resumed: bool,
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

const fn beside(about: &'static str) -> Metric {
    Metric {
        about,
        unit: Unit::Milliseconds,
        target: 1.0,
        stretch: None,
        against: Against::Haproxy,
    }
}

const fn chunks(about: &'static str) -> Metric {
    Metric {
        about,
        unit: Unit::MicrosecondsPerRequest,
        target: 1.0,
        stretch: None,
        against: Against::Haproxy,
    }
}

const fn attack(name: &'static str, metrics: &'static [Metric], attack: Attack) -> Case {
    Case {
        name,
        metrics,
        file: File::Attack,
        kind: Kind::Attack(attack, 400),
    }
}

const fn secure(
    name: &'static str,
    metrics: &'static [Metric],
    talk: Talk,
    connections: usize,
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

/// Returns a case of lookups in a map.
const fn map(
    name: &'static str,
    metrics: &'static [Metric],
    lookup: Lookup,
    entries: usize,
    requests: u64,
) -> Case {
    let traffic = Traffic {
        connections: 64,
        body_bytes: 100,
        keep_alive: true,
        lines: "",
        requests,
    };
    Case {
        name,
        metrics,
        file: File::Map(lookup, entries),
        kind: Kind::Map(lookup, traffic),
    }
}

/// Returns the metric of the cost of a large map relative to a small one: at most a tenth more.
const fn growth(about: &'static str) -> Metric {
    Metric {
        about,
        unit: Unit::Times,
        target: 0.9,
        stretch: None,
        against: Against::One,
    }
}

/// All cases, in the order of the table.
pub static CASES: [Case; 42] = [
    Case {
        name: "small",
        metrics: &[traffic(
            "100-byte responses, 64 connections",
            1.15,
            Some(1.2),
        )],
        file: File::Http,
        kind: kept_alive(64, 100, 80_000),
    },
    Case {
        name: "crowd",
        metrics: &[traffic("100-byte responses, 1,000 connections", 1.3, None)],
        file: File::Http,
        kind: kept_alive(1000, 100, 80_000),
    },
    Case {
        name: "connect",
        metrics: &[traffic("a new connection for each request", 1.05, None)],
        file: File::Http,
        kind: Kind::Traffic(Traffic {
            connections: 64,
            body_bytes: 100,
            keep_alive: false,
            lines: "",
            requests: 25_000,
        }),
    },
    Case {
        name: "medium",
        metrics: &[traffic("16 KiB responses, 64 connections", 1.3, None)],
        file: File::Http,
        kind: kept_alive(64, 16 * 1024, 64_000),
    },
    Case {
        name: "medium-bufsize",
        metrics: &[traffic("16 KiB responses, tune.bufsize 65536", 1.1, None)],
        file: File::HttpLargeBuffers,
        kind: kept_alive(64, 16 * 1024, 64_000),
    },
    Case {
        name: "large",
        metrics: &[traffic("1 MiB responses, tune.bufsize 65536", 1.0, None)],
        file: File::HttpLargeBuffers,
        kind: kept_alive(64, 1024 * 1024, 4000),
    },
    Case {
        name: "tcp",
        metrics: &[traffic(
            "mode tcp, 100-byte responses, 64 connections",
            1.05,
            None,
        )],
        file: File::Tcp,
        kind: kept_alive(64, 100, 80_000),
    },
    Case {
        name: "rules",
        metrics: &[traffic(
            "50 ACLs, a stick table and option httplog",
            1.15,
            None,
        )],
        file: File::Rules,
        kind: kept_alive(64, 100, 32_000),
    },
    map(
        "map-str",
        &[
            traffic("a lookup in a map of 100,000 strings", 1.1, None),
            growth("a lookup in a map of 100,000 strings, relative to a map of 100"),
        ],
        Lookup::Text,
        100_000,
        16_000,
    ),
    map(
        "map-beg",
        &[
            traffic("a lookup in a map of 100,000 prefixes", 1.1, None),
            growth("a lookup in a map of 100,000 prefixes, relative to a map of 100"),
        ],
        Lookup::Beginning,
        100_000,
        16_000,
    ),
    map(
        "map-ip",
        &[
            traffic("a lookup in a map of 100,000 networks", 1.1, None),
            growth("a lookup in a map of 100,000 networks, relative to a map of 100"),
        ],
        Lookup::Network,
        100_000,
        16_000,
    ),
    map(
        "map-end",
        &[
            traffic("a lookup in a map of 10,000 suffixes", 1.1, None),
            growth("a lookup in a map of 10,000 suffixes, relative to a map of 100"),
        ],
        Lookup::End,
        10_000,
        6000,
    ),
    map(
        "map-dom",
        &[
            traffic("a lookup in a map of 10,000 domains", 1.1, None),
            growth("a lookup in a map of 10,000 domains, relative to a map of 100"),
        ],
        Lookup::Domain,
        10_000,
        6000,
    ),
    Case {
        name: "gzip",
        metrics: &[
            traffic("16 KiB of text, compressed by gzip", 1.0, None),
            Metric {
                about: "size of the compressed response",
                unit: Unit::Bytes,
                target: 1.0,
                stretch: None,
                against: Against::Haproxy,
            },
        ],
        file: File::Compression,
        kind: Kind::Compressed(Traffic {
            connections: 64,
            body_bytes: 0,
            keep_alive: true,
            lines: "Accept-Encoding: gzip\r\n",
            requests: 8000,
        }),
    },
    Case {
        name: "cookie-new",
        metrics: &[traffic("cookie insert, clients without cookie", 1.1, None)],
        file: File::Cookie,
        kind: kept_alive(64, 100, 24_000),
    },
    Case {
        name: "cookie-known",
        metrics: &[traffic("cookie insert, clients with cookie", 1.1, None)],
        file: File::Cookie,
        kind: Kind::Traffic(Traffic {
            connections: 64,
            body_bytes: 100,
            keep_alive: true,
            lines: "Cookie: theme=dark; SRV=s2; visits=12\r\n",
            requests: 24_000,
        }),
    },
    Case {
        name: "uri",
        metrics: &[traffic("balance uri, hash-type consistent", 1.1, None)],
        file: File::Uri,
        kind: kept_alive(64, 100, 24_000),
    },
    Case {
        name: "memory",
        metrics: &[
            Metric {
                about: "memory per connection, 5,000 idle",
                unit: Unit::BytesPerConnection,
                target: 2.0,
                stretch: None,
                against: Against::TheBetter,
            },
            Metric {
                about: "memory per connection, 9,000 idle",
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
                about: "-c of 10,000 servers: wall-clock time",
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
                about: "-c of 10,000 servers: peak memory",
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
        Key::Ecdsa,
        false,
        false,
        1600,
    ),
    handshakes(
        "tls13-rsa",
        &[traffic("TLS 1.3 handshake, RSA 2048", 1.1, None)],
        Key::Rsa,
        false,
        false,
        800,
    ),
    handshakes(
        "tls13-resumed",
        &[traffic("TLS 1.3 handshake, resumed", 1.1, None)],
        Key::Ecdsa,
        false,
        true,
        2000,
    ),
    handshakes(
        "tls12-ecdsa",
        &[traffic("TLS 1.2 handshake, ECDSA P-256", 1.1, None)],
        Key::Ecdsa,
        true,
        false,
        2000,
    ),
    handshakes(
        "tls12-rsa",
        &[traffic("TLS 1.2 handshake, RSA 2048", 1.1, None)],
        Key::Rsa,
        true,
        false,
        1000,
    ),
    handshakes(
        "tls12-resumed",
        &[traffic("TLS 1.2 handshake, resumed", 1.1, None)],
        Key::Ecdsa,
        true,
        true,
        4000,
    ),
    secure(
        "tls-small",
        &[traffic(
            "TLS 1.3, 100-byte responses, 64 connections",
            1.1,
            None,
        )],
        Talk::Http1,
        64,
        100,
        24_000,
    ),
    secure(
        "tls-medium",
        &[traffic(
            "TLS 1.3, 16 KiB responses, 64 connections",
            1.1,
            None,
        )],
        Talk::Http1,
        64,
        16 * 1024,
        12_000,
    ),
    secure(
        "h2-1",
        &[traffic("HTTP/2, 64 connections of 1 stream", 1.1, None)],
        Talk::Http2 { streams: 1 },
        64,
        100,
        24_000,
    ),
    secure(
        "h2-10",
        &[traffic("HTTP/2, 16 connections of 10 streams", 1.1, None)],
        Talk::Http2 { streams: 10 },
        16,
        100,
        24_000,
    ),
    secure(
        "h2-100",
        &[traffic("HTTP/2, 4 connections of 100 streams", 1.1, None)],
        Talk::Http2 {
            streams: STREAMS_MAX,
        },
        4,
        100,
        24_000,
    ),
    attack(
        "attack-upload",
        &[
            beside("a good client's p99 beside uploads in chunks of 1 byte"),
            chunks("a thousand of these chunks"),
        ],
        Attack::ChunkedUpload,
    ),
    attack(
        "attack-answer",
        &[
            beside("its p99 beside answers in chunks of 1 byte"),
            chunks("a thousand of these chunks"),
        ],
        Attack::ChunkedAnswer,
    ),
    attack(
        "attack-reset",
        &[beside("its p99 beside 490 resets a connection (HTTP/2)")],
        Attack::RapidReset,
    ),
    attack(
        "attack-hpack",
        &[beside("its p99 beside HPACK bombs")],
        Attack::HpackBomb,
    ),
    attack(
        "attack-headers",
        &[beside("its p99 beside requests of 90 headers")],
        Attack::Headers,
    ),
    attack(
        "attack-continuation",
        &[beside("its p99 beside CONTINUATION without end")],
        Attack::Continuations,
    ),
    attack(
        "attack-settings",
        &[beside("its p99 beside SETTINGS")],
        Attack::Settings,
    ),
    attack(
        "attack-pings",
        &[beside("its p99 beside PING")],
        Attack::Pings,
    ),
    attack(
        "attack-windows",
        &[beside("its p99 beside WINDOW_UPDATE of 1")],
        Attack::Windows,
    ),
    attack(
        "attack-slow",
        &[beside("its p99 beside slow readers")],
        Attack::SlowReaders,
    ),
    Case {
        name: "memory-after",
        metrics: &[Metric {
            about: "memory after a mixed load",
            unit: Unit::Mebibytes,
            target: 1.0,
            stretch: None,
            against: Against::Haproxy,
        }],
        file: File::Compression,
        kind: Kind::Memory,
    },
    Case {
        name: "tls-memory",
        metrics: &[Metric {
            about: "memory per connection, 2,000 idle with TLS",
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
                Kind::Attack(Attack::ChunkedUpload | Attack::ChunkedAnswer, _) => 2,
                Kind::Attack(..) | Kind::Memory => 1,
                Kind::Compressed(_) | Kind::Map(..) => 2,
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
