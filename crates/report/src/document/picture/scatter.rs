//! The candidate's output over the reference's, value by value.

use maud::{Markup, html};
use ndarray::ArrayView2;
use soundalike_compare::Figure;

/// Cells along one side. The points in a cell are one square, darker for more.
const CELLS: usize = 80;
/// Shades; each stands for ten times as many points.
const SHADES: usize = 4;

/// Draws `candidate` over `reference`, both `[frame, class]`. They are equal on the diagonal.
pub fn draw(reference: ArrayView2<'_, f32>, candidate: ArrayView2<'_, f32>) -> Markup {
    let both = || reference.iter().chain(candidate).copied();
    let values = || both().filter(|x| x.is_finite());
    let low = f64::from(values().fold(f32::INFINITY, f32::min));
    let high = f64::from(values().fold(f32::NEG_INFINITY, f32::max));
    let place = |x: f32| {
        let part = (f64::from(x) - low) / (high - low);
        // A constant has no range: it is drawn in the middle.
        let part = if part.is_finite() { part } else { 0.5 };
        ((part * CELLS as f64) as usize).min(CELLS - 1)
    };
    let mut points = vec![0_usize; CELLS * CELLS];
    for (theirs, ours) in reference.iter().zip(candidate) {
        if theirs.is_finite() && ours.is_finite() {
            points[(CELLS - 1 - place(*ours)) * CELLS + place(*theirs)] += 1;
        }
    }
    html! {
        figure.scatter {
            svg viewBox=(format!("0 0 {CELLS} {CELLS}")) role="img" aria-label="candidate over reference" {
                path.diagonal d=(format!("M0 {CELLS}L{CELLS} 0")) {}
                @for shade in 0..SHADES {
                    path.heat style=(format!("stroke-opacity:{:.2}", (shade + 2) as f64 / (SHADES + 1) as f64))
                        d=(squares(&points, shade)) {}
                }
            }
            figcaption {
                "Candidate (up) over reference (right), each from " (Figure(low)) " to " (Figure(high))
                ". They are equal on the line."
            }
        }
    }
}

/// The squares of a shade: 10^shade points and more, the last shade without a bound.
fn squares(points: &[usize], shade: usize) -> String {
    let mut path = String::new();
    for (index, &count) in points.iter().enumerate() {
        let digits = count.checked_ilog10();
        let found = digits.map(|digits| (digits as usize).min(SHADES - 1));
        if found == Some(shade) {
            path += &format!("M{} {}.5h1", index % CELLS, index / CELLS);
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};

    use super::*;

    #[test]
    fn equal_outputs_lie_on_the_diagonal() {
        let values = array![[-8.0_f32, -4.0], [-2.0, 0.0]];
        let page = draw(values.view(), values.view()).into_string();
        for point in ["M0 79.5h1", "M40 39.5h1", "M60 19.5h1", "M79 0.5h1"] {
            assert!(page.contains(point), "{point}: {page}");
        }
        assert!(page.contains("from -8 to 0"), "{page}");
    }

    #[test]
    fn a_picture_takes_any_values() {
        let odd = array![[f32::NAN, f32::INFINITY], [0.0, 0.0]];
        let page = draw(odd.view(), odd.view()).into_string();
        assert!(
            page.contains("M40 39.5h1") && !page.contains("NaN"),
            "{page}"
        );
        draw(Array2::zeros((0, 7)).view(), Array2::zeros((0, 7)).view());
    }
}
