//! Codes of what is wrong with a file whichever part its sections are of.

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
    UNKNOWN_NODE = "W0125", "unknown node",
        "A line `on NODE …` names a node that neither a `node` section nor the cluster defines, so the line never \
         applies. The nearest name is shown. `evenkeel cluster status` lists the members of a cluster.";
}
