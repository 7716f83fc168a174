//! What conditions are made of, in rules and in the file itself.

use language::keyword::Known;

/// Conditions that need no `acl` line.
pub static PREDEFINED: Known = Known {
    kind: "acl",
    places: &["acl"],
    names: &[
        "FALSE",
        "HTTP",
        "HTTP_1.0",
        "HTTP_1.1",
        "HTTP_2.0",
        "HTTP_3.0",
        "HTTP_CONTENT",
        "HTTP_URL_ABS",
        "HTTP_URL_SLASH",
        "HTTP_URL_STAR",
        "LOCALHOST",
        "METH_CONNECT",
        "METH_DELETE",
        "METH_GET",
        "METH_HEAD",
        "METH_OPTIONS",
        "METH_POST",
        "METH_PUT",
        "METH_TRACE",
        "RDP_COOKIE",
        "REQ_CONTENT",
        "TRUE",
        "WAIT_END",
    ],
};

/// Flags before the patterns of a condition.
pub static FLAGS: Known = Known {
    kind: "match flag",
    places: &["acl"],
    names: &["--", "-M", "-f", "-i", "-m", "-n", "-u"],
};

/// Match methods, after `-m`.
pub static METHODS: Known = Known {
    kind: "match method",
    places: &["acl"],
    names: &[
        "beg", "bin", "bool", "dir", "dom", "end", "found", "int", "ip", "len", "reg", "str", "sub",
    ],
};

/// Comparisons of numbers.
pub static OPERATORS: Known = Known {
    kind: "match operator",
    places: &["acl"],
    names: &["eq", "ge", "gt", "le", "lt"],
};

/// Lines that decide which lines of the file are read, or speak to its reader.
pub static DIRECTIVES: Known = Known {
    kind: "directive",
    places: &["file"],
    names: &[
        ".alert", ".diag", ".elif", ".else", ".endif", ".if", ".notice", ".warning",
    ],
};

/// What `.if` can ask.
pub static PREDICATES: Known = Known {
    kind: "predicate",
    places: &["file"],
    names: &[
        "awslc_api_atleast",
        "awslc_api_before",
        "defined",
        "enabled",
        "feature",
        "openssl_version_atleast",
        "openssl_version_before",
        "ssllib_name_startswith",
        "streq",
        "strneq",
        "strstr",
        "version_atleast",
        "version_before",
    ],
};
