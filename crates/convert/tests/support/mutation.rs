//! Damage at random.

use proptest::prelude::*;

/// Replaces, removes and inserts a few bytes; `at` is a fraction of the length.
pub(crate) fn mutated(bytes: &[u8], edits: &[(f64, u8, u8)]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for &(at, kind, value) in edits {
        if bytes.is_empty() {
            break;
        }
        let at = ((bytes.len() - 1) as f64 * at) as usize;
        match kind % 4 {
            0 => bytes[at] = value,
            1 => bytes[at] ^= 1 << (value % 8),
            2 => drop(bytes.remove(at)),
            _ => bytes.truncate(at),
        }
    }
    bytes
}

/// Edits for [`mutated`].
pub(crate) fn edits() -> impl Strategy<Value = Vec<(f64, u8, u8)>> {
    prop::collection::vec((0.0..1.0, any::<u8>(), any::<u8>()), 1..6)
}
