//! Tests which changes count as worse.

use super::*;

/// Events of a second: requests and errors, servers up and in total, whether the
/// frontend `www` is usable, and its response.
#[derive(Clone, Copy)]
struct Second {
    requests: u64,
    errors: u64,
    up: u64,
    servers: u64,
    usable: bool,
    answer: Probe,
}

const WELL: Second = Second {
    requests: 100,
    errors: 0,
    up: 4,
    servers: 4,
    usable: true,
    answer: Probe::Answered { status: 200 },
};

#[derive(Default)]
struct JudgeFixture {
    judge: Judge,
    now_ms: u64,
    requests: u64,
    errors: u64,
}

impl JudgeFixture {
    fn see(&mut self, second: Second) -> Option<Finding> {
        // The proxy counts probes of the cluster as well.
        self.requests += second.requests + 1;
        self.errors += second.errors + u64::from(!second.answer.is_good());
        let health = Health {
            requests: self.requests,
            errors: self.errors,
            servers_up: second.up,
            servers: second.servers,
            frontends: vec![FrontendHealth {
                name: "www".to_owned(),
                usable: second.usable,
                http: true,
                ..FrontendHealth::default()
            }],
            ..Health::default()
        };
        let probes = Probes::from([("www".to_owned(), second.answer)]);
        self.take(Some(health), probes)
    }

    fn take(&mut self, health: Option<Health>, probes: Probes) -> Option<Finding> {
        self.now_ms += 1000;
        self.judge.sample(self.now_ms, health, Some(probes));
        self.judge.finding(self.now_ms)
    }
}

/// Returns the finding for ten seconds of samples after others, and the number of
/// samples it took.
fn judged(before: &[Second], after: &[Second]) -> (usize, Finding) {
    let mut bench = JudgeFixture::default();
    for second in before {
        assert_eq!(bench.see(*second), None, "nothing is judged yet");
    }
    bench.judge.switched(bench.now_ms, 10_000);
    let last = *after.last().expect("something happens");
    let after = after.iter().copied().chain(std::iter::repeat(last));
    for (number, second) in after.take(13).enumerate() {
        if let Some(finding) = bench.see(second) {
            return (number + 1, finding);
        }
    }
    panic!("nothing was found");
}

#[track_caller]
fn is_good(before: &[Second], after: &[Second]) {
    let (seconds, finding) = judged(before, after);
    assert!(matches!(finding, Finding::Good { .. }), "{finding:?}");
    assert!(seconds >= 10, "good after {seconds} s already");
}

#[track_caller]
fn is_worse(before: &[Second], after: &[Second], says: &str) -> usize {
    match judged(before, after) {
        (seconds, Finding::Worse { words }) => {
            assert!(words.contains(says), "{words}");
            seconds
        }
        (_, Finding::Good { words }) => panic!("good: {words}"),
    }
}

fn errors(requests: u64, errors: u64) -> Second {
    Second {
        requests,
        errors,
        ..WELL
    }
}

#[test]
fn unchanged_health_is_ok_only_after_the_window() {
    is_good(&[WELL; 30], &[WELL]);
    is_good(&[WELL], &[WELL]);
    let quiet = errors(0, 0);
    is_good(&[quiet; 5], &[quiet]);
    is_good(&[errors(100, 20); 30], &[errors(100, 20)]);
    let (_, finding) = judged(&[WELL; 30], &[WELL]);
    let words = "nothing got worse in 10 s: 1000 requests, 0 failed, 4 of 4 servers up, \
                 1 frontend probed";
    let words = words.to_owned();
    assert_eq!(finding, Finding::Good { words });
}

#[test]
fn errors_are_worse_where_chance_does_not_explain_them() {
    for (before, after, worse) in [
        // A few errors do not count, however few requests there are.
        (errors(0, 0), errors(1, 0), false),
        (errors(100, 0), errors(0, 0), false),
        (errors(10, 1), errors(10, 1), false),
        (errors(10, 1), errors(10, 2), false),
        (errors(1000, 1), errors(1000, 2), false),
        (errors(1000, 0), errors(1000, 1), false),
        (errors(1000, 50), errors(1000, 54), false),
        (errors(1000, 50), errors(500, 25), false),
        // A higher share of errors is worse.
        (errors(100, 0), errors(100, 5), true),
        (errors(100, 1), errors(100, 10), true),
        (errors(10, 0), errors(10, 3), true),
        (errors(1000, 50), errors(1000, 80), true),
        (errors(0, 0), errors(2, 2), true),
        (errors(5, 0), errors(1, 1), true),
        // More errors than requests means failed connections.
        (errors(100, 0), errors(0, 20), true),
    ] {
        let (_, finding) = judged(&[before; 30], &[after]);
        let is = matches!(finding, Finding::Worse { .. });
        let what = (before.requests, before.errors, after.requests, after.errors);
        assert_eq!(is, worse, "{what:?}: {finding:?}");
    }
}

