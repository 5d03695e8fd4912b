//! What is read stays as it is, and what is written is where the user said, whole, or refused before the work.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that panics has failed"
)]

#[path = "../crates/convert/tests/support/mod.rs"]
mod checkpoint;
mod support;

use std::{fs, path::Path};

use checkpoint::{CONFIG, Checkpoint};
use support::{Encoding::F32, Run, all_pass, clip, command, names, soundalike_in, wav};

/// All files below a directory with their bytes, in order.
fn contents(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for name in names(directory) {
        let path = directory.join(&name);
        if path.is_dir() {
            let below = contents(&path).into_iter();
            found.extend(below.map(|(file, bytes)| (format!("{name}/{file}"), bytes)));
            found.push((name, Vec::new()));
        } else if path.is_file() {
            found.push((name, fs::read(path).unwrap()));
        }
    }
    found
}

/// Runs these words in `here`; what is wrong with how they are refused, or with what they changed.
fn refused(here: &Path, words: &str, parts: &[&str]) -> Option<String> {
    let before = contents(here);
    let failure = soundalike_in(here, words).no_refusal(parts);
    let after = contents(here);
    let changed = after.iter().chain(&before).find(|file| {
        let in_both = after.contains(file) && before.contains(file);
        !in_both
    });
    let changed = changed.map(|(name, _)| format!("{name} was changed, made or removed"));
    failure
        .or(changed)
        .map(|failure| format!("{words}: {failure}"))
}

/// Two seconds of a tone at `rate`, with `value` at sample `at`.
fn samples_with(rate: u32, at: usize, value: f32) -> Vec<f32> {
    let mut samples: Vec<f32> = (0..2 * rate)
        .map(|i| (i as f32 * 0.05).sin() * 0.1)
        .collect();
    samples[at] = value;
    samples
}

/// A CAF file of big-endian 32-bit floats.
fn caf(rate: u32, samples: &[f32]) -> Vec<u8> {
    let mut file = b"caff\0\x01\0\0desc".to_vec();
    file.extend(32_u64.to_be_bytes());
    file.extend(f64::from(rate).to_be_bytes());
    file.extend(b"lpcm");
    // Floats; bytes and samples of a packet, channels, bits.
    for value in [1_u32, 4, 1, 1, 32] {
        file.extend(value.to_be_bytes());
    }
    file.extend(b"data");
    file.extend((4 + 4 * samples.len() as u64).to_be_bytes());
    file.extend([0; 4]);
    file.extend(samples.iter().flat_map(|sample| sample.to_be_bytes()));
    file
}

/// An AIFF-C file of big-endian 32-bit floats.
fn aiff(rate: u32, samples: &[f32]) -> Vec<u8> {
    let mut common = Vec::new();
    common.extend(1_u16.to_be_bytes());
    common.extend((samples.len() as u32).to_be_bytes());
    common.extend(32_u16.to_be_bytes());
    // The rate as an 80-bit float.
    let shift = rate.leading_zeros();
    common.extend((16_383 + 31 - shift as u16).to_be_bytes());
    common.extend((u64::from(rate) << (32 + shift)).to_be_bytes());
    common.extend(b"fl32\0\0");
    let data: Vec<u8> = samples
        .iter()
        .flat_map(|sample| sample.to_be_bytes())
        .collect();
    let mut file = b"AIFCFVER".to_vec();
    file.extend(4_u32.to_be_bytes());
    file.extend(0xA280_5140_u32.to_be_bytes());
    file.extend(b"COMM");
    file.extend((common.len() as u32).to_be_bytes());
    file.extend(common);
    file.extend(b"SSND");
    file.extend((8 + data.len() as u32).to_be_bytes());
    file.extend([0; 8]);
    file.extend(data);
    let mut whole = b"FORM".to_vec();
    whole.extend((file.len() as u32).to_be_bytes());
    whole.extend(file);
    whole
}

