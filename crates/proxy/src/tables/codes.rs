//! Codes of what is wrong with tables and what uses them.

use crate::load::codes::codes;
use language::Code;

codes! {
    UNKNOWN_TABLE = "E0460", "no such table",
        "A rule or an expression names a stick table that the file does not have. A table has the name of the proxy in which its `stick-table` \
         line stands, or `PEERS/NAME` where a `table` line of a `peers` section makes it.";
    BAD_STORE = "E0461", "cannot be stored",
        "Behind `store` stand types of data, separated by commas: `conn_cur`, `http_req_rate(10s)`, `gpc(3)`. Rates have a period, \
         arrays a number of elements.";
    BAD_COUNTER = "E0462", "no such counter",
        "Counters that track are numbered from 0. There are three of them, or as many as `tune.stick-counters` says, which is 12 at most.";
    WRONG_KEY = "E0463", "cannot be a key of this table",
        "The values of the expression can never be keys of the table: they are of another type. `type` of the table says what its keys are.";
    TABLE_SYNTAX = "E0464", "table cannot be read",
        "A table has a type of keys and a size: `stick-table type ip size 1m expire 10m store conn_cur`. Sizes may end in k, m or g.";
    SECOND_TABLE = "E0465", "second table of a proxy",
        "A proxy has one table at most. Put the other one into a backend of its own, which needs no servers, and name it: `table NAME`.";
    NO_OWN_TABLE = "E0466", "no table of its own",
        "Without the name of a table the one of the section itself is meant, and this section has none. Give it a `stick-table`, or name one.";
    PEERS_LINE = "E0467", "peers cannot be read",
        "A `peers` section names everyone who shares its tables, this process among them: `peer NAME ADDRESS:PORT`. The local one is the peer \
         with the name of the host, or with the name behind `-L` or `localpeer`.";
    UNKNOWN_PEERS = "E0468", "no such peers section",
        "`peers NAME` of a table must name a `peers` section of the file.";
    STORED_TWICE = "W0461", "stored already",
        "The same type of data stands twice behind `store`. The first one counts; take the other one out.";
    NO_LOCAL_PEER = "W0460", "peers without this process",
        "No peer of the section has the name of this process (the host's, `-L`, or `localpeer`), so its tables are shared with nobody.";
}