#[test]
fn unchanged_error_share_is_never_worse() {
    let of = |requests, errors| Counts { requests, errors };
    assert!(!is_surprising(of(4, 4), of(2, 2)));
    assert!(!is_surprising(of(1, 1), of(1000, 1000)));
    assert!(is_surprising(of(4, 3), of(1000, 1000)));
}

#[test]
fn connections_that_fail_for_a_request_of_the_cluster_are_no_errors_of_clients() {
    // The proxy counts each attempt to connect for the probe.
    let retried = Second {
        answer: Probe::Silent,
        ..errors(0, 3)
    };
    let quiet = errors(0, 0);
    is_good(
        &[quiet; 30],
        &[quiet, retried, quiet, retried, quiet, retried, quiet],
    );
    is_worse(
        &[quiet; 30],
        &[quiet, errors(0, 20)],
        "0 of 0 requests failed",
    );
}

#[test]
fn probes_do_not_count_as_client_requests() {
    let broken = Second {
        answer: Probe::Answered { status: 503 },
        up: 0,
        ..errors(0, 0)
    };
    // A node whose servers were down before, and that was probed once or never.
    is_good(&[broken], &[broken]);
    is_good(&[errors(0, 0), broken], &[broken]);
    let mut bench = JudgeFixture::default();
    bench.judge.switched(0, 10_000);
    let findings: Vec<Finding> = (0..12).filter_map(|_| bench.see(broken)).collect();
    let good = |finding: &Finding| matches!(finding, Finding::Good { .. });
    assert!(
        !findings.is_empty() && findings.iter().all(good),
        "{findings:?}"
    );
    // Requests of clients count, and none is mistaken for a probe of the cluster.
    let words = "1000 requests, 0 failed";
    let (_, finding) = judged(&[WELL; 3], &[WELL]);
    assert!(matches!(finding, Finding::Good { words: said } if said.contains(words)));
    is_worse(&[WELL; 30], &[errors(2, 2)], "requests failed");
}

#[test]
fn clearly_worse_version_is_reported_early() {
    let seconds = is_worse(&[WELL; 30], &[errors(100, 90)], "requests failed");
    assert!(seconds <= 2, "{seconds} s");
    let words = "180 of 200 requests failed (90.0 %), 0 of 2900 before (0.0 %)";
    is_worse(&[WELL; 30], &[errors(100, 90)], words);
    // Errors that begin late are worse, too.
    let late = [&[WELL; 7][..], &[errors(100, 90); 1]].concat();
    is_worse(&[WELL; 30], &late, "requests failed");
}

#[test]
fn servers_that_fall_and_stay_down_are_worse() {
    let with = |up, servers| Second {
        up,
        servers,
        ..WELL
    };
    is_worse(
        &[WELL; 5],
        &[with(3, 4)],
        "3 of 4 servers are up, before 4 of 4",
    );
    is_worse(&[WELL; 5], &[with(0, 4)], "0 of 4 servers are up");
    is_good(&[WELL; 5], &[WELL, WELL, with(3, 4), WELL]);
    // A server that was removed from the file is not missed. A new server may be down, and so may a
    // server that was down before.
    is_good(&[WELL; 5], &[with(3, 3)]);
    is_good(&[WELL; 5], &[with(4, 5)]);
    is_good(&[with(3, 4); 5], &[with(3, 4)]);
    is_good(&[with(3, 4); 5], &[with(4, 4)]);
}

#[test]
fn a_frontend_that_has_no_usable_server_any_more_is_worse() {
    let unusable = Second {
        usable: false,
        ..WELL
    };
    is_worse(&[WELL; 5], &[unusable], "no usable server left: www");
    is_good(&[unusable; 5], &[unusable]);
    is_good(&[WELL; 5], &[WELL, unusable, WELL]);
}

