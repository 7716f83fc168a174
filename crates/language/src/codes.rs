//! Defines the codes of the errors and warnings that this crate reports, each with its
//! explanation. A number is never reused, even after its code was removed.

crate::codes! {
    UNMATCHED_QUOTE = "E0001", "unmatched quote",
"A single or double quote is not closed before the end of the line. Quotes cannot span lines, and a
backslash at the end of a line does not join it with the next.

```
    http-request set-header X-Note \"no end
```

Close the quote, or write `\\\"` or `\\'` for the character itself. Between single quotes no character
is special, not even a backslash: there `'it\\'s'` ends after the backslash. Write `\"it's\"` instead.";

    /// `\x` without two hexadecimal digits.
    BAD_HEXADECIMAL = "E0002", "truncated or invalid hexadecimal sequence",
"Outside single quotes, `\\x` followed by exactly two hexadecimal digits is a byte: `\\x0a` is a line
feed.

```
    acl bad path_reg ^/\\xyz
```

Write both digits. For a backslash and an x, as in a regular expression, write `\\\\x` or put the word
in single quotes.";

    /// A `$` without a name.
    BAD_VARIABLE_NAME = "E0003", "forbidden first character in a variable name",
"Between double quotes a dollar sign begins the name of an environment variable: a letter or an
underscore, followed by letters, digits and underscores. The only names with a dot are `.FILE`,
`.LINE` and `.SECTION`.

```
    http-request replace-path ^(.*)$ \"/new$1\"
```

For a dollar sign itself write `\\$`, or use single quotes, where variables are not replaced.";

    /// `${` without the matching `}`.
    UNMATCHED_BRACE = "E0004", "unmatched brace in a variable",
"After `\"${NAME` only `}`, a hyphen with a default value, or `[*]` is allowed. Other shell syntax is
not supported: no `:-`, no `?`, no nested variable.

```
    bind \"${ADDRESS:-*}:80\"
```

Write `\"${ADDRESS-*}:80\"`. The default value applies when the variable does not exist, not when it
is empty.";

    /// `[` that is not `[*]`.
    BAD_WORD_EXPANSION = "E0005", "truncated or invalid word expansion",
"`\"${NAME[*]}\"` expands to one word for each white-space separated part of a variable. The brackets
contain only the asterisk, and a default value follows them: `\"${NAME[*]-a b}\"`.

```
    server-template web 1-3 \"${HOSTS[0]}\"
```";

    /// A line has more than 64 words.
    TOO_MANY_WORDS = "E0006", "too many words",
"A line can have up to 64 words, including its keyword. Split long lists over several lines (an `acl` of the
same name adds to the first), or put them in a file, as in `acl bad src -f /etc/bad.lst`. Only the
first 64 words are read.";

    LINE_TOO_LONG = "E0007", "line too long",
"A line can have up to 16 MiB, before and after variables are replaced. A longer line nearly always means
that a file of another kind was named by mistake.";

    NUL_BYTE = "E0008", "stray NUL byte",
"The file contains a zero byte, which text never does. The file is damaged, or saved as UTF-16: then
`iconv -f utf-16 -t utf-8` repairs it. The rest of the line is ignored. Only the first zero byte of
each file is reported.";

    MISSING_LINE_FEED = "E0009", "missing line feed on the last line",
"The last line of a file must end with a line feed. Without one, the file may have been cut off while
it was written or copied, and half a configuration must not be loaded.

Check the end of the file. If it is complete, add the line feed (`evenkeel fmt` does so).";

    BAD_CONDITION = "E0010", "unparsable condition",
"The condition of an `.if` or `.elif` is a number (0 is false), a predicate with its arguments in
parentheses, or these combined with `!`, `&&`, `||` and parentheses.

```
.if defined(WITH_TLS) && !streq(\"$STAGE\",test)
```

Predicates are `defined`, `feature`, `enabled`, `streq`, `strneq`, `strstr`, `version_atleast`,
`version_before`, `openssl_version_atleast`, `openssl_version_before`, `ssllib_name_startswith`,
`awslc_api_atleast` and `awslc_api_before`. The parenthesis follows its predicate without a space.";

    /// `.else`, `.elif` or `.endif` outside an `.if` block.
    MISPLACED_DIRECTIVE = "E0011", "directive without its '.if'",
"`.elif`, `.else` and `.endif` belong to the `.if` above them. After `.else` only `.endif` can follow.

```
.if feature(OPENSSL)
    bind :443 ssl crt /etc/ssl/site.pem
.else
    bind :80
.endif
```";

    /// An `.if` without an `.endif` in its file.
    UNTERMINATED_IF = "E0012", "non-terminated '.if' block",
"Every `.if` needs its `.endif` in the same file; a block cannot continue in the next file.";

    /// An unknown word after the dot.
    UNKNOWN_DIRECTIVE = "E0013", "unknown directive",
