//! The codes that this crate reports, each with its explanation. A number is
//! never used twice, also when its code is gone.

use crate::diagnostic::Code;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $id:literal, $title:literal, $explanation:literal;)*) => {
        $($(#[$doc])* pub static $name: Code = Code { id: $id, title: $title, explanation: $explanation };)*
        /// Every code of this crate, by number.
        pub static CODES: &[&Code] = &[$(&$name),*];
    };
}

codes! {
    /// A quote without its partner.
    UNMATCHED_QUOTE = "E0001", "unmatched quote",
"A single or double quote is opened and not closed before the end of the line. Quotes cannot span
lines, and a backslash at the end of a line does not join it with the next.

```
    http-request set-header X-Note \"no end
```

Close the quote, or write `\\\"` or `\\'` when the character itself is meant. Between single quotes
nothing is special, not even a backslash: there `'it\\'s'` ends behind the backslash. Write
`\"it's\"` instead.";

    /// `\x` without two hexadecimal digits.
    BAD_HEXADECIMAL = "E0002", "truncated or invalid hexadecimal sequence",
"`\\x` outside single quotes begins a byte written as exactly two hexadecimal digits: `\\x0a` is a
line feed.

```
    acl bad path_reg ^/\\xyz
```

Write both digits, or `\\\\x` (or put the word in single quotes) when a backslash and an x are meant,
as in a regular expression.";

    /// A `$` without a name.
    BAD_VARIABLE_NAME = "E0003", "forbidden first character in a variable name",
"Between double quotes a dollar sign begins the name of an environment variable: a letter or an
underscore, then also digits. The only names with a dot are `.FILE`, `.LINE` and `.SECTION`.

```
    http-request replace-path ^(.*)$ \"/new$1\"
```

For a dollar sign itself write `\\$`, or use single quotes, where no variable is replaced.";

    /// `${` without `}`.
    UNMATCHED_BRACE = "E0004", "unmatched brace in a variable",
"`\"${NAME` must be followed by `}`, by `-` and a default value, or by `[*]`. Nothing else of a shell
works here: no `:-`, no `?`, no nested variable.

```
    bind \"${ADDRESS:-*}:80\"
```

Write `\"${ADDRESS-*}:80\"`; the default value is taken when the variable does not exist, not when it
is empty.";

    /// `[` that is not `[*]`.
    BAD_WORD_EXPANSION = "E0005", "truncated or invalid word expansion",
"`\"${NAME[*]}\"` makes one word of every white-space separated part of a variable. Nothing else may
stand between the brackets, and the default value comes behind them: `\"${NAME[*]-a b}\"`.

```
    server-template web 1-3 \"${HOSTS[0]}\"
```";

    /// More than 64 words.
    TOO_MANY_WORDS = "E0006", "too many words",
"A line may have 64 words, its keyword included. Long lists belong on several lines (an `acl` of the
same name adds to the first) or in a file that the line names, as in `acl bad src -f /etc/bad.lst`.
The line is read up to its 64th word.";

    /// A line beyond the bound.
    LINE_TOO_LONG = "E0007", "line too long",
"A line, before and after its variables are replaced, may have 16 MiB. A line of that length is
nearly always a file of another kind that was named by mistake.";

    /// A byte 0 in the file.
    NUL_BYTE = "E0008", "stray NUL byte",
"The file holds a byte of the value 0, which no text has. The file was damaged, or saved as UTF-16:
then `iconv -f utf-16 -t utf-8` repairs it. The rest of the line is ignored. Only the first one of
each file is reported.";

    /// The last line has no line feed.
    MISSING_LINE_FEED = "E0009", "missing line feed on the last line",
"The last line of a file must end with a line feed, because a file without one may have been cut
off while it was written or copied, and half a configuration must not go into service.

Look at the end of the file; if it is whole, add the line feed (`evenkeel fmt` does).";

    /// A condition that cannot be read.
    BAD_CONDITION = "E0010", "unparsable condition",
"The condition of an `.if` or `.elif` is a number (0 is false), a predicate with its arguments in
parentheses, or these combined with `!`, `&&`, `||` and parentheses.

```
.if defined(WITH_TLS) && !streq(\"$STAGE\",test)
```

Predicates are `defined`, `feature`, `enabled`, `streq`, `strneq`, `strstr`, `version_atleast`,
`version_before`, `openssl_version_atleast`, `openssl_version_before`, `ssllib_name_startswith`,
`awslc_api_atleast` and `awslc_api_before`. The parenthesis follows its predicate without a space.";

    /// `.else` and the like where they cannot be.
    MISPLACED_DIRECTIVE = "E0011", "directive without its '.if'",
"`.elif`, `.else` and `.endif` belong to the `.if` above them; behind an `.else` only its `.endif`
can follow.

```
.if feature(OPENSSL)
    bind :443 ssl crt /etc/ssl/site.pem
.else
    bind :80
.endif
```";

    /// An `.if` that the file does not end.
    UNTERMINATED_IF = "E0012", "non-terminated '.if' block",
"Every `.if` needs its `.endif` in the same file: a block cannot go on in the next one.";

    /// `.something` else.
    UNKNOWN_DIRECTIVE = "E0013", "unknown directive",
"A line that begins with a dot is a directive to the reader of the file: `.if`, `.elif`, `.else`,
`.endif`, `.diag`, `.notice`, `.warning` and `.alert`. They are written in small letters and followed
by a space.";

    /// A word behind a directive that takes none (or one).
    DIRECTIVE_ARGUMENT = "E0014", "unexpected argument of a directive",
"`.else` and `.endif` stand alone on their line (a comment may follow). `.diag`, `.notice`,
`.warning` and `.alert` take one word: put a message with spaces in quotes.

```
.notice \"the test listener is on\"
```";

    /// Blocks too deep.
    NESTED_TOO_DEEP = "E0015", "too many nested '.if'",
"At most 100 `.if` blocks can stand in each other, and at most 256 parentheses and negations in one
condition.";

    /// `.alert`.
    ALERT = "E0016", "alert of the configuration",
"The configuration refuses itself: its line `.alert \"message\"` was reached. The message is its
author's; look at the `.if` around it for the reason.";

    /// A byte order mark.
    BYTE_ORDER_MARK = "E0017", "byte order mark",
"The file begins with the bytes EF BB BF, which some editors write in front of UTF-8 text. They
would become part of the first word, and `global` would not be `global` any more. Save the file as
UTF-8 without a byte order mark.";

    /// `[` that begins no scope.
    BAD_SCOPE = "E0018", "not a scope",
"A line that begins with `[` names a scope, as the files of SPOE engines have them: one name of
letters, digits and `.`, `_`, `-`, `:` in brackets, alone on its line. In other files it has no
meaning.

```
[my-engine]
```";

    /// A time.
    BAD_TIME = "E0020", "not a time",
"A time is a whole number and a unit: `us`, `ms`, `s`, `m`, `h` or `d`, without a space between them.
Without a unit most keywords mean milliseconds. There are no fractions: write `1500ms`, not `1.5s`.
The largest is 2147483647 ms, a little under 25 days.";

    /// A size.
    BAD_SIZE = "E0021", "not a size",
"A size is a whole number of bytes, or a number followed by `k`, `m` or `g` (1024, 1024² and 1024³
bytes), as in `tune.bufsize 16k` or `size 1m`.";

    /// A whole number.
    BAD_INTEGER = "E0022", "not a whole number in its range",
