//! Keeps the state that all connections of a member share, and handles the requests that arrive on
//! them.

use super::call::Tried;
use super::counters::{WireCounters, count};
use super::frame::{BrokenRule, FrameKind, MESSAGE_BYTES_MAX, WireMessage};
use super::greeting::{Goodbye, Hello, Pipe};
use super::link::{Bearing, ConnectionEnd, WireConnection};
use super::network::ConnectionFactory;
use super::outbox::Outgoing;
use super::path::{Event, Loss, Path, PathKind};
use super::peer::{Notes, Peers};
use super::places::QuotaTable;
use super::recent::{Recent, RequestAction, RequestIdentity};
use super::renewal::RENEWAL;
use super::service::{Handler, Service, Signer};
use super::tasks::TaskGroup;
use super::{Binding, Timing, WireError};
use crate::authority::{MemberIdentity, PeerRejection, TlsConfigs, Trust};
use crate::member::{ClusterMember, MemberId};
use aws_lc_rs::rand::fill;
use part::lock;
use std::collections::BTreeMap;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;
use tokio::sync::broadcast;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep};

const EVENTS_MAX: usize = 256;
/// Time between two attempts to listen on an address that this machine does not have yet.
const LISTEN_AGAIN: Duration = Duration::from_secs(2);
/// Pause between connections of one kind and the next, when a new identity is presented.
const SHOWN_ANEW_EVERY: Duration = Duration::from_secs(1);
/// Time for which a connection with a replaced key or a certificate of a dropped CA stays open.
const FORMER_KEY_STAYS: Duration = Duration::from_secs(15);

type Answering = Pin<Box<dyn Future<Output = Vec<u8>> + Send>>;

/// A [`Handler`] with its type erased.
pub(crate) trait AnyHandler: Send + Sync {
    fn handle(self: Arc<Self>, from: MemberId, service: Service, bytes: Vec<u8>) -> Answering;
    fn join(self: Arc<Self>, from: SocketAddr, binding: Binding, bytes: Vec<u8>) -> Answering;
    fn signer(&self) -> Option<Signer>;
}

impl<H: Handler> AnyHandler for H {
    fn handle(self: Arc<Self>, from: MemberId, service: Service, bytes: Vec<u8>) -> Answering {
        Box::pin(async move { Handler::handle(&*self, from, service, bytes).await })
    }

    fn join(self: Arc<Self>, from: SocketAddr, binding: Binding, bytes: Vec<u8>) -> Answering {
        Box::pin(async move { Handler::join(&*self, from, binding, bytes).await })
    }

    fn signer(&self) -> Option<Signer> {
        Handler::signer(self)
    }
}

/// State of the wire, shared by its tasks.
pub(crate) struct WireState<N: ConnectionFactory> {
    me: MemberId,
    run: u64,
    timing: Timing,
    pub(crate) network: N,
    pub(crate) counters: WireCounters,
    events: broadcast::Sender<Event>,
    numbers: AtomicU64,
    handler: OnceLock<Arc<dyn AnyHandler>>,
    started: Instant,
    inside: Mutex<Inside>,
    recent: Mutex<Recent<Arc<WireConnection>>>,
    pub(crate) strangers: QuotaTable<IpAddr>,
    pub(crate) carried: QuotaTable<MemberId>,
    tasks: TaskGroup,
    /// Addresses on which this member should listen and cannot, with the reasons.
    unbound: Mutex<BTreeMap<SocketAddr, String>>,
}

struct Inside {
    identity: Arc<MemberIdentity>,
    shown_from: Option<Instant>,
    trust: Arc<Trust>,
    tls: TlsConfigs,
    peers: Peers,
    notes: Notes,
}

impl<N: ConnectionFactory> WireState<N> {
    pub(crate) fn new(
        identity: Arc<MemberIdentity>,
        trust: Trust,
        timing: Timing,
        network: N,
    ) -> Result<WireState<N>, WireError> {
        let tls = TlsConfigs::new(&identity, &trust)?;
        let mut run = [0; 8];
        fill(&mut run).map_err(|_| crate::authority::AuthorityError::Key)?;
        Ok(WireState {
            me: identity.member(),
            run: u64::from_be_bytes(run),
            timing,
            network,
            counters: WireCounters::default(),
            events: broadcast::Sender::new(EVENTS_MAX),
            numbers: AtomicU64::new(1),
            handler: OnceLock::new(),
            started: Instant::now(),
            inside: Mutex::new(Inside {
                identity,
                shown_from: None,
                trust: Arc::new(trust),
                tls,
                peers: Peers::default(),
                notes: Notes::default(),
            }),
            recent: Mutex::default(),
            strangers: QuotaTable::default(),
            carried: QuotaTable::default(),
            tasks: TaskGroup::default(),
            unbound: Mutex::default(),
        })
    }

