//! Tests many requests on one HTTP/2 connection.

use super::*;

async fn many(concurrent: usize, total: usize) {
    let (mux, seen) = pair(limits(|_| {}), echo_path);
    let left = Rc::new(Cell::new(total));
    let done = Rc::new(Cell::new(0));
    for worker in 0..concurrent {
        let (mux, left, done) = (mux.clone(), Rc::clone(&left), Rc::clone(&done));
        spawn(async move {
            while left.get() > 0 {
                left.set(left.get() - 1);
                let path = format!("/{worker}/{}", left.get());
                let stream = ask(&mux, &path);
                let (status, body) = answer_of(&stream).await;
                assert_eq!((status, body), (200, path.into_bytes()));
                done.set(done.get() + 1);
            }
        });
    }
    until("all answers", || done.get() == total).await;
    assert_eq!(seen.begun.get() as usize, total);
    until("no stream is left", || {
        mux.streams() == 0 && seen.view.borrow().is_some_and(|view| view.open == 0)
    })
    .await;
}

#[test]
fn thousands_of_sequential_requests_share_a_connection() {
    on_loop(|| many(1, 2_000));
}

#[test]
fn thousands_of_parallel_requests_share_a_connection() {
    on_loop(|| many(100, 5_000));
}

#[test]
fn open_streams_respect_the_limit_of_the_peer() {
    on_loop(|| async {
        let bounds = limits(|http2| http2.client.concurrent_streams_max = Some(3));
        let (mux, _seen) = pair(bounds, |stream, message| async move {
            if message.target() == b"/wait" {
                stream.readable().await;
                std::future::pending::<()>().await;
            }
            echo_path(stream, message).await;
        });
        // The server's SETTINGS must be known.
        let first = ask(&mux, "/first");
        answer_of(&first).await;
        drop(first);
        let mut held: Vec<_> = (0..3).map(|_| mux.open().unwrap()).collect();
        assert!(!mux.has_room(), "three reserved places fill it");
        assert!(mux.open().is_none());
        held.pop();
        assert!(mux.has_room());
        drop(held);
        let held: Vec<_> = (0..3).map(|_| ask(&mux, "/wait")).collect();
        assert!(!mux.has_room());
        assert!(mux.is_usable());
        drop(held);
        let again = ask(&mux, "/again");
        assert_eq!(answer_of(&again).await.1, b"/again");
    });
}

#[test]
fn interim_responses_precede_the_final_one() {
    on_loop(|| async {
        let (mux, _seen) = pair(limits(|_| {}), |stream, _| async move {
            stream.send_head(&answer(103), false).unwrap();
            stream.send_head(&answer(103), false).unwrap();
            stream.send_head(&answer(204), true).unwrap();
        });
        let stream = ask(&mux, "/");
        let mut message = HttpMessage::new();
        for status in [103, 103, 204] {
            let parsed = soon("a head", stream.head(&mut message)).await.unwrap();
            assert_eq!(message.status(), status);
            assert_eq!(parsed.interim, status < 200);
        }
        assert!(stream.is_ended());
    });
}

#[test]
fn responses_of_the_same_turn_share_a_write() {
    on_loop(|| async {
        let (near, far) = UnixStream::pair().unwrap();
        serve_on(
            socket(far),
            settings::client_options(&limits(|_| {})),
            echo_path,
        );
        let near = socket(near);
        let mut bytes = raw::hello();
        for n in 0..20 {
            bytes.extend(raw::get(1 + 2 * n, "/x"));
        }
        assert!(send(&near, &bytes).await);
        let (mut got, mut reads, mut buffer) = (Vec::new(), 0, vec![0; 64 * 1024]);
        while raw::frames(&got).iter().filter(|f| f.0 == 0).count() < 20 {
            soon("answers", near.readable()).await;
            if let Ok(n) = near.try_read(&mut buffer) {
                reads += 1;
                got.extend_from_slice(&buffer[..n]);
            }
        }
        // Each write to a Unix socket results in one read.
        assert!(reads <= 3, "{reads} reads for 20 answers");
    });
}

#[test]
fn tunnel_waits_only_for_the_servers_settings() {
    let allows = raw::frame(4, 0, 0, &[0, 8, 0, 0, 0, 1]);
    let silent_on_it = raw::frame(4, 0, 0, &[]);
    for (settings, takes) in [
        (Some(allows), true),
        (Some(silent_on_it), false),
        (None, false),
    ] {
        on_loop(move || async move {
            let (near, far) = UnixStream::pair().unwrap();
            let far = socket(far);
            let transport = ConnectionTransport::from(socket(near));
            let mux = ServerMux::start(transport, limits(|_| {}), false);
            let stream = Rc::new(mux.open().unwrap());
            let told = Rc::new(Cell::new(None));
            let (asks, asked) = (Rc::clone(&stream), Rc::clone(&told));
            spawn(async move { asked.set(Some(asks.takes_extended_connect().await)) });
            // The client's preface has arrived, so the driver is running.
            soon("the preface", far.readable()).await;
            assert_eq!(told.get(), None);
            match settings {
                Some(settings) => assert!(send(&far, &settings).await),
                None => drop(far),
            }
            until("it is known", || told.get().is_some()).await;
            assert_eq!(told.get(), Some(takes));
            assert_eq!(
                soon("at once", stream.takes_extended_connect()).await,
                takes
            );
        });
    }
}
