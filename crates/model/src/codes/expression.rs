//! Defines the codes of configuration errors in expressions, patterns, ACLs and conditions.

language::codes! {
    UNKNOWN_FETCH = "E0401", "unknown sample fetch",
        "The first name of an expression is a sample fetch: `src`, `path`, `req.hdr(host)`. This one does not exist. \
         The nearest name is shown; `evenkeel keyword NAME` explains each.";
    UNKNOWN_CONVERTER = "E0402", "unknown converter",
        "Converters follow the fetch of an expression, each after a comma: `path,lower,length`. This converter does \
         not exist.";
    EXPRESSION_SYNTAX = "E0403", "invalid expression",
        "An expression is a sample fetch, followed by converters, each after a comma. Arguments are in parentheses \
         without a space before them: `req.hdr(host),lower`. Inside the parentheses, quote a comma, a closing \
         parenthesis, or a space at the edge. The line's own quotes are removed first, so such an argument needs a \
         second pair around the word: `'regsub(\"a,b\",c)'`.";
    BAD_EXPRESSION_ARGUMENT = "E0404", "invalid argument of an expression",
        "A fetch or converter has a missing argument, an extra one, or one of the wrong type. The message shows its \
         syntax.";
    FETCH_NOT_HERE = "E0405", "not available at this point",
        "The rule runs when the data of this fetch does not exist yet, or no longer exists: response headers during \
         the request, or request headers during the response. To use request data in the response, store it with \
         `http-request set-var(txn.NAME) …` and read it with `var(txn.NAME)`.";
    TYPES_DO_NOT_FIT = "E0406", "incompatible types",
        "A converter or a matching method needs a type to which its input cannot be converted.";
    MATCH_METHOD_NEEDED = "E0407", "matching method needed",
        "The expression returns binary data, or a type that is known only at run time. The ACL must therefore select \
         the comparison: `-m str`, `-m bin`, `-m found` and so on.";
    UNKNOWN_MATCH_METHOD = "E0408", "unknown matching method",
        "`-m` takes one of: found, bool, int, ip, bin, len, str, sub, reg, beg, end, dir, dom.";
    UNKNOWN_MATCH_FLAG = "E0409", "unknown ACL flag",
        "Flags come before the patterns: `-i` (ignore case), `-f FILE` (patterns from a file), `-m METHOD`, `-n` (no \
         DNS lookups), `-u ID`, `-M` (the file is a map), and `--` (end of flags). A pattern that begins with a dash \
         needs `--` before it.";
    BAD_PATTERN = "E0410", "invalid pattern",
        "The pattern does not fit its matching method: a number or range, an address or network, hexadecimal bytes.";
    BAD_REGEX = "E0411", "invalid regular expression",
        "The regular expression does not compile. Its syntax is that of PCRE2 10.42, as in HAProxy 2.6. The message \
         shows the reason and the position. Backslashes must be doubled, or the word put in single quotes.";
    UNKNOWN_ACL = "E0412", "ACL not found",
        "The condition names an ACL that does not exist. Define it above this line in the same section, use a \
         predefined ACL such as `TRUE` or `HTTP`, or write a test in braces. ACLs of a `defaults` section are not \
         visible in the proxies that use it.";
    BAD_ACL_NAME = "E0413", "invalid ACL name",
        "An ACL name has letters, digits, `-`, `_`, `.` and `:`, and is neither `or` nor `||`.";
    CONDITION_SYNTAX = "E0414", "invalid condition",
        "A condition is `if` or `unless`, followed by ACL names or tests in braces. Adjacent terms must all be true, \
         `or` separates alternatives, and `!` negates the next term. Braces need spaces around them.";
    UNKNOWN_PROXY = "E0415", "proxy or server not found",
        "An expression names a frontend, backend or server (`nbsrv(app)`, `srv_is_up(app/web1)`) that does not exist.";
    BAD_VARIABLE = "E0416", "invalid variable name",
        "A variable name is a scope, a dot and a name: `txn.user`. Scopes are proc (process), sess (client \
         connection), txn (request and response), req and res. Names have letters, digits, `.` and `_`.";
    BAD_MAP = "E0417", "invalid map file",
        "Each line of a map file has a key, spaces, and a value. Empty lines and lines that begin with `#` are \
         ignored.";
    ANONYMOUS_DEFAULTS = "E0418", "ACL in an unnamed defaults section",
        "Only a named `defaults` section can have ACLs, for its own rules.";

    UNUSED_LIST = "W0490", "rule changes an unused list",
        "`set-map`, `del-map`, `add-acl` and `del-acl` change the entries of a file in memory, for maps and ACLs that \
         name the same file with the same path. No map or ACL does, so the rule has no effect.";

    BAD_LINE = "E0430", "invalid header line",
        "An old rule (`reqrep`, `rspadd` and similar) turns its text into a header line: `Name: value`, with a \
         backslash before each space in the file. The text must not contain a line end, because the rest would be \
         another header, or even another message.";
    TOO_MANY_LINE_RULES = "E0431", "too many req and rsp rules",
        "Each `req…` and `rsp…` rule is compared with each line of each message. With more than a thousand of them in \
         one section, clients could overload the proxy. Use maps or pattern lists with `http-request`.";

    NEVER_MATCHES = "W0401", "test never matches here",
        "The condition tests data that does not exist when its rule runs (response headers during the request, or the \
         reverse), so the test always fails.";
    NO_PATTERNS = "W0402", "ACL without patterns",
        "The ACL has no pattern to compare with, so it is always false. `-m found` tests whether a value exists, `-m \
         bool` treats a number as a boolean, and `--` marks an intentionally empty list.";
    IGNORED_PATTERNS = "W0404", "ignored patterns",
        "The test checks whether a value exists (`-m found`) or is true (`-m bool`, and all boolean fetches), and \
         ignores patterns. `acl tls ssl_fc 0` is true on TLS connections. Remove the patterns, or use `unless`.";
    KEYS_NOT_KEPT = "W0405", "TLS session keys not kept",
        "The expression reads a TLS session key. Evenkeel keeps these keys, for the analysis of captured traffic, \
         only with `tune.ssl.keylog on` in `global`. Without it the expression has no value.";
    EMPTY_CONDITION = "W0403", "condition without a test",
        "Nothing follows `if` or `unless`. As in HAProxy, such a condition is false: a rule with `if` never runs, one \
         with `unless` always runs. Something is probably missing.";
}
