//! What every command has in common: help, usage, exit codes, and a reader that goes away.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that panics has failed"
)]

mod support;

use std::{fs, io};

use support::{Run, all_pass, clip, command, data, soundalike, soundalike_in};

/// Names of the subcommands, as `--help` lists them.
fn subcommands() -> Vec<String> {
    let help = soundalike(["--help"]).ok();
    let list = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    list.take_while(|line| !line.is_empty())
        // A description that goes on is indented further.
        .filter(|line| !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .map(str::to_owned)
        .collect()
}

/// Columns that help takes at most: `max_term_width` of the program.
const COLUMNS: usize = 100;

/// Options and arguments of a help text that are not described, on their own line or on the next.
fn undescribed(help: &str) -> Vec<String> {
    let lines: Vec<_> = help.lines().collect();
    let indent = |line: &str| line.len() - line.trim_start().len();
    lines
        .iter()
        .enumerate()
        .filter(|(_, line)| {
            let text = line.trim_start();
            text.starts_with("--")
                || text.starts_with("-") && !text.starts_with("- ")
                || text.starts_with('<')
        })
        .filter(|(at, line)| {
            let beside = line
                .trim_start()
                .split_once("  ")
                .map(|(_, text)| text.trim());
            let below = lines
                .get(at + 1)
                .filter(|next| indent(next) > indent(line))
                .map(|next| next.trim());
            beside
                .or(below)
                .is_none_or(|text| text.is_empty() || text.starts_with('['))
        })
        .map(|(_, line)| line.trim().to_owned())
        .collect()
}

#[test]
fn help_fits_the_screen_and_describes_every_option() {
    let mut failures = Vec::new();
    let subcommands = subcommands();
    for name in ["diarize", "convert", "inspect"] {
        assert!(subcommands.contains(&name.to_owned()), "{subcommands:?}");
    }
    let mut all = vec!["--help".to_owned(), "-h".to_owned()];
    for name in &subcommands {
        all.extend([format!("{name} --help"), format!("{name} -h")]);
    }
    for words in all {
        let run = soundalike(words.split(' '));
        if run.code != Some(0) || !run.stderr.is_empty() {
            failures.push(format!("{words}: exit code {:?}, {}", run.code, run.stderr));
        }
        for line in run.stdout.lines() {
            if line.chars().count() > COLUMNS {
                failures.push(format!("{words}: more than {COLUMNS} columns: {line}"));
            }
        }
        for option in undescribed(&run.stdout) {
            failures.push(format!("{words}: not described: {option}"));
        }
        if !run.stdout.contains("Usage: soundalike") || !run.stdout.contains("--quiet") {
            failures.push(format!("{words}: not the help:\n{}", run.stdout));
        }
    }
    all_pass(failures);
}

#[test]
fn bad_usage_is_exit_code_2_and_tells_the_usage() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.wav"), clip(0.0, 2.0)).unwrap();
    let mut failures = Vec::new();
    for (words, part) in [
        ("transcribe a.wav", "transcribe"),
        ("diarize", "<AUDIO>"),
        ("diarize a.wav --loud", "--loud"),
        ("diarize a.wav --device abacus", "auto, cpu, metal or cuda"),
        ("diarize a.wav --dtype f8", "bf16"),
        ("diarize a.wav --num-speakers two", "--num-speakers"),
        ("diarize a.wav --num-speakers=-1", "--num-speakers"),
        (
            "diarize a.wav --num-speakers 2 --min-speakers 1",
            "--min-speakers",
        ),
        (
            "diarize a.wav --num-speakers 2 --max-speakers 3",
            "--max-speakers",
        ),
        ("diarize a.wav --threads 0", "1..=1024"),
        ("diarize a.wav --threads 100000", "1..=1024"),
        ("diarize a.wav -q -v", "--verbose"),
        ("convert", "<CHECKPOINT>"),
        ("convert a.wav --dtype f64", "bf16"),
        ("convert a.wav b.wav", "b.wav"),
        ("inspect", "<PATH>"),
        ("inspect a.wav --format xml", "json"),
    ] {
        let run = soundalike_in(folder.path(), words);
        let told = run.stderr.starts_with("error: ") && run.stderr.contains(part);
        if run.code != Some(2) || !run.stdout.is_empty() || !told {
            failures.push(format!("{words}: {run:?}"));
        }
    }
    let bare = soundalike([""; 0]);
    if bare.code != Some(2) || !bare.stderr.contains("Usage: soundalike") {
        failures.push(format!("no words at all: {bare:?}"));
    }
    all_pass(failures);
}

#[test]
fn the_version_is_that_of_the_package() {
    let expected = concat!("soundalike ", env!("CARGO_PKG_VERSION"), "\n");
    assert_eq!(soundalike(["--version"]).ok(), expected);
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    fs::write(here.join("a.wav"), clip(0.0, 2.0)).unwrap();
    fs::write(here.join("b.wav"), clip(5.0, 7.0)).unwrap();
    fs::write(here.join("x.safetensors"), soundalike_weights::SEGMENTATION).unwrap();
    let mut failures = Vec::new();
    for words in [
        "diarize -q a.wav b.wav",
        "inspect x.safetensors",
        "inspect x.safetensors --format json",
        "convert x.safetensors -o y.safetensors",
        "--help",
    ] {
        // As `| head -1` after its line, and surely before the program writes.
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let output = command(words.split(' '))
            .current_dir(here)
            .stdout(writer)
            .output();
        let run = Run::from(output.unwrap());
        if run.code != Some(0) || !run.stderr.is_empty() {
            failures.push(format!("{words}: {run:?}"));
        }
    }
    all_pass(failures);
    assert!(
        here.join("y.safetensors").exists(),
        "the work is done all the same"
    );
}

#[test]
fn a_name_of_other_letters_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    fs::copy(
        data("formats/clip.flac"),
        folder.path().join("Gespräch ñ 会議.flac"),
    )
    .unwrap();
    let run = command(["diarize", "-q", "Gespräch ñ 会議.flac"])
        .current_dir(folder.path())
        .output();
    let rttm = Run::from(run.unwrap()).ok();
    assert!(rttm.starts_with("SPEAKER Gespräch_ñ_会議 1 "), "{rttm}");
}

/// Messages that nobody can read cost no result.
#[test]
fn a_closed_stderr_changes_nothing() {
    let run = |command: &mut std::process::Command| Run::from(command.output().unwrap());
    let arguments =
        ["diarize", "--verbose", data("sample.wav").to_str().unwrap()].map(str::to_owned);
    let heard = run(&mut command(&arguments)).ok();
    let (reader, writer) = io::pipe().unwrap();
    drop(reader);
    let unheard = run(command(&arguments).stderr(writer));
    assert_eq!((unheard.code, unheard.stdout), (Some(0), heard));
}
