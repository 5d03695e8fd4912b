//! The measurements, and their document.

use serde::Serialize;
use soundalike_report::document::{Document, Table};

/// Fraction of a network's time below which a stage has no row of its own.
const LEAST: f64 = 0.005;

/// All measurements. Schema 1: keys may be added, not renamed.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) schema: u32,
    pub(super) machine: Machine,
    pub(super) networks: Vec<Network>,
    pub(super) pipeline: Option<Pipeline>,
}

#[derive(Debug, Serialize)]
pub(super) struct Machine {
    pub(super) kernels: String,
    pub(super) threads: usize,
    pub(super) peak_gflops: f64,
    pub(super) load_average: Option<f64>,
}

/// A network on windows of ten seconds. Times and counts are per window.
#[derive(Debug, Serialize)]
pub(super) struct Network {
    pub(super) name: String,
    pub(super) windows: usize,
    pub(super) stages: Vec<Stage>,
    pub(super) ms: f64,
    pub(super) gflop: f64,
}

/// A stage, or the stages of a layer.
#[derive(Debug, Serialize)]
pub(super) struct Stage {
    pub(super) name: String,
    pub(super) ms: f64,
    /// `None` if the stage hardly multiplies.
    pub(super) gflop: Option<f64>,
}

#[derive(Debug, Serialize)]
pub(super) struct Pipeline {
    /// Seconds of audio.
    pub(super) duration: f64,
    pub(super) speakers: usize,
    /// Seconds of each part.
    pub(super) stages: Vec<(&'static str, f64)>,
    pub(super) seconds: f64,
    pub(super) peak_mb: Option<f64>,
}

/// Sums stages of one name, and those below [`LEAST`] as "the rest".
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
    let groups = groups.into_iter();
    let (mut shown, small): (Vec<_>, Vec<_>) = groups.partition(|s| s.ms >= LEAST * total);
    shown.push(Stage {
        name: "the rest".to_owned(),
        ms: small.iter().map(|stage| stage.ms).sum(),
        gflop: None,
    });
    shown
}

pub(super) fn document(report: &Report) -> Document {
    let of = &report.machine;
    let mut machine = format!(
        "{}, {} thread(s), peak {:.0} GFLOP/s",
        of.kernels, of.threads, of.peak_gflops
    );
    if let Some(load) = of.load_average {
        machine += &format!(", load average {load:.2}");
    }
    let mut document = Document::default();
    document.paragraph(machine);
    for network in &report.networks {
        let heading = format!("{}, {} windows of 10 s", network.name, network.windows);
        document.table(&heading, stages(network, of.peak_gflops));
    }
    if let Some(pipeline) = &report.pipeline {
        let (duration, speakers) = (pipeline.duration, pipeline.speakers);
        let heading = format!("{duration:.1} s of audio, {speakers} speaker(s)");
        document.table(&heading, parts(pipeline));
        if let Some(peak) = pipeline.peak_mb {
            document.paragraph(format!("peak memory {peak:.0} MB"));
        }
    }
    document
}

fn stages(network: &Network, peak_gflops: f64) -> Table {
    let mut table = Table::new("| >ms per window | >GFLOP | >GFLOP/s | >of peak");
    let figure = |value: Option<f64>, decimals: usize| {
        value.map_or_else(String::new, |value| format!("{value:.decimals$}"))
    };
    let mut row = |name: &str, ms: f64, gflop: Option<f64>| {
        let speed = gflop.map(|gflop| gflop / ms * 1e3);
        let part = speed.map(|speed| format!("{:.0} %", 100.0 * speed / peak_gflops));
        table.row([
            name.to_owned(),
            format!("{ms:.2}"),
            figure(gflop, 3),
            figure(speed, 0),
            part.unwrap_or_default(),
        ]);
    };
    for stage in &network.stages {
        row(&stage.name, stage.ms, stage.gflop);
    }
    row("as in diarize", network.ms, Some(network.gflop));
    table
}

fn parts(pipeline: &Pipeline) -> Table {
    let stages = pipeline.stages.iter().copied();
    let rows = stages.chain([("all", pipeline.seconds)]);
    let rows = rows.map(|(name, seconds)| {
        let factor = format!("{:.4}", seconds / pipeline.duration);
        [name.to_owned(), format!("{seconds:.2}"), factor]
    });
    Table::of("| >s | >RTF", rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use soundalike_report::document::terminal::{self, Screen};

    #[test]
    fn times_stand_beside_the_peak_of_the_machine() {
        let stage = |name: &str, ms, gflop| Stage {
            name: name.to_owned(),
            ms,
            gflop,
        };
        let report = Report {
            schema: 1,
            machine: Machine {
                kernels: "AVX-512".to_owned(),
                threads: 2,
                peak_gflops: 200.0,
                load_average: Some(0.5),
            },
            networks: vec![Network {
                name: "PyanNet".to_owned(),
                windows: 32,
                stages: vec![
                    stage("lstm.0", 10.0, Some(1.0)),
                    stage("the rest", 0.5, None),
                ],
                ms: 10.0,
                gflop: 1.0,
            }],
            pipeline: Some(Pipeline {
                duration: 60.0,
                speakers: 2,
                stages: vec![("model", 1.5)],
                seconds: 3.0,
                peak_mb: Some(99.6),
            }),
        };
        assert_eq!(
            terminal::render(&document(&report), Screen::default()),
            "\
AVX-512, 2 thread(s), peak 200 GFLOP/s, load average 0.50

PyanNet, 32 windows of 10 s
               ms per window  GFLOP  GFLOP/s  of peak
lstm.0                 10.00  1.000      100     50 %
the rest                0.50
as in diarize          10.00  1.000      100     50 %

60.0 s of audio, 2 speaker(s)
          s     RTF
model  1.50  0.0250
all    3.00  0.0500

peak memory 100 MB
"
        );
    }
}
