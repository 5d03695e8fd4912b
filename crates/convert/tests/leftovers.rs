//! What downloads leave in place of models, and where a configuration finds them.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that panics has failed"
)]

mod support;

use std::{fs, path::Path};

use soundalike_convert::{PipelineDirectory, is_pipeline, load};
use support::{CONFIG, Checkpoint, line};

fn refusal(path: &Path) -> String {
    let error = match is_pipeline(path) {
        true => PipelineDirectory::read(path).map(|_| ()),
        false => load(path).map(|_| ()),
    };
    line(&error.unwrap_err())
}

#[test]
fn what_a_download_leaves_says_what_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:36\nsize 26645418\n";
    let page = "<!doctype html>\n<html><head><title>Hugging Face</title></head><body>Log in</body>";
    let mut failures = Vec::new();
    for (name, text, part) in [
        (
            "pytorch_model.bin",
            pointer,
            "is a Git LFS pointer to a file of 26645418 bytes",
        ),
        ("pytorch_model.bin", page, "is a web page (`Hugging Face`)"),
        (
            "pytorch_model.bin",
            "Invalid username or password.",
            "is text, not a model: `Invalid username or password.`",
        ),
        (
            "pytorch_model.bin",
            "{\"error\":\"Repository not found\"}",
            "Repository not found",
        ),
        ("config.yaml", pointer, "is a Git LFS pointer"),
        ("config.yaml", page, "is a web page"),
        (
            "36ab.incomplete",
            "PK\u{3}\u{4}",
            "is an interrupted download",
        ),
        (
            "pytorch_model.bin.part",
            "PK\u{3}\u{4}",
            "is an interrupted download",
        ),
        ("plda/plda.npz", pointer, "is a Git LFS pointer"),
    ] {
        let path = folder.path().join(name);
        let directory = path.parent().unwrap();
        fs::create_dir_all(directory).unwrap();
        if directory.ends_with("plda") {
            fs::write(directory.join("xvec_transform.npz"), text).unwrap();
        }
        fs::write(&path, text).unwrap();
        let given = if directory.ends_with("plda") {
            directory
        } else {
            &path
        };
        let found = refusal(given);
        if !found.contains(part) || found.contains('\n') {
            failures.push(format!("{name}: {found}"));
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

#[cfg(unix)]
#[test]
fn a_dangling_link_of_a_copied_cache_is_named() {
    use std::os::unix::fs::symlink;
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let expected = "is a link to ../blobs/abc, which does not exist";
    for file in ["config.yaml", "pytorch_model.bin"] {
        let path = here.join(file);
        symlink("../blobs/abc", &path).unwrap();
        for given in [here, &path] {
            let found = refusal(given);
            assert!(found.contains(expected) && found.contains(file), "{found}");
        }
        fs::remove_file(path).unwrap();
    }
    fs::write(here.join("config.yaml"), CONFIG).unwrap();
    fs::create_dir(here.join("segmentation")).unwrap();
    symlink("../blobs/abc", here.join("segmentation/pytorch_model.bin")).unwrap();
    let found = refusal(here);
    assert!(
        found.contains("segmentation/pytorch_model.bin is a link to"),
        "{found}"
    );
}

#[test]
fn a_configuration_has_any_name_and_finds_its_models() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let model = here.join("models/segmentation");
    fs::create_dir_all(&model).unwrap();
    fs::write(model.join("pytorch_model.bin"), Checkpoint::small().zip()).unwrap();
    let config = here.join("models/pipeline_config.yml");
    let read = |reference: &str| {
        fs::write(&config, CONFIG.replace("$model/segmentation", reference)).unwrap();
        let hub = |name: &str, revision: Option<&str>| match (name, revision) {
            ("me/model", None | Some("r")) => Some(Ok(model.clone())),
            ("me/other", _) => Some(Err("it is not here".into())),
            _ => None,
        };
        PipelineDirectory::read_with(&config, &hub).map_err(|error| line(&error))
    };
    let absolute = model.display().to_string();
    for reference in [
        "$model/segmentation",
        "segmentation",
        "segmentation/pytorch_model.bin",
        &absolute,
        "me/model",
        "{checkpoint: me/model, revision: r}",
    ] {
        let pipeline = read(reference).unwrap_or_else(|error| panic!("{reference}: {error}"));
        assert_eq!(pipeline.source().file, "pipeline_config.yml");
    }
    for (reference, part) in [
        ("me/other", "segmentation is `me/other`: it is not here"),
        (
            "{checkpoint: me/model, revision: s}",
            "neither a file nor a directory",
        ),
        (
            "nothing.onnx",
            "`nothing.onnx`, which is neither a file nor a directory",
        ),
        (
            "speechbrain/spkrec-ecapa-voxceleb",
            "another library, which is not supported",
        ),
        ("$model/me/model", "`me/model`, which does not exist"),
    ] {
        let error = read(reference).unwrap_err();
        assert!(error.contains(part), "{reference}: {error}");
    }
}

/// As the hub has every network.
#[test]
fn a_network_with_the_configuration_of_its_training_is_no_pipeline() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    fs::write(here.join("config.yaml"), "task: {_target_: x}\n").unwrap();
    assert!(is_pipeline(here));
    fs::write(here.join("pytorch_model.bin"), Checkpoint::small().zip()).unwrap();
    assert!(!is_pipeline(here));
    load(here).unwrap();
}
