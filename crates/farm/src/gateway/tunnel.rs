//! Serves one tunnel of the gateway: handles its packets until the connection with a host exists,
//! then relays the data of both sides. Each phase has a timeout. The host's connection ends with
//! the client's, and vice versa.

use super::Gateway;
use super::authentication::{refuse, user};
use super::reach::{Reached, reach};
use super::stream::{Over, Reader, Writer};
use super::target::TunnelTarget;
use super::visitor::Visitor;
use crate::site::Numbered;
use aws_lc_rs::rand;
use part::lock;
use part::voice::write_error;
use protocol::tsgu::{self, Code, Limits, Packets, TsguRequest, Tunnel};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout};

const HANDSHAKE_LIMIT: Duration = Duration::from_secs(60);
const KEEP_ALIVE: Duration = Duration::from_secs(60);
const REAUTH_LIMIT: Duration = Duration::from_secs(120);
const HOST_LIMIT: Duration = Duration::from_secs(30);
const PIECE_BYTES: usize = 16 << 10;
/// Permits the redirection of all devices ([MS-TSGU] 2.2.10.5): the hosts decide.
const REDIRECT_ALL: u32 = 0x8000_0000;
const MINUTE_MS: u64 = 60_000;

/// Both directions of a client, and the HTTP connections that carry them.
pub(super) struct Channel {
    pub(super) reader: Reader,
    pub(super) writer: Writer,
    pub(super) visitors: Vec<Arc<Visitor>>,
    pub(super) user: Option<String>,
}

/// Tunnel that is not connected with its host yet.
struct Begun<'g> {
    gateway: &'g Arc<Gateway>,
    visitor: Arc<Visitor>,
    numbered: Numbered,
    tunnel: Tunnel,
    packets: Packets,
    /// The user; None if the cookie has to name it.
    user: Option<String>,
    /// Notifier of an older tunnel that waits for this tunnel: this tunnel then serves only to
    /// authenticate the user again.
    wakes: Option<Arc<Notify>>,
}

pub(super) async fn serve(gateway: Arc<Gateway>, mut channel: Channel) {
    let site = &gateway.site;
    let Some(visitor) = channel.visitors.first().cloned() else {
        return;
    };
    let Some(numbered) = site.tunnel_begins(visitor.from(), channel.user.is_some()) else {
        return;
    };
    let left = Arc::clone(&visitor);
    let mut begun = Begun {
        gateway: &gateway,
        visitor,
        numbered,
        tunnel: Tunnel::new(channel.user.is_some()),
        packets: Packets::default(),
        user: channel.user.take(),
        wakes: None,
    };
    let watched = channel.writer.watched();
    let over = tokio::select! {
        over = run(&mut begun, &mut channel) => over,
        () = Writer::closed(watched) => Err(Over::Ended),
        () = left.wait_until_address_removed() => Err(Over::Ended),
    };
    match over {
        Ok(()) | Err(Over::Ended) => {}
        Err(Over::Slow) => site.count_gateway(|counters| &mut counters.slow),
        Err(Over::Malformed) => site.count_gateway(|counters| &mut counters.malformed),
    }
    channel.writer.close().await;
}

async fn run(begun: &mut Begun<'_>, channel: &mut Channel) -> Result<(), Over> {
    let ends = Arc::clone(&begun.numbered.ends);
    let handshake = async {
        tokio::select! {
            connected = begun.handshake(channel) => connected,
            () = ends.notified() => Err(Over::Ended),
        }
    };
    let connected = timeout(HANDSHAKE_LIMIT, handshake).await;
    let Some(reached) = connected.map_err(|_| Over::Slow)?? else {
        return Ok(());
    };
    for visitor in &channel.visitors {
        visitor.routed();
    }
    begun.carry(channel, reached).await
}

