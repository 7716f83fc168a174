//! Defines the codes of configuration errors that do not depend on the part of the platform to
//! which a section belongs.

language::codes! {
    NO_SECTION = "E0104", "line outside of a section",
        "A keyword appears before the first section. Begin the file with `global`, `defaults`, `frontend`, `backend` \
         or `listen`.";
    UNANSWERED = "E0112", "configuration recorded by another version",
        "The proxy replays the loader's recording of a configuration, without access to the system, and a line needs \
         something that the recording lacks. Another version of the program made the recording. Reload the \
         configuration.";
    ON_NODE = "E0113", "invalid line for one node",
        "A line `on NODE …` lacks the node or the keyword, or begins a section. Only lines can apply to one node, not \
         sections. A `config` section applies to the whole cluster, so none of its lines can.";
    UNBUILT = "E0114", "section of a part that was not built",
        "The section, or the line in a `node` section, belongs to a part that this program was built without. A release has all \
         parts; `make run` builds only `proxy` and `address`. Install a complete program, or build one with `cargo build \
         --release -p evenkeel`.";
    CERTIFICATE_END = "W1060", "certificate that ends soon, or has ended",
        "Clients refuse a certificate after its end. The warning comes 14 days before it, or for the last third of the \
         validity if that is shorter. Let the tool that renews the file load it as well: `evenkeel reload` on a single \
         machine, `evenkeel config apply FILE… -m MESSAGE` in a cluster, whose members do not read changed files.";
    UNKNOWN_NODE = "W0125", "unknown node",
        "A line `on NODE …` names a node that neither a `node` section nor the cluster defines, so the line never \
         applies. The nearest name is shown. `evenkeel cluster status` lists the members of a cluster.";
}
