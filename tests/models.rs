//! `soundalike models`, and `--model` by name: as a user runs them, with a server in the test that stands for the hub.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that panics has failed"
)]

#[path = "../crates/convert/tests/support/mod.rs"]
mod checkpoint;
#[path = "support/registry.rs"]
mod registry;
#[path = "support/server.rs"]
mod server;
mod support;

use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use checkpoint::Checkpoint;
use serde_json::Value;
use server::{Fault, Server};
use support::{Run, all_pass, at_home, clip, command};

/// An empty home, with the registry of a test.
struct Home {
    folder: tempfile::TempDir,
}

impl Home {
    fn new(registry: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("registry.toml"), registry).unwrap();
        fs::write(folder.path().join("a.wav"), clip(0.0, 2.0)).unwrap();
        Self { folder }
    }

    /// The network that a server has at `/m/small.bin`.
    fn of_network(mirrors: &[String]) -> Self {
        let weights = Checkpoint::small().zip();
        Self::new(&registry::registry(
            "small",
            "network",
            &[("small.bin", &weights)],
            mirrors,
        ))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The program with these words, at home.
    fn command(&self, words: &str) -> Command {
        let mut command = command(words.split(' '));
        at_home(&mut command, self.folder.path());
        command
            .current_dir(self.folder.path())
            .env("SOUNDALIKE_REGISTRY", self.path("registry.toml"));
        command
    }

    fn run(&self, words: &str) -> Run {
        self.command(words).output().unwrap().into()
    }

    fn bundle(&self) -> PathBuf {
        self.path("data/soundalike/models/small/r1/small.safetensors")
    }

    fn part(&self) -> PathBuf {
        self.path("data/soundalike/models/small/.r1.download/small.bin.part")
    }
}

fn serve(faults: Vec<Fault>) -> Server {
    let mut faults = faults.into_iter();
    let files = [("/m/small.bin".to_owned(), Checkpoint::small().zip())];
    Server::new(files, move |_, _| faults.next())
}

fn mirror(server: &Server) -> String {
    format!("{}/m", server.address())
}