#[test]
fn a_sample_that_is_no_number_is_refused_before_it_is_resampled() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let mut failures = Vec::new();
    for (rate, at, value, shown) in [
        (44_100, 0, f32::NAN, "sample 0 is NaN"),
        (44_100, 88_199, f32::NAN, "sample 88199 is NaN"),
        (48_000, 5000, f32::INFINITY, "sample 5000 is inf"),
        (8_000, 7000, f32::NEG_INFINITY, "sample 7000 is -inf"),
        (22_050, 12, f32::MAX, "sample 12 is 34028"),
        (16_000, 31_999, f32::NAN, "sample 31999 is NaN"),
    ] {
        let samples = samples_with(rate, at, value);
        for (name, bytes) in [
            ("bad.wav", wav(F32, rate, 1, &samples)),
            ("bad.caf", caf(rate, &samples)),
            ("bad.aifc", aiff(rate, &samples)),
        ] {
            fs::write(here.join(name), bytes).unwrap();
            for words in [
                format!("diarize {name} -o out.rttm"),
                format!("diarize {name} --save-run out.safetensors"),
                format!("trace --engine candle-cpu --audio {name} -o out.npz"),
            ] {
                let parts = [&format!("{name}: "), shown];
                let failure = refused(here, &words, &parts);
                failures.extend(failure.map(|failure| format!("{rate}: {failure}")));
            }
        }
    }
    all_pass(failures);
}

#[test]
fn a_sample_that_is_no_number_costs_no_other_recording() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    fs::write(here.join("a.wav"), clip(0.0, 2.0)).unwrap();
    fs::write(here.join("b.wav"), clip(5.0, 8.0)).unwrap();
    let bad = wav(F32, 44_100, 1, &samples_with(44_100, 50, f32::NAN));
    fs::write(here.join("bad.wav"), bad).unwrap();
    let good = soundalike_in(here, "diarize -q a.wav b.wav").ok();
    let run = soundalike_in(here, "diarize -q a.wav bad.wav b.wav");
    assert_eq!((run.code, run.stdout), (Some(1), good));
    let lines: Vec<_> = run.stderr.lines().collect();
    let [bad, sum] = lines.as_slice() else {
        panic!("{}", run.stderr)
    };
    assert!(bad.starts_with("error: bad.wav: sample 50 is NaN"), "{bad}");
    assert_eq!(*sum, "error: 1 of 3 files failed");
}

/// A saved run that calls its recording `uri`.
fn renamed(run: &[u8], uri: &str) -> Vec<u8> {
    let length = u64::from_le_bytes(run[..8].try_into().unwrap()) as usize;
    let (header, data) = run[8..].split_at(length);
    let mut header: serde_json::Value = serde_json::from_slice(header).unwrap();
    let key = &mut header["__metadata__"]["soundalike.run"];
    let mut inner: serde_json::Value = serde_json::from_str(key.as_str().unwrap()).unwrap();
    inner["uri"] = uri.into();
    *key = inner.to_string().into();
    let header = header.to_string();
    let length = (header.len() as u64).to_le_bytes();
    [&length, header.as_bytes(), data].concat()
}

/// A folder with `a.wav`, and `run`, the run saved of it.
fn saved() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    fs::write(here.join("a.wav"), clip(0.0, 12.0)).unwrap();
    soundalike_in(here, "diarize -q a.wav --save-run run -o a.rttm").ok();
    folder
}

