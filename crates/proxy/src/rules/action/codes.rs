//! Codes of what is wrong with a rule, a format or a log target.

use crate::load::codes::codes;
use language::Code;

codes! {
    UNKNOWN_ACTION = "E0501", "unknown action",
        "The word behind `http-request`, `http-response`, `tcp-request content` and their like says what the rule does, and this is none \
         of their actions. The nearest name is shown; `evenkeel keyword 'http-request deny'` explains one.";
    ACTION_NOT_HERE = "E0502", "action not allowed in these rules",
        "The action exists, but rules of this kind run at a moment when it cannot be done: a request's header cannot be changed when its answer \
         is there already. The rules that may have it are listed.";
    FORMAT_SYNTAX = "E0503", "format cannot be read",
        "A format is text in which `%name` stands for what is known of a request, `%[fetch,converter]` for an expression, and `%%` for a percent \
         sign. Flags stand in braces between: `%{+Q}r`. A space needs quotes around the word or a backslash before it.";
    UNKNOWN_ALIAS = "E0504", "unknown log alias",
        "`%name` in a format is none of the names that formats know. A percent sign that is meant as such is written `%%`.";
    STATUS_RANGE = "E0505", "status not possible here",
        "An answer of the proxy's own has a status from 200 to 599; a redirection one of 301, 302, 303, 307 and 308.";
    CONTENT_TYPE_MISSING = "E0506", "answer without a content type",
        "An answer with a body must say what the body is: `content-type text/plain`.";
    PAYLOAD_TWICE = "E0507", "body given twice",
        "An answer has one body: one of `file`, `lf-file`, `string`, `lf-string`, `errorfile` and `default-errorfiles`.";
    BAD_ERROR_FILE = "E0508", "file is no HTTP answer",
        "The file must hold a whole HTTP answer: status line, headers, an empty line, the body, not larger than a buffer (`tune.bufsize`).";
    FILE_TOO_LARGE = "E0509", "file larger than a buffer",
        "The file is sent as a body out of memory, so it must not be larger than a buffer (`tune.bufsize`). Larger files are a server's task.";
    RULE_IN_DEFAULTS = "E0510", "rule in an unnamed defaults section",
        "Rules may stand in a `defaults` only if it has a name, since proxies take them over from it: `defaults web`.";
    UNKNOWN_CAPTURE = "E0511", "no such capture slot",
        "`capture … id N` names a slot that no `capture` or `declare capture` line above it makes. Slots are counted from 0, those of requests \
         and of answers apart.";
    BAD_LOG_TARGET = "E0512", "log target cannot be used",
        "A log target is `IP[:port]` or a name (syslog over UDP), a path (a Unix socket), `stdout`, `stderr` or `fd@N`.";
    BAD_HEADER_NAME = "E0513", "bad header name",
        "The name of a header holds letters, digits and a few signs, no space and no colon.";

    NAME_WITH_COLON = "W0505", "header name with a colon",
        "A colon behind the name of a header is not a part of it. HAProxy takes it as one and sends `name:: value`, which the receiver reads as a \
         value that begins with a colon; here it is left out.";
    UNKNOWN_FLAG = "W0501", "unknown format flag",
        "The braces of a format know Q (in quotes), X (hexadecimal), E (escaped) and json (as a value of JSON), each with a plus or minus sign. HAProxy passes others over.";
    NAMELESS_ITEM = "W0506", "item that a JSON line leaves out",
        "With `%{+json}o` a line is one JSON object of the items that have names: `%(client)ci`. Other items have no place in it, and text between \
         items has none either.";
    LOG_FORMAT_UNUSED = "W0502", "log format without a log target",
        "The proxy has a log format, but no `log` line says where its lines go.";
    FRAMING_HEADER = "W0504", "header that rules do not change",
        "`content-length` and `transfer-encoding` say where a message ends. A rule that changed them would make the proxy and the other side \
         disagree about that, so such a rule has no effect: the proxy sends what the body needs.";
    STATUS_WITHOUT_BODY = "W0503", "body will not be sent",
        "An answer with status 204 or 304 has no body, so what the rule gives as one is not sent.";
    BAD_REALM = "E0444", "realm that cannot be sent",
        "The realm of an authentication stands in a header, which holds no control characters such as tabs and line ends.";
}
