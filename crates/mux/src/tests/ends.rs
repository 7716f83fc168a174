//! Tests resets of streams, GOAWAY and closes of the connection at every point.

use super::super::slot::Gone;
use super::super::stream::HeadFailure;
use super::*;

#[test]
fn resets_at_every_point_leave_the_connection_as_it_was() {
    on_loop(|| async {
        let (mux, seen) = pair(limits(|_| {}), |stream, message| async move {
            // The path determines how far the response gets.
            let stage = message.target()[1] - b'0';
            if stage == 0 {
                return;
            }
            if stage == 1 {
                reactor::yield_now().await;
                return stream.reset(ErrorCode::RefusedStream);
            }
            if stream.send_head(&answer(200), false).is_err() || stage == 2 {
                return;
            }
            let body = pattern(300_000);
            let end = if stage == 3 { 1_000 } else { body.len() };
            let _ = write_all(&stream, &body[..end], 10_000, stage > 4).await;
        });
        for stage in 0..6 {
            for cut in 0..6 {
                for body in [false, true] {
                    one(&mux, stage, cut, body).await;
                }
            }
        }
        until("no stream is left", || {
            mux.streams() == 0 && seen.view.borrow().is_some_and(|view| view.open == 0)
        })
        .await;
        let stream = ask(&mux, "/9");
        assert_eq!(answer_of(&stream).await.1, pattern(300_000));
    });
}

/// Makes a request that the client aborts at a point.
async fn one(mux: &ServerMux, stage: u8, cut: u8, body: bool) {
    let stream = mux.open().unwrap();
    if cut == 0 {
        return;
    }
    let message = request(b"POST", &format!("/{stage}"));
    stream
        .send_request(&message, facts(&message), !body)
        .unwrap();
    if cut == 1 {
        return;
    }
    if body {
        let _ = stream.try_write(&pattern(20_000), cut != 2);
    }
    if cut == 2 {
        return;
    }
    let mut head = HttpMessage::new();
    let got = soon("a head", stream.head(&mut head)).await;
    if stage < 2 {
        let why = if stage == 0 {
            Gone::Reset(ErrorCode::InternalError)
        } else {
            Gone::Refused
        };
        assert!(
            matches!(got, Err(HeadFailure::Gone(gone)) if gone == why),
            "{got:?}"
        );
        return;
    }
    got.unwrap();
    if cut == 3 {
        return;
    }
    if cut == 4 {
        soon("data or the end", stream.readable()).await;
        return;
    }
    let result = read_all(&stream).await;
    assert_eq!(
        result.is_ok(),
        stage > 4,
        "stage {stage}: {:?}",
        stream.gone()
    );
}

#[test]
fn request_after_its_response_is_drained_to_a_limit() {
    on_loop(|| async {
        let (mux, _seen) = pair(limits(|_| {}), |stream, _| async move {
            stream.send_head(&answer(403), false).unwrap();
            stream.try_write(b"no", true).unwrap();
        });
        let stream = mux.open().unwrap();
        let message = request(b"POST", "/");
        stream
            .send_request(&message, facts(&message), false)
            .unwrap();
        assert_eq!(answer_of(&stream).await, (403, b"no".to_vec()));
        assert_eq!(stream.try_write(b"more", false).unwrap(), 4);
        until("the reset", || {
            _ = stream.try_write(&[0; 32 * 1024], false);
            stream.is_gone()
        })
        .await;
        assert_eq!(stream.gone(), Some(Gone::Reset(ErrorCode::NoError)));
        assert!(stream.try_write(b"more", false).is_err());
    });
}