"A line that begins with a dot is a preprocessing directive: `.if`, `.elif`, `.else`, `.endif`,
`.diag`, `.notice`, `.warning` and `.alert`. Directives are in lower case and followed by a space.";

    /// A word after a directive that accepts none (or one).
    DIRECTIVE_ARGUMENT = "E0014", "unexpected argument of a directive",
"`.else` and `.endif` take no argument (a comment may follow). `.diag`, `.notice`, `.warning` and
`.alert` take one word: quote a message with spaces.

```
.notice \"the test listener is on\"
```";

    NESTED_TOO_DEEP = "E0015", "too many nested '.if'",
"`.if` blocks can be nested up to 100 deep, and one condition can have up to 256 parentheses and
negations.";

    ALERT = "E0016", "`.alert` in the configuration",
"A line `.alert \"message\"` of the configuration was reached, which refuses the configuration. The
message comes from the author of the file. Look at the `.if` around it for the reason.";

    BYTE_ORDER_MARK = "E0017", "byte order mark",
"The file begins with a byte order mark (EF BB BF), which some editors write before UTF-8 text. It
would become part of the first word, so `global` would not be recognised. Save the file as UTF-8
without a byte order mark.";

    /// `[` that does not begin a scope.
    BAD_SCOPE = "E0018", "not a scope",
"A line that begins with `[` is a scope, as in files of SPOE engines: one name of letters, digits and
`.`, `_`, `-`, `:` in brackets, alone on its line. In other files it has no meaning.

```
[my-engine]
```";

    BAD_TIME = "E0020", "not a duration",
"A duration is a whole number and a unit: `us`, `ms`, `s`, `m`, `h` or `d`, without a space between
them. Without a unit most keywords use milliseconds. Fractions are not allowed: write `1500ms`, not
`1.5s`. The maximum is 2147483647 ms, just under 25 days.";

    BAD_SIZE = "E0021", "not a size",
"A size is a whole number of bytes, or a number followed by `k`, `m` or `g` (1024, 1024² and 1024³
bytes), as in `tune.bufsize 16k` or `size 1m`.";

    BAD_INTEGER = "E0022", "not a whole number in range",
"The keyword expects a whole decimal number, without unit or separators. Only numbers that can be
negative accept a sign.";

    BAD_PERCENTAGE = "E0023", "not a percentage",
"A percentage is a whole number followed by `%`, as in `weight 50%`.";

    BAD_ADDRESS = "E0024", "not an address",
"An address is `host:port`: `*:80`, `192.0.2.1:80`, `[2001:db8::1]:80`, `www.example.com:443`, or
`/run/site.sock`, or one of these behind a prefix such as `ipv4@`, `ipv6@`, `unix@`, `abns@`,
`fd@`. The port is what follows the last colon, so write IPv6 addresses in brackets.

```
    server web1 [2001:db8::10]:8080
```";

    BAD_PORT = "E0025", "not a port",
"A port is a number from 1 to 65535 (0 where no port is needed). In a port range
(`bind :8000-8010`) the first port is the smaller one. A server may add to or subtract from the
port of the client's connection: `:+8000`, `:-100`.";

    BAD_NETWORK = "E0026", "not a network",
"A network is an address with a prefix length, `192.0.2.0/24` or `2001:db8::/32`, or an IPv4 address
with a mask, `192.0.2.0/255.255.255.0`. An address alone is a network of one address.";

    CARRIAGE_RETURN = "W0001", "text after a carriage return is ignored",
"A carriage return ends the line, as in files from Windows. Here more text follows before the line
feed, and that text is ignored. Very old Macintosh files have only carriage returns: convert them.";

    NUL_IN_WORD = "W0002", "NUL byte ends the word",
"`\\x00`, or a variable that contains a zero byte, ends its word: the rest of the word is lost. No
value of a configuration can contain this byte.";

    EMPTY_WORD = "W0003", "an empty word ends the line",
"An empty word ends its line, as in HAProxy: the words after `\"\"` (or after a variable that is empty
or does not exist) are ignored, and a line that begins with an empty word is skipped. For variables
this is reported only with `-dD`, since some files switch lines on and off this way.

```
    server web1 192.0.2.1:80 \"$OPTIONS\" check
```

Set the variable, or write `\"${OPTIONS[*]-weight 1}\"` with a default that changes nothing.";

    WARNING = "W0004", "`.warning` in the configuration",
"A line `.warning \"message\"` of the configuration was reached. The message comes from the author of
the file.";

    /// An unmatched quote in a file for HAProxy 1.5 or earlier.
    OLD_QUOTE = "W0005", "single quote character in an old file",
"Before HAProxy 1.6 quotes were ordinary characters. Earlier lines of this file have syntax of that
time, so this quote without a partner is read as a character.

```
    stats realm L'office
```

Write `\\'` (or `\\\"`) for the character, which every version understands.";

    NOTICE = "N0001", "`.notice` in the configuration",
"A line `.notice \"message\"` of the configuration was reached. The message comes from the author of
the file.";

    DIAG = "N0002", "`.diag` in the configuration",
"A line `.diag \"message\"` of the configuration was reached. It is reported only with `-dD`.";
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
