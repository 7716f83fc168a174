//! Structs that are wider than agreed, with the number of their fields. Most are
//! records of settings, where a keyword is a field; the rest is to be split.

/// A struct that may be wider.
#[derive(Debug)]
pub(super) struct Wide {
    pub(super) file: &'static str,
    pub(super) name: &'static str,
    pub(super) fields: usize,
}

const fn wide(file: &'static str, name: &'static str, fields: usize) -> Wide {
    Wide { file, name, fields }
}

pub(super) const WIDE: &[Wide] = &[
    wide("crates/address/src/config.rs", "Global", 35),
    wide("crates/address/src/config/instance.rs", "Instance", 21),
    wide("crates/address/src/config/kernel.rs", "Address", 16),
    wide("crates/address/src/config/kernel.rs", "Route", 18),
    wide("crates/address/src/config/kernel.rs", "Rule", 22),
    wide("crates/address/src/config/options.rs", "Options", 22),
    wide("crates/address/src/dialect/family/draft.rs", "Defaults", 18),
    wide("crates/address/src/dialect/family/draft.rs", "Drafts", 24),
    wide(
        "crates/address/src/dialect/family/draft.rs",
        "InstanceDraft",
        30,
    ),
    wide("crates/address/src/role/member.rs", "Member", 18),
    wide("crates/cluster/src/role/shared.rs", "RoleState", 20),
    wide("crates/cluster/src/role/status.rs", "MemberStatus", 24),
    wide("crates/cluster/src/role/status.rs", "Status", 19),
    wide("crates/cluster/src/rollout/simulation/world.rs", "Node", 21),
    wide("crates/cluster/src/state/mod.rs", "State", 18),
    wide("crates/configuration/src/recording/form.rs", "Form", 16),
    wide("crates/evenkeel/src/haproxy/arguments.rs", "Arguments", 27),
    wide(
        "crates/evenkeel/src/keepalived/arguments.rs",
        "Arguments",
        28,
    ),
    wide("crates/model/src/config/global.rs", "Global", 53),
    wide("crates/model/src/config/global.rs", "Tune", 19),
    wide("crates/model/src/config/mod.rs", "Config", 22),
    wide("crates/model/src/config/proxy.rs", "Proxy", 90),
    wide("crates/model/src/config/server.rs", "ServerOptions", 50),
    wide("crates/model/src/config/server_tls.rs", "ServerTls", 17),
    wide("crates/model/src/rules/draft/mod.rs", "Draft", 16),
    wide("crates/model/src/setting/bind.rs", "Bind", 20),
    wide("crates/model/src/state/server/kept.rs", "Kept", 19),
    wide(
        "crates/model/src/state/server/report.rs",
        "ServerReport",
        19,
    ),
    wide("crates/mux/src/slot.rs", "Slot", 17),
    wide("crates/part/src/role/plan.rs", "Plan", 27),
    wide(
        "crates/protocol/src/http2/connection/limits.rs",
        "Limits",
        17,
    ),
    wide(
        "crates/protocol/src/http2/connection/mod.rs",
        "Connection",
        29,
    ),
    wide("crates/protocol/src/vrrp/machine.rs", "Machine", 21),
    wide("crates/protocol/src/vrrp/settings.rs", "Settings", 23),
    wide("crates/protocol/src/vrrp/simulation/scene.rs", "Host", 21),
    wide("crates/proxy/src/carry/told.rs", "KeptFields", 19),
    wide("crates/proxy/src/carry/told.rs", "ProxyTold", 16),
    wide("crates/tls/src/certificate.rs", "Certificate", 16),
    wide("crates/tls/src/session.rs", "Inner", 18),
    wide("crates/tls/src/settings.rs", "TlsDefaults", 21),
    wide("crates/volume/src/mirror/shown.rs", "Shown", 16),
    wide("crates/volume/src/replica/simulation/plan.rs", "Plan", 20),
    wide("crates/volume/src/replica/simulation/world.rs", "World", 16),
    wide("crates/volume/src/sums/checked.rs", "Summing", 16),
];
