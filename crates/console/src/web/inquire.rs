//! The proxy asked for a page or a program: that of this machine through the main thread, that of
//! another one through its console.

use crate::inquiry::live::Inquiry;
use crate::inquiry::{Answer, Ask};
use crate::platform::Platform;
use crate::shared::{Errand, Reading, Shared, Wanted};
use crate::user::{Role, Viewer};
use part::lock;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// Who may ask.
pub(super) const NEEDS: Role = Role::Operator;
/// How much longer than its limit an answer may take until it is here.
const WAY: Duration = Duration::from_secs(1);

/// The number of a request: `0x1f`.
pub(super) fn number(text: &str) -> Option<u64> {
    let digits = text.strip_prefix("0x")?;
    let are_digits = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    { u64::from_str_radix(digits, 16).ok() }.filter(|_| are_digits)
}

/// Asks the proxy of a machine; empty: of this one. Returns what its runtime API says.
///
/// # Errors
/// Why there is no answer, in words.
pub(super) async fn raw(
    shared: &Shared,
    on: &str,
    ask: &Ask,
    viewer: &Viewer,
) -> Result<String, String> {
    let (reply, answer) = oneshot::channel();
    if on.is_empty() {
        let ask = ask.clone();
        shared.read(Reading { ask, reply });
    } else {
        let errand = Errand {
            by: viewer.clone(),
            wanted: Wanted::Ask(ask.clone()),
            reply,
        };
        if !lock(&shared.others).send(on, errand) {
            return Err(format!("there is no way to the console of {on}"));
        }
    }
    match tokio::time::timeout(ask.limit() + WAY, answer).await {
        Ok(Ok(said)) => said,
        _ => Err("the proxy did not answer in time".to_owned()),
    }
}

/// The same, read.
pub(super) async fn now(shared: &Shared, on: &str, ask: &Ask, viewer: &Viewer) -> Answer {
    let said = raw(shared, on, ask, viewer).await;
    Answer::read(ask, said.as_deref().map_err(String::as_str))
}

/// The same for live pages: once for each look at the platform.
pub(super) async fn of_look(
    shared: &Shared,
    inquiry: &Inquiry,
    platform: &Arc<Platform>,
    viewer: &Viewer,
) -> Arc<Answer> {
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
