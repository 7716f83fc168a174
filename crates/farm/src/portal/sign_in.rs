//! Signs a user in to the portal: by a password, and by the code of a second factor if the user has
//! one.

use super::{DEVICE, Portal, PortalConfiguration, PortalResponse, SESSION, cookies, reply};
use crate::user::asked_name;
use access::page;
use access::proof::{SignInError, SignInOrigin, now_s};
use access::session::{LASTS_S, set_cookie};
use access::user::{AuthorizedUser, SecondFactor};
use access::{device, origin};
use configuration::Account;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::StatusCode;
use hyper::body::Body;
use hyper::header::{HOST, HeaderName, ORIGIN, RETRY_AFTER, SET_COOKIE};
use hyper::http::request::Parts;
use hyper::http::uri::Authority;
use maud::Markup;
use part::lock;
use std::error::Error;
use std::net::IpAddr;
use std::time::Duration;

const FORM_BYTES_MAX: usize = 16 << 10;
const BODY_LIMIT: Duration = Duration::from_secs(10);
pub(super) const UNAVAILABLE: &str =
    "The password cannot be checked now. Try again later, or ask an administrator.";
const RIGHT: &str = "correct password";
const WRONG_CODE: &str = "correct password, but wrong or already used code";
const MISSING: &str = "the user needs a second factor, and has none";
const NEXT: &str = "/";

struct FormFields(Vec<(String, String)>);

impl FormFields {
    /// Reads the form of a request.
    ///
    /// # Errors
    /// Returns an error if the form is too large, incomplete or late.
    async fn read<B>(facts: &PortalConfiguration, body: B) -> Result<FormFields, PortalResponse>
    where
        B: Body,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let body = std::pin::pin!(Limited::new(body, FORM_BYTES_MAX));
        let read = tokio::time::timeout(BODY_LIMIT, body.collect()).await;
        match read {
            Ok(Ok(whole)) => {
                let bytes = whole.to_bytes();
                let pairs = form_urlencoded::parse(&bytes);
                let pairs = pairs.map(|(name, value)| (name.into_owned(), value.into_owned()));
                Ok(FormFields(pairs.collect()))
            }
            Ok(Err(error)) if error.is::<LengthLimitError>() => {
                Err(facts.failure(StatusCode::PAYLOAD_TOO_LARGE, "The form is too large."))
            }
            Ok(Err(_)) | Err(_) => Err(facts.failure(
                StatusCode::BAD_REQUEST,
                "The form was incomplete. Send it again.",
            )),
        }
    }

    fn field(&self, name: &str) -> &str {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map_or("", |(_, value)| value)
    }
}

pub(super) fn is_own(head: &Parts) -> bool {
    let text = |name: HeaderName| head.headers.get(name)?.to_str().ok();
    // Prefers `:authority`, which has the host in HTTP/2.
    let host = head
        .uri
        .authority()
        .map(Authority::as_str)
        .or_else(|| text(HOST));
    let origins = head.headers.get_all(ORIGIN).iter();
    let origin = origin::said(origins.map(|origin| origin.to_str().ok()));
    // Refuses a page without TLS, which may have been forged.
    if origin.is_some_and(|origin| !origin.starts_with("https://")) {
        return false;
    }
    origin::is_same_origin(
        origin,
        text(HeaderName::from_static("sec-fetch-site")),
        host,
    )
}

fn foreign(facts: &PortalConfiguration) -> PortalResponse {
    facts.failure(StatusCode::FORBIDDEN, "This form came from another site.")
}

impl Portal {
    pub(super) fn form(&self, facts: &PortalConfiguration, head: &Parts) -> PortalResponse {
        match self.visitor(facts, &head.headers) {
            Some(_) => reply::to(NEXT),
            None => reply::html(StatusCode::OK, page::sign_in(&facts.brand, None, NEXT)),
        }
    }