    pub(crate) fn me(&self) -> MemberId {
        self.me
    }

    pub(crate) fn timing(&self) -> Timing {
        self.timing
    }

    pub(crate) fn next_number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn trust(&self) -> Arc<Trust> {
        Arc::clone(&lock(&self.inside).trust)
    }

    pub(crate) fn identity(&self) -> Arc<MemberIdentity> {
        Arc::clone(&lock(&self.inside).identity)
    }

    pub(crate) fn shown_since(&self) -> Duration {
        let from = lock(&self.inside).shown_from.unwrap_or(self.started);
        Instant::now().saturating_duration_since(from)
    }

    pub(crate) fn tls(&self) -> TlsConfigs {
        lock(&self.inside).tls.clone()
    }

    pub(crate) fn handler(&self) -> Option<Arc<dyn AnyHandler>> {
        self.handler.get().cloned()
    }

    pub(crate) fn events(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    pub(crate) fn hello(&self, through: Option<MemberId>, carry_to: Option<MemberId>) -> Hello {
        Hello {
            member: self.me,
            run: self.run,
            through,
            carry_to,
        }
    }

    pub(crate) fn emit_event(&self, event: Event) {
        match &event {
            Event::Up(member) => tracing::info!(member = member.0, "member reachable"),
            Event::Down { member, why } => {
                tracing::info!(member = member.0, reason = ?why, "member unreachable");
            }
            Event::RefusedBy { member, why } => {
                tracing::info!(member = member.0, reason = %why, "refused by a member");
            }
            Event::Distrusted { member, why } => {
                tracing::info!(member = member.0, reason = why, "member not trusted");
            }
            Event::Renewed(_) => tracing::info!("certificate renewed"),
            Event::Noted { words } => tracing::info!(note = words, "note"),
        }
        // Without subscribers the event is dropped.
        let _ = self.events.send(event);
    }

    /// Logs a message for operators; the same message again only after a while.
    pub(crate) fn note(&self, words: String) {
        let since = Instant::now().saturating_duration_since(self.started);
        if lock(&self.inside).notes.is_news(since, &words) {
            self.emit_event(Event::Noted { words });
        }
    }

    pub(crate) fn member(&self, member: MemberId) -> Option<ClusterMember> {
        lock(&self.inside).trust.members.get(&member).cloned()
    }

    pub(crate) fn knows(&self, member: MemberId) -> bool {
        lock(&self.inside).trust.members.contains_key(&member)
    }

    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        self.tasks.spawn(task)
    }

    pub(crate) async fn serve<H: Handler>(
        self: &Arc<Self>,
        listen: &[SocketAddr],
        handler: H,
    ) -> Result<Vec<SocketAddr>, WireError> {
        if listen.len() > super::LISTEN_MAX {
            return Err(WireError::TooManyAddresses(listen.len()));
        }
        let mut listeners = Vec::new();
        let mut addresses = Vec::new();
        let mut unbound = BTreeMap::new();
        for address in listen {
            match self.listen_on(*address).await {
                Ok((listener, at)) => {
                    addresses.push(at);
                    listeners.push(listener);
                }
                // Continues without this listener: the member connects to the others itself.
                Err(error) => {
                    unbound.insert(*address, error);
                }
            }
        }
        let retries = !unbound.is_empty();
        *lock(&self.unbound) = unbound;
        if self.handler.set(Arc::new(handler)).is_err() {
            return Err(WireError::Started);
        }
        for listener in listeners {
            self.accept_on(listener);
        }
        if retries {
            let shared = Arc::clone(self);
            self.spawn(async move { shared.listen_later().await });
        }
        self.arrange();
        self.keep_renewed();
        Ok(addresses)
    }

    async fn listen_on(&self, address: SocketAddr) -> Result<(N::Listener, SocketAddr), String> {
        let failed = |error: std::io::Error| language::reason(&error);
        let listener = self.network.listen(address).await.map_err(failed)?;
        let at = self.network.address(&listener).map_err(failed)?;
        Ok((listener, at))
    }

