//! The built-in registry, and registries that are refused.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that panics has failed"
)]

#[path = "../../../tests/support/assets.rs"]
mod data;

use std::fs;

use soundalike_models::{Kind, Registry};

const HUB: &str = "https://huggingface.co";

#[test]
fn every_entry_is_complete() {
    let registry = Registry::built_in().unwrap();
    let names: Vec<_> = registry.models().map(|model| &*model.name).collect();
    assert_eq!(
        names,
        [
            "3.1",
            "community-1",
            "segmentation-3.0",
            "wespeaker-voxceleb-resnet34-lm"
        ]
    );
    assert_eq!(registry.default_model().unwrap().name, "community-1");
    for model in registry.models() {
        let name = &model.name;
        assert_eq!(model.revision.len(), 40, "{name}");
        assert!(
            model.revision.chars().all(|c| c.is_ascii_hexdigit()),
            "{name}"
        );
        assert!(
            !model.licences.is_empty() && !model.hub.is_empty(),
            "{name}"
        );
        assert!(model.citation.contains("@inproceedings"), "{name}");
        assert!(
            model.about.len() > 20 && model.attribution.len() > 20,
            "{name}"
        );
        let config = model.files.iter().any(|file| file.path == "config.yaml");
        assert_eq!(config, model.kind == Kind::Pipeline, "{name}");
        for licence in &model.licences {
            assert!(licence.url.starts_with("https://"), "{name}");
            // MIT requires its text in every copy.
            assert_eq!(licence.name == "MIT", !licence.text.is_empty(), "{name}");
        }
        for file in model.files.iter().filter(|file| file.text.is_none()) {
            let addresses = file.addresses(HUB).unwrap();
            assert!(!addresses.is_empty(), "{name} {}", file.path);
            for address in addresses {
                let address = address.to_string();
                assert!(address.starts_with("https://"), "{address}");
                assert!(
                    address.ends_with(file.path.rsplit('/').next().unwrap()),
                    "{address}"
                );
            }
        }
    }
    // The same files of the same embedding and segmentation.
    let sha256 = |name: &str, path: &str| {
        let model = registry.model(name).unwrap();
        let file = model.files.iter().find(|file| file.path == path).unwrap();
        (file.size, file.sha256.clone())
    };
    for (part, name) in [
        ("segmentation/pytorch_model.bin", "segmentation-3.0"),
        (
            "embedding/pytorch_model.bin",
            "wespeaker-voxceleb-resnet34-lm",
        ),
    ] {
        assert_eq!(sha256("3.1", part), sha256(name, "pytorch_model.bin"));
    }
}

