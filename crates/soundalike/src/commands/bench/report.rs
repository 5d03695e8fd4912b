//! What was measured, and how it is printed.

use std::fmt;

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

/// Part of a network's time below which a stage has no line of its own.
const LEAST: f64 = 0.005;

/// All of it. Schema 1: keys may be added, not renamed.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) schema: u32,
    pub(super) machine: Machine,
    pub(super) networks: Vec<Network>,
    pub(super) pipeline: Option<Pipeline>,
}

/// What it was measured on.
#[derive(Debug, Serialize)]
pub(super) struct Machine {
    pub(super) kernels: String,
    pub(super) threads: usize,
    /// Of all threads together.
    pub(super) peak_gflops: f64,
    pub(super) load_average: Option<f64>,
}

/// A network on windows of ten seconds. Times and counts are those of one window.
#[derive(Debug, Serialize)]
pub(super) struct Network {
    pub(super) name: String,
    pub(super) windows: usize,
    pub(super) stages: Vec<Stage>,
    pub(super) ms: f64,
    pub(super) gflop: f64,
}

/// A stage, or several of one layer.
#[derive(Debug, Serialize)]
pub(super) struct Stage {
    pub(super) name: String,
    pub(super) ms: f64,
    /// None where it hardly multiplies.
    pub(super) gflop: Option<f64>,
}

/// A recording.
#[derive(Debug, Serialize)]
pub(super) struct Pipeline {
    /// Seconds of audio.
    pub(super) duration: f64,
    pub(super) speakers: usize,
    /// Seconds that each part took.
    pub(super) stages: Vec<(String, f64)>,
    pub(super) seconds: f64,
    pub(super) peak_mb: Option<f64>,
}

/// Stages with those of one name in one, and those that take no time worth a line in another.
pub(super) fn grouped(stages: impl Iterator<Item = Stage>) -> Vec<Stage> {
    let mut groups: Vec<Stage> = Vec::new();
    for stage in stages {
        let name = stage.name.clone();
        match groups.iter_mut().find(|group| group.name == name) {
            Some(group) => {
                group.ms += stage.ms;
                group.gflop = match (group.gflop, stage.gflop) {
                    (None, None) => None,
                    (a, b) => Some(a.unwrap_or(0.0) + b.unwrap_or(0.0)),
                };
            }
            None => groups.push(Stage { name, ..stage }),
        }
    }
    let total: f64 = groups.iter().map(|stage| stage.ms).sum();
    let (mut shown, small): (Vec<_>, Vec<_>) = groups
        .into_iter()
        .partition(|stage| stage.ms >= LEAST * total);
    shown.push(Stage {
        name: "the rest".to_owned(),
        ms: small.iter().map(|stage| stage.ms).sum(),
        gflop: None,
    });
    shown
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Machine {
            kernels,
            threads,
            peak_gflops,
            load_average,
        } = &self.machine;
        write!(
            f,
            "{kernels}, {threads} thread(s), peak {peak_gflops:.0} GFLOP/s"
        )?;
        match load_average {
            Some(load) => writeln!(f, ", load average {load:.2}")?,
            None => writeln!(f)?,
        }
        for network in &self.networks {
            writeln!(f, "\n{}, {} windows of 10 s", network.name, network.windows)?;
            let mut table = table(["", "ms per window", "GFLOP", "GFLOP/s", "of peak"]);
            for stage in &network.stages {
                table.add_row(row(&stage.name, stage.ms, stage.gflop, *peak_gflops));
            }
            let whole = Some(network.gflop);
            table.add_row(row("as in diarize", network.ms, whole, *peak_gflops));
            writeln!(f, "{}", table.trim_fmt())?;
        }
        let Some(pipeline) = &self.pipeline else {
            return Ok(());
        };
        writeln!(
            f,
            "\n{:.1} s of audio, {} speaker(s)",
            pipeline.duration, pipeline.speakers
        )?;
        let mut table = table(["", "s", "RTF"]);
        let all = ("all".to_owned(), pipeline.seconds);
        for (name, seconds) in pipeline.stages.iter().chain([&all]) {
            let factor = seconds / pipeline.duration;
            table.add_row([
                name.clone(),
                format!("{seconds:.2}"),
                format!("{factor:.4}"),
            ]);
        }
        writeln!(f, "{}", table.trim_fmt())?;
        match pipeline.peak_mb {
            Some(peak) => writeln!(f, "peak memory {peak:.0} MB"),
            None => Ok(()),
        }
    }
}

fn table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn row(name: &str, ms: f64, gflop: Option<f64>, peak: f64) -> [String; 5] {
    let speed = gflop.map(|gflop| gflop / ms * 1e3);
    let figure = |value: Option<f64>, decimals: usize| {
        value.map_or_else(String::new, |value| format!("{value:.decimals$}"))
    };
    [
        name.to_owned(),
        format!("{ms:.2}"),
        figure(gflop, 3),
        figure(speed, 0),
        speed.map_or_else(String::new, |speed| {
            format!("{:.0} %", 100.0 * speed / peak)
        }),
    ]
}