impl Begun<'_> {
    /// Handles packets until a host is connected. Returns None if the tunnel has ended normally.
    async fn handshake(&mut self, channel: &mut Channel) -> Result<Option<Reached>, Over> {
        loop {
            let packet = loop {
                match self.packets.take() {
                    Ok(Some(packet)) => break packet,
                    Ok(None) => self.packets.push(&channel.reader.read().await?),
                    Err(_) => return Err(Over::Malformed),
                }
            };
            let asked = self.tunnel.handle(packet);
            let (reply, is_good) = match asked.map_err(|_| Over::Malformed)? {
                TsguRequest::Nothing | TsguRequest::Data(_) => continue,
                TsguRequest::Close => {
                    channel.writer.write(tsgu::closed()).await?;
                    return Ok(None);
                }
                TsguRequest::Reply(bytes) => (bytes, true),
                TsguRequest::Refuse(bytes, code) => {
                    refuse(self.gateway, &self.visitor, "", code.name());
                    (bytes, false)
                }
                TsguRequest::Admit {
                    cookie,
                    reauthenticates,
                } => {
                    let answer = self.admit(cookie.as_deref(), reauthenticates);
                    (self.tunnel.admit(answer), answer.is_ok())
                }
                TsguRequest::Authorise { .. } => {
                    let answer = Ok(self.limits());
                    if let Some(woken) = &self.wakes {
                        woken.notify_one();
                    }
                    (self.tunnel.authorise(answer), true)
                }
                TsguRequest::Connect { names, port } => match self.connect(&names, port).await {
                    Ok(reached) => {
                        channel.writer.write(self.tunnel.connect(Ok(1))).await?;
                        return Ok(Some(reached));
                    }
                    Err(code) => (self.tunnel.connect(Err(code)), false),
                },
            };
            channel.writer.write(reply).await?;
            if !is_good {
                return Ok(None);
            }
        }
    }

    /// Checks whether the client may have a tunnel, by the user that HTTP has authenticated or by
    /// the cookie.
    fn admit(&mut self, cookie: Option<&str>, again: Option<u64>) -> Result<u32, Code> {
        let site = &self.gateway.site;
        let (of_http, of_cookie) = (self.user.is_some(), cookie.filter(|text| !text.is_empty()));
        let name = match (of_http, of_cookie) {
            (true, _) => {
                let name = self.user.clone().unwrap_or_default();
                // Looks the user up again, because a reload may have removed the user in the
                // meantime.
                match user(self.gateway, &name) {
                    Some(_) => name,
                    None => return Err(Code::NAP_DENIED),
                }
            }
            (false, Some(cookie)) => {
                let read = site.cookie_user(cookie);
                let read = read.map_err(|why| (why.user().to_owned(), why.to_string()));
                let known = read.and_then(|name| match user(self.gateway, &name) {
                    Some(user) => Ok(user.account.name),
                    None => Err((
                        String::new(),
                        format!("the cookie is for '{name}', who is no longer a user"),
                    )),
                });
                known.map_err(|(of, why)| {
                    refuse(self.gateway, &self.visitor, &of, &why);
                    Code::COOKIE_DENIED
                })?
            }
            (false, None) => {
                refuse(self.gateway, &self.visitor, "", "the client has no cookie");
                return Err(Code::COOKIE_BAD_PACKET);
            }
        };
        if let Some(number) = again {
            self.wakes = site.waiting(number, &name);
            if self.wakes.is_none() {
                let why = "no tunnel of the user awaits reauthentication";
                refuse(self.gateway, &self.visitor, &name, why);
                return Err(Code::REAUTH_DENIED);
            }
        }
        if !site.tunnel_of(self.numbered.number, &name) {
            let why = "the user has the maximum number of tunnels";
            site.gateway_refuses(&name, self.visitor.from(), why);
            return Err(Code::MAX_CONNECTIONS);
        }
        self.user = Some(name);
        Ok(self.numbered.number)
    }

    fn limits(&self) -> Limits {
        let idle_ms = self
            .gateway
            .site
            .with_farm(|farm| farm.gateway.as_ref().and_then(|gateway| gateway.idle_ms));
        let minutes = idle_ms.map_or(0, |ms| ms.div_ceil(MINUTE_MS));
        Limits {
            redirection: REDIRECT_ALL,
            idle_minutes: u32::try_from(minutes).unwrap_or(u32::MAX),
        }
    }

    async fn connect(&self, names: &[String], port: u16) -> Result<Reached, Code> {
        if self.wakes.is_some() {
            return Err(Code::INTERNAL);
        }
        let (site, from) = (&self.gateway.site, self.visitor.from());
        let user = self.user.as_deref().unwrap_or_default();
        let here = self.visitor.here;
        let target = site.with_farm(|farm| TunnelTarget::find(farm, here, names, port));
        let Some(target) = target else {
            let names = names.join(", ");
            let shown: String = names
                .chars()
                .map(|letter| if letter.is_control() { '?' } else { letter })
                .take(200)
                .collect();
            let why = format!("{shown} port {port} is not a host of this farm");
            site.count_gateway(|counters| &mut counters.denied);
            site.gateway_refuses(user, from, &why);
            write_error(&format!(
                "evenkeel: farm {}: gateway: {user} from {from}: {why}\n",
                site.name()
            ));
            return Err(Code::RAP_DENIED);
        };
        match reach(site, &target, from).await {
            Ok(reached) => {
                let is_direct = matches!(target, TunnelTarget::Host { .. });
                let number = self.numbered.number;
                site.tunnel_opens(number, user, from, target.shown(), is_direct);
                Ok(reached)
            }
            Err(why) => {
                site.count_gateway(|counters| &mut counters.unreached);
                let why = format!("cannot connect to {}: {why}", target.shown());
                site.gateway_refuses(user, from, &why);
                Err(Code::CONNECT_FAILED)
            }
        }
    }

    async fn carry(&mut self, channel: &mut Channel, reached: Reached) -> Result<(), Over> {
        let Reached { stream, arrival } = reached;
        let (mut from_host, mut to_host) = stream.into_split();
        let writer = tokio::sync::Mutex::new(&mut channel.writer);
        let heard = Mutex::new(Instant::now());
        let site = &self.gateway.site;
        let watch = TunnelTimeouts {
            gateway: self.gateway,
            user: self.user.clone().unwrap_or_default(),
            can_reauthenticate: self.tunnel.can_reauthenticate(),
            heard: &heard,
        };
        let up = up(
            &mut self.tunnel,
            &mut self.packets,
            &mut channel.reader,
            &mut to_host,
            &heard,
        );
        let ended = tokio::select! {
            over = up => match over {
                Ok(()) => TunnelEnd::Client,
                Err(over) => return Err(over),
            },
            over = down(&mut from_host, &writer) => {
                over?;
                TunnelEnd::Host
            }
            over = watch.run(&writer) => {
                over?;
                TunnelEnd::Limit
            }
            () = self.numbered.ends.notified() => TunnelEnd::Operator,
        };
        drop(arrival);
        let last = match ended {
            TunnelEnd::Client => tsgu::closed(),
            TunnelEnd::Host => tsgu::close(Code::OK),
            TunnelEnd::Operator => tsgu::close(Code::CONNECTION_ABORTED),
            TunnelEnd::Limit => {
                site.count_gateway(|counters| &mut counters.expired);
                tsgu::close(Code::SESSION_TIMEOUT)
            }
        };
        writer.lock().await.write(last).await
    }
}

