//! `soundalike diarize` on the project's own sample.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that panics has failed"
)]

mod support;

use std::fs;

use support::{
    all_pass, annotation, clip, command, data, der, names, sample_run, soundalike, soundalike_in,
};

/// What is said on stderr of a run in which all is well.
const NOTE: &str = "note: no speaker embedding network: clustering uses built-in embeddings, which are less accurate; `soundalike models get community-1` installs a whole pipeline (33 MB, CC-BY-4.0)\n";

#[test]
fn the_sample_has_two_speakers_who_talk_when_its_truth_says() {
    let run = sample_run();
    assert_eq!(run.stderr, NOTE, "no progress bar where nobody looks");
    let rttm = run.clone().ok();
    let mut failures = Vec::new();
    for line in rttm.lines() {
        let fields: Vec<_> = line.split(' ').collect();
        let [
            "SPEAKER",
            "sample",
            "1",
            start,
            duration,
            "<NA>",
            "<NA>",
            label,
            "<NA>",
            "<NA>",
        ] = fields[..]
        else {
            failures.push(format!("not a line of RTTM: {line}"));
            continue;
        };
        for seconds in [start, duration] {
            let decimals = seconds.split_once('.').map(|(_, decimals)| decimals.len());
            if decimals != Some(3)
                || !seconds
                    .parse()
                    .is_ok_and(|s: f64| (0.0..=30.0).contains(&s))
            {
                failures.push(format!("{seconds} are not seconds of the sample: {line}"));
            }
        }
        if !["SPEAKER_00", "SPEAKER_01"].contains(&label) {
            failures.push(format!("unexpected label: {line}"));
        }
    }
    all_pass(failures);
    assert!(rttm.ends_with('\n'));
    assert_eq!(annotation(&rttm).labels(), ["SPEAKER_00", "SPEAKER_01"]);
    let first = rttm.lines().next().unwrap();
    assert!(first.contains("SPEAKER_00"), "numbered by first appearance");

    let truth = fs::read_to_string(data("sample.rttm")).unwrap();
    let der = der(&truth, &rttm);
    println!("DER of tests/data/sample.wav against its truth: {der:.4}");
    // Measured: 0.036, nearly all of it at the edges of turns, which the network makes 50 ms longer than the
    // synthesizer's samples are loud.
    assert!(der <= 0.05, "DER {der}");
}

#[test]
fn the_same_recording_gives_the_same_bytes_on_any_number_of_threads() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    // Eight windows: as many as go through the network together.
    fs::write(here.join("a.wav"), clip(0.0, 17.0)).unwrap();
    let expected = soundalike_in(here, "diarize a.wav");
    assert_eq!(annotation(&expected.clone().ok()).labels().len(), 2);
    let mut failures = Vec::new();
    for options in ["", " --threads 1", " --threads 2"] {
        let run = soundalike_in(here, &format!("diarize a.wav{options}"));
        if run != expected {
            failures.push(format!("another result with `{options}`: {run:?}"));
        }
    }
    all_pass(failures);
}

#[test]
fn turns_go_where_the_user_says() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let diarize = |words: &str| soundalike_in(here, &format!("diarize -q {words}")).ok();
    fs::write(here.join("a.wav"), clip(0.0, 4.0)).unwrap();
    fs::write(here.join("b.wav"), clip(5.0, 8.0)).unwrap();
    let (a, b) = (diarize("a.wav"), diarize("b.wav"));
    assert!(a.starts_with("SPEAKER a 1 ") && b.starts_with("SPEAKER b 1 "));
    let read = |name: &str| fs::read_to_string(here.join(name)).unwrap();
    let both = format!("{a}{b}");
    let reversed = format!("{b}{a}");

    assert_eq!(diarize("a.wav b.wav"), both, "in the order given");
    assert_eq!(diarize("b.wav a.wav"), reversed, "in the order given");
    assert_eq!(diarize("a.wav -o a.rttm"), "");
    assert_eq!(read("a.rttm"), a);
    assert_eq!(diarize("b.wav -o a.rttm"), "");
    assert_eq!(read("a.rttm"), b, "a file from before is replaced");
    assert_eq!(diarize("a.wav b.wav -o both.rttm"), "");
    assert_eq!(read("both.rttm"), both);
    assert_eq!(diarize("a.wav b.wav -o new/"), "");
    fs::create_dir(here.join("old")).unwrap();
    assert_eq!(diarize("a.wav b.wav -o old"), "");
    for folder in ["new", "old"] {
        assert_eq!(names(&here.join(folder)), ["a.rttm", "b.rttm"]);
        assert_eq!(read(&format!("{folder}/a.rttm")), a);
        assert_eq!(read(&format!("{folder}/b.rttm")), b);
    }
    let expected = ["a.rttm", "a.wav", "b.wav", "both.rttm", "new", "old"];
    assert_eq!(names(here), expected, "and no temporary file");
}

