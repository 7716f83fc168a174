//! Defines the codes of configuration errors about stick tables.

language::codes! {
    UNKNOWN_TABLE = "E0460", "stick table not found",
        "A rule or an expression names a stick table that does not exist. A table has the name of the proxy that \
         contains its `stick-table` line, or `PEERS/NAME` for a `table` line of a `peers` section.";
    BAD_STORE = "E0461", "invalid data type for a stick table",
        "`store` takes a list of data types, separated by commas: `conn_cur`, `http_req_rate(10s)`, `gpc(3)`. Rates \
         need a period, arrays a number of elements.";
    BAD_COUNTER = "E0462", "counter number out of range",
        "Tracked counters are numbered from 0. There are three of them by default. `tune.stick-counters` sets another \
         number, up to 12.";
    WRONG_KEY = "E0463", "key type does not fit the table",
        "The expression returns a type that cannot be a key of the table. `type` of the table sets the type of its \
         keys.";
    TABLE_SYNTAX = "E0464", "invalid stick table",
        "A stick table needs a key type and a size: `stick-table type ip size 1m expire 10m store conn_cur`. Sizes \
         may end in k, m or g.";
    SECOND_TABLE = "E0465", "second stick table in a proxy",
        "A proxy has at most one stick table. Put the other one into a backend without servers, and refer to it with \
         `table NAME`.";
    NO_OWN_TABLE = "E0466", "proxy has no stick table",
        "Without the name of a table, the rule uses the table of its own proxy, and this proxy has none. Add a \
         `stick-table` line, or name a table.";
    PEERS_LINE = "E0467", "invalid peers section",
        "A `peers` section lists all processes that share its tables, including this one: `peer NAME ADDRESS:PORT`. \
         The local peer is the one with the host name, or with the name from `-L` or `localpeer`.";
    UNKNOWN_PEERS = "E0468", "peers section not found",
        "`peers NAME` of a table must name a `peers` section of the configuration.";
    STORED_TWICE = "W0461", "data type stored twice",
        "`store` lists the same data type twice. The first one applies; remove the other one.";
    NO_LOCAL_PEER = "W0460", "no local peer",
        "No peer of the section has the name of this process (host name, `-L` or `localpeer`), so its tables are not \
         shared.";
}
