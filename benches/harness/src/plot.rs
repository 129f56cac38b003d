//! A report as a plot: time per voucher on a logarithmic scale.
#![expect(
    clippy::float_arithmetic,
    reason = "places on a drawing, not amounts of money"
)]

use std::fmt::Write as _;

use crate::report::{Report, Row, Work};

/// Where bars begin; left of it stand the names.
const LEFT: f64 = 250.0;
/// Width of a decade.
const DECADE: f64 = 130.0;
const BAR: f64 = 18.0;
const STEP: f64 = 26.0;
const TOP: f64 = 64.0;
/// The scale begins at 10^this nanoseconds.
const FIRST_DECADE: i32 = 3;

/// Draws every row that is about one voucher's signature, the slowest on top.
#[must_use]
pub fn draw(report: &Report) -> String {
    let rows = rows(report);
    let slowest = rows.first().map_or(1, |row| row.median_ps);
    let decades = (place(slowest) / DECADE).ceil();
    let (width, bottom) = (
        LEFT + decades * DECADE + 90.0,
        TOP + rows.len() as f64 * STEP,
    );
    let mut out = String::new();
    let _ = writeln!(
        out,
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="13">
<rect width="100%" height="100%" fill="#ffffff"/>
<text x="16" y="26" font-size="16" font-weight="bold" fill="#1c2330">Time to verify one voucher</text>
<text x="16" y="46" fill="#5a6474">{}; logarithmic scale</text>"##,
        escape(&report.host.cpu),
        height = bottom + 34.0,
    );
    for decade in 0..=decades as i32 {
        let x = LEFT + f64::from(decade) * DECADE;
        let _ = writeln!(
            out,
            r##"<line x1="{x}" y1="{y}" x2="{x}" y2="{bottom}" stroke="#d9dee6"/>
<text x="{x}" y="{}" text-anchor="middle" fill="#5a6474">{}</text>"##,
            bottom + 18.0,
            unit(1000 * 10_u64.pow((decade + FIRST_DECADE).unsigned_abs())),
            y = TOP - 6.0,
        );
    }
    for (index, row) in rows.iter().enumerate() {
        bar(&mut out, row, TOP + index as f64 * STEP);
    }
    out.push_str("</svg>\n");
    out
}

fn bar(out: &mut String, row: &Row, y: f64) {
    let ours = row.id.starts_with("own/");
    let color = if ours { "#1769e0" } else { "#9aa5b5" };
    let width = place(row.median_ps).max(1.0);
    let _ = writeln!(
        out,
        r##"<text x="{}" y="{baseline}" text-anchor="end" fill="#1c2330">{}</text>
<rect x="{LEFT}" y="{y}" width="{width:.1}" height="{BAR}" rx="2" fill="{color}"/>
<text x="{:.1}" y="{baseline}" fill="#1c2330">{}</text>"##,
        LEFT - 8.0,
        escape(&row.label),
        LEFT + width + 6.0,
        unit(row.median_ps),
        baseline = y + 14.0,
    );
}

/// One row per id, the slowest first.
fn rows(report: &Report) -> Vec<&Row> {
    let mut rows: Vec<&Row> = Vec::new();
    for row in report.runs.iter().flat_map(|run| &run.rows) {
        let known = rows.iter().any(|other| other.id == row.id);
        if row.work == Work::Signature && !known {
            rows.push(row);
        }
    }
    rows.sort_by_key(|row| std::cmp::Reverse(row.median_ps));
    rows
}

/// Where a time lies, right of [`LEFT`].
fn place(picoseconds: u64) -> f64 {
    let nanoseconds = picoseconds as f64 / 1000.0;
    (nanoseconds.log10() - f64::from(FIRST_DECADE)) * DECADE
}

fn unit(picoseconds: u64) -> String {
    match picoseconds {
        0..1_000_000 => format!("{} ns", picoseconds / 1000),
        1_000_000..1_000_000_000 => tenths(picoseconds / 100_000, "µs"),
        _ => tenths(picoseconds / 100_000_000, "ms"),
    }
}

fn tenths(value: u64, unit: &str) -> String {
    match value % 10 {
        0 => format!("{} {unit}", value / 10),
        tenth => format!("{}.{tenth} {unit}", value / 10),
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