#[test]
fn a_model_is_got_listed_described_verified_and_removed() {
    let server = serve(vec![]);
    let home = Home::of_network(&[mirror(&server)]);
    let missing = home.run("diarize a.wav --model small");
    let parts = [
        "small is not on this machine",
        "`soundalike models get small`",
        "(1 MB, MIT)",
    ];
    assert_eq!(missing.no_refusal(&parts), None);
    assert!(home.run("models list").ok().contains("small"));
    assert!(server.requests().is_empty());

    let run = home.run("models get small");
    for part in [
        "small: a small one; 0.2 MB, MIT",
        "small.bin from http://127.0.0.1",
        "installed in ",
    ] {
        assert!(run.stderr.contains(part), "{}", run.stderr);
    }
    let bundle = home.bundle();
    assert_eq!(run.ok(), format!("{}\n", bundle.display()));
    let again = home.run("models get me/small");
    assert_eq!(
        (again.stderr.as_str(), server.requests().len()),
        ("small is installed\n", 1)
    );

    // A directory of this name is another thing.
    fs::create_dir(home.path("small")).unwrap();
    assert_eq!(
        home.run("models path small").ok(),
        format!("{}\n", bundle.display())
    );
    fs::remove_dir(home.path("small")).unwrap();
    let list = home.run("models list --format json").ok();
    let list: Value = serde_json::from_str(&list).unwrap();
    let row = list
        .as_array()
        .unwrap()
        .iter()
        .find(|row| row["name"] == "small")
        .unwrap();
    assert_eq!(
        (&row["installed"], &row["path"]),
        (&true.into(), &bundle.display().to_string().into())
    );
    assert!(home.run("models list").ok().contains("installed, 0."));
    let info = home.run("models info small").ok();
    for part in [
        "licence      MIT",
        "by me",
        "converted, values unchanged",
        "@article{small}",
        "SHA-256",
    ] {
        assert!(info.contains(part), "{part}: {info}");
    }
    assert!(
        home.run("models info community-1")
            .ok()
            .contains("CC-BY-4.0 (https://")
    );

    let turns = |words: &str| {
        let run = home.run(format!("diarize a.wav {words}").trim_end());
        assert!(run.stderr.contains("(see --model)"), "{}", run.stderr);
        run.ok()
    };
    // As the checkpoint itself; by its name on the hub; and as the default.
    fs::write(home.path("small.bin"), Checkpoint::small().zip()).unwrap();
    let expected = turns("--model small.bin");
    for words in ["--model small", "--model me/small", ""] {
        assert_eq!(turns(words), expected, "{words}");
    }
    let traced = home.run("trace --engine candle-cpu --model small --audio a.wav -o t.npz");
    traced.ok();

    assert!(
        home.run("models verify")
            .ok()
            .contains("small r1: 3 files, 0.")
    );
    let mut bytes = fs::read(&bundle).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&bundle, bytes).unwrap();
    let damaged = home.run("models verify small");
    assert_eq!(damaged.code, Some(1));
    assert!(
        damaged.stderr.contains("small.safetensors: has SHA-256"),
        "{}",
        damaged.stderr
    );
    assert!(
        damaged
            .stderr
            .contains("error: small is damaged; `soundalike models get small` replaces it"),
        "{}",
        damaged.stderr
    );
    home.run("models get small").ok();
    home.run("models verify small").ok();
    fs::write(&bundle, "").unwrap();
    let list = home.run("models list").ok();
    assert!(
        list.contains("incomplete, or not the registry's version"),
        "{list}"
    );
    home.run("models remove small").ok();
    assert!(!bundle.exists());
    for words in ["models remove small", "models verify small"] {
        let run = home.run(words);
        assert_eq!(run.no_refusal(&["small is not installed"]), None);
    }
    let run = home.run("models get other");
    assert_eq!(
        run.no_refusal(&["`other` is not a model of the registry", "community-1"]),
        None
    );
}

#[test]
fn diarize_downloads_if_it_is_asked_to_and_never_else() {
    let server = serve(vec![]);
    let home = Home::of_network(&[mirror(&server)]);
    let hub = |words: &str| {
        let mut command = home.command(words);
        command.env("HF_ENDPOINT", server.address());
        Run::from(command.output().unwrap())
    };
    let embedded = hub("diarize a.wav");
    let advice = "`soundalike models get small` installs a whole pipeline (1 MB, MIT)";
    assert!(embedded.stderr.contains(advice), "{}", embedded.stderr);
    embedded.ok();
    for words in [
        "small",
        "me/small",
        "me/other",
        "pyannote/speaker-diarization-community-1",
    ] {
        assert_eq!(hub(&format!("diarize a.wav --model {words}")).code, Some(1));
    }
    assert!(server.requests().is_empty());
    let first = hub("diarize a.wav --download").ok();
    assert_eq!(server.requests().len(), 1);
    assert_eq!(hub("diarize a.wav --download --model small").ok(), first);
    assert_eq!(server.requests().len(), 1);

    // A model that a configuration names.
    hub("models remove small").ok();
    let config = "pipeline: {name: pyannote.audio.pipelines.SpeakerDiarization, params: \
                  {clustering: OracleClustering, segmentation: me/small}}\nparams: {segmentation: {min_duration_off: 0.0}}\n";
    fs::write(home.path("config.yaml"), config).unwrap();
    let run = hub("diarize a.wav --model config.yaml");
    assert_eq!(
        run.no_refusal(&[
            "segmentation is `me/small`",
            "`soundalike models get small`"
        ]),
        None
    );
    let run = hub("diarize a.wav --model config.yaml --download");
    assert!(
        run.stderr
            .contains("OracleClustering needs the true speakers"),
        "{}",
        run.stderr
    );
    assert_eq!(server.requests().len(), 2);
    assert!(home.bundle().exists());
}

