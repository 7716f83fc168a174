//! Tests the console over HTTP without a network: a router, users and tokens, and a substitute for
//! the main thread that executes orders.

mod admission;
mod api;
mod examples;
mod requests;
mod screens;
mod sign_in;
mod tables;
mod versions;

use super::serve::ClientAddress;
use super::*;
use crate::access::token;
use crate::config::{Config, ConsoleUser, SecondFactor, Token};
use crate::inquiry::ProxyQuery;
use crate::sample;
use crate::shared::{Manual, now_ms, now_s};
use crate::user::{Scope, UserRole};
use ::access::limiter::Key;
use ::access::second_factor;
use ::access::session::Sessions;
use axum::http::header::{AUTHORIZATION, RETRY_AFTER, SET_COOKIE, WWW_AUTHENTICATE};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use configuration::{Account, Password};
use part::lock;
use part::versions::{
    ANSWER_BYTES_MAX, ConfigurationVersion, Difference, File, Finding, Findings, VersionFiles,
    VersionStage, Versions, VersionsRequest, VersionsResponse, framed,
};
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tower_service::Service;

const HOME: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
const AWAY: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(198, 51, 100, 1));
/// Secret of the users with a second factor.
const SECRET: [u8; 20] = [7; 20];
/// A number of failures that exhausts any limit of attempts.
const MANY: usize = 100;

/// Users with their roles. All have the same password.
const USERS: [(&str, UserRole); 3] = [
    ("anna", UserRole::Admin),
    ("olga", UserRole::Operator),
    ("vera", UserRole::Viewer),
];
const PASSWORD: &str = "pear";

pub(super) struct ConsoleFixture {
    pub(super) shared: Common,
    /// Orders that the stand-in for the main thread received: the user, the role, and the action.
    pub(super) ordered: Vec<(String, UserRole, String)>,
}

#[derive(Debug)]
pub(super) struct TestResponse {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
}

fn verify(account: &Account, password: &[u8]) -> bool {
    matches!(&account.password, Password::Clear(clear) if clear == password)
}

impl ConsoleFixture {
    /// Creates a console with the users and these tokens.
    pub(super) fn new(tokens: Vec<Token>) -> ConsoleFixture {
        let user = |(name, role): (&str, UserRole)| ConsoleUser {
            account: Account {
                name: name.to_owned(),
                groups: Vec::new(),
                password: Password::Clear(PASSWORD.into()),
            },
            role,
            second_factor: SecondFactor::None,
        };
        let config = Config {
            users: USERS.into_iter().map(user).collect(),
            tokens,
            ..Config::default()
        };
        let sessions = Sessions::new(None).unwrap();
        ConsoleFixture {
            shared: Arc::new(
                ConsoleState::new(config, sessions, verify, Manual::default()).unwrap(),
            ),
            ordered: Vec::new(),
        }
    }

    /// Gives a user a second factor.
    pub(super) fn set_second_factor(&self, name: &str, second: SecondFactor) {
        let mut config = (*self.shared.config()).clone();
        let mut users = config.users.iter_mut();
        let user = users.find(|user| user.account.name == name).unwrap();
        user.second_factor = second;
        self.shared.set_config(config);
    }

    /// Exhausts the attempts of these keys.
    pub(super) fn exhaust(&self, keys: &[Key]) {
        for _ in 0..MANY {
            lock(&self.shared.authentication.limiter).count(keys, now_ms());
        }
    }

    /// Sends a request from an address.
    pub(super) fn request(&mut self, from: IpAddr, request: Request<Body>) -> TestResponse {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().build().unwrap();
        let (shared, ordered) = (Arc::clone(&self.shared), &mut self.ordered);
        let mut router = router(Arc::clone(&shared)).layer(axum::Extension(ClientAddress(from)));
        runtime.block_on(async {
            let main = async {
                loop {
                    while let Some(order) = shared.next_order() {
                        let what = format!("{} {}", order.action.object(), order.action.word());
                        ordered.push((order.by.shown(), order.by.role, what));
                        // The waiting task may have ended.
                        let _ = order.reply.send(Ok(String::new()));
                    }
                    while let Some(reading) = shared.next_reading() {
                        let _ = reading.reply.send(said(&reading.ask));
                    }
                    for connection in shared.connections() {
                        answer(connection, ordered).await;
                    }
                    tokio::task::yield_now().await;
                }
            };
            let response = tokio::select! {
                response = router.call(request) => response.unwrap(),
                () = main => unreachable!("the main thread does not end"),
            };
            let (parts, body) = response.into_parts();
            let bytes = axum::body::to_bytes(body, 1 << 20).await.unwrap();
            TestResponse {
                status: parts.status.as_u16(),
                headers: parts.headers,
                body: String::from_utf8(bytes.to_vec()).unwrap(),
            }
        })
    }