#[cfg(unix)]
#[test]
fn a_written_file_is_as_readable_as_any_and_a_device_is_not_replaced() {
    use std::{
        io::Read,
        os::unix::fs::{FileTypeExt, PermissionsExt},
    };
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    fs::write(here.join("a.wav"), clip(0.0, 2.0)).unwrap();
    let mode = |name: &str| {
        let metadata = fs::metadata(here.join(name)).unwrap();
        metadata.permissions().mode()
    };
    soundalike_in(here, "diarize -q a.wav -o a.rttm").ok();
    assert_eq!(mode("a.rttm"), mode("a.wav"));

    let pipe = here.join("pipe");
    support::make_pipe(&pipe);
    // Opened for both, so that neither side waits for the other.
    let mut reader = fs::File::options()
        .read(true)
        .write(true)
        .open(&pipe)
        .unwrap();
    soundalike_in(here, "diarize -q a.wav -o pipe").ok();
    assert!(fs::metadata(&pipe).unwrap().file_type().is_fifo());
    let expected = fs::read(here.join("a.rttm")).unwrap();
    let mut written = vec![0; expected.len()];
    reader.read_exact(&mut written).unwrap();
    assert_eq!(written, expected);
}

#[test]
fn names_with_spaces_are_one_field_and_equal_names_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    fs::create_dir(here.join("other")).unwrap();
    for name in ["a.wav", "other/a.wav", "my own talk.wav"] {
        fs::write(here.join(name), clip(0.0, 2.0)).unwrap();
    }
    let rttm = soundalike(["diarize".into(), here.join("my own talk.wav")]).ok();
    assert!(rttm.starts_with("SPEAKER my_own_talk 1 "), "{rttm}");
    for line in rttm.lines() {
        assert_eq!(line.split(' ').count(), 10, "{line}");
    }
    for output in ["", " -o out.rttm", " -o out/"] {
        let run = soundalike_in(here, &format!("diarize a.wav other/a.wav{output}"));
        all_pass(
            run.no_refusal(&["a.wav and other/a.wav", "`a`"])
                .into_iter()
                .collect(),
        );
    }
    assert_eq!(names(here), ["a.wav", "my own talk.wav", "other"]);
}

#[test]
fn a_recording_is_never_overwritten_and_needs_a_name() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let bytes = clip(0.0, 2.0);
    fs::write(here.join("a.wav"), &bytes).unwrap();
    fs::write(here.join("b.wav"), &bytes).unwrap();
    fs::create_dir(here.join("empty")).unwrap();
    fs::write(here.join("empty/ .wav"), &bytes).unwrap();
    let mut failures = Vec::new();
    for (words, parts) in [
        (
            "diarize a.wav -o a.wav",
            ["a.wav", "is an input (recording)"],
        ),
        (
            "diarize a.wav b.wav -o ./b.wav",
            ["b.wav", "is an input (recording)"],
        ),
        ("diarize .", [".", "has no name"]),
    ] {
        failures.extend(soundalike_in(here, words).no_refusal(&parts));
    }
    let nameless = command(["diarize", "empty/ .wav"])
        .current_dir(here)
        .output()
        .unwrap();
    failures.extend(support::Run::from(nameless).no_refusal(&["has no name"]));
    assert_eq!(fs::read(here.join("a.wav")).unwrap(), bytes);
    assert_eq!(fs::read(here.join("b.wav")).unwrap(), bytes);
    all_pass(failures);
}

