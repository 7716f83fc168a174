//! Tests sign-ins with a second factor, and in a known browser.

use super::*;
use crate::access::DEVICE_COOKIE;
use axum::http::header::LOCATION;

/// Returns the current one-time code.
fn code() -> String {
    second_factor::code(&SECRET, second_factor::step(now_s()))
}

fn password(
    bed: &mut ConsoleFixture,
    from: IpAddr,
    cookie: &str,
    name: &str,
    password: &str,
) -> TestResponse {
    let fields = [("user", name), ("password", password), ("next", "/events")];
    bed.form(from, "/sign-in", cookie, &fields)
}

fn give(bed: &mut ConsoleFixture, from: IpAddr, half: &str, code: &str) -> TestResponse {
    let fields = [("half", half), ("code", code), ("next", "/events")];
    bed.form(from, "/sign-in", "", &fields)
}

fn with_codes() -> ConsoleFixture {
    let bed = ConsoleFixture::new(Vec::new());
    bed.set_second_factor("anna", SecondFactor::Codes(SECRET.to_vec()));
    bed
}

#[test]
fn a_code_is_requested_after_the_password_and_accepted_once() {
    let mut bed = with_codes();
    let asked = password(&mut bed, HOME, "", "anna", PASSWORD);
    assert_eq!((asked.status, asked.cookie(access::COOKIE)), (200, None));
    assert!(asked.body.contains("autocomplete=\"one-time-code\""));
    let half = asked.hidden("half");
    // The half-finished sign-in is not a session.
    let cookie = format!("{}={half}", COOKIE);
    let request = Request::get("/").header(COOKIE, cookie);
    let page = bed.request(HOME, request.body(Body::empty()).unwrap());
    assert_eq!(page.status, 303);
    let wrong = give(&mut bed, HOME, &half, "000000x");
    assert_eq!((wrong.status, wrong.cookie(access::COOKIE)), (403, None));
    let code = code();
    let right = give(&mut bed, HOME, &wrong.hidden("half"), &code);
    assert_eq!(right.status, 303, "{right:?}");
    assert_eq!(right.all(LOCATION), ["/events"]);
    let token = right.cookie(access::COOKIE).unwrap();
    assert_eq!(bed.shared.viewer(&token).unwrap().role, UserRole::Admin);
    // The same code is refused after another correct password.
    let half = password(&mut bed, HOME, "", "anna", PASSWORD).hidden("half");
    let again = give(&mut bed, HOME, &half, &code);
    assert_eq!((again.status, again.cookie(access::COOKIE)), (403, None));
}

#[test]
fn a_wrong_password_does_not_reveal_a_second_factor() {
    let mut bed = with_codes();
    let pages = ["anna", "vera", "nobody"].map(|name| {
        let reply = password(&mut bed, HOME, "", name, "wrong");
        *lock(&bed.shared.authentication.limiter) = Default::default();
        // The form repeats the name that was typed.
        (
            reply.status,
            reply.body.replace(&format!("value=\"{name}\""), ""),
        )
    });
    assert_eq!(pages[0].0, 403);
    assert!(pages.iter().all(|page| *page == pages[0]));
    let basics = ["anna", "vera", "nobody"].map(|name| {
        let reply = bed.ask("GET", "/metrics", basic(name, "wrong").as_bytes(), "");
        *lock(&bed.shared.authentication.limiter) = Default::default();
        (reply.status, reply.body)
    });
    assert_eq!(basics[0].0, 401);
    assert!(basics.iter().all(|page| *page == basics[0]));
}

#[test]
fn wrong_codes_are_limited_despite_a_correct_password() {
    let mut bed = with_codes();
    for _ in 0..2 {
        let half = password(&mut bed, HOME, "", "anna", PASSWORD).hidden("half");
        for _ in 0..MANY {
            let wrong = give(&mut bed, HOME, &half, "");
            assert_eq!(wrong.cookie(access::COOKIE), None);
        }
        // The limit also holds for another address, and for the correct code.
        for (from, code) in [(HOME, code()), (AWAY, code())] {
            let refused = give(&mut bed, from, &half, &code);
            assert_eq!(
                (refused.status, refused.cookie(access::COOKIE)),
                (429, None)
            );
            assert_eq!(refused.all(RETRY_AFTER).len(), 1);
        }
    }
}

