//! Serves HTTPS for a farm on a thread with its `web` addresses. Requests for the gateway's path go
//! to the gateway, all others to the portal.

mod host;

use crate::body::ResponseBody;
use crate::config::Farm;
use crate::gateway::{Gateway, Visitor};
use crate::portal::Portal;
use crate::server::{ConnectionSlot, FarmListener, Listens, Secure, accept_all, keep_alive};
use crate::site::FarmState;
use access::linger::Linger;
use access::proof::now_s;
use hyper::body::Incoming;
use hyper::header::{
    CACHE_CONTROL, CONNECTION, CONTENT_TYPE, DATE, HeaderValue, X_CONTENT_TYPE_OPTIONS,
};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

const HANDSHAKE_LIMIT: Duration = Duration::from_secs(15);
const HEAD_LIMIT: Duration = Duration::from_secs(15);
/// Limit of a request's head, in bytes. The head may contain a ticket, or a message of NTLM.
const HEAD_BYTES_MAX: usize = 64 << 10;
const FORWARDED_FOR: &str = "x-forwarded-for";
/// Passwords that are verified at one time.
const VERIFIED_MAX: usize = 2;

/// Server of a farm's web addresses. Dropping it closes its connections.
pub struct Server {
    doors: watch::Sender<Vec<Arc<FarmListener>>>,
}

impl Server {
    /// Starts the server of a farm at these addresses.
    ///
    /// # Errors
    /// Fails if the system has no thread or descriptor left.
    pub fn start(
        site: Arc<FarmState>,
        doors: Vec<Arc<FarmListener>>,
        portal: Arc<Portal>,
    ) -> io::Result<Server> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(VERIFIED_MAX)
            .build()?;
        let gateway = Arc::new(Gateway::new(Arc::clone(&site), portal.desk()));
        let (sender, receiver) = watch::channel(doors);
        let thread = thread::Builder::new().name("farm/web".to_owned());
        thread.spawn(move || {
            let web = Web {
                site,
                gateway: Arc::clone(&gateway),
                portal,
            };
            runtime.block_on(async {
                tokio::select! {
                    () = accept_all(web, receiver) => {}
                    () = gateway.expire() => {}
                }
            });
            // Ends the connections that are still open.
            runtime.shutdown_background();
        })?;
        Ok(Server { doors: sender })
    }

    /// Changes the addresses. Open connections stay.
    pub fn change(&self, doors: Vec<Arc<FarmListener>>) {
        self.doors.send_replace(doors);
    }

    pub fn listeners(&self) -> Vec<Arc<FarmListener>> {
        self.doors.borrow().clone()
    }
}

#[derive(Clone)]
struct Web {
    site: Arc<FarmState>,
    gateway: Arc<Gateway>,
    portal: Arc<Portal>,
}

impl Listens for Web {
    fn site(&self) -> &FarmState {
        &self.site
    }

    fn opened(&self, troubles: Vec<String>) {
        self.site.opened_web(troubles);
    }

    fn client_of(&self, peer: SocketAddr) -> (IpAddr, bool) {
        (peer.ip().to_canonical(), false)
    }

    async fn serve(self, secure: Secure, stream: TcpStream, place: ConnectionSlot) {
        keep_alive(&stream);
        // Ignores an error, which costs only latency.
        let _ = stream.set_nodelay(true);
        let Ok(here) = stream.local_addr() else {
            return;
        };
        let shaken = TlsAcceptor::from(secure.tls).accept(stream);
        let Ok(Ok(stream)) = timeout(HANDSHAKE_LIMIT, shaken).await else {
            return;
        };
        place.spoke();
        let visitor = Visitor::new(place, here.ip(), secure.channels);
        let visitor = Arc::new(visitor);
        let service = service_fn(move |request: Request<Incoming>| {
            let (web, visitor) = (self.clone(), Arc::clone(&visitor));
            async move { Ok::<_, Infallible>(dated(web.answer(visitor, request).await, now_s())) }
        });
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_LIMIT)
            .max_buf_size(HEAD_BYTES_MAX);
        // Ignores an error, which the client of the connection has caused.
        let _ = builder
            .serve_connection(TokioIo::new(Linger::new(stream)), service)
            .with_upgrades()
            .await;
    }
}

impl Web {
    async fn answer(
        &self,
        visitor: Arc<Visitor>,
        request: Request<Incoming>,
    ) -> Response<ResponseBody> {
        if !host::has_one(&request) {
            let mut response = Response::new(ResponseBody::empty());
            *response.status_mut() = StatusCode::BAD_REQUEST;
            return response;
        }
        let forwarded = request.headers().get_all(FORWARDED_FOR).iter();
        // Treats a value that is no text as no address, which ends the search.
        let forwarded = forwarded.map(|value| value.to_str().unwrap_or_default());
        let client = |farm: &Farm| farm.proxies.client_of(visitor.peer, forwarded);
        visitor.set_from(self.site.with_farm(client));
        if self.gateway.takes(request.uri().path()) {
            return self.gateway.handle(visitor, request).await;
        }
        let judged = self
            .site
            .with_farm(|farm| host::judge(&request, visitor.here, farm));
        match judged {
            Ok(()) => self.portal.respond(visitor.from(), request).await,
            Err(refused) => refuse(refused),
        }
    }
}

/// Adds the date to a response. hyper caches its own date until the clock has passed it: after the
/// clock was set back by an hour, that date would be wrong for an hour.
fn dated(mut response: Response<ResponseBody>, now_s: u64) -> Response<ResponseBody> {
    let now = i64::try_from(now_s).ok();
    let now = now.and_then(|now| Timestamp::from_second(now).ok());
    let date = now.and_then(|now| {
        let printer = DateTimePrinter::new();
        printer.timestamp_to_rfc9110_string(&now).ok()
    });
    if let Some(date) = date.and_then(|date| HeaderValue::from_str(&date).ok()) {
        response.headers_mut().insert(DATE, date);
    }
    response
}

/// Refuses a request and closes the connection, since the start of the next request is not known.
fn refuse(refused: host::PageRefusal) -> Response<ResponseBody> {
    let words = format!("{}\n", refused.words);
    let mut response = Response::new(ResponseBody::Whole(Some(words.into())));
    *response.status_mut() = refused.status;
    let headers = response.headers_mut();
    for (name, value) in [
        (CONTENT_TYPE, "text/plain; charset=utf-8"),
        (CACHE_CONTROL, "no-store"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (CONNECTION, "close"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_date_header_follows_a_clock_set_back() {
        for (now_s, date) in [
            (1_700_003_600, "Tue, 14 Nov 2023 23:13:20 GMT"),
            (1_700_000_000, "Tue, 14 Nov 2023 22:13:20 GMT"),
        ] {
            let response = dated(Response::new(ResponseBody::empty()), now_s);
            assert_eq!(response.headers()[DATE], date);
        }
    }
}
