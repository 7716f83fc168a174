//! Codes of what is wrong with an expression, a pattern, an ACL or a condition.

use crate::load::codes::codes;
use language::Code;

codes! {
    UNKNOWN_FETCH = "E0401", "unknown sample fetch",
        "The first name of an expression says what is looked at: `src`, `path`, `req.hdr(host)`. This one is no such name. \
         The nearest one is shown; `evenkeel keyword NAME` explains each.";
    UNKNOWN_CONVERTER = "E0402", "unknown converter",
        "Behind the fetch of an expression stand converters, each after a comma: `path,lower,length`. This name is none of them.";
    EXPRESSION_SYNTAX = "E0403", "expression cannot be read",
        "An expression is a fetch, then converters, each after a comma; arguments stand in parentheses without a space before them: \
         `req.hdr(host),lower`. Inside of the parentheses a comma, a closing parenthesis or a space at the edge needs quotes, and \
         since the line's own quotes are removed first, quotes of an argument need a second pair around the word: `'regsub(\"a,b\",c)'`.";
    BAD_EXPRESSION_ARGUMENT = "E0404", "bad argument in an expression",
        "An argument of a fetch or converter is missing, is one too many, or is not of the kind that it wants. Its syntax is shown.";
    FETCH_NOT_HERE = "E0405", "not known at this point",
        "The rule runs at a moment when what the fetch looks at does not exist yet or is gone already: the answer's headers during the \
         request, or the request's headers during the answer. To use a part of the request in the answer, keep it with \
         `http-request set-var(txn.NAME) …` and read it with `var(txn.NAME)`.";
    TYPES_DO_NOT_FIT = "E0406", "types do not fit",
        "A converter or a matching method wants a value of one type, and what stands before it gives one that cannot become it.";
    MATCH_METHOD_NEEDED = "E0407", "matching method needed",
        "The expression gives bytes or a value whose type is known only at run time, so the ACL must say how to compare: \
         `-m str`, `-m bin`, `-m found` and so on.";
    UNKNOWN_MATCH_METHOD = "E0408", "unknown matching method",
        "`-m` takes one of: found, bool, int, ip, bin, len, str, sub, reg, beg, end, dir, dom.";
    UNKNOWN_MATCH_FLAG = "E0409", "unknown flag of an ACL",
        "Before the patterns may stand `-i` (case does not matter), `-f FILE` (patterns from a file), `-m METHOD`, `-n` (no names are \
         looked up), `-u ID`, `-M` (the file is a map), and `--` which ends the flags. A pattern that begins with a dash needs `--` before it.";
    BAD_PATTERN = "E0410", "bad pattern",
        "A pattern is not of the kind that its matching method compares with: a number or range, an address or network, hexadecimal bytes.";
    BAD_REGEX = "E0411", "bad regular expression",
        "The regular expression cannot be compiled. The reason and the place in the pattern are shown. Remember that backslashes \
         need single quotes around the word, or to be doubled.";
    UNKNOWN_ACL = "E0412", "no such ACL",
        "A condition names ACLs of its own section (declared above it with `acl`), predefined ones like `TRUE` or `HTTP`, or \
         holds a test in braces. ACLs of a `defaults` section are not visible in the proxies that use it.";
    BAD_ACL_NAME = "E0413", "bad ACL name",
        "The name of an ACL is made of letters, digits, `-`, `_`, `.` and `:`, and is neither `or` nor `||`.";
    CONDITION_SYNTAX = "E0414", "condition cannot be read",
        "A condition is `if` or `unless`, then ACL names or tests in braces. What stands side by side must all be true, `or` separates \
         alternatives, `!` negates what follows. Braces need spaces around them.";
    UNKNOWN_PROXY = "E0415", "no such proxy or server",
        "An expression names a frontend, backend or server (`nbsrv(app)`, `srv_is_up(app/web1)`) that the file does not have.";
    BAD_VARIABLE = "E0416", "bad variable name",
        "A variable is written as its scope, a dot and a name: `txn.user`. Scopes are proc (the process), sess (the client's \
         connection), txn (request and answer), req and res. Names hold letters, digits, `.` and `_`.";
    BAD_MAP = "E0417", "bad map file",
        "Each line of a map file is a key, spaces, and a value. Empty lines and lines that begin with `#` do not count.";
    ANONYMOUS_DEFAULTS = "E0418", "ACL in an unnamed defaults section",
        "Only a `defaults` section with a name may hold ACLs, for the rules which it holds itself.";

    UNUSED_LIST = "W0490", "rule that changes a list which nobody reads",
        "`set-map`, `del-map`, `add-acl` and `del-acl` change the entries of a file in memory, for the maps and ACLs that name the same file in the same \
         words. Nothing does, so the rule has no effect.";

    BAD_LINE = "E0430", "no line of a message",
        "An old rule (`reqrep`, `rspadd` and their kin) makes a line of a message out of its text. A header is `Name: value`, with a \
         backslash before each space in the file; it holds no end of a line, because what stands behind it would be another header or, \
         worse, another message.";
    TOO_MANY_LINE_RULES = "E0431", "too many rules about lines",
        "Each `req…` and `rsp…` rule is compared with each line of each message. A section with more than a thousand of them would let \
         clients keep the proxy busy. Use maps or lists of patterns with `http-request`.";

    NEVER_MATCHES = "W0401", "never matches here",
        "The condition asks for something that does not exist when its rule runs (the answer's headers during the request, or the \
         other way round), so the test always fails.";
    NO_PATTERNS = "W0402", "ACL without patterns",
        "There is nothing to compare with, so the ACL is always false. `-m found` asks whether there is a value at all, \
         `-m bool` takes a number as yes or no, and `--` says that the list is empty on purpose.";
    IGNORED_PATTERNS = "W0404", "patterns that are ignored",
        "The test asks whether there is a value (`-m found`) or whether it is true (`-m bool`, and all fetches that give a boolean), and \
         compares it with no pattern: `acl tls ssl_fc 0` is true on TLS connections. Remove the patterns, or say `unless`.";
    KEYS_NOT_KEPT = "W0405", "keys of TLS that are not kept",
        "The expression asks for a key of a TLS session. Keys are kept, for those who analyse captured traffic, only while \
         `tune.ssl.keylog on` stands in the global section; without it the expression never has a value.";
    EMPTY_CONDITION = "W0403", "condition without a test",
        "Nothing stands behind `if` or `unless`. As in HAProxy such a condition is false, so a rule with `if` never runs and one with \
         `unless` always does; but something was probably forgotten.";
}