#[test]
fn refused_head_with_a_body_gets_a_response_without_reset() {
    on_loop(|| async {
        let (near, far) = UnixStream::pair().unwrap();
        let options = settings::client_options(&limits(|_| {}));
        serve_on(socket(far), options, echo_path);
        let near = socket(near);
        // More fields than the limit allows, and a body follows.
        let mut block = vec![0x83, 0x86, 0x84];
        for _ in 0..200 {
            block.extend_from_slice(b"\0\x01a\x01b");
        }
        let mut bytes = raw::hello();
        bytes.extend(raw::frame(1, 0x4, 1, &block));
        assert!(send(&near, &bytes).await);
        let (mut got, mut buffer) = (Vec::new(), vec![0; 64 * 1024]);
        let mut frames_until = async |last: u8| {
            while !raw::frames(&got).iter().any(|frame| frame.0 == last) {
                soon("a frame", near.readable()).await;
                if let Ok(n) = near.try_read(&mut buffer) {
                    got.extend_from_slice(&buffer[..n]);
                }
            }
            raw::frames(&got)
        };
        // The response comes before the body is sent.
        frames_until(1).await;
        assert!(send(&near, &raw::frame(0, 0x1, 1, &[b'x'; 5_000])).await);
        assert!(send(&near, &raw::frame(6, 0, 0, b"12345678")).await);
        let frames = frames_until(6).await;
        let resets = frames.iter().filter(|frame| frame.0 == 3);
        assert_eq!(resets.count(), 0, "the client reads the response");
    });
}

#[test]
fn client_reset_is_noticed_without_reading() {
    on_loop(|| async {
        let gone = Rc::new(Cell::new(false));
        let noted = Rc::clone(&gone);
        let (mux, _seen) = pair(limits(|_| {}), move |stream, _| {
            let noted = Rc::clone(&noted);
            async move {
                std::future::poll_fn(|context| stream.poll_gone(context)).await;
                assert_eq!(stream.gone(), Some(Gone::Reset(ErrorCode::Cancel)));
                noted.set(true);
            }
        });
        let stream = ask(&mux, "/");
        // Wait until the server has received the request.
        reactor::sleep(Duration::from_millis(5)).await;
        assert!(!gone.get());
        drop(stream);
        until("the handler ends", || gone.get()).await;
    });
}

#[test]
fn streams_above_the_last_one_of_a_goaway_can_be_repeated_elsewhere() {
    on_loop(|| async {
        let (near, far) = UnixStream::pair().unwrap();
        let mux = ServerMux::start(
            ConnectionTransport::from(socket(near)),
            limits(|_| {}),
            false,
        );
        let far = socket(far);
        let (first, second) = (ask(&mux, "/1"), ask(&mux, "/2"));
        let mut bytes = raw::frame(4, 0, 0, &[]);
        // GOAWAY: last stream 1, NO_ERROR. Then the response of stream 1.
        bytes.extend(raw::frame(7, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 0]));
        bytes.extend(raw::frame(1, 0x5, 1, &[0x88]));
        assert!(send(&far, &bytes).await);
        let mut head = HttpMessage::new();
        soon("the first answer", first.head(&mut head))
            .await
            .unwrap();
        assert_eq!(head.status(), 200);
        let failed = soon("the second", second.head(&mut head)).await;
        assert!(matches!(failed, Err(HeadFailure::Gone(Gone::Refused))));
        assert!(!mux.is_usable() && mux.open().is_none());
        drop((first, second));
        // Nothing uses the connection any longer, so it closes.
        drain(&far).await;
    });
}

#[test]
fn a_goaway_of_ours_lets_streams_end_and_then_closes() {
    on_loop(|| async {
        let finish = Rc::new(Cell::new(false));
        let may = Rc::clone(&finish);
        let (mux, seen) = pair(limits(|_| {}), move |stream, message| {
            let may = Rc::clone(&may);
            async move {
                until("leave", || may.get()).await;
                echo_path(stream, message).await;
            }
        });
        let stream = ask(&mux, "/slow");
        until("it is under way", || seen.begun.get() == 1).await;
        seen.go_away.set(true);
        reactor::wake_all(reactor::thread());
        until("the client knows", || !mux.is_usable()).await;
        assert!(!seen.over.get());
        finish.set(true);
        assert_eq!(answer_of(&stream).await.1, b"/slow");
        drop(stream);
        until("the server's end is over", || seen.over.get()).await;
    });
}