    async fn listen_later(self: Arc<Self>) {
        loop {
            sleep(LISTEN_AGAIN).await;
            let addresses: Vec<SocketAddr> = lock(&self.unbound).keys().copied().collect();
            if addresses.is_empty() {
                return;
            }
            for address in addresses {
                match self.listen_on(address).await {
                    Ok((listener, _)) => {
                        lock(&self.unbound).remove(&address);
                        self.note(format!("listens for members on {address} now"));
                        self.accept_on(listener);
                    }
                    Err(error) => {
                        lock(&self.unbound).insert(address, error);
                    }
                }
            }
        }
    }

    pub(crate) fn unbound(&self) -> BTreeMap<SocketAddr, String> {
        lock(&self.unbound).clone()
    }

    pub(crate) fn set_identity(
        self: &Arc<Self>,
        identity: Arc<MemberIdentity>,
    ) -> Result<(), WireError> {
        let mut inside = lock(&self.inside);
        let tls = TlsConfigs::new(&identity, &inside.trust)?;
        inside.tls = tls;
        inside.identity = identity;
        inside.shown_from = Some(Instant::now());
        drop(inside);
        if self.handler.get().is_some() {
            self.show_anew();
        }
        Ok(())
    }

    /// Closes the connections that present the former identity, one kind after the other,
    /// so that some connection always remains.
    fn show_anew(self: &Arc<Self>) {
        let shared = Arc::clone(self);
        let first_new = self.next_number();
        let kinds: [fn(&Bearing) -> bool; 3] = [
            |bearing| bearing.way == PathKind::Direct && bearing.dialed,
            |bearing| bearing.way == PathKind::Direct && !bearing.dialed,
            |bearing| bearing.way != PathKind::Direct,
        ];
        self.spawn(async move {
            for is_kind in kinds {
                sleep(SHOWN_ANEW_EVERY).await;
                let links: Vec<Arc<WireConnection>> = shared.links();
                let old = links.iter().filter(|link| link.number < first_new);
                old.filter(|link| is_kind(&link.bearing))
                    .for_each(|link| link.end(Goodbye::Replaced));
            }
        });
    }

    fn links(&self) -> Vec<Arc<WireConnection>> {
        lock(&self.inside).peers.links().cloned().collect()
    }

    pub(crate) fn set_trust(self: &Arc<Self>, trust: Trust) -> Result<(), WireError> {
        let mut inside = lock(&self.inside);
        if *inside.trust == trust {
            return Ok(());
        }
        let stays = |authority| trust.authorities.contains(authority);
        let given_up = !inside.trust.authorities.iter().all(stays);
        if !inside.trust.believes_as(&trust) {
            let tls = TlsConfigs::new(&inside.identity, &trust)?;
            inside.tls = tls;
        }
        inside.trust = Arc::new(trust);
        drop(inside);
        if self.judge_again(false) {
            // Closes connections with a former key later: a member that changed its key presents
            // the new one soon.
            let shared = Arc::clone(self);
            self.spawn(async move {
                sleep(FORMER_KEY_STAYS).await;
                shared.judge_again(true);
            });
        }
        if given_up {
            // Closes connections with a certificate of a dropped CA later: a member with a new
            // certificate presents it soon.
            let shared = Arc::clone(self);
            self.spawn(async move {
                sleep(FORMER_KEY_STAYS).await;
                shared.end_foreign();
            });
        }
        if self.handler.get().is_some() {
            self.arrange();
        }
        Ok(())
    }

    fn end_foreign(&self) {
        let trust = self.trust();
        for link in self.links() {
            let peer = link.bearing.peer;
            if !trust.believes_issuer_of(&link.bearing.certificate) {
                count(&self.counters.foreign);
                self.note(format!(
                    "closed the connection to member {peer}: its CA was dropped"
                ));
                link.end(Goodbye::Replaced);
            }
        }
    }

    /// Closes connections to members that are no longer trusted; those with a previous
    /// key only if `former_keys`. Returns whether there are connections with previous
    /// keys.
    fn judge_again(&self, former_keys: bool) -> bool {
        let trust = self.trust();
        let mut stay = false;
        for link in self.links() {
            let peer = link.bearing.peer;
            match trust.judge(&link.bearing.certificate, peer) {
                Ok(_) => {}
                Err(PeerRejection::Key) if !former_keys => stay = true,
                Err(why) => {
                    count(&self.counters.refused);
                    self.note(format!("closed the connection to member {peer}: {why}"));
                    link.end(Goodbye::Refused(why));
                }
            }
        }
        stay
    }

