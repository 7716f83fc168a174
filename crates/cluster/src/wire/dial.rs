//! Opens the connections of this member to every other member, directly and through third members.
//! Each is opened again when it ends, after a pause that grows with failures.

use super::counters::count;
use super::greeting::{Goodbye, Hello, Pipe, Ungreeted, hear_hello, say_goodbye, say_hello};
use super::link::{Bearing, ConnectionEnd};
use super::network::ConnectionFactory;
use super::path::{Event, PathKind};
use super::shared::WireState;
use crate::authority::{PeerRejection, member_name};
use crate::member::MemberId;
use aws_lc_rs::rand::fill;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Lifetime after which a connection counts as successful: the next attempt follows after the
/// shortest pause.
const GOOD_LIFE: Duration = Duration::from_secs(2);
const ADDRESSES_MAX: usize = 8;

/// Reason why a member was not reached.
#[derive(Debug)]
pub(crate) enum Unreached {
    NoMember,
    Dial(io::Error),
    Mute,
    Tls(io::Error),
    Ungreeted(Ungreeted),
    Refused(PeerRejection),
    /// The member that should relay the connection is not reached itself.
    NoThird(MemberId),
}

impl fmt::Display for Unreached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unreached::NoMember => f.write_str("no such member"),
            Unreached::Dial(error) => error.fmt(f),
            Unreached::Mute => f.write_str("it accepts connections but does not respond"),
            Unreached::Tls(error) => write!(f, "TLS: {error}"),
            Unreached::Ungreeted(Ungreeted::Goodbye(Goodbye::Refused(why))) => {
                write!(f, "it refuses this member: {why}")
            }
            Unreached::Ungreeted(Ungreeted::Goodbye(Goodbye::NotCarried)) => {
                f.write_str("the relay member does not reach it")
            }
            Unreached::Ungreeted(Ungreeted::Goodbye(_)) => f.write_str("it closed the connection"),
            Unreached::Ungreeted(Ungreeted::Io(error)) => error.fmt(f),
            Unreached::Ungreeted(Ungreeted::Rule(rule)) => rule.fmt(f),
            Unreached::Refused(why) => why.fmt(f),
            Unreached::NoThird(third) => write!(f, "relay member {third} is not reachable"),
        }
    }
}

impl From<Ungreeted> for Unreached {
    fn from(ungreeted: Ungreeted) -> Self {
        Unreached::Ungreeted(ungreeted)
    }
}

/// Returns whether the TLS handshake failed because one side rejected the other one, for example
/// its certificate, and not because of the network.
pub(crate) fn is_foreign(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    matches!(
        inner,
        Some(rustls::Error::InvalidCertificate(_) | rustls::Error::AlertReceived(_))
    )
}

impl<N: ConnectionFactory> WireState<N> {
    pub(crate) fn dialing(self: &Arc<Self>, to: MemberId, way: PathKind) -> AbortHandle {
        let shared = Arc::clone(self);
        self.spawn(async move {
            let timing = shared.timing();
            let mut pause = timing.backoff_min;
            loop {
                let before = Instant::now();
                let reached = shared.reach(to, way).await;
                let good = before.elapsed() >= GOOD_LIFE && reached.is_ok();
                if let Err(unreached) = &reached {
                    shared.unreached(to, way, unreached);
                }
                if good {
                    pause = timing.backoff_min;
                }
                sleep(jittered(pause)).await;
                pause = (pause * 2).min(timing.backoff_max);
            }
        })
    }

    async fn reach(
        self: &Arc<Self>,
        to: MemberId,
        way: PathKind,
    ) -> Result<ConnectionEnd, Unreached> {
        let (pipe, through): (Box<dyn Pipe>, _) = match way {
            PathKind::Direct => (Box::new(self.connect(to).await?), None),
            PathKind::Through(third) => {
                let pipe = self.tunnel(third, to).await?;
                (Box::new(pipe), Some(third))
            }
        };
        let tls = self.tls().member();
        let mut pipe = self.shake_hands(tls, to, pipe).await?;
        let hello = self.hello(through, None);
        let heard = self.greet(&mut pipe, to, &hello).await?;
        let certificate =
            peer_certificate(&pipe).ok_or(Unreached::Refused(PeerRejection::Certificate))?;
        self.tried(to, way, None);
        let bearing = Bearing {
            peer: to,
            run: heard.run,
            way,
            dialed: true,
            certificate,
        };
        Ok(self.carry(bearing, Box::new(pipe)).await)
    }