#[test]
fn a_name_in_a_run_makes_no_path() {
    let folder = saved();
    let here = folder.path();
    let run = fs::read(here.join("run")).unwrap();
    fs::create_dir(here.join("out")).unwrap();
    let absolute = here.join("absolute").display().to_string();
    let (long, wide) = ("a".repeat(300), "ñ".repeat(150));
    let mut failures = Vec::new();
    for (uri, shown) in [
        ("../escaped", "../escaped"),
        ("..", ".."),
        (".", "."),
        ("", ""),
        ("sub/name", "sub/name"),
        ("..\\escaped", r"..\\escaped"),
        (&absolute, "absolute"),
        ("nul\0", r"nul\0"),
        ("\u{1b}[2Jesc", r"\u{1b}[2Jesc"),
        ("bell\u{7}", r"bell\u{7}"),
        ("csi\u{9b}1m", r"csi\u{9b}1m"),
        ("line\nfeed", r"line\nfeed"),
        (&long, "aaaa..."),
        (&wide, "ññññ"),
    ] {
        fs::write(here.join("bad"), renamed(&run, uri)).unwrap();
        for words in [
            "recluster bad -o out/",
            "recluster bad -o new/",
            "recluster bad",
        ] {
            let failure = refused(here, words, &["bad: `uri` is `", shown]);
            failures.extend(failure.map(|failure| format!("{uri:?}: {failure}")));
        }
    }
    all_pass(failures);
    // Those that are names are taken.
    for uri in ["b", "...", "b.c", "ñ"] {
        fs::write(here.join("good"), renamed(&run, uri)).unwrap();
        soundalike_in(here, "recluster -q good -o out/").ok();
        assert!(here.join(format!("out/{uri}.rttm")).exists(), "{uri}");
    }
}

#[cfg(unix)]
#[test]
fn a_recording_of_any_name_has_a_run_that_can_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    for (name, uri) in [
        ("a\u{1b}[2Jb.wav", "a_[2Jb"),
        ("a\\b.wav", "a_b"),
        ("a b\n.wav", "a_b"),
    ] {
        fs::write(here.join(name), clip(0.0, 2.0)).unwrap();
        let diarize = ["diarize", "-q", name, "--save-run", "run"];
        let output = command(diarize).current_dir(here).output().unwrap();
        let turns = Run::from(output).ok();
        assert!(turns.starts_with(&format!("SPEAKER {uri} 1 ")), "{turns}");
        assert_eq!(soundalike_in(here, "recluster -q run").ok(), turns);
        fs::remove_file(here.join(name)).unwrap();
    }
    for name in ["..wav", "...wav"] {
        fs::write(here.join(name), clip(0.0, 2.0)).unwrap();
        let words = format!("diarize {name} -o out/");
        assert_eq!(refused(here, &words, &[name, "has no name"]), None);
    }
}

/// A folder with `a.wav`, the pipeline `p`, and beside it another model and `plain.bin`.
fn with_pipeline() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    fs::write(here.join("a.wav"), clip(0.0, 2.0)).unwrap();
    let model = Checkpoint::small().zip();
    for directory in ["p/segmentation", "other"] {
        fs::create_dir_all(here.join(directory)).unwrap();
        fs::write(here.join(directory).join("pytorch_model.bin"), &model).unwrap();
    }
    fs::write(here.join("plain.bin"), &model).unwrap();
    fs::write(here.join("p/config.yaml"), CONFIG).unwrap();
    folder
}

#[test]
fn a_name_in_a_configuration_makes_no_path_outside_of_its_directory() {
    let folder = with_pipeline();
    let here = folder.path();
    let absolute = format!("$model/{}", here.join("other").display());
    let long = format!("$model/{}", "a".repeat(300));
    let mut failures = Vec::new();
    for (model, shown) in [
        ("$model/../other", "`$model/../other`"),
        ("$model/segmentation/../../other", "../../other`"),
        (&absolute, "other`"),
        ("\"$model/nul\\0\"", r"nul\0"),
        ("\"$model/\\e[2Jesc\"", r"\u{1b}[2Jesc"),
        ("\"pyannote/\\e[2Jesc\"", r"\u{1b}[2Jesc"),
        (&long, "aaaa..."),
        ("{checkpoint: ., subfolder: ../other}", "`../other`"),
        ("{checkpoint: $model/../other}", "../other`"),
    ] {
        let config = CONFIG.replace("$model/segmentation", model);
        fs::write(here.join("p/config.yaml"), config).unwrap();
        for words in ["convert p -o out", "diarize a.wav --model p -o out.rttm"] {
            let parts = [
                "p/config.yaml: ",
                "`segmentation`",
                shown,
                "expected a path",
            ];
            failures.extend(refused(here, words, &parts));
        }
    }
    all_pass(failures);
}

