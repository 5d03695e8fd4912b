//! Converts the official ONNX export of segmentation-3.0, which the crate `diarization` carries, to the
//! bundle that `src/lib.rs` embeds.

use std::{env, error::Error, fs, path::PathBuf};

use cargo_metadata::MetadataCommand;
use sha2::{Digest, Sha256};

/// The package that carries the export.
const PACKAGE: &str = "diarization";
/// Where it lies in the package.
const EXPORT: &str = "models/segmentation-3.0.onnx";
/// SHA-256 of the export, so that another file under its name is not taken for it.
const SHA256: &str = "057ee564753071c0b09b5b611648b50ac188d50846bff5f01e9f7bbf1591ea25";

fn main() -> Result<(), Box<dyn Error>> {
    let export = find()?;
    println!("cargo::rerun-if-changed={}", export.display());
    println!("cargo::rerun-if-changed=build.rs");
    let found: String = Sha256::digest(fs::read(&export)?)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    if found != SHA256 {
        return Err(format!(
            "{}: SHA-256 is {found}, expected {SHA256}",
            export.display()
        )
        .into());
    }
    let bundle = soundalike_convert::load(&export)?;
    let out = PathBuf::from(env::var("OUT_DIR")?).join("segmentation-3.0.safetensors");
    Ok(bundle.save(&out)?)
}

/// The export, in the sources that cargo resolved for this build.
fn find() -> Result<PathBuf, Box<dyn Error>> {
    let metadata = MetadataCommand::new()
        .manifest_path(PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("Cargo.toml"))
        // Without it, cargo would want the dependencies of every other platform as well.
        .other_options(["--filter-platform".to_owned(), env::var("TARGET")?])
        .exec()?;
    let package = metadata
        .packages
        .iter()
        .find(|package| package.name.as_str() == PACKAGE)
        .ok_or_else(|| format!("cargo metadata lists no package `{PACKAGE}`"))?;
    Ok(package.manifest_path.with_file_name(EXPORT).into())
}