    pub(super) async fn sign_in<B>(
        &self,
        facts: &PortalConfiguration,
        from: IpAddr,
        head: &Parts,
        body: B,
    ) -> PortalResponse
    where
        B: Body,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        if !is_own(head) {
            return foreign(facts);
        }
        let form = match FormFields::read(facts, body).await {
            Ok(form) => form,
            Err(reply) => return reply,
        };
        let client = SignInOrigin::of(from, cookies(&head.headers), DEVICE);
        let half = form.field("half");
        if !half.is_empty() {
            let code = form.field("code");
            return self.second(facts, &client, from, half, code).await;
        }
        let name = asked_name(&facts.users, form.field("user"));
        let password = form.field("password");
        let proved = self.desk.password(&facts.users, &client, &name, password);
        match proved.await {
            Ok(user) => self.first(facts, from, &user),
            Err(why) => {
                self.refuses(&name, from, why);
                let typed = form.field("user");
                let page = |words: &str| page::sign_in_as(&facts.brand, typed, Some(words), NEXT);
                not_in(why, "The name or the password is wrong.", page)
            }
        }
    }

    fn first(
        &self,
        facts: &PortalConfiguration,
        from: IpAddr,
        user: &AuthorizedUser,
    ) -> PortalResponse {
        match &user.second_factor {
            SecondFactor::None => self.begin(facts, from, &user.account),
            SecondFactor::Codes(_) => {
                let sessions = lock(&self.desk.sessions);
                let half = match sessions.password_proof_for(&facts.users, &user.account, now_s()) {
                    Ok(half) => half,
                    Err(words) => return facts.failure(StatusCode::SERVICE_UNAVAILABLE, &words),
                };
                let page = page::second_factor(&facts.brand, None, &half, NEXT);
                reply::html(StatusCode::OK, page)
            }
            SecondFactor::Missing => {
                let name = &user.account.name;
                self.site.at_portal(name, from, "refused", MISSING);
                let words = "You need a second factor to sign in, and have none. An administrator creates one.";
                let page = page::sign_in(&facts.brand, Some(words), NEXT);
                reply::html(StatusCode::FORBIDDEN, page)
            }
        }
    }

    async fn second(
        &self,
        facts: &PortalConfiguration,
        client: &SignInOrigin<'_>,
        from: IpAddr,
        half: &str,
        typed: &str,
    ) -> PortalResponse {
        let user = lock(&self.desk.sessions).user_of_password_proof(&facts.users, half, now_s());
        let Some(user) = user else {
            let words = "This took too long. Sign in again.";
            let page = page::sign_in(&facts.brand, Some(words), NEXT);
            return reply::html(StatusCode::FORBIDDEN, page);
        };
        match self.desk.code(client, &user, typed).await {
            Ok(()) => self.begin(facts, from, &user.account),
            Err(why) => {
                if why == SignInError::Wrong {
                    let name = &user.account.name;
                    self.site.at_portal(name, from, "refused", WRONG_CODE);
                }
                let page = |words: &str| page::second_factor(&facts.brand, Some(words), half, NEXT);
                let words = "The code is wrong, or was already used. The app shows a new one every 30 seconds.";
                not_in(why, words, page)
            }
        }
    }

    /// Records a refused name and password. Only failures that the limiter counts are recorded:
    /// others could displace everything else that `farm why` shows.
    pub(super) fn refuses(&self, name: &str, from: IpAddr, why: SignInError) {
        let why = match why {
            SignInError::Wrong => "wrong name or password, or in no group that may sign in",
            SignInError::TooOften(_) => return self.site.has_to_wait(name, from, "portal"),
            // Records nothing, because the log has the reason already.
            SignInError::NoTry | SignInError::Unavailable => return,
        };
        self.site.at_portal(name, from, "refused", why);
    }

    fn begin(
        &self,
        facts: &PortalConfiguration,
        from: IpAddr,
        account: &Account,
    ) -> PortalResponse {
        let sessions = lock(&self.desk.sessions);
        let token = sessions.begin_of(&facts.users, account, now_s());
        let browser = |token| Ok((token, sessions.device(&account.name, now_s())?));
        let cookies = token.and_then(browser);
        match cookies {
            Ok((token, browser)) => {
                let name = &account.name;
                self.site.at_portal(name, from, "signed in", RIGHT);
                let mut reply = reply::to(NEXT);
                reply::set(
                    &mut reply,
                    SET_COOKIE,
                    &set_cookie(SESSION, &token, LASTS_S),
                );
                let device = set_cookie(DEVICE, &browser, device::LASTS_S);
                reply::set(&mut reply, SET_COOKIE, &device);
                reply
            }
            Err(words) => facts.failure(StatusCode::SERVICE_UNAVAILABLE, &words),
        }
    }

    pub(super) async fn sign_out<B>(
        &self,
        facts: &PortalConfiguration,
        head: &Parts,
        body: B,
    ) -> PortalResponse
    where
        B: Body,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let Some((visitor, token)) = self.visitor(facts, &head.headers) else {
            return reply::to("/sign-in");
        };
        let form = match FormFields::read(facts, body).await {
            Ok(form) => form,
            Err(reply) => return reply,
        };
        if !is_own(head) || form.field("csrf") != visitor.csrf {
            return foreign(facts);
        }
        lock(&self.desk.sessions).end(token, now_s());
        self.site.signed_out();
        self.guests.request_save();
        let mut reply = reply::to("/sign-in");
        reply::set(&mut reply, SET_COOKIE, &set_cookie(SESSION, "", 0));
        reply
    }
}

/// Returns the page for another attempt, with the time when that is possible.
fn not_in(why: SignInError, wrong: &str, page: impl Fn(&str) -> Markup) -> PortalResponse {
    match why {
        SignInError::Wrong | SignInError::NoTry => reply::html(StatusCode::FORBIDDEN, page(wrong)),
        SignInError::TooOften(seconds) => {
            let words = format!("Too many attempts. Try again in {seconds} s.");
            let mut reply = reply::html(StatusCode::TOO_MANY_REQUESTS, page(&words));
            reply::set(&mut reply, RETRY_AFTER, &seconds.to_string());
            reply
        }
        SignInError::Unavailable => reply::html(StatusCode::SERVICE_UNAVAILABLE, page(UNAVAILABLE)),
    }
}