#[test]
fn password_failures_are_reset_only_after_the_code() {
    let mut bed = with_codes();
    let keys = [Key::For("anna".to_owned())];
    lock(&bed.shared.authentication.limiter).count(&keys, now_ms());
    // Queried for time 0, at which a failure that was counted now still blocks.
    let none_left = |bed: &ConsoleFixture| {
        let limiter = lock(&bed.shared.authentication.limiter);
        limiter.wait(&keys, 0).is_some()
    };
    assert!(none_left(&bed));
    let half = password(&mut bed, HOME, "", "anna", PASSWORD).hidden("half");
    assert!(none_left(&bed));
    assert_eq!(give(&mut bed, HOME, &half, &code()).status, 303);
    assert!(!none_left(&bed));
}

#[test]
fn hostile_codes_and_half_sessions_are_refused() {
    let mut bed = with_codes();
    let half = password(&mut bed, HOME, "", "anna", PASSWORD).hidden("half");
    for code in [
        "",
        "\0",
        "\u{fffd}",
        "-00001",
        &"9".repeat(9_000),
        "１２３４５６",
    ] {
        lock(&bed.shared.authentication.limiter).reset(&[Key::Code("anna".to_owned())], 0);
        let wrong = give(&mut bed, HOME, &half, code);
        assert_eq!((wrong.status, wrong.cookie(access::COOKIE)), (403, None));
    }
    // A body that is not UTF-8.
    let body = Body::from(format!("half={half}&code=%ff%fe%00&next=/"));
    let wrong = bed.request(HOME, Request::post("/sign-in").body(body).unwrap());
    assert_eq!((wrong.status, wrong.cookie(access::COOKIE)), (403, None));
    let huge = Body::from(format!("half={half}&code={}", "9".repeat(FORM_BYTES_MAX)));
    let huge = bed.request(HOME, Request::post("/sign-in").body(huge).unwrap());
    assert_eq!(huge.status, 400);
    lock(&bed.shared.authentication.limiter).reset(&[Key::Code("anna".to_owned())], 0);
    let session = {
        let config = bed.shared.config();
        lock(&bed.shared.authentication.sessions).begin(&*config, "anna", now_s())
    };
    let old =
        lock(&bed.shared.authentication.sessions).password_proof(&*bed.shared.config(), "anna", 0);
    for half in [
        "x",
        ".",
        "a.b",
        &"a.".repeat(4_000),
        &session.unwrap(),
        &old,
    ] {
        let late = give(&mut bed, HOME, half, &code());
        assert_eq!((late.status, late.cookie(access::COOKIE)), (403, None));
        assert!(late.body.contains("name=\"password\""), "{half:.60}");
    }
    // The second factor is removed, then the user.
    bed.set_second_factor("anna", SecondFactor::None);
    assert_eq!(give(&mut bed, HOME, &half, &code()).status, 403);
    bed.shared.set_config(Config::default());
    assert_eq!(give(&mut bed, HOME, &half, &code()).status, 403);
}

#[test]
fn without_a_required_second_factor_nobody_signs_in() {
    let mut bed = ConsoleFixture::new(Vec::new());
    bed.set_second_factor("anna", SecondFactor::Missing);
    let refused = password(&mut bed, HOME, "", "anna", PASSWORD);
    assert_eq!(
        (refused.status, refused.cookie(access::COOKIE)),
        (403, None)
    );
    assert!(refused.body.contains("evenkeel console second-factor anna"));
    // With a wrong password the response is the same as for everybody.
    let wrong = password(&mut bed, HOME, "", "anna", "wrong");
    assert!(!wrong.body.contains("second"), "{wrong:?}");
}

