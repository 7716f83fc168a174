//! Builds a configuration version for a load request: reads and loads files, reports diagnostics,
//! compares the version with the served one, opens or inherits sockets, and writes the bundle.

#[cfg(feature = "cluster")]
use super::nothing;
use super::outcome::BuiltVersion;
use super::wishes::Wishes;
use super::{LoadFailure, LoadResult, compare, lacking, rest, watched};
use crate::certificates;
use crate::parts::{self, Payloads, RolePayload};
use configuration::{Recording, waiting_for_volumes};
use confinement::Confinement;
use keyword::load::Loaded;
use model::config::Config;
use model::log::{self, Sink};
use part::before;
use part::codec::InvalidEncoding;
use part::file_set::FileSet;
use part::memory;
use part::role::{
    Lacks, Load, Missing, PartPlan, Resource, ResourceKind, Rights, Settings, VersionPlan,
};
use part::voice::{Form, MessagePrinter};
use proxy::listener::{self, Inherited, Listening};
use proxy::operations::{self, OperationsSocket};
use proxy_role::process::{self, LeftOut, StartError};
use std::ffi::OsString;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Descriptors that a role may have open for one listener: the accepting one, one for a new
/// supervisor, and one of a pending change.
const DESCRIPTORS_A_LISTENER: usize = 3;

const NOT_READ: &str = "no difference: a member serves the accepted version of the cluster. To apply changed files of \
     this machine, also renewed certificates: `evenkeel config apply FILE… -m MESSAGE`";

/// Builds a version, or reports why that fails. For a change, `descriptors` are the bundle and the
/// sockets of the served version. At a start they are sockets of a role whose version is unknown,
/// or none. For a cluster version, the first one is its set of files.
pub fn make(
    load: &Load,
    mut wishes: Wishes,
    mut descriptors: Vec<OwnedFd>,
    voice: &mut MessagePrinter,
) -> LoadResult {
    if load.set {
        wishes.set = Some(given_set(&mut descriptors).map_err(|error| refused_set(voice, &error))?);
    }
    wishes.find_without(load, voice.form());
    let has_bundle = load.previous.is_some() && !descriptors.is_empty();
    let bundle = has_bundle.then(|| descriptors.remove(0));
    let had = payloads(load.previous.as_ref(), &mut descriptors);
    let recording = compare::recording(bundle.as_ref());
    let before = Before {
        recording,
        payloads: had,
        sockets: descriptors,
    };
    let seen = watched::read(load, before.recording.as_ref(), &mut wishes, voice);
    let foreign = seen.and_then(|()| wishes.read_addresses(voice));
    let foreign = foreign.map_err(|_| watched::refused(load, &wishes, None, voice))?;
    let mut site = wishes.load(foreign.as_ref());
    if load.dry {
        site.check_expectations();
    }
    #[cfg(feature = "cluster")]
    if let (Some(set), true) = (&wishes.set, load.dry) {
        let runs = load
            .previous
            .as_ref()
            .is_some_and(|plan| !plan.without_proxy || !plan.parts.is_empty());
        if let Some(words) = nothing::anywhere(set, &wishes.options, &site, foreign.as_ref(), runs)
        {
            voice.alert(words);
            return Err(watched::refused(load, &wishes, Some(&site.proxy), voice));
        }
    }
    let mut running = site.running(&before.payloads);
    if voice.form() == Form::Own && !load.dry {
        let known = &before.payloads;
        running.extend(rest::running(load, &site, &running, known));
    }
    let lines = if load.parts_unknown {
        Vec::new()
    } else {
        parts::differences(&before.payloads, &running)
    };
    let same = running.len() == before.payloads.len() && lines.is_empty();
    if load.watched && same && watched::unchanged(&site.proxy, before.recording.as_ref()) {
        return Err(as_before(load, &wishes, &site.proxy, voice));
    }
    let refusals = parts::refusals(&running);
    if load.previous.is_some() && !refusals.is_empty() && !load.accepted {
        refusals.iter().for_each(|words| voice.alert(words));
        return Err(watched::refused(load, &wishes, Some(&site.proxy), voice));
    }
    let content = content(&wishes, &site.proxy);
    if is_edited(load, content) {
        return Err(as_before(load, &wishes, &site.proxy, voice));
    }
    let parts = PartPayloads {
        running,
        differences: lines,
    };
    let made = build(
        load,
        before,
        &wishes,
        &mut site.proxy,
        parts,
        content,
        voice,
    );
    if made
        .as_ref()
        .is_ok_and(|made| !warn_of_missing(load, made, voice))
    {
        return Err(as_before(load, &wishes, &site.proxy, voice));
    }
    if made.is_ok() {
        lacking::remember(load, &site.proxy.recording);
    }
    made.map_err(|_| watched::refused(load, &wishes, Some(&site.proxy), voice))
}