/// `name` made a hard link to `file`, and `name.link` a symbolic one.
#[cfg(unix)]
fn link(here: &Path, file: &str, name: &str) {
    fs::hard_link(here.join(file), here.join(name)).unwrap();
    let link = here.join(format!("{name}.link"));
    std::os::unix::fs::symlink(here.join(file), link).unwrap();
}

#[cfg(unix)]
#[test]
fn no_output_is_an_input_by_whatever_path() {
    let folder = with_pipeline();
    let here = folder.path();
    let turns = "SPEAKER a 1 0 1 <NA> <NA> A <NA> <NA>\n";
    fs::write(here.join("ref.rttm"), turns).unwrap();
    fs::create_dir(here.join("hyps")).unwrap();
    fs::write(here.join("hyps/a.rttm"), turns).unwrap();
    fs::write(here.join("a.uem"), "a 1 0 1\n").unwrap();
    fs::write(here.join("report.json"), "{}").unwrap();
    fs::write(here.join("gate.toml"), "").unwrap();
    fs::write(here.join("map.toml"), "").unwrap();
    fs::write(here.join("t.npz"), "no trace").unwrap();
    fs::create_dir(here.join("capture")).unwrap();
    fs::write(here.join("capture/segmentations.npz"), "no array").unwrap();
    soundalike_in(here, "diarize -q a.wav --save-run run -o a.rttm").ok();
    soundalike_in(here, "convert -q plain.bin -o small.safetensors").ok();
    link(here, "a.wav", "audio");
    link(here, "plain.bin", "model");
    link(here, "p/config.yaml", "config");
    link(here, "p/segmentation/pytorch_model.bin", "weights");
    link(here, "hyps/a.rttm", "hyp");
    link(here, "t.npz", "trace");
    link(here, "run", "saved");

    let diarize = "diarize a.wav --model";
    let compare = "compare --reference trace:t.npz --candidate trace:t.npz --gate gate.toml --map map.toml --audio a.wav --model";
    let task = "attribute capture capture --model p";
    let test = "self-test --run capture --model p";
    let mut failures = Vec::new();
    for (words, outputs) in [
        (
            format!("{diarize} plain.bin"),
            "plain.bin ./plain.bin p/../plain.bin model model.link a.wav audio audio.link",
        ),
        (
            format!("{diarize} p"),
            "p/config.yaml p/segmentation/pytorch_model.bin config config.link weights weights.link",
        ),
        ("recluster run".to_owned(), "run ./run saved saved.link"),
        ("convert plain.bin".to_owned(), "plain.bin model model.link"),
        (
            "score ref.rttm hyps --uem a.uem".to_owned(),
            "ref.rttm hyps/a.rttm a.uem hyp hyp.link",
        ),
        (
            "score -r ref.rttm -s hyps/a.rttm".to_owned(),
            "ref.rttm hyps/a.rttm hyp hyp.link",
        ),
        (
            format!("{compare} plain.bin"),
            "t.npz trace trace.link gate.toml map.toml a.wav audio plain.bin model model.link",
        ),
        (
            format!("{compare} p --candidate-model plain.bin"),
            "p/config.yaml config.link weights model",
        ),
        ("compare --candidate trace:t.npz".to_owned(), "t.npz"),
        (
            task.to_owned(),
            "capture/segmentations.npz p/config.yaml weights",
        ),
        (
            test.to_owned(),
            "capture/segmentations.npz p/config.yaml weights",
        ),
        (
            "self-test --reference trace:t.npz".to_owned(),
            "t.npz trace.link",
        ),
        (
            "gate learn report.json".to_owned(),
            "report.json ./report.json",
        ),
        (
            "trace --engine candle-cpu --audio a.wav --model plain.bin".to_owned(),
            "a.wav audio.link plain.bin model model.link",
        ),
        (
            "bench a.wav --model p".to_owned(),
            "a.wav audio p/config.yaml weights.link",
        ),
    ] {
        for output in outputs.split(' ') {
            let words = format!("{words} -o {output}");
            let parts = [
                &format!("{output}: is an input ("),
                "give another file with -o",
            ];
            failures.extend(refused(here, &words, &parts));
        }
    }
    for output in [
        "a.wav",
        "audio",
        "audio.link",
        "plain.bin",
        "model",
        "model.link",
    ] {
        let words = format!("diarize a.wav --model plain.bin -o out.rttm --save-run {output}");
        let parts = [
            &format!("{output}: is an input ("),
            "give another file with --save-run",
        ];
        failures.extend(refused(here, &words, &parts));
    }
    // A pipeline that would become itself, and one whose model has the name of an output.
    fs::create_dir(here.join("q")).unwrap();
    fs::copy(
        here.join("small.safetensors"),
        here.join("q/segmentation.safetensors"),
    )
    .unwrap();
    let config = CONFIG.replace("$model/segmentation", "$model/segmentation.safetensors");
    fs::write(here.join("q/config.yaml"), config).unwrap();
    let parts = [
        "q/segmentation.safetensors: is an input (file of the checkpoint)",
        "-o",
    ];
    failures.extend(refused(here, "convert q -o q", &parts));
    all_pass(failures);
}

