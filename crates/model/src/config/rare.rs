//! Records in one bit set which rarely used features a proxy has. A stream carries the bits of
//! its proxies, so that skipping unused features costs one test and no access to the proxies.

use super::{HeaderNames, Observe, Proxy, ProxyOption};

#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Rare(u32);

impl Rare {
    /// Persistence of any kind: `stick` rules, or [`Proxy::persists`].
    pub const OWN_SERVER: Rare = Rare(1);
    /// `cookie`, `appsession`, `option checkcache`: response cookies are processed.
    pub const ANSWERED_COOKIES: Rare = Rare(1 << 1);
    pub const STICK: Rare = Rare(1 << 2);
    /// `retry-on` with a failure that is detected after the request was sent.
    pub const RETRY_AFTER_SENDING: Rare = Rare(1 << 3);
    pub const COMPRESSION: Rare = Rare(1 << 4);
    /// Something is added to or changed in forwarded requests: `option forwarded`, `option
    /// originalto`, `http-send-name-header`, `option h1-case-adjust-bogus-server`.
    pub const TOLD: Rare = Rare(1 << 5);
    pub const HEADER_NAMES: Rare = Rare(1 << 6);
    /// `balance` by content of the body.
    pub const BALANCE_BY_BODY: Rare = Rare(1 << 7);
    pub const OBSERVED: Rare = Rare(1 << 8);
    /// The proxy has response rules: `http-response`, `rsp…`.
    pub const ANSWER_RULES: Rare = Rare(1 << 9);
    pub const AFTER_RULES: Rare = Rare(1 << 10);

    pub fn of(proxy: &Proxy) -> Rare {
        let observed =
            |server: &super::Server| server.options.observing.observe != Observe::Nothing;
        let has = |option| proxy.has(option);
        let of_cookies = proxy.cookie.is_some() || proxy.app_session.is_some();
        let told = proxy.forwarded.is_some()
            || proxy.original_to.is_some()
            || proxy.name_header.is_some()
            || has(ProxyOption::H1CaseServer);
        let all = [
            (
                Self::OWN_SERVER,
                proxy.persists() || !proxy.stick.is_empty(),
            ),
            (
                Self::ANSWERED_COOKIES,
                of_cookies || has(ProxyOption::CheckCache),
            ),
            (Self::STICK, !proxy.stick.is_empty()),
            (Self::RETRY_AFTER_SENDING, proxy.retry_on.after_sending()),
            (Self::COMPRESSION, proxy.compression.is_some()),
            (Self::TOLD, told),
            (
                Self::HEADER_NAMES,
                proxy.header_names != HeaderNames::Preserve,
            ),
            (Self::BALANCE_BY_BODY, proxy.balance.looks_at_body()),
            (Self::OBSERVED, proxy.servers.iter().any(observed)),
            (
                Self::ANSWER_RULES,
                !proxy.http_response.is_empty() || proxy.lines.is_some(),
            ),
            (Self::AFTER_RULES, !proxy.http_after_response.is_empty()),
        ];
        let there = all.into_iter().filter(|(_, there)| *there);
        there.fold(Rare::default(), |sum, (one, _)| sum.and(one))
    }

    pub fn and(self, other: Rare) -> Rare {
        Rare(self.0 | other.0)
    }

    #[inline(always)]
    pub fn has(self, any: Rare) -> bool {
        self.0 & any.0 != 0
    }
}