#[test]
fn probe_that_fails_now_is_worse() {
    let answers = |answer| Second { answer, ..WELL };
    let status = |status| answers(Probe::Answered { status });
    is_worse(
        &[WELL; 5],
        &[answers(Probe::Silent)],
        "www does not respond",
    );
    is_worse(&[status(404); 5], &[status(503)], "www responds with 503");
    is_good(&[WELL; 5], &[status(404)]);
    is_good(&[status(503); 5], &[status(502)]);
    is_good(&[WELL; 5], &[WELL, answers(Probe::Silent), WELL]);
    // A past with one short failure counts as healthy, a past of repeated failures does not.
    let past = [&[WELL; 19][..], &[status(503)]].concat();
    is_worse(&past, &[status(503)], "www responds with 503");
    let past = [WELL, status(503), WELL, status(503)];
    is_good(&past, &[status(503)]);
}

#[test]
fn removed_or_new_frontend_is_not_worse() {
    let mut bench = JudgeFixture::default();
    bench.see(WELL);
    bench.judge.switched(bench.now_ms, 2000);
    let health = Health::default;
    let probes = || Probes::from([("new".to_owned(), Probe::Silent)]);
    assert_eq!(bench.take(Some(health()), probes()), None);
    let finding = bench.take(Some(health()), probes());
    // The new version has no servers: the old servers are removed, not down.
    assert!(matches!(finding, Some(Finding::Good { .. })), "{finding:?}");
}

#[test]
fn stopped_or_restarted_proxy_is_worse() {
    let mut bench = JudgeFixture::default();
    bench.see(WELL);
    bench.judge.switched(bench.now_ms, 10_000);
    assert_eq!(bench.take(None, Probes::new()), None, "once may be chance");
    let words = "no proxy is left that serves".to_owned();
    assert_eq!(
        bench.take(None, Probes::new()),
        Some(Finding::Worse { words })
    );

    let mut bench = JudgeFixture::default();
    bench.see(WELL);
    bench.judge.switched(bench.now_ms, 10_000);
    // Counters may restart at the switch, but not later.
    bench.requests = 0;
    assert_eq!(bench.see(WELL), None);
    bench.requests = 0;
    let words = "the proxy died and was restarted".to_owned();
    assert_eq!(bench.see(errors(50, 0)), Some(Finding::Worse { words }));
}

#[test]
fn machine_that_never_served_is_not_worse() {
    let mut bench = JudgeFixture::default();
    bench.take(None, Probes::new());
    bench.judge.switched(bench.now_ms, 3000);
    let findings: Vec<_> = (0..3)
        .filter_map(|_| bench.take(None, Probes::new()))
        .collect();
    assert!(
        matches!(findings[..], [Finding::Good { .. }]),
        "{findings:?}"
    );
}

#[test]
fn no_verdict_without_samples() {
    let mut judge = Judge::default();
    judge.switched(0, 1000);
    assert_eq!(judge.finding(60_000), None);
}

#[test]
fn suspended_machine_needs_more_than_one_sample() {
    let mut bench = JudgeFixture::default();
    (0..30).for_each(|_| assert_eq!(bench.see(WELL), None));
    bench.judge.switched(bench.now_ms, 2000);
    bench.now_ms += 5000;
    assert_eq!(bench.see(errors(100, 100)), None);
    let finding = bench.see(errors(100, 100));
    assert!(
        matches!(finding, Some(Finding::Worse { .. })),
        "{finding:?}"
    );
}

#[test]
fn second_window_uses_the_same_baseline() {
    let mut bench = JudgeFixture::default();
    (0..30).for_each(|_| assert_eq!(bench.see(WELL), None));
    bench.judge.switched(bench.now_ms, 3000);
    let mut findings: Vec<_> = (0..3).filter_map(|_| bench.see(WELL)).collect();
    assert!(matches!(findings.pop(), Some(Finding::Good { .. })));
    bench.judge.switched(bench.now_ms, 3000);
    assert_eq!(bench.judge.finding(bench.now_ms + 60_000), None);
    bench.see(errors(100, 60));
    let finding = bench.see(errors(100, 60));
    assert!(
        matches!(finding, Some(Finding::Worse { .. })),
        "{finding:?}"
    );
    bench.judge.reverted();
    assert_eq!(bench.judge.finding(bench.now_ms), None);
}

#[test]
fn samples_are_bounded() {
    let mut bench = JudgeFixture::default();
    (0..500).for_each(|_| assert_eq!(bench.see(WELL), None));
    assert_eq!(bench.judge.before.len(), BASELINE_SAMPLES_MAX);
    bench.judge.switched(bench.now_ms, u64::MAX);
    (0..500).for_each(|_| assert_eq!(bench.see(WELL), None));
    let window = bench.judge.window.as_ref().expect("it judges");
    assert_eq!(window.newest.len(), SAMPLES_MAX);
}
