//! Runs the farm role: a [`Server`] for each farm, the orders of operators, and the report.

use crate::config::{Bind, Farm, Farms};
use crate::directory::DirectoryId;
use crate::guests::{Asker, GuestProvider, Guests};
use crate::keyword::NAME;
use crate::link::NodeLink;
use crate::message::{OperatorMessage, OrderResponse, Sessions, UserHistoryResponse};
use crate::portal::Portal;
use crate::server::{FarmListener, Server};
use crate::site::{FarmState, SavedFarm, SharingParameters, rows};
use crate::user::FarmUser;
use crate::web;
use access::proof::Verify;
use access::random::random;
use access::session;
use access::user::Users;
use part::channel::Received;
use part::codec;
use part::report::{Grade, Moment, StatusReport};
use part::role::{MemberNews, Membership};
use part::state_file;
use part::voice::write_error;
use part::work::PartRequest;
use screen::kind;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};
use wire::TrustedNodes;

const KEY_BYTES: usize = 32;
const KEEP: Duration = Duration::from_secs(1);
/// Limit of farms that have left the configuration and whose sign-outs are still remembered.
const GONE_MAX: usize = 64;
/// Limit of one response to an operator, in bytes, so that it fits into one packet.
const SHOWN_BYTES: usize = 40_000;

/// Function that drops all privileges, called once all addresses are open and before a second
/// thread starts. The process may keep one group: that of saslauthd's socket.
pub type Confine = fn(Option<u32>) -> Result<(), String>;

/// Functions that the evenkeel binary provides to the role, and the name of the role that runs the
/// guests.
#[derive(Clone, Copy)]
pub struct Program {
    pub confine: Confine,
    pub verify: Verify,
    pub guests: GuestProvider,
}

/// All farms of this machine while they run. The main thread of the role calls the methods;
/// connections are on the threads of each farm ([`Server`], [`web::Server`]).
pub struct FarmRole {
    verify: Verify,
    farms: BTreeMap<String, RunningFarm>,
    /// Token key of farms whose section configures none.
    key: Vec<u8>,
    kept: Vec<u8>,
    portals: BTreeMap<String, session::SavedSessions>,
    due: Instant,
    link: Option<NodeLink>,
    asker: Asker,
    /// Saved sign-ins of farms that have left the configuration. A farm that returns must not
    /// revive sessions that have ended.
    gone: BTreeMap<String, session::SavedSessions>,
    /// Errors, by farm, of addresses that could not be opened. An entry stays until all addresses
    /// of the farm are open.
    closed: BTreeMap<String, String>,
    membership: Membership,
}

struct RunningFarm {
    site: Arc<FarmState>,
    server: Server,
    /// None: the farm has no address for HTTPS.
    web: Option<web::Server>,
    portal: Arc<Portal>,
}

/// Listening addresses of a farm: for RDP and for HTTPS.
struct Doors {
    rdp: Vec<Arc<FarmListener>>,
    web: Vec<Arc<FarmListener>>,
}

/// Farms with their listening addresses, opened.
type OpenedFarms = Vec<(String, Farm, Doors)>;

impl Doors {
    fn is_empty(&self) -> bool {
        self.rdp.is_empty() && self.web.is_empty()
    }
}

#[derive(Serialize, Deserialize, Default)]
#[serde(default)]
struct SavedRoleState {
    #[serde(with = "serde_bytes")]
    key: Vec<u8>,
    farms: BTreeMap<String, SavedFarm>,
    portals: BTreeMap<String, session::SavedSessions>,
}

/// Decodes the saved state of the previous role process. An unreadable state is reported, and
/// counts as empty.
fn read_state(kept: Option<&[u8]>) -> SavedRoleState {
    let state = kept.map(codec::decode::<SavedRoleState>).transpose();
    state.ok().flatten().unwrap_or_else(|| {
        if kept.is_some() {
            write_error(
                "evenkeel: farm: the state of the previous role cannot be read: sessions are known again \
                 when their users connect, and everybody has to sign in again\n",
            );
        }
        SavedRoleState::default()
    })
}

