//! Defines the error codes of `test` sections.

use language::arguments::ArgumentCodes;

pub(super) static OF_ARGUMENTS: ArgumentCodes = ArgumentCodes::plain(&ARGUMENTS, &VALUE);

language::codes! {
    UNKNOWN_KEYWORD = "E0870", "unknown keyword of a test section",
        "The first word of the line is not a keyword of the `test` section. Its only keyword is `expect`: `evenkeel keyword \
         expect` explains it.";
    ARGUMENTS = "E0871", "wrong number of arguments in a test section",
        "A keyword of the line `expect` needs a value after it, or the line lacks an outcome: `backend`, \
         `server`, `status`, \
         `location` or `refused`.";
    VALUE = "E0872", "invalid value in a test section",
        "A word of the line `expect` is not one of its keywords, or the value after a keyword is invalid: an \
         IP address, a header such as 'Name: value', a status from 100 to 599. A request is a URL with \
         http:// or https://, or a path that \
         begins with `/`, with its method before it, or without one for GET.";
    NOT_MET = "E0873", "expectation not met",
        "These files do something else with the request than its line `expect` says. The message names the \
         actual outcome and the line that decided it. The help has an `evenkeel route` command that shows \
         each line that was evaluated. Correct that line, or the expectation.";
    TOO_MANY = "E0874", "too many expectations",
        "All `test` sections together have at most 1000 lines `expect`, and their evaluation may take 30 s. A request that is held \
         (`tarpit`, `silent-drop`) takes 3 s.";
}
