//! Tests that an HTTP/2 flood ends the connection of its sender with the right error code, and no
//! other connection.

use super::*;

/// Floods a connection until it is closed, while another one is served. Returns the error code of
/// its GOAWAY.
async fn flood(hello: Vec<u8>, mut more: impl FnMut(u32) -> Vec<u8> + 'static) -> Option<u32> {
    let (near, far) = UnixStream::pair().unwrap();
    let options = || settings::client_options(&limits(|_| {}));
    let seen = serve_on(socket(far), options(), echo_path);
    let (good, _) = pair(limits(|_| {}), echo_path);
    let near = Rc::new(socket(near));
    let attacker = Rc::clone(&near);
    spawn(async move {
        if !send(&attacker, &hello).await {
            return;
        }
        for n in 0..1_000_000 {
            if !send(&attacker, &more(n)).await {
                return;
            }
            if n % 64 == 0 {
                reactor::yield_now().await;
            }
        }
    });
    let reader = Rc::clone(&near);
    let got = Rc::new(RefCell::new(None));
    let place = Rc::clone(&got);
    spawn(async move {
        let all = drain(&reader).await;
        *place.borrow_mut() = Some(all);
    });
    let mut served = 0;
    while got.borrow().is_none() {
        let stream = ask(&good, "/good");
        assert_eq!(answer_of(&stream).await.1, b"/good");
        served += 1;
    }
    assert!(served > 0);
    until("the connection is over", || seen.over.get()).await;
    assert!(seen.failed.borrow().is_some_and(|error| error.is_abuse()));
    let stream = ask(&good, "/still");
    assert_eq!(answer_of(&stream).await.1, b"/still");
    let got = got.borrow();
    raw::goaway(got.as_deref().unwrap())
}

const CALM: Option<u32> = Some(ErrorCode::EnhanceYourCalm as u32);

#[test]
fn endless_rapid_resets_end_the_connection() {
    on_loop(|| async {
        let code = flood(raw::hello(), |n| {
            let mut bytes = raw::get(1 + 2 * n, "/x");
            bytes.extend(raw::frame(3, 0, 1 + 2 * n, &[0, 0, 0, 8]));
            bytes
        })
        .await;
        assert_eq!(code, CALM);
    });
}

#[test]
fn endless_settings_end_the_connection() {
    on_loop(|| async {
        let code = flood(raw::hello(), |_| raw::frame(4, 0, 0, &[])).await;
        assert_eq!(code, CALM);
    });
}

#[test]
fn endless_pings_end_the_connection() {
    on_loop(|| async {
        let code = flood(raw::hello(), |_| raw::frame(6, 0, 0, &[7; 8])).await;
        assert_eq!(code, CALM);
    });
}

#[test]
fn endless_head_ends_the_connection() {
    on_loop(|| async {
        let mut hello = raw::hello();
        let mut head = raw::get(1, "/x");
        // Removes END_HEADERS, so that the head continues in further frames.
        head[4] = 0x1;
        hello.extend(head);
        let code = flood(hello, |_| raw::frame(9, 0, 1, &[0; 100])).await;
        assert_eq!(code, CALM);
    });
}

#[test]
fn invalid_preface_closes_the_connection_silently() {
    on_loop(|| async {
        let (near, far) = UnixStream::pair().unwrap();
        let seen = serve_on(
            socket(far),
            settings::client_options(&limits(|_| {})),
            echo_path,
        );
        let near = socket(near);
        send(&near, b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert_eq!(drain(&near).await, b"");
        until("the end", || seen.over.get()).await;
    });
}

#[test]
fn oversized_header_list_gets_an_error_and_the_connection_continues() {
    on_loop(|| async {
        let (mux, _seen) = pair(limits(|_| {}), echo_path);
        let mut message = get("/");
        message.set_limit(1 << 20);
        for n in 0..400 {
            message.add(format!("x-{n}").as_bytes(), b"y").unwrap();
        }
        let stream = mux.open().unwrap();
        stream
            .send_request(&message, facts(&message), true)
            .unwrap();
        assert_eq!(answer_of(&stream).await.0, 431);
        let stream = ask(&mux, "/next");
        assert_eq!(answer_of(&stream).await.1, b"/next");
    });
}
