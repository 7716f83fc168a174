//! Queries the control role about configuration versions, and sends changes of them
//! ([`part::versions`]). Each query uses a connection of its own, which the main thread of the
//! console role provides.

use crate::platform::Platform;
use crate::shared::ConsoleState;
use part::codec;
use part::lock;
use part::versions::{
    ANSWER_BYTES_MAX, QUESTION_BYTES_MAX, VersionsRequest, VersionsResponse, framed,
};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdStream;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

const LIMIT: Duration = Duration::from_secs(60);
const LOOK_LIMIT: Duration = Duration::from_secs(3);
const SHOWN_MAX: u32 = 100;
/// Part of the platform that reports the cluster. Its report proves that there is a control role.
const CLUSTER: &str = "cluster";

/// Sends a query to the control role.
///
/// # Errors
/// The query is too long or refused, the control role does not respond in time, or there is no
/// cluster.
pub async fn ask(
    shared: &ConsoleState,
    question: &VersionsRequest,
) -> Result<VersionsResponse, String> {
    let Some(bytes) = framed(question, QUESTION_BYTES_MAX) else {
        return Err(format!(
            "this is more than {} MiB",
            QUESTION_BYTES_MAX >> 20
        ));
    };
    let limit = match question {
        VersionsRequest::Versions { .. } => LOOK_LIMIT,
        _ => LIMIT,
    };
    match timeout(limit, exchange(shared, &bytes)).await {
        Ok(Ok(VersionsResponse::Refused { words })) => Err(words),
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) if is_gone(&error) => {
            let has_cluster = has_cluster(&shared.platform.borrow());
            Err(if has_cluster {
                "the control role does not respond: try again".to_owned()
            } else {
                "there are no versions without a cluster".to_owned()
            })
        }
        Ok(Err(error)) => Err(language::reason(&error)),
        Err(_) => Err("the control role did not respond in time".to_owned()),
    }
}

fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset
    )
}

fn has_cluster(platform: &Platform) -> bool {
    let look = platform.me().and_then(|me| me.look.as_deref());
    let reports = look.map(|look| look.reports.as_slice()).unwrap_or_default();
    reports.iter().any(|report| report.part == CLUSTER)
}

pub async fn refresh(shared: &ConsoleState) {
    let is_member = has_cluster(&shared.platform.borrow());
    let answer = if is_member {
        ask(shared, &VersionsRequest::Versions { max: SHOWN_MAX })
            .await
            .ok()
    } else {
        None
    };
    let now = match answer {
        Some(VersionsResponse::Versions(versions)) => Some(Arc::new(versions)),
        _ => None,
    };
    let mut known = lock(&shared.versions);
    let is_same = matches!((&*known, &now), (Some(known), Some(now)) if known == now);
    if !is_same {
        *known = now;
    }
}

async fn exchange(shared: &ConsoleState, question: &[u8]) -> io::Result<VersionsResponse> {
    let (own, other) = StdStream::pair()?;
    own.set_nonblocking(true)?;
    let mut own = UnixStream::from_std(own)?;
    shared.connect(OwnedFd::from(other));
    // Ignores a broken pipe: a control role that has ended closes the connection, which the read
    // below reports.
    match own.write_all(question).await {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error),
        _ => {}
    }
    let length = own.read_u32().await? as usize;
    if length > ANSWER_BYTES_MAX {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let mut bytes = Vec::new();
    own.take(length as u64).read_to_end(&mut bytes).await?;
    if bytes.len() < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    codec::decode(&bytes).map_err(|_| io::ErrorKind::InvalidData.into())
}

/// Updates the known configuration versions after each poll of the platform while a user watches,
/// or while they are not known.
pub async fn keep(shared: Arc<ConsoleState>) {
    let mut looks = shared.platform.subscribe();
    while looks.changed().await.is_ok() {
        // Clones the platform, so that the borrow ends before anything is awaited: the main thread
        // waits for it.
        let platform = looks.borrow_and_update().clone();
        let is_known = has_cluster(&platform) && lock(&shared.versions).is_some();
        if !is_known || shared.watchers.has_watchers() {
            refresh(&shared).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::shared::Manual;
    use ::access::session::Sessions;
    use part::versions::Versions;
    use std::io::{Read, Write};

    fn shared() -> Arc<ConsoleState> {
        let sessions = Sessions::new(None).unwrap();
        Arc::new(
            ConsoleState::new(Config::default(), sessions, |_, _| false, Manual::default())
                .unwrap(),
        )
    }

    /// Sends a query to a peer that responds with these bytes. None: there is no peer.
    fn asked(answer: Option<Vec<u8>>) -> Result<VersionsResponse, String> {
        let shared = shared();
        let asker = Arc::clone(&shared);
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().build().unwrap();
        let answering = std::thread::spawn(move || {
            let connection = loop {
                match shared.connections().pop() {
                    Some(connection) => break connection,
                    None => std::thread::yield_now(),
                }
            };
            let Some(answer) = answer else { return };
            let mut stream = StdStream::from(connection);
            let mut length = [0; 4];
            stream.read_exact(&mut length).unwrap();
            let mut question = vec![0; u32::from_be_bytes(length) as usize];
            stream.read_exact(&mut question).unwrap();
            codec::decode::<VersionsRequest>(&question).unwrap();
            stream.write_all(&answer).unwrap();
        });
        let said = runtime.block_on(ask(&asker, &VersionsRequest::Versions { max: 1 }));
        answering.join().unwrap();
        said
    }

    #[test]
    fn a_query_is_answered_refused_or_fails_without_a_proxy() {
        let answer = VersionsResponse::Versions(Versions::default());
        let bytes = framed(&answer, ANSWER_BYTES_MAX);
        assert_eq!(asked(bytes), Ok(answer));
        let refused = VersionsResponse::Refused {
            words: "frozen".to_owned(),
        };
        let bytes = framed(&refused, ANSWER_BYTES_MAX);
        assert_eq!(asked(bytes), Err("frozen".to_owned()));
        for bytes in [
            None,
            Some(vec![0xff; 4]),
            Some(vec![0, 0, 0, 9, 1]),
            Some(vec![0, 0, 0, 1, 0xc1]),
        ] {
            assert!(asked(bytes).is_err());
        }
    }

    /// Tests that there is no deadlock: the threads of the pages and of the role each lock the
    /// platform and the configuration versions for a moment, but never hold one lock while they
    /// wait for the other.
    #[test]
    fn a_platform_snapshot_never_waits_for_the_versions() {
        let shared = shared();
        *lock(&shared.versions) = Some(Arc::default());
        let members = crate::sample::platform().members;
        let keeper = Arc::clone(&shared);
        std::thread::spawn(move || {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = runtime.enable_all().build().unwrap();
            runtime.block_on(keep(keeper));
        });
        let (done, is_done) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for _ in 0..500_000 {
                shared.publish(members.clone(), Arc::default());
            }
            done.send(()).unwrap();
        });
        let limit = std::time::Duration::from_secs(120);
        assert_eq!(
            is_done.recv_timeout(limit),
            Ok(()),
            "both wait for each other"
        );
    }
}