#[test]
fn a_known_browser_is_not_limited_by_others() {
    let mut bed = ConsoleFixture::new(Vec::new());
    let first = password(&mut bed, HOME, "", "anna", PASSWORD);
    let known = first.cookie(DEVICE_COOKIE).unwrap();
    let known = format!("a=b; {}={known}", DEVICE_COOKIE);
    let attributes = first.all(SET_COOKIE)[1];
    for one in [
        "Secure",
        "HttpOnly",
        "SameSite=Strict",
        "Path=/",
        "Max-Age=15552000",
    ] {
        assert!(attributes.contains(one), "{attributes}");
    }
    assert!(!attributes.contains("anna"));
    // Attempts of strangers, some from the same address.
    let strangers = [
        Key::of(HOME),
        Key::For("anna".to_owned()),
        Key::For("vera".to_owned()),
    ];
    bed.exhaust(&strangers);
    assert_eq!(password(&mut bed, HOME, "", "anna", PASSWORD).status, 429);
    assert_eq!(
        password(&mut bed, HOME, &known, "vera", PASSWORD).status,
        429
    );
    let forged = format!("{}=AAAA.AAAA", DEVICE_COOKIE);
    assert_eq!(
        password(&mut bed, HOME, &forged, "anna", PASSWORD).status,
        429
    );
    assert_eq!(
        password(&mut bed, HOME, &known, "anna", PASSWORD).status,
        303
    );
    // The sign-in of the known browser does not reset the failures of the strangers.
    assert_eq!(password(&mut bed, HOME, "", "anna", PASSWORD).status, 429);
    // The known browser has its own limit.
    for _ in 0..MANY {
        let wrong = password(&mut bed, AWAY, &known, "anna", "wrong");
        assert_ne!(wrong.status, 303);
    }
    assert_eq!(
        password(&mut bed, AWAY, &known, "anna", PASSWORD).status,
        429
    );
    // The failures of the known browser do not count for others.
    assert_eq!(password(&mut bed, AWAY, "", "olga", PASSWORD).status, 303);
}

#[test]
fn known_browsers_survive_a_restart_and_need_a_correct_password() {
    let mut bed = ConsoleFixture::new(Vec::new());
    assert_eq!(
        password(&mut bed, HOME, "", "anna", "wrong").cookie(DEVICE_COOKIE),
        None
    );
    let first = password(&mut bed, HOME, "", "anna", PASSWORD);
    let known = first.cookie(DEVICE_COOKIE).unwrap();
    let kept = lock(&bed.shared.authentication.sessions).saved_state();
    let next = Sessions::new(Some(kept)).unwrap();
    assert!(next.device_of(&known, "anna", now_s()).is_some());
}

/// Starts a `saslauthd` that knows one password of one user, and returns the names that it was
/// queried for.
fn system(
    answers: usize,
) -> (
    lab::ScratchDirectory,
    ::access::pam::System,
    std::thread::JoinHandle<Vec<String>>,
) {
    let scratch = lab::ScratchDirectory::new().unwrap();
    let socket = scratch.path().join("mux");
    let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let serve = std::thread::spawn(move || {
        let answer = |_| {
            let (mut stream, _) = listener.accept().unwrap();
            let mut read = || {
                let mut length = [0; 2];
                std::io::Read::read_exact(&mut stream, &mut length).unwrap();
                let mut text = vec![0; usize::from(u16::from_be_bytes(length))];
                std::io::Read::read_exact(&mut stream, &mut text).unwrap();
                String::from_utf8(text).unwrap()
            };
            let question = [read(), read(), read(), read()];
            let is_right = question == ["mira", "quince", "evenkeel", ""];
            let answer = if is_right { b"\0\x02OK" } else { b"\0\x02NO" };
            std::io::Write::write_all(&mut stream, answer).unwrap();
            question[0].clone()
        };
        (0..answers).map(answer).collect()
    });
    let system = ::access::pam::System {
        socket,
        ..Default::default()
    };
    (scratch, system, serve)
}