#[test]
fn two_outputs_of_one_name_are_refused() {
    let folder = saved();
    let here = folder.path();
    fs::write(here.join("b.wav"), clip(0.0, 2.0)).unwrap();
    fs::create_dir(here.join("out")).unwrap();
    let mut failures = Vec::new();
    for options in [
        "-o x --save-run x",
        "-o x --save-run ./x",
        "-o x --save-run out/../x",
        "-o out/ --save-run out/b.rttm",
        "-o out --format json,rttm --save-run out/b.json",
        "-o x.json --format json,rttm --save-run x.rttm",
        "-o a.rttm --save-run a.rttm",
    ] {
        let parts = [
            "would be written twice",
            "give another file with --save-run",
        ];
        failures.extend(refused(here, &format!("diarize b.wav {options}"), &parts));
    }
    #[cfg(unix)]
    {
        link(here, "a.rttm", "same");
        for output in ["same", "same.link"] {
            let words = format!("diarize b.wav -o a.rttm --save-run {output}");
            failures.extend(refused(here, &words, &["would be written twice"]));
        }
    }
    all_pass(failures);
}

#[cfg(unix)]
#[test]
fn what_a_killed_one_left_behind_is_neither_in_the_way_nor_removed() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    fs::write(here.join("plain.bin"), Checkpoint::small().zip()).unwrap();
    // In every container the first process has the same number, and whoever writes there has it again.
    let script = "echo mine > out.safetensors.$$.tmp; exec \"$0\" \"$@\"";
    let program = command(["convert", "-q", "plain.bin", "-o", "out.safetensors"]);
    let output = std::process::Command::new("sh")
        .args(["-c", script])
        .arg(program.get_program())
        .args(program.get_args())
        .current_dir(here)
        .output();
    Run::from(output.unwrap()).ok();
    let names = names(here);
    assert_eq!(names.len(), 3, "{names:?}");
    assert_eq!(names[..2], ["out.safetensors", &names[1]]);
    assert_eq!(fs::read(here.join(&names[1])).unwrap(), b"mine\n");
    let again = soundalike_in(here, "convert -q plain.bin -o again.safetensors");
    again.ok();
    let [first, again] =
        ["out", "again"].map(|name| fs::read(here.join(format!("{name}.safetensors"))));
    assert_eq!(first.unwrap(), again.unwrap());
}

