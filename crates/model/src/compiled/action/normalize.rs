//! Normalizing the target; `crate::rules` builds and runs them.

/// One way of doing that.
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
    /// `path-strip-dotdot`; `full` also at the beginning.
    StripDotDot {
        /// See above.
        full: bool,
    },
    /// `percent-decode-unreserved`; `strict` refuses what is no encoding.
    Decode {
        /// See above.
        strict: bool,
    },
    /// `percent-to-uppercase`; the same.
    Uppercase {
        /// See above.
        strict: bool,
    },
    /// `query-sort-by-name`
    SortQuery,
}