enum TunnelEnd {
    Client,
    Host,
    Limit,
    Operator,
}

async fn up(
    tunnel: &mut Tunnel,
    packets: &mut Packets,
    reader: &mut Reader,
    host: &mut OwnedWriteHalf,
    heard: &Mutex<Instant>,
) -> Result<(), Over> {
    loop {
        let packet = match packets.take() {
            Ok(Some(packet)) => packet,
            Ok(None) => {
                packets.push(&reader.read().await?);
                continue;
            }
            Err(_) => return Err(Over::Malformed),
        };
        match tunnel.handle(packet) {
            Ok(TsguRequest::Data(bytes)) => {
                *lock(heard) = Instant::now();
                let written = timeout(HOST_LIMIT, host.write_all(&bytes)).await;
                if !matches!(written, Ok(Ok(()))) {
                    return Err(Over::Ended);
                }
            }
            Ok(TsguRequest::Nothing) => {}
            Ok(TsguRequest::Close) => return Ok(()),
            Ok(_) | Err(_) => return Err(Over::Malformed),
        }
    }
}

async fn down(
    host: &mut OwnedReadHalf,
    writer: &tokio::sync::Mutex<&mut Writer>,
) -> Result<(), Over> {
    let mut bytes = vec![0; PIECE_BYTES];
    while let Ok(read @ 1..) = host.read(&mut bytes).await {
        let packet = tsgu::data(&bytes[..read]);
        writer.lock().await.write(packet).await?;
    }
    Ok(())
}

/// Supervises the timeouts of a tunnel, and sends keepalive packets.
struct TunnelTimeouts<'t> {
    gateway: &'t Gateway,
    user: String,
    can_reauthenticate: bool,
    heard: &'t Mutex<Instant>,
}

impl TunnelTimeouts<'_> {
    /// Returns when a timeout has passed and the tunnel has to end.
    async fn run(&self, writer: &tokio::sync::Mutex<&mut Writer>) -> Result<(), Over> {
        let limits = || {
            let site = &self.gateway.site;
            let gateway = site.with_farm(|farm| farm.gateway.clone());
            let ms = |limit: Option<u64>| limit.map(Duration::from_millis);
            gateway.map(|gateway| (ms(gateway.idle_ms), ms(gateway.session_ms)))
        };
        let mut since = Instant::now();
        loop {
            // Ends the tunnel: a configuration without a gateway permits none.
            let Some((idle, session)) = limits() else {
                return Ok(());
            };
            let now = Instant::now();
            let idle_at = idle.map(|idle| *lock(self.heard) + idle);
            let session_at = session.map(|session| since + session);
            if idle_at.is_some_and(|at| at <= now) {
                return Ok(());
            }
            if session_at.is_some_and(|at| at <= now) {
                if !self.authenticated_again(writer).await? {
                    return Ok(());
                }
                since = Instant::now();
                continue;
            }
            let all = [idle_at, session_at, Some(now + KEEP_ALIVE)];
            let next = all.into_iter().flatten().min();
            sleep_until(next.unwrap_or(now)).await;
            if now.elapsed() >= KEEP_ALIVE {
                writer.lock().await.write(tsgu::keep_alive()).await?;
            }
        }
    }

    /// Requests that the user authenticates again. Returns false if the user has not done so.
    async fn authenticated_again(
        &self,
        writer: &tokio::sync::Mutex<&mut Writer>,
    ) -> Result<bool, Over> {
        let mut number = [0; 8];
        if !self.can_reauthenticate || rand::fill(&mut number).is_err() {
            return Ok(false);
        }
        let number = u64::from_le_bytes(number);
        let waiting = self.gateway.site.tunnel_waits(number, &self.user);
        let asks = tsgu::reauthenticate(number);
        writer.lock().await.write(asks).await?;
        let woken = timeout(REAUTH_LIMIT, waiting.woken.notified()).await;
        Ok(woken.is_ok())
    }
}
