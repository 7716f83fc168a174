//! The sections that a configuration file is made of.

/// Their names, and what each is for.
pub static SECTIONS: &[(&str, &str)] = &[
    (
        "acme",
        "An ACME certificate authority and the account that certificates are ordered with.",
    ),
    (
        "backend",
        "A set of servers and how requests are spread over them.",
    ),
    (
        "cache",
        "A small memory cache for answers, shared by the proxies that name it.",
    ),
    (
        "crt-store",
        "Certificates, keys and their companions, loaded once and named by others.",
    ),
    (
        "defaults",
        "Settings that the proxies which follow begin with.",
    ),
    (
        "fcgi-app",
        "A FastCGI application: where its scripts are, and the parameters of its requests.",
    ),
    (
        "frontend",
        "Addresses that clients connect to and the rules for what arrives there.",
    ),
    (
        "global",
        "Settings of the whole process: rights, limits, logs, TLS, tuning.",
    ),
    (
        "healthcheck",
        "A health check under a name, for the servers that refer to it.",
    ),
    (
        "http-errors",
        "A named group of error answers which proxies can import.",
    ),
    ("listen", "A frontend and a backend in one section."),
    (
        "log-forward",
        "A syslog relay: takes messages in and sends them on to log servers.",
    ),
    (
        "log-profile",
        "What is logged at each step of a stream's life, and in which format.",
    ),
    (
        "mailers",
        "Mail servers that alerts about servers are sent to.",
    ),
    (
        "namespace_list",
        "Network namespaces that may be named by bind and server lines.",
    ),
    (
        "peers",
        "Other load balancers that stick tables are exchanged with.",
    ),
    (
        "program",
        "A command that the master process starts beside its workers.",
    ),
    (
        "resolvers",
        "Name servers, and how long their answers are believed.",
    ),
    (
        "ring",
        "A buffer in memory that log messages go to and are forwarded from.",
    ),
    ("traces", "Which internal events are recorded, and where."),
    (
        "userlist",
        "Users, their passwords and groups, for authentication.",
    ),
];

/// Sections of the same language that other roles build: the loader collects their lines
/// and knows none of their keywords.
pub static OTHERS: &[&str] = &["config", "node", "virtual-ip"];
