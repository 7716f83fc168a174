//! Lists the sections of a configuration file.

/// Names and descriptions of the sections.
pub static SECTIONS: &[(&str, &str)] = &[
    (
        "acme",
        "An ACME certificate authority and the account for ordering certificates.",
    ),
    (
        "backend",
        "A set of servers and how requests are distributed over them.",
    ),
    (
        "cache",
        "A small in-memory cache for responses, shared by the proxies that name it.",
    ),
    (
        "crt-store",
        "Certificates, keys and related files, loaded once and referenced by name.",
    ),
    ("defaults", "Default settings of the following proxies."),
    (
        "fcgi-app",
        "A FastCGI application: the location of its scripts, and the parameters of its requests.",
    ),
    (
        "frontend",
        "Addresses that clients connect to, and the rules for their requests.",
    ),
    (
        "global",
        "Settings of the whole process: privileges, limits, logs, TLS, tuning.",
    ),
    (
        "healthcheck",
        "A named health check, for servers that refer to it.",
    ),
    (
        "http-errors",
        "A named group of error pages that proxies can import.",
    ),
    ("listen", "A frontend and a backend in one section."),
    (
        "log-forward",
        "A syslog relay: receives messages and forwards them to log servers.",
    ),
    ("log-profile", "The log formats for the steps of a stream."),
    ("mailers", "Mail servers for alerts about servers."),
    (
        "namespace_list",
        "Network namespaces for bind and server lines.",
    ),
    (
        "peers",
        "Other load balancers with which stick tables are synchronised.",
    ),
    (
        "program",
        "A command that the master process starts beside its workers.",
    ),
    (
        "resolvers",
        "Nameservers, and how long their responses are valid.",
    ),
    (
        "ring",
        "An in-memory buffer that receives log messages and forwards them.",
    ),
    ("traces", "Internal events to record, and where."),
    (
        "userlist",
        "Users, their passwords and groups, for authentication.",
    ),
];