impl FarmRole {
    /// Starts with a payload and the saved state of the previous role. An address that cannot be
    /// opened is retried periodically, as long as another one is open.
    ///
    /// # Errors
    /// Returns why the role cannot serve, as a message.
    pub fn new(program: Program, payload: &[u8], kept: Option<&[u8]>) -> Result<FarmRole, String> {
        let farms: Farms = codec::decode(payload).map_err(|error| error.to_string())?;
        let mut state = read_state(kept);
        if state.key.len() != KEY_BYTES {
            state.key = random::<KEY_BYTES>()?.to_vec();
        }
        let (opened, closed) = open_all(farms.farms, &[]);
        // Fails only if no address could be opened. Otherwise serves the other addresses: another
        // process may have taken one since the previous role process ended.
        if let Some(words) = closed.values().next()
            && opened.iter().all(|(.., doors)| doors.is_empty())
        {
            return Err(words.clone());
        }
        let mut users = opened.iter().map(|(_, farm, _)| &farm.users);
        let asks = users.find(|users| users.has_system_users());
        // Loads the libraries now, because files can only be read before the confinement.
        let libraries = kind::libraries();
        (program.confine)(asks.and_then(|users| users.system.group()))?;
        let link = farms.shared.then(NodeLink::start).transpose();
        let guests = Guests::new(libraries).map_err(|error| language::reason(&error))?;
        let mut role = FarmRole {
            asker: Asker::new(program.guests, Arc::new(guests)),
            verify: program.verify,
            farms: BTreeMap::new(),
            key: state.key,
            kept: Vec::new(),
            portals: BTreeMap::new(),
            due: Instant::now(),
            link: link.map_err(|error| language::reason(&error))?,
            closed: BTreeMap::new(),
            gone: BTreeMap::new(),
            membership: Membership::new(farms.shared),
        };
        let is_gone = |name: &String| !opened.iter().any(|(one, ..)| one == name);
        let mut gone = std::mem::take(&mut state.farms);
        let mut known: BTreeMap<String, SavedFarm> = BTreeMap::new();
        gone.retain(|name, saved| {
            let is_gone = is_gone(name);
            if !is_gone {
                known.insert(name.clone(), std::mem::take(saved));
            }
            is_gone
        });
        for (name, farm, doors) in opened {
            let (kept, portal) = match known.remove(&name) {
                Some(kept) => (kept, state.portals.remove(&name)),
                None => continued(&name, &farm, &mut gone, &mut state.portals),
            };
            role.start(name, farm, doors, kept, portal)?;
        }
        role.gone = state.portals;
        role.close(closed);
        role.links();
        role.save_state();
        Ok(role)
    }

    pub fn trust(&self, trusted: TrustedNodes) {
        if let Some(link) = &self.link {
            link.trust(trusted);
        }
    }

    fn links(&self) {
        if let Some(link) = &self.link {
            let sites = self.farms.iter();
            let sites = sites.map(|(name, running)| (name.clone(), Arc::clone(&running.site)));
            link.set_sites(sites.collect());
        }
    }

    /// Returns what connects a farm with the other nodes; None without a link.
    fn shared(&self) -> Result<Option<SharingParameters>, String> {
        let Some(link) = &self.link else {
            return Ok(None);
        };
        Ok(Some(SharingParameters {
            origin: DirectoryId(u64::from_le_bytes(random()?)),
            bell: link.message_notifier(),
        }))
    }

    fn start(
        &mut self,
        name: String,
        farm: Farm,
        doors: Doors,
        kept: SavedFarm,
        portal: Option<session::SavedSessions>,
    ) -> Result<(), String> {
        let shared = self.shared()?;
        let site = Arc::new(FarmState::new(&name, farm, &self.key, shared));
        site.restore(kept);
        site.set_membership(self.membership.clone());
        let server = Server::start(Arc::clone(&site), doors.rdp);
        let server = server.map_err(|error| language::reason(&error))?;
        let guests = Arc::clone(self.asker.guests());
        let portal = Portal::new(Arc::clone(&site), portal, self.verify, guests)?;
        let portal = Arc::new(portal);
        let web = web_server(&site, doors.web, &portal)?;
        let running = RunningFarm {
            site,
            server,
            web,
            portal,
        };
        self.farms.insert(name, running);
        Ok(())
    }

