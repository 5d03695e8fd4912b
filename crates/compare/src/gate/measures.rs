//! The measures that a gate can limit, a row of a table each.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, MapAccess, Visitor},
    ser::SerializeMap,
};

use crate::{
    EXACT_R, EmbeddingAgreement, Figure, OutputAgreement, PathCheck, STRUCTURAL_R_LOCAL,
    StageError, Task, UNSTEADY_R,
};

use Direction::{AtLeast, AtMost, Below, NearOne, Ratio};

/// Smallest limit of R that is learned: the rounding of PyTorch's own f32.
const LEAST_R: f64 = 1.0;
/// Smallest limit of 1 - correlation that is learned: the rounding of f64 sums over a million values.
const LEAST_LACK: f64 = 1e-12;
/// Smallest limit of an embedding's length that is learned: the rounding of an f32.
const LEAST_LENGTH: f64 = 1e-7;

/// A part of a report that a gate can limit.
pub(super) trait Limited: Sized + 'static {
    /// Whether its limits are for names that match a pattern.
    const HAS_PATTERN: bool = false;
    /// The measures, in the order in which they are checked and written.
    const MEASURES: &'static [Measure<Self>];
}

/// A measure that can be limited: a row of a table.
pub(super) struct Measure<T> {
    /// Its key in a gate.
    key: &'static str,
    /// Its key in the JSON of a report.
    figure: &'static str,
    /// Its name in words.
    pub(super) name: &'static str,
    /// Its value.
    of: fn(&T) -> f64,
    direction: Direction,
    /// The runs of a stage that are limited.
    pub(super) runs: Runs,
    /// Whether its unit is the rounding of the reference.
    pub(super) in_floors: bool,
    /// A value of NaN is not checked. Otherwise it fails every limit.
    optional: bool,
    /// The error that is always allowed.
    own: Option<Own<T>>,
    /// How its limit is learned; none where it is not.
    learned: Option<Learned>,
    /// Whether a gate must set it.
    required: bool,
}

/// Runs of a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Runs {
    /// Both.
    Both,
    /// Free-running, without a degenerate norm before: users compare these.
    Free,
    /// Free-running, where the stage's own error is known from the teacher-forced run. Its limit replaces those of
    /// [`Self::Both`] there.
    Inherited,
}

/// How many times the error of the reference's own f32, and that error.
type Own<T> = (f64, fn(&T) -> f64);

/// Which values are good, and the error of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    /// Below the limit. The error is the value.
    Below,
    /// At most the limit. The error is the value.
    AtMost,
    /// A fraction, at least the limit. The error is 1 - value.
    AtLeast,
    /// Above the limit, near 1. The error is 1 - value, whose digits are the significant ones.
    NearOne,
    /// A ratio whose distance to 1, the error, is below the limit.
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
}

/// How a limit is learned from the worst error of good runs.
#[derive(Debug, Clone, Copy)]
struct Learned {
    /// The power of the margin: 0 for decisions, which have no margin, 2 for measures that grow with the square of R.
    power: i32,
    /// Smallest error that is allowed.
    least: f64,
    /// Largest error that is allowed.
    most: f64,
}

impl<T> Measure<T> {
    const fn new(
        key: &'static str,
        name: &'static str,
        direction: Direction,
        of: fn(&T) -> f64,
    ) -> Self {
        Self {
            key,
            figure: key,
            name,
            of,
            direction,
            runs: Runs::Both,
            in_floors: false,
            optional: false,
            own: None,
            learned: None,
            required: false,
        }
    }

    /// A correlation or cosine. It may be as bad as an exact R makes that of the reference's f32, `own`: the error grows with
    /// the square of R.
    const fn near_one(
        key: &'static str,
        name: &'static str,
        of: fn(&T) -> f64,
        own: fn(&T) -> f64,
    ) -> Self {
        let mut measure = Self::new(key, name, NearOne, of).learned(2, LEAST_LACK, f64::INFINITY);
        measure.own = Some((EXACT_R * EXACT_R, own));
        measure
    }

    /// In units of the rounding of the reference.
    const fn in_floors(mut self) -> Self {
        self.in_floors = true;
        self
    }

    /// Learned with this power of the margin, between two errors.
    const fn learned(mut self, power: i32, least: f64, most: f64) -> Self {
        self.learned = Some(Learned { power, least, most });
        self
    }

    /// The value of `found` under `limit`: the expected and the found value in words, and whether the limit is kept. None
    /// where there is no such value.
    pub(super) fn check(&self, found: &T, limit: f64) -> Option<(String, String, bool)> {
        let value = (self.of)(found);
        if self.optional && value.is_nan() {
            return None;
        }
        let (error, allowed) = (self.direction.error(value), self.direction.limit(limit));
        let (times, own) = self.own.unwrap_or((0.0, |_| 0.0));
        let own = times * own(found);
        let (expected, kept) = match self.direction {
            AtLeast => (format!("at least {}", self.shown(allowed)), value >= limit),
            AtMost => (format!("at most {}", self.shown(allowed)), value <= limit),
            Below | NearOne | Ratio if own > allowed => {
                let own_shown = self.shown(own);
                let expected =
                    format!("below {own_shown}, {times} times that of PyTorch's own f32");
                (expected, error < own)
            }
            Below | NearOne | Ratio => (format!("below {}", self.shown(allowed)), error < allowed),
        };
        Some((expected, self.shown(error), kept))
    }

