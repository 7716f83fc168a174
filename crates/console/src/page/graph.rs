//! Draws graphs of numbers over time: small ones next to a number, and large ones with scales.

use super::words::{count, moment, scaled};
use crate::history::TrafficSample;
use maud::{Markup, html};
use std::fmt::Write as _;

const SMALL: usize = 40;
const LARGE: usize = 120;
/// Height of a small graph in its own units. A point is one unit wide.
const SMALL_HEIGHT: u64 = 20;
const LARGE_HEIGHT: u64 = 100;

/// Returns the largest value of each of `number` equal steps, the newest last. None before the
/// first sample.
fn steps(values: &[u32], length: usize, number: usize) -> Vec<Option<u32>> {
    let missing = length.saturating_sub(values.len());
    let step = |at: usize| {
        let [from, to] = [at, at + 1].map(|at| (at * length / number).saturating_sub(missing));
        let to = to.min(values.len());
        values.get(from..to)?.iter().copied().max()
    };
    (0..number).map(step).collect()
}

/// Returns the SVG paths of a line through the points, and of the area below it.
fn paths(points: &[Option<u32>], most: u32, height: u64) -> [String; 2] {
    let (mut line, mut first) = (String::new(), None);
    for (x, value) in points.iter().enumerate() {
        let Some(value) = value else { continue };
        let filled = u64::from(*value) * height / u64::from(most.max(1));
        let y = height - filled.min(height);
        // Ignores the result: writing to a string cannot fail.
        let _ = match first {
            None => write!(line, "M{x} {y}"),
            Some(_) => write!(line, " {x} {y}"),
        };
        first = first.or(Some(x));
    }
    let area = match first {
        Some(first) => format!("{line}V{height}H{first}z"),
        None => String::new(),
    };
    [line, area]
}

/// Draws a small graph without a scale, for the number next to it. Empty without a history.
pub(super) fn small(values: &[u32], length: usize) -> Markup {
    let points = steps(values, length, SMALL);
    let most = points.iter().flatten().copied().max().unwrap_or_default();
    let [line, area] = paths(&points, most, SMALL_HEIGHT);
    html! {
        @if most > 0 {
            svg.spark viewBox={ "0 -1 " (SMALL - 1) " 22" } preserveAspectRatio="none" aria-hidden="true" {
                path.area d=(area) {}
                path.curve d=(line) {}
            }
        }
    }
}

pub(super) struct LargeGraph<'g> {
    pub title: &'g str,
    pub unit: &'g str,
    pub period: &'g str,
    pub seconds: u64,
    pub length: usize,
}

/// Returns the top of a scale: a round number that is not below the largest value.
fn top(most: u32) -> u32 {
    let mut unit: u32 = 1;
    while unit.saturating_mul(10) < most {
        unit = unit.saturating_mul(10);
    }
    let steps = [1, 2, 4, 6, 8, 10].map(|step: u32| step.saturating_mul(unit));
    let found = steps.into_iter().find(|top| *top >= most);
    found.unwrap_or(most).max(2)
}

fn average(values: &[u32], seconds: &[u64]) -> u32 {
    let (mut sum, mut all) = (0_u128, 0_u128);
    for (value, s) in values.iter().zip(seconds) {
        sum += u128::from(*value) * u128::from(*s);
        all += u128::from(*s);
    }
    u32::try_from(sum / all.max(1)).unwrap_or(u32::MAX)
}

pub(super) fn large(
    of: &LargeGraph<'_>,
    samples: &[TrafficSample],
    of_s: &[u64],
    value: fn(&TrafficSample) -> u32,
    now_ms: u64,
) -> Markup {
    let values: Vec<u32> = samples.iter().map(value).collect();
    let points = steps(&values, of.length, LARGE);
    let most = points.iter().flatten().copied().max().unwrap_or_default();
    let top = top(most);
    let [line, area] = paths(&points, top, LARGE_HEIGHT);
    let with_unit = |value: u32| match of.unit {
        "ms" => format!("{} ms", count(value.into())),
        unit => format!("{}{unit}", count(value.into())),
    };
    let tick = |value: u32| match value {
        0..10_000 => count(value.into()),
        _ => scaled(value.into(), "").trim_end().to_owned(),
    };
    let words = format!(
        "average {}, highest {}",
        with_unit(average(&values, of_s)),
        with_unit(most)
    );
    html! {
        figure.graph {
            figcaption { b { (of.title) } " " span.muted { (of.period) } span.now { (words) } }
            @if most == 0 {
                p.empty { "Nothing in this time." }
            } @else {
                div.plot {
                    div.ticks aria-hidden="true" { span { (tick(top)) } span { (tick(top / 2)) } span { "0" } }
                    svg viewBox={ "0 0 " (LARGE - 1) " " (LARGE_HEIGHT) } preserveAspectRatio="none"
                        role="img" aria-label={ (of.title) ", " (of.period) ": " (words) } {
                        path.grid d={ "M0 0H" (LARGE) "M0 50H" (LARGE) "M0 100H" (LARGE) } {}
                        path.area d=(area) {}
                        path.curve d=(line) {}
                        (titles(&points, of, &with_unit, now_ms))
                    }
                    div.times aria-hidden="true" {
                        @for quarter in 0..=4u64 {
                            span { (time_at(of, now_ms, quarter, 4)) }
                        }
                    }
                }
            }
        }
    }
}

fn time_at(of: &LargeGraph<'_>, now_ms: u64, step: u64, steps: u64) -> String {
    let ago_ms = of.seconds * 1000 * (steps - step.min(steps)) / steps.max(1);
    let (_, time) = moment(now_ms.saturating_sub(ago_ms));
    time.get(..5).unwrap_or_default().to_owned()
}

/// Draws invisible areas that carry the tooltips of the steps.
fn titles(
    points: &[Option<u32>],
    of: &LargeGraph<'_>,
    with_unit: &dyn Fn(u32) -> String,
    now_ms: u64,
) -> Markup {
    let known = points.iter().enumerate();
    let known = known.filter_map(|(at, value)| Some((at, (*value)?)));
    html! {
        @for (at, value) in known.filter(|(at, _)| at % 2 == 0) {
            rect x=(at) width="2" height="100" {
                title { (time_at(of, now_ms, at as u64, LARGE as u64)) " " (with_unit(value)) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_have_the_greatest_value_and_what_was_before_is_missing() {
        let all = steps(&[1, 5, 2, 3], 8, 4);
        assert_eq!(all, [None, None, Some(5), Some(3)]);
        assert_eq!(steps(&[], 8, 2), [None, None]);
    }

    #[test]
    fn an_average_counts_a_value_by_its_time() {
        assert_eq!(average(&[90, 10, 10], &[10, 300, 90]), 12);
        assert_eq!(average(&[], &[]), 0);
    }

    #[test]
    fn a_scale_ends_at_a_round_number() {
        for (most, is) in [
            (0, 2),
            (3, 4),
            (10, 10),
            (11, 20),
            (824, 1_000),
            (u32::MAX, u32::MAX),
        ] {
            assert_eq!(top(most), is, "{most}");
        }
    }

    #[test]
    fn a_line_without_a_value_is_none() {
        assert_eq!(small(&[0, 0], 360).into_string(), "");
        let drawn = small(&[1, 2, 4], 4).into_string();
        assert!(drawn.contains("<path"), "{drawn}");
    }
}
