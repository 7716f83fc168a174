//! Serves the gateway of a farm: RDP in HTTPS, by [MS-TSGU] over HTTP. A client authenticates in
//! HTTP (Basic, NTLMv2) or by a cookie, and requests a host that it may use. The gateway then
//! relays the data unchanged.
//!
//! The relayed data are never inspected, so the authentication at the gateway does not count at the
//! host, where the user still has to log on.

mod authentication;
mod pair;
mod reach;
mod stream;
mod target;
mod tunnel;
mod visitor;

pub use visitor::Visitor;

use crate::body::ResponseBody;
use crate::config::GATEWAY_PATH;
use crate::site::{FarmState, TRY_AGAIN_S};
use access::proof::Authenticator;
use authentication::{ClientIdentity, identify};
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::header::{
    ALLOW, CONNECTION, HeaderName, HeaderValue, RETRY_AFTER, SEC_WEBSOCKET_ACCEPT,
    SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE, WWW_AUTHENTICATE,
};
use hyper::{HeaderMap, Request, Response, StatusCode};
use pair::{Half, NAME_MAX, Paired, Pairs};
use std::sync::Arc;
use std::time::Duration;
use stream::Reader;
use tokio::sync::oneshot;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tunnel::Channel;

/// Header with the identifier of a connection that consists of two requests.
const CONNECTION_ID: HeaderName = HeaderName::from_static("rdg-connection-id");
const OUT: &str = "RDG_OUT_DATA";
const IN: &str = "RDG_IN_DATA";
/// Number of random bytes before the packets of an endless response: [MS-TSGU] 3.3.5.1 lets the
/// server choose it, and clients skip these ten.
const SEED_BYTES: usize = 10;
const EXPIRE: Duration = Duration::from_secs(5);

pub struct Gateway {
    site: Arc<FarmState>,
    desk: Arc<Authenticator>,
    pairs: Pairs,
}

impl Gateway {
    /// Creates the gateway of a farm; `desk` verifies the passwords.
    pub fn new(site: Arc<FarmState>, desk: Arc<Authenticator>) -> Gateway {
        Gateway {
            site,
            desk,
            pairs: Pairs::default(),
        }
    }

    /// Removes waiting halves of request pairs that have expired, periodically. Never returns.
    pub async fn expire(&self) {
        loop {
            tokio::time::sleep(EXPIRE).await;
            self.pairs.expire();
        }
    }

    pub fn takes(&self, path: &str) -> bool {
        let path = path.trim_end_matches('/');
        let is_here = path.eq_ignore_ascii_case(GATEWAY_PATH.trim_end_matches('/'));
        is_here && self.site.with_farm(|farm| farm.gateway.is_some())
    }

    pub async fn handle(
        self: &Arc<Gateway>,
        visitor: Arc<Visitor>,
        request: Request<Incoming>,
    ) -> Response<ResponseBody> {
        let headers = request.headers();
        let upgrades = has_word(headers, &UPGRADE, "websocket");
        let method = request.method().as_str();
        let is_known = matches!(method, OUT | IN) || method == "GET" && upgrades;
        if !is_known {
            let mut response = plain(StatusCode::METHOD_NOT_ALLOWED);
            let methods = HeaderValue::from_static("RDG_OUT_DATA, RDG_IN_DATA");
            response.headers_mut().insert(ALLOW, methods);
            return response;
        }
        if let Some(why) = self.site.why_closed() {
            self.site.count_gateway(|counters| &mut counters.unknown);
            let mut response = Response::new(ResponseBody::Whole(Some(format!("{why}\n").into())));
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            let headers = response.headers_mut();
            headers.insert(RETRY_AFTER, TRY_AGAIN_S.into());
            return response;
        }
        let user = match identify(self, &visitor, headers).await {
            ClientIdentity::User(name) => Some(name),
            ClientIdentity::Cookie => None,
            ClientIdentity::Challenge(challenges) => {
                let mut response = plain(StatusCode::UNAUTHORIZED);
                for challenge in challenges {
                    response.headers_mut().append(WWW_AUTHENTICATE, challenge);
                }
                return response;
            }
            ClientIdentity::Later(seconds) => {
                let mut response = plain(StatusCode::TOO_MANY_REQUESTS);
                response.headers_mut().insert(RETRY_AFTER, seconds.into());
                return response;
            }
        };
        match (method, upgrades) {
            (_, true) => self.upgrade(visitor, user, request),
            (OUT, _) => self.outgoing(visitor, user, headers),
            _ => self.incoming(visitor, user, request).await,
        }
    }