#[test]
fn a_registry_is_refused_with_its_problem() {
    let valid = r#"
format = 1
[licences.MIT]
url = "https://a.b"
[models.m]
kind = "network"
about = "a"
licences = ["MIT"]
attribution = "b"
revision = "r"
hub = ["o/n"]
mirrors = ["https://a.b/c"]
[[models.m.files]]
path = "f.bin"
size = 3
sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
"#;
    let registry = Registry::parse(valid).unwrap();
    assert_eq!(registry.model("m").unwrap().size(), 3);
    assert!(Registry::parse(&valid.replace("size = 3", "text = \"abc\"")).is_ok());
    let mut failures = Vec::new();
    for (from, to, part) in [
        ("format = 1", "format = 2", "has format 2"),
        ("about", "abuot", "unknown field `abuot`"),
        ("models.m", "models.\"../m\"", "name is `../m`"),
        ("models.m", "models.\".m\"", "name is `.m`"),
        ("\"r\"", "\"a/b\"", "revision is `a/b`"),
        ("o/n", "o/../n", "hub is `o/../n`"),
        ("o/n", "o--p/n", "hub is"),
        ("[\"MIT\"]", "[\"GPL\"]", "licences is `GPL`"),
        ("f.bin", "../f.bin", "path is `../f.bin`"),
        ("f.bin", "/f.bin", "path is"),
        ("f.bin", "a\\\\b", "path is"),
        ("size = 3", "size = 0", "size is `0`, expected 1 to 16 GiB"),
        ("size = 3", "size = 99999999999999", "expected 1 to 16 GiB"),
        (
            "ba78",
            "BA78",
            "expected 64 hexadecimal digits in lower case",
        ),
        ("ba78", "a78", "expected 64 hexadecimal digits"),
        ("https://a.b/c", "http://a.b/c", "is not https"),
        ("https://a.b/c", "a.b/c", "is not an address"),
        ("https://a.b/c", "{hub}.a.b/c", "is not an address"),
        ("https://a.b/c", "{hub}@a.b/c", "is not an address"),
        ("size = 3", "", "size and sha256, or else text"),
        ("size = 3", "size = 3\ntext = \"abcd\"", "text is `f.bin`"),
        ("size = 3", "size = 3\ntext = \"abd\"", "text is `f.bin`"),
        (
            "format = 1",
            "format = 1\ndefault = \"x\"",
            "default is `x`",
        ),
    ] {
        assert!(valid.contains(from), "{from}");
        match Registry::parse(&valid.replace(from, to)) {
            Ok(_) => failures.push(format!("{to}: accepted")),
            Err(error) if error.to_string().contains(part) => {}
            Err(error) => failures.push(format!("{to}: {error}")),
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn a_file_adds_models_and_replaces_those_of_its_names() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("company.toml");
    let model = |name: &str| {
        format!(
            "[models.{name}]\nkind = \"network\"\nabout = \"ours\"\nlicences = []\nattribution = \"us\"\nrevision = \"1\"\n\
             [[models.{name}.files]]\npath = \"a\"\ntext = \"b\"\n"
        )
    };
    let text = format!(
        "format = 1\ndefault = \"x\"\n{}{}",
        model("x"),
        model("community-1")
    );
    fs::write(&file, text).unwrap();
    let registry = Registry::built_in().unwrap().with_file(&file).unwrap();
    assert_eq!(registry.models().count(), 5);
    assert_eq!(registry.model("community-1").unwrap().about, "ours");
    assert_eq!(registry.default_model().unwrap().name, "x");

    fs::write(&file, vec![b'#'; 2 << 20]).unwrap();
    let error = Registry::built_in()
        .unwrap()
        .with_file(&file)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("company.toml: has more than 1048576 bytes"),
        "{error}"
    );
    // It has no end.
    #[cfg(unix)]
    assert!(
        Registry::built_in()
            .unwrap()
            .with_file("/dev/zero".as_ref())
            .is_err()
    );
    let missing = folder.path().join("none.toml");
    let error = Registry::built_in()
        .unwrap()
        .with_file(&missing)
        .unwrap_err()
        .to_string();
    assert!(error.contains("none.toml: reading failed"), "{error}");
}

mod assets {
    use super::*;

    #[test]
    #[ignore = "needs SOUNDALIKE_ASSETS"]
    fn the_published_files_that_are_at_hand_are_those_of_the_registry() {
        let directory = data::assets().join("pipelines/community-1-synthetic");
        let registry = Registry::built_in().unwrap();
        let model = registry.model("community-1").unwrap();
        let file = |path: &str| model.files.iter().find(|file| file.path == path).unwrap();
        let lines = |text: &str| {
            let lines = text.lines().map(str::trim_end);
            lines.collect::<Vec<_>>().join("\n")
        };
        // The published one has white space at the ends of two lines.
        let config = fs::read_to_string(directory.join("config.yaml")).unwrap();
        assert_eq!(
            lines(file("config.yaml").text.as_ref().unwrap()),
            lines(&config)
        );
        for path in ["plda/plda.npz", "plda/xvec_transform.npz"] {
            let file = file(path);
            let bytes = fs::read(directory.join(path)).unwrap();
            assert_eq!(bytes.len() as u64, file.size, "{path}");
            assert_eq!(soundalike_convert::sha256([&*bytes]), file.sha256, "{path}");
        }
    }
}
