//! Tests the authentication of clients by user lists: which users are accepted, and the CPU time
//! that rejected ones cost.

use crate::bed::{ProxyFixture, against_haproxy};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A password hash of each kind, as created by libxcrypt: the password is always "secret".
const HASHES: &[&str] = &[
    "abNANd1rDfiNc",
    "$1$abcdefgh$cHJi5PXp/ki/ktXzqlk6I1",
    "$5$rounds=1000$saltsalt$eKLZU9t9OoPWrqOQsoTIKG0aYkZ5rGOoOQhiIvoSWX2",
    "$6$saltstring$AIsRs/Ee56G/tC8MEHhvReZTfx8u3rXXMl6eYrjCG9ibix19DxoMBLogdTET5Ukw9Sf7eZTITsuk0Ry5qulYz.",
    "$2y$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW",
    "$y$j75$abcdefghijklmnop$vZlXu1XtxOBWRxjOpQqONp1WYfMO0dN.H4xeSMU2ZvC",
];
/// A hash that takes several seconds of CPU time; its password is irrelevant.
const SLOW: &str = "$6$rounds=4000000$saltstring$AIsRs/Ee56G/tC8MEHhvReZTfx8u3rXXMl6eYrjCG9ibix19DxoMBLogdTET5Ukw9Sf7eZTITsuk0Ry5qulYz.";

/// Serializes these tests, because they share the process's limit on pending passwords of one
/// client.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

fn basic(text: &str) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(text)
}

fn request(path: &str, credentials: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: h\r\nAuthorization: Basic {}\r\n\r\n",
        basic(credentials)
    )
}

fn status(answer: &str) -> &str {
    answer.get(9..12).unwrap_or("none")
}

#[test]
fn correct_password_is_accepted_with_every_hash() {
    let _alone = alone();
    let users: String = HASHES
        .iter()
        .enumerate()
        .map(|(n, hash)| format!(" user u{n} password {hash} groups even\n"))
        .collect();
    let bed = ProxyFixture::new(&format!(
        "userlist l\n group even users clear\n group odd\n user clear insecure-password secret\n{users}\n\
         frontend f\n bind 127.0.0.1:{{0}}\n http-request auth realm \"The site\" if {{ path /auth }} !{{ http_auth(l) }}\n \
         http-request deny deny_status 404 if {{ path /group }} !{{ http_auth_group(l) odd even }}\n \
         http-request redirect location /in if {{ path /redirect }} {{ http_auth(l) }}\n \
         use_backend in if {{ path /backend }} {{ http_auth(l) }}\n default_backend out\n\
         backend in\n http-request return status 201 hdr x-user %[http_auth_group(l)]\n\
         backend out\n http-request return status 202\n"
    ));
    let names: Vec<String> = (0..HASHES.len()).map(|n| format!("u{n}")).collect();
    for name in names.iter().map(String::as_str).chain(["clear"]) {
        // The second request finds the password already verified.
        for _ in 0..2 {
            let right = format!("{name}:secret");
            for (path, wanted) in [("/auth", "202"), ("/group", "202"), ("/redirect", "302")] {
                assert_eq!(
                    status(&bed.ask(&request(path, &right))),
                    wanted,
                    "{name} {path}"
                );
            }
            let answer = bed.ask(&request("/backend", &right));
            assert!(answer.contains(&format!("x-user: {name}\r\n")), "{answer}");
            let wrong = format!("{name}:Secret");
            for (path, wanted) in [
                ("/auth", "401"),
                ("/group", "404"),
                ("/redirect", "202"),
                ("/backend", "202"),
            ] {
                assert_eq!(
                    status(&bed.ask(&request(path, &wrong))),
                    wanted,
                    "{name} {path}"
                );
            }
        }
    }
    for credentials in ["nobody:secret", ":", "u0", "u0:"] {
        let answer = bed.ask(&request("/auth", credentials));
        assert_eq!(status(&answer), "401", "{credentials}");
        assert!(answer.contains("www-authenticate: Basic realm=\"The site\"\r\n"));
    }
}

