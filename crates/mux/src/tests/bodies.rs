//! Tests HTTP/2 bodies in both directions, flow-control windows and trailers.

use super::*;
use http::message::Fields;

async fn there_and_back(bounds: Bounds, bytes: usize, piece: usize, streams: usize) {
    let (mux, seen) = pair(bounds, echo_body);
    let done = Rc::new(Cell::new(0));
    for n in 0..streams {
        let (mux, done) = (mux.clone(), Rc::clone(&done));
        spawn(async move {
            let body = pattern(bytes + n);
            let stream = Rc::new(mux.open().unwrap());
            let message = request(b"POST", "/echo");
            stream
                .send_request(&message, facts(&message), false)
                .unwrap();
            // Both directions at once in one task, as in the code of a stream.
            let got = {
                let upload = write_all(&stream, &body, piece, true);
                let download = answer_of(&stream);
                both(upload, download).await
            };
            assert_eq!(got.0, 200);
            assert!(got.1 == body, "stream {n} came back otherwise");
            done.set(done.get() + 1);
        });
    }
    until("all bodies", || done.get() == streams).await;
    until("no stream is left", || {
        mux.streams() == 0 && seen.view.borrow().is_some_and(|view| view.open == 0)
    })
    .await;
}

async fn both<T>(
    upload: impl Future<Output = io::Result<()>>,
    download: impl Future<Output = T>,
) -> T {
    use std::future::poll_fn;
    use std::pin::pin;
    use std::task::Poll;
    let (mut upload, mut download) = (pin!(upload), pin!(download));
    let (mut sent, mut got) = (false, None);
    poll_fn(|context| {
        if !sent && let Poll::Ready(result) = upload.as_mut().poll(context) {
            result.unwrap();
            sent = true;
        }
        if got.is_none()
            && let Poll::Ready(value) = download.as_mut().poll(context)
        {
            got = Some(value);
        }
        match (sent, got.is_some()) {
            (true, true) => Poll::Ready(()),
            _ => Poll::Pending,
        }
    })
    .await;
    got.unwrap()
}

#[test]
fn large_bodies_go_both_ways_at_once() {
    on_loop(|| there_and_back(limits(|_| {}), 3_000_000, 50_000, 4));
}

#[test]
fn small_windows_only_slow_them() {
    let bounds = limits(|http2| http2.initial_window = 1_000);
    on_loop(move || there_and_back(bounds, 100_000, 700, 5));
}

#[test]
fn many_streams_with_bodies_share_the_windows_of_a_connection() {
    on_loop(|| there_and_back(limits(|_| {}), 200_000, usize::MAX, 60));
}

#[test]
fn one_byte_windows_are_legal() {
    let bounds = limits(|http2| http2.initial_window = 1);
    on_loop(move || there_and_back(bounds, 50, 10, 2));
}

#[test]
fn trailers_come_once_after_the_body() {
    on_loop(|| async {
        let (mux, _seen) = pair(limits(|_| {}), echo_body);
        let stream = mux.open().unwrap();
        let message = request(b"POST", "/");
        stream
            .send_request(&message, facts(&message), false)
            .unwrap();
        write_all(&stream, b"data", usize::MAX, false)
            .await
            .unwrap();
        let mut trailers = Fields::new();
        trailers.add(b"grpc-status", b"0").unwrap();
        stream.send_trailers(&trailers).unwrap();
        assert!(stream.has_sent_end());
        assert_eq!(answer_of(&stream).await, (200, b"data".to_vec()));
        let got = stream.take_trailers().expect("trailers");
        assert_eq!(got.get(b"grpc-status"), Some(&b"0"[..]));
        assert!(stream.take_trailers().is_none());
    });
}

#[test]
fn a_body_that_is_not_as_long_as_declared_resets_its_stream_only() {
    on_loop(|| async {
        let (mux, seen) = pair(limits(|_| {}), echo_body);
        for (declared, sent) in [("5", &b"four"[..]), ("3", b"four"), ("0", b"f")] {
            let stream = mux.open().unwrap();
            let mut message = request(b"POST", "/");
            message.add(b"content-length", declared.as_bytes()).unwrap();
            stream
                .send_request(&message, facts(&message), false)
                .unwrap();
            let _ = stream.try_write(sent, true);
            let mut head = HttpMessage::new();
            if soon("an end", stream.head(&mut head)).await.is_ok() {
                let body = read_all(&stream).await;
                assert!(body.is_err(), "{declared} for {sent:?} was taken");
            }
            let failed = stream.gone();
            let why = super::super::Gone::Reset(ErrorCode::ProtocolError);
            assert_eq!(failed, Some(why), "{declared}");
        }
        assert_eq!(seen.malformed.get(), 3);
        let stream = ask(&mux, "/");
        assert_eq!(answer_of(&stream).await.0, 200);
    });
}

#[test]
fn unread_data_is_bounded_by_windows_and_released() {
    on_loop(|| async {
        let (mux, _seen) = pair(limits(|_| {}), |stream, message| async move {
            if message.target() == b"/deaf" {
                // Reads nothing, and ends when the stream is reset.
                stream.gone_soon().await;
                return;
            }
            echo_body(stream, message).await;
        });
        for _ in 0..100 {
            let stream = mux.open().unwrap();
            let message = request(b"POST", "/deaf");
            stream
                .send_request(&message, facts(&message), false)
                .unwrap();
            let data = pattern(200_000);
            let mut sent = 0;
            // Write until the window is full and stays full.
            for _ in 0..200 {
                match stream.try_write(&data[sent..], false) {
                    Ok(n) => sent += n,
                    Err(_) => reactor::yield_now().await,
                }
            }
            assert!(sent <= 65_535, "{sent} bytes went out");
        }
        // A hundred streams have lost all of their windows, but the window of the connection is
        // still complete.
        let stream = mux.open().unwrap();
        let message = request(b"POST", "/echo");
        stream
            .send_request(&message, facts(&message), false)
            .unwrap();
        let body = pattern(1_000_000);
        let got = both(
            write_all(&stream, &body, usize::MAX, true),
            answer_of(&stream),
        )
        .await;
        assert!(got.1 == body);
    });
}

impl MuxStream {
    async fn gone_soon(&self) {
        std::future::poll_fn(|context| self.poll_gone(context)).await;
    }
}
