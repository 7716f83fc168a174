//! Groups tests of the effects of lines in the crate `model`, whose own tests know no keywords.

mod actions;
mod check_play;
mod instead;
mod logs;
mod names;
mod renamed;
mod rules_lines;
mod rules_run;
mod samples;
