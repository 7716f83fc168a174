//! Sends the query of a page or a program to a proxy: to that of this machine through the main
//! thread, to that of another machine through its console.

use crate::inquiry::live::SharedQuery;
use crate::inquiry::{ProxyQuery, ProxyResponse};
use crate::platform::Platform;
use crate::shared::{ConsoleState, LocalProxyQuery, RemoteRequest, RemoteRequestKind};
use crate::user::{UserRole, Viewer};
use part::lock;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

pub(super) const NEEDS: UserRole = UserRole::Operator;
/// Additional time for the transfer of a response, beyond the timeout of the query itself.
const WAY: Duration = Duration::from_secs(1);

pub(super) fn number(text: &str) -> Option<u64> {
    let digits = text.strip_prefix("0x")?;
    let are_digits = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    u64::from_str_radix(digits, 16).ok().filter(|_| are_digits)
}

/// Queries the proxy of a machine, or of this one if the name is empty. Returns the response of its
/// runtime API.
///
/// # Errors
/// The other console is not connected, or the query fails or has no timely response.
pub(super) async fn raw(
    shared: &ConsoleState,
    on: &str,
    ask: &ProxyQuery,
    viewer: &Viewer,
) -> Result<String, String> {
    let (reply, answer) = oneshot::channel();
    if on.is_empty() {
        let ask = ask.clone();
        shared.read(LocalProxyQuery { ask, reply });
    } else {
        let errand = RemoteRequest {
            by: viewer.clone(),
            wanted: RemoteRequestKind::Ask(ask.clone()),
            reply,
        };
        if !lock(&shared.others).send(on, errand) {
            return Err(format!("no connection to the console of {on}"));
        }
    }
    match tokio::time::timeout(ask.limit() + WAY, answer).await {
        Ok(Ok(said)) => said,
        _ => Err("the proxy did not respond in time".to_owned()),
    }
}

pub(super) async fn now(
    shared: &ConsoleState,
    on: &str,
    ask: &ProxyQuery,
    viewer: &Viewer,
) -> ProxyResponse {
    let said = raw(shared, on, ask, viewer).await;
    ProxyResponse::read(ask, said.as_deref().map_err(String::as_str))
}

/// Queries the proxy for live pages, once per poll of the platform.
pub(super) async fn of_look(
    shared: &ConsoleState,
    inquiry: &SharedQuery,
    platform: &Arc<Platform>,
    viewer: &Viewer,
) -> Arc<ProxyResponse> {
    let mut last = inquiry.last.lock().await;
    if let Some((of, answer)) = &*last
        && Arc::ptr_eq(of, platform)
    {
        return Arc::clone(answer);
    }
    let answer = Arc::new(now(shared, &inquiry.on, &inquiry.ask, viewer).await);
    *last = Some((Arc::clone(platform), Arc::clone(&answer)));
    answer
}