    fn upgrade(
        self: &Arc<Gateway>,
        visitor: Arc<Visitor>,
        user: Option<String>,
        request: Request<Incoming>,
    ) -> Response<ResponseBody> {
        let headers = request.headers();
        let version = headers.get(SEC_WEBSOCKET_VERSION);
        let key = headers.get(SEC_WEBSOCKET_KEY);
        let accept = key.map(|key| derive_accept_key(key.as_bytes()));
        let accept = accept.and_then(|accept| HeaderValue::from_str(&accept).ok());
        let (Some(accept), true) = (accept, version.is_some_and(|version| version == "13")) else {
            return plain(StatusCode::BAD_REQUEST);
        };
        let gateway = Arc::clone(self);
        tokio::spawn(async move {
            let Ok(upgraded) = hyper::upgrade::on(request).await else {
                return;
            };
            let (reader, writer) = stream::socket(upgraded).await;
            let channel = Channel {
                reader,
                writer,
                visitors: vec![visitor],
                user,
            };
            tunnel::serve(gateway, channel).await;
        });
        let mut response = plain(StatusCode::SWITCHING_PROTOCOLS);
        let headers = response.headers_mut();
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
        response
    }

    /// Handles the request of a pair whose response is endless.
    fn outgoing(
        self: &Arc<Gateway>,
        visitor: Arc<Visitor>,
        user: Option<String>,
        headers: &HeaderMap,
    ) -> Response<ResponseBody> {
        let mut seed = vec![0; SEED_BYTES];
        let (Some(id), Ok(())) = (connection_id(headers), aws_lc_rs::rand::fill(&mut seed)) else {
            return plain(StatusCode::BAD_REQUEST);
        };
        let (body, writer) = stream::body();
        if let stream::Writer::Body(sender) = &writer {
            // Ignores the result: the channel is empty, so there is room.
            let _ = sender.try_send(Bytes::from(seed));
        }
        let half = Half::Out(writer);
        match self.pairs.add((id, user.clone()), half, visitor) {
            Paired::Whole(whole) => self.begin(*whole, user),
            Paired::Waits => {}
            Paired::Refused => return plain(StatusCode::SERVICE_UNAVAILABLE),
        }
        let mut response = plain(StatusCode::OK);
        *response.body_mut() = body;
        response
    }

    /// Handles the endless request of a pair. Clients first send one without a body, to
    /// authenticate.
    async fn incoming(
        self: &Arc<Gateway>,
        visitor: Arc<Visitor>,
        user: Option<String>,
        request: Request<Incoming>,
    ) -> Response<ResponseBody> {
        if request.body().is_end_stream() {
            return plain(StatusCode::OK);
        }
        let Some(id) = connection_id(request.headers()) else {
            return plain(StatusCode::BAD_REQUEST);
        };
        let (sender, ended) = oneshot::channel();
        let half = Half::In(Reader::Body(request.into_body()), sender);
        match self.pairs.add((id, user.clone()), half, visitor) {
            Paired::Whole(whole) => self.begin(*whole, user),
            Paired::Waits => {}
            Paired::Refused => return plain(StatusCode::SERVICE_UNAVAILABLE),
        }
        // Waits until the tunnel has ended, because the response ends the request.
        let _ = ended.await;
        plain(StatusCode::OK)
    }

    fn begin(self: &Arc<Gateway>, whole: pair::Whole, user: Option<String>) {
        let gateway = Arc::clone(self);
        tokio::spawn(async move {
            let channel = Channel {
                reader: whole.reader,
                writer: whole.writer,
                visitors: whole.visitors.into(),
                user,
            };
            tunnel::serve(gateway, channel).await;
            // Ignores an error: the request may have ended already.
            let _ = whole.ended.send(());
        });
    }
}

fn plain(status: StatusCode) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::empty());
    *response.status_mut() = status;
    response
}

fn has_word(headers: &HeaderMap, name: &HeaderName, word: &str) -> bool {
    let values = headers.get_all(name).iter();
    let mut words = values.filter_map(|value| value.to_str().ok());
    words.any(|words| {
        words
            .split(',')
            .any(|one| one.trim().eq_ignore_ascii_case(word))
    })
}

fn connection_id(headers: &HeaderMap) -> Option<String> {
    let id = headers.get(CONNECTION_ID)?.to_str().ok()?;
    let fits = (1..=NAME_MAX).contains(&id.len());
    fits.then(|| id.to_ascii_lowercase())
}