"Here stands a whole decimal number, without a unit, sign (unless it may be negative) or separators.";

    /// A percentage.
    BAD_PERCENTAGE = "E0023", "not a percentage",
"A percentage is a whole number followed by `%`, as in `weight 50%`.";

    /// An address.
    BAD_ADDRESS = "E0024", "not an address",
"An address is `host:port`: `*:80`, `192.0.2.1:80`, `[2001:db8::1]:80`, `www.example.com:443`, or
`/run/site.sock`, or one of these behind a prefix such as `ipv4@`, `ipv6@`, `unix@`, `abns@`,
`fd@`. The port is what follows the last colon, so write IPv6 addresses in brackets.

```
    server web1 [2001:db8::10]:8080
```";

    /// A port.
    BAD_PORT = "E0025", "not a port",
"A port is a number from 1 to 65535 (0 where none is needed). Where several are possible
(`bind :8000-8010`) the range goes from the smaller to the larger. A server may add to or take from
the port of the client's connection: `:+8000`, `:-100`.";

    /// A network.
    BAD_NETWORK = "E0026", "not a network",
"A network is an address with the length of its prefix, `192.0.2.0/24` or `2001:db8::/32`, or an IPv4
address with a mask, `192.0.2.0/255.255.255.0`. An address alone is the network of that one address.";

    /// Words behind a carriage return.
    CARRIAGE_RETURN = "W0001", "text behind a carriage return is ignored",
"A carriage return ends the line, as files from Windows have it at every line's end. Here more text
follows before the line feed, and that text is not read. Very old Macintosh files have only carriage
returns: convert them.";

    /// A word ended by a zero byte.
    NUL_IN_WORD = "W0002", "NUL byte ends the word",
"`\\x00`, or a variable with such a byte, ends its word there: what follows in the word is lost.
No value of a configuration can hold this byte.";

    /// An empty word in the middle of a line.
    EMPTY_WORD = "W0003", "an empty word ends the line",
"An empty word ends its line: words behind `\"\"` (or behind a variable that is empty or does not
exist) are not read, and a line that begins with an empty word is skipped altogether. That is how
HAProxy reads it. Behind a variable it is told only when diagnostics are asked for (`-dD`), since
some files switch lines on and off this way.

```
    server web1 192.0.2.1:80 \"$OPTIONS\" check
```

Give the variable a value, or write `\"${OPTIONS[*]-weight 1}\"` with a default that changes nothing.";

    /// `.warning`.
    WARNING = "W0004", "warning of the configuration",
"The line `.warning \"message\"` of the configuration was reached. The message is its author's.";

    /// A quote in a file of HAProxy 1.5 or before.
    OLD_QUOTE = "W0005", "a quote alone in an old file",
"Before HAProxy 1.6 quotes were characters like all others. The lines before this one have forms of that
time, so the quote without a partner is taken for what it was then.

```
    stats realm L'office
```

Write `\\'` (or `\\\"`) for the character, which every version understands.";

    /// `.notice`.
    NOTICE = "N0001", "notice of the configuration",
"The line `.notice \"message\"` of the configuration was reached. The message is its author's.";

    /// `.diag`.
    DIAG = "N0002", "diagnostic of the configuration",
"The line `.diag \"message\"` of the configuration was reached; it is told only when diagnostics are
asked for (`-dD`).";
}

#[cfg(test)]
mod tests {
    use super::CODES;

    #[test]
    fn every_code_is_unique_and_explains_itself() {
        let mut ids: Vec<_> = CODES.iter().map(|c| c.id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), CODES.len());
        for code in CODES {
            assert!(code.explanation.len() > 60, "{} says too little", code.id);
            assert!(!code.title.ends_with('.'), "{}", code.id);
        }
    }
}