#[test]
fn an_output_that_cannot_be_written_is_refused_before_the_work() {
    let folder = with_pipeline();
    let here = folder.path();
    // Work that fails: that it is not what is reported shows that it was not begun.
    for name in ["text.wav", "text.bin", "text.rttm", "text.json", "run"] {
        fs::write(here.join(name), "neither audio nor model").unwrap();
    }
    fs::create_dir_all(here.join("folder/text.rttm")).unwrap();
    fs::create_dir_all(here.join("folder/pipeline.json")).unwrap();
    let long = "a".repeat(300);
    let long = long.as_str();
    let mut outputs = vec![
        ("folder", "is a directory"),
        ("new/", "is a directory"),
        ("new/.", "is a directory"),
        ("..", "is a directory"),
        ("missing/out", "missing is not a directory"),
        ("text.wav/out", "text.wav is not a directory"),
        (long, "cannot be written"),
    ];
    // Where not even root can make a file.
    if cfg!(target_os = "linux") {
        outputs.push(("/proc/out", "/proc/out: cannot be written"));
    }
    let mut failures = Vec::new();
    for (output, part) in &outputs {
        for words in [
            "diarize text.wav --save-run",
            "diarize a.wav --model text.bin --save-run",
            "convert text.bin -o",
            "score text.rttm text.rttm -o",
            "compare --model text.bin -o",
            "attribute folder folder --model text.bin -o",
            "self-test --model text.bin -o",
            "gate learn text.json -o",
            "trace --engine candle-cpu --audio text.wav -o",
            "bench text.wav -o",
        ] {
            failures.extend(refused(here, &format!("{words} {output}"), &[output, part]));
        }
        if !part.contains("is a directory") {
            let words = format!("diarize text.wav -o {output}");
            failures.extend(refused(here, &words, &[output, part]));
        }
    }
    for (words, parts) in [
        (
            "diarize text.wav -o folder",
            ["folder/text.rttm: is a directory", "-o"],
        ),
        (
            "diarize text.wav -o folder/ --format json,rttm",
            ["folder/text.rttm: is a directory", "-o"],
        ),
        (
            "diarize text.wav -o text.bin/new/",
            [
                "text.bin/new/text.rttm: cannot be written",
                "Not a directory",
            ],
        ),
        (
            "convert p -o folder",
            ["folder/pipeline.json: is a directory", "-o"],
        ),
        (
            "convert p -o text.bin",
            [
                "text.bin/pipeline.json: cannot be written",
                "Not a directory",
            ],
        ),
    ] {
        failures.extend(refused(here, words, &parts));
    }
    all_pass(failures);
}

#[cfg(target_os = "linux")]
#[test]
fn turns_and_run_are_not_lost_with_each_other() {
    let folder = saved();
    let here = folder.path();
    let [turns, run] = ["a.rttm", "run"].map(|name| fs::read(here.join(name)).unwrap());
    // By a link: should it be replaced, no more than that is lost.
    std::os::unix::fs::symlink("/dev/full", here.join("full")).unwrap();

    // It can be opened, and is full when it is written.
    let full = soundalike_in(here, "diarize -q a.wav -o b.rttm --save-run full");
    assert_eq!(full.no_refusal(&["full: cannot be written"]), None);
    assert_eq!(fs::read(here.join("b.rttm")).unwrap(), turns);

    let full = soundalike_in(here, "diarize -q a.wav --save-run full");
    assert_eq!((full.code, full.stdout.as_bytes()), (Some(1), &*turns));

    let full = soundalike_in(here, "diarize -q a.wav -o full --save-run again");
    assert_eq!(full.no_refusal(&["full: cannot be written"]), None);
    assert_eq!(fs::read(here.join("again")).unwrap(), run);

    let both = soundalike_in(here, "diarize -q a.wav -o full --save-run full");
    assert_eq!(both.code, Some(1));
    assert_eq!(both.stderr.lines().count(), 2, "{}", both.stderr);
    let expected = ["a.rttm", "a.wav", "again", "b.rttm", "full", "run"];
    assert_eq!(names(here), expected);
}

