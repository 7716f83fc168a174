//! Stores the blocks of `keepalived.conf` as drafts while its lines are parsed. The configuration
//! is built from the drafts at the end, because `global_defs` with the defaults may follow the
//! blocks that use them.

use crate::config::{
    Account, Address, BfdSession, Notify, NotifyScripts, Options, Peer, Route, Rule, Script, Start,
    TrackFile, TrackProcess, Vmac, Weight,
};
use crate::dialect::words::SourceWord;
use language::Span;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

pub(in crate::dialect) use language::Spanned as At;

/// Options with their values, and the positions of those that the file sets.
#[derive(Clone, Debug, Default)]
pub(in crate::dialect) struct SpannedOptions {
    pub(in crate::dialect) values: Options,
    places: BTreeMap<&'static str, Span>,
}

impl SpannedOptions {
    /// Sets an option, under the name of its keyword.
    pub(in crate::dialect) fn set(
        &mut self,
        name: &'static str,
        span: Span,
        change: impl FnOnce(&mut Options),
    ) {
        self.places.insert(name, span);
        change(&mut self.values);
    }

    /// Returns where an option was configured.
    pub(in crate::dialect) fn place(&self, name: &str) -> Option<Span> {
        self.places.get(name).copied()
    }

    /// Returns the value and position of an option that the file sets; None: the file does not set
    /// the option.
    pub(in crate::dialect) fn at<T>(
        &self,
        name: &str,
        of: impl Fn(&Options) -> T,
    ) -> Option<At<T>> {
        let span = self.place(name)?;
        let value = of(&self.values);
        Some(At { value, span })
    }
}

/// A reference to a tracked object.
#[derive(Clone, Debug)]
pub(in crate::dialect) struct Reference {
    pub(in crate::dialect) name: At<String>,
    pub(in crate::dialect) weight: Option<At<i32>>,
    pub(in crate::dialect) reverse: Option<bool>,
}

#[derive(Clone, Debug, Default)]
pub(in crate::dialect) struct References {
    pub(in crate::dialect) interfaces: Vec<Reference>,
    pub(in crate::dialect) scripts: Vec<Reference>,
    pub(in crate::dialect) files: Vec<Reference>,
    pub(in crate::dialect) processes: Vec<Reference>,
    pub(in crate::dialect) bfd: Vec<Reference>,
}

#[derive(Clone, Copy, Debug, Default)]
pub(in crate::dialect) struct GarpDraft {
    pub(in crate::dialect) delay: Option<Duration>,
    pub(in crate::dialect) repeat: Option<u32>,
    pub(in crate::dialect) lower_prio_delay: Option<Duration>,
    pub(in crate::dialect) lower_prio_repeat: Option<u32>,
    pub(in crate::dialect) refresh: Option<Duration>,
    pub(in crate::dialect) refresh_repeat: Option<u32>,
    pub(in crate::dialect) extra: Option<(Duration, bool)>,
    /// Position of the last line that sets one of these values.
    pub(in crate::dialect) place: Option<Span>,
}

#[derive(Clone, Debug, Default)]
pub(in crate::dialect) struct InstanceDraft {
    pub(in crate::dialect) name: String,
    pub(in crate::dialect) place: Span,
    pub(in crate::dialect) interface: Option<At<String>>,
    pub(in crate::dialect) vrid: Option<At<u8>>,
    /// True if the file has an invalid router id, which is reported already.
    pub(in crate::dialect) vrid_told: bool,
    pub(in crate::dialect) interface_told: bool,
    pub(in crate::dialect) priority: Option<At<u8>>,
    pub(in crate::dialect) start: Option<At<Start>>,
    pub(in crate::dialect) options: SpannedOptions,
    pub(in crate::dialect) native_ipv6: Option<Span>,
    pub(in crate::dialect) group: Option<At<IpAddr>>,
    pub(in crate::dialect) source: Option<At<IpAddr>>,
    pub(in crate::dialect) unicast_source: bool,
    pub(in crate::dialect) peers: Option<At<Vec<At<Peer>>>>,
    pub(in crate::dialect) ttl: Option<At<u8>>,
    pub(in crate::dialect) check_source: Option<Span>,
    pub(in crate::dialect) auth_place: Option<Span>,
    pub(in crate::dialect) auth_ah: Option<At<bool>>,
    pub(in crate::dialect) auth_pass: Option<At<Vec<u8>>>,
    pub(in crate::dialect) vmac: Option<Vmac>,
    pub(in crate::dialect) vmac_transmit_on_base: Option<Span>,
    pub(in crate::dialect) vmac_for_addresses: Option<Span>,
    /// The MAC of `use_vmac` has five octets, and the router id is the sixth.
    pub(in crate::dialect) vmac_ends_in_vrid: bool,
    pub(in crate::dialect) addresses: Vec<At<Address>>,
    pub(in crate::dialect) excluded: Vec<At<Address>>,
    pub(in crate::dialect) routes: Vec<At<Route>>,
    pub(in crate::dialect) rules: Vec<At<Rule>>,
    pub(in crate::dialect) references: References,
    pub(in crate::dialect) garp: GarpDraft,
    pub(in crate::dialect) notify: NotifyScripts,
    /// True if the configuration has `linkbeat_use_polling`.
    pub(in crate::dialect) polls_carrier: bool,
}

