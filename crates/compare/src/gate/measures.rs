//! What a gate can limit: one row for each measure.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, MapAccess, Visitor},
    ser::SerializeMap,
};

use crate::{
    EXACT_R, EmbeddingAgreement, Figure, OutputAgreement, STRUCTURAL_R_LOCAL, StageError, Task,
};

use Direction::{AtLeast, AtMost, Below, NearOne, Ratio};

/// The least limit of R that is learned: an error of PyTorch's own size is never too much.
const LEAST_R: f64 = 1.0;
/// The least limit of 1 - correlation: its f64 sums over a million values may round by as much.
const LEAST_LACK: f64 = 1e-12;
/// The least limit of an embedding's length: the rounding of an f32.
const LEAST_LENGTH: f64 = 1e-7;

/// Something that a gate can limit.
pub(super) trait Limited: Sized + 'static {
    /// Whether its limits are for names that fit a pattern.
    const HAS_PATTERN: bool = false;
    /// What can be limited, in the order in which it is checked and written.
    const MEASURES: &'static [Measure<Self>];
}

/// What can be limited: a row of a table.
pub(super) struct Measure<T> {
    /// Its key in a gate.
    key: &'static str,
    /// Its key in the JSON of a report.
    figure: &'static str,
    /// Its name in words.
    pub(super) name: &'static str,
    /// Its value; none where it has none.
    of: fn(&T) -> Option<f64>,
    direction: Direction,
    /// Of free-running stages only: it is what users compare. Scaled-up rounding is not judged by it.
    pub(super) free_only: bool,
    /// What is allowed in any case.
    own: Option<Own<T>>,
    /// How its limit is learned; none where it is not.
    learned: Option<Learned>,
    /// Whether a gate must set it.
    required: bool,
}

/// So many times the error of the reference's own f32.
type Own<T> = (f64, fn(&T) -> f64);

/// Which values are good, and what error a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    /// Below the limit; the value is the error.
    Below,
    /// No more than the limit; the value is the error.
    AtMost,
    /// No less than the limit, a part of a whole; what is missing to 1 is the error.
    AtLeast,
    /// Above the limit; what is missing to 1 is the error, for near 1 the digits that matter are behind the nines.
    NearOne,
    /// A ratio that is off 1 by less than the limit.
    Ratio,
}

impl Direction {
    /// The error of a value.
    fn error(self, value: f64) -> f64 {
        match self {
            Below | AtMost => value,
            AtLeast | NearOne => 1.0 - value,
            Ratio => (value - 1.0).abs(),
        }
    }

    /// The error that a limit allows, and the limit that allows an error.
    fn limit(self, limit: f64) -> f64 {
        match self {
            Below | AtMost | Ratio => limit,
            AtLeast | NearOne => 1.0 - limit,
        }
    }

    fn includes_limit(self) -> bool {
        matches!(self, AtMost | AtLeast)
    }
}

/// How a limit is learned from the worst error of good runs.
#[derive(Debug, Clone, Copy)]
struct Learned {
    /// The power of the margin: 0 for decisions, which have none, 2 for what grows with the square of R.
    power: i32,
    /// The least error that is allowed.
    least: f64,
    /// The largest.
    most: f64,
}

impl<T> Measure<T> {
    const fn new(
        key: &'static str,
        name: &'static str,
        direction: Direction,
        of: fn(&T) -> Option<f64>,
    ) -> Self {
        Self {
            key,
            figure: key,
            name,
            of,
            direction,
            free_only: false,
            own: None,
            learned: None,
            required: false,
        }
    }

    /// Learned with the margin to a power, with no limit outside of these.
    const fn learned(mut self, power: i32, least: f64, most: f64) -> Self {
        self.learned = Some(Learned { power, least, most });
        self
    }

    /// With as many times the error of the reference's own f32 allowed.
    const fn or_own(mut self, times: f64, own: fn(&T) -> f64) -> Self {
        self.own = Some((times, own));
        self
    }

