//! What was seen is what `crates/selftest/captured/verified.json` says, or is written there.

use std::{
    path::Path,
    sync::{Mutex, PoisonError},
};

use soundalike_compare::Verification;

/// The tests run side by side.
static FILE: Mutex<()> = Mutex::new(());

/// Holds what was seen of one model, over all its captures, against the record. `SOUNDALIKE_VERIFIED=write`
/// writes it there instead, then others stay as they are.
pub(crate) fn check(seen: Vec<Verification>, random_weights: bool) {
    let Some(seen) = seen.into_iter().reduce(worst) else {
        panic!("no captures");
    };
    let mut seen = Verification {
        random_weights,
        ..seen
    };
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("captured/verified.json");
    let _guard = FILE.lock().unwrap_or_else(PoisonError::into_inner);
    let record = std::fs::read_to_string(&path).expect("a record");
    let mut record: Vec<Verification> = serde_json::from_str(&record).expect("it is JSON");
    let place = record
        .iter()
        .position(|entry| (&entry.architecture, &entry.model) == (&seen.architecture, &seen.model));
    if std::env::var("SOUNDALIKE_VERIFIED").as_deref() == Ok("write") {
        match place {
            Some(place) => record[place] = seen,
            None => record.push(seen),
        }
        record.sort_by(|a, b| a.partial_cmp(b).expect("numbers"));
        let text = serde_json::to_string_pretty(&record).expect("JSON") + "\n";
        std::fs::write(&path, text).expect("a record");
        return;
    }
    let recorded = place.map(|place| &record[place]);
    if let (true, Some(recorded)) = (random_weights, recorded) {
        seen.sha256.clone_from(&recorded.sha256);
    }
    assert_eq!(
        recorded,
        Some(&seen),
        "crates/selftest/captured/verified.json says otherwise; if this is right, run the test with SOUNDALIKE_VERIFIED=write"
    );
}

/// Both, of which the worse counts.
fn worst(a: Verification, b: Verification) -> Verification {
    assert_eq!(a.sha256, b.sha256, "captures of another model");
    Verification {
        windows: a.windows + b.windows,
        stages: a.stages.max(b.stages),
        bit_equal: a.bit_equal && b.bit_equal,
        r: a.r.max(b.r),
        ..a
    }
}