#[test]
fn progress_for_programs_is_one_object_a_line_also_of_an_error() {
    let server = serve(vec![Fault::Status(404, vec![], "gone")]);
    let home = Home::of_network(&[mirror(&server), mirror(&server)]);
    let events = |run: &Run| -> Vec<Value> {
        let lines = run.stderr.lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    };
    let run = home.run("models get small --progress json");
    let found = events(&run);
    run.ok();
    let of_kind = |kind: &str| {
        let kind = kind.to_owned();
        let mut events = found
            .iter()
            .filter(move |event| event["event"] == kind.as_str());
        events.next_back().unwrap_or_else(|| panic!("{found:?}"))
    };
    assert_eq!(of_kind("start")["licence"], "MIT");
    assert!(
        of_kind("warning")["message"]
            .as_str()
            .unwrap()
            .contains("answered 404 (gone)")
    );
    let progress = of_kind("progress");
    assert_eq!(progress["bytes_done"], progress["bytes"]);
    assert_eq!(of_kind("done")["path"], home.bundle().display().to_string());
    let again = events(&home.run("models get small --progress json"));
    assert_eq!(again.last().unwrap(), of_kind("done"));

    let run = home.run("models get other --progress json");
    let events = events(&run);
    assert_eq!(
        (run.code, events.len(), &events[0]["event"]),
        (Some(1), 1, &"error".into())
    );
}

#[cfg(unix)]
#[test]
fn a_killed_download_is_continued_and_leaves_no_lock() {
    let slow = Fault::Slow(50_000, Duration::from_millis(100));
    let server = serve(vec![slow]);
    let home = Home::of_network(&[mirror(&server)]);
    let mut child = home
        .command("models get -q small")
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let started = Instant::now();
    let begun = || {
        home.part()
            .metadata()
            .is_ok_and(|part| part.len() >= 50_000)
    };
    while !begun() {
        assert!(started.elapsed() < Duration::from_secs(20));
        thread::sleep(Duration::from_millis(20));
    }
    // SIGKILL.
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!home.bundle().exists());
    home.run("models get small").ok();
    let offset = server.requests()[1].offset();
    assert!(offset >= 50_000, "{offset}");
    assert!(!home.part().exists());
}

#[test]
fn two_programs_at_once_download_once() {
    let server = serve(vec![Fault::Slow(
        Checkpoint::small().zip().len() - 10,
        Duration::from_millis(100),
    )]);
    let home = Home::of_network(&[mirror(&server)]);
    let start = || {
        let mut command = home.command("models get small");
        command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let children = [start(), start()];
    let runs = children.map(|child| Run::from(child.wait_with_output().unwrap()));
    let waited = runs
        .iter()
        .filter(|run| run.stderr.contains("another process installs it"));
    assert_eq!(waited.count(), 1, "{runs:?}");
    for run in runs {
        assert_eq!(run.ok(), format!("{}\n", home.bundle().display()));
    }
    assert_eq!(server.requests().len(), 1);
}

/// A limit on the size of files stands for a disk that is full.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_told_and_the_download_goes_on_when_there_is_room() {
    let server = serve(vec![]);
    let home = Home::of_network(&[mirror(&server)]);
    let program = home.command("models get -q small");
    let mut limited = Command::new("sh");
    let words = "trap '' XFSZ; ulimit -f 64; exec \"$@\"";
    limited
        .args(["-c", words, "sh"])
        .arg(program.get_program())
        .args(program.get_args());
    at_home(&mut limited, home.folder.path());
    limited.env("SOUNDALIKE_REGISTRY", home.path("registry.toml"));
    let run = Run::from(limited.output().unwrap());
    assert_eq!(
        run.no_refusal(&["small.bin.part: the disk is full; make room"]),
        None
    );
    assert!(!home.bundle().exists());
    home.run("models get small").ok();
    assert_eq!(server.requests()[1].offset(), 64 * 512);
}