    /// Applies a new payload. An address that cannot be opened is retried periodically; the rest of
    /// the payload takes effect immediately.
    ///
    /// # Errors
    /// Returns why the role keeps its current payload.
    pub fn change(&mut self, payload: &[u8]) -> Result<(), String> {
        let farms: Farms = codec::decode(payload).map_err(|error| error.to_string())?;
        self.membership.set_member(farms.shared);
        // Opens all addresses first: after that, only starting a thread can fail.
        let before = self.all_listeners();
        let (opened, closed) = open_all(farms.farms, &before);
        self.close(closed);
        let mut gone = BTreeMap::new();
        for (name, running) in &self.farms {
            if opened.iter().any(|(one, ..)| one == name) {
                continue;
            }
            let count = self.farms.len();
            gone.insert(name.clone(), running.site.state_to_save(count));
            if self.gone.len() < GONE_MAX {
                self.gone
                    .insert(name.clone(), running.portal.state_to_save());
            }
        }
        self.farms
            .retain(|name, _| opened.iter().any(|(one, ..)| one == name));
        for (name, farm, doors) in opened {
            match self.farms.get_mut(&name) {
                Some(running) => {
                    running.site.change(farm, &self.key);
                    running.portal.change()?;
                    running.listen(doors)?;
                }
                None => {
                    let (kept, portal) = continued(&name, &farm, &mut gone, &mut self.gone);
                    self.start(name, farm, doors, kept, portal)?;
                }
            }
        }
        self.pass_membership();
        self.links();
        self.save_state();
        Ok(())
    }

    pub fn member(&mut self, news: &MemberNews) {
        let now_ns = Moment::now().boottime_ms.saturating_mul(1_000_000);
        self.membership.apply_report(news, now_ns);
        self.pass_membership();
    }

    fn pass_membership(&self) {
        for running in self.farms.values() {
            running.site.set_membership(self.membership.clone());
        }
    }

    fn all_listeners(&self) -> Vec<Arc<FarmListener>> {
        self.farms.values().flat_map(RunningFarm::doors).collect()
    }

    fn close(&mut self, why: BTreeMap<String, String>) {
        for (name, words) in &why {
            if self.closed.get(name) != Some(words) {
                write_error(&format!(
                    "evenkeel: farm {name}: {words}; this is retried, and everything else continues\n"
                ));
            }
        }
        self.closed = why;
    }

    /// Retries the addresses that could not be opened. Everything else stays as it is.
    fn retry_addresses(&mut self) {
        let before = self.all_listeners();
        let mut why = self.closed.clone();
        for (name, words) in &self.closed {
            let Some(running) = self.farms.get_mut(name) else {
                continue;
            };
            let addresses = running
                .site
                .with_farm(|farm| farm.addresses().map(<[_]>::to_vec));
            let (doors, closed) = open_addresses(addresses.each_ref().map(Vec::as_slice), &before);
            let closed = closed.join("; ");
            if closed == *words {
                continue;
            }
            if let Err(error) = running.listen(doors) {
                write_error(&format!("evenkeel: farm {name}: {error}\n"));
            }
            why.insert(name.clone(), closed);
        }
        why.retain(|_, words| !words.is_empty());
        self.close(why);
    }

    pub fn next_due(&self) -> Instant {
        self.due
    }