    /// An error in words.
    pub(super) fn shown(&self, error: f64) -> String {
        match self.direction {
            AtLeast => format!("{:.2} %", 100.0 * (1.0 - error)),
            _ => Figure(error).to_string(),
        }
    }

    /// The error in the JSON of a report; none where it has no number.
    pub(super) fn error_in(&self, figures: &serde_json::Value) -> Option<f64> {
        let error = self.direction.error(figures.get(self.figure)?.as_f64()?);
        Some(match self.direction {
            NearOne => error.max(0.0),
            _ => error,
        })
    }

    /// The limit that is learned from the `worst` error of good runs; none where no error can be below it.
    pub(super) fn learn(&self, worst: f64, margin: f64) -> Option<f64> {
        let Learned { power, least, most } = self.learned?;
        let allowed = match power {
            0 => worst,
            power => rounded_up(worst * margin.powi(power)),
        };
        let allowed = allowed.clamp(least, most);
        let kept = allowed > 0.0 || matches!(self.direction, AtMost | AtLeast);
        kept.then(|| self.direction.limit(allowed))
    }
}

/// Rounded up to two digits: a limit below the worst error would fail its own runs.
fn rounded_up(error: f64) -> f64 {
    if error == 0.0 {
        return 0.0;
    }
    let unit = 10_f64.powf(error.log10().floor() - 1.0);
    // Through text, because 27 * 0.1 is 2.7000000000000002.
    let digits = (error / unit).ceil() * unit;
    format!("{digits:.1e}").parse().unwrap_or(error)
}

impl Limited for StageError {
    const HAS_PATTERN: bool = true;
    const MEASURES: &'static [Measure<Self>] = &[
        Measure::new("r", "R", Below, |e: &Self| e.r)
            .in_floors()
            .learned(1, LEAST_R, EXACT_R),
        Measure::new("r_local", "R_local", Below, |e: &Self| e.r_local)
            .in_floors()
            .learned(1, LEAST_R, STRUCTURAL_R_LOCAL),
        // The ratio of two accumulated errors, each of which is one draw: where one direction dominates, it is above 32 in 2 %
        // of all draws.
        Measure {
            figure: "r",
            runs: Runs::Inherited,
            ..Measure::new("r_free", "R", Below, |e: &Self| e.r)
                .in_floors()
                .learned(1, LEAST_R, UNSTEADY_R)
        },
        // Of candidates below f32.
        Measure::new("r_d", "R_d", Below, |e: &Self| e.r_d.unwrap_or(f64::NAN)),
        Measure::new("rel_l2", "relative L2 error", Below, |e: &Self| e.rel_l2),
        // Constants have none.
        Measure {
            runs: Runs::Free,
            optional: true,
            ..Measure::near_one(
                "correlation",
                "1 - correlation",
                |e: &Self| e.correlation,
                |e| 1.0 - e.reference_correlation,
            )
        },
    ];
}

impl Limited for OutputAgreement {
    const MEASURES: &'static [Measure<Self>] = &[
        Measure::near_one(
            "correlation",
            "1 - correlation",
            |output: &Self| output.correlation,
            |output| 1.0 - output.reference_correlation,
        ),
        // Embeddings have no decisions.
        Measure {
            optional: true,
            ..Measure::new(
                "frame_agreement",
                "agreement of the frames' decisions",
                AtLeast,
                |output: &Self| output.frame_agreement().unwrap_or(f64::NAN),
            )
            .learned(0, 0.0, f64::INFINITY)
        },
        Measure::new("max_abs", "largest error", Below, |o: &Self| o.max_abs).learned(
            1,
            0.0,
            f64::INFINITY,
        ),
    ];
}

/// Each embedding must keep these limits.
impl Limited for EmbeddingAgreement {
    const MEASURES: &'static [Measure<Self>] = &[
        Measure::near_one(
            "cosine",
            "1 - cosine",
            |embedding: &Self| embedding.cosine,
            |embedding| 1.0 - embedding.reference_cosine,
        ),
        // A cosine does not change with length. The reference's own error of the length may be small by chance: all of its
        // error may lie along the embedding.
        Measure {
            figure: "rms_ratio",
            own: Some((EXACT_R, Self::reference_error)),
            ..Measure::new("length", "error of the length", Ratio, |e: &Self| {
                e.rms_ratio
            })
            .learned(1, LEAST_LENGTH, f64::INFINITY)
        },
    ];
}

impl Limited for Task {
    const MEASURES: &'static [Measure<Self>] = &[Measure {
        required: true,
        ..Measure::new("der", "DER", AtMost, |task: &Self| task.der).learned(0, 0.0, f64::INFINITY)
    }];
}

impl Limited for PathCheck {
    const MEASURES: &'static [Measure<Self>] = &[Measure {
        required: true,
        ..Measure::new(
            "wrong",
            "number of outputs that are not the compared ones",
            AtMost,
            |check: &Self| check.wrong as f64,
        )
        .learned(0, 0.0, f64::INFINITY)
    }];
}

/// The limits of one part of a gate, with their reason.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Limits<T> {
    /// `lstm.*`; empty where there are no patterns.
    pub(super) pattern: String,
    /// A limit for each row of [`Limited::MEASURES`].
    pub(super) values: Vec<Option<f64>>,
    /// The reason of the limits.
    pub(super) because: String,
    /// The limited part.
    pub(super) of: PhantomData<T>,
}

impl<T: Limited> Limits<T> {
    /// The limited measures with their limits.
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

/// Reads a map whose keys are those of the table.
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

/// A key of a part of a gate. As its own type, so that an error has the line of the key and not of the map.
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