    pub(crate) async fn connect(&self, to: MemberId) -> Result<N::Stream, Unreached> {
        let member = self.member(to).ok_or(Unreached::NoMember)?;
        let mut last = Unreached::NoMember;
        for address in member.addresses.iter().take(ADDRESSES_MAX) {
            match timeout(self.timing().dial, self.network.dial(*address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => last = Unreached::Dial(error),
                Err(_) => last = Unreached::Dial(io::ErrorKind::TimedOut.into()),
            }
        }
        Err(last)
    }

    pub(crate) async fn shake_hands<S: Pipe>(
        &self,
        tls: Arc<ClientConfig>,
        to: MemberId,
        pipe: S,
    ) -> Result<TlsStream<S>, Unreached> {
        let name = member_name(&self.trust().cluster, to);
        let name = ServerName::try_from(name).map_err(|_| Unreached::NoMember)?;
        let shaking = TlsConnector::from(tls).connect(name, pipe);
        match timeout(self.timing().handshake, shaking).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => Err(Unreached::Tls(error)),
            Err(_) => Err(Unreached::Mute),
        }
    }

    pub(crate) async fn greet<S: Pipe>(
        &self,
        pipe: &mut TlsStream<S>,
        to: MemberId,
        hello: &Hello,
    ) -> Result<Hello, Unreached> {
        let certificate =
            peer_certificate(pipe).ok_or(Unreached::Refused(PeerRejection::Certificate))?;
        let limit = self.timing().handshake;
        if let Err(why) = self.trust().judge(&certificate, to) {
            count(&self.counters.refused);
            // Sends the reason, and ignores an error: the peer may have gone.
            let _ = timeout(limit, say_goodbye(pipe, Goodbye::Refused(why))).await;
            return Err(Unreached::Refused(why));
        }
        let greeting = async {
            say_hello(pipe, hello).await.map_err(Ungreeted::Io)?;
            hear_hello(pipe).await
        };
        let heard = timeout(limit, greeting)
            .await
            .map_err(|_| Unreached::Mute)??;
        if heard.member != to {
            return Err(Unreached::Refused(PeerRejection::Name { claimed: to }));
        }
        Ok(heard)
    }

    fn unreached(&self, to: MemberId, way: PathKind, unreached: &Unreached) {
        tracing::debug!(member = to.0, ?way, reason = %unreached, "connection not opened");
        self.tried(to, way, Some(unreached.to_string()));
        match unreached {
            Unreached::Tls(error) | Unreached::Ungreeted(Ungreeted::Io(error))
                if is_foreign(error) =>
            {
                count(&self.counters.foreign);
                self.emit_event(Event::Distrusted {
                    member: to,
                    why: error.to_string(),
                });
                self.note(format!(
                    "TLS handshake with the machine at the address of member {to} failed, for example because of \
                     different CAs: {error}"
                ));
            }
            Unreached::Refused(why) => {
                self.emit_event(Event::Distrusted {
                    member: to,
                    why: why.to_string(),
                });
                self.note(format!(
                    "refused the machine at the address of member {to}: {why}"
                ));
            }
            Unreached::Ungreeted(Ungreeted::Goodbye(Goodbye::Refused(why))) => {
                self.refused_by(to, *why);
            }
            // Reports no event: paths() reports unreachable routes.
            _ => {}
        }
    }
}

pub(crate) fn peer_certificate<S>(stream: &TlsStream<S>) -> Option<Vec<u8>> {
    let (_, session) = stream.get_ref();
    let first = session.peer_certificates()?.first()?;
    Some(first.to_vec())
}

/// Returns a random time between half and the whole of a pause, so that two members
/// that lost each other do not keep colliding.
pub(crate) fn jittered(pause: Duration) -> Duration {
    let mut random = [0];
    // Uses the shortest pause if there are no random bytes.
    let _ = fill(&mut random);
    let [byte] = random;
    pause / 2 + pause * u32::from(byte) / 512
}
