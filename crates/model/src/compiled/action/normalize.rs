//! Compiled action `normalize-uri`; `crate::rules` builds and runs it.

/// Normalizer of the target of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Normalizer {
    /// `fragment-encode`
    FragmentEncode,
    /// `fragment-strip`
    FragmentStrip,
    /// `path-merge-slashes`
    MergeSlashes,
    /// `path-strip-dot`
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
    /// `query-sort-by-name`
    SortQuery,
}