    /// The value of `found` under `limit`: what is expected, what was found, and whether the limit is kept. None where
    /// there is no such value. NaN keeps no limit.
    pub(super) fn check(&self, found: &T, limit: f64) -> Option<(String, String, bool)> {
        let value = (self.of)(found)?;
        let (error, allowed) = (self.direction.error(value), self.direction.limit(limit));
        let (times, own) = self
            .own
            .map_or((0.0, 0.0), |(times, own)| (times, times * own(found)));
        let (expected, kept) = match self.direction {
            AtLeast => (format!("at least {}", self.shown(allowed)), value >= limit),
            AtMost => (format!("at most {}", self.shown(allowed)), value <= limit),
            Below | NearOne | Ratio if own > allowed => (
                format!(
                    "below {}, {times} times that of PyTorch's own f32",
                    self.shown(own)
                ),
                error < own,
            ),
            Below | NearOne | Ratio => (format!("below {}", self.shown(allowed)), error < allowed),
        };
        Some((expected, self.shown(error), kept))
    }

    /// An error as a person reads it.
    pub(super) fn shown(&self, error: f64) -> String {
        match self.direction {
            AtLeast => format!("{:.2} %", 100.0 * (1.0 - error)),
            _ => Figure(error).to_string(),
        }
    }

    /// The error that the JSON of a report has; none where it has none, or one that is no number.
    pub(super) fn error_in(&self, figures: &serde_json::Value) -> Option<f64> {
        let error = self.direction.error(figures.get(self.figure)?.as_f64()?);
        Some(match self.direction {
            NearOne => error.max(0.0),
            _ => error,
        })
    }

    /// The limit that is learned from the `worst` error of good runs; none where nothing can be below it.
    pub(super) fn learn(&self, worst: f64, margin: f64) -> Option<f64> {
        let learned = self.learned?;
        let allowed = match learned.power {
            0 => worst,
            power => rounded_up(worst * margin.powi(power)),
        };
        let allowed = allowed.clamp(learned.least, learned.most);
        let kept = allowed > 0.0 || self.direction.includes_limit();
        kept.then(|| self.direction.limit(allowed))
    }
}

/// In two digits, rounded up: a limit below what was seen would fail its own runs.
fn rounded_up(error: f64) -> f64 {
    if error == 0.0 {
        return 0.0;
    }
    let unit = 10_f64.powf(error.log10().floor() - 1.0);
    // Through text: 27 units of a tenth are 2.7, not 2.7000000000000002.
    let digits = (error / unit).ceil() * unit;
    format!("{digits:.1e}").parse().unwrap_or(error)
}

impl Limited for StageError {
    const HAS_PATTERN: bool = true;
    const MEASURES: &'static [Measure<Self>] = &[
        Measure::new("r", "R", Below, |error: &Self| Some(error.r)).learned(1, LEAST_R, EXACT_R),
        Measure::new("r_local", "R_local", Below, |error: &Self| {
            Some(error.r_local)
        })
        .learned(1, LEAST_R, STRUCTURAL_R_LOCAL),
        // Of candidates with fewer bits than f32.
        Measure::new("r_d", "R_d", Below, |error: &Self| {
            Some(error.r_d.unwrap_or(f64::NAN))
        }),
        Measure {
            free_only: true,
            // Constants have none.
            ..Measure::new("correlation", "1 - correlation", NearOne, |error: &Self| {
                Some(error.correlation).filter(|correlation| !correlation.is_nan())
            })
            .or_own(EXACT_R * EXACT_R, |error| 1.0 - error.reference_correlation)
            .learned(2, LEAST_LACK, f64::INFINITY)
        },
    ];
}

impl Limited for OutputAgreement {
    const MEASURES: &'static [Measure<Self>] = &[
        Measure::new(
            "correlation",
            "1 - correlation",
            NearOne,
            |output: &Self| Some(output.correlation),
        )
        .or_own(EXACT_R * EXACT_R, |output| {
            1.0 - output.reference_correlation
        })
        .learned(2, LEAST_LACK, f64::INFINITY),
        // Embeddings decide nothing.
        Measure::new(
            "frame_agreement",
            "agreement of the frames' decisions",
            AtLeast,
            Self::frame_agreement,
        )
        .learned(0, 0.0, f64::INFINITY),
        Measure::new("max_abs", "largest error", Below, |output: &Self| {
            Some(output.max_abs)
        })
        .learned(1, 0.0, f64::INFINITY),
    ];
}