#[derive(Clone, Debug, Default)]
pub(in crate::dialect) struct GroupDraft {
    pub(in crate::dialect) name: String,
    pub(in crate::dialect) place: Span,
    pub(in crate::dialect) members: Vec<At<String>>,
    pub(in crate::dialect) references: References,
    pub(in crate::dialect) notify: NotifyScripts,
    pub(in crate::dialect) smtp_alert: Option<bool>,
    pub(in crate::dialect) notify_priority_changes: Option<bool>,
    pub(in crate::dialect) tracking_weight: bool,
    pub(in crate::dialect) global_tracking: bool,
}

/// A program that is checked at the end, when the account that runs it is known.
#[derive(Clone, Debug)]
pub(in crate::dialect) struct UncheckedProgram {
    /// Kind of program: "notify script".
    pub(in crate::dialect) what: &'static str,
    pub(in crate::dialect) program: String,
    /// Name of the `vrrp_script` that the program belongs to.
    pub(in crate::dialect) script: Option<String>,
    pub(in crate::dialect) account: Option<Account>,
    pub(in crate::dialect) span: Span,
}

/// A pipe, and its script if a line has configured one so far.
#[derive(Clone, Debug, Default)]
pub(in crate::dialect) struct FifoDraft {
    pub(in crate::dialect) path: Option<At<PathBuf>>,
    pub(in crate::dialect) account: Option<Account>,
    pub(in crate::dialect) script: Option<At<Notify>>,
}

