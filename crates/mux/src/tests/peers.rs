//! Tests HTTP/2 with the h2 crate as the other side, once as client and once as server.

use super::*;
use bytes::Bytes;

#[test]
fn the_h2_crate_as_a_client_is_served() {
    on_loop(|| async {
        let (near, far) = UnixStream::pair().unwrap();
        serve_on(
            socket(far),
            settings::client_options(&limits(|_| {})),
            echo_body,
        );
        let (sender, connection) = h2::client::handshake(socket(near)).await.unwrap();
        spawn(async move {
            let _ = connection.await;
        });
        let mut sender = soon("readiness", sender.ready()).await.unwrap();
        for bytes in [0, 1, 16_384, 500_000] {
            let request = http_types::Request::post("http://a.example/x")
                .body(())
                .unwrap();
            let (answer, mut body) = sender.send_request(request, false).unwrap();
            let data = pattern(bytes);
            let wanted = data.clone();
            spawn(async move {
                body.send_data(Bytes::from(data), true).unwrap();
            });
            let answer = soon("an answer", answer).await.unwrap();
            assert_eq!(answer.status(), 200);
            let mut stream = answer.into_body();
            let mut got = Vec::new();
            while let Some(piece) = soon("data", stream.data()).await {
                let piece = piece.unwrap();
                stream.flow_control().release_capacity(piece.len()).unwrap();
                got.extend_from_slice(&piece);
            }
            assert!(got == wanted, "{bytes} bytes came back otherwise");
        }
    });
}

#[test]
fn the_h2_crate_as_a_server_is_used() {
    on_loop(|| async {
        let (near, far) = UnixStream::pair().unwrap();
        let far = socket(far);
        spawn(async move {
            let mut connection = h2::server::handshake(far).await.unwrap();
            while let Some(request) = connection.accept().await {
                let (request, mut respond) = request.unwrap();
                spawn(async move {
                    let mut body = request.into_body();
                    let mut out = respond
                        .send_response(http_types::Response::new(()), false)
                        .unwrap();
                    while let Some(piece) = body.data().await {
                        let piece = piece.unwrap();
                        body.flow_control().release_capacity(piece.len()).unwrap();
                        out.send_data(piece, false).unwrap();
                    }
                    let mut trailers = http_types::HeaderMap::new();
                    trailers.insert("x-end", "yes".parse().unwrap());
                    out.send_trailers(trailers).unwrap();
                });
            }
        });
        let mux = ServerMux::start(
            ConnectionTransport::from(socket(near)),
            limits(|_| {}),
            false,
        );
        for bytes in [0, 10, 100_000] {
            let stream = mux.open().unwrap();
            let message = request(b"POST", "/");
            stream
                .send_request(&message, facts(&message), false)
                .unwrap();
            let data = pattern(bytes);
            write_all(&stream, &data, usize::MAX, true).await.unwrap();
            let (status, got) = answer_of(&stream).await;
            assert_eq!(status, 200);
            assert!(got == data);
            let trailers = stream.take_trailers().expect("trailers");
            assert_eq!(trailers.get(b"x-end"), Some(&b"yes"[..]));
        }
    });
}
