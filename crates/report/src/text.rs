//! Numbers and lists in sentences.

use soundalike_compare::Figure;

/// Most names in a list.
pub(crate) const LISTED: usize = 6;

/// A correlation; near 1 as `1 - x`.
#[must_use]
pub fn near_one(correlation: f64) -> String {
    let distance = 1.0 - correlation;
    if distance < 1e-4 {
        format!("1 - {}", Figure(distance.max(0.0)))
    } else {
        format!("{correlation:.4}")
    }
}

/// A fraction in percent; `100 %` only for exactly 1.
#[must_use]
pub fn percent(part: f64) -> String {
    let shown = 100.0 * part;
    if part < 1.0 && shown >= 99.995 {
        format!("{shown:.4} %")
    } else if part == 1.0 {
        "100 %".to_owned()
    } else {
        format!("{shown:.2} %")
    }
}

/// The first names, and the number of others.
pub fn listed(names: impl ExactSizeIterator<Item = String>) -> String {
    let length = names.len();
    let all: Vec<_> = names.collect();
    // `and 1 more` is hardly shorter than the name.
    if length <= LISTED + 1 {
        return all.join(", ");
    }
    format!("{} and {} more", all[..LISTED].join(", "), length - LISTED)
}
