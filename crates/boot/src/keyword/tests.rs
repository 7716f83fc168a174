//! What the lines of `boot` sections come to, and what is wrong with them.
