//! Tests that no HTTP/2 stream delays the others, and that a client that does not read uses
//! limited memory.

use super::*;

#[test]
fn large_download_does_not_delay_small_responses() {
    on_loop(|| async {
        let large = Rc::new(Cell::new(0_usize));
        let counted = Rc::clone(&large);
        let (mux, _seen) = pair(limits(|_| {}), move |stream, message| {
            let counted = Rc::clone(&counted);
            async move {
                if message.target() != b"/large" {
                    return echo_path(stream, message).await;
                }
                stream.send_head(&answer(200), false).unwrap();
                let data = pattern(60_000);
                loop {
                    match stream.try_write(&data, false) {
                        Ok(n) => counted.set(counted.get() + n),
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                            stream.writable().await;
                        }
                        Err(_) => return,
                    }
                }
            }
        });
        let downloads: Vec<_> = (0..5).map(|_| ask(&mux, "/large")).collect();
        let stop = Rc::new(Cell::new(false));
        for stream in downloads {
            let stop = Rc::clone(&stop);
            spawn(async move {
                let mut buffer = Buffer::take();
                while !stop.get() {
                    stream.readable().await;
                    buffer.clear();
                    match stream.read_into(&mut buffer) {
                        Ok(0) => return,
                        Err(error) if error.kind() != io::ErrorKind::WouldBlock => return,
                        _ => {}
                    }
                }
            });
        }
        until("the downloads flow", || large.get() > 2_000_000).await;
        for _ in 0..50 {
            let before = large.get();
            let stream = ask(&mux, "/small");
            assert_eq!(answer_of(&stream).await.1, b"/small");
            let meanwhile = large.get() - before;
            // The limit is a few turns of five streams, not a whole body.
            assert!(meanwhile < 3_000_000, "{meanwhile} bytes went before it");
        }
        stop.set(true);
    });
}

#[test]
fn simultaneous_streams_begin_a_few_at_a_time() {
    on_loop(|| async {
        let (near, far) = UnixStream::pair().unwrap();
        let options = settings::client_options(&limits(|_| {}));
        let seen = serve_on(socket(far), options, echo_path);
        let mut bytes = raw::hello();
        (0..90).for_each(|n| bytes.extend(raw::get(1 + 2 * n, "/x")));
        let near = socket(near);
        assert!(send(&near, &bytes).await);
        let (mut before, mut most) = (0, 0);
        soon("all have begun", async {
            while seen.begun.get() < 90 {
                reactor::yield_now().await;
                most = most.max(seen.begun.get() - before);
                before = seen.begun.get();
            }
        })
        .await;
        // The limit is the budget of a poll divided by the cost of a head.
        assert!(
            (1..=16).contains(&most),
            "{most} between two polls of another task"
        );
    });
}

#[test]
fn parallel_downloads_share_bandwidth_fairly() {
    on_loop(|| async {
        const STREAMS: usize = 20;
        let counts: Rc<[Cell<usize>; STREAMS]> = Rc::new(Default::default());
        let counted = Rc::clone(&counts);
        let (mux, _seen) = pair(limits(|_| {}), move |stream, message| {
            let counted = Rc::clone(&counted);
            async move {
                let n: usize = std::str::from_utf8(&message.target()[1..])
                    .unwrap()
                    .parse()
                    .unwrap();
                stream.send_head(&answer(200), false).unwrap();
                let data = pattern(100_000);
                loop {
                    match stream.try_write(&data, false) {
                        Ok(bytes) => counted[n].set(counted[n].get() + bytes),
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                            stream.writable().await;
                        }
                        Err(_) => return,
                    }
                }
            }
        });
        for n in 0..STREAMS {
            let stream = ask(&mux, &format!("/{n}"));
            spawn(async move {
                let mut buffer = Buffer::take();
                loop {
                    stream.readable().await;
                    buffer.clear();
                    if !matches!(stream.read_into(&mut buffer), Ok(1..)) {
                        return;
                    }
                }
            });
        }
        until("all flow", || {
            counts.iter().map(Cell::get).sum::<usize>() > 40_000_000
        })
        .await;
        let (least, most) = (
            counts.iter().map(Cell::get).min().unwrap(),
            counts.iter().map(Cell::get).max().unwrap(),
        );
        assert!(most < 2 * least, "{least} to {most} bytes");
    });
}

#[test]
fn a_client_that_reads_nothing_costs_a_bounded_output() {
    on_loop(|| async {
        let (near, far) = UnixStream::pair().unwrap();
        let seen = serve_on(
            socket(far),
            settings::client_options(&limits(|_| {})),
            |stream, _| async move {
                // Heads alone are not subject to any window.
                let mut head = answer(302);
                head.add(b"location", &[b'x'; 4_000]).unwrap();
                let _ = stream.send_head(&head, true);
            },
        );
        let near = socket(near);
        send(&near, &raw::hello()).await;
        let mut sent = 0_u32;
        // Send until the connection accepts nothing for a while.
        let mut idle = 0;
        while idle < 50 && sent < 1_000_000 {
            match near.try_write(&raw::get(1 + 2 * sent, "/x")) {
                Ok(_) => (sent, idle) = (sent + 1, 0),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    idle += 1;
                    reactor::sleep(Duration::from_millis(1)).await;
                }
                Err(_) => break,
            }
        }
        // The limit is the buffer of a Unix socket plus the output of the connection.
        let answered = seen.begun.get() * 4_000;
        assert!(
            answered < 2_000_000,
            "{answered} bytes of answers are waiting"
        );
        assert!(seen.view.borrow().unwrap().stuck_since.is_some());
    });
}