/// Drafts of all blocks, from which the configuration is built at the end.
#[derive(Clone, Debug, Default)]
pub(in crate::dialect) struct Drafts {
    pub(in crate::dialect) host: String,
    /// Position of the keyword `instance`.
    pub(in crate::dialect) instance_name: Option<Span>,
    pub(in crate::dialect) instances: Vec<InstanceDraft>,
    pub(in crate::dialect) groups: Vec<GroupDraft>,
    /// The `bind` lines of each `virtual_server_group`.
    pub(in crate::dialect) server_groups: HashMap<String, String>,
    pub(in crate::dialect) scripts: Vec<At<Script>>,
    pub(in crate::dialect) files: Vec<At<TrackFile>>,
    pub(in crate::dialect) processes: Vec<At<TrackProcess>>,
    pub(in crate::dialect) bfd: Vec<At<BfdSession>>,
    pub(in crate::dialect) commands: Vec<UncheckedProgram>,
    pub(in crate::dialect) track_groups: Vec<At<(String, Vec<At<String>>)>>,
    /// Interfaces that must exist, each with the kind of line that names it.
    pub(in crate::dialect) interfaces: Vec<(At<String>, &'static str)>,
    pub(in crate::dialect) delays: Vec<Span>,
    /// Uses of a `track_group` in `static_*` blocks.
    pub(in crate::dialect) track_group_uses: Vec<At<String>>,
    pub(in crate::dialect) fifos: [FifoDraft; 2],
    pub(in crate::dialect) static_addresses: Vec<At<Address>>,
    pub(in crate::dialect) static_routes: Vec<At<Route>>,
    pub(in crate::dialect) static_rules: Vec<At<Rule>>,
    pub(in crate::dialect) mail: MailDraft,
    pub(in crate::dialect) defaults: Defaults,
    /// Names of blocks by their kind, each with its first position.
    pub(in crate::dialect) named: HashMap<(&'static str, String), Span>,
    /// Weights of tracked objects by name. Empty until all blocks are parsed.
    pub(in crate::dialect) known: Rc<TrackedWeights>,
    /// Interfaces of instances with `linkbeat_use_polling`. Empty until all blocks are parsed.
    pub(in crate::dialect) polled: Vec<String>,
    /// Number of rules that got a default preference.
    pub(in crate::dialect) preferences_given: u32,
}

/// Weights of tracked objects, by name.
#[derive(Clone, Debug, Default)]
pub(in crate::dialect) struct TrackedWeights {
    pub(in crate::dialect) scripts: HashMap<String, Weight>,
    pub(in crate::dialect) files: HashMap<String, Weight>,
    pub(in crate::dialect) processes: HashMap<String, Weight>,
    pub(in crate::dialect) bfd: HashMap<String, Weight>,
}

/// `notification_email` and the other SMTP settings.
#[derive(Clone, Debug, Default)]
pub(in crate::dialect) struct MailDraft {
    pub(in crate::dialect) to: Vec<String>,
    pub(in crate::dialect) from: Option<String>,
    pub(in crate::dialect) server: Option<(String, u16)>,
    pub(in crate::dialect) helo: Option<String>,
    pub(in crate::dialect) timeout: Option<Duration>,
}

/// Defaults that `global_defs` sets for instances.
#[derive(Clone, Debug, Default)]
pub(in crate::dialect) struct Defaults {
    pub(in crate::dialect) router_id: Option<String>,
    pub(in crate::dialect) options: SpannedOptions,
    pub(in crate::dialect) group4: Option<IpAddr>,
    pub(in crate::dialect) group6: Option<IpAddr>,
    pub(in crate::dialect) garp: GarpDraft,
    pub(in crate::dialect) min_garp: bool,
    pub(in crate::dialect) check_source: bool,
    pub(in crate::dialect) vmac_prefix: Option<String>,
    pub(in crate::dialect) smtp_alert: Option<bool>,
    pub(in crate::dialect) smtp_alert_vrrp: Option<bool>,
    pub(in crate::dialect) process_names: bool,
    pub(in crate::dialect) receive_multiplier: Option<u32>,
    pub(in crate::dialect) receive_policy: Option<ReceivePolicy>,
    pub(in crate::dialect) startup_timeout: Option<Duration>,
    pub(in crate::dialect) shutdown_timeout: Option<Duration>,
    pub(in crate::dialect) startup: Option<Notify>,
    pub(in crate::dialect) shutdown: Option<Notify>,
    pub(in crate::dialect) linkbeat_all: bool,
}

#[derive(Clone, Copy, Debug)]
pub(in crate::dialect) enum ReceivePolicy {
    Mtu,
    Advert,
    Bytes(u32),
}

/// Stores a value; None, the result for an invalid value, changes nothing.
pub(in crate::dialect) fn set<T>(value: Option<T>, field: &mut T) {
    if let Some(value) = value {
        *field = value;
    }
}

/// Stores a value, unless it is None, in the last draft of its kind, whose block is being parsed.
pub(in crate::dialect) fn put<D, T>(
    value: Option<T>,
    drafts: &mut [At<D>],
    field: impl FnOnce(&mut D) -> &mut T,
) {
    if let (Some(value), Some(last)) = (value, drafts.last_mut()) {
        *field(&mut last.value) = value;
    }
}

impl Drafts {
    /// Returns the position of an earlier block of this kind with the same name. If there is none,
    /// records the name and returns None.
    pub(in crate::dialect) fn name_taken(
        &mut self,
        kind: &'static str,
        name: &SourceWord,
    ) -> Option<Span> {
        match self.named.entry((kind, name.text.clone())) {
            Entry::Occupied(first) => Some(*first.get()),
            Entry::Vacant(new) => {
                new.insert(name.span);
                None
            }
        }
    }

    /// Records that a line of the kind `of` needs an interface. Its existence is checked at the
    /// end.
    pub(in crate::dialect) fn require_interface(&mut self, name: At<String>, of: &'static str) {
        self.interfaces.push((name, of));
    }

    pub(in crate::dialect) fn new(host: String) -> Drafts {
        Drafts {
            host,
            ..Drafts::default()
        }
    }
}