#[cfg(target_os = "linux")]
#[test]
fn stdout_devices_and_pipes_are_written_to_and_stay() {
    use std::os::unix::fs::FileTypeExt;
    let folder = saved();
    let here = folder.path();
    let turns = fs::read_to_string(here.join("a.rttm")).unwrap();
    let recluster =
        |output: &str| soundalike_in(here, &format!("recluster -q run -o {output}")).ok();
    // By a link: should it be replaced, no more than that is lost.
    std::os::unix::fs::symlink("/dev/null", here.join("null")).unwrap();
    let is_device = || {
        fs::metadata(here.join("null"))
            .unwrap()
            .file_type()
            .is_char_device()
    };
    assert_eq!(recluster("null"), "");
    assert!(is_device());
    // A device can take both.
    soundalike_in(here, "diarize -q a.wav -o null --save-run null").ok();
    for output in ["/dev/fd/1", "/proc/self/fd/1"] {
        assert_eq!(recluster(output), turns, "{output}");
    }
    // A file behind stdout is written on, not replaced.
    let script = "echo before > all; \"$0\" \"$@\" >> all";
    let program = command(["recluster", "-q", "run", "-o", "/proc/self/fd/1"]);
    let status = std::process::Command::new("sh")
        .args(["-c", script])
        .arg(program.get_program())
        .args(program.get_args())
        .current_dir(here)
        .status();
    assert!(status.unwrap().success());
    let all = fs::read_to_string(here.join("all")).unwrap();
    assert_eq!(all, format!("before\n{turns}"));

    // Neither a bundle nor a trace, which are read back.
    fs::write(here.join("plain.bin"), Checkpoint::small().zip()).unwrap();
    for words in [
        "convert plain.bin -o null",
        "trace --engine candle-cpu --audio a.wav -o null",
    ] {
        let parts = ["null: is a device or a pipe", "give a file with -o"];
        assert_eq!(refused(here, words, &parts), None);
    }
    assert!(is_device());
    // An input that is a pipe is not opened to see whether it is an output.
    let program = command(["score", "-q", "/dev/stdin", "a.rttm", "-o", "score.csv"]);
    let status = std::process::Command::new("sh")
        .args(["-c", "cat a.rttm | \"$0\" \"$@\""])
        .arg(program.get_program())
        .args(program.get_args())
        .current_dir(here)
        .status();
    assert!(status.unwrap().success());
    assert!(here.join("score.csv").exists());
    let silence = wav(F32, 16_000, 1, &[0.0; 16_000]);
    fs::write(here.join("silence.wav"), silence).unwrap();
    soundalike_in(here, "diarize -q silence.wav -o new/folder/").ok();
    assert_eq!(names(&here.join("new/folder")), ["silence.rttm"]);
}

#[test]
fn a_summary_that_cannot_be_written_is_refused_before_the_work_and_no_input_is_appended_to() {
    let folder = with_pipeline();
    let here = folder.path();
    fs::write(here.join("gate.toml"), "").unwrap();
    let compare = |summary: &str| {
        let words = "compare --github --model missing.bin --gate gate.toml -o report";
        let mut command = command(words.split(' '));
        command
            .env("GITHUB_STEP_SUMMARY", summary)
            .current_dir(here);
        Run::from(command.output().unwrap())
    };
    let before = contents(here);
    for (summary, part) in [
        ("missing/summary", "missing/summary: cannot be written"),
        ("gate.toml", "gate.toml: is an input (gate)"),
    ] {
        assert_eq!(compare(summary).no_refusal(&[part]), None);
    }
    assert_eq!(contents(here), before);
    assert_eq!(
        compare("report").no_refusal(&["report: would be written twice"]),
        None
    );
}
