//! From TCP to HTTP on one connection: a rule of content says so (`switch-mode`), or
//! the backend that was chosen speaks HTTP. The stream that began goes on as the
//! first request of HTTP/1; HTTP/2 carries streams of its own, so it is given up.

use super::Stream;
use super::request::{self, Next};
use super::session::{self, Client};
use model::config::HttpProtocol;
use model::thread::here;

/// Serves a connection as HTTP from here on. What the client has sent stands in its
/// input.
pub async fn serve(client: &mut Client, mut stream: Box<Stream>, protocol: Option<HttpProtocol>) {
    if protocol == Some(HttpProtocol::Http2) {
        stream.rules.tracked = None;
        here().keep_stream(stream);
        return session::http2(client).await;
    }
    // What was raw is a head now.
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