fn as_before(load: &Load, wishes: &Wishes, loaded: &Loaded, voice: &MessagePrinter) -> LoadFailure {
    let mut refusal = watched::refused(load, wishes, Some(loaded), voice);
    refusal.0.unchanged = true;
    refusal
}

/// Returns a hash of the loaded files in HAProxy's and keepalived's language.
fn content(wishes: &Wishes, loaded: &Loaded) -> u64 {
    let mut hasher = DefaultHasher::new();
    let proxy = loaded.recording.content(&loaded.watched.states);
    (proxy, wishes.address_content).hash(&mut hasher);
    hasher.finish()
}

/// Returns true if a load that only retries missing resources found edited files. No user requested
/// to load these, and they may be incomplete.
fn is_edited(load: &Load, content: u64) -> bool {
    let previous = load.previous.as_ref();
    let differs = previous.is_some_and(|plan| plan.content != content);
    load.retries && !load.set && differs
}

/// Warns about missing resources, and about certificates that expire soon. Returns false, and warns
/// about nothing, if a load that retries missing resources misses the same ones.
fn warn_of_missing(load: &Load, made: &BuiltVersion, voice: &mut MessagePrinter) -> bool {
    let plan = &made.plan;
    let before = load.previous.as_ref().filter(|_| load.retries);
    if before.is_some_and(|before| before.lacks.missing == plan.lacks.missing) {
        return false;
    }
    if !load.dry && !load.watched {
        let warnings = certificates::warnings(&plan.certificates, tls::certified::now_s());
        warnings.for_each(|told| voice.warning(&told.message));
    }
    // Warns only under our own name: otherwise the lines have warnings of their own.
    if voice.form() == Form::Own {
        plan.lacks
            .missing
            .iter()
            .for_each(|missing| voice.warning(missing));
    }
    true
}

/// Recording, role inputs and sockets of the served version, received from the supervisor.
struct Before {
    recording: Option<Recording>,
    payloads: Payloads,
    sockets: Vec<OwnedFd>,
}

/// Removes the role inputs of the previous version from the end of the descriptors, and returns the
/// readable ones.
fn payloads(previous: Option<&VersionPlan>, descriptors: &mut Vec<OwnedFd>) -> Payloads {
    let parts = previous.map_or(&[][..], |plan| &plan.parts);
    let mut all = Payloads::new();
    for part in parts.iter().rev() {
        if let Some(bytes) = descriptors.pop().and_then(|fd| memory::read(fd).ok()) {
            all.insert(part.part.clone(), bytes);
        }
    }
    all
}