    /// Returns a descriptor that becomes readable when `run_due_work` has to be called earlier.
    pub fn wake_descriptor(&self) -> BorrowedFd<'_> {
        self.asker.wake_descriptor()
    }

    pub fn take_requests(&mut self) -> Vec<PartRequest> {
        self.asker.take_outgoing_requests()
    }

    pub fn handle_response(&mut self, answer: &Received) {
        self.asker.handle_guest_response(answer);
    }

    /// Handles the requests of portals, retries closed addresses, and saves changed state when that
    /// is due.
    pub fn run_due_work(&mut self) {
        self.asker.move_queued_requests();
        let is_due = self.due <= Instant::now();
        if is_due {
            self.retry_addresses();
        }
        if is_due || self.asker.guests().take_save_request() {
            self.save_state();
        }
    }

    fn save_state(&mut self) {
        self.due = Instant::now() + KEEP;
        let changed = self.farms.values().map(|running| running.site.changed());
        // Queries every farm, without a short circuit.
        let has_changed = changed.fold(self.kept.is_empty(), |all, one| all | one);
        let portals = self.farms.iter();
        let portals = portals.map(|(name, running)| (name.clone(), running.portal.state_to_save()));
        let gone = self.gone.iter();
        let gone = gone.map(|(name, kept)| (name.clone(), kept.clone()));
        let portals: BTreeMap<_, _> = gone.chain(portals).collect();
        if !has_changed && portals == self.portals {
            return;
        }
        self.portals.clone_from(&portals);
        let count = self.farms.len();
        let farms = self
            .farms
            .iter()
            .map(|(name, running)| (name.clone(), running.site.state_to_save(count)));
        let state = SavedRoleState {
            key: self.key.clone(),
            farms: farms.collect(),
            portals,
        };
        let kept = codec::encode(&state);
        if kept.len() <= state_file::BYTES_MAX {
            self.kept = kept;
        }
    }

    pub fn saved_state(&self) -> Vec<u8> {
        self.kept.clone()
    }

    pub fn stop(&mut self) {
        self.save_state();
        if let Some(link) = self.link.take() {
            link.leave();
        }
        self.farms.clear();
    }

    pub fn report(&self) -> StatusReport {
        let trouble = self
            .link
            .as_ref()
            .map(NodeLink::trouble)
            .unwrap_or_default();
        let shown = |(name, running): (&String, &RunningFarm)| {
            let mut subject = running.site.subject();
            subject.events = running.portal.events();
            let admission = running.site.admission();
            if !admission.is_admitted() {
                let word = if running.site.is_removed() {
                    "removed"
                } else {
                    "waits"
                };
                subject = subject.state(word, Grade::Bad);
                subject.why = format!("nobody can sign in at this node: {}", admission.why());
            } else if let Some(why) = self.closed.get(name) {
                subject = subject.state("degraded", Grade::Busy);
                subject.why = why.clone();
            }
            if trouble.is_empty() {
                subject
            } else {
                subject.fact("other nodes", trouble.clone())
            }
        };
        StatusReport {
            part: NAME.to_owned(),
            at: Moment::now(),
            subjects: self.farms.iter().map(shown).collect(),
            rows: rows(),
        }
    }

    pub fn order(&mut self, message: &OperatorMessage) -> Vec<u8> {
        match message {
            OperatorMessage::Sessions {} => codec::encode(&self.sessions()),
            OperatorMessage::Drain { host, is_drained } => {
                let done = self.drain(host, *is_drained);
                self.save_state();
                codec::encode(&OrderResponse::of(done))
            }
            OperatorMessage::Disconnect { user, host } => {
                codec::encode(&OrderResponse::of(self.disconnect(user, host)))
            }
            OperatorMessage::Why { user } => codec::encode(&self.why(user)),
        }
    }

    /// Returns the users, those with connections first, as many as fit into one response.
    fn sessions(&self) -> Sessions {
        let me = self.link.as_ref().map(NodeLink::me).unwrap_or_default();
        let mut all: Vec<_> = self
            .farms
            .values()
            .flat_map(|running| running.site.sessions(&me))
            .collect();
        all.sort_by(|a, b| {
            let key = |one: &crate::message::Session| (one.left_ms.is_some(), one.since_ms);
            key(a).cmp(&key(b)).then_with(|| a.user.cmp(&b.user))
        });
        let (mut sessions, mut bytes, mut more) = (Vec::new(), 0, 0);
        for one in all {
            bytes += codec::encode(&one).len();
            if bytes <= SHOWN_BYTES {
                sessions.push(one)
            } else {
                more += 1
            }
        }
        Sessions { sessions, more }
    }

    fn drain(&self, host: &str, is_drained: bool) -> Result<String, String> {
        let (farm, name) = match host.split_once('/') {
            Some((farm, name)) => (Some(farm), name),
            None => (None, host),
        };
        let sites = self.farms.values().map(|running| &running.site);
        let is_named = |site: &&Arc<FarmState>| farm.is_none_or(|farm| farm == site.name());
        let having: Vec<_> = sites
            .filter(is_named)
            .filter(|site| site.has_host(name))
            .collect();
        let site = match having[..] {
            [site] => site,
            [] => return Err(format!("no farm has a host '{host}'")),
            [first, ..] => {
                let first = first.name();
                return Err(format!(
                    "several farms have a host '{name}': name one, such as {first}/{name}"
                ));
            }
        };
        let was_drained = site.is_ordered(name);
        site.drain(name, is_drained);
        if !is_drained && let Some(why) = site.why_no_new_users(name) {
            let word = if was_drained { "no longer" } else { "not" };
            return Ok(format!(
                "{name} is {word} drained by an operator, but accepts nobody now: {why}"
            ));
        }
        if was_drained == is_drained {
            return Ok(if is_drained {
                format!("{name} is already drained")
            } else {
                format!("{name} already accepts users")
            });
        }
        let closed = site.closed_with(name).join(", ");
        Ok(match (is_drained, closed.as_str()) {
            (true, "") => {
                format!("{name} gets no new users; users with a session there return to it")
            }
            (true, closed) => format!(
                "{name} gets no new users; users with a session there return to it. No other host accepts \
                 users for {closed}: new users cannot start that now"
            ),
            (false, _) => format!("{name} accepts users again"),
        })
    }

    fn disconnect(&self, name: &str, host: &str) -> Result<String, String> {
        let user = FarmUser::named(name).ok_or_else(|| format!("'{name}' is not a user name"))?;
        let (farm, host) = host
            .split_once('/')
            .map_or((None, host), |(farm, host)| (Some(farm), host));
        let sites = self.farms.values().map(|running| &running.site);
        let is_named = |site: &&Arc<FarmState>| farm.is_none_or(|farm| farm == site.name());
        let having: Vec<_> = sites
            .filter(is_named)
            .filter(|site| host.is_empty() || site.has_host(host))
            .collect();
        if having.is_empty() && !host.is_empty() {
            return Err(format!("no farm has a host '{host}'"));
        }
        let (mut own, mut far, mut asked) = (0, 0, BTreeSet::new());
        for site in having {
            let ended = site.disconnect(&user, host);
            (own, far) = (own + ended.own, far + ended.far);
            asked.extend(ended.asked);
        }
        let name = &user.name;
        let to = match host {
            "" => String::new(),
            host => format!(" to {host}"),
        };
        let asked = asked.into_iter().collect::<Vec<_>>().join(", ");
        let connections = match own {
            1 => format!("1 connection of {name}{to} is being closed"),
            own => format!("{own} connections of {name}{to} are being closed"),
        };
        match (own, far, asked.as_str()) {
            (0, 0, "") => Err(format!("{name} has no connection{to}")),
            (0, 0, nodes) => Err(format!(
                "{name} has no connection{to} on this node; requested {nodes} to close any others"
            )),
            (_, _, "") => Ok(format!("{connections}; the session stays at its host")),
            (_, far, nodes) => Ok(format!(
                "{connections} on this node, {far} on {nodes}; the session stays at its host"
            )),
        }
    }

    fn why(&self, user: &str) -> UserHistoryResponse {
        let (mut farms, mut bytes) = (Vec::new(), 0);
        let user = FarmUser::named(user);
        let sites = self.farms.values().map(|running| &running.site);
        for mut asked in sites.filter_map(|site| site.why(user.as_ref()?)) {
            bytes += codec::encode(&asked).len();
            if bytes > SHOWN_BYTES {
                // Drops the history first, because the host that the user would get now is more
                // important.
                asked.steps.clear();
            }
            farms.push(asked);
        }
        UserHistoryResponse { farms }
    }
}