#[test]
fn the_statistics_page_has_users_and_administrators_of_a_list() {
    let _alone = alone();
    let bed = ProxyFixture::new(&format!(
        "userlist l\n group admin users root\n user root password {}\n user guest insecure-password guest\n\
         listen s\n bind 127.0.0.1:{{0}}\n stats uri /s\n acl known http_auth(l)\n \
         acl admin http_auth_group(l) admin\n stats http-request deny if {{ path_end /no }}\n \
         stats http-request auth unless known\n stats admin if admin\n server a 127.0.0.1:9\n",
        HASHES[2]
    ));
    let sent = |credentials: &str, body: &str| {
        format!(
            "POST /s HTTP/1.1\r\nHost: h\r\nAuthorization: Basic {}\r\nContent-Length: {}\r\n\r\n{body}",
            basic(credentials),
            body.len()
        )
    };
    let form = |credentials: &str| sent(credentials, "s=a&action=maint&b=s");
    let csv = || bed.ask(&request("/s;csv", "guest:guest"));
    assert!(csv().contains("\ns,a,0,"));
    assert_eq!(status(&bed.ask(&request("/s/no", "guest:guest"))), "403");
    assert_eq!(status(&bed.ask(&request("/s", "root:guest"))), "401");
    let denied = bed.ask(&form("guest:guest"));
    assert!(denied.contains("location: /s;st=DENY\r\n"), "{denied}");
    assert!(!csv().contains(",MAINT,"));
    if !against_haproxy() {
        let of_another = form("root:secret").replace("\r\nHost", "\r\nOrigin: http://evil\r\nHost");
        let denied = bed.ask(&of_another);
        assert!(denied.contains("location: /s;st=DENY\r\n"), "{denied}");
        assert!(!csv().contains(",MAINT,"));
        // The page asks for confirmation before it ends sessions; a script is not asked.
        let asked = bed.ask(&sent("root:secret", "s=a&action=shutdown&b=s&ask=1"));
        assert_eq!(status(&asked), "200");
        assert!(asked.contains("<h1>Kill 0 sessions?</h1>"), "{asked}");
        assert!(asked.contains("; frame-ancestors 'self'\r\n"), "{asked}");
        let denied = bed.ask(&sent("guest:guest", "s=a&action=shutdown&b=s&ask=1"));
        assert!(denied.contains("location: /s;st=DENY\r\n"), "{denied}");
        let killed = bed.ask(&sent("root:secret", "s=a&action=shutdown&b=s"));
        assert!(killed.contains("location: /s;st=DONE\r\n"), "{killed}");
    }
    let done = bed.ask(&form("root:secret"));
    assert!(done.contains("location: /s;st=DONE\r\n"), "{done}");
    assert!(csv().contains(",MAINT,"));
}

#[test]
fn wrong_passwords_delay_no_other_user() {
    let _alone = alone();
    if against_haproxy() {
        // In HAProxy each of these passwords stops its thread for seconds.
        return;
    }
    const GUESSES: usize = 100;
    let bed = ProxyFixture::new(&format!(
        "userlist l\n user good password {}\n user slow password {SLOW}\n\
         frontend f\n bind 127.0.0.1:{{0}}\n timeout http-request 2s\n \
         http-request return status 200 if {{ path /open }}\n \
         http-request return status 201 if {{ http_auth(l) }}\n http-request auth\n",
        HASHES[2]
    ));
    assert_eq!(status(&bed.ask(&request("/", "good:secret"))), "201");
    let mut guessing: Vec<_> = (0..GUESSES)
        .map(|n| {
            let mut client = bed.client();
            client.send(request("/", &format!("slow:guess{n}")));
            client
        })
        .collect();
    // Clients that need no password do not wait, and neither do clients whose password was
    // verified before.
    assert_eq!(status(&bed.ask(&request("/open", "slow:x"))), "200");
    assert_eq!(status(&bed.ask(&request("/", "good:secret"))), "201");
    let answers: Vec<u16> = guessing.iter_mut().map(|c| c.answer().status).collect();
    assert!(answers.iter().all(|status| [401, 503].contains(status)));
    assert!(answers.contains(&503), "{answers:?}");
    assert_eq!(status(&bed.ask(&request("/", "good:secret"))), "201");
}

#[test]
fn error_file_replaces_a_page_or_closes_silently() {
    let bed = ProxyFixture::new(
        "http-errors site\n errorfile 503 /dev/null\n\
         defaults\n mode http\n timeout client 10s\n timeout server 10s\n timeout connect 5s\n \
         http-error status 410 content-type text/plain string gone\n\
         frontend f\n bind 127.0.0.1:{0}\n http-error status 403 content-type text/plain lf-string \"no %[path]\" hdr x-method %[method]\n \
         errorloc 404 /elsewhere\n errorfiles site\n http-error status 429\n monitor-uri /alive\n \
         http-error status 200 content-type text/plain string alive\n \
         http-request deny if { path /403 }\n http-request deny deny_status 404 if { path /404 }\n \
         http-request deny deny_status 410 if { path /410 }\n http-request deny deny_status 429 if { path /429 }\n \
         http-request return status 503 errorfiles site if { path /silent }\n \
         http-request return status 502 errorfiles site if { path /none }\n",
    );
    let get = |path: &str| bed.ask(&format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n"));
    assert_eq!(
        get("/403"),
        "HTTP/1.1 403 Forbidden\r\nx-method: GET\r\ncontent-length: 7\r\ncontent-type: text/plain\r\n\r\nno /403"
    );
    assert_eq!(
        get("/404"),
        "HTTP/1.1 302 Found\r\ncache-control: no-cache\r\ncontent-length: 0\r\nlocation: /elsewhere\r\n\r\n"
    );
    assert!(get("/410").ends_with("\r\n\r\ngone"));
    assert_eq!(
        get("/429"),
        "HTTP/1.1 429 Too Many Requests\r\ncontent-length: 0\r\n\r\n"
    );
    assert_eq!(
        get("/none"),
        "HTTP/1.1 502 Bad Gateway or Proxy Error\r\ncontent-length: 0\r\n\r\n"
    );
    let brief: Vec<String> = bed.ended(5).iter().map(|ended| ended.brief()).collect();
    assert_eq!(brief, ["403 PR", "404 PR", "410 PR", "429 PR", "502 LR"]);
    for path in ["/silent", "/"] {
        assert_eq!(get(path), "");
        assert_eq!(bed.ended(1)[0].bytes_out, 0);
    }
    assert!(get("/alive").ends_with("\r\n\r\nalive"));
}