#[derive(Debug, thiserror::Error)]
enum SetError {
    #[error("no version was given")]
    Missing,
    #[error(transparent)]
    Memory(#[from] memory::MemoryError),
    #[error("the files of the version: {0}")]
    Malformed(InvalidEncoding),
}

fn given_set(descriptors: &mut Vec<OwnedFd>) -> Result<FileSet, SetError> {
    if descriptors.is_empty() {
        return Err(SetError::Missing);
    }
    let bytes = memory::read(descriptors.remove(0))?;
    FileSet::decode(&Zeroizing::new(bytes)).map_err(SetError::Malformed)
}

fn refused_set(voice: &mut MessagePrinter, error: &SetError) -> LoadFailure {
    voice.alert(error);
    LoadFailure::default()
}

struct PartPayloads {
    running: Vec<RolePayload>,
    differences: Vec<String>,
}

fn build(
    load: &Load,
    before: Before,
    wishes: &Wishes,
    loaded: &mut Loaded,
    parts: PartPayloads,
    content: u64,
    voice: &mut MessagePrinter,
) -> LoadResult {
    let PartPayloads {
        running,
        mut differences,
    } = parts;
    let mut config = judge(loaded, wishes, load.set || !running.is_empty(), voice)?;
    process::apply_plan(&mut config, &wishes.plan);
    let serves = serves(&config, load.set || !running.is_empty(), voice.form());
    let proxy = compare::words(before.recording.as_ref(), &loaded.recording);
    if let Some(before) = &before.recording {
        let (before, now) = (&before.imports, &loaded.recording.imports);
        differences.extend(waiting_for_volumes(before, now));
    }
    let names = wishes.files.iter().chain(&wishes.address_files);
    let mut missing = wishes.lacking();
    lacking::refuse_new_names(load, &missing, voice)?;
    let pid_file = config.global.pidfile.as_deref();
    let pid_file = pid_file.filter(|path| {
        let place = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        lacking::has_directory(wishes, place, "the file is not written", &mut missing)
    });
    let plan = VersionPlan {
        files_max: load.files_soft,
        daemon: wishes.plan.background(&config),
        pid_file: pid_file.map(absolute),
        hard_stop_after_ms: config.global.hard_stop_after_ms.map(Into::into),
        quiet: voice.quiet,
        log_levels: config
            .global
            .log_levels
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
        names: names.map(|(name, _)| name.clone()).collect(),
        difference: match compare::joined(proxy, differences) {
            _ if load.retries => "less is missing".to_owned(),
            same if load.accepted && same == compare::NO_DIFFERENCE => NOT_READ.to_owned(),
            difference => difference,
        },
        watch: watched::files_to_watch(loaded, wishes, voice),
        without_proxy: !serves,
        without_secrets: !loaded.recording.has_secrets(),
        parts: running.iter().map(plan_of).collect(),
        resources: resources(&running, serves.then_some(&config)),
        lacks: Lacks {
            missing,
            ..Lacks::default()
        },
        content,
        certificates: certificates::of(&loaded.recording),
        ..VersionPlan::default()
    };
    let mut made = if serves {
        open(load, before.sockets, wishes, loaded, &config, plan, voice)?
    } else {
        BuiltVersion {
            plan,
            bundle: bundle(loaded, voice)?,
            descriptors: Vec::new(),
            state: None,
        }
    };
    for one in running {
        let payload = memory::create("evenkeel part", &one.given.payload);
        let payload = payload.map_err(|error| told(voice, StartError::Threads(error)))?;
        made.descriptors.push(payload);
    }
    Ok(made)
}

/// Returns whether a proxy role is started. Under our own name a proxy without listeners is started
/// only if nothing else (`others`) runs.
fn serves(config: &Config, others: bool, form: Form) -> bool {
    match form {
        Form::Own => config.listens() || !others,
        // Starts a worker even without listeners, as HAProxy does.
        Form::Haproxy => true,
        Form::Keepalived => false,
    }
}

/// Returns the resources that this instance claims on this machine. Those of the parts come first,
/// because the supervisor drops the last ones above its limit.
fn resources(running: &[RolePayload], proxy: Option<&Config>) -> Vec<Resource> {
    let parts = running.iter().flat_map(|one| &one.given.resources);
    let listeners = proxy.into_iter().flat_map(listener::addresses);
    let listeners = listeners.map(|address| Resource::new(ResourceKind::Listener, address));
    let parts = parts.filter_map(|line| Resource::parse(line));
    parts.chain(listeners).collect()
}

fn plan_of(running: &RolePayload) -> PartPlan {
    let given = &running.given;
    PartPlan {
        part: running.part.name.to_owned(),
        objects: given.size.number as u64,
        noun: given.size.noun.to_owned(),
        stop_ms: given.stop_ms,
        together: given.is_simultaneous,
    }
}

fn bundle(loaded: &Loaded, voice: &mut MessagePrinter) -> Result<OwnedFd, LoadFailure> {
    let bundle = memory::create("evenkeel bundle", &loaded.recording.encode());
    bundle.map_err(|error| told(voice, StartError::Threads(error)))
}

fn open(
    load: &Load,
    sockets: Vec<OwnedFd>,
    wishes: &Wishes,
    loaded: &Loaded,
    config: &Config,
    plan: VersionPlan,
    voice: &mut MessagePrinter,
) -> LoadResult {
    process::choose_processors(&config.global, voice);
    let previous = load.previous.as_ref().filter(|plan| !plan.without_proxy);
    let mut inherited = inherit(load.previous.as_ref(), sockets);
    if load.dry {
        inherited.only_try();
    }
    let had = inherited.len();
    let before_us = before_us(load);
    let fetched = process::fetch(&before_us).map_err(|error| told(voice, error))?;
    let mut left_out = wishes.accepted.then(LeftOut::default);
    let lenient = left_out.as_mut();
    let opened = process::open(
        config, loaded, inherited, &before_us, &fetched, lenient, voice,
    );
    let (listening, sockets) = opened.map_err(|error| told(voice, error))?;
    let left_out = left_out.unwrap_or_default();
    let mut missing = [&plan.lacks.missing[..], &left_out.missing].concat();
    let held = DESCRIPTORS_A_LISTENER * listening.len();
    let wanted = process::wanted_limits(config, held, &wishes.plan);
    let limits = process::find_limits(&wanted, load.files_soft, voice)
        .map_err(|error| told(voice, error))?;
    let targets = log::targets(config);
    let logs = Sink::open(targets.iter().cloned()).into_descriptors(&targets);
    let wanted_rights = rights_here(config, wishes, &mut missing, voice.form());
    missing.sort();
    let (rights, fixed) = compare::rights(wanted_rights, previous);
    let memory_mib = wishes.plan.memory_mib;
    let plan = VersionPlan {
        rights,
        settings: Settings {
            connections: wishes.plan.connections,
            proxy_connections: wishes.plan.proxy_connections,
            connections_max: limits.connections,
            threads: wanted.threads as u32,
        },
        files_max: limits.files,
        memory_bytes: memory_mib.map(|mib| mib.saturating_mul(1 << 20)),
        proxies: config.proxies.len() as u32,
        listeners: listening.len() as u32,
        operations: sockets.len() as u32,
        numbered: numbered(config, &left_out.places),
        logs: logs.iter().map(Option::is_some).collect(),
        fixed,
        reused: had as u32,
        programs: process::check_programs(config),
        programs_account: programs_account(config, voice.form()),
        lacks: Lacks {
            left_out: left_out.places,
            missing,
        },
        ..plan
    };
    let descriptors = collect(&listening, &sockets, logs);
    Ok(BuiltVersion {
        plan,
        bundle: bundle(loaded, voice)?,
        descriptors: descriptors.map_err(|error| told(voice, StartError::Threads(error)))?,
        state: fetched.state,
    })
}

/// Reports the diagnostics and returns the configuration.
///
/// # Errors
/// Fails for files with errors, for warnings under `zero-warning`, and if nothing would run.
fn judge(
    loaded: &mut Loaded,
    wishes: &Wishes,
    runs: bool,
    voice: &mut MessagePrinter,
) -> Result<Config, LoadFailure> {
    let asked = wishes.zero_warning
        || loaded
            .config
            .as_ref()
            .is_some_and(|config| config.global.zero_warning);
    let warnings = match voice.form() {
        Form::Own | Form::Keepalived => loaded.diagnostics.warnings(),
        Form::Haproxy => loaded.warning_count(),
    };
    let zero_warning = asked && warnings > 0 && !wishes.accepted;
    voice.quiet |= loaded.quiet && !wishes.verbose;
    voice.diagnostics(
        &loaded.sources,
        &loaded.diagnostics,
        wishes.options.diag,
        zero_warning,
    );
    let config = loaded.config.take().ok_or_else(LoadFailure::default)?;
    if zero_warning {
        if voice.form() == Form::Own {
            voice.alert("there are warnings, and `zero-warning` refuses files with warnings");
        }
        return Err(LoadFailure::default());
    }
    if voice.form() == Form::Own && !config.listens() && !runs {
        return Err(told(voice, StartError::NothingListens));
    }
    Ok(config)
}

fn told(voice: &mut MessagePrinter, error: StartError) -> LoadFailure {
    match (voice.form(), error) {
        // Prints no summary under our own name: each failed listener was reported.
        (Form::Own, StartError::Listeners) => {}
        (Form::Own, StartError::NothingListens) => {
            voice.alert(
                "nothing to run: the files have no listener (`bind`), virtual address, volume, guest, farm, boot network or console for \
                 this machine",
            );
        }
        (_, error) => voice.fatal(error),
    }
    LoadFailure::default()
}

/// Returns the process to replace at a start (`-x`, `-sf`, `-st`). The supervisor signals it later.
fn before_us(load: &Load) -> before::Before {
    before::Before {
        socket: load.before.socket.clone().map(OsString::from_vec),
        pids: load.before.pids.clone(),
        ..Default::default()
    }
}

/// Assigns the sockets of the served version. Without its plan, all recognizable sockets are
/// reused.
fn inherit(previous: Option<&VersionPlan>, descriptors: Vec<OwnedFd>) -> Inherited {
    let mut inherited = Inherited::default();
    let sockets = previous.map_or(descriptors.len(), |plan| {
        plan.listeners as usize + plan.operations as usize
    });
    let numbered = previous.map_or(&[][..], |plan| &plan.numbered);
    for (place, fd) in descriptors.into_iter().take(sockets).enumerate() {
        let number = numbered.iter().find(|(at, _)| *at as usize == place);
        let number = number.and_then(|(_, number)| i32::try_from(*number).ok());
        // Closes a socket that is no longer usable; the loader opens it again.
        let _ = match number {
            Some(number) => inherited.add_tagged(fd, number),
            None => inherited.add(fd),
        };
    }
    inherited
}

/// Returns the index among the open sockets and the descriptor number of each socket that the file
/// names by number (`fd@`). `left_out` are the indices of sockets that are not open.
fn numbered(config: &Config, left_out: &[u32]) -> Vec<(u32, u32)> {
    let tags = listener::tags(config).chain(operations::tags(config));
    let open = (0..)
        .zip(tags)
        .filter(|(place, _)| !left_out.contains(place));
    (0..)
        .zip(open.map(|(_, tag)| tag))
        .filter_map(|(place, tag)| Some((place, u32::try_from(tag?).ok()?)))
        .collect()
}

/// Collects all descriptors in the order that a role expects: listeners, statistics sockets, logs.
fn collect(
    listening: &[Listening],
    sockets: &[OperationsSocket],
    logs: Vec<Option<OwnedFd>>,
) -> std::io::Result<Vec<OwnedFd>> {
    let mut all = Vec::with_capacity(listening.len() + sockets.len() + logs.len());
    for one in listening {
        all.push(one.fd.try_clone()?);
    }
    for one in sockets {
        all.push(one.as_fd().try_clone_to_owned()?);
    }
    all.extend(logs.into_iter().flatten());
    Ok(all)
}

/// Returns the user and group for the programs of external checks, or None if the file configures a
/// user or group, which then apply to these programs, too.
fn programs_account(config: &Config, form: Form) -> Option<(u32, u32)> {
    let identity = confinement::identity_for(&config.global, confinement::StartedAs::now(), form);
    let is_default = identity.uid_origin == confinement::IdentityOrigin::Default
        && identity.gid_origin == confinement::IdentityOrigin::Default;
    is_default.then(|| confinement::ServiceUser::Checks.ids())
}

fn rights_here(config: &Config, wishes: &Wishes, missing: &mut Vec<Missing>, form: Form) -> Rights {
    let root = config.global.chroot.as_deref();
    let meanwhile = "the proxy runs without this `chroot`";
    let has_root = lacking::has_directory(wishes, root, meanwhile, missing);
    let rights = rights(config, form);
    Rights {
        chroot: rights.chroot.filter(|_| has_root),
        ..rights
    }
}

fn rights(config: &Config, form: Form) -> Rights {
    let global = &config.global;
    let identity = confinement::identity_for(global, confinement::StartedAs::now(), form);
    Rights {
        uid: identity.uid,
        gid: identity.gid,
        groups: identity.gid.into_iter().collect(),
        chroot: global.chroot.as_deref().map(absolute),
        capabilities: Confinement::proxy(config, &identity).capabilities().bits(),
    }
}

/// Makes a path absolute, since the supervisor and the roles have another working directory than
/// the loader (`-C`).
fn absolute(path: &Path) -> Vec<u8> {
    let path = std::path::absolute(path).unwrap_or_else(|_| PathBuf::from(path));
    path.as_os_str().as_bytes().to_vec()
}
