//! Defines the compiled form of the action `normalize-uri`; `crate::rules` builds and runs it.

/// Normalizer of the target of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Normalizer {
    /// `fragment-encode`: percent-encodes `#` in the target.
    FragmentEncode,
    /// `fragment-strip`: removes the part from `#` on.
    FragmentStrip,
    /// `path-merge-slashes`: replaces consecutive slashes by one.
    MergeSlashes,
    /// `path-strip-dot`: removes `.` segments from the path.
    StripDot,
    /// `path-strip-dotdot`: removes `..` segments together with their parent.
    StripDotDot {
        /// Also removes `..` at the beginning of the path.
        full: bool,
    },
    /// `percent-decode-unreserved`: decodes unreserved characters.
    Decode {
        /// Fails on a percent sign that begins no valid encoding.
        strict: bool,
    },
    /// `percent-to-uppercase`: writes percent encodings in upper case.
    Uppercase {
        /// Fails on a percent sign that begins no valid encoding.
        strict: bool,
    },
    /// `query-sort-by-name`: sorts the parameters by name.
    SortQuery,
}