    pub(super) fn form(
        &mut self,
        from: IpAddr,
        path: &str,
        cookie: &str,
        fields: &[(&str, &str)],
    ) -> TestResponse {
        let form = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(fields)
            .finish();
        let request = Request::post(path).header(COOKIE, cookie);
        self.request(from, request.body(Body::from(form)).unwrap())
    }

    /// Sends an API request with a header `Authorization`.
    pub(super) fn ask(
        &mut self,
        method: &str,
        path: &str,
        credentials: &[u8],
        body: &str,
    ) -> TestResponse {
        let request = Request::builder().method(method).uri(path);
        let credentials = HeaderValue::from_bytes(credentials).unwrap();
        let request = request.header(AUTHORIZATION, credentials);
        self.request(HOME, request.body(Body::from(body.to_owned())).unwrap())
    }
}

/// Returns the response of a proxy to a query.
fn said(ask: &ProxyQuery) -> Result<String, String> {
    match ask {
        ProxyQuery::Requests { filter, .. } if filter.host == "off" => {
            Ok("No requests are kept: x\n\n".to_owned())
        }
        ProxyQuery::Requests { filter, .. } if filter.host == "late" => Err("too late".to_owned()),
        ProxyQuery::Requests { max, .. } => Ok(sample::requests((*max).into(), "/", "shop")),
        ProxyQuery::Request { id: 0 } => {
            Ok("No such request among the 9 that are kept\n".to_owned())
        }
        ProxyQuery::Request { .. } => Ok(sample::REQUEST.to_owned()),
        ProxyQuery::Table { name, .. } if name == "none" => Ok("No such table\n\n".to_owned()),
        ProxyQuery::Table { .. } => Ok(sample::entries(3, "192.0.2.")),
        ProxyQuery::Route(question) if question.url.contains("none.") => {
            Ok("{\"error\": \"no listener takes it\"}\n".to_owned())
        }
        ProxyQuery::Route(question) if question.url.contains("crash.") => Ok(String::new()),
        ProxyQuery::Route(_) => Ok(sample::ROUTE.to_owned()),
        ProxyQuery::Files => Ok(sample::FILES.to_owned()),
        ProxyQuery::Metrics => {
            Ok("# HELP haproxy_server_status x\nhaproxy_server_status 1\n\n".to_owned())
        }
    }
}

/// Responds to a query as a control role does.
async fn answer(connection: OwnedFd, ordered: &mut Vec<(String, UserRole, String)>) {
    let connection = std::os::unix::net::UnixStream::from(connection);
    connection.set_nonblocking(true).unwrap();
    let mut connection = UnixStream::from_std(connection).unwrap();
    let length = connection.read_u32().await.unwrap();
    let mut bytes = vec![0; length as usize];
    connection.read_exact(&mut bytes).await.unwrap();
    let mut order = |by: &str, what: &str| {
        let by = by.split('@').next().unwrap_or_default().to_owned();
        ordered.push((by, UserRole::Admin, what.to_owned()));
        VersionsResponse::Done {
            words: what.to_owned(),
            version: Some(2),
        }
    };
    let answer = match part::codec::decode(&bytes).unwrap() {
        VersionsRequest::Versions { .. } => VersionsResponse::Versions(versions()),
        VersionsRequest::Files { .. } => VersionsResponse::Files(files()),
        VersionsRequest::Differences { .. } => VersionsResponse::Differences(differences()),
        VersionsRequest::Blame { .. } => VersionsResponse::Blame(Vec::new()),
        VersionsRequest::Check(edit) => VersionsResponse::Findings(found(&edit.texts)),
        VersionsRequest::Apply { change, .. } => match order(&change.by, "apply") {
            // The reason of the change determines the outcome of the configuration version.
            VersionsResponse::Done { words, .. } => VersionsResponse::Done {
                words,
                version: STAGES
                    .iter()
                    .position(|(word, _)| *word == change.message)
                    .map(|at| at as u64 + 2),
            },
            other => other,
        },
        VersionsRequest::RollBack { change, .. } => order(&change.by, "roll back"),
        VersionsRequest::Confirm { by, .. } => order(&by, "confirm"),
        VersionsRequest::Cancel { by, .. } => order(&by, "cancel"),
    };
    let bytes = framed(&answer, ANSWER_BYTES_MAX).unwrap();
    connection.write_all(&bytes).await.unwrap();
}

