//! Switches a client's connection from TCP to HTTP: by a content rule (`switch-mode`), or because
//! the chosen backend is in HTTP mode. The existing stream becomes the first HTTP/1 request.
//! HTTP/2 creates its own streams, so the existing one is discarded.

use super::ProxyStream;
use super::request::{self, Next};
use super::session::{self, Client};
use model::config::HttpProtocol;
use model::thread::current_thread_data;

/// Serves a connection as HTTP from now on. The bytes that the client has sent so far are in its
/// input.
pub async fn serve(
    client: &mut Client,
    mut stream: Box<ProxyStream>,
    protocol: Option<HttpProtocol>,
) {
    if protocol == Some(HttpProtocol::Http2) {
        stream.rules.tracked = None;
        current_thread_data().keep_stream(stream);
        return session::http2(client).await;
    }
    // Treats the received bytes as the head of a request from now on.
    stream.http = true;
    stream.payloads.renew_request();
    stream.rules.resume = None;
    match request::serve_upgraded(client, stream, protocol).await {
        Next::Request | Next::Again => {
            client.streams = client.streams.saturating_add(1);
            client.idle_since = reactor::now();
            session::requests(client).await;
        }
        Next::Http2 => session::http2(client).await,
        Next::Close | Next::Linger => {}
    }
}