#[cfg(unix)]
#[test]
fn a_directory_without_permission_is_told() {
    use std::os::unix::fs::PermissionsExt;
    let server = serve(vec![]);
    let home = Home::of_network(&[mirror(&server)]);
    let closed = home.path("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o555)).unwrap();
    // To root, only a file in the way of a directory is closed.
    let models = match fs::create_dir(closed.join("probe")) {
        Ok(()) => home.path("a.wav"),
        Err(_) => closed,
    };
    let mut command = home.command("models get small");
    command.env("SOUNDALIKE_MODELS", models);
    let run = Run::from(command.output().unwrap());
    assert!(
        run.stderr
            .contains("cannot be written; set SOUNDALIKE_MODELS"),
        "{}",
        run.stderr
    );
    assert_eq!(run.code, Some(1));
    assert!(server.requests().is_empty());
}

#[test]
fn a_proxy_that_cannot_be_used_is_told_and_not_passed_by() {
    let server = serve(vec![]);
    let home = Home::of_network(&["https://mirror.invalid".to_owned(), mirror(&server)]);
    let mut command = home.command("models get small");
    for name in ["HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy"] {
        command.env_remove(name);
    }
    command.env("ALL_PROXY", "socks5://127.0.0.1:1");
    let run = Run::from(command.output().unwrap());
    let refused =
        "mirror.invalid/small.bin was not requested: ALL_PROXY is not an http or https proxy";
    assert!(run.stderr.contains(refused), "{}", run.stderr);
    // None is needed on this machine.
    run.ok();
}

/// On Linux, a path need not be text.
#[cfg(target_os = "linux")]
#[test]
fn a_directory_that_is_no_text_is_one() {
    use std::os::unix::ffi::OsStrExt;
    let server = serve(vec![]);
    let home = Home::of_network(&[mirror(&server)]);
    let models = home.path("").join(std::ffi::OsStr::from_bytes(b"m\xff"));
    for progress in ["bar", "json"] {
        let mut command = home.command(&format!("models get small --progress {progress}"));
        let run = Run::from(command.env("SOUNDALIKE_MODELS", &models).output().unwrap());
        run.ok();
    }
}

/// TLS with a certificate that only the test trusts, as that of a company.
#[cfg(target_os = "linux")]
#[test]
fn a_token_goes_to_the_hub_over_https_and_not_along_with_a_redirect() {
    use std::{path::Path, sync::Arc};
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let certified = rcgen::generate_simple_self_signed(names).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::Pkcs8(certified.signing_key.serialize_der().into());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key)
        .unwrap();
    let config = Arc::new(config);
    let start = |faults: Vec<Fault>| {
        let (config, mut faults) = (Arc::clone(&config), faults.into_iter());
        let files = [("/m/small.bin".to_owned(), Checkpoint::small().zip())];
        let wrap = move |stream| {
            let connection = rustls::ServerConnection::new(Arc::clone(&config)).ok()?;
            Some(Box::new(rustls::StreamOwned::new(connection, stream)) as Box<dyn server::Stream>)
        };
        Server::wrapped(files, move |_, _| faults.next(), Arc::new(wrap))
    };
    let other = start(vec![]);
    let target = format!("https://127.0.0.1:{}/m/small.bin", other.port());
    let refused = Fault::Status(401, vec![], "expired");
    let moved = Fault::Status(302, vec![("Location", target)], "");
    let hub = start(vec![refused, moved.clone(), moved]);

    let home = Home::of_network(&["{hub}/m".to_owned()]);
    fs::write(home.path("certificate.pem"), certified.cert.pem()).unwrap();
    let get = |certificates: &Path| {
        let mut command = home.command("models get small");
        command
            .env("HF_ENDPOINT", format!("https://localhost:{}", hub.port()))
            .env("HF_TOKEN", "hf_secret")
            .env("SSL_CERT_FILE", certificates)
            .env_remove("SSL_CERT_DIR");
        Run::from(command.output().unwrap())
    };
    // Not trusted by anybody else.
    fs::write(home.path("none.pem"), "").unwrap();
    let run = get(&home.path("none.pem"));
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    assert!(run.stderr.contains("set SSL_CERT_FILE"), "{}", run.stderr);
    assert!(hub.requests().is_empty());

    get(&home.path("certificate.pem")).ok();
    let tokens = |server: &Server| -> Vec<Option<String>> {
        let requests = server.requests().into_iter();
        requests
            .map(|request| request.headers.get("authorization").cloned())
            .collect()
    };
    // A token that is refused is left out: this model needs none.
    assert_eq!(tokens(&hub), [Some("Bearer hf_secret".to_owned()), None]);
    assert_eq!(tokens(&other), [None]);

    home.run("models remove small").ok();
    get(&home.path("certificate.pem")).ok();
    assert_eq!(tokens(&hub)[2], Some("Bearer hf_secret".to_owned()));
    assert_eq!(tokens(&other), [None, None]);
}