/// Stages of the configuration versions from 2 on, each with the word that selects it.
const STAGES: [(&str, VersionStage); 5] = [
    ("accepted", VersionStage::Accepted),
    ("confirm", VersionStage::AwaitsConfirmation),
    ("refused", VersionStage::Refused),
    ("rolled back", VersionStage::RolledBack),
    ("slow", VersionStage::Canary),
];

fn versions() -> Versions {
    let version = |(at, (word, stage)): (usize, &(&str, VersionStage))| ConfigurationVersion {
        id: at as u64 + 2,
        stage: *stage,
        stage_words: (*word).to_owned(),
        why: format!("why {word}"),
        reports: vec![("beta".to_owned(), format!("beta {word}"))],
        ..ConfigurationVersion::default()
    };
    Versions {
        accepted: Some(2),
        all: STAGES.iter().enumerate().map(version).collect(),
        ..Versions::default()
    }
}

fn files() -> VersionFiles {
    let file = |path: &str| File {
        path: path.to_owned(),
        main: true,
        text: Some("text of two\n".to_owned()),
        ..File::default()
    };
    VersionFiles {
        version: 2,
        files: ["/a.cfg", "/b.cfg"].map(file).to_vec(),
    }
}

fn differences() -> Vec<Difference> {
    let one = |path: &str| Difference {
        path: path.to_owned(),
        lines: "@@ -1 +1 @@\n-old line\n+new line\n".to_owned(),
        ..Difference::default()
    };
    ["/a.cfg", "/b.cfg"].map(one).to_vec()
}

/// Returns the findings of a check: the text `wrong` has an error.
fn found(texts: &[(String, String)]) -> Findings {
    let is_wrong = texts.iter().any(|(_, text)| text == "wrong");
    let finding = Finding {
        code: "E0303".to_owned(),
        severity: "error".to_owned(),
        message: "unknown keyword 'wrong'".to_owned(),
        line: Some(1),
        ..Finding::default()
    };
    Findings {
        good: !is_wrong,
        all: is_wrong.then_some(finding).into_iter().collect(),
        ..Findings::default()
    }
}

impl TestResponse {
    /// Returns the value of a cookie in `Set-Cookie`. None if it is not set.
    pub(super) fn cookie(&self, name: &str) -> Option<String> {
        let all = self.headers.get_all(SET_COOKIE).iter();
        let mut all = all.filter_map(|cookie| cookie.to_str().ok());
        let found = all.find_map(|cookie| cookie.strip_prefix(name)?.strip_prefix('='));
        found.map(|value| value.split(';').next().unwrap_or_default().to_owned())
    }

    pub(super) fn hidden(&self, name: &str) -> String {
        let begin = format!("name=\"{name}\" value=\"");
        let (_, rest) = self.body.split_once(&begin).expect("a field");
        rest.split('"').next().unwrap_or_default().to_owned()
    }

    pub(super) fn all(&self, name: HeaderName) -> Vec<&str> {
        let all = self.headers.get_all(name).iter();
        all.filter_map(|value| value.to_str().ok()).collect()
    }
}

/// Creates a token of a user with this text.
pub(super) fn issued(text: &str, user: &str, scope: Scope) -> Token {
    Token {
        name: format!("{user}-{}", scope.word()),
        user: user.to_owned(),
        scope,
        until_s: None,
        hash: token::hash(text),
    }
}

/// Returns the `Authorization` header for a name and a password.
pub(super) fn basic(name: &str, password: &str) -> String {
    format!("Basic {}", BASE64.encode(format!("{name}:{password}")))
}

/// Begins a session of a user, and returns its cookie.
pub(super) fn session_of(bed: &ConsoleFixture, user: &str) -> String {
    let config = bed.shared.config();
    let token = lock(&bed.shared.authentication.sessions).begin(&*config, user, now_s());
    format!("{}={}", access::COOKIE, token.unwrap())
}

pub(super) fn get(bed: &mut ConsoleFixture, cookie: &str, path: &str) -> TestResponse {
    let request = Request::get(path).header(COOKIE, cookie);
    bed.request(HOME, request.body(Body::empty()).unwrap())
}

/// Creates a console with the sample platform.
pub(super) fn bed() -> ConsoleFixture {
    let bed = ConsoleFixture::new(vec![issued("right", "olga", Scope::Operate)]);
    bed.shared
        .platform
        .send_replace(Arc::new(sample::platform()));
    bed
}