#[test]
fn as_many_speakers_are_found_as_are_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    // Both voices, twice each, in three windows.
    fs::write(here.join("a.wav"), clip(0.0, 12.0)).unwrap();
    let mut failures = Vec::new();
    for (options, expected) in [
        ("", 2),
        (" --num-speakers 1", 1),
        (" --num-speakers 2", 2),
        (" --num-speakers 3", 3),
        (" --min-speakers 3", 3),
        (" --max-speakers 1", 1),
        (" --min-speakers 1 --max-speakers 4", 2),
        (" --min-speakers 2 --max-speakers 2", 2),
    ] {
        let rttm = soundalike_in(here, &format!("diarize -q a.wav{options}")).ok();
        let found = annotation(&rttm).labels().len();
        if found != expected {
            failures.push(format!(
                "`{options}`: {found} speakers, expected {expected}"
            ));
        }
    }
    for (options, part) in [
        ("--num-speakers 0", "at least 1"),
        ("--min-speakers 0", "at least 1"),
        ("--max-speakers 0", "at least 1"),
        (
            "--min-speakers 3 --max-speakers 2",
            "at least 3 and at most 2",
        ),
        ("--threshold nan", "--threshold is NaN"),
        ("--threshold 2.5", "--threshold is 2.5"),
    ] {
        let run = soundalike_in(here, &format!("diarize a.wav {options}"));
        let failure = run.no_refusal(&[part]);
        failures.extend(failure.map(|failure| format!("{options}: {failure}")));
    }
    all_pass(failures);
}

#[test]
fn sixteen_bits_tell_their_price_and_claim_no_kernels() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    fs::write(here.join("a.wav"), clip(0.0, 2.0)).unwrap();
    let wide = soundalike_in(here, "diarize -v a.wav");
    assert!(wide.stderr.contains(" (f32) on cpu, "), "{}", wide.stderr);
    for dtype in ["f16", "bf16"] {
        let run = soundalike_in(
            here,
            &format!("diarize -v a.wav --device cpu --dtype {dtype}"),
        );
        assert_eq!(run.code, Some(0), "{}", run.stderr);
        for part in [
            &*format!("note: {dtype} changes the turns by a DER of "),
            " times as long; see reports/precision.md",
            &format!(" ({dtype}) on cpu, no kernels, "),
        ] {
            assert!(run.stderr.contains(part), "no `{part}`: {}", run.stderr);
        }
    }
    let quiet = soundalike_in(here, "diarize -q a.wav --dtype f16");
    assert_eq!(quiet.stderr, "");
}

#[test]
fn quiet_is_silent_and_verbose_tells_of_the_model_and_the_time() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    fs::write(here.join("a.wav"), clip(0.0, 2.0)).unwrap();
    let plain = soundalike_in(here, "diarize a.wav");
    assert_eq!(plain.stderr, NOTE);
    for words in ["-q diarize a.wav", "diarize a.wav --quiet"] {
        let quiet = soundalike_in(here, words);
        assert_eq!((quiet.stderr.as_str(), &quiet.stdout), ("", &plain.stdout));
    }
    let verbose = soundalike_in(here, "diarize -v a.wav");
    assert_eq!(verbose.stdout, plain.stdout);
    for part in ["segmentation-3.0 (f32)", "a.wav: 2.0 s of audio in ", NOTE] {
        assert!(verbose.stderr.contains(part), "{}", verbose.stderr);
    }
}