    fn arrange(self: &Arc<Self>) {
        if self.tasks.is_stopped() {
            return;
        }
        let mut inside = lock(&self.inside);
        let others: Vec<MemberId> = inside
            .trust
            .members
            .keys()
            .copied()
            .filter(|member| *member != self.me)
            .collect();
        let missing = inside.peers.dial_only(&others);
        drop(inside);
        for (to, way) in missing {
            let task = self.dialing(to, way);
            lock(&self.inside).peers.dialed_by(to, way, task);
        }
    }

    pub(crate) async fn carry(
        self: &Arc<Self>,
        bearing: Bearing,
        pipe: Box<dyn Pipe>,
    ) -> ConnectionEnd {
        let link = Arc::new(WireConnection::new(self.next_number(), bearing));
        let peer = link.bearing.peer;
        let (way, dialed) = (link.bearing.way, link.bearing.dialed);
        tracing::info!(member = peer.0, ?way, dialed, "connection opened");
        let guard = Attached {
            shared: self,
            link: &link,
        };
        let (replaced, is_cloned) = {
            let mut inside = lock(&self.inside);
            let run = link.bearing.run;
            let is_cloned = inside.peers.connected(peer, run, Instant::now());
            (inside.peers.attach(&link), is_cloned)
        };
        if is_cloned {
            self.note(format!(
                "two machines connect as member {peer}: both have its state directory"
            ));
        }
        replaced.iter().for_each(|old| old.end(Goodbye::Replaced));
        self.review(peer);
        let ended = link.run(pipe, self).await;
        drop(guard);
        tracing::info!(member = peer.0, ?way, dialed, reason = ?ended, "connection closed");
        self.report_connection_end(peer, ended);
        ended
    }

    fn report_connection_end(&self, peer: MemberId, ended: ConnectionEnd) {
        match ended {
            ConnectionEnd::Goodbye(Goodbye::Refused(why)) => self.refused_by(peer, why),
            ConnectionEnd::Rule(rule) => self.note(format!(
                "protocol error of member {peer}: {rule}; closed its connection"
            )),
            ConnectionEnd::Closed
            | ConnectionEnd::Silent
            | ConnectionEnd::Goodbye(_)
            | ConnectionEnd::Own => {}
        }
    }

    pub(crate) fn refused_by(&self, peer: MemberId, why: PeerRejection) {
        let since = Instant::now().saturating_duration_since(self.started);
        self.emit_event(Event::Distrusted {
            member: peer,
            why: why.to_string(),
        });
        let words = format!("member {peer} refuses this one: {why}");
        if lock(&self.inside).notes.is_news(since, &words) {
            self.emit_event(Event::RefusedBy { member: peer, why });
            self.emit_event(Event::Noted { words });
        }
    }

    pub(crate) fn review(&self, peer: MemberId) {
        let now = Instant::now();
        let mut inside = lock(&self.inside);
        let told = inside.peers.review(peer, now, &self.timing);
        drop(inside);
        if let Some(event) = told {
            self.emit_event(event);
        }
    }

    fn detach(&self, link: &Arc<WireConnection>) {
        let now = Instant::now();
        let mut inside = lock(&self.inside);
        let told = inside.peers.detach(link, now, &self.timing);
        drop(inside);
        if let Some(member) = told {
            self.emit_event(Event::Down {
                member,
                why: Loss::Closed,
            });
        }
    }

    /// Returns the best connection that was not tried.
    pub(crate) fn choose(&self, to: MemberId, tried: &Tried) -> Option<Arc<WireConnection>> {
        let again = self.timing.again;
        lock(&self.inside)
            .peers
            .choose(to, tried, Instant::now(), again)
    }

    /// Records the result of the last attempt to reach a member on a path; None: it was
    /// reached.
    pub(crate) fn tried(&self, to: MemberId, way: PathKind, failure: Option<String>) {
        lock(&self.inside).peers.tried(to, way, failure);
    }

    pub(crate) fn reaches_directly(&self, member: MemberId) -> bool {
        let now = Instant::now();
        lock(&self.inside)
            .peers
            .reaches_directly(member, now, self.timing.ping)
    }

    pub(crate) fn paths(&self) -> Vec<Path> {
        let now = Instant::now();
        let inside = lock(&self.inside);
        let named = inside.trust.members.values();
        named
            .filter(|member| member.id != self.me)
            .map(|member| inside.peers.path(member, now, &self.timing))
            .collect()
    }

