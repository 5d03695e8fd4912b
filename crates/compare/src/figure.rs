//! Measured numbers as text.

use std::fmt;

/// A measured number with two or three significant digits; integers have all: `0.52`, `2.73`, `88.6`, `4711`,
/// `3.4e6`, `4.5e-12`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figure(pub f64);

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let x = self.0;
        let text = match x.abs() {
            _ if x.is_nan() => "NaN".to_owned(),
            size if size.is_infinite() => if x > 0.0 { "inf" } else { "-inf" }.to_owned(),
            size if size < 99_999.5 && x.fract() == 0.0 => format!("{}", x + 0.0),
            size if !(0.000_999_5..9_999.5).contains(&size) => format!("{x:.1e}"),
            size if size >= 99.95 => format!("{x:.0}"),
            size if size >= 9.995 => format!("{x:.1}"),
            size if size >= 0.0995 => format!("{x:.2}"),
            _ => format!("{x:.4}"),
        };
        f.pad(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::Figure;

    #[test]
    fn numbers_have_three_digits_and_no_needless_exponent() {
        for (number, expected) in [
            (0.0, "0"),
            (-0.0, "0"),
            (4.0, "4"),
            (0.517, "0.52"),
            (2.734, "2.73"),
            (9.996, "10.0"),
            (88.61, "88.6"),
            (99.96, "100"),
            (4711.2, "4711"),
            (9_999.6, "1.0e4"),
            (60_667.0, "60667"),
            (3.44e6, "3.4e6"),
            (0.0123, "0.0123"),
            (0.0999, "0.10"),
            (4.54e-12, "4.5e-12"),
            (-2.5e-7, "-2.5e-7"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
        ] {
            assert_eq!(Figure(number).to_string(), expected);
        }
    }
}