impl RunningFarm {
    /// Listens at these addresses. Connections through other addresses stay open.
    fn listen(&mut self, doors: Doors) -> Result<(), String> {
        self.server.change(doors.rdp);
        match &self.web {
            Some(web) if !doors.web.is_empty() => web.change(doors.web),
            _ => self.web = web_server(&self.site, doors.web, &self.portal)?,
        }
        Ok(())
    }

    fn doors(&self) -> Vec<Arc<FarmListener>> {
        let web = self.web.as_ref().map(web::Server::listeners);
        let mut all = self.server.listeners();
        all.extend(web.unwrap_or_default());
        all
    }
}

/// Returns the saved state for a new farm. If a farm with the same hosts has left the
/// configuration, its section was renamed, and the new farm continues its state. The sign-ins are
/// those of an earlier farm of the same name, or of the renamed one.
fn continued(
    name: &str,
    farm: &Farm,
    gone: &mut BTreeMap<String, SavedFarm>,
    portals: &mut BTreeMap<String, session::SavedSessions>,
) -> (SavedFarm, Option<session::SavedSessions>) {
    let portal = portals.remove(name);
    let Some((former, kept)) = SavedFarm::take_renamed(gone, farm) else {
        return (SavedFarm::default(), portal);
    };
    write_error(&format!(
        "evenkeel: farm {name}: continues farm {former}, which has the same hosts: its users return to \
         their sessions. Routing tokens with the former name are refused: download .rdp files again\n"
    ));
    let portal = portal.or_else(|| portals.remove(&former));
    (kept, portal)
}