    pub(crate) fn stop(&self) {
        self.tasks.stop();
    }

    pub(crate) fn handle_request(
        self: &Arc<Self>,
        link: &Arc<WireConnection>,
        message: WireMessage,
    ) -> Result<(), BrokenRule> {
        let call = message.call;
        let say = |frame| link.push(Outgoing::new(frame, call, Vec::new()));
        let Some(handler) = self.handler.get() else {
            return say(FrameKind::Overloaded);
        };
        let question = RequestIdentity {
            from: link.bearing.peer,
            run: link.bearing.run,
            call,
        };
        let now = Instant::now().saturating_duration_since(self.started);
        let todo = lock(&self.recent).ask(now, question, Arc::clone(link));
        if todo != RequestAction::Handle {
            count(&self.counters.repeated);
        }
        match todo {
            RequestAction::Wait => return Ok(()),
            RequestAction::Answer(bytes) => return link.push(answer(call, bytes)),
            RequestAction::Nothing => return say(FrameKind::Repeated),
            RequestAction::Handle => {}
        }
        let bytes = message.bytes.len();
        if !link.begin(bytes) {
            count(&self.counters.overloaded);
            lock(&self.recent).dropped(question);
            return say(FrameKind::Overloaded);
        }
        let mut handling = Handling {
            shared: Arc::clone(self),
            link: Arc::clone(link),
            question,
            bytes,
            is_started: false,
            answered: false,
        };
        if message.service == RENEWAL {
            let shown = &link.bearing.certificate;
            handling.answer(self.sign_for(question.from, shown, &message.bytes));
            return Ok(());
        }
        // Drops a request to an unknown service, of a newer release: the sender learns that it was
        // not handled.
        let Some(service) = Service::from_code(message.service) else {
            return Ok(());
        };
        handling.is_started = true;
        let answering = Arc::clone(handler).handle(question.from, service, message.bytes);
        self.spawn(async move { handling.answer(answering.await) });
        Ok(())
    }
}

fn answer(call: u64, bytes: Arc<Vec<u8>>) -> Outgoing {
    Outgoing {
        frame: FrameKind::Answer,
        service: 0,
        call,
        bytes,
    }
}

/// Registration of a connection with its peer. Dropping it removes the connection, also
/// if its task is aborted.
struct Attached<'a, N: ConnectionFactory> {
    shared: &'a Arc<WireState<N>>,
    link: &'a Arc<WireConnection>,
}

impl<N: ConnectionFactory> Drop for Attached<'_, N> {
    fn drop(&mut self) {
        self.shared.detach(self.link);
    }
}

/// A request that is being handled. If it is dropped without a response (its handler
/// panicked, or the response was too large), the waiting connections learn whether it was
/// handled.
struct Handling<N: ConnectionFactory> {
    shared: Arc<WireState<N>>,
    link: Arc<WireConnection>,
    question: RequestIdentity,
    bytes: usize,
    /// True if the handler has started: the request may have had its effect.
    is_started: bool,
    answered: bool,
}

impl<N: ConnectionFactory> Handling<N> {
    fn answer(mut self, bytes: Vec<u8>) {
        if bytes.len() > MESSAGE_BYTES_MAX {
            self.shared.note(format!(
                "a reply of {} bytes to member {} was not sent: the limit is {MESSAGE_BYTES_MAX}",
                bytes.len(),
                self.question.from
            ));
            return;
        }
        self.answered = true;
        let bytes = Arc::new(bytes);
        let waiting = lock(&self.shared.recent).answered(self.question, &bytes);
        for link in waiting {
            let out = answer(self.question.call, Arc::clone(&bytes));
            if let Err(rule) = link.push(out) {
                link.condemn(rule);
            }
        }
    }
}

impl<N: ConnectionFactory> Drop for Handling<N> {
    fn drop(&mut self) {
        self.link.finish(self.bytes);
        if !self.answered {
            let mut recent = lock(&self.shared.recent);
            let (waiting, frame) = if self.is_started {
                (recent.lost_response(self.question), FrameKind::Repeated)
            } else {
                (recent.dropped(self.question), FrameKind::Overloaded)
            };
            drop(recent);
            for link in waiting {
                let out = Outgoing::new(frame, self.question.call, Vec::new());
                // Ignores a full queue: the peer then detects the silence of the connection.
                let _ = link.push(out);
            }
        }
    }
}
