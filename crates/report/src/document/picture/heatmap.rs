//! The difference of two outputs over time and class.

use maud::{Markup, html};
use ndarray::ArrayView2;
use soundalike_compare::Figure;

/// Most columns: a screen shows no more, and the page stays small.
const COLUMNS: usize = 600;
/// Shades of the scale.
const SHADES: usize = 8;
/// Factor from one shade to the next: two for each power of ten.
const PER_SHADE: f64 = 3.162_277_660_168_379_5;
/// Height of a row on the screen, pixels.
const ROW: usize = 16;
/// Most rows of that height; more rows share the height of so many.
const HIGH_ROWS: usize = 16;

/// Draws `difference`, `[frame, class]`, with time to the right. The darkest shade is the largest value, every second
/// lighter shade is ten times smaller. A column of several frames shows the largest.
pub fn draw(difference: ArrayView2<'_, f32>, start: f64, duration: f64) -> Markup {
    let (frames, classes) = difference.dim();
    let columns = frames.min(COLUMNS);
    let cell = |column: usize, class: usize| {
        let frames = column * frames / columns..(column + 1) * frames / columns;
        let values = frames.map(|frame| f64::from(difference[[frame, class]].abs()));
        // NaN is the worst.
        values.fold(0.0, |worst: f64, x| match x.is_nan() {
            true => f64::INFINITY,
            false => worst.max(x),
        })
    };
    let row = |class| (0..columns).map(|column| cell(column, class)).collect();
    let cells: Vec<Vec<f64>> = (0..classes).map(row).collect();
    let all = cells.iter().flatten().copied();
    let largest = all.filter(|x| x.is_finite()).fold(0.0, f64::max);
    let height = ROW * classes.min(HIGH_ROWS);
    html! {
        figure.heatmap {
            svg viewBox=(format!("0 0 {columns} {classes}")) preserveAspectRatio="none"
                style=(format!("height:{height}px")) role="img" aria-label="difference over time and class" {
                @for shade in 0..SHADES {
                    path.heat style=(format!("stroke-opacity:{:.2}", opacity(shade)))
                        d=(strokes(&cells, |value| shade_of(value, largest) == Some(shade))) {}
                }
            }
            div.time {
                @for part in 0..=4 {
                    span { (format!("{:.1} s", start + duration * f64::from(part) / 4.0)) }
                }
            }
            figcaption {
                "Difference from the reference, " (classes) " classes from top to bottom. "
                @if largest > 0.0 {
                    span.key {
                        "Up to: "
                        @for shade in (0..SHADES).step_by(2) {
                            i style=(format!("opacity:{:.2}", opacity(shade))) {}
                            (Figure(largest / PER_SHADE.powi(shade as i32))) " "
                        }
                    }
                } @else {
                    "No difference."
                }
            }
        }
    }
}

/// The shade of a value, 0 the darkest; `None` for a value that is too small beside the largest.
fn shade_of(value: f64, largest: f64) -> Option<usize> {
    if value.is_infinite() {
        return Some(0);
    }
    if value == 0.0 {
        return None;
    }
    let shade = ((largest / value).ln() / PER_SHADE.ln()).floor() as usize;
    (shade < SHADES).then_some(shade)
}

fn opacity(shade: usize) -> f64 {
    1.0 - shade as f64 / SHADES as f64
}

/// Path data: a stroke through each run of cells that `chosen` selects.
fn strokes(cells: &[Vec<f64>], chosen: impl Fn(f64) -> bool) -> String {
    let mut path = String::new();
    for (row, cells) in cells.iter().enumerate() {
        let mut column = 0;
        for run in cells.chunk_by(|a, b| chosen(*a) == chosen(*b)) {
            if chosen(run[0]) {
                path += &format!("M{column} {row}.5h{}", run.len());
            }
            column += run.len();
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::*;

    #[test]
    fn a_page_stays_small_however_long_the_recording() {
        let noise = Array2::from_shape_fn((100_000, 7), |(i, j)| {
            ((i * 7919 + j * 104_729) % 1000) as f32
        });
        let page = draw(noise.view(), 0.0, 1687.5).into_string();
        assert!(page.len() < 60_000, "{}", page.len());
        assert!(
            page.contains("viewBox=\"0 0 600 7\"") && page.contains("1687.5 s"),
            "{page}"
        );
    }

    #[test]
    fn the_worst_is_darkest_and_equal_values_are_not_drawn() {
        let mut difference = Array2::zeros((4, 2));
        difference[[1, 0]] = 3.0;
        difference[[2, 0]] = -2.0;
        difference[[3, 1]] = 0.02;
        let page = draw(difference.view(), 0.0, 1.0).into_string();
        // Two neighbours of one shade are one stroke.
        assert!(
            page.contains("stroke-opacity:1.00\" d=\"M1 0.5h2\""),
            "{page}"
        );
        assert!(
            page.contains("stroke-opacity:0.50\" d=\"M3 1.5h1\""),
            "{page}"
        );
        assert_eq!(page.matches('M').count(), 2, "{page}");
        difference[[0, 0]] = f32::NAN;
        let page = draw(difference.view(), 0.0, 1.0).into_string();
        assert!(page.contains("M0 0.5h3"), "{page}");
        let nothing = draw(Array2::zeros((4, 2)).view(), 0.0, 1.0).into_string();
        assert!(
            nothing.contains("No difference.") && !nothing.contains("NaN"),
            "{nothing}"
        );
    }
}
