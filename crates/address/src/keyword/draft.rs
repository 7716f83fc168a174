//! Stores the parsed `node` and `virtual-ip` sections until all of them are read. Only then is it
//! known which node this machine is.

use super::instance::options;
use super::{TargetHost, codes};
use crate::config::{NotifyScripts, Options, Script};
use configuration::ConfiguredNode;
use configuration::outside::SystemQuery;
use language::arguments::Built;
use language::{Diagnostic, Span, Spanned};
use std::net::IpAddr;
use std::time::Duration;

#[derive(Debug)]
pub(super) struct NodeDraft {
    /// Name of the node; None: the host name of the machine.
    pub(super) name: Option<String>,
    pub(super) span: Span,
    pub(super) addresses: Vec<Spanned<IpAddr>>,
    pub(super) host_name: Option<Spanned<String>>,
}

impl NodeDraft {
    pub(super) fn configured(&self) -> ConfiguredNode {
        ConfiguredNode {
            name: self.name.clone(),
            host_names: self.host_name.iter().map(|n| n.value.clone()).collect(),
            addresses: self.addresses.iter().map(|a| a.value).collect(),
        }
    }
}

/// An address as written in the file.
#[derive(Clone, Debug)]
pub(super) struct Address {
    pub(super) address: IpAddr,
    pub(super) prefix: Option<u8>,
    pub(super) span: Span,
}

#[derive(Debug)]
pub(super) struct Interface {
    pub(super) name: Spanned<String>,
    /// Nodes in `on`; empty: all nodes.
    pub(super) nodes: Vec<Spanned<String>>,
}

#[derive(Debug)]
pub(super) enum TransportDraft {
    /// `multicast`, with an optional group.
    Multicast(Option<IpAddr>),
    Unicast,
}

/// Programs that a `virtual-ip` section runs.
#[derive(Debug, Default)]
pub(super) struct Programs {
    pub(super) scripts: Vec<Script>,
    pub(super) notify: NotifyScripts,
    pub(super) left_out: Vec<Vec<String>>,
    /// Command lines of `notify` and `track script`.
    pub(super) commands: Vec<Spanned<Vec<String>>>,
    /// `script-user`: a user, and an optional group.
    pub(super) user: Option<Spanned<(String, Option<String>)>>,
}

#[derive(Debug, Default)]
pub(super) struct VirtualIp {
    pub(super) name: String,
    pub(super) span: Span,
    pub(super) addresses: Vec<Address>,
    /// True if a line names addresses, even if they are refused.
    pub(super) address_line: bool,
    pub(super) interfaces: Vec<Interface>,
    pub(super) prefer: Vec<Spanned<String>>,
    pub(super) failover: Option<Spanned<Duration>>,
    pub(super) options: Options,
    pub(super) vrid: Option<Spanned<u8>>,
    pub(super) transport: Option<Spanned<TransportDraft>>,
    pub(super) virtual_mac: bool,
    pub(super) tracked_interfaces: Vec<Spanned<String>>,
    pub(super) backends: Vec<Spanned<String>>,
    pub(super) programs: Programs,
    /// Keywords that may be given only once, with their positions.
    once: Vec<(&'static str, Span)>,
}

impl VirtualIp {
    pub(super) fn new(name: &str, span: Span) -> Self {
        VirtualIp {
            name: name.to_owned(),
            span,
            options: options(),
            ..VirtualIp::default()
        }
    }

    /// Reports a keyword that was already given. Synonyms share a `what`.
    pub(super) fn once(&mut self, what: &'static str, span: Span) -> Built {
        if let Some((_, first)) = self.once.iter().find(|(other, _)| *other == what) {
            let told = format!("{what} may appear only once in a section");
            let told = Diagnostic::error(&codes::TWICE, span, told).duplicate_of(*first);
            return Err(told.help("remove one of the two"));
        }
        self.once.push((what, span));
        Ok(())
    }
}

/// Sections `node` and `virtual-ip` that have been read so far, with their diagnostics.
#[derive(Debug)]
pub(super) struct AddressConfigDraft {
    pub(super) host: TargetHost,
    /// Keyword of the first section, with its position.
    pub(super) begun: Option<(String, Span)>,
    pub(super) nodes: Vec<NodeDraft>,
    pub(super) virtual_ips: Vec<VirtualIp>,
    pub(super) diagnostics: Vec<Diagnostic>,
    /// Files and accounts that this machine lacks, although an accepted configuration version needs
    /// them.
    pub(super) lacks: Vec<SystemQuery>,
}

impl AddressConfigDraft {
    pub(super) fn new(host: TargetHost) -> Self {
        AddressConfigDraft {
            host,
            begun: None,
            nodes: Vec::new(),
            virtual_ips: Vec::new(),
            diagnostics: Vec::new(),
            lacks: Vec::new(),
        }
    }

    /// Records a program that this machine cannot run. The accepted configuration version is served
    /// without it.
    pub(super) fn leave_out(&mut self, words: &[String], lack: SystemQuery) {
        self.lacks.push(lack);
        self.virtual_ip().programs.left_out.push(words.to_vec());
    }

    pub(super) fn add_diagnostic(&mut self, told: Diagnostic) {
        self.diagnostics.push(told);
    }

    pub(super) fn virtual_ip(&mut self) -> &mut VirtualIp {
        if self.virtual_ips.is_empty() {
            self.virtual_ips.push(VirtualIp::new("", Span::default()));
        }
        let last = self.virtual_ips.len() - 1;
        &mut self.virtual_ips[last]
    }

    pub(super) fn node(&mut self) -> Option<&mut NodeDraft> {
        self.nodes.last_mut()
    }
}
