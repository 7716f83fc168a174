//! What `guest` sections come to, and what is said of wrong ones.