/// Replaces the users by one of the operating system.
fn with_system(bed: &ConsoleFixture, system: &::access::pam::System) {
    let mut config = (*bed.shared.config()).clone();
    config.users.truncate(1);
    config.users[0].account.name = "mira".to_owned();
    config.users[0].account.password = Password::System;
    config.system = system.clone();
    bed.shared.set_config(config);
}

#[test]
fn pam_checks_only_passwords_of_configured_users() {
    let (_scratch, system, serve) = system(3);
    let mut bed = ConsoleFixture::new(Vec::new());
    with_system(&bed, &system);
    let right = password(&mut bed, HOME, "", "mira", "quince");
    assert_eq!(right.status, 303, "{right:?}");
    assert_eq!(password(&mut bed, HOME, "", "mira", "wrong").status, 403);
    // For an unknown user the system gets neither that name nor that of another user, whose account
    // it might lock.
    assert_eq!(password(&mut bed, HOME, "", "root", "quince").status, 403);
    assert_eq!(
        serve.join().unwrap(),
        ["mira", "mira", ::access::pam::NOBODY]
    );
}

#[test]
fn an_unavailable_pam_is_not_a_wrong_password() {
    let mut bed = ConsoleFixture::new(Vec::new());
    let nowhere = ::access::pam::System {
        socket: "/nowhere/mux".into(),
        ..Default::default()
    };
    with_system(&bed, &nowhere);
    let refused = password(&mut bed, HOME, "", "mira", "quince");
    assert_eq!(refused.status, 503);
    assert!(
        refused.body.contains("cannot check the password now"),
        "{refused:?}"
    );
}

#[test]
fn pam_passwords_are_rate_limited_too() {
    let (_scratch, system, serve) = system(5);
    let mut bed = ConsoleFixture::new(Vec::new());
    with_system(&bed, &system);
    let tried = [(); 6].map(|()| password(&mut bed, HOME, "", "mira", "wrong").status);
    assert_eq!(tried, [403, 403, 403, 403, 403, 429]);
    assert_eq!(serve.join().unwrap().len(), 5);
}

#[test]
fn clients_behind_a_trusted_proxy_have_separate_limits() {
    let mut bed = ConsoleFixture::new(Vec::new());
    let mut config = (*bed.shared.config()).clone();
    let proxy: ::access::network::IpPrefix = "192.0.2.1".parse().unwrap();
    config.proxies = vec![proxy].into();
    bed.shared.set_config(config);
    let mut tries = |from: IpAddr, forwarded: &str, name: &str, password: &str| {
        let form = format!("user={name}&password={password}");
        let request = Request::post("/sign-in").header("x-forwarded-for", forwarded);
        let request = request.body(Body::from(form)).unwrap();
        bed.request(from, request).status
    };
    // The attacker prepends addresses of its own choice.
    for number in 0..5 {
        let forwarded = format!("203.0.113.{number}, 198.51.100.7");
        assert_eq!(tries(HOME, &forwarded, &format!("x{number}"), "guess"), 403);
    }
    assert_eq!(tries(HOME, "198.51.100.7", "x", "guess"), 429);
    assert_eq!(tries(HOME, "198.51.100.8", "vera", PASSWORD), 303);
    // The header is ignored if any other peer than the proxy sends it.
    for number in 0..5 {
        let forwarded = format!("203.0.113.{number}");
        assert_eq!(tries(AWAY, &forwarded, &format!("y{number}"), "guess"), 403);
    }
    assert_eq!(tries(AWAY, "203.0.113.99", "y", "guess"), 429);
}

#[test]
fn sign_ins_restore_no_attempts_for_other_users() {
    let mut bed = ConsoleFixture::new(Vec::new());
    let mut guesses = 0;
    for number in 0..50 {
        let own = password(&mut bed, HOME, "", "vera", PASSWORD);
        let guess = password(&mut bed, HOME, "", &format!("user{number}"), "guess");
        guesses += u32::from(guess.status == 403);
        assert!(matches!(own.status, 303 | 429), "{own:?}");
    }
    assert_eq!(guesses, 5);
}