#[test]
fn a_lost_connection_ends_its_streams() {
    on_loop(|| async {
        let (near, far) = UnixStream::pair().unwrap();
        let mux = ServerMux::start(
            ConnectionTransport::from(socket(near)),
            limits(|_| {}),
            false,
        );
        let stream = ask(&mux, "/");
        drop(far);
        let mut head = HttpMessage::new();
        let failed = soon("the end", stream.head(&mut head)).await;
        assert!(matches!(failed, Err(HeadFailure::Gone(Gone::Lost))));
        assert!(stream.try_write(b"x", true).is_err());
        assert!(!mux.is_usable());
        drop(stream);
        until("the descriptor is closed", || mux.with_fd(|_| ()).is_none()).await;
    });
}

#[test]
fn half_closed_client_gets_responses_to_complete_requests() {
    on_loop(|| async {
        let (near, far) = UnixStream::pair().unwrap();
        let seen = serve_on(
            socket(far),
            settings::client_options(&limits(|_| {})),
            |stream, message| async move {
                reactor::sleep(Duration::from_millis(5)).await;
                echo_path(stream, message).await;
            },
        );
        let near = socket(near);
        let mut bytes = raw::hello();
        bytes.extend(raw::get(1, "/whole"));
        // The body of this request never ends.
        let mut unfinished = raw::get(3, "/unfinished");
        unfinished[4] = 0x4;
        bytes.extend(unfinished);
        assert!(send(&near, &bytes).await);
        near.shutdown_write().unwrap();
        let frames = raw::frames(&drain(&near).await);
        assert!(frames.contains(&(0, 1, b"/whole".to_vec())), "{frames:?}");
        assert!(
            !frames
                .iter()
                .any(|(kind, stream, _)| *kind == 0 && *stream == 3)
        );
        until("the end", || seen.over.get()).await;
        assert_eq!(seen.begun.get(), 2);
    });
}

#[test]
fn a_request_that_stalls_after_its_response_is_reset() {
    on_loop(|| async {
        let (near, far) = UnixStream::pair().unwrap();
        let seen = serve_on(
            socket(far),
            settings::client_options(&limits(|_| {})),
            |stream, message| async move { echo_path(stream, message).await },
        );
        let near = socket(near);
        let mut bytes = raw::hello();
        // The body of this request never ends.
        let mut unfinished = raw::get(1, "/early");
        unfinished[4] = 0x4;
        bytes.extend(unfinished);
        assert!(send(&near, &bytes).await);
        let mut all = Vec::new();
        let mut buffer = [0; 4096];
        let reset = |bytes: &[u8]| raw::frames(bytes).into_iter().find(|(kind, ..)| *kind == 3);
        while reset(&all).is_none() {
            match near.try_read(&mut buffer) {
                Ok(0) => panic!("closed"),
                Ok(n) => all.extend_from_slice(&buffer[..n]),
                Err(_) => soon("the reset", near.readable()).await,
            }
        }
        assert_eq!(reset(&all), Some((3, 1, vec![0, 0, 0, 0])));
        // Nothing keeps the connection any more.
        seen.go_away.set(true);
        assert!(send(&near, &raw::get(3, "/next")).await);
        until("the end", || seen.over.get()).await;
    });
}

#[test]
fn unused_server_connection_is_closed() {
    on_loop(|| async {
        let (mux, seen) = pair(limits(|_| {}), echo_path);
        let other = mux.clone();
        let stream = ask(&mux, "/");
        drop(mux);
        assert_eq!(answer_of(&stream).await.0, 200);
        drop(stream);
        assert!(other.idle_since().is_some());
        assert_eq!(other.opened_streams(), 1);
        drop(other);
        until("the server sees the end", || seen.over.get()).await;
    });
}

#[test]
fn server_without_http2_fails_its_streams() {
    on_loop(|| async {
        let (near, far) = UnixStream::pair().unwrap();
        let mux = ServerMux::start(
            ConnectionTransport::from(socket(near)),
            limits(|_| {}),
            false,
        );
        let far = socket(far);
        let stream = ask(&mux, "/");
        send(
            &far,
            b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n",
        )
        .await;
        let mut head = HttpMessage::new();
        let failed = soon("the end", stream.head(&mut head)).await;
        assert!(matches!(failed, Err(HeadFailure::Gone(Gone::Lost))));
        drop(far);
    });
}