/// Every embedding has to keep them.
impl Limited for EmbeddingAgreement {
    const MEASURES: &'static [Measure<Self>] = &[
        Measure::new("cosine", "1 - cosine", NearOne, |embedding: &Self| {
            Some(embedding.cosine)
        })
        .or_own(EXACT_R * EXACT_R, |embedding| {
            1.0 - embedding.reference_cosine
        })
        .learned(2, LEAST_LACK, f64::INFINITY),
        // A cosine is blind to it. The reference's own may be small by luck; its error can all lie along the embedding.
        Measure {
            figure: "rms_ratio",
            ..Measure::new(
                "length",
                "error of the length",
                Ratio,
                |embedding: &Self| Some(embedding.rms_ratio),
            )
            .or_own(EXACT_R, Self::reference_error)
            .learned(1, LEAST_LENGTH, f64::INFINITY)
        },
    ];
}

impl Limited for Task {
    const MEASURES: &'static [Measure<Self>] = &[Measure {
        required: true,
        ..Measure::new("der", "DER", AtMost, |task: &Self| Some(task.der)).learned(
            0,
            0.0,
            f64::INFINITY,
        )
    }];
}

/// The limits of a part of a gate, with their reason.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Limits<T> {
    /// `lstm.*`, `*`; empty where there are no patterns.
    pub(super) pattern: String,
    /// One for each row of [`Limited::MEASURES`].
    pub(super) values: Vec<Option<f64>>,
    /// Why the limits are where they are.
    pub(super) because: String,
    /// What is limited.
    pub(super) of: PhantomData<T>,
}

impl<T: Limited> Limits<T> {
    /// Each measure that is limited, with its limit.
    pub(super) fn limited(&self) -> impl Iterator<Item = (&'static Measure<T>, f64)> {
        let rows = T::MEASURES.iter().zip(&self.values);
        rows.filter_map(|(measure, limit)| Some((measure, (*limit)?)))
    }
}

impl<T: Limited> Serialize for Limits<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if T::HAS_PATTERN {
            map.serialize_entry(PATTERN, &self.pattern)?;
        }
        for (measure, limit) in self.limited() {
            map.serialize_entry(measure.key, &limit)?;
        }
        map.serialize_entry(BECAUSE, &self.because)?;
        map.end()
    }
}

impl<'de, T: Limited> Deserialize<'de> for Limits<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Reader(PhantomData))
    }
}

const PATTERN: &str = "pattern";
const BECAUSE: &str = "because";

/// Reads a map whose keys the table has.
struct Reader<T>(PhantomData<T>);

impl<'de, T: Limited> Visitor<'de> for Reader<T> {
    type Value = Limits<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table of limits")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Limits<T>, A::Error> {
        let (mut pattern, mut because) = (None, None);
        let mut values = vec![None; T::MEASURES.len()];
        while let Some(Key(key, _)) = map.next_key::<Key<T>>()? {
            match T::MEASURES.iter().position(|row| row.key == key) {
                Some(row) => values[row] = Some(map.next_value()?),
                None if key == PATTERN => pattern = Some(map.next_value()?),
                None => because = Some(map.next_value()?),
            }
        }
        if T::HAS_PATTERN && pattern.is_none() {
            return Err(Error::missing_field(PATTERN));
        }
        let mut rows = T::MEASURES.iter().zip(&values);
        if let Some((row, _)) = rows.find(|(row, limit)| row.required && limit.is_none()) {
            return Err(Error::missing_field(row.key));
        }
        Ok(Limits {
            pattern: pattern.unwrap_or_default(),
            values,
            because: because.ok_or_else(|| Error::missing_field(BECAUSE))?,
            of: PhantomData,
        })
    }
}

/// A key that a part of a gate may have: an error is at the key, not at the map.
#[derive(Deserialize)]
#[serde(try_from = "String", bound = "T: Limited")]
struct Key<T>(String, PhantomData<T>);

impl<T: Limited> TryFrom<String> for Key<T> {
    type Error = String;

    fn try_from(key: String) -> Result<Self, String> {
        let pattern = T::HAS_PATTERN.then_some(PATTERN);
        let keys = T::MEASURES.iter().map(|row| row.key);
        let known: Vec<_> = pattern.into_iter().chain(keys).chain([BECAUSE]).collect();
        if known.contains(&key.as_str()) {
            return Ok(Self(key, PhantomData));
        }
        Err(match known.as_slice() {
            [one, other] => format!("unknown field `{key}`, expected `{one}` or `{other}`"),
            more => format!(
                "unknown field `{key}`, expected one of `{}`",
                more.join("`, `")
            ),
        })
    }
}