#[cfg(unix)]
#[test]
fn configurations_of_the_world_find_their_models() {
    use std::os::unix::fs::symlink;
    let home = Home::of_network(&["https://mirror.invalid".to_owned()]);
    let weights = Checkpoint::small().zip();
    let cached = home.path("huggingface/hub/models--me--segmentation/snapshots/c1");
    fs::create_dir_all(&cached).unwrap();
    fs::write(cached.join("pytorch_model.bin"), &weights).unwrap();
    fs::write(cached.join("config.yaml"), "task: {}\n").unwrap();
    let config = |path: &str, segmentation: &str, embedding: &str| {
        fs::create_dir_all(home.path(path).parent().unwrap()).unwrap();
        let text = format!(
            "pipeline:\n  name: pyannote.audio.pipelines.SpeakerDiarization\n  params:\n    clustering: OracleClustering\n    \
             segmentation: {segmentation}\n    embedding: {embedding}\nparams:\n  segmentation: {{min_duration_off: 0.0}}\n"
        );
        fs::write(home.path(path), text).unwrap();
    };
    let link = |path: &str| {
        fs::create_dir_all(home.path(path).parent().unwrap()).unwrap();
        symlink("../../nothing", home.path(path)).unwrap();
    };
    // A network alone, from the cache.
    for words in [
        "me/segmentation",
        "huggingface/hub/models--me--segmentation",
        "me/segmentation@c1",
    ] {
        home.run(&format!("diarize -q a.wav --model {words}")).ok();
    }
    config(
        "y38/models/pipeline_config.yaml",
        "models/segmentation.bin",
        "models/segmentation.bin",
    );
    fs::write(home.path("y38/models/segmentation.bin"), &weights).unwrap();
    config(
        "y42/config.yaml",
        "me/segmentation",
        "pyannote/wespeaker-voxceleb-resnet34-LM",
    );
    config(
        "y41/config.yaml",
        "me/nothing",
        "speechbrain/spkrec-ecapa-voxceleb",
    );
    config(
        "y40/config.yaml",
        "me/segmentation",
        "speaker-embedding.onnx",
    );
    link("copied/config.yaml");
    let unlinked = "huggingface/hub/models--me--unlinked/snapshots/c1";
    config(&format!("{unlinked}/config.yaml"), "$model/s", "$model/s");
    let blob = format!("../../../blobs/{}", "a".repeat(64));
    fs::create_dir_all(home.path(unlinked).join("s")).unwrap();
    symlink(blob, home.path(unlinked).join("s/pytorch_model.bin")).unwrap();
    fs::create_dir_all(home.path("c45")).unwrap();
    fs::write(
        home.path("c45/pytorch_model.bin"),
        "{\"error\": \"Access restricted\"}",
    )
    .unwrap();
    fs::create_dir_all(home.path("c44")).unwrap();
    fs::write(
        home.path("c44/pytorch_model.bin"),
        "version https://git-lfs.github.com/spec/v1\nsize 26645418\n",
    )
    .unwrap();
    fs::create_dir_all(home.path("huggingface/hub/models--me--half/blobs")).unwrap();
    fs::write(
        home.path("huggingface/hub/models--me--half/blobs/abc.incomplete"),
        "x",
    )
    .unwrap();
    let mut failures = Vec::new();
    for (folder, model, parts) in [
        // Found from the working directory; a segmentation is no embedding.
        (
            "y38",
            "models/pipeline_config.yaml",
            &["models/segmentation.bin: is PyanNet", "embedding"][..],
        ),
        (
            "",
            "y42",
            &[
                "embedding is `pyannote/wespeaker-voxceleb-resnet34-LM`",
                "`soundalike models get wespeaker",
            ],
        ),
        (
            "",
            "y41",
            &["speechbrain", "another library, which is not supported"],
        ),
        ("", "y40", &["speaker-embedding.onnx`, which is neither"]),
        (
            "",
            "copied",
            &["copied/config.yaml", "is a link to ../../nothing", "cp -rL"],
        ),
        (
            "",
            "c44",
            &["is a Git LFS pointer to a file of 26645418 bytes"],
        ),
        (
            "",
            "me/unlinked",
            &[
                "s/pytorch_model.bin is a link to ../../../blobs/aaa",
                "cp -rL",
            ],
        ),
        (
            "",
            "c45",
            &[r#"is text, not a model: `{\"error\": \"Access restricted\"}`"#],
        ),
        (
            "",
            "me/half",
            &["abc.incomplete is an interrupted download"],
        ),
        ("", "me/nothing", &["hf download me/nothing"]),
        (
            "",
            "nothing",
            &["is not a file, a directory, or the name of a model"],
        ),
    ] {
        let mut command = home.command(&format!(
            "diarize {} --model {model}",
            home.path("a.wav").display()
        ));
        let run = Run::from(command.current_dir(home.path(folder)).output().unwrap());
        failures.extend(
            run.no_refusal(parts)
                .map(|failure| format!("{model}: {failure}")),
        );
    }
    all_pass(failures);
}

mod assets {
    use super::*;

    const FILES: [&str; 5] = [
        "config.yaml",
        "segmentation/pytorch_model.bin",
        "embedding/pytorch_model.bin",
        "plda/plda.npz",
        "plda/xvec_transform.npz",
    ];

    /// The published pipeline, with synthetic embeddings, from an empty home to pyannote's turns.
    #[test]
    #[ignore = "needs SOUNDALIKE_ASSETS"]
    fn one_command_gives_the_turns_of_pyannote_and_then_works_offline() {
        let assets = checkpoint::assets();
        let pipeline = assets.join("pipelines/community-1-synthetic");
        let files = FILES.map(|path| (path, fs::read(pipeline.join(path)).unwrap()));
        let served = files
            .clone()
            .map(|(path, bytes)| (format!("/m/{path}"), bytes));
        let server = Server::new(served, |_, count| {
            (count == 2).then_some(Fault::Cut(1_000_000))
        });
        let files = files.each_ref().map(|(path, bytes)| (*path, &**bytes));
        let home = Home::new(&registry::registry(
            "community-1",
            "pipeline",
            &files,
            &["{hub}/m".to_owned()],
        ));
        let run = |words: &str, offline: &str| {
            let mut command = home.command(words);
            command
                .env("HF_ENDPOINT", server.address())
                .env("HF_HUB_OFFLINE", offline);
            Run::from(command.output().unwrap())
        };
        let expected = fs::read_to_string(pipeline.join("expected/sample.rttm")).unwrap();
        let audio = assets.join("audio/sample.wav");
        let words = format!("diarize {} --labels pyannote", audio.display());
        assert_ne!(run(&words, "0").ok(), expected);
        run("models get community-1", "0").ok();
        assert_eq!(
            server.requests().len(),
            6,
            "one of them continues the embedding"
        );
        assert_eq!(run(&words, "0").ok(), expected);
        server.stop();
        let offline = run(&words, "1");
        assert_eq!(offline.stderr, "", "no note on built-in embeddings");
        assert_eq!(offline.ok(), expected);
        assert_eq!(server.requests().len(), 6);
    }
}