fn web_server(
    site: &Arc<FarmState>,
    doors: Vec<Arc<FarmListener>>,
    portal: &Arc<Portal>,
) -> Result<Option<web::Server>, String> {
    if doors.is_empty() {
        return Ok(None);
    }
    let server = web::Server::start(Arc::clone(site), doors, Arc::clone(portal));
    server.map(Some).map_err(|error| language::reason(&error))
}

/// Opens the addresses of all farms. Returns those that could be opened, and by farm the errors of
/// the others.
fn open_all(
    farms: impl IntoIterator<Item = (String, Farm)>,
    before: &[Arc<FarmListener>],
) -> (OpenedFarms, BTreeMap<String, String>) {
    let (mut opened, mut why) = (Vec::new(), BTreeMap::new());
    for (name, farm) in farms {
        let (doors, closed) = open_addresses(farm.addresses(), before);
        if !closed.is_empty() {
            why.insert(name.clone(), closed.join("; "));
        }
        opened.push((name, farm, doors));
    }
    (opened, why)
}

/// Opens the addresses of a farm, for RDP and for HTTPS, and keeps those that are already open.
/// Also returns the errors of the others.
fn open_addresses([rdp, web]: [&[Bind]; 2], before: &[Arc<FarmListener>]) -> (Doors, Vec<String>) {
    let one = |bind: &Bind| match before.iter().find(|door| door.address() == bind.address) {
        Some(door) if door.is_of(bind) => (Some(Arc::clone(door)), None),
        Some(door) => match door.changed(bind) {
            Ok(door) => (Some(Arc::new(door)), None),
            Err(words) => (Some(Arc::clone(door)), Some(words)),
        },
        None => match FarmListener::open(bind) {
            Ok(door) => (Some(Arc::new(door)), None),
            Err(words) => (None, Some(words)),
        },
    };
    let mut closed = Vec::new();
    let mut all = |binds: &[Bind]| {
        let opened = binds.iter().map(one).filter_map(|(door, words)| {
            closed.extend(words);
            door
        });
        opened.collect()
    };
    let doors = Doors {
        rdp: all(rdp),
        web: all(web),
    };
    (doors, closed)
}