#[test]
fn silence_is_an_empty_rttm_and_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let silence = |samples| support::wav(support::Encoding::I16, 16_000, 1, &vec![0.0; samples]);
    fs::write(here.join("silence.wav"), silence(160_000)).unwrap();
    // As short as one frame of the network, padded to a window, and shorter.
    fs::write(here.join("short.wav"), silence(991)).unwrap();
    fs::write(here.join("tiny.wav"), silence(990)).unwrap();
    let nobody = |name: &str| format!("warning: {name}.wav: no speech found: there are no turns\n");
    let tiny = "warning: tiny.wav: has 990 samples, fewer than the 991 in the receptive field of one frame; it is padded with silence\n";
    for (words, warnings) in [
        ("diarize silence.wav", nobody("silence")),
        ("diarize silence.wav --num-speakers 2", nobody("silence")),
        ("diarize short.wav", nobody("short")),
        (
            "diarize silence.wav short.wav",
            nobody("silence") + &nobody("short"),
        ),
        ("diarize tiny.wav", tiny.to_owned() + &nobody("tiny")),
    ] {
        let run = soundalike_in(here, words);
        assert_eq!((run.code, run.stdout.as_str()), (Some(0), ""), "{words}");
        assert_eq!(run.stderr, warnings + NOTE, "{words}");
    }
    soundalike_in(here, "diarize silence.wav -o silence.rttm").ok();
    assert_eq!(fs::read(here.join("silence.rttm")).unwrap(), b"");
}

#[test]
fn one_bad_file_is_reported_and_the_others_are_done() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    fs::write(here.join("a.wav"), clip(0.0, 2.0)).unwrap();
    fs::write(here.join("b.wav"), clip(5.0, 8.0)).unwrap();
    fs::write(here.join("bad.wav"), "no audio").unwrap();
    let good = soundalike_in(here, "diarize -q a.wav b.wav").ok();
    let errors = |stderr: &str| {
        let lines: Vec<_> = stderr.lines().map(str::to_owned).collect();
        assert_eq!(lines.len(), 2, "{stderr}");
        assert!(
            lines[0].starts_with("error: bad.wav: is not audio"),
            "{stderr}"
        );
        lines[1].clone()
    };

    let run = soundalike_in(here, "diarize -q a.wav bad.wav b.wav");
    assert_eq!((run.code, &run.stdout), (Some(1), &good));
    assert_eq!(errors(&run.stderr), "error: 1 of 3 files failed");

    let run = soundalike_in(here, "diarize -q a.wav bad.wav b.wav -o out/");
    assert_eq!((run.code, run.stdout.as_str()), (Some(1), ""));
    assert_eq!(errors(&run.stderr), "error: 1 of 3 files failed");
    assert_eq!(names(&here.join("out")), ["a.rttm", "b.rttm"]);

    let run = soundalike_in(here, "diarize -q a.wav bad.wav b.wav -o out.rttm");
    assert_eq!((run.code, run.stdout.as_str()), (Some(1), ""));
    assert!(
        errors(&run.stderr).contains("out.rttm was not written"),
        "half a result is none"
    );
    assert_eq!(names(here), ["a.wav", "b.wav", "bad.wav", "out"]);
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_an_error_and_not_a_panic() {
    let full = fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.wav"), clip(0.0, 2.0)).unwrap();
    let output = command(["diarize", "-q", "a.wav"])
        .current_dir(folder.path())
        .stdout(full)
        .output();
    let run = support::Run::from(output.unwrap());
    all_pass(
        run.no_refusal(&["stdout cannot be written"])
            .into_iter()
            .collect(),
    );
}

#[test]
fn stdin_and_pipes_are_recordings_like_files() {
    let expected = &sample_run().stdout;
    let from_stdin = |arguments: &[&str], file: &str| {
        let file = fs::File::open(data(file)).unwrap();
        support::Run::from(command(arguments).stdin(file).output().unwrap()).ok()
    };
    let named = expected.replace("SPEAKER sample ", "SPEAKER stdin ");
    assert_eq!(from_stdin(&["diarize", "-"], "sample.wav"), named);
    let named = expected.replace("SPEAKER sample ", "SPEAKER team_call ");
    let arguments = ["diarize", "-", "--uri", "team call", "-o", "-"];
    assert_eq!(from_stdin(&arguments, "sample.wav"), named);
    let here = tempfile::tempdir().unwrap();
    fs::copy(data("sample.wav"), here.path().join("-.wav")).unwrap();
    let named = expected.replace("SPEAKER sample ", "SPEAKER - ");
    assert_eq!(soundalike_in(here.path(), "diarize ./-.wav").ok(), named);
    let two = soundalike(["diarize", "-", "x.wav", "--uri", "x"]);
    assert_eq!(
        two.no_refusal(&["--uri names one recording, found 2"]),
        None
    );
}
